//! A text as lines that keep their ends.

/// The end that new lines of a text get: that of its first line.
pub fn line_end(text: &str) -> &'static str {
    match text.find('\n').and_then(|at| text.get(..at)) {
        Some(first) if first.ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// The lines, each with its end; only the last may have none.
pub fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// A line without its end.
pub fn body(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// Puts whole lines before line `at`. The line before gets an end, if it has none.
pub fn insert(lines: &[&str], at: usize, new: &str, end: &str) -> String {
    let (before, after) = lines.split_at(at.min(lines.len()));
    let mut text = before.concat();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str(end);
    }
    text.push_str(new);
    text.push_str(&after.concat());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_ends() {
        assert_eq!(lines("a\r\nb\n\nc"), ["a\r\n", "b\n", "\n", "c"]);
        assert_eq!(lines("a\r\nb").concat(), "a\r\nb");
        assert_eq!((line_end("a\r\nb\n"), line_end("a\nb\r\n"), line_end("a")), ("\r\n", "\n", "\n"));
        assert_eq!(body("a\r\n"), "a");
        assert_eq!(insert(&["a"], 1, "b\n", "\n"), "a\nb\n");
        assert_eq!(insert(&["a\n"], 0, "b\n", "\n"), "b\na\n");
    }
}
