//! Resource types. One file a type: how to see whether a host is as declared, and how to bring it there.

mod content;
mod desired;
mod directory;
mod exec;
mod file;
mod managed;
mod service;
mod symlink;

pub use content::Diff;
pub use desired::Desired;
pub use managed::Managed;

use crate::accounts::AccountError;
use crate::command::CommandError;
use crate::root::{FsError, Ownership, PathError, PurgeError, Root};

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
    #[error("this host is not run by systemd, which type `service` needs: {0}")]
    NoSystemd(String),
    /// The type panicked.
    #[error("the agent has a mistake here; its log says where, and the rest of the run goes on")]
    Bug,
    /// Not a type of this agent.
    #[error("resource type `{0}` is not known to this agent; upgrade it")]
    UnknownKind(String),
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
        "service" => Ok(&service::SERVICE),
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
    }

    impl Sandbox {
        pub fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = Root::open(dir.path()).unwrap();
            Sandbox { dir, root, managed: Managed::unknown() }
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

    /// Attributes, as after evaluation.
    pub fn desired(attributes: &[(&str, Value)]) -> Desired {
        let mut desired = Desired::default();
        for (name, value) in attributes {
            desired.set(name, value.clone(), false);
        }
        desired
    }
}
