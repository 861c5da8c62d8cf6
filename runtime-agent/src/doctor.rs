//! `vigo doctor`: everything that keeps an agent from its work, looked at one by one, with what to do about it.

use crate::agent::{Agent, AgentError};
use crate::checkin::Conversation;
use crate::checks::Checks;
use crate::identity::{Identity, IdentityError};
use crate::root::{ManagedPath, Root};
use crate::server::{Grpc, NetError};
use crate::settings::Settings;
use crate::state::StateError;
use crate::store::Store;
use crate::text::{printable, span};
use crate::verify::behind;
use nix::sys::statvfs::statvfs;
use std::path::Path;

/// Room that the state needs at least.
const ROOM: u64 = 16 << 20;

impl Agent {
    /// Looks, and asks the server for nothing but a handshake; changes nothing.
    pub fn doctor(&self) -> Checks {
        let mut checks = Checks::default();
        checks.add("kernel", kernel(self.root_path()));
        checks.add("state", self.state_is_safe());
        checks.add("room", room(self.state().path(), self.root_path()));
        checks.add("settings", settings(self.root_path()));
        match Identity::load(self.state()) {
            Ok(identity) => {
                checks.add("clock", self.clock_is_right());
                checks.add("server", self.reach(&identity));
                checks.add("daemon", self.daemon_runs());
                self.look_into_the_store(&mut checks);
            }
            Err(error @ IdentityError::NotEnrolled) => checks.add("identity", Err::<String, _>(error)),
            Err(error) => checks.add("identity", Err::<String, _>(error)),
        }
        checks.add("traits", collectors(&self.traits()));
        checks
    }

    fn state_is_safe(&self) -> Result<String, StateError> {
        self.state().check()?;
        let path = self.state().path().display();
        Ok(if self.state().exists() {
            format!("{path}, for its owner alone")
        } else {
            format!("{path} is not there yet")
        })
    }

    fn clock_is_right(&self) -> Result<String, String> {
        let floor = match Store::look(self.state()).map(|store| store.map(|store| store.marks())) {
            Ok(Some(Ok(marks))) => marks.time_floor,
            _ => 0,
        };
        let now = self.clock().now();
        if let Some(behind) = behind(now, floor) {
            let behind = span(behind);
            return Err(format!(
                "the clock is {behind} behind what the server said before; set it, `timedatectl set-ntp true` keeps it right"
            ));
        }
        Ok("not behind what the server said".to_owned())
    }

    fn reach(&self, identity: &Identity) -> Result<String, NetError> {
        let store = Store::look(self.state()).ok().flatten();
        let signed_time = store.and_then(|store| {
            Conversation { identity, store: &store, clock: self.clock() }.signed_time().ok()
        });
        Grpc::new(identity, signed_time.unwrap_or_default())?.connect()?;
        Ok(format!("{} answers, and proves to be the server", identity.server))
    }

    /// The lock is taken for a moment only; whoever holds it is at work.
    fn daemon_runs(&self) -> Result<String, String> {
        if !self.state().exists() {
            return Err("it does not run; start it with `systemctl start vigo` or `vigo run`".to_owned());
        }
        match self.state().lock() {
            Err(StateError::Locked(_)) => Ok("an agent is at work".to_owned()),
            Err(error) => Err(error.to_string()),
            Ok(_) => Err("it does not run; start it with `systemctl start vigo` or `vigo run`".to_owned()),
        }
    }

    fn look_into_the_store(&self, checks: &mut Checks) {
        match self.verify() {
            Ok(verified) => checks.extend(verified),
            Err(error) => checks.add("store", Err::<String, _>(error)),
        }
        let status = match self.status() {
            Ok(status) => status,
            Err(error) => return checks.add("runs", Err::<String, AgentError>(error)),
        };
        if let Some(turned_away) = status.turned_away() {
            checks.add("enrolment", Err::<String, _>(turned_away));
        }
        if let Some(privileges) = status.privileges() {
            checks.add("privileges", privileges);
        }
        if let Some(pause) = status.paused() {
            checks.add("pause", Err::<String, _>(format!("paused for {pause}; `vigo resume` ends it")));
        }
        checks.add("runs", status.last_run_is_good());
    }
}

fn kernel(root: &Path) -> Result<String, String> {
    let root = Root::open(root).map_err(|e| e.to_string())?;
    let probe = ManagedPath::parse("/etc").map_err(|e| e.to_string())?;
    root.inspect(&probe).map_err(|e| e.to_string())?;
    let release = nix::sys::utsname::uname().map(|u| printable(&u.release().to_string_lossy()));
    Ok(release.unwrap_or_else(|_| "paths can be resolved".to_owned()))
}

#[allow(clippy::unnecessary_cast, reason = "these fields are narrower on some architectures")]
fn room(state: &Path, root: &Path) -> Result<String, String> {
    let at = if state.exists() { state } else { root };
    let stat = statvfs(at).map_err(|e| format!("{}: {}", at.display(), e.desc()))?;
    let free = (stat.blocks_available() as u64).saturating_mul(stat.fragment_size() as u64);
    if free < ROOM {
        return Err(format!(
            "{} MiB are free for {}; results would be lost, free some space",
            free >> 20,
            at.display()
        ));
    }
    Ok(format!("{} MiB are free for {}", free >> 20, at.display()))
}

fn settings(root: &Path) -> Result<String, String> {
    let settings = Settings::load(root).map_err(|e| e.to_string())?;
    let mut all = vec![if settings.tasks {
        "commands of the server are run"
    } else {
        "commands of the server are refused"
    }];
    if settings.manage_agent {
        all.push("policy may manage the agent itself");
    }
    Ok(format!("{} ({})", all.join(", "), Settings::path(root).display()))
}

fn collectors(traits: &ir::Value) -> Result<String, String> {
    let failed = traits.at(&["agent".into(), "failed_collectors".into()]);
    match failed {
        Some(ir::Value::List(failed)) if !failed.is_empty() => {
            let names: Vec<&str> = failed.iter().filter_map(ir::Value::as_str).collect();
            Err(format!("not found out: {}; the lines above say why", names.join(", ")))
        }
        _ => Ok("all found out".to_owned()),
    }
}
