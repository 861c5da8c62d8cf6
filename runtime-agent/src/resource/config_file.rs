//! A file of configuration that a resource type writes as a whole: what differs, and putting it right.

use super::content::{diff, holds, text_of};
use super::{Context, Diff, Probe, ResourceError};
use crate::root::{Kind, ManagedPath, Ownership};
use std::path::Path;

/// A file that belongs to root.
pub(super) struct ConfigFile {
    path: ManagedPath,
    /// `None` where there must be no such file.
    content: Option<String>,
    mode: u32,
    sensitive: bool,
}

impl ConfigFile {
    /// A file with this content.
    pub(super) fn with(path: &str, content: impl Into<String>) -> Result<Self, ResourceError> {
        Ok(ConfigFile {
            path: ManagedPath::parse(path)?,
            content: Some(content.into()),
            mode: 0o644,
            sensitive: false,
        })
    }

    /// No file.
    pub(super) fn absent(path: &str) -> Result<Self, ResourceError> {
        Ok(ConfigFile { path: ManagedPath::parse(path)?, content: None, mode: 0o644, sensitive: false })
    }

    /// With other permission bits than 0644.
    pub(super) fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Its content is never shown.
    pub(super) fn sensitive(mut self, sensitive: bool) -> Self {
        self.sensitive = sensitive;
        self
    }

    /// Where it is.
    pub(super) fn path(&self) -> &ManagedPath {
        &self.path
    }

    /// What differs; `what` is what the changes are about, such as `unit file`.
    pub(super) fn probe(&self, context: &Context<'_>, what: &str) -> Result<Probe, ResourceError> {
        let found = context.root.inspect(&self.path)?;
        let found = match found {
            Some(meta)
                if meta.kind != Kind::File && !(self.content.is_none() && meta.kind == Kind::Symlink) =>
            {
                return Err(ResourceError::InTheWay {
                    path: self.path.to_string(),
                    found: meta.kind.name(),
                    wanted: "a file",
                    fix: "remove it",
                });
            }
            other => other,
        };
        let Some(content) = &self.content else {
            return Ok(match found {
                Some(_) => Probe::change(format!("{what} removed")),
                None => Probe::clean(),
            });
        };
        let Some(meta) = found else {
            let diff = self.shown(context, String::new(), content);
            return Ok(Probe { changes: vec![format!("{what} created")], diff });
        };
        let mut probe = Probe::clean();
        if !holds(context.root, &self.path, content.as_bytes())? {
            probe.changes.push(format!("{what} changed"));
            probe.diff = text_of(context.root, &self.path).and_then(|old| self.shown(context, old, content));
        }
        let foreign = context.ownership && (meta.uid, meta.gid) != (0, 0);
        if meta.mode != self.mode {
            probe.changes.push(format!("{what} mode {:04o} -> {:04o}", meta.mode, self.mode));
        } else if foreign {
            probe.changes.push(format!("{what} given to root"));
        }
        Ok(probe)
    }

    fn shown(&self, context: &Context<'_>, old: String, new: &str) -> Option<Diff> {
        if self.sensitive { None } else { diff(&self.path.to_string(), &old, new, context.diff) }
    }

    /// Writes or removes it where it differs. `check` is given the path of the new file before it is put in place.
    pub(super) fn settle(
        &self,
        context: &Context<'_>,
        check: impl FnOnce(&Path) -> Result<(), ResourceError>,
    ) -> Result<(), ResourceError> {
        if self.probe(context, "file")?.is_clean() {
            return Ok(());
        }
        let Some(content) = &self.content else {
            context.root.remove(&self.path)?;
            return Ok(());
        };
        for parent in self.path.ancestors() {
            if context.root.follow(&parent).is_none() {
                context.root.make_directory(&parent, Ownership::default())?;
            }
        }
        let owner = context.ownership.then_some(0);
        let ownership = Ownership { uid: owner, gid: owner, mode: Some(self.mode) };
        context.root.replace_file(&self.path, content.as_bytes(), ownership, check)
    }

    /// [`ConfigFile::settle`] without a check.
    pub(super) fn write(&self, context: &Context<'_>) -> Result<(), ResourceError> {
        self.settle(context, |_| Ok(()))
    }
}

/// Names of files below a directory of fragments: a part of a path, and nothing that the programs that read it leave out.
pub(super) fn fragment_name(name: &'static str, text: &str) -> Result<String, ResourceError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.len() <= 100 && text.chars().all(allowed)
    {
        return Ok(text.to_owned());
    }
    Err(ResourceError::Invalid {
        name,
        why: format!(
            "`{}` cannot be the name of a file; use letters, digits, `_` and `-`",
            crate::text::printable(crate::text::bounded(text, 100))
        ),
    })
}
