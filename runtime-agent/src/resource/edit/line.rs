//! `file_line`: one line that is there, or is not.

use super::lines::{body, insert, line_end, lines};
use super::{Edit, EditError, Edited, Editor};
use crate::resource::{Desired, ResourceError};
use regex::Regex;

/// The edit.
pub struct Line;
/// The type.
pub type LineType = Editor<Line>;

impl Edit for Line {
    const KIND: &'static str = "file_line";
    const ATTRIBUTES: &'static [&'static str] =
        &["state", "line", "pattern", "insert_after", "insert_before"];

    fn edit(desired: &Desired, text: &str) -> Result<Edited, EditError> {
        let line = desired.text("line")?;
        let pattern = desired.regex("pattern")?;
        if line.is_some_and(|line| line.contains(['\n', '\r'])) {
            return Err(EditError::invalid("line", "is more than one line; `blockinfile` is for several"));
        }
        let all = lines(text);
        let meant = |l: &&str| line == Some(body(l)) || pattern.as_ref().is_some_and(|p| p.is_match(body(l)));
        let unchanged = || Edited { text: text.to_owned(), changes: Vec::new() };
        let found = all.iter().filter(|l| meant(l)).count();
        if desired.word("state", &["present", "absent"])? == "absent" {
            if line.is_none() && pattern.is_none() {
                return Err(ResourceError::Missing("line").into());
            }
            if found == 0 {
                return Ok(unchanged());
            }
            let text = all.iter().filter(|l| !meant(l)).copied().collect();
            return Ok(Edited { text, changes: vec![counted(found, "removed")] });
        }
        let line = line.ok_or(ResourceError::Missing("line"))?;
        if found == 0 {
            let end = line_end(text);
            let at = place(desired, &all)?;
            let text = insert(&all, at, &format!("{line}{end}"), end);
            return Ok(Edited { text, changes: vec!["line added".to_owned()] });
        }
        // Without a pattern what is meant is the line itself, however often it is there.
        if pattern.is_none() {
            return Ok(unchanged());
        }
        let mut out = String::with_capacity(text.len());
        let (mut kept, mut replaced) = (false, false);
        for l in &all {
            if !meant(l) {
                out.push_str(l);
            } else if !kept {
                kept = true;
                replaced = body(l) != line;
                out.push_str(line);
                out.push_str(l.get(body(l).len()..).unwrap_or_default());
            }
        }
        let mut changes = Vec::new();
        if replaced {
            changes.push("line replaced".to_owned());
        }
        if found > 1 {
            changes.push(counted(found - 1, "removed"));
        }
        Ok(Edited { text: out, changes })
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("line {what}"),
        n => format!("{n} lines {what}"),
    }
}

/// Where new lines go: before this line.
pub(super) fn place(desired: &Desired, all: &[&str]) -> Result<usize, EditError> {
    let (after, before) = (desired.regex("insert_after")?, desired.regex("insert_before")?);
    if after.is_some() && before.is_some() {
        return Err(EditError::invalid("insert_before", "cannot be given beside `insert_after`"));
    }
    let is = |p: &Regex, l: &&str| p.is_match(body(l));
    let at = match (&after, &before) {
        (Some(p), _) => all.iter().rposition(|l| is(p, l)).map(|at| at + 1),
        (_, Some(p)) => all.iter().position(|l| is(p, l)),
        _ => None,
    };
    Ok(at.unwrap_or(all.len()))
}
