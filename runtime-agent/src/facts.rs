//! What the agent answers when an expression is finished: traits, the host, the clock, secrets, the run.

use crate::clock::Clock;
use crate::command::{self, Command};
use crate::root::{Kind, ManagedPath, Root};
use crate::traits::Traits;
use ir::{Builtin, Fact, Facts, Value};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long `command_succeeds` may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// Where the texts of secrets come from.
pub trait Secrets {
    /// The secret, opened for the moment; `None` when this host does not have it.
    fn open(&self, path: &str) -> Option<Zeroizing<Vec<u8>>>;
}

/// No secrets at all.
#[derive(Debug)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn open(&self, _path: &str) -> Option<Zeroizing<Vec<u8>>> {
        None
    }
}

/// Facts of this host in this run.
pub struct HostFacts<'a> {
    /// Files, packages and commands are looked up below.
    pub root: &'a Root,
    /// The envoy's name.
    pub hostname: &'a str,
    /// What `.Traits` stands for.
    pub traits: &'a Traits,
    /// For `hour_range` and the like.
    pub clock: &'a dyn Clock,
    /// Texts of secrets.
    pub secrets: &'a dyn Secrets,
    /// Whether a notifier of the resource at hand changed.
    pub changed: Cell<bool>,
    /// Set when a secret was read.
    pub touched: Cell<bool>,
    /// The secret that was asked for and is not here.
    pub missing: RefCell<Option<String>>,
}

impl Facts for HostFacts<'_> {
    fn path(&self, root: ir::Root, segments: &[Arc<str>]) -> Fact {
        match root {
            ir::Root::Traits => self.traits.at(segments).cloned().map_or(Fact::Absent, Fact::Known),
            ir::Root::Envoy if segments.len() == 1 && segments.iter().all(|s| &**s == "hostname") => {
                Fact::Known(self.hostname.into())
            }
            _ => Fact::Absent,
        }
    }

    fn secret(&self, path: &str) -> Fact {
        self.touched.set(true);
        match self.secrets.open(path) {
            Some(bytes) => Fact::Known(match std::str::from_utf8(&bytes) {
                Ok(text) => text.into(),
                Err(_) => Value::Bytes(bytes.as_slice().into()),
            }),
            None => {
                self.missing.borrow_mut().get_or_insert_with(|| path.to_owned());
                Fact::Absent
            }
        }
    }

    fn ask(&self, function: Builtin, args: &[Value]) -> Fact {
        use Builtin as B;
        let answer = match function {
            B::HasPackage => text(args).map(|name| has_package(self.root, name)),
            B::FileExists => text(args).map(|p| self.stands(p).is_some_and(|k| k != Kind::Directory)),
            B::DirExists => text(args).map(|p| self.stands(p) == Some(Kind::Directory)),
            B::ProcessRunning => text(args).map(process_running),
            B::PortListening => int(args.first()).map(port_listening),
            B::CommandSucceeds => text(args).map(|line| self.succeeds(line)),
            B::HourRange => range(args, int).map(|r| within(r, i64::from(self.local().hour()))),
            B::MinuteRange => range(args, int).map(|r| within(r, i64::from(self.local().minute()))),
            B::LocalTime => range(args, minutes).map(|r| {
                let now = self.local();
                within(r, i64::from(now.hour()) * 60 + i64::from(now.minute()))
            }),
            B::DayOfWeek => {
                let today = i64::from(self.local().weekday().to_monday_zero_offset());
                Some(args.iter().any(|day| weekday(day) == Some(today)))
            }
            B::DayOfMonth => {
                let today = i64::from(self.local().day());
                Some(args.iter().any(|day| int(Some(day)) == Some(today)))
            }
            B::Changed => Some(self.changed.get()),
            _ => None,
        };
        answer.map_or(Fact::Absent, |b| Fact::Known(b.into()))
    }
}

impl HostFacts<'_> {
    fn stands(&self, path: &str) -> Option<Kind> {
        if path == "/" {
            return Some(Kind::Directory);
        }
        self.root.follow(&ManagedPath::parse(path).ok()?).map(|m| m.kind)
    }

    fn succeeds(&self, line: &str) -> bool {
        let Ok(argv) = command::split(line) else { return false };
        Command::new(argv, COMMAND_LIMIT).run(self.root).is_ok_and(|ended| ended.code == 0)
    }

    fn local(&self) -> jiff::Zoned {
        let ms = i64::try_from(self.clock.now()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(ms).unwrap_or_default().to_zoned(jiff::tz::TimeZone::system())
    }
}

fn text(args: &[Value]) -> Option<&str> {
    args.first()?.as_str()
}

/// An int, or the digits of one.
fn int(arg: Option<&Value>) -> Option<i64> {
    match arg? {
        Value::Int(i) => Some(*i),
        Value::Str(text) => text.parse().ok(),
        _ => None,
    }
}

/// `HH:MM` as minutes of the day.
fn minutes(arg: Option<&Value>) -> Option<i64> {
    let (hour, minute) = arg?.as_str()?.split_once(':')?;
    Some(hour.parse::<i64>().ok()? * 60 + minute.parse::<i64>().ok()?)
}

fn range(args: &[Value], read: fn(Option<&Value>) -> Option<i64>) -> Option<(i64, i64)> {
    Some((read(args.first())?, read(args.get(1))?))
}

/// Half-open; wraps where the end is before the start.
fn within((from, to): (i64, i64), at: i64) -> bool {
    if from <= to { (from..to).contains(&at) } else { at >= from || at < to }
}

