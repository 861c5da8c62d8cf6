//! Writes a tree down, and the comments between its parts.
//!
//! Comments are taken in the order of the text: each part of the tree first writes those that stand before it. At the end
//! of a block, the comments that are indented deeper than the block around it still belong to it.

use super::page::{Page, Trailing};
use super::{WIDTH, flow, scalar};
use crate::Span;
use crate::document::{Comment, Entry, Node, Parsed, Scalar, Style, Value};

/// The text of the result.
pub(super) fn write(source: &str, parsed: &Parsed) -> String {
    let mut writer = Writer { source, comments: &parsed.comments, page: Page::default() };
    let column = if looks_like_marker(source, &parsed.root) { 2 } else { 0 };
    let root = Place { column, written: None, limit: source.len() };
    if !matches!(parsed.root.value, Value::Null) {
        writer.begin(parsed.root.span.start as usize, column);
        writer.value(&parsed.root, root);
    }
    writer.flush(source.len(), column);
    writer.page.finish()
}

/// Whether a line of the root would, at the left edge, be `---` or `...` to a reader. Such a file is indented.
fn looks_like_marker(source: &str, root: &Node) -> bool {
    let marker = |span: Span| {
        let text = source.get(span.range()).unwrap_or_default();
        ["---", "..."].iter().any(|m| {
            text.strip_prefix(m)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        })
    };
    match &root.value {
        Value::Map(entries) => entries.iter().any(|entry| marker(entry.key.span)),
        _ => marker(root.span),
    }
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct Place {
    /// The column of the block that holds it, in the result.
    column: usize,
    /// The same in the source; nothing at the root.
    written: Option<usize>,
    /// Where the next part of the tree begins in the source.
    limit: usize,
}

impl Place {
    /// The column for what belongs to the block.
    fn inner(self) -> usize {
        if self.written.is_none() { self.column } else { self.column + 2 }
    }

    /// The least written column of a comment that belongs to what stands here, and not to the block around it.
    fn floor(self) -> usize {
        self.written.map_or(0, |column| column.saturating_add(1))
    }
}

struct Writer<'s> {
    source: &'s str,
    /// Those that are not written yet.
    comments: &'s [Comment],
    page: Page,
}

impl<'s> Writer<'s> {
    // ---- comments and blank lines

    /// Takes the next comment, if it begins before `limit`.
    fn next_comment(&mut self, limit: usize) -> Option<Comment> {
        let (first, rest) = self.comments.split_first()?;
        if first.span.start as usize >= limit {
            return None;
        }
        self.comments = rest;
        Some(*first)
    }

    fn is_pending(&self, limit: usize) -> bool {
        self.comments.first().is_some_and(|c| (c.span.start as usize) < limit)
    }

    /// Writes the comments that begin before `limit`.
    fn flush(&mut self, limit: usize, indent: usize) {
        while let Some(comment) = self.next_comment(limit) {
            self.comment(comment, indent);
        }
    }

    /// Writes the comments before the place's limit that are deeper than the block around it.
    fn flush_deeper(&mut self, place: Place, indent: usize) {
        while let Some(next) = self.comments.first().copied() {
            let here = !next.own_line || self.column(next.span.start as usize) >= place.floor();
            if !here || self.next_comment(place.limit).is_none() {
                return;
            }
            self.comment(next, indent);
        }
    }

    fn comment(&mut self, comment: Comment, indent: usize) {
        let text = comment.text(self.source);
        let at = comment.span.start as usize;
        if !comment.own_line {
            let before = &self.source[self.line_start(at)..at];
            let gap = before.chars().rev().take_while(|c| matches!(c, ' ' | '\t')).count();
            let trailing = Trailing { text: text.to_owned(), column: before.chars().count(), gap };
            if self.page.trail(trailing).is_ok() {
                return;
            }
        }
        self.blank(at);
        self.page.comment(indent, text);
    }

    fn line_start(&self, at: usize) -> usize {
        self.source[..at].rfind('\n').map_or(self.bom(), |newline| newline + 1)
    }

    fn bom(&self) -> usize {
        if self.source.starts_with('\u{feff}') { 3 } else { 0 }
    }

    /// The column in the source.
    fn column(&self, at: usize) -> usize {
        at - self.line_start(at)
    }

    /// A blank line, if one stands before the line that begins with what is at `at`. A `---` counts as one.
    fn blank(&mut self, at: usize) {
        let start = self.line_start(at);
        let before = self.source[..start].strip_suffix('\n');
        let blank = |text: &str| text.trim_matches([' ', '\t', '\r']).is_empty();
        if let Some(before) = before
            && blank(&self.source[start..at])
        {
            let previous = &self.source[self.line_start(before.len())..before.len()];
            if blank(previous) || previous.starts_with("---") && blank(&previous[3..]) {
                self.page.blank();
            }
        }
    }

    /// Where the `-` of an item is: before its value, blanks and comments.
    fn dash(&self, item: &Node, all: &[Comment]) -> usize {
        let mut at = item.span.start as usize;
        loop {
            at = self.source[..at].trim_end_matches([' ', '\t', '\r', '\n']).len();
            let before = all.partition_point(|c| (c.span.start as usize) < at);
            match before.checked_sub(1).and_then(|i| all.get(i)) {
                Some(comment) if comment.span.end as usize >= at => at = comment.span.start as usize,
                _ => return at.saturating_sub(1),
            }
        }
    }

