//! dnf, yum and zypper, with rpm below them.

use super::{Found, Manager, State, Step, Want, fits, unsupported, words};
use crate::command::Answer;
use crate::resource::{Context, ResourceError};
use std::collections::{BTreeMap, BTreeSet};

/// Which program installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Through {
    Dnf,
    Yum,
    Zypper,
}

pub(super) struct Rpm {
    pub(super) through: Through,
}

impl Through {
    fn program(self) -> &'static str {
        match self {
            Through::Dnf => "dnf",
            Through::Yum => "yum",
            Through::Zypper => "zypper",
        }
    }
}

impl Manager for Rpm {
    fn look(&self, context: &Context<'_>, want: &Want) -> Result<BTreeMap<String, Found>, ResourceError> {
        const FORMAT: &str = "%{NAME}\\t%{ARCH}\\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\\n";
        let asked = words(&["rpm", "--query", "--queryformat", FORMAT, "--"], &want.names);
        let program = context.program(asked);
        let answer = program.ask()?;
        // The exit code counts those that are not installed; a database that cannot be read has no answer at all.
        let mut found = read(&answer.stdout, &want.names);
        if answer.code != 0 && !answer.stdout.contains("is not installed") {
            return Err(program.failed(answer));
        }
        if want.state == State::Latest && !found.is_empty() {
            for (name, newer) in self.newer(context, &found)? {
                if let Some(package) = found.get_mut(&name) {
                    package.newer = Some(newer);
                }
            }
        }
        if want.hold.is_some() {
            for name in self.held(context, &want.names)? {
                found.entry(name).or_default().held = true;
            }
        }
        Ok(found)
    }

    fn calls(&self, step: &Step, want: &Want) -> Result<Vec<Vec<String>>, ResourceError> {
        Ok(match self.through {
            Through::Zypper => vec![self.zypper(step, want)],
            Through::Dnf | Through::Yum => self.dnf(step, want),
        })
    }

    fn environment(&self) -> &'static [(&'static str, &'static str)] {
        // Seconds that libzypp itself waits for its lock; we do the waiting.
        &[("ZYPP_LOCK_TIMEOUT", "0")]
    }

    fn is_locked(&self, answer: &Answer) -> bool {
        let text = format!("{}{}", answer.stdout, answer.stderr);
        match self.through {
            // ZYPPER_EXIT_ZYPP_LOCKED
            Through::Zypper => answer.code == 7 || text.contains("System management is locked"),
            _ => [
                "Another app is currently holding the yum lock",
                "already locked",
                "can't create transaction lock",
            ]
            .iter()
            .any(|said| text.contains(said)),
        }
    }

    /// zypper and dnf lock even to answer; rpm does not.
    fn looks_alone(&self, want: &Want) -> bool {
        want.state == State::Latest || want.hold.is_some()
    }

    fn is_version(&self, have: &str, want: &str) -> bool {
        let without_epoch = have.split_once(':').map_or(have, |(_, rest)| rest);
        let upstream = without_epoch.rsplit_once('-').map_or(without_epoch, |(version, _)| version);
        [have, without_epoch, upstream].iter().any(|have| fits(have, want))
    }
}

impl Rpm {
    fn dnf(&self, step: &Step, want: &Want) -> Vec<Vec<String>> {
        let program = self.through.program();
        let weak = want
            .recommends
            .map(|yes| format!("--setopt=install_weak_deps={}", if yes { "True" } else { "False" }));
        let call = |verb: &str, names: Vec<String>| {
            let mut all = words(&[program, "--assumeyes", "--quiet"], &weak);
            all.push(verb.to_owned());
            all.extend(names);
            all
        };
        match step {
            Step::Refresh => vec![call("makecache", Vec::new())],
            Step::Install(all) => {
                let (mut up, mut down) = (Vec::new(), Vec::new());
                for (name, version, have) in all {
                    let Some(version) = version else {
                        up.push(name.clone());
                        continue;
                    };
                    // `install` does not go back to an older one.
                    let older = have.as_ref().is_some_and(|have| is_older(version, have));
                    if older { &mut down } else { &mut up }.push(format!("{name}-{version}"));
                }
                let calls = [("install", up), ("downgrade", down)];
                calls
                    .into_iter()
                    .filter(|(_, names)| !names.is_empty())
                    .map(|(verb, names)| call(verb, names))
                    .collect()
            }
            Step::Upgrade(all) => vec![call("upgrade", all.iter().map(|(name, ..)| name.clone()).collect())],
            Step::Remove(names) | Step::Purge(names) => vec![call("remove", names.clone())],
            Step::Hold(names) => vec![words(&[program, "--quiet", "versionlock", "add"], names)],
            Step::Release(names) => vec![words(&[program, "--quiet", "versionlock", "delete"], names)],
        }
    }

