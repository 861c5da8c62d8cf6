//! `repository`: a source of packages and the key that signs it.

use super::config_file::{ConfigFile, fragment_name};
use super::tables;
use super::{Applied, Context, Desired, Executor, Probe, ResourceError};
use crate::openpgp;
use crate::platform::PackageManager;
use crate::root::ManagedPath;
use crate::text::{bounded, printable};
use std::time::Duration;

/// The type.
pub struct RepositoryType;

const KNOWN: &[&str] = &[
    "repository",
    "state",
    "url",
    "description",
    "enabled",
    "types",
    "suites",
    "components",
    "architectures",
    "key",
    "key_path",
    "fingerprints",
    "priority",
    "refresh",
];
const FETCH_LIMIT: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Deb822,
    Dnf,
    Yum,
    Zypper,
}

/// What is declared.
struct Want {
    form: Form,
    name: String,
    present: bool,
    source: String,
    /// Where the key is kept, and what it is, when it is ours to keep.
    key: Option<(String, String)>,
    key_path: Option<ManagedPath>,
    fingerprints: Vec<String>,
    enabled: bool,
    refresh: bool,
}

impl Executor for RepositoryType {
    fn key(&self) -> &'static str {
        "repository"
    }

    fn acts_on_machine(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let want = want(context, desired)?;
        // A key that an earlier resource has yet to put there is looked at when it is needed.
        check_key_file(context, &want, false)?;
        let mut probe = want.source_file()?.probe(context, "source")?;
        if let Some(key) = want.key_file()? {
            probe.changes.extend(key.probe(context, "key")?.changes);
        }
        Ok(probe)
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let want = want(context, desired)?;
        check_key_file(context, &want, true)?;
        let source = want.source_file()?;
        let before = match context.root.inspect(source.path())? {
            Some(_) => Some(tables::read(context.root, source.path())?),
            None => None,
        };
        if !want.present {
            source.write(context)?;
            if let Some(key) = want.key_file()? {
                key.write(context)?;
            }
            return Ok(Applied::default());
        }
        if let Some(key) = want.key_file()? {
            key.write(context)?;
        }
        source.write(context)?;
        if want.refresh && want.enabled {
            // One that stays without its index would look as it should in the next run.
            if let Err(error) = context.program(fetch(&want)).within(FETCH_LIMIT).showing(2).run() {
                match before {
                    Some(text) => ConfigFile::with(&source.path().to_string(), text)?.write(context)?,
                    None => context.root.remove(source.path())?,
                }
                return Err(error);
            }
        }
        Ok(Applied::default())
    }
}

fn invalid(name: &'static str, why: impl Into<String>) -> ResourceError {
    ResourceError::Invalid { name, why: why.into() }
}

impl Want {
    fn source_file(&self) -> Result<ConfigFile, ResourceError> {
        let path = match self.form {
            Form::Deb822 => format!("/etc/apt/sources.list.d/{}.sources", self.name),
            Form::Dnf | Form::Yum => format!("/etc/yum.repos.d/{}.repo", self.name),
            Form::Zypper => format!("/etc/zypp/repos.d/{}.repo", self.name),
        };
        if self.present { ConfigFile::with(&path, &self.source) } else { ConfigFile::absent(&path) }
    }

    /// The file of a key that we keep; to be gone with its source.
    fn key_file(&self) -> Result<Option<ConfigFile>, ResourceError> {
        Ok(match (&self.key, self.present) {
            (Some((path, key)), true) => Some(ConfigFile::with(path, key)?),
            (_, false) => Some(ConfigFile::absent(&key_place(self.form, &self.name))?),
            (None, true) => None,
        })
    }
}

fn key_place(form: Form, name: &str) -> String {
    match form {
        Form::Deb822 => format!("/etc/apt/keyrings/{name}.asc"),
        Form::Dnf | Form::Yum | Form::Zypper => format!("/etc/pki/rpm-gpg/RPM-GPG-KEY-{name}"),
    }
}

