//! The tree of a template.

use crate::Span;
pub use crate::when::Ident;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Template {
    /// Its parts, in order.
    pub nodes: Vec<Piece>,
    /// Comments with their braces, in order.
    pub comments: Vec<Span>,
    /// Whether the text holds `{{` anywhere, be it only a comment.
    pub(super) dynamic: bool,
}

impl Template {
    /// Whether the text has no action at all, so that it stands for itself byte by byte.
    pub fn is_literal(&self) -> bool {
        !self.dynamic
    }
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text to copy.
    Text {
        /// After trimming by `{{-` and `-}}`; never empty.
        text: String,
        /// What is left of it after trimming.
        span: Span,
    },
    /// `{{ pipeline }}`, whose value is printed unless it is a declaration.
    Action(Pipeline),
    /// `{{ if }}`
    If(Box<Branch>),
    /// `{{ range }}`
    Range(Box<Branch>),
    /// `{{ with }}`
    With(Box<Branch>),
    /// `{{ break }}`, always inside a `range`.
    Break(Span),
    /// `{{ continue }}`, always inside a `range`.
    Continue(Span),
    /// An action that was reported.
    Error(Span),
}

/// `if`, `range` or `with` up to its `end`.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// The opening action, braces included.
    pub span: Span,
    /// What decides.
    pub pipeline: Pipeline,
    /// What comes before `else` or `end`.
    pub body: Vec<Piece>,
    /// What follows `else`. An `else if` or `else with` is a single nested piece.
    pub otherwise: Option<Vec<Piece>>,
}

/// Commands joined by `|`, with the variables that take the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// `$x :=` or `$i, $v =`
    pub declare: Option<Declaration>,
    /// At least one; a single operand of kind `Error` stands for a pipeline that was reported.
    pub commands: Vec<Command>,
    /// From the first to the last byte, without braces.
    pub span: Span,
}

/// The variables that take a pipeline's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// One, or two in a `range`; with the `$`.
    pub names: Vec<Ident>,
    /// `=` to a variable that is there, instead of `:=`.
    pub assign: bool,
}

/// A function with its arguments, or a single operand.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// At least one. With more than one the first is a function.
    pub operands: Vec<Operand>,
    /// From the first to the last operand.
    pub span: Span,
}

/// A value in a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand {
    /// What it is.
    pub kind: OperandKind,
    /// Where it stands.
    pub span: Span,
}

/// What an operand is.
#[derive(Clone, Debug, PartialEq)]
pub enum OperandKind {
    /// `.`
    Dot,
    /// `.a.b`
    Field(Vec<Ident>),
    /// `$x.a.b`, or `$` for the whole data.
    Variable {
        /// With the `$`.
        name: Ident,
        /// What is read from it.
        fields: Vec<Ident>,
    },
    /// A name. Whether such a function exists is for the compiler to say.
    Function(Ident),
    /// `"text"` or a raw text in backquotes, unescaped.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number with a point or an exponent; always finite.
    Float(f64),
    /// `true` or `false`
    Bool(bool),
    /// `nil`
    Nil,
    /// `(pipeline)` or `(pipeline).a.b`
    Paren(Box<Pipeline>, Vec<Ident>),
    /// Something that was reported.
    Error,
}
