//! `service`: a unit of systemd, or a service of OpenRC, that runs or does not, now and after a boot.

mod openrc;
mod units;

pub use units::Units;

use super::program::Program;
use super::{Applied, Context, Desired, Executor, Probe, ResourceError};
use crate::command::Answer;
use crate::platform::Init;
use crate::text::{bounded, printable};
use std::borrow::Cow;
use std::time::Duration;

/// The type.
pub struct ServiceType {
    /// Program that talks to systemd; tests have one of their own.
    systemctl: Cow<'static, str>,
}

/// What a host has.
pub static SERVICE: ServiceType = ServiceType { systemctl: Cow::Borrowed("systemctl") };

const KNOWN: &[&str] = &["service", "state", "enabled", "masked", "timeout"];
const STATES: &[&str] = &["running", "stopped", "restarted", "reloaded"];
/// Asking is quick even on a busy host; a manager that does not answer is stuck.
const ASK_LIMIT: Duration = Duration::from_secs(30);
/// What systemd is asked for. A property that an old one does not know is left out of its answer.
const PROPERTIES: &str =
    "--property=Names,LoadState,ActiveState,UnitFileState,NeedDaemonReload,Type,RemainAfterExit";
/// Suffixes of unit names; without one a name is that of a service.
const KINDS: &[&str] = &[
    ".service",
    ".socket",
    ".timer",
    ".path",
    ".target",
    ".mount",
    ".automount",
    ".swap",
    ".slice",
    ".scope",
    ".device",
];
/// As systemd has it.
const LONGEST_NAME: usize = 255;

/// What is declared.
struct Want {
    /// As it was written.
    name: String,
    unit: String,
    state: Option<&'static str>,
    enabled: Option<bool>,
    masked: Option<bool>,
    timeout: Duration,
}

/// What systemd says of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    load: String,
    pub(super) active: String,
    pub(super) file: String,
    pub(super) needs_reload: bool,
    /// A start ends by itself, and leaves nothing that runs.
    passing: bool,
}

/// A call of systemctl, and how the run calls it.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// Verb of systemctl.
    verb: &'static str,
    /// Nothing where it only prepares another one.
    change: &'static str,
}

const fn step(verb: &'static str, change: &'static str) -> Step {
    Step { verb, change }
}

impl Executor for ServiceType {
    fn key(&self) -> &'static str {
        "service"
    }

    fn acts_on_machine(&self) -> bool {
        true
    }

    fn waits(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let want = want(desired)?;
        if context.platform.init == Init::Openrc {
            return openrc::probe(context, &want);
        }
        match self.found(context, &want.unit) {
            Ok(found) => Ok(probe(&steps(&want, &found)?)),
            // A sandbox shows what would become of a host that has systemd.
            Err(ResourceError::NoInit(_)) if !context.root.is_host() => {
                Ok(probe(&steps(&want, &Found::default())?))
            }
            Err(error) => Err(error),
        }
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let want = want(desired)?;
        if context.platform.init == Init::Openrc {
            return openrc::apply(context, &want);
        }
        let found = self.found(context, &want.unit)?;
        if found.load == "not-found" && (starts(&want) || want.enabled == Some(true)) {
            return Err(ResourceError::Invalid {
                name: "service",
                why: format!(
                    "there is no unit `{}` on this host; let the package or file that brings it come first",
                    want.unit
                ),
            });
        }
        if matches!(found.load.as_str(), "error" | "bad-setting") {
            return Err(ResourceError::Invalid {
                name: "service",
                why: format!(
                    "systemd cannot load `{}`; `systemctl status {}` says why",
                    want.unit, want.unit
                ),
            });
        }
        for step in steps(&want, &found)? {
            let mut words = vec![step.verb];
            if step.verb != "daemon-reload" {
                words.extend(["--", &want.unit]);
            }
            let answer = self.program(context, &words).within(want.timeout).ask()?;
            if answer.code != 0 {
                return Err(ResourceError::Exit {
                    what: format!("`systemctl {} {}`", step.verb, want.unit),
                    code: answer.code,
                    expected: "0".to_owned(),
                    output: answer.stdout + &answer.stderr,
                });
            }
        }
        Ok(Applied::default())
    }

    /// A restart or reload is done once it was asked for; whether the service lived through it is looked at.
    fn settled(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let mut want = want(desired)?;
        if context.platform.init == Init::Openrc {
            return openrc::settled(context, want);
        }
        let found = self.found(context, &want.unit)?;
        match want.state {
            Some("restarted") if found.passing && found.active != "failed" => want.state = None,
            Some("restarted") => want.state = Some("running"),
            Some("reloaded") if found.active == "failed" => return Ok(Probe::change("failed")),
            Some("reloaded") => want.state = None,
            Some("running") if found.passing && found.active == "inactive" => {
                return Err(ResourceError::Invalid {
                    name: "state",
                    why: format!(
                        "`{}` is of `Type=oneshot`: it ends by itself and is never `running`; use `restarted` with `when: changed`",
                        want.unit
                    ),
                });
            }
            _ => {}
        }
        let left = steps(&want, &found)?;
        // Without its verbs: what is still to do says little, what is still so says why.
        let mut still = Vec::new();
        for step in left.iter().filter(|step| !step.change.is_empty()) {
            still.push(match step.verb {
                "start" | "stop" => format!("`{}`", printable(&found.active)),
                _ => format!("not {}", step.change),
            });
        }
        Ok(Probe { changes: still, diff: None })
    }
}

