//! The examples of the documentation: every block of policy is compiled, and finds what it says it finds. The blocks are
//! those of `src/golden.rs`; `VIGO_BLESS=1` writes `text` and `ir` blocks anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use compiler::policy::Policy;
use std::fs;
use std::path::{Path, PathBuf};
use vigo_tests::golden::{Block, Case, Edits, bless, cases, compiled, differences, rendered, write};

/// Made of the pages of `vigoc rule`, whose examples `rules.rs` compiles.
const COMPILED_ELSEWHERE: &str = "diagnostics.md";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn markdown(dir: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    all.filter(|p| p.extension().is_some_and(|e| e == "md")).collect()
}

fn documents() -> Vec<PathBuf> {
    let mut all = markdown(repository());
    all.extend(markdown(&repository().join("docs")));
    for example in fs::read_dir(repository().join("examples")).unwrap() {
        all.extend(markdown(&example.unwrap().path()));
    }
    all.retain(|p| !p.ends_with(COMPILED_ELSEWHERE));
    all.sort();
    all
}

/// Whether a block is a part of a policy, not a file of some other tool.
fn is_policy(block: &Block) -> bool {
    let first = block.info.split_whitespace().next().unwrap_or_default();
    first.ends_with(".vgo") || first.starts_with("templates/") || matches!(first, "text" | "ir" | "replace")
}

/// What differs, and the edits that would make it equal.
fn run(case: &Case) -> (String, Edits) {
    let dir = tempfile::tempdir().unwrap();
    let expected = write(case, repository(), dir.path()).unwrap();
    let policy = Policy::open(dir.path()).unwrap();
    let report = policy.check();
    let mut wrong = differences(&policy, &report, expected);
    let mut edits = Vec::new();
    for block in &case.blocks {
        let now = match block.info.split_whitespace().next() {
            Some("text") => rendered(&policy, &report),
            Some("ir") => compiled(&policy, &block.info),
            _ => continue,
        };
        if now != block.body {
            wrong.push_str(&format!("`{}` is now:\n{now}", block.info));
            edits.push((block.range.clone(), now));
        }
    }
    (wrong, edits)
}

#[test]
fn examples_compile() {
    let mut failed = 0;
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(repository()).unwrap().display().to_string();
        let mut edits = Vec::new();
        for mut case in cases(&text) {
            case.blocks.retain(is_policy);
            if !case.blocks.iter().any(|b| !matches!(b.info.as_str(), "text")) && case.copy.is_none() {
                continue;
            }
            let (wrong, new) = run(&case);
            edits.extend(new);
            if !wrong.is_empty() {
                failed += 1;
                println!("\n== {name}:{}: {}\n{wrong}", case.line, case.title);
            }
        }
        bless(&path, text, edits).unwrap();
    }
    assert!(failed == 0, "{failed} examples differ; after reading them: VIGO_BLESS=1");
}

/// An example whose fence has another name would be read by people and by no compiler.
#[test]
fn the_language_is_shown_in_compiled_blocks_only() {
    let text = fs::read_to_string(repository().join("docs/language.md")).unwrap();
    let all: Vec<Block> = cases(&text).into_iter().flat_map(|c| c.blocks).collect();
    let other: Vec<&str> = all.iter().filter(|b| !is_policy(b)).map(|b| b.info.as_str()).collect();
    assert!(other.is_empty(), "give these the name of a file: {other:?}");
    assert!(all.len() > 40, "{} examples were read", all.len());
}
