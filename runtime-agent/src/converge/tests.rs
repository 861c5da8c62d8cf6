//! Order, dependencies and triggers, as a table would have them.

use super::*;
use crate::clock::FixedClock;
use crate::facts::NoSecrets;
use crate::observe::Silent;
use crate::platform::Platform;
use crate::resource::testing::Machine;
use crate::root::Root;
use ir::{Builtin, Expr};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// An exec that leaves a line in `log`, or fails.
pub(super) fn exec(name: &str, line: &str) -> Resource {
    let attribute = |name: &str, value: Value| (Arc::from(name), Expr::Const(value));
    Resource {
        name: name.into(),
        kind: "exec".into(),
        when: None,
        attributes: vec![
            attribute("command", line.into()),
            attribute("returns", Value::List(vec![Value::Int(0)])),
            attribute("shell", true.into()),
            attribute("timeout", "20s".into()),
        ],
        depends_on: vec![],
        notify: vec![],
    }
}

fn log(name: &str) -> Resource {
    exec(name, &format!("echo {name} >> log"))
}

fn fails(name: &str) -> Resource {
    exec(name, "exit 1")
}

fn unchanged(name: &str) -> Resource {
    let mut r = log(name);
    r.attributes.push(("unless".into(), Expr::Const("true".into())));
    r
}

pub(super) fn when(mut r: Resource, condition: Expr) -> Resource {
    r.when = Some(condition);
    r
}

fn triggered(name: &str) -> Resource {
    when(log(name), Expr::Call(Builtin::Changed, vec![]))
}

fn needs(mut r: Resource, on: &[u32]) -> Resource {
    r.depends_on = on.iter().map(|at| Target::Local(*at)).collect();
    r
}

pub(super) fn tells(mut r: Resource, whom: &[u32]) -> Resource {
    r.notify = whom.iter().map(|at| Target::Local(*at)).collect();
    r
}

pub(super) fn module(name: &str, resources: Vec<Resource>) -> Module {
    Module { name: name.into(), depends_on: vec![], resources }
}

struct Ran {
    outcomes: String,
    log: String,
    results: Vec<ResourceReport>,
}

fn run_with(modules: &[Module], options: &RunOptions, triggers: &mut dyn Triggers) -> Ran {
    run_within(crate::limit::DEFAULT, modules, options, triggers)
}

fn run_within(limit: Duration, modules: &[Module], options: &RunOptions, triggers: &mut dyn Triggers) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let traits = Value::Map([("os".into(), "linux".into())].into());
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
    let context = Context {
        root: &root,
        now: 1,
        diff: false,
        ownership: false,
        managed: &Managed::unknown(),
        units: &Units::none(),
        platform: &Platform::of(&traits, &root),
        limit,
    };
    let stop = AtomicBool::new(false);
    let converged = converge(modules, &facts, &context, options, triggers, &mut Silent, &stop).unwrap();
    let outcomes =
        converged.results.iter().map(|r| format!("{}={} ", r.resource, r.outcome.name())).collect::<String>();
    Ran {
        outcomes: outcomes.trim_end().to_owned(),
        log: std::fs::read_to_string(dir.path().join("log"))
            .unwrap_or_default()
            .replace('\n', " ")
            .trim_end()
            .to_owned(),
        results: converged.results,
    }
}

fn run(resources: Vec<Resource>) -> Ran {
    run_with(&[module("m", resources)], &RunOptions::default(), &mut Forgetful::default())
}

#[test]
fn outcomes() {
    let no = || Expr::Const(false.into());
    for (resources, outcomes, logged) in [
        (
            vec![log("a"), unchanged("b"), fails("c"), when(log("d"), no())],
            "a=changed b=ok c=failed d=skipped",
            "a",
        ),
        // Dependencies that failed block, transitively; ones that were skipped by `when` do not.
        (
            vec![fails("a"), needs(log("b"), &[0]), needs(log("c"), &[1]), log("d")],
            "a=failed b=skipped c=skipped d=changed",
            "d",
        ),
        (vec![when(log("a"), no()), needs(log("b"), &[0])], "a=skipped b=changed", "b"),
        // A trigger runs once, after all its notifiers, and only when one of them changed.
        (
            vec![tells(log("a"), &[2]), tells(log("b"), &[2]), triggered("r")],
            "a=changed b=changed r=changed",
            "a b r",
        ),
        (vec![tells(unchanged("a"), &[1]), triggered("r")], "a=ok r=skipped", ""),
        (vec![tells(fails("a"), &[1]), triggered("r")], "a=failed r=skipped", ""),
        // A notified resource that is not gated runs by its own guards.
        (vec![tells(unchanged("a"), &[1]), log("r")], "a=ok r=changed", "r"),
        (
            vec![tells(log("a"), &[1]), tells(triggered("r"), &[2]), triggered("s")],
            "a=changed r=changed s=changed",
            "a r s",
        ),
    ] {
        let ran = run(resources);
        assert_eq!((ran.outcomes.as_str(), ran.log.as_str()), (outcomes, logged));
    }
}

