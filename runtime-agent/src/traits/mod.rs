//! Traits: what is so about this host. One file a subject; collectors run side by side, each with a time limit.
//!
//! A collector that fails or is late costs what it would have said and nothing else: what it said before stays, and
//! `agent.failed_collectors` names it. Those that take long are not waited for by a run: what they say counts from the next
//! one on.

mod cloud;
mod container;
mod custom;
mod hardware;
mod host;
mod known;
mod memory;
mod mounts;
mod network;
mod os;
mod packages;
mod ports;
mod program;
mod security;
mod services;
mod told;
mod users;

pub use known::Traits;
pub use told::{Told, told};

pub use os::{init, package_manager};

use crate::clock::Millis;
use crate::root::Root;
use ir::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// How long what a collector said stays good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// For one run.
    Volatile,
    /// For an hour.
    Periodic,
    /// For a day.
    Stable,
}

impl Class {
    /// Milliseconds.
    pub fn ttl(self) -> Millis {
        match self {
            Class::Volatile => 0,
            Class::Periodic => 3_600_000,
            Class::Stable => 86_400_000,
        }
    }
}

/// Top-level names and their values.
pub type Section = BTreeMap<Arc<str>, Value>;

/// What a collector says.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    section: Section,
    /// What it could not find out, for people.
    problems: Vec<String>,
}

impl Answer {
    fn failed(why: String) -> Self {
        Answer { section: Section::new(), problems: vec![why] }
    }
}

impl From<Section> for Answer {
    fn from(section: Section) -> Self {
        Answer { section, problems: Vec::new() }
    }
}

impl<const N: usize> From<[(Arc<str>, Value); N]> for Answer {
    fn from(traits: [(Arc<str>, Value); N]) -> Self {
        Section::from(traits).into()
    }
}

impl From<Result<Section, String>> for Answer {
    fn from(result: Result<Section, String>) -> Self {
        result.map_or_else(Answer::failed, Answer::from)
    }
}

struct Collector {
    name: &'static str,
    class: Class,
    limit: Duration,
    collect: fn(&Root) -> Answer,
    /// It measures: what it says differs from one moment to the next, which is no news for the server.
    measures: bool,
    /// It asks programs or servers, and no run waits for them.
    slow: bool,
}

const LIMIT: Duration = Duration::from_secs(5);

const fn collector(name: &'static str, class: Class, collect: fn(&Root) -> Answer) -> Collector {
    Collector { name, class, limit: LIMIT, collect, measures: false, slow: false }
}

const fn measures(name: &'static str, collect: fn(&Root) -> Answer) -> Collector {
    Collector { measures: true, ..collector(name, Class::Volatile, collect) }
}

const fn slow(name: &'static str, class: Class, limit: u64, collect: fn(&Root) -> Answer) -> Collector {
    Collector { slow: true, limit: Duration::from_secs(limit), ..collector(name, class, collect) }
}

const COLLECTORS: &[Collector] = &[
    collector("os", Class::Stable, |root| os::collect(root).into()),
    collector("network", Class::Volatile, |root| network::collect(root).into()),
    collector("hardware", Class::Periodic, |root| hardware::collect(root).into()),
    collector("container", Class::Stable, |root| container::collect(root).into()),
    collector("custom", Class::Volatile, custom::files),
    collector("dmi", Class::Stable, host::dmi),
    collector("host", Class::Volatile, host::collect),
    collector("mounts", Class::Volatile, mounts::mounts),
    collector("security", Class::Volatile, security::collect),
    collector("users", Class::Volatile, users::collect),
    measures("filesystem", mounts::filesystem),
    measures("memory", memory::collect),
    measures("ports", ports::collect),
    measures("services", services::collect),
    slow("cloud", Class::Stable, 5, cloud::collect),
    slow("custom programs", Class::Periodic, 60, custom::programs),
    slow("package_updates", Class::Stable, 30, packages::updates),
    slow("packages", Class::Periodic, 30, packages::installed),
];