/// English, full or three letters, any case; Monday is 0.
fn weekday(day: &Value) -> Option<i64> {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let day = day.as_str()?.to_lowercase();
    let at = DAYS.iter().position(|d| *d == day || d.get(..3) == Some(&day))?;
    i64::try_from(at).ok()
}

fn process_running(name: &str) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().filter(|p| p.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit())).any(
        |p| {
            let read = |file: &str| std::fs::read(p.path().join(file)).unwrap_or_default();
            if String::from_utf8_lossy(&read("comm")).trim_end() == name {
                return true;
            }
            // The kernel keeps 15 bytes of a name in `comm`; the rest stands in the first argument.
            let line = read("cmdline");
            let first = line.split(|b| *b == 0).next().unwrap_or_default();
            first.rsplit(|b| *b == b'/').next() == Some(name.as_bytes())
        },
    )
}

fn port_listening(port: i64) -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .any(|table| table.lines().skip(1).any(|line| listens(line, port)))
}

/// A line of `/proc/net/tcp`: local address and port in hexadecimal; state 0A is LISTEN.
fn listens(line: &str, port: i64) -> bool {
    let mut fields = line.split_whitespace();
    let local =
        fields.nth(1).and_then(|l| l.rsplit_once(':')).and_then(|(_, p)| i64::from_str_radix(p, 16).ok());
    local == Some(port) && fields.nth(1) == Some("0A")
}

fn has_package(root: &Root, name: &str) -> bool {
    let read = |path: &str| root.read_text(&ManagedPath::parse(path).ok()?, 64 << 20);
    if let Some(status) = read("/var/lib/dpkg/status") {
        return in_dpkg(&status, name);
    }
    if let Some(installed) = read("/lib/apk/db/installed").or_else(|| read("/usr/lib/apk/db/installed")) {
        return installed.lines().any(|line| line.strip_prefix("P:") == Some(name));
    }
    if name.starts_with('-') {
        return false;
    }
    let root_path = root.path().display().to_string();
    let argv = ["rpm", "--root", &root_path, "-q", "--quiet", "--", name].map(str::to_owned).to_vec();
    Command::new(argv, COMMAND_LIMIT).run(root).is_ok_and(|ended| ended.code == 0)
}

fn in_dpkg(status: &str, name: &str) -> bool {
    status.split("\n\n").any(|paragraph| {
        let mut lines = paragraph.lines();
        lines.next().and_then(|l| l.strip_prefix("Package: ")) == Some(name)
            && lines.any(|l| l.strip_prefix("Status: ").is_some_and(|s| s.ends_with(" installed")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;

    fn ask(function: Builtin, args: &[Value]) -> Fact {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("var/lib/dpkg")).unwrap();
        std::fs::write(
            dir.path().join("var/lib/dpkg/status"),
            "Package: nginx\nStatus: install ok installed\n\nPackage: vim\nStatus: deinstall ok config-files\n",
        )
        .unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("out")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let traits =
            Value::Map([("os".into(), Value::Map([("family".into(), "debian".into())].into()))].into());
        let facts = HostFacts {
            root: &root,
            hostname: "web-1",
            traits: &traits.into(),
            clock: &FixedClock::at(1_700_000_000_000),
            secrets: &NoSecrets,
            changed: Cell::new(true),
            touched: Cell::new(false),
            missing: RefCell::new(None),
        };
        facts.ask(function, args)
    }

    fn yes(function: Builtin, args: &[Value]) -> bool {
        ask(function, args) == Fact::Known(true.into())
    }

    #[test]
    fn the_host_is_looked_at_below_the_root() {
        assert!(yes(Builtin::HasPackage, &["nginx".into()]));
        assert!(!yes(Builtin::HasPackage, &["vim".into()]), "only its configuration is left");
        assert!(yes(Builtin::DirExists, &["/var/lib".into()]));
        assert!(!yes(Builtin::FileExists, &["/var/lib".into()]));
        assert!(yes(Builtin::FileExists, &["/var/lib/dpkg/status".into()]));
        assert!(!yes(Builtin::FileExists, &["/out".into()]), "the host's passwd is not in this root");
        assert!(yes(Builtin::CommandSucceeds, &["test -d var".into()]));
        assert!(!yes(Builtin::CommandSucceeds, &["false".into()]));
        assert!(yes(Builtin::Changed, &[]));
        assert_eq!(ask(Builtin::EnvIs, &["x".into()]), Fact::Absent);
    }

    #[test]
    fn ranges_are_half_open_and_wrap() {
        for (range, at, expected) in [
            ((2, 5), 2, true),
            ((2, 5), 5, false),
            ((22, 4), 23, true),
            ((22, 4), 3, true),
            ((22, 4), 4, false),
            ((3, 3), 3, false),
        ] {
            assert_eq!(within(range, at), expected, "{range:?} {at}");
        }
        assert_eq!(weekday(&"TUE".into()), Some(1));
        assert_eq!(weekday(&"Sunday".into()), Some(6));
        assert_eq!(weekday(&"s".into()), None);
        assert_eq!(minutes(Some(&"02:30".into())), Some(150));
        assert!(yes(Builtin::HourRange, &["0".into(), Value::Int(24)]));
    }

    #[test]
    fn processes_and_ports_of_the_host() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1 0 100 0 0 10 0";
        assert!(listens(line, 8080));
        assert!(!listens(line, 8081));
        assert!(!listens(&line.replace(" 0A ", " 01 "), 8080));
        assert!(!process_running("no-such-program-anywhere"));
    }
}
