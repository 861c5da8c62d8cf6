//! Looking while an agent is at work: what a run would be made from, without the lock. Nothing is written and nobody is asked.

use super::{Agent, AgentError, Work, exists};
use crate::checkin::Conversation;
use crate::converge::{Forgetful, RunOptions};
use crate::identity::{Identity, IdentityError};
use crate::observe::{RunObserver, RunSummary};
use crate::root::Root;
use crate::store::Store;
use crate::traits::{self, Collected, Collectors, Traits};
use crate::verify::{Verified, behind};

impl Agent {
    /// What a run would change, by the bundle that is held.
    pub(super) fn dry_run_beside(
        &self,
        options: &RunOptions,
        observer: &mut dyn RunObserver,
    ) -> Result<RunSummary, AgentError> {
        let identity = Identity::load(self.state())?;
        let store = Store::look(self.state())?.ok_or(IdentityError::NotEnrolled)?;
        let conversation = Conversation { identity: &identity, store: &store, clock: self.clock() };
        let verified =
            conversation.inspect()?.map_err(|bundle| AgentError::NothingValid { bundle, server: None })?;
        exists(options, &verified.modules)?;
        observer
            .note("an agent is at work here; this is by the bundle that it holds, the server was not asked");
        self.beside(&identity, &store, &verified, |root, work| {
            self.converge(root, work, options, &mut Forgetful(store.triggers()?), observer)
        })
    }

    /// Gathers what a run of that bundle would be made from.
    pub(crate) fn beside<T>(
        &self,
        identity: &Identity,
        store: &Store,
        verified: &Verified,
        look: impl FnOnce(&Root, &Work<'_>) -> Result<T, AgentError>,
    ) -> Result<T, AgentError> {
        let root = Root::open(self.root_path())?;
        let collected = self.collect(store, &mut Collectors::default(), store.traits()?)?;
        let traits = Traits::from(traits::merge(&collected));
        let secrets = super::Sealed { identity, sealed: store.sealed()?, verified };
        let work = Work {
            modules: &verified.modules,
            hostname: &identity.hostname,
            traits: &traits,
            secrets: &secrets,
            offline: true,
        };
        look(&root, &work)
    }

    /// Traits, of which what is `known` is kept as long as it is good.
    pub(super) fn collect(
        &self,
        store: &Store,
        collectors: &mut Collectors,
        known: Vec<Collected>,
    ) -> Result<Vec<Collected>, AgentError> {
        let now = self.clock().now();
        let mut collected = collectors.collect(self.root_path(), now, known);
        let behind = behind(now, store.marks()?.time_floor);
        collected.push(traits::of_agent(now, store.pause(now)?.is_some(), behind.is_some()));
        Ok(collected)
    }
}
