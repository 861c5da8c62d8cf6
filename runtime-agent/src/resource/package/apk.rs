//! apk. What is installed stands in a text file whose form is documented; the output of `apk info` differs between versions.

use super::{Found, Manager, State, Step, Want, fits, unsupported, words};
use crate::command::Answer;
use crate::resource::{Context, ResourceError};
use crate::root::ManagedPath;
use std::collections::BTreeMap;

pub(super) struct Apk;

const DATABASES: &[&str] = &["/lib/apk/db/installed", "/usr/lib/apk/db/installed"];
/// What was asked for by name, with the versions that are held: `nginx=1.26.2-r0`.
const WORLD: &str = "/etc/apk/world";
const MOST_BYTES: u64 = 64 << 20;

impl Manager for Apk {
    fn look(&self, context: &Context<'_>, want: &Want) -> Result<BTreeMap<String, Found>, ResourceError> {
        let read = |path: &str| {
            ManagedPath::parse(path).ok().and_then(|path| context.root.read_text(&path, MOST_BYTES))
        };
        let Some(database) = DATABASES.iter().find_map(|path| read(path)) else {
            return Err(ResourceError::NoProgram("apk".to_owned()));
        };
        let mut found = installed(&database, &want.names);
        for line in read(WORLD).unwrap_or_default().lines() {
            if let Some((name, _)) = line.split_once(['=', '~', '<', '>'])
                && let Some(package) = found.get_mut(name)
            {
                package.held = true;
            }
        }
        if want.state == State::Latest && !found.is_empty() {
            // What it says of packages that are up to date is left out by the limit.
            let asked = words(&["apk", "version", "--limit", "<"], found.keys());
            let answer = context.program(asked).run()?;
            for (name, newer) in newer(&answer.stdout, &found) {
                found.entry(name).or_default().newer = Some(newer);
            }
        }
        Ok(found)
    }

    fn calls(&self, step: &Step, want: &Want) -> Result<Vec<Vec<String>>, ResourceError> {
        // In minutes.
        let age = (want.refresh.as_secs() / 60).to_string();
        let start = ["apk", "--no-interactive", "--cache-max-age", &age];
        let call = |verb: &[&str], names: Vec<String>| {
            words(&start, verb.iter().map(|w| (*w).to_owned()).chain(names))
        };
        Ok(vec![match step {
            Step::Refresh => call(&["update"], Vec::new()),
            Step::Install(all) => {
                let specs = all.iter().map(|(name, version, _)| match version.as_deref() {
                    Some(version) => spec(name, version),
                    None => name.clone(),
                });
                call(&["add"], specs.collect())
            }
            Step::Upgrade(all) => {
                call(&["add", "--upgrade"], all.iter().map(|(name, ..)| name.clone()).collect())
            }
            Step::Remove(names) => call(&["del"], names.clone()),
            Step::Purge(names) => call(&["del", "--purge"], names.clone()),
            // A version that is asked for by name is kept.
            Step::Hold(names) => match want.version.as_deref() {
                Some(version) => call(&["add"], names.iter().map(|name| spec(name, version)).collect()),
                None => return Err(unsupported("apk holds a package by its version; add `version`")),
            },
            Step::Release(names) => call(&["add"], names.clone()),
        }])
    }

    fn is_locked(&self, answer: &Answer) -> bool {
        answer.stderr.contains("Unable to lock database")
    }

    fn is_version(&self, have: &str, want: &str) -> bool {
        fits(have, want)
    }
}

fn spec(name: &str, version: &str) -> String {
    match version.strip_suffix('*') {
        Some(start) => format!("{name}~{}", start.trim_end_matches('.')),
        None => format!("{name}={version}"),
    }
}

/// Paragraphs of lines `P:name`, `V:version`.
fn installed(database: &str, names: &[String]) -> BTreeMap<String, Found> {
    let mut found = BTreeMap::new();
    let mut name = "";
    for line in database.lines() {
        match line.split_once(':') {
            Some(("P", value)) => name = value,
            Some(("V", value)) if names.iter().any(|n| n == name) => {
                let package = Found { version: Some(value.to_owned()), remains: true, ..Found::default() };
                found.insert(name.to_owned(), package);
            }
            _ => {}
        }
        if line.is_empty() {
            name = "";
        }
    }
    found
}

/// Lines such as `nginx-1.26.2-r0 < 1.26.3-r0`.
fn newer(output: &str, found: &BTreeMap<String, Found>) -> Vec<(String, String)> {
    output
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (full, _, newer) = (fields.next()?, fields.next().filter(|f| *f == "<")?, fields.next()?);
            let name = found.iter().find(|(name, package)| {
                package.version.as_ref().is_some_and(|version| full == format!("{name}-{version}"))
            });
            Some((name?.0.clone(), newer.to_owned()))
        })
        .collect()
}
