//! `container`: a container of Docker or Podman.
//!
//! How it was made stands in a label, as a hash of the declaration. Its environment may hold secrets: it is not in the hash,
//! but compared with what the container has, and given to the runtime in a way that no list of processes shows.

use super::stepwise::{Stepwise, StepwiseType};
use super::{Context, Desired, ResourceError};
use crate::text::{bounded, printable};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// The type.
pub type ContainerType = StepwiseType<Container>;

/// See [`ContainerType`].
pub struct Container;

const KNOWN: &[&str] = &[
    "container",
    "state",
    "image",
    "runtime",
    "command",
    "ports",
    "volumes",
    "environment",
    "network",
    "user",
    "restart",
    "timeout",
];
const LABEL: &str = "vigo.declared";

/// What is declared.
pub struct Want {
    name: String,
    state: &'static str,
    runtime: &'static str,
    image: String,
    /// Options of `create`, without the environment.
    options: Vec<String>,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    hash: String,
    timeout: Duration,
}

/// What the runtime says.
pub struct Found {
    runs: bool,
    hash: Option<String>,
    environment: Vec<String>,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Fetch,
    Remove,
    Create,
    Recreate,
    Start,
    Stop,
}

impl Stepwise for Container {
    const KEY: &'static str = "container";
    const WAITS: bool = true;
    type Want = Want;
    /// Nothing where there is no such container.
    type Found = Option<Found>;
    type Step = Step;

    fn want(desired: &Desired) -> Result<Want, ResourceError> {
        want(desired)
    }

    fn look(context: &Context<'_>, want: &Want) -> Result<Option<Found>, ResourceError> {
        found(context, want)
    }

    fn unseen(_want: &Want) -> Option<Option<Found>> {
        Some(None)
    }

    fn steps(want: &Want, found: &Option<Found>) -> Result<Vec<Step>, ResourceError> {
        Ok(steps(want, found.as_ref()))
    }

    fn said(_want: &Want, step: Step) -> Option<&'static str> {
        match step {
            Step::Fetch => None,
            Step::Remove => Some("removed"),
            Step::Create => Some("created"),
            Step::Recreate => Some("made anew"),
            Step::Start => Some("started"),
            Step::Stop => Some("stopped"),
        }
    }

    fn take(context: &Context<'_>, want: &Want, step: Step) -> Result<(), ResourceError> {
        let program = |words: &[&str]| {
            let all = std::iter::once(want.runtime).chain(words.iter().copied());
            context.program(all).within(want.timeout)
        };
        let call = |words: &[&str]| program(words).run().map(drop);
        match step {
            // Before the old one goes: an image that cannot be had is no reason to be without a container.
            Step::Fetch
                if program(&["image", "inspect", "--format", "{{.Id}}", &want.image]).ask()?.code == 0 =>
            {
                Ok(())
            }
            Step::Fetch => call(&["pull", "--quiet", &want.image]),
            Step::Remove => call(&["rm", "--force", &want.name]),
            Step::Create => create(context, want),
            Step::Recreate => {
                call(&["rm", "--force", &want.name])?;
                create(context, want)
            }
            Step::Start => call(&["start", &want.name]),
            Step::Stop => call(&["stop", &want.name]),
        }
    }
}

fn create(context: &Context<'_>, want: &Want) -> Result<(), ResourceError> {
    let label = format!("{LABEL}={}", want.hash);
    let mut words: Vec<String> =
        [want.runtime, "create", "--name", &want.name, "--label", &label].map(str::to_owned).into();
    words.extend(want.options.iter().cloned());
    let mut environment = String::new();
    for (name, value) in &want.environment {
        environment.push_str(&format!("{name}={value}\n"));
    }
    if !environment.is_empty() {
        words.extend(["--env-file".to_owned(), "/dev/stdin".to_owned()]);
    }
    words.push(want.image.clone());
    words.extend(want.command.iter().cloned());
    let program = context.program(words).within(want.timeout).showing(4);
    let program = if environment.is_empty() { program } else { program.given_secret(&environment) };
    program.run().map(drop)
}

fn steps(want: &Want, found: Option<&Found>) -> Vec<Step> {
    let Some(found) = found else {
        return match want.state {
            "absent" => vec![],
            "stopped" => vec![Step::Fetch, Step::Create],
            _ => vec![Step::Fetch, Step::Create, Step::Start],
        };
    };
    if want.state == "absent" {
        return vec![Step::Remove];
    }
    let runs = want.state == "running";
    let has = |(name, value): (&String, &String)| {
        found.environment.iter().any(|line| *line == format!("{name}={value}"))
    };
    if found.hash.as_ref() != Some(&want.hash) || !want.environment.iter().all(has) {
        let mut steps = vec![Step::Fetch, Step::Recreate];
        if runs {
            steps.push(Step::Start);
        }
        return steps;
    }
    match (runs, found.runs) {
        (true, false) => vec![Step::Start],
        (false, true) => vec![Step::Stop],
        _ => vec![],
    }
}

