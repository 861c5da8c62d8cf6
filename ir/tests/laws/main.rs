//! The laws of the evaluator, on random well-typed expressions and random worlds.
//!
//! A failing case is shrunk by its tape: see `generate`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic")]

mod generate;
mod world;

use generate::Generator;
use ir::{Budget, EvalError, EvalErrorKind, Expr, Outcome, Value, eval};
use proptest::prelude::*;
use world::{Stage, World};

/// Knows every fact.
const ALL: u64 = u64::MAX;

fn run(expr: &Expr, stage: &Stage) -> Result<Outcome, EvalError> {
    eval(expr, stage, &mut Budget::default())
}

/// The outcome of a later stage, given what an earlier one left.
fn go_on(earlier: Result<Outcome, EvalError>, stage: &Stage) -> Result<Outcome, EvalError> {
    match earlier? {
        Outcome::Known(value) => run(&Expr::Const(value), stage),
        Outcome::Residual(expr) => run(&expr, stage),
    }
}

/// Where several parts fail, the stages may meet them in another order; everything else is the same.
fn same(a: &Result<Outcome, EvalError>, b: &Result<Outcome, EvalError>) -> bool {
    match (a, b) {
        (Ok(a), Ok(b)) => a == b,
        (Err(_), Err(_)) => true,
        _ => false,
    }
}

fn tape() -> impl Strategy<Value = Vec<u16>> {
    proptest::collection::vec(any::<u16>(), 0..250)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_stages_give_what_one_gives(tape in tape(), world in World::any(), early: u64, middle: u64) {
        let expr = Generator::new(&tape).any();
        let (first, second, last) =
            (world.stage(early), world.stage(early | middle), world.stage(ALL));
        let at_once = run(&expr, &last);
        let in_two = go_on(run(&expr, &first), &last);
        prop_assert!(same(&at_once, &in_two), "{expr:?}\nat once {at_once:?}\nin two  {in_two:?}");
        let in_three = go_on(go_on(run(&expr, &first), &second), &last);
        prop_assert!(same(&at_once, &in_three), "{expr:?}\nat once {at_once:?}\nin three {in_three:?}");
    }

    #[test]
    fn a_residual_mentions_only_what_is_not_known_yet(tape in tape(), world in World::any(), early: u64) {
        let expr = Generator::new(&tape).any();
        let stage = world.stage(early);
        if let Ok(Outcome::Residual(residual)) = run(&expr, &stage) {
            let mut known = Vec::new();
            residual.walk(&mut |e| known.extend(stage.knows(e)));
            prop_assert!(known.is_empty(), "{known:?} in {residual:?}\nof {expr:?}");
        }
    }

    #[test]
    fn only_absence_and_the_complaint_of_a_function_fail(tape in tape(), world in World::any(), early: u64) {
        let expr = Generator::new(&tape).any();
        for stage in [world.stage(early), world.stage(ALL)] {
            match run(&expr, &stage) {
                Ok(_) => {}
                Err(EvalError { kind: EvalErrorKind::Absent(_) | EvalErrorKind::Call { .. }, .. }) => {}
                Err(e) => prop_assert!(false, "{e:?} of {expr:?}"),
            }
        }
    }

    #[test]
    fn the_order_in_which_facts_become_known_does_not_matter(
        tape in tape(), world in World::any(), one: u64, other: u64
    ) {
        let expr = Generator::new(&tape).any();
        // Neither stage knows what the other does.
        let (a, b, last) = (world.stage(one & !other), world.stage(other & !one), world.stage(ALL));
        let ab = go_on(run(&expr, &a), &b);
        let ba = go_on(run(&expr, &b), &a);
        // What is left in between may differ: a stage keeps what it cannot ask yet, or does not know to be absent, and a
        // secret stands for itself until a stage that knows it opens it.
        if let (Ok(Outcome::Known(x)), Ok(Outcome::Known(y))) = (&ab, &ba)
            && !x.holds_secret()
            && !y.holds_secret()
        {
            prop_assert_eq!(x, y);
        }
        let (ab, ba) = (go_on(ab, &last), go_on(ba, &last));
        prop_assert!(same(&ab, &ba), "{expr:?}\none way {ab:?}\nother way {ba:?}");
        prop_assert!(same(&ab, &run(&expr, &last)));
    }

    #[test]
    fn the_same_gives_the_same(tape in tape(), world in World::any(), early: u64) {
        let expr = Generator::new(&tape).any();
        let stage = world.stage(early);
        let (mut first, mut second) = (Budget::default(), Budget::default());
        prop_assert_eq!(eval(&expr, &stage, &mut first), eval(&expr.clone(), &stage, &mut second));
        prop_assert_eq!((first.steps, first.text), (second.steps, second.text));
    }

    #[test]
    fn with_all_facts_nothing_is_left(tape in tape(), world in World::any()) {
        let expr = Generator::new(&tape).any();
        match run(&expr, &world.stage(ALL)) {
            Ok(Outcome::Known(v)) => prop_assert!(!v.holds_secret()),
            Ok(Outcome::Residual(r)) => prop_assert!(false, "{r:?} of {expr:?}"),
            Err(e) => prop_assert!(at(&expr, &e.trail), "{:?} does not lead into {expr:?}", e.trail),
        }
    }
}

