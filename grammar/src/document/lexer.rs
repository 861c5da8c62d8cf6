//! Raw tokens within a line. Lines, columns and everything that spans lines belong to the layout.
//!
//! Block and flow context have different plain scalars: in brackets `,` `[` `]` `{` `}` end a word. A word that ends in
//! `:` is an indicator's neighbour, and because words are maximal, "followed by a blank" need not be looked for: `http://x`
//! is one word that does not end in `:`, while `key:` does. So a key and a plain scalar are two different tokens.

use logos::Logos;

/// Tokens of block context.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(subpattern w = r"[^ \t\r\n]")]
#[logos(subpattern n = r"[^ \t\r\n:]")]
#[logos(subpattern first = r#"[^ \t\r\n\-?:,\[\]{}#&*!|>'"%@`]"#)]
#[logos(subpattern head = r#"(?:(?&first)(?:(?&w)*(?&n))?|[\-?:](?&w)*(?&n))"#)]
#[logos(subpattern headcolon = r#"(?:(?:(?&first)|[\-?:])(?&w)*:)"#)]
#[logos(subpattern next = r"(?:[^ \t\r\n:#]|[^ \t\r\n#](?&w)*(?&n))")]
#[logos(subpattern nextcolon = r"(?:[^ \t\r\n#](?&w)*:|:)")]
pub(super) enum BlockRaw {
    /// A plain scalar, as far as it goes on this line.
    #[regex(r"(?&head)(?:[ \t]+(?&next))*")]
    Plain,
    /// A plain key with its `:`.
    #[regex(r"(?:(?&headcolon)|(?&head)(?:[ \t]+(?&next))*[ \t]+(?&nextcolon))")]
    Key,
    #[token("-")]
    Dash,
    #[token("?")]
    Question,
    #[token(":")]
    Colon,
    #[token("[")]
    OpenSeq,
    #[token("{")]
    OpenMap,
    #[token("{{")]
    Template,
    #[token("\"")]
    Double,
    #[token("'")]
    Single,
    #[token("|")]
    Literal,
    #[token(">")]
    Folded,
    #[regex(r"&[^ \t\r\n]*")]
    Anchor,
    #[regex(r"\*[^ \t\r\n]*")]
    Alias,
    #[regex(r"![^ \t\r\n]*")]
    Tag,
    #[regex(r"[%@`]")]
    Reserved,
    #[regex(r"[,\]}]")]
    Stray,
}

/// A further line of a plain scalar in block context, where indicators at its beginning mean nothing.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(subpattern w = r"[^ \t\r\n]")]
#[logos(subpattern n = r"[^ \t\r\n:]")]
#[logos(subpattern next = r"(?:[^ \t\r\n:#]|[^ \t\r\n#](?&w)*(?&n))")]
#[logos(subpattern nextcolon = r"(?:[^ \t\r\n#](?&w)*:|:)")]
pub(super) enum BlockMore {
    #[regex(r"(?&next)(?:[ \t]+(?&next))*")]
    Plain,
    #[regex(r"(?:(?&next)[ \t]+)*(?&nextcolon)")]
    Key,
}

/// Tokens of flow context.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(subpattern w = r"[^ \t\r\n,\[\]{}]")]
#[logos(subpattern n = r"[^ \t\r\n,\[\]{}:]")]
#[logos(subpattern first = r#"[^ \t\r\n\-?:,\[\]{}#&*!|>'"%@`]"#)]
#[logos(subpattern head = r#"(?:(?&first)(?:(?&w)*(?&n))?|[\-?:](?&w)*(?&n))"#)]
#[logos(subpattern headcolon = r#"(?:(?:(?&first)|[\-?:])(?&w)*:)"#)]
#[logos(subpattern next = r"(?:[^ \t\r\n,\[\]{}:#]|[^ \t\r\n,\[\]{}#](?&w)*(?&n))")]
#[logos(subpattern nextcolon = r"(?:[^ \t\r\n,\[\]{}#](?&w)*:|:)")]
pub(super) enum FlowRaw {
    #[regex(r"(?&head)(?:[ \t]+(?&next))*")]
    Plain,
    #[regex(r"(?:(?&headcolon)|(?&head)(?:[ \t]+(?&next))*[ \t]+(?&nextcolon))")]
    Key,
    #[token("-")]
    Dash,
    #[token("?")]
    Question,
    #[token(":")]
    Colon,
    #[token(",")]
    Comma,
    #[token("[")]
    OpenSeq,
    #[token("{")]
    OpenMap,
    #[token("]")]
    CloseSeq,
    #[token("}")]
    CloseMap,
    #[token("{{")]
    Template,
    #[token("\"")]
    Double,
    #[token("'")]
    Single,
    #[regex(r"[|>%@`][^ \t\r\n,\[\]{}]*")]
    Reserved,
    #[regex(r"&[^ \t\r\n,\[\]{}]*")]
    Anchor,
    #[regex(r"\*[^ \t\r\n,\[\]{}]*")]
    Alias,
    #[regex(r"![^ \t\r\n,\[\]{}]*")]
    Tag,
}

/// A further line of a plain scalar in flow context.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(subpattern w = r"[^ \t\r\n,\[\]{}]")]
#[logos(subpattern n = r"[^ \t\r\n,\[\]{}:]")]
#[logos(subpattern next = r"(?:[^ \t\r\n,\[\]{}:#]|[^ \t\r\n,\[\]{}#](?&w)*(?&n))")]
#[logos(subpattern nextcolon = r"(?:[^ \t\r\n,\[\]{}#](?&w)*:|:)")]
pub(super) enum FlowMore {
    #[regex(r"(?&next)(?:[ \t]+(?&next))*")]
    Plain,
    #[regex(r"(?:(?&next)[ \t]+)*(?&nextcolon)")]
    Key,
}

/// The token at `at` and where it ends; nothing at the end of a line or at a comment.
pub(super) fn token<'s, T: Logos<'s, Source = str>>(source: &'s str, at: usize) -> Option<(T, usize)>
where
    T::Extras: Default,
{
    let mut lexer = T::lexer(source.get(at..)?);
    match lexer.next() {
        Some(Ok(token)) => Some((token, at + lexer.span().end)),
        _ => None,
    }
}