fn found(context: &Context<'_>, want: &Want) -> Result<Option<Found>, ResourceError> {
    let program = context.program([
        want.runtime,
        "inspect",
        "--type",
        "container",
        "--format",
        "{{json .}}",
        &want.name,
    ]);
    let answer = program.ask()?;
    if answer.code != 0 {
        let text = answer.stderr.to_lowercase();
        if text.contains("no such container") || text.contains("no such object") {
            return Ok(None);
        }
        return Err(program.failed(answer));
    }
    let json: Json =
        serde_json::from_str(answer.stdout.trim()).map_err(|error| ResourceError::Unsupported {
            kind: "container",
            why: format!("`{} inspect` gave an answer that cannot be read: {error}", want.runtime),
        })?;
    let at = |path: &str| json.pointer(path);
    let strings = |value: Option<&Json>| {
        let all = value.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter_map(Json::as_str).map(str::to_owned).collect()
    };
    Ok(Some(Found {
        runs: at("/State/Running").and_then(Json::as_bool).unwrap_or(false),
        hash: at("/Config/Labels").and_then(|labels| labels.get(LABEL)?.as_str()).map(str::to_owned),
        environment: strings(at("/Config/Env")),
    }))
}

fn invalid(name: &'static str, why: impl Into<String>) -> ResourceError {
    ResourceError::Invalid { name, why: why.into() }
}

/// A word that is no option and has no blank in it.
fn word(name: &'static str, text: &str) -> Result<String, ResourceError> {
    let good = !text.is_empty()
        && !text.starts_with('-')
        && text.len() <= 500
        && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if good {
        return Ok(text.to_owned());
    }
    Err(invalid(name, format!("`{}` cannot be used here", printable(bounded(text, 100)))))
}

fn want(desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("container", KNOWN)?;
    let name = desired.required("container")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || name.len() > 100
        || !name.chars().all(allowed)
    {
        let shown = printable(bounded(name, 100));
        return Err(invalid("container", format!("`{shown}` is not the name of a container")));
    }
    let state = desired.word("state", &["running", "stopped", "absent"])?;
    let image = match state {
        "absent" => String::new(),
        _ => word("image", desired.required("image")?)?,
    };
    let list = |name: &'static str| -> Result<Vec<String>, ResourceError> {
        desired.strings(name)?.unwrap_or_default().into_iter().map(|text| word(name, text)).collect()
    };
    let mut options: Vec<String> = Vec::new();
    for port in list("ports")? {
        options.extend(["--publish".to_owned(), port]);
    }
    for volume in list("volumes")? {
        options.extend(["--volume".to_owned(), volume]);
    }
    for (flag, attribute) in [("--network", "network"), ("--user", "user")] {
        if let Some(text) = desired.text(attribute)? {
            options.extend([flag.to_owned(), word(attribute, text)?]);
        }
    }
    let restart = desired.word("restart", &["no", "on-failure", "always", "unless-stopped"])?;
    options.extend(["--restart".to_owned(), restart.to_owned()]);
    let command = desired.strings("command")?.unwrap_or_default();
    if command.iter().any(|word| word.contains('\0')) {
        return Err(invalid("command", "holds a NUL character"));
    }
    let command: Vec<String> = command.into_iter().map(str::to_owned).collect();
    let environment = desired.texts("environment")?;
    let bad = |(name, value): (&String, &String)| {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        name.is_empty() || !plain || value.chars().any(|c| matches!(c, '\n' | '\r' | '\0'))
    };
    if environment.iter().any(bad) {
        return Err(invalid(
            "environment",
            "a name has something else than letters, digits and `_`, or a value has a line break",
        ));
    }
    let mut hasher = Sha256::new();
    let names: Vec<String> = environment.keys().cloned().collect();
    for part in [std::slice::from_ref(&image), &options, &command, &names] {
        for word in part {
            hasher.update((word.len() as u64).to_be_bytes());
            hasher.update(word);
        }
        hasher.update(u64::MAX.to_be_bytes());
    }
    let hash = hasher.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect();
    Ok(Want {
        name: name.to_owned(),
        state,
        runtime: desired.word("runtime", &["docker", "podman"])?,
        image,
        options,
        command,
        environment,
        hash,
        timeout: desired.duration("timeout")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;
    use ir::Value;

    const TYPE: ContainerType = ContainerType::new();

    /// Docker that keeps the containers it is asked for as the JSON that it would print.
    fn machine() -> Machine {
        let m = Machine::new();
        std::fs::create_dir(m.sandbox.path("c")).unwrap();
        m.program(
            "docker",
            r#"
for last in "$@"; do :; done
if [ "$1" = inspect ]; then
  [ -e "$here/down" ] && { echo 'Cannot connect to the Docker daemon' >&2; exit 1; }
  [ -e "$here/c/$last" ] || { echo "Error: No such container: $last" >&2; exit 1; }
  cat "$here/c/$last"; exit
fi
[ "$1" = image ] && { [ -e "$here/image" ]; exit; }
asked "$@"
case $1 in
  pull) : > "$here/image" ;;
  rm) rm "$here/c/$last" ;;
  create) name=$3; label=${5#*=}; env=
    case "$*" in *--env-file*) env=$(sed 's/.*/"&"/' | paste -sd,) ;; esac
    printf '{"State":{"Running":false},"Config":{"Labels":{"vigo.declared":"%s"},"Env":["PATH=/bin"%s]}}' "$label" "${env:+,$env}" > "$here/c/$name" ;;
  start) sed -i 's/"Running":false/"Running":true/' "$here/c/$last" ;;
  stop) sed -i 's/"Running":true/"Running":false/' "$here/c/$last" ;;
