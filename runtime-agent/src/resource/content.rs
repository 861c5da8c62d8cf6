//! Content of files: comparing it and showing how it differs.

use crate::root::{FsError, ManagedPath, Root};
use similar::algorithms::{Capture, Compact, Replace, myers};
use similar::udiff::UnifiedHunkHeader;
use similar::{ChangeTag, DiffOp, group_diff_ops};
use std::fmt::Write;
use std::io::Read;
use std::time::{Duration, Instant};

/// How two texts differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Unified, capped; empty where none was asked for.
    pub text: String,
    /// Lines that are new.
    pub added: usize,
    /// Lines that are gone.
    pub removed: usize,
}

/// Larger contents are compared but not diffed.
const MAX_DIFFED: u64 = 1 << 20;
const MAX_SHOWN: usize = 32 << 10;
/// What is not compared by then is shown as gone and new.
const LIMIT: Duration = Duration::from_millis(500);
/// Lines around what changed.
const CONTEXT: usize = 3;

/// Whether a file holds exactly these bytes. Reads no further than the first difference.
pub fn holds(root: &Root, path: &ManagedPath, want: &[u8]) -> Result<bool, FsError> {
    let (mut file, meta) = root.read(path)?;
    if meta.size != want.len() as u64 {
        return Ok(false);
    }
    let mut buffer = [0; 16 << 10];
    let mut rest = want;
    loop {
        let read = file.read(&mut buffer).map_err(|e| FsError {
            action: "read",
            path: crate::text::printable(&path.to_string()),
            errno: e.raw_os_error().map_or(nix::errno::Errno::EIO, nix::errno::Errno::from_raw),
        })?;
        if read == 0 {
            return Ok(rest.is_empty());
        }
        match buffer.get(..read).and_then(|have| rest.strip_prefix(have)) {
            Some(tail) => rest = tail,
            None => return Ok(false),
        }
    }
}

/// The present text of a file, where it can be diffed.
pub fn text_of(root: &Root, path: &ManagedPath) -> Option<String> {
    let (file, meta) = root.read(path).ok()?;
    if meta.size > MAX_DIFFED {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_DIFFED).read_to_end(&mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

/// Counts lines, and shows them when `shown`.
pub fn diff(path: &str, old: &str, new: &str, shown: bool) -> Option<Diff> {
    if new.len() as u64 > MAX_DIFFED {
        return None;
    }
    let (old, new): (Vec<&str>, Vec<&str>) =
        (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let operations = compare(&old, &new);
    let changes = || operations.iter().flat_map(|op| op.iter_changes(&old[..], &new[..]));
    let count = |tag| changes().filter(|c| c.tag() == tag).count();
    let (added, removed) = (count(ChangeTag::Insert), count(ChangeTag::Delete));
    let text = if shown && added + removed > 0 {
        let full = format!("--- a{path}\n+++ b{path}\n{}", unified(&old, &new, operations));
        crate::text::printable_lines(&cut(&full))
    } else {
        String::new()
    };
    Some(Diff { text, added, removed })
}

/// By the one algorithm that is needed here: `TextDiff` of the same crate brings all of them, which is a twentieth of the agent.
fn compare(old: &[&str], new: &[&str]) -> Vec<DiffOp> {
    let mut capture = Compact::new(Replace::new(Capture::new()), old, new);
    let deadline = Some(Instant::now() + LIMIT);
    let Ok(()) = myers::diff_deadline(&mut capture, old, 0..old.len(), new, 0..new.len(), deadline);
    capture.into_inner().into_inner().into_ops()
}

fn unified(old: &[&str], new: &[&str], operations: Vec<DiffOp>) -> String {
    let mut text = String::new();
    for hunk in group_diff_ops(operations, CONTEXT).iter().filter(|hunk| !hunk.is_empty()) {
        // Nothing fails that is written to a text.
        let _ = writeln!(text, "{}", UnifiedHunkHeader::new(hunk));
        for change in hunk.iter().flat_map(|op| op.iter_changes(old, new)) {
            let line: &str = change.value();
            let end = if line.ends_with('\n') { "" } else { "\n\\ No newline at end of file\n" };
            let _ = write!(text, "{}{line}{end}", change.tag());
        }
    }
    text
}

/// As much of a diff as is shown and reported.
pub(super) fn cut(full: &str) -> String {
    let kept = crate::text::bounded(full, MAX_SHOWN);
    let end = if kept.len() < full.len() { "\n... (diff cut)\n" } else { "" };
    format!("{kept}{end}")
}
