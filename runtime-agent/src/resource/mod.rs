//! Resource types. One file a type: how to see whether a host is as declared, and how to bring it there.

mod archive;
mod authorized_key;
mod certificate;
mod config_file;
mod container;
mod content;
mod custom;
mod desired;
mod directory;
mod download;
mod drop_in;
mod edit;
mod exec;
mod fetch;
mod file;
mod firewall;
mod fstab;
mod git;
mod group;
mod hostname;
mod kernel_module;
mod locale;
mod managed;
mod mount;
mod package;
mod placing;
mod process;
mod program;
mod repository;
mod service;
mod stepwise;
mod sudoers;
mod swap;
mod symlink;
mod sysctl;
mod systemd_unit;
mod tables;
mod timezone;
mod user;

pub use content::Diff;
pub use desired::Desired;
pub use managed::Managed;
pub use service::Units;

use crate::accounts::AccountError;
use crate::command::CommandError;
use crate::platform::Platform;
use crate::root::{FsError, Ownership, PathError, PurgeError, Root};
use std::time::Duration;

/// What an executor may use.
pub struct Context<'a> {
    /// Everything it touches lies below.
    pub root: &'a Root,
    /// Unix seconds, for names of backups.
    pub now: u64,
    /// Whether a diff is wanted.
    pub diff: bool,
    /// Whether owners can be set. Not in a sandbox root without privilege.
    pub ownership: bool,
    /// What must not be purged.
    pub managed: &'a Managed,
    /// What systemd said, as long as the run has changed nothing.
    pub units: &'a Units,
    /// What the machine is, for types that act on it.
    pub platform: &'a Platform,
    /// What a resource may take in all, beside its own `timeout`.
    pub limit: Duration,
}

