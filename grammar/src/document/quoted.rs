//! Single- and double-quoted scalars, on one line or several.

use super::lines::{BLANK, is_marker, line_end, skip_blanks, spaces};
use super::plain::tab_on_blank_line;
use super::scalar::{Scalar, TextBuilder};
use super::tree::Style;
use crate::Span;
use crate::error::{Sink, SyntaxError};

/// A quoted scalar and where it ends.
pub(super) struct Quoted {
    pub(super) scalar: Scalar,
    pub(super) end: usize,
    /// Whether the closing quote was found. If not, the text is the rest of the first line.
    pub(super) closed: bool,
    /// Tabs on a blank line within it, where only spaces may stand.
    pub(super) tab: Option<Span>,
}

/// Reads the quoted scalar at `at`. Further lines have to be indented by `floor` columns: a quote that is never closed
/// then costs only the block it stands in.
pub(super) fn scan(source: &str, at: usize, floor: usize, sink: &mut Sink) -> Quoted {
    let double = source.as_bytes().get(at) == Some(&b'"');
    let mut found = Sink::default();
    let mut reader = Reader { source, floor, out: TextBuilder::new(source), from: at + 1, tab: None };
    let end = if double { reader.double(at + 1, &mut found) } else { reader.single(at + 1) };
    let style = if double { Style::DoubleQuoted } else { Style::SingleQuoted };
    let Some(end) = end else {
        let (line, _) = line_end(source, at);
        let text = source[at + 1..line].trim_end_matches(BLANK);
        let quote = if double { '"' } else { '\'' };
        sink.push(
            SyntaxError::new(
                "unterminated-string",
                Span::of(at..at + 1),
                format!("this text has no closing `{quote}`"),
                "opened here",
            )
            .help(format!(
                "close it with `{quote}`; further lines of it have to be indented deeper than the key"
            )),
        );
        let mut out = TextBuilder::new(source);
        out.copy(at + 1..at + 1 + text.len());
        return Quoted { scalar: out.finish(style, at + 1), end: line, closed: false, tab: None };
    };
    sink.append(found);
    Quoted { scalar: reader.out.finish(style, at + 1), end, closed: true, tab: reader.tab }
}

/// The end of the quoted scalar at `at`, if it is on the same line.
pub(super) fn end_on_line(source: &str, at: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    let quote = *bytes.get(at)?;
    let mut i = at + 1;
    loop {
        match *bytes.get(i)? {
            b'\n' => return None,
            b'\\' if quote == b'"' && bytes.get(i + 1) != Some(&b'\n') => i += 2,
            b if b == quote => {
                if quote == b'\'' && bytes.get(i + 1) == Some(&b'\'') {
                    i += 2;
                } else {
                    return Some(i + 1);
                }
            }
            _ => i += 1,
        }
    }
}

struct Reader<'s> {
    source: &'s str,
    floor: usize,
    out: TextBuilder<'s>,
    /// Where the text that is not yet copied begins.
    from: usize,
    tab: Option<Span>,
}

