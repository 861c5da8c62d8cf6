//! What does not belong inside brackets: templates without quotes, block lists, anchors, tags. Each is named, and read as
//! what it most likely was meant to be.

use super::layout::Layout;
use super::lexer::FlowRaw;
use super::lines::{BLANK, line_end, skip_blanks};
use super::scalar::TextBuilder;
use super::tree::Style;
use super::words::{quoted as requote, shorten};
use crate::Span;
use crate::error::SyntaxError;

impl Layout<'_> {
    pub(super) fn flow_template(&mut self, at: usize) {
        self.begin_item(at);
        let (line, _) = line_end(self.source, at);
        let text = &self.source[at..line];
        let mut end = 0;
        while text[end..].starts_with("{{")
            && let Some(close) = text[end..].find("}}")
        {
            end += close + 2;
            end += text[end..].find([',', ']', '}', '{']).unwrap_or(text.len() - end);
        }
        if end == 0 {
            end = text.len();
        }
        let end = at + text[..end].trim_end_matches(BLANK).len();
        self.needs_quotes(at, end);
        let mut out = TextBuilder::new(self.source);
        out.copy(at..end);
        self.value(out.finish(Style::DoubleQuoted, at), at, end);
        self.at = end;
        self.end_item(true);
    }

    pub(super) fn flow_dash(&mut self, at: usize) {
        self.sink.push(
            SyntaxError::new(
                "list-in-brackets",
                Span::of(at..at + 1),
                "a `- ` list cannot stand inside brackets",
                "list item",
            )
            .help("separate the values by `, ` instead; quote the `-` if it is text"),
        );
        self.at = at + 1;
        self.set(|level| level.quiet = true);
    }

    pub(super) fn flow_question(&mut self, at: usize) {
        self.sink.push(
            SyntaxError::new(
                "explicit-key",
                Span::of(at..at + 1),
                "explicit keys (`? key`) are not part of the language",
                "explicit key",
            )
            .help("write `{key: value}`"),
        );
        self.at = at + 1;
    }

    pub(super) fn flow_odd(&mut self, raw: FlowRaw, at: usize, end: usize) {
        let text = &self.source[at..end];
        let (slug, what) = match raw {
            FlowRaw::Anchor => ("anchor", "anchors"),
            FlowRaw::Tag => ("tag", "tags"),
            FlowRaw::Alias => ("alias", "aliases"),
            _ => ("reserved-character", ""),
        };
        let span = Span::of(at..end);
        let quoted = requote(text);
        let error = if what.is_empty() {
            let first = &text[..1];
            let tick = if first == "`" { "'" } else { "`" };
            SyntaxError::new(
                slug,
                span,
                format!("an unquoted value in brackets cannot begin with {tick}{first}{tick}"),
                "needs quotes",
            )
        } else {
            SyntaxError::new(
                slug,
                span,
                format!("{what} (`{}`) are not part of the language", shorten(text)),
                slug,
            )
        };
        let after = skip_blanks(self.source, end);
        let followed =
            !matches!(self.source.as_bytes().get(after), None | Some(b',' | b']' | b'}' | b'\n' | b'\r'));
        if matches!(raw, FlowRaw::Anchor | FlowRaw::Tag) && followed {
            self.sink.push(error.help("remove it").fix(Span::of(at..after), ""));
            self.at = after;
            return;
        }
        self.sink
            .push(error.help(format!("if this is text, quote it: {}", shorten(&quoted))).fix(span, quoted));
        self.begin_item(at);
        let mut out = TextBuilder::new(self.source);
        out.copy(at..end);
        self.value(out.finish(Style::DoubleQuoted, at), at, end);
        self.at = end;
        self.end_item(true);
        self.set(|level| level.quiet = true);
    }
}
