//! `custom`: a program of the author's that says what differs and puts it right. `docs/resources.md` describes what is said.

use super::{Applied, Context, Desired, Diff, Executor, Probe, ResourceError};
use crate::root::{Kind, ManagedPath};
use crate::text::{bounded, printable, printable_lines};
use ir::Value;
use serde_json::{Value as Json, json};
use std::time::Duration;

/// The type.
pub struct CustomType;

const KNOWN: &[&str] = &["custom", "attributes", "user", "timeout"];
/// Of what is said on both sides.
const FORMAT_VERSION: &str = "1.0";
/// Bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;
const MAX_CHANGES: usize = 100;
/// Bytes of one change.
const MAX_CHANGE: usize = 300;

/// What a program answers.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// What differs, or what was done.
    changes: Vec<String>,
    /// How content differs, for people.
    #[serde(default)]
    diff: Option<String>,
}

impl Executor for CustomType {
    fn key(&self) -> &'static str {
        "custom"
    }

    /// Nobody knows what it does.
    fn acts_on_machine(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let path = desired.required_path("custom")?;
        if context.root.follow(&path).is_none() {
            timeout(desired)?;
            // In a dry run another resource may bring it; a real run says that it is missing.
            return Ok(Probe::change("ran"));
        }
        let answer = ask(context, desired, "probe")?;
        if desired.any_sensitive() {
            let changes =
                if answer.changes.is_empty() { Vec::new() } else { vec!["changed (sensitive)".to_owned()] };
            return Ok(Probe { changes, diff: None });
        }
        let changes = answer.changes.iter().map(|change| printable(change)).collect();
        let diff = answer.diff.filter(|_| context.diff);
        let diff = diff.map(|text| Diff { text: printable_lines(&text), added: 0, removed: 0 });
        Ok(Probe { changes, diff })
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        ask(context, desired, "apply")?;
        Ok(Applied::default())
    }
}

fn timeout(desired: &Desired) -> Result<Duration, ResourceError> {
    desired.only("custom", KNOWN)?;
    desired.duration("timeout")
}

fn invalid(why: impl Into<String>) -> ResourceError {
    ResourceError::Invalid { name: "custom", why: why.into() }
}

fn ask(context: &Context<'_>, desired: &Desired, action: &str) -> Result<Answer, ResourceError> {
    let limit = timeout(desired)?;
    let path = desired.required_path("custom")?;
    check(context, &path)?;
    let attributes = desired.map("attributes")?.cloned().unwrap_or_default();
    let attributes = json_of(&Value::Map(attributes)).ok_or(ResourceError::Invalid {
        name: "attributes",
        why: "holds bytes, which JSON does not have".to_owned(),
    })?;
    let request = json!({ "format_version": FORMAT_VERSION, "action": action, "attributes": attributes });
    let program = context.root.path().join(path.parent()).join(path.name());
    let program = context.program([program.to_string_lossy()]).within(limit);
    let program = match desired.text("user")? {
        Some(user) => program.run_as(user),
        None => program,
    };
    let program = match desired.any_sensitive() {
        true => program.given_secret(&request.to_string()),
        false => program.given(&request.to_string()),
    };
    let said = program.run()?.stdout;
    if said.len() > MAX_ANSWER {
        return Err(invalid(format!("its answer to `{action}` has more than {MAX_ANSWER} bytes")));
    }
    let answer: Answer = serde_json::from_str(&said).map_err(|e| {
        invalid(format!(
            "its answer to `{action}` is not `{{\"changes\": [...]}}`: line {}, column {}",
            e.line(),
            e.column()
        ))
    })?;
    let odd = |change: &String| change.trim().is_empty() || change.len() > MAX_CHANGE;
    if answer.changes.len() > MAX_CHANGES || answer.changes.iter().any(odd) {
        return Err(invalid(format!(
            "its answer to `{action}` has more than {MAX_CHANGES} changes, or one that is empty or longer than {MAX_CHANGE} bytes"
        )));
    }
    Ok(answer)
}

/// What runs as root has to be in the hands of root.
fn check(context: &Context<'_>, path: &ManagedPath) -> Result<(), ResourceError> {
    let shown = printable(bounded(&path.to_string(), 200));
    let us = nix::unistd::geteuid().as_raw();
    match context.root.inspect(path)? {
        None => Err(invalid(format!("there is no {shown}; let the `file` that brings it come first"))),
        Some(meta) if meta.kind != Kind::File => {
            Err(invalid(format!("{shown} is {}, not a program", meta.kind.name())))
        }
        Some(meta) if meta.mode & 0o022 != 0 || meta.uid != 0 && meta.uid != us => Err(invalid(format!(
            "others than root can change {shown}; give it to root with the mode \"0755\""
        ))),
        Some(meta) if meta.mode & 0o111 == 0 => {
            Err(invalid(format!("{shown} is not executable; give it the mode \"0755\"")))
        }
        Some(_) => Ok(()),
    }
}

