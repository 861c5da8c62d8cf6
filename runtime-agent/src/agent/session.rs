//! An agent at work: the steps of a turn, under the lock of the state directory.

use super::{Agent, AgentError, Work, exists};
use crate::checkin::{CheckInError, Conversation, News, Told};
use crate::clock::{Clock, Millis};
use crate::converge::{Forgetful, RunOptions};
use crate::facts::Secrets;
use crate::identity::Identity;
use crate::observe::{RunObserver, RunSummary};
use crate::report::report_of;
use crate::root::Root;
use crate::server::Server;
use crate::state::{StateDir, StateLock};
use crate::store::{Past, Running, Store, StoreTriggers};
use crate::text::printable;
use crate::traits::{self, Collected, Collectors, Traits};
use crate::verify::{Verified, behind};
use protocol::secrets::SecretContext;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use zeroize::Zeroizing;

/// An agent at work: it holds the lock.
pub struct Session<'a> {
    pub(super) agent: &'a Agent,
    /// Who it is.
    pub identity: Identity,
    /// What it keeps.
    pub store: Store,
    pub(super) told: Told,
    pub(super) root: Root,
    pub(super) collectors: RefCell<Collectors>,
    /// What the check-in of this turn found, for its run.
    pub(super) collected: RefCell<Option<Vec<Collected>>>,
    /// What the time floor was when it was kept last, and how long the machine had been running.
    pub(super) kept: Cell<Option<(Millis, Millis)>>,
    pub(super) _lock: StateLock,
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

    /// When the server last signed what time it is.
    pub fn signed_time(&self) -> Result<Millis, AgentError> {
        Ok(self.conversation().signed_time()?)
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
        let known = self.store.traits()?;
        let collected = self.agent.collect(&self.store, &mut self.collectors.borrow_mut(), known.clone())?;
        self.store.keep_traits(&known, &collected)?;
        Ok(collected)
    }

    /// Waits for collectors that no run waited for, and keeps what they say for the next one.
    pub(super) fn finish_collectors(&self) -> Result<(), AgentError> {
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
