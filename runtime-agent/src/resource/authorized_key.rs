//! `authorized_key`: a line of the `authorized_keys` in a user's home.
//!
//! The home belongs to the user, who may put anything there while we look. It is a root of its own, so no symlink leads out
//! of it, and what is read has to be a plain file of the user's with one name: through a link to a file of somebody else's we
//! would copy that one's content into a file of the user.

use super::content::{diff, text_of};
use super::{Applied, Context, Desired, Executor, Probe, ResourceError};
use crate::accounts::{self, Account, AccountError};
use crate::root::{Kind, Last, ManagedPath, Meta, Ownership, Root};
use crate::text::{bounded, printable};

/// The type.
pub struct AuthorizedKeyType;

const KNOWN: &[&str] = &["authorized_key", "user", "state", "options"];
const KINDS: &[&str] = &[
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
const FILE: &str = "/.ssh/authorized_keys";
const FOLDER: &str = "/.ssh";
const MOST_BYTES: u64 = 1 << 20;

struct Want {
    user: String,
    present: bool,
    kind: String,
    key: String,
    /// The line as it has to be.
    line: String,
}

/// A home, and what stands in its file.
struct Found {
    home: Option<Root>,
    account: Option<Account>,
    text: Option<String>,
    meta: Option<Meta>,
}

impl Executor for AuthorizedKeyType {
    fn key(&self) -> &'static str {
        "authorized_key"
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let want = want(desired)?;
        let found = found(context, &want)?;
        let old = found.text.clone().unwrap_or_default();
        let new = edited(&old, &want);
        if new == old {
            return Ok(Probe::clean());
        }
        let change = match (want.present, has(&old, &want)) {
            (false, _) => "key removed",
            (true, true) => "key changed",
            (true, false) => "key added",
        };
        let path = format!("{}{FILE}", found.account.map_or_else(|| home_of(&want), |a| a.home));
        Ok(Probe { changes: vec![change.to_owned()], diff: diff(&path, &old, &new, context.diff) })
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let want = want(desired)?;
        let mut found = found(context, &want)?;
        let old = found.text.take().unwrap_or_default();
        let new = edited(&old, &want);
        if new == old {
            return Ok(Applied::default());
        }
        let Some(home) = &found.home else {
            return make_home(context, &want, &found).and_then(|()| self.apply(context, desired, _probe));
        };
        let account = found.account.as_ref().filter(|_| context.ownership);
        let owner = Ownership { uid: account.map(|a| a.uid), gid: account.map(|a| a.gid), mode: None };
        let folder = ManagedPath::parse(FOLDER)?;
        if home.inspect(&folder)?.is_none() {
            home.make_directory(&folder, Ownership { mode: Some(0o700), ..owner })?;
        }
        let mode = found.meta.map_or(0o600, |meta| meta.mode);
        let path = ManagedPath::parse(FILE)?;
        let give = Ownership { mode: Some(mode), ..owner };
        home.replace_file(&path, new.as_bytes(), give, |_| Ok::<(), ResourceError>(()))?;
        Ok(Applied::default())
    }
}

fn invalid(name: &'static str, why: impl Into<String>) -> ResourceError {
    ResourceError::Invalid { name, why: why.into() }
}

