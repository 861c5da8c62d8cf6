//! What executors that act on the machine are made for: its package manager and its init system, as the traits have them.

use crate::command::PATH;
use crate::root::Root;
use crate::traits;
use ir::Value;
use std::path::PathBuf;

/// Installs packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageManager {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora, Rocky Linux 8 and later.
    Dnf,
    /// CentOS 7.
    Yum,
    /// openSUSE, SLES.
    Zypper,
    /// Arch Linux.
    Pacman,
    /// Alpine Linux.
    Apk,
}

impl PackageManager {
    /// All of them.
    pub const ALL: [PackageManager; 6] = [
        PackageManager::Apt,
        PackageManager::Dnf,
        PackageManager::Yum,
        PackageManager::Zypper,
        PackageManager::Pacman,
        PackageManager::Apk,
    ];

    /// As the trait `os.package_manager` has it.
    pub fn name(self) -> &'static str {
        match self {
            PackageManager::Apt => "apt",
            PackageManager::Dnf => "dnf",
            PackageManager::Yum => "yum",
            PackageManager::Zypper => "zypper",
            PackageManager::Pacman => "pacman",
            PackageManager::Apk => "apk",
        }
    }
}

/// Runs services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// systemd.
    Systemd,
    /// OpenRC.
    Openrc,
    /// Nobody, as in most containers.
    None,
}

impl Init {
    /// As the trait `os.init` has it.
    pub fn name(self) -> &'static str {
        match self {
            Init::Systemd => "systemd",
            Init::Openrc => "openrc",
            Init::None => "none",
        }
    }
}

/// The machine, as far as executors have to know it.
#[derive(Clone, Debug)]
pub struct Platform {
    /// `None` where there is none that we know.
    pub package_manager: Option<PackageManager>,
    /// Who runs services.
    pub init: Init,
    /// Accounts are made with the programs of busybox (`adduser`), not with those of shadow (`useradd`).
    pub busybox_accounts: bool,
    /// A directory where programs are looked for before the usual ones; tests have their own there.
    pub programs: Option<PathBuf>,
}

impl Platform {
    /// From the traits of a host. Those that an older agent collected and that are still good may lack what a newer one
    /// knows; it is collected now then.
    pub fn of(traits: &Value, root: &Root) -> Self {
        let given = |name: &str| traits.at(&["os".into(), name.into()]).and_then(Value::as_str);
        let manager = match given("package_manager") {
            Some(name) => PackageManager::ALL.into_iter().find(|m| m.name() == name),
            None => traits::package_manager(root),
        };
        let init = match given("init") {
            Some("systemd") => Init::Systemd,
            Some("openrc") => Init::Openrc,
            Some(_) => Init::None,
            None => traits::init(root),
        };
        Platform {
            package_manager: manager,
            init,
            busybox_accounts: given("family") == Some("alpine"),
            programs: None,
        }
    }

    /// Where programs are looked for.
    pub fn search_path(&self) -> String {
        match &self.programs {
            Some(first) => format!("{}:{PATH}", first.display()),
            None => PATH.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_traits_decide_and_what_they_lack_is_collected() {
        let root = Root::open(std::path::Path::new("/")).unwrap();
        let os = |entries: &[(&str, &str)]| {
            let os = entries.iter().map(|(k, v)| ((*k).into(), Value::from(*v))).collect();
            Platform::of(&Value::Map([("os".into(), Value::Map(os))].into()), &root)
        };
        for manager in PackageManager::ALL {
            assert_eq!(os(&[("package_manager", manager.name())]).package_manager, Some(manager));
        }
        let none = os(&[("package_manager", "none"), ("init", "none"), ("family", "alpine")]);
        assert_eq!((none.package_manager, none.init, none.busybox_accounts), (None, Init::None, true));
        for init in [Init::Systemd, Init::Openrc, Init::None] {
            assert_eq!(os(&[("init", init.name())]).init, init);
        }
        assert_eq!(os(&[]).package_manager, traits::package_manager(&root));
        assert_eq!(os(&[]).init, traits::init(&root));
    }
}
