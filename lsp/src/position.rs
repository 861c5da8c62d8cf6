//! Byte offsets to the lines and columns of the protocol.

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
        let head = &self.text[self.starts[line]..offset];
        let column = if self.utf8 { head.len() } else { head.encode_utf16().count() };
        Position::new(line as u32, column as u32)
    }

    /// The range of a span.
    pub fn range(&self, span: std::ops::Range<usize>) -> Range {
        Range::new(self.position(span.start as u32), self.position(span.end as u32))
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
}
