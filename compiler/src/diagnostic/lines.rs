//! Lines and columns of places, found without counting from the top of the file for each.

use super::Place;
use super::json::Texts;
use std::collections::HashMap;
use std::sync::Arc;

/// Where the lines of some files begin; each file is looked at once.
#[derive(Debug)]
pub struct Lines<'a> {
    texts: &'a Texts,
    starts: HashMap<Arc<str>, Vec<usize>>,
}

/// A line and a column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl<'a> Lines<'a> {
    /// Knows nothing yet.
    pub fn new(texts: &'a Texts) -> Self {
        Lines { texts, starts: HashMap::new() }
    }

    /// Where a place begins and ends. A file without text has one empty line.
    pub fn span(&mut self, place: &Place) -> (Position, Position) {
        (self.at(place, place.span.start), self.at(place, place.span.end))
    }

    fn at(&mut self, place: &Place, offset: u32) -> Position {
        let Some(text) = self.texts.get(&place.file) else { return Position { line: 1, column: 1 } };
        let starts = self.starts.entry(place.file.clone()).or_insert_with(|| {
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
        });
        let offset = text.floor_char_boundary((offset as usize).min(text.len()));
        let line = starts.partition_point(|start| *start <= offset).max(1);
        let start = starts.get(line - 1).copied().unwrap_or(0);
        let column = text.get(start..offset).map_or(0, |head| head.chars().count()) + 1;
        Position { line, column }
    }
}
