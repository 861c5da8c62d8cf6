//! Pipelines out of tokens: the actions of the grammar, and what is checked on a finished pipeline.

use super::token::Tok;
use super::{Command, Declaration, Operand, OperandKind, Pipeline};
use crate::Span;
use crate::error::{Sink, SyntaxError};
use lalrpop_util::ParseError;

pub(super) fn list_of<T>(first: T, rest: Vec<T>) -> Vec<T> {
    let mut items = Vec::with_capacity(rest.len() + 1);
    items.push(first);
    items.extend(rest);
    items
}

pub(super) fn pipeline(
    declare: Option<Declaration>,
    commands: Vec<Command>,
    start: u32,
    end: u32,
) -> Pipeline {
    Pipeline { declare, commands, span: Span::new(start, end) }
}

/// Stands for a pipeline that was reported.
pub(super) fn error(span: Span) -> Pipeline {
    let operand = Operand { kind: OperandKind::Error, span };
    Pipeline { declare: None, commands: vec![Command { operands: vec![operand], span }], span }
}

/// The words for a parse error.
pub(super) fn describe(error: ParseError<u32, Tok, ()>, end: Span) -> SyntaxError {
    let (found, span, expected) = match error {
        ParseError::UnrecognizedToken { token: (start, tok, end), expected } => {
            (Some(tok), Span::new(start, end), expected)
        }
        ParseError::ExtraToken { token: (start, tok, end) } => (Some(tok), Span::new(start, end), Vec::new()),
        ParseError::UnrecognizedEof { expected, .. } => (None, end, expected),
        ParseError::InvalidToken { .. } | ParseError::User { .. } => (None, end, Vec::new()),
    };
    let what = found.as_ref().map_or_else(|| "the end of the action".to_owned(), Tok::describe);
    let operand = expected.iter().any(|name| name == "\"value\"");
    let error = |message: String, label: &str| SyntaxError::new("template-syntax", span, message, label);
    match found {
        None => error(format!("expected a value, found {what}"), "a value is missing before this")
            .help("write a value such as `.Vars.name`, or remove what waits for it"),
        Some(Tok::Comma) => error(format!("{what} cannot stand here"), "not expected here")
            .help("arguments are separated by spaces; only `range $i, $v := ...` has a comma"),
        Some(Tok::Assign | Tok::Declare) => error(format!("{what} cannot stand here"), "not expected here")
            .help("a variable begins with `$`: `$x := ...`; compare with `eq a b`"),
        _ if operand => error(format!("expected a value, found {what}"), "a value is missing before this")
            .help("a value is a field such as `.Vars.name`, a text in double quotes, a number or a function"),
        _ => error(format!("{what} cannot stand here"), "not expected here")
            .help("an action is a function with its arguments, separated by spaces, or a single value"),
    }
}

/// Go finds these only when it runs a template.
pub(super) fn check(pipeline: &Pipeline, sink: &mut Sink) {
    for (stage, command) in pipeline.commands.iter().enumerate() {
        for operand in &command.operands {
            if let OperandKind::Paren(inner, _) = &operand.kind {
                check(inner, sink);
            }
        }
        let Some(first) = command.operands.first() else { continue };
        let called = stage > 0 || command.operands.len() > 1;
        match &first.kind {
            OperandKind::Function(_) | OperandKind::Error => {}
            OperandKind::Nil if !called => sink.push(
                SyntaxError::new(
                    "template-not-a-function",
                    first.span,
                    "`nil` alone is nothing to print",
                    "nil",
                )
                .help("write `\"\"` for an empty text"),
            ),
            _ if !called => {}
            OperandKind::Field(_) => method(first.span, sink),
            OperandKind::Variable { fields, .. } | OperandKind::Paren(_, fields) if !fields.is_empty() => {
                method(first.span, sink);
            }
            _ => sink.push(
                SyntaxError::new(
                    "template-not-a-function",
                    first.span,
                    if stage > 0 {
                        "only a function can stand behind `|`"
                    } else {
                        "only a function can have arguments"
                    },
                    "not a function",
                )
                .help("begin with the name of a function: `join \",\" .Vars.list`"),
            ),
        }
    }
}

fn method(span: Span, sink: &mut Sink) {
    sink.push(
        SyntaxError::new(
            "template-method-call",
            span,
            "a field takes no arguments: there are no methods",
            "has arguments",
        )
        .help("call a function with the field as its argument: `index .Vars.map \"key\"`"),
    );
}