/// Why a resource is not as declared and cannot be brought there. Holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// The type needs it.
    #[error("attribute `{0}` is missing")]
    Missing(&'static str),
    /// The type has no such attribute.
    #[error("type `{kind}` has no attribute `{name}`; this agent may be older than the policy")]
    UnknownAttribute {
        /// The type.
        kind: &'static str,
        /// The attribute.
        name: String,
    },
    /// Not of the attribute's type.
    #[error("attribute `{name}` must be {expected}, not {found}")]
    WrongType {
        /// The attribute.
        name: &'static str,
        /// Wanted.
        expected: &'static str,
        /// Met.
        found: &'static str,
    },
    /// Of the right type, but not a value it takes.
    #[error("attribute `{name}`: {why}")]
    Invalid {
        /// The attribute.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A path the agent does not touch.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Something else stands there.
    #[error("{path} is {found}, not {wanted}; {fix}")]
    InTheWay {
        /// Where.
        path: String,
        /// What it is.
        found: &'static str,
        /// What is declared.
        wanted: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// A file that is to be edited cannot be read as what it should be.
    #[error("{path}, line {line}, column {column}: {what}; the file was left as it is")]
    Malformed {
        /// Where.
        path: String,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        what: String,
    },
    /// Something that was to be fetched.
    #[error("cannot download {url}: {why}")]
    Fetch {
        /// From where.
        url: String,
        /// Why not.
        why: String,
    },
    /// An archive that is not unpacked, or not any further.
    #[error("the archive is not unpacked: {0}")]
    Archive(String),
    /// Changing it here would change it elsewhere.
    #[error(
        "{path} has {links} names (hard links); its owner and mode are not changed, remove the other names first"
    )]
    HardLinks {
        /// Where.
        path: String,
        /// How many.
        links: u64,
    },
    /// What is not known to be managed might be.
    #[error("attribute `purge`: nothing was removed, because it is not known what to keep: {0}")]
    ManagedUnknown(String),
    /// A purge.
    #[error("attribute `purge`: {0}")]
    Purge(#[from] PurgeError),
    /// A user or group.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The file system.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A command that did not run.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A command that ran and failed.
    #[error("{what} ended with {code}, expected {expected}{}", shown(.output))]
    Exit {
        /// Which command.
        what: String,
        /// What it returned.
        code: i32,
        /// What is success.
        expected: String,
        /// What it wrote.
        output: String,
    },
    /// Everything worked, and yet.
    #[error("did not converge: after the change it is still {0}")]
    NotConverged(String),
    /// Nobody to ask.
    #[error("this host is run by neither systemd nor OpenRC, which this needs: {0}")]
    NoInit(String),
    /// What a type acts through is not there.
    #[error("`{0}` is not installed on this host; let the `package` that brings it come first")]
    NoProgram(String),
    /// The host is not made for it.
    #[error("type `{kind}` cannot do this on this host: {why}")]
    Unsupported {
        /// The type.
        kind: &'static str,
        /// Why not, and what to do.
        why: String,
    },
    /// Another program did not let go of what only one may have.
    #[error("{what} is locked by another program, and was still after {}; the next run tries again{}", crate::text::took(*.waited), shown(.output))]
    Locked {
        /// What is locked.
        what: &'static str,
        /// How long it was tried.
        waited: std::time::Duration,
        /// What the program that wanted it wrote.
        output: String,
    },
    /// It took longer than any resource may.
    #[error("took longer than {} in all and was stopped; whoever runs this host can allow more, with `resource_limit` in \
             {}: {at}", crate::text::took(*.limit), crate::own::SETTINGS)]
    OutOfTime {
        /// Its limit.
        limit: Duration,
        /// What was going on.
        at: String,
    },
    /// The type panicked.
    #[error("the agent has a mistake here; its log says where, and the rest of the run goes on")]
    Bug,
    /// Not a type of this agent.
    #[error("resource type `{0}` is not known to this agent; upgrade it")]
    UnknownKind(String),
}

impl ResourceError {
    /// The error of what was going on when the time of the resource was over.
    pub(crate) fn out_of_time(self, limit: Duration) -> Self {
        let at = match self {
            ResourceError::Bug => return self,
            other => other.to_string(),
        };
        ResourceError::OutOfTime { limit, at }
    }
}

fn shown(output: &str) -> String {
    let output = output.trim_end();
    if output.is_empty() {
        return String::new();
    }
    // The end of the output is where programs say why.
    let skip = output.char_indices().rev().take(2000).last().map_or(0, |(at, _)| at);
    let tail = output.get(skip..).unwrap_or_default();
    format!(":\n{}{}", if skip > 0 { "...\n" } else { "" }, crate::text::printable_lines(tail))
}

/// What stands between the host and what is declared.
#[derive(Clone, Debug, Default)]
pub struct Probe {
    /// In words, each like `created` or `mode 0644 -> 0600`; none: it is as declared.
    pub changes: Vec<String>,
    /// Of the content, where it may be shown.
    pub diff: Option<Diff>,
}

impl Probe {
    /// Nothing to do.
    pub fn clean() -> Self {
        Probe::default()
    }

    fn change(text: impl Into<String>) -> Self {
        Probe { changes: vec![text.into()], diff: None }
    }

    /// Whether there is nothing to do.
    pub fn is_clean(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes in one line.
    pub fn action(&self) -> String {
        self.changes.join(", ")
    }
}

/// What an apply has to add to what its probe said.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Such as where the backup is.
    pub note: Option<String>,
}

/// One resource type. A dry run and a real run share `probe`.
pub trait Executor: Sync {
    /// The attribute that says what a resource is about.
    fn key(&self) -> &'static str;

    /// Whether it changes the machine itself and not what lies below the root. In a sandbox such a resource is looked
    /// at and never applied.
    fn acts_on_machine(&self) -> bool {
        false
    }

    /// Whether a probe mostly waits, for a program or a server. Such probes are made side by side and ahead of their turn,
    /// as long as a run has changed nothing, so they have to be safe to make at any moment.
    fn waits(&self) -> bool {
        false
    }

    /// What a resource may take in all: what the host allows, beside its own `timeout`.
    fn limit(&self, context: &Context<'_>, desired: &Desired) -> Duration {
        match desired.duration("timeout") {
            Ok(own) => context.limit.saturating_add(own),
            Err(_) => context.limit,
        }
    }

    /// Looks, changes nothing.
    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError>;

    /// Does what the probe found missing.
    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        probe: &Probe,
    ) -> Result<Applied, ResourceError>;

    /// Looks again after an apply; what it finds is why the resource failed.
    fn settled(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        self.probe(context, desired)
    }
}

