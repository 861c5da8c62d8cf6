//! `process`: processes that must not run, have to, or are told something.

use super::{Applied, Context, Desired, Executor, Probe, ResourceError};
use crate::accounts;
use crate::text::{bounded, printable};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regex::Regex;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// The type.
pub struct ProcessType;

const KNOWN: &[&str] = &["process", "pattern", "user", "state", "signal", "timeout"];
const SIGNALS: &[(&str, Signal)] = &[
    ("HUP", Signal::SIGHUP),
    ("INT", Signal::SIGINT),
    ("QUIT", Signal::SIGQUIT),
    ("USR1", Signal::SIGUSR1),
    ("USR2", Signal::SIGUSR2),
    ("TERM", Signal::SIGTERM),
    ("KILL", Signal::SIGKILL),
    ("CONT", Signal::SIGCONT),
    ("STOP", Signal::SIGSTOP),
    ("WINCH", Signal::SIGWINCH),
];

struct Want {
    name: String,
    pattern: Option<Regex>,
    uid: Option<u32>,
    state: &'static str,
    signal: Signal,
    signal_name: &'static str,
    timeout: Duration,
}

/// A process, and when it was started: a number alone may be another process by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Running {
    pid: i32,
    started: u64,
}

impl Executor for ProcessType {
    fn key(&self) -> &'static str {
        "process"
    }

    fn acts_on_machine(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let want = want(context, desired)?;
        let count = matching(&want).len();
        let several = if count == 1 { "process" } else { "processes" };
        Ok(match (want.state, count) {
            ("running", 0) => {
                return Err(ResourceError::Unsupported {
                    kind: "process",
                    why: format!("there is no process `{}`; a `service` would start it", want.name),
                });
            }
            ("running", _) | (_, 0) => Probe::clean(),
            ("absent", count) => Probe::change(format!("ended {count} {several}")),
            (_, count) => Probe::change(format!("sent {} to {count} {several}", want.signal_name)),
        })
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let want = want(context, desired)?;
        let all = matching(&want);
        match want.state {
            "running" => return Ok(Applied::default()),
            "signaled" => {
                all.iter().try_for_each(|process| send(process, want.signal, &want))?;
                return Ok(Applied::default());
            }
            _ => {}
        }
        all.iter().try_for_each(|process| send(process, want.signal, &want))?;
        let left = wait(all, want.timeout);
        let killed = left.len();
        left.iter().try_for_each(|process| send(process, Signal::SIGKILL, &want))?;
        // The kernel needs a moment for those, too.
        wait(left, Duration::from_secs(2));
        Ok(Applied { note: (killed > 0).then(|| format!("{killed} had to be killed")) })
    }

    /// A signal leaves nothing to look at.
    fn settled(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let want = want(context, desired)?;
        if want.state == "signaled" {
            return Ok(Probe::clean());
        }
        self.probe(context, desired).map(|probe| match probe.is_clean() {
            true => probe,
            false => Probe::change("running"),
        })
    }
}

/// Those that are left when they are gone or the time is over.
fn wait(mut left: Vec<Running>, limit: Duration) -> Vec<Running> {
    let started = Instant::now();
    let limit = crate::limit::at_most(limit);
    let mut pause = Duration::from_millis(2);
    loop {
        left.retain(|process| started_at(process.pid) == Some(process.started));
        if left.is_empty() || started.elapsed() >= limit {
            return left;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

fn send(process: &Running, signal: Signal, want: &Want) -> Result<(), ResourceError> {
    if started_at(process.pid) != Some(process.started) {
        return Ok(());
    }
    match kill(Pid::from_raw(process.pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(ResourceError::Unsupported {
            kind: "process",
            why: format!(
                "cannot signal process {} (`{}`): {}",
                process.pid,
                want.name,
                errno.desc().to_lowercase()
            ),
        }),
    }
}

/// Processes of the machine. Neither this one nor those that started it are meant, nor the first one, nor threads of the
/// kernel, which have no command line.
fn matching(want: &Want) -> Vec<Running> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let own = ancestry();
    let mut all: Vec<Running> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid > 1 && !own.contains(pid))
        .filter_map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty())?;
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let words: Vec<String> =
                line.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            let first = words.first().and_then(|word| word.rsplit('/').next()).unwrap_or_default();
            // The kernel keeps 15 bytes of a name; the rest stands in the first word.
            let named = comm.trim_end() == want.name || first == want.name;
            let owner = || std::fs::metadata(format!("/proc/{pid}")).ok().map(|meta| meta.uid());
            let fits = named
                && want.pattern.as_ref().is_none_or(|pattern| pattern.is_match(words.join(" ").trim_end()))
                && (want.uid.is_none() || owner() == want.uid)
                && !is_dead(pid);
            fits.then(|| started_at(pid)).flatten().map(|started| Running { pid, started })
        })
        .collect();
    all.sort_unstable_by_key(|process| process.pid);
    all
}

