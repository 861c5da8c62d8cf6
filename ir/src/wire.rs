//! Bytes of modules and values.
//!
//! The same value gives the same bytes everywhere. Decoding hostile bytes is bounded in size, depth and count, and
//! accepts only trees: each node used exactly once, by a later node.

mod decode;
mod encode;

pub use decode::{decode_module, decode_value};
pub use encode::{ModuleEncoder, ResourceRef, encode_module, encode_value};

use crate::Hash;
use crate::value::Value;

/// Bytes of one module.
pub const MAX_MODULE_BYTES: usize = 8 << 20;
/// Resources of one module.
pub const MAX_RESOURCES: usize = 100_000;
/// Nodes on the way from an expression to its deepest part. More than twice what the language lets an
/// author nest, because a template nests a piece and an expression at each level.
pub const MAX_DEPTH: u32 = 300;
/// Bytes of an encoded value (traits, merged variables).
pub const MAX_VALUE_BYTES: usize = 4 << 20;

/// Template variables of one template.
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

/// The hash of a value's encoding.
pub fn hash_value(value: &Value) -> Result<Hash, WireError> {
    Ok(Hash::of(&encode_value(value)?))
}

fn too_large(what: &'static str, bytes: usize, limit: usize) -> Result<(), WireError> {
    if bytes > limit { Err(WireError::TooLarge { what, bytes, limit }) } else { Ok(()) }
}

fn checked_slot(slot: u32) -> Result<u32, WireError> {
    if slot < MAX_SLOTS { Ok(slot) } else { Err(WireError::Malformed("too many template variables")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{CompareOp, Expr, Piece, Root};
    use crate::module::{Module, Resource, Target};
    use crate::pb::node::Kind;
    use crate::value::Finite;
    use crate::{Builtin, pb};
    use proptest::prelude::*;
    use prost::Message;
    use std::sync::Arc;

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

    /// What prost makes of bytes: a message in which fields stand in another order, or that says what is left out by
    /// default, comes back as other bytes.
    fn again<M: Message + Default>(bytes: &[u8]) -> Vec<u8> {
        M::decode(bytes).unwrap().encode_to_vec()
    }

    #[test]
    fn the_bytes_are_those_that_prost_writes() {
        let bytes = encode_module(&sample()).unwrap();
        assert_eq!(again::<pb::Module>(&bytes), bytes);
        // the first node is 0, and an empty name is left out
        let mut odd = sample();
        odd.name = "".into();
        odd.depends_on = vec!["".into()];
        odd.resources[0].when = Some(Expr::Const(Value::str("")));
        odd.resources[1].attributes = vec![
            ("".into(), Expr::Not(Box::new(Expr::Const(false.into())))),
            ("a".into(), Expr::Or(Box::new(Expr::Const(1.into())), Box::new(Expr::Local(300)))),
            (
                "b".into(),
                Expr::Map(vec![
                    ("".into(), Expr::List(vec![Expr::Local(1)])),
                    ("k".into(), Expr::Const(Value::Null)),
                ]),
            ),
            ("c".into(), Expr::Template(vec![Piece::Continue, Piece::Emit(Expr::Const(2.into()))])),
            (
                "d".into(),
                Expr::Template(vec![Piece::If {
                    condition: Expr::Const(true.into()),
                    then: vec![Piece::Text("x".into()), Piece::Text("y".into())],
                    otherwise: vec![Piece::Text("z".into())],
                }]),
            ),
        ];
        odd.resources[1].notify = vec![Target::Other { module: "".into(), resource: "r".into() }];
        let bytes = encode_module(&odd).unwrap();
        assert_eq!(again::<pb::Module>(&bytes), bytes);
        // the same with names, which a reader insists on
        odd.name = "m".into();
        odd.depends_on = vec!["base".into()];
        odd.resources[1].attributes[0].0 = "0".into();
        odd.resources[1].notify = vec![Target::Other { module: "n".into(), resource: "r".into() }];
        assert_eq!(decode_module(&encode_module(&odd).unwrap()).unwrap(), odd);
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
            prop_assert_eq!(again::<pb::ValueTree>(&bytes), bytes.clone());
            prop_assert_eq!(decode_value(&bytes).unwrap(), v);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode_value(&bytes);
            let _ = decode_module(&bytes);
        }
    }
}
