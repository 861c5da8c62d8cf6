//! apt, with dpkg below it.

use super::dpkg::{Database, FORMAT, Installed};
use super::{Found, Manager, State, Step, Want, fits, words};
use crate::command::Answer;
use crate::resource::{Context, ResourceError};
use crate::root::{ManagedPath, Ownership};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

pub(super) struct Apt;

/// What apt's own periodic update leaves behind. It is written after each of ours: an update that brings nothing new changes
/// nothing that could be looked at.
const STAMP: &str = "/var/lib/apt/periodic/update-success-stamp";
const LISTS: &str = "var/lib/apt/lists";
const DPKG: &str = "/var/lib/dpkg";
/// Of this machine.
static DATABASE: Database = Database::new();
/// One call, no questions: changed configuration files stay as they are, and a name that no package has is not taken for a
/// pattern.
const APT_GET: &[&str] = &[
    "apt-get",
    "--yes",
    "--quiet",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
    "-o",
    "Dpkg::Use-Pty=0",
    "-o",
    "APT::Cmd::Pattern-Only=true",
];

impl Manager for Apt {
    fn look(&self, context: &Context<'_>, want: &Want) -> Result<BTreeMap<String, Found>, ResourceError> {
        let mut found = match all(context) {
            Some(installed) => installed.of(&want.names),
            None => {
                let program = context.program(words(&["dpkg-query", "--show", FORMAT, "--"], &want.names));
                let answer = program.ask()?;
                // 1 says that there is no trace of one of them.
                if !matches!(answer.code, 0 | 1) {
                    return Err(program.failed(answer));
                }
                Installed::read(&answer.stdout).of(&want.names)
            }
        };
        let there: Vec<&String> = want.names.iter().filter(|name| is_there(&found, name)).collect();
        if want.state == State::Latest && !there.is_empty() {
            let answer = context.program(words(&["apt-cache", "policy", "--"], there)).run()?;
            for (name, newer) in candidates(&answer.stdout) {
                if let Some(package) = found.get_mut(name) {
                    package.newer = Some(newer.to_owned());
                }
            }
        }
        Ok(found)
    }

    fn is_stale(&self, context: &Context<'_>, want: &Want) -> bool {
        let root = context.root.path();
        let lists = root.join(LISTS);
        let is_list =
            |name: &Path| name.to_str().is_some_and(|n| n.contains("Packages") || n.ends_with("Release"));
        let filled = std::fs::read_dir(&lists)
            .is_ok_and(|all| all.flatten().any(|entry| is_list(Path::new(&entry.file_name()))));
        let stamp = root.join(STAMP.trim_start_matches('/'));
        let newest = [stamp, lists.join("partial"), lists].iter().filter_map(|path| changed(path)).max();
        match newest.filter(|_| filled) {
            Some(then) if then <= context.now + 3600 => {
                Duration::from_secs(context.now.saturating_sub(then)) > want.refresh
            }
            // Nothing was ever fetched, or by a clock that was wrong.
            _ => true,
        }
    }

    fn refreshed(&self, context: &Context<'_>) {
        let written =
            ManagedPath::parse("/var/lib/apt/periodic").map_err(ResourceError::from).and_then(|folder| {
                if context.root.inspect(&folder)?.is_none() {
                    context.root.make_directory(&folder, Ownership::default())?;
                }
                let mode = Ownership { mode: Some(0o644), ..Ownership::default() };
                let stamp = ManagedPath::parse(STAMP)?;
                context.root.replace_file(&stamp, b"", mode, |_| Ok::<(), ResourceError>(()))
            });
        if let Err(error) = written {
            tracing::warn!("the package index is new, but will be fetched again next time: {error}");
        }
    }

