//! Making a policy into a release, and serving the latest one, whoever made it.
//!
//! One thing at a time: whoever publishes holds `turn` from the look at what is latest to the moment it is served. Number, files
//! and audit entry are stored in one transaction, which fails when another server of the cluster was faster; what is served is
//! read back from the store after a restart. So a process that dies at any moment leaves the old release or the new one, and
//! never a part of one.

mod directory;

pub use directory::{Look, Reloaded};

use crate::catalog::{About, Candidate, Staged};
use crate::context::Context;
use crate::difference::{self, FileChange};
use crate::policy::{Checked, PolicyError};
use crate::reach::Reach;
use crate::secrets::{SecretError, named};
use crate::store::audit::{self, Event};
use crate::store::releases::{self, Freeze, NewRelease, Refused, Unpublished};
use crate::store::{StoreError, Topic};
use crate::telemetry::span;
use crate::text::moment;
use crate::tree::{Tree, TreeError};
use ir::Hash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::Instrument;

/// What is stored of the findings of a policy that was refused.
const MAX_FINDINGS: usize = 64 << 10;
/// When the latest release could not be served, it is tried again after this.
const AGAIN: Duration = Duration::from_secs(10);
/// Who publishes what lies in the directory, in the audit log.
const DIRECTORY: &str = "policy.dir";

/// What publishing remembers.
#[derive(Debug, Default)]
pub struct Publishing {
    turn: tokio::sync::Mutex<()>,
    /// The directory, when it was last taken in or refused.
    seen: Mutex<Option<Hash>>,
    /// The directory could not be taken in, for another reason than what is in it.
    failed: AtomicBool,
}

/// A policy that somebody wants to publish.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The policy.
    pub tree: Tree,
    /// Who; empty for the directory.
    pub author: String,
    /// Why.
    pub message: String,
    /// The release whose files these are.
    pub rolled_back_from: Option<u64>,
    /// The latest release when the wish came (0: none); `None` for whatever is latest when its turn comes.
    pub base: Option<u64>,
    /// The plan that was looked at before; another one is not carried out.
    pub expected: Option<String>,
    /// Only says what would happen.
    pub dry_run: bool,
    /// Also while publishing is frozen, and when secrets are missing.
    pub force: bool,
}

impl Wish {
    /// Of a policy, without conditions.
    pub fn new(tree: Tree) -> Self {
        Wish {
            tree,
            author: String::new(),
            message: String::new(),
            rolled_back_from: None,
            base: None,
            expected: None,
            dry_run: false,
            force: false,
        }
    }
}

/// What publishing a policy does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The release that it was compared with; null when it is the first one.
    pub base: Option<u64>,
    /// SHA-256 of the policy, in hexadecimal digits.
    pub digest: String,
    /// Identifies base, policy, and what changes on how many envoys of which kind.
    pub plan_digest: String,
    /// Files that differ from the release before.
    pub changes: Vec<FileChange>,
    /// What it does to the fleet.
    pub reach: Reach,
    /// Warnings of the compiler.
    pub warnings: u64,
    /// The warnings with the lines they stand in.
    pub findings: String,
}

/// What became of a wish.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The latest release has this policy.
    Unchanged(u64),
    /// It was a dry run.
    Planned(Plan),
    /// It is served.
    Published {
        /// Its number.
        serial: u64,
        /// What it did.
        plan: Plan,
        /// What checking found.
        checked: Checked,
        /// From the beginning of its turn to serving it.
        took: Duration,
    },
}

/// Why nothing was published. What was served is still served.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It cannot be read.
    #[error("cannot read the policy: {0}")]
    Policy(#[from] PolicyError),
    /// It is none.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// It has errors.
    #[error("the policy has {}; what was served is still served", errors(.0))]
    Refused(Box<Checked>),
    /// It names secrets that there are not.
    #[error("the policy names secrets that cannot be had; what was served is still served")]
    Secrets(Box<Checked>),
    /// Nobody can say whether the secrets that it names are there.
    #[error(
        "{0}; whether the policy's secrets are there cannot be said now, so it is not published: try again"
    )]
    Unavailable(SecretError),
    /// Not before some time.
    #[error("{}", frozen(.0))]
    Frozen(Freeze),
    /// Somebody was faster.
    #[error("release {serial} was published meanwhile{}; look at it, and publish again", by(.author))]
    Moved {
        /// The latest release.
        serial: u64,
        /// Who made it; empty for a directory.
        author: String,
    },
    /// The plan is not the expected one.
    #[error(
        "the plan is another one by now, {}: the release before it, the policy or the fleet has changed; \
         look at it again with a dry run",
        .0.plan_digest
    )]
    PlanChanged(Box<Plan>),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A release in the store is not what it was.
    #[error("release {0} in the store is damaged; publish its policy again, or another one")]
    Damaged(u64),
    /// A bug; the log has the panic.
    #[error("the compiler crashed")]
    Crashed,
}

