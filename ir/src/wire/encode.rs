//! Values, expressions and modules to bytes: children before their parents, in one list of nodes.

use super::{
    MAX_DEPTH, MAX_MODULE_BYTES, MAX_RESOURCES, MAX_VALUE_BYTES, WireError, checked_slot, too_large,
};
use crate::expr::{Expr, Piece};
use crate::module::{Module, Resource, Target};
use crate::pb;
use crate::pb::node::Kind;
use crate::value::Value;
use prost::Message;

/// The bytes of a module; what is hashed and shipped.
pub fn encode_module(module: &Module) -> Result<Vec<u8>, WireError> {
    if module.resources.len() > MAX_RESOURCES {
        return Err(WireError::Malformed("too many resources"));
    }
    let mut pool = Pool::default();
    let resources = module.resources.iter().map(|r| pool.resource(r)).collect::<Result<_, _>>()?;
    let message = pb::Module {
        name: owned(&module.name),
        depends_on: module.depends_on.iter().map(|m| owned(m)).collect(),
        nodes: pool.nodes,
        resources,
    };
    let bytes = message.encode_to_vec();
    too_large("a module", bytes.len(), MAX_MODULE_BYTES)?;
    Ok(bytes)
}

/// The bytes of a value.
pub fn encode_value(value: &Value) -> Result<Vec<u8>, WireError> {
    let mut pool = Pool::default();
    pool.value(value, 0)?;
    let bytes = pb::ValueTree { nodes: pool.nodes }.encode_to_vec();
    too_large("a value", bytes.len(), MAX_VALUE_BYTES)?;
    Ok(bytes)
}

#[derive(Default)]
struct Pool {
    nodes: Vec<pb::Node>,
}

impl Pool {
    fn push(&mut self, kind: Kind) -> u32 {
        self.nodes.push(pb::Node { kind: Some(kind) });
        self.nodes.len() as u32 - 1
    }

    fn resource(&mut self, r: &Resource) -> Result<pb::Resource, WireError> {
        let when = r.when.as_ref().map(|e| self.expr(e, 0)).transpose()?;
        let attributes = r
            .attributes
            .iter()
            .map(|(name, e)| Ok(pb::Attribute { name: owned(name), node: self.expr(e, 0)? }))
            .collect::<Result<_, _>>()?;
        Ok(pb::Resource {
            name: owned(&r.name),
            r#type: owned(&r.kind),
            when,
            attributes,
            depends_on: r.depends_on.iter().map(target).collect(),
            notify: r.notify.iter().map(target).collect(),
        })
    }

    fn value(&mut self, value: &Value, depth: u32) -> Result<u32, WireError> {
        let depth = deeper(depth)?;
        let kind = match value {
            Value::Null => Kind::Null(pb::Unit {}),
            Value::Bool(b) => Kind::Bool(*b),
            Value::Int(i) => Kind::Int(*i),
            Value::Float(f) => Kind::Float(f.get()),
            Value::Str(s) => Kind::Text(owned(s)),
            Value::Bytes(b) => Kind::Bytes(b.to_vec()),
            Value::Secret(p) => Kind::Secret(owned(p)),
            Value::List(items) => {
                let nodes = items.iter().map(|v| self.value(v, depth)).collect::<Result<_, _>>()?;
                Kind::List(pb::Children { nodes })
            }
            Value::Map(map) => {
                let values = map.values().map(|v| self.value(v, depth)).collect::<Result<_, _>>()?;
                Kind::Map(pb::Map { keys: map.keys().map(|k| owned(k)).collect(), values })
            }
        };
        Ok(self.push(kind))
    }

