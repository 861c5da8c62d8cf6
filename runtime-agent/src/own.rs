//! What of a host is the agent's own, in one place, and that policy cannot take it away.
//!
//! A host whose agent is gone hears of no correction any more, so a policy that removes or stops the agent is nearly
//! always a mistake, and one that changes what it keeps is always one. An operator of the host who means it says so in the
//! settings (`"manage_agent": true`). Commands are not looked into: `exec` can do whatever root can.

use crate::resource::Desired;
use crate::root::{Identity, ManagedPath, Root};
use crate::settings::Settings;
use crate::text::printable;
use ir::Value;
use std::path::{Path, PathBuf};

/// Keys, marks, bundle, results.
pub const STATE: &str = "/var/lib/vigo";
/// What the operator of the host decides, whatever the server says.
pub const SETTINGS: &str = "/etc/vigo/agent.json";
/// Traits of the host's own. Policy may write there.
pub const TRAITS: &str = "/etc/vigo/traits.d";
/// Where packages put the program.
const PROGRAM: &str = "/usr/bin/vigo";
/// What starts it.
const UNIT_FILES: &[&str] = &[
    "/etc/init.d/vigo",
    "/etc/systemd/system/vigo.service",
    "/lib/systemd/system/vigo.service",
    "/usr/lib/systemd/system/vigo.service",
];
/// Its unit, without suffix.
const SERVICE: &str = "vigo";
/// Its package.
const PACKAGE: &str = "vigo";
/// Whom it runs as.
const ACCOUNT: &str = "root";
/// Whom it speaks with its server as, and that account's group.
pub const NETWORK_USER: &str = "vigo";

/// Where something of the agent's is below a root.
pub fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Everything that no purge removes.
pub fn paths() -> impl Iterator<Item = ManagedPath> {
    let fixed = [STATE, SETTINGS, TRAITS, PROGRAM].into_iter().chain(UNIT_FILES.iter().copied());
    fixed.filter_map(|path| ManagedPath::parse(path).ok()).chain(program())
}

/// The program that runs.
fn program() -> Option<ManagedPath> {
    ManagedPath::parse(std::env::current_exe().ok()?.to_str()?).ok()
}

/// Guards what is the agent's own, for one run.
#[derive(Debug)]
pub struct Own {
    /// The operator of this host lets policy have it.
    open: bool,
}

/// A name in a directory, whatever path leads there.
#[derive(PartialEq)]
struct Spot {
    directory: Identity,
    name: String,
}

impl Own {
    /// As the settings below that root say. Settings that are not understood open nothing.
    pub fn of(root: &Root) -> Self {
        Own { open: Settings::load(root.path()).is_ok_and(|settings| settings.manage_agent) }
    }

    /// Why a resource is not applied that differs from what it has to be.
    pub(crate) fn refuses(&self, root: &Root, kind: &str, key: &str, desired: &Desired) -> Option<String> {
        if self.open {
            return None;
        }
        let state = word(desired, "state").unwrap_or_default();
        let named = |own: &str| names(desired, key).any(|name| name == own);
        let service =
            || names(desired, key).any(|name| name.strip_suffix(".service").unwrap_or(name) == SERVICE);
        let removes = matches!(state, "absent" | "purged" | "removed" | "unmounted");
        let what = match kind {
            "package" if removes && named(PACKAGE) => "package",
            "user" | "group" if removes && (named(ACCOUNT) || named(NETWORK_USER)) => "account",
            "systemd_unit" if service() => "unit",
            "process" if service() => "process",
            "service" if service() && stops(state, desired) => "service",
            "exec" | "package" | "user" | "group" | "service" | "process" | "custom" => return None,
            _ => {
                let path = names(desired, key).find_map(|text| ManagedPath::parse(text).ok())?;
                let takes = removes || kind == "symlink" || flag(desired, "recurse");
                let whose = touched(root, &path, takes)?;
                return Some(refusal(&format!("{whose} is the agent's own")));
            }
        };
        let name = names(desired, key).next().map(printable).unwrap_or_default();
        Some(refusal(&format!("{what} `{name}` is the agent's own")))
    }
}

fn refusal(what: &str) -> String {
    format!(
        "{what}: policy neither removes nor disables it; whoever runs this host can allow that with \
         {{\"manage_agent\": true}} in {SETTINGS}"
    )
}

fn word<'a>(desired: &'a Desired, name: &str) -> Option<&'a str> {
    desired.value(name)?.as_str()
}

fn flag(desired: &Desired, name: &str) -> bool {
    desired.value(name) == Some(&Value::Bool(true))
}

/// The key, or the names where a type has several at once.
fn names<'a>(desired: &'a Desired, key: &str) -> impl Iterator<Item = &'a str> {
    let many = match desired.value("packages") {
        Some(Value::List(list)) => list.as_slice(),
        _ => &[],
    };
    desired.value(key).and_then(Value::as_str).into_iter().chain(many.iter().filter_map(Value::as_str))
}

/// A restart in the middle of a run ends that run before it is on record, and the next one begins with it again.
fn stops(state: &str, desired: &Desired) -> bool {
    matches!(state, "stopped" | "restarted")
        || desired.value("enabled") == Some(&Value::Bool(false))
        || flag(desired, "masked")
}

