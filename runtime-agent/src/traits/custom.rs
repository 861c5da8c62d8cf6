//! `custom`: traits of the host's own, from a directory of JSON files and executables.
//!
//! `rack.json` and an executable `rack` or `rack.sh` both give `custom.rack`. Whoever can change one of them decides what the
//! host is, so nothing is taken that anybody but root could have written.

use super::program::ask;
use super::{Answer, Section};
use crate::own;
use crate::root::Root;
use crate::text::printable;
use ir::Value;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// For each executable.
const LIMIT: Duration = Duration::from_secs(10);
/// Of a file, and of what an executable writes.
const MOST_BYTES: u64 = 64 << 10;
/// In the directory.
const MOST_FILES: usize = 100;
/// Of nesting.
const MOST_DEPTH: usize = 16;

/// JSON files.
pub fn files(root: &Root) -> Answer {
    collect(root, is_json, |path, meta| {
        if meta.len() > MOST_BYTES {
            return Err(format!("has more than {} KiB", MOST_BYTES >> 10));
        }
        std::fs::read_to_string(path).map_err(|e| e.to_string())
    })
}

/// Executables.
pub fn programs(root: &Root) -> Answer {
    collect(
        root,
        |path| !is_json(path),
        |path, meta| {
            if meta.mode() & 0o111 == 0 {
                return Err("is neither a .json file nor executable".to_owned());
            }
            ask(root, &[&path.display().to_string()], LIMIT, MOST_BYTES as usize, &[0])
        },
    )
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "json")
}

/// Reads each file that is wanted.
fn collect(
    root: &Root,
    wanted: fn(&Path) -> bool,
    read: impl Fn(&Path, &Metadata) -> Result<String, String>,
) -> Answer {
    let directory = own::below(root.path(), own::TRAITS);
    let (mut custom, mut problems) = (BTreeMap::new(), Vec::new());
    match listed(&directory) {
        Ok(paths) => {
            for path in paths.iter().filter(|path| wanted(path)) {
                match taken(path, &read) {
                    Ok((key, value)) => drop(custom.insert(Arc::from(key), value)),
                    Err(why) => {
                        let name =
                            path.file_name().map(|n| printable(&n.to_string_lossy())).unwrap_or_default();
                        problems.push(format!("{}/{name}: {why}", own::TRAITS));
                    }
                }
            }
        }
        Err(why) => problems.push(format!("{}: {why}", own::TRAITS)),
    }
    Answer { section: Section::from([("custom".into(), Value::Map(custom))]), problems }
}

fn taken(
    path: &Path,
    read: impl Fn(&Path, &Metadata) -> Result<String, String>,
) -> Result<(String, Value), String> {
    let meta = std::fs::symlink_metadata(path).map_err(|e| e.to_string())?;
    if !meta.is_file() {
        return Err("is no regular file".to_owned());
    }
    safe(&meta)?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if stem.is_empty() || !stem.chars().all(plain) || stem.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("its name is no name of a trait: letters, digits and `_`".to_owned());
    }
    let text = read(path, &meta)?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| format!("is no JSON: {e}"))?;
    let value = value(&json, 0).ok_or("is nested too deep, or has a number that is none here")?;
    Ok((stem, value))
}

/// In their order. A directory that is not there holds nothing.
fn listed(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let meta = match std::fs::symlink_metadata(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| e.to_string())?,
    };
    if !meta.is_dir() {
        return Err("is no directory".to_owned());
    }
    safe(&meta)?;
    let entries = std::fs::read_dir(directory).map_err(|e| e.to_string())?;
    let mut all: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')))
        .collect();
    all.sort();
    if all.len() > MOST_FILES {
        return Err(format!("has more than {MOST_FILES} files"));
    }
    Ok(all)
}

/// Of the agent's own user, and nobody else may write to it.
fn safe(meta: &Metadata) -> Result<(), String> {
    let euid = nix::unistd::geteuid().as_raw();
    if meta.uid() != euid && meta.uid() != 0 {
        return Err(format!("is not taken: it belongs to uid {}; chown it to root", meta.uid()));
    }
    if meta.mode() & 0o022 != 0 {
        return Err("is not taken: others may write to it; chmod go-w".to_owned());
    }
    Ok(())
}

