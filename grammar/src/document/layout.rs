//! Turns lines and columns into explicit tokens.
//!
//! What the grammar relies on: blocks are balanced, every key and every dash is followed by at most one value, and
//! brackets are balanced. So a mistake is reported *here*, where columns are known, and repaired before the grammar sees
//! it; a mistake in one line cannot unbalance the lines after it.

use super::lexer::{BlockRaw, token};
use super::lines::{
    at_blank, at_end, before_comment, is_marker, line_end, quoted as requote, skip_blanks, spaces,
};
use super::scalar::{Scalar, TextBuilder};
use super::token::{Placed, Tok};
use super::tree::{Key, Node, Style, Value};
use super::{Comment, block_text, plain, quoted};
use crate::Span;
use crate::error::{Sink, SyntaxError};
use std::collections::VecDeque;

/// Levels of nesting, blocks and brackets together.
pub(super) const DEEPEST: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Map,
    Seq,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    col: usize,
    kind: Kind,
    /// A column that was reported as wrong once; further lines at it are taken as this block's.
    alias: Option<usize>,
}

/// Where in a line the layout is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
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
enum Head {
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
    state: State,
    frames: Vec<Frame>,
    queue: VecDeque<(u32, Tok, u32)>,
    /// The last key or dash has no value yet.
    open: bool,
    /// A root value or a `---` was seen.
    started: bool,
    marked: bool,
    /// The previous line with text had a tab in its indentation.
    tabs: bool,
    pub(super) flow: Vec<super::flow::Level>,
    pub(super) sink: Sink,
    pub(super) comments: Vec<Comment>,
}

