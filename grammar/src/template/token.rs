//! The tokens of one action, checked for what a grammar without blanks cannot see.

use super::lexer::Raw;
use super::literal::{self, BadNumber};
use super::{Ident, OperandKind};
use crate::Span;
use crate::error::{Sink, SyntaxError};
use logos::Logos as _;

#[derive(Clone, Debug)]
pub(super) enum Tok {
    Declare,
    Assign,
    Pipe,
    Comma,
    Open,
    Close,
    Dot,
    Field(Ident),
    /// `.name` directly behind an operand.
    Chain(Ident),
    Variable(Ident),
    Function(Ident),
    Value(OperandKind),
}

impl Tok {
    /// How a message calls it.
    pub(super) fn describe(&self) -> String {
        match self {
            Tok::Declare => "`:=`".into(),
            Tok::Assign => "`=`".into(),
            Tok::Pipe => "`|`".into(),
            Tok::Comma => "`,`".into(),
            Tok::Open => "`(`".into(),
            Tok::Close => "`)`".into(),
            Tok::Dot => "`.`".into(),
            Tok::Field(name) | Tok::Chain(name) => format!("`.{}`", name.text),
            Tok::Variable(name) | Tok::Function(name) => format!("`{}`", name.text),
            Tok::Value(_) => "a value".into(),
        }
    }

    fn ends_operand(&self) -> bool {
        matches!(
            self,
            Tok::Close
                | Tok::Dot
                | Tok::Field(_)
                | Tok::Chain(_)
                | Tok::Variable(_)
                | Tok::Function(_)
                | Tok::Value(_)
        )
    }

    fn begins_operand(&self) -> bool {
        matches!(
            self,
            Tok::Open | Tok::Dot | Tok::Field(_) | Tok::Variable(_) | Tok::Function(_) | Tok::Value(_)
        )
    }
}

/// A token with its place.
pub(super) type Placed = (u32, Tok, u32);

/// One action: what is between `{{` and `}}`.
pub(super) struct Action {
    pub(super) tokens: Vec<Placed>,
    /// Behind the `}}`, or where reading goes on without one.
    pub(super) end: usize,
    /// The action ends in ` -}}`.
    pub(super) trim: bool,
    /// It ended in `}}`.
    pub(super) closed: bool,
    /// Something in it was reported, so that it is not worth parsing.
    pub(super) faulty: bool,
}

/// Whether a `-}}` is at `at`, behind a blank.
fn trim_close(text: &str, at: usize) -> bool {
    text.as_bytes().get(at..).is_some_and(|rest| rest.starts_with(b"-}}"))
}

/// Reads the action whose `{{` (and trim marker) ends at `at`.
pub(super) fn action(text: &str, at: usize, sink: &mut Sink) -> Action {
    let mut out = Action { tokens: Vec::new(), end: text.len(), trim: false, closed: false, faulty: false };
    let mut lexer = Raw::lexer(text.get(at..).unwrap_or_default());
    // End of the token before, and whether a blank is in between.
    let mut last_end = at;
    while let Some(raw) = lexer.next() {
        let range = at + lexer.span().start..at + lexer.span().end;
        let span = Span::of(range.clone());
        let written = &text[range.clone()];
        let raw = match raw {
            Ok(Raw::Space) => {
                if trim_close(text, range.end) {
                    (out.end, out.trim, out.closed) = (range.end + 3, true, true);
                    return out;
                }
                continue;
            }
            Ok(Raw::Close) => {
                (out.end, out.closed) = (range.end, true);
                return out;
            }
            Ok(Raw::Open) => {
                // The `}}` before this one was forgotten.
                out.end = range.start;
                return out;
            }
            Ok(Raw::UnclosedBackquoted | Raw::Unterminated) => {
                unterminated(written, span, sink);
                out.faulty = true;
                out.end = resume(text, range.start);
                out.trim = text[..out.end].ends_with("-}}");
                // Reported already: a second error for the missing `}}` would be noise.
                out.closed = true;
                return out;
            }
            Ok(Raw::Comment) => {
                sink.push(
                    SyntaxError::new(
                        "template-comment",
                        span,
                        "a comment has to fill its action",
                        "not at the beginning of the action",
                    )
                    .help("write `{{/* comment */}}` or `{{- /* comment */ -}}`"),
                );
                let behind = text[range.end..].find("*/").map_or(range.end, |found| range.end + found + 2);
                out.end = text[behind..].find("}}").map_or(text.len(), |found| behind + found + 2);
                out.trim = text[..out.end].ends_with("-}}");
                (out.faulty, out.closed) = (true, true);
                return out;
            }
            Ok(raw) => raw,
            Err(()) => {
                out.faulty = true;
                unknown(written, span, sink);
                continue;
            }
        };
        let spaced = last_end != range.start || out.tokens.is_empty();
        last_end = range.end;
        let Some(tok) = convert(raw, written, span, spaced, out.tokens.last(), sink) else {
            out.faulty = true;
            continue;
        };
        if !spaced && let Some((_, before, _)) = out.tokens.last() {
            out.faulty |= adjacent(before, &tok, span, sink);
        }
        out.tokens.push((span.start, tok, span.end));
    }
    out
}

