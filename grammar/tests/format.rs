//! The layout of any document: it says the same as before, keeps every comment, and is its own layout.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod documents;

use grammar::document;
use grammar::format::{Unformatted, WIDTH, format, same};
use proptest::prelude::*;
use std::cell::Cell;

thread_local! {
    static TOLD: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

fn check(text: &str) -> bool {
    let parsed = document::parse(text);
    let out = match format(text) {
        Ok(out) => out,
        Err(Unformatted::Mistakes(errors)) => {
            assert_eq!(errors, parsed.errors);
            return false;
        }
        Err(Unformatted::Unfaithful) => panic!("says something else:\n{text}"),
    };
    let again = document::parse(&out);
    assert!(again.errors.is_empty() && same(&parsed.root, &again.root), "{text}\n-- became --\n{out}");
    let comments = |text: &str, parsed: &document::Parsed| -> Vec<String> {
        parsed.comments.iter().map(|c| c.text(text).to_owned()).collect()
    };
    assert_eq!(comments(text, &parsed), comments(&out, &again), "{text}\n-- became --\n{out}");
    assert_eq!(format(&out).as_deref(), Ok(out.as_str()), "{text}\n-- became --\n{out}");
    assert!(out.is_empty() || out.ends_with('\n'));
    assert!(!out.contains('\r') && !out.starts_with('\u{feff}'));
    true
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn documents_keep_what_they_say(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let right = check(&documents::document(&bytes));
        TOLD.with(|told| {
            let (all, well) = told.get();
            told.set((all + 1, well + u32::from(right)));
            // the generator is of little use if most of what it writes is not of the language
            assert!(all < 100 || well * 10 > all * 6, "{well} of {all} are right");
        });
    }

    #[test]
    fn damaged_documents_too(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        cut in 0..4usize,
        put in prop::sample::select(&["", " ", "\n", "\n  ", "- ", "a: ", "#", " # c", "'", "\"", "|\n", "[", "}", ",", "x"][..]),
    ) {
        let mut text = documents::document(&bytes);
        let from = text.floor_char_boundary(at.index(text.len() + 1));
        let to = text.ceil_char_boundary((from + cut).min(text.len()));
        text.replace_range(from..to, put);
        check(&text);
    }
}

#[test]
fn lines_are_as_long_as_they_have_to_be() {
    let text = format!("a: {{ b: [{}], c: {{ d: x }} }}\n", vec!["abcdefgh"; 30].join(", "));
    let out = format(&text).unwrap();
    assert!(out.lines().all(|line| line.len() <= WIDTH), "{out}");
}

/// All files below `dir` that end in `ending`.
fn files(dir: &std::path::Path, ending: &str, out: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, out);
        } else if path.to_string_lossy().ends_with(ending) {
            out.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

fn house(below: &[&str], ending: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for dir in below {
        files(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(dir), ending, &mut out);
    }
    out
}

#[test]
fn the_files_of_the_house_are_laid_out() {
    let files = house(&["examples", "stdlib"], ".vgo");
    assert!(files.len() > 20);
    for (path, text) in files {
        assert_eq!(format(&text).as_deref(), Ok(text.as_str()), "{path}: run `vigoc fmt`");
    }
}

#[test]
fn examples_of_pages_keep_what_they_say() {
    let mut laid_out = 0;
    for (path, page) in house(&["tests/golden", "docs"], ".md") {
        for block in page.split("\n```").skip(1).step_by(2) {
            let (kind, text) = block.split_once('\n').unwrap_or((block, ""));
            let text = &format!("{text}\n");
            if kind != "yaml" && !kind.ends_with(".vgo") {
                continue;
            }
            let right = check(text);
            laid_out += u32::from(right);
            // An excerpt of a file is indented like there, and some blocks hold several files.
            if path.ends_with("language.md") && right && !text.starts_with(' ') {
                assert_eq!(format(text).as_ref(), Ok(text), "{path}");
            }
        }
    }
    assert!(laid_out > 100, "{laid_out}");
}