impl ServiceType {
    /// systemctl with these words.
    pub(super) fn program<'a>(&self, context: &Context<'a>, words: &[&str]) -> Program<'a> {
        context.program(std::iter::once(&*self.systemctl).chain(words.iter().copied()))
    }

    fn show<'u>(
        &self,
        context: &Context<'_>,
        units: impl Iterator<Item = &'u str>,
    ) -> Result<Answer, ResourceError> {
        let words: Vec<&str> = ["show", "--no-pager", PROPERTIES, "--"].into_iter().chain(units).collect();
        self.program(context, &words).within(ASK_LIMIT).ask()
    }

    /// What systemd says of a unit.
    pub(super) fn found(&self, context: &Context<'_>, unit: &str) -> Result<Found, ResourceError> {
        if context.platform.init == Init::None {
            return Err(ResourceError::NoInit("the trait `os.init` is `none`".to_owned()));
        }
        let together = context.units.found(unit, |units| {
            let answer = self.show(context, units.iter().map(String::as_str)).ok()?;
            (answer.code == 0).then_some(answer.stdout)
        });
        if let Some(found) = together {
            return Ok(found);
        }
        let answer = match self.show(context, std::iter::once(unit)) {
            Err(ResourceError::NoProgram(_)) => {
                return Err(ResourceError::NoInit("there is no `systemctl`".to_owned()));
            }
            other => other?,
        };
        if answer.code == 0 {
            return Ok(read(&answer.stdout));
        }
        // The one failure that has nothing to do with the unit: nobody answers.
        let output = answer.stdout + &answer.stderr;
        let line = output.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let silent = ["not been booted with systemd", "connect to bus", "connect to system scope bus"];
        if silent.iter().any(|text| output.contains(text)) {
            return Err(ResourceError::NoInit(printable(bounded(line, 200))));
        }
        Err(ResourceError::Exit {
            what: format!("`systemctl show {unit}`"),
            code: answer.code,
            expected: "0".to_owned(),
            output,
        })
    }
}

fn want(desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("service", KNOWN)?;
    let flag = |name| desired.value(name).map(|_| desired.flag(name)).transpose();
    let state = desired.value("state").map(|_| desired.word("state", STATES)).transpose()?;
    let name = desired.required("service")?;
    let want = Want {
        unit: unit(name)?,
        name: name.to_owned(),
        state: state.and_then(|state| STATES.iter().find(|known| **known == state)).copied(),
        enabled: flag("enabled")?,
        masked: flag("masked")?,
        timeout: desired.duration("timeout")?,
    };
    if want.masked == Some(true) && (starts(&want) || want.enabled == Some(true)) {
        return Err(ResourceError::Invalid {
            name: "masked",
            why: "a masked service can be neither started nor enabled; declare `state: stopped`".to_owned(),
        });
    }
    Ok(want)
}