fn errors(checked: &Checked) -> String {
    if checked.errors == 1 { "1 error".to_owned() } else { format!("{} errors", checked.errors) }
}

/// ` by ann`, for whoever is known.
fn by(author: &str) -> String {
    if author.is_empty() { String::new() } else { format!(" by {author}") }
}

fn frozen(freeze: &Freeze) -> String {
    let reason = if freeze.reason.is_empty() { String::new() } else { format!(": {}", freeze.reason) };
    format!("publishing is frozen until {}{}{reason}", moment(freeze.until), by(&freeze.by))
}

impl Context {
    /// Publishes a policy, or says what that would do.
    pub async fn publish(self: &Arc<Self>, wish: Wish) -> Result<Outcome, PublishError> {
        let this = self.clone();
        // A task of its own: whoever asked may go away, and half of it must not be left.
        let published = tokio::spawn(async move {
            let _turn = this.publishing.turn.lock().await;
            this.in_turn(wish).instrument(span!("publish")).await
        });
        published.await.map_err(|_| PublishError::Crashed)?
    }

    async fn in_turn(self: &Arc<Self>, wish: Wish) -> Result<Outcome, PublishError> {
        let (begin, now) = (Instant::now(), self.clock.now());
        if let Err(e) = self.follow_in_turn().await {
            // A damaged release must not keep a good one from being published.
            tracing::error!(error = %e, "cannot serve the latest release");
        }
        let (latest, freeze) =
            self.store.read(move |conn| Ok((releases::latest(conn)?, releases::frozen(conn, now)?))).await?;
        let base = latest.as_ref().map_or(0, |latest| latest.serial);
        if let Some(latest) = &latest {
            if wish.base.is_some_and(|known| known != base) {
                return Err(PublishError::Moved { serial: base, author: latest.author.clone() });
            }
            if latest.digest == wish.tree.digest() {
                return self.unchanged(base, &wish).await;
            }
        }
        if let Some(freeze) = freeze.filter(|_| !wish.force && !wish.dry_run) {
            return Err(PublishError::Frozen(freeze));
        }
        let staged = match self.stage(&wish.tree, base + 1, false).await? {
            Candidate::Ready(staged) => staged,
            Candidate::Refused(checked) => {
                self.refuse(&wish, &checked).await;
                return Err(PublishError::Refused(Box::new(checked)));
            }
        };
        match self.plan(base, staged.about.clone(), &wish).await {
            Ok(plan) if wish.dry_run => {
                self.catalog.put_back(*staged);
                Ok(Outcome::Planned(plan))
            }
            Ok(plan) => self.carry_out(base, *staged, plan, wish, begin).await,
            Err(e) => {
                self.catalog.put_back(*staged);
                if let PublishError::Secrets(checked) = &e {
                    self.refuse(&wish, checked).await;
                }
                Err(e)
            }
        }
    }

    /// The latest release has this policy. Should it be damaged in the store, here are its files.
    async fn unchanged(self: &Arc<Self>, serial: u64, wish: &Wish) -> Result<Outcome, PublishError> {
        if wish.dry_run {
            return Ok(Outcome::Unchanged(serial));
        }
        if self.catalog.release().is_some_and(|release| release.serial == serial) {
            self.store.call(releases::forgive).await?;
        } else {
            let files = wish.tree.bytes()?;
            self.store.call(move |conn| releases::keep(conn, serial, &files)).await?;
            self.serve_stored(wish.tree.clone(), serial).await?;
        }
        Ok(Outcome::Unchanged(serial))
    }