esac
"#,
        );
        m
    }

    fn container(extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[
            ("container", "cache".into()),
            ("state", "running".into()),
            ("image", "docker.io/library/redis:7".into()),
            ("runtime", "docker".into()),
            ("ports", Value::List(vec!["127.0.0.1:6379:6379".into()])),
            ("command", Value::List(vec!["redis-server".into(), "--save".into(), "".into()])),
            ("restart", "unless-stopped".into()),
            ("timeout", "20s".into()),
        ]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), *name == "environment"));
        d
    }

    fn variables(value: &str) -> (&'static str, Value) {
        ("environment", Value::Map([("TOKEN".into(), value.into())].into()))
    }

    #[test]
    fn fetched_created_started_once_and_again_after_drift() {
        let m = machine();
        let d = container(&[]);
        let (said, asked) = m.converge(&TYPE, &d).unwrap();
        assert_eq!(said, "created, started");
        assert_eq!(asked[0], "docker pull --quiet docker.io/library/redis:7");
        assert!(
            asked[1].ends_with("--publish 127.0.0.1:6379:6379 --restart unless-stopped docker.io/library/redis:7 redis-server --save "),
            "{}",
            asked[1]
        );
        assert_eq!(asked[2], "docker start cache");
        assert_eq!(m.converge(&TYPE, &d).unwrap(), (String::new(), vec![]));
        let stopped = m.read("c/cache").replace("true", "false");
        m.write("c/cache", &stopped);
        assert_eq!(m.settles(&TYPE, &d), "started");
        assert_eq!(m.settles(&TYPE, &container(&[("state", "stopped".into())])), "stopped");
        assert_eq!(m.settles(&TYPE, &container(&[("state", "absent".into())])), "removed");
    }

    #[test]
    fn another_declaration_makes_it_anew() {
        let m = machine();
        m.settles(&TYPE, &container(&[]));
        let d = container(&[("volumes", Value::List(vec!["data:/data".into()]))]);
        assert_eq!(m.settles(&TYPE, &d), "made anew, started");
        m.write("c/cache", "{\"State\":{\"Running\":true},\"Config\":{\"Labels\":null,\"Env\":null}}");
        assert_eq!(m.settles(&TYPE, &d), "made anew, started");
    }

    #[test]
    fn a_secret_in_the_environment_is_in_no_argument_no_label_and_no_error() {
        let m = machine();
        let d = container(&[variables("hunter2")]);
        let (_, asked) = m.converge(&TYPE, &d).unwrap();
        assert!(!asked.join(" ").contains("hunter2"), "{asked:?}");
        assert!(m.read("c/cache").contains("TOKEN=hunter2"));
        assert_eq!(m.converge(&TYPE, &d).unwrap().0, "");
        let other = container(&[variables("hunter3")]);
        assert_eq!(want(&d).unwrap().hash, want(&other).unwrap().hash);
        assert_eq!(m.settles(&TYPE, &other), "made anew, started");
        m.program("docker", "case $1 in inspect) echo 'Error: No such container: x' >&2 ;; image) exit 0 ;; *) cat >&2 ;; esac; exit 1");
        let error = m.refuses(&TYPE, &d);
        assert!(
            error.contains("`docker create --name cache ...` ended with 1") && !error.contains("hunter"),
            "{error}"
        );
    }

    #[test]
    fn what_the_runtime_says_is_not_taken_for_an_empty_host() {
        let m = machine();
        m.write("down", "");
        assert!(m.refuses(&TYPE, &container(&[])).contains("Cannot connect to the Docker daemon"));
        std::fs::remove_file(m.sandbox.path("down")).unwrap();
        m.write("c/cache", "no json");
        assert!(m.refuses(&TYPE, &container(&[])).contains("cannot be read"));
    }

    #[test]
    fn case_086_nothing_becomes_an_option() {
        let m = machine();
        let one = |text: &str| Value::List(vec![text.into()]);
        for (name, value, why) in [
            ("container", "--rm".into(), "is not the name of a container"),
            ("container", "a b".into(), "is not the name of a container"),
            ("image", "--privileged".into(), "cannot be used here"),
            ("image", "a b".into(), "cannot be used here"),
            ("ports", one("--privileged"), "cannot be used here"),
            ("volumes", one("a\nb"), "cannot be used here"),
            ("network", "-x".into(), "cannot be used here"),
            ("user", "".into(), "cannot be used here"),
            ("environment", Value::Map([("A".into(), "x\nB=y".into())].into()), "a value has a line break"),
            ("environment", Value::Map([("A=B".into(), "x".into())].into()), "a name has something else"),
        ] {
            let error = m.refuses(&TYPE, &container(&[(name, value)]));
            assert!(error.contains(why), "{name}: {error}");
        }
    }
}
