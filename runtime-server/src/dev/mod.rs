//! `vigosrv dev`: a server and an agent in one process, over a directory that is removed at the end.
//!
//! Everything is the real thing: certificates, enrolment by token, signed bundles, the agent's own state on disk.
//! Only the place is another one, and secrets are made up.

mod agent;
mod sample;
mod show;

use crate::clock::Clock;
use crate::compiled::Directory;
use crate::init::{self, InitError};
use crate::policy::{PolicyError, Variant};
use crate::publish::{PublishError, Reloaded};
use crate::secrets::Backend;
use crate::server::{Server, StartError};
use crate::store::api_tokens::Role;
use crate::watch::Watch;
use agent::{AgentThread, Event};
use show::{say, took};
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// How long the dashboard's token can be used.
const SIGNED_IN: Duration = Duration::from_secs(30 * 86_400);

/// What to try out, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// The policy.
    pub policy: PathBuf,
    /// The envoy's name; one that the policy knows when nothing is said.
    pub hostname: Option<String>,
    /// Ends after the first full convergence.
    pub once: bool,
}

/// Why there is nothing to be seen.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The policy cannot be read.
    #[error("{0}")]
    Policy(#[from] PolicyError),
    /// No name fits.
    #[error("no node entry of {} matches a host name that could be made up; give one with --hostname", .0.display())]
    NoHost(PathBuf),
    /// The name does not fit.
    #[error("no node entry matches `{0}`")]
    NoEntry(String),
    /// The temporary directory.
    #[error("cannot make a temporary directory: {0}")]
    Temporary(io::Error),
    /// The server's directory.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The server.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The policy again.
    #[error(transparent)]
    Reload(#[from] PublishError),
    /// Signals.
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
    /// The agent.
    #[error("the agent ended: {0}")]
    Agent(String),
}

/// Shows it; true when everything converged.
pub async fn run(options: &Options) -> Result<bool, DevError> {
    let mut stop = Stop::new()?;
    let hostname = hostname(options)?;
    let sandbox = tempfile::Builder::new().prefix("vigo-dev-").tempdir().map_err(DevError::Temporary)?;
    let root = sandbox.path().join("root");
    std::fs::create_dir(&root).map_err(DevError::Temporary)?;
    let mut config =
        init::init(&sandbox.path().join("server"), &["127.0.0.1".into()], None, &Clock::system())?.config;
    config.policy_dir.clone_from(&options.policy);
    config.listen_grpc = ([127, 0, 0, 1], 0).into();
    config.listen_http = Some(http_address());
    config.checkin.interval = agent::INTERVAL;
    config.secrets = Backend::Generated;
    let source = Box::new(Directory::new(options.policy.clone()));
    let server = Server::start(&config, source, None, Clock::system()).await?;

    let mut dev =
        Dev { options, hostname, root, server, turn: Arc::default(), broken: AtomicBool::new(false) };
    let converged = dev.watch(&mut stop).await;
    dev.server.stop().await;
    // Said only when it is true.
    match sandbox.close() {
        Ok(()) => say("stopped", "sandbox removed"),
        Err(e) => say("stopped", &format!("the sandbox could not be removed: {e}")),
    }
    converged
}

/// The usual port, or any other when somebody has that one.
fn http_address() -> SocketAddr {
    let usual = SocketAddr::from(([127, 0, 0, 1], 8443));
    let free = std::net::TcpListener::bind(usual).is_ok();
    if free { usual } else { SocketAddr::from(([127, 0, 0, 1], 0)) }
}

fn hostname(options: &Options) -> Result<String, DevError> {
    let found = sample::hostname(&options.policy)?;
    match &options.hostname {
        Some(name) => crate::hostname::normalise(name).ok_or_else(|| DevError::NoEntry(name.clone())),
        None => found.ok_or_else(|| DevError::NoHost(options.policy.clone())),
    }
}

struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> Result<Self, DevError> {
        let on = |kind| signal(kind).map_err(DevError::Signals);
        Ok(Stop { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {} }
    }
}

struct Dev<'a> {
    options: &'a Options,
    hostname: String,
    root: PathBuf,
    server: Server,
    /// Held while lines are written that belong together, by us and by the agent's thread.
    turn: Arc<Mutex<()>>,
    /// The last edit was refused.
    broken: AtomicBool,
}

