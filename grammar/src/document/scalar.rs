//! Scalars: their text, where each byte of it comes from, and their type under the core schema.

use super::tree::Style;
use crate::Span;
use std::ops::Range;

/// Text as a reader of the document sees it: quotes, escapes, indentation and folding are gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// The text.
    pub text: String,
    /// How it was written.
    pub style: Style,
    /// From the text back to the file.
    pub map: TextMap,
}

/// The type of a scalar under the YAML 1.2 core schema.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Core {
    /// `null`, `~`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Decimal (leading zeros too), `0o17`, `0xff`.
    Int(i64),
    /// Always finite.
    Float(f64),
    /// Anything else, and everything that is quoted or a block.
    Str,
    /// A number by its spelling that neither `i64` nor a finite `f64` holds.
    OutOfRange,
}

impl Scalar {
    /// The type that the spelling alone gives.
    pub fn core(&self) -> Core {
        if self.style != Style::Plain {
            return Core::Str;
        }
        match self.text.as_str() {
            "" | "null" | "Null" | "NULL" | "~" => Core::Null,
            "true" | "True" | "TRUE" => Core::Bool(true),
            "false" | "False" | "FALSE" => Core::Bool(false),
            ".nan" | ".NaN" | ".NAN" => Core::OutOfRange,
            text => number(text),
        }
    }
}

fn number(text: &str) -> Core {
    let radix = |digits: &str, radix: u32| {
        if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
            return Core::Str;
        }
        i64::from_str_radix(digits, radix).map_or(Core::OutOfRange, Core::Int)
    };
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Core::OutOfRange;
    }
    if unsigned.is_empty() {
        return Core::Str;
    }
    if unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_or(Core::OutOfRange, Core::Int);
    }
    if !is_float(unsigned) {
        return Core::Str;
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Core::Float(value),
        _ => Core::OutOfRange,
    }
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let digits = |s: &str| s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let whole = digits(text);
    let mut rest = &text[whole..];
    if let Some(after) = rest.strip_prefix('.') {
        let fraction = digits(after);
        if whole == 0 && fraction == 0 {
            return false;
        }
        rest = &after[fraction..];
    } else if whole == 0 {
        return false;
    }
    let Some(exponent) = rest.strip_prefix(['e', 'E']) else { return rest.is_empty() };
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    !exponent.is_empty() && digits(exponent) == exponent.len()
}

/// Maps offsets in a scalar's text to offsets in its file.
///
/// One number for text that stands in the file as it is; a piece for every line or escape otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TextMap {
    base: u32,
    pieces: Option<Box<[Piece]>>,
}

/// Text from `text` to the next piece comes from `file..end`: byte by byte when the lengths agree, as a whole otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    text: u32,
    file: u32,
    end: u32,
}

impl TextMap {
    /// For text that begins at `base` of the file and stands there unchanged.
    pub fn identity(base: u32) -> Self {
        TextMap { base, pieces: None }
    }

    /// Where a part of the text was written. The end of an escape's text is the end of the escape.
    pub fn to_file(&self, text_span: Span) -> Span {
        let start = self.position(text_span.start, false);
        if text_span.start == text_span.end {
            return Span::new(start, start);
        }
        Span::new(start, self.position(text_span.end, true))
    }

    /// The file offset of a text offset; as an end it belongs to the byte before it.
    fn position(&self, offset: u32, as_end: bool) -> u32 {
        let Some(pieces) = self.pieces.as_deref() else { return self.base.saturating_add(offset) };
        let upto = pieces.partition_point(|p| if as_end { p.text < offset } else { p.text <= offset });
        let Some(piece) = upto.checked_sub(1).and_then(|at| pieces.get(at)) else {
            return pieces.first().map_or(self.base, |p| p.file);
        };
        let into = offset - piece.text;
        let length = pieces.get(upto).map(|next| next.text - piece.text);
        let verbatim = length.is_none_or(|length| length == piece.end - piece.file);
        if verbatim && into <= piece.end - piece.file {
            piece.file + into
        } else if as_end || length.is_none() {
            piece.end
        } else {
            piece.file
        }
    }
}

/// Builds a text and its map together.
pub(super) struct TextBuilder<'s> {
    source: &'s str,
    pub(super) text: String,
    pieces: Vec<Piece>,
}

impl<'s> TextBuilder<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        TextBuilder { source, text: String::new(), pieces: Vec::new() }
    }

    /// Appends bytes of the source as they are.
    pub(super) fn copy(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        self.piece(range.clone(), range.len());
        self.text.push_str(&self.source[range]);
    }

    /// Appends text that stands for other bytes of the source.
    pub(super) fn replace(&mut self, text: &str, range: Range<usize>) {
        if text.is_empty() {
            return;
        }
        self.piece(range, text.len());
        self.text.push_str(text);
    }

    /// Joins lines: one break is a space, each further one a newline.
    pub(super) fn fold(&mut self, blank_lines: usize, range: Range<usize>) {
        if blank_lines == 0 {
            self.replace(" ", range);
        } else {
            self.piece(range, blank_lines);
            self.text.extend(std::iter::repeat_n('\n', blank_lines));
        }
    }

    /// Takes back what came after the first `length` bytes.
    pub(super) fn truncate(&mut self, length: usize) {
        self.text.truncate(length);
        while self.pieces.last().is_some_and(|p| p.text as usize >= length) {
            self.pieces.pop();
        }
        if let Some(last) = self.pieces.last_mut() {
            let kept = Span::of(length..length).start - last.text;
            last.end = last.end.min(last.file + kept);
        }
    }

    fn piece(&mut self, range: Range<usize>, length: usize) {
        let (file, end) = (Span::of(range.clone()).start, Span::of(range.clone()).end);
        let text = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        if let Some(last) = self.pieces.last_mut()
            && last.end == file
            && text - last.text == last.end - last.file
            && length == range.len()
        {
            last.end = end;
            return;
        }
        self.pieces.push(Piece { text, file, end });
    }

    pub(super) fn finish(mut self, style: Style, start: usize) -> Scalar {
        self.text.shrink_to_fit();
        let base = Span::of(start..start).start;
        let map = match self.pieces.as_slice() {
            [] => TextMap::identity(base),
            [one] if one.end - one.file == u32::try_from(self.text.len()).unwrap_or(u32::MAX) => {
                TextMap::identity(one.file)
            }
            // The length of the last piece is known only from what follows it: an empty piece closes it.
            [.., last] => {
                let end = last.end;
                let mut pieces = self.pieces;
                let text = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
                pieces.push(Piece { text, file: end, end });
                TextMap { base, pieces: Some(pieces.into_boxed_slice()) }
            }
        };
        Scalar { text: self.text, style, map }
    }
}
