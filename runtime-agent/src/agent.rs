//! What an agent does, as steps: collect traits, check in, verify, converge, report.
//!
//! Everything here blocks; call it from a thread that may.

use crate::apply::{self, BundleDirError};
use crate::checkin::{CheckInError, Conversation, News, Told};
use crate::clock::{Clock, Millis, SystemClock};
use crate::converge::{Converged, Forgetful, RunOptions, Triggers, converge};
use crate::facts::{HostFacts, NoSecrets, Secrets};
use crate::identity::{Identity, IdentityError};
use crate::observe::{Outcome, RunObserver, RunSummary};
use crate::platform::Platform;
use crate::renew::RenewError;
use crate::report::report_of;
use crate::resource::{Context, Managed};
use crate::root::{FsError, Root};
use crate::server::{NetError, Server};
use crate::settings::Settings;
use crate::speaker::Network;
use crate::state::{StateDir, StateError, StateLock};
use crate::store::{Past, Running, Store, StoreError, StoreTriggers};
use crate::text::printable;
use crate::traits::{self, Collected, Collectors, Traits};
use crate::verify::{Verified, VerifyError, behind};
use ir::{Module, Value};
use protocol::secrets::SecretContext;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

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

    /// Checks in, converges, reports; once.
    pub fn run_once(
        &self,
        options: &RunOptions,
        observer: &mut dyn RunObserver,
    ) -> Result<RunSummary, AgentError> {
        let mut session = self.session()?;
        let (mut server, separation) = Network::open(self, &session.identity)?;
        tracing::debug!("{}", separation.describe().unwrap_or_else(|why| why));
        let cycle = session.cycle(&mut server, options, observer);
        // Nobody else will be there when they answer.
        session.finish_collectors()?;
        cycle.map(|cycle| cycle.summary)
    }

    /// Renews the certificate now, be it time or not; when the new one ends.
    pub fn renew(&self) -> Result<Option<Millis>, RenewError> {
        let mut session = self.session()?;
        let (mut server, _) = Network::open(self, &session.identity)?;
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

/// An agent at work: it holds the lock.
pub struct Session<'a> {
    agent: &'a Agent,
    /// Who it is.
    pub identity: Identity,
    /// What it keeps.
    pub store: Store,
    told: Told,
    root: Root,
    collectors: RefCell<Collectors>,
    /// What the check-in of this turn found, for its run.
    collected: RefCell<Option<Vec<Collected>>>,
    /// What the time floor was when it was kept last, and how long the machine had been running.
    kept: Cell<Option<(Millis, Millis)>>,
    _lock: StateLock,
}

/// One turn: a check-in, a run, a delivery.
#[derive(Debug)]
pub struct Cycle {
    /// The run.
    pub summary: RunSummary,
    /// What the check-in brought, or why it brought nothing.
    pub check_in: Result<News, CheckInError>,
}

