//! `vigosrv run`.

use super::log::{self, LogArgs};
use super::{Failure, INPUT, INTERNAL};
use crate::clock::Clock;
use crate::compiled::Directory;
use crate::config::Config;
use crate::publish::{Look, Reloaded};
use crate::server::Server;
use crate::telemetry::Telemetry;
use crate::watch::Watch;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

pub(super) fn run(path: &Path, log: LogArgs) -> Result<(), Failure> {
    let config = Config::load(path)?;
    let telemetry = match &config.telemetry {
        Some(settings) => Some(Telemetry::start(settings).map_err(|e| Failure::new(INPUT, e))?),
        None => None,
    };
    log::start(log, telemetry.as_ref());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(INTERNAL, format!("cannot start: {e}")))?;
    let served = runtime.block_on(serve(config));
    if let Some(telemetry) = telemetry {
        telemetry.stop();
    }
    served
}

async fn serve(config: Config) -> Result<(), Failure> {
    let signals =
        |kind| signal(kind).map_err(|e| Failure::new(INTERNAL, format!("cannot wait for signals: {e}")));
    let mut terminate = signals(SignalKind::terminate())?;
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut hang_up = signals(SignalKind::hangup())?;
    let source = Box::new(Directory::new(config.policy_dir.clone()));
    let server = Server::start(&config, source, None, Clock::system()).await?;
    // Before the first look, so that nothing is saved unseen in between.
    let mut watch = config.policy_watch.then(|| Watch::start(&config.policy_dir));
    let mut said = String::new();
    if watch.is_some() {
        reload(&server, Look::Start, &mut said).await;
    }
    loop {
        let changed = async {
            match &mut watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed => reload(&server, Look::Changed, &mut said).await,
            _ = hang_up.recv() => {
                said.clear();
                reload(&server, Look::Asked, &mut said).await;
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopping");
    server.stop().await;
    Ok(())
}

/// Takes in the directory. What cannot be done is tried again every minute, and said once.
async fn reload(server: &Server, look: Look, said: &mut String) {
    let reloaded = server.context().reload(look).await;
    let news = match &reloaded {
        Ok(Reloaded::Refused { checked, .. }) => checked.plain(),
        Ok(Reloaded::Nothing) => "nothing".to_owned(),
        Ok(_) => String::new(),
        Err(e) => e.to_string(),
    };
    let again = *said == news && !news.is_empty();
    said.clone_from(&news);
    if again {
        return;
    }
    let serving = server.context().catalog.release().map(|r| r.serial);
    match reloaded {
        // Whoever publishes says so.
        Ok(Reloaded::Unchanged | Reloaded::Published { .. }) => {}
        Ok(Reloaded::Nothing) => {
            tracing::info!(
                serving,
                "there is no policy in `policy.dir`; `vigocli publish` publishes one from elsewhere"
            );
        }
        Ok(Reloaded::Kept { directory, latest }) => tracing::info!(
            directory,
            latest,
            "`policy.dir` holds the policy of an older release; it is published when it changes, or on SIGHUP"
        ),
        Ok(Reloaded::Refused { checked, .. }) => {
            tracing::error!(
                errors = checked.errors,
                serving,
                "the policy has errors and is not served\n\n{news}"
            );
        }
        Err(e) => tracing::error!(error = %e, serving, "the policy was not reloaded"),
    }
}
