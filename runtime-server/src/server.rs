//! Puts the parts together, runs them, and takes them apart again.

use crate::assign::Assignments;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::Config;
use crate::connection::Listener;
use crate::context::Context;
use crate::dispatch::{self, Dispatch};
use crate::events::{Teller, WebhookError};
use crate::fleet::FleetIndex;
use crate::grpc::Grpc;
use crate::http::{Https, Site};
use crate::identity::{Identity, IdentityError};
use crate::live_key::{KeyError, KeyRing};
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::policy::PolicySource;
use crate::publish::{self, Look, PublishError, Publishing, Reloaded};
use crate::retention;
use crate::secrets::{SecretError, Secrets};
use crate::store::api_tokens::{self, Role};
use crate::store::{Connection, Store, StoreError, Topic, certificates, envoys, meta, seen, tokens};
use ir::Hash;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Envoys that are read from the store at once.
const PAGE: u32 = 5000;
/// Requests under way when the server is told to stop have this long to finish.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a batch waits to be stored, and a revocation to be noticed.
const FLUSH: Duration = Duration::from_secs(1);
/// How often the log says that a certificate ends soon.
const WARNING: Duration = Duration::from_secs(86_400);
/// How often the other servers of the cluster are told that this one is up.
const BEAT: Duration = Duration::from_secs(20);

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Certificates and keys.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Whoever is to be told of events.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// What every secret needs.
    #[error(transparent)]
    Secrets(#[from] SecretError),
    /// The address.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// Database and configuration are not of one cluster.
    #[error("the database belongs to cluster {database}, the configuration names {config}")]
    OtherCluster {
        /// The database's.
        database: String,
        /// The configuration's.
        config: String,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// A bug: two metrics of one name.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    context: Arc<Context>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    /// Said when nothing more comes in: then the last batch is stored.
    finish: watch::Sender<bool>,
    grpc: JoinHandle<()>,
    https: Option<(SocketAddr, JoinHandle<()>)>,
    watching: JoinHandle<()>,
    chores: JoinHandle<()>,
    forgetting: JoinHandle<()>,
    dispatching: JoinHandle<()>,
    publishing: JoinHandle<()>,
    looking_after: JoinHandle<()>,
    telling: Option<JoinHandle<()>>,
}

/// Where agents come in, where people and programs do, and what shows them that it is this server.
type Parts =
    (TcpListener, SocketAddr, Option<(TcpListener, SocketAddr)>, (Arc<ServerConfig>, Arc<ServerConfig>));

impl Server {
    /// Starts to serve: at once, and what the store has as the latest release as soon as that is compiled; until then agents are
    /// told so. The policy directory is looked at with [`Server::reload`], and not before.
    ///
    /// `listener` is for those who want a port of the system's choice; otherwise the configuration's address.
    pub async fn start(
        config: &Config,
        source: Box<dyn PolicySource>,
        listener: Option<TcpListener>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        // First, so that a server that finds its ports taken has not retired the signing key of the one that has them.
        let (listener, address) = match listener {
            Some(listener) => bound(config.listen_grpc, Ok(listener))?,
            None => bound(config.listen_grpc, TcpListener::bind(config.listen_grpc).await)?,
        };
        let http = match config.listen_http {
            Some(at) => Some(bound(at, TcpListener::bind(at).await)?),
            None => None,
        };
        let identity = Identity::load(config)?;
        let tls = (identity.grpc.clone(), identity.https.clone());
        let context = Arc::new(context(config, identity, source, clock).await?);
        let parts = (listener, address, http, tls);
        let started = Self::begin(config, context.clone(), parts).await;
        if started.is_err() {
            leave(&context).await;
        }
        started
    }

    /// Whatever fails from here on leaves the cluster again.
    async fn begin(
        config: &Config,
        context: Arc<Context>,
        (listener, address, http, (grpc_tls, https_tls)): Parts,
    ) -> Result<Self, StartError> {
        let latest = retention::latest(&context.store).await?;

        let (stop, stopped) = watch::channel(false);
        let (finish, finished) = watch::channel(false);
        let limits = &config.limits;
        let site = Arc::new(Site::new(context.clone(), address.port()));
        let teller = match &config.webhook {
            Some(settings) => Some(Teller::new(site.clone(), settings.clone())?),
            None => None,
        };
        let https = match http {
            Some((listener, address)) => {
                let https =
                    Listener::new(Https::new(site.clone()), https_tls, limits.of_https(), stopped.clone());
                tracing::info!(%address, "serving HTTPS");
                Some((address, tokio::spawn(https.serve(listener))))
            }
            None => None,
        };
        let telling = teller.map(|teller| tokio::spawn(teller.run(stopped.clone())));
        let looking_after = tokio::spawn(site.look_after(stopped.clone()));
        let grpc = Grpc::new(context.clone(), limits.request);
        let grpc = Listener::new(grpc, grpc_tls, limits.clone(), stopped.clone());
        let grpc = tokio::spawn(grpc.serve(listener));
        let dispatching = tokio::spawn(dispatch::look_after(context.clone(), stopped.clone()));
        let publishing = tokio::spawn(publish::keep_up(context.clone(), stopped.clone()));
        let forgetting = retention::look_after(context.clone(), stopped, config.runs_keep, latest);
        let forgetting = tokio::spawn(forgetting);
        let chores = tokio::spawn(chores(context.clone(), finished));
        let pace = context.clone();
        let watching = tokio::spawn(async move { pace.pace.watch().await });
        let live = context.keys.current();
        tracing::info!(
            %address, cluster = config.cluster_id, key = live.id.short(), epoch = live.epoch,
            envoys = context.fleet.len(), "serving"
        );
        Ok(Server {
            context,
            address,
            stop,
            finish,
            grpc,
            https,
            watching,
            chores,
            forgetting,
            dispatching,
            publishing,
            looking_after,
            telling,
        })
    }

    /// Where agents reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where people and programs reach it, unless HTTP is turned off.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.https.as_ref().map(|(address, _)| *address)
    }

    /// What agents recognise the CA by.
    pub fn ca_hash(&self) -> Hash {
        self.context.ca.hash
    }

    /// Id and epoch of the signing key.
    pub fn signing_key(&self) -> (Hash, u64) {
        let live = self.context.keys.current();
        (live.id, live.epoch)
    }

    /// The parts.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Publishes what lies in the policy directory, when it is not what is served.
    pub async fn reload(&self) -> Result<Reloaded, PublishError> {
        self.context.reload(Look::Asked).await
    }

    /// A token for one host whose name matches.
    pub async fn create_token(&self, hostname_glob: &str, ttl: Duration) -> Result<String, StartError> {
        let mut random = [0; 20];
        getrandom::fill(&mut random)?;
        let (glob, now) = (hostname_glob.to_owned(), self.context.clock.now());
        let store = &self.context.store;
        let ttl_ms = ttl.as_millis() as u64;
        Ok(store.call(move |conn| tokens::create(conn, random, &glob, now, ttl_ms)).await?.0)
    }

    /// A token for the REST API and the dashboard.
    pub async fn create_api_token(
        &self,
        name: &str,
        role: Role,
        ttl: Duration,
    ) -> Result<String, StartError> {
        let mut random = [0; 20];
        getrandom::fill(&mut random)?;
        let (name, now, ttl) = (name.to_owned(), self.context.clock.now(), ttl.as_millis() as u64);
        let create = move |conn: &mut Connection| api_tokens::create(conn, random, &name, role, now, ttl);
        Ok(self.context.store.call(create).await?.0)
    }

    /// Accepts nothing more, lets requests under way finish, stores everything.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.watching.abort();
        ended("gRPC", self.grpc).await;
        let _ = self.dispatching.await;
        let _ = self.publishing.await;
        if let Some((_, https)) = self.https {
            ended("HTTPS", https).await;
        }
        let _ = self.looking_after.await;
        let _ = self.forgetting.await;
        if let Some(telling) = self.telling {
            let _ = telling.await;
        }
        // What came in until here is in the last batch.
        self.finish.send_replace(true);
        let _ = self.chores.await;
        let context = self.context;
        let closed = tokio::task::spawn_blocking(move || context.store.close()).await;
        if closed.is_err() {
            tracing::error!("the store crashed while it was closed");
        }
        tracing::info!("stopped");
    }
}

