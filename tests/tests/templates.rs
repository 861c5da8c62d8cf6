//! Whole templates against Go: `ir/tests/go/templates.json` holds what Go gave (see `templates.go` there).
//!
//! A template gives what Go gives, or is refused. Those that Go takes and the language refuses stand in
//! `templates/refused.txt` with the reason, those for which it is the other way round in `templates/lenient.txt`.
//! `VIGO_BLESS=1` writes both anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic")]

#[path = "../../ir/tests/go/value.rs"]
mod go;

use compiler::diagnostic::{Diagnostic, Severity, Sink};
use compiler::expr::{Scope, VarType, VarTypes, template};
use compiler::schema::Stage;
use compiler::types::Type;
use go::value;
use grammar::Span;
use ir::{Budget, Builtin, EvalError, Expr, Fact, Facts, Outcome, Root, Value, eval};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// One set of data, of which a stage knows some roots and variables.
struct Known<'a> {
    data: &'a Value,
    knows: &'a dyn Fn(Root, &str) -> bool,
}

impl Facts for Known<'_> {
    fn path(&self, root: Root, segments: &[Arc<str>]) -> Fact {
        if !(self.knows)(root, segments.first().unwrap()) {
            return Fact::NotYet;
        }
        let root = match root {
            Root::Vars => "Vars",
            Root::Traits => "Traits",
            Root::Envoy => "Envoy",
            Root::Item => return Fact::Absent,
        };
        let path: Vec<Arc<str>> = [Arc::from(root)].into_iter().chain(segments.iter().cloned()).collect();
        self.data.at(&path).cloned().map_or(Fact::Absent, Fact::Known)
    }

    fn secret(&self, _: &str) -> Fact {
        Fact::NotYet
    }

    fn ask(&self, _: Builtin, _: &[Value]) -> Fact {
        Fact::NotYet
    }
}

type Knows = dyn Fn(Root, &str) -> bool;

/// What an earlier stage may know.
const STAGES: &[(&str, &Knows)] = &[
    ("nothing", &|_, _| false),
    ("variables", &|root, _| root == Root::Vars),
    ("what is not a variable", &|root, _| root != Root::Vars),
    ("some variables", &|root, name| root == Root::Vars && name.len() % 2 == 0),
    ("scalars", &|_, name| !matches!(name, "strs" | "nums" | "recs" | "lists" | "env" | "counts" | "mixed")),
];

fn run(expr: &Expr, data: &Value, knows: &Knows) -> Result<Outcome, EvalError> {
    eval(expr, &Known { data, knows }, &mut Budget::default())
}

fn finished(outcome: Result<Outcome, EvalError>) -> Result<Arc<str>, String> {
    match outcome {
        Ok(Outcome::Known(Value::Str(text))) => Ok(text),
        Ok(other) => panic!("a template gave {other:?}"),
        Err(e) => Err(e.to_string()),
    }
}

/// At once; and in two stages, which have to give the same.
fn output(text: &str, expr: &Expr, data: &Value) -> Result<Arc<str>, String> {
    let at_once = finished(run(expr, data, &|_, _| true));
    for (name, knows) in STAGES {
        let in_two = run(expr, data, knows).and_then(|outcome| match outcome {
            Outcome::Known(value) => Ok(Outcome::Known(value)),
            Outcome::Residual(rest) => run(&rest, data, &|_, _| true),
        });
        let in_two = finished(in_two);
        let same = at_once == in_two || at_once.is_err() && in_two.is_err();
        assert!(same, "{text:?}\nat once {at_once:?}\nwhere {name} is known first {in_two:?}");
    }
    at_once
}

fn lowered(text: &str, types: &VarTypes) -> Result<Expr, Box<Diagnostic>> {
    let scope = Scope {
        vars: types,
        module: None,
        item: None,
        stage: Stage::Converge,
        place: "a template",
        changed: false,
    };
    let mut sink = Sink::new("t".into());
    let (tree, errors) = grammar::template::parse(text);
    let file = sink.file.clone();
    sink.found.extend(errors.into_iter().map(|e| Diagnostic::from_syntax(&file, e, &|s| s)));
    let whole = Span::new(0, u32::try_from(text.len()).unwrap());
    let lowered = template::lower(&tree, whole, &|s| s, &scope, &mut sink);
    match sink.found.into_iter().find(|d| d.severity == Severity::Error) {
        Some(finding) => Err(Box::new(finding)),
        None => Ok(lowered.expr),
    }
}

