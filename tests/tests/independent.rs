//! A mistake hides no other: every pair of the mistakes of `golden/mistakes.md` and of those below, planted together in
//! a copy of `examples/acme`, is reported as each of the two alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use compiler::diagnostic::render::line_column;
use compiler::policy::Policy;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use vigo_tests::golden::{cases, copy, expectations};

/// What is found late, when everything before it went well: file, text, the text with the mistake, slug.
const LATE: &[(&str, &str, &str, &str)] = &[
    ("modules/debug.vgo", "/etc/profile.d/acme-debug.sh", "/etc/motd", "duplicate-target"),
    ("modules/maintenance.vgo", "  - name: monthly\n", "  - name: weekly\n", "duplicate-resource"),
    ("modules/maintenance.vgo", "hour_range(2, 5)", "hour_range(5, 5)", "constant-condition"),
    ("modules/maintenance.vgo", "depends_on: [base]", "depends_on: [base, dotfiles]", "missing-dependency"),
    ("modules/logrotate.vgo", "\"rotate-{{ .Item.name }}\"", "rotate", "item-not-named"),
    ("modules/logrotate.vgo", "foreach: rotate.logs", "foreach: rotate.keep", "type-mismatch"),
    (
        "modules/dotfiles.vgo",
        "{{ .Item.home }}/.acme_profile",
        "{{ .Item.home }}/.acme_aliases",
        "duplicate-target",
    ),
    ("modules/sysctl.vgo", "{{ .value }}", "{{ index $.Vars.kernel_settings 7 }}", "evaluation-failed"),
    (
        "modules/sysctl.vgo",
        "when: \"!is_container\"\n",
        "when: is_container && !is_container\n",
        "constant-condition",
    ),
    ("modules/ssh.vgo", "when: changed                             # only", "# only", "useless-notify"),
    ("modules/shop.vgo", "      default: { target_path: /etc/acme/shop.env }\n", "", "uncovered-case"),
    (
        "modules/shop.vgo",
        "command: touch restart.txt",
        "command: touch {{ .Vars.db_password }}",
        "secret-flow",
    ),
    ("modules/shop.vgo", "{{ .Traits.hardware.cpus }}", "{{ .Traits.hardware.vendor }}", "optional-trait"),
    ("modules/backup.vgo", "{ type: int, default: 14,", "{ type: int, default: many,", "type-mismatch"),
    ("web/nodes.vgo", "web-[0-9][0-9].staging", "web-[0-9.staging", "invalid-glob"),
    ("nodes.vgo", "\"app-*.staging.acme.test\"", "\"app-1.eu.acme.test\"", "shadowed-entry"),
    ("nodes.vgo", "- when: os_family('rhel')", "- when: os_family('redhat')", "invalid-value"),
    ("office/common.vgo", "shell: zsh", "shell: [zsh]", "type-mismatch"),
    ("roles.vgo", "includes: [webserver]", "includes: [webserver, appserver]", "role-cycle"),
];

/// Pairs of which one takes away what the other is about: the resource, what names it, or the very line.
const DEPENDENT: &[(&str, &str)] = &[
    // the resource `motd.motd`, its type and the template that it names
    ("A misspelt variable in a file below templates", "A misspelt attribute"),
    ("A misspelt variable in a file below templates", "A misspelt resource type"),
    ("A misspelt variable in a file below templates", "A file that does not exist"),
    ("A misspelt attribute", "A misspelt resource type"),
    ("An unquoted mode", "A misspelt resource type"),
    ("A misspelt resource type", "A file that does not exist"),
    ("A misspelt resource type", "duplicate-target in modules/debug.vgo"),
    // a role that nobody has any more
    ("An unknown role in an entry", "type-mismatch in office/common.vgo"),
    // one line, or one resource
    ("A quote that is not closed", "invalid-glob in web/nodes.vgo"),
    ("A parameter that nothing sets", "shadowed-entry in nodes.vgo"),
    ("A misspelt parameter in a node entry", "invalid-glob in web/nodes.vgo"),
    ("item-not-named in modules/logrotate.vgo", "type-mismatch in modules/logrotate.vgo"),
];

/// Replacements of text in files.
type Edits = Vec<(String, String, String)>;

/// What has to be found: slug, file, and the line it begins on.
type Finding = (String, String, String);

struct Mistake {
    title: String,
    edits: Edits,
    found: BTreeSet<Finding>,
}

/// The files with a mistake in them, or `None` where it does not fit.
fn planted(texts: &BTreeMap<String, String>, edits: &Edits) -> Option<BTreeMap<String, String>> {
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    for (file, old, new) in edits {
        let text = out.get(file).or_else(|| texts.get(file))?;
        if text.matches(old.as_str()).count() != 1 {
            return None;
        }
        let text = text.replacen(old.as_str(), new, 1);
        out.insert(file.clone(), text);
    }
    Some(out)
}

fn findings(policy: &Policy) -> BTreeSet<Finding> {
    let report = policy.check();
    let line = |d: &compiler::diagnostic::Diagnostic| {
        let text = policy.text(&d.place.file).unwrap_or_default();
        let number = line_column(&text, d.place.span.start as usize).0;
        text.lines().nth(number - 1).unwrap_or_default().trim().to_owned()
    };
    report.diagnostics.iter().map(|d| (d.code.to_owned(), d.place.file.to_string(), line(d))).collect()
}

/// What the policy says with these files in place of its own.
fn with(
    policy: &mut Policy,
    texts: &BTreeMap<String, String>,
    files: &BTreeMap<String, String>,
) -> BTreeSet<Finding> {
    files.iter().for_each(|(file, text)| policy.set_text(file, text));
    let found = findings(policy);
    files.keys().for_each(|file| policy.set_text(file, &texts[file]));
    found
}

