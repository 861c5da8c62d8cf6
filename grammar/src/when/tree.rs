//! The tree of a condition.

use crate::Span;

/// An expression with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Parentheses around it are not part of it.
    pub span: Span,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `'text'` or `"text"`, without quotes and escapes.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number with a point or an exponent; always finite.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `traits.a.b`, `vars.a.b`, `item`, `item.a.b`. The first name is `traits`, `vars` or `item`; only `item` stands alone.
    Path(Vec<Ident>),
    /// `name(args)`, or a bare `name`.
    Call {
        /// The function.
        name: Ident,
        /// What it is called with.
        args: Vec<Expr>,
        /// Whether parentheses were written.
        parens: bool,
    },
    /// `!a`
    Not(Box<Expr>),
    /// `a && b`. A long chain is a balanced tree, so its depth stays small.
    And(Box<Expr>, Box<Expr>),
    /// `a || b`. Balanced like `And`.
    Or(Box<Expr>, Box<Expr>),
    /// `a == b` and the like.
    Compare {
        /// Which one.
        op: CompareOp,
        /// Where it stands.
        op_span: Span,
        /// What is before it.
        left: Box<Expr>,
        /// What is behind it.
        right: Box<Expr>,
    },
    /// Something that was reported.
    Error,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `in`
    In,
    /// `matches`
    Matches,
}

impl CompareOp {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::In => "in",
            Self::Matches => "matches",
        }
    }
}

/// A name with its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ident {
    /// The name.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl Expr {
    pub(super) fn new(kind: ExprKind, span: Span) -> Self {
        Expr { kind, span }
    }

    pub(super) fn error(span: Span) -> Self {
        Expr::new(ExprKind::Error, span)
    }
}
