//! Against programs of our own, which keep `/etc/passwd`, `/etc/group` and `/etc/shadow` of the sandbox.

use super::super::testing::{Machine, desired};
use super::*;
use ir::Value;

const HASH: &str = "$6$salt$abcdefghijklmnopqrstuvwxyz0123456789";

/// The last word is the name; `$p`, `$g` and `$s` are the tables.
const START: &str = r#"asked "$@"
p=$here/etc/passwd; g=$here/etc/group; s=$here/etc/shadow
for name in "$@"; do :; done
field() { awk -F: -v OFS=: -v n="$name" -v i="$2" -v v="$3" '$1 == n { $i = v } { print }' "$1" > "$here/t" && cat "$here/t" > "$1"; }
join() { awk -F: -v OFS=: -v n="$name" -v all=",$1," 'index(all, "," $1 ",") { m = "," $4 ","; if (!index(m, "," n ",")) $4 = $4 == "" ? n : $4 "," n } { print }' "$g" > "$here/t" && cat "$here/t" > "$g"; }
leave() { awk -F: -v OFS=: -v n="$name" '{ m = "," $4 ","; sub("," n ",", ",", m); gsub(/^,|,$/, "", m); $4 = m } { print }' "$g" > "$here/t" && cat "$here/t" > "$g"; }
"#;
const USERADD: &str = r#"
uid=1000 gid=1000 home=/home/$name shell=/bin/sh comment=
while [ $# -gt 1 ]; do
  case $1 in
    --uid) uid=$2; shift ;; --gid) gid=$(awk -F: -v n="$2" '$1 == n || $3 == n { print $3 }' "$g"); shift ;;
    --groups) join "$2"; shift ;; --comment) comment=$2; shift ;; --home-dir) home=$2; shift ;; --shell) shell=$2; shift ;;
  esac; shift
done
echo "$name:x:$uid:$gid:$comment:$home:$shell" >> "$p"; echo "$name:!:19000::::::" >> "$s"
"#;
const USERMOD: &str = r#"
append=
while [ $# -gt 1 ]; do
  case $1 in
    --uid) field "$p" 3 "$2"; shift ;; --gid) field "$p" 4 "$(awk -F: -v n="$2" '$1 == n || $3 == n { print $3 }' "$g")"; shift ;;
    --comment) field "$p" 5 "$2"; shift ;; --home) field "$p" 6 "$2"; shift ;; --shell) field "$p" 7 "$2"; shift ;;
    --append) append=1 ;; --groups) [ "$append" ] || leave; join "$2"; shift ;;
    --expiredate) d=$2; [ -z "$d" ] || d=$(( $(date -u -d "$d" +%s) / 86400 )); field "$s" 8 "$d"; shift ;;
    --lock) sed -i "s/^$name:/&!/" "$s" ;; --unlock) sed -i "s/^$name:!/$name:/" "$s" ;;
  esac; shift
done
"#;
const CHPASSWD: &str = r#"
IFS=: read -r name hash; field "$s" 2 "$hash"
"#;
const USERDEL: &str = r#"
sed -i "/^$name:/d" "$p" "$s"; leave; case "$*" in *--remove*) exit 12 ;; esac
"#;

fn machine() -> Machine {
    let m = Machine::new();
    m.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n");
    m.write("etc/group", "root:x:0:\nann:x:1000:\nadm:x:4:ann\ndocker:x:998:\nweb:x:33:\n");
    m.write("etc/shadow", &format!("root:*:19000::::::\nann:{HASH}:19000::::::\n"));
    for (name, script) in
        [("useradd", USERADD), ("usermod", USERMOD), ("chpasswd", CHPASSWD), ("userdel", USERDEL)]
    {
        m.program(name, &format!("{START}{script}"));
    }
    m
}

