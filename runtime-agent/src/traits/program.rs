//! Programs that collectors ask.

use crate::command::{Command, HowEnded, Source};
use crate::root::Root;
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
    let what = words.join(" ");
    let command = Command::new(words.iter().map(|word| (*word).to_owned()).collect(), limit);
    let (mut output, mut complaint, mut over) = (Vec::new(), Vec::new(), false);
    let how = command.follow(root, &|| false, &mut |source, bytes| {
        let (kept, most) = match source {
            Source::Stdout => (&mut output, most),
            Source::Stderr => (&mut complaint, 200),
        };
        let room = most.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
        over |= source == Source::Stdout && room < bytes.len();
    });
    let said = String::from_utf8_lossy(&complaint).trim().to_owned();
    match how.map_err(|e| e.to_string())? {
        HowEnded::Code(_) if over => Err(format!("`{what}` wrote more than {most} bytes")),
        HowEnded::Code(code) if good.contains(&code) => Ok(String::from_utf8_lossy(&output).into_owned()),
        HowEnded::Code(code) if said.is_empty() => Err(format!("`{what}` ended with {code}")),
        HowEnded::Code(code) => Err(format!("`{what}` ended with {code}: {said}")),
        HowEnded::TimedOut | HowEnded::Stopped => {
            Err(format!("`{what}` was stopped after {}", crate::text::took(limit)))
        }
    }
}