impl<'s> Layout<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        let at = if source.starts_with('\u{feff}') { 3 } else { 0 };
        Layout {
            source,
            at,
            line: at,
            state: State::LineStart,
            frames: Vec::new(),
            queue: VecDeque::new(),
            open: false,
            started: false,
            marked: false,
            tabs: false,
            flow: Vec::new(),
            sink: Sink::default(),
            comments: Vec::new(),
        }
    }

    pub(super) fn put(&mut self, tok: Tok, start: usize, end: usize) {
        let span = Span::of(start..end);
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

    fn line_start(&mut self) {
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
    fn next_line(&mut self) -> Option<(usize, usize)> {
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

    fn marker(&mut self, start: usize) {
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
    fn column(&mut self, start: usize, at: usize) -> usize {
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

    fn head(&self, at: usize) -> Head {
        match token::<BlockRaw>(self.source, at) {
            Some((BlockRaw::Dash, _)) => Head::Dash,
            Some((BlockRaw::Key, end)) => Head::Key(plain::key_end(self.source, at, end), end),
            Some((BlockRaw::Colon, end)) => Head::Key(at, end),
            Some((BlockRaw::Double | BlockRaw::Single, _)) => self.quoted_key(at),
            Some((BlockRaw::Template, _)) => self.template_key(at),
            _ => Head::Other,
        }
    }

    fn quoted_key(&self, at: usize) -> Head {
        let Some(end) = quoted::end_on_line(self.source, at) else { return Head::Other };
        let colon = skip_blanks(self.source, end);
        if self.source.as_bytes().get(colon) == Some(&b':') { Head::Key(end, colon + 1) } else { Head::Other }
    }

    /// `{{ x }}: value`, which lacks its quotes.
    fn template_key(&self, at: usize) -> Head {
        let (line, _) = line_end(self.source, at);
        let text = &self.source[at..line];
        let Some(close) = text.find("}}") else { return Head::Other };
        let from = close + 2;
        let bytes = text.as_bytes();
        let colon = (from..bytes.len())
            .find(|&i| bytes[i] == b':' && matches!(bytes.get(i + 1), None | Some(b' ' | b'\t' | b'\r')));
        match colon {
            Some(colon) if !text[from..colon].contains(" #") => {
                Head::Key(at + text[..colon].trim_end().len(), at + colon + 1)
            }
            _ => Head::Other,
        }
    }

    // ---- indentation

    fn close_to(&mut self, depth: usize) {
        while self.frames.len() > depth {
            self.frames.pop();
            self.put(Tok::Close, self.at, self.at);
        }
    }

    /// Closes and opens blocks so that the line at `col` finds its place.
    fn align(&mut self, col: usize, head: Head) -> Place {
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
    fn beside(&mut self, head: Head, open: bool, quiet: bool) -> Place {
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
    fn deeper(&mut self, col: usize, head: Head) -> Place {
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

    fn report_dedent(&mut self, keep: usize) {
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

    fn open_block(&mut self, col: usize, head: Head) -> Place {
        match head {
            Head::Dash => self.push(Kind::Seq, col),
            Head::Key(..) => self.push(Kind::Map, col),
            Head::Other => Place::Here,
        }
    }

    fn push(&mut self, kind: Kind, col: usize) -> Place {
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
    fn skip_block(&mut self, col: usize) {
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

    // ---- what a line begins with

    fn first(&mut self, head: Head) {
        match head {
            Head::Dash => self.dash(),
            Head::Key(text, colon) => self.key(text, colon),
            Head::Other => self.inline(),
        }
    }

    fn dash(&mut self) {
        let end = Span::of(self.at..self.at + 1).end;
        self.put(Tok::Dash(end), self.at, self.at + 1);
        self.at += 1;
        self.state = State::AfterDash;
    }

    /// A key whose text is `self.at..text` and whose `:` ends at `colon`.
    fn key(&mut self, text: usize, colon: usize) {
        let start = self.at;
        let span = Span::of(start..text);
        let first = self.source.as_bytes()[start];
        let (content, style) = if first == b'"' || first == b'\'' {
            let scanned = quoted::scan(self.source, start, 0, &mut self.sink);
            (scanned.scalar.text, scanned.scalar.style)
        } else if first == b'{' {
            self.needs_quotes(start, text);
            (self.source[start..text].to_owned(), Style::DoubleQuoted)
        } else {
            (self.source[start..text].to_owned(), Style::Plain)
        };
        if text == start {
            self.sink.push(
                SyntaxError::new(
                    "missing-key",
                    Span::of(start..colon),
                    "there is no key before this `:`",
                    "no key",
                )
                .help("write `key: value`; for an empty key write `\"\":`"),
            );
        } else if !at_blank(self.source, colon) {
            self.sink.push(missing_space(Span::of(colon - 1..colon)));
        }
        if text - start > 1024 && self.source[start..text].chars().count() > 1024 {
            self.sink.push(
                SyntaxError::new("key-too-long", span, "a key has at most 1024 characters", "too long")
                    .help("shorten the key"),
            );
        }
        let key = Key { text: content, span, style };
        let end = Span::of(colon..colon).start;
        self.put(Tok::Key((key, end)), start, colon);
        self.at = colon;
        self.state = State::AfterKey;
    }

    /// A line of a mapping without `:`.
    fn missing_colon(&mut self, quiet: bool) -> Place {
        let start = self.at;
        let end = before_comment(self.source, start);
        let span = Span::of(start..end);
        let raw = token::<BlockRaw>(self.source, start);
        if let Some((BlockRaw::Question, _)) = raw
            && at_blank(self.source, start + 1)
        {
            self.explicit_key();
            return Place::Done;
        }
        if !matches!(raw, Some((BlockRaw::Plain, _))) {
            let text = &self.source[start..end];
            if !quiet && (text.contains("]:") || text.contains("}:")) {
                self.sink.push(super::build::non_scalar_key(span));
            } else if !quiet {
                self.sink.push(
                    SyntaxError::new(
                        "expected-key",
                        span,
                        "a line of a mapping begins with a key",
                        "expected `key:`",
                    )
                    .help("write `key: value`"),
                );
            }
            return Place::Skip;
        }
        let text = &self.source[start..end];
        if let Some(colon) = joined_colon(text) {
            let colon = start + colon;
            if !quiet {
                self.sink.push(missing_space(Span::of(colon..colon + 1)));
            }
            let key = Key {
                text: self.source[start..colon].to_owned(),
                span: Span::of(start..colon),
                style: Style::Plain,
            };
            self.put(Tok::Key((key, Span::of(colon..colon + 1).end)), start, colon + 1);
            self.at = colon + 1;
            self.state = State::AfterKey;
            return Place::Done;
        }
        if !quiet {
            let mut error = SyntaxError::new(
                "missing-colon",
                span,
                format!("`{}` has no `:`", shorten(text)),
                "expected `key: value`",
            );
            error = match text.split_once([' ', '\t']) {
                Some((key, rest)) if !rest.trim().contains([' ', '\t']) => {
                    error.help(format!("write `{}: {}`", shorten(key), shorten(rest.trim())))
                }
                _ => error.help("write `key: value`; a text of several lines goes below `key: |`"),
            };
            self.sink.push(error);
        }
        // What is below it is most likely its value.
        let key = Key { text: text.to_owned(), span, style: Style::Plain };
        self.put(Tok::Key((key, span.end)), start, end);
        self.bad_unless_deeper(end);
        Place::Done
    }

    /// After a key that was reported: its value is what is below it, or an error node, never "nothing".
    fn bad_unless_deeper(&mut self, end: usize) {
        self.at = end;
        self.state = State::Tail;
        if self.deeper_follows(end) {
            self.open = true;
        } else {
            self.bad(end, end);
        }
    }

    fn deeper_follows(&self, at: usize) -> bool {
        let floor = self.floor();
        let mut start = line_end(self.source, at).1;
        while start < self.source.len() {
            let text = start + spaces(self.source, start);
            if at_end(self.source, text) || self.source.as_bytes()[text] == b'#' {
                start = line_end(self.source, text).1;
                continue;
            }
            return text - start >= floor;
        }
        false
    }

    fn explicit_key(&mut self) {
        let end = before_comment(self.source, self.at);
        self.sink.push(
            SyntaxError::new(
                "explicit-key",
                Span::of(self.at..end),
                "explicit keys (`? key`) are not part of the language",
                "explicit key",
            )
            .help("write `key: value` on one line; keys are always text"),
        );
        let col = self.at - self.line;
        self.skip_block(col);
        // The `: value` line of it belongs to the same mistake.
        let at = self.at + spaces(self.source, self.at);
        if at - self.at == col
            && self.source.as_bytes().get(at) == Some(&b':')
            && at_blank(self.source, at + 1)
        {
            self.at = at;
            self.skip_block(col);
        }
    }

    // ---- values

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
            self.state = State::Tail;
            return;
        }
        self.properties();
        let head = self.head(self.at);
        if head == Head::Other {
            return self.inline();
        }
        if self.source.as_bytes()[dash..self.at].contains(&b'\t') {
            let span = Span::of(dash..self.at);
            self.sink.push(
                tab_error(span, "a tab cannot stand between `-` and a key or another `-`").fix(span, " "),
            );
        }
        let kind = if head == Head::Dash { Kind::Seq } else { Kind::Map };
        match self.push(kind, self.at - self.line) {
            Place::Here => self.first(head),
            Place::Skip | Place::Done => self.skip_deeper(),
        }
    }

    fn at_comment(&self) -> bool {
        self.source.as_bytes().get(self.at) == Some(&b'#')
            && self.at > 0
            && matches!(self.source.as_bytes()[self.at - 1], b' ' | b'\t' | b'\r' | b'\n')
    }

    /// Anchors and tags in front of something: reported and passed over, where that is what they can be.
    fn properties(&mut self) {
        loop {
            let Some((raw, end)) = token::<BlockRaw>(self.source, self.at) else { return };
            let after = skip_blanks(self.source, end);
            let alone = at_end(self.source, after) && !self.deeper_follows_line(after);
            let known = self.source[self.at..end].starts_with("!!");
            match raw {
                BlockRaw::Anchor if !alone => self.report_anchor(end),
                BlockRaw::Tag if !alone && (known || at_end(self.source, after) || self.is_key(after)) => {
                    self.report_tag(end, false);
                }
                _ => return,
            }
            self.at = after;
        }
    }

    fn is_key(&self, at: usize) -> bool {
        matches!(self.head(at), Head::Key(..))
    }

    fn deeper_follows_line(&self, at: usize) -> bool {
        let col = spaces(self.source, self.line);
        let mut start = line_end(self.source, at).1;
        while start < self.source.len() {
            let text = start + spaces(self.source, start);
            if !at_end(self.source, text) {
                return text - start > col;
            }
            start = line_end(self.source, text).1;
        }
        false
    }

    fn report_anchor(&mut self, end: usize) {
        let text = &self.source[self.at..end];
        let after = skip_blanks(self.source, end);
        self.sink.push(
            SyntaxError::new(
                "anchor",
                Span::of(self.at..end),
                format!("anchors (`{}`) are not part of the language", shorten(text)),
                "anchor",
            )
            .help("remove it and use a variable for what is shared; quote the value if the `&` is text")
            .fix(Span::of(self.at..after), ""),
        );
    }

    fn report_tag(&mut self, end: usize, as_text: bool) {
        let (text, after) = (&self.source[self.at..end], skip_blanks(self.source, end));
        let error = SyntaxError::new(
            "tag",
            Span::of(self.at..end),
            format!("tags (`{}`) are not part of the language", shorten(text)),
            "tag",
        );
        self.sink.push(if as_text {
            let whole = before_comment(self.source, self.at);
            let quoted = requote(&self.source[self.at..whole]);
            error
                .help(format!("if this is text, quote it: `{}`", shorten(&quoted)))
                .fix(Span::of(self.at..whole), quoted)
        } else {
            error
                .help("remove it: the type comes from where the value stands")
                .fix(Span::of(self.at..after), "")
        });
    }

    /// A value that begins at `self.at`, on the line of its key or dash or on its own.
    fn inline(&mut self) {
        self.open = false;
        self.properties();
        let (start, floor) = (self.at, self.floor());
        let Some((raw, end)) = token::<BlockRaw>(self.source, start) else {
            return self.text(start);
        };
        match raw {
            BlockRaw::Plain => {
                let scanned = plain::block(self.source, start, end, floor);
                self.value(scanned.scalar, start, scanned.end);
                self.at = scanned.end;
                self.state = State::Tail;
            }
            BlockRaw::Double | BlockRaw::Single => self.quoted(floor),
            BlockRaw::Literal | BlockRaw::Folded => self.block_text(),
            BlockRaw::OpenSeq | BlockRaw::OpenMap => {
                self.state = State::Flow;
                self.open_flow();
            }
            BlockRaw::Template => {
                let end = before_comment(self.source, start);
                self.needs_quotes(start, end);
                self.as_text(start, end);
            }
            BlockRaw::Key | BlockRaw::Colon => self.second_mapping(start),
            BlockRaw::Dash => self.list_on_line(),
            BlockRaw::Question => {
                if self.frames.is_empty() {
                    // The mapping that this began has to be found further down.
                    self.started = false;
                } else {
                    self.bad(start, start);
                }
                self.explicit_key();
            }
            BlockRaw::Tag => {
                self.report_tag(end, true);
                self.text(start);
            }
            BlockRaw::Anchor | BlockRaw::Alias => self.alias(raw, end),
            BlockRaw::Reserved | BlockRaw::Stray => self.reserved(raw),
        }
    }

    fn quoted(&mut self, floor: usize) {
        let start = self.at;
        let scanned = quoted::scan(self.source, start, floor, &mut self.sink);
        self.value(scanned.scalar, start, scanned.end);
        self.at = scanned.end;
        self.state = State::Tail;
        if !scanned.closed {
            return self.skip_deeper();
        }
        let after = skip_blanks(self.source, self.at);
        if self.source.as_bytes().get(after) == Some(&b':') {
            let end = before_comment(self.source, start);
            self.report_second_mapping(start, end.max(after + 1));
            self.at = end.max(after + 1);
        }
    }

    fn block_text(&mut self) {
        let start = self.at;
        let parent = self.frames.last().map(|frame| frame.col);
        match block_text::scan(self.source, start, parent, &mut self.sink) {
            Some(scanned) => {
                self.value(scanned.scalar, start, scanned.end);
                if let Some(span) = scanned.comment {
                    self.comments.push(Comment { span, own_line: false });
                }
                self.at = scanned.next;
                self.state = State::LineStart;
            }
            None => self.text(start),
        }
    }

    /// The rest of the line as the text it was meant to be.
    fn text(&mut self, start: usize) {
        let end = before_comment(self.source, start);
        self.as_text(start, end);
    }

    fn as_text(&mut self, start: usize, end: usize) {
        let mut out = TextBuilder::new(self.source);
        out.copy(start..end);
        self.value(out.finish(Style::DoubleQuoted, start), start, end);
        self.at = end;
        self.state = State::Tail;
    }

    pub(super) fn needs_quotes(&mut self, start: usize, end: usize) {
        let span = Span::of(start..end);
        self.sink.push(
            SyntaxError::new(
                "template-needs-quotes",
                span,
                "a value that begins with a template has to be quoted",
                "to YAML, `{` begins a mapping",
            )
            .help(format!("write `{}`", shorten(&requote(&self.source[start..end]))))
            .fix(span, requote(&self.source[start..end])),
        );
    }

    fn second_mapping(&mut self, start: usize) {
        let end = before_comment(self.source, start);
        if self.frames.is_empty() {
            // `--- key: value`
            self.sink.push(
                SyntaxError::new(
                    "nested-mapping-on-one-line",
                    Span::of(start..end),
                    "a mapping cannot begin on the line of `---`",
                    "move this to the next line",
                )
                .fix(Span::of(start..start), "\n"),
            );
            self.line = start;
            let head = self.head(start);
            return match self.push(Kind::Map, 0) {
                Place::Here => self.first(head),
                Place::Skip | Place::Done => self.skip_deeper(),
            };
        }
        self.report_second_mapping(start, end);
        self.text(start);
        if self.deeper_follows(end) {
            self.skip_deeper();
        }
    }

    fn report_second_mapping(&mut self, start: usize, end: usize) {
        let span = Span::of(start..end);
        let text = &self.source[start..end];
        let quoted = requote(text);
        let error = SyntaxError::new(
            "nested-mapping-on-one-line",
            span,
            "a value cannot hold another `key: value` on the same line",
            "contains `: `",
        );
        self.sink.push(if text.starts_with(['"', '\'']) {
            error.help("put the inner mapping on the next line, indented, or quote the whole value")
        } else {
            error
                .help(format!(
                    "if this is text, quote it: `{}`; or put the mapping on the next line",
                    shorten(&quoted)
                ))
                .fix(span, quoted)
        });
    }

    fn list_on_line(&mut self) {
        let start = self.at;
        let end = before_comment(self.source, start);
        self.sink.push(
            SyntaxError::new(
                "list-on-key-line",
                Span::of(start..end),
                "a list cannot begin on the line of its key",
                "move this to the next line",
            )
            .help("write each `- item` on a line of its own below the key, or use `[a, b]`"),
        );
        let col = self.source[self.line..start].len();
        match self.push(Kind::Seq, col) {
            Place::Here => self.dash(),
            Place::Skip | Place::Done => self.skip_deeper(),
        }
    }

    fn alias(&mut self, raw: BlockRaw, end: usize) {
        let start = self.at;
        let whole = before_comment(self.source, start);
        let what = if raw == BlockRaw::Alias { "aliases" } else { "anchors" };
        let slug = if raw == BlockRaw::Alias { "alias" } else { "anchor" };
        let text = &self.source[start..end];
        let quoted = requote(&self.source[start..whole]);
        self.sink.push(
            SyntaxError::new(
                slug,
                Span::of(start..end),
                format!("{what} (`{}`) are not part of the language", shorten(text)),
                if raw == BlockRaw::Alias { "alias" } else { "anchor" },
            )
            .help(format!(
                "if this is text, quote it: `{}`; to share a value, use a variable",
                shorten(&quoted)
            ))
            .fix(Span::of(start..whole), quoted),
        );
        self.text(start);
    }

    fn reserved(&mut self, raw: BlockRaw) {
        let start = self.at;
        let end = before_comment(self.source, start);
        let c = &self.source[start..start + 1];
        let quoted = requote(&self.source[start..end]);
        let slug = if raw == BlockRaw::Reserved { "reserved-character" } else { "unexpected-character" };
        self.sink.push(
            SyntaxError::new(
                slug,
                Span::of(start..start + 1),
                format!("an unquoted value cannot begin with {}", tick(c)),
                "needs quotes",
            )
            .help(format!("quote it: {}", tick(&shorten(&quoted))))
            .fix(Span::of(start..end), quoted),
        );
        self.text(start);
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

/// What became of a line.
enum Place {
    /// It has its place; its content is still to be read.
    Here,
    /// It is reported; it and what is below it are passed over.
    Skip,
    /// It is reported and dealt with.
    Done,
}

impl Iterator for Layout<'_> {
    type Item = Placed;

    fn next(&mut self) -> Option<Placed> {
        loop {
            if let Some(token) = self.queue.pop_front() {
                return Some(Ok(token));
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

pub(super) fn tab_error(span: Span, message: &str) -> SyntaxError {
    SyntaxError::new("tab-indentation", span, message, "tab").help("use two spaces for each level")
}

fn missing_space(colon: Span) -> SyntaxError {
    SyntaxError::new(
        "missing-space-after-colon",
        colon,
        "a `:` after a key needs a space behind it",
        "no space after this",
    )
    .help("write `key: value`")
    .fix(Span::new(colon.end, colon.end), " ")
}

/// The `:` of `key:value`, if that is what the text looks like.
fn joined_colon(text: &str) -> Option<usize> {
    let colon = text.find(':')?;
    let key = &text[..colon];
    let word =
        !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-' || c == '.');
    (word && !text[colon + 1..].starts_with(['/', ':'])).then_some(colon)
}

/// Text in backticks, or in quotes if it holds one.
fn tick(text: &str) -> String {
    if text.contains('`') { format!("'{text}'") } else { format!("`{text}`") }
}

/// Text short enough for a message.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