/// Waits for connections that were told to close.
async fn ended(what: &str, serving: JoinHandle<()>) {
    let aborter = serving.abort_handle();
    match tokio::time::timeout(DRAIN, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => tracing::error!(error = %e, "serving {what} crashed"),
        Err(_) => {
            tracing::warn!("{what} requests were still under way; they are cut off");
            aborter.abort();
        }
    }
}

fn bound(
    address: SocketAddr,
    listener: std::io::Result<TcpListener>,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = listener.and_then(|listener| listener.local_addr().map(|at| (listener, at)));
    bound.map_err(|cause| StartError::Listen { address, cause })
}

/// Takes this server off the list of those that are up.
async fn leave(context: &Context) {
    if let Err(e) = context.keys.leave(&context.store).await {
        tracing::warn!(error = %e, "the other servers were not told that this one stops");
    }
}

async fn context(
    config: &Config,
    identity: Identity,
    source: Box<dyn PolicySource>,
    clock: Clock,
) -> Result<Context, StartError> {
    let store = Store::open(&config.database).await?;
    let cluster_id = config.cluster_id.clone();
    let cluster = store.call(move |conn| meta::cluster(conn, &cluster_id)).await?;
    if cluster != config.cluster_id {
        return Err(StartError::OtherCluster { database: cluster, config: config.cluster_id.clone() });
    }
    identity.check(&config.cluster_id, &clock)?;
    let Identity { ca, signer, signing_key, ends, .. } = identity;
    let secrets = Secrets::new(&config.secrets, signer.secret_version_key())?;
    let fleet = FleetIndex::default();
    let mut last = String::new();
    loop {
        let after = last.clone();
        let page = store.read(move |conn| envoys::page(conn, &after, PAGE)).await?;
        match page.last() {
            Some(row) => last.clone_from(&row.id),
            None => break,
        }
        fleet.extend(page);
    }
    let metrics = Metrics::new()?;
    // Last, because it takes a higher epoch and retires the key of the server that was here before.
    let keys = KeyRing::start(&config.cluster_id, signer, signing_key, &store, clock.clone()).await?;
    Ok(Context {
        cluster_id: config.cluster_id.clone(),
        checkin: config.checkin,
        clock,
        own_certificates: ends,
        ca,
        envoy_lifetime: config.envoy_lifetime,
        keys,
        fleet,
        catalog: Catalog::new(source),
        pace: Pace::default(),
        assignments: Assignments::default(),
        secrets,
        secret_rules: config.secret_rules.clone(),
        store,
        dispatch: Dispatch::keeping(config.checkin.streams),
        metrics,
        publishing: Publishing::default(),
    })
}