    fn zypper(&self, step: &Step, want: &Want) -> Vec<String> {
        const ZYPPER: &[&str] = &["zypper", "--non-interactive", "--quiet"];
        let weak = match want.recommends {
            Some(true) => Some("--recommends"),
            Some(false) => Some("--no-recommends"),
            None => None,
        };
        let call = |verb: &[&str], names: Vec<String>| {
            words(ZYPPER, verb.iter().map(|w| (*w).to_owned()).chain(names))
        };
        match step {
            Step::Refresh => call(&["refresh"], Vec::new()),
            Step::Install(all) => {
                let verb: Vec<&str> = ["install", "--auto-agree-with-licenses", "--oldpackage"]
                    .into_iter()
                    .chain(weak)
                    .collect();
                let specs = all.iter().map(|(name, version, _)| {
                    match version.as_deref().map(|v| v.trim_end_matches(['*', '.'])) {
                        // zypper has no patterns of versions, but comparisons.
                        Some(start) if version.as_ref().is_some_and(|v| v.ends_with('*')) => {
                            format!("{name}>={start}")
                        }
                        Some(version) => format!("{name}={version}"),
                        None => name.clone(),
                    }
                });
                call(&verb, specs.collect())
            }
            Step::Upgrade(all) => {
                let names = all.iter().map(|(name, ..)| name.clone()).collect();
                call(&["update", "--auto-agree-with-licenses"], names)
            }
            Step::Remove(names) | Step::Purge(names) => call(&["remove"], names.clone()),
            Step::Hold(names) => call(&["addlock"], names.clone()),
            Step::Release(names) => call(&["removelock"], names.clone()),
        }
    }

    /// Installed packages for which there is another version.
    fn newer(
        &self,
        context: &Context<'_>,
        found: &BTreeMap<String, Found>,
    ) -> Result<Vec<(String, String)>, ResourceError> {
        let names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
        if self.through == Through::Zypper {
            let asked = ["zypper", "--non-interactive", "--quiet", "--no-refresh", "list-updates", "--all"];
            let answer = context.program(asked).run()?;
            return Ok(zypper_updates(&answer.stdout, &names));
        }
        let asked = words(&[self.through.program(), "--quiet", "check-update"], names.iter());
        let program = context.program(asked).within(std::time::Duration::from_secs(300));
        let answer = program.ask()?;
        match answer.code {
            0 => Ok(Vec::new()),
            // There are some.
            100 => Ok(dnf_updates(&answer.stdout, &names)),
            _ => Err(program.failed(answer)),
        }
    }

    fn held(&self, context: &Context<'_>, names: &[String]) -> Result<Vec<String>, ResourceError> {
        if self.through == Through::Zypper {
            let answer = context.program(["zypper", "--non-interactive", "--quiet", "locks"]).run()?;
            let is_locked = |name: &str| {
                answer
                    .stdout
                    .lines()
                    .any(|line| line.split('|').nth(1).is_some_and(|field| field.trim() == name))
            };
            return Ok(names.iter().filter(|name| is_locked(name)).cloned().collect());
        }
        let program = context.program([self.through.program(), "--quiet", "versionlock", "list"]);
        let answer = program.ask()?;
        if answer.code != 0 {
            if format!("{}{}", answer.stdout, answer.stderr).contains("No such command") {
                return Err(unsupported(
                    "`hold` needs the plugin `versionlock`; install `python3-dnf-plugin-versionlock` first",
                ));
            }
            return Err(program.failed(answer));
        }
        Ok(names
            .iter()
            .filter(|name| answer.stdout.lines().any(|line| is_lock_of(line, name)))
            .cloned()
            .collect())
    }
}

