//! Reads a policy directory. The only place of the compiler that touches the file system for policy.

use crate::db::Content;
use ir::Hash;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of one file.
pub const MAX_FILE_BYTES: u64 = 16 << 20;
/// Files of a policy.
pub const MAX_FILES: usize = 100_000;
/// Bytes of a policy.
pub const MAX_POLICY_BYTES: u64 = 1 << 30;

/// Why a policy cannot be read at all; anything smaller is a finding of `check`.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The root.
    #[error("cannot read the policy `{}`: {source}", path.display())]
    Root {
        /// As given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file where a directory is due.
    #[error("`{}` is not a directory; give the directory that holds nodes.vgo and modules/", path.display())]
    NotADirectory {
        /// As given.
        path: PathBuf,
    },
    /// Neither node entries nor modules.
    #[error(
        "no policy in `{path}`: it holds no .vgo file; `vigoc init {path}` makes a small one",
        path = path.display()
    )]
    Empty {
        /// As given.
        path: PathBuf,
    },
    /// Above a limit.
    #[error("the policy `{}` has more than {limit}; is this the right directory?", path.display())]
    TooLarge {
        /// As given.
        path: PathBuf,
        /// What limit.
        limit: &'static str,
    },
}

/// Files by path relative to the root.
pub type Files = BTreeMap<Arc<str>, Content>;

/// The stamp by which an unchanged file is told without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    modified: Option<std::time::SystemTime>,
    size: u64,
}

/// What was read, with stamps for the next time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Contents.
    pub files: Files,
    stamps: BTreeMap<Arc<str>, Stamp>,
}

impl Snapshot {
    /// Of files that were read elsewhere.
    pub fn of(files: Files) -> Self {
        Snapshot { files, stamps: BTreeMap::new() }
    }

    /// Makes the next [`read`] read this file again.
    pub fn forget(&mut self, path: &str) {
        self.stamps.remove(path);
    }

    /// Makes the next [`read`] read every file again.
    pub fn forget_all(&mut self) {
        self.stamps.clear();
    }
}

/// Reads the policy below `root`. Files that `earlier` has under the same stamp are not read again.
///
/// Names that start with a dot are left out. Outside `templates/` only `.vgo` files count.
pub fn read(root: &Path, earlier: Option<&Snapshot>) -> Result<Snapshot, OpenError> {
    let failed = |source| OpenError::Root { path: root.to_owned(), source };
    let real_root = root.canonicalize().map_err(failed)?;
    if !real_root.is_dir() {
        return Err(OpenError::NotADirectory { path: root.to_owned() });
    }
    let mut walk =
        Walk { real_root: &real_root, earlier, out: Snapshot::default(), bytes: 0, way: Vec::new() };
    walk.directory(&real_root, real_root.clone(), "").map_err(|e| match e {
        Stop::Io(source) => failed(source),
        Stop::Limit(limit) => OpenError::TooLarge { path: root.to_owned(), limit },
    })?;
    let out = walk.out;
    if !out.files.keys().any(|p| p.ends_with(".vgo")) {
        return Err(OpenError::Empty { path: root.to_owned() });
    }
    Ok(out)
}

/// The root of the policy that a directory belongs to.
///
/// The nearest at or above with `modules/` or `roles.vgo` is the root: node entries may lie in directories below it that
/// hold a `nodes.vgo` too. Without one it is the outermost that holds node entries.
pub fn find_root(start: &Path) -> Option<PathBuf> {
    let above: Vec<&Path> = start.ancestors().collect();
    let holds = |dir: &&&Path| dir.join("modules").is_dir() || dir.join("roles.vgo").is_file();
    let mut root = match above.iter().find(holds) {
        Some(root) => *root,
        None => above.iter().rev().find(|dir| dir.join("nodes.vgo").is_file())?,
    };
    // `templates/modules/` is no policy: the directory that `templates/` lies in is
    let found = root;
    for outer in above.iter().filter(|dir| found.starts_with(dir) && **dir != found).filter(|dir| holds(dir))
    {
        let first = found.strip_prefix(outer).ok().and_then(|p| p.components().next());
        let first = first.and_then(|c| c.as_os_str().to_str());
        if matches!(first, Some("modules" | "templates" | "tests")) {
            root = outer;
        }
    }
    Some(root.to_owned())
}