/// Where to go on after a text without its end: behind the `}}` of the line, or at the line's end.
fn resume(text: &str, at: usize) -> usize {
    let line = at + text[at..].find('\n').unwrap_or(text.len() - at);
    text[at..line].find("}}").map_or(line, |found| at + found + 2)
}

fn unterminated(written: &str, span: Span, sink: &mut Sink) {
    let quote = if written.starts_with('"') { "`\"`" } else { "a backquote" };
    sink.push(
        SyntaxError::new(
            "template-unterminated-text",
            Span::new(span.start, span.start + 1),
            format!("this text is not closed by {quote}"),
            "opened here",
        )
        .help("close it on the same line; only a text in backquotes may go over several lines"),
    );
}

fn unknown(written: &str, span: Span, sink: &mut Sink) {
    let error = SyntaxError::new(
        "template-syntax",
        span,
        format!("`{}` means nothing in an action", written.escape_debug()),
        "not expected here",
    );
    sink.push(match written {
        "}" => error.help("an action ends in `}}`"),
        "-" => error.help("a trim marker is written ` -}}`, with a space before it; there is no minus"),
        "+" | "*" | "/" | "%" => error.help("templates do no arithmetic"),
        "!" => error.help("write `not x`, `ne a b`"),
        "&" => error.help("write `and a b`"),
        "<" | ">" => error.help("write `lt a b`, `le a b`, `gt a b`, `ge a b`"),
        _ => error.help("put text in double quotes"),
    });
}

/// Two tokens without a blank in between.
fn adjacent(before: &Tok, tok: &Tok, span: Span, sink: &mut Sink) -> bool {
    // Go reads `$x:=1`, but no `$x=1`
    let assigns = matches!((before, tok), (Tok::Variable(_), Tok::Assign));
    let operands = before.ends_operand() && tok.begins_operand();
    if !(assigns || operands) {
        return false;
    }
    let error = SyntaxError::new(
        "template-missing-space",
        Span::new(span.start, span.end),
        if assigns {
            "a variable and `=` have to be separated by a space"
        } else {
            "operands have to be separated by a space"
        },
        "no space before this",
    );
    let error = match (before, tok) {
        (Tok::Function(name), Tok::Open) => {
            error.help(format!("arguments follow without parentheses: `{} a b`", name.text))
        }
        _ => error.help("put a space between the two"),
    };
    sink.push(error.fix(Span::new(span.start, span.start), " "));
    true
}

fn ident(text: &str, span: Span) -> Ident {
    Ident { text: text.to_owned(), span }
}