#[test]
fn edges_across_modules_go_by_name() {
    let other = |resource: &str| Target::Other { module: "a".into(), resource: resource.into() };
    let first = module("a", vec![fails("x"), log("y")]);
    let mut blocked = log("p");
    blocked.depends_on = vec![other("x")];
    let mut free = log("q");
    free.depends_on = vec![other("y"), other("gone")];
    let ran = run_with(
        &[first, module("b", vec![blocked, free])],
        &RunOptions::default(),
        &mut Forgetful::default(),
    );
    assert_eq!(ran.outcomes, "x=failed y=changed p=skipped q=changed");
    assert_eq!(ran.results[2].action, "dependency a.x failed");
}

/// Keeps what a store would.
#[derive(Default)]
struct Kept {
    due: BTreeSet<String>,
    log: Vec<String>,
}

impl Triggers for Kept {
    fn pending(&self) -> Result<BTreeSet<String>, StoreError> {
        Ok(self.due.clone())
    }
    fn earn(&mut self, targets: &BTreeSet<String>) -> Result<(), StoreError> {
        self.due.extend(targets.iter().cloned());
        self.log.push(format!("earn {targets:?}"));
        Ok(())
    }
    fn serve(&mut self, targets: &BTreeSet<String>) -> Result<(), StoreError> {
        self.due.retain(|due| !targets.contains(due));
        self.log.push(format!("serve {targets:?}"));
        Ok(())
    }
}

#[test]
fn a_trigger_that_was_earned_is_served_even_by_a_later_run() {
    let modules = [module("m", vec![tells(unchanged("a"), &[1]), triggered("r")])];
    let mut kept = Kept { due: ["m.r".to_owned()].into(), ..Kept::default() };
    let ran = run_with(&modules, &RunOptions::default(), &mut kept);
    assert_eq!(ran.outcomes, "a=ok r=changed");
    assert!(kept.due.is_empty());
    let again = run_with(&modules, &RunOptions::default(), &mut kept);
    assert_eq!(again.outcomes, "a=ok r=skipped");
}

#[test]
fn a_trigger_is_on_record_before_the_change_and_stays_until_it_is_served() {
    let failing = when(fails("r"), Expr::Call(Builtin::Changed, vec![]));
    let mut kept = Kept::default();
    run_with(&[module("m", vec![tells(log("a"), &[1]), failing])], &RunOptions::default(), &mut kept);
    assert_eq!(kept.due, ["m.r".to_owned()].into(), "it failed, so it is due again");
    let mut kept = Kept::default();
    let blocked = needs(triggered("r"), &[1]);
    run_with(
        &[module("m", vec![tells(log("a"), &[2]), fails("b"), blocked])],
        &RunOptions::default(),
        &mut kept,
    );
    assert_eq!(kept.due, ["m.r".to_owned()].into(), "it was blocked, so it was not served");
    let mut kept = Kept::default();
    run_with(
        &[module("m", vec![tells(fails("a"), &[1]), triggered("r")])],
        &RunOptions::default(),
        &mut kept,
    );
    assert!(kept.due.is_empty(), "nothing changed, so nothing is due");
}

#[test]
fn a_dry_run_shows_what_would_be_triggered_and_does_nothing() {
    let mut kept = Kept::default();
    let options = RunOptions { dry_run: true, ..RunOptions::default() };
    let ran = run_with(&[module("m", vec![tells(log("a"), &[1]), triggered("r")])], &options, &mut kept);
    assert_eq!((ran.outcomes.as_str(), ran.log.as_str()), ("a=changed r=changed", ""));
    assert!(kept.log.is_empty());
}

#[test]
fn only_what_was_asked_for() {
    let modules = [module("m", vec![log("a"), log("b")]), module("n", vec![log("c")])];
    for (only, log) in [("m", "a b"), ("m.b", "b"), ("n", "c"), ("x", ""), ("m.", "")] {
        let options = RunOptions { only: Some(only.into()), ..RunOptions::default() };
        assert_eq!(run_with(&modules, &options, &mut Forgetful::default()).log, log, "{only}");
    }
}

