//! What is called total does not fail, and costs no more than was said, whatever its variables hold.
//!
//! Types, templates and values are read from tapes of numbers, zero being the plainest choice; proptest shrinks them.

use super::*;
use crate::diagnostic::Sink;
use crate::expr::{Scope, template};
use crate::schema::Stage;
use crate::types::Refinement;
use grammar::Span;
use ir::{Budget, Fact, Facts, Finite, Outcome, eval};
use proptest::prelude::*;
use std::collections::BTreeMap;

struct Tape<'a>(std::slice::Iter<'a, u16>);

impl Tape<'_> {
    fn pick(&mut self, choices: usize) -> usize {
        self.0.next().map_or(0, |n| usize::from(*n) % choices)
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.pick(of.len())].clone()
    }
}

fn a_type(tape: &mut Tape<'_>, depth: usize) -> Type {
    let plain = [
        Type::Str,
        Type::Int,
        Type::Bool,
        Type::Float,
        Type::Refined(Refinement::Port),
        Type::Refined(Refinement::Ip),
        Type::Refined(Refinement::Enum(vec!["a".into(), "<b>".into()])),
        Type::Mixed,
        Type::Any,
        Type::Secret,
        Type::Bytes,
    ];
    let inner = |tape: &mut Tape<'_>| Box::new(a_type(tape, depth + 1));
    match tape.pick(if depth < 3 { 8 } else { 4 }) {
        0..4 => tape.one(&plain),
        4 | 5 => Type::List(inner(tape)),
        6 => Type::Map(inner(tape)),
        _ => Type::Record([("name".into(), *inner(tape)), ("k".into(), *inner(tape))].into()),
    }
}

/// Texts that functions make longer among them.
fn a_text(tape: &mut Tape<'_>) -> Value {
    let piece =
        tape.one(&["", "a", "<", "\u{1}", "\"", "'", "&", "\u{feff}", "ΐ", "\n", "{{ x }}", ", ", "\0"]);
    Value::from(piece.repeat(tape.one(&[1, 1, 2, 7, 300])))
}

/// A value that the type admits.
fn a_value(tape: &mut Tape<'_>, ty: &Type) -> Value {
    let some = |tape: &mut Tape<'_>, ty: &Type| -> Vec<Value> {
        let count = tape.one(&[0, 1, 2, 3, 30]);
        // perhaps the tape is at its end
        (0..count).map(|_| if tape.pick(9) == 8 { Value::Null } else { a_value(tape, ty) }).collect()
    };
    match ty {
        Type::Bool => Value::Bool(tape.pick(2) == 1),
        Type::Int => Value::Int(tape.one(&[0, 1, -1, 31, i64::MIN, i64::MAX])),
        Type::Float => Value::Float(Finite::new(tape.one(&[0.0, -0.5, 1e21, f64::MIN, 5e-324])).unwrap()),
        Type::Refined(Refinement::Port) => Value::Int(80),
        Type::Refined(Refinement::Ip) => Value::from("192.0.2.1"),
        Type::Refined(Refinement::Enum(values)) => Value::Str(tape.one(values)),
        Type::Bytes => Value::Bytes([0xff, 0xfe].as_slice().into()),
        Type::Secret if tape.pick(2) == 1 => Value::Secret("p".into()),
        Type::List(ty) => Value::List(some(tape, ty)),
        Type::Map(ty) => {
            let items = some(tape, ty).into_iter().enumerate();
            Value::Map(
                items.map(|(n, v)| (Arc::from(["a", "<k>", "", "\n"][n % 4].repeat(n + 1)), v)).collect(),
            )
        }
        Type::Record(fields) => {
            let there: Vec<_> = fields.iter().filter(|_| tape.pick(4) < 3).collect();
            Value::Map(there.into_iter().map(|(k, ty)| (k.clone(), a_value(tape, ty))).collect())
        }
        Type::Mixed | Type::Any => {
            let ty = tape.one(&[Type::Str, Type::Int, Type::Bool, Type::List(Box::new(Type::Str))]);
            a_value(tape, &ty)
        }
        _ => a_text(tape),
    }
}

const VARIABLES: usize = 6;

/// Text of a template: well-formed, and often well-typed.
struct Writer<'a> {
    tape: Tape<'a>,
    depth: usize,
    locals: usize,
    dots: usize,
}

