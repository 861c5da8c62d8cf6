//! Brackets: `[a, b]` and `{a: b}`, on one line or several.
//!
//! Keeps track of what each level of brackets waits for, so that a forgotten comma or bracket is named as such and
//! repaired; the grammar then sees well-formed lists.

use super::indent::tab_error;
use super::layout::{DEEPEST, Layout};
use super::lexer::{FlowRaw, token};
use super::lines::{BLANK, at_end, is_marker, line_end, skip_blanks, spaces};
use super::token::Tok;
use super::{plain, quoted};
use crate::Span;
use crate::error::SyntaxError;

/// An open bracket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    open: usize,
    seq: bool,
    phase: Phase,
    /// The current entry had a mistake; more of it is not worth a report.
    pub(super) quiet: bool,
    /// Where the current entry begins.
    item: usize,
    /// Where its key, or the item, ends.
    end: usize,
    /// The last token was quoted or a bracket: a `:` may follow it without a space.
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// An entry may begin.
    Start,
    /// Behind a key or a plain item.
    Item,
    /// Behind a `:`.
    Colon,
    /// Behind the value of a `:`.
    Pair,
}

impl Layout<'_> {
    /// Opens the bracket at `self.at`.
    pub(super) fn open_flow(&mut self) {
        let at = self.at;
        let seq = self.source.as_bytes()[at] == b'[';
        self.begin_item(at);
        if self.depth() >= DEEPEST {
            self.too_deep(at);
            self.bad(at, at + 1);
            self.skip_brackets();
            self.end_item(true);
            if self.flow.is_empty() {
                self.end_flow(false);
            }
            return;
        }
        let start = Span::of(at..at).start;
        self.put(if seq { Tok::OpenSeq(start) } else { Tok::OpenMap(start) }, at, at + 1);
        self.flow.push(Level {
            open: at,
            seq,
            phase: Phase::Start,
            quiet: false,
            item: at,
            end: at,
            json: false,
        });
        self.at = at + 1;
    }

    pub(super) fn flow_step(&mut self) {
        let Some(at) = self.flow_text() else {
            return self.unclosed();
        };
        self.at = at;
        let Some((raw, end)) = token::<FlowRaw>(self.source, at) else {
            // A character that begins nothing cannot be left; a `#` without a space is all there is.
            return self.flow_comment(at);
        };
        if self.level().json && self.source.as_bytes()[at] == b':' {
            return self.flow_colon(at, at + 1);
        }
        match raw {
            FlowRaw::Plain => self.flow_plain(at, end),
            FlowRaw::Key => {
                let text = plain::key_end(self.source, at, end);
                self.begin_item(at);
                self.value(plain::single(self.source, at, text), at, text);
                self.end_item(false);
                self.flow_colon(end - 1, end);
            }
            FlowRaw::Double | FlowRaw::Single => self.flow_quoted(at),
            FlowRaw::OpenSeq | FlowRaw::OpenMap => self.open_flow(),
            FlowRaw::CloseSeq | FlowRaw::CloseMap => self.close_flow(at),
            FlowRaw::Comma => self.flow_comma(at),
            FlowRaw::Colon => self.flow_colon(at, end),
            FlowRaw::Template => self.flow_template(at),
            FlowRaw::Dash => self.flow_dash(at),
            FlowRaw::Question => self.flow_question(at),
            FlowRaw::Anchor | FlowRaw::Tag | FlowRaw::Alias | FlowRaw::Reserved => {
                self.flow_odd(raw, at, end)
            }
        }
    }

    fn level(&self) -> Level {
        let at = self.at;
        let none =
            Level { open: at, seq: true, phase: Phase::Start, quiet: true, item: at, end: at, json: false };
        self.flow.last().copied().unwrap_or(none)
    }

    pub(super) fn set(&mut self, change: impl FnOnce(&mut Level)) {
        if let Some(level) = self.flow.last_mut() {
            change(level);
        }
    }

    /// The next text, over line breaks and comments. Nothing when the brackets end without being closed: at a line that
    /// is not deeper than the block around them. A closing bracket may stand at the block's own column.
    fn flow_text(&mut self) -> Option<usize> {
        let mut at = skip_blanks(self.source, self.at);
        loop {
            if at >= self.source.len() {
                self.at = at;
                return None;
            }
            if self.source.as_bytes()[at] == b'#'
                && at > 0
                && matches!(self.source.as_bytes()[at - 1], b' ' | b'\t')
            {
                at = self.comment(at, self.source[self.line..at].trim_matches(BLANK).is_empty());
            }
            if !at_end(self.source, at) {
                return Some(at);
            }
            let next = line_end(self.source, at).1;
            let text = skip_blanks(self.source, next);
            self.line = next;
            if at_end(self.source, text) {
                at = text;
                continue;
            }
            let col = spaces(self.source, next);
            let byte = self.source.as_bytes()[text];
            if byte == b'#' {
                at = self.comment(text, true);
                continue;
            }
            let floor = self.floor();
            let closer = matches!(byte, b']' | b'}') && col + 1 >= floor && text == next + col;
            if is_marker(self.source, next) || (col < floor && !closer) {
                if col < floor && text > next + col && !is_marker(self.source, next) {
                    // A tab where spaces are due.
                    self.sink.push(tab_error(
                        Span::of(next..text),
                        "indentation has to be made of spaces, not tabs",
                    ));
                    return Some(text);
                }
                self.at = next;
                return None;
            }
            return Some(text);
        }
    }

    fn flow_comment(&mut self, at: usize) {
        if self.source.as_bytes()[at] == b'#' {
            self.sink.push(
                SyntaxError::new(
                    "comment-needs-space",
                    Span::of(at..at + 1),
                    "a comment needs a space before its `#`",
                    "no space before this",
                )
                .help("put a space before the `#`, or quote the text if it is part of a value")
                .fix(Span::of(at..at), " "),
            );
            self.at = self.comment(at, false);
        } else {
            let width = self.source[at..].chars().next().map_or(1, char::len_utf8);
            self.sink.push(SyntaxError::new(
                "unexpected-character",
                Span::of(at..at + width),
                "this character cannot stand here",
                "not expected here",
            ));
            self.at = at + width;
        }
    }

    // ---- entries

    /// Before an item at `at`: puts in a comma if one was forgotten.
    pub(super) fn begin_item(&mut self, at: usize) {
        let Some(level) = self.flow.last().copied() else { return };
        if level.phase == Phase::Colon {
            return;
        }
        self.set(|level| level.item = at);
        if level.phase == Phase::Start {
            return;
        }
        if !level.quiet {
            self.sink.push(
                SyntaxError::new(
                    "missing-comma",
                    Span::of(at..at),
                    "a comma is missing between two values",
                    "expected `,`",
                )
                .help("separate the values by `, `, or quote them if they are one text")
                .fix(Span::of(at..at), ", "),
            );
        }
        self.put(Tok::Comma, at, at);
        self.set(|level| level.phase = Phase::Start);
    }

    pub(super) fn end_item(&mut self, json: bool) {
        let at = self.at;
        self.set(|level| {
            if level.phase != Phase::Colon {
                level.end = at;
            }
            level.phase = if level.phase == Phase::Colon { Phase::Pair } else { Phase::Item };
            level.json = json;
        });
    }

    fn flow_plain(&mut self, at: usize, end: usize) {
        self.begin_item(at);
        let scanned = plain::flow(self.source, at, end, self.floor());
        self.blank_line_tab(scanned.tab);
        self.value(scanned.scalar, at, scanned.end);
        self.at = scanned.end;
        self.end_item(false);
        if let Some(colon) = scanned.colon {
            self.flow_colon(colon - 1, colon);
        }
    }

    fn flow_quoted(&mut self, at: usize) {
        self.begin_item(at);
        let floor = self.floor();
        let scanned = quoted::scan(self.source, at, floor, &mut self.sink);
        self.blank_line_tab(scanned.tab);
        self.value(scanned.scalar, at, scanned.end);
        self.at = scanned.end;
        self.end_item(true);
        if !scanned.closed {
            // The closing bracket is inside the text: one report is enough.
            self.close_all();
            self.skip_deeper();
        }
    }

    /// At the end of an entry: a key without a value has to fit on a line, too.
    fn end_entry(&mut self) {
        let level = self.level();
        if !level.seq
            && level.phase == Phase::Item
            && !level.quiet
            && !matches!(self.source.as_bytes()[level.item], b'[' | b'{')
            && self.source[level.item..level.end].contains('\n')
        {
            self.sink.push(long_key(Span::of(level.item..level.end)));
        }
    }

    fn flow_comma(&mut self, at: usize) {
        self.end_entry();
        if self.level().phase == Phase::Start {
            if !self.level().quiet {
                self.sink.push(
                    SyntaxError::new(
                        "extra-comma",
                        Span::of(at..at + 1),
                        "there is no value before this comma",
                        "expected a value",
                    )
                    .help("remove the comma, or write `\"\"` for an empty text")
                    .fix(Span::of(at..at + 1), ""),
                );
            }
        } else {
            self.put(Tok::Comma, at, at + 1);
        }
        self.set(|level| {
            level.phase = Phase::Start;
            level.quiet = false;
            level.json = false;
        });
        self.at = at + 1;
    }

    fn flow_colon(&mut self, at: usize, end: usize) {
        let level = self.level();
        self.at = end;
        match level.phase {
            Phase::Start => {
                self.sink.push(
                    SyntaxError::new(
                        "missing-key",
                        Span::of(at..end),
                        "there is no key before this `:`",
                        "no key",
                    )
                    .help("write `key: value`; for an empty key write `\"\":`"),
                );
                self.bad(at, at);
            }
            Phase::Item => {
                if !level.quiet && self.source[level.item..at].contains('\n') {
                    self.sink.push(long_key(Span::of(level.item..end)));
                }
            }
            Phase::Colon | Phase::Pair => {
                if !level.quiet {
                    self.sink.push(
                        SyntaxError::new(
                            "unexpected-colon",
                            Span::of(at..end),
                            "this entry already has a `:`",
                            "second `:` of the entry",
                        )
                        .help("quote the value if the `:` is part of it, or put a comma between two entries"),
                    );
                }
                self.set(|level| level.quiet = true);
                return;
            }
        }
        if !level.json && !level.quiet && matches!(self.source.as_bytes().get(end), Some(b'[' | b'{')) {
            self.sink.push(super::keys::missing_space(Span::of(at..end)));
        }
        self.put(Tok::Colon(Span::of(at..end).end), at, end);
        self.set(|level| {
            level.phase = Phase::Colon;
            level.json = false;
        });
    }

    // ---- closing

    fn close_flow(&mut self, at: usize) {
        let Some(level) = self.flow.last().copied() else { return };
        let seq = self.source.as_bytes()[at] == b']';
        if seq != level.seq {
            let outer = self.flow.len().checked_sub(2).and_then(|i| self.flow.get(i));
            if outer.is_some_and(|outer| outer.seq == seq) {
                self.report_unclosed(level);
                self.close_one(at, at);
                return;
            }
            let (want, found) = if level.seq { (']', '}') } else { ('}', ']') };
            self.sink.push(
                SyntaxError::new(
                    "mismatched-bracket",
                    Span::of(at..at + 1),
                    format!("`{found}` does not close `{}`", &self.source[level.open..level.open + 1]),
                    format!("expected `{want}`"),
                )
                .related(Span::of(level.open..level.open + 1), "opened here")
                .fix(Span::of(at..at + 1), want.to_string()),
            );
        }
        self.end_entry();
        self.close_one(at, at + 1);
        if self.flow.is_empty() {
            self.end_flow(false);
        }
    }

    fn close_one(&mut self, at: usize, end: usize) {
        let Some(level) = self.flow.pop() else { return };
        let close = Span::of(at..end).end;
        self.put(if level.seq { Tok::CloseSeq(close) } else { Tok::CloseMap(close) }, at, end);
        self.at = end;
        self.end_item(true);
    }

    pub(super) fn close_all(&mut self) {
        let at = self.at;
        while !self.flow.is_empty() {
            self.close_one(at, at);
        }
    }

    fn report_unclosed(&mut self, level: Level) {
        let (open, close) = if level.seq { ('[', ']') } else { ('{', '}') };
        self.sink.push(
            SyntaxError::new(
                "unclosed-bracket",
                Span::of(level.open..level.open + 1),
                format!("this `{open}` is never closed"),
                "opened here",
            )
            .help(format!(
                "close it with `{close}`; further lines of it have to be indented deeper than the key"
            )),
        );
    }

    /// The brackets ended without being closed. The outermost one stands for all of them.
    fn unclosed(&mut self) {
        let next = self.at;
        if let Some(level) = self.flow.first().copied() {
            self.report_unclosed(level);
        }
        self.at = self.source[..next].trim_end_matches(BLANK).len();
        self.close_all();
        self.at = next;
        self.end_flow(true);
    }

    /// Passes over brackets that are nested too deep.
    fn skip_brackets(&mut self) {
        let mut depth = 0usize;
        while let Some(at) = self.flow_text() {
            self.at = at;
            match token::<FlowRaw>(self.source, at) {
                Some((FlowRaw::OpenSeq | FlowRaw::OpenMap, end)) => {
                    depth += 1;
                    self.at = end;
                }
                // Two brackets, as far as brackets count.
                Some((FlowRaw::Template, _)) => {
                    depth += 1;
                    self.at = at + 1;
                }
                Some((FlowRaw::CloseSeq | FlowRaw::CloseMap, end)) => {
                    self.at = end;
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return;
                    }
                }
                Some((FlowRaw::Double | FlowRaw::Single, _)) => {
                    let mut ignored = crate::error::Sink::default();
                    self.at = quoted::scan(self.source, at, self.floor(), &mut ignored).end;
                }
                Some((_, end)) => self.at = end,
                None => self.at = line_end(self.source, at).0,
            }
        }
    }
}

/// Readers disagree about keys of several lines, so there are none.
fn long_key(span: Span) -> SyntaxError {
    SyntaxError::new("key-too-long", span, "a key has to be on one line, with its `:`", "more than one line")
        .help("is a comma missing at the end of the first line?")
}
