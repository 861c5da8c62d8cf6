//! `vigoc search` and `vigoc rdeps`.

use super::{acme, text, vigoc};
use serde_json::Value as Json;

/// `how file:line by` of every use.
fn uses(name: &str, kind: &str) -> Vec<String> {
    let document = vigoc(&["rdeps", name, text(&acme()), "--kind", kind, "--format", "json"]).exits(0).json();
    let row = |u: &Json| format!("{} {}:{} {}", u["how"], u["file"], u["line"], u["by"]).replace('"', "");
    document["uses"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn a_module_is_assigned_needed_and_excluded() {
    assert_eq!(
        uses("nginx", "module"),
        [
            "declared modules/nginx.vgo:1 module nginx",
            "needed modules/shop.vgo:16 module shop",
            "assigned roles.vgo:7 role webserver",
        ]
    );
    assert!(
        uses("debug", "module").contains(&"excluded environments.vgo:4 environment production".to_owned())
    );
}

#[test]
fn a_variable_is_declared_set_and_read_in_templates_and_conditions_too() {
    let all = uses("rate_limit", "variable");
    for expected in [
        "declared modules/nginx.vgo:6 module nginx",
        "set roles.vgo:8 role webserver",
        "set web/nodes.vgo:7 entry web-[0-9][0-9].staging.acme.test",
        "read templates/nginx/site.conf.tmpl:2 template nginx/site.conf.tmpl",
    ] {
        assert!(all.contains(&expected.to_owned()), "{expected}: {all:#?}");
    }
    assert!(uses("touch_machine", "variable").contains(&"read modules/sysctl.vgo:25 sysctl.load".to_owned()));
    assert!(uses("users", "variable").iter().any(|u| u.starts_with("read modules/dotfiles.vgo:")), "foreach");
}

#[test]
fn roles_environments_templates_traits_and_resources_are_found() {
    assert!(uses("webserver", "role").contains(&"included roles.vgo:11 role appserver".to_owned()));
    assert!(
        uses("staging", "environment")
            .contains(&"chosen nodes.vgo:17 entry app-*.staging.acme.test".to_owned())
    );
    assert!(uses("motd.tmpl", "template").contains(&"shipped modules/motd.vgo:10 motd.motd".to_owned()));
    let family = uses("os.family", "trait");
    assert!(family.iter().any(|u| u.ends_with("nginx.site")), "a function reads it: {family:?}");
    assert!(family.iter().any(|u| u.ends_with("shop.environment")), "a template reads it: {family:?}");
    // a pattern refers to every resource that it matches
    assert!(
        uses("shop.tmp-dir", "resource")
            .iter()
            .any(|u| u.starts_with("depended on") && u.ends_with("shop.config"))
    );
}

#[test]
fn an_unknown_name_is_exit_1_with_the_nearest() {
    let root = acme();
    vigoc(&["rdeps", "ngnix", text(&root)]).exits(1).says("did you mean `nginx`?");
    vigoc(&["rdeps", "nginx", text(&root), "--kind", "trait"]).exits(1);
    vigoc(&["rdeps", "nginx", text(&root)]).exits(0).prints("module nginx\n").prints("needed");
    vigoc(&["rdeps", "nginx", text(&root), "--kind", "nonsense"]).exits(64);
}

#[test]
fn search_finds_by_name_and_by_description() {
    let root = acme();
    let search = |words: &[&str]| vigoc(&[&["search", "-C", text(&root)], words].concat());
    search(&["NGINX"]).exits(0).prints("module    nginx ").prints("modules/nginx.vgo:1");
    search(&["kernel", "settings"]).exits(0).prints("sysctl");
    search(&["memory"]).exits(0).prints("hardware.memory_mb").prints("standard library");
    search(&["web-*"]).exits(0).prints("entry");
    search(&["no such thing"]).exits(1).says("nothing has `no such thing`");
    let found = vigoc(&["search", "-C", text(&root), "rate_limit", "--format", "json"]).exits(0).json();
    assert_eq!(
        (&found["found"][0]["kind"], &found["found"][0]["file"]),
        (&"variable".into(), &"modules/nginx.vgo".into())
    );
}
