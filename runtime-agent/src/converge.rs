//! Modules and resources in order: `when`, probe, apply, probe again.

mod ahead;

use crate::facts::HostFacts;
use crate::limit;
use crate::observe::{BLOCKED, Outcome, ResourceReport, RunObserver, Totals, WOULD_CHANGE};
use crate::own::Own;
use crate::resource::{Context, Desired, Executor, Managed, Probe, ResourceError, Units, executor};
use crate::store::StoreError;
use crate::text::{bounded, printable, printable_lines};
use ahead::Ahead;
use ir::{Budget, EvalError, Module, Resource, Target, Value};
use std::collections::{BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How a run is done.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Looks, changes nothing.
    pub dry_run: bool,
    /// Shows how content differs.
    pub diff: bool,
    /// A module, or `module.resource`: nothing else is looked at.
    pub only: Option<String>,
}

impl RunOptions {
    /// Whether anything at all is looked at.
    pub(crate) fn finds(&self, modules: &[Module]) -> bool {
        modules.iter().any(|m| {
            self.only.as_deref() == Some(&*m.name) || m.resources.iter().any(|r| self.wants(&m.name, &r.name))
        })
    }

    fn wants(&self, module: &str, resource: &str) -> bool {
        match self.only.as_deref() {
            None => true,
            Some(only) => {
                only == module || only.split_once('.').is_some_and(|(m, r)| m == module && r == resource)
            }
        }
    }
}

/// Triggers that were earned and not yet served. They outlive the process, so that a reload is not lost when
/// the agent dies between a change and what the change calls for.
pub trait Triggers {
    /// Resources (`module.resource`) that are due since an earlier run.
    fn pending(&self) -> Result<BTreeSet<String>, StoreError>;
    /// On disk before the change is made.
    fn earn(&mut self, targets: &BTreeSet<String>) -> Result<(), StoreError>;
    /// Not due any more.
    fn serve(&mut self, targets: &BTreeSet<String>) -> Result<(), StoreError>;
}

/// Triggers of one run only: for a dry run, and where there is no store.
#[derive(Debug, Default)]
pub struct Forgetful(pub BTreeSet<String>);

impl Triggers for Forgetful {
    fn pending(&self) -> Result<BTreeSet<String>, StoreError> {
        Ok(self.0.clone())
    }
    fn earn(&mut self, _targets: &BTreeSet<String>) -> Result<(), StoreError> {
        Ok(())
    }
    fn serve(&mut self, _targets: &BTreeSet<String>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What came of all resources.
#[derive(Debug, Default)]
pub struct Converged {
    /// In the order they were taken.
    pub results: Vec<ResourceReport>,
    /// Counts.
    pub totals: Totals,
    /// Stopped before the last resource.
    pub stopped: bool,
}

/// Takes every resource of `modules`, which stand in run order.
pub fn converge(
    modules: &[Module],
    facts: &HostFacts<'_>,
    context: &Context<'_>,
    options: &RunOptions,
    triggers: &mut dyn Triggers,
    observer: &mut dyn RunObserver,
    stop: &AtomicBool,
) -> Result<Converged, StoreError> {
    let work = Work { modules, facts, context, options, ahead: ahead::MOST };
    take_all(&work, triggers, observer, stop)
}

/// What does not change while a run goes on.
struct Work<'a> {
    modules: &'a [Module],
    facts: &'a HostFacts<'a>,
    context: &'a Context<'a>,
    options: &'a RunOptions,
    /// Probes that are under way at the same time.
    ahead: usize,
}

fn take_all(
    work: &Work<'_>,
    triggers: &mut dyn Triggers,
    observer: &mut dyn RunObserver,
    stop: &AtomicBool,
) -> Result<Converged, StoreError> {
    let Work { modules, facts, context, options, .. } = *work;
    let wanted: Vec<Place<'_>> = modules
        .iter()
        .flat_map(|module| module.resources.iter().map(move |resource| Place { module, resource }))
        .filter(|place| options.wants(&place.module.name, &place.resource.name))
        .collect();
    let value = |expr: &ir::Expr| evaluate(facts, expr).map(|(value, _)| value);
    let managed = Managed::of(modules, value);
    let units = Units::of(wanted.iter().map(|place| place.resource), value);
    let context = &Context { managed: &managed, units: &units, ..*context };
    let due = triggers.pending()?;
    std::thread::scope(|scope| {
        let mut run = Run {
            facts,
            context,
            options,
            due,
            triggers,
            blocked: HashSet::new(),
            own: Own::of(context.root),
            ahead: Ahead::new(scope, context, work.ahead),
        };
        let mut converged = Converged::default();
        for (at, place) in wanted.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                converged.stopped = true;
                break;
            }
            run.look_ahead(&wanted, at);
            let report = run.take(at, place);
            converged.totals.count(report.outcome);
            observer.resource(&report);
            converged.results.push(report);
        }
        Ok(converged)
    })
}

