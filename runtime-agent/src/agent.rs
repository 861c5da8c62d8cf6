//! What an agent does, as steps: collect traits, check in, verify, converge, report.
//!
//! Everything here blocks; call it from a thread that may.

mod beside;
mod pace;
mod session;

pub use pace::{back_off, jittered};
pub(crate) use session::Sealed;
pub use session::{Cycle, Session};

use crate::apply::{self, BundleDirError};
use crate::checkin::{CheckInError, Told};
use crate::clock::{Clock, Millis, SystemClock};
use crate::converge::{Converged, Forgetful, RunOptions, Triggers, converge};
use crate::facts::{HostFacts, NoSecrets, Secrets};
use crate::identity::{Identity, IdentityError};
use crate::observe::{Outcome, RunObserver, RunSummary};
use crate::platform::Platform;
use crate::renew::RenewError;
use crate::resource::{Context, Managed, Units};
use crate::root::{FsError, Root};
use crate::server::NetError;
use crate::settings::Settings;
use crate::speaker::Network;
use crate::state::{StateDir, StateError};
use crate::store::{Store, StoreError, StoreTriggers};
use crate::text::printable;
use crate::traits::{self, Traits};
use crate::verify::VerifyError;
use ir::{Module, Value};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Where an agent works and what it is given.
#[derive(Clone)]
pub struct AgentOptions {
    /// Every path lies below; `/` on a host.
    pub root: PathBuf,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Set from outside: stop after the resource at hand.
    pub stop: Arc<AtomicBool>,
    /// Whether the server is spoken to by a process of its own where that can be. It is this program, started as
    /// `vigo talk`, so only `vigo` itself may have it.
    pub split: bool,
}

impl Default for AgentOptions {
    fn default() -> Self {
        AgentOptions {
            root: PathBuf::from("/"),
            clock: Arc::new(SystemClock),
            stop: Arc::default(),
            split: false,
        }
    }
}

/// Why an agent did not do it.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The root directory.
    #[error(transparent)]
    Root(#[from] FsError),
    /// The state directory, or its lock.
    #[error(transparent)]
    State(#[from] StateError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A bundle in files.
    #[error(transparent)]
    BundleDir(#[from] BundleDirError),
    /// The network, outside a check-in.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Traits that cannot be encoded.
    #[error("the traits of this host are too large to be sent: {0}")]
    Traits(ir::wire::WireError),
    /// `--only` with a name that nothing has.
    #[error("nothing of this host's policy is called `{}`; its modules: {modules}", printable(only))]
    NoSuch {
        /// What was asked for.
        only: String,
        /// What there is.
        modules: String,
    },
    /// It ended the agent, several times in a row.
    #[error(
        "not converging: the agent did not survive bundle {seq}, {count} times in a row; it is tried again in {}, and the next \
         release at once",
        crate::text::span(until.saturating_sub(*now))
    )]
    Quarantined {
        /// The bundle.
        seq: u64,
        /// How often.
        count: u32,
        /// When it is tried again.
        until: Millis,
        /// Now.
        now: Millis,
    },
    /// Somebody paused it.
    #[error("not converging: paused for {pause}; `vigo resume` ends it, `--dry-run` shows what would change")]
    Paused {
        /// How long still, and why.
        pause: String,
    },
    /// No bundle to converge to.
    #[error("not converging: {bundle}{}", server.as_ref().map(|e| format!("; {e}")).unwrap_or_default())]
    NothingValid {
        /// What is wrong with the cached one.
        bundle: VerifyError,
        /// Why there is no newer one.
        server: Option<Box<CheckInError>>,
    },
}

impl AgentError {
    /// As in the table of exit codes.
    pub fn exit_code(&self) -> u8 {
        match self {
            AgentError::State(StateError::Locked(_)) | AgentError::Store(StoreError::Busy(_)) => 75,
            AgentError::Store(StoreError::State(StateError::Locked(_))) => 75,
            AgentError::NothingValid { .. } | AgentError::Net(NetError::Unreachable { .. }) => 69,
            AgentError::Paused { .. } => 75,
            AgentError::Quarantined { .. } => 1,
            AgentError::NoSuch { .. } => 64,
            AgentError::Traits(_) => 70,
            _ => 65,
        }
    }
}

/// An agent; see the module.
#[derive(Clone)]
pub struct Agent {
    options: AgentOptions,
    state: StateDir,
}

impl Agent {
    /// Touches nothing yet.
    pub fn new(options: AgentOptions) -> Self {
        let state = StateDir::below(&options.root);
        Agent { options, state }
    }

    /// The state directory.
    pub fn state(&self) -> &StateDir {
        &self.state
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.options.clock
    }

    /// The root directory.
    pub fn root_path(&self) -> &Path {
        &self.options.root
    }

    /// Whether the server is spoken to by a process of its own.
    pub(crate) fn is_split(&self) -> bool {
        self.options.split
    }

    fn stop(&self) -> &AtomicBool {
        &self.options.stop
    }

    /// The clock, for another thread.
    pub fn shared_clock(&self) -> Arc<dyn Clock> {
        self.options.clock.clone()
    }

    /// What says to stop, for another thread.
    pub fn shared_stop(&self) -> Arc<AtomicBool> {
        self.options.stop.clone()
    }