/// What of the agent's a change at that path touches. `takes`: also what is below it.
fn touched(root: &Root, path: &ManagedPath, takes: bool) -> Option<String> {
    let target = spot(root, path);
    let same = |other: &ManagedPath| other == path || target.is_some() && target == spot(root, other);
    let state = ManagedPath::parse(STATE).ok()?;
    let state_spot = spot(root, &state);
    let inside =
        path.ancestors().any(|step| step == state || state_spot.is_some() && spot(root, &step) == state_spot)
            || within(root, path, &state);
    if inside {
        return Some(path.to_string());
    }
    let traits = ManagedPath::parse(TRAITS).ok()?;
    paths()
        .filter(|own| *own != traits)
        .find(|own| same(own) || takes && own.ancestors().any(|step| same(&step)))
        .map(|own| own.to_string())
}

/// Whether a path that symlinks lead along ends in that directory.
fn within(root: &Root, path: &ManagedPath, directory: &ManagedPath) -> bool {
    let inside = ManagedPath::parse(&format!("{directory}/x")).ok().and_then(|x| root.parent_of(&x).ok()?);
    inside.is_some() && inside == root.parent_of(path).ok().flatten()
}

fn spot(root: &Root, path: &ManagedPath) -> Option<Spot> {
    Some(Spot { directory: root.parent_of(path).ok()??, name: path.name().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::testing::{Sandbox, desired};

    fn refused(s: &Sandbox, kind: &str, key: &str, attributes: &[(&str, Value)]) -> bool {
        let own = Own::of(&s.root);
        let refused = own.refuses(&s.root, kind, key, &desired(attributes));
        assert!(refused.as_deref().is_none_or(|why| why.contains("manage_agent")), "{refused:?}");
        refused.is_some()
    }

    fn sandbox() -> Sandbox {
        let s = Sandbox::new();
        std::fs::create_dir_all(s.path("var/lib/vigo")).unwrap();
        std::fs::create_dir_all(s.path("etc/vigo/traits.d")).unwrap();
        std::os::unix::fs::symlink("/var/lib/vigo", s.path("etc/alias")).unwrap();
        std::os::unix::fs::symlink("/var", s.path("v")).unwrap();
        s
    }

    #[test]
    fn files_of_the_agent_are_not_for_policy_whatever_path_leads_there() {
        let s = sandbox();
        let at = |kind: &str, path: &str, state: &str| {
            refused(&s, kind, "target_path", &[("target_path", path.into()), ("state", state.into())])
        };
        for path in [
            "/var/lib/vigo",
            "/var/lib/vigo/identity/identity.json",
            "/var/lib/vigo/new",
            "/v/lib/vigo",
            "/etc/alias/store.redb",
            "/etc/vigo/agent.json",
            "/usr/bin/vigo",
            "/etc/systemd/system/vigo.service",
        ] {
            assert!(at("file", path, "present"), "{path}");
            assert!(at("directory", path, "absent"), "{path}");
        }
        for path in ["/var", "/v/lib", "/etc", "/etc/vigo", "/usr/bin"] {
            assert!(at("directory", path, "absent"), "{path}");
            assert!(at("symlink", path, "present"), "{path}");
            assert!(!at("directory", path, "present"), "{path}");
        }
        for path in [
            "/etc/vigo/traits.d/rack.json",
            "/etc/vigo/traits.d",
            "/var/lib/vigo-else",
            "/etc/systemd/system/vigo.service.d/limits.conf",
            "/etc/alias",
        ] {
            assert!(!at("file", path, "present"), "{path}");
        }
        assert!(refused(
            &s,
            "directory",
            "target_path",
            &[("target_path", "/var".into()), ("recurse", true.into())]
        ));
    }

    #[test]
    fn neither_package_service_nor_account_is_taken_away() {
        let s = sandbox();
        let package = |name: &str, state: &str| {
            refused(&s, "package", "package", &[("package", name.into()), ("state", state.into())])
        };
        assert!(package("vigo", "absent") && package("vigo", "purged"));
        let both = ("packages", Value::List(vec!["vim".into(), "vigo".into()]));
        assert!(refused(&s, "package", "package", &[both, ("state", "absent".into())]));
        assert!(!package("vigo", "latest") && !package("vigosrv", "absent"));
        for (name, more, expected) in [
            ("vigo", ("state", Value::from("stopped")), true),
            ("vigo.service", ("state", "restarted".into()), true),
            ("vigo", ("enabled", false.into()), true),
            ("vigo", ("masked", true.into()), true),
            ("vigo", ("state", "running".into()), false),
            ("vigo", ("enabled", true.into()), false),
            ("vigosrv", ("state", "stopped".into()), false),
        ] {
            assert_eq!(
                refused(&s, "service", "service", &[("service", name.into()), more.clone()]),
                expected,
                "{name} {more:?}"
            );
        }
        let user = |name: &str, state: &str| {
            refused(&s, "user", "username", &[("username", name.into()), ("state", state.into())])
        };
        assert!(user("root", "absent") && !user("root", "present") && !user("deploy", "absent"));
        assert!(user("vigo", "absent") && !user("vigo", "present"));
    }

    #[test]
    fn whoever_runs_the_host_can_allow_it_and_settings_that_are_broken_do_not() {
        let s = sandbox();
        let gone = [("target_path", Value::from("/var/lib/vigo")), ("state", "absent".into())];
        for (settings, expected) in
            [("{\"manage_agent\": true}", false), ("{\"manage_agent\": tru", true), ("{}", true)]
        {
            std::fs::write(s.path("etc/vigo/agent.json"), settings).unwrap();
            assert_eq!(refused(&s, "directory", "target_path", &gone), expected, "{settings}");
        }
    }
}