    // ---- the tree

    /// A line for what is written at `at`.
    fn begin(&mut self, at: usize, indent: usize) {
        self.flush(at, indent);
        self.blank(at);
        self.page.line(indent);
    }

    /// A value behind a key or a dash, or the root.
    fn value(&mut self, node: &Node, place: Place) {
        let start = node.span.start as usize;
        match &node.value {
            Value::Null | Value::Error => self.flush_deeper(place, place.inner()),
            Value::Scalar(text) => match text.style {
                Style::Literal | Style::Folded => self.block_text(node, text, place),
                _ => self.text(node, text, place),
            },
            Value::Seq(_) | Value::Map(_) if flow::in_brackets(self.source, node) => {
                if let Some(line) = flow::line(self.source, node)
                    && self.fits(start, &line, place)
                {
                    self.before(start, place);
                    self.page.add(&line);
                } else {
                    self.block(node, place, true);
                }
            }
            Value::Seq(_) | Value::Map(_) => self.block(node, place, false),
        }
    }

    /// Whether the line can hold the value; with a comment before it, the value has a line of its own.
    fn fits(&self, start: usize, text: &str, place: Place) -> bool {
        let column = if self.is_pending(start) { place.inner() } else { self.page.column() + 1 };
        column + text.chars().count() <= WIDTH
    }

    /// The comments before a value. Behind them the value needs a line of its own.
    fn before(&mut self, start: usize, place: Place) {
        if self.is_pending(start) {
            self.flush(start, place.inner());
            self.page.line(place.inner());
        }
    }

    /// A plain or quoted text. Its line breaks stay where they are.
    fn text(&mut self, node: &Node, text: &Scalar, place: Place) {
        let start = node.span.start as usize;
        let lines = scalar::lines(self.source, text, node.span);
        let mut lines = lines.into_iter();
        let first = lines.next().unwrap_or_default();
        let below = place.written.is_some()
            && self.source[self.line_start(start)..start].trim_matches(' ').is_empty();
        if self.is_pending(start) {
            self.before(start, place);
        } else if below && !self.fits(start, first, place) {
            self.page.line(place.inner());
        }
        self.page.add(first);
        for line in lines {
            self.page.more(place.column + 2, line);
        }
    }

    fn block_text(&mut self, node: &Node, text: &Scalar, place: Place) {
        let block = scalar::block(self.source, text, node.span, place.written);
        self.before(node.span.start as usize, place);
        self.page.add(&block.header);
        // A comment behind the header.
        self.flush(node.span.end as usize, place.inner());
        for line in block.lines {
            let indent = if line.is_empty() { 0 } else { place.column + 2 };
            self.page.text(format!("{}{line}", " ".repeat(indent)));
        }
        if block.keeps {
            self.page.kept();
        }
    }

    /// A list or a mapping on lines of its own. `brackets` says that it was not one before.
    fn block(&mut self, node: &Node, place: Place, brackets: bool) {
        let start = node.span.start as usize;
        let column = place.inner();
        let written = if brackets { usize::MAX } else { self.column(start) };
        match &node.value {
            Value::Seq(items) if !items.is_empty() => self.seq(items, place, column, written, brackets),
            Value::Map(entries) if !entries.is_empty() => self.map(entries, place, column, written),
            other => {
                // Brackets on several lines with nothing in them but, perhaps, comments.
                self.before(start, place);
                self.page.add(if matches!(other, Value::Map(_)) { "{}" } else { "[]" });
                return self.flush(node.span.end as usize, place.column);
            }
        }
        if brackets {
            self.flush(node.span.end as usize, column);
        } else {
            self.flush_deeper(place, column);
        }
    }

    fn seq(&mut self, items: &[Node], place: Place, column: usize, written: usize, brackets: bool) {
        let all = self.comments;
        let at = |writer: &Self, item: &Node| match brackets {
            true => item.span.start as usize,
            false => writer.dash(item, all),
        };
        for (index, item) in items.iter().enumerate() {
            let start = at(self, item);
            let limit = items.get(index + 1).map_or(place.limit, |next| at(self, next));
            self.child(index == 0, start, column);
            self.page.add("-");
            self.value(item, Place { column, written: Some(written), limit });
        }
    }

    fn map(&mut self, entries: &[Entry], place: Place, column: usize, written: usize) {
        for (index, entry) in entries.iter().enumerate() {
            let limit = entries.get(index + 1).map_or(place.limit, |next| next.key.span.start as usize);
            self.child(index == 0, entry.key.span.start as usize, column);
            let key = self.source.get(entry.key.span.range()).unwrap_or_default();
            self.page.add(&format!("{key}:"));
            self.value(&entry.value, Place { column, written: Some(written), limit });
        }
    }

    /// The line of an entry or an item. The first one of a list item, and of the file, stands on the line that is there.
    fn child(&mut self, first: bool, start: usize, column: usize) {
        if first && !self.is_pending(start) && self.page.takes_block() {
            return;
        }
        if first {
            self.page.opened();
        }
        self.begin(start, column);
    }
}
