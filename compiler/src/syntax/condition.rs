//! `when:` conditions and other single expressions inside a scalar.

use crate::diagnostic::codes::WRONG_KIND;
use crate::diagnostic::{Diagnostic, Sink};
use grammar::Span;
use grammar::document::{Node, Scalar, Value};
use grammar::when::Expr;

/// A parsed `when:`.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The scalar it stands in.
    pub scalar: Scalar,
    /// The whole scalar.
    pub span: Span,
    /// Its tree; spans are offsets into the scalar's text.
    pub expr: Expr,
}

impl Condition {
    /// Reads a condition; a plain `true` or `false` is one too.
    pub fn read(node: Node, sink: &mut Sink) -> Option<Condition> {
        let scalar = match node.value {
            Value::Scalar(s) => s,
            Value::Error => return None,
            _ => {
                let finding = sink
                    .say(&WRONG_KIND, node.span, "`when:` is an expression")
                    .label("not an expression")
                    .help("write one, such as `when: os_family('debian') && !is_container`");
                sink.push(finding);
                return None;
            }
        };
        let (expr, errors) = grammar::when::parse(&scalar.text);
        let file = sink.file.clone();
        for error in errors {
            sink.push(Diagnostic::from_syntax(&file, error, &|s| scalar.map.to_file(s)));
        }
        Some(Condition { span: node.span, expr, scalar })
    }
}