    /// Converges to a bundle in files; no server, no secrets. A dry run leaves no trace.
    pub fn apply(
        &self,
        directory: &Path,
        envoy: Option<&str>,
        options: &RunOptions,
        observer: &mut dyn RunObserver,
    ) -> Result<RunSummary, AgentError> {
        let bundle = apply::load(directory, envoy)?;
        exists(options, &bundle.modules)?;
        let root = Root::open(&self.options.root)?;
        let now = self.clock().now();
        let traits = Traits::collect(&self.options.root, now);
        let work = Work {
            modules: &bundle.modules,
            hostname: &bundle.envoy,
            traits: &traits,
            secrets: &NoSecrets,
            offline: false,
        };
        if options.dry_run {
            let pending = Store::look(&self.state)?.map(|s| s.triggers()).transpose()?.unwrap_or_default();
            return self.converge(&root, &work, options, &mut Forgetful(pending), observer);
        }
        self.state.prepare()?;
        let _lock = self.state.lock()?;
        let store = Store::open(&self.state, Identity::exists(&self.state), now)?;
        self.converge(&root, &work, options, &mut StoreTriggers(&store), observer)
    }

    /// Checks in, converges, reports; once. A dry run beside an agent that is at work shows what its bundle would change.
    pub fn run_once(
        &self,
        options: &RunOptions,
        observer: &mut dyn RunObserver,
    ) -> Result<RunSummary, AgentError> {
        let mut session = match self.session() {
            Err(AgentError::State(StateError::Locked(_))) if options.dry_run => {
                return self.dry_run_beside(options, observer);
            }
            session => session?,
        };
        let (mut server, separation) = Network::open(self, &session.identity, session.signed_time()?)?;
        tracing::debug!("{}", separation.describe().unwrap_or_else(|why| why));
        let cycle = session.cycle(&mut server, options, observer);
        // Nobody else will be there when they answer.
        session.finish_collectors()?;
        cycle.map(|cycle| cycle.summary)
    }

    /// Renews the certificate now, be it time or not; when the new one ends.
    pub fn renew(&self) -> Result<Option<Millis>, RenewError> {
        let mut session = self.session()?;
        let (mut server, _) = Network::open(self, &session.identity, session.signed_time()?)?;
        session.renew(&mut server)?;
        Ok(session.identity.certificate().map(|certificate| certificate.not_after))
    }

    /// Takes the lock and opens the store; for as long as the session lives, this is the agent of the host.
    pub fn session(&self) -> Result<Session<'_>, AgentError> {
        let identity = Identity::load(&self.state)?;
        self.state.prepare()?;
        let lock = self.state.lock()?;
        let store = Store::open(&self.state, true, self.clock().now())?;
        if store.belong_to(&identity.envoy_id)? {
            tracing::warn!(
                "what was kept for another envoy of this host is forgotten: the host was enrolled again"
            );
        }
        let root = Root::open(&self.options.root)?;
        Ok(Session {
            agent: self,
            identity,
            store,
            told: Told::default(),
            root,
            collectors: RefCell::default(),
            collected: RefCell::default(),
            kept: Cell::default(),
            _lock: lock,
        })
    }

    /// Traits as they are now; the cache is neither read nor written.
    pub fn traits(&self) -> Value {
        traits::merge(&traits::collect(&self.options.root, self.clock().now(), Vec::new()))
    }

    /// What expressions are computed from.
    pub(crate) fn facts<'a>(&'a self, root: &'a Root, work: &Work<'a>) -> HostFacts<'a> {
        HostFacts {
            root,
            hostname: work.hostname,
            traits: work.traits,
            clock: self.clock(),
            secrets: work.secrets,
            changed: Cell::new(false),
            touched: Cell::new(false),
            missing: RefCell::new(None),
        }
    }

    pub(crate) fn converge(
        &self,
        root: &Root,
        work: &Work<'_>,
        options: &RunOptions,
        triggers: &mut dyn Triggers,
        observer: &mut dyn RunObserver,
    ) -> Result<RunSummary, AgentError> {
        let started = Instant::now();
        let facts = self.facts(root, work);
        let context = Context {
            root,
            now: self.clock().now() / 1000,
            diff: options.diff,
            // In a sandbox of an ordinary user all files are that user's.
            ownership: root.is_host() || nix::unistd::geteuid().is_root(),
            managed: &Managed::unknown(),
            units: &Units::none(),
            platform: &Platform::of(work.traits.known(), root),
            limit: Settings::of(root.path()).resource_limit,
        };
        let Converged { results, totals, stopped } =
            converge(work.modules, &facts, &context, options, triggers, observer, self.stop())?;
        Ok(RunSummary {
            run_id: uuid::Uuid::now_v7().to_string(),
            totals,
            results,
            duration: started.elapsed(),
            dry_run: options.dry_run,
            offline: work.offline,
            stopped,
        })
    }
}

/// What to converge to, and with what.
pub(crate) struct Work<'a> {
    pub(crate) modules: &'a [Module],
    pub(crate) hostname: &'a str,
    pub(crate) traits: &'a Traits,
    pub(crate) secrets: &'a dyn Secrets,
    pub(crate) offline: bool,
}

/// What modules are called, for people.
pub(crate) fn names(modules: &[Module]) -> String {
    modules.iter().map(|m| printable(&m.name)).collect::<Vec<_>>().join(", ")
}

/// A name that nothing has is a slip, not a run in which all is well.
pub(crate) fn exists(options: &RunOptions, modules: &[Module]) -> Result<(), AgentError> {
    match &options.only {
        Some(only) if !options.finds(modules) => {
            Err(AgentError::NoSuch { only: only.clone(), modules: names(modules) })
        }
        _ => Ok(()),
    }
}

/// Whether anything failed.
pub fn failed(summary: &RunSummary) -> bool {
    summary.results.iter().any(|r| r.outcome == Outcome::Failed)
}

#[cfg(test)]
mod tests;
