//! The file that is edited, whatever edits it.

use super::*;

#[test]
fn created_kept_and_repaired() {
    let s = Sandbox::new();
    let mut d = with("file_line", &[("line", "a".into()), ("mode", "0640".into())]);
    assert!(!s.probe("file_line", &d).unwrap().is_clean(), "in a dry run another resource may make it");
    let error = s.converge("file_line", &d).unwrap_err().to_string();
    assert_eq!(
        error,
        "attribute `target_path`: there is no /f; let what makes it come first, or set `create: true`"
    );
    d.set("create", true.into(), false);
    let probe = s.converge("file_line", &d).unwrap();
    assert_eq!((probe.action().as_str(), probe.diff.unwrap().added), ("created", 1));
    assert_eq!(fs::metadata(s.path("f")).unwrap().mode() & 0o7777, 0o640);
    fs::write(s.path("f"), "b\n").unwrap();
    fs::set_permissions(s.path("f"), fs::Permissions::from_mode(0o600)).unwrap();
    d.set("mode", Value::Null, false);
    d.set("backup", true.into(), false);
    let d2 = with("file_line", &[("line", "a".into()), ("backup", true.into())]);
    let probe = s.converge("file_line", &d2).unwrap();
    assert_eq!(probe.action(), "line added");
    assert!(probe.diff.unwrap().text.contains("+a\n"));
    assert_eq!(fs::metadata(s.path("f")).unwrap().mode() & 0o7777, 0o600, "the mode stays");
    assert_eq!(fs::read(s.path("f.vigo-1700000000.bak")).unwrap(), b"b\n");
    let checked =
        with("file_line", &[("line", "bad".into()), ("validate", "sh -c '! grep -q bad %s'".into())]);
    assert!(matches!(s.converge("file_line", &checked), Err(ResourceError::Exit { .. })));
    assert_eq!(fs::read(s.path("f")).unwrap(), b"b\na\n");
}

#[test]
fn absence_needs_no_file() {
    let s = Sandbox::new();
    let absent = with("file_line", &[("line", "a".into()), ("state", "absent".into())]);
    assert!(s.converge("file_line", &absent).unwrap().is_clean());
    let removed = with("json_file", &[("remove", list(&["a.b"]))]);
    assert!(s.converge("json_file", &removed).unwrap().is_clean());
    assert_eq!(fs::read_dir(s.dir.path()).unwrap().count(), 0);
}

#[test]
fn case_082_only_a_regular_file_is_edited() {
    let s = Sandbox::new();
    let d = with("file_line", &[("line", "x".into())]);
    let refused =
        |s: &Sandbox| assert!(matches!(s.converge("file_line", &d), Err(ResourceError::InTheWay { .. })));
    fs::write(s.path("other"), "safe\n").unwrap();
    symlink("other", s.path("f")).unwrap();
    refused(&s);
    fs::remove_file(s.path("f")).unwrap();
    nix::unistd::mkfifo(&s.path("f"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&s);
    fs::remove_file(s.path("f")).unwrap();
    fs::create_dir(s.path("f")).unwrap();
    refused(&s);
    fs::remove_dir(s.path("f")).unwrap();
    // Of a hard link only this name gets the new content, and a mode alone is not changed.
    fs::hard_link(s.path("other"), s.path("f")).unwrap();
    let mode = with("file_line", &[("line", "safe".into()), ("mode", "0777".into())]);
    assert!(matches!(s.converge("file_line", &mode), Err(ResourceError::HardLinks { links: 2, .. })));
    s.converge("file_line", &d).unwrap();
    assert_eq!(fs::read(s.path("other")).unwrap(), b"safe\n");
}

#[test]
fn case_080_a_path_that_is_not_plain_is_refused() {
    let s = Sandbox::new();
    for path in ["f", "/../f", "/a//f", "/./f", "/f\0", "/"] {
        let d = with(
            "replace",
            &[("target_path", path.into()), ("pattern", "a".into()), ("replacement", "b".into())],
        );
        assert!(matches!(s.probe("replace", &d), Err(ResourceError::Path(_))), "{path:?}");
    }
}

#[test]
fn what_is_not_text_or_too_large_stays_as_it_is() {
    let s = Sandbox::new();
    let d = with("file_line", &[("line", "x".into())]);
    fs::write(s.path("f"), b"ok\n\xffno\n").unwrap();
    let error = s.converge("file_line", &d).unwrap_err().to_string();
    assert_eq!(error, "/f, line 2, column 1: is not UTF-8 text; the file was left as it is");
    let file = fs::File::create(s.path("f")).unwrap();
    file.set_len(super::super::MAX_EDITED + 1).unwrap();
    let error = s.converge("file_line", &d).unwrap_err().to_string();
    assert!(error.contains("larger than 16 MiB"), "{error}");
}

#[test]
fn a_secret_is_not_shown() {
    let s = Sandbox::new();
    fs::write(s.path("f"), "{}").unwrap();
    let mut d = with("json_file", &[]);
    d.set("set", map(&[("password", "hunter2".into())]), true);
    let probe = s.converge("json_file", &d).unwrap();
    assert_eq!(probe.action(), "set password (sensitive)");
    assert!(probe.diff.is_none());
    let s = Sandbox::new();
    d.set("create", true.into(), false);
    s.converge("json_file", &d).unwrap();
    assert_eq!(fs::metadata(s.path("f")).unwrap().mode() & 0o777, 0o600);
    let mut d = with("file_line", &[("state", "absent".into())]);
    d.set("line", "hunter2".into(), true);
    fs::write(s.path("f"), "hunter2\n").unwrap();
    let probe = s.converge("file_line", &d).unwrap();
    assert!(probe.diff.is_none() && !probe.action().contains("hunter2"), "{}", probe.action());
}

#[test]
fn attributes_of_another_type_are_refused() {
    let s = Sandbox::new();
    let d = with("ini", &[("line", "x".into())]);
    assert!(matches!(s.probe("ini", &d), Err(ResourceError::UnknownAttribute { kind: "ini", .. })));
}