/// Words that fetch the index of this source alone: others that are out of reach are not its matter.
fn fetch(want: &Want) -> Vec<String> {
    let name = &want.name;
    let words: Vec<String> = match want.form {
        Form::Deb822 => vec![
            "apt-get".into(),
            "update".into(),
            "--quiet".into(),
            "-o".into(),
            format!("Dir::Etc::SourceList=/etc/apt/sources.list.d/{name}.sources"),
            "-o".into(),
            "Dir::Etc::SourceParts=/dev/null".into(),
            "-o".into(),
            "APT::Get::List-Cleanup=false".into(),
            "-o".into(),
            "APT::Update::Error-Mode=any".into(),
        ],
        Form::Dnf => vec!["dnf".into(), "makecache".into(), "--quiet".into(), format!("--repo={name}")],
        Form::Yum => vec![
            "yum".into(),
            "makecache".into(),
            "--quiet".into(),
            "--disablerepo=*".into(),
            format!("--enablerepo={name}"),
        ],
        Form::Zypper => vec![
            "zypper".into(),
            "--non-interactive".into(),
            "--gpg-auto-import-keys".into(),
            "refresh".into(),
            name.clone(),
        ],
    };
    words
}

/// A value that stands alone in its line.
fn line(name: &'static str, text: &str) -> Result<String, ResourceError> {
    if text.chars().any(char::is_control) || text.trim() != text || text.is_empty() {
        return Err(invalid(name, "must be one line of text"));
    }
    Ok(text.to_owned())
}

fn words_of(desired: &Desired, name: &'static str) -> Result<Option<String>, ResourceError> {
    let Some(all) = desired.strings(name)? else { return Ok(None) };
    let good = |word: &&str| {
        !word.is_empty()
            && !word.starts_with('-')
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '+' | '~' | ':'))
    };
    match all.iter().find(|word| !good(word)) {
        Some(bad) => {
            Err(invalid(name, format!("`{}` cannot stand in a source", printable(bounded(bad, 80)))))
        }
        None => Ok((!all.is_empty()).then(|| all.join(" "))),
    }
}

fn url(desired: &Desired) -> Result<String, ResourceError> {
    let url = line("url", desired.required("url")?)?;
    let known = ["https://", "http://", "file:/"].iter().any(|start| url.starts_with(start));
    if !known || url.contains(char::is_whitespace) {
        let shown = printable(bounded(&url, 100));
        return Err(invalid(
            "url",
            format!("`{shown}` is not the URL of a source; it begins with `https://`"),
        ));
    }
    Ok(url)
}

fn want(context: &Context<'_>, desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("repository", KNOWN)?;
    let form = match context.platform.package_manager {
        Some(PackageManager::Apt) => Form::Deb822,
        Some(PackageManager::Dnf) => Form::Dnf,
        Some(PackageManager::Yum) => Form::Yum,
        Some(PackageManager::Zypper) => Form::Zypper,
        other => {
            return Err(ResourceError::Unsupported {
                kind: "repository",
                why: format!(
                    "sources of {} are not known to it; write their file with type `file`",
                    other.map_or("no package manager", PackageManager::name)
                ),
            });
        }
    };
    let name = fragment_name("repository", desired.required("repository")?)?;
    let present = desired.word("state", &["present", "absent"])? == "present";
    let fingerprints = desired.strings("fingerprints")?.unwrap_or_default().into_iter().map(fingerprint);
    let mut want = Want {
        form,
        name,
        present,
        source: String::new(),
        key: None,
        key_path: desired.path("key_path")?,
        fingerprints: fingerprints.collect::<Result<_, _>>()?,
        enabled: desired.flag("enabled")?,
        refresh: desired.flag("refresh")?,
    };
    if !present {
        return Ok(want);
    }
    if let Some(key) = desired.text("key")? {
        if want.key_path.is_some() {
            return Err(invalid("key_path", "cannot be given together with `key`"));
        }
        check(&want, "key", key.as_bytes())?;
        let key = if key.ends_with('\n') { key.to_owned() } else { format!("{key}\n") };
        want.key = Some((key_place(form, &want.name), key));
    }
    let key_path = want
        .key
        .as_ref()
        .map(|(path, _)| path.clone())
        .or(want.key_path.as_ref().map(ManagedPath::to_string));
    want.source = match form {
        Form::Deb822 => deb822(desired, &want, key_path.as_deref())?,
        _ => repo(desired, &want, key_path.as_deref())?,
    };
    Ok(want)
}

