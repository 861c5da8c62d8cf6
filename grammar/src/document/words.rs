//! Pieces of messages.

/// Text as a quoted scalar, in the quotes that need the fewest escapes.
pub(super) fn quoted(text: &str) -> String {
    if !text.contains(['"', '\\']) {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// Text in backticks, or in quotes if it holds one.
pub(super) fn tick(text: &str) -> String {
    if text.contains('`') { format!("'{text}'") } else { format!("`{text}`") }
}

/// Text short enough for a message.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
