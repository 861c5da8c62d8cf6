//! What a run tells whoever watches, and what it sums up to.

use std::time::Duration;

/// What became of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was as declared.
    Ok,
    /// It was brought there; in a dry run: would be.
    Changed,
    /// It could not be.
    Failed,
    /// It was not its turn: `when` is false, or a dependency failed.
    Skipped,
}

impl Outcome {
    /// As printed.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Changed => "changed",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
        }
    }
}

/// One resource in one run. Holds no secret.
#[derive(Clone, Debug)]
pub struct ResourceReport {
    /// Its module.
    pub module: String,
    /// Its name there.
    pub resource: String,
    /// Its type.
    pub kind: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What was done (`created`, `content, mode 0644 -> 0600`), or why it was skipped.
    pub action: String,
    /// What it is about: a path, a command.
    pub detail: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Lines added and removed, where content changed and may be shown.
    pub lines: Option<(usize, usize)>,
    /// Unified diff, where one was asked for and may be shown.
    pub diff: Option<String>,
    /// How long it took.
    pub duration: Duration,
}

/// How the action of a resource begins that was skipped because of another one.
pub(crate) const BLOCKED: &str = "dependency ";
/// How the action of a resource begins that a sandbox leaves alone.
pub(crate) const WOULD_CHANGE: &str = "would change: ";

impl ResourceReport {
    /// Skipped because one that it depends on failed.
    pub fn is_blocked(&self) -> bool {
        self.outcome == Outcome::Skipped && self.action.starts_with(BLOCKED)
    }

    /// Skipped because it is about the machine and this is a sandbox; the action says what a host would get.
    pub fn would_change(&self) -> bool {
        self.outcome == Outcome::Skipped && self.action.starts_with(WOULD_CHANGE)
    }
}

/// Told of each resource as it happens.
pub trait RunObserver {
    /// A run that will be reported begins now: its id, and milliseconds since 1970-01-01 UTC.
    fn begins(&mut self, _run_id: &str, _at: u64) {}

    /// A resource has its outcome.
    fn resource(&mut self, report: &ResourceReport);

    /// Something people should know that is not about one resource.
    fn note(&mut self, _text: &str) {}
}

/// Watches nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl RunObserver for Silent {
    fn resource(&mut self, _report: &ResourceReport) {}
}

/// Counts by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// As declared.
    pub ok: u32,
    /// Brought there.
    pub changed: u32,
    /// Could not be.
    pub failed: u32,
    /// Not its turn.
    pub skipped: u32,
}

impl Totals {
    /// Counts one more.
    pub fn count(&mut self, outcome: Outcome) {
        let slot = match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Changed => &mut self.changed,
            Outcome::Failed => &mut self.failed,
            Outcome::Skipped => &mut self.skipped,
        };
        *slot += 1;
    }
}

/// One convergence.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// UUIDv7.
    pub run_id: String,
    /// Counts.
    pub totals: Totals,
    /// Every resource, in the order it was taken.
    pub results: Vec<ResourceReport>,
    /// How long it took.
    pub duration: Duration,
    /// Nothing was changed; `changed` counts what would be.
    pub dry_run: bool,
    /// The server was out of reach; the cached bundle was used.
    pub offline: bool,
    /// Stopped by a signal before the last resource.
    pub stopped: bool,
}
