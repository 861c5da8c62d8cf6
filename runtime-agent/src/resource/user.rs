//! `user`: a user of the host's own accounts.

use super::tables::{self, Group, Shadow, User, account_name};
use super::{Applied, Context, Desired, Executor, Probe, ResourceError};
use crate::text::{bounded, printable};
use zeroize::Zeroizing;

/// The type.
pub struct UserType;

const KNOWN: &[&str] = &[
    "username",
    "state",
    "uid",
    "group",
    "groups",
    "append",
    "comment",
    "home",
    "create_home",
    "shell",
    "system",
    "password",
    "locked",
    "expires",
    "remove_home",
];

struct Want {
    name: String,
    present: bool,
    uid: Option<u32>,
    group: Option<String>,
    groups: Option<Vec<String>>,
    append: bool,
    comment: Option<String>,
    home: Option<String>,
    create_home: Option<bool>,
    shell: Option<String>,
    system: bool,
    password: Option<Zeroizing<String>>,
    locked: Option<bool>,
    /// A date, or nothing for never.
    expires: Option<Option<jiff::civil::Date>>,
    remove_home: bool,
}

/// What the host has.
struct Found {
    users: Vec<User>,
    groups: Vec<Group>,
    shadows: Vec<Shadow>,
}

/// Changes in words, and the call that makes them.
struct Step {
    changes: Vec<String>,
    words: Vec<String>,
    /// Read by the program; the password is in it.
    input: Option<Zeroizing<String>>,
    /// Exit codes that are no failure.
    accepted: &'static [i32],
}

impl Executor for UserType {
    fn key(&self) -> &'static str {
        "username"
    }

    fn acts_on_machine(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let want = want(desired)?;
        let steps = steps(context, &want, &found(context)?)?;
        Ok(Probe { changes: steps.into_iter().flat_map(|step| step.changes).collect(), diff: None })
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let want = want(desired)?;
        // Twice: what a new user still lacks is known when it is there.
        for _ in 0..2 {
            for step in steps(context, &want, &found(context)?)? {
                let mut program = context.program(step.words);
                if let Some(input) = &step.input {
                    program = program.given_secret(input);
                }
                let answer = program.ask()?;
                if answer.code != 0 && !step.accepted.contains(&answer.code) {
                    return Err(program.failed(answer));
                }
            }
        }
        Ok(Applied::default())
    }
}

fn found(context: &Context<'_>) -> Result<Found, ResourceError> {
    Ok(Found {
        users: tables::users(context)?,
        groups: tables::groups(context)?,
        shadows: tables::shadows(context)?,
    })
}

fn invalid(name: &'static str, why: impl Into<String>) -> ResourceError {
    ResourceError::Invalid { name, why: why.into() }
}

/// Text that may stand in a field of a table.
fn field(desired: &Desired, name: &'static str) -> Result<Option<String>, ResourceError> {
    let Some(text) = desired.text(name)? else { return Ok(None) };
    if text.contains(':') || text.chars().any(char::is_control) {
        return Err(invalid(name, "must not have a `:` or a line break"));
    }
    Ok(Some(text.to_owned()))
}

fn path(desired: &Desired, name: &'static str) -> Result<Option<String>, ResourceError> {
    desired.path(name)?;
    field(desired, name)
}

/// What `crypt` understands. A password in the clear would be of no use, and readable where hashes are kept.
fn hash(text: &str) -> Result<Zeroizing<String>, ResourceError> {
    let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, ':' | '\\' | '!' | ';' | '*');
    let hashed = text.starts_with('$') && text.matches('$').count() >= 3 && text.chars().all(allowed);
    if hashed && text.len() <= 1000 || text == "*" {
        return Ok(Zeroizing::new(text.to_owned()));
    }
    Err(invalid("password", "is not a hash; `openssl passwd -6` makes one, `*` stands for none"))
}

fn want(desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("user", KNOWN)?;
    let name = account_name("username", desired.required("username")?)?;
    let present = desired.word("state", &["present", "absent"])? == "present";
    if !present && name == "root" {
        return Err(invalid("username", "`root` is never removed"));
    }
    let expires = match desired.text("expires")? {
        None => None,
        Some("never") => Some(None),
        Some(text) => Some(Some(
            text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == 10).ok_or_else(|| {
                let shown = printable(bounded(text, 50));
                invalid("expires", format!("`{shown}` is neither a day, such as \"2027-01-31\", nor `never`"))
            })?,
        )),
    };
    let group = match desired.text("group")? {
        Some(text) if text.parse::<u32>().is_ok() => Some(text.to_owned()),
        Some(text) => Some(account_name("group", text)?),
        None => None,
    };
    let groups = match desired.strings("groups")? {
        Some(all) => {
            let mut all =
                all.into_iter().map(|g| account_name("groups", g)).collect::<Result<Vec<_>, _>>()?;
            all.sort();
            all.dedup();
            Some(all)
        }
        None => None,
    };
    Ok(Want {
        name,
        present,
        uid: desired.int("uid", 0..=i64::from(u32::MAX) - 1)?.and_then(|uid| u32::try_from(uid).ok()),
        group,
        groups,
        append: desired.flag("append")?,
        comment: field(desired, "comment")?,
        home: path(desired, "home")?,
        create_home: desired.choice("create_home")?,
        shell: path(desired, "shell")?,
        system: desired.flag("system")?,
        password: desired.text("password")?.map(hash).transpose()?,
        locked: desired.choice("locked")?,
        expires,
        remove_home: desired.flag("remove_home")?,
    })
}

