//! What the editors make of texts, and what they leave alone. One file an editor; [`files`] has what all of them do with the
//! file itself.

mod block;
mod documents;
mod files;
mod ini;
mod json;
mod line;
mod replace;
mod toml;
mod yaml;

use crate::resource::testing::{Sandbox, desired};
use crate::resource::{Desired, Probe, ResourceError};
use ir::Value;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

/// Attributes with the defaults that the compiler fills in.
fn with(kind: &str, extra: &[(&str, Value)]) -> Desired {
    let mut all =
        vec![("target_path", Value::from("/f")), ("create", false.into()), ("backup", false.into())];
    match kind {
        "file_line" => all.push(("state", "present".into())),
        "blockinfile" => all.extend([
            ("state", "present".into()),
            ("comment", "#".into()),
            ("comment_end", "".into()),
            ("label", "vigo".into()),
        ]),
        "ini" => {
            all.extend([("state", "present".into()), ("section", "".into()), ("separator", " = ".into())])
        }
        _ => {}
    }
    let mut d = desired(&all);
    extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
    d
}

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(entries.iter().map(|(k, v)| ((*k).into(), v.clone())).collect())
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|i| Value::from(*i)).collect())
}

fn converge(kind: &str, text: &str, extra: &[(&str, Value)]) -> (Result<Probe, ResourceError>, String) {
    let s = Sandbox::new();
    fs::write(s.path("f"), text).unwrap();
    let d = with(kind, extra);
    let probe = s.converge(kind, &d);
    if probe.is_ok() {
        assert!(s.converge(kind, &d).unwrap().is_clean(), "the second run changes nothing");
    }
    (probe, fs::read_to_string(s.path("f")).unwrap())
}

#[track_caller]
fn becomes(kind: &str, text: &str, extra: &[(&str, Value)], action: &str, new: &str) {
    let (probe, text) = converge(kind, text, extra);
    assert_eq!((probe.unwrap().action().as_str(), text.as_str()), (action, new));
}

#[track_caller]
fn refused(kind: &str, text: &str, extra: &[(&str, Value)], message: &str) {
    let (probe, after) = converge(kind, text, extra);
    let error = probe.unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
    assert_eq!(after, text, "the file is as it was");
}

/// Texts that look like the ones people edit.
fn texts() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "",
        "a",
        "b = 2",
        "# c",
        "[s]",
        "  x: 1",
        "key=value",
        "[t]",
        "; d",
        "é ü",
        "b = 3",
        "flag",
        "# BEGIN q",
        "k : v",
    ]);
    let end = prop::sample::select(vec!["\n", "\r\n"]);
    (prop::collection::vec(line, 0..12), end, any::<bool>()).prop_map(|(lines, end, last)| {
        let text = lines.join(end);
        if last && !text.is_empty() { text + end } else { text }
    })
}
