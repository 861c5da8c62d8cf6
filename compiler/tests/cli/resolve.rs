//! `vigoc resolve`.

use super::{APP, ENVIRONMENTS, NODES, policy, small, text, vigoc, vigoc_in};
use serde_json::json;

#[test]
fn json_has_the_shape_that_is_promised() {
    let dir = small();
    let ran = vigoc(&["resolve", "WEB-01.Test.", text(dir.path()), "--format", "json"]).exits(0);
    let json = ran.json();
    assert_eq!(json["envoy"], "web-01.test");
    assert_eq!(json["entry"], json!({ "file": "nodes.vgo", "line": 2 }));
    assert_eq!(json["environment"], "production");
    assert_eq!(json["roles"], json!([]));
    assert_eq!(json["modules"], json!(["app"]));
    assert_eq!(json["vars"], json!({ "workers": 8 }));
    assert_eq!(json["footprint"], json!(["os.family"]));
    assert_eq!(json["merkle_root"].as_str().unwrap().len(), 64);
    assert_eq!(
        json["resources"],
        json!([
            { "module": "app", "name": "dir", "type": "directory", "when": null,
              "attributes": { "target_path": "/srv/app", "mode": "0755" },
              "depends_on": [], "notify": [] },
            { "module": "app", "name": "config", "type": "file",
              "when": { "expr": "os_family('debian')" },
              "attributes": { "target_path": "/srv/app/config", "content": "web-01.test 8", "mode": "0644" },
              "depends_on": ["app.dir"], "notify": ["app.cpus"] },
            { "module": "app", "name": "cpus", "type": "file", "when": { "expr": "changed" },
              "attributes": { "target_path": "/srv/app/cpus",
                "content": { "expr": "{{ .Traits.hardware.cpus }}" }, "mode": "0644" },
              "depends_on": [], "notify": [] },
        ])
    );
}

#[test]
fn traits_decide_and_full_finishes_what_the_agent_would() {
    let dir = small();
    let root = text(dir.path());
    let debian = r#"{"os": {"family": "debian"}, "hardware": {"cpus": 4}}"#;
    let run = |args: &[&str], traits: &str| {
        let all = [&["resolve", "web-1.test", root, "--format", "json", "--traits", "-"], args].concat();
        vigoc_in(std::path::Path::new("."), &all, traits).exits(0).json()
    };
    let json = run(&[], debian);
    assert_eq!(json["resources"][1]["when"], json!(null));
    assert_eq!(json["resources"][2]["attributes"]["content"]["expr"], "{{ .Traits.hardware.cpus }}");
    let json = run(&["--full"], debian);
    assert_eq!(json["resources"][2]["attributes"]["content"], "4");
    let json = run(&["--environment", "staging"], r#"{"os": {"family": "rhel"}}"#);
    assert_eq!(json["vars"]["workers"], 1);
    assert_eq!(json["environment"], "staging");
    assert_eq!(json["resources"].as_array().unwrap().len(), 2, "a false condition drops a resource");
}

#[test]
fn no_entry_is_1_with_the_nearest_miss() {
    let dir = small();
    vigoc(&["resolve", "wed-1.test", text(dir.path())]).exits(1).says("web-*.test").says("web-1.test");
}

#[test]
fn only_errors_of_this_host_matter() {
    let nodes = format!("{NODES}  - match: db.test\n    modules: [db]\n");
    let files = |db: &'static str| {
        policy(&[
            ("nodes.vgo", &nodes),
            ("environments.vgo", ENVIRONMENTS),
            ("modules/app.vgo", APP),
            ("modules/db.vgo", db),
        ])
    };
    let dir = files("name: db\nresources:\n  - { name: x, type: nonsense }\n");
    vigoc(&["check", text(dir.path())]).exits(1);
    vigoc(&["resolve", "web-1.test", text(dir.path())]).exits(0);
    vigoc(&["resolve", "db.test", text(dir.path())]).exits(1).says("nonsense");
    // an error of the text, after which the module is only guessed
    let dir = files("name: db\nresources: [\n");
    vigoc(&["resolve", "web-1.test", text(dir.path())]).exits(0);
    vigoc(&["resolve", "db.test", text(dir.path())]).exits(1);
}

