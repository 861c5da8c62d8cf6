//! `systemd_unit`: a unit file or a drop-in, known to systemd, and the unit enabled and running if that is declared.

use super::config_file::{ConfigFile, fragment_name};
use super::service::{Found, SERVICE, unit};
use super::{Applied, Context, Desired, Executor, Probe, ResourceError};
use crate::platform::Init;
use crate::text::{bounded, printable};
use std::time::Duration;

/// The type.
pub struct SystemdUnitType;

const KNOWN: &[&str] = &["systemd_unit", "drop_in", "state", "content", "enabled", "running", "timeout"];
const DIRECTORY: &str = "/etc/systemd/system";

struct Want {
    unit: String,
    is_drop_in: bool,
    file: ConfigFile,
    present: bool,
    enabled: Option<bool>,
    running: Option<bool>,
    timeout: Duration,
}

/// A verb of systemctl, whether it takes the unit, and the change in words; no words where it only prepares another one.
struct Step {
    verb: &'static str,
    change: &'static str,
}

impl Executor for SystemdUnitType {
    fn key(&self) -> &'static str {
        "systemd_unit"
    }

    fn acts_on_machine(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let want = want(context, desired)?;
        let mut probe = want.file.probe(context, if want.is_drop_in { "drop-in" } else { "unit file" })?;
        let found = found(context, &want)?;
        let (first, last) = steps(&want, found.as_ref(), !probe.is_clean());
        let said = |steps: &[Step]| {
            steps
                .iter()
                .filter(|step| !step.change.is_empty())
                .map(|step| step.change.to_owned())
                .collect::<Vec<_>>()
        };
        let mut changes = said(&first);
        changes.append(&mut probe.changes);
        changes.extend(said(&last));
        Ok(Probe { changes, diff: probe.diff })
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let want = want(context, desired)?;
        let dirty = !want.file.probe(context, "unit file")?.is_clean();
        let (first, last) = steps(&want, found(context, &want)?.as_ref(), dirty);
        for step in first {
            run(context, &want, &step)?;
        }
        want.file.write(context)?;
        for step in last {
            run(context, &want, &step)?;
        }
        Ok(Applied::default())
    }
}

fn run(context: &Context<'_>, want: &Want, step: &Step) -> Result<(), ResourceError> {
    let mut words = vec![step.verb];
    if step.verb != "daemon-reload" {
        words.extend(["--", &want.unit]);
    }
    SERVICE.program(context, &words).within(want.timeout).run().map(drop)
}

fn want(context: &Context<'_>, desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("systemd_unit", KNOWN)?;
    let name = desired.required("systemd_unit")?;
    let invalid = |name, why: String| ResourceError::Invalid { name, why };
    let whole = unit(name).ok().filter(|whole| whole == name).ok_or_else(|| {
        let shown = printable(bounded(name, 100));
        invalid(
            "systemd_unit",
            format!("`{shown}` is not the name of a unit with its suffix, such as `backup.timer`"),
        )
    })?;
    let drop_in = desired.text("drop_in")?.map(|text| fragment_name("drop_in", text)).transpose()?;
    let path = match &drop_in {
        Some(drop_in) => format!("{DIRECTORY}/{whole}.d/{drop_in}.conf"),
        None => format!("{DIRECTORY}/{whole}"),
    };
    let present = desired.word("state", &["present", "absent"])? == "present";
    let (enabled, running) = (desired.choice("enabled")?, desired.choice("running")?);
    if drop_in.is_some() && (enabled.is_some() || running.is_some()) {
        return Err(invalid("drop_in", "cannot be given together with `enabled` or `running`".to_owned()));
    }
    if !present && (enabled == Some(true) || running == Some(true)) {
        return Err(invalid("state", "a unit whose file is absent neither runs nor starts".to_owned()));
    }
    if context.platform.init != Init::Systemd
        && context.root.is_host()
        && (enabled.is_some() || running.is_some())
    {
        return Err(ResourceError::NoInit("`enabled` and `running` need systemd at work".to_owned()));
    }
    let file = match present {
        true => {
            let sensitive = desired.is_sensitive("content");
            let mode = if sensitive { 0o600 } else { 0o644 };
            ConfigFile::with(&path, desired.required("content")?)?.mode(mode).sensitive(sensitive)
        }
        false => ConfigFile::absent(&path)?,
    };
    Ok(Want {
        unit: whole,
        is_drop_in: drop_in.is_some(),
        file,
        present,
        enabled,
        running,
        timeout: desired.duration("timeout")?,
    })
}