/// What one collector said, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Collected {
    /// The collector.
    pub name: String,
    /// When it was asked.
    pub at: Millis,
    /// How long this stays good.
    pub class: Class,
    /// A map of top-level traits.
    pub value: Value,
}

impl Collected {
    /// An answer from the future is as stale as one from long ago.
    fn is_fresh(&self, now: Millis) -> bool {
        self.at <= now && now - self.at < self.class.ttl()
    }

    /// Whether it is worth keeping for another run.
    pub fn is_kept(&self) -> bool {
        self.class != Class::Volatile
    }
}

/// Collectors at work.
#[derive(Debug, Default)]
pub struct Collectors {
    /// Slow ones that nobody waited for, and until when they may take.
    late: BTreeMap<&'static str, (Receiver<Answer>, Instant)>,
}

/// Collects below `root`, and waits for all of it.
pub fn collect(root: &Path, now: Millis, cached: Vec<Collected>) -> Vec<Collected> {
    let mut collectors = Collectors::default();
    let all = collectors.collect(root, now, cached);
    collectors.finish(now, all)
}

impl Collectors {
    /// Collects, keeping what is still good of `cached`. Slow ones are begun and not waited for: what they say comes with a
    /// later call, and until then what they said before counts, however old.
    pub fn collect(&mut self, root: &Path, now: Millis, cached: Vec<Collected>) -> Vec<Collected> {
        self.collect_from(COLLECTORS.iter(), root, now, cached)
    }

    /// Asks those that a run waits for, and no other.
    fn collect_quick(&mut self, root: &Path, now: Millis) -> Vec<Collected> {
        self.collect_from(COLLECTORS.iter().filter(|collector| !collector.slow), root, now, Vec::new())
    }

    fn collect_from(
        &mut self,
        collectors: impl Iterator<Item = &'static Collector>,
        root: &Path,
        now: Millis,
        cached: Vec<Collected>,
    ) -> Vec<Collected> {
        let started = Instant::now();
        let (mut all, mut waiting, mut failed) = (Vec::new(), Vec::new(), BTreeSet::new());
        for collector in collectors {
            let known = cached.iter().find(|c| c.name == collector.name);
            if let Some(good) = known.filter(|known| known.is_fresh(now)) {
                all.push(good.clone());
            } else if collector.slow {
                self.begin(collector, root);
                match self.poll(collector, now) {
                    Some(Ok(said)) => all.push(said),
                    other => {
                        all.extend(known.cloned());
                        if let Some(Err(())) = other {
                            failed.insert(collector.name);
                        }
                    }
                }
            } else {
                waiting.push((collector, known, start(collector, root.to_owned())));
            }
        }
        for (collector, known, answer) in waiting {
            let left = collector.limit.saturating_sub(started.elapsed());
            let answer = answer.and_then(|receiver| receiver.recv_timeout(left).ok());
            match judge(collector, answer, now) {
                Ok(said) => all.push(said),
                Err(()) => {
                    failed.insert(collector.name);
                    all.extend(known.cloned());
                }
            }
        }
        all.push(about_the_agent(now, &failed));
        all
    }

    fn begin(&mut self, collector: &'static Collector, root: &Path) {
        if !self.late.contains_key(collector.name)
            && let Some(receiver) = start(collector, root.to_owned())
        {
            self.late.insert(collector.name, (receiver, Instant::now() + collector.limit));
        }
    }

    /// What a slow one said meanwhile; `None` while it may still say something.
    fn poll(&mut self, collector: &Collector, now: Millis) -> Option<Result<Collected, ()>> {
        let (receiver, until) = self.late.get(collector.name)?;
        let answer = match receiver.try_recv() {
            Ok(answer) => Some(answer),
            Err(mpsc::TryRecvError::Empty) if Instant::now() < *until => return None,
            Err(_) => None,
        };
        self.late.remove(collector.name);
        Some(judge(collector, answer, now))
    }