impl Writer<'_> {
    fn body(&mut self) -> String {
        let locals = self.locals;
        self.depth += 1;
        let count = if self.depth > 3 { 1 } else { 1 + self.tape.pick(3) };
        let text = (0..count).map(|_| self.piece()).collect();
        self.depth -= 1;
        self.locals = locals;
        text
    }

    fn piece(&mut self) -> String {
        match self.tape.pick(if self.depth > 3 { 5 } else { 9 }) {
            0..4 => format!("{{{{ {} }}}}", self.pipeline()),
            4 => "text <&> ".to_owned(),
            5 => {
                let condition = self.pipeline();
                format!("{{{{ if {condition} }}}}{}{{{{ else }}}}{}{{{{ end }}}}", self.body(), self.body())
            }
            6 => {
                let name = self.locals;
                let value = self.pipeline();
                self.locals += 1;
                format!("{{{{ $l{name} := {value} }}}}")
            }
            kind => {
                let value = self.pipeline();
                self.dots += 1;
                let body = self.body();
                self.dots -= 1;
                let other = self.body();
                let word = if kind == 7 { "range" } else { "with" };
                format!("{{{{ {word} {value} }}}}{body}{{{{ else }}}}{other}{{{{ end }}}}")
            }
        }
    }

    fn pipeline(&mut self) -> String {
        match self.tape.pick(4) {
            0 | 1 => self.operand(),
            2 => self.call(),
            _ => format!(
                "{} | {}",
                self.operand(),
                self.tape.one(&[
                    "upper",
                    "html",
                    "toJson",
                    "print",
                    "quote",
                    "default \"d\"",
                    "join \",\"",
                    "not"
                ])
            ),
        }
    }

    fn call(&mut self) -> String {
        let all: Vec<_> = schema().functions.values().filter(|f| f.in_template).collect();
        let proven = [
            "default", "and", "or", "not", "eq", "ne", "upper", "sha256", "quote", "js", "println", "toJson",
            "join",
        ];
        let f = match self.tape.pick(3) {
            0 => self.tape.one(&all),
            _ => &schema().functions[self.tape.one(&proven)],
        };
        let (least, most) = f.arity();
        let count = least + self.tape.pick(most.map_or(3, |most| most - least + 1));
        let args: String = (0..count).map(|_| format!(" {}", self.operand())).collect();
        format!("{}{args}", f.builtin.name())
    }

    fn operand(&mut self) -> String {
        match self.tape.pick(12) {
            0..5 => format!("$.Vars.v{}", self.tape.pick(VARIABLES)),
            5 => format!("$.Vars.v{}.{}", self.tape.pick(VARIABLES), self.tape.one(&["name", "k", "a"])),
            6 => {
                let traits: Vec<&str> = schema().traits.keys().map(|t| &**t).collect();
                format!("$.Traits.{}", self.tape.one(&traits))
            }
            7 => self.tape.one(&["$.Envoy.roles", "$.Envoy.environment", "$.Envoy.hostname"]).to_owned(),
            8 => self.tape.one(&["\"x<\"", "1", "true", "2.5", "\"\"", "nil"]).to_owned(),
            9 if self.dots > 0 => ".".to_owned(),
            10 if self.locals > 0 => format!("$l{}", self.tape.pick(self.locals)),
            _ if self.depth < 5 => {
                self.depth += 1;
                let call = format!("({})", self.call());
                self.depth -= 1;
                call
            }
            _ => "\"y\"".to_owned(),
        }
    }
}

struct World {
    vars: BTreeMap<Arc<str>, Value>,
    traits: BTreeMap<Arc<str>, Option<Value>>,
    roles: Value,
    /// Whether the host is known, or only the class.
    host: bool,
}

impl Facts for World {
    fn path(&self, root: Root, segments: &[Arc<str>]) -> Fact {
        let below =
            |value: &Value, rest: &[Arc<str>]| value.at(rest).cloned().map_or(Fact::Absent, Fact::Known);
        match root {
            Root::Vars => self.vars.get(&segments[0]).map_or(Fact::Absent, |v| below(v, &segments[1..])),
            Root::Envoy if &*segments[0] == "roles" => Fact::Known(self.roles.clone()),
            Root::Envoy if &*segments[0] == "environment" => Fact::Known(Value::from("e<".repeat(20))),
            _ if !self.host => Fact::NotYet,
            Root::Traits => match self.traits.get(segments.join(".").as_str()) {
                Some(Some(v)) => Fact::Known(v.clone()),
                _ => Fact::Absent,
            },
            _ => Fact::Known(Value::from("h".repeat(253))),
        }
    }

    fn secret(&self, _: &str) -> Fact {
        if self.host { Fact::Known(Value::from("hush<")) } else { Fact::NotYet }
    }

    fn ask(&self, _: Builtin, _: &[Value]) -> Fact {
        Fact::NotYet
    }
}

/// Variables of which some are set for other classes only.
fn some_types(tape: &mut Tape<'_>) -> VarTypes {
    (0..VARIABLES)
        .map(|n| {
            let ty = a_type(tape, 0);
            let ty = if tape.pick(6) == 5 { VarType::Elsewhere(ty) } else { VarType::Set(ty) };
            (format!("v{n}").into(), ty)
        })
        .collect()
}

