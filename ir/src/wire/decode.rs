//! Bytes to values, expressions and modules; hostile ones to an error.

use super::{
    MAX_DEPTH, MAX_MODULE_BYTES, MAX_RESOURCES, MAX_VALUE_BYTES, WireError, checked_slot, too_large,
};
use crate::expr::{CompareOp, Expr, Piece, Root};
use crate::module::{Module, Resource, Target};
use crate::pb::node::Kind;
use crate::value::{Finite, Value};
use crate::{Builtin, pb};
use prost::Message;
use std::collections::HashSet;
use std::sync::Arc;

/// Reads a module whose hash was already checked.
pub fn decode_module(bytes: &[u8]) -> Result<Module, WireError> {
    too_large("a module", bytes.len(), MAX_MODULE_BYTES)?;
    let message = pb::Module::decode(bytes).map_err(|_| WireError::Malformed("not a module message"))?;
    if message.resources.len() > MAX_RESOURCES {
        return Err(WireError::Malformed("too many resources"));
    }
    let mut trees = Trees::build(message.nodes)?;
    let count = message.resources.len() as u32;
    let mut names = HashSet::new();
    let resources = message
        .resources
        .into_iter()
        .map(|r| trees.resource(r, count))
        .inspect(|r| {
            if let Ok(r) = r {
                names.insert(r.name.clone());
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    trees.all_used()?;
    if names.len() != resources.len() {
        return Err(WireError::Malformed("two resources have one name"));
    }
    if message.name.is_empty() {
        return Err(WireError::Malformed("a module without a name"));
    }
    Ok(Module {
        name: message.name.into(),
        depends_on: message.depends_on.into_iter().map(Arc::from).collect(),
        resources,
    })
}

/// Reads a value.
pub fn decode_value(bytes: &[u8]) -> Result<Value, WireError> {
    too_large("a value", bytes.len(), MAX_VALUE_BYTES)?;
    let tree = pb::ValueTree::decode(bytes).map_err(|_| WireError::Malformed("not a value message"))?;
    let count = tree.nodes.len() as u32;
    let mut trees = Trees::build(tree.nodes)?;
    let root = trees.expr(count.wrapping_sub(1))?;
    trees.all_used()?;
    match root {
        Expr::Const(value) => Ok(value),
        _ => Err(WireError::Malformed("an expression where a value is due")),
    }
}

/// Nodes as trees that later nodes, and at last the resources, take from.
struct Trees {
    built: Vec<Option<(Built, u32)>>,
    /// Deepest of the trees taken since the last node was finished.
    depth: u32,
    used: usize,
}

enum Built {
    Expr(Expr),
    Piece(Piece),
}

impl Trees {
    fn build(nodes: Vec<pb::Node>) -> Result<Self, WireError> {
        let mut trees = Trees { built: Vec::with_capacity(nodes.len()), depth: 0, used: 0 };
        for node in nodes {
            let kind = node.kind.ok_or(WireError::Malformed("a node of unknown kind"))?;
            trees.depth = 0;
            let built = trees.node(kind)?;
            if trees.depth >= MAX_DEPTH {
                return Err(WireError::TooDeep);
            }
            let depth = trees.depth + 1;
            trees.built.push(Some((built, depth)));
        }
        Ok(trees)
    }

    fn all_used(&self) -> Result<(), WireError> {
        if self.used == self.built.len() { Ok(()) } else { Err(WireError::Malformed("a node nothing uses")) }
    }

    fn take(&mut self, index: u32) -> Result<Built, WireError> {
        let slot = self.built.get_mut(index as usize);
        let slot = slot.ok_or(WireError::Malformed("a node refers to a later one"))?;
        let (built, depth) = slot.take().ok_or(WireError::Malformed("a node is used twice"))?;
        self.depth = self.depth.max(depth);
        self.used += 1;
        Ok(built)
    }

    fn expr(&mut self, index: u32) -> Result<Expr, WireError> {
        match self.take(index)? {
            Built::Expr(e) => Ok(e),
            Built::Piece(_) => Err(WireError::Malformed("a piece where an expression is due")),
        }
    }

    fn boxed(&mut self, index: u32) -> Result<Box<Expr>, WireError> {
        self.expr(index).map(Box::new)
    }

    fn exprs(&mut self, indices: &[u32]) -> Result<Vec<Expr>, WireError> {
        indices.iter().map(|i| self.expr(*i)).collect()
    }

    fn pieces(&mut self, indices: &[u32]) -> Result<Vec<Piece>, WireError> {
        indices
            .iter()
            .map(|i| match self.take(*i)? {
                Built::Piece(p) => Ok(p),
                Built::Expr(Expr::Const(Value::Str(text))) => Ok(Piece::Text(text)),
                Built::Expr(_) => Err(WireError::Malformed("an expression where a piece is due")),
            })
            .collect()
    }

    fn node(&mut self, kind: Kind) -> Result<Built, WireError> {
        let constant = |v| Ok(Built::Expr(Expr::Const(v)));
        let expr = match kind {
            Kind::Null(_) => return constant(Value::Null),
            Kind::Bool(b) => return constant(Value::Bool(b)),
            Kind::Int(i) => return constant(Value::Int(i)),
            Kind::Float(f) => {
                let finite = Finite::new(f).ok_or(WireError::Malformed("a float that is not finite"))?;
                return constant(Value::Float(finite));
            }
            Kind::Text(t) => return constant(Value::Str(t.into())),
            Kind::Bytes(b) => return constant(Value::Bytes(b.into())),
            Kind::Secret(p) => return constant(Value::Secret(p.into())),
            Kind::List(children) => list(self.exprs(&children.nodes)?),
            Kind::Map(map) => self.map(map)?,
            Kind::Path(path) => {
                let root = Root::from_name(&path.root).ok_or(WireError::Malformed("an unknown root"))?;
                Expr::Path(root, path.segments.into_iter().map(Arc::from).collect())
            }
            Kind::Local(slot) => Expr::Local(checked_slot(slot)?),
            Kind::Field(field) => Expr::Field(self.boxed(field.base)?, field.name.into()),
            Kind::Call(call) => {
                let f = Builtin::from_name(&call.function);
                let f = f.ok_or(WireError::Malformed("a function this program does not have"))?;
                Expr::Call(f, self.exprs(&call.args)?)
            }
            Kind::Not(e) => Expr::Not(self.boxed(e)?),
            Kind::And(pair) => self.pair(pair).map(|(a, b)| Expr::And(a, b))?,
            Kind::Or(pair) => self.pair(pair).map(|(a, b)| Expr::Or(a, b))?,
            Kind::Compare(c) => {
                let op =
                    CompareOp::from_symbol(&c.op).ok_or(WireError::Malformed("an unknown comparison"))?;
                let left = self.boxed(c.left)?;
                Expr::Compare(op, left, self.boxed(c.right)?)
            }
            Kind::Template(children) => Expr::Template(self.pieces(&children.nodes)?),
            piece => return self.piece_node(piece).map(Built::Piece),
        };
        Ok(Built::Expr(expr))
    }

    fn piece_node(&mut self, kind: Kind) -> Result<Piece, WireError> {
        Ok(match kind {
            Kind::Emit(e) => Piece::Emit(self.expr(e)?),
            Kind::If(b) => Piece::If {
                condition: self.expr(b.condition)?,
                then: self.pieces(&b.then)?,
                otherwise: self.pieces(&b.otherwise)?,
            },
            Kind::Range(r) => Piece::Range {
                list: self.expr(r.list)?,
                key: r.key.map(checked_slot).transpose()?,
                value: checked_slot(r.value)?,
                body: self.pieces(&r.body)?,
                otherwise: self.pieces(&r.otherwise)?,
            },
            Kind::With(w) => Piece::With {
                value: self.expr(w.value)?,
                slot: checked_slot(w.slot)?,
                body: self.pieces(&w.body)?,
                otherwise: self.pieces(&w.otherwise)?,
            },
            Kind::Let(a) => Piece::Let(checked_slot(a.slot)?, self.expr(a.value)?),
            Kind::Set(a) => Piece::Set(checked_slot(a.slot)?, self.expr(a.value)?),
            Kind::Break(_) => Piece::Break,
            Kind::Continue(_) => Piece::Continue,
            _ => return Err(WireError::Malformed("an expression where a piece is due")),
        })
    }

    fn pair(&mut self, children: pb::Children) -> Result<(Box<Expr>, Box<Expr>), WireError> {
        match children.nodes[..] {
            [a, b] => Ok((self.boxed(a)?, self.boxed(b)?)),
            _ => Err(WireError::Malformed("a pair that is none")),
        }
    }

    fn map(&mut self, map: pb::Map) -> Result<Expr, WireError> {
        if map.keys.len() != map.values.len() {
            return Err(WireError::Malformed("keys without values"));
        }
        if !map.keys.is_sorted_by(|a, b| a < b) {
            return Err(WireError::Malformed("keys out of order or twice"));
        }
        let keys = map.keys.into_iter().map(Arc::from);
        Ok(match list(self.exprs(&map.values)?) {
            Expr::Const(Value::List(values)) => Expr::Const(Value::Map(keys.zip(values).collect())),
            Expr::List(values) => Expr::Map(keys.zip(values).collect()),
            other => other,
        })
    }

    fn resource(&mut self, r: pb::Resource, count: u32) -> Result<Resource, WireError> {
        self.depth = 0;
        if r.name.is_empty() || r.r#type.is_empty() {
            return Err(WireError::Malformed("a resource without name or type"));
        }
        if !r.attributes.is_sorted_by(|a, b| a.name < b.name) {
            return Err(WireError::Malformed("attributes out of order or twice"));
        }
        let when = r.when.map(|w| self.expr(w)).transpose()?;
        let attributes = r
            .attributes
            .into_iter()
            .map(|a| Ok((Arc::from(a.name), self.expr(a.node)?)))
            .collect::<Result<_, _>>()?;
        let targets = |all: Vec<pb::Target>| {
            all.into_iter()
                .map(|t| match t.target {
                    Some(pb::target::Target::Index(i)) if i < count => Ok(Target::Local(i)),
                    Some(pb::target::Target::Other(o)) => {
                        Ok(Target::Other { module: o.module.into(), resource: o.resource.into() })
                    }
                    _ => Err(WireError::Malformed("an edge to nowhere")),
                })
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Resource {
            name: r.name.into(),
            kind: r.r#type.into(),
            when,
            attributes,
            depends_on: targets(r.depends_on)?,
            notify: targets(r.notify)?,
        })
    }
}

/// One tree has one form: a list of constants is a constant.
fn list(items: Vec<Expr>) -> Expr {
    if items.iter().all(|e| matches!(e, Expr::Const(_))) {
        let values = items.into_iter().filter_map(|e| match e {
            Expr::Const(v) => Some(v),
            _ => None,
        });
        return Expr::Const(Value::List(values.collect()));
    }
    Expr::List(items)
}
