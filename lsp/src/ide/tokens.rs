//! What the words inside `when:` and templates are, for highlighting. The structure of a file is coloured by the editor
//! itself; here is what only the compiler can tell apart.

use super::Source;
use super::expression::{Language, WordKind, expressions, words};
use compiler::schema::schema;
use grammar::Span;

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// `if`, `in`
    Keyword,
    /// A function of the language.
    Function,
    /// A variable of the policy, or of the envoy.
    Variable,
    /// A trait.
    Property,
    /// The element of a foreach, or a variable of the template.
    Parameter,
    /// A text.
    Text,
    /// A number.
    Number,
    /// `==`
    Operator,
    /// A comment.
    Comment,
}

impl TokenKind {
    /// Every kind, in the order in which editors are told of them.
    pub const ALL: [TokenKind; 9] = [
        TokenKind::Keyword,
        TokenKind::Function,
        TokenKind::Variable,
        TokenKind::Property,
        TokenKind::Parameter,
        TokenKind::Text,
        TokenKind::Number,
        TokenKind::Operator,
        TokenKind::Comment,
    ];

    /// As editors call it.
    pub fn name(self) -> &'static str {
        match self {
            TokenKind::Keyword => "keyword",
            TokenKind::Function => "function",
            TokenKind::Variable => "variable",
            TokenKind::Property => "property",
            TokenKind::Parameter => "parameter",
            TokenKind::Text => "string",
            TokenKind::Number => "number",
            TokenKind::Operator => "operator",
            TokenKind::Comment => "comment",
        }
    }
}

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its place; never over a line break.
    pub span: Span,
    /// What it is.
    pub kind: TokenKind,
}

/// The tokens of a file, or of a part of it, in order.
pub fn tokens(source: &Source, part: Option<Span>) -> Vec<Token> {
    let parsed = source.parsed();
    let inside = |s: Span| part.is_none_or(|p| s.start < p.end && p.start < s.end);
    let mut out = Vec::new();
    for e in expressions(source, &parsed).into_iter().filter(|e| inside(e.span)) {
        for word in words(&source.text, e.span, e.language) {
            let written = source.slice(word.span);
            let kind = match word.kind {
                WordKind::Keyword => TokenKind::Keyword,
                WordKind::Function => match schema().functions.get(written) {
                    Some(f) if f.in_when || e.language == Language::Template => TokenKind::Function,
                    // a word that is no function is a mistake, and looks like one
                    _ => continue,
                },
                WordKind::Variable | WordKind::Envoy => TokenKind::Variable,
                WordKind::Trait => TokenKind::Property,
                WordKind::Item | WordKind::Local => TokenKind::Parameter,
                WordKind::Text => TokenKind::Text,
                WordKind::Number => TokenKind::Number,
                WordKind::Operator => TokenKind::Operator,
                WordKind::Comment => TokenKind::Comment,
            };
            let mut start = word.span.start;
            for line in written.split_inclusive('\n') {
                let shown = line.trim_end_matches(['\n', '\r']).len() as u32;
                if shown > 0 {
                    out.push(Token { span: Span::new(start, start + shown), kind });
                }
                start += line.len() as u32;
            }
        }
    }
    out.sort_by_key(|t| t.span.start);
    // what folds or repeats in the tree must not make tokens that overlap
    out.dedup_by(|b, a| b.span.start < a.span.end);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    #[test]
    fn words_are_what_they_mean() {
        let fixture = Fixture::new(ACME);
        let source = fixture.ide().source("modules/motd.vgo").unwrap();
        let found: Vec<String> = tokens(&source, None)
            .iter()
            .map(|t| format!("{} {}", t.kind.name(), source.slice(t.span)))
            .collect();
        assert_eq!(
            found,
            [
                "variable .Vars.port",
                "function os_family",
                "operator (",
                "string 'debian'",
                "operator )",
                "operator &&",
                "variable vars.port",
                "operator ==",
                "number 80"
            ]
        );
        let half = Span::new(0, source.text.find("when:").unwrap() as u32);
        assert_eq!(tokens(&source, Some(half)).len(), 1);
        let source = fixture.ide().source("templates/nginx/site.conf").unwrap();
        assert_eq!(tokens(&source, None).len(), 2);
    }
}