    fn calls(&self, step: &Step, want: &Want) -> Result<Vec<Vec<String>>, ResourceError> {
        let apt = |verb: &[&str], rest: Vec<String>| {
            let mut all = words(APT_GET, verb);
            match want.recommends {
                Some(true) => all.push("--install-recommends".to_owned()),
                Some(false) => all.push("--no-install-recommends".to_owned()),
                None => {}
            }
            all.push("--".to_owned());
            all.extend(rest);
            vec![all]
        };
        Ok(match step {
            // A list that cannot be fetched is an error; installing from an old one would not be what was asked for.
            Step::Refresh => vec![words(APT_GET, ["-o", "APT::Update::Error-Mode=any", "update"])],
            Step::Install(all) => {
                let specs = all.iter().map(|(name, version, _)| match version {
                    Some(version) => format!("{name}={version}"),
                    None => name.clone(),
                });
                let verb: &[&str] = match want.version {
                    Some(_) => &["--allow-downgrades", "install"],
                    None => &["install"],
                };
                apt(verb, specs.collect())
            }
            Step::Upgrade(all) => {
                apt(&["--only-upgrade", "install"], all.iter().map(|(name, ..)| name.clone()).collect())
            }
            Step::Remove(names) => vec![words(&words_of(APT_GET, &["remove", "--"]), names)],
            Step::Purge(names) => vec![words(&words_of(APT_GET, &["purge", "--"]), names)],
            Step::Hold(names) => vec![words(&["apt-mark", "hold", "--"], names)],
            Step::Release(names) => vec![words(&["apt-mark", "unhold", "--"], names)],
        })
    }

    fn environment(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DEBIAN_PRIORITY", "critical"),
            ("APT_LISTCHANGES_FRONTEND", "none"),
            ("APT_LISTBUGS_FRONTEND", "none"),
            ("NEEDRESTART_MODE", "l"),
            ("UCF_FORCE_CONFFOLD", "1"),
        ]
    }

    fn is_locked(&self, answer: &Answer) -> bool {
        // E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4 (apt-get)
        // dpkg: error: dpkg status database is locked by another process
        ["Could not get lock", "Unable to acquire the dpkg frontend lock", "is locked by another process"]
            .iter()
            .any(|text| answer.stderr.contains(text))
    }

    fn repair(&self, answer: &Answer) -> Option<Vec<String>> {
        let interrupted = answer.stderr.contains("dpkg --configure -a");
        interrupted
            .then(|| words(&["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"], [""; 0]))
    }

    fn is_version(&self, have: &str, want: &str) -> bool {
        fits(have, want)
    }
}

fn words_of<'a>(start: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    start.iter().chain(rest).copied().collect()
}

fn changed(path: &Path) -> Option<u64> {
    let modified = std::fs::metadata(path).ok()?.modified().ok()?;
    Some(modified.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

fn is_there(found: &BTreeMap<String, Found>, name: &str) -> bool {
    found.get(name).is_some_and(|package| package.version.is_some())
}

/// Everything that the machine has, if its database holds still. What dpkg complains of is said when it is asked for names.
fn all(context: &Context<'_>) -> Option<Arc<Installed>> {
    let ask = || {
        let answer = context.program(["dpkg-query", "--show", FORMAT]).ask().ok()?;
        (answer.code == 0).then_some(answer.stdout)
    };
    // Stand-ins have a database of their own.
    let own = context.root.is_host() && context.platform.programs.is_none();
    own.then(|| DATABASE.installed(Path::new(DPKG), ask)).flatten()
}

/// Names whose candidate is another version than the installed one, with the candidate.
pub(super) fn candidates(output: &str) -> Vec<(&str, &str)> {
    let mut all = Vec::new();
    let (mut name, mut installed) = ("", "");
    for line in output.lines() {
        if let Some(heading) = line.strip_suffix(':').filter(|heading| !heading.starts_with(' ')) {
            (name, installed) = (heading, "");
        } else if let Some(version) = line.trim().strip_prefix("Installed: ") {
            installed = version;
        } else if let Some(version) = line.trim().strip_prefix("Candidate: ")
            && version != installed
            && version != "(none)"
        {
            all.push((name, version));
        }
    }
    all
}
