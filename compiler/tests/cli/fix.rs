//! `vigoc fix`.

use super::{ENVIRONMENTS, NODES, policy, small, text, vigoc};
use std::fs;

const APP: &str = "name: app\nvars: { workers: 4 }\nresources:\n  - name: config\n    type: file\n    \
                   target_path: /etc/app\n    content: \"{{ .Vars.workers }}\"\n    mode: 0644\n    backup: 'true'\n";

#[test]
fn what_can_be_fixed_is_and_the_rest_is_counted() {
    let app = APP.replace(".Vars.workers", ".Vars.wokers");
    let dir = policy(&[("nodes.vgo", NODES), ("environments.vgo", ENVIRONMENTS), ("modules/app.vgo", &app)]);
    let (root, file) = (text(dir.path()), dir.path().join("modules/app.vgo"));
    let before = fs::read_to_string(&file).unwrap();

    let ran =
        vigoc(&["fix", root, "--diff"]).exits(1).prints("--- a/modules/app.vgo\n+++ b/modules/app.vgo\n");
    assert!(
        ran.out.contains("\n-    mode: 0644\n") && ran.out.contains("\n+    mode: \"0644\"\n"),
        "{}",
        ran.out
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), before, "--diff writes nothing");

    let ran = vigoc(&["fix", root]).exits(1).says("1 error left; `vigoc check` shows them");
    assert!(ran.out.starts_with("wrote modules/app.vgo\nfixed 2 findings in 1 file: "), "{}", ran.out);
    let after = fs::read_to_string(&file).unwrap();
    assert!(after.contains("mode: \"0644\"") && after.contains("backup: true"), "{after}");
    assert!(after.contains(".Vars.wokers"), "the nearest name is a guess");

    vigoc(&["fix", root, "--guesses"]).exits(0);
    assert!(fs::read_to_string(&file).unwrap().contains(".Vars.workers"));
    vigoc(&["fix", root]).exits(0).prints("nothing to fix");
    vigoc(&["check", root]).exits(0).prints("no problems");
}

#[test]
fn syntax_is_mended_round_after_round() {
    let nodes = "nodes:\n  - match: web.test\n    environment:production\n    modules: [app,, app2]\n    vars: { a: &x 1 }\n";
    let dir = policy(&[("nodes.vgo", nodes), ("modules/app.vgo", APP), ("modules/app2.vgo", "name: app2\n")]);
    vigoc(&["fix", text(dir.path())]);
    let after = fs::read_to_string(dir.path().join("nodes.vgo")).unwrap();
    assert!(after.contains("environment: production\n    modules: [app, app2]"), "{after}");
    vigoc(&["check", text(dir.path())]).exits(0);
}

#[test]
fn a_policy_without_findings_is_left_alone() {
    let dir = small();
    vigoc(&["fix", text(dir.path())]).exits(0).prints("nothing to fix\n");
    assert_eq!(vigoc(&["fix", text(dir.path()), "--diff"]).exits(0).out, "");
    vigoc(&["fix", "/nonexistent"]).exits(65);
}