impl Reader<'_> {
    fn single(&mut self, mut i: usize) -> Option<usize> {
        let bytes = self.source.as_bytes();
        loop {
            match *bytes.get(i)? {
                b'\'' if bytes.get(i + 1) == Some(&b'\'') => {
                    self.out.copy(self.from..i);
                    self.out.replace("'", i..i + 2);
                    i += 2;
                    self.from = i;
                }
                b'\'' => {
                    self.out.copy(self.from..i);
                    return Some(i + 1);
                }
                b'\n' => i = self.line_break(i)?,
                _ => i += 1,
            }
        }
    }

    fn double(&mut self, mut i: usize, sink: &mut Sink) -> Option<usize> {
        let bytes = self.source.as_bytes();
        loop {
            match *bytes.get(i)? {
                b'"' => {
                    self.out.copy(self.from..i);
                    return Some(i + 1);
                }
                b'\\' => {
                    self.out.copy(self.from..i);
                    i = self.escape(i, sink)?;
                    self.from = i;
                }
                b'\n' => i = self.line_break(i)?,
                _ => i += 1,
            }
        }
    }

    /// A line break inside the text: blanks around it go, one break is a space, more are newlines.
    fn line_break(&mut self, newline: usize) -> Option<usize> {
        let kept = self.source[self.from..newline].trim_end_matches([' ', '\t', '\r']).len();
        let kept = self.from + kept;
        self.out.copy(self.from..kept);
        let (blank, next) = self.next_line(newline + 1)?;
        self.out.fold(blank, kept..next);
        self.from = next;
        Some(next)
    }

    /// From the start of a line to the next text, over blank lines, which are counted.
    fn next_line(&mut self, mut start: usize) -> Option<(usize, usize)> {
        let (newline, mut blank) = (start - 1, 0);
        loop {
            let at = skip_blanks(self.source, start);
            match self.source.as_bytes().get(at)? {
                b'\n' => start = at + 1,
                b'\r' => start = at + 2,
                _ if spaces(self.source, start) < self.floor || is_marker(self.source, start) => return None,
                _ => {
                    self.tab = self.tab.or_else(|| tab_on_blank_line(self.source, newline, at, self.floor));
                    return Some((blank, at));
                }
            }
            blank += 1;
        }
    }

    /// The escape at `at`; returns what follows it.
    fn escape(&mut self, at: usize, sink: &mut Sink) -> Option<usize> {
        let rest = &self.source[at + 1..];
        let c = rest.chars().next()?;
        let after = at + 1 + c.len_utf8();
        let text = match c {
            '0' => "\0",
            'a' => "\u{7}",
            'b' => "\u{8}",
            't' | '\t' => "\t",
            'n' => "\n",
            'v' => "\u{b}",
            'f' => "\u{c}",
            'r' => "\r",
            'e' => "\u{1b}",
            ' ' => " ",
            '"' => "\"",
            '/' => "/",
            '\\' => "\\",
            'N' => "\u{85}",
            '_' => "\u{a0}",
            'L' => "\u{2028}",
            'P' => "\u{2029}",
            '\n' => return self.escaped_break(at, after),
            '\r' if rest.starts_with("\r\n") => return self.escaped_break(at, after + 1),
            'x' => return Some(self.code(at, 2, sink)),
            'u' => return Some(self.code(at, 4, sink)),
            'U' => return Some(self.code(at, 8, sink)),
            other => {
                let span = Span::of(at..after);
                sink.push(
                    SyntaxError::new(
                        "invalid-escape",
                        span,
                        format!("`\\{}` is not an escape", other.escape_debug()),
                        "unknown escape",
                    )
                    .help("write `\\\\` for a backslash, or use single quotes, which have no escapes")
                    .fix(Span::of(at..at + 1), "\\\\"),
                );
                self.out.copy(at..after);
                return Some(after);
            }
        };
        self.out.replace(text, at..after);
        Some(after)
    }

    /// `\` at the end of a line: the break goes, blanks before it stay.
    fn escaped_break(&mut self, at: usize, next: usize) -> Option<usize> {
        let (blank, next) = self.next_line(next)?;
        if blank > 0 {
            self.out.fold(blank, at..next);
        }
        Some(next)
    }

    /// `\x41`, `\u0041`, `\U00000041`
    fn code(&mut self, at: usize, digits: usize, sink: &mut Sink) -> usize {
        let start = at + 2;
        let found =
            self.source.as_bytes()[start..].iter().take(digits).take_while(|b| b.is_ascii_hexdigit()).count();
        let end = start + found;
        let value = (found == digits)
            .then(|| u32::from_str_radix(&self.source[start..end], 16).ok())
            .flatten()
            .and_then(char::from_u32);
        if let Some(c) = value {
            self.out.replace(c.encode_utf8(&mut [0; 4]), at..end);
        } else {
            let kind = &self.source[at..start];
            let message = if found == digits {
                format!("`{}` is not a character", &self.source[at..end])
            } else {
                format!("`{kind}` needs {digits} hexadecimal digits")
            };
            sink.push(
                SyntaxError::new("invalid-escape", Span::of(at..end), message, "this escape")
                    .help("write the character itself, or `\\\\` for a backslash"),
            );
            self.out.copy(at..end);
        }
        end
    }
}
