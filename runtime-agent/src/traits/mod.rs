//! Traits: what is so about this host. One file a collector; they run side by side, each with a time limit.

mod container;
mod hardware;
mod network;
mod os;

pub use os::{init, package_manager};

use crate::clock::Millis;
use crate::root::Root;
use ir::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
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

struct Collector {
    name: &'static str,
    class: Class,
    limit: Duration,
    collect: fn(&Root) -> Section,
}

const LIMIT: Duration = Duration::from_secs(5);

const COLLECTORS: &[Collector] = &[
    Collector { name: "os", class: Class::Stable, limit: LIMIT, collect: os::collect },
    Collector { name: "network", class: Class::Volatile, limit: LIMIT, collect: network::collect },
    Collector { name: "hardware", class: Class::Periodic, limit: LIMIT, collect: hardware::collect },
    Collector { name: "container", class: Class::Stable, limit: LIMIT, collect: container::collect },
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
}

/// Collects below `root`, keeping what is still good of `cached`.
pub fn collect(root: &Path, now: Millis, cached: Vec<Collected>) -> Vec<Collected> {
    let started = Instant::now();
    let (mut all, mut waiting) = (Vec::new(), Vec::new());
    for collector in COLLECTORS {
        match cached.iter().find(|c| c.name == collector.name && c.is_fresh(now)) {
            Some(good) => all.push(good.clone()),
            None => waiting.push((collector, start(collector, root.to_owned()))),
        }
    }
    for (collector, answer) in waiting {
        let left = collector.limit.saturating_sub(started.elapsed());
        match answer.and_then(|receiver| receiver.recv_timeout(left).ok()) {
            Some(section) => all.push(Collected {
                name: collector.name.to_owned(),
                at: now,
                class: collector.class,
                value: Value::Map(section),
            }),
            None => tracing::warn!(
                "traits of `{}` took more than {}; they are absent in this run",
                collector.name,
                crate::text::took(collector.limit)
            ),
        }
    }
    all
}

/// The thread is left to itself when it is late.
fn start(collector: &'static Collector, root: PathBuf) -> Option<mpsc::Receiver<Section>> {
    let (sender, receiver) = mpsc::channel();
    let collect = collector.collect;
    std::thread::Builder::new()
        .name(format!("traits {}", collector.name))
        .stack_size(256 << 10)
        .spawn(move || {
            if let Ok(root) = Root::open(&root) {
                // Nobody listens any more when this was late.
                let _ = sender.send(collect(&root));
            }
        })
        .ok()?;
    Some(receiver)
}

/// One map of all traits.
pub fn merge(collected: &[Collected]) -> Value {
    let mut all = Section::new();
    for part in collected {
        if let Value::Map(section) = &part.value {
            all.extend(section.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
    }
    Value::Map(all)
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
mod tests {
    use super::*;

    #[test]
    fn everything_a_policy_may_rely_on_is_there() {
        let all = merge(&collect(Path::new("/"), 1, vec![]));
        for path in [
            "os.family",
            "os.distro",
            "os.version",
            "os.kernel",
            "os.arch",
            "os.kernel_release",
            "os.package_manager",
            "os.init",
            "network.hostname",
            "network.fqdn",
            "network.interfaces",
            "hardware.cpus",
            "hardware.memory_mb",
            "virtual.inside",
            "container.inside",
        ] {
            let segments: Vec<Arc<str>> = path.split('.').map(Arc::from).collect();
            assert!(all.at(&segments).is_some(), "{path} in {all:?}");
        }
        assert!(ir::wire::encode_value(&all).is_ok());
    }

    #[test]
    fn a_class_says_how_long_an_answer_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = collect(dir.path(), 1_000, vec![]);
        let mut marked = first.clone();
        marked
            .iter_mut()
            .for_each(|c| c.value = Value::Map([("mark".into(), c.name.as_str().into())].into()));
        let kept = |now| {
            let again = collect(dir.path(), now, marked.clone());
            let mut kept: Vec<_> =
                again.iter().filter(|c| marked.contains(c)).map(|c| c.name.clone()).collect();
            kept.sort();
            kept
        };
        assert_eq!(kept(1_001), ["container", "hardware", "os"]);
        assert_eq!(kept(1_000 + 3_600_000), ["container", "os"]);
        assert!(kept(1_000 + 86_400_000).is_empty());
        assert!(kept(999).is_empty(), "the clock went back");
    }
}
