//! A program of the operator's that prints a value.

use super::{Provider, SecretError, Value, unreadable, without_newline};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use protocol::secrets::MAX_SECRET_BYTES;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// A program that takes longer is killed, and what it started with it.
const LIMIT: Duration = Duration::from_secs(10);
/// By which a program says that there is no such secret; `EX_NOINPUT` of sysexits(3).
const NO_SUCH_SECRET: i32 = 66;

#[derive(Debug)]
pub(super) struct Command {
    pub(super) argv: Vec<String>,
    pub(super) refresh: Duration,
}

impl Provider for Command {
    fn fetch(&self, path: &str) -> Result<Value, SecretError> {
        let Some((program, arguments)) = self.argv.split_first() else {
            return Err(unreadable(path, "`secrets.command` names no program"));
        };
        let unavailable = |why: String| SecretError::Unavailable {
            path: path.to_owned(),
            place: format!("`{program}`"),
            why,
        };
        let started = std::process::Command::new(program)
            .args(arguments)
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It may quote the value; the server's log is no place for that.
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let mut child = started.map_err(|e| unavailable(format!("it cannot be started: {e}")))?;
        let value = output(&mut child);
        let Some(value) = value else {
            kill(&mut child);
            return Err(unavailable(format!("it did not end within {} s", LIMIT.as_secs())));
        };
        let status = child.wait().map_err(|e| unavailable(e.to_string()))?;
        let value = value.map_err(|e| unavailable(format!("its output cannot be read: {e}")))?;
        if value.len() > MAX_SECRET_BYTES {
            return Err(unreadable(path, format!("`{program}` printed more than {MAX_SECRET_BYTES} bytes")));
        }
        if status.code() == Some(NO_SUCH_SECRET) {
            return Err(SecretError::Missing { path: path.to_owned(), place: format!("`{program}`") });
        }
        if !status.success() {
            return Err(unavailable(format!("it ended with {status}")));
        }
        if value.is_empty() {
            return Err(unreadable(path, format!("`{program}` printed nothing")));
        }
        Ok(without_newline(value))
    }

    fn keep(&self) -> Duration {
        self.refresh
    }
}

/// All that it prints until it closes its output; `None` when it takes too long.
fn output(child: &mut Child) -> Option<std::io::Result<Value>> {
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Room for all of it at once: growing would leave copies behind.
        let mut value = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 1));
        let read = stdout.take(MAX_SECRET_BYTES as u64 + 1).read_to_end(&mut value);
        let _ = sender.send(read.map(|_| value));
    });
    let deadline = Instant::now() + LIMIT;
    let read = receiver.recv_timeout(LIMIT).ok()?;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            _ => return Some(read),
        }
    }
    None
}

fn kill(child: &mut Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(script: &str) -> Result<String, SecretError> {
        let argv = ["sh", "-c", script, "sh"].map(str::to_owned).to_vec();
        let command = Command { argv, refresh: Duration::ZERO };
        command.fetch("web/db").map(|v| String::from_utf8(v.to_vec()).unwrap())
    }

    #[test]
    fn what_it_prints_is_the_value_and_it_gets_the_path() {
        assert_eq!(fetch("echo \"$1\"").unwrap(), "web/db");
        assert_eq!(fetch("printf 'a\\n\\n'").unwrap(), "a\n");
    }

    #[test]
    fn case_096_what_a_failing_program_says_is_not_repeated() {
        let e = fetch("echo hunter2; echo hunter2 >&2; exit 3").unwrap_err();
        assert!(matches!(&e, SecretError::Unavailable { .. }), "{e}");
        assert!(e.to_string().contains("3") && !e.to_string().contains("hunter"), "{e}");
        assert!(matches!(fetch("exit 66"), Err(SecretError::Missing { .. })));
        assert!(matches!(fetch("true"), Err(SecretError::Unreadable { .. })));
        let e = fetch("head -c 2000000 /dev/zero").unwrap_err();
        assert!(matches!(e, SecretError::Unreadable { .. }), "{e}");
        let none = Command { argv: vec!["/no/such/program".into()], refresh: Duration::ZERO };
        assert!(none.fetch("a").unwrap_err().to_string().contains("cannot be started"));
    }
}
