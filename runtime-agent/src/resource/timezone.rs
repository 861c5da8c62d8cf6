//! `timezone`: which zone `/etc/localtime` leads to.

use super::config_file::ConfigFile;
use super::{Applied, Context, Desired, Executor, Probe, ResourceError};
use crate::root::{Kind, ManagedPath, Ownership, Root};
use crate::text::{bounded, printable};

/// The type.
pub struct TimezoneType;

const LINK: &str = "/etc/localtime";
const NAMED: &str = "/etc/timezone";
const ZONES: &str = "/usr/share/zoneinfo";

impl Executor for TimezoneType {
    fn key(&self) -> &'static str {
        "timezone"
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let zone = want(desired)?;
        let have = have(context)?;
        let mut probe = Probe::clean();
        if have.as_deref() != Some(zone.as_str()) {
            probe.changes.push(format!("zone {} -> {zone}", printable(have.as_deref().unwrap_or("none"))));
        }
        if let Some(file) = named(context, &zone)? {
            probe.changes.extend(file.probe(context, "/etc/timezone")?.changes);
        }
        Ok(probe)
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let zone = want(desired)?;
        let path = ManagedPath::parse(&format!("{ZONES}/{zone}"))?;
        let is_there = |root: &Root| root.follow(&path).is_some_and(|meta| meta.kind == Kind::File);
        // A sandbox has no zones; those of the machine say whether there is such a one.
        let host = if context.root.is_host() { None } else { Root::open(std::path::Path::new("/")).ok() };
        if !is_there(context.root) && !host.is_some_and(|host| is_there(&host)) {
            return Err(ResourceError::Invalid {
                name: "timezone",
                why: format!(
                    "there is no {path} on this host; install `tzdata`, or see `timedatectl list-timezones`"
                ),
            });
        }
        if have(context)?.as_deref() != Some(zone.as_str()) {
            let owner = context.ownership.then_some(0);
            let owner = Ownership { uid: owner, gid: owner, mode: None };
            context.root.replace_link(&ManagedPath::parse(LINK)?, &format!("..{ZONES}/{zone}"), owner)?;
        }
        if let Some(file) = named(context, &zone)? {
            file.write(context)?;
        }
        Ok(Applied::default())
    }
}

/// The file that names the zone, where the host has one.
fn named(context: &Context<'_>, zone: &str) -> Result<Option<ConfigFile>, ResourceError> {
    if context.root.inspect(&ManagedPath::parse(NAMED)?)?.is_none() {
        return Ok(None);
    }
    Ok(Some(ConfigFile::with(NAMED, format!("{zone}\n"))?))
}

/// The zone that the link leads to; none where it is something else.
fn have(context: &Context<'_>) -> Result<Option<String>, ResourceError> {
    let link = ManagedPath::parse(LINK)?;
    match context.root.inspect(&link)? {
        Some(meta) if meta.kind == Kind::Symlink => {
            let target = String::from_utf8_lossy(&context.root.read_link(&link)?).into_owned();
            Ok(target.split_once("/zoneinfo/").map(|(_, zone)| zone.to_owned()))
        }
        Some(meta) if meta.kind == Kind::Directory => Err(ResourceError::InTheWay {
            path: LINK.to_owned(),
            found: meta.kind.name(),
            wanted: "a symlink",
            fix: "remove it",
        }),
        _ => Ok(None),
    }
}

fn want(desired: &Desired) -> Result<String, ResourceError> {
    desired.only("timezone", &["timezone"])?;
    let zone = desired.required("timezone")?;
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+'))
    };
    if zone.len() <= 100 && zone.split('/').all(part) {
        return Ok(zone.to_owned());
    }
    let shown = printable(bounded(zone, 100));
    let why = format!("`{shown}` is not the name of a zone, such as `Europe/Berlin`");
    Err(ResourceError::Invalid { name: "timezone", why })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;

    fn zone(name: &str) -> Desired {
        desired(&[("timezone", name.into())])
    }

    #[test]
    fn linked_and_named_once_and_again_after_drift() {
        let m = Machine::new();
        m.write("usr/share/zoneinfo/Test/Zone", "TZif2");
        m.write("etc/timezone", "Etc/UTC\n");
        let d = zone("Test/Zone");
        assert_eq!(m.settles(&TimezoneType, &d), "zone none -> Test/Zone, /etc/timezone changed");
        assert_eq!(std::fs::read(m.sandbox.path("etc/localtime")).unwrap(), b"TZif2");
        std::fs::remove_file(m.sandbox.path("etc/localtime")).unwrap();
        std::os::unix::fs::symlink("/usr/share/zoneinfo/Etc/UTC", m.sandbox.path("etc/localtime")).unwrap();
        std::fs::remove_file(m.sandbox.path("etc/timezone")).unwrap();
        assert_eq!(m.settles(&TimezoneType, &d), "zone Etc/UTC -> Test/Zone");
        assert!(!m.sandbox.path("etc/timezone").exists(), "Debian 13 has none");
    }

    #[test]
    fn a_zone_that_is_not_there_is_no_zone() {
        let m = Machine::new();
        std::fs::create_dir(m.sandbox.path("etc")).unwrap();
        assert_eq!(m.probe(&TimezoneType, &zone("No/Where")).unwrap(), ["zone none -> No/Where"]);
        assert!(
            m.refuses(&TimezoneType, &zone("No/Where")).contains("there is no /usr/share/zoneinfo/No/Where")
        );
        for bad in ["", "../../etc/passwd", "/etc/passwd", "Europe//Berlin", "a b", "Europe/Berlin/", "-x"] {
            assert!(m.refuses(&TimezoneType, &zone(bad)).contains("is not the name of a zone"), "{bad}");
        }
    }
}
