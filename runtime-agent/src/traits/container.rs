//! `container`: whether this is one, and made by what.

use super::{Section, map};
use crate::root::{ManagedPath, Root};
use ir::Value;

pub fn collect(_root: &Root) -> Section {
    let runtime = Root::open(std::path::Path::new("/")).ok().and_then(|host| runtime(&host));
    let container = map([("inside", Some(runtime.is_some().into())), ("runtime", runtime.map(Value::from))]);
    [("container".into(), container)].into()
}

fn runtime(host: &Root) -> Option<&'static str> {
    let path = |text: &str| ManagedPath::parse(text).ok();
    let exists = |text: &str| path(text).is_some_and(|p| host.follow(&p).is_some());
    let read = |text: &str| path(text).and_then(|p| host.read_text(&p, 64 << 10));
    if exists("/run/.containerenv") {
        return Some("podman");
    }
    if exists("/.dockerenv") {
        return Some("docker");
    }
    if exists("/var/run/secrets/kubernetes.io") {
        return Some("kubernetes");
    }
    // What the manager told the first process; systemd keeps it here.
    let told = read("/run/systemd/container").or_else(|| {
        let environ = read("/proc/1/environ")?;
        environ.split('\0').find_map(|v| v.strip_prefix("container=")).map(str::to_owned)
    });
    told.and_then(|name| known(name.trim()))
        .or_else(|| read("/proc/1/cgroup").and_then(|text| in_cgroup(&text)))
}

fn known(name: &str) -> Option<&'static str> {
    ["docker", "podman", "lxc", "systemd-nspawn", "lxc-libvirt", "containerd", "rkt", "wsl"]
        .into_iter()
        .find(|known| *known == name)
        .or((!name.is_empty()).then_some("other"))
}

fn in_cgroup(text: &str) -> Option<&'static str> {
    [
        ("kubepods", "kubernetes"),
        ("docker", "docker"),
        ("libpod", "podman"),
        ("lxc", "lxc"),
        ("containerd", "containerd"),
    ]
    .into_iter()
    .find(|(mark, _)| text.contains(mark))
    .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_the_runtimes() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(runtime(&root), None);
        std::fs::write(dir.path().join(".dockerenv"), "").unwrap();
        assert_eq!(runtime(&root), Some("docker"));
        assert_eq!(known("systemd-nspawn"), Some("systemd-nspawn"));
        assert_eq!(known("new"), Some("other"));
        assert_eq!(known(""), None);
        assert_eq!(in_cgroup("0::/kubepods/besteffort/pod1"), Some("kubernetes"));
        assert_eq!(in_cgroup("0::/init.scope"), None);
    }
}
