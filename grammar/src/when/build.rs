//! Expressions out of tokens: the actions of the grammar.

use super::token::Tok;
use super::{CompareOp, Expr, ExprKind, Ident};
use crate::Span;
use crate::error::{Sink, SyntaxError};
use lalrpop_util::{ErrorRecovery, ParseError};

pub(super) fn list(mut items: Vec<Expr>, last: Expr) -> Vec<Expr> {
    items.push(last);
    items
}

pub(super) fn list_of(first: Expr, rest: Vec<Expr>) -> Vec<Expr> {
    let mut items = Vec::with_capacity(rest.len() + 1);
    items.push(first);
    items.extend(rest);
    items
}

/// A chain of one operator as a balanced tree: `&&` and `||` are associative and keep their order.
pub(super) fn chain(items: Vec<Expr>, join: fn(Box<Expr>, Box<Expr>) -> ExprKind) -> Expr {
    let mut items = items;
    while items.len() > 1 {
        let mut joined = Vec::with_capacity(items.len().div_ceil(2));
        let mut pairs = items.into_iter();
        while let Some(left) = pairs.next() {
            joined.push(match pairs.next() {
                Some(right) => {
                    let span = left.span.cover(right.span);
                    Expr::new(join(Box::new(left), Box::new(right)), span)
                }
                None => left,
            });
        }
        items = joined;
    }
    items.pop().unwrap_or_else(|| Expr::error(Span::new(0, 0)))
}

pub(super) fn compare(left: Expr, op: CompareOp, op_span: Span, right: Expr) -> Expr {
    let span = left.span.cover(right.span);
    Expr::new(ExprKind::Compare { op, op_span, left: Box::new(left), right: Box::new(right) }, span)
}

pub(super) fn not(start: u32, inner: Expr) -> Expr {
    let span = Span::new(start, inner.span.end);
    Expr::new(ExprKind::Not(Box::new(inner)), span)
}

pub(super) fn call(name: Ident, args: Option<(Vec<Expr>, u32)>) -> Expr {
    let end = args.as_ref().map_or(name.span.end, |(_, end)| *end);
    let span = Span::new(name.span.start, end);
    let parens = args.is_some();
    let args = args.map(|(args, _)| args).unwrap_or_default();
    Expr::new(ExprKind::Call { name, args, parens }, span)
}

pub(super) fn recovered(
    sink: &mut Sink,
    recovery: ErrorRecovery<u32, Tok, ()>,
    start: u32,
    end: u32,
) -> Expr {
    sink.push(describe(recovery.error));
    Expr::error(Span::new(start, end))
}

/// The words for a parse error. `expected` of LALRPOP is a set of terminals: only whether a term or an operator is due
/// matters to a reader.
pub(super) fn describe(error: ParseError<u32, Tok, ()>) -> SyntaxError {
    let (found, span, expected) = match error {
        ParseError::UnrecognizedToken { token: (start, tok, end), expected } => {
            (Some(tok), Span::new(start, end), expected)
        }
        ParseError::ExtraToken { token: (start, tok, end) } => (Some(tok), Span::new(start, end), Vec::new()),
        ParseError::UnrecognizedEof { location, expected } => (None, Span::new(location, location), expected),
        ParseError::InvalidToken { location } => (None, Span::new(location, location), Vec::new()),
        ParseError::User { .. } => (None, Span::new(0, 0), Vec::new()),
    };
    let term = expected.iter().any(|name| name == "\"value\"");
    let what = found.as_ref().map_or_else(|| "the end of the condition".to_owned(), Tok::describe);
    if !term && matches!(found, Some(Tok::Compare(_))) {
        return SyntaxError::new(
            "when-chained-comparison",
            span,
            "comparisons cannot be chained",
            "second comparison",
        )
        .help("write `a == b && b == c`, or use parentheses");
    }
    if term {
        return SyntaxError::new(
            "when-syntax",
            span,
            format!("expected a value, found {what}"),
            "a value is missing before this",
        )
        .help("a value is `'text'`, a number, `traits.name`, `vars.name` or a function such as `os_family('debian')`");
    }
    let error = SyntaxError::new(
        "when-syntax",
        span,
        format!("expected an operator, found {what}"),
        "not expected here",
    );
    match found {
        Some(Tok::Name(_) | Tok::Value(_) | Tok::Open | Tok::OpenList | Tok::Not) => {
            error.help("join conditions by `&&` or `||`; put text in quotes: `'...'`")
        }
        _ => error.help("join conditions by `&&` or `||`"),
    }
}
