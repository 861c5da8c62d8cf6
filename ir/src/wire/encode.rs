//! Values, expressions and modules to bytes: children before their parents, in one list of nodes.
//!
//! Writes the messages of `proto/ir.proto` from borrowed parts, field by field in the order of their tags, as prost does:
//! a compiler encodes tens of thousands of modules at once, and building the messages first costs more than the rest.

use super::{
    MAX_DEPTH, MAX_MODULE_BYTES, MAX_RESOURCES, MAX_VALUE_BYTES, WireError, checked_slot, too_large,
};
use crate::expr::{Expr, Piece};
use crate::module::{Module, Target};
use crate::value::Value;
use prost::encoding::{
    WireType, double, encode_key, encode_varint, encoded_len_varint, key_len, sint64, uint32,
};
use std::sync::Arc;

/// The bytes of a module; what is hashed and shipped.
pub fn encode_module(module: &Module) -> Result<Vec<u8>, WireError> {
    let mut out = ModuleEncoder::default();
    let mut attributes = Vec::new();
    for r in &module.resources {
        attributes.clear();
        attributes.extend(r.attributes.iter().map(|(name, e)| (&**name, e)));
        out.resource(&ResourceRef {
            name: &r.name,
            kind: &r.kind,
            when: r.when.as_ref(),
            attributes: &attributes,
            depends_on: &r.depends_on,
            notify: &r.notify,
        })?;
    }
    out.finish(&module.name, &module.depends_on)
}

/// The bytes of a value.
pub fn encode_value(value: &Value) -> Result<Vec<u8>, WireError> {
    // `ValueTree.nodes`
    let mut pool = Pool::of(1);
    pool.value(value, 0)?;
    too_large("a value", pool.nodes.len(), MAX_VALUE_BYTES)?;
    Ok(pool.nodes)
}

/// A [`crate::Resource`] whose parts belong to somebody else.
#[derive(Clone, Copy, Debug)]
pub struct ResourceRef<'a> {
    /// Unique within the module.
    pub name: &'a str,
    /// A resource type.
    pub kind: &'a str,
    /// `None` is always.
    pub when: Option<&'a Expr>,
    /// Sorted by name.
    pub attributes: &'a [(&'a str, &'a Expr)],
    /// Resources that come first.
    pub depends_on: &'a [Target],
    /// Resources that are told.
    pub notify: &'a [Target],
}

/// Encodes a module one resource after the other, in the order in which they run; the bytes are those of
/// [`encode_module`].
#[derive(Debug)]
pub struct ModuleEncoder {
    pool: Pool,
    /// `Module.resources` so far.
    resources: Vec<u8>,
    /// How many they are.
    count: usize,
}

impl Default for ModuleEncoder {
    fn default() -> Self {
        // `Module.nodes`
        ModuleEncoder { pool: Pool::of(3), resources: Vec::new(), count: 0 }
    }
}

impl ModuleEncoder {
    /// Adds a resource.
    pub fn resource(&mut self, r: &ResourceRef<'_>) -> Result<(), WireError> {
        self.count += 1;
        if self.count > MAX_RESOURCES {
            return Err(WireError::Malformed("too many resources"));
        }
        let when = r.when.map(|e| self.pool.expr(e, 0)).transpose()?;
        let from = self.pool.ids.len();
        for (_, e) in r.attributes {
            let node = self.pool.expr(e, 0)?;
            self.pool.ids.push(node);
        }
        let Pool { ids, body, part, .. } = &mut self.pool;
        body.clear();
        text(body, 1, r.name);
        text(body, 2, r.kind);
        if let Some(when) = &when {
            uint32::encode(3, when, body);
        }
        for ((name, _), node) in r.attributes.iter().zip(ids.drain(from..)) {
            part.clear();
            text(part, 1, name);
            number(part, 2, node);
            bytes(body, 4, part);
        }
        for (tag, targets) in [(5, r.depends_on), (6, r.notify)] {
            for to in targets {
                target(part, to);
                bytes(body, tag, part);
            }
        }
        bytes(&mut self.resources, 4, body);
        Ok(())
    }

    /// The bytes of the module with these names.
    pub fn finish(self, name: &str, depends_on: &[Arc<str>]) -> Result<Vec<u8>, WireError> {
        let names = name.len() + depends_on.iter().map(|m| m.len() + 8).sum::<usize>() + 8;
        let mut out = Vec::with_capacity(names + self.pool.nodes.len() + self.resources.len());
        text(&mut out, 1, name);
        depends_on.iter().for_each(|needed| bytes(&mut out, 2, needed.as_bytes()));
        out.extend_from_slice(&self.pool.nodes);
        out.extend_from_slice(&self.resources);
        too_large("a module", out.len(), MAX_MODULE_BYTES)?;
        Ok(out)
    }
}

fn target(out: &mut Vec<u8>, to: &Target) {
    out.clear();
    match to {
        // part of a `oneof`: written also when it is 0
        Target::Local(index) => uint32::encode(1, index, out),
        Target::Other { module, resource } => {
            encode_key(2, WireType::LengthDelimited, out);
            encode_varint((text_len(1, module) + text_len(2, resource)) as u64, out);
            text(out, 1, module);
            text(out, 2, resource);
        }
    }
}