/// Whether a trail leads to a part of the expression.
fn at(expr: &Expr, trail: &[u32]) -> bool {
    let Some((first, rest)) = trail.split_first() else { return true };
    let first = *first as usize;
    let children: Vec<&Expr> = match expr {
        Expr::Template(pieces) => return pieces.get(first).is_some_and(|p| at_piece(p, rest)),
        Expr::Field(e, _) | Expr::Not(e) => vec![e],
        Expr::List(l) | Expr::Call(_, l) => l.iter().collect(),
        Expr::Map(entries) => entries.iter().map(|(_, e)| e).collect(),
        Expr::And(a, b) | Expr::Or(a, b) | Expr::Compare(_, a, b) => vec![a, b],
        Expr::Const(_) | Expr::Path(..) | Expr::Local(_) => vec![],
    };
    children.get(first).is_some_and(|e| at(e, rest))
}

fn at_piece(piece: &ir::Piece, trail: &[u32]) -> bool {
    use ir::Piece;
    let Some((first, rest)) = trail.split_first() else { return true };
    let (own, bodies) = match piece {
        Piece::Text(_) | Piece::Break | Piece::Continue => return false,
        Piece::Emit(e) | Piece::Let(_, e) | Piece::Set(_, e) => (e, [&[][..], &[]]),
        Piece::If { condition, then, otherwise } => (condition, [&then[..], otherwise]),
        Piece::Range { list, body, otherwise, .. } => (list, [&body[..], otherwise]),
        Piece::With { value, body, otherwise, .. } => (value, [&body[..], otherwise]),
    };
    match *first as usize {
        0 => at(own, rest),
        n => bodies.into_iter().flatten().nth(n - 1).is_some_and(|p| at_piece(p, rest)),
    }
}

/// How often the generator makes what is worth testing.
#[test]
fn the_generator_makes_expressions_of_all_kinds() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut residuals, mut failures, mut known, mut kinds) = (0, 0, 0, std::collections::BTreeSet::new());
    for _ in 0..2000 {
        let tape = tape().new_tree(&mut runner).unwrap().current();
        let world = World::any().new_tree(&mut runner).unwrap().current();
        let expr = Generator::new(&tape).any();
        let text = format!("{expr:?}");
        for kind in [
            "Range", "With", "If", "Let", "Set", "Break", "Continue", "Default", "Secret", "Compare", "Local",
        ] {
            if text.contains(kind) {
                kinds.insert(kind);
            }
        }
        match run(&expr, &world.stage(0x5555_5555)) {
            Ok(Outcome::Known(Value::Null)) => panic!("no expression is null"),
            Ok(Outcome::Known(_)) => known += 1,
            Ok(Outcome::Residual(_)) => residuals += 1,
            Err(_) => failures += 1,
        }
    }
    assert_eq!(kinds.len(), 11, "{kinds:?}");
    assert!(residuals > 300 && known > 300 && failures > 50, "{residuals} {known} {failures}");
}
