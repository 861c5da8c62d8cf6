//! Tasks and queries with real processes: what an operator types, what agents do, what comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use vigo_tests::processes::{Daemon, Host, Server, text};

const NODES: &str = "nodes:\n  - match: \"web-*.test\"\n    environment: production\n    modules: [motd]\n  - match: \"*\"\n    modules: [motd]\n";
const MOTD: &str = "name: motd\nresources:\n  - name: motd\n    type: file\n    target_path: /motd\n    content: \"hello from {{ .Envoy.hostname }}\\n\"\n    mode: \"0644\"\n";

struct Fleet {
    server: Server,
    operator: String,
    viewer: String,
    dir: tempfile::TempDir,
}

impl Fleet {
    /// Short, and long enough for a busy machine: an envoy is offline after two and a half of it.
    fn new() -> Fleet {
        Self::with("interval: 4s")
    }

    fn with(interval: &str) -> Fleet {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::init(dir.path(), &[("nodes.vgo", NODES), ("modules/motd.vgo", MOTD)]);
        server.configure("interval: 5m", interval);
        server.start();
        let token = |name: &str, role: &str| {
            server.command(&["api-token", "create", "--name", name, "--role", role]).trim().to_owned()
        };
        let (operator, viewer) = (token("ann", "operator"), token("bob", "viewer"));
        Fleet { server, operator, viewer, dir }
    }

    fn host(&self, name: &str) -> Host {
        let host = Host::new(self.dir.path(), name);
        let enrolled = host.enroll(&self.server.address, &self.server.token(), &self.server.ca_hash);
        assert!(enrolled.status.success(), "{}", text(&enrolled.stderr));
        host
    }

    /// A host with a daemon that has checked in.
    fn agent(&self, name: &str) -> (Host, Daemon) {
        let host = self.host(name);
        let daemon = Daemon::start(&host);
        daemon.wait_for_log("run ");
        (host, daemon)
    }