/// A resource and where it stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    module: &'a Module,
    resource: &'a Resource,
}

impl Place<'_> {
    fn id(&self) -> String {
        format!("{}.{}", self.module.name, self.resource.name)
    }
}

struct Run<'a, 'env> {
    facts: &'a HostFacts<'a>,
    context: &'a Context<'a>,
    options: &'a RunOptions,
    triggers: &'a mut dyn Triggers,
    /// Earned in this run or an earlier one.
    due: BTreeSet<String>,
    /// Resources that failed, or were skipped because one they depend on was in here.
    blocked: HashSet<String>,
    own: Own,
    ahead: Ahead<'a, 'env>,
}

/// How one resource ended.
struct End {
    outcome: Outcome,
    action: String,
    error: Option<String>,
    lines: Option<(usize, usize)>,
    diff: Option<String>,
}

impl End {
    fn plain(outcome: Outcome, action: impl Into<String>) -> Self {
        End { outcome, action: action.into(), error: None, lines: None, diff: None }
    }

    fn failed(action: &str, error: impl std::fmt::Display) -> Self {
        let error = printable_lines(bounded(&error.to_string(), 4000));
        End { error: Some(error), ..End::plain(Outcome::Failed, action) }
    }
}

/// What came of `when` and the attributes.
enum Evaluated {
    /// It is not its turn, or it cannot be known what it is.
    Over(End),
    /// What it has to be.
    Desired(Desired),
}

/// What a probe said, and of what.
struct Looked {
    desired: Desired,
    probe: Result<Probe, ResourceError>,
    /// How long it took.
    took: Duration,
}

/// Looks. A type that panics fails its resource and nothing else.
fn look(executor: &dyn Executor, context: &Context<'_>, desired: Desired) -> Looked {
    let started = Instant::now();
    let limit = executor.limit(context, &desired);
    let probe = guarded(limit, limit, || executor.probe(context, &desired));
    Looked { desired, probe, took: started.elapsed() }
}

/// Does something for a resource that may take `limit` in all, of which `left` is left.
fn guarded<T>(
    limit: Duration,
    left: Duration,
    work: impl FnOnce() -> Result<T, ResourceError>,
) -> Result<T, ResourceError> {
    limit::within(left, || {
        // Nothing of ours is left half-changed: whatever it was doing is looked at afresh in the next run.
        match catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(ResourceError::Bug)) {
            Err(error) if limit::is_over() => Err(error.out_of_time(limit)),
            other => other,
        }
    })
}

