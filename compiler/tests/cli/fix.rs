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

/// A policy in which much is unused; `keep` stands where nothing may go.
const UNUSED: [(&str, &str, &str); 5] = [
    (
        "nodes.vgo",
        "nodes:\n  - match: web.test\n    environment: e\n    roles: [used]\n    # of nothing\n    vars: { workers: 2, spare: 1 }\n  - match: db.test\n    modules: [app]\n    vars:\n      spare: 1\n",
        "nodes:\n  - match: web.test\n    environment: e\n    roles: [used]\n    # of nothing\n    vars: { workers: 2 }\n  - match: db.test\n    modules: [app]\n",
    ),
    (
        "roles.vgo",
        "# all roles\n\nroles:\n  - name: used\n    modules: [app]\n\n  # nobody has it\n  - name: lone\n    modules: [app]\n",
        "# all roles\n\nroles:\n  - name: used\n    modules: [app]\n\n",
    ),
    (
        "environments.vgo",
        "env:\n  e:\n    vars: { spare: 3 }\n",
        // without its only variable the environment would be nothing, which is for a person to say
        "env:\n  e:\n    vars: { spare: 3 }\n",
    ),
    (
        "modules/app.vgo",
        "name: app\n# what it takes\nparams:\n  workers: { type: int, default: 1 }\n  # of old\n  gone:\n    type: string # once\n    default: x\n  # kept\n  kept: { type: int, default: 1 } # vigo: allow(unused-variable) read by people\nvars:\n  # list\n  list:\n    - 1\n    - 2\nresources:\n  - { name: f, type: file, target_path: /f, content: \"{{ .Vars.workers }}\", mode: \"0644\" }\n",
        "name: app\n# what it takes\nparams:\n  workers: { type: int, default: 1 }\n  # kept\n  kept: { type: int, default: 1 } # vigo: allow(unused-variable) read by people\nresources:\n  - { name: f, type: file, target_path: /f, content: \"{{ .Vars.workers }}\", mode: \"0644\" }\n",
    ),
    ("modules/lone.vgo", "name: lone\n", "name: lone\n"),
];

#[test]
fn what_nothing_uses_is_taken_out_with_its_comments() {
    let dir = policy(&UNUSED.map(|(path, before, _)| (path, before)));
    let root = text(dir.path());
    let diff = vigoc(&["fix", root, "--diff"]).exits(1);
    diff.prints("-  # of old\n-  gone:\n-    type: string # once\n-    default: x\n")
        .prints("-  # nobody has it\n-  - name: lone\n-    modules: [app]\n")
        .prints("-    vars: { workers: 2, spare: 1 }\n+    vars: { workers: 2 }\n");
    for (path, before, _) in UNUSED {
        assert_eq!(fs::read_to_string(dir.path().join(path)).unwrap(), before, "--diff writes nothing");
    }
    vigoc(&["fix", root]).exits(0).prints("unused-variable").prints("1 unused-role");
    for (path, _, after) in UNUSED {
        assert_eq!(fs::read_to_string(dir.path().join(path)).unwrap(), after, "{path}");
    }
    vigoc(&["fix", root]).exits(0).prints("nothing to fix");
    let left = vigoc(&["check", root, "--format", "short"]).exits(0).out;
    assert!(
        left.contains("[unused-module]") && left.contains("3 warnings") || left.contains("2 warnings"),
        "{left}"
    );
}

#[test]
fn what_a_mistake_hides_is_not_taken_for_unused() {
    let app = APP.replace(".Vars.workers", ".Vars.wokers").replace("mode: 0644", "mode: \"0644\"");
    let dir = policy(&[("nodes.vgo", NODES), ("environments.vgo", ENVIRONMENTS), ("modules/app.vgo", &app)]);
    let diff = vigoc(&["fix", text(dir.path()), "--diff"]).exits(1);
    assert!(!diff.out.contains("-vars:"), "{}", diff.out);
}
