//! `os`: distribution, version, kernel, package manager, init system.

use super::{Section, map};
use crate::platform::{Init, PackageManager};
use crate::root::{Kind, ManagedPath, Root};
use ir::Value;
use std::collections::HashMap;

/// A root without an os-release of its own is the host's distribution.
pub fn collect(root: &Root) -> Section {
    let text = release_text(root).or_else(|| release_text(&host()?)).unwrap_or_default();
    let mut os = release(&text);
    os.push(("package_manager", Some(package_manager(root).map_or("none", PackageManager::name).into())));
    os.push(("init", Some(init(root).name().into())));
    if let Ok(uname) = nix::sys::utsname::uname() {
        let text = |s: &std::ffi::OsStr| Some(Value::from(s.to_string_lossy().into_owned()));
        os.push(("kernel", Some(uname.sysname().to_string_lossy().to_lowercase().into())));
        os.push(("kernel_release", text(uname.release())));
        os.push(("arch", text(uname.machine())));
    }
    [("os".into(), map(os))].into()
}

fn host() -> Option<Root> {
    Root::open(std::path::Path::new("/")).ok()
}

fn release_text(root: &Root) -> Option<String> {
    ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| root.read_text(&ManagedPath::parse(path).ok()?, 64 << 10))
}

/// Where the program of a package manager is.
fn programs(manager: PackageManager) -> &'static [&'static str] {
    match manager {
        PackageManager::Apt => &["/usr/bin/apt-get"],
        PackageManager::Dnf => &["/usr/bin/dnf", "/usr/bin/dnf5"],
        PackageManager::Yum => &["/usr/bin/yum"],
        PackageManager::Zypper => &["/usr/bin/zypper"],
        PackageManager::Pacman => &["/usr/bin/pacman"],
        PackageManager::Apk => &["/sbin/apk", "/usr/sbin/apk", "/usr/bin/apk"],
    }
}

/// The package manager of a root that is a system of its own, or else of the host. That of the distribution wins: Debian
/// has a dnf, and Fedora an apt, for whoever builds images.
pub fn package_manager(root: &Root) -> Option<PackageManager> {
    let Some(text) = release_text(root) else {
        let host = host().filter(|_| !root.is_host())?;
        return installed(&host, &release_text(&host).unwrap_or_default());
    };
    installed(root, &text)
}

fn installed(root: &Root, release_text: &str) -> Option<PackageManager> {
    use PackageManager as P;
    let release = release(release_text);
    let family = release.iter().find(|(name, _)| *name == "family").and_then(|(_, v)| v.as_ref()?.as_str());
    let own: &[P] = match family {
        Some("debian") => &[P::Apt],
        Some("rhel") => &[P::Dnf, P::Yum],
        Some("suse") => &[P::Zypper],
        Some("arch") => &[P::Pacman],
        Some("alpine") => &[P::Apk],
        _ => &[],
    };
    let stands = |path: &str| {
        let found = ManagedPath::parse(path).ok().and_then(|path| root.follow(&path));
        found.is_some_and(|meta| meta.kind == Kind::File)
    };
    own.iter().chain(&P::ALL).copied().find(|m| programs(*m).iter().any(|path| stands(path)))
}

/// Who runs the services. Below another root it is still the machine's, which would have to run them.
pub fn init(root: &Root) -> Init {
    let host = if root.is_host() { None } else { host() };
    init_of(host.as_ref().unwrap_or(root))
}

fn init_of(host: &Root) -> Init {
    let there = |path: &str| ManagedPath::parse(path).is_ok_and(|path| host.follow(&path).is_some());
    // Each makes its directory when it starts: what is only installed is not there.
    if there("/run/systemd/system") {
        Init::Systemd
    } else if there("/run/openrc") {
        Init::Openrc
    } else {
        Init::None
    }
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
    fn the_package_manager_is_the_distributions_own() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        for folder in ["etc", "usr/bin", "sbin", "run"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let release =
            |id: &str| std::fs::write(dir.path().join("etc/os-release"), format!("ID={id}\n")).unwrap();
        let add = |program: &str| std::fs::write(dir.path().join(program), "").unwrap();
        release("gentoo");
        assert_eq!(package_manager(&root), None);
        add("usr/bin/dnf");
        add("usr/bin/yum");
        assert_eq!(package_manager(&root), Some(PackageManager::Dnf), "the only one that is there");
        add("usr/bin/apt-get");
        for (id, manager) in [
            ("debian", PackageManager::Apt),
            ("fedora", PackageManager::Dnf),
            ("gentoo", PackageManager::Apt),
        ] {
            release(id);
            assert_eq!(package_manager(&root), Some(manager), "{id}");
        }
        add("sbin/apk");
        release("alpine");
        assert_eq!(package_manager(&root), Some(PackageManager::Apk));

        assert_eq!(init_of(&root), Init::None);
        std::fs::create_dir_all(dir.path().join("run/openrc")).unwrap();
        assert_eq!(init_of(&root), Init::Openrc);
        std::fs::create_dir_all(dir.path().join("run/systemd/system")).unwrap();
        assert_eq!(init_of(&root), Init::Systemd);
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
