//! Bytes of modules and values.
//!
//! The same value gives the same bytes everywhere. Decoding hostile bytes is bounded in size, depth and count, and
//! accepts only trees: each node used exactly once, by a later node.

use crate::expr::{CompareOp, Expr, Piece, Root};
use crate::module::{Module, Resource, Target};
use crate::pb;
use crate::pb::node::Kind;
use crate::value::{Finite, Value};
use crate::{Builtin, Hash};
use prost::Message;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Bytes of one module.
pub const MAX_MODULE_BYTES: usize = 8 << 20;
/// Resources of one module.
pub const MAX_RESOURCES: usize = 100_000;
/// Nodes on the way from an expression to its deepest part. More than twice what the language lets an
/// author nest, because a template nests a piece and an expression at each level.
pub const MAX_DEPTH: u32 = 300;
/// Bytes of an encoded value (traits, merged variables).
pub const MAX_VALUE_BYTES: usize = 4 << 20;
const MAX_SLOTS: u32 = 1 << 16;

/// Why bytes are not a module or value, or why one cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Larger than allowed.
    #[error("{what} of {bytes} bytes; at most {limit} are allowed")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Not what [`encode_module`] or [`encode_value`] writes.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}

/// The bytes of a module; what is hashed and shipped.
pub fn encode_module(module: &Module) -> Result<Vec<u8>, WireError> {
    let mut pool = Pool::default();
    let resources = module.resources.iter().map(|r| pool.resource(r)).collect::<Result<_, _>>()?;
    let message = pb::Module {
        name: module.name.to_string(),
        depends_on: module.depends_on.iter().map(|m| m.to_string()).collect(),
        nodes: pool.nodes,
        resources,
    };
    let bytes = message.encode_to_vec();
    too_large("a module", bytes.len(), MAX_MODULE_BYTES)?;
    Ok(bytes)
}

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

