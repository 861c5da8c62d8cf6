//! Runs a program: own process group, closed stdin, clean environment, bounded output, a time limit.

use crate::accounts::{self, AccountError};
use crate::limit;
use crate::root::{FsError, ManagedPath, Root};
use backon::{BlockingRetryable, ConstantBuilder};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Output beyond this is read and dropped.
pub const MAX_OUTPUT: usize = 64 << 10;
/// An answer that is longer is no answer.
const MAX_ANSWER: usize = 8 << 20;
/// Where programs are looked for.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Between a polite signal and one that cannot be ignored.
const GRACE: Duration = Duration::from_secs(2);
/// How often a program that somebody still writes is tried again, and how long it is between.
const TRIES: (usize, Duration) = (100, Duration::from_millis(10));

/// What to run.
#[derive(Clone, Debug)]
pub struct Command {
    /// Program and arguments; no shell reads them.
    pub argv: Vec<String>,
    /// Where to start; the root otherwise.
    pub cwd: Option<ManagedPath>,
    /// As whom.
    pub user: Option<String>,
    /// Beside `PATH`, `HOME` and `LANG`, which it may replace.
    pub environment: BTreeMap<String, String>,
    /// What it reads on its standard input; nothing otherwise.
    pub input: Option<Input>,
    /// How long it may take.
    pub timeout: Duration,
}

/// What a program reads. Arguments can be seen by everybody on the host, so secrets are given this way; `Debug` does not
/// show them either.
#[derive(Clone)]
pub struct Input(Zeroizing<Vec<u8>>);

impl From<&str> for Input {
    fn from(text: &str) -> Self {
        Input(Zeroizing::new(text.as_bytes().to_vec()))
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Input({} bytes)", self.0.len())
    }
}

impl Input {
    /// A file without a name: nothing is on a disk, and a program that reads late holds nobody up.
    fn open(&self) -> std::io::Result<Stdio> {
        let mut file = File::from(memfd_create(c"vigo-input", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&self.0)?;
        file.rewind()?;
        Ok(file.into())
    }
}

/// Why nothing ran, or what ran did not end.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No words.
    #[error("the command is empty")]
    Empty,
    /// Quotes that do not close.
    #[error("the command's quotes do not match: {0}")]
    Quotes(String),
    /// No such user.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// No such directory.
    #[error(transparent)]
    Directory(#[from] FsError),
    /// Not started.
    #[error("cannot run {program}: {source}")]
    Spawn {
        /// First word.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// Waiting for it failed.
    #[error("lost track of {program}: {source}")]
    Wait {
        /// First word.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It writes and writes.
    #[error("{program} wrote more than {} KiB", most >> 10)]
    TooMuch {
        /// First word.
        program: String,
        /// Bytes.
        most: usize,
    },
    /// Too slow.
    #[error("{program} was stopped after {}; raise `timeout` if it needs longer", crate::text::took(*.limit))]
    TimedOut {
        /// First word.
        program: String,
        /// Its limit.
        limit: Duration,
        /// What it wrote so far.
        output: String,
    },
    /// The time of the whole resource was over; see [`crate::limit`].
    #[error("{program} was still running")]
    OutOfTime {
        /// First word.
        program: String,
    },
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; 128 + signal where a signal ended it.
    pub code: i32,
    /// Both streams as they came, bounded.
    pub output: String,
}

/// How it ended, with the streams apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Exit code; 128 + signal where a signal ended it.
    pub code: i32,
    /// Standard output, whole.
    pub stdout: String,
    /// Standard error, bounded.
    pub stderr: String,
}

/// Which stream a command wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a followed command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowEnded {
    /// By itself: exit code; 128 + signal where a signal ended it.
    Code(i32),
    /// It was too slow; its process group was killed.
    TimedOut,
    /// It was told to stop; its process group was killed.
    Stopped,
}

/// Splits a line into words as a shell does, without running one.
pub fn split(line: &str) -> Result<Vec<String>, CommandError> {
    let words = shlex::split(line)
        .ok_or_else(|| CommandError::Quotes(crate::text::printable(crate::text::bounded(line, 200))))?;
    if words.is_empty() { Err(CommandError::Empty) } else { Ok(words) }
}

impl Command {
    /// A command with nothing special about it.
    pub fn new(argv: Vec<String>, timeout: Duration) -> Self {
        Command { argv, cwd: None, user: None, environment: BTreeMap::new(), input: None, timeout }
    }

    /// Runs to the end.
    pub fn run(&self, root: &Root) -> Result<Ended, CommandError> {
        let (mut reader, writer) = std::io::pipe().map_err(|e| self.not_started(e))?;
        let other = writer.try_clone().map_err(|e| self.not_started(e))?;
        let child = self.spawn(root, other.into(), writer.into())?;
        let program = self.program();
        let mut output = Vec::new();
        let mut take = |bytes: &[u8]| {
            let room = MAX_OUTPUT.saturating_sub(output.len()).min(bytes.len());
            output.extend_from_slice(bytes.get(..room).unwrap_or_default());
        };
        self.nonblocking(&reader)?;
        let how = wait(child, self.timeout, &|| false, || drain(&mut reader, &mut take));
        drain(&mut reader, &mut take);
        let output = String::from_utf8_lossy(&output).into_owned();
        match how {
            Ok(HowEnded::Code(code)) => Ok(Ended { code, output }),
            Ok(HowEnded::TimedOut | HowEnded::Stopped) => Err(self.too_slow(output)),
            Err(source) => Err(CommandError::Wait { program, source }),
        }
    }