impl Dev<'_> {
    async fn watch(&mut self, stop: &mut Stop) -> Result<bool, DevError> {
        let mut watch = Watch::start(&self.options.policy);
        let mut good = self.first_look().await?;
        let (key, epoch) = self.server.signing_key();
        let address = self.server.address();
        let http = self.server.http_address().map(|at| format!("https://{at}   ")).unwrap_or_default();
        say("serving", &format!("{http}grpc {address}   signing key {} (epoch {epoch})", key.short()));
        if !self.options.once {
            let token = self.server.create_api_token("dev", Role::Admin, SIGNED_IN).await?;
            say("dashboard", &format!("{http}its certificate is thrown away too; sign in with {token}"));
        }
        while !good {
            if self.options.once {
                return Ok(false);
            }
            tokio::select! {
                () = watch.changed() => good = self.edit(None).await?,
                () = stop.asked() => return Ok(true),
            }
        }
        let token = self.server.create_token(&self.hostname, TOKEN_LIFE).await?;
        let mut agent = AgentThread::start(
            &self.root,
            agent::Enrolment {
                server: self.server.address().to_string(),
                token: token.into(),
                ca_hash: self.server.ca_hash().to_string(),
                hostname: self.hostname.clone(),
            },
            self.turn.clone(),
        );
        let mut envoy_id = None;
        let result = loop {
            tokio::select! {
                event = agent.events.recv() => match event {
                    Some(Event::Enrolled(id)) => envoy_id = Some(id),
                    Some(Event::Converged { failed }) if self.options.once => break Ok(!failed),
                    Some(Event::Converged { .. }) => {
                        let policy = self.options.policy.display();
                        say("watching", &format!("edit a file under {policy}, or change something in the sandbox"));
                    }
                    Some(Event::Ended(why)) => break Err(DevError::Agent(why)),
                    None => break Err(DevError::Agent("it crashed".into())),
                },
                () = watch.changed() => {
                    let turn = self.turn.clone();
                    let turn = turn.lock().await;
                    if let Err(e) = self.edit(envoy_id.as_deref()).await {
                        say("edit", &e.to_string());
                    }
                    drop(turn);
                    agent.wake();
                }
                () = stop.asked() => break Ok(true),
            }
        };
        // Its thread blocks; the server must go on answering it until it has ended.
        let ended = tokio::task::spawn_blocking(move || agent.stop()).await;
        if ended.is_err() {
            return Err(DevError::Agent("it crashed".into()));
        }
        result
    }

    /// Compiles for the first time; whether there is something to serve.
    async fn first_look(&self) -> Result<bool, DevError> {
        let started = Instant::now();
        let policy = self.options.policy.display();
        match self.server.reload().await? {
            Reloaded::Published { checked, .. } => {
                say(
                    "compiled",
                    &format!(
                        "{policy}: {}, {}, {}   {}",
                        counted(checked.modules, "module"),
                        classes(checked.classes),
                        counted(checked.warnings, "problem"),
                        took(started.elapsed())
                    ),
                );
                print_findings(&checked.rendered);
                Ok(true)
            }
            Reloaded::Refused { checked, .. } => {
                say(
                    "compiled",
                    &format!("{policy}: {}; nothing to serve yet", counted(checked.errors, "error")),
                );
                print_findings(&checked.rendered);
                Ok(false)
            }
            Reloaded::Nothing => {
                say("compiled", &format!("{policy}: no .vgo file; nothing to serve yet"));
                Ok(false)
            }
            Reloaded::Unchanged | Reloaded::Kept { .. } => Ok(true),
        }
    }

    /// Takes in a change and says what it means for the envoy; whether there is something to serve.
    async fn edit(&self, envoy_id: Option<&str>) -> Result<bool, DevError> {
        let before = self.variant(envoy_id).await;
        let started = Instant::now();
        match self.server.reload().await? {
            Reloaded::Nothing => say("edit", "no .vgo file is left; what was served stays"),
            Reloaded::Unchanged | Reloaded::Kept { .. } => {
                if self.broken.swap(false, Ordering::Relaxed) {
                    say("edit", "mended; the policy is as it was");
                }
            }
            Reloaded::Published { changed, checked, serial, .. } => {
                self.broken.store(false, Ordering::Relaxed);
                let took = took(started.elapsed());
                let after = self.variant(envoy_id).await;
                let effect = match (before, after) {
                    (Some(before), Some(after)) => effect(&before, &after),
                    _ => format!("release {serial}"),
                };
                say("edit", &format!("{:<30} {effect}   {took}", changed.join(", ")));
                print_findings(&checked.rendered);
            }
            Reloaded::Refused { checked, changed } => {
                self.broken.store(true, Ordering::Relaxed);
                let serving = match self.server.context().catalog.release() {
                    Some(release) => format!("release {} stays", release.serial),
                    None => "nothing to serve yet".to_owned(),
                };
                let errors = counted(checked.errors, "error");
                say("edit", &format!("{:<30} {errors}; {serving}", changed.join(", ")));
                print_findings(&checked.rendered);
            }
        }
        Ok(self.server.context().catalog.release().is_some())
    }

    /// What the envoy gets.
    async fn variant(&self, envoy_id: Option<&str>) -> Option<Arc<Variant>> {
        let context = self.server.context().clone();
        let envoy = context.fleet.get(envoy_id?)?;
        let facts = envoy.kind().facts?;
        let find = move || context.catalog.plan(&envoy.hostname, &facts).ok();
        let (_, plan) = tokio::task::spawn_blocking(find).await.ok()??;
        plan.ok().map(|plan| plan.variant.clone())
    }
}

fn effect(before: &Variant, after: &Variant) -> String {
    let held: HashSet<_> = before.modules.iter().map(|m| m.hash).collect();
    let new: Vec<usize> =
        after.modules.iter().filter(|m| !held.contains(&m.hash)).map(|m| m.bytes.len()).collect();
    let total = counted(after.modules.len(), "module");
    match (new.len(), before.merkle_root == after.merkle_root) {
        (_, true) => format!("changes nothing for this host ({total})"),
        (0, false) => format!("no new module, another set or other variables ({total})"),
        (n, false) => format!("{n} of {total} changed, {} bytes to send", new.iter().sum::<usize>()),
    }
}

fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn classes(n: usize) -> String {
    if n == 1 { "1 class of hosts".to_owned() } else { format!("{n} classes of hosts") }
}

fn print_findings(rendered: &str) {
    if !rendered.trim().is_empty() {
        let lines: Vec<&str> = rendered.trim_end().lines().map(str::trim_end).collect();
        show::raw(&lines.join("\n"));
    }
}
