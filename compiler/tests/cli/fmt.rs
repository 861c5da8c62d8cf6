//! `vigoc fmt`.

use super::{vigoc, vigoc_in};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const LOOSE: &str = "nodes:\n- match:   '*'\n  modules: [ a,b ]   # both\n";
const TIGHT: &str = "nodes:\n  - match: '*'\n    modules: [a, b]   # both\n";

fn policy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("modules/.hidden")).unwrap();
    fs::write(dir.path().join("nodes.vgo"), LOOSE).unwrap();
    fs::write(dir.path().join("modules/a.vgo"), "name: a\n").unwrap();
    fs::write(dir.path().join("modules/b.vgo"), "name:  b\r\n").unwrap();
    fs::write(dir.path().join("modules/.hidden/c.vgo"), "name:  c\n").unwrap();
    fs::write(dir.path().join("modules/d.txt"), "name:  d\n").unwrap();
    dir
}

fn read(dir: &Path, path: &str) -> String {
    fs::read_to_string(dir.join(path)).unwrap()
}

#[test]
fn the_whole_policy_and_nothing_else() {
    let dir = policy();
    let nodes = dir.path().join("nodes.vgo");
    fs::set_permissions(&nodes, fs::Permissions::from_mode(0o640)).unwrap();
    let below = dir.path().join("modules");
    let ran = vigoc_in(&below, &["fmt", "--check"], "").exits(1).says("2 of 3 files would change");
    assert_eq!(ran.out.lines().count(), 2);
    assert_eq!(read(dir.path(), "nodes.vgo"), LOOSE);

    let ran = vigoc_in(dir.path(), &["fmt"], "").exits(0);
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    assert_eq!(read(dir.path(), "nodes.vgo"), TIGHT);
    assert_eq!(read(dir.path(), "modules/b.vgo"), "name: b\n");
    assert_eq!(read(dir.path(), "modules/.hidden/c.vgo"), "name:  c\n");
    assert_eq!(read(dir.path(), "modules/d.txt"), "name:  d\n");
    assert_eq!(fs::metadata(&nodes).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left behind");

    let ran = vigoc_in(dir.path(), &["fmt", "--check"], "").exits(0);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
}

#[test]
fn a_diff_changes_nothing() {
    let dir = policy();
    let ran = vigoc_in(dir.path(), &["fmt", "--diff", "nodes.vgo"], "").exits(0);
    assert!(ran.out.contains("-- match:   '*'\n") && ran.out.contains("+  - match: '*'\n"), "{}", ran.out);
    vigoc_in(dir.path(), &["fmt", "--diff", "--check", "nodes.vgo"], "").exits(1).prints("@@");
    assert_eq!(read(dir.path(), "nodes.vgo"), LOOSE);
}

#[test]
fn stdin_to_stdout() {
    let here = Path::new(".");
    assert_eq!(vigoc_in(here, &["fmt", "-"], LOOSE).exits(0).out, TIGHT);
    assert_eq!(vigoc_in(here, &["fmt", "-"], TIGHT).exits(0).out, TIGHT);
    assert_eq!(vigoc_in(here, &["fmt", "--check", "-"], LOOSE).exits(1).out, "<stdin>\n");
    let ran = vigoc_in(here, &["fmt", "-"], "a: [\nb: 'c\n").exits(1).says("<stdin>:1:4").says("2 errors");
    assert_eq!(ran.out, "");
}

#[test]
fn a_file_with_errors_stays_and_the_others_do_not() {
    let dir = policy();
    fs::write(dir.path().join("modules/a.vgo"), "name:   a\nx: [\n").unwrap();
    let ran = vigoc_in(dir.path(), &["fmt"], "").exits(1).says("unclosed-bracket").says("left as it is");
    assert_eq!(ran.out.lines().count(), 2);
    assert_eq!(read(dir.path(), "modules/a.vgo"), "name:   a\nx: [\n");
    assert_eq!(read(dir.path(), "nodes.vgo"), TIGHT);
}

#[test]
fn links_stay_links() {
    let dir = policy();
    fs::rename(dir.path().join("nodes.vgo"), dir.path().join("real.vgo")).unwrap();
    std::os::unix::fs::symlink("real.vgo", dir.path().join("link.vgo")).unwrap();
    vigoc_in(dir.path(), &["fmt", "link.vgo"], "").exits(0);
    assert!(fs::symlink_metadata(dir.path().join("link.vgo")).unwrap().is_symlink());
    assert_eq!(read(dir.path(), "real.vgo"), TIGHT);
}

#[test]
fn what_cannot_be_read() {
    let dir = policy();
    vigoc_in(dir.path(), &["fmt", "nothing.vgo"], "").exits(65).says("nothing.vgo");
    fs::write(dir.path().join("bytes.vgo"), b"a: \xff\n").unwrap();
    vigoc_in(dir.path(), &["fmt", "bytes.vgo", "nodes.vgo"], "").exits(65).says("not UTF-8");
    assert_eq!(read(dir.path(), "nodes.vgo"), TIGHT, "the other file is laid out all the same");
    vigoc_in(dir.path(), &["fmt", "-", "nodes.vgo"], "").exits(64);
    vigoc_in(dir.path(), &["fmt", "-C", ".", "nodes.vgo"], "").exits(64);
    vigoc(&["fmt", "--help"]).exits(0).prints("Examples:");
}

#[test]
fn a_read_only_file_is_not_replaced() {
    let dir = policy();
    let nodes = dir.path().join("nodes.vgo");
    fs::set_permissions(&nodes, fs::Permissions::from_mode(0o444)).unwrap();
    vigoc_in(dir.path(), &["fmt", "nodes.vgo"], "").exits(1).says("read-only");
    assert_eq!(read(dir.path(), "nodes.vgo"), LOOSE);
}
