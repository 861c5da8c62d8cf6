//! Values that begin in the middle of a line or alone on one.

use super::indent::{Place, tab_error};
use super::layout::{Kind, Layout, State};
use super::lexer::{BlockRaw, token};
use super::lines::{before_comment, skip_blanks};
use super::scalar::TextBuilder;
use super::tree::Style;
use super::words::{quoted as requote, shorten, tick};
use super::{Comment, block_text, plain, quoted};
use crate::Span;
use crate::error::SyntaxError;

/// A line of a text with nothing but blanks, among them a tab where its indentation belongs.
pub(super) fn tab_on_blank_line(span: Span) -> SyntaxError {
    tab_error(span, "a blank line within a text cannot begin with a tab")
        .help("leave the blank line empty")
        .fix(span, "")
}

impl Layout<'_> {
    /// A value that begins at `self.at`, on the line of its key or dash or on its own.
    pub(super) fn inline(&mut self) {
        self.open = false;
        self.properties();
        let (start, floor) = (self.at, self.floor());
        let Some((raw, end)) = token::<BlockRaw>(self.source, start) else {
            return self.text(start);
        };
        match raw {
            BlockRaw::Plain => {
                let scanned = plain::block(self.source, start, end, floor);
                self.blank_line_tab(scanned.tab);
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

    pub(super) fn blank_line_tab(&mut self, tab: Option<Span>) {
        if let Some(span) = tab {
            self.sink.push(tab_on_blank_line(span));
        }
    }

    pub(super) fn quoted(&mut self, floor: usize) {
        let start = self.at;
        let scanned = quoted::scan(self.source, start, floor, &mut self.sink);
        self.blank_line_tab(scanned.tab);
        self.value(scanned.scalar, start, scanned.end);
        self.at = scanned.end;
        self.state = State::Tail;
        if !scanned.closed {
            return self.skip_deeper();
        }
        let after = skip_blanks(self.source, self.at);
        if self.source.as_bytes().get(after) == Some(&b':') {
            let on_one_line = !self.source[start..self.at].contains('\n');
            let end = before_comment(self.source, if on_one_line { start } else { after });
            if !on_one_line {
                self.sink.push(
                    SyntaxError::new(
                        "key-too-long",
                        Span::of(start..self.at),
                        "a key has to be on one line, with its `:`",
                        "more than one line",
                    )
                    .help("write the key on one line; is a quote missing at the end of the first one?"),
                );
                self.at = end.max(after + 1);
                // The mapping that this was to begin.
                if self.deeper_follows(after) {
                    self.skip_deeper();
                }
                return;
            }
            self.report_second_mapping(start, end.max(after + 1));
            self.at = end.max(after + 1);
        }
    }

    pub(super) fn block_text(&mut self) {
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
    pub(super) fn text(&mut self, start: usize) {
        let end = before_comment(self.source, start);
        self.as_text(start, end);
    }

    pub(super) fn as_text(&mut self, start: usize, end: usize) {
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

    pub(super) fn second_mapping(&mut self, start: usize) {
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

    pub(super) fn report_second_mapping(&mut self, start: usize, end: usize) {
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

    pub(super) fn list_on_line(&mut self) {
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

    pub(super) fn reserved(&mut self, raw: BlockRaw) {
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
}
