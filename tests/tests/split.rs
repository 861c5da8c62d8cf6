//! The agent in two processes, as root: one that changes the host, one that speaks with the server. Where the tests do not
//! run as root there is one process only, and they say that they showed nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use vigo_tests::processes::{Daemon, Host, Server, binary, text};

const NODES: &str = "nodes:\n  - match: \"*\"\n    modules: [motd]\n";
const MOTD: &str = "name: motd\nresources:\n  - name: motd\n    type: file\n    target_path: /motd\n    content: \"hello from {{ .Envoy.hostname }}\\n\"\n    mode: \"0644\"\n";
/// As whom the speaker runs here: every system has it.
const USER: (&str, u32) = ("nobody", 65534);

fn is_root() -> bool {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        eprintln!("not root: nothing is shown");
    }
    root
}

struct Fleet {
    server: Server,
    operator: String,
    dir: tempfile::TempDir,
}

impl Fleet {
    fn new() -> Fleet {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::init(dir.path(), &[("nodes.vgo", NODES), ("modules/motd.vgo", MOTD)]);
        server.configure("interval: 5m", "interval: 2s");
        server.start();
        let made = server.command(&["api-token", "create", "--name", "ann", "--role", "operator"]);
        Fleet { operator: made.trim().to_owned(), server, dir }
    }

    /// An enrolled host whose speaker runs as that user.
    fn host(&self, name: &str, user: &str) -> Host {
        let host = Host::new(self.dir.path(), name);
        let enrolled = host.enroll(&self.server.address, &self.server.token(), &self.server.ca_hash);
        assert!(enrolled.status.success(), "{}", text(&enrolled.stderr));
        std::fs::create_dir_all(host.root.join("etc/vigo")).unwrap();
        host.write("/etc/vigo/agent.json", &format!("{{\"network_user\": \"{user}\"}}"));
        host
    }

    fn agent(&self, name: &str) -> (Host, Daemon) {
        let host = self.host(name, USER.0);
        let daemon = Daemon::start(&host);
        daemon.wait_for_log("run ");
        (host, daemon)
    }

