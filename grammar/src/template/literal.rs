//! Literals of Go: quoted texts and numbers.

use super::OperandKind;
use crate::Span;
use crate::error::{Sink, SyntaxError};

/// The text of a `"..."` with Go's escapes.
pub(super) fn unquote(written: &str, span: Span, sink: &mut Sink) -> String {
    let inner = written.get(1..written.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return inner.to_owned();
    }
    // Bytes, because `\xc3\xa9` may spell a character.
    let mut out: Vec<u8> = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let here = &rest[at..];
        let length = match escape(here) {
            Some((bytes, length)) => {
                out.extend_from_slice(bytes.as_slice());
                length
            }
            None => {
                let length = 1 + here[1..].chars().next().map_or(0, char::len_utf8);
                let start = span.start + Span::of(0..1 + inner.len() - here.len()).end;
                let at = Span::new(start, start + Span::of(0..length).end);
                sink.push(
                    SyntaxError::new(
                        "template-escape",
                        at,
                        format!("`\\{}` is not an escape", here[1..length].escape_debug()),
                        "unknown escape",
                    )
                    .help(
                        "write `\\\\` for a backslash, or put the text in backquotes, which have no escapes",
                    )
                    .fix(Span::new(at.start, at.start + 1), "\\\\"),
                );
                out.extend_from_slice(&here.as_bytes()[..length]);
                length
            }
        };
        rest = &here[length..];
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).unwrap_or_else(|error| {
        sink.push(
            SyntaxError::new(
                "template-escape",
                span,
                "the escapes of this text do not spell UTF-8",
                "not UTF-8",
            )
            .help("write the characters themselves, or `\\u00e9`"),
        );
        String::from_utf8_lossy(error.as_bytes()).into_owned()
    })
}

/// A few bytes without an allocation.
struct Bytes([u8; 4], usize);

impl Bytes {
    fn of(c: char) -> Self {
        let mut bytes = [0; 4];
        let length = c.encode_utf8(&mut bytes).len();
        Bytes(bytes, length)
    }

    fn as_slice(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

/// The bytes of the escape at the front of `text`, and its length.
fn escape(text: &str) -> Option<(Bytes, usize)> {
    let code = |from: usize, to: usize, radix: u32| {
        let digits = text.get(from..to)?;
        // `from_str_radix` would take a sign.
        digits.chars().all(|c| c.is_digit(radix)).then(|| u32::from_str_radix(digits, radix).ok()).flatten()
    };
    let byte = |value: u32| u8::try_from(value).ok().map(|b| Bytes([b, 0, 0, 0], 1));
    let simple = |c: char| Some((Bytes::of(c), 2));
    match text.as_bytes().get(1)? {
        b'a' => simple('\u{7}'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'v' => simple('\u{b}'),
        b'\\' => simple('\\'),
        b'"' => simple('"'),
        b'x' => Some((byte(code(2, 4, 16)?)?, 4)),
        b'0'..=b'7' => Some((byte(code(1, 4, 8)?)?, 4)),
        b'u' => Some((Bytes::of(char::from_u32(code(2, 6, 16)?)?), 6)),
        b'U' => Some((Bytes::of(char::from_u32(code(2, 10, 16)?)?), 10)),
        _ => None,
    }
}

/// What is wrong with a number.
pub(super) enum BadNumber {
    Syntax,
    TooLarge,
    Complex,
    HexFloat,
}

/// A number as Go reads it: `010` is octal, `1e3` is a float, `_` may separate digits.
pub(super) fn number(written: &str) -> Result<OperandKind, BadNumber> {
    let (negative, digits) = match written.as_bytes().first() {
        Some(b'-') => (true, &written[1..]),
        Some(b'+') => (false, &written[1..]),
        _ => (false, written),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = if let Some(body) = lower.strip_prefix("0x") {
        (16, body)
    } else if let Some(body) = lower.strip_prefix("0o") {
        (8, body)
    } else if let Some(body) = lower.strip_prefix("0b") {
        (2, body)
    } else if lower.len() > 1
        && lower.starts_with('0')
        && lower.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if lower.ends_with('i') {
        return Err(BadNumber::Complex);
    }
    if !underscores_ok(&lower) {
        return Err(BadNumber::Syntax);
    }
    let body: String = body.chars().filter(|c| *c != '_').collect();
    if !body.is_empty() && body.chars().all(|c| c.is_digit(radix)) {
        let signed = if negative { format!("-{body}") } else { body };
        return i64::from_str_radix(&signed, radix).map(OperandKind::Int).map_err(|_| BadNumber::TooLarge);
    }
    if radix == 16 && body.contains(['p', '.']) {
        return Err(BadNumber::HexFloat);
    }
    let plain = lower.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-' | b'_'));
    if radix != 10 || !plain || !lower.contains(['.', 'e']) {
        return Err(BadNumber::Syntax);
    }
    match body.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(OperandKind::Float(if negative { -value } else { value })),
        Ok(_) => Err(BadNumber::TooLarge),
        Err(_) => Err(BadNumber::Syntax),
    }
}

/// An underscore stands between two digits, or between a prefix such as `0x` and a digit.
fn underscores_ok(lower: &str) -> bool {
    let prefixed = ["0x", "0o", "0b"].iter().any(|prefix| lower.starts_with(prefix));
    let body = if prefixed { &lower[2..] } else { lower };
    let digit = |b: u8| if prefixed { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
    let mut before = prefixed;
    let mut pending = false;
    for b in body.bytes() {
        if b == b'_' {
            if !before {
                return false;
            }
            before = false;
            pending = true;
        } else {
            if pending && !digit(b) {
                return false;
            }
            pending = false;
            before = digit(b);
        }
    }
    !pending
}
