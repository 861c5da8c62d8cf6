//! What the grammar of conditions consumes, and the repairs that make it easy to consume.
//!
//! Brackets are matched and nesting is counted here, on flat tokens: the parser then never sees an unbalanced or a deep
//! condition, and what is reported names the bracket that is to blame.

use super::lexer::Raw;
use super::{CompareOp, Expr, ExprKind, Ident};
use crate::Span;
use crate::error::{Sink, SyntaxError};
use logos::Logos as _;

/// Levels of parentheses, lists and `!`.
const DEEPEST: usize = 128;

#[derive(Clone, Debug)]
pub(super) enum Tok {
    Or,
    And,
    Not,
    Compare(CompareOp),
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    Name(Ident),
    Value(Expr),
}

impl Tok {
    /// How a message calls it.
    pub(super) fn describe(&self) -> String {
        match self {
            Tok::Or => "`||`".into(),
            Tok::And => "`&&`".into(),
            Tok::Not => "`!`".into(),
            Tok::Compare(op) => format!("`{}`", op.as_str()),
            Tok::Open => "`(`".into(),
            Tok::Close => "`)`".into(),
            Tok::OpenList => "`[`".into(),
            Tok::CloseList => "`]`".into(),
            Tok::Comma => "`,`".into(),
            Tok::Name(name) => format!("`{}`", name.text),
            Tok::Value(_) => "a value".into(),
        }
    }
}

pub(super) type Placed = (u32, Tok, u32);

/// The tokens of a condition, repaired. Nothing if it is nested too deep.
pub(super) fn tokens(text: &str, sink: &mut Sink) -> Option<Vec<Placed>> {
    let mut out: Vec<Placed> = Vec::new();
    let mut open: Vec<Bracket> = Vec::new();
    let mut nots = 0;
    let mut depth = 0;
    for (raw, range) in Raw::lexer(text).spanned() {
        let span = Span::of(range.clone());
        let written = &text[range];
        let tok = match raw {
            Ok(raw) => convert(raw, written, span, sink),
            Err(()) => {
                unknown(written, span, sink);
                None
            }
        };
        let Some(tok) = tok else { continue };
        match &tok {
            Tok::Not => {
                nots += 1;
                depth += 1;
            }
            Tok::Open | Tok::OpenList => {
                open.push(Bracket { span, list: matches!(tok, Tok::OpenList), nots });
                nots = 0;
                depth += 1;
            }
            Tok::Close | Tok::CloseList => {
                let list = matches!(tok, Tok::CloseList);
                let Some(bracket) = close(list, span, &mut open, &mut out, sink) else { continue };
                depth -= nots + bracket.nots + 1;
                nots = 0;
            }
            Tok::Name(_) | Tok::Value(_) | Tok::Or | Tok::And | Tok::Compare(_) | Tok::Comma => {
                depth -= nots;
                nots = 0;
            }
        }
        if depth > DEEPEST {
            sink.push(
                SyntaxError::new(
                    "nesting-too-deep",
                    span,
                    format!("more than {DEEPEST} levels of nesting"),
                    "too deep",
                )
                .help("split the condition over several modules or resources"),
            );
            return None;
        }
        out.push((span.start, tok, span.end));
    }
    for bracket in open.iter().rev() {
        report_unclosed(bracket, sink);
        let end = Span::of(text.len()..text.len()).end;
        out.push((end, if bracket.list { Tok::CloseList } else { Tok::Close }, end));
    }
    Some(out)
}

struct Bracket {
    span: Span,
    list: bool,
    /// How many `!` stand before it.
    nots: usize,
}

/// Finds what a closing bracket closes; brackets in between are reported and closed too.
fn close(
    list: bool,
    span: Span,
    open: &mut Vec<Bracket>,
    out: &mut Vec<Placed>,
    sink: &mut Sink,
) -> Option<Bracket> {
    if open.last().is_some_and(|bracket| bracket.list == list) {
        return open.pop();
    }
    let (found, opener) = if list { (']', '[') } else { (')', '(') };
    // Only one level is looked at: more would make a long row of brackets quadratic.
    let below = open.len().checked_sub(2).and_then(|i| open.get(i));
    if below.is_some_and(|bracket| bracket.list == list)
        && let Some(inner) = open.pop()
    {
        report_unclosed(&inner, sink);
        out.push((span.start, if inner.list { Tok::CloseList } else { Tok::Close }, span.start));
        return open.pop().map(|outer| Bracket { nots: outer.nots + inner.nots + 1, ..outer });
    }
    sink.push(
        SyntaxError::new(
            "mismatched-bracket",
            span,
            format!("this `{found}` has no `{opener}`"),
            format!("no `{opener}` before it"),
        )
        .fix(span, ""),
    );
    None
}