    /// What a command on a host printed.
    fn task(&self, host: &str, line: &str) -> Output {
        self.server.vigocli(&self.operator, &["task", "run", "--on", host, "--shell", line])
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// A field of `/proc/PID/status`.
fn status(pid: u32, name: &str) -> String {
    let all = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {all}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_check_in_a_release_a_task_and_a_renewal_go_through_a_process_without_rights() {
    if !is_root() {
        return;
    }
    let fleet = Fleet::new();
    let (host, daemon) = fleet.agent("web-1.test");
    let speaker = daemon.speaker().expect("a process that speaks with the server");

    // What it has left.
    let (id, none) = (USER.1.to_string(), "0000000000000000");
    for name in ["Uid", "Gid"] {
        assert_eq!(status(speaker, name), [id.as_str(); 4].join(" "));
    }
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(speaker, name), none, "{name}");
    }
    assert_eq!(
        ["Groups", "NoNewPrivs", "Seccomp"].map(|name| status(speaker, name)),
        ["", "1", "2"].map(str::to_owned)
    );
    assert_ne!(status(daemon.pid(), "CapEff"), none, "the twin: the other one is as it was");
    assert_eq!(status(daemon.pid(), "Seccomp"), "0");
    let limits = std::fs::read_to_string(format!("/proc/{speaker}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    assert_eq!(std::fs::read(format!("/proc/{speaker}/environ")).unwrap(), b"");
    for descriptor in std::fs::read_dir(format!("/proc/{speaker}/fd")).unwrap() {
        let Ok(target) = std::fs::read_link(descriptor.unwrap().path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        let known = ["socket:", "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "/dev/null"];
        assert!(known.iter().any(|known| target.starts_with(known)), "{target}");
    }

    // What goes through it.
    assert_eq!(host.read("motd").as_deref(), Some("hello from web-1.test\n"));
    fleet.server.write_policy("modules/motd.vgo", &MOTD.replace("hello", "good morning"));
    until("the new release", || host.read("motd").as_deref() == Some("good morning from web-1.test\n"));
    let out = fleet.task("web-1.test", "echo out; id -u; exit 3");
    assert!(text(&out.stdout).contains("out\n0\n"), "{out:?}");
    assert!(text(&out.stderr).contains("exit code 3"), "{out:?}");
    until("the reports", || fleet.server.runs("web-1.test").len() >= 2);
    assert_eq!(daemon.speaker(), Some(speaker), "the same did all of it");

    // More than a window of a stream, in both directions.
    let out = fleet.task("web-1.test", "head -c 900000 /dev/zero | tr '\\0' x");
    assert_eq!(text(&out.stdout).matches('x').count(), 900_000, "{}", text(&out.stderr));

    // What it says of itself.
    let shown = host.status();
    assert_eq!(
        (&shown["privileges"]["process"], &shown["privileges"]["user"]),
        (&"own".into(), &USER.0.into()),
        "{shown:#}"
    );
    let said = text(&host.vigo(&["status"]).stdout);
    assert!(
        said.contains("a process of its own speaks with the server, as nobody, without rights"),
        "{said}"
    );
    assert!(text(&host.vigo(&["doctor"]).stdout).contains("privileges   ok"));
    assert!(daemon.log().iter().any(|line| line.contains("a process of its own")), "{:#?}", daemon.log());

    // Nothing stays behind, and a certificate for another key goes the same way.
    daemon.stop();
    assert!(!is_there(speaker));
    let before = host.status()["certificate"]["serial"].clone();
    let renewed = host.vigo(&["-vv", "renew"]);
    assert!(renewed.status.success(), "{}", text(&renewed.stderr));
    assert_ne!(host.status()["certificate"]["serial"], before);
    let once = host.vigo(&["-vv", "run", "--once"]);
    assert!(once.status.success() && text(&once.stderr).contains("a process of its own"), "{once:?}");
    let once = host.vigo(&["-vv", "run", "--once", "--one-process"]);
    assert!(once.status.success() && text(&once.stderr).contains("as --one-process asks"), "{once:?}");
}

/// Whatever becomes of the speaker, the host is converged, nothing of the state is lost, and the next one takes over.
#[test]
fn a_speaker_that_is_killed_or_stopped_is_replaced_and_the_host_is_kept_meanwhile() {
    if !is_root() {
        return;
    }
    let fleet = Fleet::new();
    let (host, daemon) = fleet.agent("web-1.test");
    let repaired = || host.read("motd").as_deref() == Some("hello from web-1.test\n");
    let identity = || std::fs::read(host.root.join("var/lib/vigo/identity/identity.json")).unwrap();
    let before = identity();
    let mut seen = BTreeMap::new();
    for (name, why) in [("-KILL", "it closed the connection"), ("-STOP", "does not answer")] {
        let speaker = daemon.speaker().expect("a speaker");
        assert_eq!(seen.insert(speaker, name), None, "another one than before");
        signal(speaker, name);
        host.write("motd", "drift\n");
        until("the repair", repaired);
        daemon.wait_for_log(why);
        until("another speaker", || daemon.speaker().is_some_and(|pid| pid != speaker));
        assert!(!is_there(speaker), "{name}");
        until("a task through it", || {
            text(&fleet.task("web-1.test", "echo through").stdout).contains("through")
        });
    }
    assert_eq!(identity(), before);
    let verified = host.vigo(&["verify"]);
    assert!(verified.status.success(), "{}", text(&verified.stdout));
    until("all reports", || host.status()["results"]["waiting"] == 0);
    let numbers: Vec<u64> =
        fleet.server.runs("web-1.test").iter().map(|run| run["result_seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "none is lost, none came twice");

    // It does not outlive the process that started it, however that ends.
    let speaker = daemon.speaker().expect("a speaker");
    drop(daemon);
    until("the end of the speaker", || !is_there(speaker));
}

#[test]
fn case_088_a_local_user_gets_at_neither_process() {
    if !is_root() {
        return;
    }
    let fleet = Fleet::new();
    let (_host, daemon) = fleet.agent("web-1.test");
    let (agent, speaker) = (daemon.pid(), daemon.speaker().expect("a speaker"));
    // Somebody, and somebody who has the same user as the speaker.
    let somebody = 23_456;
    let as_user = |user: u32, program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).uid(user).gid(user).current_dir("/").stdin(Stdio::null());
        command.output().unwrap()
    };
    let attach = "import ctypes, sys; libc = ctypes.CDLL(None, use_errno=True); \
                  sys.exit(0 if libc.ptrace(16, int(sys.argv[1]), 0, 0) == 0 else ctypes.get_errno())";
    for user in [somebody, USER.1] {
        for pid in [agent, speaker] {
            let id = pid.to_string();
            for file in ["mem", "environ", "maps", "syscall"] {
                let out = as_user(user, "cat", &[&format!("/proc/{pid}/{file}")]);
                assert!(text(&out.stderr).contains("Permission denied"), "{user} {file}: {out:?}");
            }
            let out = as_user(user, "ls", &[&format!("/proc/{pid}/fd/")]);
            assert!(text(&out.stderr).contains("Permission denied"), "{user}: {out:?}");
            let out = as_user(user, "python3", &["-c", attach, &id]);
            assert_eq!(out.status.code(), Some(1), "EPERM for {user}: {out:?}");
        }
        let out = as_user(user, "kill", &["-STOP", &agent.to_string()]);
        assert!(!out.status.success() && text(&out.stderr).contains("not permitted"), "{out:?}");
    }
    let out = as_user(somebody, "kill", &["-STOP", &speaker.to_string()]);
    assert!(!out.status.success() && text(&out.stderr).contains("not permitted"), "{out:?}");
    // The twin: root does all of that, so the tools and the numbers are right.
    assert!(Command::new("cat").arg(format!("/proc/{agent}/maps")).output().unwrap().status.success());
    let out = Command::new("python3").args(["-c", attach, &speaker.to_string()]).output().unwrap();
    assert!(out.status.success(), "{out:?}");

    // There is no socket to talk to: what listens has a name in one of these, and none of them is the agent's.
    let mine: Vec<String> = [agent, speaker]
        .iter()
        .flat_map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap())
        .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
        .filter_map(|target| {
            Some(target.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
        })
        .collect();
    assert!(!mine.is_empty());
    let unix = std::fs::read_to_string("/proc/net/unix").unwrap();
    for line in unix.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (flags, inode, path) = (fields[3], fields[6], fields.get(7));
        assert!(!mine.contains(&inode.to_owned()) || flags == "00000000" && path.is_none(), "{line}");
    }
    for table in ["tcp", "tcp6"] {
        let Ok(all) = std::fs::read_to_string(format!("/proc/{agent}/net/{table}")) else { continue };
        for line in all.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            assert!(fields[3] != "0A" || !mine.contains(&fields[9].to_owned()), "it listens: {line}");
        }
    }
}

#[test]
fn where_there_is_no_user_for_it_one_process_does_all_and_says_so() {
    if !is_root() {
        return;
    }
    let fleet = Fleet::new();
    let host = fleet.host("web-1.test", "no-such-user");
    let daemon = Daemon::start(&host);
    daemon.wait_for_log("run ");
    assert_eq!(daemon.speaker(), None);
    daemon.wait_for_log("the process that speaks with the server is root's: there is no user `no-such-user`");
    assert_eq!(host.status()["privileges"]["process"], "root");
    let said = text(&host.vigo(&["status"]).stdout);
    assert!(said.contains("TOO MANY: the process") && said.contains("useradd --system"), "{said}");
    let doctor = host.vigo(&["doctor", "--format", "json"]);
    let document: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let checks = document["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == "privileges").unwrap();
    assert_eq!((doctor.status.code(), &check["good"]), (Some(1), &false.into()));
    daemon.stop();
    // Whoever is root is no better than one process.
    host.write("/etc/vigo/agent.json", "{\"network_user\": \"root\"}");
    let daemon = Daemon::start(&host);
    daemon.wait_for_log("`root` is root; name another user as `network_user`");
    daemon.stop();
}

#[test]
fn the_speaker_is_not_started_by_hand() {
    for arguments in [&["talk"][..], &["talk", "--uid", "1", "--gid", "1", "--port", "1"]] {
        let out = Command::new(binary("vigo")).args(arguments).stdin(Stdio::null()).output().unwrap();
        assert_eq!(out.status.code(), Some(64), "{out:?}");
        assert_eq!(
            text(&out.stderr),
            "error: `vigo talk` is a part of `vigo run`, which starts it by itself\n"
        );
    }
    let out = Command::new(binary("vigo")).args(["talk", "--uid", "1"]).output().unwrap();
    assert_eq!(out.status.code(), Some(64), "{out:?}");
    let help = Command::new(binary("vigo")).arg("--help").output().unwrap();
    assert!(!text(&help.stdout).contains("talk"), "{}", text(&help.stdout));
}