    /// `vigocli` as the operator: exit code, stdout, stderr.
    fn cli(&self, args: &[&str]) -> (i32, String, String) {
        let out = self.server.vigocli(&self.operator, args);
        (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
    }

    fn json(&self, args: &[&str]) -> (i32, Value) {
        let (code, out, err) = self.cli(&[&["--format", "json"][..], args].concat());
        (code, serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out}{err}")))
    }

    /// Makes a task and does not wait for it; its id.
    fn begin(&self, args: &[&str]) -> String {
        let head = ["task", "run", "--format", "json", "--no-follow"];
        let (code, out, err) = self.cli(&[&head[..], args].concat());
        assert_eq!(code, 0, "{err}");
        let made: Value = serde_json::from_str(&out).unwrap();
        made["id"].as_str().unwrap().to_owned()
    }

    /// The only target of a task, once it is in one of these states.
    fn until(&self, task: &str, states: &[&str]) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let (_, detail) = self.json(&["task", "status", task]);
            let target = detail["targets"][0].clone();
            if states.contains(&target["state"].as_str().unwrap()) {
                return target;
            }
            assert!(Instant::now() < deadline, "{detail:#} is not {states:?}: {:#?}", self.server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Waits for a file; its lines.
fn lines(path: &Path) -> usize {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn a_task_on_two_hosts_and_one_that_is_not_there() {
    let fleet = Fleet::new();
    let (_one, _daemon_one) = fleet.agent("web-1.test");
    let (_two, _daemon_two) = fleet.agent("web-2.test");
    let _away = fleet.host("db-1.test");

    let (code, out, err) = fleet.cli(&["task", "run", "--all", "--", "cat", "motd"]);
    assert_eq!(code, 1, "one was not reached: {out}{err}");
    let mut said: Vec<&str> = out.lines().collect();
    said.sort_unstable();
    assert_eq!(said, ["web-1.test | hello from web-1.test", "web-2.test | hello from web-2.test"], "{err}");
    assert!(err.contains("db-1.test: offline: not seen lately; nothing was sent"), "{err}");
    assert!(err.contains("2 of 3 ok"), "{err}");

    // by pattern, environment and condition; the streams are open now
    let condition = "traits.os.kernel == 'linux' && env_is('production')";
    let (code, made) = fleet.json(&["task", "run", "--on", "web-*", "--when", condition, "--", "true"]);
    assert_eq!((code, made["targets"].as_array().unwrap().len()), (0, 2), "{made:#}");
    assert!(made["targets"].as_array().unwrap().iter().all(|t| t["reach"] == "online"), "{made:#}");
    // one host: its output as it is, its exit code told
    let line = "echo out; echo err >&2; exit 7";
    let (code, out, err) = fleet.cli(&["task", "run", "--on", "web-1.test", "--shell", line]);
    assert_eq!(code, 1);
    assert!(out.contains("out\n") && out.contains("err\n") && !out.contains('|'), "{out}");
    assert!(err.contains("web-1.test: failed, exit code 7"), "{err}");

    // a live query
    let (code, out, err) = fleet.cli(&["query", "--on", "web-1.test", "os.kernel"]);
    assert_eq!((code, out.as_str()), (0, "os.kernel = linux\n"), "{err}");

    // what is asked for wrongly
    let (code, _, err) = fleet.cli(&["task", "run", "--when", "traits.os.kernell == 'x'", "--", "true"]);
    assert_eq!(code, 64, "{err}");
    assert!(err.contains("kernell") && err.contains("when:1:"), "{err}");
    let (code, _, err) = fleet.cli(&["query", "--on", "web-1.test", "os.kernell"]);
    assert!(code == 64 && err.contains("did you mean `os.kernel`?"), "{code} {err}");
    let (code, _, err) = fleet.cli(&["task", "run", "--on", "nobody.test", "--", "true"]);
    assert!(code == 1 && err.contains("no envoy is called nobody.test"), "{code} {err}");
    let (code, _, err) = fleet.cli(&["task", "run", "--", "true"]);
    assert!(code == 64 && err.contains("which envoys?"), "{code} {err}");

    // who may
    let out = fleet.server.vigocli(&fleet.viewer, &["task", "run", "--all", "--", "true"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("operator"), "{}", text(&out.stderr));
    let out = fleet.server.vigocli(&fleet.viewer, &["task", "list", "--format", "json"]);
    let list: Value = serde_json::from_slice(&out.stdout).unwrap();
    let last = list["tasks"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["summary"], &last["states"]["ok"], &last["states"]["offline"]),
        (&"cat".into(), &2.into(), &1.into())
    );
    let id = last["id"].as_str().unwrap();
    let out = fleet.server.vigocli(&fleet.viewer, &["task", "status", id, "--format", "json"]);
    let detail: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(detail["job"].is_null() && detail["targets"].as_array().unwrap().len() == 3, "{detail:#}");
    let log = fleet.server.log().join("\n");
    assert!(!log.contains("exit 7"), "arguments stay out of the log");
}

#[test]
fn limits_of_time_and_output_and_the_word_of_the_host() {
    let fleet = Fleet::new();
    let (host, daemon) = fleet.agent("web-1.test");
    let since = Instant::now();
    let line = "(sleep 20; touch late) & sleep 20";
    let task = fleet.begin(&["--on", "web-1.test", "--timeout", "1s", "--shell", line]);
    assert_eq!(fleet.until(&task, &["timed-out"])["exit_code"], Value::Null);
    assert!(since.elapsed() < Duration::from_secs(15));

    let flood = [
        "task",
        "run",
        "--on",
        "web-1.test",
        "--max-output",
        "100000",
        "--",
        "head",
        "-c",
        "50000000",
        "/dev/zero",
    ];
    let (code, out, err) = fleet.cli(&flood);
    assert_eq!(code, 0, "{err}");
    assert!(out.chars().filter(|c| *c == '\u{fffd}').count() == 100_000, "{} of output", out.len());
    assert!(err.contains("49900000 of 50000000 bytes of output were cut off"), "{err}");

    std::fs::create_dir_all(host.root.join("etc/vigo")).unwrap();
    host.write("/etc/vigo/agent.json", "{\"tasks\": false}");
    let (code, _, err) = fleet.cli(&["task", "run", "--on", "web-1.test", "--", "touch", "ran"]);
    assert!(code == 1 && err.contains("refused: this host runs no commands"), "{code} {err}");
    assert!(host.read("ran").is_none());
    daemon.stop();

    // it was seen a moment ago, so the task waits; but not long enough
    let task = fleet.begin(&["--on", "web-1.test", "--wait", "1s", "--", "touch", "ran"]);
    fleet.until(&task, &["expired"]);
    host.write("/etc/vigo/agent.json", "{}");
    let _daemon = Daemon::start(&host);
    let task = fleet.begin(&["--on", "web-1.test", "--", "touch", "ran-2"]);
    fleet.until(&task, &["ok"]);
    assert!(host.read("ran").is_none() && host.read("ran-2").is_some());
}

#[test]
fn case_067_an_agent_that_dies_between_start_and_end() {
    let fleet = Fleet::new();
    let (host, daemon) = fleet.agent("web-1.test");
    let task = fleet.begin(&["--on", "web-1.test", "--shell", "echo x >> once; sleep 15"]);
    lines(&host.root.join("once"));
    drop(daemon);
    let daemon = Daemon::start(&host);
    let target = fleet.until(&task, &["unknown"]);
    assert!(target["error"].as_str().unwrap().contains("died"), "{target}");
    // the twin that may run again does
    let line = "echo x >> twice; test $(wc -l < twice) = 2 || sleep 15";
    let task = fleet.begin(&["--on", "web-1.test", "--idempotent", "--shell", line]);
    lines(&host.root.join("twice"));
    drop(daemon);
    let daemon = Daemon::start(&host);
    fleet.until(&task, &["ok"]);
    assert_eq!((lines(&host.root.join("once")), lines(&host.root.join("twice"))), (1, 2));
    // an agent that is told to stop takes the command with it and says so
    let task = fleet.begin(&["--on", "web-1.test", "--shell", "touch begun; sleep 30"]);
    lines(&host.root.join("begun"));
    daemon.stop();
    let _daemon = Daemon::start(&host);
    fleet.until(&task, &["interrupted"]);
}

#[test]
fn case_066_a_server_that_dies_while_a_task_runs() {
    let mut fleet = Fleet::new();
    let (host, _daemon) = fleet.agent("web-1.test");
    let line = "echo x >> ran; sleep 4; echo the end";
    let task = fleet.begin(&["--on", "web-1.test", "--shell", line]);
    lines(&host.root.join("ran"));
    fleet.server.kill();
    fleet.server.start();
    fleet.until(&task, &["ok"]);
    let (_, detail) = fleet.json(&["task", "status", &task, "--output"]);
    assert_eq!(detail["output"]["web-1.test"][0]["text"], "the end\n", "{detail:#}");
    assert_eq!(lines(&host.root.join("ran")), 1);
}

#[test]
fn case_034_a_revoked_host_is_cut_off_in_the_middle_of_a_task() {
    let fleet = Fleet::new();
    let (host, daemon) = fleet.agent("web-1.test");
    let task = fleet.begin(&["--on", "web-1.test", "--shell", "touch begun; sleep 15"]);
    lines(&host.root.join("begun"));
    fleet.server.command(&["envoys", "revoke", "web-1.test"]);
    daemon.wait_for_log("revoked");
    let target = fleet.until(&task, &["unknown"]);
    assert_eq!(target["error"], "the envoy was revoked");
    let (code, _, err) = fleet.cli(&["task", "run", "--on", "web-1.test", "--", "true"]);
    assert!(code == 1 && err.contains("no envoy is called web-1.test"), "{err}");
    // Its check-in is turned away, too, and then the host itself says so.
    daemon.wait_for_log(&format!("check-in: {} does not let this host in", fleet.server.address));
    let check = host.vigo(&["status", "--check"]);
    let said = text(&check.stdout);
    assert_eq!(check.status.code(), Some(2), "{said}");
    assert!(said.starts_with("VIGO CRIT - ") && said.contains("this envoy was revoked"), "{said}");
    daemon.stop();
    // What it says to do is what gets the host back.
    let command = said.split('`').nth(1).unwrap().replace("TOKEN", &fleet.server.token());
    let words = command.strip_prefix(&format!("vigo --root {} ", host.root.display()));
    let words: Vec<&str> = words.unwrap_or_else(|| panic!("no --root: {command}")).split(' ').collect();
    let back = host.vigo(&words);
    assert!(back.status.success(), "{command}: {}", text(&back.stderr));
    assert!(text(&back.stdout).contains("start the agent with `vigo --root "), "{}", text(&back.stdout));
    assert_eq!(host.vigo(&["status", "--check"]).status.code(), Some(2), "no bundle yet");
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    assert_eq!(host.vigo(&["status", "--check"]).status.code(), Some(0));
}

#[test]
fn a_workflow_goes_in_batches_and_stops_when_too_much_goes_wrong() {
    let mut fleet = Fleet::new();
    let hosts = ["web-1.test", "web-2.test", "web-3.test"].map(|name| fleet.agent(name));
    let file = fleet.dir.path().join("workflow.yaml");
    let write = |first: &str| {
        let steps = format!("steps:\n  - shell: {first}\n  - command: [touch, second]\n");
        let head = "name: try\ntargets: { hosts: ['web-*'] }\nbatch: 1\nhealth: converged\n";
        std::fs::write(&file, format!("{head}{steps}")).unwrap();
    };
    let path = file.to_str().unwrap().to_owned();
    write("test $(cat motd | grep -c web-2) = 0");
    let (code, stopped) = fleet.json(&["workflow", "run", &path]);
    assert_eq!((code, &stopped["state"]), (1, &"stopped".into()), "{stopped:#}");
    let error = stopped["error"].as_str().unwrap();
    assert!(error.starts_with("batch 2, step 1: web-2.test went wrong"), "{error}");
    let second = || hosts.each_ref().map(|(host, _)| host.read("second").is_some());
    assert_eq!(second(), [true, false, false]);

    // the server dies in the middle: it is carried on, and no step is done twice
    write("'echo x >> first; sleep 2'");
    let (code, out, err) = fleet.cli(&["workflow", "run", "--no-follow", "--format", "json", &path]);
    assert_eq!(code, 0, "{err}");
    let made: Value = serde_json::from_str(&out).unwrap();
    lines(&hosts[0].0.root.join("first"));
    fleet.server.kill();
    fleet.server.start();
    let deadline = Instant::now() + Duration::from_secs(90);
    let done = loop {
        let (_, detail) = fleet.json(&["workflow", "status", made["id"].as_str().unwrap()]);
        if detail["state"] != "running" {
            break detail;
        }
        assert!(Instant::now() < deadline, "{detail:#}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(done["state"], "done", "{done:#}");
    assert_eq!(second(), [true, true, true]);
    for (host, _) in &hosts {
        assert_eq!(lines(&host.root.join("first")), 1);
    }

    std::fs::write(&file, "name: x\nsteps: [{ comand: [true] }]\n").unwrap();
    let (code, _, err) = fleet.cli(&["workflow", "run", &path]);
    assert!(code == 64 && err.contains("comand"), "{err}");
}

/// Waits until it holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_release_and_a_push_reach_a_host_with_a_stream_long_before_its_interval() {
    let fleet = Fleet::with("interval: 1h");
    let (host, daemon) = fleet.agent("web-1.test");
    let open = || {
        let (_, made) = fleet.json(&["query", "--on", "web-1.test", "os.kernel"]);
        made["targets"][0]["reach"] == "online"
    };
    until("a stream", open);
    fleet.server.write_policy("modules/motd.vgo", &MOTD.replace("hello", "good morning"));
    until("the new release", || host.read("motd").as_deref() == Some("good morning from web-1.test\n"));
    // what it did is here, too, whole: the file alone changed
    let last = || fleet.json(&["envoys", "show", "web-1.test"]).1;
    until("the report of it", || last()["last_run"]["release"] == 2);
    assert_eq!(
        (&last()["last_run"]["changed"], &last()["results"][0]["outcome"]),
        (&1.into(), &"changed".into())
    );

    let bundles = || daemon.log().iter().filter(|line| line.contains("run ")).count();
    let before = bundles();
    let (code, _, err) = fleet.cli(&["envoys", "push", "web-1.test"]);
    assert!(code == 0 && err.contains("gets its bundle again now"), "{err}");
    until("another run", || bundles() > before);
}

#[test]
fn an_interval_without_news_costs_a_heartbeat_and_its_runs_are_told() {
    let fleet = Fleet::with("interval: 1s");
    let (host, _daemon) = fleet.agent("web-1.test");
    let checkins = || {
        let text = text(&fleet.server.vigocli(&fleet.viewer, &["envoys", "show", "web-1.test"]).stdout);
        assert!(text.contains("web-1.test"), "{text}");
        let log = fleet.server.log();
        (log.iter().filter(|l| l.contains("bundle sent")).count(), fleet.server.runs("web-1.test").len())
    };
    until("some runs", || fleet.server.runs("web-1.test").len() >= 6);
    assert_eq!(checkins().0, 1);
    for run in fleet.server.runs("web-1.test").iter().skip(1) {
        assert_eq!((&run["ok"], &run["changed"]), (&1.into(), &0.into()), "{run}");
    }
    // somebody changes the file: the run that puts it right says so, and the one after that is as before
    host.write("/motd", "mine now\n");
    let changed = || fleet.server.runs("web-1.test").iter().filter(|run| run["changed"] == 1).count();
    until("the repair", || changed() == 2);
    let count = fleet.server.runs("web-1.test").len();
    until("two more runs", || fleet.server.runs("web-1.test").len() >= count + 2);
    let (_, envoy) = fleet.json(&["envoys", "show", "web-1.test"]);
    assert_eq!((&envoy["last_run"]["changed"], &envoy["results"][0]["outcome"]), (&0.into(), &"ok".into()));
    assert_eq!(envoy["lost_results"], serde_json::json!([]));
    until("a word of the server", || host.status()["health"] == "ok");
}

#[test]
fn a_task_that_runs_is_cancelled_with_everything_it_started() {
    let fleet = Fleet::new();
    let (host, _daemon) = fleet.agent("web-1.test");
    let line = "echo so far; (sleep 300 & echo $! > child; wait) & sleep 300";
    let task = fleet.begin(&["--on", "web-1.test", "--shell", line]);
    lines(&host.root.join("child"));
    let out = fleet.server.vigocli(&fleet.viewer, &["task", "cancel", &task]);
    assert!(out.status.code() == Some(1) && text(&out.stderr).contains("operator"), "{out:?}");
    let (code, _, err) = fleet.cli(&["task", "cancel", &task]);
    assert!(
        code == 0 && err.contains("does not begin on 0 envoys and is stopped on 1 envoy;"),
        "{code} {err}"
    );
    let target = fleet.until(&task, &["cancelled"]);
    assert!(target["error"].as_str().unwrap().contains("process group"), "{target}");
    let child = host.read("child").unwrap();
    until("the death of its child", || {
        !Path::new(&format!("/proc/{}/stat", child.trim())).exists()
            || std::fs::read_to_string(format!("/proc/{}/stat", child.trim()))
                .unwrap_or_default()
                .contains(") Z ")
    });
    let (code, detail) = fleet.json(&["task", "status", &task, "--output"]);
    assert_eq!((code, &detail["output"]["web-1.test"][0]["text"]), (1, &"so far\n".into()), "{detail:#}");
    let (code, _, err) = fleet.cli(&["task", "cancel", &task]);
    assert!(code == 1 && err.contains("is over"), "{code} {err}");

    // one that waits for a host that does not come is taken back at once
    let away = fleet.host("web-9.test");
    assert_eq!(away.run().0, 0);
    let waiting = fleet.begin(&["--on", "web-9.test", "--", "touch", "ran"]);
    assert_eq!(fleet.cli(&["task", "cancel", &waiting]).0, 0);
    fleet.until(&waiting, &["cancelled"]);

    // a workflow: the step that runs is killed, and the next one does not begin
    let file = fleet.dir.path().join("workflow.yaml");
    let steps = "steps:\n  - shell: touch begun; sleep 300\n  - command: [touch, second]\n";
    std::fs::write(&file, format!("name: long\ntargets: {{ hosts: [web-1.test] }}\n{steps}")).unwrap();
    let run = ["workflow", "run", "--no-follow", "--format", "json", file.to_str().unwrap()];
    let made: Value = serde_json::from_str(&fleet.cli(&run).1).unwrap();
    let id = made["id"].as_str().unwrap();
    lines(&host.root.join("begun"));
    let (code, detail) = fleet.json(&["workflow", "cancel", id]);
    assert_eq!((code, &detail["state"]), (0, &"cancelled".into()), "{detail:#}");
    until("the end of its step", || {
        fleet.json(&["workflow", "status", id]).1["tasks"][0]["states"]["cancelled"] == 1
    });
    let (code, detail) = fleet.json(&["workflow", "status", id]);
    assert!(code == 1 && detail["error"].as_str().unwrap().contains("(ann)"), "{code} {detail:#}");
    assert_eq!(detail["tasks"].as_array().unwrap().len(), 1, "{detail:#}");
    assert!(host.read("second").is_none());
    let (code, _, err) = fleet.cli(&["workflow", "cancel", id]);
    assert!(code == 1 && err.contains("is over"), "{code} {err}");
    let audit = fleet.server.command(&["api-token", "create", "--name", "root", "--role", "admin"]);
    let said = text(&fleet.server.vigocli(audit.trim(), &["audit", "list"]).stdout);
    assert!(said.contains("task.cancel") && said.contains("workflow.cancel"), "{said}");
}
