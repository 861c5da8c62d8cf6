//! The files of a policy on their way to a release: read from a directory, sent by somebody, or kept in the store.
//!
//! What was sent is hostile until it is looked at here. Nothing is ever written under these names, but they are shown, compiled
//! and checked out again by others, on other systems too.

use crate::text::plain;
use compiler::db::Content;
use compiler::tree::{self, Files, MAX_FILE_BYTES};
use ir::Hash;
use ir::is_unseen;
use std::collections::HashMap;
use std::sync::Arc;

/// Files of a release.
pub const MAX_FILES: usize = 20_000;
/// Bytes of a release.
pub const MAX_BYTES: u64 = 64 << 20;
/// Bytes of a path.
const MAX_PATH: usize = 512;
/// Directories above a file.
const MAX_DEPTH: usize = 32;

/// Files by path, and a digest over all of them. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    files: Arc<Files>,
    digest: Hash,
}

/// Why files are no policy that can be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A name that has no place in a policy.
    #[error("`{path}` cannot be the name of a policy file: {why}")]
    Name {
        /// Fit to be shown.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// One name twice.
    #[error("`{0}` is there twice")]
    Twice(String),
    /// Names that are the same where case does not count.
    #[error("`{0}` and `{1}` differ in case only: on some systems they are one file; rename one of them")]
    Case(String, String),
    /// A file where another one has a directory.
    #[error("`{0}` is a file, and there are files below it")]
    FileAndDirectory(String),
    /// A large file.
    #[error("`{path}` has {size} bytes; a file of a policy may have {MAX_FILE_BYTES}")]
    FileTooLarge {
        /// Which.
        path: String,
        /// Its size.
        size: u64,
    },
    /// Too many.
    #[error("the policy has {0} files; a release may have {MAX_FILES}")]
    TooMany(usize),
    /// Too much.
    #[error("the policy has {0} bytes; a release may have {MAX_BYTES}")]
    TooLarge(u64),
    /// No policy at all.
    #[error("there is no .vgo file in it")]
    Empty,
    /// A file that could not be read.
    #[error("`{path}` cannot be published: {why}")]
    Unusable {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
}

/// A path and the bytes that are stored for it.
pub type StoredFile = (String, Arc<[u8]>);

impl Tree {
    /// Files that were sent: every one has a path of its own.
    pub fn sent(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Self, TreeError> {
        let mut all = Files::new();
        for (path, bytes) in files {
            if all.insert(path.as_str().into(), content(bytes)).is_some() {
                return Err(TreeError::Twice(shown(&path)));
            }
        }
        Tree::new(all)
    }

    /// Files from anywhere; checks names and sizes.
    pub fn new(files: Files) -> Result<Self, TreeError> {
        if files.len() > MAX_FILES {
            return Err(TreeError::TooMany(files.len()));
        }
        let (mut total, mut by_case) = (0u64, HashMap::new());
        for (path, content) in &files {
            check_name(path).map_err(|why| TreeError::Name { path: shown(path), why })?;
            let size = match content {
                Content::Text(text) => text.len() as u64,
                Content::Bytes(bytes) => bytes.len() as u64,
                // A finding of the compiler says what is wrong with it.
                _ => 0,
            };
            if size > MAX_FILE_BYTES {
                return Err(TreeError::FileTooLarge { path: shown(path), size });
            }
            total += size;
            for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
                let whole = &path[..end];
                if end < path.len() && files.contains_key(whole) {
                    return Err(TreeError::FileAndDirectory(shown(whole)));
                }
                let other = *by_case.entry(whole.to_lowercase()).or_insert(whole);
                if other != whole {
                    return Err(TreeError::Case(shown(other), shown(whole)));
                }
            }
        }
        if total > MAX_BYTES {
            return Err(TreeError::TooLarge(total));
        }
        if !files.keys().any(|path| path.ends_with(".vgo")) {
            return Err(TreeError::Empty);
        }
        Ok(Tree { digest: tree::digest(&files), files: Arc::new(files) })
    }

    /// What the store gives back: it was checked when it was stored.
    pub fn stored(files: Vec<(String, Vec<u8>)>) -> Self {
        let files: Files = files.into_iter().map(|(path, bytes)| (path.into(), content(bytes))).collect();
        Tree { digest: tree::digest(&files), files: Arc::new(files) }
    }

    /// Equal digests, equal policies.
    pub fn digest(&self) -> Hash {
        self.digest
    }

    /// By path.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The text of a file, when it is text.
    pub fn text(&self, path: &str) -> Option<Arc<str>> {
        match self.files.get(path)? {
            Content::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// Paths and bytes, as they are stored.
    pub fn bytes(&self) -> Result<Vec<StoredFile>, TreeError> {
        let of = |(path, content): (&Arc<str>, &Content)| {
            let unusable = |why: &str| TreeError::Unusable { path: shown(path), why: why.to_owned() };
            let bytes = match content {
                Content::Text(text) => Arc::<[u8]>::from(text.clone()),
                Content::Bytes(bytes) => bytes.clone(),
                Content::Unreadable(why) => return Err(unusable(&plain(why, 200))),
                Content::TooLarge(_) => return Err(unusable("it is larger than 16 MiB")),
                Content::LeavesRoot => return Err(unusable("it is a symlink that leads out of the policy")),
            };
            Ok((path.to_string(), bytes))
        };
        self.files.iter().map(of).collect()
    }
}

fn content(bytes: Vec<u8>) -> Content {
    match String::from_utf8(bytes) {
        Ok(text) => Content::Text(text.into()),
        Err(e) => Content::Bytes(e.into_bytes().into()),
    }
}

fn shown(path: &str) -> String {
    plain(path, 200)
}

/// What the compiler would leave out when it reads a directory is refused, so that nothing is published and then not looked
/// at.
fn check_name(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > MAX_PATH {
        return Err("a path has from 1 to 512 bytes");
    }
    if path.starts_with('/') {
        return Err("it is absolute; paths begin at the root of the policy");
    }
    if path.contains('\\') || path.chars().any(is_unseen) {
        return Err("it has a backslash or a character that cannot be seen");
    }
    if path.split('/').any(|part| part == "..") {
        return Err("it leads out of the policy");
    }
    if path.split('/').any(str::is_empty) {
        return Err("a part of it is empty");
    }
    if path.split('/').any(|part| part.starts_with('.')) {
        return Err("what begins with a dot does not belong to a policy");
    }
    if path.split('/').any(|part| part.len() > 255) {
        return Err("a part of it has more than 255 bytes");
    }
    if path.matches('/').count() > MAX_DEPTH {
        return Err("it lies below more than 32 directories");
    }
    if path.starts_with("target/") || !(path.starts_with("templates/") || path.ends_with(".vgo")) {
        return Err("a policy has .vgo files and what is below templates/, and nothing of target/");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(files: &[(&str, &[u8])]) -> Result<Tree, TreeError> {
        Tree::sent(files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())))
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = format!("{}.vgo", "a".repeat(300));
        let deep = format!("{}a.vgo", "a/".repeat(40));
        for path in [
            "",
            "../nodes.vgo",
            "modules/../../etc/passwd.vgo",
            "/etc/nodes.vgo",
            "modules//a.vgo",
            "modules/a.vgo/",
            "./nodes.vgo",
            ".git/config.vgo",
            "templates/.hidden",
            "modules\\a.vgo",
            "a\0.vgo",
            "a\n.vgo",
            "\u{202e}ogv.a.vgo",
            "\u{1b}[2J.vgo",
            "README.md",
            "target/a.vgo",
            &long,
            &deep,
        ] {
            let refused = sent(&[("nodes.vgo", b"nodes: []\n"), (path, b"x")]).unwrap_err();
            assert!(matches!(refused, TreeError::Name { .. }), "{path:?}: {refused}");
            assert!(!refused.to_string().chars().any(is_unseen), "{refused:?}");
        }
    }

    #[test]
    fn files_that_are_one_on_other_systems_are_refused() {
        let two = |a: &str, b: &str| sent(&[(a, b"a"), (b, b"b")]).unwrap_err();
        assert_eq!(two("Nodes.vgo", "nodes.vgo"), TreeError::Case("Nodes.vgo".into(), "nodes.vgo".into()));
        assert!(matches!(two("modules/a.vgo", "Modules/b.vgo"), TreeError::Case(..)));
        assert!(matches!(two("a.vgo", "a.vgo/b.vgo"), TreeError::FileAndDirectory(_)));
        assert!(matches!(two("a.vgo", "a.vgo"), TreeError::Twice(_)));
    }

    #[test]
    fn sizes_are_bounded_and_an_empty_tree_is_none() {
        assert_eq!(sent(&[]), Err(TreeError::Empty));
        assert_eq!(sent(&[("templates/a", b"x")]), Err(TreeError::Empty));
        let large = vec![b'x'; MAX_FILE_BYTES as usize + 1];
        assert!(matches!(sent(&[("a.vgo", &large)]), Err(TreeError::FileTooLarge { .. })));
        let most = &large[..MAX_FILE_BYTES as usize];
        let names: Vec<String> = (0..5).map(|n| format!("{n}.vgo")).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), most)).collect();
        assert!(sent(&files[..4]).is_ok());
        assert!(matches!(sent(&files), Err(TreeError::TooLarge(_))));
        let many = (0..=MAX_FILES).map(|n| (format!("{n}.vgo"), Vec::new()));
        assert_eq!(Tree::sent(many), Err(TreeError::TooMany(MAX_FILES + 1)));
    }

    #[test]
    fn what_is_stored_comes_back_the_same() {
        let tree = sent(&[("nodes.vgo", b"nodes: []\n"), ("templates/logo", b"\xff\xfe")]).unwrap();
        let stored = tree.bytes().unwrap().into_iter().map(|(path, bytes)| (path, bytes.to_vec()));
        assert_eq!(Tree::stored(stored.collect()), tree);
        assert_eq!(tree.text("templates/logo"), None);
        let other = sent(&[("nodes.vgo", b"nodes: []\n"), ("templates/logo", b"\xff\xff")]).unwrap();
        assert_ne!(other.digest(), tree.digest());
    }
}