fn value(json: &serde_json::Value, depth: usize) -> Option<Value> {
    use serde_json::Value as Json;
    if depth > MOST_DEPTH {
        return None;
    }
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(b) => (*b).into(),
        Json::Number(n) => match n.as_i64() {
            Some(i) => Value::Int(i),
            None => Value::Float(ir::Finite::new(n.as_f64()?)?),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(list) => Value::List(list.iter().map(|v| value(v, depth + 1)).collect::<Option<_>>()?),
        Json::Object(map) => {
            let entry = |(k, v): (&String, &Json)| Some((Arc::from(k.as_str()), value(v, depth + 1)?));
            Value::Map(map.iter().map(entry).collect::<Option<_>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    struct Host {
        dir: tempfile::TempDir,
    }

    impl Host {
        fn new() -> Self {
            let host = Host { dir: tempfile::tempdir().unwrap() };
            fs::create_dir_all(host.path("")).unwrap();
            fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o755)).unwrap();
            host
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(own::TRAITS.trim_start_matches('/')).join(name)
        }

        fn write(&self, name: &str, text: &str, mode: u32) {
            fs::write(self.path(name), text).unwrap();
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }

        fn told(&self, collect: fn(&Root) -> Answer) -> (String, String) {
            let answer = collect(&Root::open(self.dir.path()).unwrap());
            let custom = answer.section.get("custom").map(serde_json::Value::from).unwrap_or_default();
            (custom.to_string(), answer.problems.join("\n"))
        }
    }

    #[test]
    fn files_and_programs_give_traits() {
        let host = Host::new();
        assert_eq!(host.told(files), ("{}".to_owned(), String::new()));
        host.write("rack.json", r#"{"row": 4, "name": "b7", "spare": null}"#, 0o644);
        host.write("role.sh", "#!/bin/sh\necho '[\"a\", '$#', \"'$HOME'\"]'\n", 0o755);
        host.write(".hidden", "x", 0o666);
        assert_eq!(
            host.told(files),
            (r#"{"rack":{"name":"b7","row":4,"spare":null}}"#.to_owned(), String::new())
        );
        assert_eq!(host.told(programs), (r#"{"role":["a",0,"/root"]}"#.to_owned(), String::new()));
    }

    #[test]
    fn what_is_wrong_is_told_and_the_others_count() {
        let host = Host::new();
        host.write("good.json", "1", 0o644);
        host.write("bad.json", "{", 0o644);
        host.write("with space.json", "1", 0o644);
        host.write("large.json", &"1".repeat(MOST_BYTES as usize + 1), 0o644);
        host.write("deep.json", &("[".repeat(100) + &"]".repeat(100)), 0o644);
        host.write("fails", "#!/bin/sh\necho because >&2; exit 3\n", 0o755);
        host.write("readme.txt", "", 0o644);
        let (custom, problems) = host.told(files);
        assert_eq!(custom, r#"{"good":1}"#);
        for part in
            ["bad.json: is no JSON", "with space.json: its name", "large.json: has more", "deep.json: is"]
        {
            assert!(problems.contains(part), "{part} in {problems}");
        }
        let (custom, problems) = host.told(programs);
        assert_eq!(custom, "{}");
        assert!(problems.contains("ended with 3: because"), "{problems}");
        assert!(problems.contains("readme.txt: is neither"), "{problems}");
    }

    #[test]
    fn case_087_what_others_could_have_written_is_not_taken() {
        let host = Host::new();
        host.write("theirs.json", "1", 0o646);
        host.write("program", "#!/bin/sh\necho 1\n", 0o775);
        fs::write(host.dir.path().join("elsewhere"), "1").unwrap();
        std::os::unix::fs::symlink(host.dir.path().join("elsewhere"), host.path("link.json")).unwrap();
        let (custom, problems) = host.told(files);
        assert_eq!(custom, "{}");
        assert!(problems.contains("theirs.json: is not taken"), "{problems}");
        assert!(problems.contains("link.json: is no regular"), "{problems}");
        let (custom, problems) = host.told(programs);
        assert!(custom == "{}" && problems.contains("program: is not taken"), "{custom} {problems}");
        host.write("theirs.json", "1", 0o644);
        assert!(host.told(files).0.contains("theirs"), "the same file, closed");
        fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o777)).unwrap();
        let (custom, problems) = host.told(files);
        assert!(custom == "{}" && problems.contains("others may write"), "{custom} {problems}");
    }

    #[test]
    fn case_087_what_a_user_sets_in_the_environment_reaches_no_program() {
        let host = Host::new();
        host.write(
            "env",
            "#!/bin/sh\nprintf '\"%s\"' \"$(env | cut -d= -f1 | sort | tr '\\n' ' ')\"\n",
            0o755,
        );
        let (custom, problems) = host.told(programs);
        assert_eq!(custom, r#"{"env":"HOME LANG PATH PWD "}"#, "{problems}");
    }
}