fn warn_of_certificates(context: &Context) {
    for (certificate, left) in context.ending_certificates() {
        tracing::warn!(
            certificate,
            days_left = left.as_secs() / 86_400,
            "a certificate of this server ends soon; `vigosrv certificates renew` makes a new one, but a new CA is a new cluster"
        );
    }
}

/// What is done beside answering: storing batches, noticing revocations, saying that this server is up.
async fn chores(context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    let mut envoys_changed = context.store.watch(Topic::Envoys);
    // Somebody may have been revoked after the fleet was read.
    envoys_changed.mark_changed();
    let mut beat = Instant::now();
    let mut warned = Instant::now();
    warn_of_certificates(&context);
    loop {
        if warned.elapsed() > WARNING {
            warned = Instant::now();
            warn_of_certificates(&context);
        }
        let stopping = tokio::time::timeout(FLUSH, stop.wait_for(|stop| *stop)).await.is_ok();
        flush(&context).await;
        if stopping {
            leave(&context).await;
            return;
        }
        if beat.elapsed() > BEAT {
            beat = Instant::now();
            if let Err(e) = context.keys.beat(&context.store).await {
                tracing::error!(error = %e, "the other servers were not told that this one is up");
            }
        }
        if envoys_changed.has_changed().unwrap_or(false) {
            envoys_changed.mark_unchanged();
            if let Err(e) = notice_revocations(&context).await {
                envoys_changed.mark_changed();
                tracing::error!(error = %e, "cannot look for revocations; will try again");
            }
            if let Err(e) = context.keys.notice_reset(&context.store).await {
                envoys_changed.mark_changed();
                tracing::error!(error = %e, "cannot look for a reset; will try again");
            }
        }
    }
}

async fn flush(context: &Context) {
    let batch = context.fleet.drain();
    if batch.is_empty() {
        return;
    }
    let again = batch.clone();
    match context.store.call(move |conn| seen::flush(conn, &batch)).await {
        Ok(_) => context.fleet.stored(&again),
        Err(e) => {
            tracing::error!(error = %e, envoys = again.len(), "cannot store what envoys sent; will try again");
            context.fleet.put_back(again);
        }
    }
}

/// How far back renewals of other servers are looked for: their clocks may differ, and a word of them may come late.
const RECENT_MS: u64 = 15 * 60_000;

/// `vigosrv envoys revoke` writes to the database from another process, as other servers do; those also renew certificates.
async fn notice_revocations(context: &Context) -> Result<(), StoreError> {
    let since = context.clock.now().saturating_sub(RECENT_MS);
    let look =
        move |conn: &mut Connection| Ok((envoys::revoked(conn)?, certificates::changed_since(conn, since)?));
    let (revoked, renewed) = context.store.read(look).await?;
    for envoy in context.fleet.revoke(&revoked) {
        tracing::warn!(envoy, "revoked");
    }
    for (id, key, stored) in renewed {
        if let Some(envoy) = context.fleet.get(&id) {
            envoy.set_keys(&key, &stored);
        }
    }
    Ok(())
}