/// The nodes of one message.
#[derive(Debug)]
struct Pool {
    /// The tag of the list.
    tag: u32,
    /// As they are shipped.
    nodes: Vec<u8>,
    count: u32,
    /// Nodes whose parents are not written yet: each parent takes its own from the end.
    ids: Vec<u32>,
    /// Of the message being written; here, so that not every node needs memory of its own.
    body: Vec<u8>,
    /// Of a message in `body`.
    part: Vec<u8>,
}

impl Pool {
    fn of(tag: u32) -> Pool {
        Pool { tag, nodes: Vec::new(), count: 0, ids: Vec::new(), body: Vec::new(), part: Vec::new() }
    }

    /// Begins a node whose one field takes `len` bytes.
    fn begin(&mut self, len: usize) -> u32 {
        encode_key(self.tag, WireType::LengthDelimited, &mut self.nodes);
        encode_varint(len as u64, &mut self.nodes);
        self.count += 1;
        self.count - 1
    }

    fn delimited(&mut self, tag: u32, content: &[u8]) -> u32 {
        let id = self.begin(key_len(tag) + encoded_len_varint(content.len() as u64) + content.len());
        bytes(&mut self.nodes, tag, content);
        id
    }

    fn varint(&mut self, tag: u32, value: u64) -> u32 {
        let id = self.begin(key_len(tag) + encoded_len_varint(value));
        encode_key(tag, WireType::Varint, &mut self.nodes);
        encode_varint(value, &mut self.nodes);
        id
    }

    /// A node that is a message: `fields` writes it, with the nodes that were put on `ids` since `from`.
    fn message(&mut self, tag: u32, from: usize, fields: impl FnOnce(&mut Vec<u8>, &[u32])) -> u32 {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        fields(&mut body, self.ids.get(from..).unwrap_or_default());
        self.ids.truncate(from);
        let id = self.delimited(tag, &body);
        self.body = body;
        id
    }

    fn children(&mut self, tag: u32, from: usize) -> u32 {
        self.message(tag, from, |out, ids| uint32::encode_packed(1, ids, out))
    }

    fn value(&mut self, value: &Value, depth: u32) -> Result<u32, WireError> {
        let depth = deeper(depth)?;
        Ok(match value {
            Value::Null => self.delimited(1, &[]),
            Value::Bool(b) => self.varint(2, u64::from(*b)),
            Value::Int(i) => {
                let id = self.begin(sint64::encoded_len(3, i));
                sint64::encode(3, i, &mut self.nodes);
                id
            }
            Value::Float(f) => {
                let id = self.begin(double::encoded_len(4, &f.get()));
                double::encode(4, &f.get(), &mut self.nodes);
                id
            }
            Value::Str(s) => self.delimited(5, s.as_bytes()),
            Value::Bytes(b) => self.delimited(6, b),
            Value::Secret(path) => self.delimited(9, path.as_bytes()),
            Value::List(items) => {
                let from = self.ids.len();
                for item in items {
                    let id = self.value(item, depth)?;
                    self.ids.push(id);
                }
                self.children(7, from)
            }
            Value::Map(map) => {
                let from = self.ids.len();
                for item in map.values() {
                    let id = self.value(item, depth)?;
                    self.ids.push(id);
                }
                self.message(8, from, |out, ids| {
                    map.keys().for_each(|key| bytes(out, 1, key.as_bytes()));
                    uint32::encode_packed(2, ids, out);
                })
            }
        })
    }

    fn expr(&mut self, expr: &Expr, depth: u32) -> Result<u32, WireError> {
        let depth = deeper(depth)?;
        let from = self.ids.len();
        Ok(match expr {
            Expr::Const(v) => return self.value(v, depth),
            Expr::Path(root, segments) => self.message(16, from, |out, _| {
                text(out, 1, root.name());
                segments.iter().for_each(|s| bytes(out, 2, s.as_bytes()));
            }),
            Expr::Local(slot) => self.varint(17, u64::from(*slot)),
            Expr::Field(base, name) => {
                let base = self.expr(base, depth)?;
                self.message(18, from, |out, _| {
                    number(out, 1, base);
                    text(out, 2, name);
                })
            }
            Expr::List(items) => {
                self.exprs(items, depth)?;
                self.children(7, from)
            }
            Expr::Map(entries) => {
                self.exprs(entries.iter().map(|(_, e)| e), depth)?;
                self.message(8, from, |out, ids| {
                    entries.iter().for_each(|(key, _)| bytes(out, 1, key.as_bytes()));
                    uint32::encode_packed(2, ids, out);
                })
            }
            Expr::Call(f, args) => {
                self.exprs(args, depth)?;
                self.message(19, from, |out, ids| {
                    text(out, 1, f.name());
                    uint32::encode_packed(2, ids, out);
                })
            }
            Expr::Not(e) => {
                let inner = self.expr(e, depth)?;
                self.varint(20, u64::from(inner))
            }
            Expr::And(a, b) => self.pair(21, a, b, depth)?,
            Expr::Or(a, b) => self.pair(22, a, b, depth)?,
            Expr::Compare(op, a, b) => {
                let (left, right) = (self.expr(a, depth)?, self.expr(b, depth)?);
                self.message(23, from, |out, _| {
                    text(out, 1, op.symbol());
                    number(out, 2, left);
                    number(out, 3, right);
                })
            }
            Expr::Template(pieces) => {
                self.pieces(pieces, depth)?;
                self.children(24, from)
            }
        })
    }

