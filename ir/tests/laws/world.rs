//! What is true, and what a stage knows of it.

use ir::{Builtin, Expr, Fact, Facts, Root, Value};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Each fact with its value; `None` is absent. Types go by the first letter: bool, int, string, list, map.
#[derive(Clone, Debug)]
pub struct World(BTreeMap<String, Option<Value>>);

/// A world of which only some facts are known: those whose number is a bit of the mask.
pub struct Stage<'a>(&'a World, u64);

pub const LETTERS: [&str; 3] = ["x", "y", "z"];

impl World {
    pub fn any() -> impl Strategy<Value = World> {
        proptest::collection::vec(any::<u8>(), 32).prop_map(|dice| {
            let mut dice = dice.into_iter();
            let mut roll = move |sides: u8| dice.next().unwrap_or(0) % sides;
            let mut facts = BTreeMap::new();
            for n in 0..3 {
                let mut put = |name: &str, there: bool, value: Value| {
                    facts.insert(format!("traits.{name}{n}"), there.then_some(value));
                };
                // b0, i0 and so on are always there, so that not everything fails.
                put("b", n == 0 || roll(5) > 0, Value::Bool(roll(2) == 0));
                put("i", n == 0 || roll(5) > 0, Value::Int(i64::from(roll(4)) - 1));
                put("s", n == 0 || roll(5) > 0, Value::from(["", "a", "secret"][roll(3) as usize]));
                let items = (0..roll(4)).map(|i| Value::from(["a", "b", "", "c"][i as usize])).collect();
                put("l", n == 0 || roll(5) > 0, Value::List(items));
            }
            let map = BTreeMap::from([
                (Arc::from("x"), Value::from("mx")),
                (Arc::from("y"), Value::Secret("p0".into())),
            ]);
            facts.insert("traits.m0".into(), (roll(4) > 0).then_some(Value::Map(map)));
            facts.insert("traits.os.family".into(), (roll(6) > 0).then_some(Value::from("debian")));
            facts.insert("secret:p0".into(), Some(Value::from("hush")));
            facts.insert("secret:p1".into(), (roll(6) > 0).then_some(Value::from("")));
            facts.insert("file_exists".into(), Some(Value::Bool(roll(2) == 0)));
            facts.insert("has_role".into(), Some(Value::Bool(roll(2) == 0)));
            World(facts)
        })
    }

    pub fn stage(&self, mask: u64) -> Stage<'_> {
        Stage(self, mask)
    }
}

impl Stage<'_> {
    fn get(&self, name: &str) -> Fact {
        let found = self.0.0.iter().enumerate().find(|(_, (n, _))| *n == name);
        match found {
            Some((n, _)) if self.1 & 1 << n == 0 => Fact::NotYet,
            Some((_, (_, Some(value)))) => Fact::Known(value.clone()),
            Some((_, (_, None))) | None => Fact::Absent,
        }
    }

    /// The facts that an expression reads itself although this stage has their value.
    pub fn knows(&self, expr: &Expr) -> Vec<String> {
        let mut names = Vec::new();
        match expr {
            Expr::Path(root, segments) => names.push(name(*root, segments)),
            Expr::Const(v) => secrets(v, &mut names),
            Expr::Call(f, args) if args.iter().all(|a| a.as_const().is_some_and(|v| !v.holds_secret())) => {
                match f {
                    Builtin::OsFamily => names.push("traits.os.family".into()),
                    Builtin::FileExists | Builtin::HasRole => names.push(f.name().into()),
                    Builtin::HasTrait => {
                        let path = args.first().and_then(Expr::as_const).and_then(Value::as_str).unwrap();
                        // Never fails, so absence decides it too.
                        if self.get(&format!("traits.{path}")) != Fact::NotYet {
                            return vec![path.to_owned()];
                        }
                    }
                    // A function of constants stays only because it failed, in a part not yet reached.
                    _ => {}
                }
            }
            _ => {}
        }
        names.retain(|n| matches!(self.get(n), Fact::Known(_)));
        names
    }
}

fn secrets(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Secret(path) => names.push(format!("secret:{path}")),
        Value::List(l) => l.iter().for_each(|v| secrets(v, names)),
        Value::Map(m) => m.values().for_each(|v| secrets(v, names)),
        _ => {}
    }
}

fn name(root: Root, segments: &[Arc<str>]) -> String {
    segments.iter().fold(root.name().to_owned(), |name, s| name + "." + s)
}

impl Facts for Stage<'_> {
    fn path(&self, root: Root, segments: &[Arc<str>]) -> Fact {
        let Some((map, [key])) =
            segments.split_first().filter(|(m, rest)| m.starts_with('m') && rest.len() == 1)
        else {
            return self.get(&name(root, segments));
        };
        match self.get(&format!("traits.{map}")) {
            Fact::Known(v) => v.at(std::slice::from_ref(key)).cloned().map_or(Fact::Absent, Fact::Known),
            fact => fact,
        }
    }

    fn secret(&self, path: &str) -> Fact {
        self.get(&format!("secret:{path}"))
    }

    fn ask(&self, function: Builtin, _args: &[Value]) -> Fact {
        self.get(function.name())
    }
}
