//! Conditions and templates: from syntax to typed IR expressions, with a map back to the source.

pub mod attribute;
mod call;
mod path;
pub mod template;
pub mod truth;
pub mod when;

pub use path::{Reading, check_queried_trait};

use crate::diagnostic::codes::{EVALUATION_FAILED, LIMIT_EXCEEDED};
use crate::diagnostic::{Diagnostic, Place, Severity, Sink};
use crate::schema::Stage;
use crate::types::Type;
use grammar::Span;
use ir::{EvalError, EvalErrorKind, Expr, Root};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An expression with its type.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// What is evaluated.
    pub expr: Expr,
    /// Where each part of it stands in the source.
    pub spans: Spans,
    /// What it gives.
    pub ty: Type,
    /// Whether a secret is in it or in what it was computed from.
    pub secret: bool,
    /// Whether it may be absent on a host, so that only `default` can take it.
    pub optional: bool,
}

/// No trait is called this.
const UNKNOWABLE: &str = "?";

/// Spans in the shape of an expression: the children are those of [`ir::Expr`], in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    /// In the file.
    pub span: Span,
    /// Of the sub-expressions.
    pub children: Vec<Spans>,
}

impl Spans {
    /// Of an expression without children.
    pub fn leaf(span: Span) -> Self {
        Spans { span, children: Vec::new() }
    }

    /// Of an expression with children.
    fn of(span: Span, mut children: Vec<Spans>) -> Self {
        children.shrink_to_fit();
        Spans { span, children }
    }

    /// The span of what an [`ir::EvalError`] points at; the nearest one known.
    pub fn follow(&self, trail: &[u32]) -> Span {
        match trail.split_first() {
            Some((first, rest)) => {
                self.children.get(*first as usize).map_or(self.span, |child| child.follow(rest))
            }
            None => self.span,
        }
    }
}

impl Lowered {
    fn new(expr: Expr, span: Span, children: Vec<Spans>, ty: Type) -> Self {
        Lowered { expr, spans: Spans::of(span, children), secret: ty.holds_secret(), ty, optional: false }
    }

    /// Stands for something that was reported: a trait that nobody ever knows, so whatever is computed from it stays
    /// open and causes no findings of its own.
    fn error(span: Span) -> Self {
        Lowered::new(Expr::path(Root::Traits, &[UNKNOWABLE]), span, Vec::new(), Type::Any)
    }

    /// What evaluating it failed with, as a finding in the file that it stands in.
    pub fn failure(&self, file: &Arc<str>, error: &EvalError) -> Diagnostic {
        let place = Place { file: file.clone(), span: self.spans.follow(&error.trail) };
        let limit = matches!(error.kind, EvalErrorKind::TooManySteps | EvalErrorKind::TooMuchText);
        let code = if limit { &LIMIT_EXCEEDED } else { &EVALUATION_FAILED };
        let finding = Diagnostic::new(code, place, error.kind.to_string()).label("here");
        match error.kind {
            EvalErrorKind::Absent(_) => finding.help("give it a value, or write `default` before it"),
            _ => finding,
        }
    }

    /// Whether a part of it was reported.
    pub fn is_broken(&self) -> bool {
        let mut broken = false;
        self.expr.walk(&mut |e| {
            broken |=
                matches!(e, Expr::Path(Root::Traits, steps) if steps.iter().any(|s| &**s == UNKNOWABLE));
        });
        broken
    }

    fn span(&self) -> Span {
        self.spans.span
    }

    /// An expression in which errors were found since `before` is not looked at any further.
    fn unless_reported(mut self, before: usize, sink: &Sink) -> Self {
        if sink.found.iter().skip(before).any(|d| d.severity == Severity::Error) {
            self.expr = Lowered::error(self.span()).expr;
        }
        self
    }
}

/// What is known of a variable where types are checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum VarType {
    /// Set for this class.
    Set(Type),
    /// Not set for this class, but for another one; its type there.
    Elsewhere(Type),
}

/// Variables by name.
pub type VarTypes = BTreeMap<Arc<str>, VarType>;

/// What an expression may refer to.
#[derive(Debug)]
pub struct Scope<'a> {
    /// Variables.
    pub vars: &'a VarTypes,
    /// The module, for messages; `None` in a node entry.
    pub module: Option<&'a str>,
    /// The element of the foreach around it.
    pub item: Option<&'a Type>,
    /// The last stage at which it may be computed.
    pub stage: Stage,
    /// What it is, for messages about the stage.
    pub place: &'static str,
    /// Whether `changed` may stand in it.
    pub changed: bool,
}

/// The work of lowering one expression.
struct Lowering<'a> {
    scope: &'a Scope<'a>,
    sink: &'a mut Sink,
    to_file: &'a dyn Fn(Span) -> Span,
    /// Traits that `has_trait` has shown to be there, for the expression being lowered.
    present: Vec<Arc<str>>,
}

impl Lowering<'_> {
    fn at(&self, span: Span) -> Span {
        (self.to_file)(span)
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.sink.push(diagnostic);
    }
}