    async fn plan(self: &Arc<Self>, base: u64, about: Arc<About>, wish: &Wish) -> Result<Plan, PublishError> {
        let (this, tree, named) = (self.clone(), wish.tree.clone(), about.clone());
        let rolls_back = wish.rolled_back_from.is_some();
        let check_secrets = !wish.force;
        let before = match self.catalog.tree(base) {
            Some(tree) => Some(tree),
            None => self.stored_tree(base).await.unwrap_or_default(),
        };
        let changes = blocking(move || {
            match if check_secrets {
                named::amiss(&this.secrets, &named.secrets, &named.denied, &tree)
            } else {
                Ok(None)
            } {
                Ok(None) => {}
                Ok(Some(findings)) => return Err(PublishError::Secrets(Box::new(findings))),
                // They were there when it was published the first time.
                Err(e) if rolls_back => tracing::warn!(error = %e, "secrets are not looked for"),
                Err(e) => return Err(PublishError::Unavailable(e)),
            }
            Ok(difference::changes(before.as_ref(), &tree))
        })
        .await??;
        let digest = wish.tree.digest();
        let plan_digest = Hash::of_parts(&[b"vigo/plan/v1", &base.to_be_bytes(), &digest.0, &about.effect.0]);
        let plan = Plan {
            base: (base > 0).then_some(base),
            digest: digest.to_string(),
            plan_digest: plan_digest.to_string()[..32].to_owned(),
            changes,
            reach: about.reach.clone(),
            warnings: about.checked.warnings as u64,
            findings: about.checked.plain(),
        };
        match &wish.expected {
            Some(expected) if *expected != plan.plan_digest => Err(PublishError::PlanChanged(Box::new(plan))),
            _ => Ok(plan),
        }
    }

    async fn carry_out(
        self: &Arc<Self>,
        base: u64,
        staged: Staged,
        plan: Plan,
        wish: Wish,
        begin: Instant,
    ) -> Result<Outcome, PublishError> {
        let serial = match self.store_release(base, &plan, &wish).await {
            Ok(serial) => serial,
            Err(e) => {
                self.catalog.put_back(staged);
                return Err(e);
            }
        };
        let checked = staged.about.checked.clone();
        self.serve(staged).await?;
        let took = begin.elapsed();
        tracing::info!(
            release = serial,
            author = if wish.author.is_empty() { DIRECTORY } else { &wish.author },
            rolled_back_from = wish.rolled_back_from,
            changed = changed(&plan),
            modules = checked.modules,
            classes = checked.classes,
            warnings = checked.warnings,
            envoys = plan.reach.envoys,
            changed_envoys = plan.reach.changed,
            variants = plan.reach.variants,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "policy published"
        );
        Ok(Outcome::Published { serial, plan, checked, took })
    }

    async fn store_release(&self, base: u64, plan: &Plan, wish: &Wish) -> Result<u64, PublishError> {
        let json = |e: serde_json::Error| StoreError::Refused(e.to_string());
        let release = NewRelease {
            digest: wish.tree.digest(),
            author: wish.author.clone(),
            message: wish.message.clone(),
            summary: serde_json::to_string(&plan.changes).map_err(json)?,
            blast_radius: serde_json::to_string(&plan.reach).map_err(json)?,
            rolled_back_from: wish.rolled_back_from,
            files: wish.tree.bytes()?,
        };
        let (now, force) = (self.clock.now(), wish.force);
        let published = self.store.call(move |conn| {
            conn.attempt(|conn| {
                let serial = match releases::publish(conn, &release, base, force, now)? {
                    Ok(serial) => serial,
                    Err(why) => return Ok(Err(why)),
                };
                let actor = if release.author.is_empty() { DIRECTORY } else { &release.author };
                let action =
                    if release.rolled_back_from.is_some() { "release.rollback" } else { "release.publish" };
                let back = release.rolled_back_from.map(|serial| format!("to the policy of {serial}"));
                let forced = force.then(|| "forced".to_owned());
                let message = Some(release.message.clone()).filter(|m| !m.is_empty());
                let details: Vec<String> = [back, forced, message].into_iter().flatten().collect();
                let (subject, details) = (serial.to_string(), details.join("; "));
                audit::append(conn, &Event::new(now, actor, action, &subject, &details))?;
                Ok(Ok(serial))
            })
        });
        published.await?.map_err(|why| match why {
            Unpublished::Frozen(freeze) => PublishError::Frozen(freeze),
            Unpublished::Moved(latest) => {
                PublishError::Moved { serial: latest.serial, author: latest.author }
            }
        })
    }