/// Fields of `/proc/PID/stat` after the name, which may have anything in it.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}

/// In ticks since the machine started; none when it is gone or only waits to be collected.
fn started_at(pid: i32) -> Option<u64> {
    let fields = stat(pid)?;
    if matches!(fields.first().map(String::as_str), Some("Z" | "X")) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

fn is_dead(pid: i32) -> bool {
    started_at(pid).is_none()
}

fn ancestry() -> Vec<i32> {
    let mut all = vec![i32::try_from(std::process::id()).unwrap_or(i32::MAX)];
    while let Some(parent) =
        all.last().and_then(|pid| stat(*pid)?.get(1)?.parse::<i32>().ok()).filter(|pid| *pid > 1)
    {
        if all.contains(&parent) {
            break;
        }
        all.push(parent);
    }
    all
}

fn want(context: &Context<'_>, desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("process", KNOWN)?;
    let name = desired.required("process")?;
    let invalid = |name, why: String| ResourceError::Invalid { name, why };
    if name.is_empty() || name.contains(['/', '\0']) || name.len() > 255 {
        let shown = printable(bounded(name, 100));
        return Err(invalid(
            "process",
            format!("`{shown}` is not the name of a program, without its directory"),
        ));
    }
    let pattern = match desired.text("pattern")? {
        Some(text) => Some(Regex::new(text).map_err(|_| {
            invalid("pattern", format!("`{}` is not a regular expression", printable(bounded(text, 100))))
        })?),
        None => None,
    };
    let word = desired.word("signal", &SIGNALS.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;
    let (signal_name, signal) = SIGNALS
        .iter()
        .find(|(name, _)| *name == word)
        .copied()
        .ok_or_else(|| invalid("signal", "is not known".to_owned()))?;
    Ok(Want {
        name: name.to_owned(),
        pattern,
        uid: desired.text("user")?.map(|user| accounts::uid(context.root, user)).transpose()?,
        state: desired.word("state", &["absent", "running", "signaled"])?,
        signal,
        signal_name,
        timeout: desired.duration("timeout")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;
    use ir::Value;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    const TYPE: ProcessType = ProcessType;

    /// A process of our own with a name that nothing else has. It is collected at the end, whatever happens.
    struct Started(Child);

    impl Started {
        fn new(name: &str, script: &str, mark: &str) -> Self {
            let child = Command::new("/bin/sh")
                .arg0(format!("/opt/{name}"))
                .args(["-c", script, mark])
                .spawn()
                .unwrap();
            let process = Started(child);
            // Until the program has taken the place of the copy of this test.
            let pid = i32::try_from(process.0.id()).unwrap();
            while !std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap().contains(name) {
                std::thread::yield_now();
            }
            process
        }

        fn ended(&mut self) -> bool {
            self.0.try_wait().unwrap().is_some()
        }
    }

    impl Drop for Started {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn unique(tail: &str) -> String {
        format!("vigo-test-{}-{tail}", std::process::id())
    }

    fn process(name: &str, state: &str, extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[
            ("process", name.into()),
            ("state", state.into()),
            ("signal", "TERM".into()),
            ("timeout", "20s".into()),
        ]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    }

    /// Waits for ever without a process of its own: a copy of the shell would look the same.
    fn waits(m: &Machine) -> String {
        let fifo = m.sandbox.path("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        format!("while :; do read x < {}; done", fifo.display())
    }

    #[test]
    fn they_are_ended_and_those_that_do_not_listen_are_killed() {
        let m = Machine::new();
        let name = unique("absent");
        assert_eq!(m.converge(&TYPE, &process(&name, "absent", &[])).unwrap().0, "");
        let waits = waits(&m);
        let (mut one, mut two) = (Started::new(&name, &waits, "a"), Started::new(&name, &waits, "b"));
        let only = [("pattern", Value::from(" a$"))];
        assert_eq!(m.settles(&TYPE, &process(&name, "absent", &only)), "ended 1 process");
        assert!(one.ended() && !two.ended());
        let ready = m.sandbox.path("ready");
        let script = format!("trap '' TERM; echo > {}; {waits}", ready.display());
        let _stubborn = Started::new(&name, &script, "c");
        while !ready.exists() {
            std::thread::yield_now();
        }
        let only = ("pattern", Value::from(" c$"));
        let d = process(&name, "absent", &[("timeout", "50ms".into()), only]);
        let probe = TYPE.probe(&m.sandbox.context(), &d).unwrap();
        assert_eq!(probe.action(), "ended 1 process");
        let applied = TYPE.apply(&m.sandbox.context(), &d, &probe).unwrap();
        assert_eq!(applied.note.as_deref(), Some("1 had to be killed"));
        assert!(TYPE.settled(&m.sandbox.context(), &d).unwrap().is_clean());
        assert!(!two.ended());
    }

    #[test]
    fn a_signal_is_sent_every_time_and_only_to_those_that_are_meant() {
        let m = Machine::new();
        let name = unique("signaled");
        let mark = m.sandbox.path("mark");
        let waits = waits(&m);
        let script = format!("trap 'echo got >> {0}' USR1; echo ready > {0}; {waits}", mark.display());
        let _one = Started::new(&name, &script, "a");
        let lines = || std::fs::read_to_string(&mark).unwrap_or_default().lines().count();
        let until = |count| {
            while lines() < count {
                std::thread::yield_now();
            }
        };
        until(1);
        let d = process(&name, "signaled", &[("signal", "USR1".into())]);
        for round in 2..4 {
            assert_eq!(m.converge(&TYPE, &d).unwrap().0, "sent USR1 to 1 process");
            until(round);
        }
        let others = process(&name, "signaled", &[("user", "4294967294".into())]);
        assert_eq!(m.converge(&TYPE, &others).unwrap().0, "");
    }

    #[test]
    fn one_that_has_to_run_is_missed_and_we_are_never_meant() {
        let m = Machine::new();
        let name = unique("running");
        let error = m.refuses(&TYPE, &process(&name, "running", &[]));
        assert!(error.contains(&format!("there is no process `{name}`")), "{error}");
        let _one = Started::new(&name, &waits(&m), "a");
        assert_eq!(m.converge(&TYPE, &process(&name, "running", &[])).unwrap().0, "");
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        let want = want(&m.sandbox.context(), &process(own.trim_end(), "absent", &[])).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!matching(&want).iter().any(|process| process.pid == own));
        for (name, extra, why) in [
            ("", ("timeout", "1s".into()), "is not the name of a program"),
            ("/bin/sh", ("timeout", "1s".into()), "is not the name of a program"),
            ("x", ("pattern", "(".into()), "is not a regular expression"),
            ("x", ("signal", "BOOM".into()), "is not one of HUP"),
            ("x", ("user", "nobody-here".into()), "does not exist on this host"),
        ] {
            let error = m.refuses(&TYPE, &process(name, "absent", &[extra]));
            assert!(error.contains(why), "{error}");
        }
    }
}
