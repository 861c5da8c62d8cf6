//! pacman.

use super::{Found, Manager, State, Step, Want, fits, unsupported, words};
use crate::command::Answer;
use crate::resource::{Context, ResourceError};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

pub(super) struct Pacman;

const SYNC: &str = "var/lib/pacman/sync";

impl Manager for Pacman {
    fn look(&self, context: &Context<'_>, want: &Want) -> Result<BTreeMap<String, Found>, ResourceError> {
        if want.hold == Some(true) {
            return Err(unsupported(
                "pacman has no command that holds a package; set `IgnorePkg` in pacman.conf",
            ));
        }
        let program = context.program(words(&["pacman", "--query", "--"], &want.names));
        let answer = program.ask()?;
        // 1 says that one of them is not there.
        if answer.code != 0 && !answer.stderr.contains("was not found") {
            return Err(program.failed(answer));
        }
        let mut found = BTreeMap::new();
        for (name, version) in answer.stdout.lines().filter_map(|line| line.split_once(' ')) {
            let package = Found { version: Some(version.to_owned()), remains: true, ..Found::default() };
            found.insert(name.to_owned(), package);
        }
        if want.state == State::Latest && !found.is_empty() {
            let program = context.program(words(&["pacman", "--query", "--upgrades", "--"], found.keys()));
            let answer = program.ask()?;
            if !matches!(answer.code, 0 | 1) {
                return Err(program.failed(answer));
            }
            for line in answer.stdout.lines() {
                let mut fields = line.split_whitespace();
                if let (Some(name), Some(newer)) = (fields.next(), fields.nth(2))
                    && let Some(package) = found.get_mut(name)
                {
                    package.newer = Some(newer.to_owned());
                }
            }
        }
        Ok(found)
    }

    fn is_stale(&self, context: &Context<'_>, want: &Want) -> bool {
        let folder = context.root.path().join(SYNC);
        let newest = std::fs::read_dir(folder).ok().and_then(|all| {
            let changed = |entry: std::fs::DirEntry| entry.metadata().ok()?.modified().ok();
            all.flatten().filter_map(changed).max()?.duration_since(UNIX_EPOCH).ok()
        });
        match newest.map(|age| age.as_secs()) {
            Some(then) if then <= context.now + 3600 => {
                Duration::from_secs(context.now.saturating_sub(then)) > want.refresh
            }
            _ => true,
        }
    }

    fn calls(&self, step: &Step, want: &Want) -> Result<Vec<Vec<String>>, ResourceError> {
        if want.version.is_some() {
            return Err(unsupported("pacman has one version of each package; take `version` out"));
        }
        let call = |verb: &[&str], names: Vec<String>| {
            words(&["pacman", "--noconfirm"], verb.iter().map(|w| (*w).to_owned()).chain(names))
        };
        Ok(vec![match step {
            Step::Refresh => call(&["--sync", "--refresh"], Vec::new()),
            Step::Install(all) => {
                call(&["--sync", "--needed", "--"], all.iter().map(|(name, ..)| name.clone()).collect())
            }
            Step::Upgrade(all) => {
                call(&["--sync", "--needed", "--"], all.iter().map(|(name, ..)| name.clone()).collect())
            }
            Step::Remove(names) => call(&["--remove", "--"], names.clone()),
            Step::Purge(names) => call(&["--remove", "--nosave", "--"], names.clone()),
            Step::Hold(_) | Step::Release(_) => {
                return Err(unsupported("pacman has no command that holds a package"));
            }
        }])
    }

    fn is_locked(&self, answer: &Answer) -> bool {
        answer.stderr.contains("unable to lock database")
    }

    fn is_version(&self, have: &str, want: &str) -> bool {
        fits(have, want)
    }
}