fn convert(
    raw: Raw,
    written: &str,
    span: Span,
    spaced: bool,
    before: Option<&Placed>,
    sink: &mut Sink,
) -> Option<Tok> {
    Some(match raw {
        Raw::Declare => Tok::Declare,
        Raw::Assign => Tok::Assign,
        Raw::Pipe => Tok::Pipe,
        Raw::Comma => Tok::Comma,
        Raw::OpenParen => Tok::Open,
        Raw::CloseParen => Tok::Close,
        Raw::Dot => Tok::Dot,
        Raw::Field => field(written, span, spaced, before, sink)?,
        Raw::Variable => Tok::Variable(ident(written, span)),
        Raw::Name => match written {
            "true" => Tok::Value(OperandKind::Bool(true)),
            "false" => Tok::Value(OperandKind::Bool(false)),
            "nil" => Tok::Value(OperandKind::Nil),
            _ => Tok::Function(ident(written, span)),
        },
        Raw::Number => Tok::Value(number(written, span, sink)?),
        Raw::Quoted => Tok::Value(OperandKind::Text(literal::unquote(written, span, sink))),
        // Go drops carriage returns from raw texts.
        Raw::Backquoted => Tok::Value(OperandKind::Text(written[1..written.len() - 1].replace('\r', ""))),
        Raw::Char => {
            let text = written.trim_matches('\'');
            sink.push(
                SyntaxError::new(
                    "template-char-constant",
                    span,
                    "character constants are not part of the template language",
                    "single quotes",
                )
                .help(format!("put text in double quotes: `\"{}\"`", text.escape_debug()))
                .fix(span, format!("\"{}\"", text.replace('"', "\\\""))),
            );
            return None;
        }
        Raw::Comment | Raw::Space | Raw::Close | Raw::Open | Raw::Unterminated | Raw::UnclosedBackquoted => {
            return None;
        }
    })
}

/// `.name`: a new operand, or a field of the one it touches.
fn field(written: &str, span: Span, spaced: bool, before: Option<&Placed>, sink: &mut Sink) -> Option<Tok> {
    let name = ident(&written[1..], Span::new(span.start + 1, span.end));
    if spaced {
        return Some(Tok::Field(name));
    }
    match before.map(|(_, tok, _)| tok) {
        Some(Tok::Field(_) | Tok::Chain(_) | Tok::Variable(_) | Tok::Close) => Some(Tok::Chain(name)),
        Some(Tok::Function(function)) => {
            sink.push(
                SyntaxError::new(
                    "template-syntax",
                    span,
                    format!("`{}` is a function and has no fields", function.text),
                    "a field cannot follow",
                )
                .help(format!(
                    "write `.Vars.{0}.{1}` for a variable, or `({0} ...).{1}` for a field of the result",
                    function.text, name.text
                )),
            );
            None
        }
        Some(Tok::Dot | Tok::Value(_)) => {
            sink.push(
                SyntaxError::new(
                    "template-syntax",
                    span,
                    format!("`{written}` cannot follow here"),
                    "a field of something that has none",
                )
                .help("names are joined by single dots: `.Vars.name`"),
            );
            None
        }
        _ => Some(Tok::Field(name)),
    }
}

fn number(written: &str, span: Span, sink: &mut Sink) -> Option<OperandKind> {
    let bad = match literal::number(written) {
        Ok(kind) => return Some(kind),
        Err(bad) => bad,
    };
    let (message, help) = match bad {
        BadNumber::Syntax => (format!("`{written}` is not a number"), "put text in double quotes"),
        BadNumber::TooLarge => (format!("`{written}` does not fit into 64 bits"), "write a smaller number"),
        BadNumber::Complex => (format!("`{written}` is a complex number"), "write a whole number or a float"),
        BadNumber::HexFloat => (
            format!("`{written}` is a hexadecimal float, which the template language leaves out"),
            "write it in decimal",
        ),
    };
    sink.push(SyntaxError::new("template-number", span, message, "this number").help(help));
    None
}
