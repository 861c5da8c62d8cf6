//! What an edit makes the compiler do again, and what it leaves alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use compiler::db::RootDb;
use compiler::policy::Policy;
use std::path::Path;
use vigo_tests::golden::{copy, traits};

fn acme() -> (tempfile::TempDir, Policy) {
    let dir = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/acme"), dir.path()).unwrap();
    let policy = Policy::open_with(dir.path(), RootDb::recording()).unwrap();
    (dir, policy)
}

/// Opens a file as an editor does, which makes it a file that changes, and checks.
fn open(policy: &mut Policy, path: &str) -> std::sync::Arc<str> {
    let text = policy.text(path).unwrap();
    policy.set_text(path, &text);
    policy.check();
    text
}

/// Replaces `old` by `new` in one file of a checked policy; the names of the queries that a check then runs, sorted.
fn edit(policy: &mut Policy, path: &str, old: &str, new: &str) -> Vec<String> {
    let text = open(policy, path);
    assert_eq!(text.matches(old).count(), 1, "{path}: {old}");
    policy.set_text(path, &text.replace(old, new));
    policy.queries().0.record();
    policy.check();
    let recorded = policy.queries().0.recorded().ran;
    let mut out: Vec<String> =
        recorded.iter().map(|q| q.split('(').next().unwrap_or_default().to_owned()).collect();
    out.sort();
    println!("{path}: {out:?}");
    out
}

fn count(ran: &[String], name: &str) -> usize {
    ran.iter().filter(|q| *q == name).count()
}

/// Root hashes of every class for a Debian host.
fn roots(policy: &Policy) -> Vec<ir::Hash> {
    let debian =
        "os.family=debian os.distro=debian os.version=12 os.codename=bookworm container.inside=false";
    let traits = traits(debian.split(' '));
    policy.classes().iter().map(|c| policy.variant(c, &traits).unwrap().merkle_root).collect()
}

#[test]
fn nothing_changed_nothing_runs() {
    let (_dir, mut policy) = acme();
    let text = open(&mut policy, "modules/motd.vgo");
    policy.set_text("modules/motd.vgo", &text);
    policy.queries().0.record();
    policy.check();
    assert_eq!(policy.queries().0.recorded().ran, Vec::<String>::new());
}

#[test]
fn the_body_of_one_module_leaves_the_others_alone() {
    let (_dir, mut policy) = acme();
    let ran = edit(&mut policy, "modules/debug.vgo", "export ACME_LOG=", "export ACME_LOG_LEVEL=");
    for once in ["ast", "interface", "reads"] {
        assert_eq!(count(&ran, once), 1, "{once} in {ran:?}");
    }
    // once for all classes, whatever its variable is for them: no value of it could make the text wrong
    for once in ["typed", "needs", "evaluated", "shape", "outline", "module_findings"] {
        assert_eq!(count(&ran, once), 1, "{once} in {ran:?}");
    }
    // it looks the same from outside, so nothing runs for any class, and no bytes are made before they are asked for
    assert_eq!(
        ran,
        [
            "ast",
            "default_findings",
            "evaluated",
            "interface",
            "module_findings",
            "needs",
            "outline",
            "reads",
            "shape",
            "typed"
        ]
    );
}

/// What is looked at after an edit, in a policy of 200 modules and 100 entries: six queries for each class and two for each
/// module, and none for each module of each class.
#[test]
fn an_edit_looks_at_little() {
    let dir = tempfile::tempdir().unwrap();
    vigo_tests::generator::generate(dir.path(), 200, 20, 100).unwrap();
    let mut policy = Policy::open_with(dir.path(), RootDb::recording()).unwrap();
    policy.check();
    let text = open(&mut policy, "modules/m0100.vgo");
    policy.set_text("modules/m0100.vgo", &text.replacen("0644", "0600", 1));
    policy.queries().0.record();
    assert!(policy.check().diagnostics.is_empty());
    let recorded = policy.queries().0.recorded();
    println!("{} ran, {} kept", recorded.ran.len(), recorded.kept);
    assert!(recorded.ran.len() <= 20, "{:?}", recorded.ran);
    assert!(recorded.kept <= 2000, "{} queries were looked at", recorded.kept);
}

#[test]
fn a_template_is_about_its_module_only() {
    let (_dir, mut policy) = acme();
    let ran = edit(&mut policy, "templates/nginx/index.html.tmpl", "Served by", "Delivered by");
    assert_eq!((count(&ran, "typed"), count(&ran, "shape")), (1, 1), "{ran:?}");
    assert_eq!(
        count(&ran, "merged_vars") + count(&ran, "resolved_class") + count(&ran, "index"),
        0,
        "{ran:?}"
    );
}