    /// Waits for the slow ones that were begun, each up to its limit: `all` with what they say.
    pub fn finish(&mut self, now: Millis, mut all: Vec<Collected>) -> Vec<Collected> {
        let mut failed = BTreeSet::new();
        for collector in COLLECTORS {
            let Some((receiver, until)) = self.late.remove(collector.name) else { continue };
            let answer = receiver.recv_timeout(until.saturating_duration_since(Instant::now())).ok();
            match judge(collector, answer, now) {
                Ok(said) => {
                    all.retain(|c| c.name != said.name);
                    all.push(said);
                }
                Err(()) => drop(failed.insert(collector.name)),
            }
        }
        if !failed.is_empty() {
            all.push(about_the_agent(now, &failed));
        }
        all
    }

    /// Whether a slow one has not said yet what it was asked.
    pub fn is_waiting(&self) -> bool {
        !self.late.is_empty()
    }
}

/// What a collector said, if it said anything; what it could not find out is told here.
fn judge(collector: &Collector, answer: Option<Answer>, now: Millis) -> Result<Collected, ()> {
    let Some(Answer { section, problems }) = answer else {
        tracing::warn!(
            "traits of `{}` took more than {}; what was known before counts",
            collector.name,
            crate::text::took(collector.limit)
        );
        return Err(());
    };
    for problem in &problems {
        tracing::warn!("traits of `{}`: {}", collector.name, crate::text::printable(problem));
    }
    if section.is_empty() && !problems.is_empty() {
        return Err(());
    }
    Ok(Collected {
        name: collector.name.to_owned(),
        at: now,
        class: collector.class,
        value: Value::Map(section),
    })
}

/// `agent`: what is known without asking. Names of failed collectors add up with those of another one.
fn about_the_agent(now: Millis, failed: &BTreeSet<&str>) -> Collected {
    let failed = failed.iter().map(|name| Value::from(*name)).collect();
    let agent = map([
        ("version", Some(env!("CARGO_PKG_VERSION").into())),
        ("failed_collectors", Some(Value::List(failed))),
    ]);
    let value = Value::Map([("agent".into(), agent)].into());
    Collected { name: "agent".to_owned(), at: now, class: Class::Volatile, value }
}

/// What the agent itself knows: `agent.paused` and `agent.clock_untrusted`.
pub fn of_agent(now: Millis, paused: bool, clock_untrusted: bool) -> Collected {
    let known = [("paused", Some(paused.into())), ("clock_untrusted", Some(clock_untrusted.into()))];
    let value = map([("agent", Some(map(known)))]);
    Collected { name: "pause".to_owned(), at: now, class: Class::Volatile, value }
}

/// The thread is left to itself when it is late.
fn start(collector: &'static Collector, root: PathBuf) -> Option<Receiver<Answer>> {
    let (sender, receiver) = mpsc::channel();
    let collect = collector.collect;
    std::thread::Builder::new()
        .name(format!("traits {}", collector.name))
        .stack_size(512 << 10)
        .spawn(move || {
            let answer = match Root::open(&root) {
                Ok(root) => collect(&root),
                Err(error) => Answer::failed(error.to_string()),
            };
            // Nobody listens any more when this was late.
            let _ = sender.send(answer);
        })
        .ok()?;
    Some(receiver)
}

/// One map of all traits.
pub fn merge(collected: &[Collected]) -> Value {
    let mut all = Value::Map(Section::new());
    for part in collected {
        lay(&mut all, &part.value);
    }
    all
}

/// Lays traits over others. Maps are merged, and so are lists of names.
fn lay(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Map(below), Value::Map(above)) => {
            for (key, value) in above {
                match below.get_mut(key) {
                    Some(there) => lay(there, value),
                    None => drop(below.insert(key.clone(), value.clone())),
                }
            }
        }
        (Value::List(below), Value::List(above)) => {
            let new: Vec<Value> = above.iter().filter(|v| !below.contains(v)).cloned().collect();
            below.extend(new);
        }
        (below, above) => *below = above.clone(),
    }
}

/// A map without what is absent.
fn map(entries: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    Value::Map(entries.into_iter().filter_map(|(k, v)| Some((Arc::from(k), v?))).collect())
}

/// A short file of the kernel (`/proc`, `/sys`), trimmed; `None` when it is not there or empty.
fn kernel_file(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
