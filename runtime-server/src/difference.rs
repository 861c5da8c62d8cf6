//! What differs between two policies, file by file and line by line.

use crate::tree::Tree;
use compiler::db::Content;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use similar::{Algorithm, ChangeTag, TextDiffConfig};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// Lines of longer files are not compared.
const MAX_COMPARED: usize = 4 << 20;
/// What comparing one file may take; a coarser difference comes out when it takes longer.
const PATIENCE: Duration = Duration::from_millis(200);
/// Bytes of a difference as text.
const MAX_TEXT: usize = 2 << 20;

/// A file that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileChange {
    /// Its path below the root of the policy.
    pub path: String,
    /// `added`, `removed` or `changed`.
    pub change: String,
    /// Lines that came; null where lines are not compared, as in files that are no text.
    pub lines_added: Option<u64>,
    /// Lines that went.
    pub lines_removed: Option<u64>,
}

/// The files that differ, by path. `None` is a policy without files.
pub fn changes(old: Option<&Tree>, new: &Tree) -> Vec<FileChange> {
    differing(old, new).into_iter().map(|(path, a, b)| change(&path, a, b)).collect()
}

/// The same as a unified diff.
pub fn text(old: Option<&Tree>, new: &Tree) -> String {
    let mut out = String::new();
    for (path, a, b) in differing(old, new) {
        if out.len() > MAX_TEXT {
            out.push_str("(further files are left out)\n");
            break;
        }
        let side =
            |letter: char, there: bool| if there { format!("{letter}/{path}") } else { "/dev/null".into() };
        let (before, after) = (side('a', a.is_some()), side('b', b.is_some()));
        match (lines_of(a), lines_of(b)) {
            (Some(old), Some(new)) => {
                let diff = config().diff_lines(old, new);
                out.push_str(&diff.unified_diff().context_radius(3).header(&before, &after).to_string());
                if !out.ends_with('\n') {
                    out.push('\n');
                }
            }
            // Writing to a string does not fail.
            _ => drop(writeln!(out, "--- {before}\n+++ {after}\n(not text, or too large to be compared)")),
        }
    }
    out
}

type Pair<'a> = (Arc<str>, Option<&'a Content>, Option<&'a Content>);

fn differing<'a>(old: Option<&'a Tree>, new: &'a Tree) -> Vec<Pair<'a>> {
    let before = |path: &str| old.and_then(|tree| tree.files().get(path));
    let paths: BTreeSet<&Arc<str>> =
        old.iter().flat_map(|tree| tree.files().keys()).chain(new.files().keys()).collect();
    let pairs = paths.into_iter().map(|path| (path.clone(), before(path), new.files().get(path)));
    pairs.filter(|(_, a, b)| a != b).collect()
}

fn change(path: &str, old: Option<&Content>, new: Option<&Content>) -> FileChange {
    let counts = lines_of(old).zip(lines_of(new)).map(|(old, new)| {
        if old.is_empty() || new.is_empty() {
            return (new.lines().count() as u64, old.lines().count() as u64);
        }
        let diff = config().diff_lines(old, new);
        diff.iter_all_changes().fold((0, 0), |(added, removed), change| match change.tag() {
            ChangeTag::Insert => (added + 1, removed),
            ChangeTag::Delete => (added, removed + 1),
            ChangeTag::Equal => (added, removed),
        })
    });
    let kind = match (old, new) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    };
    FileChange {
        path: path.to_owned(),
        change: kind.to_owned(),
        lines_added: counts.map(|(added, _)| added),
        lines_removed: counts.map(|(_, removed)| removed),
    }
}

/// A file that is not there has no lines.
fn lines_of(content: Option<&Content>) -> Option<&str> {
    match content {
        None => Some(""),
        Some(Content::Text(text)) if text.len() <= MAX_COMPARED => Some(text),
        Some(_) => None,
    }
}

fn config() -> TextDiffConfig {
    let mut config = TextDiffConfig::default();
    config.algorithm(Algorithm::Myers).timeout(PATIENCE);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &[u8])]) -> Tree {
        Tree::sent(files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec()))).unwrap()
    }

    #[test]
    fn every_file_that_differs_is_told_once() {
        let old = tree(&[
            ("a.vgo", b"1\n2\n3\n"),
            ("gone.vgo", b"x\ny\n"),
            ("templates/b", b"\xff"),
            ("s.vgo", b""),
        ]);
        let new =
            tree(&[("a.vgo", b"1\n3\n4\n5\n"), ("new.vgo", b"z"), ("templates/b", b"\xfe"), ("s.vgo", b"")]);
        let told: Vec<String> = changes(Some(&old), &new)
            .iter()
            .map(|c| format!("{} {} {:?} {:?}", c.path, c.change, c.lines_added, c.lines_removed))
            .collect();
        assert_eq!(
            told,
            [
                "a.vgo changed Some(2) Some(1)",
                "gone.vgo removed Some(0) Some(2)",
                "new.vgo added Some(1) Some(0)",
                "templates/b changed None None"
            ]
        );
        let text = text(Some(&old), &new);
        for part in [
            "--- a/a.vgo\n+++ b/a.vgo\n",
            "-2\n",
            "+4\n",
            "+++ /dev/null\n",
            "--- /dev/null\n+++ b/new.vgo\n",
            "(not text",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(changes(Some(&new), &new), []);
        assert_eq!(changes(None, &new).len(), 4);
    }
}
