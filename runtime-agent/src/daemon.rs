//! `vigo run`: a turn at every interval, until it is told to stop. While the server keeps a stream open, turns speak on it.

use crate::agent::{Agent, AgentError, Session, back_off, jittered};
use crate::checkin::News;
use crate::clock::Millis;
use crate::converge::RunOptions;
use crate::identity::Identity;
use crate::observe::{Outcome, ResourceReport, RunObserver};
use crate::report::result_of;
use crate::server::{NetError, Server};
use crate::speaker::Network;
use crate::stream::{Line, StreamHandle, StreamParts};
use crate::task::Tasks;
use protocol::pb::agent_frame::What as Said;
use protocol::pb::server_frame::What;
use protocol::pb::{CheckInReply, RenewReply, ReportReply, RunProgress, SignedRequest};
use sd_notify::NotifyState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// Until the server says otherwise.
const INTERVAL: Duration = Duration::from_secs(300);

/// How long tasks have to be put on record when the agent is stopped.
const SETTLE: Duration = Duration::from_secs(5);

/// Between two words about a run in which nothing changes.
const PROGRESS: Duration = Duration::from_secs(1);

/// From the beginning of a turn to that of the next one that the server wants at once.
const REST: Duration = Duration::from_secs(1);

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
    let (mut network, separation) = Network::open(agent, &session.identity, session.signed_time()?)?;
    session.store.keep_separation(&separation)?;
    tracing::info!(
        "agent {} of {} started, server {}",
        env!("CARGO_PKG_VERSION"),
        session.identity.hostname,
        session.identity.server
    );
    match separation.describe() {
        Ok(how) => tracing::info!("{how}"),
        Err(why) => tracing::warn!("{why}"),
    }
    tell_systemd(&[NotifyState::Ready]);
    let tasks =
        Tasks::open(session.store.clone(), agent.root_path(), agent.shared_clock(), agent.shared_stop())?;
    let mut stream = StreamHandle::default();
    let line = stream.line();
    let mut failures = 0;
    let mut due = Instant::now();
    let mut asked = false;
    let mut next = Instant::now();
    loop {
        let (began, since) = (session.clock().now(), Instant::now());
        line.heed();
        let mut way = Way { network: &mut network, line: &line, asked };
        let reached = turn(&mut session, &mut way, &mut due, asked, observer);
        // A refusal is an answer too: there may be work although there is no policy.
        let wanted = session.store.contact().is_ok_and(|c| c.stream_requested && c.at >= began)
            || (reached && tasks.busy());
        if wanted && !stream.is_open() {
            match Identity::load(agent.state()) {
                Ok(identity) => stream.open(StreamParts {
                    identity,
                    carrier: network.carrier(),
                    store: session.store.clone(),
                    clock: agent.shared_clock(),
                    tasks: tasks.clone(),
                    stop: agent.shared_stop(),
                    wake: alarm.0.clone(),
                    line: line.clone(),
                    failures: stream.failures(),
                }),
                // What hinders reading it now need not do so at the next turn.
                Err(error) => tracing::error!("no stream: {error}"),
            }
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
            Ok(Wake::CheckIn) if rest(&alarm.1, REST.saturating_sub(since.elapsed())) => true,
            Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
        };
    }
    tell_systemd(&[NotifyState::Stopping]);
    tasks.settle(SETTLE);
    stream.join();
    tracing::info!("stopped");
    Ok(())
}

/// Waits; `false` when it is to end meanwhile. Several words to check in are one.
fn rest(alarm: &Receiver<Wake>, time: Duration) -> bool {
    let until = Instant::now() + time;
    loop {
        match alarm.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Wake::CheckIn) => {}
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => return true,
        }
    }
}

/// Where systemd has started us and waits to hear (`Type=notify`). That it does not is no reason not to go on.
fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("systemd does not listen: {error}");
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

/// The way to the server: on the stream while one is open, as a request of its own otherwise.
struct Way<'a> {
    network: &'a mut Network,
    line: &'a Line,
    /// The server wants to be asked.
    asked: bool,
}

impl Server for Way<'_> {
    fn check_in(&mut self, request: SignedRequest) -> Result<CheckInReply, NetError> {
        if self.line.is_open()
            && let Some(What::CheckedIn(reply)) = self.line.ask(Said::CheckIn(request.clone()))
        {
            return Ok(reply);
        }
        // If the stream ended after the server had taken it, this is refused as a replay, and the next turn is in order.
        self.network.check_in(request)
    }

    fn report(&mut self, request: SignedRequest) -> Result<ReportReply, NetError> {
        if self.line.is_open()
            && let Some(What::Reported(reply)) = self.line.ask(Said::Report(request.clone()))
        {
            return Ok(reply);
        }
        self.network.report(request)
    }

    fn renew(&mut self, request: SignedRequest) -> Result<RenewReply, NetError> {
        self.network.renew(request)
    }

    fn adopt(&mut self, identity: &Identity, signed_time: Millis) -> Result<(), NetError> {
        // A stream that is open speaks with the certificate before; the server ends it.
        self.network.adopt(identity, signed_time)
    }

    fn is_stream(&self) -> bool {
        self.line.is_open()
    }

    fn will_say(&self) -> bool {
        !self.asked && self.line.is_open()
    }
}

/// Tells those who watch at the server how a run goes on, beside whoever watches here.
struct Watched<'a> {
    here: &'a mut dyn RunObserver,
    line: &'a Line,
    progress: RunProgress,
    said: Instant,
}

impl Watched<'_> {
    fn tell(&mut self) {
        self.said = Instant::now();
        let results = std::mem::take(&mut self.progress.results);
        self.line.tell(Said::Progress(RunProgress { results, ..self.progress.clone() }));
    }
}

impl RunObserver for Watched<'_> {
    fn begins(&mut self, run_id: &str, at: u64) {
        self.here.begins(run_id, at);
        self.progress = RunProgress { run_id: run_id.to_owned(), started_at: at, ..RunProgress::default() };
        self.tell();
    }

    fn resource(&mut self, report: &ResourceReport) {
        self.here.resource(report);
        if self.progress.run_id.is_empty() || !self.line.is_open() {
            return;
        }
        self.progress.done += 1;
        let notable = matches!(report.outcome, Outcome::Changed | Outcome::Failed);
        if notable {
            self.progress.results.push(result_of(report));
        }
        if notable || self.said.elapsed() >= PROGRESS {
            self.tell();
        }
    }

    fn note(&mut self, text: &str) {
        self.here.note(text);
    }
}

/// Whether the server answered. Without it a run is due at every interval all the same; in between only the
/// server is tried. When the server asked for it, there is a run only if there is something new.
fn turn(
    session: &mut Session<'_>,
    server: &mut Way<'_>,
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
    let mut watched =
        Watched { here: observer, line: server.line, progress: RunProgress::default(), said: Instant::now() };
    match session.finish(check_in, server, &RunOptions::default(), &mut watched) {
        Ok(cycle) => {
            let t = cycle.summary.totals;
            let took = crate::text::took(cycle.summary.duration);
            let counts = format!(
                "{} ok, {} changed, {} failed, {} skipped, {took}",
                t.ok, t.changed, t.failed, t.skipped
            );
            tracing::info!("run {}: {counts}", cycle.summary.run_id);
            tell_systemd(&[NotifyState::Status(&format!("last run: {counts}"))]);
        }
        Err(paused @ AgentError::Paused { .. }) => {
            tracing::info!("{paused}");
            tell_systemd(&[NotifyState::Status(&crate::text::printable(&paused.to_string()))]);
        }
        Err(error) => tracing::error!("{error}"),
    }
    reached
}
