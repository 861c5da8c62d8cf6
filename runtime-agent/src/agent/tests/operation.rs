//! What whoever looks after a host asks of its agent: pause, explain, doctor.

use super::*;
use crate::status::Health;

const TWO_HOURS: Duration = Duration::from_secs(7200);

/// What the server knows of the host.
fn known(host: &Host, path: [&str; 2]) -> Option<Value> {
    let traits = ir::wire::decode_value(host.server.traits.as_ref()?).ok()?;
    traits.at(&path.map(Into::into)).cloned()
}

#[test]
fn a_paused_host_stays_as_it_is_and_says_so_everywhere_until_the_time_is_up() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.agent.pause(TWO_HOURS, "looking\u{1b}[2J around").unwrap();
    fs::write(host.dir.path().join("etc/motd"), "drift").unwrap();
    host.server.publish(motd("two"));
    let error = host.turn().unwrap_err();
    assert_eq!((error.exit_code(), host.motd().as_str()), (75, "drift"));
    assert!(error.to_string().contains("looking\\u{1b}[2J around"), "{error}");
    assert_eq!(host.store().marks().unwrap().seq, 2, "it goes on to hear of news");
    assert_eq!(known(&host, ["agent", "paused"]), Some(true.into()));
    let status = host.agent.status().unwrap();
    assert!(status.human().contains("PAUSED for 2 h 0 m more: looking"), "{}", status.human());
    assert_eq!(status.health().0, Health::Warning);
    assert_eq!(
        (status.json()["converging"].as_bool(), status.json()["paused"]["until"].is_u64()),
        (Some(false), true)
    );

    let dry = RunOptions { dry_run: true, ..RunOptions::default() };
    let looked = host.agent.session().unwrap().cycle(&mut host.server, &dry, &mut Silent).unwrap();
    assert_eq!(looked.summary.totals.changed, 1, "looking is allowed");

    host.pass(2 * HOUR);
    host.turn().unwrap();
    assert_eq!((host.motd().as_str(), known(&host, ["agent", "paused"])), ("two", Some(false.into())));
    assert!(!host.agent.resume().unwrap(), "it was over");
    host.agent.pause(TWO_HOURS, "again").unwrap();
    assert!(host.agent.resume().unwrap());
    host.turn().unwrap();
}

#[test]
fn a_resource_is_explained_while_the_agent_is_at_work_and_no_secret_is_shown() {
    let mut host = host();
    host.server.secrets = vec![("web/db", "canary-4711")];
    let secret = Expr::Const(Value::Secret("web/db".into()));
    let mut told = file(Expr::Template(vec![ir::Piece::Text("pw=".into()), ir::Piece::Emit(secret)]));
    told.name = "config".into();
    told.attributes[3].1 = Expr::Const("/etc/config".into());
    told.notify = vec![ir::Target::Local(1)];
    let mut shown = file(Expr::Template(vec![
        ir::Piece::Text("kernel ".into()),
        ir::Piece::Emit(Expr::path(ir::Root::Traits, &["os", "kernel"])),
    ]));
    shown.when = Some(Expr::Call(ir::Builtin::FileExists, vec![Expr::Const("/etc/config".into())]));
    host.server.publish(vec![Module { name: "m".into(), depends_on: vec![], resources: vec![told, shown] }]);
    host.turn().unwrap();
    let agent = host.agent.clone();
    let _at_work = agent.session().unwrap();
    let text = agent.explain("m.config").unwrap().human(true);
    for part in [
        "resource    m.config, a `file`",
        "resource 1 of 2",
        "notifies    m.motd",
        "content = (sensitive)",
        "now         as it should be",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    fs::write(host.dir.path().join("etc/config"), "other").unwrap();
    fs::write(host.dir.path().join("etc/motd"), "other").unwrap();
    let explained = agent.explain("m.config").unwrap();
    let all = format!("{explained:?} {} {}", explained.human(true), explained.json());
    assert!(all.contains("would change") && !all.contains("canary"), "{all}");

    let explained = agent.explain("m.motd").unwrap();
    let text = explained.human(true);
    for part in [
        "when        file_exists('/etc/config')",
        "now: true",
        "notified by m.config",
        "content = \"kernel linux\"",
        "from kernel {{ .Traits.os.kernel }}",
        "+kernel linux",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(explained.json()["attributes"]["content"]["value"], "kernel linux");
    for (id, code) in [("m.no", 64), ("m", 64), ("no", 64), ("", 64)] {
        assert_eq!(agent.explain(id).unwrap_err().exit_code(), code, "{id}");
    }
}

#[test]
fn an_agent_that_opens_a_stream_to_a_black_hole_ends_when_it_is_told_to() {
    use crate::stream::{StreamHandle, StreamParts};
    // It takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    let mut identity = Identity::load(host.agent.state()).unwrap();
    identity.server = silent.local_addr().unwrap().to_string();
    let stop = host.agent.shared_stop();
    let store = host.store();
    let tasks = crate::task::Tasks::open(
        store.clone(),
        host.agent.root_path(),
        host.agent.shared_clock(),
        stop.clone(),
    )
    .unwrap();
    let (wake, _woken) = std::sync::mpsc::channel();
    let mut stream = StreamHandle::default();
    let (line, failures) = (stream.line(), stream.failures());
    let clock = host.agent.shared_clock();
    let carrier = crate::stream::Carrier::Own;
    stream.open(StreamParts {
        identity,
        carrier,
        store,
        clock,
        tasks,
        stop: stop.clone(),
        wake,
        line,
        failures,
    });
    let (_connection, _) = silent.accept().unwrap();
    stop.store(true, Ordering::Relaxed);
    let asked = Instant::now();
    stream.join();
    assert!(asked.elapsed() < Duration::from_secs(5), "it waited for a handshake that never comes");
}

#[test]
fn a_doctor_names_what_keeps_the_agent_from_its_work() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    let text = host.agent.doctor().human();
    assert!(text.contains("bundle       ok"), "{text}");
    assert!(
        text.contains("server       BAD  ") && text.contains("daemon       BAD  it does not run"),
        "{text}"
    );
    host.agent.pause(TWO_HOURS, "why not").unwrap();
    fs::create_dir_all(host.dir.path().join("etc/vigo")).unwrap();
    fs::write(host.dir.path().join("etc/vigo/agent.json"), "{").unwrap();
    host.clock.set(host.clock.now() - DAY);
    let checks = host.agent.doctor();
    let text = checks.human();
    for part in
        ["settings     BAD", "clock        BAD  the clock is 1 d 0 h behind", "pause        BAD  paused for"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(
        !checks.is_good() && checks.json("doctor")["checks"].as_array().is_some_and(|all| all.len() > 10)
    );
    let empty = tempfile::tempdir().unwrap();
    let nobody = Agent::new(AgentOptions { root: empty.path().to_owned(), ..AgentOptions::default() });
    assert!(nobody.doctor().human().contains("identity     BAD  this host is not enrolled"));
}
