//! `vigosrv run`.

use super::log::{self, LogArgs};
use super::{Failure, INTERNAL};
use crate::clock::Clock;
use crate::compiled::Directory;
use crate::config::Config;
use crate::context::Reloaded;
use crate::server::Server;
use crate::watch::Watch;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

pub(super) fn run(path: &Path, log: LogArgs) -> Result<(), Failure> {
    let config = Config::load(path)?;
    log::start(log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(INTERNAL, format!("cannot start: {e}")))?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let signals =
        |kind| signal(kind).map_err(|e| Failure::new(INTERNAL, format!("cannot wait for signals: {e}")));
    let mut terminate = signals(SignalKind::terminate())?;
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut hang_up = signals(SignalKind::hangup())?;
    let source = Box::new(Directory(config.policy_dir.clone()));
    let server = Server::start(&config, source, None, Clock::system()).await?;
    // Before the first look, so that nothing is saved unseen in between.
    let mut watch = Watch::start(&config.policy_dir);
    reload(&server).await;
    loop {
        tokio::select! {
            () = watch.changed() => reload(&server).await,
            _ = hang_up.recv() => reload(&server).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopping");
    server.stop().await;
    Ok(())
}

async fn reload(server: &Server) {
    match server.reload().await {
        Ok(Reloaded::Unchanged) => {}
        Ok(Reloaded::Published { serial, changed, checked, reach, took }) => tracing::info!(
            release = serial,
            changed = changed.join(", "),
            modules = checked.modules,
            classes = checked.classes,
            warnings = checked.warnings,
            envoys = reach.envoys,
            changed_envoys = reach.changed,
            variants = reach.variants,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "policy published"
        ),
        Ok(Reloaded::Refused { checked, .. }) => {
            let serving = server.context().catalog.release().map(|r| r.serial);
            let findings = format!("\n{}", anstream::adapter::strip_str(&checked.rendered));
            tracing::error!(
                errors = checked.errors,
                serving,
                "the policy has errors and is not served\n{findings}"
            );
        }
        Err(e) => tracing::error!(error = %e, "the policy was not reloaded"),
    }
}