impl Session<'_> {
    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        self.agent.clock()
    }

    /// The state directory.
    pub fn state(&self) -> &StateDir {
        self.agent.state()
    }

    /// A conversation with the server.
    pub fn conversation(&self) -> Conversation<'_> {
        Conversation { identity: &self.identity, store: &self.store, clock: self.agent.clock() }
    }

    /// Puts on record that it is now. While the clock is behind what is on record, that grows by as long as the machine has been
    /// running since; otherwise a promise would never run out on a host that believes it to be 1970.
    fn keep_time(&self) -> Result<(), AgentError> {
        let clock = self.agent.clock();
        let (floor, uptime) = (self.store.marks()?.time_floor, clock.uptime());
        let passed = match self.kept.get() {
            // Another floor is the server's word, which counts from here on.
            Some((then, since)) if then == floor => uptime.saturating_sub(since),
            _ => 0,
        };
        let now = clock.now().max(floor.saturating_add(passed));
        self.store.raise_floor(now)?;
        self.kept.set(Some((now, uptime)));
        Ok(())
    }

    /// Collects traits, keeping what is still good, and asks for news.
    pub fn check_in(&self, server: &mut dyn Server) -> Result<Result<News, CheckInError>, AgentError> {
        let collected = self.collect()?;
        let told =
            traits::told(&collected, self.store.told()?, self.clock().now()).map_err(AgentError::Traits)?;
        self.store.keep_told(&told)?;
        self.collected.replace(Some(collected));
        let encoded = told.traits;
        let now = self.clock().now();
        Ok(match (self.conversation().check_in(server, &encoded, &self.told), self.identity.ended(now)) {
            // Most likely why; tried all the same, for the clock may be wrong.
            (Err(CheckInError::Net(cause)), Some(ended_at)) => {
                Err(CheckInError::CertificateEnded { ended_at, now, cause })
            }
            (news, _) => news,
        })
    }

    fn collect(&self) -> Result<Vec<Collected>, AgentError> {
        let now = self.agent.clock().now();
        let known = self.store.traits()?;
        let root = &self.agent.options.root;
        let mut collected = self.collectors.borrow_mut().collect(root, now, known.clone());
        let behind = behind(now, self.store.marks()?.time_floor);
        collected.push(traits::of_agent(now, self.store.pause(now)?.is_some(), behind.is_some()));
        self.store.keep_traits(&known, &collected)?;
        Ok(collected)
    }

    /// Waits for collectors that no run waited for, and keeps what they say for the next one.
    fn finish_collectors(&self) -> Result<(), AgentError> {
        let mut collectors = self.collectors.borrow_mut();
        if collectors.is_waiting() {
            let known = self.store.traits()?;
            let all = collectors.finish(self.agent.clock().now(), known.clone());
            self.store.keep_traits(&known, &all)?;
        }
        Ok(())
    }

    /// One turn. A check-in that fails is no reason not to converge: that is what the cache is for.
    pub fn cycle(
        &mut self,
        server: &mut dyn Server,
        options: &RunOptions,
        observer: &mut dyn RunObserver,
    ) -> Result<Cycle, AgentError> {
        let check_in = self.begin(server, observer)?;
        self.finish(check_in, server, options, observer)
    }

    /// The first half of a turn.
    pub fn begin(
        &mut self,
        server: &mut dyn Server,
        observer: &mut dyn RunObserver,
    ) -> Result<Result<News, CheckInError>, AgentError> {
        if let Some(run) = self.store.close_interrupted()? {
            observer.note(&format!(
                "the run before this one ({}) was interrupted; it is reported as such",
                run.run_id
            ));
        }
        if let Some(behind) = behind(self.clock().now(), self.store.marks()?.time_floor) {
            observer.note(&format!(
                "clock_untrusted: the clock of this host is {} behind what the server said before; that counts instead",
                crate::text::span(behind)
            ));
        }
        let check_in = self.check_in(server)?;
        // A refusal too is an answer of the server.
        if matches!(check_in, Ok(_) | Err(CheckInError::Refused { .. })) {
            self.renew_when_due(server, observer);
        }
        Ok(check_in)
    }

    /// The second half: the run, and the delivery of what waits.
    pub fn finish(
        &mut self,
        check_in: Result<News, CheckInError>,
        server: &mut dyn Server,
        options: &RunOptions,
        observer: &mut dyn RunObserver,
    ) -> Result<Cycle, AgentError> {
        let summary = match self.run(check_in.is_err(), options, observer) {
            Err(AgentError::NothingValid { bundle, .. }) => {
                return Err(AgentError::NothingValid { bundle, server: check_in.err().map(Box::new) });
            }
            Err(still @ (AgentError::Paused { .. } | AgentError::Quarantined { .. })) => {
                if check_in.is_ok() {
                    self.deliver(server, observer);
                }
                return Err(still);
            }
            other => other?,
        };
        if let Err(error) = &check_in {
            observer.note(&format!("converged from the cached bundle: {error}"));
        } else if !options.dry_run {
            self.deliver(server, observer);
        }
        Ok(Cycle { summary, check_in })
    }

    /// Delivers what waits. What cannot be delivered now waits on.
    pub fn deliver(&self, server: &mut dyn Server, observer: &mut dyn RunObserver) {
        if let Err(error) = self.conversation().drain(server, &self.told) {
            observer.note(&format!("results wait for the server: {error}"));
        }
    }

    /// Converges to the cached bundle, verified afresh.
    pub fn run(
        &self,
        offline: bool,
        options: &RunOptions,
        observer: &mut dyn RunObserver,
    ) -> Result<RunSummary, AgentError> {
        let now = self.agent.clock().now();
        if let Some(pause) = self.store.pause(now)?.filter(|_| !options.dry_run) {
            self.keep_time()?;
            return Err(AgentError::Paused { pause: pause.human(now) });
        }
        let verified = match self.conversation().load()? {
            Ok(verified) => verified,
            Err(bundle) => {
                self.keep_time()?;
                return Err(AgentError::NothingValid { bundle, server: None });
            }
        };
        exists(options, &verified.modules)?;
        let (seq, crashes) = (verified.manifest.seq, self.store.crashes()?);
        if let Some(until) = crashes.until(seq, now).filter(|_| !options.dry_run) {
            self.keep_time()?;
            return Err(AgentError::Quarantined { seq, count: crashes.count, until, now });
        }
        let collected = match self.collected.take() {
            Some(collected) => collected,
            None => self.collect()?,
        };
        let traits = Traits::from(traits::merge(&collected));
        let secrets = Sealed { identity: &self.identity, sealed: self.store.sealed()?, verified: &verified };
        let work = Work {
            modules: &verified.modules,
            hostname: &self.identity.hostname,
            traits: &traits,
            secrets: &secrets,
            offline,
        };
        if options.dry_run {
            let mut triggers = Forgetful(self.store.triggers()?);
            return self.agent.converge(&self.root, &work, options, &mut triggers, observer);
        }
        let declared: HashSet<String> = verified
            .modules
            .iter()
            .flat_map(|m| m.resources.iter().map(move |r| format!("{}.{}", m.name, r.name)))
            .collect();
        self.store.retain_triggers(&|name| declared.contains(name))?;
        let run = self.store.begin_run(&Running {
            run_id: uuid::Uuid::now_v7().to_string(),
            result_seq: 0,
            started_at: now,
            policy_version: verified.manifest.policy_version.clone(),
            release_serial: verified.manifest.release_serial,
            seq: verified.manifest.seq,
            offline,
            only: options.only.clone(),
        })?;
        observer.begins(&run.run_id, now);
        let mut summary =
            self.agent.converge(&self.root, &work, options, &mut StoreTriggers(&self.store), observer)?;
        summary.run_id.clone_from(&run.run_id);
        let past = past_of(&summary, options, now);
        self.store.end_run(&run, &report_of(&summary), &past)?;
        self.keep_time()?;
        Ok(summary)
    }
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