/// The bytes of a value.
pub fn encode_value(value: &Value) -> Result<Vec<u8>, WireError> {
    let mut pool = Pool::default();
    pool.value(value, 0)?;
    let bytes = pb::ValueTree { nodes: pool.nodes }.encode_to_vec();
    too_large("a value", bytes.len(), MAX_VALUE_BYTES)?;
    Ok(bytes)
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

/// The hash of a value's encoding.
pub fn hash_value(value: &Value) -> Result<Hash, WireError> {
    Ok(Hash::of(&encode_value(value)?))
}

fn too_large(what: &'static str, bytes: usize, limit: usize) -> Result<(), WireError> {
    if bytes > limit { Err(WireError::TooLarge { what, bytes, limit }) } else { Ok(()) }
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
            .map(|(name, e)| Ok(pb::Attribute { name: name.to_string(), node: self.expr(e, 0)? }))
            .collect::<Result<_, _>>()?;
        Ok(pb::Resource {
            name: r.name.to_string(),
            r#type: r.kind.to_string(),
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
            Value::Str(s) => Kind::Text(s.to_string()),
            Value::Bytes(b) => Kind::Bytes(b.to_vec()),
            Value::Secret(p) => Kind::Secret(p.to_string()),
            Value::List(items) => {
                let nodes = items.iter().map(|v| self.value(v, depth)).collect::<Result<_, _>>()?;
                Kind::List(pb::Children { nodes })
            }
            Value::Map(map) => {
                let values = map.values().map(|v| self.value(v, depth)).collect::<Result<_, _>>()?;
                Kind::Map(pb::Map { keys: map.keys().map(|k| k.to_string()).collect(), values })
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
                segments: segments.iter().map(|s| s.to_string()).collect(),
            }),
            Expr::Local(slot) => Kind::Local(*slot),
            Expr::Field(base, name) => {
                Kind::Field(pb::Field { base: self.expr(base, depth)?, name: name.to_string() })
            }
            Expr::List(items) => Kind::List(pb::Children { nodes: self.exprs(items, depth)? }),
            Expr::Map(keys, values) => Kind::Map(pb::Map {
                keys: keys.iter().map(|k| k.to_string()).collect(),
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
            Piece::Text(t) => Kind::Text(t.to_string()),
            Piece::Emit(e) => Kind::Emit(self.expr(e, depth)?),
            Piece::If { condition, then, otherwise } => Kind::If(pb::Branch {
                condition: self.expr(condition, depth)?,
                then: self.pieces(then, depth)?,
                otherwise: self.pieces(otherwise, depth)?,
            }),
            Piece::Range { list, key, value, body, otherwise } => Kind::Range(pb::Range {
                list: self.expr(list, depth)?,
                key: *key,
                value: *value,
                body: self.pieces(body, depth)?,
                otherwise: self.pieces(otherwise, depth)?,
            }),
            Piece::With { value, slot, body, otherwise } => Kind::With(pb::With {
                value: self.expr(value, depth)?,
                slot: *slot,
                body: self.pieces(body, depth)?,
                otherwise: self.pieces(otherwise, depth)?,
            }),
            Piece::Let(slot, e) => Kind::Let(pb::Assign { slot: *slot, value: self.expr(e, depth)? }),
            Piece::Set(slot, e) => Kind::Set(pb::Assign { slot: *slot, value: self.expr(e, depth)? }),
            Piece::Break => Kind::Break(pb::Unit {}),
            Piece::Continue => Kind::Continue(pb::Unit {}),
        };
        Ok(self.push(kind))
    }
}

fn deeper(depth: u32) -> Result<u32, WireError> {
    if depth >= MAX_DEPTH { Err(WireError::TooDeep) } else { Ok(depth + 1) }
}

fn target(t: &Target) -> pb::Target {
    use pb::target::{Other, Target as Wire};
    let target = match t {
        Target::Local(index) => Wire::Index(*index),
        Target::Other { module, resource } => {
            Wire::Other(Other { module: module.to_string(), resource: resource.to_string() })
        }
    };
    pb::Target { target: Some(target) }
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
        let keys: Vec<Arc<str>> = map.keys.into_iter().map(Arc::from).collect();
        Ok(match list(self.exprs(&map.values)?) {
            Expr::Const(Value::List(values)) => {
                Expr::Const(Value::Map(keys.into_iter().zip(values).collect::<BTreeMap<_, _>>()))
            }
            Expr::List(values) => Expr::Map(keys, values),
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

fn checked_slot(slot: u32) -> Result<u32, WireError> {
    if slot < MAX_SLOTS { Ok(slot) } else { Err(WireError::Malformed("too many template variables")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_filter_map("finite", |f| Finite::new(f).map(Value::Float)),
            ".{0,8}".prop_map(Value::from),
            proptest::collection::vec(any::<u8>(), 0..8).prop_map(|b| Value::Bytes(b.into())),
            "[a-z/]{1,8}".prop_map(|p| Value::Secret(p.into())),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                proptest::collection::btree_map(
                    "[a-z]{0,4}".prop_map(|k| Arc::from(k.as_str())),
                    inner,
                    0..4
                )
                .prop_map(Value::Map),
            ]
        })
    }

    fn sample() -> Module {
        let trait_path = Expr::path(Root::Traits, &["os", "family"]);
        let when = Expr::And(
            Box::new(Expr::Not(Box::new(Expr::Call(Builtin::IsContainer, vec![])))),
            Box::new(Expr::Compare(
                CompareOp::In,
                Box::new(trait_path.clone()),
                Box::new(Expr::Const(Value::List(vec!["debian".into()]))),
            )),
        );
        let body = vec![Piece::Emit(Expr::Field(Box::new(Expr::Local(1)), "x".into())), Piece::Break];
        let template = Expr::Template(vec![
            Piece::Text("a".into()),
            Piece::Let(0, trait_path.clone()),
            Piece::Range {
                list: Expr::List(vec![trait_path.clone(), Expr::Const(1.into())]),
                key: Some(2),
                value: 1,
                body,
                otherwise: vec![Piece::Set(0, Expr::Const(Value::Null))],
            },
            Piece::With { value: trait_path, slot: 3, body: vec![], otherwise: vec![Piece::Text("".into())] },
        ]);
        let resource = |name: &str| Resource {
            name: name.into(),
            kind: "file".into(),
            when: Some(when.clone()),
            attributes: vec![
                ("content".into(), template.clone()),
                ("mode".into(), Expr::Const("0644".into())),
            ],
            depends_on: vec![Target::Local(0), Target::Other { module: "m".into(), resource: "r".into() }],
            notify: vec![Target::Local(1)],
        };
        Module {
            name: "nginx".into(),
            depends_on: vec!["base".into()],
            resources: vec![resource("a"), resource("b")],
        }
    }

    #[test]
    fn a_module_survives_the_trip() {
        let bytes = encode_module(&sample()).unwrap();
        assert_eq!(decode_module(&bytes).unwrap(), sample());
        assert_eq!(encode_module(&decode_module(&bytes).unwrap()).unwrap(), bytes);
    }

    #[test]
    fn cut_and_flipped_modules_never_panic() {
        let bytes = encode_module(&sample()).unwrap();
        for len in 0..bytes.len() {
            let _ = decode_module(&bytes[..len]);
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = decode_module(&flipped);
        }
    }

    #[test]
    fn depth_is_bounded_both_ways() {
        let mut deep = Expr::Const(true.into());
        for _ in 0..MAX_DEPTH {
            deep = Expr::Not(Box::new(deep));
        }
        let mut module = sample();
        module.resources[0].when = Some(deep);
        assert_eq!(encode_module(&module), Err(WireError::TooDeep));

        let mut nodes = vec![pb::Node { kind: Some(Kind::Bool(true)) }];
        nodes.extend((0..1_000_000).map(|i| pb::Node { kind: Some(Kind::Not(i)) }));
        let resource = pb::Resource {
            name: "r".into(),
            r#type: "file".into(),
            when: Some(1_000_000),
            ..Default::default()
        };
        let hostile = pb::Module { name: "m".into(), nodes, resources: vec![resource], ..Default::default() };
        assert_eq!(decode_module(&hostile.encode_to_vec()), Err(WireError::TooDeep));
    }

    #[test]
    fn graphs_are_not_trees() {
        let node = |k| pb::Node { kind: Some(k) };
        let value = |nodes| decode_value(&pb::ValueTree { nodes }.encode_to_vec());
        let children = |nodes| Kind::List(pb::Children { nodes });
        let unit = || node(Kind::Null(pb::Unit {}));
        assert_eq!(
            value(vec![unit(), node(children(vec![0, 0]))]),
            Err(WireError::Malformed("a node is used twice"))
        );
        assert_eq!(
            value(vec![node(children(vec![0]))]),
            Err(WireError::Malformed("a node refers to a later one"))
        );
        assert_eq!(value(vec![unit(), unit()]), Err(WireError::Malformed("a node nothing uses")));
        assert!(value(vec![]).is_err());
    }

    proptest! {
        #[test]
        fn values_survive_the_trip(v in value()) {
            let bytes = encode_value(&v).unwrap();
            prop_assert_eq!(decode_value(&bytes).unwrap(), v);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode_value(&bytes);
            let _ = decode_module(&bytes);
        }
    }
}
