//! `vigoc explain`.

use super::{acme, small, text, vigoc, vigoc_in};
use serde_json::json;

#[test]
fn a_variable_shows_every_layer() {
    let dir = small();
    let root = text(dir.path());
    vigoc(&["explain", "web-1.test", root, "--var", "workers"])
        .exits(0)
        .prints("workers = 8")
        .prints("modules/app.vgo:2")
        .prints("◀ environment production");
    let json =
        vigoc(&["explain", "web-1.test", root, "--var", "workers", "--format", "json"]).exits(0).json();
    assert_eq!(json["envoy"], "web-1.test");
    assert_eq!(json["var"]["value"], 8);
    assert_eq!(json["var"]["type"], "int");
    let layers = json["var"]["layers"].as_array().unwrap();
    assert_eq!(layers[0]["value"], 4);
    assert_eq!(layers[0]["wins"], false);
    assert_eq!((&layers[1]["file"], &layers[1]["line"]), (&json!("environments.vgo"), &json!(2)));
    assert_eq!(layers[1]["wins"], true);
    vigoc(&["explain", "web-1.test", root, "--var", "wokers"]).exits(1).says("did you mean `workers`?");
    vigoc(&["explain", "wbe-1.test", root, "--var", "workers"]).exits(1).says("web-*.test");
}

#[test]
fn a_module_shows_how_it_came_in_or_why_not() {
    let root = acme();
    let run = |module: &str| vigoc(&["explain", "web-01.acme.test", text(&root), "--module", module]);
    run("nginx").exits(0).prints("assigned").prints("role webserver");
    run("debug").exits(0).prints("excluded").prints("environment production");
    run("shop").exits(0).prints("not assigned");
    run("ngnx").exits(1).says("did you mean `nginx`?");
}

#[test]
fn a_condition_shows_each_part() {
    let dir = small();
    let root = text(dir.path());
    vigoc(&["explain", "web-1.test", root, "--when", "app.config"])
        .exits(0)
        .prints("not known without os.family");
    let debian = r#"{"os": {"family": "debian"}}"#;
    let args = ["explain", "web-1.test", "--when", "app.config", "--traits", "-", "--format", "json"];
    let json = vigoc_in(dir.path(), &args, debian).exits(0).json();
    let condition = &json["when"]["conditions"][0];
    assert_eq!(condition["value"], true);
    assert_eq!(condition["parts"][0]["expr"], "os_family('debian')");
    vigoc(&["explain", "web-1.test", root, "--when", "app.dir"]).exits(0).prints("always");
}

#[test]
fn a_resource_shows_attributes_edges_and_places() {
    let dir = small();
    let root = text(dir.path());
    vigoc(&["explain", "web-1.test", root, "--resource", "app.config"])
        .exits(0)
        .prints("modules/app.vgo:11")
        .prints("app.dir")
        .prints("app.cpus");
    vigoc(&["explain", "web-1.test", root, "--resource", "app.confg"])
        .exits(1)
        .says("did you mean `config`?");
    vigoc(&["explain", "web-1.test", root, "--resource", "app"]).exits(64);
    vigoc(&["explain", "web-01.acme.test", text(&acme()), "--resource", "nginx.dir-sites-enabled"])
        .exits(0)
        .prints("/etc/nginx/sites-enabled");
}
