//! Coverage in the format of lcov, which most CI servers and editors read: lines are those on which a node entry, a module or
//! a resource begins, branches the outcomes of conditions and the labels of `match:`.

use super::coverage::{Covered, Decision};
use std::fmt::Write;

/// A record for each file; `prefix` leads from where paths begin to the policy.
pub(super) fn text(covered: &Covered, prefix: &str) -> String {
    let mut out = String::new();
    for (path, file) in &covered.files {
        // writing to a String cannot fail
        _ = writeln!(out, "TN:\nSF:{prefix}{path}");
        for (line, count) in &file.lines {
            _ = writeln!(out, "DA:{line},{count}");
        }
        let hit = file.lines.values().filter(|count| **count > 0).count();
        _ = writeln!(out, "LF:{}\nLH:{hit}", file.lines.len());
        for (block, decision) in file.decisions.iter().enumerate() {
            branches(&mut out, block, decision);
        }
        let taken = || file.decisions.iter().flat_map(|d| &d.taken);
        let hit = taken().filter(|count| **count > 0).count();
        _ = writeln!(out, "BRF:{}\nBRH:{hit}\nend_of_record", taken().count());
    }
    out
}

/// What no test comes to is `-`, what tests come to but never take is 0.
fn branches(out: &mut String, block: usize, decision: &Decision) {
    let reached = decision.taken.iter().any(|count| *count > 0);
    for (branch, count) in decision.taken.iter().enumerate() {
        let count = if reached { count.to_string() } else { "-".to_owned() };
        _ = writeln!(out, "BRDA:{},{block},{branch},{count}", decision.line);
    }
}
