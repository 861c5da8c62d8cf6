//! Expressions: what a `when:` or a template is after compilation.

use crate::builtin::Builtin;
use crate::value::Value;
use std::sync::Arc;

/// What a path begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Root {
    /// Facts of the host. The only root that may stand in a shipped module.
    Traits,
    /// Merged variables.
    Vars,
    /// `hostname`, `environment`, `roles`.
    Envoy,
    /// The element of a `foreach`.
    Item,
}

impl Root {
    /// As written in `when:` and in the encoding.
    pub fn name(self) -> &'static str {
        match self {
            Root::Traits => "traits",
            Root::Vars => "vars",
            Root::Envoy => "envoy",
            Root::Item => "item",
        }
    }

    /// The inverse of [`Root::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Root::Traits, Root::Vars, Root::Envoy, Root::Item].into_iter().find(|r| r.name() == name)
    }
}

/// A template variable (`$x`), the dot of a `range` or `with`; unique within one template.
pub type Slot = u32;

/// An expression. `eval` turns it into a [`Value`] or into a smaller expression.
///
/// The *children* of an expression, as [`crate::EvalError::trail`] counts them, are its direct
/// sub-expressions in the order of the fields; those of a `Template` are its pieces; those of a piece
/// are its own expression first, then the pieces of its body, then those of `otherwise`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// A value. `Value::Secret` here is known only to the agent.
    Const(Value),
    /// A fact; `segments` may be empty for `Root::Item` only.
    Path(Root, Arc<[Arc<str>]>),
    /// A template variable.
    Local(Slot),
    /// One field of a computed map, as in `$x.name`.
    Field(Box<Expr>, Arc<str>),
    /// A list with elements that are not all constant.
    List(Vec<Expr>),
    /// A map with values that are not all constant: sorted by unique keys. Its children are the values.
    Map(Vec<(Arc<str>, Expr)>),
    /// A function of `stdlib/functions`.
    Call(Builtin, Vec<Expr>),
    /// Negation of a bool.
    Not(Box<Expr>),
    /// Left to right, stops at the first false. Bools only; Go's `and` is a `Call`.
    And(Box<Expr>, Box<Expr>),
    /// Left to right, stops at the first true.
    Or(Box<Expr>, Box<Expr>),
    /// A comparison of `when:`; Go's `eq` and the like are `Call`s.
    Compare(CompareOp, Box<Expr>, Box<Expr>),
    /// Pieces of text one after the other; always a string.
    Template(Vec<Piece>),
}

// A policy has hundreds of thousands of them, and an editor holds them all.
const _: () = assert!(size_of::<Expr>() <= 40);

/// Part of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    /// Text as it stands.
    Text(Arc<str>),
    /// Prints a value as Go's `%v` does.
    Emit(Expr),
    /// Go's `if`: by Go's truth, not only bools.
    If {
        /// Decides.
        condition: Expr,
        /// When true.
        then: Vec<Piece>,
        /// When false.
        otherwise: Vec<Piece>,
    },
    /// Go's `range` over a list or a map (by sorted keys).
    Range {
        /// A list or a map.
        list: Expr,
        /// Index or key.
        key: Option<Slot>,
        /// Element; also the dot inside.
        value: Slot,
        /// For each element.
        body: Vec<Piece>,
        /// When empty.
        otherwise: Vec<Piece>,
    },
    /// Go's `with`.
    With {
        /// Becomes the dot when true by Go's truth.
        value: Expr,
        /// The dot inside `body`.
        slot: Slot,
        /// When true.
        body: Vec<Piece>,
        /// When not.
        otherwise: Vec<Piece>,
    },
    /// `$x := ...`
    Let(Slot, Expr),
    /// `$x = ...`
    Set(Slot, Expr),
    /// Leaves the innermost `range`.
    Break,
    /// Goes on with its next element.
    Continue,
}

/// Comparisons of `when:`. Operands have one type (int and float compare).
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
    /// Element of the list on the right.
    In,
    /// Unanchored regular expression on the right.
    Matches,
}

impl CompareOp {
    const ALL: [CompareOp; 8] = [
        CompareOp::Eq,
        CompareOp::Ne,
        CompareOp::Lt,
        CompareOp::Le,
        CompareOp::Gt,
        CompareOp::Ge,
        CompareOp::In,
        CompareOp::Matches,
    ];

