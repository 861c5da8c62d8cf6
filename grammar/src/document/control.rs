//! Characters that do not print, found before anything else looks at the text.

use crate::Span;
use crate::error::{Sink, SyntaxError};

/// Reports every run of characters that YAML does not allow in a file.
pub(super) fn check(source: &str, start: usize, sink: &mut Sink) {
    let bytes = source.as_bytes();
    let mut i = start;
    while let Some(&b) = bytes.get(i) {
        if (b' '..0x7f).contains(&b) || b == b'\n' || b == b'\t' {
            i += 1;
            continue;
        }
        let length = bad(&bytes[i..]);
        if length == 0 {
            i += 1;
            continue;
        }
        let from = i;
        i += length;
        // A run of the same byte is one mistake.
        while bytes.get(i) == Some(&b) && bad(&bytes[i..]) == length {
            i += length;
        }
        sink.push(report(source, from, i, length));
    }
}

/// The length of the forbidden character at the front, 0 if it is allowed.
fn bad(bytes: &[u8]) -> usize {
    match bytes {
        [b'\t' | b'\n', ..] | [b'\r', b'\n', ..] => 0,
        [0..=0x1f | 0x7f, ..] => 1,
        [0xc2, 0x85, ..] => 0,
        [0xc2, 0x80..=0x9f, ..] => 2,
        [0xef, 0xbf, 0xbe | 0xbf, ..] | [0xef, 0xbb, 0xbf, ..] => 3,
        _ => 0,
    }
}

fn report(source: &str, from: usize, to: usize, length: usize) -> SyntaxError {
    let code = source.get(from..from + length).and_then(|s| s.chars().next()).map_or(0, u32::from);
    let what = match code {
        0x0d => "a carriage return without a line feed".to_owned(),
        0xfeff => "a byte order mark inside the file".to_owned(),
        _ => format!("the control character U+{code:04X}"),
    };
    let error = SyntaxError::new(
        "control-character",
        Span::of(from..to),
        format!("the file contains {what}"),
        "invisible character",
    );
    if code == 0x0d {
        return error.help("end lines with a line feed, or with both").fix(Span::of(from..to), "\n");
    }
    error
        .help("remove it; in double quotes it can be written as an escape such as `\\x07`")
        .fix(Span::of(from..to), "")
}
