//! Keys, and lines that should have one.

use super::indent::Place;
use super::layout::{Layout, State};
use super::lexer::{BlockRaw, token};
use super::lines::{at_blank, at_end, before_comment, line_end, spaces};
use super::quoted;
use super::token::Tok;
use super::tree::{Key, Style};
use super::words::shorten;
use crate::Span;
use crate::error::SyntaxError;

impl Layout<'_> {
    /// A key whose text is `self.at..text` and whose `:` ends at `colon`.
    pub(super) fn key(&mut self, text: usize, colon: usize) {
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
    pub(super) fn missing_colon(&mut self, quiet: bool) -> Place {
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
        // `mode 0644` is `mode: 0644`, unless more of it follows.
        let pair = text
            .split_once([' ', '\t'])
            .filter(|(key, rest)| is_word(key) && !rest.trim().contains([' ', '\t']))
            .filter(|_| !self.deeper_follows(start));
        if !quiet {
            let mut error = SyntaxError::new(
                "missing-colon",
                span,
                format!("`{}` has no `:`", shorten(text)),
                "expected `key: value`",
            );
            error = match pair {
                Some((key, rest)) => {
                    let colon = Span::of(start + key.len()..start + key.len());
                    error.help(format!("write `{}: {}`", shorten(key), shorten(rest.trim()))).fix(colon, ":")
                }
                None => error.help("write `key: value`; a text of several lines goes below `key: |`"),
            };
            self.sink.push(error);
        }
        if let Some((key, _)) = pair {
            let end = start + key.len();
            let span = Span::of(start..end);
            self.put(
                Tok::Key((Key { text: key.to_owned(), span, style: Style::Plain }, span.end)),
                start,
                end,
            );
            self.at = end;
            self.state = State::AfterKey;
            return Place::Done;
        }
        // What is below it is most likely its value.
        let key = Key { text: text.to_owned(), span, style: Style::Plain };
        self.put(Tok::Key((key, span.end)), start, end);
        self.bad_unless_deeper(end);
        Place::Done
    }

    /// After a key that was reported: its value is what is below it, or an error node, never "nothing".
    pub(super) fn bad_unless_deeper(&mut self, end: usize) {
        self.at = end;
        self.state = State::Tail;
        if self.deeper_follows(end) {
            self.open = true;
        } else {
            self.bad(end, end);
        }
    }

    pub(super) fn deeper_follows(&self, at: usize) -> bool {
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

    pub(super) fn explicit_key(&mut self) {
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
}

pub(super) fn missing_space(colon: Span) -> SyntaxError {
    SyntaxError::new(
        "missing-space-after-colon",
        colon,
        "a `:` after a key needs a space behind it",
        "no space after this",
    )
    .help("write `key: value`")
    .fix(Span::new(colon.end, colon.end), " ")
}

/// What people use as a key.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// The `:` of `key:value`, if that is what the text looks like.
fn joined_colon(text: &str) -> Option<usize> {
    let colon = text.find(':')?;
    (is_word(&text[..colon]) && !text[colon + 1..].starts_with(['/', ':'])).then_some(colon)
}