fn a_world(tape: &mut Tape<'_>, types: &VarTypes) -> World {
    let mut vars = BTreeMap::new();
    for (name, ty) in types {
        let VarType::Set(ty) = ty else { continue };
        let value = (0..8).map(|_| a_value(tape, ty)).find(|v| is_small(v) && ty.admits(v));
        let fallback = || a_value(&mut Tape([].iter()), ty);
        vars.insert(name.clone(), value.unwrap_or_else(fallback));
    }
    let traits = schema().traits.iter().map(|(path, t)| {
        let there = !t.optional || tape.pick(2) == 0;
        (
            path.clone(),
            there.then(|| {
                (0..8).map(|_| a_value(tape, &t.ty)).find(is_small).unwrap_or_else(|| Value::from(""))
            }),
        )
    });
    let traits = traits.collect();
    let roles = Value::List(vec![Value::from("r".repeat(40)); tape.one(&[0, 1, 3, 1000])]);
    World { vars, traits, roles, host: tape.pick(2) == 1 }
}

/// The template, when the compiler takes it.
fn typed(text: &str, types: &VarTypes) -> Option<Expr> {
    let (tree, errors) = grammar::template::parse(text);
    if !errors.is_empty() {
        return None;
    }
    let scope =
        Scope { vars: types, module: None, item: None, stage: Stage::Converge, place: "x", changed: false };
    let mut sink = Sink::new("t".into());
    let lowered = template::lower(&tree, Span::new(0, 0), &|s| s, &scope, &mut sink);
    sink.found.is_empty().then_some(lowered.expr)
}

/// What broke the promise, if anything; `None` when nothing was promised.
fn broken(text: &str, types: &VarTypes, world: &World) -> Option<Option<String>> {
    let expr = typed(text, types)?;
    let bound = Proof { types, slots: Vec::new() }.expr(&expr)?;
    let mut budget = Budget { steps: bound.steps, text: bound.text };
    Some(match eval(&expr, world, &mut budget) {
        Ok(Outcome::Known(Value::Str(_)) | Outcome::Residual(_)) => None,
        other => Some(format!("{text}\n{bound:?} {other:?}\nwith {:?}", world.vars)),
    })
}

fn tape(length: usize) -> impl Strategy<Value = Vec<u16>> {
    proptest::collection::vec(any::<u16>(), 0..length)
}

fn tapes() -> impl Strategy<Value = (Vec<u16>, Vec<u16>, Vec<u16>)> {
    (tape(60), tape(80), tape(250))
}

fn case(types: &[u16], text: &[u16], world: &[u16]) -> (VarTypes, String, World) {
    let types = some_types(&mut Tape(types.iter()));
    let text = Writer { tape: Tape(text.iter()), depth: 0, locals: 0, dots: 0 }.body();
    let world = a_world(&mut Tape(world.iter()), &types);
    (types, text, world)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_total_has_a_value_within_its_bound((types, text, world) in tapes()) {
        let (types, text, world) = case(&types, &text, &world);
        if let Some(Some(broken)) = broken(&text, &types, &world) {
            prop_assert!(false, "{broken}");
        }
    }
}

/// The property can fail: it is broken by a prover that takes every template for total, and by one whose bounds are a part of
/// ours.
#[test]
fn a_careless_proof_would_be_caught() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut careless, mut tight) = (0, 0);
    for _ in 0..3000 {
        let (types, text, world) = tapes().new_tree(&mut runner).unwrap().current();
        let (types, text, world) = case(&types, &text, &world);
        let Some(expr) = typed(&text, &types) else { continue };
        let bound = Proof { types: &types, slots: Vec::new() }.expr(&expr);
        let mut budget = match bound {
            Some(bound) => Budget { steps: bound.steps / 8, text: bound.text / 64 },
            None => Budget::default(),
        };
        let failed = eval(&expr, &world, &mut budget).is_err();
        careless += usize::from(failed && bound.is_none());
        tight += usize::from(failed && bound.is_some());
    }
    assert!(careless > 20 && tight > 20, "{careless} {tight}");
}

/// How often the property above says anything.
#[test]
fn enough_templates_are_total_and_enough_are_not() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut total, mut open, mut functions) = (0, 0, BTreeSet::new());
    for _ in 0..3000 {
        let (types, text, world) = tapes().new_tree(&mut runner).unwrap().current();
        let (types, text, world) = case(&types, &text, &world);
        match broken(&text, &types, &world) {
            Some(_) => {
                total += 1;
                typed(&text, &types).unwrap().walk(&mut |e| {
                    if let Expr::Call(f, _) = e {
                        functions.insert(*f);
                    }
                });
            }
            None => open += usize::from(typed(&text, &types).is_some()),
        }
    }
    assert!(total > 400 && open > 200 && functions.len() > 18, "{total} {open} {functions:?}");
}
