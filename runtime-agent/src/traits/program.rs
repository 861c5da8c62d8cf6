//! Programs that collectors ask.

use crate::command::Command;
use crate::root::Root;
use crate::text::{bounded, printable};
use std::time::Duration;

/// What it writes to its standard output; why not, when it does not end with one of `good`, takes longer than `limit` or
/// writes more than `most` bytes.
pub(super) fn ask(
    root: &Root,
    words: &[&str],
    limit: Duration,
    most: usize,
    good: &[i32],
) -> Result<String, String> {
    let command = Command::new(words.iter().map(|word| (*word).to_owned()).collect(), limit);
    let answer = command.ask_for(root, most).map_err(|e| e.to_string())?;
    if good.contains(&answer.code) {
        return Ok(answer.stdout);
    }
    let said = printable(bounded(answer.stderr.trim(), 200));
    let why = if said.is_empty() { String::new() } else { format!(": {said}") };
    Err(format!("`{}` ended with {}{why}", words.join(" "), answer.code))
}
