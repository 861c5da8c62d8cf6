//! `exec`: a command, run when its guards say that it is due.

use super::{Applied, Context, Desired, Executor, Probe, ResourceError};
use crate::command::{self, Command, CommandError};
use std::time::Duration;

/// The type.
pub struct ExecType;

const KNOWN: &[&str] =
    &["command", "shell", "creates", "unless", "only_if", "cwd", "user", "environment", "timeout", "returns"];

impl Executor for ExecType {
    fn key(&self) -> &'static str {
        "command"
    }

    /// Its guards are programs.
    fn waits(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        desired.only("exec", KNOWN)?;
        command(desired, "command", desired.required("command")?)?;
        desired.ints("returns")?;
        if let Some(path) = desired.path("creates")?
            && context.root.follow(&path).is_some()
        {
            return Ok(Probe::clean());
        }
        if guard(context, desired, "unless")? == Some(0) {
            return Ok(Probe::clean());
        }
        if guard(context, desired, "only_if")?.is_some_and(|code| code != 0) {
            return Ok(Probe::clean());
        }
        Ok(Probe::change("ran"))
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let returns = desired.ints("returns")?;
        let ended = run(context, desired, command(desired, "command", desired.required("command")?)?)?;
        if returns.contains(&i64::from(ended.code)) {
            return Ok(Applied::default());
        }
        let returns: Vec<String> = returns.iter().map(i64::to_string).collect();
        Err(ResourceError::Exit {
            what: "the command".to_owned(),
            code: ended.code,
            expected: returns.join(" or "),
            output: ended.output,
        })
    }

    /// A command has no state of its own to look at again, but what it promises to create must be there.
    fn settled(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        match desired.path("creates")? {
            Some(path) if context.root.follow(&path).is_none() => {
                Ok(Probe::change(format!("without {path}, which `creates` names")))
            }
            _ => Ok(Probe::clean()),
        }
    }
}

fn guard(context: &Context<'_>, desired: &Desired, name: &'static str) -> Result<Option<i32>, ResourceError> {
    let Some(line) = desired.text(name)? else { return Ok(None) };
    // A directory that an earlier resource has yet to make: nothing can have been done in it, so the command is due.
    if let Some(cwd) = desired.path("cwd")?
        && context.root.follow(&cwd).is_none()
    {
        return Ok(None);
    }
    let ended = run(context, desired, command(desired, name, line)?)?;
    Ok(Some(ended.code))
}

/// Runs, and hides the output of a command that was given a secret.
fn run(context: &Context<'_>, desired: &Desired, command: Command) -> Result<command::Ended, ResourceError> {
    const HIDDEN: &str = "(output hidden: the command was given a secret)";
    let hide = desired.any_sensitive();
    match command.run(context.root) {
        Ok(ended) if hide => Ok(command::Ended { output: HIDDEN.to_owned(), ..ended }),
        Err(CommandError::TimedOut { limit, .. }) if hide => Err(CommandError::TimedOut {
            program: "the command".to_owned(),
            limit,
            output: HIDDEN.to_owned(),
        }
        .into()),
        Err(CommandError::OutOfTime { .. }) if hide => {
            Err(CommandError::OutOfTime { program: "the command".to_owned() }.into())
        }
        Err(CommandError::Spawn { source, .. }) if hide => {
            Err(CommandError::Spawn { program: "the command".to_owned(), source }.into())
        }
        other => Ok(other?),
    }
}

