//! `blockinfile`: lines between two markers.

use super::line::place;
use super::lines::{body, insert, line_end, lines};
use super::{Edit, EditError, Edited, Editor};
use crate::resource::{Desired, ResourceError};

/// The edit.
pub struct Block;
/// The type.
pub type BlockType = Editor<Block>;

impl Edit for Block {
    const KIND: &'static str = "blockinfile";
    const ATTRIBUTES: &'static [&'static str] =
        &["state", "block", "label", "comment", "comment_end", "insert_after", "insert_before"];

    fn is_sensitive(desired: &Desired) -> bool {
        desired.is_sensitive("block")
    }

    fn edit(desired: &Desired, text: &str) -> Result<Edited, EditError> {
        let (begin, end) = (marker(desired, "BEGIN")?, marker(desired, "END")?);
        let all = lines(text);
        let at = |marker: &str| -> Vec<usize> {
            all.iter().enumerate().filter(|(_, l)| body(l).trim() == marker).map(|(at, _)| at).collect()
        };
        let (begins, ends) = (at(&begin), at(&end));
        let present = match (begins.as_slice(), ends.as_slice()) {
            ([], []) => None,
            ([from], [to]) if from < to => Some((*from, *to)),
            (first, last) => {
                let offset = first.first().or(last.first()).copied().unwrap_or_default();
                let what =
                    "the markers of the block do not match: there has to be one BEGIN, and one END after it";
                let offset = all.iter().take(offset).map(|l| l.len()).sum();
                return Err(EditError::at(text, offset, what));
            }
        };
        let line_end = line_end(text);
        let absent = desired.word("state", &["present", "absent"])? == "absent";
        let wanted =
            if absent { None } else { Some(desired.text("block")?.ok_or(ResourceError::Missing("block"))?) };
        let Some(wanted) = wanted else {
            let Some((from, to)) = present else {
                return Ok(Edited { text: text.to_owned(), changes: Vec::new() });
            };
            let kept = all.iter().enumerate().filter(|(at, _)| *at < from || *at > to).map(|(_, l)| *l);
            return Ok(Edited { text: kept.collect(), changes: vec!["block removed".to_owned()] });
        };
        let mut block = String::new();
        for l in wanted.lines() {
            if [&begin, &end].into_iter().any(|marker| l.trim() == marker) {
                return Err(EditError::invalid("block", "holds a line that is one of its own markers"));
            }
            block.push_str(l);
            block.push_str(line_end);
        }
        let Some((from, to)) = present else {
            let new = format!("{begin}{line_end}{block}{end}{line_end}");
            let text = insert(&all, place(desired, &all)?, &new, line_end);
            return Ok(Edited { text, changes: vec!["block added".to_owned()] });
        };
        let inside: String = all.get(from + 1..to).unwrap_or_default().concat();
        let changes = if inside == block { Vec::new() } else { vec!["block replaced".to_owned()] };
        let head: String = all.get(..=from).unwrap_or_default().concat();
        let tail: String = all.get(to..).unwrap_or_default().concat();
        Ok(Edited { text: format!("{head}{block}{tail}"), changes })
    }
}

fn marker(desired: &Desired, word: &str) -> Result<String, EditError> {
    let label = desired.required("label")?;
    let (open, close) = (desired.required("comment")?, desired.text("comment_end")?.unwrap_or_default());
    for (name, text) in [("label", label), ("comment", open), ("comment_end", close)] {
        if text.chars().any(char::is_control) || text.trim() != text {
            return Err(EditError::invalid(name, "has to be one line, without spaces at its ends"));
        }
    }
    if label.is_empty() {
        return Err(EditError::invalid("label", "is empty; it tells this block from others"));
    }
    Ok(format!("{open} {word} {label} {close}").trim().to_owned())
}
