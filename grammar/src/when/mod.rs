//! Conditions: the text of a `when:`.
//!
//! Flat tokens are repaired (`token`), then parsed into an [`Expr`] by the grammar. There are no types here: that
//! `os_family` exists, or that two sides can be compared, is for the compiler to say.

mod build;
mod lexer;
mod token;
mod tree;

generated_grammar!("/when/grammar.rs");

pub use tree::{CompareOp, Expr, ExprKind, Ident};

use crate::Span;
use crate::error::{Sink, SyntaxError};

/// Parses a condition. Spans are offsets into `text`. Never fails: what is not understood is reported and becomes
/// [`ExprKind::Error`].
pub fn parse(text: &str) -> (Expr, Vec<SyntaxError>) {
    let mut sink = Sink::default();
    let whole = Span::of(0..text.len());
    let Some(tokens) = token::tokens(text, &mut sink) else {
        return (Expr::error(whole), sink.finish());
    };
    if tokens.is_empty() {
        if sink.len() == 0 {
            sink.push(
                SyntaxError::new("when-empty", whole, "this condition is empty", "nothing to decide")
                    .help("write a condition such as `os_family('debian')`, or leave the key out"),
            );
        }
        return (Expr::error(whole), sink.finish());
    }
    let expr = match grammar::ConditionParser::new().parse(&mut sink, tokens.into_iter().map(Ok)) {
        Ok(expr) => expr,
        Err(error) => {
            sink.push(build::describe(error));
            Expr::error(whole)
        }
    };
    (expr, sink.finish())
}

#[cfg(test)]
mod tests;