fn step(changes: Vec<String>, words: Vec<String>) -> Step {
    Step { changes, words, input: None, accepted: &[] }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What has to be done, in order. That of a new user comes first; the rest is found out when it is there.
fn steps(context: &Context<'_>, want: &Want, found: &Found) -> Result<Vec<Step>, ResourceError> {
    let busybox = context.platform.busybox_accounts;
    let user = found.users.iter().find(|user| user.name == want.name);
    let Some(user) = user else {
        if !want.present {
            return Ok(Vec::new());
        }
        taken(want, found)?;
        let words = if busybox { busybox_add(want, found) } else { useradd(want, found) };
        return Ok(vec![step(vec!["created".to_owned()], words)]);
    };
    if !want.present {
        let (mut words, flag) =
            if busybox { (owned(&["deluser"]), "--remove-home") } else { (owned(&["userdel"]), "--remove") };
        if want.remove_home {
            words.push(flag.to_owned());
        }
        words.push(want.name.clone());
        // 12: the user is gone, but its home was not there, or not its own.
        return Ok(vec![Step { accepted: &[12], ..step(vec!["removed".to_owned()], words) }]);
    }
    taken(want, found)?;
    let mut steps = Vec::new();
    let (mut changes, mut words) = (Vec::new(), Vec::new());
    let mut differs = |what: &str, flag: &str, have: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| *value != have) {
            changes.push(format!("{what} {} -> {}", printable(have), printable(value)));
            words.extend(owned(&[flag, value]));
        }
    };
    let uid = want.uid.map(|uid| uid.to_string());
    differs("uid", "--uid", &user.uid.to_string(), uid.as_deref());
    differs("comment", "--comment", &user.comment, want.comment.as_deref());
    differs("home", "--home", &user.home, want.home.as_deref());
    differs("shell", "--shell", &user.shell, want.shell.as_deref());
    if let Some(group) = &want.group
        && group_number(group, found) != Some(user.gid)
    {
        let have =
            found.groups.iter().find(|g| g.gid == user.gid).map_or(user.gid.to_string(), |g| g.name.clone());
        changes.push(format!("group {have} -> {group}"));
        words.extend(owned(&["--gid", group]));
    }
    let shadow = found.shadows.iter().find(|shadow| shadow.name == want.name);
    if let Some(expires) = want.expires {
        let day = expires.map(days);
        let have = shadow.and_then(|shadow| shadow.expires);
        if day != have {
            let text = expires.map(|date| date.to_string()).unwrap_or_default();
            changes.push(match expires {
                Some(date) => format!("expires {date}"),
                None => "never expires".to_owned(),
            });
            words.extend(["--expiredate".to_owned(), text]);
        }
    }
    let (joined, left) = memberships(want, found);
    let listed: Vec<String> =
        joined.iter().map(|g| format!("+{g}")).chain(left.iter().map(|g| format!("-{g}"))).collect();
    if !listed.is_empty() && !busybox {
        changes.push(format!("groups {}", listed.join(" ")));
        match (&want.groups, want.append) {
            (Some(_), true) => words.extend(["--append".to_owned(), "--groups".to_owned(), joined.join(",")]),
            (Some(all), false) => words.extend(["--groups".to_owned(), all.join(",")]),
            (None, _) => {}
        }
    }
    if !words.is_empty() {
        let all = ["usermod".to_owned()].into_iter().chain(words).chain([want.name.clone()]);
        steps.push(step(changes, all.collect()));
    }
    if busybox {
        let name = want.name.as_str();
        steps
            .extend(joined.iter().map(|g| step(vec![format!("groups +{g}")], owned(&["addgroup", name, g]))));
        steps.extend(left.iter().map(|g| step(vec![format!("groups -{g}")], owned(&["delgroup", name, g]))));
    }
    steps.extend(of_the_password(want, shadow, busybox));
    Ok(steps)
}

