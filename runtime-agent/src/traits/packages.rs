//! `packages` and `package_updates`: what is installed, and what there is that is newer.

use super::program::ask;
use super::{Answer, Section, map};
use crate::root::{ManagedPath, Root};
use ir::{Hash, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Packages told of at most; their number counts all.
const MOST: usize = 10_000;
/// Of a program's list.
const MOST_BYTES: usize = 4 << 20;
/// `rpm` reads all of its database.
const ASK: Duration = Duration::from_secs(20);
/// Programs that compute updates are slow on small hosts.
const UPDATES: Duration = Duration::from_secs(25);

const RPM: &[&str] = &["rpm", "-qa", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE}\\n"];

pub fn installed(root: &Root) -> Answer {
    list(root).map(|all| all.map(|all| told(&all)).unwrap_or_default()).into()
}

fn told(all: &BTreeMap<String, String>) -> Section {
    let text: String = all.iter().map(|(name, version)| format!("{name} {version}\n")).collect();
    let some = all.iter().take(MOST).map(|(k, v)| (Arc::from(k.as_str()), Value::from(v.as_str()))).collect();
    let packages = map([
        ("count", i64::try_from(all.len()).ok().map(Value::Int)),
        ("digest", Some(Hash::of(text.as_bytes()).short().into())),
        ("installed", Some(Value::Map(some))),
    ]);
    [("packages".into(), packages)].into()
}

/// By name; `None` where nobody keeps such a list.
fn list(root: &Root) -> Result<Option<BTreeMap<String, String>>, String> {
    let read = |path: &str| root.read_text(&ManagedPath::parse(path).ok()?, 64 << 20);
    if let Some(status) = read("/var/lib/dpkg/status") {
        return Ok(Some(dpkg(&status)));
    }
    if let Some(db) = read("/lib/apk/db/installed").or_else(|| read("/usr/lib/apk/db/installed")) {
        return Ok(Some(apk(&db)));
    }
    for words in [RPM, &["pacman", "-Q"]] {
        if has(root, words) {
            return ask(root, words, ASK, MOST_BYTES, &[0]).map(|output| Some(lines(&output)));
        }
    }
    Ok(None)
}

/// Whether the host has the program. A directory that is made to look like a host has none.
fn has(root: &Root, words: &[&str]) -> bool {
    let path = words.first().map(|program| format!("/usr/bin/{program}"));
    let path = path.and_then(|path| ManagedPath::parse(&path).ok());
    root.is_host() && path.is_some_and(|path| root.follow(&path).is_some())
}

fn dpkg(status: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for paragraph in status.split("\n\n") {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let installed = field("Status:").is_some_and(|status| status.ends_with(" installed"));
        if let (true, Some(name), Some(version)) = (installed, field("Package:"), field("Version:")) {
            all.insert(name.to_owned(), version.to_owned());
        }
    }
    all
}

fn apk(db: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for paragraph in db.split("\n\n") {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name));
        if let (Some(name), Some(version)) = (field("P:"), field("V:")) {
            all.insert(name.to_owned(), version.to_owned());
        }
    }
    all
}

fn lines(output: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| line.split_once(' ').map(|(name, version)| (name.to_owned(), version.to_owned()));
    output.lines().filter_map(pair).collect()
}

/// From what the package manager knows already: nothing is fetched.
pub fn updates(root: &Root) -> Answer {
    newer(root).map(|found| found.unwrap_or_default()).into()
}

fn newer(root: &Root) -> Result<Option<Section>, String> {
    const APT: &[&str] = &["apt-get", "-s", "-q", "-o", "Debug::NoLocking=1", "upgrade"];
    const DNF: &[&str] = &["dnf", "-C", "-q", "check-update"];
    const ZYPPER: &[&str] = &["zypper", "--non-interactive", "--no-refresh", "--quiet", "list-updates"];
    const PACMAN: &[&str] = &["pacman", "-Qu"];
    let asked: [(&[&str], &[i32], Read); 4] =
        [(APT, &[0], apt), (DNF, &[0, 100], dnf), (ZYPPER, &[0], zypper), (PACMAN, &[0, 1], pacman)];
    for (words, good, read) in asked {
        if has(root, words) {
            let (count, security) = read(&ask(root, words, UPDATES, MOST_BYTES, good)?);
            let number = |n: usize| i64::try_from(n).ok().map(Value::Int);
            let found = map([("count", number(count)), ("security_count", security.and_then(number))]);
            return Ok(Some([("package_updates".into(), found)].into()));
        }
    }
    Ok(None)
}

/// Updates, and how many of them are for security, where that is said.
type Read = fn(&str) -> (usize, Option<usize>);

fn apt(output: &str) -> (usize, Option<usize>) {
    let lines = || output.lines().filter(|line| line.starts_with("Inst "));
    (lines().count(), Some(lines().filter(|line| line.to_lowercase().contains("-security")).count()))
}

fn dnf(output: &str) -> (usize, Option<usize>) {
    let before = output.split("\nObsoleting").next().unwrap_or_default();
    (before.lines().filter(|line| line.split_whitespace().count() == 3).count(), None)
}

fn zypper(output: &str) -> (usize, Option<usize>) {
    (output.lines().filter(|line| line.starts_with("v ")).count(), None)
}

fn pacman(output: &str) -> (usize, Option<usize>) {
    (output.lines().filter(|line| line.contains(" -> ")).count(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_package_managers() {
        let status = "Package: nginx\nStatus: install ok installed\nVersion: 1.22.1-9\n\n\
                      Package: vim\nStatus: deinstall ok config-files\nVersion: 2\n\nrubbish\n";
        assert_eq!(dpkg(status), [("nginx".to_owned(), "1.22.1-9".to_owned())].into());
        assert_eq!(
            apk("C:Q1\nP:musl\nV:1.2.4-r2\n\nP:half\n"),
            [("musl".to_owned(), "1.2.4-r2".to_owned())].into()
        );
        assert_eq!(lines("bash 5.1-6.el9\nodd\n"), [("bash".to_owned(), "5.1-6.el9".to_owned())].into());
        let few = told(&lines("a 1\n"));
        let more = told(&lines("a 2\n"));
        let at = |s: &Section, name: &str| s.get("packages").unwrap().at(&[name.into()]).cloned();
        assert_eq!(at(&few, "count"), Some(Value::Int(1)));
        assert_ne!(at(&few, "digest"), at(&more, "digest"));
    }

    #[test]
    fn updates_are_counted() {
        let text = "Reading...\nInst libc6 [1] (2 Debian-Security:12/stable-security [amd64])\nInst vim [1] (2 Debian:12)\nConf vim\n";
        assert_eq!(apt(text), (2, Some(1)));
        assert_eq!(dnf("\nbash.x86_64   5.2   baseos\n\nObsoleting Packages\na b c\n"), (1, None));
        assert_eq!(zypper("S | Repository\n--+--\nv | Main | vim\n"), (1, None));
        assert_eq!(pacman("vim 1 -> 2\n"), (1, None));
    }

    #[test]
    fn a_directory_that_is_no_host_has_its_own_packages_and_runs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(installed(&root), Answer::default());
        assert_eq!(updates(&root), Answer::default());
    }
}