/// What the data of `templates.json` says of a variable.
fn types(document: &Json, data: &[Value]) -> VarTypes {
    let mut types: BTreeMap<Arc<str>, Type> = BTreeMap::new();
    for set in data {
        let Some(Value::Map(vars)) = set.at(&["Vars".into()]) else { panic!("no variables") };
        for (name, value) in vars {
            let ty = types.remove(name).unwrap_or(Type::Any).join(Type::of(value));
            types.insert(name.clone(), ty);
        }
    }
    for (name, ty) in document["types"].as_object().unwrap() {
        types.insert(name.as_str().into(), Type::parse(ty.as_str().unwrap()).unwrap());
    }
    types.into_iter().map(|(name, ty)| (name, VarType::Set(ty))).collect()
}

#[test]
fn whole_templates_come_out_as_in_go_or_are_refused() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(here.join("../ir/tests/go/templates.json")).unwrap();
    let document: Json = serde_json::from_str(&document).unwrap();
    let data: Vec<Value> = document["data"].as_array().unwrap().iter().map(value).collect();
    let types = types(&document, &data);
    let (mut wrong, mut refused, mut lenient, mut equal) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for case in document["cases"].as_array().unwrap() {
        let text = case["t"].as_str().unwrap();
        let outputs = case["out"].as_array().unwrap();
        let expr = match lowered(text, &types) {
            Ok(expr) => expr,
            Err(finding) => {
                if outputs.iter().any(|o| !o.is_null()) {
                    refused.push((finding.code.to_owned(), finding.message, text));
                }
                continue;
            }
        };
        for (n, data) in data.iter().enumerate() {
            let go = outputs.get(n).unwrap_or(&outputs[0]).as_str();
            match (output(text, &expr, data), go) {
                (Ok(ours), Some(go)) if *ours == *go => equal += 1,
                (Ok(ours), Some(go)) => {
                    wrong.push(format!("{text:?} with data {n}\n    ours {ours:?}\n    Go   {go:?}"));
                }
                (Err(_), None) => {}
                (Err(why), Some(_)) => refused.push((format!("evaluation-failed with data {n}"), why, text)),
                (Ok(ours), None) => lenient.push((format!("data {n}"), format!("{ours:?}"), text)),
            }
        }
    }
    let stale = [("refused", listed(refused)), ("lenient", listed(lenient))]
        .map(|(name, text)| held(here, name, &text));
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(equal > 8000, "only {equal} were compared");
    assert!(
        stale.iter().all(Option::is_none),
        "after reading them: VIGO_BLESS=1\n{}",
        stale.into_iter().flatten().collect::<String>()
    );
}

/// By the first word, in order.
fn listed(mut found: Vec<(String, String, &str)>) -> String {
    found.sort();
    found.dedup();
    let (mut out, mut heading) = (String::new(), String::new());
    for (under, why, text) in found {
        if under != heading {
            let _ = writeln!(out, "{}{under}", if heading.is_empty() { "" } else { "\n" });
            heading = under;
        }
        let _ = writeln!(out, "  {text:?}\n      {why}");
    }
    out
}

/// Lines that are in one of a committed file and `text`, and not in the other.
fn held(here: &Path, name: &str, text: &str) -> Option<String> {
    let path = here.join(format!("tests/templates/{name}.txt"));
    if std::env::var_os("VIGO_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    let lines = |of: &str, other: &str, mark: &str| -> String {
        of.lines()
            .filter(|l| !other.lines().any(|o| o == *l))
            .map(|l| format!("{name}.txt: {mark} {l}\n"))
            .collect()
    };
    (before != text).then(|| lines(&before, text, "gone") + &lines(text, &before, "new"))
}