    /// Runs to the end, or until `stop` says so; hands out what it writes as it comes. What `take` does not keep
    /// is dropped, so a command that writes without end is never held up.
    pub fn follow(
        &self,
        root: &Root,
        stop: &dyn Fn() -> bool,
        take: &mut dyn FnMut(Source, &[u8]),
    ) -> Result<HowEnded, CommandError> {
        let (mut out, out_writer) = std::io::pipe().map_err(|e| self.not_started(e))?;
        let (mut err, err_writer) = std::io::pipe().map_err(|e| self.not_started(e))?;
        let child = self.spawn(root, out_writer.into(), err_writer.into())?;
        self.nonblocking(&out)?;
        self.nonblocking(&err)?;
        let mut both = || {
            drain(&mut out, &mut |bytes| take(Source::Stdout, bytes));
            drain(&mut err, &mut |bytes| take(Source::Stderr, bytes));
        };
        let how = wait(child, self.timeout, stop, &mut both);
        both();
        how.map_err(|source| CommandError::Wait { program: self.program(), source })
    }

    /// Runs to the end and gives back the whole of what it answers, apart from what it complains about.
    pub fn ask(&self, root: &Root) -> Result<Answer, CommandError> {
        self.ask_for(root, MAX_ANSWER)
    }

    /// [`Command::ask`], with an answer of at most that many bytes.
    pub fn ask_for(&self, root: &Root, most: usize) -> Result<Answer, CommandError> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut much = false;
        let how = self.follow(root, &|| false, &mut |source, bytes| {
            let (kept, limit) = match source {
                Source::Stdout => (&mut stdout, most),
                Source::Stderr => (&mut stderr, MAX_OUTPUT),
            };
            let room = limit.saturating_sub(kept.len()).min(bytes.len());
            kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
            much |= source == Source::Stdout && room < bytes.len();
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match how {
            HowEnded::Code(_) if much => Err(CommandError::TooMuch { program: self.program(), most }),
            HowEnded::Code(code) => Ok(Answer { code, stdout: text(&stdout), stderr: text(&stderr) }),
            HowEnded::TimedOut | HowEnded::Stopped => Err(self.too_slow(text(&stderr))),
        }
    }

    /// Whose limit it was.
    fn too_slow(&self, output: String) -> CommandError {
        match limit::is_over() {
            true => CommandError::OutOfTime { program: self.program() },
            false => CommandError::TimedOut { program: self.program(), limit: self.timeout, output },
        }
    }

    /// First word, for messages.
    fn program(&self) -> String {
        let first = self.argv.first().map_or("", String::as_str);
        crate::text::printable(crate::text::bounded(first, 200))
    }

    fn not_started(&self, source: std::io::Error) -> CommandError {
        CommandError::Spawn { program: self.program(), source }
    }

    fn nonblocking(&self, reader: &std::io::PipeReader) -> Result<(), CommandError> {
        fcntl(reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map(drop)
            .map_err(|errno| CommandError::Wait { program: self.program(), source: errno.into() })
    }

    /// The pipe ends when the child's copies of the writers do: ours are gone when this returns.
    fn spawn(&self, root: &Root, stdout: Stdio, stderr: Stdio) -> Result<Child, CommandError> {
        let (first, rest) = self.argv.split_first().ok_or(CommandError::Empty)?;
        let account = self.user.as_deref().map(|user| accounts::account(root, user)).transpose()?;
        let stdin = match &self.input {
            Some(input) => input.open().map_err(|e| self.not_started(e))?,
            None => Stdio::null(),
        };
        let mut command = std::process::Command::new(first);
        command
            .args(rest)
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("HOME", account.as_ref().map_or("/root", |a| a.home.as_str()))
            .envs(&self.environment)
            .process_group(0)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr);
        if let Some(account) = &account
            && account.uid != nix::unistd::geteuid().as_raw()
        {
            command.uid(account.uid).gid(account.gid);
        }
        // Through a handle, so that the directory is the one that was resolved below the root.
        let directory = self.cwd.as_ref().map(|cwd| root.directory(cwd)).transpose()?;
        match &directory {
            Some(fd) => command.current_dir(format!("/proc/self/fd/{}", fd.as_raw_fd())),
            None => command.current_dir(root.path()),
        };
        // A program that was just written is open for writing once more in every child that another thread starts at that
        // moment, until the child has become its own program.
        let (times, between) = TRIES;
        (|| command.spawn())
            .retry(ConstantBuilder::default().with_delay(between).with_max_times(times))
            .when(|e| e.kind() == std::io::ErrorKind::ExecutableFileBusy)
            .call()
            .map_err(|e| self.not_started(e))
    }
}

fn drain(reader: &mut std::io::PipeReader, take: &mut dyn FnMut(&[u8])) {
    let mut buffer = [0; 8192];
    // A writer that is faster than we are must not keep us from looking at the clock.
    for _ in 0..64 {
        match reader.read(&mut buffer) {
            Ok(n @ 1..) => take(buffer.get(..n).unwrap_or_default()),
            // `Ok(0)` is the end, an error that nothing is there yet.
            _ => return,
        }
    }
}

fn wait(
    mut child: Child,
    timeout: Duration,
    stop: &dyn Fn() -> bool,
    mut meanwhile: impl FnMut(),
) -> std::io::Result<HowEnded> {
    let timeout = limit::at_most(timeout);
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut asked = None;
    loop {
        meanwhile();
        if let Some(status) = child.try_wait()? {
            let Some((_, why)) = asked else {
                let code = status.code().or_else(|| status.signal().map(|s| 128 + s));
                return Ok(HowEnded::Code(code.unwrap_or(-1)));
            };
            // What the leader left behind.
            let _ = killpg(group, Signal::SIGKILL);
            return Ok(why);
        }
        match asked {
            None if started.elapsed() >= timeout || stop() => {
                signal(group, Signal::SIGTERM)?;
                let late = started.elapsed() >= timeout;
                asked = Some((Instant::now(), if late { HowEnded::TimedOut } else { HowEnded::Stopped }));
            }
            Some((since, why)) if Instant::elapsed(&since) >= GRACE => {
                signal(group, Signal::SIGKILL)?;
                child.wait()?;
                return Ok(why);
            }
            _ => {}
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn signal(group: Pid, signal: Signal) -> std::io::Result<()> {
    match killpg(group, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str, timeout: Duration) -> Result<Ended, CommandError> {
        let root = Root::open(std::path::Path::new("/")).unwrap();
        Command::new(split(line).unwrap(), timeout).run(&root)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn output_and_code_come_back_and_no_shell_reads_the_words() {
        let ended = run("sh -c 'echo out; echo err >&2; exit 3'", LONG).unwrap();
        assert_eq!(ended, Ended { code: 3, output: "out\nerr\n".into() });
        assert_eq!(run("echo '$HOME' ; ls", LONG).unwrap().output, "$HOME ; ls\n");
    }

    #[test]
    fn a_program_that_is_still_written_is_waited_for_but_not_for_ever() {
        use std::os::unix::fs::OpenOptionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let mut script = File::options().write(true).create_new(true).mode(0o755).open(&path).unwrap();
        script.write_all(b"#!/bin/sh\necho ran\n").unwrap();
        let line = path.display().to_string();
        let error = run(&line, LONG).unwrap_err().to_string();
        assert!(error.contains("Text file busy"), "{error}");
        let ended = std::thread::scope(|scope| {
            let running = scope.spawn(|| run(&line, LONG));
            std::thread::sleep(Duration::from_millis(50));
            drop(script);
            running.join().unwrap()
        });
        assert_eq!(ended.unwrap(), Ended { code: 0, output: "ran\n".into() });
    }

    #[test]
    fn an_answer_is_whole_and_apart_from_complaints_and_input_is_read() {
        let root = Root::open(std::path::Path::new("/")).unwrap();
        let mut command = Command::new(split("sh -c 'cat; echo bad >&2; exit 2'").unwrap(), LONG);
        let secret = "hunter2\n".repeat(100_000);
        command.input = Some(Input::from(secret.as_str()));
        let answer = command.ask(&root).unwrap();
        assert_eq!(answer, Answer { code: 2, stdout: secret, stderr: "bad\n".into() });
        assert!(!format!("{command:?}").contains("hunter2"));
        let endless = Command::new(split("head -c 9000000 /dev/zero").unwrap(), LONG);
        assert!(matches!(endless.ask(&root), Err(CommandError::TooMuch { .. })));
    }

    #[test]
    fn the_environment_is_clean() {
        let ended = run("env", LONG).unwrap();
        let mut names: Vec<_> = ended.output.lines().filter_map(|l| l.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["HOME", "LANG", "PATH"]);
    }

    #[test]
    fn output_is_bounded_and_does_not_block_the_writer() {
        let ended = run("head -c 1000000 /dev/zero", LONG).unwrap();
        assert_eq!((ended.code, ended.output.len()), (0, MAX_OUTPUT));
    }

    #[test]
    fn the_whole_group_dies_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let line = format!("sh -c '(sleep 1; echo late > {}) & sleep 30'", mark.display());
        let started = Instant::now();
        assert!(matches!(run(&line, Duration::from_millis(200)), Err(CommandError::TimedOut { .. })));
        assert!(started.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(1300));
        assert!(!mark.exists());
    }

    #[test]
    fn what_cannot_start_says_so() {
        let message = run("/no/such/program x", LONG).unwrap_err().to_string();
        assert!(message.starts_with("cannot run /no/such/program"), "{message}");
        assert!(matches!(split("echo 'x"), Err(CommandError::Quotes(_))));
        assert!(matches!(split("  "), Err(CommandError::Empty)));
    }
}