/// `None` where no systemd is at work: then there is nobody to tell.
fn found(context: &Context<'_>, want: &Want) -> Result<Option<Found>, ResourceError> {
    match SERVICE.found(context, &want.unit) {
        Ok(found) => Ok(Some(found)),
        Err(ResourceError::NoInit(_))
            if context.platform.init != Init::Systemd || !context.root.is_host() =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What is asked of systemd before the file changes, and after.
fn steps(want: &Want, found: Option<&Found>, dirty: bool) -> (Vec<Step>, Vec<Step>) {
    let (mut first, mut last) = (Vec::new(), Vec::new());
    let step = |verb, change| Step { verb, change };
    let Some(found) = found else {
        // A sandbox shows what would become of a host with systemd.
        if want.enabled == Some(true) {
            last.push(step("enable", "enabled"));
        }
        if want.running == Some(true) {
            last.push(step("start", "started"));
        }
        return (first, last);
    };
    let runs = matches!(found.active.as_str(), "active" | "reloading" | "refreshing" | "activating");
    let enabled = found.file == "enabled";
    if !want.present {
        if !want.is_drop_in && dirty {
            if runs {
                first.push(step("stop", "stopped"));
            }
            if enabled {
                first.push(step("disable", "disabled"));
            }
        }
        if dirty {
            last.push(step("daemon-reload", ""));
        }
        return (first, last);
    }
    if dirty {
        last.push(step("daemon-reload", ""));
    } else if found.needs_reload {
        // Somebody died between the file and the telling.
        last.push(step("daemon-reload", "read anew"));
    }
    match want.enabled {
        Some(true) if !enabled => last.push(step("enable", "enabled")),
        Some(false) if enabled || found.file == "enabled-runtime" => last.push(step("disable", "disabled")),
        _ => {}
    }
    match want.running {
        Some(true) if !runs => last.push(step("start", "started")),
        Some(false) if runs => last.push(step("stop", "stopped")),
        _ => {}
    }
    (first, last)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;
    use ir::Value;

    const TYPE: SystemdUnitType = SystemdUnitType;

    /// systemd that knows one unit: its state is in files, and it asks to be reloaded until it is.
    fn machine() -> Machine {
        let m = Machine::new();
        m.program(
            "systemctl",
            r#"
if [ "$1" = show ]; then
  for u in "$@"; do :; done
  [ -e "$here/etc/systemd/system/$u" ] && load=loaded || load=not-found
  printf 'LoadState=%s\nActiveState=%s\nUnitFileState=%s\nNeedDaemonReload=%s\nType=simple\n' $load \
    "$(cat "$here/active" 2>/dev/null || echo inactive)" "$(cat "$here/enabled" 2>/dev/null || echo disabled)" \
    "$([ -e "$here/stale" ] && echo yes || echo no)"
  exit
fi
asked "$@"
case $1 in daemon-reload) rm -f "$here/stale" ;; enable) echo enabled > "$here/enabled" ;; disable) rm "$here/enabled" ;;
  start) echo active > "$here/active" ;; stop) rm "$here/active" ;; esac
"#,
        );
        m
    }

    fn timer(extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[
            ("systemd_unit", "backup.timer".into()),
            ("state", "present".into()),
            ("content", "[Timer]\nOnCalendar=02:30\n".into()),
            ("timeout", "20s".into()),
        ]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    }

    #[test]
    fn written_read_enabled_and_started_once_and_repaired() {
        let m = machine();
        let d = timer(&[("enabled", true.into()), ("running", true.into())]);
        let (said, asked) = m.converge(&TYPE, &d).unwrap();
        assert_eq!(said, "unit file created, enabled, started");
        assert_eq!(
            asked,
            [
                "systemctl daemon-reload",
                "systemctl enable -- backup.timer",
                "systemctl start -- backup.timer"
            ]
        );
        assert_eq!(m.converge(&TYPE, &d).unwrap(), (String::new(), vec![]));
        m.write("etc/systemd/system/backup.timer", "[Timer]\nOnCalendar=03:30\n");
        std::fs::remove_file(m.sandbox.path("active")).unwrap();
        assert_eq!(m.settles(&TYPE, &d), "unit file changed, started");
        m.write("stale", "");
        assert_eq!(m.settles(&TYPE, &d), "read anew");
        let off = timer(&[("enabled", false.into()), ("running", false.into())]);
        assert_eq!(m.settles(&TYPE, &off), "disabled, stopped");
    }

    #[test]
    fn a_unit_is_stopped_and_disabled_before_its_file_goes() {
        let m = machine();
        m.settles(&TYPE, &timer(&[("enabled", true.into()), ("running", true.into())]));
        let (said, asked) = m.converge(&TYPE, &timer(&[("state", "absent".into())])).unwrap();
        assert_eq!(said, "stopped, disabled, unit file removed");
        assert_eq!(
            asked,
            [
                "systemctl stop -- backup.timer",
                "systemctl disable -- backup.timer",
                "systemctl daemon-reload"
            ]
        );
        assert_eq!(m.converge(&TYPE, &timer(&[("state", "absent".into())])).unwrap().0, "");
    }

    #[test]
    fn a_drop_in_is_a_file_of_its_own() {
        let m = machine();
        let d = timer(&[("drop_in", "later".into())]);
        assert_eq!(m.settles(&TYPE, &d), "drop-in created");
        assert_eq!(m.read("etc/systemd/system/backup.timer.d/later.conf"), "[Timer]\nOnCalendar=02:30\n");
        assert_eq!(
            m.settles(&TYPE, &timer(&[("drop_in", "later".into()), ("state", "absent".into())])),
            "drop-in removed"
        );
        assert!(
            m.refuses(&TYPE, &timer(&[("drop_in", "x".into()), ("enabled", true.into())]))
                .contains("together with")
        );
    }

    #[test]
    fn without_systemd_the_file_is_all() {
        let mut m = machine();
        m.sandbox.platform.init = Init::None;
        let (said, asked) = m.converge(&TYPE, &timer(&[])).unwrap();
        assert_eq!((said.as_str(), asked), ("unit file created", vec![]));
    }

    #[test]
    fn case_086_a_unit_has_its_suffix_and_stays_in_its_directory() {
        let m = machine();
        for bad in ["", "backup", "../x.service", "-x.service", "a b.service", "x.conf", "$(id).timer"] {
            let error = m.refuses(&TYPE, &timer(&[("systemd_unit", bad.into())]));
            assert!(error.contains("is not the name of a unit with its suffix"), "{bad}: {error}");
        }
        for bad in ["../x", "a.b", "", "a/b"] {
            assert!(
                m.refuses(&TYPE, &timer(&[("drop_in", bad.into())])).contains("cannot be the name of a file")
            );
        }
    }
}
