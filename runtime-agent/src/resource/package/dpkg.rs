//! What dpkg has installed. One question is about all packages and costs no more than one about a single one, so it is asked
//! once, and again when the database is another one than before.

use super::Found;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// `--showformat` of the answers that [`Installed::read`] takes.
pub(super) const FORMAT: &str =
    "--showformat=${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Abbrev}\\n";

/// Packages that dpkg knows, by name without architecture.
#[derive(Debug, Default)]
pub(super) struct Installed {
    packages: HashMap<String, Vec<Row>>,
}

#[derive(Debug)]
struct Row {
    architecture: String,
    version: String,
    /// `h` is held.
    selected: char,
    /// `n`: known, not installed; `c`: its configuration; `i`, `W` and `t`: installed; the rest: half of it.
    state: char,
}

impl Installed {
    /// Reads what `dpkg-query` shows; other lines are left out.
    pub(super) fn read(output: &str) -> Self {
        let mut packages: HashMap<String, Vec<Row>> = HashMap::new();
        for line in output.lines() {
            let mut fields = line.split('\t');
            let (Some(package), Some(architecture), Some(version), Some(status)) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let mut status = status.chars();
            let (selected, state) = (status.next().unwrap_or(' '), status.next().unwrap_or(' '));
            if state != 'n' || selected == 'h' {
                let row = Row {
                    architecture: architecture.to_owned(),
                    version: version.to_owned(),
                    selected,
                    state,
                };
                packages.entry(package.to_owned()).or_default().push(row);
            }
        }
        Installed { packages }
    }

    /// Those of these names that are there, or of which something remains. A name without an architecture means whichever is
    /// installed.
    pub(super) fn of(&self, names: &[String]) -> BTreeMap<String, Found> {
        let mut found = BTreeMap::new();
        for name in names {
            let (plain, wanted) = match name.split_once(':') {
                Some((plain, architecture)) => (plain, Some(architecture)),
                None => (name.as_str(), None),
            };
            let rows = self.packages.get(plain).map(Vec::as_slice).unwrap_or_default();
            let mut meant = rows.iter().filter(|r| wanted.is_none_or(|w| w == r.architecture)).peekable();
            if meant.peek().is_none() {
                continue;
            }
            let mut entry = Found::default();
            for row in meant {
                let whole = matches!(row.state, 'i' | 'W' | 't');
                entry.version = entry.version.take().or_else(|| whole.then(|| row.version.clone()));
                entry.remains |= row.state != 'n';
                entry.held |= row.selected == 'h';
            }
            found.insert(name.clone(), entry);
        }
        found
    }
}

/// The database of a host, as far as this process knows it.
pub(super) struct Database {
    known: Mutex<Option<(Stamp, Arc<Installed>)>>,
}

/// dpkg replaces `status` by another file, and puts what it is at into `updates` before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp([[i64; 6]; 2]);

impl Stamp {
    fn of(folder: &Path) -> Option<Self> {
        let look = |name: &str| {
            let meta = std::fs::metadata(folder.join(name)).ok()?;
            let id = [meta.dev(), meta.ino(), meta.size()].map(u64::cast_signed);
            Some([id[0], id[1], id[2], meta.mtime(), meta.mtime_nsec(), meta.ctime_nsec()])
        };
        Some(Stamp([look("status")?, look("updates")?]))
    }
}

impl Database {
    pub(super) const fn new() -> Self {
        Database { known: Mutex::new(None) }
    }

    /// What is installed, of the database in this folder; `ask` gives what `dpkg-query` shows of all packages. `None` when the
    /// database changes meanwhile, or is not one: then each question is asked by itself.
    pub(super) fn installed(
        &self,
        folder: &Path,
        ask: impl FnOnce() -> Option<String>,
    ) -> Option<Arc<Installed>> {
        let before = Stamp::of(folder)?;
        // Whoever comes second has the answer of the first.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, installed)) = known.as_ref()
            && *then == before
        {
            return Some(installed.clone());
        }
        *known = None;
        let installed = Arc::new(Installed::read(&ask()?));
        if Stamp::of(folder)? != before {
            return None;
        }
        *known = Some((before, installed.clone()));
        Some(installed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_database_is_read_again_when_it_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let (status, updates) = (dir.path().join("status"), dir.path().join("updates"));
        let asked = Cell::new(0);
        let database = Database::new();
        let look = |version: &str| {
            let installed = database.installed(dir.path(), || {
                asked.set(asked.get() + 1);
                Some(format!("nginx\tamd64\t{version}\tii \n"))
            })?;
            installed.of(&["nginx".to_owned()])["nginx"].version.clone()
        };
        assert_eq!((look("1"), asked.get()), (None, 0), "there is no database");
        std::fs::create_dir(&updates).unwrap();
        std::fs::write(&status, "one").unwrap();
        assert_eq!((look("1").as_deref(), look("2").as_deref(), asked.get()), (Some("1"), Some("1"), 1));
        // As dpkg does it: a new file in its place.
        std::fs::write(dir.path().join("status-new"), "two").unwrap();
        std::fs::rename(dir.path().join("status-new"), &status).unwrap();
        assert_eq!((look("2").as_deref(), asked.get()), (Some("2"), 2));
        std::fs::write(updates.join("0000"), "").unwrap();
        assert_eq!((look("3").as_deref(), asked.get()), (Some("3"), 3));
    }

    #[test]
    fn what_changes_while_it_is_asked_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("updates")).unwrap();
        std::fs::write(dir.path().join("status"), "one").unwrap();
        let database = Database::new();
        let during = database.installed(dir.path(), || {
            std::fs::write(dir.path().join("status"), "longer").unwrap();
            Some("nginx\tamd64\t1\tii \n".to_owned())
        });
        assert!(during.is_none());
        assert!(database.installed(dir.path(), || None).is_none(), "nor is what could not be asked");
        let after = database.installed(dir.path(), || Some("nginx\tamd64\t2\tii \n".to_owned())).unwrap();
        assert_eq!(after.of(&["nginx".to_owned()])["nginx"].version.as_deref(), Some("2"));
    }
}
