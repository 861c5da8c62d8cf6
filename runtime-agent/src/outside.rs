//! Programs that need what the unit of the agent does not have: systemd runs them outside of it, as a unit of their own.
//!
//! A service with a mount namespace of its own mounts things that nobody else sees, and the filter of its unit forbids it that,
//! kernel modules and swap anyway. Whoever may start units may do all of that, so nothing is won by keeping resources from it;
//! what is kept from it is everything else that runs in the unit.

use crate::command::Command;
use crate::root::Root;
use std::path::Path;

/// What resources run that changes more than files, accounts, packages and services. `podman` starts containers itself, where
/// `docker` asks a daemon to.
const PROGRAMS: &[&str] = &["mount", "umount", "swapon", "swapoff", "modprobe", "podman"];

/// The command as it has to be run here: as it is, or by systemd.
pub(crate) fn of(command: &Command, root: &Root) -> Option<Command> {
    let program = command.argv.first()?;
    let path = command.environment.get("PATH").map_or(crate::command::PATH, String::as_str);
    // One that is missing is missed as anywhere else.
    let there = || path.split(':').any(|folder| Path::new(folder).join(program).exists());
    let wanted = PROGRAMS.contains(&program.as_str()) && command.cwd.is_none() && command.user.is_none();
    (wanted && root.is_host() && is_confined() && there()).then(|| by_systemd(command))
}

/// Whether this process sees other mounts than the first one, and that one is systemd.
fn is_confined() -> bool {
    let mounts = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    Path::new("/run/systemd/system").exists() && mounts("self") != mounts("1")
}

fn by_systemd(command: &Command) -> Command {
    let limit = format!("--property=RuntimeMaxSec={}", command.timeout.as_secs().max(1));
    // What the program leaves behind (a file system in user space, a container) outlives it.
    let fixed =
        ["systemd-run", "--quiet", "--collect", "--pipe", "--wait", "--property=KillMode=process", &limit];
    let environment = command.environment.iter().map(|(name, value)| format!("--setenv={name}={value}"));
    let argv = fixed.iter().map(|word| (*word).to_owned()).chain(environment).chain(["--".to_owned()]);
    // systemd replaces variables in the words of a command; a doubled sign is one that stays.
    let words = command.argv.iter().map(|word| word.replace('$', "$$"));
    Command { argv: argv.chain(words).collect(), ..command.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_words_come_last_and_are_read_by_no_shell() {
        let mut command =
            Command::new(vec!["mount".into(), "--".into(), "/a b ${HOME}".into()], Duration::from_secs(20));
        command.environment.insert("LC_ALL".into(), "C.UTF-8".into());
        let argv = by_systemd(&command).argv;
        assert_eq!(argv.first().unwrap(), "systemd-run");
        assert!(argv.contains(&"--property=RuntimeMaxSec=20".to_owned()), "{argv:?}");
        assert_eq!(argv[argv.len() - 5..], ["--setenv=LC_ALL=C.UTF-8", "--", "mount", "--", "/a b $${HOME}"]);
    }

    /// What a test cannot have here, tests/real/agent has: a unit.
    #[test]
    fn nothing_is_run_elsewhere_in_a_sandbox() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let command = Command::new(vec!["mount".into(), "/x".into()], Duration::from_secs(1));
        assert!(of(&command, &root).is_none());
        let host = Root::open(Path::new("/")).unwrap();
        assert!(of(&Command::new(vec!["ls".into()], Duration::from_secs(1)), &host).is_none());
    }
}