/// The executor of a type.
pub fn executor(kind: &str) -> Result<&'static dyn Executor, ResourceError> {
    match kind {
        "file" => Ok(&file::FileType),
        "directory" => Ok(&directory::DirectoryType),
        "symlink" => Ok(&symlink::SymlinkType),
        "exec" => Ok(&exec::ExecType),
        "archive" => Ok(&archive::ArchiveType),
        "download" => Ok(&download::DownloadType),
        "git" => Ok(&git::GitType),
        "certificate" => Ok(&certificate::CertificateType),
        "custom" => Ok(&custom::CustomType),
        "locale" => Ok(&locale::LocaleType),
        "cron" => Ok(const { &drop_in::DropInType::<drop_in::Cron>::new() }),
        "limits" => Ok(const { &drop_in::DropInType::<drop_in::Limits>::new() }),
        "logrotate" => Ok(const { &drop_in::DropInType::<drop_in::Logrotate>::new() }),
        "hosts_entry" => Ok(const { &edit::HostsType::new() }),
        "file_line" => Ok(const { &edit::LineType::new() }),
        "blockinfile" => Ok(const { &edit::BlockType::new() }),
        "replace" => Ok(const { &edit::ReplaceType::new() }),
        "ini" => Ok(const { &edit::IniType::new() }),
        "json_file" => Ok(const { &edit::JsonType::new() }),
        "toml_file" => Ok(const { &edit::TomlType::new() }),
        "yaml_file" => Ok(const { &edit::YamlType::new() }),
        "service" => Ok(&service::SERVICE),
        "package" => Ok(&package::PACKAGE),
        "repository" => Ok(&repository::RepositoryType),
        "user" => Ok(&user::UserType),
        "group" => Ok(&group::GroupType),
        "authorized_key" => Ok(&authorized_key::AuthorizedKeyType),
        "sudoers" => Ok(&sudoers::SudoersType),
        "systemd_unit" => Ok(&systemd_unit::SystemdUnitType),
        "sysctl" => Ok(&sysctl::SysctlType),
        "hostname" => Ok(&hostname::HostnameType),
        "timezone" => Ok(&timezone::TimezoneType),
        "kernel_module" => Ok(&kernel_module::KernelModuleType),
        "mount" => Ok(const { &mount::MountType::new() }),
        "swap" => Ok(const { &swap::SwapType::new() }),
        "firewall" => Ok(const { &firewall::FirewallType::new() }),
        "container" => Ok(const { &container::ContainerType::new() }),
        "process" => Ok(&process::ProcessType),
        other => Err(ResourceError::UnknownKind(crate::text::printable(crate::text::bounded(other, 100)))),
    }
}

/// Owner, group and mode that a resource declares.
fn ownership(context: &Context<'_>, desired: &Desired) -> Result<Ownership, ResourceError> {
    let mode = desired.mode("mode")?;
    let owner = desired.text("owner")?;
    let group = desired.text("group")?;
    if !context.ownership {
        return Ok(Ownership { mode, ..Ownership::default() });
    }
    Ok(Ownership {
        uid: owner.map(|name| crate::accounts::uid(context.root, name)).transpose()?,
        gid: group.map(|name| crate::accounts::gid(context.root, name)).transpose()?,
        mode,
    })
}

