//! The pages of `vigoc rule`: both examples of each are compiled, and `docs/diagnostics.md` is made of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use compiler::diagnostic::codes::slugs;
use compiler::policy::Policy;
use compiler::rules::{Page, page, pages};
use std::fs;
use std::path::Path;
use vigo_tests::golden::{cases, write};

/// What cannot be shown, and why; the page says so too.
const WITHOUT_EXAMPLE: &[&str] =
    &["policy-too-large", "empty-policy", "syntax-error", "too-many-errors", "too-many-values"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The slugs that an example gives.
fn found(page: &Page, heading: &str) -> Vec<String> {
    let cases = cases(page.markdown);
    let case = cases.iter().find(|c| c.title == heading);
    let case = case.unwrap_or_else(|| panic!("{}: no `## {heading}` with files", page.slug));
    let dir = tempfile::tempdir().unwrap();
    write(case, repository(), dir.path()).unwrap();
    let policy = Policy::open(dir.path()).unwrap();
    policy.check().diagnostics.iter().map(|d| format!("{}: {}", d.code, d.message)).collect()
}

#[test]
fn every_slug_has_a_page_whose_examples_are_what_they_say() {
    let mut wrong = Vec::new();
    for (slug, ..) in slugs() {
        let Some(page) = page(slug) else {
            wrong.push(format!("{slug}: write compiler/rules/{slug}.md, like the others there"));
            continue;
        };
        if !page.markdown.starts_with(&format!("# {slug}\n\n")) || page.about().len() < 40 {
            wrong.push(format!("{slug}: the page begins with `# {slug}` and says what it is about"));
        }
        if WITHOUT_EXAMPLE.contains(&slug) {
            assert!(page.markdown.contains("There is no example"), "{slug}");
            continue;
        }
        let bad = found(&page, "Wrong");
        if !bad.iter().any(|f| f.starts_with(&format!("{slug}: "))) {
            wrong.push(format!("{slug}: the wrong example gives {bad:?}"));
        }
        let good = found(&page, "Right");
        if !good.is_empty() {
            wrong.push(format!("{slug}: the right example gives {good:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_page_has_a_slug() {
    for entry in fs::read_dir(repository().join("compiler/rules")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(page(name.strip_suffix(".md").unwrap()).is_some(), "nothing has the slug of {name}");
    }
}

#[test]
fn the_reference_is_made_of_the_pages() {
    let mut now = String::from(INTRODUCTION);
    for page in pages() {
        let (slug, severity) = (page.slug, page.severity.name());
        let summary = page.summary.replace('|', "\\|");
        now.push_str(&format!("| [{slug}](#{slug}) | {severity} | {summary} |\n"));
    }
    for page in pages() {
        now.push('\n');
        now.push_str(&page.document(2));
    }
    let path = repository().join("docs/diagnostics.md");
    if std::env::var_os("VIGO_BLESS").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == now, "docs/diagnostics.md is not what the pages give; VIGO_BLESS=1 writes it");
}

const INTRODUCTION: &str = "\
# Diagnostics

Every finding of `vigoc check` has a slug that never changes. This page is made of what `vigoc rule SLUG` prints; the
examples are compiled by the tests. An example that shows no node entries is about a host that gets all its modules.

An error keeps a policy from being compiled. A warning is probably a mistake; `--deny warnings` makes it fail a check. A hint
is advice. A warning or hint that is right where it stands is allowed by a comment with a reason, on its line or on the line
before:

```yaml
  - name: warm
    type: exec  # vigo: allow(unguarded-exec) cheap, and the only way to see new mail
    command: update-motd
```

`--baseline FILE` takes out what was there before. [ci.md](ci.md) has both in use.

| slug | severity | what it is |
| --- | --- | --- |
";