fn report_unclosed(bracket: &Bracket, sink: &mut Sink) {
    let (open, close) = if bracket.list { ('[', ']') } else { ('(', ')') };
    sink.push(
        SyntaxError::new(
            "unclosed-bracket",
            bracket.span,
            format!("this `{open}` is never closed"),
            "opened here",
        )
        .help(format!("close it with `{close}`")),
    );
}

fn convert(raw: Raw, written: &str, span: Span, sink: &mut Sink) -> Option<Tok> {
    let value = |kind| Some(Tok::Value(Expr::new(kind, span)));
    match raw {
        Raw::Or => Some(Tok::Or),
        Raw::And => Some(Tok::And),
        Raw::Not => Some(Tok::Not),
        Raw::Eq => Some(Tok::Compare(CompareOp::Eq)),
        Raw::Ne => Some(Tok::Compare(CompareOp::Ne)),
        Raw::Lt => Some(Tok::Compare(CompareOp::Lt)),
        Raw::Le => Some(Tok::Compare(CompareOp::Le)),
        Raw::Gt => Some(Tok::Compare(CompareOp::Gt)),
        Raw::Ge => Some(Tok::Compare(CompareOp::Ge)),
        Raw::In => Some(Tok::Compare(CompareOp::In)),
        Raw::Matches => Some(Tok::Compare(CompareOp::Matches)),
        Raw::Open => Some(Tok::Open),
        Raw::Close => Some(Tok::Close),
        Raw::OpenList => Some(Tok::OpenList),
        Raw::CloseList => Some(Tok::CloseList),
        Raw::Comma => Some(Tok::Comma),
        Raw::True => value(ExprKind::Bool(true)),
        Raw::False => value(ExprKind::Bool(false)),
        Raw::Single => value(ExprKind::Text(written[1..written.len() - 1].to_owned())),
        Raw::Double => value(ExprKind::Text(unescape(written, span, sink))),
        Raw::Unterminated => {
            let quote = &written[..1];
            sink.push(
                SyntaxError::new(
                    "unterminated-string",
                    Span::new(span.start, span.start + 1),
                    format!("this text has no closing {quote}"),
                    "opened here",
                )
                .help(format!("close it with {quote}")),
            );
            value(ExprKind::Text(written[1..].to_owned()))
        }
        Raw::Number => value(number(written, span, sink)),
        Raw::Name => Some(name(written, span, sink)),
        Raw::Path => value(path(written, span, sink)),
        Raw::Foreign => foreign(written, span, sink),
        Raw::OpenTemplate | Raw::CloseTemplate => {
            sink.push(
                SyntaxError::new("when-syntax", span, "a condition is no template", "remove the braces")
                    .help("write `vars.name` or `traits.name` without `{{ }}`")
                    .fix(span, ""),
            );
            None
        }
        Raw::TemplateField => value(template_field(written, span, sink)),
    }
}

fn unknown(written: &str, span: Span, sink: &mut Sink) {
    sink.push(
        SyntaxError::new(
            "unexpected-character",
            span,
            format!("`{}` means nothing in a condition", written.escape_debug()),
            "unknown character",
        )
        .help("put text in quotes: `'...'`"),
    );
}

/// Words that are operators elsewhere.
fn name(written: &str, span: Span, sink: &mut Sink) -> Tok {
    let (instead, tok) = match written {
        "and" | "AND" => ("&&", Tok::And),
        "or" | "OR" => ("||", Tok::Or),
        "not" | "NOT" => ("!", Tok::Not),
        "item" => {
            let ident = Ident { text: written.to_owned(), span };
            return Tok::Value(Expr::new(ExprKind::Path(vec![ident]), span));
        }
        "traits" | "vars" => {
            incomplete_path(written, span, sink);
            return Tok::Value(Expr::error(span));
        }
        _ => return Tok::Name(Ident { text: written.to_owned(), span }),
    };
    report_operator(written, instead, span, sink);
    tok
}

fn foreign(written: &str, span: Span, sink: &mut Sink) -> Option<Tok> {
    let (instead, tok) = match written {
        "=" | "===" => ("==", Tok::Compare(CompareOp::Eq)),
        "!==" | "<>" => ("!=", Tok::Compare(CompareOp::Ne)),
        "=~" | "~=" => ("matches", Tok::Compare(CompareOp::Matches)),
        "&" => ("&&", Tok::And),
        "|" => ("||", Tok::Or),
        _ => {
            sink.push(
                SyntaxError::new(
                    "when-operator",
                    span,
                    format!("`{written}` is not an operator of conditions"),
                    "unknown operator",
                )
                .help("write `!(a matches 'pattern')`"),
            );
            return Some(Tok::Compare(CompareOp::Matches));
        }
    };
    report_operator(written, instead, span, sink);
    Some(tok)
}

