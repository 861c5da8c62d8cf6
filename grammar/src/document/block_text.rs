//! Block scalars: `|` and `>`.

use super::lines::{BLANK, at_end, is_marker, line_end, skip_blanks, spaces};
use super::scalar::{Scalar, TextBuilder};
use super::tree::Style;
use super::words::quoted;
use crate::Span;
use crate::error::{Sink, SyntaxError};

/// A block scalar and what was read with it.
pub(super) struct BlockText {
    pub(super) scalar: Scalar,
    /// The end of its last line of text.
    pub(super) end: usize,
    /// The start of the line after it.
    pub(super) next: usize,
    /// A comment on the header's line.
    pub(super) comment: Option<Span>,
}

/// What to do with line breaks at the end.
#[derive(Clone, Copy, PartialEq)]
enum Chomp {
    Clip,
    Strip,
    Keep,
}

struct Header {
    explicit: Option<usize>,
    chomp: Chomp,
    end: usize,
}

/// Reads the block scalar whose `|` or `>` is at `at`. `parent` is the column of the block around it, `None` at the root.
///
/// Returns nothing when the line is not a header but text that should have been quoted (`>= 1.2`).
pub(super) fn scan(source: &str, at: usize, parent: Option<usize>, sink: &mut Sink) -> Option<BlockText> {
    let style = if source.as_bytes().get(at) == Some(&b'|') { Style::Literal } else { Style::Folded };
    let floor = parent.map_or(0, |col| col + 1);
    let header = header(source, at + 1);
    let (line, body) = line_end(source, at);
    let after = skip_blanks(source, header.end);
    let mut comment = None;
    if after > header.end && source.as_bytes().get(after) == Some(&b'#') {
        comment = Some(Span::of(after..line));
    } else if !at_end(source, after) {
        let text = source[at..line].trim_end_matches(BLANK);
        let deeper = first_text(source, body).is_some_and(|(col, _)| col >= floor);
        let mut error = SyntaxError::new(
            "bad-block-header",
            Span::of(after..at + text.len()),
            format!("this cannot follow `{}`", &source[at..header.end]),
            "not part of a block header",
        );
        if deeper && after > header.end {
            error =
                error.help("the text begins on the next line; `|` and `>` take only `+` or `-` and a digit");
            sink.push(error);
        } else {
            let end = super::lines::before_comment(source, at);
            sink.push(
                error.help("quote the value if it is text").fix(Span::of(at..end), quoted(&source[at..end])),
            );
            return None;
        }
    }
    let indent = match header.explicit {
        Some(digit) => parent.unwrap_or(0) + digit,
        None => detect(source, body, floor, sink),
    };
    let mut reader = Reader {
        source,
        indent,
        floor,
        out: TextBuilder::new(source),
        end: header.end,
        next: body,
        warned: false,
    };
    match style {
        Style::Literal => reader.literal(header.chomp, sink),
        _ => reader.folded(header.chomp, sink),
    }
    Some(BlockText { scalar: reader.out.finish(style, body), end: reader.end, next: reader.next, comment })
}

fn header(source: &str, mut at: usize) -> Header {
    let (mut explicit, mut chomp) = (None, None);
    loop {
        match source.as_bytes().get(at) {
            Some(digit @ b'1'..=b'9') if explicit.is_none() => explicit = Some(usize::from(digit - b'0')),
            Some(b'-') if chomp.is_none() => chomp = Some(Chomp::Strip),
            Some(b'+') if chomp.is_none() => chomp = Some(Chomp::Keep),
            _ => return Header { explicit, chomp: chomp.unwrap_or(Chomp::Clip), end: at },
        }
        at += 1;
    }
}

/// The column and the start of the first line with text.
fn first_text(source: &str, mut start: usize) -> Option<(usize, usize)> {
    while start < source.len() {
        let col = spaces(source, start);
        if !at_end(source, start + col) {
            return Some((col, start));
        }
        start = line_end(source, start + col).1;
    }
    None
}

/// The indentation of the first line with text.
fn detect(source: &str, body: usize, floor: usize, sink: &mut Sink) -> usize {
    let mut start = body;
    let mut widest = (0, body);
    while start < source.len() {
        let col = spaces(source, start);
        if at_end(source, start + col) {
            if col > widest.0 {
                widest = (col, start);
            }
            start = line_end(source, start + col).1;
            continue;
        }
        if col < floor || is_marker(source, start) {
            break;
        }
        if widest.0 > col {
            sink.push(
                SyntaxError::new(
                    "bad-block-indent",
                    Span::of(widest.1..widest.1 + widest.0),
                    "a blank line before the text has more spaces than the text's first line",
                    "these spaces",
                )
                .help("remove the spaces of the blank line")
                .fix(Span::of(widest.1..widest.1 + widest.0), ""),
            );
        }
        return col;
    }
    widest.0.max(floor)
}

