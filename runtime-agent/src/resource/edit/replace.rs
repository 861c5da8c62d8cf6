//! `replace`: every match of a regular expression.

use super::{Edit, EditError, Edited, Editor, MAX_EDITED};
use crate::resource::{Desired, ResourceError};

/// The edit.
pub struct Replace;
/// The type.
pub type ReplaceType = Editor<Replace>;

impl Edit for Replace {
    const KIND: &'static str = "replace";
    const ATTRIBUTES: &'static [&'static str] = &["pattern", "replacement"];

    fn edit(desired: &Desired, text: &str) -> Result<Edited, EditError> {
        let pattern = desired.regex("pattern")?.ok_or(ResourceError::Missing("pattern"))?;
        let replacement = desired.required("replacement")?;
        let new = pattern.replace_all(text, replacement).into_owned();
        if new == text {
            return Ok(Edited { text: new, changes: Vec::new() });
        }
        if new.len() as u64 > MAX_EDITED {
            return Err(EditError::invalid("replacement", "makes the file too large"));
        }
        if pattern.replace_all(&new, replacement) != new {
            return Err(EditError::invalid(
                "pattern",
                "matches what it was replaced with, so the file would change in every run; anchor it with `^` and `$`",
            ));
        }
        let matches = pattern.find_iter(text).count();
        let changes = vec![if matches == 1 {
            "1 match replaced".into()
        } else {
            format!("{matches} matches replaced")
        }];
        Ok(Edited { text: new, changes })
    }
}