/// What modules are called, for people.
pub(crate) fn names(modules: &[Module]) -> String {
    modules.iter().map(|m| printable(&m.name)).collect::<Vec<_>>().join(", ")
}

fn past_of(summary: &RunSummary, options: &RunOptions, at: Millis) -> Past {
    Past {
        run_id: summary.run_id.clone(),
        at,
        took: u64::try_from(summary.duration.as_millis()).unwrap_or(u64::MAX),
        totals: summary.totals,
        offline: summary.offline,
        interrupted: false,
        only: options.only.clone(),
    }
}

/// Secrets of the bundle at hand, opened one by one when they are asked for.
pub(crate) struct Sealed<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) sealed: Vec<protocol::pb::SealedSecret>,
    pub(crate) verified: &'a Verified,
}

impl Secrets for Sealed<'_> {
    fn open(&self, path: &str) -> Option<Zeroizing<Vec<u8>>> {
        let wanted = self.verified.manifest.secret_refs.iter().find(|r| r.path == path)?;
        let sealed = self.sealed.iter().find(|s| s.path == path && s.version == wanted.version)?;
        let identity = self.identity;
        let context = SecretContext {
            cluster_id: &identity.cluster_id,
            envoy_id: &identity.envoy_id,
            path,
            version: &wanted.version,
        };
        protocol::secrets::open(&identity.seal_key, &context, sealed)
            .inspect_err(|e| tracing::warn!("secret `{}`: {e}", printable(path)))
            .ok()
    }
}

/// Full jitter: anything up to twice as long after each failure, from one second to five minutes.
pub fn back_off(failures: u32) -> Duration {
    let cap = 1000u64.checked_shl(failures.min(20)).unwrap_or(u64::MAX).clamp(1000, 300_000);
    Duration::from_millis(1000.max(random_below(cap + 1)))
}

/// An interval with its jitter, in percent to both sides.
pub fn jittered(interval: Duration, percent: u32) -> Duration {
    let ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    let width = ms / 100 * u64::from(percent.min(100));
    Duration::from_millis((ms - width).saturating_add(random_below(width.saturating_mul(2) + 1)).max(100))
}

fn random_below(limit: u64) -> u64 {
    let mut bytes = [0; 8];
    // Without random bytes all agents of a fleet come at the same time; that is bad, not wrong.
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes) % limit.max(1)
}

/// Whether anything failed.
pub fn failed(summary: &RunSummary) -> bool {
    summary.results.iter().any(|r| r.outcome == Outcome::Failed)
}

#[cfg(test)]
mod tests;
