//! Types that change a part of a text file and leave the rest as it is, byte for byte.
//!
//! A type says what the whole text has to become; reading, comparing, showing and replacing it are the same for all. A dry
//! run and a real one compute the same text.

mod block;
mod flow;
mod hosts;
mod ini;
mod json;
mod line;
mod lines;
mod replace;
mod structured;
mod toml;
mod tree;
mod yaml;

use super::placing::{self, New, check_validate, not_a_file, shown_diff};
use super::{Applied, Context, Desired, Executor, Probe, ResourceError, ownership, ownership_changes};
use crate::root::{Kind, ManagedPath, Meta};
use std::io::Read;

pub use block::BlockType;
pub use hosts::HostsType;
pub use ini::IniType;
pub use line::LineType;
pub use replace::ReplaceType;
pub use structured::{JsonType, TomlType, YamlType};

/// Larger files are not edited.
const MAX_EDITED: u64 = 16 << 20;

/// Attributes that all these types have.
const COMMON: &[&str] = &["target_path", "create", "owner", "group", "mode", "backup", "validate"];

/// Why a text cannot be edited.
#[derive(Debug, thiserror::Error)]
pub(super) enum EditError {
    /// It is not what the type can read.
    #[error("line {line}, column {column}: {what}")]
    Malformed {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong. Holds nothing of the text.
        what: String,
    },
    /// Anything else.
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

impl EditError {
    /// At a byte of a text.
    fn at(text: &str, offset: usize, what: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).map_or(0, |line| line.chars().count()) + 1;
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        EditError::Malformed { line, column, what: what.into() }
    }

    fn invalid(name: &'static str, why: impl Into<String>) -> Self {
        EditError::Resource(ResourceError::Invalid { name, why: why.into() })
    }
}

/// The text as it has to be.
pub(super) struct Edited {
    pub text: String,
    /// In words, where it differs: `line added`.
    pub changes: Vec<String>,
}

/// One type.
pub(super) trait Edit: Sync {
    /// Its name.
    const KIND: &'static str;
    /// Its attributes, without those of all.
    const ATTRIBUTES: &'static [&'static str];

    /// The attribute that says what a resource is about.
    const KEY: &'static str = "target_path";

    /// Which file it is.
    fn path(desired: &Desired) -> Result<ManagedPath, ResourceError> {
        desired.required_path("target_path")
    }

    /// Whether a missing file is made.
    fn creates(desired: &Desired) -> Result<bool, ResourceError> {
        desired.flag("create")
    }

    /// What becomes of a text; of no text where there is no file. Given its own result, it changes nothing.
    fn edit(desired: &Desired, text: &str) -> Result<Edited, EditError>;

    /// Whether a secret goes into the text.
    fn is_sensitive(desired: &Desired) -> bool {
        desired.any_sensitive()
    }
}

/// Makes an executor of an edit.
pub(super) struct Editor<E>(pub(super) std::marker::PhantomData<E>);

impl<E> Editor<E> {
    pub const fn new() -> Self {
        Editor(std::marker::PhantomData)
    }
}

/// What stands there, and what it has to become.
struct Look {
    path: ManagedPath,
    found: Option<Meta>,
    old: String,
    edited: Edited,
    /// It is not there and not to be made here.
    missing: bool,
}

fn look<E: Edit>(context: &Context<'_>, desired: &Desired) -> Result<Look, ResourceError> {
    let known: Vec<&str> = COMMON.iter().chain(E::ATTRIBUTES).copied().collect();
    desired.only(E::KIND, &known)?;
    check_validate(desired)?;
    let path = E::path(desired)?;
    let create = E::creates(desired)?;
    let (found, old) = match context.root.inspect(&path)? {
        None => (None, String::new()),
        Some(meta) if meta.kind == Kind::File => (Some(meta), text_of(context, &path)?),
        Some(other) => return Err(not_a_file(&path, other.kind)),
    };
    let edited = E::edit(desired, &old).map_err(|error| match error {
        EditError::Malformed { line, column, what } => {
            ResourceError::Malformed { path: path.to_string(), line, column, what }
        }
        EditError::Resource(error) => error,
    })?;
    let missing = found.is_none() && !create;
    Ok(Look { path, found, old, edited, missing })
}

/// The text of a file, all of it or an error.
fn text_of(context: &Context<'_>, path: &ManagedPath) -> Result<String, ResourceError> {
    let (file, meta) = context.root.read(path)?;
    let too_large = || ResourceError::Invalid {
        name: "target_path",
        why: format!("{path} is larger than {} MiB and is not edited", MAX_EDITED >> 20),
    };
    if meta.size > MAX_EDITED {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(MAX_EDITED + 1).read_to_end(&mut bytes).map_err(|e| crate::root::FsError {
        action: "read",
        path: crate::text::printable(&path.to_string()),
        errno: e.raw_os_error().map_or(nix::errno::Errno::EIO, nix::errno::Errno::from_raw),
    })?;
    if bytes.len() as u64 > MAX_EDITED {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(e.as_bytes().get(..valid).unwrap_or_default()).into_owned();
        match EditError::at(&before, before.len(), "is not UTF-8 text") {
            EditError::Malformed { line, column, what } => {
                ResourceError::Malformed { path: path.to_string(), line, column, what }
            }
            EditError::Resource(error) => error,
        }
    })
}

impl<E: Edit> Executor for Editor<E> {
    fn key(&self) -> &'static str {
        E::KEY
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let look = look::<E>(context, desired)?;
        let want = ownership(context, desired)?;
        let Some(meta) = look.found else {
            return Ok(match (look.edited.text.is_empty(), look.missing) {
                // Nothing is to be in it.
                (true, _) => Probe::clean(),
                // In a dry run it may be that another resource makes it; a real run says that it is missing.
                (false, true) => Probe { changes: look.edited.changes, diff: None },
                (false, false) => Probe {
                    changes: vec!["created".to_owned()],
                    diff: shown_diff(
                        context,
                        &look.path,
                        E::is_sensitive(desired),
                        Some(""),
                        Some(&look.edited.text),
                    ),
                },
            });
        };
        let mut probe = Probe { changes: ownership_changes(&meta, want), diff: None };
        if look.edited.text != look.old {
            let sensitive = E::is_sensitive(desired);
            let mut changes = look.edited.changes;
            if sensitive {
                changes.iter_mut().for_each(|change| change.push_str(" (sensitive)"));
            }
            changes.append(&mut probe.changes);
            probe.changes = changes;
            probe.diff = shown_diff(context, &look.path, sensitive, Some(&look.old), Some(&look.edited.text));
        } else if !probe.is_clean() && meta.links > 1 {
            return Err(ResourceError::HardLinks { path: look.path.to_string(), links: meta.links });
        }
        Ok(probe)
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        // Not what the probe saw: whatever was written since must not be lost.
        let look = look::<E>(context, desired)?;
        if look.missing && !look.edited.text.is_empty() {
            return Err(ResourceError::Invalid {
                name: "target_path",
                why: format!(
                    "there is no {}; let what makes it come first, or set `create: true`",
                    crate::text::printable(&look.path.to_string())
                ),
            });
        }
        if look.found.is_some() && look.edited.text == look.old {
            context.root.settle(&look.path, ownership(context, desired)?)?;
            return Ok(Applied::default());
        }
        let new = New {
            path: &look.path,
            content: look.edited.text.as_bytes(),
            sensitive: E::is_sensitive(desired),
            found: look.found,
        };
        Ok(Applied { note: placing::put(context, desired, &new)? })
    }
}

#[cfg(test)]
mod tests;