fn user(name: &str, extra: &[(&str, Value)]) -> Desired {
    let mut d = desired(&[
        ("username", name.into()),
        ("state", "present".into()),
        ("append", true.into()),
        ("system", false.into()),
        ("remove_home", false.into()),
    ]);
    extra.iter().for_each(|(name, value)| d.set(name, value.clone(), *name == "password"));
    d
}

fn names(all: &[&str]) -> Value {
    Value::List(all.iter().map(|n| Value::from(*n)).collect())
}

#[test]
fn created_with_everything_once_and_repaired_after_drift() {
    let m = machine();
    let d = user(
        "deploy",
        &[
            ("uid", Value::Int(1500)),
            ("group", "web".into()),
            ("groups", names(&["docker", "adm"])),
            ("comment", "Deployments".into()),
            ("home", "/srv/deploy".into()),
            ("shell", "/bin/bash".into()),
            ("password", HASH.into()),
            ("locked", true.into()),
            ("expires", "2027-01-31".into()),
        ],
    );
    let (said, asked) = m.converge(&UserType, &d).unwrap();
    assert_eq!(said, "created");
    assert_eq!(
        asked,
        [
            "useradd --uid 1500 --gid web --groups adm,docker --comment Deployments --home-dir /srv/deploy --create-home --shell /bin/bash deploy",
            "usermod --expiredate 2027-01-31 deploy",
            "chpasswd -e",
            "usermod --lock deploy",
        ]
    );
    assert_eq!(m.converge(&UserType, &d).unwrap(), (String::new(), vec![]));
    assert!(
        m.read("etc/shadow").contains(&format!("deploy:!{HASH}:19000:::::20849:")),
        "{}",
        m.read("etc/shadow")
    );

    let drifted = m.read("etc/passwd").replace("/bin/bash", "/bin/false").replace("Deployments", "Someone");
    m.write("etc/passwd", &drifted);
    let table = m.read("etc/group").replace("998:deploy", "998:");
    m.write("etc/group", &table);
    assert_eq!(
        m.settles(&UserType, &d),
        "comment Someone -> Deployments, shell /bin/false -> /bin/bash, groups +docker"
    );
}

#[test]
fn only_what_is_declared_is_changed() {
    let m = machine();
    assert_eq!(m.converge(&UserType, &user("ann", &[])).unwrap().0, "");
    assert_eq!(
        m.settles(&UserType, &user("ann", &[("uid", Value::Int(1001)), ("group", "33".into())])),
        "uid 1000 -> 1001, group ann -> 33"
    );
    assert_eq!(m.settles(&UserType, &user("ann", &[("groups", names(&["docker"]))])), "groups +docker");
    let exactly = user("ann", &[("groups", names(&["docker"])), ("append", false.into())]);
    assert_eq!(m.settles(&UserType, &exactly), "groups -adm");
    assert_eq!(m.settles(&UserType, &user("ann", &[("expires", "2030-12-31".into())])), "expires 2030-12-31");
    assert_eq!(m.settles(&UserType, &user("ann", &[("expires", "never".into())])), "never expires");
}

#[test]
fn a_lock_and_a_password_do_not_undo_each_other() {
    let m = machine();
    assert_eq!(m.settles(&UserType, &user("ann", &[("locked", true.into())])), "locked");
    let other = "$6$salt$another";
    assert_eq!(m.settles(&UserType, &user("ann", &[("password", other.into())])), "password changed");
    assert!(m.read("etc/shadow").contains(&format!("ann:!{other}:")), "it stays locked");
    assert_eq!(m.settles(&UserType, &user("ann", &[("locked", false.into())])), "unlocked");
    let both = user("ann", &[("locked", true.into()), ("password", HASH.into())]);
    assert_eq!(m.settles(&UserType, &both), "password changed, locked");
    let opened = user("ann", &[("locked", false.into()), ("password", other.into())]);
    assert_eq!(m.settles(&UserType, &opened), "password changed");
    // A new user has no password yet: that is not one that lets everybody in.
    let d = user("new", &[("locked", false.into())]);
    assert_eq!(m.settles(&UserType, &d), "created");
    assert!(m.read("etc/shadow").contains("new:!:"));
}