#[test]
fn a_comment_changes_no_hash() {
    let (_dir, mut policy) = acme();
    let before = roots(&policy);
    edit(&mut policy, "modules/nginx.vgo", "name: nginx\n", "# a comment\n\nname: nginx   # and another\n");
    edit(&mut policy, "roles.vgo", "  - name: webserver\n", "  # for every site\n  - name: webserver\n");
    edit(&mut policy, "nodes.vgo", "nodes:\n", "# first match wins\nnodes:\n");
    assert_eq!(roots(&policy), before);
}

#[test]
fn a_change_changes_the_hash_of_those_who_get_it() {
    let (_dir, mut policy) = acme();
    let before = roots(&policy);
    edit(&mut policy, "modules/dotfiles.vgo", "alias gs='git status'", "alias gs='git status -sb'");
    let changed: Vec<bool> = roots(&policy).iter().zip(&before).map(|(a, b)| a != b).collect();
    let gets: Vec<bool> = policy
        .classes()
        .iter()
        .map(|c| policy.variant(c, &traits("os.family=debian os.distro=debian os.version=12 os.codename=x container.inside=false".split(' '))).unwrap())
        .map(|v| v.modules.iter().any(|m| &*m.name == "dotfiles"))
        .collect();
    assert_eq!(changed, gets);
    assert!(gets.contains(&true) && gets.contains(&false));
}

#[test]
fn a_default_reaches_those_who_read_it() {
    let (_dir, mut policy) = acme();
    let before = roots(&policy);
    let ran = edit(&mut policy, "modules/motd.vgo", "contact: root", "contact: nobody");
    // common.vgo sets it for everyone: the classes are merged again, and nothing comes of it
    assert_eq!((count(&ran, "merged_vars"), count(&ran, "typed")), (7, 1), "{ran:?}");
    for never in ["resolved_class", "assigned", "typed_parts", "parts_of", "links"] {
        assert_eq!(count(&ran, never), 0, "{never} in {ran:?}");
    }
    assert_eq!(roots(&policy), before);
    let ran = edit(&mut policy, "modules/ssh.vgo", "{ type: int, default: 3,", "{ type: int, default: 4,");
    // a text prints it, and no value of it could make the text wrong
    assert_eq!((count(&ran, "class_view"), count(&ran, "parts_of")), (7, 0), "{ran:?}");
    let after = roots(&policy);
    assert!(after.iter().zip(&before).all(|(a, b)| a != b), "every class gets ssh");
}

#[test]
fn another_directory_shares_what_is_the_same() {
    let (dir, mut policy) = acme();
    let before = roots(&policy);
    let other = tempfile::tempdir().unwrap();
    copy(dir.path(), other.path()).unwrap();
    let path = other.path().join("modules/dotfiles.vgo");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("alias gs='git status'", "alias gs='git status -sb'")).unwrap();
    assert_eq!(policy.switch_to(other.path()).unwrap(), ["modules/dotfiles.vgo"]);
    policy.queries().0.record();
    let after = roots(&policy);
    let ran: Vec<String> = policy.queries().0.recorded().ran;
    let ran: Vec<String> = ran.iter().map(|q| q.split('(').next().unwrap_or_default().to_owned()).collect();
    let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert!(changed > 0 && changed < before.len(), "{changed}");
    for once in ["ast", "interface", "typed", "encoded"] {
        assert_eq!(count(&ran, once), 1, "{once} in {ran:?}");
    }
    for never in ["resolved_class", "defaults", "merged_vars", "class_view", "parts_of", "links", "linked"] {
        assert_eq!(count(&ran, never), 0, "{never} in {ran:?}");
    }
    assert_eq!(count(&ran, "assembled"), changed, "{ran:?}");
}

#[test]
fn classes_with_the_same_modules_are_linked_once() {
    let dir = tempfile::tempdir().unwrap();
    vigo_tests::generator::generate(dir.path(), 20, 10, 12).unwrap();
    let policy = Policy::open_with(dir.path(), RootDb::recording()).unwrap();
    policy.queries().0.record();
    assert!(policy.check().diagnostics.is_empty());
    let ran: Vec<String> = policy.queries().0.recorded().ran;
    let ran: Vec<String> = ran.iter().map(|q| q.split('(').next().unwrap_or_default().to_owned()).collect();
    // two roles, in two orders at most
    assert_eq!(count(&ran, "merged_vars"), 12, "{ran:?}");
    for of_lists in ["defaults", "missing", "typed_parts", "parts_of", "links"] {
        assert!(count(&ran, of_lists) <= 2, "{of_lists}: {} times", count(&ran, of_lists));
    }
}
