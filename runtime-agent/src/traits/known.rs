//! Traits as the expressions of a run see them.

use super::{Collected, Collectors, collect, merge};
use crate::clock::Millis;
use ir::Value;
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A map of traits, and perhaps collectors that were not asked yet.
#[derive(Debug)]
pub struct Traits {
    known: Value,
    late: Option<Late>,
}

#[derive(Debug)]
struct Late {
    root: PathBuf,
    now: Millis,
    collected: Vec<Collected>,
    all: OnceCell<Value>,
}

impl Traits {
    /// Collects below `root` for a run that keeps nothing. Slow collectors begin when a trait is asked for that is not known,
    /// and whoever asked waits for them: a package manager takes longer to look for updates than most runs, and few runs ask.
    pub fn collect(root: &Path, now: Millis) -> Self {
        let collected = Collectors::default().collect_quick(root, now);
        let known = merge(&collected);
        Traits { known, late: Some(Late { root: root.to_owned(), now, collected, all: OnceCell::new() }) }
    }

    /// Those that nobody has to wait for. Decides on platforms, of which slow collectors say nothing.
    pub fn known(&self) -> &Value {
        &self.known
    }

    #[cfg(test)]
    pub(super) fn asked_the_slow(&self) -> bool {
        self.late.as_ref().is_none_or(|late| late.all.get().is_some())
    }

    /// The trait at a path.
    pub fn at(&self, path: &[Arc<str>]) -> Option<&Value> {
        match (self.known.at(path), &self.late) {
            (None, Some(late)) => late.all().at(path),
            (known, _) => known,
        }
    }
}

impl From<Value> for Traits {
    /// All there are.
    fn from(known: Value) -> Self {
        Traits { known, late: None }
    }
}

impl Late {
    fn all(&self) -> &Value {
        self.all.get_or_init(|| merge(&collect(&self.root, self.now, self.collected.clone())))
    }
}
