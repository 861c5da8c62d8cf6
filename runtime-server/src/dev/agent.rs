//! The agent's side, on a thread of its own: the agent blocks.

use super::show::{Runs, say};
use runtime_agent::checkin::News;
use runtime_agent::enrol::EnrolOptions;
use runtime_agent::server::Grpc;
use runtime_agent::{Agent, AgentError, AgentOptions, RunOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use zeroize::Zeroizing;

/// Somebody is watching: drift is found soon.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);

/// What the agent's thread tells.
#[derive(Debug)]
pub(super) enum Event {
    /// It is an envoy, with this id.
    Enrolled(String),
    /// The first run ended.
    Converged {
        /// Something could not be done.
        failed: bool,
    },
    /// It cannot go on.
    Ended(String),
}

/// How it becomes an envoy.
#[derive(Debug)]
pub(super) struct Enrolment {
    pub(super) server: String,
    pub(super) token: Zeroizing<String>,
    pub(super) ca_hash: String,
    pub(super) hostname: String,
}

/// The thread.
#[derive(Debug)]
pub(super) struct AgentThread {
    pub(super) events: UnboundedReceiver<Event>,
    wake: Sender<()>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl AgentThread {
    pub(super) fn start(root: &Path, enrolment: Enrolment, turn: Arc<Mutex<()>>) -> Self {
        let (tell, events) = unbounded_channel();
        let (wake, woken) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (root, stopped) = (root.to_owned(), stop.clone());
        let thread = std::thread::spawn(move || {
            if let Err(why) = live(root, enrolment, &stopped, &tell, &woken, &turn) {
                let _ = tell.send(Event::Ended(why));
            }
        });
        AgentThread { events, wake, stop, thread }
    }

    /// There may be news.
    pub(super) fn wake(&self) {
        let _ = self.wake.send(());
    }

    /// Ends it after the resource at hand.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(self.wake);
        if self.thread.join().is_err() {
            say("agent", "it crashed");
        }
    }
}

fn live(
    root: PathBuf,
    enrolment: Enrolment,
    stop: &Arc<AtomicBool>,
    tell: &UnboundedSender<Event>,
    woken: &Receiver<()>,
    turn: &Mutex<()>,
) -> Result<(), String> {
    let place = root.display().to_string();
    let agent = Agent::new(AgentOptions { root, stop: stop.clone(), ..AgentOptions::default() });
    let hostname = enrolment.hostname.clone();
    let id = agent
        .enrol(&EnrolOptions {
            server: Some(enrolment.server),
            token: enrolment.token,
            ca_hash: Some(enrolment.ca_hash),
            hostname: Some(enrolment.hostname),
            force: false,
            rejoin: false,
        })
        .map_err(|e| e.to_string())?;
    say("enrolled", &format!("{hostname} in a sandbox at {place}"));
    let _ = tell.send(Event::Enrolled(id));

    let mut session = agent.session().map_err(|e| e.to_string())?;
    let signed_time = session.signed_time().map_err(|e| e.to_string())?;
    let mut server = Grpc::new(&session.identity, signed_time).map_err(|e| e.to_string())?;
    let (mut runs, mut first) = (Runs::default(), true);
    // A refusal is said once, not every two seconds.
    let mut refused = String::new();
    loop {
        {
            let _turn = turn.blocking_lock();
            let news = session.begin(&mut server, &mut runs).map_err(|e| e.to_string())?;
            if let Err(e) = &news
                && *refused != e.to_string()
            {
                refused = e.to_string();
                say("refused", &refused);
            } else if news.is_ok() {
                refused.clear();
            }
            runs.begin(matches!(news, Ok(News::Same | News::Renewed)));
            match session.run(news.is_err(), &RunOptions::default(), &mut runs) {
                Ok(summary) => {
                    runs.end(&summary);
                    session.deliver(&mut server, &mut runs);
                    if first && !summary.stopped {
                        first = false;
                        let _ = tell.send(Event::Converged { failed: summary.totals.failed > 0 });
                    }
                }
                Err(AgentError::NothingValid { .. }) if first => {
                    first = false;
                    let _ = tell.send(Event::Converged { failed: true });
                }
                Err(AgentError::NothingValid { .. }) => {}
                Err(e) => return Err(e.to_string()),
            }
        }
        match woken.recv_timeout(INTERVAL) {
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
        }
        if stop.load(Ordering::SeqCst) {
            return Ok(());
        }
    }
}