    /// Remembers, for whoever looks, that somebody wants something else to be served.
    async fn refuse(&self, wish: &Wish, checked: &Checked) {
        if wish.dry_run {
            return;
        }
        let mut diagnostics = checked.plain();
        if diagnostics.len() > MAX_FINDINGS {
            diagnostics.truncate(diagnostics.floor_char_boundary(MAX_FINDINGS));
            diagnostics.push_str("\n(further findings are left out)\n");
        }
        let refused = Refused {
            digest: wish.tree.digest(),
            author: wish.author.clone(),
            at: self.clock.now(),
            diagnostics,
        };
        if let Err(e) = self.store.call(move |conn| releases::refuse(conn, &refused)).await {
            tracing::error!(error = %e, "that a policy was refused cannot be stored");
        }
    }

    /// Serves the latest release of the store, when that is not what is served.
    pub async fn follow(self: &Arc<Self>) -> Result<(), PublishError> {
        let _turn = self.publishing.turn.lock().await;
        self.follow_in_turn().await
    }

    async fn follow_in_turn(self: &Arc<Self>) -> Result<(), PublishError> {
        let served = self.catalog.release().map_or(0, |release| release.serial);
        let latest = self.store.read(releases::latest).await?;
        let Some(latest) = latest.filter(|latest| latest.serial != served) else { return Ok(()) };
        match self.stored_tree(latest.serial).await? {
            Some(tree) if tree.digest() == latest.digest => self.serve_stored(tree, latest.serial).await,
            _ => Err(PublishError::Damaged(latest.serial)),
        }
    }

    async fn stored_tree(&self, serial: u64) -> Result<Option<Tree>, PublishError> {
        let files = match self.store.read(move |conn| releases::tree(conn, serial)).await {
            Err(StoreError::Column(_)) => return Err(PublishError::Damaged(serial)),
            files => files?,
        };
        Ok(Some(files).filter(|files| !files.is_empty()).map(Tree::stored))
    }

    /// Serves what was published before, whatever this version of the compiler finds in it: classes without errors get what
    /// they should, the others keep what they have.
    async fn serve_stored(self: &Arc<Self>, tree: Tree, serial: u64) -> Result<(), PublishError> {
        match self.stage(&tree, serial, true).await? {
            Candidate::Ready(staged) => {
                let checked = &staged.about.checked;
                if checked.errors > 0 {
                    tracing::error!(
                        release = serial,
                        errors = checked.errors,
                        "a release that was published by another version has errors for this one\n{}",
                        checked.plain()
                    );
                }
                self.serve(*staged).await
            }
            Candidate::Refused(checked) => Err(PublishError::Refused(Box::new(checked))),
        }
    }

    async fn stage(
        self: &Arc<Self>,
        tree: &Tree,
        serial: u64,
        anyway: bool,
    ) -> Result<Candidate, PublishError> {
        let (this, tree) = (self.clone(), tree.clone());
        blocking(move || this.catalog.stage(&tree, serial, &this.fleet.active(), &this.secret_rules, anyway))
            .await
    }

    async fn serve(self: &Arc<Self>, staged: Staged) -> Result<(), PublishError> {
        let this = self.clone();
        let about = staged.about.clone();
        let release = blocking(move || this.catalog.serve(staged)).await?;
        tracing::info!(
            release = release.serial,
            envoys = about.reach.envoys,
            changed_envoys = about.reach.changed,
            variants = about.reach.variants,
            "release served"
        );
        // Nobody waits for it, but the next change, which it makes quick.
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.catalog.catch_up(&this.fleet.active()));
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PublishError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| PublishError::Crashed)
}

/// For a line of the log.
fn changed(plan: &Plan) -> String {
    const MOST: usize = 20;
    let names: Vec<&str> = plan.changes.iter().map(|change| change.path.as_str()).collect();
    match (plan.base, names.get(..MOST)) {
        (None, _) => String::new(),
        (_, Some(first)) if names.len() > MOST => {
            format!("{} and {} more", first.join(", "), names.len() - MOST)
        }
        _ => names.join(", "),
    }
}

/// Serves the latest release, and every one that another server makes, until `stop` turns true.
pub async fn keep_up(context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    let mut changes = context.store.watch(Topic::Releases);
    loop {
        changes.mark_unchanged();
        let followed = context.follow().await;
        if let Err(e) = &followed {
            tracing::error!(error = %e, "cannot serve the latest release; what was served stays, will try again");
        }
        let next = async {
            match followed {
                Ok(()) => changes.changed().await.is_ok(),
                Err(_) => tokio::time::timeout(AGAIN, changes.changed()).await.unwrap_or(Ok(())).is_ok(),
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            more = next => if !more { return },
        }
    }
}
