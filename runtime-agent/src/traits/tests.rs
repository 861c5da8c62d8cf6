//! Collectors together: what is there, what is kept, and what becomes of one that fails.

use super::*;

#[test]
fn everything_a_policy_may_rely_on_is_there() {
    let all = merge(&Collectors::default().collect(Path::new("/"), 1, vec![]));
    for path in [
        "os.family",
        "os.distro",
        "os.version",
        "os.kernel",
        "os.arch",
        "os.kernel_release",
        "os.package_manager",
        "os.init",
        "network.hostname",
        "network.fqdn",
        "network.interfaces",
        "hardware.cpus",
        "hardware.memory_mb",
        "virtual.inside",
        "container.inside",
        "agent.version",
        "agent.failed_collectors",
        "custom",
        "filesystem.root.used_percent",
        "filesystem.usage",
        "host.boot_id",
        "load.one",
        "memory.available_mb",
        "mounts.list",
        "ports.tcp",
        "security.selinux",
        "swap.total_mb",
        "time.zone",
        "uptime.seconds",
        "users.names",
    ] {
        let segments: Vec<Arc<str>> = path.split('.').map(Arc::from).collect();
        assert!(all.at(&segments).is_some(), "{path} in {all:?}");
    }
    assert!(ir::wire::encode_value(&all).is_ok());
}

#[test]
fn a_class_says_how_long_an_answer_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut marked = collect(dir.path(), 1_000, vec![]);
    marked.iter_mut().for_each(|c| c.value = Value::Map([("mark".into(), c.name.as_str().into())].into()));
    let kept = |now| {
        let again = collect(dir.path(), now, marked.clone());
        let mut kept: Vec<_> = again.iter().filter(|c| marked.contains(c)).map(|c| c.name.clone()).collect();
        kept.sort();
        kept
    };
    let periodic = ["custom programs", "hardware", "packages"];
    let stable = ["cloud", "container", "dmi", "os", "package_updates"];
    let mut both = [&periodic[..], &stable[..]].concat();
    both.sort_unstable();
    assert_eq!(kept(1_001), both);
    assert_eq!(kept(1_000 + 3_600_000), stable);
    assert!(kept(1_000 + 86_400_000).is_empty());
    assert!(kept(999).is_empty(), "the clock went back");
}

fn value(text: &str) -> Value {
    Value::Map([("x".into(), text.into())].into())
}

const BROKEN: Collector =
    collector("broken", Class::Volatile, |_| Answer::failed("it\u{1b}[2J broke".to_owned()));

#[test]
fn what_failed_says_nothing_and_what_found_out_a_part_says_that() {
    assert_eq!(judge(&BROKEN, Some((BROKEN.collect)(&Root::open(Path::new("/")).unwrap())), 1), Err(()));
    assert_eq!(judge(&BROKEN, None, 1), Err(()), "it was late");
    let part = Answer {
        section: Section::from([("x".into(), "a".into())]),
        problems: vec!["and b is not there".into()],
    };
    assert_eq!(judge(&BROKEN, Some(part), 1).unwrap().value, value("a"));
    assert!(judge(&BROKEN, Some(Answer::default()), 1).is_ok(), "nothing to say is no failure");
    let agent = about_the_agent(1, &["broken"].into());
    let more = about_the_agent(1, &["late"].into());
    let names = merge(&[agent, more]).at(&["agent".into(), "failed_collectors".into()]).cloned();
    assert_eq!(names, Some(Value::List(vec!["broken".into(), "late".into()])));
}

#[test]
fn nobody_waits_for_a_slow_one_and_what_it_said_before_counts_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let mut collectors = Collectors::default();
    let (release, held) = mpsc::channel::<Answer>();
    let soon = Instant::now() + Duration::from_secs(60);
    collectors.late.insert("packages", (held, soon));
    let old = Collected { name: "packages".into(), at: 1, class: Class::Periodic, value: value("old") };
    let find = |all: &[Collected]| all.iter().find(|c| c.name == "packages").map(|c| c.value.clone());
    let now = 10_000_000;
    let all = collectors.collect(dir.path(), now, vec![old.clone()]);
    assert_eq!(find(&all), Some(value("old")));
    assert!(collectors.is_waiting());
    assert_eq!(find(&collectors.collect(dir.path(), now, vec![])), None, "nothing was known before");
    release.send(Answer::from([("x".into(), "new".into())])).unwrap();
    assert_eq!(find(&collectors.collect(dir.path(), now, vec![old.clone()])), Some(value("new")));
    // one that never comes back
    let (_kept, silent) = mpsc::channel::<Answer>();
    collectors.late.insert("packages", (silent, Instant::now()));
    let all = collectors.collect(dir.path(), now, vec![old]);
    assert_eq!(find(&all), Some(value("old")));
    let failed = merge(&all).at(&["agent".into(), "failed_collectors".into()]).cloned();
    assert_eq!(failed, Some(Value::List(vec!["packages".into()])));
}

#[test]
fn a_slow_one_is_asked_when_an_expression_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("var/lib/dpkg")).unwrap();
    std::fs::write(
        dir.path().join("var/lib/dpkg/status"),
        "Package: vim\nStatus: install ok installed\nVersion: 1\n\n",
    )
    .unwrap();
    let traits = Traits::collect(dir.path(), 1);
    let count = ["packages".into(), "count".into()];
    assert_eq!(traits.known().at(&count), None);
    assert!(!traits.asked_the_slow());
    assert!(traits.at(&["agent".into(), "version".into()]).is_some());
    assert!(!traits.asked_the_slow(), "nobody asked for one of them");
    assert_eq!(traits.at(&count), Some(&Value::Int(1)));
}

#[test]
fn maps_of_several_collectors_are_one() {
    let part = |name: &str, key: &str| {
        let custom = Value::Map([(key.into(), true.into())].into());
        let value = Value::Map([("custom".into(), custom)].into());
        Collected { name: name.into(), at: 1, class: Class::Volatile, value }
    };
    let custom = merge(&[part("custom", "a"), part("custom programs", "b")]);
    assert_eq!(serde_json::Value::from(&custom).to_string(), r#"{"custom":{"a":true,"b":true}}"#);
}
