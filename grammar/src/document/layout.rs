//! Turns lines and columns into explicit tokens.
//!
//! What the grammar relies on: blocks are balanced, every key and every dash is followed by at most one value, and
//! brackets are balanced. So a mistake is reported *here*, where columns are known, and repaired before the grammar sees
//! it; a mistake in one line cannot unbalance the lines after it.

use super::indent::{Place, tab_error};
use super::lexer::{BlockRaw, token};
use super::lines::{BLANK, at_end, before_comment, is_marker, line_end, skip_blanks, spaces};
use super::scalar::Scalar;
use super::token::{Placed, Tok};
use super::tree::{Node, Value};
use super::{Comment, plain, quoted};
use crate::Span;
use crate::error::{Sink, SyntaxError};
use std::collections::VecDeque;

/// Levels of nesting, blocks and brackets together.
pub(super) const DEEPEST: usize = 128;
/// Keys and values of one file: what is read in a fraction of a second, and more than anybody writes or reviews.
pub(super) const MOST_VALUES: usize = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Map,
    Seq,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) col: usize,
    pub(super) kind: Kind,
    /// A column that was reported as wrong once; further lines at it are taken as this block's.
    pub(super) alias: Option<usize>,
    /// Opened on a line whose column was wrong: the next line of the block may correct the column.
    pub(super) loose: bool,
    /// Lines of the wrong kind were reported in it.
    pub(super) mixed: bool,
}

impl Frame {
    /// Whether a line that begins like this belongs into the block.
    pub(super) fn fits(&self, head: Head) -> bool {
        matches!((self.kind, head), (Kind::Map, Head::Key(..)) | (Kind::Seq, Head::Dash))
    }
}

/// Where in a line the layout is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    LineStart,
    /// Behind `key:`; a value may follow on the line.
    AfterKey,
    /// Behind `-`.
    AfterDash,
    /// Behind a value: nothing but a comment may follow.
    Tail,
    /// Inside brackets.
    Flow,
    Done,
}

/// What a line begins with, as far as the block structure cares.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Head {
    Dash,
    /// A key; its text ends at the first, its `:` at the second.
    Key(usize, usize),
    Other,
}

pub(super) struct Layout<'s> {
    pub(super) source: &'s str,
    pub(super) at: usize,
    /// Start of the current line.
    pub(super) line: usize,
    pub(super) state: State,
    pub(super) frames: Vec<Frame>,
    queue: VecDeque<(u32, Tok, u32)>,
    /// Keys and values so far, and how many there may be.
    values: usize,
    most_values: usize,
    /// The last key or dash has no value yet.
    pub(super) open: bool,
    /// A root value or a `---` was seen.
    pub(super) started: bool,
    marked: bool,
    /// The previous line with text had a tab in its indentation.
    pub(super) tabs: bool,
    /// The column of this line was reported: it says nothing.
    pub(super) misplaced: bool,
    /// The last line was at a column that its block had only remembered.
    pub(super) aliased: bool,
    pub(super) flow: Vec<super::flow::Level>,
    pub(super) sink: Sink,
    pub(super) comments: Vec<Comment>,
}

impl<'s> Layout<'s> {
    pub(super) fn new(source: &'s str, most_values: usize) -> Self {
        let at = if source.starts_with('\u{feff}') { 3 } else { 0 };
        Layout {
            source,
            at,
            line: at,
            state: State::LineStart,
            frames: Vec::new(),
            queue: VecDeque::new(),
            values: 0,
            most_values,
            open: false,
            started: false,
            marked: false,
            tabs: false,
            misplaced: false,
            aliased: false,
            flow: Vec::new(),
            sink: Sink::default(),
            comments: Vec::new(),
        }
    }

    pub(super) fn put(&mut self, tok: Tok, start: usize, end: usize) {
        let span = Span::of(start..end);
        let nothing = matches!(tok, Tok::Comma | Tok::Colon(_) | Tok::Dash(_))
            || matches!(tok, Tok::Close | Tok::CloseSeq(_) | Tok::CloseMap(_));
        self.values += usize::from(!nothing);
        self.queue.push_back((span.start, tok, span.end));
    }

    pub(super) fn value(&mut self, scalar: Scalar, start: usize, end: usize) {
        let node = Node::new(Value::Scalar(scalar), Span::of(start..end));
        self.put(Tok::Value(node), start, end);
    }

    pub(super) fn bad(&mut self, start: usize, end: usize) {
        let node = Node::new(Value::Error, Span::of(start..end));
        self.put(Tok::Value(node), start, end);
    }

    /// The least column of what belongs to the innermost block.
    pub(super) fn floor(&self) -> usize {
        self.frames.last().map_or(0, |frame| frame.col + 1)
    }

    pub(super) fn depth(&self) -> usize {
        self.frames.len() + self.flow.len()
    }

