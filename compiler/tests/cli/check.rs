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
    let known = "human, short, json, ndjson, sarif, github, gitlab, junit, markdown";
    vigoc(&["check", "--format", "xml"]).exits(64).says(known);
    vigoc(&["check", "--report", "xml:x"]).exits(64).says(known);
    vigoc(&["check", "--report", "sarf:x"]).exits(64).says("did you mean `sarif`?");
    vigoc(&["check", "--report", "sarif"]).exits(64).says("FORMAT:PATH");
}

#[test]
fn second_reports_go_to_files() {
    let dir = noisy("");
    let out = tempfile::tempdir().unwrap();
    let root = text(dir.path());
    let mut args = vec!["check", root, "--format", "short", "--timings"];
    let formats = ["json", "sarif", "github", "gitlab", "junit", "markdown", "human", "short"];
    let targets: Vec<String> = formats.iter().map(|f| format!("{f}:out.{f}")).collect();
    for target in &targets {
        args.extend(["--report", target]);
    }
    let ran = vigoc_in(out.path(), &args, "").exits(0);
    for step in ["read ", "parse ", "types ", "resolve ", "specialise ", "collect ", "report "] {
        assert!(ran.err.contains(step), "{step}: {}", ran.err);
    }
    for format in formats {
        let report = std::fs::read_to_string(out.path().join(format!("out.{format}"))).unwrap();
        assert!(report.contains("unguarded-exec"), "{format}: {report}");
        assert!(!report.contains('\x1b'), "{format}");
        let printed = vigoc_in(out.path(), &["check", root, "--format", format], "").exits(0).out;
        let steady = |text: &str| {
            let lines = text.lines().filter(|l| !l.contains(" warning in 3 files"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(steady(&report), steady(&printed), "the same renderer");
    }
    vigoc(&["check", root, "--report", "json:/nonexistent/x.json"])
        .exits(1)
        .says("cannot write `/nonexistent/x.json`");
}

/// A policy with a command that runs at every check, with a comment above it.
fn noisy(comment: &str) -> tempfile::TempDir {
    let app = format!("{APP}  - name: again\n{comment}    type: exec\n    command: date\n");
    policy(&[("nodes.vgo", NODES), ("environments.vgo", ENVIRONMENTS), ("modules/app.vgo", &app)])
}

#[test]
fn a_comment_with_a_reason_allows_a_warning() {
    let dir = noisy("    # vigo: allow(unguarded-exec) prints only\n");
    let root = text(dir.path());
    vigoc(&["check", root, "--deny", "warnings"])
        .exits(0)
        .prints("no problems in 3 files")
        .prints("; 1 allowed by comments");
    let json = vigoc(&["check", root, "--format", "json"]).exits(0).json();
    assert_eq!(json["diagnostics"].as_array().unwrap().len(), 0);
    assert_eq!(json["suppressed"][0]["code"], "unguarded-exec");
    assert_eq!(json["suppressed"][0]["reason"], "prints only");
    assert_eq!(json["summary"]["allowed"], 1);
    let sarif = vigoc(&["check", root, "--format", "sarif"]).exits(0).json();
    let suppression = &sarif["runs"][0]["results"][0]["suppressions"][0];
    assert_eq!(
        (&suppression["kind"], &suppression["justification"]),
        (&"inSource".into(), &"prints only".into())
    );

    vigoc(&["check", text(noisy("    # vigo: allow(unguarded-exec)\n").path())])
        .exits(1)
        .prints("allow-without-reason");
    vigoc(&["check", text(noisy("    # vigo: allow(unused-role) x\n").path())])
        .exits(0)
        .prints("unused-allow");
}

#[test]
fn a_baseline_leaves_old_findings_out_and_names_lost_ones() {
    let dir = noisy("");
    let (root, file) = (text(dir.path()), dir.path().join("baseline.json"));
    let file = text(&file);
    vigoc(&["check", root, "--deny", "warnings", "--write-baseline", file])
        .exits(0)
        .says("wrote 1 finding to");
    vigoc(&["check", root, "--deny", "warnings", "--baseline", file]).exits(0).prints("; 1 in the baseline");

    // a second one is new; lines that moved are not
    let app = dir.path().join("modules/app.vgo");
    let before = std::fs::read_to_string(&app).unwrap();
    let second = format!("# moved\n\n{before}  - name: more\n    type: exec\n    command: ls\n");
    std::fs::write(&app, second).unwrap();
    let ran = vigoc(&["check", root, "--deny", "warnings", "--baseline", file]).exits(1).prints("1 error in");
    assert!(!ran.err.contains("warning"), "{}", ran.err);

    std::fs::write(&app, APP).unwrap();
    let gone = vigoc(&["check", root, "--baseline", file]).exits(0);
    assert!(gone.err.contains("lists 1 finding that nothing brings about any more"), "{}", gone.err);
    assert!(gone.err.contains("modules/app.vgo: this command runs at every check"), "{}", gone.err);
    let sarif = vigoc(&["check", root, "--baseline", file, "--format", "sarif"]).exits(0).json();
    assert_eq!(sarif["runs"][0]["results"][0]["baselineState"], "absent");

    vigoc(&["check", root, "--baseline", file, "--write-baseline", file]).exits(64);
    vigoc(&["check", root, "--baseline", "/nonexistent"]).exits(65);
    std::fs::write(file, "{}").unwrap();
    vigoc(&["check", root, "--baseline", file]).exits(65).says("is no baseline");
}

#[test]
fn an_error_is_never_in_a_baseline() {
    let broken = APP.replace(".Vars.workers", ".Vars.wokers");
    let dir =
        policy(&[("nodes.vgo", NODES), ("environments.vgo", ENVIRONMENTS), ("modules/app.vgo", &broken)]);
    let file = dir.path().join("baseline.json");
    vigoc(&["check", text(dir.path()), "--write-baseline", text(&file)]).exits(1).says("wrote 0 findings");
    vigoc(&["check", text(dir.path()), "--baseline", text(&file)]).exits(1);
}

#[test]
fn watching_checks_again_after_a_save() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let dir = small();
    let mut child = Command::new(env!("CARGO_BIN_EXE_vigoc"))
        .args(["check", text(dir.path()), "--watch", "--format", "short"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("no problems in 3 files"));
    std::fs::write(dir.path().join("modules/app.vgo"), APP.replace(".Vars.workers", ".Vars.wokers")).unwrap();
    let mut next = || lines.find(|l| !l.as_ref().unwrap().is_empty()).unwrap().unwrap();
    assert_eq!(next(), "-- modules/app.vgo changed");
    assert!(next().starts_with("modules/app.vgo:13:"));
    // what Ctrl-C in a terminal sends
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    vigoc(&["check", text(dir.path()), "--watch", "--format", "json"]).exits(64).says("--watch");
}

#[test]
fn what_stands_in_the_place_of_a_key_says_as_much_but_names_nothing() {
    let run = |resource: &str, code| {
        let module = format!("name: m\nresources:\n  - {resource}\n");
        let nodes = "nodes: [{ match: h, modules: [m] }]\n";
        let dir = policy(&[("nodes.vgo", nodes), ("modules/m.vgo", &module)]);
        vigoc(&["check", text(dir.path()), "--format", "short"]).exits(code)
    };
    run("{ name: tools, type: package, packages: [curl, git] }", 0);
    run("{ type: package, package: curl }", 0);
    run("{ name: tools, type: package }", 1).prints("this package has no `package`");
    run("{ name: tools, type: package, package: jq, packages: [curl] }", 1).prints("exclude each other");
    run("{ type: package, packages: [curl, git] }", 1)
        .prints("this package needs a `name:`: it has `packages` and no `package`");
}
