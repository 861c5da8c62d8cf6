//! `vigo run`: a turn at every interval, until it is told to stop; a stream beside it while the server has work.

use crate::agent::{Agent, AgentError, Session, back_off, jittered};
use crate::checkin::News;
use crate::converge::RunOptions;
use crate::identity::Identity;
use crate::observe::RunObserver;
use crate::server::Grpc;
use crate::stream::{StreamHandle, StreamParts};
use crate::task::Tasks;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// Until the server says otherwise.
const INTERVAL: Duration = Duration::from_secs(300);

/// How long tasks have to be put on record when the agent is stopped.
const SETTLE: Duration = Duration::from_secs(5);

/// Why the daemon is woken before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// It is to end.
    Stop,
    /// The server wants to be asked now.
    CheckIn,
}

/// Where the daemon waits, and how it is woken.
pub type Alarm = (Sender<Wake>, Receiver<Wake>);

/// Listens for SIGTERM and SIGINT on a thread of its own: sets `stop`, and wakes whoever waits on the receiver.
/// A second signal ends the process at once.
pub fn stop_on_signals(stop: Arc<AtomicBool>) -> std::io::Result<Alarm> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = mpsc::channel();
    let alarm = sender.clone();
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
                let _ = sender.send(Wake::Stop);
            }
        });
    })?;
    Ok((alarm, receiver))
}

/// Runs until `alarm` says to stop. Only what no later turn could mend ends it otherwise.
pub fn run(agent: &Agent, alarm: &Alarm, observer: &mut dyn RunObserver) -> Result<(), AgentError> {
    let mut session = agent.session()?;
    let mut server = Grpc::new(&session.identity)?;
    tracing::info!(
        "agent {} of {} started, server {}",
        env!("CARGO_PKG_VERSION"),
        session.identity.hostname,
        session.identity.server
    );
    let tasks =
        Tasks::open(session.store.clone(), agent.root_path(), agent.shared_clock(), agent.shared_stop())?;
    let mut stream = StreamHandle::default();
    let mut failures = 0;
    let mut due = Instant::now();
    let mut asked = false;
    let mut next = Instant::now();
    loop {
        let began = session.clock().now();
        let reached = turn(&mut session, &mut server, &mut due, asked, observer);
        // A refusal is an answer too: there may be work although there is no policy.
        let wanted = session.store.contact().is_ok_and(|c| c.stream_requested && c.at >= began)
            || (reached && tasks.busy());
        if wanted && !stream.is_open() {
            stream.open(StreamParts {
                identity: Identity::load(agent.state())?,
                store: session.store.clone(),
                clock: agent.shared_clock(),
                tasks: tasks.clone(),
                stop: agent.shared_stop(),
                wake: alarm.0.clone(),
            });
        }
        let (interval, jitter) = interval(&session);
        if reached {
            failures = 0;
            // Being asked in between does not put off the run that is due.
            if !asked || next <= Instant::now() {
                next = Instant::now() + jittered(interval, jitter);
            }
        } else {
            failures += 1;
            let rest = due.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
            next = Instant::now() + back_off(failures).min(rest);
        }
        let wait = next.saturating_duration_since(Instant::now());
        tracing::debug!("next check-in in {}", crate::text::took(wait));
        asked = match alarm.1.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => false,
            Ok(Wake::CheckIn) => {
                // Several words to check in are one.
                let more: Vec<Wake> = alarm.1.try_iter().collect();
                if more.contains(&Wake::Stop) {
                    break;
                }
                true
            }
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => break,
        };
    }
    tasks.settle(SETTLE);
    stream.join();
    tracing::info!("stopped");
    Ok(())
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
/// server is tried. When the server asked for it, there is a run only if there is something new.
fn turn(
    session: &mut Session<'_>,
    server: &mut Grpc,
    due: &mut Instant,
    asked: bool,
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
    let new = matches!(check_in, Ok(News::Bundle));
    if (!reached || (asked && !new)) && Instant::now() < *due {
        return reached;
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