    pub(super) fn comment(&mut self, at: usize, own_line: bool) -> usize {
        let (end, _) = line_end(self.source, at);
        self.comments.push(Comment { span: Span::of(at..end), own_line });
        end
    }

    /// From the flow layer: the brackets are closed.
    pub(super) fn end_flow(&mut self, whole_line: bool) {
        self.state = if whole_line { State::LineStart } else { State::Tail };
    }

    // ---- lines

    pub(super) fn line_start(&mut self) {
        let Some((start, at)) = self.next_line() else {
            self.close_to(0);
            self.state = State::Done;
            return;
        };
        self.line = start;
        self.at = at;
        if is_marker(self.source, start) {
            return self.marker(start);
        }
        if self.source.as_bytes()[at] == b'%' && at == start && !self.started && !self.marked {
            let (end, next) = line_end(self.source, at);
            self.sink.push(
                SyntaxError::new(
                    "directive",
                    Span::of(at..end),
                    "directives are not part of the language",
                    "directive",
                )
                .help("remove the line: every file is YAML 1.2 and has no tags")
                .fix(Span::of(at..next), ""),
            );
            self.at = next;
            return;
        }
        let col = self.column(start, at);
        self.misplaced = self.tabs;
        self.properties();
        let head = self.head(self.at);
        let place = self.align(col, head);
        self.started = true;
        match place {
            Place::Here => self.first(head),
            Place::Skip => self.skip_block(col),
            Place::Done => {}
        }
    }

    /// Start of the next line with text, and where its text begins. Comments on the way are kept.
    pub(super) fn next_line(&mut self) -> Option<(usize, usize)> {
        let mut start = self.at;
        loop {
            let at = skip_blanks(self.source, start);
            if at >= self.source.len() {
                self.at = at;
                return None;
            }
            if at_end(self.source, at) {
                start = line_end(self.source, at).1;
            } else if self.source.as_bytes()[at] == b'#' {
                let end = self.comment(at, true);
                start = line_end(self.source, end).1;
            } else {
                return Some((start, at));
            }
        }
    }

    pub(super) fn marker(&mut self, start: usize) {
        let text = &self.source[start..start + 3];
        let span = Span::of(start..start + 3);
        if text == "..." {
            self.sink.push(
                SyntaxError::new(
                    "document-end",
                    span,
                    "`...` is not part of the language",
                    "document end marker",
                )
                .help("remove the line: a file holds one document and ends with it"),
            );
            self.at = start + 3;
            self.state = State::Tail;
            return;
        }
        if self.started || self.marked {
            self.sink.push(
                SyntaxError::new(
                    "several-documents",
                    span,
                    "a file holds one document",
                    "a second document begins here",
                )
                .help("move what follows to a file of its own; only one `---`, at the top, is allowed"),
            );
            self.close_to(0);
            self.at = self.source.len();
            self.state = State::Done;
            return;
        }
        self.marked = true;
        self.at = skip_blanks(self.source, start + 3);
        if at_end(self.source, self.at) || self.source.as_bytes()[self.at] == b'#' {
            self.state = State::Tail;
            return;
        }
        self.started = true;
        self.inline();
    }

    /// The column of the line's text. Tabs in front of it are reported once for a run of lines.
    pub(super) fn column(&mut self, start: usize, at: usize) -> usize {
        let plain = spaces(self.source, start);
        if start + plain == at {
            self.tabs = false;
            return plain;
        }
        let tab = self.source.as_bytes()[start..at].contains(&b'\t');
        if tab && !self.tabs {
            self.sink.push(tab_error(Span::of(start..at), "indentation has to be made of spaces, not tabs"));
        }
        self.tabs = true;
        let lead = &self.source[start..at];
        lead.bytes().map(|b| if b == b'\t' { 8 } else { 1 }).sum()
    }

    pub(super) fn head(&self, at: usize) -> Head {
        match token::<BlockRaw>(self.source, at) {
            Some((BlockRaw::Dash, _)) => Head::Dash,
            Some((BlockRaw::Key, end)) => Head::Key(plain::key_end(self.source, at, end), end),
            Some((BlockRaw::Colon, end)) => Head::Key(at, end),
            Some((BlockRaw::Double | BlockRaw::Single, _)) => self.quoted_key(at),
            Some((BlockRaw::Template, _)) => self.template_key(at),
            _ => Head::Other,
        }
    }

    pub(super) fn quoted_key(&self, at: usize) -> Head {
        let Some(end) = quoted::end_on_line(self.source, at) else { return Head::Other };
        let colon = skip_blanks(self.source, end);
        if self.source.as_bytes().get(colon) == Some(&b':') { Head::Key(end, colon + 1) } else { Head::Other }
    }

