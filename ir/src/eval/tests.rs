use super::*;
use crate::expr::{CompareOp, Piece, Root};
use crate::facts::Fact;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Facts by name (`traits.a.b`, `secret:p`, a function's name); what is not listed is not known yet.
struct Known(BTreeMap<String, Fact>);

impl Known {
    fn get(&self, name: &str) -> Fact {
        self.0.get(name).cloned().unwrap_or(Fact::NotYet)
    }
}

impl Facts for Known {
    fn path(&self, root: Root, segments: &[Arc<str>]) -> Fact {
        self.get(&machine::path_name(root, segments))
    }

    fn secret(&self, path: &str) -> Fact {
        self.get(&format!("secret:{path}"))
    }

    fn ask(&self, function: Builtin, _args: &[Value]) -> Fact {
        self.get(function.name())
    }
}

fn facts<const N: usize>(known: [(&str, Fact); N]) -> Known {
    Known(known.into_iter().map(|(n, f)| (n.to_owned(), f)).collect())
}

fn is(value: impl Into<Value>) -> Fact {
    Fact::Known(value.into())
}

fn list<const N: usize>(items: [&str; N]) -> Value {
    Value::List(items.into_iter().map(Value::from).collect())
}

fn text(t: &str) -> Piece {
    Piece::Text(t.into())
}

fn lit(value: impl Into<Value>) -> Expr {
    Expr::Const(value.into())
}

/// `traits.<name>`
fn t(name: &str) -> Expr {
    Expr::path(Root::Traits, &[name])
}

fn call<const N: usize>(f: Builtin, args: [Expr; N]) -> Expr {
    Expr::Call(f, args.into())
}

fn and(l: Expr, r: Expr) -> Expr {
    Expr::And(Box::new(l), Box::new(r))
}

fn compare(op: CompareOp, l: Expr, r: Expr) -> Expr {
    Expr::Compare(op, Box::new(l), Box::new(r))
}

fn when<const A: usize, const B: usize>(condition: Expr, then: [Piece; A], otherwise: [Piece; B]) -> Piece {
    Piece::If { condition, then: then.into(), otherwise: otherwise.into() }
}

fn range<const A: usize>(list: Expr, value: u32, body: [Piece; A]) -> Piece {
    Piece::Range { list, key: None, value, body: body.into(), otherwise: vec![text("none")] }
}

fn template<const N: usize>(pieces: [Piece; N]) -> Expr {
    Expr::Template(pieces.into())
}

fn run(expr: &Expr, facts: &Known) -> Result<Outcome, EvalError> {
    eval(expr, facts, &mut Budget::default())
}

#[track_caller]
fn gives(expr: &Expr, facts: &Known, value: impl Into<Value>) {
    assert_eq!(run(expr, facts), Ok(Outcome::Known(value.into())));
}

#[track_caller]
fn leaves(expr: &Expr, facts: &Known, residual: Expr) {
    assert_eq!(run(expr, facts), Ok(Outcome::Residual(residual)));
}

#[track_caller]
fn fails(expr: &Expr, facts: &Known, kind: EvalErrorKind, trail: &[u32]) {
    assert_eq!(run(expr, facts), Err(EvalError { kind, trail: trail.to_vec() }));
}

fn absent(name: &str) -> EvalErrorKind {
    EvalErrorKind::Absent(name.into())
}

#[test]
fn only_the_right_side_of_an_undecided_and_may_go() {
    let f = facts([("traits.yes", is(true)), ("traits.no", is(false)), ("traits.gone", Fact::Absent)]);
    gives(&and(t("no"), t("gone")), &f, false);
    leaves(&and(t("later"), t("yes")), &f, t("later"));
    leaves(&and(t("later"), t("no")), &f, and(t("later"), lit(false)));
    leaves(&and(t("yes"), t("later")), &f, t("later"));
    leaves(&and(t("later"), t("gone")), &f, and(t("later"), t("gone")));
    fails(&and(t("yes"), t("gone")), &f, absent("traits.gone"), &[1]);
    let partly = and(t("later"), compare(CompareOp::Eq, t("gone"), t("yes")));
    leaves(&partly, &f, and(t("later"), compare(CompareOp::Eq, t("gone"), lit(true))));
}

#[test]
fn default_excuses_what_it_is_directly_given() {
    let f = facts([
        ("traits.gone", Fact::Absent),
        ("traits.null", Fact::Known(Value::Null)),
        ("traits.empty", is("")),
        ("traits.zero", is(0)),
        ("traits.list", Fact::Known(list(["a"]))),
    ]);
    let default = |v| call(Builtin::Default, [lit("d"), v]);
    for name in ["gone", "null", "empty"] {
        gives(&default(t(name)), &f, "d");
    }
    gives(&default(t("zero")), &f, 0);
    gives(&default(call(Builtin::Index, [t("list"), lit(0)])), &f, "a");
    gives(&default(call(Builtin::Index, [t("list"), lit(1)])), &f, "d");
    gives(&default(Expr::Field(Box::new(t("gone")), "x".into())), &f, "d");
    fails(&default(call(Builtin::Upper, [t("gone")])), &f, absent("traits.gone"), &[1, 0]);
    leaves(&default(t("later")), &f, default(t("later")));
    // As long as the list may be missing, a key that is missing says nothing.
    let index = default(call(Builtin::Index, [t("later"), t("gone")]));
    leaves(&index, &f, index.clone());
    fails(&default(call(Builtin::Index, [t("list"), t("gone")])), &f, absent("traits.gone"), &[1, 1]);
    // The path that `or` leaves over is not excused: it was not, before.
    let or = default(call(Builtin::Or, [t("empty"), t("later")]));
    leaves(&or, &f, default(call(Builtin::Or, [t("later")])));
    fails(&default(call(Builtin::Or, [t("empty"), t("gone")])), &f, absent("traits.gone"), &[1, 1]);
}

#[test]
fn a_secret_keeps_its_place_until_its_text_is_known() {
    let secret = || Expr::Const(Value::Secret("p".into()));
    let printed = template([text("pw="), Piece::Emit(secret())]);
    let nothing = facts([]);
    gives(&secret(), &nothing, Value::Secret("p".into()));
    leaves(&printed, &nothing, printed.clone());
    leaves(&call(Builtin::Quote, [secret()]), &nothing, call(Builtin::Quote, [secret()]));
    let agent = facts([("secret:p", is("s3"))]);
    gives(&secret(), &agent, "s3");
    gives(&printed, &agent, "pw=s3");
    fails(&printed, &facts([("secret:p", Fact::Absent)]), absent("secret:p"), &[1, 0]);
    let open = finish(&printed, &nothing, &mut Budget::default());
    assert_eq!(open, Err(EvalErrorKind::NotYet("secret:p".into()).into()));
}

#[test]
fn traits_decide_functions_of_traits() {
    let f = facts([
        ("traits.os.family", is("debian")),
        ("traits.os.version", is("12.4")),
        ("traits.container.inside", is(false)),
        ("traits.a.b", Fact::Known(Value::Null)),
        ("traits.a.c", Fact::Absent),
    ]);
    gives(&call(Builtin::OsFamily, [lit("rhel"), lit("debian")]), &f, true);
    gives(&call(Builtin::OsFamily, [lit("rhel")]), &f, false);
    gives(&call(Builtin::VersionGe, [lit("12.10")]), &f, false);
    gives(&call(Builtin::VersionLt, [lit("1.9"), lit("1.10")]), &f, true);
    gives(&call(Builtin::IsContainer, []), &f, false);
    gives(&call(Builtin::HasTrait, [lit("a.b")]), &f, false);
    gives(&call(Builtin::HasTrait, [lit("a.c")]), &f, false);
    leaves(&call(Builtin::HasTrait, [lit("a.d")]), &f, call(Builtin::HasTrait, [lit("a.d")]));
    leaves(&call(Builtin::Arch, [lit("arm64")]), &f, call(Builtin::Arch, [lit("arm64")]));
}

#[test]
fn a_known_list_is_unrolled_and_a_known_condition_is_gone() {
    let f = facts([("traits.l", Fact::Known(list(["a", "b", "c"]))), ("traits.none", Fact::Known(list([])))]);
    let is_b = || call(Builtin::Eq, [Expr::Local(0), lit("b")]);
    let item = || Piece::Emit(Expr::Local(0));
    gives(&template([range(t("l"), 0, [when(is_b(), [Piece::Continue], []), item()])]), &f, "ac");
    gives(&template([range(t("l"), 0, [when(is_b(), [Piece::Break], []), item()])]), &f, "a");
    gives(&template([range(t("none"), 0, [item()])]), &f, "none");
    leaves(
        &template([range(t("l"), 0, [item(), when(t("later"), [item()], [text(".")])])]),
        &f,
        template([
            text("a"),
            when(t("later"), [text("a")], [text(".")]),
            text("b"),
            when(t("later"), [text("b")], [text(".")]),
            text("c"),
            when(t("later"), [text("c")], [text(".")]),
        ]),
    );
}

#[test]
fn a_loop_that_may_be_left_is_kept() {
    let f = facts([("traits.l", Fact::Known(list(["a", "b"]))), ("traits.gone", Fact::Absent)]);
    let body = || {
        [
            Piece::Set(7, call(Builtin::Print, [Expr::Local(7), lit("x")])),
            when(t("later"), [Piece::Break], []),
            Piece::Emit(t("gone")),
        ]
    };
    let kept = Piece::Range {
        list: Expr::Const(list(["a", "b"])),
        key: None,
        value: 0,
        body: body().into(),
        otherwise: vec![],
    };
    leaves(
        &template([Piece::Let(7, lit("")), range(t("l"), 0, body()), Piece::Emit(Expr::Local(7))]),
        &f,
        template([Piece::Let(7, lit("")), kept, Piece::Emit(Expr::Local(7))]),
    );
}

#[test]
fn a_variable_is_lifted_before_a_condition_that_may_change_it() {
    let f = facts([("traits.yes", is(true))]);
    let set = |v: &str| Piece::Set(1, lit(v));
    leaves(
        &template([
            Piece::Let(1, lit("a")),
            when(t("yes"), [set("b")], []),
            Piece::Emit(Expr::Local(1)),
            when(t("later"), [set("c")], []),
            Piece::Emit(Expr::Local(1)),
        ]),
        &f,
        template([
            text("b"),
            Piece::Let(1, lit("b")),
            when(t("later"), [set("c")], []),
            Piece::Emit(Expr::Local(1)),
        ]),
    );
}

#[test]
fn errors_lead_to_the_failing_part() {
    let f = facts([("traits.gone", Fact::Absent), ("traits.yes", is(true))]);
    let e = template([text("a"), when(t("yes"), [text("b"), Piece::Emit(t("gone"))], [])]);
    fails(&e, &f, absent("traits.gone"), &[1, 2, 0]);
    let e = template([when(lit(false), [text("x")], [Piece::Emit(t("gone"))])]);
    fails(&e, &f, absent("traits.gone"), &[0, 2, 0]);
    let bad = compare(CompareOp::Matches, lit("a"), lit("("));
    assert!(matches!(run(&bad, &f), Err(EvalError { kind: EvalErrorKind::Regex(_), .. })));
}

#[test]
fn null_prints_as_go_prints_it() {
    let f = facts([("traits.n", Fact::Known(Value::Null))]);
    gives(&template([Piece::Emit(t("n"))]), &f, "<no value>");
    gives(&template([Piece::Emit(Expr::List(vec![t("n"), lit(1)]))]), &f, "[<nil> 1]");
}

#[test]
fn the_budget_ends_every_evaluation() {
    let items = Value::List(vec![Value::Int(0); 3000]);
    let inner = range(lit(items.clone()), 1, [text("x")]);
    let e = template([range(lit(items), 0, [inner])]);
    let too_many = eval(&e, &facts([]), &mut Budget { steps: 100_000, text: 1 << 30 });
    assert_eq!(too_many.unwrap_err().kind, EvalErrorKind::TooManySteps);
    let too_long = eval(&e, &facts([]), &mut Budget { steps: 1 << 40, text: 10_000 });
    assert_eq!(too_long.unwrap_err().kind, EvalErrorKind::TooMuchText);
    let wide = call(Builtin::Indent, [lit(i64::MAX), lit("x")]);
    assert_eq!(run(&wide, &facts([])).unwrap_err().kind, EvalErrorKind::TooMuchText);
    // Not even where it may not be reached.
    assert_eq!(run(&and(t("later"), wide), &facts([])).unwrap_err().kind, EvalErrorKind::TooMuchText);
}

/// Test threads have 2 MiB, and the frames of a debug build are large.
#[test]
fn the_deepest_expressions_the_wire_takes_fit_a_thread() {
    let takes = |e: &Expr| {
        let when = Some(e.clone());
        let resource = crate::Resource {
            name: "r".into(),
            kind: "file".into(),
            when,
            attributes: vec![],
            depends_on: vec![],
            notify: vec![],
        };
        let module = crate::Module { name: "m".into(), depends_on: vec![], resources: vec![resource] };
        crate::wire::encode_module(&module).is_ok()
    };
    let nests: [&dyn Fn(Expr) -> Expr; 5] = [
        &|e| template([when(t("later"), [Piece::Emit(e)], [])]),
        &|e| match e {
            Expr::Template(inner) => {
                template([Piece::If { condition: t("later"), then: inner, otherwise: vec![] }])
            }
            e => template([Piece::Emit(e)]),
        },
        &|e| match e {
            Expr::Template(inner) => template([Piece::Range {
                list: Expr::Const(list(["a"])),
                key: None,
                value: 0,
                body: inner,
                otherwise: vec![],
            }]),
            e => template([Piece::Emit(e)]),
        },
        &|e| call(Builtin::Default, [e.clone(), t("later")]),
        &|e| Expr::Not(Box::new(and(t("later"), call(Builtin::Index, [e, t("later")])))),
    ];
    for nest in nests {
        let mut levels = vec![t("later")];
        while let Some(inner) = levels.last()
            && levels.len() < 2 * crate::wire::MAX_DEPTH as usize
        {
            levels.push(nest(inner.clone()));
        }
        let Some(deepest) = levels[..levels.partition_point(takes)].last() else { panic!("none is taken") };
        assert!(matches!(run(deepest, &facts([])), Ok(Outcome::Residual(_))));
    }
}