#[test]
fn what_cannot_be_evaluated_or_is_not_known_fails_with_a_reason() {
    let error = |r: Resource| run(vec![r]).results[0].error.clone().unwrap();
    let absent = Expr::path(ir::Root::Traits, &["no", "such"]);
    assert!(error(when(log("a"), absent.clone())).contains("no.such"));
    let mut bad = log("a");
    bad.attributes[0].1 = absent;
    assert!(error(bad).starts_with("attribute `command`"));
    assert!(error(when(log("a"), Expr::Const("yes".into()))).contains("not a bool"));
    let mut unknown = log("a");
    unknown.kind = "teapot".into();
    assert!(error(unknown).contains("`teapot` is not known to this agent"));
    let mut broken = log("a");
    broken.attributes.push(("creates".into(), Expr::Const("/never".into())));
    assert!(error(broken).contains("did not converge"));
}

fn file(name: &str, path: Expr) -> Resource {
    Resource {
        kind: "file".into(),
        attributes: vec![
            ("backup".into(), Expr::Const(false.into())),
            ("state".into(), Expr::Const("present".into())),
            ("target_path".into(), path),
        ],
        ..exec(name, "")
    }
}

fn purged(name: &str, path: &str) -> Resource {
    let flag = |name: &str, on: bool| (Arc::from(name), Expr::Const(on.into()));
    Resource {
        kind: "directory".into(),
        attributes: vec![
            flag("force", false),
            flag("purge", true),
            flag("recurse", false),
            ("state".into(), Expr::Const("present".into())),
            ("target_path".into(), Expr::Const(path.into())),
        ],
        ..exec(name, "")
    }
}

#[test]
fn a_purge_keeps_what_any_module_names_even_when_it_is_not_looked_at() {
    let before = exec("before", "mkdir -p srv/sub && touch srv/a srv/b srv/c srv/sub/d");
    let never = when(file("never", Expr::Const("/srv/b".into())), Expr::Const(false.into()));
    let mut done = unchanged("done");
    done.attributes.push(("creates".into(), Expr::Const("/srv/sub/d".into())));
    let list = exec("list", "find srv | sort >> log");
    let modules = [
        module("m", vec![before, purged("p", "/srv"), list]),
        module("n", vec![file("a", Expr::Const("/srv/a".into())), never, done]),
    ];
    let options = RunOptions { only: Some("m".into()), ..RunOptions::default() };
    let ran = run_with(&modules, &options, &mut Forgetful::default());
    assert_eq!(ran.outcomes, "before=changed p=changed list=changed");
    assert_eq!(ran.log, "srv srv/a srv/b srv/sub srv/sub/d");
    assert_eq!(ran.results[1].action, "purged 1 entry (c)");
}

#[test]
fn a_purge_removes_nothing_when_a_path_is_not_known() {
    let before = exec("before", "mkdir srv && touch srv/a");
    let unknown = file("u", Expr::path(ir::Root::Traits, &["no", "such"]));
    let ran = run(vec![before, purged("p", "/srv"), unknown, exec("list", "ls srv >> log")]);
    assert_eq!(
        (ran.outcomes.as_str(), ran.log.as_str()),
        ("before=changed p=failed u=failed list=changed", "a")
    );
    let error = ran.results[1].error.clone().unwrap();
    assert!(error.contains("nothing was removed") && error.contains("`target_path` of m.u"), "{error}");
}

#[test]
fn a_sandbox_shows_what_would_become_of_the_machine_and_leaves_it_alone() {
    let attribute = |name: &str, value: Value| (Arc::from(name), Expr::Const(value));
    let service = Resource {
        name: "s".into(),
        kind: "service".into(),
        when: None,
        // a name that no machine has
        attributes: vec![
            attribute("service", "vigo-of-nobody".into()),
            attribute("state", "running".into()),
            attribute("timeout", "20s".into()),
        ],
        depends_on: vec![],
        notify: vec![Target::Local(1)],
    };
    let modules = [module("a", vec![service, triggered("t")])];
    for dry_run in [false, true] {
        let options = RunOptions { dry_run, ..RunOptions::default() };
        let ran = run_with(&modules, &options, &mut Forgetful::default());
        assert_eq!(ran.results[0].outcome, Outcome::Skipped, "{:?}", ran.results[0].error);
        assert_eq!(ran.results[0].action, "would change: started (a sandbox leaves the machine alone)");
        assert!(ran.results[0].would_change());
        assert_eq!((ran.results[1].outcome, ran.log.as_str()), (Outcome::Skipped, ""), "nothing changed");
    }
}

