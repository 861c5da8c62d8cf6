//! `package`: packages of the distribution, through its own package manager.

mod apk;
mod apt;
mod dpkg;
mod pacman;
mod rpm;

use super::{Applied, Context, Desired, Executor, Probe, ResourceError};
use crate::command::Answer;
use crate::limit;
use crate::platform::PackageManager;
use crate::text::{bounded, printable};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The type.
pub struct PackageType {
    /// Between two tries to get a lock.
    pause: Duration,
}

/// What a host has.
pub static PACKAGE: PackageType = PackageType { pause: Duration::from_secs(2) };

/// Held by a look that only one may take at a time.
static ALONE: Mutex<()> = Mutex::new(());

const KNOWN: &[&str] =
    &["package", "packages", "state", "version", "hold", "recommends", "refresh", "lock_timeout", "timeout"];
/// In one transaction; the arguments of a program have an end.
const MOST_PACKAGES: usize = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Present,
    Latest,
    Absent,
    Purged,
}

/// What is declared.
struct Want {
    names: Vec<String>,
    state: State,
    version: Option<String>,
    hold: Option<bool>,
    recommends: Option<bool>,
    refresh: Duration,
    lock_timeout: Duration,
    timeout: Duration,
}

/// What the host has of one package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    /// The version that is installed and works.
    version: Option<String>,
    /// Something of it is there: configuration, or half an installation.
    remains: bool,
    /// Kept from being upgraded.
    held: bool,
    /// What the index has instead; only looked up for `latest`.
    newer: Option<String>,
}

/// One call that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Fetch the index.
    Refresh,
    /// Let go of what is held.
    Release(Vec<String>),
    /// Names, with the version that is wanted, if any, and the one that is there.
    Install(Vec<(String, Option<String>, Option<String>)>),
    /// Names, with the version that is there and the one that comes.
    Upgrade(Vec<(String, String, String)>),
    Remove(Vec<String>),
    Purge(Vec<String>),
    Hold(Vec<String>),
}

/// What one package manager is asked, and how.
trait Manager: Sync {
    /// What there is, for each name that is installed or of which something remains.
    fn look(&self, context: &Context<'_>, want: &Want) -> Result<BTreeMap<String, Found>, ResourceError>;

    /// Whether the index is too old to install from. Some managers see to that themselves.
    fn is_stale(&self, _context: &Context<'_>, _want: &Want) -> bool {
        false
    }

    /// After the index was refreshed.
    fn refreshed(&self, _context: &Context<'_>) {}

    /// The calls of a step, each in words.
    fn calls(&self, step: &Step, want: &Want) -> Result<Vec<Vec<String>>, ResourceError>;

    /// Variables for every call.
    fn environment(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Whether a failure is somebody else's lock.
    fn is_locked(&self, answer: &Answer) -> bool;

    /// Whether a look takes a lock of the manager's, so that two at a time would be in each other's way.
    fn looks_alone(&self, _want: &Want) -> bool {
        false
    }

    /// What has to run before a call that failed like this can work.
    fn repair(&self, _answer: &Answer) -> Option<Vec<String>> {
        None
    }

    /// Whether an installed version is the one that is wanted.
    fn is_version(&self, have: &str, want: &str) -> bool;
}

fn manager(context: &Context<'_>) -> Result<&'static dyn Manager, ResourceError> {
    Ok(match context.platform.package_manager {
        Some(PackageManager::Apt) => &apt::Apt,
        Some(PackageManager::Dnf) => &rpm::Rpm { through: rpm::Through::Dnf },
        Some(PackageManager::Yum) => &rpm::Rpm { through: rpm::Through::Yum },
        Some(PackageManager::Zypper) => &rpm::Rpm { through: rpm::Through::Zypper },
        Some(PackageManager::Pacman) => &pacman::Pacman,
        Some(PackageManager::Apk) => &apk::Apk,
        None => {
            return Err(ResourceError::Unsupported {
                kind: "package",
                why: "it has none of apt, dnf, yum, zypper, pacman and apk (trait `os.package_manager`)"
                    .to_owned(),
            });
        }
    })
}

impl Executor for PackageType {
    fn key(&self) -> &'static str {
        "package"
    }

    fn acts_on_machine(&self) -> bool {
        true
    }

    fn waits(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let want = want(desired)?;
        let manager = manager(context)?;
        // Nothing is guarded by it but the turn.
        let _turn = manager.looks_alone(&want).then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner));
        let steps = plan(manager, context, &want)?;
        // What would be asked for has to be something that this manager can do.
        for step in &steps {
            manager.calls(step, &want)?;
        }
        Ok(Probe { changes: steps.iter().filter_map(|step| said(step, &want)).collect(), diff: None })
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let want = want(desired)?;
        let manager = manager(context)?;
        let mut steps = plan(manager, context, &want)?;
        if steps.contains(&Step::Refresh) {
            self.take(manager, context, &Step::Refresh, &want)?;
            manager.refreshed(context);
            // The new index may have newer versions.
            steps = plan(manager, context, &want)?;
            steps.retain(|step| *step != Step::Refresh);
        }
        for step in &steps {
            self.take(manager, context, step, &want)?;
        }
        Ok(Applied::default())
    }
}

impl PackageType {
    fn take(
        &self,
        manager: &dyn Manager,
        context: &Context<'_>,
        step: &Step,
        want: &Want,
    ) -> Result<(), ResourceError> {
        for call in manager.calls(step, want)? {
            self.call(manager, context, call, want, true)?;
        }
        Ok(())
    }

