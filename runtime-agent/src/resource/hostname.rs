//! `hostname`: the name of the host, now and after a boot.

use super::config_file::ConfigFile;
use super::{Applied, Context, Desired, Executor, Probe, ResourceError, tables};
use crate::root::ManagedPath;
use crate::text::{bounded, printable};

/// The type.
pub struct HostnameType;

const FILE: &str = "/etc/hostname";
const LIVE: &str = "/proc/sys/kernel/hostname";

impl Executor for HostnameType {
    fn key(&self) -> &'static str {
        "hostname"
    }

    fn acts_on_machine(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let name = want(desired)?;
        let mut probe = ConfigFile::with(FILE, format!("{name}\n"))?.probe(context, "file")?;
        let have = live(context)?;
        if have != name {
            probe.changes.push(format!("name {} -> {name}", printable(&have)));
        }
        Ok(probe)
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let name = want(desired)?;
        ConfigFile::with(FILE, format!("{name}\n"))?.write(context)?;
        if live(context)? != name {
            context.root.write_in_place(&ManagedPath::parse(LIVE)?, format!("{name}\n").as_bytes())?;
        }
        Ok(Applied::default())
    }
}

fn live(context: &Context<'_>) -> Result<String, ResourceError> {
    Ok(tables::read(context.root, &ManagedPath::parse(LIVE)?)?.trim().to_owned())
}

fn want(desired: &Desired) -> Result<String, ResourceError> {
    desired.only("hostname", &["hostname"])?;
    let name = desired.required("hostname")?;
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    // The kernel has no room for more.
    if name.len() <= 64 && name.split('.').all(label) {
        return Ok(name.to_owned());
    }
    Err(ResourceError::Invalid {
        name: "hostname",
        why: format!(
            "`{}` is not the name of a host: letters, digits and `-` between dots, at most 64 of them",
            printable(bounded(name, 100))
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;

    #[test]
    fn named_now_and_for_the_next_boot_and_again_after_drift() {
        let m = Machine::new();
        m.write("proc/sys/kernel/hostname", "localhost\n");
        let d = desired(&[("hostname", "web-01".into())]);
        assert_eq!(m.settles(&HostnameType, &d), "file created, name localhost -> web-01");
        assert_eq!(
            (m.read("etc/hostname"), m.read("proc/sys/kernel/hostname")),
            ("web-01\n".into(), "web-01\n".into())
        );
        m.write("proc/sys/kernel/hostname", "dhcp-17\n");
        assert_eq!(m.settles(&HostnameType, &d), "name dhcp-17 -> web-01");
        m.write("etc/hostname", "other\n");
        assert_eq!(m.settles(&HostnameType, &d), "file changed");
    }

    #[test]
    fn case_086_a_name_has_letters_digits_and_dashes() {
        let m = Machine::new();
        for bad in ["", "-x", "x-", "a b", "a_b", "a..b", "a\nb", "$(id)", &"x".repeat(65)] {
            let error = m.refuses(&HostnameType, &desired(&[("hostname", bad.into())]));
            assert!(error.contains("is not the name of a host"), "{bad}: {error}");
        }
    }
}