fn json_of(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(bool) => (*bool).into(),
        Value::Int(int) => (*int).into(),
        Value::Float(float) => float.get().into(),
        Value::Str(text) => (&**text).into(),
        Value::List(items) => Json::Array(items.iter().map(json_of).collect::<Option<_>>()?),
        Value::Map(map) => {
            Json::Object(map.iter().map(|(k, v)| Some((k.to_string(), json_of(v)?))).collect::<Option<_>>()?)
        }
        Value::Bytes(_) | Value::Secret(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sandbox, desired};
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn script(s: &Sandbox, text: &str) {
        let all = format!("#!/bin/sh\nset -e\nstate={}\n{text}", s.path("state").display());
        fs::write(s.path("source"), all).unwrap();
        // By another process: a program that a fork of ours holds open for writing cannot be run.
        let copied = std::process::Command::new("cp").args([s.path("source"), s.path("custom")]).status();
        assert!(copied.unwrap().success());
        fs::set_permissions(s.path("custom"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn custom(extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[("custom", "/custom".into()), ("timeout", "20s".into())]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    }

    /// Keeps the attribute `want` in a file.
    const KEEPER: &str = r#"
request=$(cat)
want=$(printf '%s' "$request" | sed 's/.*"want":"\([^"]*\)".*/\1/')
case "$request" in *'"action":"apply"'*) printf %s "$want" > "$state"; echo '{"changes": ["written"]}'; exit;; esac
if [ "$(cat "$state" 2>/dev/null)" = "$want" ]; then echo '{"changes": []}'; else echo '{"changes": ["set to '"$want"'"], "diff": "+'"$want"'"}'; fi
"#;

    #[test]
    fn a_program_says_what_differs_and_puts_it_right() {
        let s = Sandbox::new();
        assert_eq!(s.probe("custom", &custom(&[])).unwrap().action(), "ran", "another resource may bring it");
        script(&s, KEEPER);
        let d = custom(&[(
            "attributes",
            Value::Map([("want".into(), "x".into()), ("n".into(), Value::Int(1))].into()),
        )]);
        let probe = s.converge("custom", &d).unwrap();
        assert_eq!((probe.action().as_str(), probe.diff.unwrap().text.as_str()), ("set to x", "+x"));
        assert_eq!(fs::read(s.path("state")).unwrap(), b"x");
        assert!(s.converge("custom", &d).unwrap().is_clean());
        fs::write(s.path("state"), "drift").unwrap();
        assert_eq!(s.converge("custom", &d).unwrap().action(), "set to x");
    }

    #[test]
    fn a_secret_is_given_and_never_shown() {
        let s = Sandbox::new();
        script(&s, KEEPER);
        let mut d = custom(&[]);
        d.set("attributes", Value::Map([("want".into(), "hunter2".into())].into()), true);
        let probe = s.converge("custom", &d).unwrap();
        assert_eq!(probe.action(), "changed (sensitive)");
        assert!(probe.diff.is_none());
        script(&s, "cat; cat >&2; exit 3");
        let error = s.converge("custom", &d).unwrap_err().to_string();
        assert!(error.contains("output hidden") && !error.contains("hunter2"), "{error}");
        script(&s, "cat");
        let error = s.converge("custom", &d).unwrap_err().to_string();
        assert!(error.contains("is not `{\"changes\"") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        let s = Sandbox::new();
        for (text, message) in [
            ("echo no", "its answer to `probe` is not"),
            ("true", "is not `{\"changes\""),
            ("echo '{\"changes\": [], \"x\": 1}'", "is not `{\"changes\""),
            ("echo '{\"changes\": [\"\"]}'", "one that is empty"),
            ("echo '{\"changes\": [1]}'", "is not"),
            ("head -c 100000 /dev/zero", "more than 65536 bytes"),
            ("head -c 9000000 /dev/zero", "wrote more than 8192 KiB"),
            ("echo because >&2; exit 3", "ended with 3, expected 0:\nbecause"),
            (
                "yes '\"a\",' | head -n 200 | (printf '{\"changes\": ['; cat; echo '\"a\"]}')",
                "more than 100 changes",
            ),
        ] {
            script(&s, text);
            let error = s.converge("custom", &custom(&[])).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
        script(&s, "printf '{\"changes\": [\"a\\\\u001b[31m\"]}'");
        assert_eq!(s.probe("custom", &custom(&[])).unwrap().action(), "a\\u{1b}[31m");
        script(&s, "sleep 30");
        let error = s.probe("custom", &custom(&[("timeout", "200ms".into())])).unwrap_err().to_string();
        assert!(error.contains("was stopped after 200 ms"), "{error}");
    }

    #[test]
    fn case_082_only_a_program_in_the_hands_of_root_is_run() {
        let s = Sandbox::new();
        script(&s, "echo '{\"changes\": []}'");
        for (mode, message) in
            [(0o775, "others than root"), (0o757, "others than root"), (0o644, "not executable")]
        {
            fs::set_permissions(s.path("custom"), fs::Permissions::from_mode(mode)).unwrap();
            let error = s.probe("custom", &custom(&[])).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        fs::rename(s.path("custom"), s.path("other")).unwrap();
        std::os::unix::fs::symlink("other", s.path("custom")).unwrap();
        assert!(s.probe("custom", &custom(&[])).unwrap_err().to_string().contains("is a symlink"));
        let s = Sandbox::new();
        assert!(s.converge("custom", &custom(&[])).unwrap_err().to_string().contains("there is no /custom"));
    }
}
