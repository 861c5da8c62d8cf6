//! A run that looks ahead against one that does not.

use crate::clock::FixedClock;
use crate::converge::tests::{exec, module, tells, when};
use crate::converge::{Converged, Forgetful, RunOptions, Work, take_all};
use crate::facts::{HostFacts, NoSecrets};
use crate::observe::Silent;
use crate::platform::Platform;
use crate::resource::{Context, Managed, Units};
use crate::root::Root;
use ir::{Builtin, Expr, Module, Resource, Target, Value};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

/// One resource of a plan, by numbers.
#[derive(Clone, Debug)]
struct Step {
    /// What it does when it is due.
    does: u8,
    /// Whose mark it looks for; its own where that is later.
    looks_for: u8,
    depends_on: Option<u8>,
    notifies: Option<u8>,
    only_when_changed: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let near = || prop::option::weighted(0.3, any::<u8>());
    (any::<u8>(), any::<u8>(), near(), near(), prop::bool::weighted(0.2)).prop_map(
        |(does, looks_for, depends_on, notifies, only_when_changed)| Step {
            does,
            looks_for,
            depends_on,
            notifies,
            only_when_changed,
        },
    )
}

fn resource(at: usize, count: usize, step: &Step) -> Resource {
    let line = match step.does % 8 {
        0 => "exit 1".to_owned(),
        1 => format!("echo {at} >> log; rm -f m*"),
        _ => format!("echo {at} >> log; touch m{at}"),
    };
    let mut r = exec(&format!("r{at}"), &line);
    let mark = usize::from(step.looks_for) % count;
    let guard = match step.does % 5 {
        0 => ("only_if", format!("test -e m{mark}")),
        1 => ("unless", "true".to_owned()),
        2 => ("unless", "exit 3".to_owned()),
        _ => ("unless", format!("test -e m{mark}")),
    };
    r.attributes.push((guard.0.into(), Expr::Const(guard.1.as_str().into())));
    r.attributes.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(on) = step.depends_on.filter(|_| at > 0) {
        r.depends_on = vec![Target::Local(u32::from(on) % at as u32)];
    }
    if let Some(whom) = step.notifies.map(|n| at + 1 + usize::from(n)).filter(|whom| *whom < count) {
        r = tells(r, &[whom as u32]);
    }
    if step.only_when_changed { when(r, Expr::Call(Builtin::Changed, vec![])) } else { r }
}

/// Marks that are there before, and then two runs one after the other, as text.
fn told(modules: &[Module], before: &[u8], dry_run: bool, ahead: usize) -> String {
    let dir = tempfile::tempdir().unwrap();
    for mark in before {
        std::fs::write(dir.path().join(format!("m{mark}")), "").unwrap();
    }
    let root = Root::open(dir.path()).unwrap();
    let traits = Value::Map(Default::default());
    let facts = HostFacts {
        root: &root,
        hostname: "h",
        traits: &traits.clone().into(),
        clock: &FixedClock::at(1),
        secrets: &NoSecrets,
        changed: Cell::new(false),
        touched: Cell::new(false),
        missing: RefCell::new(None),
    };
    let platform = Platform::of(&traits, &root);
    let context = Context {
        root: &root,
        now: 1,
        diff: false,
        ownership: false,
        managed: &Managed::unknown(),
        units: &Units::none(),
        platform: &platform,
        limit: crate::limit::DEFAULT,
    };
    let options = RunOptions { dry_run, ..RunOptions::default() };
    let work = Work { modules, facts: &facts, context: &context, options: &options, ahead };
    let mut out = String::new();
    for _ in 0..2 {
        let mut due = Forgetful(BTreeSet::from(["m.r1".to_owned()]));
        let Converged { results, totals, stopped } =
            take_all(&work, &mut due, &mut Silent, &AtomicBool::new(false)).unwrap();
        out += &format!("{totals:?} {stopped}\n");
        for r in results {
            out += &format!("{} {:?} {} {:?}\n", r.resource, r.outcome, r.action, r.error);
        }
    }
    out + &std::fs::read_to_string(dir.path().join("log")).unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Order, outcomes, what was run and in which order: all the same.
    #[test]
    fn looking_ahead_changes_nothing_but_the_time(
        steps in prop::collection::vec(step(), 2..12),
        before in prop::collection::vec(0u8..12, 0..8),
        dry_run: bool,
    ) {
        let count = steps.len();
        let resources = steps.iter().enumerate().map(|(at, s)| resource(at, count, s)).collect();
        let modules = [module("m", resources)];
        prop_assert_eq!(told(&modules, &before, dry_run, 4), told(&modules, &before, dry_run, 0));
    }
}

#[test]
fn probes_wait_side_by_side() {
    // Each waits for the one after it, so one after the other none of them would ever end well.
    let meets = |at: usize| {
        let line = format!(
            "touch m{at}; for i in $(seq 400); do test -e m{} && exit 0; sleep 0.05; done; exit 1",
            1 - at
        );
        let mut r = exec(&format!("r{at}"), "echo too late >> log");
        r.attributes.push(("unless".into(), Expr::Const(line.as_str().into())));
        r
    };
    let told = told(&[module("m", vec![meets(0), meets(1)])], &[], false, 2);
    assert!(told.starts_with("Totals { ok: 2, changed: 0"), "{told}");
}