struct Reader<'s> {
    source: &'s str,
    indent: usize,
    floor: usize,
    out: TextBuilder<'s>,
    end: usize,
    next: usize,
    warned: bool,
}

/// A line of a block scalar.
enum Line {
    /// No text; has a line break.
    Blank,
    /// Text from here to the end of the line.
    Text(usize),
}

impl Reader<'_> {
    /// The next line, if it still belongs to the scalar, with the end of its text and the start of the next one.
    fn line(&mut self, sink: &mut Sink) -> Option<(Line, usize, usize)> {
        let start = self.next;
        if start >= self.source.len() {
            return None;
        }
        let col = spaces(self.source, start);
        let (end, next) = line_end(self.source, start);
        if start + col >= end && col <= self.indent {
            self.next = next;
            return Some((Line::Blank, end, next));
        }
        if col < self.indent {
            let tab = start + col;
            if self.source.as_bytes()[tab] == b'\t' && at_end(self.source, skip_blanks(self.source, tab)) {
                // Neither an empty line (8.1.1.2) nor one of the text.
                let span = Span::of(tab..end);
                sink.push(super::values::tab_on_blank_line(span));
                self.next = next;
                return Some((Line::Blank, end, next));
            }
            if col < self.floor
                || self.source.as_bytes()[start + col] == b'#'
                || is_marker(self.source, start)
            {
                return None;
            }
            if !self.warned {
                self.warned = true;
                let first = self.source[start + col..].chars().next().map_or(0, char::len_utf8);
                sink.push(
                    SyntaxError::new(
                        "bad-block-indent",
                        Span::of(start..start + col + first),
                        format!(
                            "this line is indented by {col}, less than the first line of the text ({})",
                            self.indent
                        ),
                        "indented less",
                    )
                    .help("indent every line of the text at least like its first one")
                    .fix(Span::of(start..start + col), " ".repeat(self.indent)),
                );
            }
            self.next = next;
            return Some((Line::Text(start + col), end, next));
        }
        if self.indent == 0 && is_marker(self.source, start) {
            return None;
        }
        self.next = next;
        Some((Line::Text(start + self.indent), end, next))
    }

    fn literal(&mut self, chomp: Chomp, sink: &mut Sink) {
        // Length of the text without and with the break of its last line.
        let (mut bare, mut clipped) = (0, 0);
        while let Some((line, end, next)) = self.line(sink) {
            if let Line::Text(from) = line {
                self.out.copy(from..end);
                bare = self.out.text.len();
                self.end = end;
            }
            self.newline(end, next);
            if let Line::Text(_) = line {
                clipped = self.out.text.len();
            }
        }
        match chomp {
            Chomp::Keep => {}
            Chomp::Clip => self.out.truncate(clipped),
            Chomp::Strip => self.out.truncate(bare),
        }
    }

    fn newline(&mut self, end: usize, next: usize) {
        match next - end {
            0 => {}
            1 if self.source.as_bytes()[end] == b'\n' => self.out.copy(end..next),
            1 => {}
            _ => self.out.replace("\n", end..next),
        }
    }

    fn folded(&mut self, chomp: Chomp, sink: &mut Sink) {
        let (mut blank, mut from_end, mut any, mut was_more) = (0, self.next, false, false);
        let mut broken = false;
        while let Some((line, end, next)) = self.line(sink) {
            let has_break = self.source.as_bytes()[end..next].contains(&b'\n');
            let Line::Text(from) = line else {
                blank += usize::from(has_break);
                continue;
            };
            let more = matches!(self.source.as_bytes().get(from), Some(b' ' | b'\t'));
            if !any {
                if blank > 0 {
                    self.out.fold(blank, from_end..from);
                }
            } else if more || was_more {
                self.out.fold(blank + 1, from_end..from);
            } else {
                self.out.fold(blank, from_end..from);
            }
            self.out.copy(from..end);
            (blank, from_end, any, was_more, broken) = (0, end, true, more, has_break);
            self.end = end;
        }
        let kept = usize::from(broken);
        let breaks = match chomp {
            Chomp::Strip => 0,
            Chomp::Clip => kept,
            Chomp::Keep => kept + blank,
        };
        if breaks > 0 {
            self.out.fold(breaks, from_end..self.next);
        }
    }
}
