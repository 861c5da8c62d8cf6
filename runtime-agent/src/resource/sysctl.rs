//! `sysctl`: a setting of the kernel, now and after a boot.

use super::config_file::ConfigFile;
use super::{Applied, Context, Desired, Executor, Probe, ResourceError, tables};
use crate::root::ManagedPath;
use crate::text::{bounded, printable};

/// The type.
pub struct SysctlType;

const KNOWN: &[&str] = &["sysctl", "value", "state", "live"];

struct Want {
    file: ConfigFile,
    /// Where the kernel has it, and what it has to be.
    live: Option<(ManagedPath, String)>,
}

impl Executor for SysctlType {
    fn key(&self) -> &'static str {
        "sysctl"
    }

    fn acts_on_machine(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let want = want(desired)?;
        let mut probe = want.file.probe(context, "file")?;
        if let Some((path, value)) = &want.live {
            let have = plain(&tables::read(context.root, path)?);
            if have != *value {
                let have = if have.is_empty() { "nothing" } else { &have };
                probe.changes.push(format!("value {} -> {}", printable(have), printable(value)));
            }
        }
        Ok(probe)
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let want = want(desired)?;
        // The kernel first: what it refuses must not stand in a file that the next boot reads.
        if let Some((path, value)) = &want.live {
            if context.root.inspect(path)?.is_none() {
                return Err(ResourceError::Invalid {
                    name: "sysctl",
                    why: format!(
                        "the kernel has no {path}; load the module that brings it first, or declare `live: false`"
                    ),
                });
            }
            if plain(&tables::read(context.root, path)?) != *value {
                context.root.write_in_place(path, format!("{value}\n").as_bytes())?;
            }
        }
        want.file.write(context)?;
        Ok(Applied::default())
    }
}

/// The kernel separates by tabs.
fn plain(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn want(desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("sysctl", KNOWN)?;
    let name = desired.required("sysctl")?;
    let invalid = |name, why: String| ResourceError::Invalid { name, why };
    // As sysctl does it: what comes first separates, and the other one is part of a name.
    let parts: Vec<String> = match name.find(['.', '/']).and_then(|at| name.get(at..=at)) {
        Some("/") => name.split('/').map(|part| part.to_owned()).collect(),
        _ => name.split('.').map(|part| part.replace('/', ".")).collect(),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let good = |part: &String| !part.is_empty() && !part.starts_with(['.', '-']) && part.chars().all(allowed);
    if parts.len() < 2 || name.len() > 200 || !parts.iter().all(good) {
        let shown = printable(bounded(name, 100));
        return Err(invalid(
            "sysctl",
            format!("`{shown}` is not the name of a setting, such as `net.ipv4.ip_forward`"),
        ));
    }
    let path = format!("/etc/sysctl.d/90-vigo-{}.conf", parts.join("."));
    if desired.word("state", &["present", "absent"])? == "absent" {
        return Ok(Want { file: ConfigFile::absent(&path)?, live: None });
    }
    let value = desired.required("value")?;
    if value.chars().any(|c| c.is_control() && c != '\t') || plain(value).is_empty() {
        return Err(invalid("value", "must be one line of text".to_owned()));
    }
    let value = plain(value);
    let line = format!("# Managed by Vigo.\n{} = {value}\n", parts.join("/"));
    let live = desired.flag("live")?.then(|| ManagedPath::parse(&format!("/proc/sys/{}", parts.join("/"))));
    Ok(Want { file: ConfigFile::with(&path, line)?, live: live.transpose()?.map(|path| (path, value)) })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;
    use ir::Value;

    fn setting(name: &str, value: &str, extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[
            ("sysctl", name.into()),
            ("value", value.into()),
            ("state", "present".into()),
            ("live", true.into()),
        ]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    }

    #[test]
    fn set_now_and_for_the_next_boot_and_again_after_drift() {
        let m = Machine::new();
        m.write("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
        let d = setting("net.ipv4.ip_local_port_range", "20000 60999", &[]);
        assert_eq!(m.settles(&SysctlType, &d), "file created, value 32768 60999 -> 20000 60999");
        assert_eq!(m.read("proc/sys/net/ipv4/ip_local_port_range"), "20000 60999\n");
        let file = "etc/sysctl.d/90-vigo-net.ipv4.ip_local_port_range.conf";
        assert_eq!(m.read(file), "# Managed by Vigo.\nnet/ipv4/ip_local_port_range = 20000 60999\n");
        m.write("proc/sys/net/ipv4/ip_local_port_range", "1\t2\n");
        assert_eq!(m.settles(&SysctlType, &d), "value 1 2 -> 20000 60999");
        let gone = setting("net.ipv4.ip_local_port_range", "", &[("state", "absent".into())]);
        assert_eq!(m.settles(&SysctlType, &gone), "file removed");
        assert_eq!(m.read("proc/sys/net/ipv4/ip_local_port_range"), "20000 60999\n");
    }

    #[test]
    fn a_part_may_have_a_dot_and_what_the_kernel_lacks_is_said_before_anything_is_written() {
        let m = Machine::new();
        m.write("proc/sys/net/ipv4/conf/eth0.100/forwarding", "0\n");
        for name in ["net/ipv4/conf/eth0.100/forwarding", "net.ipv4.conf.eth0/100.forwarding"] {
            m.write("proc/sys/net/ipv4/conf/eth0.100/forwarding", "0\n");
            assert!(m.settles(&SysctlType, &setting(name, "1", &[])).contains("value 0 -> 1"));
        }
        let error = m.refuses(&SysctlType, &setting("net.netfilter.nf_conntrack_max", "9", &[]));
        assert!(error.contains("the kernel has no /proc/sys/net/netfilter/nf_conntrack_max"), "{error}");
        assert!(!m.sandbox.path("etc/sysctl.d/90-vigo-net.netfilter.nf_conntrack_max.conf").exists());
        let later = setting("net.netfilter.nf_conntrack_max", "9", &[("live", false.into())]);
        assert_eq!(m.settles(&SysctlType, &later), "file created");
    }

    #[test]
    fn case_080_a_name_stays_below_proc_sys() {
        let m = Machine::new();
        for bad in [
            "",
            "x",
            "../../etc/passwd",
            "net..x",
            "net/../../x",
            "/etc/passwd",
            "net.-w",
            "a b.c",
            "net.x\n",
        ] {
            let error = m.refuses(&SysctlType, &setting(bad, "1", &[]));
            assert!(error.contains("is not the name of a setting"), "{bad}: {error}");
        }
        assert!(
            m.refuses(&SysctlType, &setting("vm.x", "1\nkernel.y = 2", &[])).contains("must be one line")
        );
    }
}
