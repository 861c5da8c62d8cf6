//! Tokens of a condition.

use logos::Logos;

/// A raw token. Payloads are cut from the text where the parser needs them.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(skip r"[ \t\r\n]+")]
pub(super) enum Raw {
    #[token("||")]
    Or,
    #[token("&&")]
    And,
    #[token("!")]
    Not,
    #[token("==")]
    Eq,
    #[token("!=")]
    Ne,
    #[token("<")]
    Lt,
    #[token("<=")]
    Le,
    #[token(">")]
    Gt,
    #[token(">=")]
    Ge,
    #[token("in")]
    In,
    #[token("matches")]
    Matches,
    #[token("(")]
    Open,
    #[token(")")]
    Close,
    #[token("[")]
    OpenList,
    #[token("]")]
    CloseList,
    #[token(",")]
    Comma,
    #[token("true")]
    True,
    #[token("false")]
    False,
    #[regex(r"'[^']*'")]
    Single,
    #[regex(r#""(?:[^"\\]|\\[^\r\n])*""#)]
    Double,
    #[regex(r"'[^']*", priority = 1)]
    #[regex(r#""(?:[^"\\]|\\[^\r\n])*\\?"#, priority = 1)]
    Unterminated,
    /// Anything that begins like a number; what it is worth is decided later.
    #[regex(r"[+-]?\.?[0-9](?:[0-9A-Za-z_.]|[eE][+-])*")]
    Number,
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*", priority = 2)]
    Name,
    /// Dots in any number, so that `traits.` and `a..b` are one mistake each.
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_-]*)+")]
    Path,
    /// Operators of other languages.
    #[regex(r"===|!==|=~|!~|=|&|\||~=|<>")]
    Foreign,
    #[token("{{")]
    OpenTemplate,
    #[token("}}")]
    CloseTemplate,
    #[regex(r"\.[A-Za-z_][A-Za-z0-9_.]*")]
    TemplateField,
}