fn mistakes(policy: &mut Policy, texts: &BTreeMap<String, String>) -> Vec<Mistake> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/mistakes.md");
    let mut all: Vec<(String, Edits)> = Vec::new();
    for case in cases(&fs::read_to_string(golden).unwrap()) {
        let edits: Edits = case
            .blocks
            .iter()
            .filter_map(|b| Some((b.info.strip_prefix("replace ")?.to_owned(), b.body.split_once("====\n")?)))
            .map(|(file, (old, new))| (file, old.to_owned(), expectations("", new).0))
            .collect();
        if case.copy.is_some() && !edits.is_empty() {
            all.push((case.title, edits));
        }
    }
    for (file, old, new, slug) in LATE {
        all.push((format!("{slug} in {file}"), vec![(file.to_string(), old.to_string(), new.to_string())]));
    }
    let mut wrong = Vec::new();
    let mut out = Vec::new();
    for (title, edits) in all {
        let files = planted(texts, &edits).unwrap_or_else(|| panic!("{title}: the text is not there once"));
        let found = with(policy, texts, &files);
        let late = LATE.iter().find(|(file, .., slug)| format!("{slug} in {file}") == title);
        let right = late.is_none_or(|(.., slug)| found.iter().any(|(s, ..)| s == slug));
        if !right || found.is_empty() {
            wrong.push(format!("{title}: {found:?}"));
        }
        out.push(Mistake { title, edits, found });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    out
}

/// How many mistakes are planted at once; what they hide of each other, pairs hide too.
const TOGETHER: usize = 8;

/// What is wrong when some mistakes are planted together; `None` where they do not fit together.
fn together(
    policy: &mut Policy,
    texts: &BTreeMap<String, String>,
    mistakes: &[&Mistake],
) -> Option<Result<(), String>> {
    let edits: Edits = mistakes.iter().flat_map(|m| &m.edits).cloned().collect();
    let found = with(policy, texts, &planted(texts, &edits)?);
    let due: BTreeSet<&Finding> = mistakes.iter().flat_map(|m| &m.found).collect();
    // what a mistake cuts off is not unused, so that is told when the mistakes are gone
    let missing: Vec<_> =
        due.iter().filter(|f| !found.contains(**f) && !f.0.starts_with("unused-")).collect();
    let invented: Vec<_> = found.iter().filter(|f| !due.contains(f)).collect();
    let fine = missing.is_empty() && invented.is_empty();
    Some(if fine { Ok(()) } else { Err(format!("missing {missing:?}\n    invented {invented:?}")) })
}

/// A group of mistakes that fit together, with `first` and `second` in it and as many new pairs as are easily had.
fn group(
    texts: &BTreeMap<String, String>,
    mistakes: &[Mistake],
    (first, second): (usize, usize),
    left: &BTreeSet<(usize, usize)>,
) -> Vec<usize> {
    let mut out = vec![first, second];
    let fits = |group: &[usize]| {
        let edits: Edits = group.iter().flat_map(|n| &mistakes[*n].edits).cloned().collect();
        planted(texts, &edits).is_some()
    };
    for n in second + 1..mistakes.len() {
        let alone = |other: &usize| is_dependent(&mistakes[*other], &mistakes[n]);
        let new = out.iter().filter(|other| left.contains(&(**other, n))).count();
        if out.len() == TOGETHER || out.iter().any(alone) || 2 * new < out.len() {
            continue;
        }
        out.push(n);
        if !fits(&out) {
            out.pop();
        }
    }
    out
}

fn is_dependent(a: &Mistake, b: &Mistake) -> bool {
    DEPENDENT.contains(&(a.title.as_str(), b.title.as_str()))
}

/// Several at a time: where all of a group are reported, so is every pair of it. Where they are not, its pairs are tried, and
/// `VIGO_PAIRS=1` tries every pair alone.
#[test]
fn every_pair_of_mistakes_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/acme"), dir.path()).unwrap();
    let mut policy = Policy::open(dir.path()).unwrap();
    let texts: BTreeMap<String, String> =
        policy.texts().iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
    // Files that change are queried as such from the start.
    assert_eq!(findings(&policy), BTreeSet::new());
    let mistakes = mistakes(&mut policy, &texts);
    let pairs_only = std::env::var_os("VIGO_PAIRS").is_some();
    let (mut tried, mut swallowed) = (0, Vec::new());
    let mut left: BTreeSet<(usize, usize)> =
        (0..mistakes.len()).flat_map(|b| (0..b).map(move |a| (a, b))).collect();
    while let Some((first, second)) = left.pop_first() {
        let (a, b) = (&mistakes[first], &mistakes[second]);
        if !is_dependent(a, b) && !pairs_only {
            let group = group(&texts, &mistakes, (first, second), &left);
            let chosen: Vec<&Mistake> = group.iter().map(|n| &mistakes[*n]).collect();
            if group.len() > 2 && together(&mut policy, &texts, &chosen) == Some(Ok(())) {
                tried += 1;
                for (at, n) in group.iter().enumerate() {
                    tried += group[..at].iter().filter(|other| left.remove(&(**other, *n))).count();
                }
                continue;
            }
        }
        let Some(result) = together(&mut policy, &texts, &[a, b]) else { continue };
        tried += 1;
        let title = format!("{} + {}", a.title, b.title);
        match result {
            Ok(()) if is_dependent(a, b) => swallowed.push(format!("{title}: both are reported after all")),
            Err(wrong) if !is_dependent(a, b) => swallowed.push(format!("{title}\n    {wrong}")),
            _ => {}
        }
    }
    assert!(tried > 1000, "only {tried} pairs fit together");
    assert!(swallowed.is_empty(), "{} of {tried} pairs:\n{}", swallowed.len(), swallowed.join("\n"));
}
