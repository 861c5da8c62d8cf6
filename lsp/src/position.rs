//! Byte offsets to the lines and columns of the protocol, and back.

use tower_lsp_server::ls_types::{Position, Range};

/// Where the lines of a text start.
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
    utf8: bool,
}

impl<'a> Lines<'a> {
    /// `utf8`: columns are bytes, otherwise UTF-16 code units.
    pub fn new(text: &'a str, utf8: bool) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Lines { text, starts, utf8 }
    }

    /// The position of a byte; past the end is the end.
    pub fn position(&self, offset: u32) -> Position {
        let offset = self.text.floor_char_boundary(offset as usize);
        let line = self.starts.partition_point(|s| *s <= offset).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or(0);
        let head = self.text.get(start..offset).unwrap_or_default();
        let column = if self.utf8 { head.len() } else { head.encode_utf16().count() };
        Position::new(line as u32, column as u32)
    }

    /// The range of a span.
    pub fn range(&self, span: std::ops::Range<usize>) -> Range {
        Range::new(self.position(span.start as u32), self.position(span.end as u32))
    }

    /// The byte at a position, always on a character boundary: a column past the end of a line is its end, a line past the
    /// end of the text is the end of the text.
    pub fn offset(&self, position: Position) -> u32 {
        let Some(start) = self.starts.get(position.line as usize).copied() else {
            return self.text.len() as u32;
        };
        let next = self.starts.get(position.line as usize + 1).copied();
        let line = self.text.get(start..next.unwrap_or(self.text.len())).unwrap_or_default();
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let column = position.character as usize;
        if self.utf8 {
            return (start + line.floor_char_boundary(column.min(line.len()))) as u32;
        }
        let mut units = 0;
        for (at, c) in line.char_indices() {
            units += c.len_utf16();
            if units > column {
                return (start + at) as u32;
            }
        }
        (start + line.len()) as u32
    }

    /// The bytes of a range.
    pub fn span(&self, range: Range) -> std::ops::Range<usize> {
        let (start, end) = (self.offset(range.start) as usize, self.offset(range.end) as usize);
        start..end.max(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_what_was_agreed_on() {
        let text = "a\né😀x\n";
        let (utf16, utf8) = (Lines::new(text, false), Lines::new(text, true));
        let x = text.find('x').unwrap() as u32;
        assert_eq!(utf16.position(x), Position::new(1, 3));
        assert_eq!(utf8.position(x), Position::new(1, 6));
        assert_eq!(utf16.position(1), Position::new(0, 1));
        assert_eq!(utf16.position(999), Position::new(2, 0));
    }

    #[test]
    fn every_byte_has_a_way_back() {
        let text = "a\r\né😀x\n\nend";
        for utf8 in [false, true] {
            let lines = Lines::new(text, utf8);
            for (at, c) in text.char_indices().filter(|(_, c)| *c != '\n') {
                let there = lines.offset(lines.position(at as u32));
                assert_eq!(there, at as u32, "{c:?}");
            }
            assert_eq!(lines.offset(Position::new(0, 99)), 1, "before the line break");
            assert_eq!(lines.offset(Position::new(99, 0)), text.len() as u32);
            // the middle of a character is its beginning
            assert_eq!(lines.offset(Position::new(1, 2)), text.find('😀').unwrap() as u32);
        }
    }
}
