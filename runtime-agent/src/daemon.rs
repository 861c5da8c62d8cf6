//! `vigo run`: a turn at every interval, until it is told to stop.

use crate::agent::{Agent, AgentError, Session, back_off, jittered};
use crate::converge::RunOptions;
use crate::observe::RunObserver;
use crate::server::Grpc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Until the server says otherwise.
const INTERVAL: Duration = Duration::from_secs(300);

/// Listens for SIGTERM and SIGINT on a thread of its own: sets `stop`, and wakes whoever waits on the receiver.
/// A second signal ends the process at once.
pub fn stop_on_signals(stop: Arc<AtomicBool>) -> std::io::Result<Receiver<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut term, mut int) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).stack_size(256 << 10).spawn(move || {
        runtime.block_on(async move {
            for attempt in 0.. {
                tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
                if attempt > 0 {
                    std::process::exit(130);
                }
                stop.store(true, Ordering::Relaxed);
                // The daemon may be gone already.
                let _ = sender.send(());
            }
        });
    })?;
    Ok(receiver)
}

/// Runs until `wake` says to stop. Only what no later turn could mend ends it otherwise.
pub fn run(agent: &Agent, wake: &Receiver<()>, observer: &mut dyn RunObserver) -> Result<(), AgentError> {
    let mut session = agent.session()?;
    let mut server = Grpc::new(&session.identity)?;
    tracing::info!(
        "agent {} of {} started, server {}",
        env!("CARGO_PKG_VERSION"),
        session.identity.hostname,
        session.identity.server
    );
    let mut failures = 0;
    let mut due = Instant::now();
    loop {
        let reached = turn(&mut session, &mut server, &mut due, observer);
        let (interval, jitter) = interval(&session);
        let wait = if reached {
            failures = 0;
            jittered(interval, jitter)
        } else {
            failures += 1;
            back_off(failures).min(due.saturating_duration_since(Instant::now()).max(Duration::from_secs(1)))
        };
        tracing::debug!("next check-in in {}", crate::text::took(wait));
        match wake.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                tracing::info!("stopped");
                return Ok(());
            }
        }
    }
}

fn interval(session: &Session<'_>) -> (Duration, u32) {
    match session.store.contact() {
        Ok(contact) if contact.interval > 0 => {
            (Duration::from_millis(contact.interval.clamp(1000, 86_400_000).into()), contact.jitter)
        }
        _ => (INTERVAL, 20),
    }
}

/// Whether the server answered. Without it a run is due at every interval all the same; in between only the
/// server is tried.
fn turn(
    session: &mut Session<'_>,
    server: &mut Grpc,
    due: &mut Instant,
    observer: &mut dyn RunObserver,
) -> bool {
    let check_in = match session.begin(server, observer) {
        Ok(check_in) => check_in,
        Err(error) => {
            tracing::error!("{error}");
            return false;
        }
    };
    let reached = match &check_in {
        Ok(news) => {
            tracing::debug!("check-in: {news:?}");
            true
        }
        Err(error) => {
            tracing::warn!("check-in: {error}");
            false
        }
    };
    if !reached && Instant::now() < *due {
        return false;
    }
    *due = Instant::now() + interval(session).0;
    match session.finish(check_in, server, &RunOptions::default(), observer) {
        Ok(cycle) => {
            let t = cycle.summary.totals;
            tracing::info!(
                "run {}: {} ok, {} changed, {} failed, {} skipped, {}",
                cycle.summary.run_id,
                t.ok,
                t.changed,
                t.failed,
                t.skipped,
                crate::text::took(cycle.summary.duration)
            );
        }
        Err(error) => tracing::error!("{error}"),
    }
    reached
}