fn report_operator(written: &str, instead: &str, span: Span, sink: &mut Sink) {
    sink.push(
        SyntaxError::new(
            "when-operator",
            span,
            format!("`{written}` is not an operator of conditions"),
            format!("write `{instead}`"),
        )
        .help(format!("write `{instead}`"))
        .fix(span, instead),
    );
}

fn incomplete_path(root: &str, span: Span, sink: &mut Sink) {
    let example = if root == "traits" { "traits.os.family" } else { "vars.name" };
    sink.push(
        SyntaxError::new("when-bad-path", span, format!("`{root}` needs a name behind it"), "incomplete")
            .help(format!("write for example `{example}`")),
    );
}

fn path(written: &str, span: Span, sink: &mut Sink) -> ExprKind {
    let mut parts = Vec::new();
    let mut at = span.start;
    for part in written.split('.') {
        let end = at + Span::of(0..part.len()).end;
        parts.push(Ident { text: part.to_owned(), span: Span::new(at, end) });
        at = end + 1;
    }
    let root = parts.first().map_or("", |part| part.text.as_str());
    if !matches!(root, "traits" | "vars" | "item") {
        sink.push(
            SyntaxError::new(
                "when-bad-path",
                parts.first().map_or(span, |part| part.span),
                format!("a path begins with `traits`, `vars` or `item`, not with `{root}`"),
                "unknown beginning",
            )
            .help(format!("write `traits.{written}` or `vars.{written}`; put text in quotes")),
        );
        return ExprKind::Error;
    }
    if let Some(empty) = parts.iter().find(|part| part.text.is_empty()) {
        sink.push(
            SyntaxError::new(
                "when-bad-path",
                empty.span,
                "a name is missing in this path",
                "expected a name",
            )
            .help("write names joined by single dots: `traits.os.family`"),
        );
        return ExprKind::Error;
    }
    ExprKind::Path(parts)
}

/// `.Vars.x` of a template.
fn template_field(written: &str, span: Span, sink: &mut Sink) -> ExprKind {
    let rest = written.trim_start_matches('.');
    let instead = match rest.split_once('.') {
        Some(("Vars", name)) => format!("vars.{name}"),
        Some(("Traits", name)) => format!("traits.{name}"),
        Some(("Item" | "Each", name)) => format!("item.{name}"),
        None if matches!(rest, "Item" | "Each") => "item".to_owned(),
        _ => format!("vars.{rest}"),
    };
    sink.push(
        SyntaxError::new(
            "when-bad-path",
            span,
            format!("`{written}` is how a template writes it"),
            format!("write `{instead}`"),
        )
        .help(format!("write `{instead}`"))
        .fix(span, instead),
    );
    ExprKind::Error
}

fn number(written: &str, span: Span, sink: &mut Sink) -> ExprKind {
    let digits = written.trim_start_matches(['+', '-']);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        if let Ok(value) = written.parse() {
            return ExprKind::Int(value);
        }
    } else if let Ok(value) = written.parse::<f64>()
        && value.is_finite()
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && !digits.ends_with('.')
    {
        return ExprKind::Float(value);
    }
    let too_large = digits.bytes().all(|b| b.is_ascii_digit());
    let message = if too_large {
        format!("`{written}` does not fit into 64 bits")
    } else {
        format!("`{written}` is not a number")
    };
    sink.push(
        SyntaxError::new("when-bad-number", span, message, "not a number that fits")
            .help("numbers are written `10`, `-3` or `1.5`; put versions in quotes: `'1.2.3'`"),
    );
    ExprKind::Error
}

fn unescape(written: &str, span: Span, sink: &mut Sink) -> String {
    let inner = &written[1..written.len() - 1];
    if !inner.contains('\\') {
        return inner.to_owned();
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some((_, '"')) => out.push('"'),
            Some((_, '\\')) => out.push('\\'),
            Some((_, 'n')) => out.push('\n'),
            Some((_, 't')) => out.push('\t'),
            Some((_, other)) => {
                let start = span.start + 1 + Span::of(0..at).end;
                let end = start + 1 + Span::of(0..other.len_utf8()).end;
                sink.push(
                    SyntaxError::new(
                        "invalid-escape",
                        Span::new(start, end),
                        format!("`\\{}` is not an escape", other.escape_debug()),
                        "unknown escape",
                    )
                    .help("in `\"...\"` write `\\\\` for a backslash; `'...'` has no escapes")
                    .fix(Span::new(start, start + 1), "\\\\"),
                );
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}