fn deb822(desired: &Desired, want: &Want, key: Option<&str>) -> Result<String, ResourceError> {
    let suites = words_of(desired, "suites")?.ok_or(ResourceError::Missing("suites"))?;
    let types = words_of(desired, "types")?.ok_or(ResourceError::Missing("types"))?;
    if types.split(' ').any(|t| !matches!(t, "deb" | "deb-src")) {
        return Err(invalid("types", format!("`{types}` is not `deb` or `deb-src`")));
    }
    let components = match suites.split(' ').filter(|suite| suite.ends_with('/')).count() {
        0 => Some(words_of(desired, "components")?.ok_or(ResourceError::Missing("components"))?),
        paths if paths == suites.split(' ').count() => None,
        _ => return Err(invalid("suites", "has both suites and paths; make two sources of them")),
    };
    let mut out = "# Managed by Vigo.\n".to_owned();
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            out.push_str(&format!("{name}: {value}\n"));
        }
    };
    field("X-Repolib-Name", desired.text("description")?.map(|text| line("description", text)).transpose()?);
    field("Enabled", (!want.enabled).then(|| "no".to_owned()));
    field("Types", Some(types));
    field("URIs", Some(url(desired)?));
    field("Suites", Some(suites));
    field("Components", components);
    field("Architectures", words_of(desired, "architectures")?);
    field("Signed-By", key.map(str::to_owned));
    Ok(out)
}

fn repo(desired: &Desired, want: &Want, key: Option<&str>) -> Result<String, ResourceError> {
    let yes = |yes: bool| if yes { "1" } else { "0" };
    let title = desired.text("description")?.map(|text| line("description", text)).transpose()?;
    let mut out =
        format!("# Managed by Vigo.\n[{}]\nname={}\n", want.name, title.unwrap_or_else(|| want.name.clone()));
    out.push_str(&format!(
        "baseurl={}\nenabled={}\ngpgcheck={}\n",
        url(desired)?,
        yes(want.enabled),
        yes(key.is_some())
    ));
    if let Some(key) = key {
        out.push_str(&format!("gpgkey=file://{key}\n"));
    }
    if let Some(priority) = desired.int("priority", 1..=999)? {
        out.push_str(&format!("priority={priority}\n"));
    }
    Ok(out)
}

/// In upper case and without blanks.
fn fingerprint(text: &str) -> Result<String, ResourceError> {
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_uppercase();
    if matches!(plain.len(), 40 | 64) && plain.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(plain);
    }
    let shown = printable(bounded(text, 100));
    Err(invalid(
        "fingerprints",
        format!("`{shown}` is not a fingerprint, which has 40 hexadecimal digits (or 64)"),
    ))
}

/// Every key has to be one that is expected: a package manager trusts all that it finds in a file.
fn check(want: &Want, name: &'static str, key: &[u8]) -> Result<(), ResourceError> {
    let have = openpgp::fingerprints(key).map_err(|error| invalid(name, error.to_string()))?;
    match have.iter().find(|print| !want.fingerprints.contains(print)) {
        Some(other) => Err(invalid(
            name,
            format!("has a key with the fingerprint {other}, which `fingerprints` does not name"),
        )),
        None => Ok(()),
    }
}

