//! `vigoc check`.

use super::{APP, ENVIRONMENTS, NODES, acme, policy, small, text, vigoc, vigoc_in};

#[test]
fn acme_is_clean() {
    vigoc(&["check", text(&acme())]).exits(0).prints("no problems in ");
}

#[test]
fn findings_are_drawn_and_counted() {
    let broken = APP.replace(".Vars.workers", ".Vars.wokers");
    let dir =
        policy(&[("nodes.vgo", NODES), ("environments.vgo", ENVIRONMENTS), ("modules/app.vgo", &broken)]);
    let ran = vigoc(&["check", text(dir.path())]).exits(1);
    assert!(ran.out.contains("did you mean `.Vars.workers`"), "{}", ran.out);
    assert!(ran.out.contains("modules/app.vgo:13:"), "{}", ran.out);
    assert!(ran.out.contains("1 error in 3 files (1 module, 1 class), "), "{}", ran.out);
    assert!(!ran.out.contains('\x1b'), "colours without a terminal");
    let coloured = vigoc(&["check", text(dir.path()), "--color", "always"]).exits(1);
    assert!(coloured.out.contains('\x1b'));
    vigoc(&["check", text(dir.path()), "--format", "short"]).exits(1).prints("modules/app.vgo:13:");
    vigoc(&["check", text(dir.path()), "--format", "github"]).exits(1).prints("::error file=");
}

#[test]
fn json_has_the_shape_that_is_promised() {
    let broken = APP.replace(".Vars.workers", ".Vars.wokers");
    let dir =
        policy(&[("nodes.vgo", NODES), ("environments.vgo", ENVIRONMENTS), ("modules/app.vgo", &broken)]);
    let json = vigoc(&["check", text(dir.path()), "--format", "json"]).exits(1).json();
    assert_eq!(json["format_version"], "1.0");
    assert_eq!(json["command"], "check");
    assert!(json["tool_version"].is_string());
    assert_eq!(json["summary"]["errors"], 1);
    assert_eq!(json["summary"]["files"], 3);
    assert_eq!(json["summary"]["modules"], 1);
    assert_eq!(json["summary"]["classes"], 1);
    let all = json["diagnostics"].as_array().unwrap();
    let d = all.iter().find(|d| d["code"] == "unknown-variable").unwrap();
    assert_eq!(d["severity"], "error");
    assert_eq!(d["file"], "modules/app.vgo");
    assert_eq!(d["span"]["start"]["line"], 13);
    assert_eq!(d["span"]["start"]["column"], 46);
    assert_eq!(d["span"]["end"]["column"], 52);
    assert_eq!(d["fixes"][0]["replacement"], "workers");
    assert!(d["labels"].is_array() && d["help"].is_string() && d["message"].is_string());

    // two lines more above: everything moves, the fingerprint stays
    let moved = format!("# one\n# two\n{broken}");
    let other =
        policy(&[("nodes.vgo", NODES), ("environments.vgo", ENVIRONMENTS), ("modules/app.vgo", &moved)]);
    let again = vigoc(&["check", text(other.path()), "--format", "json"]).exits(1).json();
    let all = again["diagnostics"].as_array().unwrap();
    let moved = all.iter().find(|d| d["code"] == "unknown-variable").unwrap();
    assert_eq!(moved["span"]["start"]["line"], 15);
    assert_eq!(moved["fingerprint"], d["fingerprint"]);
}

#[test]
fn warnings_can_be_denied_and_allowed() {
    let unused = format!("{APP}  - name: again\n    type: exec\n    command: date\n");
    let dir =
        policy(&[("nodes.vgo", NODES), ("environments.vgo", ENVIRONMENTS), ("modules/app.vgo", &unused)]);
    let root = text(dir.path());
    vigoc(&["check", root]).exits(0).prints("1 warning in");
    vigoc(&["check", root, "--deny", "warnings"]).exits(1).prints("1 error in");
    vigoc(&["check", root, "--deny", "unguarded-exec"]).exits(1);
    vigoc(&["check", root, "--deny", "unused-role"]).exits(0);
    vigoc(&["check", root, "--deny", "warnings", "--allow", "unguarded-exec"]).exits(0).prints("no problems");
    vigoc(&["check", root, "--deny", "unguarded-exek"]).exits(64).says("unguarded-exec");
}

#[test]
fn an_unknown_format_lists_the_known_ones() {
    vigoc(&["check", "--format", "sarif"]).exits(64).says("human, short, json, github");
    vigoc(&["check", "--report", "sarif:x"]).exits(64).says("human, short, json, github");
}

#[test]
fn a_second_report_goes_to_a_file() {
    let dir = small();
    let out = tempfile::tempdir().unwrap();
    vigoc_in(out.path(), &["check", text(dir.path()), "--report", "json:a.json", "--timings"], "")
        .exits(0)
        .says("ms");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.path().join("a.json")).unwrap()).unwrap();
    assert_eq!(json["command"], "check");
}