impl Run<'_, '_> {
    /// Begins probes of resources whose turn comes later, as far as they wait for something.
    fn look_ahead(&mut self, wanted: &[Place<'_>], at: usize) {
        while let Some(next) = self.ahead.next(wanted.len(), at) {
            let Some(place) = wanted.get(next) else { return };
            let Some(executor) = executor(&place.resource.kind).ok().filter(|e| e.waits()) else { continue };
            if self.blocker(place).is_some() {
                continue;
            }
            let evaluated = self.evaluate(place, &place.id());
            self.ahead.begin(next, executor, evaluated);
        }
    }

    fn take(&mut self, at: usize, place: &Place<'_>) -> ResourceReport {
        let started = Instant::now();
        let id = place.id();
        let resource = place.resource;
        let mut detail = declared(resource);
        let foreseen = self.ahead.take(at);
        let end = self.end(place, &id, foreseen, &mut detail);
        if end.outcome == Outcome::Failed {
            self.blocked.insert(id);
        }
        ResourceReport {
            module: place.module.name.to_string(),
            resource: resource.name.to_string(),
            kind: resource.kind.to_string(),
            outcome: end.outcome,
            action: end.action,
            detail,
            error: end.error,
            lines: end.lines,
            diff: end.diff,
            duration: started.elapsed(),
        }
    }

    /// One that it depends on and that failed, or was left out for such a one.
    fn blocker(&self, place: &Place<'_>) -> Option<String> {
        let dependencies = place.resource.depends_on.iter().filter_map(|t| target(place.module, t));
        dependencies.into_iter().find(|d| self.blocked.contains(d))
    }

    fn end(
        &mut self,
        place: &Place<'_>,
        id: &str,
        foreseen: Option<Result<Looked, End>>,
        detail: &mut String,
    ) -> End {
        if let Some(failed) = self.blocker(place) {
            // A trigger that was earned stays: it was not served.
            self.blocked.insert(id.to_owned());
            return End::plain(Outcome::Skipped, format!("{BLOCKED}{} failed", printable(&failed)));
        }
        let triggered = self.due.contains(id);
        let end = self.decide(place, id, foreseen, detail);
        // One that failed is due again in the next run: whatever called for it has happened.
        if triggered && end.outcome != Outcome::Failed {
            self.due.remove(id);
            if !self.options.dry_run
                && let Err(error) = self.triggers.serve(&[id.to_owned()].into())
            {
                tracing::warn!("{id} ran, but that could not be recorded; it will run once more: {error}");
            }
        }
        end
    }

    fn decide(
        &mut self,
        place: &Place<'_>,
        id: &str,
        foreseen: Option<Result<Looked, End>>,
        detail: &mut String,
    ) -> End {
        let ended = match foreseen {
            Some(Err(end)) => return end,
            Some(Ok(looked)) => self.act(place, looked, detail),
            None => match self.evaluate(place, id) {
                Evaluated::Over(end) => return end,
                Evaluated::Desired(desired) => executor(&place.resource.kind)
                    .map_err(|e| ("check", e.to_string()))
                    .and_then(|executor| self.act(place, look(executor, self.context, desired), detail)),
            },
        };
        ended.unwrap_or_else(|(action, error)| End::failed(action, error))
    }

    fn evaluate(&self, place: &Place<'_>, id: &str) -> Evaluated {
        self.facts.changed.set(self.due.contains(id));
        if let Some(when) = &place.resource.when {
            match evaluate(self.facts, when) {
                Ok((Value::Bool(true), _)) => {}
                Ok((Value::Bool(false), _)) => {
                    return Evaluated::Over(End::plain(Outcome::Skipped, "when"));
                }
                Ok((other, _)) => {
                    let error = format!("`when` gave {}, not a bool", other.kind());
                    return Evaluated::Over(End::failed("when", error));
                }
                Err(error) => return Evaluated::Over(End::failed("when", error)),
            }
        }
        let mut desired = Desired::default();
        for (name, expr) in &place.resource.attributes {
            match evaluate(self.facts, expr) {
                Ok((value, sensitive)) => desired.set(name, value, sensitive),
                Err(error) => {
                    return Evaluated::Over(End::failed("evaluate", format!("attribute `{name}`: {error}")));
                }
            }
        }
        Evaluated::Desired(desired)
    }

    fn act(
        &mut self,
        place: &Place<'_>,
        looked: Looked,
        detail: &mut String,
    ) -> Result<End, (&'static str, String)> {
        let Place { module, resource } = place;
        let words = |action| move |e: ResourceError| (action, e.to_string());
        let executor = executor(&resource.kind).map_err(words("check"))?;
        let Looked { desired, probe, took } = looked;
        let started = Instant::now();
        *detail = about(executor.key(), &desired);
        let probe = probe.map_err(words("check"))?;
        if probe.is_clean() {
            return Ok(End::plain(Outcome::Ok, ""));
        }
        if executor.acts_on_machine() && !self.context.root.is_host() {
            let action =
                format!("{WOULD_CHANGE}{} (a sandbox leaves the machine alone)", printable(&probe.action()));
            return Ok(End::plain(Outcome::Skipped, action));
        }
        if let Some(refused) = self.own.refuses(self.context.root, &resource.kind, executor.key(), &desired) {
            return Err(("guard", refused));
        }
        // From here on the host is another one than it was when later resources were looked at.
        self.ahead.give_up();
        self.context.units.forget();
        let mut end = End::plain(Outcome::Changed, printable(&probe.action()));
        end.lines = probe.diff.as_ref().map(|d| (d.added, d.removed)).filter(|lines| *lines != (0, 0));
        end.diff = probe.diff.as_ref().map(|d| d.text.clone()).filter(|text| !text.is_empty());
        let notified: BTreeSet<String> = resource.notify.iter().filter_map(|t| target(module, t)).collect();
        if self.options.dry_run {
            self.due.extend(notified);
            return Ok(end);
        }
        let fresh: BTreeSet<String> = notified.difference(&self.due).cloned().collect();
        if !fresh.is_empty() {
            self.triggers.earn(&fresh).map_err(|e| ("record", format!("nothing was changed: {e}")))?;
        }
        let limit = executor.limit(self.context, &desired);
        let left = || limit.saturating_sub(took.saturating_add(started.elapsed()));
        let applied =
            guarded(limit, left(), || executor.apply(self.context, &desired, &probe)).map_err(words("apply"));
        let settled = applied.and_then(|applied| {
            let left = guarded(limit, left(), || executor.settled(self.context, &desired))
                .map_err(words("check again"))?;
            if left.is_clean() {
                Ok(applied)
            } else {
                Err(("check again", ResourceError::NotConverged(printable(&left.action())).to_string()))
            }
        });
        match settled {
            Ok(applied) => {
                if let Some(note) = applied.note {
                    end.action = format!("{} ({})", end.action, printable(&note));
                }
                self.due.extend(notified);
                Ok(end)
            }
            Err(failure) => {
                if !fresh.is_empty()
                    && let Err(error) = self.triggers.serve(&fresh)
                {
                    tracing::warn!("what {} would have triggered stays due: {error}", resource.name);
                }
                Err(failure)
            }
        }
    }
}

/// The value, and whether a secret went into it.
pub(crate) fn evaluate(facts: &HostFacts<'_>, expr: &ir::Expr) -> Result<(Value, bool), String> {
    facts.touched.set(false);
    facts.missing.replace(None);
    let value = ir::finish(expr, facts, &mut Budget::default());
    if let Some(path) = facts.missing.take() {
        let path = printable(&path);
        return Err(format!("blocked: secret `{path}` is not available; nothing was changed"));
    }
    match value {
        Ok(value) => Ok((value, facts.touched.get())),
        // An error may quote the value it met.
        Err(_) if facts.touched.get() => Err("cannot be computed from its secret".to_owned()),
        Err(EvalError { kind, .. }) => Err(kind.to_string()),
    }
}

/// `module.resource` of an edge; `None` for an edge that leads nowhere, which is dropped with its resource.
pub(crate) fn target(module: &Module, target: &Target) -> Option<String> {
    match target {
        Target::Local(at) => {
            module.resources.get(*at as usize).map(|r| format!("{}.{}", module.name, r.name))
        }
        Target::Other { module, resource } => Some(format!("{module}.{resource}")),
    }
}

/// What a resource is about, as far as that is known without evaluating anything.
fn declared(resource: &Resource) -> String {
    let key = executor(&resource.kind).ok().and_then(|e| resource.attribute(e.key())?.as_const()?.as_str());
    key.map(|text| printable(bounded(text, 200))).unwrap_or_default()
}

fn about(key: &str, desired: &Desired) -> String {
    if desired.is_sensitive(key) {
        return "(sensitive)".to_owned();
    }
    desired.value(key).and_then(Value::as_str).map(|text| printable(bounded(text, 200))).unwrap_or_default()
}

#[cfg(test)]
mod tests;
