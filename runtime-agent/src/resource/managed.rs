//! What a bundle manages, for those who would remove the rest.
//!
//! Anything that a resource of the bundle names stays, whichever module it is in and whether or not its `when` is true at
//! the moment: a purge that runs outside a maintenance window must not remove what is written inside it.

use super::ResourceError;
use crate::root::{Fate, Identity, ManagedPath, Root};
use ir::{Expr, Module, Value};
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};

/// Attributes that name something on the file system, of whatever type the resource is: `creates` is what an `exec`
/// looks at to see that it ran.
const PATHS: &[&str] = &["target_path", "creates", "key_path"];

/// Files of types that are named by the resource, whose key has the name of the type. What is no file on this host is
/// nowhere.
const NAMED: &[(&str, &[&str])] = &[
    ("cron", &["/etc/cron.d/{}"]),
    ("firewall", &["/etc/nftables.d/{}.nft"]),
    ("kernel_module", &["/etc/modules-load.d/vigo-{}.conf", "/etc/modprobe.d/vigo-{}.conf"]),
    ("limits", &["/etc/security/limits.d/{}.conf"]),
    ("logrotate", &["/etc/logrotate.d/{}"]),
    (
        "repository",
        &[
            "/etc/apt/sources.list.d/{}.sources",
            "/etc/apt/keyrings/{}.asc",
            "/etc/yum.repos.d/{}.repo",
            "/etc/zypp/repos.d/{}.repo",
            "/etc/pki/rpm-gpg/RPM-GPG-KEY-{}",
        ],
    ),
    ("sudoers", &["/etc/sudoers.d/{}"]),
    ("sysctl", &["/etc/sysctl.d/90-vigo-{}.conf"]),
    ("systemd_unit", &["/etc/systemd/system/{}", "/etc/systemd/system/{}.d"]),
];

fn is_named(kind: &str) -> bool {
    NAMED.iter().any(|(named, _)| *named == kind)
}

/// The files of a resource that is named so.
pub(super) fn files_of(kind: &str, name: &str) -> impl Iterator<Item = String> {
    // A setting of the kernel may be written with slashes.
    let name = if kind == "sysctl" { name.replace('/', ".") } else { name.to_owned() };
    let files = NAMED.iter().find(|(named, _)| *named == kind).map_or(&[][..], |(_, files)| files);
    files.iter().map(move |file| file.replace("{}", &name))
}

/// The paths that a bundle names.
#[derive(Clone, Debug)]
pub struct Managed {
    /// Or why they are not known, in which case nothing may be purged.
    paths: Result<BTreeSet<ManagedPath>, String>,
}

impl Managed {
    /// Nothing was asked: nothing can be purged.
    pub fn unknown() -> Self {
        Managed { paths: Err("nobody has collected what this bundle manages".to_owned()) }
    }

    /// Collects them, if any resource can want to know.
    pub fn of(modules: &[Module], evaluate: impl Fn(&Expr) -> Result<Value, String>) -> Self {
        let resources = || modules.iter().flat_map(|m| m.resources.iter().map(move |r| (m, r)));
        let purges = resources()
            .filter_map(|(_, r)| r.attribute("purge"))
            .any(|purge| purge.as_const() != Some(&Value::Bool(false)));
        if !purges {
            return Managed::unknown();
        }
        let mut paths: BTreeSet<ManagedPath> = crate::own::paths().collect();
        for (module, resource) in resources() {
            for name in PATHS {
                let Some(expr) = resource.attribute(name) else { continue };
                match evaluate(expr) {
                    // A path that is refused is nowhere.
                    Ok(Value::Str(text)) => paths.extend(ManagedPath::parse(&text)),
                    Ok(_) => {}
                    Err(error) => {
                        let why = format!("`{name}` of {}.{}: {error}", module.name, resource.name);
                        return Managed { paths: Err(why) };
                    }
                }
            }
            let Some(expr) = resource.attribute(&resource.kind).filter(|_| is_named(&resource.kind)) else {
                continue;
            };
            match evaluate(expr) {
                Ok(Value::Str(name)) => {
                    let files = files_of(&resource.kind, &name);
                    paths.extend(files.filter_map(|path| ManagedPath::parse(&path).ok()));
                }
                Ok(_) => {}
                Err(error) => {
                    let why = format!("the name of {}.{}: {error}", module.name, resource.name);
                    return Managed { paths: Err(why) };
                }
            }
        }
        Managed { paths: Ok(paths) }
    }

    /// Where they are now.
    pub(super) fn locate(&self, root: &Root) -> Result<Kept, ResourceError> {
        let paths = self.paths.as_ref().map_err(|why| ResourceError::ManagedUnknown(why.clone()))?;
        let mut kept = Kept::default();
        for path in paths {
            for step in path.ancestors() {
                kept.add(root, &step, Fate::Enter)?;
            }
            kept.add(root, path, Fate::Keep)?;
        }
        Ok(kept)
    }
}

/// Names that stay, by the directory they are in.
#[derive(Debug, Default)]
pub(super) struct Kept {
    names: HashMap<Identity, HashMap<OsString, Fate>>,
    /// So that no directory is looked up twice.
    located: HashMap<String, Option<Identity>>,
}

impl Kept {
    fn add(&mut self, root: &Root, path: &ManagedPath, fate: Fate) -> Result<(), ResourceError> {
        let parent = match self.located.get(path.parent()) {
            Some(known) => *known,
            None => {
                let found = root.parent_of(path)?;
                self.located.insert(path.parent().to_owned(), found);
                found
            }
        };
        let Some(parent) = parent else { return Ok(()) };
        let slot = self.names.entry(parent).or_default().entry(path.name().into()).or_insert(fate);
        if fate == Fate::Keep {
            *slot = fate;
        }
        Ok(())
    }

    /// What becomes of a name.
    pub(super) fn fate(&self, parent: Identity, name: &OsStr) -> Fate {
        let Some(names) = self.names.get(&parent) else { return Fate::Go };
        if let Some(fate) = names.get(name) {
            return *fate;
        }
        // The previous content of a managed file, which `backup` was asked to keep.
        let kept = name.to_str().and_then(crate::root::backed_up);
        match kept.and_then(|original| names.get(OsStr::new(original))) {
            Some(_) => Fate::Keep,
            None => Fate::Go,
        }
    }
}
