//! Which block a line belongs to: closing and opening blocks by column, and repairing columns that fit nowhere.

use super::layout::{DEEPEST, Frame, Head, Kind, Layout, State};
use super::lines::{at_end, before_comment, line_end, spaces};
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
        let mut keep = self.frames.len();
        while keep > 0 && self.frames[keep - 1].col > col {
            keep -= 1;
        }
        let exact =
            keep > 0 && (self.frames[keep - 1].col == col || self.frames[keep - 1].alias == Some(col));
        if exact {
            let open = open && keep == self.frames.len();
            self.close_to(keep);
            return self.beside(head, open, self.tabs);
        }
        if keep < self.frames.len() {
            if !self.tabs {
                self.report_dedent(keep);
            }
            let twin = head == Head::Dash
                && self
                    .frames
                    .get(keep + 1)
                    .is_some_and(|f| f.kind == Kind::Seq && f.col == self.frames[keep].col);
            self.close_to(if twin { keep + 2 } else { keep + 1 });
            for frame in &mut self.frames[keep..] {
                frame.col = col;
                frame.alias = None;
            }
            return self.beside(head, false, true);
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

    /// A line at the column of the innermost block.
    pub(super) fn beside(&mut self, head: Head, open: bool, quiet: bool) -> Place {
        let Some(frame) = self.frames.last().copied() else { return Place::Here };
        match (frame.kind, head) {
            (Kind::Seq, Head::Dash) | (Kind::Map, Head::Key(..)) => Place::Here,
            (Kind::Seq, _) => {
                let below = self.frames.len().checked_sub(2).and_then(|i| self.frames.get(i));
                if below.is_some_and(|b| b.kind == Kind::Map && b.col == frame.col) {
                    self.close_to(self.frames.len() - 1);
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
                Place::Skip
            }
            (Kind::Map, Head::Other) => self.missing_colon(quiet),
        }
    }

    /// A line that is deeper than the innermost block, after a line that opens none.
    pub(super) fn deeper(&mut self, col: usize, head: Head) -> Place {
        let kind = self.frames.last().map(|frame| frame.kind);
        let fits = matches!((kind, head), (Some(Kind::Map), Head::Key(..)) | (Some(Kind::Seq), Head::Dash));
        if !self.tabs {
            let want = self.frames.last().map_or(0, |frame| frame.col);
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
            return Place::Skip;
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.alias = Some(col);
        }
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
            Head::Other => Place::Here,
        }
    }

    pub(super) fn push(&mut self, kind: Kind, col: usize) -> Place {
        if self.depth() >= DEEPEST {
            self.too_deep(self.at);
            self.bad(self.at, self.at);
            return Place::Skip;
        }
        self.frames.push(Frame { col, kind, alias: None });
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