fn command(desired: &Desired, name: &'static str, line: &str) -> Result<Command, ResourceError> {
    if line.contains('\0') {
        return Err(ResourceError::Invalid { name, why: "holds a NUL character".to_owned() });
    }
    let timeout = desired.duration("timeout")?;
    if timeout < Duration::from_millis(1) {
        return Err(ResourceError::Invalid { name: "timeout", why: "must be more than nothing".to_owned() });
    }
    let argv = if desired.flag("shell")? {
        vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()]
    } else {
        match command::split(line) {
            // The words may be secret; the error must not show them.
            Err(CommandError::Quotes(_)) if desired.any_sensitive() => {
                return Err(ResourceError::Invalid { name, why: "its quotes do not match".to_owned() });
            }
            other => other?,
        }
    };
    let environment = desired.texts("environment")?;
    if environment.iter().any(|(k, v)| k.is_empty() || k.contains(['=', '\0']) || v.contains('\0')) {
        return Err(ResourceError::Invalid {
            name: "environment",
            why: "a name is empty or holds `=`, or something holds a NUL character".to_owned(),
        });
    }
    Ok(Command {
        cwd: desired.path("cwd")?,
        user: desired.text("user")?.map(str::to_owned),
        environment,
        ..Command::new(argv, timeout)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sandbox, desired};
    use super::*;
    use ir::Value;

    fn exec(line: &str, extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[
            ("command", line.into()),
            ("shell", true.into()),
            ("timeout", "20s".into()),
            ("returns", Value::List(vec![Value::Int(0)])),
        ]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    }

    #[test]
    fn guards_decide_whether_it_is_due() {
        let s = Sandbox::new();
        std::fs::write(s.path("there"), "").unwrap();
        let due = |extra: &[(&str, Value)]| !s.probe("exec", &exec("true", extra)).unwrap().is_clean();
        assert!(due(&[]));
        assert!(due(&[("creates", "/missing".into())]));
        assert!(!due(&[("creates", "/there".into())]));
        assert!(due(&[("unless", "false".into())]));
        assert!(!due(&[("unless", "true".into())]));
        assert!(due(&[("only_if", "true".into())]));
        assert!(!due(&[("only_if", "false".into())]));
        assert!(!due(&[("unless", "false".into()), ("only_if", "false".into())]));
    }

    #[test]
    fn where_its_directory_is_not_made_yet_it_is_due_and_fails_only_when_it_has_to_run() {
        let s = Sandbox::new();
        let d = exec("true", &[("cwd", "/later".into()), ("unless", "true".into())]);
        assert!(!s.probe("exec", &d).unwrap().is_clean());
        assert!(s.converge("exec", &d).unwrap_err().to_string().contains("cannot enter /later"));
    }

    #[test]
    fn runs_below_the_root_and_keeps_its_promise() {
        let s = Sandbox::new();
        std::fs::create_dir(s.path("job")).unwrap();
        let d = exec(
            "echo $X > made",
            &[
                ("cwd", "/job".into()),
                ("creates", "/job/made".into()),
                ("environment", Value::Map([("X".into(), "y".into())].into())),
            ],
        );
        assert_eq!(s.converge("exec", &d).unwrap().action(), "ran");
        assert_eq!(std::fs::read(s.path("job/made")).unwrap(), b"y\n");
        assert!(s.converge("exec", &d).unwrap().is_clean());
        let lies = exec("true", &[("creates", "/never".into())]);
        let executor = super::super::executor("exec").unwrap();
        assert!(!executor.settled(&s.context(), &lies).unwrap().is_clean());
    }

    #[test]
    fn a_failure_shows_what_the_command_wrote_unless_it_was_given_a_secret() {
        let s = Sandbox::new();
        let mut d = exec("echo because >&2; echo $T; exit 4", &[]);
        let error = s.converge("exec", &d).unwrap_err().to_string();
        assert_eq!(error, "the command ended with 4, expected 0:\nbecause");
        d.set("environment", Value::Map([("T".into(), "hunter2".into())].into()), true);
        let error = s.converge("exec", &d).unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains("output hidden"), "{error}");
        d.set("returns", Value::List(vec![Value::Int(0), Value::Int(4)]), false);
        s.converge("exec", &d).unwrap();
    }

    #[test]
    fn case_086_words_are_arguments_unless_a_shell_is_asked_for() {
        let s = Sandbox::new();
        let mut d = exec("touch 'a; touch b' -- -rf", &[]);
        d.set("shell", false.into(), false);
        s.converge("exec", &d).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(s.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["-rf", "a; touch b"]);
    }
}
