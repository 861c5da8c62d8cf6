//! Services of OpenRC.

use super::{Want, starts};
use crate::resource::{Applied, Context, Probe, ResourceError};

/// What OpenRC says of a service.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    exists: bool,
    runs: bool,
    /// In any runlevel.
    enabled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Enable,
    Disable,
    Start,
    Stop,
    Restart,
    Reload,
}

impl Step {
    fn change(self) -> &'static str {
        match self {
            Step::Enable => "enabled",
            Step::Disable => "disabled",
            Step::Start => "started",
            Step::Stop => "stopped",
            Step::Restart => "restarted",
            Step::Reload => "reloaded",
        }
    }
}

pub(super) fn probe(context: &Context<'_>, want: &Want) -> Result<Probe, ResourceError> {
    let name = service(want)?;
    let found = match found(context, name) {
        // A sandbox shows what would become of a host that has OpenRC.
        Err(ResourceError::NoProgram(_)) if !context.root.is_host() => Found::default(),
        other => other?,
    };
    Ok(said(&steps(want, &found)))
}

pub(super) fn apply(context: &Context<'_>, want: &Want) -> Result<Applied, ResourceError> {
    let name = service(want)?;
    let found = found(context, name)?;
    if !found.exists && (starts(want) || want.enabled == Some(true)) {
        return Err(ResourceError::Invalid {
            name: "service",
            why: format!(
                "there is no service `{name}` on this host; let the package or file that brings it come first"
            ),
        });
    }
    for step in steps(want, &found) {
        let call = |words: &[&str]| context.program(words.iter().copied()).within(want.timeout);
        match step {
            Step::Enable => call(&["rc-update", "add", name, "default"]).run()?,
            Step::Disable => call(&["rc-update", "--all", "del", name]).run()?,
            Step::Start => call(&["rc-service", name, "start"]).run()?,
            Step::Stop => call(&["rc-service", name, "stop"]).run()?,
            Step::Restart => call(&["rc-service", name, "restart"]).run()?,
            Step::Reload => match call(&["rc-service", name, "reload"]).ask()? {
                answer if answer.code == 0 => answer,
                // Not every service can.
                _ => call(&["rc-service", name, "restart"]).run()?,
            },
        };
    }
    Ok(Applied::default())
}

/// A restart or reload is done once it was asked for; whether the service lived through it is looked at.
pub(super) fn settled(context: &Context<'_>, mut want: Want) -> Result<Probe, ResourceError> {
    match want.state {
        Some("restarted") => want.state = Some("running"),
        Some("reloaded") => want.state = None,
        _ => {}
    }
    let left = steps(&want, &found(context, service(&want)?)?);
    Ok(Probe { changes: left.iter().map(|step| format!("not {}", step.change())).collect(), diff: None })
}

/// The name as OpenRC has it. There are only services, and nothing that masks them.
fn service(want: &Want) -> Result<&str, ResourceError> {
    let name = want.name.strip_suffix(".service").unwrap_or(&want.name);
    let whole = format!("{name}.service");
    if whole != want.unit || name.contains(['\\', ':']) {
        return Err(ResourceError::Invalid {
            name: "service",
            why: format!("`{name}` is not a service of OpenRC"),
        });
    }
    if want.masked == Some(true) {
        return Err(ResourceError::Unsupported {
            kind: "service",
            why: "OpenRC masks no services; declare `state: stopped` and `enabled: false`".to_owned(),
        });
    }
    Ok(name)
}

fn found(context: &Context<'_>, name: &str) -> Result<Found, ResourceError> {
    if context.program(["rc-service", "--exists", name]).ask()?.code != 0 {
        return Ok(Found::default());
    }
    // 0 is started, 8 starting, 16 inactive: waiting for something; 3 stopped, 32 crashed.
    let code = context.program(["rc-service", name, "status"]).ask()?.code;
    let levels = context.program(["rc-update", "show"]).run()?.stdout;
    let enabled = levels.lines().any(|line| line.split('|').next().is_some_and(|first| first.trim() == name));
    Ok(Found { exists: true, runs: matches!(code, 0 | 8 | 16), enabled })
}

fn said(steps: &[Step]) -> Probe {
    Probe { changes: steps.iter().map(|step| step.change().to_owned()).collect(), diff: None }
}

fn steps(want: &Want, found: &Found) -> Vec<Step> {
    let mut steps = Vec::new();
    if want.state == Some("stopped") && found.runs {
        steps.push(Step::Stop);
    }
    match want.enabled {
        Some(true) if !found.enabled => steps.push(Step::Enable),
        Some(false) if found.enabled => steps.push(Step::Disable),
        _ => {}
    }
    match want.state {
        Some("running") if !found.runs => steps.push(Step::Start),
        Some("restarted") => steps.push(Step::Restart),
        // What does not run reads its configuration when it starts.
        Some("reloaded") if found.runs => steps.push(Step::Reload),
        _ => {}
    }
    steps
}