/// What of an ownership is not so yet, in words.
fn ownership_changes(have: &crate::root::Meta, want: Ownership) -> Vec<String> {
    let mut changes = Vec::new();
    if let Some(uid) = want.uid.filter(|uid| *uid != have.uid) {
        changes.push(format!("owner {} -> {uid}", have.uid));
    }
    if let Some(gid) = want.gid.filter(|gid| *gid != have.gid) {
        changes.push(format!("group {} -> {gid}", have.gid));
    }
    if let Some(mode) = want.mode.filter(|mode| *mode != have.mode) {
        changes.push(format!("mode {:04o} -> {mode:04o}", have.mode));
    }
    changes
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use ir::Value;

    /// A root in a temporary directory, and what an executor is given.
    pub struct Sandbox {
        pub dir: tempfile::TempDir,
        pub root: Root,
        pub managed: Managed,
        pub units: Units,
        pub platform: Platform,
    }

    impl Sandbox {
        pub fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = Root::open(dir.path()).unwrap();
            let platform = Platform {
                package_manager: None,
                init: crate::platform::Init::Systemd,
                busybox_accounts: false,
                programs: None,
            };
            Sandbox { dir, root, managed: Managed::unknown(), units: Units::none(), platform }
        }

        pub fn path(&self, below: &str) -> std::path::PathBuf {
            self.dir.path().join(below)
        }

        pub fn context(&self) -> Context<'_> {
            Context {
                root: &self.root,
                now: 1_700_000_000,
                diff: true,
                ownership: false,
                managed: &self.managed,
                units: &self.units,
                platform: &self.platform,
                limit: crate::limit::DEFAULT,
            }
        }

        pub fn probe(&self, kind: &str, desired: &Desired) -> Result<Probe, ResourceError> {
            executor(kind)?.probe(&self.context(), desired)
        }

        /// Probe, apply, probe: what the first said, having checked that the last finds nothing.
        pub fn converge(&self, kind: &str, desired: &Desired) -> Result<Probe, ResourceError> {
            let executor = executor(kind)?;
            let context = self.context();
            let probe = executor.probe(&context, desired)?;
            if !probe.is_clean() {
                executor.apply(&context, desired, &probe)?;
                let after = executor.settled(&context, desired)?;
                assert!(after.is_clean(), "still: {:?}", after.changes);
            }
            Ok(probe)
        }
    }

    /// A machine of our own: its programs are small scripts that write down what they are asked, and keep its state in
    /// files.
    pub struct Machine {
        pub sandbox: Sandbox,
    }

    impl Machine {
        pub fn new() -> Self {
            let mut sandbox = Sandbox::new();
            let programs = sandbox.path("programs");
            std::fs::create_dir(&programs).unwrap();
            sandbox.platform.programs = Some(programs);
            Machine { sandbox }
        }

        /// A program. `asked` writes down a call that changes something; `$here` is the root of the sandbox.
        pub fn program(&self, name: &str, script: &str) {
            use std::os::unix::fs::PermissionsExt;
            let path = self.sandbox.path("programs").join(name);
            let here = self.sandbox.dir.path().display();
            let text = format!(
                "#!/bin/sh\nhere='{here}'\nasked() {{ printf '%s\\n' \"{name} $*\" >> \"$here/asked\"; }}\n{script}"
            );
            // Written beside it first: a script that is open for writing cannot be run.
            let beside = self.sandbox.path("new");
            std::fs::write(&beside, text).unwrap();
            std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::rename(beside, path).unwrap();
        }

        /// A file of the machine, with its directories.
        pub fn write(&self, path: &str, text: &str) {
            let path = self.sandbox.path(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        /// What a file holds; nothing where there is none.
        pub fn read(&self, path: &str) -> String {
            std::fs::read_to_string(self.sandbox.path(path.trim_start_matches('/'))).unwrap_or_default()
        }

        /// What was asked for since the last time.
        pub fn asked(&self) -> Vec<String> {
            let text = self.read("asked");
            let _ = std::fs::remove_file(self.sandbox.path("asked"));
            text.lines().map(str::to_owned).collect()
        }

        /// What a probe says.
        pub fn probe(&self, executor: &dyn Executor, d: &Desired) -> Result<Vec<String>, ResourceError> {
            self.asked();
            let probe = executor.probe(&self.sandbox.context(), d)?;
            assert_eq!(self.asked(), [""; 0], "a probe changes nothing");
            Ok(probe.changes)
        }

        /// Probe, apply, look again: what was said, and what was asked for.
        pub fn converge(
            &self,
            executor: &dyn Executor,
            d: &Desired,
        ) -> Result<(String, Vec<String>), ResourceError> {
            let context = self.sandbox.context();
            let probe = Probe { changes: self.probe(executor, d)?, diff: None };
            if !probe.is_clean() {
                executor.apply(&context, d, &probe)?;
                let left = executor.settled(&context, d)?;
                if !left.is_clean() {
                    return Err(ResourceError::NotConverged(left.action()));
                }
            }
            Ok((probe.action(), self.asked()))
        }

        /// Converges, and once more to see that nothing is left: what was said the first time.
        pub fn settles(&self, executor: &dyn Executor, d: &Desired) -> String {
            let (said, _) = self.converge(executor, d).unwrap();
            assert_ne!(said, "", "there was nothing to do");
            assert_eq!(self.converge(executor, d).unwrap(), (String::new(), vec![]), "the second run");
            said
        }

        /// The message of what fails.
        pub fn refuses(&self, executor: &dyn Executor, d: &Desired) -> String {
            self.converge(executor, d).unwrap_err().to_string()
        }
    }

    /// Attributes, as after evaluation.
    pub fn desired(attributes: &[(&str, Value)]) -> Desired {
        let mut desired = Desired::default();
        for (name, value) in attributes {
            desired.set(name, value.clone(), false);
        }
        desired
    }
}