#[test]
fn a_resource_that_takes_longer_than_any_may_is_stopped_with_all_it_started_and_the_run_goes_on() {
    let text = |name: &str, text: &str| (Arc::from(name), Expr::Const(text.into()));
    let mut slow = file("slow", Expr::Const("/f".into()));
    slow.attributes.push(text("content", "new"));
    slow.attributes.push(text("validate", "sh -c 'sleep 1000 & echo $! > log; sleep 1000' %s"));
    slow.attributes.sort_by(|a, b| a.0.cmp(&b.0));
    let modules = [module("m", vec![slow, needs(log("after"), &[0]), log("other")])];
    let limit = Duration::from_secs(3);
    let ran = run_within(limit, &modules, &RunOptions::default(), &mut Forgetful::default());
    assert_eq!(ran.outcomes, "slow=failed after=skipped other=changed");
    assert_eq!(ran.results[0].action, "apply");
    assert_eq!(
        ran.results[0].error.as_deref(),
        Some(
            "took longer than 3.0 s in all and was stopped; whoever runs this host can allow more, with \
             `resource_limit` in /etc/vigo/agent.json: sh was still running"
        )
    );
    let (child, rest) = ran.log.split_once(' ').unwrap();
    assert_eq!(rest, "other");
    let stat = || std::fs::read_to_string(format!("/proc/{child}/stat"));
    let since = Instant::now();
    while stat().is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(since.elapsed() < Duration::from_secs(20), "what it started goes on");
        std::thread::yield_now();
    }
}

#[test]
fn the_timeout_of_a_resource_comes_on_top_of_what_any_may_take() {
    let sandbox = crate::resource::testing::Sandbox::new();
    let limit = |kind: &str, timeout: Option<&str>| {
        let timeout = timeout.map(|text| ("timeout", Value::from(text)));
        let desired = crate::resource::testing::desired(&timeout.into_iter().collect::<Vec<_>>());
        executor(kind).unwrap().limit(&sandbox.context(), &desired)
    };
    assert_eq!(limit("file", None), Duration::from_secs(3600));
    assert_eq!(limit("exec", Some("90m")), Duration::from_secs(9000));
    assert_eq!(
        limit("exec", Some("nonsense")),
        Duration::from_secs(3600),
        "the type says what is wrong with it"
    );
}

#[test]
fn systemd_is_asked_about_all_units_at_once_until_something_changes() {
    let m = Machine::new();
    m.program(
        "systemctl",
        r#"
shift 4
echo "$*" >> "$here/shows"
for unit in "$@"; do
  case $unit in gone*) load=not-found state=inactive file= ;; old*) load=masked state=inactive file=masked ;;
    *) load=loaded state=active file=enabled ;; esac
  printf 'Names=%s\nLoadState=%s\nActiveState=%s\nUnitFileState=%s\nNeedDaemonReload=no\n\n' "$unit" $load $state "$file"
done
"#,
    );
    let service = |name: &str, state: &str| {
        let attribute = |name: &str, value: Value| (Arc::from(name), Expr::Const(value));
        let mut r = Resource { kind: "service".into(), ..log(name) };
        r.attributes = vec![
            attribute("service", name.into()),
            attribute("state", state.into()),
            attribute("timeout", "20s".into()),
        ];
        r
    };
    let run = |change: Resource| {
        let resources = vec![
            service("web@1", "running"),
            service("gone", "stopped"),
            change,
            service("old", "stopped"),
            service("gone.timer", "running"),
        ];
        let traits = Value::Map([("os".into(), "linux".into())].into());
        let facts = HostFacts {
            root: &m.sandbox.root,
            hostname: "h",
            traits: &traits.clone().into(),
            clock: &FixedClock::at(1),
            secrets: &NoSecrets,
            changed: Cell::new(false),
            touched: Cell::new(false),
            missing: RefCell::new(None),
        };
        let _ = std::fs::remove_file(m.sandbox.path("shows"));
        let converged = converge(
            &[module("m", resources)],
            &facts,
            &m.sandbox.context(),
            &RunOptions::default(),
            &mut Forgetful::default(),
            &mut Silent,
            &AtomicBool::new(false),
        );
        let results = converged.unwrap().results;
        let outcomes: Vec<_> = results.iter().map(|r| format!("{} {}", r.outcome.name(), r.action)).collect();
        // On a machine that stands still for seconds it is asked again, and says the same.
        let mut shows: Vec<_> = m.read("shows").lines().map(str::to_owned).collect();
        shows.dedup();
        (outcomes.join("; "), shows)
    };
    let all = "gone.service gone.timer old.service web@1.service".to_owned();
    let due = "skipped would change: started (a sandbox leaves the machine alone)";
    assert_eq!(run(unchanged("c")), (format!("ok ; ok ; ok ; ok ; {due}"), vec![all.clone()]));
    let (outcomes, shows) = run(log("c"));
    assert_eq!(outcomes, format!("ok ; ok ; changed ran; ok ; {due}"));
    assert_eq!(
        shows,
        [all, "old.service".to_owned(), "gone.timer".to_owned()],
        "each by itself after the change"
    );
}