    /// Runs one call; waits while another program has the lock.
    fn call(
        &self,
        manager: &dyn Manager,
        context: &Context<'_>,
        words: Vec<String>,
        want: &Want,
        repair: bool,
    ) -> Result<(), ResourceError> {
        let again = words.clone();
        let mut program = context.program(words).within(want.timeout);
        for (name, value) in manager.environment() {
            program = program.with(name, value);
        }
        let started = Instant::now();
        loop {
            let answer = program.ask()?;
            if answer.code == 0 {
                return Ok(());
            }
            if manager.is_locked(&answer) {
                let waited = started.elapsed();
                if waited >= want.lock_timeout || limit::is_over() {
                    let output = format!("{}{}", answer.stdout, answer.stderr);
                    return Err(ResourceError::Locked { what: "the package manager", waited, output });
                }
                std::thread::sleep(self.pause.min(want.lock_timeout.saturating_sub(waited)));
                continue;
            }
            if repair && let Some(words) = manager.repair(&answer) {
                self.call(manager, context, words, want, false)?;
                return self.call(manager, context, again, want, false);
            }
            return Err(program.failed(answer));
        }
    }
}

fn want(desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("package", KNOWN)?;
    let names: Vec<&str> = match (desired.text("package")?, desired.strings("packages")?) {
        (Some(one), None) => vec![one],
        (None, Some(several)) => several,
        (None, None) => return Err(ResourceError::Missing("package")),
        (Some(_), Some(_)) => {
            return Err(ResourceError::Invalid {
                name: "packages",
                why: "cannot be given together with `package`".to_owned(),
            });
        }
    };
    if names.len() > MOST_PACKAGES {
        return Err(ResourceError::Invalid {
            name: "packages",
            why: format!(
                "{} names are too many for one transaction, which may have {MOST_PACKAGES}",
                names.len()
            ),
        });
    }
    let mut checked = Vec::new();
    for name in names {
        let name = package_name(name)?;
        if !checked.contains(&name) {
            checked.push(name);
        }
    }
    let state = match desired.word("state", &["present", "latest", "absent", "purged"])? {
        "present" => State::Present,
        "latest" => State::Latest,
        "absent" => State::Absent,
        _ => State::Purged,
    };
    let version = desired.text("version")?.map(version).transpose()?;
    let hold = desired.choice("hold")?;
    if version.is_some() && (state != State::Present || desired.value("package").is_none()) {
        return Err(ResourceError::Invalid {
            name: "version",
            why: "is for one `package` with `state: present`".to_owned(),
        });
    }
    if hold == Some(true) && state != State::Present {
        return Err(ResourceError::Invalid { name: "hold", why: "is for `state: present`".to_owned() });
    }
    Ok(Want {
        names: checked,
        state,
        version,
        hold,
        recommends: desired.choice("recommends")?,
        refresh: desired.duration("refresh")?,
        lock_timeout: desired.duration("lock_timeout")?,
        timeout: desired.duration("timeout")?,
    })
}

/// Names that a package manager would take for an option, a pattern, a file or an order to remove are refused.
fn package_name(name: &str) -> Result<String, ResourceError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '_' | ':' | '-');
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && !name.ends_with(['-', ':', '.'])
        && name.len() <= 200
        && name.chars().all(allowed);
    if good {
        return Ok(name.to_owned());
    }
    Err(ResourceError::Invalid {
        name: "package",
        why: format!("`{}` is not the name of a package", printable(bounded(name, 100))),
    })
}

fn version(version: &str) -> Result<String, ResourceError> {
    let plain = version.strip_suffix('*').unwrap_or(version);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '_' | ':' | '-' | '~' | '^');
    let good = plain.starts_with(|c: char| c.is_ascii_alphanumeric())
        && plain.len() <= 200
        && plain.chars().all(allowed);
    if good {
        return Ok(version.to_owned());
    }
    Err(ResourceError::Invalid {
        name: "version",
        why: format!("`{}` is not a version", printable(bounded(version, 100))),
    })
}

