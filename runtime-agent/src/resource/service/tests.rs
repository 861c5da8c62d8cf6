//! Against a systemctl of our own, which keeps the state of one unit in files and writes down what it is asked.

use super::super::testing::{Sandbox, desired};
use super::*;
use ir::Value;
use std::os::unix::fs::PermissionsExt;

const SYSTEMCTL: &str = r#"#!/bin/sh
here=${0%/*}
set_to() { printf '%s' "$2" > "$here/$1"; }
get() { cat "$here/$1"; }
[ "$1" = show ] || printf '%s\n' "$*" >> "$here/asked"
if [ -e "$here/fails" ]; then cat "$here/fails"; exit 1; fi
case $1 in
  show)
    printf 'LoadState=%s\nActiveState=%s\nUnitFileState=%s\n' "$(get load)" "$(get active)" "$(get file)"
    printf 'NeedDaemonReload=%s\nType=%s\nRemainAfterExit=no\n' "$(get reload)" "$(get type)" ;;
  start|restart) [ "$(get type)" = oneshot ] || set_to active "$(get becomes)" ;;
  stop) set_to active inactive ;;
  enable) set_to file enabled ;;
  disable) set_to file disabled ;;
  mask) set_to file masked; set_to load masked ;;
  unmask) set_to file disabled; set_to load loaded ;;
  daemon-reload) set_to reload no ;;
esac
"#;

struct Fake {
    sandbox: Sandbox,
    service: ServiceType,
}

impl Fake {
    /// A unit that is there, stopped and disabled.
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let program = sandbox.path("systemctl");
        std::fs::write(&program, SYSTEMCTL).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let service = ServiceType { systemctl: program.to_str().unwrap().to_owned().into() };
        let fake = Fake { sandbox, service };
        for (name, value) in [
            ("load", "loaded"),
            ("active", "inactive"),
            ("file", "disabled"),
            ("reload", "no"),
            ("type", "simple"),
            ("becomes", "active"),
        ] {
            fake.set(name, value);
        }
        fake
    }

    fn set(&self, name: &str, value: &str) {
        std::fs::write(self.sandbox.path(name), value).unwrap();
    }

    /// What was asked for since the last time, without the questions.
    fn asked(&self) -> Vec<String> {
        let path = self.sandbox.path("asked");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        text.lines().map(str::to_owned).collect()
    }

    fn probe(&self, d: &Desired) -> Result<Vec<String>, ResourceError> {
        Ok(self.service.probe(&self.sandbox.context(), d)?.changes)
    }

    /// Probe, apply, look again: what was said, and what was asked of systemctl.
    fn converge(&self, d: &Desired) -> Result<(String, Vec<String>), ResourceError> {
        let context = self.sandbox.context();
        self.asked();
        let probe = self.service.probe(&context, d)?;
        assert_eq!(self.asked(), Vec::<String>::new(), "a probe changes nothing");
        if !probe.is_clean() {
            self.service.apply(&context, d, &probe)?;
            let left = self.service.settled(&context, d)?;
            if !left.is_clean() {
                return Err(ResourceError::NotConverged(left.action()));
            }
        }
        Ok((probe.action(), self.asked()))
    }
}

fn nginx(extra: &[(&str, Value)]) -> Desired {
    let mut d = desired(&[("service", "nginx".into()), ("timeout", "20s".into())]);
    extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
    d
}

#[test]
fn it_is_started_and_enabled_once() {
    let fake = Fake::new();
    let d = nginx(&[("state", "running".into()), ("enabled", true.into())]);
    let (said, asked) = fake.converge(&d).unwrap();
    assert_eq!(said, "enabled, started");
    assert_eq!(asked, ["enable -- nginx.service", "start -- nginx.service"]);
    assert_eq!(fake.converge(&d).unwrap(), (String::new(), vec![]));
    fake.set("active", "failed");
    assert_eq!(fake.converge(&d).unwrap().0, "started");
}

#[test]
fn it_is_stopped_disabled_and_masked() {
    let fake = Fake::new();
    fake.set("active", "active");
    fake.set("file", "enabled");
    let d = nginx(&[("state", "stopped".into()), ("enabled", false.into()), ("masked", true.into())]);
    let (said, asked) = fake.converge(&d).unwrap();
    assert_eq!(said, "stopped, disabled, masked");
    assert_eq!(asked, ["stop -- nginx.service", "disable -- nginx.service", "mask -- nginx.service"]);
    assert_eq!(fake.converge(&d).unwrap().0, "");
    let back = nginx(&[("state", "running".into()), ("masked", false.into())]);
    assert_eq!(fake.converge(&back).unwrap().1, ["unmask -- nginx.service", "start -- nginx.service"]);
}

#[test]
fn what_is_not_declared_is_left_alone() {
    let fake = Fake::new();
    fake.set("active", "active");
    fake.set("file", "masked");
    assert_eq!(fake.probe(&nginx(&[])).unwrap(), Vec::<String>::new());
    assert_eq!(fake.probe(&nginx(&[("enabled", false.into())])).unwrap(), Vec::<String>::new());
    // a failed service does not run
    fake.set("active", "failed");
    assert_eq!(fake.probe(&nginx(&[("state", "stopped".into())])).unwrap(), Vec::<String>::new());
}

#[test]
fn a_restart_and_a_reload_are_asked_for_every_time() {
    let fake = Fake::new();
    let restarted = nginx(&[("state", "restarted".into())]);
    for _ in 0..2 {
        let (said, asked) = fake.converge(&restarted).unwrap();
        assert_eq!(
            (said.as_str(), asked.as_slice()),
            ("restarted", &["restart -- nginx.service".to_owned()][..])
        );
    }
    let reloaded = nginx(&[("state", "reloaded".into())]);
    assert_eq!(fake.converge(&reloaded).unwrap().1, ["try-reload-or-restart -- nginx.service"]);
    fake.set("active", "inactive");
    assert_eq!(fake.converge(&reloaded).unwrap(), (String::new(), vec![]), "nothing runs that could reload");
}

#[test]
fn a_service_that_does_not_stay_up_is_no_success() {
    let fake = Fake::new();
    fake.set("becomes", "failed");
    for state in ["running", "restarted"] {
        let error = fake.converge(&nginx(&[("state", state.into())])).unwrap_err().to_string();
        assert_eq!(error, "did not converge: after the change it is still `failed`");
    }
    fake.set("type", "oneshot");
    fake.set("active", "inactive");
    let error = fake.converge(&nginx(&[("state", "running".into())])).unwrap_err().to_string();
    assert!(error.contains("`nginx.service` is of `Type=oneshot`"), "{error}");
    fake.converge(&nginx(&[("state", "restarted".into())])).unwrap();
}

#[test]
fn a_changed_unit_file_is_read_first() {
    let fake = Fake::new();
    fake.set("reload", "yes");
    let d = nginx(&[("state", "running".into())]);
    let (said, asked) = fake.converge(&d).unwrap();
    assert_eq!(said, "started");
    assert_eq!(asked, ["daemon-reload", "start -- nginx.service"]);
}

#[test]
fn a_unit_that_is_not_there_yet_is_due_and_fails_only_when_it_has_to_start() {
    let fake = Fake::new();
    fake.set("load", "not-found");
    fake.set("file", "");
    let d = nginx(&[("state", "running".into()), ("enabled", true.into())]);
    assert_eq!(fake.probe(&d).unwrap(), ["enabled", "started"]);
    let error = fake.converge(&d).unwrap_err().to_string();
    assert!(error.contains("there is no unit `nginx.service` on this host"), "{error}");
    let gone = nginx(&[("state", "stopped".into()), ("enabled", false.into())]);
    assert_eq!(fake.converge(&gone).unwrap(), (String::new(), vec![]));
}

#[test]
fn what_systemd_will_not_do_says_why() {
    let fake = Fake::new();
    let error = |extra: &[(&str, Value)]| fake.converge(&nginx(extra)).unwrap_err().to_string();
    fake.set("file", "static");
    assert!(error(&[("enabled", true.into())]).contains("`nginx.service` is static"));
    fake.set("file", "masked");
    fake.set("load", "masked");
    assert!(error(&[("state", "running".into())]).contains("declare `masked: false`"));
    assert!(
        error(&[("state", "running".into()), ("masked", true.into())])
            .contains("masked service can be neither")
    );
    assert!(
        error(&[("state", "on".into())]).contains("`on` is not one of running, stopped, restarted, reloaded")
    );
    fake.set("load", "bad-setting");
    fake.set("file", "disabled");
    assert!(error(&[("state", "running".into())]).contains("systemd cannot load `nginx.service`"));
}

#[test]
fn a_failed_job_shows_what_systemctl_wrote() {
    let fake = Fake::new();
    let context = fake.sandbox.context();
    let d = nginx(&[("state", "running".into())]);
    let probe = fake.service.probe(&context, &d).unwrap();
    let script = SYSTEMCTL
        .replace("start|restart)", "start) echo 'Job for nginx.service failed.'; exit 1 ;; restart)");
    fake.set("systemctl", &script);
    let error = fake.service.apply(&context, &d, &probe).unwrap_err().to_string();
    assert_eq!(
        error,
        "`systemctl start nginx.service` ended with 1, expected 0:\nJob for nginx.service failed."
    );
}

#[test]
fn without_systemd_a_host_says_so_and_a_sandbox_shows_what_it_would_do() {
    let fake = Fake::new();
    fake.set("fails", "System has not been booted with systemd as init system (PID 1). Can't operate.\n");
    let d = nginx(&[("state", "reloaded".into())]);
    assert_eq!(fake.probe(&d).unwrap(), ["reloaded"]);
    let host = crate::root::Root::open(std::path::Path::new("/")).unwrap();
    let context = Context { root: &host, ..fake.sandbox.context() };
    let error = fake.service.probe(&context, &d).unwrap_err().to_string();
    assert!(
        error.starts_with("this host is run by neither systemd nor OpenRC, which this needs: System has"),
        "{error}"
    );
    let missing = ServiceType { systemctl: "/no/such/systemctl".into() };
    let error = missing.probe(&context, &d).unwrap_err().to_string();
    assert!(error.ends_with("there is no `systemctl`"), "{error}");
}

#[test]
fn case_086_the_name_of_a_unit_is_no_option_and_no_pattern() {
    let fake = Fake::new();
    for bad in ["", "--root=/", "-x", "a b", "a;b", "*", "../x", "a/b", "$(id)", "nginx\n", &"x".repeat(250)]
    {
        let mut d = nginx(&[("state", "running".into())]);
        d.set("service", bad.into(), false);
        let error = fake.probe(&d).unwrap_err().to_string();
        assert!(error.contains("is not the name of a unit"), "{bad}: {error}");
    }
    for (name, whole) in [
        ("php8.2-fpm", "php8.2-fpm.service"),
        ("getty@tty1", "getty@tty1.service"),
        ("fstrim.timer", "fstrim.timer"),
    ] {
        assert_eq!(unit(name).unwrap(), whole);
    }
}

/// OpenRC, with the state of services in files.
fn openrc() -> super::super::testing::Machine {
    let mut m = super::super::testing::Machine::new();
    m.sandbox.platform.init = Init::Openrc;
    std::fs::create_dir(m.sandbox.path("state")).unwrap();
    m.write("state/nginx", "stopped");
    m.write("levels", "             sshd | default\n");
    m.program(
        "rc-service",
        r#"
[ "$1" = --exists ] && { [ -e "$here/state/$2" ]; exit; }
[ "$2" = status ] && case $(cat "$here/state/$1") in started) exit 0 ;; crashed) exit 32 ;; *) exit 3 ;; esac
asked "$@"
case $2 in
  start|restart) [ -e "$here/broken" ] && { echo 'nginx: [emerg] bad'; exit 1; }; echo started > "$here/state/$1" ;;
  stop) echo stopped > "$here/state/$1" ;;
  reload) [ ! -e "$here/no-reload" ] ;;
esac
"#,
    );
    m.program(
        "rc-update",
        r#"
[ "$1" = show ] && { cat "$here/levels"; exit; }
asked "$@"
case $1 in add) echo "  $2 | default" >> "$here/levels" ;; --all) sed -i "/ $3 |/d" "$here/levels" ;; esac
"#,
    );
    m
}

#[test]
fn openrc_starts_enables_stops_and_disables() {
    let m = openrc();
    let d = nginx(&[("state", "running".into()), ("enabled", true.into())]);
    let (said, asked) = m.converge(&SERVICE, &d).unwrap();
    assert_eq!(said, "enabled, started");
    assert_eq!(asked, ["rc-update add nginx default", "rc-service nginx start"]);
    assert_eq!(m.converge(&SERVICE, &d).unwrap(), (String::new(), vec![]));
    m.write("state/nginx", "crashed");
    assert_eq!(m.settles(&SERVICE, &d), "started");
    let d = nginx(&[("state", "stopped".into()), ("enabled", false.into()), ("masked", false.into())]);
    assert_eq!(m.settles(&SERVICE, &d), "stopped, disabled");
}

#[test]
fn openrc_restarts_and_reloads_every_time() {
    let m = openrc();
    let restarted = nginx(&[("state", "restarted".into())]);
    for _ in 0..2 {
        assert_eq!(m.converge(&SERVICE, &restarted).unwrap().1, ["rc-service nginx restart"]);
    }
    let reloaded = nginx(&[("state", "reloaded".into())]);
    assert_eq!(m.converge(&SERVICE, &reloaded).unwrap().1, ["rc-service nginx reload"]);
    m.write("no-reload", "");
    assert_eq!(
        m.converge(&SERVICE, &reloaded).unwrap().1,
        ["rc-service nginx reload", "rc-service nginx restart"]
    );
    m.write("state/nginx", "stopped");
    assert_eq!(m.converge(&SERVICE, &reloaded).unwrap().0, "");
}

#[test]
fn openrc_says_what_it_cannot_do() {
    let m = openrc();
    let error = |extra: &[(&str, Value)]| m.refuses(&SERVICE, &nginx(extra));
    assert!(error(&[("masked", true.into())]).contains("OpenRC masks no services"));
    let timer = desired(&[("service", "fstrim.timer".into()), ("timeout", "20s".into())]);
    assert!(m.refuses(&SERVICE, &timer).contains("is not a service of OpenRC"));
    m.write("broken", "");
    assert!(
        error(&[("state", "running".into())])
            .contains("`rc-service nginx start` ended with 1, expected 0:\nnginx: [emerg] bad")
    );
    let missing =
        desired(&[("service", "nope".into()), ("state", "running".into()), ("timeout", "20s".into())]);
    assert_eq!(m.probe(&SERVICE, &missing).unwrap(), ["started"]);
    assert!(m.refuses(&SERVICE, &missing).contains("there is no service `nope` on this host"));
    let gone = desired(&[("service", "nope".into()), ("state", "stopped".into()), ("timeout", "20s".into())]);
    assert_eq!(m.converge(&SERVICE, &gone).unwrap().0, "");
}

#[test]
fn where_nothing_runs_services_a_sandbox_shows_what_it_would_do_and_a_host_says_so() {
    let mut m = super::super::testing::Machine::new();
    m.sandbox.platform.init = Init::None;
    let d = nginx(&[("state", "running".into())]);
    assert_eq!(m.probe(&SERVICE, &d).unwrap(), ["started"]);
    let host = crate::root::Root::open(std::path::Path::new("/")).unwrap();
    let error = SERVICE.probe(&Context { root: &host, ..m.sandbox.context() }, &d).unwrap_err().to_string();
    assert!(error.contains("the trait `os.init` is `none`"), "{error}");
}