    fn pair(&mut self, tag: u32, a: &Expr, b: &Expr, depth: u32) -> Result<u32, WireError> {
        let pair = [self.expr(a, depth)?, self.expr(b, depth)?];
        let from = self.ids.len();
        Ok(self.message(tag, from, |out, _| uint32::encode_packed(1, &pair, out)))
    }

    /// Puts the nodes on `ids`.
    fn exprs<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>, depth: u32) -> Result<(), WireError> {
        for e in exprs {
            let id = self.expr(e, depth)?;
            self.ids.push(id);
        }
        Ok(())
    }

    /// Puts the nodes on `ids`.
    fn pieces(&mut self, pieces: &[Piece], depth: u32) -> Result<(), WireError> {
        let depth = deeper(depth)?;
        for piece in pieces {
            let id = self.piece(piece, depth)?;
            self.ids.push(id);
        }
        Ok(())
    }

    /// Puts the nodes of two bodies on `ids`; where the second one begins.
    fn bodies(&mut self, first: &[Piece], second: &[Piece], depth: u32) -> Result<usize, WireError> {
        let from = self.ids.len();
        self.pieces(first, depth)?;
        let split = self.ids.len() - from;
        self.pieces(second, depth)?;
        Ok(split)
    }

    fn piece(&mut self, piece: &Piece, depth: u32) -> Result<u32, WireError> {
        let from = self.ids.len();
        Ok(match piece {
            Piece::Text(t) => self.delimited(5, t.as_bytes()),
            Piece::Emit(e) => {
                let inner = self.expr(e, depth)?;
                self.varint(32, u64::from(inner))
            }
            Piece::If { condition, then, otherwise } => {
                let condition = self.expr(condition, depth)?;
                let split = self.bodies(then, otherwise, depth)?;
                self.message(33, from, |out, ids| {
                    number(out, 1, condition);
                    both(out, 2, 3, ids, split);
                })
            }
            Piece::Range { list, key, value, body, otherwise } => {
                let list = self.expr(list, depth)?;
                let (key, value) = (key.map(checked_slot).transpose()?, checked_slot(*value)?);
                let split = self.bodies(body, otherwise, depth)?;
                self.message(34, from, |out, ids| {
                    number(out, 1, list);
                    if let Some(key) = &key {
                        uint32::encode(2, key, out);
                    }
                    number(out, 3, value);
                    both(out, 4, 5, ids, split);
                })
            }
            Piece::With { value, slot, body, otherwise } => {
                let value = self.expr(value, depth)?;
                let slot = checked_slot(*slot)?;
                let split = self.bodies(body, otherwise, depth)?;
                self.message(35, from, |out, ids| {
                    number(out, 1, value);
                    number(out, 2, slot);
                    both(out, 3, 4, ids, split);
                })
            }
            Piece::Let(slot, e) => self.assign(36, *slot, e, depth)?,
            Piece::Set(slot, e) => self.assign(37, *slot, e, depth)?,
            Piece::Break => self.delimited(38, &[]),
            Piece::Continue => self.delimited(39, &[]),
        })
    }

    fn assign(&mut self, tag: u32, slot: u32, e: &Expr, depth: u32) -> Result<u32, WireError> {
        let slot = checked_slot(slot)?;
        let value = self.expr(e, depth)?;
        let from = self.ids.len();
        Ok(self.message(tag, from, |out, _| {
            number(out, 1, slot);
            number(out, 2, value);
        }))
    }
}

/// Two lists that stand one after the other.
fn both(out: &mut Vec<u8>, first: u32, second: u32, ids: &[u32], split: usize) {
    if let Some((a, b)) = ids.split_at_checked(split) {
        uint32::encode_packed(first, a, out);
        uint32::encode_packed(second, b, out);
    }
}

fn bytes(out: &mut Vec<u8>, tag: u32, content: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// A field of its own, which is left out when it is empty.
fn text(out: &mut Vec<u8>, tag: u32, content: &str) {
    if !content.is_empty() {
        bytes(out, tag, content.as_bytes());
    }
}

fn text_len(tag: u32, content: &str) -> usize {
    match content.len() {
        0 => 0,
        len => key_len(tag) + encoded_len_varint(len as u64) + len,
    }
}

/// A field of its own, which is left out when it is 0.
fn number(out: &mut Vec<u8>, tag: u32, value: u32) {
    if value != 0 {
        uint32::encode(tag, &value, out);
    }
}

fn deeper(depth: u32) -> Result<u32, WireError> {
    if depth >= MAX_DEPTH { Err(WireError::TooDeep) } else { Ok(depth + 1) }
}