#[test]
fn traits_that_a_variable_needs_are_named() {
    let nodes = format!(
        "{NODES}    conditional_vars:\n      - {{ when: os_family('rhel'), vars: {{ workers: 2 }} }}\n"
    );
    let dir = policy(&[("nodes.vgo", &nodes), ("environments.vgo", ENVIRONMENTS), ("modules/app.vgo", APP)]);
    let root = text(dir.path());
    vigoc(&["resolve", "web-1.test", root]).exits(1).says("`workers`").says("os.family");
    vigoc(&["explain", "web-1.test", root, "--var", "workers"])
        .exits(0)
        .prints("otherwise")
        .prints("not known");
    let rhel = r#"{"os": {"family": "rhel"}}"#;
    let ran = vigoc_in(dir.path(), &["resolve", "web-1.test", "--format", "json", "--traits", "-"], rhel);
    assert_eq!(ran.exits(0).json()["vars"]["workers"], 2);
}

#[test]
fn secrets_are_named_and_never_shown() {
    let nodes = format!("{NODES}    vars: {{ password: \"secret:app/password\" }}\n");
    let app = format!(
        "{APP}  - name: secret\n    type: file\n    target_path: /s\n    content: \"{{{{ .Vars.password }}}}\"\n"
    );
    let dir = policy(&[("nodes.vgo", &nodes), ("environments.vgo", ENVIRONMENTS), ("modules/app.vgo", &app)]);
    let json = vigoc(&["resolve", "web-1.test", text(dir.path()), "--format", "json"]).exits(0).json();
    assert_eq!(json["vars"]["password"], json!({ "secret": "app/password" }));
    let content = &json["resources"][3]["attributes"]["content"];
    assert!(content.is_object() && content.to_string().contains("app/password"), "{content}");
}

#[test]
fn people_see_it_too() {
    let dir = small();
    vigoc(&["resolve", "web-1.test", text(dir.path())])
        .exits(0)
        .prints("environment  production")
        .prints("config  (file)");
}

/// An attribute that takes anything takes templates at any depth, and an action gives what it has.
#[test]
fn templates_inside_of_maps_keep_what_they_give() {
    let module = r#"name: m
vars: { port: 8080, names: [a, b], who: x }
resources:
  - name: r
    type: json_file
    target_path: /a
    set:
      port: "{{ .Vars.port }}"
      url: "http://h:{{ .Vars.port }}"
    merge:
      deep: { names: "{{ .Vars.names }}", list: ["{{ .Vars.who }}", 1, { p: "{{ .Vars.port }}" }] }
"#;
    let dir =
        policy(&[("modules/m.vgo", module), ("nodes.vgo", "nodes:\n  - match: h.test\n    modules: [m]\n")]);
    vigoc(&["check", text(dir.path())]).exits(0);
    let json = vigoc(&["resolve", "h.test", text(dir.path()), "--format", "json"]).exits(0).json();
    let attributes = &json["resources"][0]["attributes"];
    assert_eq!(attributes["set"], json!({ "port": 8080, "url": "http://h:8080" }));
    assert_eq!(
        attributes["merge"],
        json!({ "deep": { "names": ["a", "b"], "list": ["x", 1, { "p": 8080 }] } })
    );
}

#[test]
fn a_secret_may_stand_inside_of_a_map_that_may_hold_it() {
    let with = |attribute: &str| {
        let module = format!(
            "name: m\nparams:\n  key: {{ type: secret, default: \"secret:a/b\" }}\nresources:\n  - name: r\n    type: {attribute}: {{ deep: [\"{{{{ .Vars.key }}}}\"] }}\n"
        );
        policy(&[("modules/m.vgo", &module), ("nodes.vgo", "nodes:\n  - match: h.test\n    modules: [m]\n")])
    };
    let allowed = with("json_file\n    target_path: /a\n    merge");
    vigoc(&["check", text(allowed.path())]).exits(0);
}
