//! Snapshots: everything that the host of a test gets, stored beside the test as `NAME.snapshot.json`.

use super::compare::difference;
use super::{Failed, Ran};
use crate::commands::failure::Failure;
use crate::commands::host::Host;
use crate::commands::resolve;
use crate::commands::resolve::state::State;
use crate::commands::{input, output};
use crate::syntax::TestAst;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a host gets, without what says nothing about it.
pub(super) fn of(host: &Host<'_>, state: &State) -> Json {
    let mut out = resolve::json(host, state);
    if let Json::Object(fields) = &mut out {
        // lines move, and the root says the same as all the rest
        fields.retain(|key, _| !matches!(key.as_str(), "entry" | "merkle_root" | "footprint"));
    }
    out
}

/// Snapshots by file of tests, and by test.
pub(super) struct Snapshots {
    root: PathBuf,
    stored: BTreeMap<Arc<str>, Map<String, Json>>,
}

/// Where the snapshots of a file of tests are.
fn path_of(file: &str) -> String {
    format!("{}.snapshot.json", file.strip_suffix(".vgo").unwrap_or(file))
}

impl Snapshots {
    /// Reads what is stored beside files of tests.
    pub(super) fn read<'a>(
        root: &Path,
        files: impl Iterator<Item = &'a Arc<str>>,
    ) -> Result<Snapshots, Failure> {
        let mut stored = BTreeMap::new();
        for file in files.collect::<BTreeSet<_>>() {
            let path = root.join(path_of(file));
            if !path.exists() {
                continue;
            }
            let wrong = || {
                let path = path.display();
                Failure::Input(format!(
                    "`{path}` is not what `vigoc test --bless` writes; delete it and bless again"
                ))
            };
            match input::json(&path)? {
                Json::Object(mut fields) => match fields.remove("tests") {
                    Some(Json::Object(tests)) => drop(stored.insert(file.clone(), tests)),
                    _ => return Err(wrong()),
                },
                _ => return Err(wrong()),
            }
        }
        Ok(Snapshots { root: root.to_owned(), stored })
    }

    /// Compares what a test gives with what is stored.
    pub(super) fn compare(&self, test: &mut Ran) {
        let Some(now) = &test.snapshot else { return };
        let span = test.span;
        let stored = self.stored.get(&test.file).and_then(|all| all.get(&*test.name));
        let failed = |message: &str| Failed::new(&test.file, span, message).label("expected here");
        match stored {
            None => {
                let help = "`vigoc test --bless` stores what it gives now".to_owned();
                test.failed.push(failed("nothing is stored for this test").help(Some(help)));
            }
            Some(stored) if stored == now => {}
            Some(stored) => {
                let help = "`vigoc test --bless` stores what it gives now".to_owned();
                let mut failed = failed("the host gets something else than what is stored").help(Some(help));
                failed.detail = Some(difference(&output::pretty(stored), &output::pretty(now)));
                (failed.expected, failed.actual) = (stored.clone(), now.clone());
                test.failed.push(failed);
            }
        }
    }

    /// Stores what tests that were run give. What is stored for a test that is no more goes; how many are stored.
    pub(super) fn bless(&self, tests: &[(Arc<str>, &TestAst)], ran: &[Ran]) -> Result<usize, Failure> {
        let mut files: BTreeMap<&Arc<str>, Map<String, Json>> = BTreeMap::new();
        let mut count = 0;
        for (file, test) in tests {
            let all = files.entry(file).or_default();
            if test.expect.snapshot.is_none() {
                continue;
            }
            let now = ran.iter().find(|r| r.file == *file && r.name == test.name.text);
            let fresh = now.and_then(|r| r.snapshot.clone());
            count += usize::from(fresh.is_some());
            let kept = || self.stored.get(file).and_then(|all| all.get(&*test.name.text)).cloned();
            if let Some(snapshot) = fresh.or_else(kept) {
                all.insert(test.name.text.to_string(), snapshot);
            }
        }
        for (file, all) in files {
            if self.stored.get(file).map_or(all.is_empty(), |stored| *stored == all) {
                continue;
            }
            let path = self.root.join(path_of(file));
            let failed = |source| Failure::Write { what: format!("`{}`", path.display()), source };
            if all.is_empty() {
                std::fs::remove_file(&path).map_err(failed)?;
                continue;
            }
            let document = json!({ "format_version": output::FORMAT_VERSION, "tests": all });
            let folder = path.parent().unwrap_or(&self.root);
            // a reader sees the old or the new, never half of one
            let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
            file.write_all(output::pretty(&document).as_bytes()).map_err(failed)?;
            file.persist(&path).map_err(|e| failed(e.error))?;
        }
        Ok(count)
    }
}