/// Tells one state of a policy from another: over all paths and contents.
pub fn digest(files: &Files) -> Hash {
    let mut parts: Vec<Vec<u8>> = Vec::with_capacity(files.len() * 3);
    for (path, content) in files {
        let bytes: &[u8] = match content {
            Content::Text(t) => t.as_bytes(),
            Content::Bytes(b) => b,
            _ => &[],
        };
        parts.push((path.len() as u64).to_be_bytes().to_vec());
        parts.push(path.as_bytes().to_vec());
        parts.push(Hash::of(bytes).0.to_vec());
    }
    Hash::of_parts(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

enum Stop {
    Io(io::Error),
    Limit(&'static str),
}

struct Walk<'a> {
    real_root: &'a Path,
    earlier: Option<&'a Snapshot>,
    out: Snapshot,
    bytes: u64,
    /// The directories on the way to the current one, without symlinks.
    way: Vec<PathBuf>,
}

/// Deeper than any policy.
const MAX_DIRECTORIES: usize = 64;

impl Walk<'_> {
    fn directory(&mut self, dir: &Path, real: PathBuf, relative: &str) -> Result<(), Stop> {
        if self.way.len() > MAX_DIRECTORIES {
            return Err(Stop::Limit("64 nested directories"));
        }
        self.way.push(real);
        let done = self.entries(dir, relative);
        self.way.pop();
        done
    }

    fn entries(&mut self, dir: &Path, relative: &str) -> Result<(), Stop> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(Stop::Io)? {
            names.push(entry.map_err(Stop::Io)?.file_name());
        }
        names.sort();
        for name in names {
            let Some(name) = name.to_str() else { continue };
            if name.starts_with('.') || (relative.is_empty() && name == "target") {
                continue;
            }
            let path = dir.join(name);
            let relative = if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
            let template = relative.starts_with("templates/");
            let metadata = match fs::metadata(&path) {
                Ok(m) => m,
                Err(_) if !template && !name.ends_with(".vgo") => continue,
                Err(e) => {
                    self.put(relative, Content::Unreadable(e.to_string()), None)?;
                    continue;
                }
            };
            let linked = fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink());
            let target = if linked { path.canonicalize().ok() } else { None };
            let leaves = linked && !target.as_ref().is_some_and(|p| p.starts_with(self.real_root));
            if metadata.is_dir() {
                if leaves {
                    self.put(relative, Content::LeavesRoot, None)?;
                } else if target.as_ref().is_some_and(|target| self.way.iter().any(|d| d.starts_with(target)))
                {
                    self.put(
                        relative,
                        Content::Unreadable("it is a symlink to a directory that it is in".into()),
                        None,
                    )?;
                } else {
                    let real = target.or_else(|| Some(self.way.last()?.join(name))).unwrap_or_default();
                    match self.directory(&path, real, &relative) {
                        Err(Stop::Io(e)) => self.put(relative, Content::Unreadable(e.to_string()), None)?,
                        other => other?,
                    }
                }
            } else if template || name.ends_with(".vgo") {
                if leaves {
                    self.put(relative, Content::LeavesRoot, None)?;
                } else {
                    self.file(&path, relative, &metadata)?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, relative: String, metadata: &fs::Metadata) -> Result<(), Stop> {
        if !metadata.is_file() {
            return self.put(relative, Content::Unreadable("not a regular file".into()), None);
        }
        let stamp = Stamp { modified: metadata.modified().ok(), size: metadata.len() };
        if let Some(earlier) = self.earlier
            && earlier.stamps.get(relative.as_str()) == Some(&stamp)
            && let Some(content) = earlier.files.get(relative.as_str())
        {
            self.bytes += stamp.size;
            return self.put(relative, content.clone(), Some(stamp));
        }
        let content = read_bounded(path);
        if let Content::Text(t) = &content {
            self.bytes += t.len() as u64;
        }
        self.put(relative, content, Some(stamp))
    }

    fn put(&mut self, relative: String, content: Content, stamp: Option<Stamp>) -> Result<(), Stop> {
        let path: Arc<str> = relative.into();
        if let Some(stamp) = stamp {
            self.out.stamps.insert(path.clone(), stamp);
        }
        self.out.files.insert(path, content);
        if self.out.files.len() > MAX_FILES {
            return Err(Stop::Limit("100,000 files"));
        }
        if self.bytes > MAX_POLICY_BYTES {
            return Err(Stop::Limit("1 GiB"));
        }
        Ok(())
    }
}

/// Reads a file up to the limit; errors are content.
pub fn read_bounded(path: &Path) -> Content {
    let bytes = fs::File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match bytes {
        Err(e) => Content::Unreadable(e.to_string()),
        Ok(bytes) if bytes.len() as u64 > MAX_FILE_BYTES => {
            Content::TooLarge(fs::metadata(path).map_or(bytes.len() as u64, |m| m.len()))
        }
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Content::Text(text.into()),
            Err(e) => Content::Bytes(e.into_bytes().into()),
        },
    }
}