    fn expr(&mut self, expr: &Expr, depth: u32) -> Result<u32, WireError> {
        let depth = deeper(depth)?;
        let kind = match expr {
            Expr::Const(v) => return self.value(v, depth),
            Expr::Path(root, segments) => Kind::Path(pb::Path {
                root: root.name().to_owned(),
                segments: segments.iter().map(|s| owned(s)).collect(),
            }),
            Expr::Local(slot) => Kind::Local(*slot),
            Expr::Field(base, name) => {
                Kind::Field(pb::Field { base: self.expr(base, depth)?, name: owned(name) })
            }
            Expr::List(items) => Kind::List(pb::Children { nodes: self.exprs(items, depth)? }),
            Expr::Map(keys, values) => Kind::Map(pb::Map {
                keys: keys.iter().map(|k| owned(k)).collect(),
                values: self.exprs(values, depth)?,
            }),
            Expr::Call(f, args) => {
                Kind::Call(pb::Call { function: f.name().to_owned(), args: self.exprs(args, depth)? })
            }
            Expr::Not(e) => Kind::Not(self.expr(e, depth)?),
            Expr::And(a, b) => {
                Kind::And(pb::Children { nodes: vec![self.expr(a, depth)?, self.expr(b, depth)?] })
            }
            Expr::Or(a, b) => {
                Kind::Or(pb::Children { nodes: vec![self.expr(a, depth)?, self.expr(b, depth)?] })
            }
            Expr::Compare(op, a, b) => {
                let (left, right) = (self.expr(a, depth)?, self.expr(b, depth)?);
                Kind::Compare(pb::Compare { op: op.symbol().to_owned(), left, right })
            }
            Expr::Template(pieces) => Kind::Template(pb::Children { nodes: self.pieces(pieces, depth)? }),
        };
        Ok(self.push(kind))
    }

    fn exprs(&mut self, exprs: &[Expr], depth: u32) -> Result<Vec<u32>, WireError> {
        exprs.iter().map(|e| self.expr(e, depth)).collect()
    }

    fn pieces(&mut self, pieces: &[Piece], depth: u32) -> Result<Vec<u32>, WireError> {
        let depth = deeper(depth)?;
        pieces.iter().map(|p| self.piece(p, depth)).collect()
    }

    fn piece(&mut self, piece: &Piece, depth: u32) -> Result<u32, WireError> {
        let kind = match piece {
            Piece::Text(t) => Kind::Text(owned(t)),
            Piece::Emit(e) => Kind::Emit(self.expr(e, depth)?),
            Piece::If { condition, then, otherwise } => Kind::If(pb::Branch {
                condition: self.expr(condition, depth)?,
                then: self.pieces(then, depth)?,
                otherwise: self.pieces(otherwise, depth)?,
            }),
            Piece::Range { list, key, value, body, otherwise } => Kind::Range(pb::Range {
                list: self.expr(list, depth)?,
                key: key.map(checked_slot).transpose()?,
                value: checked_slot(*value)?,
                body: self.pieces(body, depth)?,
                otherwise: self.pieces(otherwise, depth)?,
            }),
            Piece::With { value, slot, body, otherwise } => Kind::With(pb::With {
                value: self.expr(value, depth)?,
                slot: checked_slot(*slot)?,
                body: self.pieces(body, depth)?,
                otherwise: self.pieces(otherwise, depth)?,
            }),
            Piece::Let(slot, e) => {
                Kind::Let(pb::Assign { slot: checked_slot(*slot)?, value: self.expr(e, depth)? })
            }
            Piece::Set(slot, e) => {
                Kind::Set(pb::Assign { slot: checked_slot(*slot)?, value: self.expr(e, depth)? })
            }
            Piece::Break => Kind::Break(pb::Unit {}),
            Piece::Continue => Kind::Continue(pb::Unit {}),
        };
        Ok(self.push(kind))
    }
}

/// `to_string` of an `Arc<str>` goes through a formatter, at five times the cost.
fn owned(text: &str) -> String {
    text.to_owned()
}

fn deeper(depth: u32) -> Result<u32, WireError> {
    if depth >= MAX_DEPTH { Err(WireError::TooDeep) } else { Ok(depth + 1) }
}

fn target(t: &Target) -> pb::Target {
    use pb::target::{Other, Target as Wire};
    let target = match t {
        Target::Local(index) => Wire::Index(*index),
        Target::Other { module, resource } => {
            Wire::Other(Other { module: owned(module), resource: owned(resource) })
        }
    };
    pb::Target { target: Some(target) }
}
