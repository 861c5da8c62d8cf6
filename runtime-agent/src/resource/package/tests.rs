//! Against package managers of our own, which keep one file a package: its version, and the state that dpkg would give it.

use super::super::testing::{Machine, desired};
use super::*;
use crate::command::CommandError;
use ir::Value;
use std::time::UNIX_EPOCH;

const TYPE: PackageType = PackageType { pause: Duration::from_millis(5) };

const DPKG_QUERY: &str = r#"
shift 3; code=0
for n in "$@"; do
  if [ -e "$here/db/$n" ]; then read v s < "$here/db/$n"; printf '%s\tamd64\t%s\t%s \n' "$n" "$v" "$s"
  else echo "dpkg-query: no packages found matching $n" >&2; code=1; fi
done
exit $code
"#;
const APT_GET: &str = r#"
while :; do case $1 in -o) shift 2 ;; --yes|--quiet) shift ;; *) break ;; esac; done
asked "$@"
if [ -e "$here/locked" ]; then
  left=$(cat "$here/locked"); [ "$left" = 0 ] || { echo $((left - 1)) > "$here/locked"
    echo 'E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4 (apt-get)' >&2; exit 100; }
fi
if [ -e "$here/interrupted" ]; then
  echo "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem." >&2; exit 100
fi
[ "$1" = update ] && { [ ! -e "$here/newer" ] || mv "$here/newer"/* "$here/index"; exit 0; }
while [ "$1" != -- ]; do verb=$1; shift; done; shift
for spec in "$@"; do
  n=${spec%%=*}
  case $verb in
    install) [ -e "$here/index/$n" ] || { echo "E: Unable to locate package $n" >&2; exit 100; }
      case $spec in *\**|"$n") v=$(cat "$here/index/$n") ;; *) v=${spec#*=} ;; esac
      echo "$v ii" > "$here/db/$n" ;;
    remove) echo "1 rc" > "$here/db/$n" ;;
    purge) rm -f "$here/db/$n" ;;
  esac
done
"#;
const APT_CACHE: &str = r#"
shift 2
for n in "$@"; do
  read v s < "$here/db/$n"
  printf '%s:\n  Installed: %s\n  Candidate: %s\n  Version table:\n *** %s 500\n' "$n" "$v" "$(cat "$here/index/$n")" "$v"
done
"#;
const APT_MARK: &str = r#"
asked "$@"
verb=$1; shift 2
for n in "$@"; do
  read v s < "$here/db/$n"
  case $verb in hold) s=h${s#?} ;; unhold) s=i${s#?} ;; esac
  echo "$v $s" > "$here/db/$n"
done
"#;

/// An index that was just fetched, and programs as those of Debian.
fn debian(index: &[(&str, &str)]) -> Machine {
    let mut machine = Machine::new();
    machine.sandbox.platform.package_manager = Some(PackageManager::Apt);
    machine.program("dpkg-query", DPKG_QUERY);
    machine.program("apt-get", APT_GET);
    machine.program("apt-cache", APT_CACHE);
    machine.program("apt-mark", APT_MARK);
    machine.program("dpkg", "asked \"$@\"; rm -f \"$here/interrupted\"");
    std::fs::create_dir(machine.sandbox.path("db")).unwrap();
    for (name, version) in index {
        machine.write(&format!("index/{name}"), version);
    }
    machine.write("var/lib/apt/lists/deb.test_Packages", "");
    set_age(&machine, "var/lib/apt/lists", 60);
    machine
}

/// How old a file is to the clock of the sandbox.
fn set_age(machine: &Machine, path: &str, seconds: u64) {
    let then = UNIX_EPOCH + Duration::from_secs(machine.sandbox.context().now - seconds);
    let file = std::fs::File::open(machine.sandbox.path(path)).unwrap();
    file.set_modified(then).unwrap();
}

fn package(extra: &[(&str, Value)]) -> Desired {
    let mut all = vec![
        ("state", Value::from("present")),
        ("refresh", "1d".into()),
        ("lock_timeout", "20s".into()),
        ("timeout", "20s".into()),
    ];
    all.extend(extra.iter().cloned());
    desired(&all)
}

fn list(names: &[&str]) -> Value {
    Value::List(names.iter().map(|n| Value::from(*n)).collect())
}

#[test]
fn missing_ones_are_installed_in_one_transaction_once_and_again_after_drift() {
    let m = debian(&[("curl", "7.88"), ("git", "2.39"), ("jq", "1.6")]);
    m.write("db/git", "2.30 ii");
    let d = package(&[("packages", list(&["curl", "git", "jq", "curl"]))]);
    let (said, asked) = m.converge(&TYPE, &d).unwrap();
    assert_eq!(said, "installed curl, jq");
    assert_eq!(asked, ["apt-get install -- curl jq"]);
    assert_eq!(m.converge(&TYPE, &d).unwrap(), (String::new(), vec![]));
    assert_eq!(m.read("db/git"), "2.30 ii", "what is there is not upgraded");
    std::fs::remove_file(m.sandbox.path("db/jq")).unwrap();
    assert_eq!(m.settles(&TYPE, &d), "installed jq");
}

#[test]
fn an_old_index_is_fetched_before_something_is_installed_and_a_missing_one_too() {
    let m = debian(&[("curl", "7.88")]);
    set_age(&m, "var/lib/apt/lists", 90_000);
    let d = package(&[("package", "curl".into())]);
    let (said, asked) = m.converge(&TYPE, &d).unwrap();
    assert_eq!(
        (said.as_str(), asked),
        ("installed curl", vec!["apt-get update".into(), "apt-get install -- curl".into()])
    );
    // Written now, so in the future of this clock by more than an hour: that is no time to believe.
    let m = debian(&[("curl", "7.88")]);
    std::fs::remove_file(m.sandbox.path("var/lib/apt/lists/deb.test_Packages")).unwrap();
    set_age(&m, "var/lib/apt/lists", 60);
    assert_eq!(m.converge(&TYPE, &d).unwrap().1[0], "apt-get update");
}

#[test]
fn latest_upgrades_and_looks_for_news_when_the_index_is_old() {
    let m = debian(&[("curl", "7.88")]);
    m.write("db/curl", "7.80 ii");
    let d = package(&[("package", "curl".into()), ("state", "latest".into())]);
    let (said, asked) = m.converge(&TYPE, &d).unwrap();
    assert_eq!(said, "upgraded curl 7.80 -> 7.88");
    assert_eq!(asked, ["apt-get --only-upgrade install -- curl"]);
    assert_eq!(m.converge(&TYPE, &d).unwrap().0, "");
    m.write("newer/curl", "8.0");
    set_age(&m, "var/lib/apt/lists", 90_000);
    let context = m.sandbox.context();
    let probe = TYPE.probe(&context, &d).unwrap();
    assert_eq!(probe.action(), "refreshed the package index");
    TYPE.apply(&context, &d, &probe).unwrap();
    assert_eq!(m.read("db/curl"), "8.0 ii\n", "the new index had a newer one");
}

#[test]
fn absent_keeps_the_configuration_and_purged_does_not() {
    let m = debian(&[]);
    m.write("db/telnetd", "0.17 ii");
    let d = package(&[("package", "telnetd".into()), ("state", "absent".into())]);
    assert_eq!(m.settles(&TYPE, &d), "removed telnetd");
    let d = package(&[("package", "telnetd".into()), ("state", "purged".into())]);
    assert_eq!(m.settles(&TYPE, &d), "purged telnetd");
    assert_eq!(
        m.converge(&TYPE, &package(&[("package", "never".into()), ("state", "purged".into())])).unwrap().0,
        ""
    );
}

#[test]
fn a_version_is_installed_whatever_is_there_and_held() {
    let m = debian(&[("nginx", "1.24.0-1")]);
    m.write("db/nginx", "1.26.0-1 hi");
    let d = package(&[("package", "nginx".into()), ("version", "1.24.*".into()), ("hold", true.into())]);
    let (said, asked) = m.converge(&TYPE, &d).unwrap();
    assert_eq!(said, "installed nginx 1.26.0-1 -> 1.24.*, held nginx");
    assert_eq!(
        asked,
        [
            "apt-mark unhold -- nginx",
            "apt-get --allow-downgrades install -- nginx=1.24.*",
            "apt-mark hold -- nginx"
        ]
    );
    assert_eq!(m.converge(&TYPE, &d).unwrap(), (String::new(), vec![]));
    m.write("db/nginx", "1.24.0-1 ii");
    assert_eq!(m.settles(&TYPE, &d), "held nginx");
    let free = package(&[("package", "nginx".into()), ("hold", false.into())]);
    assert_eq!(m.settles(&TYPE, &free), "no longer held nginx");
    let exact = package(&[("package", "nginx".into()), ("version", "1.24.0-9".into())]);
    assert_eq!(m.settles(&TYPE, &exact), "installed nginx 1.24.0-1 -> 1.24.0-9");
}

#[test]
fn a_lock_is_waited_for_up_to_the_limit() {
    let m = debian(&[("curl", "7.88")]);
    m.write("locked", "3");
    let d = package(&[("package", "curl".into())]);
    let (said, asked) = m.converge(&TYPE, &d).unwrap();
    assert_eq!((said.as_str(), asked.len()), ("installed curl", 4));
    std::fs::remove_file(m.sandbox.path("db/curl")).unwrap();
    m.write("locked", "100000");
    let d = package(&[("package", "curl".into()), ("lock_timeout", "30ms".into())]);
    let error = m.refuses(&TYPE, &d);
    assert!(
        error.starts_with("the package manager is locked by another program, and was still after "),
        "{error}"
    );
    assert!(error.contains("held by process 4 (apt-get)"), "{error}");
}

#[test]
fn a_dpkg_that_was_interrupted_is_finished_first() {
    let m = debian(&[("curl", "7.88")]);
    m.write("interrupted", "");
    m.write("db/curl", "7.88 iF");
    let d = package(&[("package", "curl".into())]);
    let (said, asked) = m.converge(&TYPE, &d).unwrap();
    assert_eq!(said, "installed curl");
    assert_eq!(
        asked,
        [
            "apt-get install -- curl",
            "dpkg --force-confdef --force-confold --configure -a",
            "apt-get install -- curl"
        ]
    );
}

#[test]
fn what_cannot_be_installed_says_why() {
    let m = debian(&[]);
    let error = m.refuses(&TYPE, &package(&[("package", "no-such".into())]));
    assert!(error.contains("ended with 100, expected 0:\nE: Unable to locate package no-such"), "{error}");
    m.program("apt-get", "exit 0");
    let error = m.refuses(&TYPE, &package(&[("package", "virtual".into())]));
    assert_eq!(error, "did not converge: after the change it is still installed virtual");
    m.program("apt-get", "sleep 30");
    let slow = package(&[("package", "curl".into()), ("timeout", "50ms".into())]);
    let context = m.sandbox.context();
    let error = TYPE.apply(&context, &slow, &Probe::clean()).unwrap_err();
    assert!(matches!(error, ResourceError::Command(CommandError::TimedOut { .. })), "{error}");
    let mut other = Machine::new();
    other.sandbox.platform.package_manager = None;
    let error = other.refuses(&TYPE, &package(&[("package", "curl".into())]));
    assert!(error.contains("it has none of apt, dnf"), "{error}");
}

#[test]
fn contradictions_are_refused() {
    let m = debian(&[]);
    for (extra, why) in [
        (vec![], "attribute `package` is missing"),
        (vec![("package", "a".into()), ("packages", list(&["b"]))], "together with `package`"),
        (vec![("packages", list(&["b"])), ("version", "1".into())], "is for one `package`"),
        (
            vec![("package", "a".into()), ("state", "latest".into()), ("version", "1".into())],
            "`state: present`",
        ),
        (
            vec![("package", "a".into()), ("state", "absent".into()), ("hold", true.into())],
            "`state: present`",
        ),
        (vec![("package", "a".into()), ("version", "1; id".into())], "is not a version"),
        (vec![("package", "a".into()), ("version", "-1".into())], "is not a version"),
        (vec![("packages", list(&vec!["x"; 2001]))], "too many"),
        (vec![("packages", "x".into())], "must be a list of strings"),
        (vec![("package", "a".into()), ("colour", "red".into())], "no attribute `colour`"),
    ] {
        let error = TYPE.probe(&m.sandbox.context(), &package(&extra)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(m.probe(&TYPE, &package(&[("packages", list(&[]))])).unwrap(), [""; 0]);
}

#[test]
fn case_086_the_name_of_a_package_is_no_option_no_pattern_and_no_file() {
    let m = debian(&[]);
    for bad in [
        "",
        "-y",
        "--allow-unauthenticated",
        "a b",
        "a;b",
        "vim*",
        "./x.deb",
        "/tmp/x.deb",
        "$(id)",
        "a=1",
        "vim-",
        "a/b",
        "x\n",
        "^a$",
    ] {
        let error =
            TYPE.probe(&m.sandbox.context(), &package(&[("package", bad.into())])).unwrap_err().to_string();
        assert!(error.contains("is not the name of a package"), "{bad}: {error}");
    }
    for good in ["g++", "libstdc++6", "libc6:i386", "python3.11", "7zip", "Cython_x"] {
        assert_eq!(package_name(good).unwrap(), good);
    }
}

#[test]
fn what_dpkg_and_apt_print_is_read() {
    let names = ["libc6".to_owned(), "libc6:i386".to_owned(), "gone".to_owned(), "half".to_owned()];
    let text = "libc6\tamd64\t2.36\tii \nlibc6\ti386\t2.35\thi \ngone\tall\t1\tun \nhalf\tall\t1\tiU \n";
    let found = dpkg::Installed::read(text).of(&names);
    assert_eq!(found["libc6"].version.as_deref(), Some("2.36"));
    assert_eq!((found["libc6:i386"].version.as_deref(), found["libc6:i386"].held), (Some("2.35"), true));
    assert!(!found.contains_key("gone"));
    assert_eq!((&found["half"].version, found["half"].remains), (&None, true));
    let policy = "curl:\n  Installed: 7\n  Candidate: 8\n  Version table:\n     8 500\ngit:\n  Installed: 2\n  Candidate: 2\nx:i386:\n  Installed: 1\n  Candidate: (none)\n";
    assert_eq!(apt::candidates(policy), [("curl", "8")]);
}

const RPM: &str = r#"
shift 4; code=0
for n in "$@"; do
  if [ -e "$here/db/$n" ]; then printf '%s\tx86_64\t%s\n' "$n" "$(cat "$here/db/$n")"
  else echo "package $n is not installed"; code=$((code + 1)); fi
done
exit $code
"#;
const DNF: &str = r#"
while :; do case $1 in --assumeyes|--quiet|--setopt=*) shift ;; *) break ;; esac; done
case $1 in
  check-update) shift; code=0
    for n in "$@"; do new=$(cat "$here/index/$n"); [ "$new" = "$(cat "$here/db/$n")" ] || { code=100; echo "$n.x86_64  $new  appstream"; }; done
    exit $code ;;
  versionlock)
    [ -e "$here/no-plugin" ] && { echo 'No such command: versionlock.' >&2; exit 1; }
    case $2 in
      list) ls "$here/locks" | while read n; do echo "$n-$(cat "$here/db/$n").*"; done; exit 0 ;;
      add) asked "$@"; shift 2; for n in "$@"; do : > "$here/locks/$n"; done; exit 0 ;;
      delete) asked "$@"; shift 2; for n in "$@"; do rm "$here/locks/$n"; done; exit 0 ;;
    esac ;;
esac
asked "$@"
verb=$1; shift
for n in "$@"; do
  case $verb in
    remove) rm "$here/db/$n" ;;
    *) case $n in *-[0-9]*) v=${n#*-}; n=${n%%-*}; echo "0:$v-1" > "$here/db/$n" ;; *) cp "$here/index/$n" "$here/db/$n" ;; esac ;;
  esac
done
"#;

fn fedora() -> Machine {
    let mut m = Machine::new();
    m.sandbox.platform.package_manager = Some(PackageManager::Dnf);
    m.program("rpm", RPM);
    m.program("dnf", DNF);
    for folder in ["db", "locks"] {
        std::fs::create_dir(m.sandbox.path(folder)).unwrap();
    }
    m.write("index/nginx", "1:1.26.0-2.el9\n");
    m
}

#[test]
fn dnf_installs_upgrades_holds_and_removes() {
    let m = fedora();
    let of = |extra: &[(&str, Value)]| {
        let mut all = vec![("package", Value::from("nginx"))];
        all.extend(extra.iter().cloned());
        package(&all)
    };
    let (said, asked) = m.converge(&TYPE, &of(&[("recommends", false.into())])).unwrap();
    assert_eq!((said.as_str(), asked), ("installed nginx", vec!["dnf install nginx".to_owned()]));
    assert_eq!(m.converge(&TYPE, &of(&[])).unwrap().0, "");
    m.write("db/nginx", "1:1.20.1-1.el9\n");
    assert_eq!(
        m.settles(&TYPE, &of(&[("state", "latest".into())])),
        "upgraded nginx 1:1.20.1-1.el9 -> 1:1.26.0-2.el9"
    );
    let (said, asked) =
        m.converge(&TYPE, &of(&[("version", "1.24.0".into()), ("hold", true.into())])).unwrap();
    assert_eq!(said, "installed nginx 1:1.26.0-2.el9 -> 1.24.0, held nginx");
    assert_eq!(asked, ["dnf downgrade nginx-1.24.0", "dnf versionlock add nginx"]);
    assert_eq!(m.converge(&TYPE, &of(&[("version", "1.24.0".into()), ("hold", true.into())])).unwrap().0, "");
    assert_eq!(m.settles(&TYPE, &of(&[("hold", false.into())])), "no longer held nginx");
    assert_eq!(m.settles(&TYPE, &of(&[("state", "purged".into())])), "purged nginx");
    m.write("no-plugin", "");
    assert!(m.refuses(&TYPE, &of(&[("hold", true.into())])).contains("python3-dnf-plugin-versionlock"));
}

#[test]
fn versions_and_locks_of_rpm() {
    let rpm = rpm::Rpm { through: rpm::Through::Dnf };
    for want in ["1:1.20.1-14.el9", "1.20.1-14.el9", "1.20.1", "1.20.*"] {
        assert!(rpm.is_version("1:1.20.1-14.el9", want), "{want}");
    }
    assert!(!rpm.is_version("1:1.20.1-14.el9", "1.20"));
    for (older, newer) in
        [("1.9", "0:1.10-1"), ("1.20.*", "0:1.26-1"), ("1.0a", "0:1.0.1-1"), ("0:9", "1:1-1")]
    {
        assert!(rpm::is_older(older, newer), "{older} {newer}");
    }
    assert!(!rpm::is_older("1.10", "0:1.9-1"));
    assert!(!rpm::is_older("1:1", "0:9-1"));
    for line in ["nginx-1:1.20.1-14.el9.*", "1:nginx-1.20.1-14.el9.*", "Package name: nginx"] {
        assert!(rpm::is_lock_of(line, "nginx"), "{line}");
    }
    assert!(!rpm::is_lock_of("nginx-core-1:1.20.1-14.el9.*", "nginx"));
}

#[test]
fn zypper_and_pacman_and_apk_say_it_in_their_way() {
    let want = |extra: &[(&str, Value)]| super::want(&package(extra)).unwrap();
    let of = |version: Option<&str>| {
        Step::Install(vec![("nginx".into(), version.map(str::to_owned), None), ("jq".into(), None, None)])
    };
    let line = |manager: &dyn Manager, step: &Step, want: &Want| {
        manager.calls(step, want).unwrap().iter().map(|call| call.join(" ")).collect::<Vec<_>>().join("; ")
    };
    let plain = want(&[("package", "nginx".into())]);
    let names = vec!["nginx".to_owned()];
    let zypper = rpm::Rpm { through: rpm::Through::Zypper };
    assert_eq!(
        line(&zypper, &of(Some("1.2")), &plain),
        "zypper --non-interactive --quiet install --auto-agree-with-licenses --oldpackage nginx=1.2 jq"
    );
    assert_eq!(
        line(&zypper, &Step::Hold(names.clone()), &plain),
        "zypper --non-interactive --quiet addlock nginx"
    );
    assert_eq!(line(&pacman::Pacman, &of(None), &plain), "pacman --noconfirm --sync --needed -- nginx jq");
    assert_eq!(
        line(&pacman::Pacman, &Step::Purge(names.clone()), &plain),
        "pacman --noconfirm --remove --nosave -- nginx"
    );
    assert_eq!(
        line(&apk::Apk, &of(Some("1.2*")), &plain),
        "apk --no-interactive --cache-max-age 1440 add nginx~1.2 jq"
    );
    assert_eq!(
        line(&apk::Apk, &Step::Remove(names.clone()), &plain),
        "apk --no-interactive --cache-max-age 1440 del nginx"
    );
    let pinned = want(&[("package", "nginx".into()), ("version", "1.2-r0".into())]);
    assert_eq!(
        line(&apk::Apk, &Step::Hold(names.clone()), &pinned),
        "apk --no-interactive --cache-max-age 1440 add nginx=1.2-r0"
    );
    assert!(
        apk::Apk.calls(&Step::Hold(names.clone()), &plain).unwrap_err().to_string().contains("add `version`")
    );
    assert!(pacman::Pacman.calls(&of(None), &pinned).unwrap_err().to_string().contains("take `version` out"));
}

#[test]
fn alpine_is_read_from_its_database_and_changed_with_apk() {
    let mut m = Machine::new();
    m.sandbox.platform.package_manager = Some(PackageManager::Apk);
    m.write("lib/apk/db/installed", "C:Q1\nP:busybox\nV:1.36\n\nC:Q1\nP:jq\nV:1.6\n\n");
    m.program(
        "apk",
        r#"
while :; do case $1 in --no-interactive) shift ;; --cache-max-age) shift 2 ;; *) break ;; esac; done
[ "$1" = version ] && { echo 'Installed:   Available:'; echo 'jq-1.6  < 1.7'; exit 0; }
asked "$@"
case $1 in
  add) shift; [ "$1" = --upgrade ] && { sed -i 's/^V:1.6$/V:1.7/' "$here/lib/apk/db/installed"; exit 0; }
    for n in "$@"; do printf 'P:%s\nV:1\n\n' "$n" >> "$here/lib/apk/db/installed"; done ;;
  del) sed -i "/^P:$2\$/d" "$here/lib/apk/db/installed" ;;
esac
"#,
    );
    assert_eq!(m.settles(&TYPE, &package(&[("packages", list(&["busybox", "curl"]))])), "installed curl");
    assert_eq!(
        m.settles(&TYPE, &package(&[("package", "curl".into()), ("state", "absent".into())])),
        "removed curl"
    );
    let (said, asked) =
        m.converge(&TYPE, &package(&[("package", "jq".into()), ("state", "latest".into())])).unwrap();
    assert_eq!((said.as_str(), asked), ("upgraded jq 1.6 -> 1.7", vec!["apk add --upgrade jq".to_owned()]));
}

#[test]
fn arch_is_asked_with_pacman() {
    let mut m = Machine::new();
    m.sandbox.platform.package_manager = Some(PackageManager::Pacman);
    m.write("var/lib/pacman/sync/core.db", "");
    set_age(&m, "var/lib/pacman/sync/core.db", 60);
    std::fs::create_dir(m.sandbox.path("db")).unwrap();
    m.program(
        "pacman",
        r#"
case $1 in
  --query) shift; [ "$1" = --upgrades ] && exit 1; shift; code=0
    for n in "$@"; do [ -e "$here/db/$n" ] && echo "$n 1.0-1" || { echo "error: package '$n' was not found" >&2; code=1; }; done
    exit $code ;;
esac
shift; asked "$@"
case $1 in --sync) shift 3; for n in "$@"; do : > "$here/db/$n"; done ;; --remove) shift 2; rm "$here/db/$1" ;; esac
"#,
    );
    assert_eq!(m.settles(&TYPE, &package(&[("package", "git".into())])), "installed git");
    assert_eq!(
        m.settles(&TYPE, &package(&[("package", "git".into()), ("state", "absent".into())])),
        "removed git"
    );
    assert!(
        m.refuses(&TYPE, &package(&[("package", "git".into()), ("hold", true.into())])).contains("IgnorePkg")
    );
}

#[test]
fn suse_is_asked_with_rpm_and_zypper() {
    let mut m = Machine::new();
    m.sandbox.platform.package_manager = Some(PackageManager::Zypper);
    m.program("rpm", RPM);
    std::fs::create_dir(m.sandbox.path("db")).unwrap();
    m.program(
        "zypper",
        r#"
shift 2
case $1 in
  locks) echo '# | Name | Type | Repository'; ls "$here/db" | while read n; do [ -e "$here/lock-$n" ] && echo "1 | $n | package | (any)"; done; exit 0 ;;
  --no-refresh) echo 'S | Repository | Name | Current Version | Available Version | Arch'; echo 'v | Main | git | 2.35-1 | 2.43-1 | x86_64'; exit 0 ;;
esac
asked "$@"
case $1 in install) echo 0:2.35-1 > "$here/db/$4" ;; update) rm -f "$here/db/$3"; echo 0:2.43-1 > "$here/db/$3" ;; addlock) : > "$here/lock-$2" ;; esac
"#,
    );
    assert_eq!(m.settles(&TYPE, &package(&[("package", "git".into())])), "installed git");
    assert_eq!(m.settles(&TYPE, &package(&[("package", "git".into()), ("hold", true.into())])), "held git");
    let latest = package(&[("package", "git".into()), ("state", "latest".into())]);
    assert_eq!(m.probe(&TYPE, &latest).unwrap(), ["upgraded git 0:2.35-1 -> 2.43-1"]);
}

#[test]
fn a_sandbox_without_the_package_manager_shows_what_would_be_installed_and_a_host_says_what_is_missing() {
    let m = debian(&[]);
    std::fs::remove_file(m.sandbox.path("programs/dpkg-query")).unwrap();
    // Only our own programs: the machine of this test may have a dpkg.
    let d = package(&[("package", "curl".into())]);
    let mut alpine = Machine::new();
    alpine.sandbox.platform.package_manager = Some(PackageManager::Apk);
    assert_eq!(alpine.probe(&TYPE, &d).unwrap(), ["installed curl"]);
}