/// The password and its lock. It comes last: a lock would be lost with the password that it is on.
fn of_the_password(want: &Want, shadow: Option<&Shadow>, busybox: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let have = shadow.map_or("", |shadow| shadow.password.as_str());
    let mut locked = have.starts_with('!');
    let plain = have.trim_start_matches('!');
    if let Some(password) = want.password.as_ref().filter(|password| password.as_str() != plain) {
        let line = Zeroizing::new(format!("{}:{}\n", want.name, password.as_str()));
        let chpasswd = step(vec!["password changed".to_owned()], owned(&["chpasswd", "-e"]));
        steps.push(Step { input: Some(line), ..chpasswd });
        // What was locked with the old one stays locked, unless that is declared otherwise.
        if locked && want.locked.is_none() {
            steps.push(step(Vec::new(), lock(want, true, busybox)));
        }
        locked = false;
    }
    let plain = want.password.as_ref().map_or(plain, |password| password.as_str());
    match want.locked {
        Some(true) if !locked => {
            let was = have.starts_with('!');
            let changes = if was { Vec::new() } else { vec!["locked".to_owned()] };
            steps.push(step(changes, lock(want, true, busybox)));
        }
        // Without a password there is nothing that could be unlocked: that would let everybody in.
        Some(false) if locked && !plain.is_empty() => {
            steps.push(step(vec!["unlocked".to_owned()], lock(want, false, busybox)));
        }
        _ => {}
    }
    steps
}

fn lock(want: &Want, lock: bool, busybox: bool) -> Vec<String> {
    match (busybox, lock) {
        (true, true) => owned(&["passwd", "-l", &want.name]),
        (true, false) => owned(&["passwd", "-u", &want.name]),
        (false, true) => owned(&["usermod", "--lock", &want.name]),
        (false, false) => owned(&["usermod", "--unlock", &want.name]),
    }
}

/// Days from 1970 on, as `/etc/shadow` counts.
fn days(date: jiff::civil::Date) -> i64 {
    let start = jiff::civil::Date::constant(1970, 1, 1);
    date.since((jiff::Unit::Day, start)).map_or(0, |span| i64::from(span.get_days()))
}

/// A number is nobody else's.
fn taken(want: &Want, found: &Found) -> Result<(), ResourceError> {
    let other = found.users.iter().find(|user| Some(user.uid) == want.uid && user.name != want.name);
    match (other, want.uid) {
        (Some(other), Some(uid)) => {
            Err(invalid("uid", format!("{uid} is the number of user `{}`", other.name)))
        }
        _ => Ok(()),
    }
}

fn group_number(group: &str, found: &Found) -> Option<u32> {
    group.parse().ok().or_else(|| found.groups.iter().find(|g| g.name == group).map(|g| g.gid))
}

/// Groups to join, and to leave.
fn memberships(want: &Want, found: &Found) -> (Vec<String>, Vec<String>) {
    let Some(groups) = &want.groups else { return (Vec::new(), Vec::new()) };
    let is_in = |group: &Group| group.members.contains(&want.name);
    let joined = groups.iter().filter(|name| !found.groups.iter().any(|g| g.name == **name && is_in(g)));
    let left = found.groups.iter().filter(|g| !want.append && is_in(g) && !groups.contains(&g.name));
    (joined.cloned().collect(), left.map(|g| g.name.clone()).collect())
}

/// The group that a new user is given; none where one of its own is made.
fn first_group<'a>(want: &'a Want, found: &Found) -> Option<&'a str> {
    let own = found.groups.iter().any(|group| group.name == want.name).then_some(want.name.as_str());
    want.group.as_deref().or(own)
}

fn useradd(want: &Want, found: &Found) -> Vec<String> {
    let mut words = owned(&["useradd"]);
    let mut add = |all: &[&str]| words.extend(owned(all));
    if want.system {
        add(&["--system"]);
    }
    if let Some(uid) = want.uid {
        add(&["--uid", &uid.to_string()]);
    }
    if let Some(group) = first_group(want, found) {
        add(&["--gid", group]);
    }
    if let Some(groups) = want.groups.as_ref().filter(|groups| !groups.is_empty()) {
        add(&["--groups", &groups.join(",")]);
    }
    if let Some(comment) = &want.comment {
        add(&["--comment", comment]);
    }
    if let Some(home) = &want.home {
        add(&["--home-dir", home]);
    }
    add(&[if want.create_home.unwrap_or(!want.system) { "--create-home" } else { "--no-create-home" }]);
    if let Some(shell) = &want.shell {
        add(&["--shell", shell]);
    }
    add(&[&want.name]);
    words
}

fn busybox_add(want: &Want, found: &Found) -> Vec<String> {
    // No password is asked for.
    let mut words = owned(&["adduser", "-D"]);
    let mut add = |all: &[&str]| words.extend(owned(all));
    if want.system {
        add(&["-S"]);
    }
    if let Some(uid) = want.uid {
        add(&["-u", &uid.to_string()]);
    }
    if let Some(group) = first_group(want, found) {
        let by_number = group.parse().ok().and_then(|gid: u32| found.groups.iter().find(|g| g.gid == gid));
        add(&["-G", by_number.map_or(group, |g| g.name.as_str())]);
    }
    if let Some(comment) = &want.comment {
        add(&["-g", comment]);
    }
    if let Some(home) = &want.home {
        add(&["-h", home]);
    }
    if !want.create_home.unwrap_or(!want.system) {
        add(&["-H"]);
    }
    if let Some(shell) = &want.shell {
        add(&["-s", shell]);
    }
    add(&[&want.name]);
    words
}

#[cfg(test)]
mod tests;