    /// `{{ x }}: value`, which lacks its quotes.
    pub(super) fn template_key(&self, at: usize) -> Head {
        let (line, _) = line_end(self.source, at);
        let text = &self.source[at..line];
        let Some(close) = text.find("}}") else { return Head::Other };
        let from = close + 2;
        let bytes = text.as_bytes();
        let colon = (from..bytes.len())
            .find(|&i| bytes[i] == b':' && matches!(bytes.get(i + 1), None | Some(b' ' | b'\t' | b'\r')));
        match colon {
            Some(colon) if !text[from..colon].contains(" #") => {
                Head::Key(at + text[..colon].trim_end_matches(BLANK).len(), at + colon + 1)
            }
            _ => Head::Other,
        }
    }

    // ---- within a line

    pub(super) fn first(&mut self, head: Head) {
        match head {
            Head::Dash => self.dash(),
            Head::Key(text, colon) => self.key(text, colon),
            Head::Other => self.inline(),
        }
    }

    pub(super) fn dash(&mut self) {
        let end = Span::of(self.at..self.at + 1).end;
        self.put(Tok::Dash(end), self.at, self.at + 1);
        self.at += 1;
        self.state = State::AfterDash;
    }
    fn after_key(&mut self) {
        self.at = skip_blanks(self.source, self.at);
        if at_end(self.source, self.at) || self.at_comment() {
            self.open = true;
            self.state = State::Tail;
            return;
        }
        self.inline();
    }

    fn after_dash(&mut self) {
        let dash = self.at;
        self.at = skip_blanks(self.source, self.at);
        if at_end(self.source, self.at) || self.at_comment() {
            self.open = true;
            self.values += 1;
            self.state = State::Tail;
            return;
        }
        self.properties();
        let head = self.head(self.at);
        let col = self.at - self.line;
        if head == Head::Other && !self.key_forgotten(col) {
            return self.inline();
        }
        if self.source.as_bytes()[dash..self.at].contains(&b'\t') {
            let span = Span::of(dash..self.at);
            self.sink.push(
                tab_error(span, "a tab cannot stand between `-` and a key or another `-`").fix(span, " "),
            );
        }
        let kind = if head == Head::Dash { Kind::Seq } else { Kind::Map };
        match self.push(kind, col) {
            Place::Here if head == Head::Other => match self.missing_colon(false) {
                Place::Skip => self.skip_block(col),
                Place::Here | Place::Done => {}
            },
            Place::Here => self.first(head),
            Place::Skip | Place::Done => self.skip_deeper(),
        }
    }

    /// Ends the document here, because there is too much of it.
    fn stop(&mut self) {
        self.sink.push(
            SyntaxError::new(
                "too-many-values",
                Span::of(self.at..self.at),
                format!("a file holds at most {} keys and values", self.most_values),
                "the rest is not read",
            )
            .help("split it into several files"),
        );
        self.close_all();
        self.close_to(0);
        self.at = self.source.len();
        self.state = State::Done;
    }

    fn at_comment(&self) -> bool {
        self.source.as_bytes().get(self.at) == Some(&b'#')
            && self.at > 0
            && matches!(self.source.as_bytes()[self.at - 1], b' ' | b'\t' | b'\r' | b'\n')
    }
    fn tail(&mut self) {
        let end = self.at;
        let at = skip_blanks(self.source, end);
        self.state = State::LineStart;
        if at_end(self.source, at) {
            self.at = line_end(self.source, at).1;
            return;
        }
        self.at = at;
        if self.source.as_bytes()[at] == b'#' {
            if !self.at_comment() {
                self.sink.push(
                    SyntaxError::new(
                        "comment-needs-space",
                        Span::of(at..at + 1),
                        "a comment needs a space before its `#`",
                        "no space before this",
                    )
                    .help("put a space before the `#`")
                    .fix(Span::of(at..at), " "),
                );
            }
            let line = self.comment(at, false);
            self.at = line_end(self.source, line).1;
            return;
        }
        let text = before_comment(self.source, at);
        if self.source.as_bytes()[at] == b':' && matches!(self.source.as_bytes()[end - 1], b']' | b'}') {
            self.sink.push(super::build::non_scalar_key(Span::of(at..at + 1)));
        } else {
            self.sink.push(
                SyntaxError::new(
                    "content-after-value",
                    Span::of(at..text),
                    "this follows a value that is already complete",
                    "nothing but a comment may follow",
                )
                .help("remove it, or quote the value as a whole"),
            );
        }
        if self.deeper_follows(at) {
            return self.skip_deeper();
        }
        self.at = line_end(self.source, at).1;
    }
}

impl Iterator for Layout<'_> {
    type Item = Placed;

    fn next(&mut self) -> Option<Placed> {
        loop {
            if let Some(token) = self.queue.pop_front() {
                return Some(Ok(token));
            }
            if self.values > self.most_values && self.state != State::Done {
                self.stop();
                continue;
            }
            match self.state {
                State::LineStart => self.line_start(),
                State::AfterKey => self.after_key(),
                State::AfterDash => self.after_dash(),
                State::Tail => self.tail(),
                State::Flow => self.flow_step(),
                State::Done => return None,
            }
        }
    }
}