    /// As written.
    pub fn symbol(self) -> &'static str {
        match self {
            CompareOp::Eq => "==",
            CompareOp::Ne => "!=",
            CompareOp::Lt => "<",
            CompareOp::Le => "<=",
            CompareOp::Gt => ">",
            CompareOp::Ge => ">=",
            CompareOp::In => "in",
            CompareOp::Matches => "matches",
        }
    }

    /// The inverse of [`CompareOp::symbol`].
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.symbol() == symbol)
    }
}

impl Expr {
    /// A path from its segments.
    pub fn path(root: Root, segments: &[&str]) -> Self {
        Expr::Path(root, segments.iter().map(|s| Arc::from(*s)).collect())
    }

    /// The value of a constant.
    pub fn as_const(&self) -> Option<&Value> {
        match self {
            Expr::Const(v) => Some(v),
            _ => None,
        }
    }

    /// About how many bytes it takes on the wire; never much less.
    pub fn weight(&self) -> u64 {
        let sum = |all: &[Expr]| all.iter().map(Expr::weight).sum::<u64>();
        let names = |all: &[Arc<str>]| all.iter().map(|n| n.len() as u64 + 4).sum::<u64>();
        16 + match self {
            Expr::Const(value) => value.weight(),
            Expr::Path(_, segments) => names(segments),
            Expr::Local(_) => 0,
            Expr::Field(e, name) => e.weight() + name.len() as u64,
            Expr::Not(e) => e.weight(),
            Expr::List(args) | Expr::Call(_, args) => sum(args),
            Expr::Map(entries) => entries.iter().map(|(key, e)| key.len() as u64 + 4 + e.weight()).sum(),
            Expr::And(a, b) | Expr::Or(a, b) | Expr::Compare(_, a, b) => a.weight() + b.weight(),
            Expr::Template(pieces) => pieces.iter().map(Piece::weight).sum(),
        }
    }

    /// Calls `visit` for this expression and every expression below it, parents first.
    pub fn walk(&self, visit: &mut dyn FnMut(&Expr)) {
        visit(self);
        match self {
            Expr::Const(_) | Expr::Path(..) | Expr::Local(_) => {}
            Expr::Field(e, _) | Expr::Not(e) => e.walk(visit),
            Expr::List(args) | Expr::Call(_, args) => args.iter().for_each(|e| e.walk(visit)),
            Expr::Map(entries) => entries.iter().for_each(|(_, e)| e.walk(visit)),
            Expr::And(a, b) | Expr::Or(a, b) | Expr::Compare(_, a, b) => {
                a.walk(visit);
                b.walk(visit);
            }
            Expr::Template(pieces) => pieces.iter().for_each(|p| p.walk(visit)),
        }
    }
}

impl Piece {
    /// As of [`Expr::weight`].
    fn weight(&self) -> u64 {
        let sum = |all: &[Piece]| all.iter().map(Piece::weight).sum::<u64>();
        16 + match self {
            Piece::Text(text) => text.len() as u64,
            Piece::Emit(e) | Piece::Let(_, e) | Piece::Set(_, e) => e.weight(),
            Piece::If { condition, then, otherwise } => condition.weight() + sum(then) + sum(otherwise),
            Piece::Range { list, body, otherwise, .. } => list.weight() + sum(body) + sum(otherwise),
            Piece::With { value, body, otherwise, .. } => value.weight() + sum(body) + sum(otherwise),
            Piece::Break | Piece::Continue => 0,
        }
    }

    /// [`Expr::walk`] for the expressions of a piece and of the pieces inside it.
    pub fn walk(&self, visit: &mut dyn FnMut(&Expr)) {
        let (own, bodies): (Option<&Expr>, [&[Piece]; 2]) = match self {
            Piece::Text(_) | Piece::Break | Piece::Continue => (None, [&[], &[]]),
            Piece::Emit(e) | Piece::Let(_, e) | Piece::Set(_, e) => (Some(e), [&[], &[]]),
            Piece::If { condition, then, otherwise } => (Some(condition), [then, otherwise]),
            Piece::Range { list, body, otherwise, .. } => (Some(list), [body, otherwise]),
            Piece::With { value, body, otherwise, .. } => (Some(value), [body, otherwise]),
        };
        if let Some(e) = own {
            e.walk(visit);
        }
        bodies.into_iter().flatten().for_each(|p| p.walk(visit));
    }
}