fn starts(want: &Want) -> bool {
    matches!(want.state, Some("running" | "restarted"))
}

/// The name with its suffix. Names that systemctl would take for an option or a pattern are refused.
pub(super) fn unit(name: &str) -> Result<String, ResourceError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '.' | '@' | '\\' | '-');
    let whole = match KINDS.iter().any(|kind| name.len() > kind.len() && name.ends_with(kind)) {
        true => name.to_owned(),
        false => format!("{name}.service"),
    };
    if name.is_empty()
        || name.starts_with(['-', '.'])
        || whole.len() > LONGEST_NAME
        || !name.chars().all(allowed)
    {
        return Err(ResourceError::Invalid {
            name: "service",
            why: format!("`{}` is not the name of a unit", printable(bounded(name, 100))),
        });
    }
    Ok(whole)
}

/// Reads `Key=value` lines.
fn read(output: &str) -> Found {
    let mut found = Found::default();
    let (mut kind, mut stays) = ("", false);
    for (key, value) in output.lines().filter_map(|line| line.trim().split_once('=')) {
        match key {
            "LoadState" => found.load = value.to_owned(),
            "ActiveState" => found.active = value.to_owned(),
            "UnitFileState" => found.file = value.to_owned(),
            "NeedDaemonReload" => found.needs_reload = value == "yes",
            "Type" => kind = value,
            "RemainAfterExit" => stays = value == "yes",
            _ => {}
        }
    }
    found.passing = kind == "oneshot" && !stays;
    found
}

fn probe(steps: &[Step]) -> Probe {
    let changes = steps.iter().filter(|step| !step.change.is_empty()).map(|step| step.change.to_owned());
    Probe { changes: changes.collect(), diff: None }
}

/// What has to be asked of systemd, in order.
fn steps(want: &Want, found: &Found) -> Result<Vec<Step>, ResourceError> {
    let mut steps = Vec::new();
    let is_masked = found.load == "masked" || found.file == "masked";
    let active = matches!(found.active.as_str(), "active" | "reloading" | "refreshing");
    let runs = active || matches!(found.active.as_str(), "activating" | "deactivating");

    if want.masked == Some(false) && is_masked {
        steps.push(step("unmask", "unmasked"));
    } else if is_masked && want.masked.is_none() && (starts(want) || want.enabled == Some(true)) {
        return Err(ResourceError::Invalid {
            name: "service",
            why: format!("`{}` is masked; declare `masked: false` if it is meant to run", want.unit),
        });
    }
    if want.state == Some("stopped") && runs {
        steps.push(step("stop", "stopped"));
    }
    let enabled = found.file == "enabled";
    match want.enabled {
        Some(wanted)
            if !is_masked
                && matches!(found.file.as_str(), "static" | "generated" | "transient" | "indirect") =>
        {
            return Err(ResourceError::Invalid {
                name: "enabled",
                why: format!(
                    "`{}` is {}: systemd does not let it be {}; leave `enabled` out",
                    want.unit,
                    found.file,
                    if wanted { "enabled" } else { "disabled" }
                ),
            });
        }
        Some(true) if !enabled => steps.push(step("enable", "enabled")),
        Some(false) if enabled || found.file == "enabled-runtime" => steps.push(step("disable", "disabled")),
        _ => {}
    }
    if want.masked == Some(true) && !is_masked {
        steps.push(step("mask", "masked"));
    }
    match want.state {
        Some("running") if !active => steps.push(step("start", "started")),
        Some("restarted") => steps.push(step("restart", "restarted")),
        // What does not run reads its configuration when it starts.
        Some("reloaded") if runs || found == &Found::default() => {
            steps.push(step("try-reload-or-restart", "reloaded"));
        }
        _ => {}
    }
    // systemd would act on the unit file it remembers.
    if found.needs_reload && !steps.is_empty() {
        steps.insert(0, step("daemon-reload", ""));
    }
    Ok(steps)
}

#[cfg(test)]
mod tests;
