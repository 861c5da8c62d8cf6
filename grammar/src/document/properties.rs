//! Anchors, aliases and tags, none of which are part of the language.
//!
//! In front of a value they are passed over; where they are more likely text without quotes (`*.conf`, `!changed`), the
//! line is taken as that text, so that what follows still makes sense.

use super::layout::{Head, Layout};
use super::lexer::{BlockRaw, token};
use super::lines::{at_end, before_comment, line_end, skip_blanks, spaces};
use super::words::{quoted as requote, shorten};
use crate::Span;
use crate::error::SyntaxError;

impl Layout<'_> {
    /// Anchors and tags in front of something: reported and passed over, where that is what they can be.
    pub(super) fn properties(&mut self) {
        while let Some(b'&' | b'!') = self.source.as_bytes().get(self.at) {
            let Some((raw, end)) = token::<BlockRaw>(self.source, self.at) else { return };
            let after = skip_blanks(self.source, end);
            let alone = at_end(self.source, after) && !self.deeper_follows_line(after);
            // What follows is a value by its own right, so this cannot be the beginning of a text.
            let known = self.source[self.at..end].starts_with("!!")
                || (after > end
                    && matches!(
                        self.source.as_bytes().get(after),
                        Some(b'|' | b'>' | b'[' | b'{' | b'"' | b'\'')
                    ));
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

    pub(super) fn is_key(&self, at: usize) -> bool {
        matches!(self.head(at), Head::Key(..))
    }

    pub(super) fn deeper_follows_line(&self, at: usize) -> bool {
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

    pub(super) fn report_anchor(&mut self, end: usize) {
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

    pub(super) fn report_tag(&mut self, end: usize, as_text: bool) {
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

    pub(super) fn alias(&mut self, raw: BlockRaw, end: usize) {
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
}
