//! Which files there are and what they are called.

use super::interface::interface;
use crate::db::{Db, Project, SourceFile};
use crate::syntax::{Kind, directory};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The files of a policy by what they are. Holds no positions, so an edit inside a file does not
/// change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// By module name; of two files with one name the first by path.
    pub modules: BTreeMap<Arc<str>, SourceFile>,
    /// Further files that declare a module of that name.
    pub twice: BTreeMap<Arc<str>, Vec<SourceFile>>,
    /// Every file below `modules/`.
    pub module_files: Vec<SourceFile>,
    /// Files below `modules/` that cannot be read as modules, by file name: they may hold what is looked for.
    pub broken: BTreeSet<Arc<str>>,
    /// `roles.vgo`.
    pub roles: Option<SourceFile>,
    /// In the order in which entries are tried.
    pub nodes: Vec<SourceFile>,
    /// `common.vgo` by directory.
    pub commons: BTreeMap<Arc<str>, SourceFile>,
    /// `environments.vgo` by directory; both spellings, the newer first.
    pub environments: BTreeMap<Arc<str>, Vec<SourceFile>>,
}

/// The files below `templates/`, by path below it. Apart from the index, since it does not depend on what stands in a
/// module: an edit of one does not touch those that are rendered from templates.
#[salsa::tracked(returns(ref))]
pub fn templates(db: &dyn Db, project: Project) -> BTreeMap<Arc<str>, SourceFile> {
    let below = |file: &SourceFile| {
        let path = file.path(db);
        (Kind::of(path) == Kind::Template)
            .then(|| (path.strip_prefix("templates/").unwrap_or(path).into(), *file))
    };
    project.files(db).iter().filter_map(below).collect()
}

/// The index of the policy.
#[salsa::tracked(returns(ref))]
pub fn index(db: &dyn Db, project: Project) -> Index {
    let mut out = Index::default();
    for file in project.files(db).iter().copied() {
        let path = file.path(db);
        let dir: Arc<str> = directory(path).into();
        match Kind::of(path) {
            Kind::Module => {
                out.module_files.push(file);
                match interface(db, file) {
                    Some(interface) => {
                        let first = *out.modules.entry(interface.name.clone()).or_insert(file);
                        if first != file {
                            out.twice.entry(interface.name.clone()).or_default().push(file);
                        }
                    }
                    None => {
                        let name = path.rsplit('/').next().unwrap_or(path);
                        out.broken.insert(name.strip_suffix(".vgo").unwrap_or(name).into());
                    }
                }
            }
            Kind::Roles => out.roles = Some(file),
            Kind::Nodes => out.nodes.push(file),
            Kind::Common => drop(out.commons.insert(dir, file)),
            Kind::Environments => out.environments.entry(dir).or_default().push(file),
            Kind::Template | Kind::Test => {}
        }
    }
    out.nodes.sort_by_cached_key(|f| entry_order(f.path(db)));
    out
}

/// In each directory first its subdirectories, then its own files, both in byte order; so a more specific place comes
/// before a catch-all at the root.
fn entry_order(path: &str) -> Vec<(u8, String)> {
    let mut parts: Vec<(u8, String)> = path.split('/').map(|p| (0, p.to_owned())).collect();
    if let Some(file) = parts.last_mut() {
        file.0 = 1;
    }
    parts
}

/// The directories of a path from the root down to its own.
pub fn ancestors(path: &str) -> Vec<&str> {
    let dir = directory(path);
    let mut out = vec![""];
    out.extend(dir.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| &dir[..at]));
    if !dir.is_empty() {
        out.push(dir);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specific_places_come_first() {
        let mut paths = ["z.vgo", "nodes.vgo", "sites/b/n.vgo", "sites/a.vgo", "sites/a/n.vgo", "a/x.vgo"];
        paths.sort_by_cached_key(|p| entry_order(p));
        assert_eq!(paths, ["a/x.vgo", "sites/a/n.vgo", "sites/b/n.vgo", "sites/a.vgo", "nodes.vgo", "z.vgo"]);
        assert_eq!(ancestors("sites/a/n.vgo"), ["", "sites", "sites/a"]);
        assert_eq!(ancestors("n.vgo"), [""]);
    }
}
