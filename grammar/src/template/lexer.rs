//! Tokens inside an action, by the rules of Go's `text/template` lexer.
//!
//! Text between actions is not tokenised: it is cut out by looking for `{{`, as Go does.

use logos::Logos;

/// A raw token. Blanks are tokens, because operands have to be separated by them.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(subpattern word = r"[\p{L}\p{Nd}_]")]
pub(super) enum Raw {
    #[regex(r"[ \t\r\n]+")]
    Space,
    #[token("}}")]
    Close,
    #[token("{{")]
    Open,
    #[token("=")]
    Assign,
    #[token(":=")]
    Declare,
    #[token("|")]
    Pipe,
    #[token(",")]
    Comma,
    #[token("(")]
    OpenParen,
    #[token(")")]
    CloseParen,
    #[token(".")]
    Dot,
    #[regex(r"\.[\p{L}_](?&word)*")]
    Field,
    #[regex(r"\$(?&word)*")]
    Variable,
    #[regex(r"[\p{L}_](?&word)*")]
    Name,
    /// Anything that begins like a number, with what Go would take along.
    #[regex(r"[+-]?\.?[0-9](?:[\p{L}\p{Nd}_.]|[eEpP][+-])*")]
    Number,
    #[regex(r#""(?:[^"\\\n]|\\[^\n])*""#)]
    Quoted,
    #[regex(r"`[^`]*`")]
    Backquoted,
    #[regex(r#""(?:[^"\\\n]|\\[^\n])*\\?"#, priority = 1)]
    Unterminated,
    #[token("`")]
    UnclosedBackquoted,
    #[regex(r"'(?:[^'\\\n]|\\[^\n])*'?")]
    Char,
    /// Where a comment cannot be.
    #[token("/*")]
    Comment,
}