fn check_key_file(context: &Context<'_>, want: &Want, due: bool) -> Result<(), ResourceError> {
    let Some(path) = want.key_path.as_ref().filter(|_| want.present) else { return Ok(()) };
    match context.root.inspect(path)? {
        None if !due => Ok(()),
        None => Err(invalid("key_path", format!("there is no {path}; let the file come first"))),
        Some(_) => {
            use std::io::Read;
            let (file, _) = context.root.read(path)?;
            let mut bytes = Vec::new();
            if file.take(1 << 20).read_to_end(&mut bytes).is_err() {
                return Err(invalid("key_path", format!("cannot read {path}")));
            }
            check(want, "key_path", &bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;
    use crate::openpgp::testing::{FINGERPRINT, KEY};
    use ir::Value;

    const TYPE: RepositoryType = RepositoryType;

    fn machine(manager: PackageManager) -> Machine {
        let mut m = Machine::new();
        m.sandbox.platform.package_manager = Some(manager);
        for name in ["apt-get", "dnf", "yum", "zypper"] {
            m.program(name, "asked \"$@\"\n[ ! -e \"$here/unreachable\" ] || { echo 'E: Failed to fetch' >&2; exit 100; }");
        }
        m
    }

    fn names(all: &[&str]) -> Value {
        Value::List(all.iter().map(|n| Value::from(*n)).collect())
    }

    fn source(extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[
            ("repository", "vendor".into()),
            ("state", "present".into()),
            ("url", "https://packages.example.com/debian".into()),
            ("enabled", true.into()),
            ("types", names(&["deb"])),
            ("suites", names(&["bookworm"])),
            ("components", names(&["main", "contrib"])),
            ("fingerprints", names(&[FINGERPRINT.trim()])),
            ("refresh", true.into()),
        ]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    }

    #[test]
    fn apt_gets_a_source_with_its_key_and_its_index() {
        let m = machine(PackageManager::Apt);
        let d = source(&[("key", KEY.into()), ("architectures", names(&["amd64"]))]);
        let (said, asked) = m.converge(&TYPE, &d).unwrap();
        assert_eq!(said, "source created, key created");
        assert_eq!(asked.len(), 1);
        assert!(asked[0].starts_with(
            "apt-get update --quiet -o Dir::Etc::SourceList=/etc/apt/sources.list.d/vendor.sources"
        ));
        assert_eq!(
            m.read("etc/apt/sources.list.d/vendor.sources"),
            "# Managed by Vigo.\nTypes: deb\nURIs: https://packages.example.com/debian\nSuites: bookworm\nComponents: main contrib\nArchitectures: amd64\nSigned-By: /etc/apt/keyrings/vendor.asc\n"
        );
        assert_eq!(m.read("etc/apt/keyrings/vendor.asc"), KEY);
        assert_eq!(m.converge(&TYPE, &d).unwrap(), (String::new(), vec![]));
        m.write("etc/apt/sources.list.d/vendor.sources", "Types: deb\n");
        assert_eq!(m.settles(&TYPE, &d), "source changed");
        assert_eq!(
            m.settles(&TYPE, &source(&[("key", KEY.into()), ("enabled", false.into())])),
            "source changed"
        );
        assert!(m.read("etc/apt/sources.list.d/vendor.sources").contains("\nEnabled: no\n"));
        assert_eq!(m.settles(&TYPE, &source(&[("state", "absent".into())])), "source removed, key removed");
    }

    #[test]
    fn dnf_and_zypper_get_a_file_of_their_own() {
        let m = machine(PackageManager::Dnf);
        let d = source(&[
            ("key", KEY.into()),
            ("priority", Value::Int(10)),
            ("description", "Vendor tools".into()),
        ]);
        let (_, asked) = m.converge(&TYPE, &d).unwrap();
        assert_eq!(asked, ["dnf makecache --quiet --repo=vendor"]);
        assert_eq!(
            m.read("etc/yum.repos.d/vendor.repo"),
            "# Managed by Vigo.\n[vendor]\nname=Vendor tools\nbaseurl=https://packages.example.com/debian\nenabled=1\ngpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-vendor\npriority=10\n"
        );
        let m = machine(PackageManager::Zypper);
        assert_eq!(m.settles(&TYPE, &source(&[])), "source created");
        assert!(m.read("etc/zypp/repos.d/vendor.repo").contains("gpgcheck=0"));
        let error = machine(PackageManager::Apk).refuses(&TYPE, &source(&[]));
        assert!(error.contains("sources of apk are not known to it"), "{error}");
    }

    #[test]
    fn a_source_that_cannot_be_fetched_is_taken_back() {
        let m = machine(PackageManager::Apt);
        m.write("unreachable", "");
        let error = m.refuses(&TYPE, &source(&[]));
        assert_eq!(error, "`apt-get update ...` ended with 100, expected 0:\nE: Failed to fetch");
        assert!(!m.sandbox.path("etc/apt/sources.list.d/vendor.sources").exists());
        std::fs::remove_file(m.sandbox.path("unreachable")).unwrap();
        m.settles(&TYPE, &source(&[]));
        let before = m.read("etc/apt/sources.list.d/vendor.sources");
        m.write("unreachable", "");
        m.refuses(&TYPE, &source(&[("suites", names(&["trixie"]))]));
        assert_eq!(m.read("etc/apt/sources.list.d/vendor.sources"), before);
        assert_eq!(
            m.settles(&TYPE, &source(&[("suites", names(&["trixie"])), ("refresh", false.into())])),
            "source changed"
        );
    }

    #[test]
    fn a_key_is_taken_only_by_its_fingerprint() {
        let m = machine(PackageManager::Apt);
        let foreign = names(&["0B31 DBA0 6A8A 26F9 3F1F 3BB2 B4F0 8F4F 6C37 0E4D"]);
        let error = m.refuses(&TYPE, &source(&[("key", KEY.into()), ("fingerprints", foreign.clone())]));
        assert!(error.contains(&format!("has a key with the fingerprint {}", FINGERPRINT.trim())), "{error}");
        assert!(!m.sandbox.path("etc/apt/keyrings").exists());
        let path = ("key_path", Value::from("/usr/share/keyrings/vendor.asc"));
        assert_eq!(m.probe(&TYPE, &source(std::slice::from_ref(&path))).unwrap(), ["source created"]);
        assert!(m.refuses(&TYPE, &source(std::slice::from_ref(&path))).contains("let the file come first"));
        m.write("usr/share/keyrings/vendor.asc", KEY);
        assert_eq!(m.settles(&TYPE, &source(std::slice::from_ref(&path))), "source created");
        let error = m.refuses(&TYPE, &source(&[path, ("fingerprints", foreign)]));
        assert!(error.starts_with("attribute `key_path`: has a key"), "{error}");
    }

    #[test]
    fn case_086_nothing_leaves_its_line() {
        let m = machine(PackageManager::Apt);
        for (name, value, why) in [
            ("repository", "../x".into(), "cannot be the name of a file"),
            ("repository", "a b".into(), "cannot be the name of a file"),
            ("url", "https://x\nTrusted: yes".into(), "must be one line"),
            ("url", "https://x y".into(), "is not the URL"),
            ("url", "cdrom:x".into(), "is not the URL"),
            ("description", "a\nTrusted: yes".into(), "must be one line"),
            ("suites", names(&["a\nb"]), "cannot stand in a source"),
            ("suites", names(&["-x"]), "cannot stand in a source"),
            ("suites", names(&["a", "./"]), "make two sources"),
            ("components", names(&["main [trusted=yes]"]), "cannot stand in a source"),
            ("types", names(&["rpm"]), "is not `deb`"),
            ("fingerprints", names(&["6C370E4D"]), "is not a fingerprint"),
            ("key", "hunter2".into(), "it is no OpenPGP key"),
        ] {
            let error = m.refuses(&TYPE, &source(&[(name, value)]));
            assert!(error.contains(why), "{name}: {error}");
        }
    }
}