#[test]
fn a_group_of_the_same_name_is_its_own_and_a_user_of_the_system_has_no_home() {
    let m = machine();
    let (_, asked) = m.converge(&UserType, &user("web", &[("system", true.into())])).unwrap();
    assert_eq!(asked, ["useradd --system --gid web --no-create-home web"]);
}

#[test]
fn removed_once() {
    let m = machine();
    let d = user("ann", &[("state", "absent".into()), ("remove_home", true.into())]);
    let (said, asked) = m.converge(&UserType, &d).unwrap();
    assert_eq!((said.as_str(), asked), ("removed", vec!["userdel --remove ann".to_owned()]));
    assert_eq!(m.converge(&UserType, &d).unwrap().0, "");
}

#[test]
fn busybox_has_programs_of_its_own() {
    let mut m = machine();
    m.sandbox.platform.busybox_accounts = true;
    std::fs::remove_file(m.sandbox.path("programs/usermod")).unwrap();
    m.program("adduser", &format!("{START}echo \"$name:x:1001:33::/home/$name:/bin/ash\" >> \"$p\"; echo \"$name:!:19000::::::\" >> \"$s\""));
    m.program("addgroup", &format!("{START}group=$2; name=$1; join \"$group\""));
    m.program("passwd", &format!("{START}sed -i \"s/^$name:!/$name:/\" \"$s\""));
    let d =
        user("web", &[("groups", names(&["docker"])), ("password", HASH.into()), ("locked", false.into())]);
    let (_, asked) = m.converge(&UserType, &d).unwrap();
    assert_eq!(asked, ["adduser -D -G web web", "addgroup web docker", "chpasswd -e"]);
    assert_eq!(m.converge(&UserType, &d).unwrap().0, "");
    let error = m.refuses(&UserType, &user("web", &[("shell", "/bin/zsh".into())]));
    // The machine of this test has a usermod of its own, which finds no such user.
    assert!(error.contains("usermod"), "{error}");
}

#[test]
fn what_cannot_be_is_refused_and_a_password_is_not_shown() {
    let m = machine();
    for (extra, why) in [
        (("uid", Value::Int(0)), "attribute `uid`: 0 is the number of user `root`"),
        (("uid", Value::Int(-5)), "-5 is not between 0"),
        (("comment", "a:b".into()), "attribute `comment`: must not have a `:`"),
        (("comment", "a\nroot::0:0".into()), "attribute `comment`: must not have a `:`"),
        (("home", "relative".into()), "path `relative` is not absolute"),
        (("shell", "/bin/sh:x".into()), "attribute `shell`: must not"),
        (("expires", "tomorrow".into()), "`tomorrow` is neither a day"),
        (("expires", "2027-02-30".into()), "neither a day"),
        (("password", "hunter2".into()), "attribute `password`: is not a hash"),
        (("password", "$6$a$b\nroot:$6$x$y".into()), "attribute `password`: is not a hash"),
        (("groups", names(&["a,b"])), "is not the name of an account"),
        (("group", "-g".into()), "is not the name of an account"),
    ] {
        let error = m.refuses(&UserType, &user("deploy", &[extra]));
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(m.refuses(&UserType, &user("root", &[("state", "absent".into())])).contains("never removed"));
    m.program("chpasswd", "cat; exit 1");
    let error = m.refuses(&UserType, &user("ann", &[("password", "$6$x$y".into())]));
    assert!(!error.contains("$6$x$y"), "{error}");
}

#[test]
fn case_086_the_name_of_a_user_is_no_option_and_no_second_line() {
    let m = machine();
    for bad in
        ["", "-r", "--system", "a b", "a;b", "a:b", "a\nb", "$(id)", "0", "a,b", "../x", &"x".repeat(33)]
    {
        let error = m.refuses(&UserType, &user(bad, &[]));
        assert!(error.contains("is not the name of an account"), "{bad}: {error}");
    }
}