/// Whether a line of `versionlock list` is about a package: `nginx-1:1.20.1-14.el9.*`, with yum `1:nginx-1.20.1-14.el9.*`,
/// with dnf 5 `Package name: nginx`.
pub(super) fn is_lock_of(line: &str, name: &str) -> bool {
    let line = line.trim();
    if let Some(named) = line.strip_prefix("Package name: ") {
        return named == name;
    }
    let digits = line.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let plain = line.get(digits..).and_then(|rest| rest.strip_prefix(':')).unwrap_or(line);
    let rest = plain.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
    // name-version-release: what follows the name has one more dash and begins with a digit.
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.matches('-').count() == 1)
}

/// Whether a wanted version is older than `epoch:version-release`.
pub(super) fn is_older(want: &str, have: &str) -> bool {
    let epoch_of = |text: &str| text.split_once(':').and_then(|(epoch, _)| epoch.parse::<u64>().ok());
    let plain = |text: &str| {
        text.split_once(':').map_or(text, |(_, rest)| rest).trim_end_matches(['*', '.']).to_owned()
    };
    match (epoch_of(want), epoch_of(have)) {
        (Some(want), Some(have)) if want != have => return want < have,
        _ => {}
    }
    let parts = |text: &str| -> Vec<String> {
        let mut parts: Vec<String> = Vec::new();
        let mut last = None;
        for c in text.chars() {
            let kind = if c.is_ascii_digit() {
                0
            } else if c.is_ascii_alphabetic() {
                1
            } else {
                2
            };
            match parts.last_mut() {
                Some(part) if last == Some(kind) && kind != 2 => part.push(c),
                _ if kind != 2 => parts.push(c.to_string()),
                _ => {}
            }
            last = Some(kind);
        }
        parts
    };
    for (want, have) in parts(&plain(want)).iter().zip(parts(&plain(have)).iter()) {
        let order = match (want.parse::<u64>(), have.parse::<u64>()) {
            (Ok(want), Ok(have)) => want.cmp(&have),
            // Digits are newer than letters.
            (Ok(_), Err(_)) => std::cmp::Ordering::Greater,
            (Err(_), Ok(_)) => std::cmp::Ordering::Less,
            (Err(_), Err(_)) => want.cmp(have),
        };
        if order.is_ne() {
            return order.is_lt();
        }
    }
    false
}

fn read(output: &str, names: &[String]) -> BTreeMap<String, Found> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for line in output.lines() {
        let mut fields = line.split('\t');
        let (Some(package), Some(arch), Some(version)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        for name in names {
            let with_arch = name.strip_prefix(package).and_then(|rest| rest.strip_prefix('.')) == Some(arch);
            if name == package || with_arch {
                // Of several (kernels) the last one is the newest.
                let entry = found.entry(name.clone()).or_default();
                entry.version = Some(version.to_owned());
                entry.remains = true;
            }
        }
    }
    found
}

/// `nginx.x86_64   1:1.20.1-14.el9   appstream`; what is listed as obsoleting comes after a heading.
fn dnf_updates(output: &str, names: &BTreeSet<&str>) -> Vec<(String, String)> {
    output
        .lines()
        .take_while(|line| !line.starts_with("Obsoleting"))
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (full, version) = (fields.next()?, fields.next()?);
            fields.next()?;
            let plain = full.rsplit_once('.').map_or(full, |(name, _)| name);
            let name = [full, plain].into_iter().find(|name| names.contains(name))?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// `v | repo | name | current | available | arch`
fn zypper_updates(output: &str, names: &BTreeSet<&str>) -> Vec<(String, String)> {
    output
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            let (name, version) = (fields.get(2)?, fields.get(4)?);
            names.contains(name).then(|| ((*name).to_owned(), (*version).to_owned()))
        })
        .collect()
}
