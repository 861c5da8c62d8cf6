//! Content of files: comparing it and showing how it differs.

use crate::root::{FsError, ManagedPath, Root};
use similar::{Algorithm, ChangeTag, TextDiffConfig};
use std::io::Read;

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
    let mut config = TextDiffConfig::default();
    config.algorithm(Algorithm::Myers).timeout(std::time::Duration::from_millis(500));
    let diff = config.diff_lines(old, new);
    let count = |tag| diff.iter_all_changes().filter(|c| c.tag() == tag).count();
    let text = if shown {
        let full = diff
            .unified_diff()
            .context_radius(3)
            .header(&format!("a{path}"), &format!("b{path}"))
            .to_string();
        crate::text::printable_lines(&cut(&full))
    } else {
        String::new()
    };
    Some(Diff { text, added: count(ChangeTag::Insert), removed: count(ChangeTag::Delete) })
}

/// As much of a diff as is shown and reported.
pub(super) fn cut(full: &str) -> String {
    let kept = crate::text::bounded(full, MAX_SHOWN);
    let end = if kept.len() < full.len() { "\n... (diff cut)\n" } else { "" };
    format!("{kept}{end}")
}
