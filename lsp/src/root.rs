//! Which policy a file belongs to.

use compiler::tree::find_root;
use std::path::{Path, PathBuf};

/// The root of the policy of a file, as `vigoc` finds it, and the path of the file in it, with `/`.
pub fn locate(file: &Path) -> Option<(PathBuf, String)> {
    let root = find_root(file.parent()?)?;
    let relative = file.strip_prefix(&root).ok()?;
    let parts = relative.components().map(|c| c.as_os_str().to_str()).collect::<Option<Vec<_>>>()?;
    let path = parts.join("/");
    let counts = path.ends_with(".vgo") || path.starts_with("templates/");
    let hidden = parts.iter().any(|p| p.starts_with('.'));
    (counts && !hidden).then_some((root, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_entries_in_a_directory_belong_to_the_policy_above() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in ["modules", "office/deep", "templates/modules", ".git"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["nodes.vgo", "office/nodes.vgo", "modules/a.vgo"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        for path in [
            "office/nodes.vgo",
            "office/deep/x.vgo",
            "modules/a.vgo",
            "templates/modules/a.conf",
            "nodes.vgo",
        ] {
            assert_eq!(locate(&root.join(path)), Some((root.to_owned(), path.to_owned())), "{path}");
        }
        assert_eq!(locate(&root.join("README.md")), None);
        assert_eq!(locate(&root.join(".git/x.vgo")), None);
        std::fs::remove_dir_all(root.join("modules")).unwrap();
        std::fs::remove_dir_all(root.join("templates")).unwrap();
        assert_eq!(locate(&root.join("office/nodes.vgo")).unwrap().0, root);
    }
}
