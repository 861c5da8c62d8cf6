//! Text as Go writes it in a program.

/// `strconv.Quote`, or `QuoteToASCII`.
pub(crate) fn quoted(text: &str, ascii: bool) -> String {
    let mut out = String::from('"');
    text.chars().for_each(|c| escape(c, '"', ascii, &mut out));
    out.push('"');
    out
}

/// `strconv.QuoteRune`, or `QuoteRuneToASCII`.
pub(crate) fn quoted_char(c: char, ascii: bool) -> String {
    let mut out = String::from('\'');
    escape(c, '\'', ascii, &mut out);
    out.push('\'');
    out
}

fn escape(c: char, quote: char, ascii: bool, out: &mut String) {
    match c {
        '\\' => out.push_str("\\\\"),
        c if c == quote => out.extend(['\\', c]),
        c if printable(c) && (c.is_ascii() || !ascii) => out.push(c),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if c.is_ascii() => out.push_str(&format!("\\x{:02x}", c as u32)),
        c if (c as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
        c => out.push_str(&format!("\\U{:08x}", c as u32)),
    }
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols, and the ASCII space.
///
/// The standard library tells the same set, if in a roundabout way: `escape_debug` of a text leaves exactly these
/// as they are, but for quotes, the backslash, and marks at its very beginning.
pub(crate) fn printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    let mut text = String::from('a');
    text.push(c);
    text.escape_debug().nth(1) == Some(c)
}
