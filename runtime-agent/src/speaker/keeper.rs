//! Starts the speaker, and another one with a growing pause whenever it ends.

use super::link::Link;
use super::talk::TalkOptions;
use crate::agent::back_off;
use crate::text::took;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One that lasted so long was a good one.
const STEADY: Duration = Duration::from_secs(600);

/// What is started.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
}

impl Launch {
    /// The program that runs here, even if another one lies in its place since.
    pub(super) fn of_this_program(options: &TalkOptions) -> Self {
        Launch { program: "/proc/self/exe".into(), arguments: options.arguments() }
    }

    /// Descriptors of ours are closed in whatever is started, so it has this one and nothing else. A signal from a terminal
    /// does not reach it: it ends when we do.
    fn start(&self) -> std::io::Result<(Child, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(&self.program)
            .arg0("vigo")
            .args(&self.arguments)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok((child, ours))
    }
}

/// Until the link is closed. It stays on one thread: a speaker gets a signal when the thread that started it ends.
pub(super) fn keep(link: &Link, launch: &Launch) {
    let mut failures = 0;
    while !link.is_closed() {
        let began = Instant::now();
        let why = match launch.start() {
            Ok((mut child, socket)) => {
                tracing::debug!("process {} speaks with the server", child.id());
                let why = link.converse(socket);
                end(&mut child);
                why
            }
            Err(error) => {
                let why = format!("a process for it cannot be started: {error}");
                link.missing(&why);
                why
            }
        };
        if link.is_closed() {
            return;
        }
        failures = if began.elapsed() >= STEADY { 1 } else { failures + 1 };
        let pause = back_off(failures);
        tracing::warn!(
            "the process that speaks with the server ended: {why}; the next one is started in {}",
            took(pause)
        );
        link.rest(pause, &why);
        link.starting();
    }
}

fn end(child: &mut Child) {
    // It may be gone already.
    let _ = child.kill();
    if let Err(error) = child.wait() {
        tracing::warn!("lost track of the process that speaks with the server: {error}");
    }
}
