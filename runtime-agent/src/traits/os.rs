//! `os`: distribution, version, kernel.

use super::{Section, map};
use crate::root::{ManagedPath, Root};
use ir::Value;
use std::collections::HashMap;

/// A root without an os-release of its own is the host's distribution.
pub fn collect(root: &Root) -> Section {
    let read = |root: &Root| {
        ["/etc/os-release", "/usr/lib/os-release"]
            .iter()
            .find_map(|path| root.read_text(&ManagedPath::parse(path).ok()?, 64 << 10))
    };
    let text = read(root).or_else(|| read(&Root::open(std::path::Path::new("/")).ok()?)).unwrap_or_default();
    let mut os = release(&text);
    if let Ok(uname) = nix::sys::utsname::uname() {
        let text = |s: &std::ffi::OsStr| Some(Value::from(s.to_string_lossy().into_owned()));
        os.push(("kernel", Some(uname.sysname().to_string_lossy().to_lowercase().into())));
        os.push(("kernel_release", text(uname.release())));
        os.push(("arch", text(uname.machine())));
    }
    [("os".into(), map(os))].into()
}

fn release(text: &str) -> Vec<(&'static str, Option<Value>)> {
    let fields: HashMap<&str, String> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(k, v)| (k.trim(), shlex::split(v).unwrap_or_default().concat()))
        .collect();
    let field = |name: &str| fields.get(name).filter(|v| !v.is_empty()).cloned();
    let distro = field("ID").unwrap_or_else(|| "unknown".to_owned());
    let like = field("ID_LIKE").unwrap_or_default();
    vec![
        ("family", Some(family(&distro, &like).into())),
        ("version", Some(field("VERSION_ID").unwrap_or_else(|| "rolling".to_owned()).into())),
        ("codename", field("VERSION_CODENAME").map(Value::from)),
        ("distro", Some(distro.into())),
    ]
}

fn family(distro: &str, like: &str) -> &'static str {
    std::iter::once(distro)
        .chain(like.split_whitespace())
        .find_map(|id| match id {
            "debian" | "ubuntu" | "raspbian" | "linuxmint" | "kali" => Some("debian"),
            "rhel" | "fedora" | "centos" | "rocky" | "almalinux" | "amzn" | "ol" => Some("rhel"),
            "suse" | "sles" | "sled" | "opensuse" => Some("suse"),
            id if id.starts_with("opensuse") || id.starts_with("sle") => Some("suse"),
            "alpine" => Some("alpine"),
            "arch" | "archlinux" | "manjaro" => Some("arch"),
            _ => None,
        })
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        map(release(text))
    }

    #[test]
    fn families() {
        for (text, family, version) in [
            ("ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n", "debian", "12"),
            ("ID=pop\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=\"22.04\"", "debian", "22.04"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID='9.3'", "rhel", "9.3"),
            ("ID=opensuse-leap\nVERSION_ID=15.6", "suse", "15.6"),
            ("ID=alpine\nVERSION_ID=3.20.1", "alpine", "3.20.1"),
            ("ID=arch\n", "arch", "rolling"),
            ("ID=gentoo\nVERSION_ID=2.15", "other", "2.15"),
            ("", "other", "rolling"),
        ] {
            let os = read(text);
            assert_eq!(os.at(&["family".into()]), Some(&family.into()), "{text}");
            assert_eq!(os.at(&["version".into()]), Some(&version.into()), "{text}");
        }
        assert_eq!(read("ID=arch").at(&["codename".into()]), None);
    }

    #[test]
    fn the_roots_own_release_wins() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/os-release"), "ID=alpine\nVERSION_ID=3.20\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(collect(&root).get("os").unwrap().at(&["distro".into()]), Some(&"alpine".into()));
    }
}