/// Equal, or begins with what stands before a `*`.
fn fits(have: &str, want: &str) -> bool {
    match want.strip_suffix('*') {
        Some(start) => have.starts_with(start),
        None => have == want,
    }
}

fn plan(manager: &dyn Manager, context: &Context<'_>, want: &Want) -> Result<Vec<Step>, ResourceError> {
    if want.names.is_empty() {
        return Ok(Vec::new());
    }
    let found = match manager.look(context, want) {
        // A sandbox shows what would become of a host that has the package manager.
        Err(ResourceError::NoProgram(_)) if !context.root.is_host() => BTreeMap::new(),
        other => other?,
    };
    let is_version = |have: &str, want: &str| manager.is_version(have, want);
    let mut steps = steps(want, &found, is_version);
    let fetches = steps.iter().any(|step| matches!(step, Step::Install(_) | Step::Upgrade(_)));
    if (fetches || want.state == State::Latest) && manager.is_stale(context, want) {
        steps.insert(0, Step::Refresh);
    }
    Ok(steps)
}

/// What has to be done, in order.
fn steps(want: &Want, found: &BTreeMap<String, Found>, is_version: impl Fn(&str, &str) -> bool) -> Vec<Step> {
    let nothing = Found::default();
    let of = |name: &String| found.get(name).unwrap_or(&nothing);
    let (mut release, mut install, mut upgrade, mut remove, mut hold) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for name in &want.names {
        let have = of(name);
        let mut moves = false;
        match want.state {
            State::Present | State::Latest => match (&have.version, &want.version) {
                (Some(version), Some(wanted)) if is_version(version, wanted) => {}
                (None, _) | (Some(_), Some(_)) => {
                    moves = true;
                    install.push((name.clone(), want.version.clone(), have.version.clone()));
                }
                (Some(version), None) => {
                    if let Some(newer) = have.newer.as_ref().filter(|_| want.state == State::Latest) {
                        moves = true;
                        upgrade.push((name.clone(), version.clone(), newer.clone()));
                    }
                }
            },
            State::Absent | State::Purged => {
                if have.version.is_some() || want.state == State::Purged && have.remains {
                    moves = true;
                    remove.push(name.clone());
                }
            }
        }
        // What is held would refuse to move; whoever wants to keep it held says so.
        if have.held && (want.hold == Some(false) || want.hold == Some(true) && moves) {
            release.push(name.clone());
        }
        if want.hold == Some(true) && (!have.held || moves) {
            hold.push(name.clone());
        }
    }
    let removed = if want.state == State::Purged { Step::Purge(remove) } else { Step::Remove(remove) };
    [Step::Release(release), Step::Install(install), Step::Upgrade(upgrade), removed, Step::Hold(hold)]
        .into_iter()
        .filter(|step| !step.is_empty())
        .collect()
}

impl Step {
    fn is_empty(&self) -> bool {
        match self {
            Step::Refresh => false,
            Step::Release(names) | Step::Remove(names) | Step::Purge(names) | Step::Hold(names) => {
                names.is_empty()
            }
            Step::Install(all) => all.is_empty(),
            Step::Upgrade(all) => all.is_empty(),
        }
    }
}

/// A step in words; nothing where it only prepares another one.
fn said(step: &Step, want: &Want) -> Option<String> {
    let list = |names: &[String]| names.join(", ");
    Some(match step {
        Step::Refresh if want.state == State::Latest => "refreshed the package index".to_owned(),
        Step::Refresh => return None,
        Step::Install(all) => {
            let each = all.iter().map(|(name, version, have)| match (version, have) {
                (Some(version), Some(have)) => format!("{name} {have} -> {version}"),
                (Some(version), None) => format!("{name} {version}"),
                (None, _) => name.clone(),
            });
            format!("installed {}", each.collect::<Vec<_>>().join(", "))
        }
        Step::Upgrade(all) => {
            let each = all.iter().map(|(name, have, newer)| format!("{name} {have} -> {newer}"));
            format!("upgraded {}", each.collect::<Vec<_>>().join(", "))
        }
        Step::Remove(names) => format!("removed {}", list(names)),
        Step::Purge(names) => format!("purged {}", list(names)),
        Step::Hold(names) => format!("held {}", list(names)),
        Step::Release(names) if want.hold == Some(false) => format!("no longer held {}", list(names)),
        Step::Release(_) => return None,
    })
}

/// Words of a call: a fixed beginning, and what follows.
fn words<S: AsRef<str>>(start: &[&str], rest: impl IntoIterator<Item = S>) -> Vec<String> {
    let rest = rest.into_iter().map(|word| word.as_ref().to_owned());
    start.iter().map(|word| (*word).to_owned()).chain(rest).collect()
}

fn unsupported(why: &str) -> ResourceError {
    ResourceError::Unsupported { kind: "package", why: why.to_owned() }
}

#[cfg(test)]
mod tests;
