//! Evaluation as the three stages do it: fold, specialise, finish.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failing bench may panic")]

use divan::{Bencher, black_box};
use ir::{Budget, Builtin, CompareOp, Expr, Fact, Facts, Piece, Root, Value, eval, finish};
use std::sync::Arc;

fn main() {
    divan::main();
}

/// Traits are known to the agent only, variables always.
struct Stage {
    vars: Value,
    traits: Option<Value>,
}

impl Facts for Stage {
    fn path(&self, root: Root, segments: &[Arc<str>]) -> Fact {
        let map = match root {
            Root::Vars => Some(&self.vars),
            _ => self.traits.as_ref(),
        };
        match map {
            Some(map) => map.at(segments).cloned().map_or(Fact::Absent, Fact::Known),
            None => Fact::NotYet,
        }
    }

    fn secret(&self, _: &str) -> Fact {
        if self.traits.is_some() { Fact::Known(Value::from("hush")) } else { Fact::NotYet }
    }

    fn ask(&self, _: Builtin, _: &[Value]) -> Fact {
        if self.traits.is_some() { Fact::Known(Value::Bool(true)) } else { Fact::NotYet }
    }
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(k, v)| (Arc::from(k), v)).collect())
}

fn stage(users: i64, agent: bool) -> Stage {
    let user = |n: i64| map([("name", Value::from(format!("user{n}"))), ("uid", Value::Int(1000 + n))]);
    let os = map([("family", "debian".into()), ("version", "12.4".into()), ("arch", "x86_64".into())]);
    Stage {
        vars: map([("users", Value::List((0..users).map(user).collect())), ("port", Value::Int(80))]),
        traits: agent.then(|| map([("os", os)])),
    }
}

fn var(name: &str) -> Expr {
    Expr::path(Root::Vars, &[name])
}

fn os(name: &str) -> Expr {
    Expr::path(Root::Traits, &["os", name])
}

fn lit(v: impl Into<Value>) -> Expr {
    Expr::Const(v.into())
}

/// A line for each user, whose shell depends on the host.
fn file() -> Expr {
    let field = |name: &str| Piece::Emit(Expr::Field(Box::new(Expr::Local(0)), name.into()));
    let debian = Expr::Call(Builtin::Eq, vec![os("family"), lit("debian")]);
    Expr::Template(vec![Piece::Range {
        list: var("users"),
        key: None,
        value: 0,
        body: vec![
            field("name"),
            Piece::Text(":x:".into()),
            field("uid"),
            Piece::If {
                condition: debian,
                then: vec![Piece::Text(":/bin/dash\n".into())],
                otherwise: vec![Piece::Text(":/bin/sh\n".into())],
            },
        ],
        otherwise: vec![],
    }])
}

fn condition() -> Expr {
    let port = Expr::Compare(CompareOp::Gt, Box::new(var("port")), Box::new(lit(10)));
    let version = Expr::Call(Builtin::VersionGe, vec![lit("12")]);
    let arch = Expr::Compare(CompareOp::Matches, Box::new(os("arch")), Box::new(lit("^x86")));
    Expr::And(Box::new(port), Box::new(Expr::And(Box::new(version), Box::new(arch))))
}

#[divan::bench]
fn specialise_a_condition(bencher: Bencher) {
    let (expr, stage) = (condition(), stage(1, false));
    bencher.bench(|| eval(black_box(&expr), &stage, &mut Budget::default()).expect("a residual"));
}

#[divan::bench]
fn finish_a_condition(bencher: Bencher) {
    let (expr, stage) = (condition(), stage(1, true));
    bencher.bench(|| finish(black_box(&expr), &stage, &mut Budget::default()).expect("a value"));
}

#[divan::bench(args = [10, 1000])]
fn specialise_a_file(bencher: Bencher, users: i64) {
    let (expr, stage) = (file(), stage(users, false));
    bencher.bench(|| eval(black_box(&expr), &stage, &mut Budget::default()).expect("a residual"));
}

#[divan::bench(args = [10, 1000])]
fn finish_a_file(bencher: Bencher, users: i64) {
    let (expr, stage) = (file(), stage(users, true));
    bencher.bench(|| finish(black_box(&expr), &stage, &mut Budget::default()).expect("a value"));
}

#[divan::bench]
fn print_a_thousand_floats(bencher: Bencher) {
    let format = lit("%.3f %v\n");
    let list = (0..1000).map(|n| Value::Float(ir::Finite::new(f64::from(n) / 7.0).expect("finite")));
    let printed = Expr::Call(Builtin::Printf, vec![format, Expr::Local(0), Expr::Local(0)]);
    let expr = Expr::Template(vec![Piece::Range {
        list: Expr::Const(Value::List(list.collect())),
        key: None,
        value: 0,
        body: vec![Piece::Emit(printed)],
        otherwise: vec![],
    }]);
    let stage = stage(1, true);
    bencher.bench(|| finish(black_box(&expr), &stage, &mut Budget::default()).expect("a value"));
}