fn want(desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("authorized_key", KNOWN)?;
    let text = desired.required("authorized_key")?.trim();
    let options = desired.text("options")?.map(str::trim).filter(|options| !options.is_empty());
    if text.chars().chain(options.unwrap_or_default().chars()).any(char::is_control) {
        return Err(invalid("authorized_key", "a key and its options are one line"));
    }
    let mut words = text.splitn(3, char::is_whitespace);
    let (kind, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    if !KINDS.contains(&kind) || !key.starts_with("AAAA") || key.len() < 60 || !key.chars().all(is_key) {
        let shown = printable(bounded(text, 80));
        let why = format!("`{shown}` is not a public key; it looks like `ssh-ed25519 AAAAC3... comment`");
        return Err(invalid("authorized_key", why));
    }
    if options.is_some_and(|options| split(options).len() != 1) {
        return Err(invalid("options", "has a blank outside of quotes; separate options by commas"));
    }
    let line = options.map_or_else(|| text.to_owned(), |options| format!("{options} {text}"));
    Ok(Want {
        user: super::tables::account_name("user", desired.required("user")?)?,
        present: desired.word("state", &["present", "absent"])? == "present",
        kind: kind.to_owned(),
        key: key.to_owned(),
        line,
    })
}

fn home_of(want: &Want) -> String {
    format!("/home/{}", want.user)
}

fn found(context: &Context<'_>, want: &Want) -> Result<Found, ResourceError> {
    let account = match accounts::account(context.root, &want.user) {
        Ok(account) => Some(account),
        // Nobody is made in a sandbox, but what they would be given is shown.
        Err(AccountError::Unknown { .. }) if !context.root.is_host() => None,
        // Whoever is not there has no keys.
        Err(AccountError::Unknown { .. }) if !want.present => {
            return Ok(Found { home: None, account: None, text: None, meta: None });
        }
        Err(error) => return Err(error.into()),
    };
    let home = ManagedPath::parse(&account.as_ref().map_or_else(|| home_of(want), |a| a.home.clone()))?;
    let nothing = |account| Found { home: None, account, text: None, meta: None };
    let Some(meta) = context.root.follow(&home) else { return Ok(nothing(account)) };
    let trusted = |uid: u32| uid == 0 || account.as_ref().is_none_or(|a| a.uid == uid) || !context.ownership;
    if !trusted(meta.uid) {
        return Err(invalid("user", format!("the home {home} of `{}` belongs to somebody else", want.user)));
    }
    let home_root = context.root.below(&home, Last::Followed)?;
    let path = ManagedPath::parse(FILE)?;
    let file = home_root.inspect(&path)?;
    if let Some(file) = &file {
        let shown = format!("{home}{FILE}");
        if file.kind != Kind::File {
            let fix = "remove it";
            return Err(ResourceError::InTheWay {
                path: shown,
                found: file.kind.name(),
                wanted: "a file",
                fix,
            });
        }
        if file.links > 1 {
            return Err(ResourceError::HardLinks { path: shown, links: file.links });
        }
        if !trusted(file.uid) {
            return Err(invalid("user", format!("{shown} belongs to somebody else than `{}`", want.user)));
        }
        if file.size > MOST_BYTES {
            return Err(invalid("user", format!("{shown} has more than {} MiB", MOST_BYTES >> 20)));
        }
    }
    let text = match file {
        Some(_) => Some(
            text_of(&home_root, &path)
                .ok_or_else(|| invalid("user", format!("{home}{FILE} is not a text")))?,
        ),
        None => None,
    };
    Ok(Found { home: Some(home_root), account, text, meta: file })
}

/// A sandbox has no homes.
fn make_home(context: &Context<'_>, want: &Want, found: &Found) -> Result<(), ResourceError> {
    let home = found.account.as_ref().map_or_else(|| home_of(want), |a| a.home.clone());
    let home = ManagedPath::parse(&home)?;
    if context.root.is_host() {
        return Err(invalid(
            "user",
            format!("the home {home} of `{}` is not there; make it first", want.user),
        ));
    }
    for folder in home.ancestors().chain([home.clone()]) {
        if context.root.follow(&folder).is_none() {
            context.root.make_directory(&folder, Ownership::default())?;
        }
    }
    Ok(())
}

/// Words of a line; blanks inside quotes separate nothing.
fn split(line: &str) -> Vec<&str> {
    let (mut words, mut start, mut quoted, mut escaped) = (Vec::new(), None, false, false);
    for (at, c) in line.char_indices() {
        let blank = c.is_whitespace() && !quoted;
        match (blank, start) {
            (true, Some(from)) => {
                words.extend(line.get(from..at));
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = c == '\\' && !escaped;
    }
    words.extend(start.and_then(|from| line.get(from..)));
    words
}

fn is_of(line: &str, want: &Want) -> bool {
    let line = line.trim_start();
    if line.starts_with('#') {
        return false;
    }
    let words = split(line);
    // Options come before it, a comment after it.
    (0..2)
        .any(|at| words.get(at) == Some(&want.kind.as_str()) && words.get(at + 1) == Some(&want.key.as_str()))
}

fn has(text: &str, want: &Want) -> bool {
    text.lines().any(|line| is_of(line, want))
}

/// The text with the line as it has to be: in its place, once, or not at all.
fn edited(text: &str, want: &Want) -> String {
    let (mut out, mut written) = (String::with_capacity(text.len() + want.line.len() + 1), !want.present);
    for line in text.lines() {
        if !is_of(line, want) {
            out.push_str(line);
        } else if !written {
            written = true;
            out.push_str(&want.line);
        } else {
            continue;
        }
        out.push('\n');
    }
    if !written {
        out.push_str(&want.line);
        out.push('\n');
    }
    // A file that only lacks its last line break is as it should be.
    if out.strip_suffix('\n') == Some(text) { text.to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;
    use ir::Value;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE2L1xQ5lH8mVfY2m8g5rQH2tV3vWkq9m0Qb3m6R1c2d";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBxQ5lH8mVfY2m8g5rQH2tV3vWkq9m0Qb3m6R1c2d";
    const FILE: &str = "home/ann/.ssh/authorized_keys";
    const TYPE: AuthorizedKeyType = AuthorizedKeyType;

    fn machine() -> Machine {
        let m = Machine::new();
        m.write("etc/passwd", "ann:x:1000:1000::/home/ann:/bin/sh\n");
        fs::create_dir_all(m.sandbox.path("home/ann")).unwrap();
        m
    }

    fn key(text: &str, extra: &[(&str, Value)]) -> Desired {
        let mut all =
            vec![("authorized_key", Value::from(text)), ("user", "ann".into()), ("state", "present".into())];
        all.extend(extra.iter().cloned());
        desired(&all)
    }

    #[test]
    fn added_once_beside_others_changed_and_removed() {
        let m = machine();
        let mine = format!("{KEY} ann@laptop");
        assert_eq!(m.settles(&TYPE, &key(&mine, &[])), "key added");
        assert_eq!(m.read(FILE), format!("{mine}\n"));
        let mode = |path: &str| fs::metadata(m.sandbox.path(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(FILE), mode("home/ann/.ssh")), (0o600, 0o700));
        m.write(FILE, &format!("# mine\n\n{OTHER} x\nno-pty,command=\"a b\" {KEY} old\n{KEY} twice"));
        let options = ("options", Value::from("command=\"b c\",no-pty"));
        assert_eq!(m.settles(&TYPE, &key(&mine, std::slice::from_ref(&options))), "key changed");
        assert_eq!(m.read(FILE), format!("# mine\n\n{OTHER} x\ncommand=\"b c\",no-pty {mine}\n"));
        assert_eq!(m.settles(&TYPE, &key(KEY, &[("state", "absent".into())])), "key removed");
        assert_eq!(m.read(FILE), format!("# mine\n\n{OTHER} x\n"));
        m.write(FILE, &mine);
        assert_eq!(
            m.converge(&TYPE, &key(&mine, &[])).unwrap().0,
            "",
            "a missing line break is no difference"
        );
    }

    #[test]
    fn somebody_who_is_not_there_is_shown_in_a_sandbox_and_has_no_keys_to_remove() {
        let m = machine();
        let d = key(KEY, &[("user", "bob".into())]);
        assert_eq!(m.settles(&TYPE, &d), "key added");
        assert_eq!(m.read("home/bob/.ssh/authorized_keys"), format!("{KEY}\n"));
        let gone = key(KEY, &[("user", "eve".into()), ("state", "absent".into())]);
        assert_eq!(m.converge(&TYPE, &gone).unwrap().0, "");
    }

    #[test]
    fn case_081_a_symlink_in_the_home_leads_nowhere_else() {
        let m = machine();
        m.write("root/.ssh/authorized_keys", "roots own\n");
        symlink("/root/.ssh", m.sandbox.path("home/ann/.ssh")).unwrap();
        let d = key(KEY, &[]);
        // Inside the home there is no such directory.
        assert!(m.converge(&TYPE, &d).is_err());
        fs::remove_file(m.sandbox.path("home/ann/.ssh")).unwrap();
        symlink("../../root/.ssh", m.sandbox.path("home/ann/.ssh")).unwrap();
        assert!(m.converge(&TYPE, &d).is_err());
        fs::remove_file(m.sandbox.path("home/ann/.ssh")).unwrap();
        fs::create_dir(m.sandbox.path("home/ann/.ssh")).unwrap();
        symlink("../../../root/.ssh/authorized_keys", m.sandbox.path(FILE)).unwrap();
        assert!(m.refuses(&TYPE, &d).contains("is a symlink, not a file"));
        assert_eq!(m.read("root/.ssh/authorized_keys"), "roots own\n");
    }

    #[test]
    fn case_082_a_second_name_of_somebody_elses_file_is_not_read() {
        let m = machine();
        m.write("etc/shadow", "root:hash\n");
        fs::create_dir(m.sandbox.path("home/ann/.ssh")).unwrap();
        fs::hard_link(m.sandbox.path("etc/shadow"), m.sandbox.path(FILE)).unwrap();
        assert!(m.refuses(&TYPE, &key(KEY, &[])).contains("has 2 names (hard links)"));
        assert_eq!(m.read("etc/shadow"), "root:hash\n");
    }

    #[test]
    fn case_086_a_key_is_one_line_of_a_known_kind() {
        let m = machine();
        for bad in [
            "",
            "hunter2",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "ssh-dss AAAAB3NzaC1kc3MAAACBAKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK",
            &format!("command=\"x\" {KEY}"),
            &format!("{KEY} a\nssh-rsa b"),
        ] {
            let error = m.refuses(&TYPE, &key(bad, &[]));
            assert!(error.starts_with("attribute `authorized_key`: "), "{bad}: {error}");
        }
        for (options, why) in [("no-pty ssh-rsa", "has a blank outside of quotes"), ("a\nb", "are one line")]
        {
            let error = m.refuses(&TYPE, &key(KEY, &[("options", options.into())]));
            assert!(error.contains(why), "{error}");
        }
        assert!(
            m.refuses(&TYPE, &key(KEY, &[("user", "../root".into())]))
                .contains("is not the name of an account")
        );
    }
}
