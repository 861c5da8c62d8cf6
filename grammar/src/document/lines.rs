//! Questions about lines, answered from the text alone.

/// What YAML takes for blank; other spaces of Unicode are text.
pub(super) const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

/// Where the text of the line that holds `at` ends, and where the next line begins.
pub(super) fn line_end(source: &str, at: usize) -> (usize, usize) {
    match source.get(at..).and_then(|rest| rest.find('\n')) {
        Some(found) => {
            let newline = at + found;
            let end =
                if found > 0 && source.as_bytes()[newline - 1] == b'\r' { newline - 1 } else { newline };
            (end, newline + 1)
        }
        None => {
            let end = source.len();
            let cr = end > at && source.as_bytes()[end - 1] == b'\r';
            (if cr { end - 1 } else { end }, end)
        }
    }
}

/// The first byte at or after `at` that is no blank. A lone carriage return counts as a blank (and is reported elsewhere).
pub(super) fn skip_blanks(source: &str, mut at: usize) -> usize {
    let bytes = source.as_bytes();
    while let Some(b) = bytes.get(at) {
        match b {
            b' ' | b'\t' => at += 1,
            b'\r' if bytes.get(at + 1) != Some(&b'\n') => at += 1,
            _ => break,
        }
    }
    at
}

/// The number of spaces from `at` on.
pub(super) fn spaces(source: &str, at: usize) -> usize {
    source.as_bytes()[at..].iter().take_while(|b| **b == b' ').count()
}

/// Whether a line break or the end of the text is at `at`.
pub(super) fn at_end(source: &str, at: usize) -> bool {
    match source.as_bytes().get(at) {
        None | Some(b'\n') => true,
        Some(b'\r') => source.as_bytes().get(at + 1) == Some(&b'\n'),
        _ => false,
    }
}

/// Whether `at` is at a blank or the end of a line.
pub(super) fn at_blank(source: &str, at: usize) -> bool {
    at_end(source, at) || matches!(source.as_bytes().get(at), Some(b' ' | b'\t' | b'\r'))
}

/// Whether the line that begins at `start` is `---` or `...`.
pub(super) fn is_marker(source: &str, start: usize) -> bool {
    let rest = &source.as_bytes()[start..];
    (rest.starts_with(b"---") || rest.starts_with(b"...")) && at_blank(source, start + 3)
}

/// The end of the line's text without a trailing comment and blanks. Quotes are not looked at.
pub(super) fn before_comment(source: &str, at: usize) -> usize {
    let (end, _) = line_end(source, at);
    let line = &source[at..end];
    let bytes = line.as_bytes();
    let comment = (1..bytes.len()).find(|&i| bytes[i] == b'#' && matches!(bytes[i - 1], b' ' | b'\t'));
    let line = &line[..comment.unwrap_or(line.len())];
    at + line.trim_end_matches([' ', '\t', '\r']).len()
}
