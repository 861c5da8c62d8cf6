//! Our functions against Go's: `go/cases.json` holds what Go gave (see `go/main.go`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic")]

#[path = "go/value.rs"]
mod go;

use go::value;
use ir::{Budget, Builtin, Expr, Fact, Facts, Outcome, Piece, Root, Value, eval};
use serde_json::Value as Json;
use std::sync::Arc;

struct Nothing;

impl Facts for Nothing {
    fn path(&self, _: Root, _: &[Arc<str>]) -> Fact {
        Fact::NotYet
    }

    fn secret(&self, _: &str) -> Fact {
        Fact::NotYet
    }

    fn ask(&self, _: Builtin, _: &[Value]) -> Fact {
        Fact::NotYet
    }
}

fn ours(function: &str, args: Vec<Expr>) -> Result<String, String> {
    let emitted = match Builtin::from_name(function) {
        Some(f) => Expr::Call(f, args),
        None => args.into_iter().next().unwrap(),
    };
    let template = Expr::Template(vec![Piece::Emit(emitted)]);
    match eval(&template, &Nothing, &mut Budget::default()) {
        Ok(Outcome::Known(Value::Str(s))) => Ok(s.to_string()),
        Ok(other) => Err(format!("{other:?}")),
        Err(e) => Err(e.to_string()),
    }
}

#[test]
fn every_case_comes_out_as_in_go() {
    let cases: Vec<Json> = serde_json::from_str(include_str!("go/cases.json")).unwrap();
    let mut wrong = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for case in &cases {
        let function = case["f"].as_str().unwrap();
        seen.insert(function);
        let args = case["args"].as_array().unwrap();
        let got = ours(function, args.iter().map(|a| Expr::Const(value(a))).collect());
        let right = match (&got, case.get("fails")) {
            (Err(_), Some(_)) => true,
            (Ok(text), None) => text == case["out"].as_str().unwrap(),
            _ => false,
        };
        if !right {
            wrong.push(format!("{case}\n    {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let untried: Vec<_> = Builtin::ALL
        .iter()
        .filter(|f| f.kind() == ir::builtin::Kind::Pure)
        .filter(|f| !seen.contains(f.name()) && !matches!(f, Builtin::Default | Builtin::ToYaml))
        .collect();
    assert!(untried.is_empty(), "no case for {untried:?}");
}
