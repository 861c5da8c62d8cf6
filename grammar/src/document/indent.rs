//! Which block a line belongs to: closing and opening blocks by column, and repairing columns that fit nowhere.

use super::layout::{DEEPEST, Frame, Head, Kind, Layout, State};
use super::lexer::{BlockRaw, token};
use super::lines::{at_end, before_comment, line_end, skip_blanks, spaces};
use super::quoted;
use super::token::Tok;
use crate::Span;
use crate::error::SyntaxError;

/// What became of a line.
pub(super) enum Place {
    /// It has its place; its content is still to be read.
    Here,
    /// It is reported; it and what is below it are passed over.
    Skip,
    /// It is reported and dealt with.
    Done,
}

impl Layout<'_> {
    pub(super) fn close_to(&mut self, depth: usize) {
        while self.frames.len() > depth {
            self.frames.pop();
            self.put(Tok::Close, self.at, self.at);
        }
    }

    /// Closes and opens blocks so that the line at `col` finds its place.
    pub(super) fn align(&mut self, col: usize, head: Head) -> Place {
        let open = std::mem::take(&mut self.open);
        let aliased = std::mem::take(&mut self.aliased);
        let mut keep = self.frames.len();
        while keep > 0 && self.frames[keep - 1].col > col {
            keep -= 1;
        }
        let open = open && keep == self.frames.len();
        if let Some(frame) = keep.checked_sub(1).map(|i| self.frames[i])
            && (frame.col == col || (frame.alias == Some(col) && (!open || aliased)))
        {
            self.aliased = frame.col != col;
            self.close_to(keep);
            return self.beside(head, open, self.misplaced);
        }
        if keep < self.frames.len() {
            return self.between(keep, col, head);
        }
        if self.frames.is_empty() && !open && self.started {
            self.sink.push(
                SyntaxError::new(
                    "content-after-value",
                    Span::of(self.at..before_comment(self.source, self.at)),
                    "the file is already complete above this line",
                    "nothing may follow",
                )
                .help("a file is one mapping: every line at its left edge is `key: value`"),
            );
            self.at = self.source.len();
            return Place::Skip;
        }
        if self.frames.is_empty() || open {
            return self.open_block(col, head);
        }
        self.deeper(col, head)
    }

    /// A line whose column is between those of `frames[keep - 1]` and `frames[keep]`, where no block is.
    ///
    /// It is taken as part of the block that holds such lines. Its neighbours that share its mistake are not reported
    /// again: the block remembers the column.
    fn between(&mut self, keep: usize, col: usize, head: Head) -> Place {
        let known = self.frames[keep].alias == Some(col);
        let loose = self.frames[keep].loose;
        if !known && !loose && !self.misplaced {
            self.report_dedent(keep);
        }
        let fits = |frame: &Frame| frame.fits(head);
        // A list at its key's column has the same column as the mapping around it.
        let column = self.frames[keep].col;
        let inner = (keep..self.frames.len())
            .take_while(|i| loose || self.frames[*i].col == column)
            .find(|i| fits(&self.frames[*i]));
        let outer = keep.checked_sub(1).filter(|i| fits(&self.frames[*i]));
        let chosen = inner.or(outer).unwrap_or(keep);
        self.close_to(chosen + 1);
        let frame = &mut self.frames[chosen];
        if frame.loose {
            (frame.col, frame.alias, frame.loose) = (col, None, false);
        } else {
            frame.alias = Some(col);
            self.aliased = true;
        }
        self.misplaced = true;
        self.beside(head, false, true)
    }

    /// A line at the column of the innermost block.
    pub(super) fn beside(&mut self, head: Head, open: bool, quiet: bool) -> Place {
        let depth = self.frames.len();
        let Some(frame) = self.frames.last().copied() else { return Place::Here };
        if frame.fits(head) {
            self.mixed(false);
            return Place::Here;
        }
        let quiet = quiet || frame.mixed;
        match (frame.kind, head) {
            (Kind::Seq, _) => {
                let below = depth.checked_sub(2).and_then(|i| self.frames.get(i));
                if below.is_some_and(|b| b.kind == Kind::Map && b.col == frame.col) {
                    self.close_to(depth - 1);
                    return self.beside(head, false, quiet);
                }
                if !quiet {
                    self.sink.push(
                        SyntaxError::new(
                            "mixed-block",
                            Span::of(self.at..before_comment(self.source, self.at)),
                            "this line stands among list items but is none",
                            "expected `- `",
                        )
                        .help("begin it with `- `, or indent it to belong to the item above"),
                    );
                }
                self.mixed(true);
                Place::Skip
            }
            (Kind::Map, Head::Dash) if open => self.push(Kind::Seq, frame.col),
            (Kind::Map, Head::Dash) => {
                if !quiet {
                    self.sink.push(
                        SyntaxError::new(
                            "mixed-block",
                            Span::of(self.at..self.at + 1),
                            "this list item stands among the keys of a mapping",
                            "expected `key: value`",
                        )
                        .help("put a `key:` above it whose value the list is, or indent it"),
                    );
                }
                self.mixed(true);
                self.item_of_outer().unwrap_or(Place::Skip)
            }
            (Kind::Map, _) => self.missing_colon(quiet),
        }
    }

    /// Takes a `- key: value` in the wrong column as an item of the innermost list of such items.
    fn item_of_outer(&mut self) -> Option<Place> {
        let behind = skip_blanks(self.source, self.at + 1);
        if !matches!(self.head(behind), Head::Key(..)) {
            return None;
        }
        let list = self.frames.iter().rposition(|frame| frame.kind == Kind::Seq)?;
        self.close_to(list + 1);
        self.misplaced = true;
        Some(Place::Here)
    }

    /// Remembers that lines of the wrong kind were reported in this block, until one of the right kind comes.
    fn mixed(&mut self, mixed: bool) {
        if let Some(frame) = self.frames.last_mut() {
            frame.mixed = mixed;
        }
    }

    /// A line that is deeper than the innermost block, after a line that opens none.
    pub(super) fn deeper(&mut self, col: usize, head: Head) -> Place {
        let Some(frame) = self.frames.last().copied() else { return Place::Here };
        let fits = frame.fits(head);
        if !self.misplaced && !frame.loose {
            let want = frame.col;
            let mut error = SyntaxError::new(
                "unexpected-indent",
                Span::of(self.at..before_comment(self.source, self.at)),
                "this line is indented deeper, but the line above it opens no block",
                format!("indented by {col}, the block above by {want}"),
            );
            if fits {
                error = error
                    .help("align it with the block it belongs to; if it is text that goes on, quote the whole value")
                    .fix(Span::of(self.line..self.at), " ".repeat(want));
            } else {
                error = error.help("align it with the block it belongs to, or give the line above a `:`");
            }
            self.sink.push(error);
        }
        if !fits {
            if head == Head::Dash
                && let Some(place) = self.item_of_outer()
            {
                return place;
            }
            // Whatever it is the rest of, the lines beside it are too.
            self.skip_deeper();
            return Place::Done;
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.alias = Some(col);
            frame.loose = false;
        }
        (self.aliased, self.misplaced) = (true, true);
        Place::Here
    }

    pub(super) fn report_dedent(&mut self, keep: usize) {
        let columns: Vec<String> =
            self.frames[..=keep].iter().rev().take(2).map(|frame| frame.col.to_string()).collect();
        self.sink.push(
            SyntaxError::new(
                "bad-indentation",
                Span::of(self.at..before_comment(self.source, self.at)),
                "the indentation of this line matches no block above it",
                format!("indented by {}", self.at - self.line),
            )
            .help(format!("the blocks above are indented by {}", columns.join(" and "))),
        );
    }

    pub(super) fn open_block(&mut self, col: usize, head: Head) -> Place {
        match head {
            Head::Dash => self.push(Kind::Seq, col),
            Head::Key(..) => self.push(Kind::Map, col),
            Head::Other if self.key_forgotten(col) => match self.push(Kind::Map, col) {
                Place::Here => self.missing_colon(self.misplaced),
                place => place,
            },
            Head::Other => Place::Here,
        }
    }

    /// Whether this line, which is no key, is followed by one at its own column: then its `:` was forgotten.
    pub(super) fn key_forgotten(&self, col: usize) -> bool {
        let one_line = match token::<BlockRaw>(self.source, self.at) {
            Some((BlockRaw::Plain | BlockRaw::Reserved, _)) => true,
            Some((BlockRaw::Double | BlockRaw::Single, _)) => {
                quoted::end_on_line(self.source, self.at).is_some()
            }
            _ => false,
        };
        if !one_line {
            return false;
        }
        let mut start = line_end(self.source, self.at).1;
        while start < self.source.len() {
            let text = start + spaces(self.source, start);
            if !at_end(self.source, text) && self.source.as_bytes()[text] != b'#' {
                return text - start == col && matches!(self.head(text), Head::Key(..));
            }
            start = line_end(self.source, text).1;
        }
        false
    }

    pub(super) fn push(&mut self, kind: Kind, col: usize) -> Place {
        if self.depth() >= DEEPEST {
            self.too_deep(self.at);
            self.bad(self.at, self.at);
            return Place::Skip;
        }
        self.frames.push(Frame { col, kind, alias: None, loose: self.misplaced, mixed: false });
        let start = Span::of(self.at..self.at).start;
        self.put(if kind == Kind::Map { Tok::Map } else { Tok::Seq(start) }, self.at, self.at);
        Place::Here
    }

    pub(super) fn too_deep(&mut self, at: usize) {
        let end = self.source[at..].chars().next().map_or(at, |c| at + c.len_utf8());
        self.sink.push(
            SyntaxError::new(
                "nesting-too-deep",
                Span::of(at..end),
                format!("more than {DEEPEST} levels of nesting"),
                "too deep",
            )
            .help("split the value into several"),
        );
    }

    /// Passes over the rest of the line and the lines below it that are deeper than `col`.
    pub(super) fn skip_block(&mut self, col: usize) {
        let (_, mut next) = line_end(self.source, self.at);
        while next < self.source.len() {
            let at = next + spaces(self.source, next);
            if !at_end(self.source, at) && at - next <= col && self.source.as_bytes()[at] != b'\t' {
                break;
            }
            next = line_end(self.source, at).1;
        }
        self.at = next;
        self.state = State::LineStart;
    }

    /// Passes over the lines below that are deeper than the innermost block, after a value that never ended.
    pub(super) fn skip_deeper(&mut self) {
        match self.floor().checked_sub(1) {
            Some(col) => self.skip_block(col),
            None => self.at = self.source.len(),
        }
        self.state = State::LineStart;
    }
}

pub(super) fn tab_error(span: Span, message: &str) -> SyntaxError {
    SyntaxError::new("tab-indentation", span, message, "tab").help("use two spaces for each level")
}
