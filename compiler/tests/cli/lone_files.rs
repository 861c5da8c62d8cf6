//! `vigoc parse`, `vigoc eval` and `vigoc init`.

use super::{text, vigoc, vigoc_in};
use serde_json::json;

#[test]
fn parse_gives_what_a_yaml_reader_sees() {
    let dir = tempfile::tempdir().unwrap();
    let run = |yaml: &str| vigoc_in(dir.path(), &["parse", "-"], yaml);
    let yaml =
        "a: 0644\nb: \"0644\"\nc: 1.5\nd: yes\ne: true\nf: ~\ng:\nh: [1, 0x10, 1e3]\ni: |\n  text\nj: 1.10\n";
    assert_eq!(
        run(yaml).exits(0).json(),
        json!({ "a": 644, "b": "0644", "c": 1.5, "d": "yes", "e": true, "f": null, "g": null,
                "h": [1, 16, 1000.0], "i": "text\n", "j": 1.1 })
    );
    assert_eq!(run("").exits(0).json(), json!(null));
    assert!(run("z: 1\na: 2\n").exits(0).out.find('z') < run("z: 1\na: 2\n").out.find('a'), "order is kept");
    run("a: *b\n").exits(1).says("alias");
    run("a: 99999999999999999999\n").exits(1).says("out of range");
    run("a: 1\na: 2\n").exits(1).says("duplicate-key");
}

#[test]
fn eval_writes_the_text_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("vars.json", r#"{"port": 8080, "name": "x", "password": "secret:a/b"}"#);
    write("traits.json", r#"{"os": {"family": "debian"}}"#);
    write("envoy.json", r#"{"hostname": "h.test", "environment": "staging", "roles": ["web"]}"#);
    write("item.json", r#"{"name": "ada"}"#);
    write("t.tmpl", "{{ .Vars.name }}:{{ .Vars.port }} {{ .Envoy.hostname }} {{ .Item.name }}");
    let run = |args: &[&str]| vigoc_in(dir.path(), &[&["eval"], args].concat(), "");
    let all =
        ["--vars", "vars.json", "--traits", "traits.json", "--envoy", "envoy.json", "--item", "item.json"];
    let with = |args: &[&str]| run(&[args, &all].concat());

    assert_eq!(with(&["--template", "t.tmpl"]).exits(0).out, "x:8080 h.test ada");
    assert_eq!(with(&["--when", "os_family('debian') && vars.port > 1024"]).exits(0).out, "true\n");
    assert_eq!(with(&["--when", "env_is('staging') && has_role('web')"]).exits(0).out, "true\n");
    assert_eq!(with(&["--when", "vars.port == 1", "--format", "json"]).exits(0).json()["value"], false);
    let left =
        with(&["--when", "vars.port == 8080 && file_exists('/x')", "--format", "json"]).exits(0).json();
    assert_eq!(left["expr"], "file_exists('/x')");
    with(&["--when", "file_exists('/x')"]).exits(0).prints("file_exists").says("not everything is known");

    with(&["--when", "vars.port == 'x'"]).exits(1).says("type-mismatch");
    with(&["--when", "vars.prot == 1"]).exits(1).says("did you mean `.Vars.port`");
    with(&["--when", "vars.port =="]).exits(1);
    with(&["--when", "vars.password == 'x'"]).exits(1).says("secret-flow");
    run(&["--when", "true", "--vars", "none.json"]).exits(65);
    run(&["--template", "none.tmpl"]).exits(65);
}

#[test]
fn init_writes_a_policy_that_checks_clean_and_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("policy");
    vigoc(&["init", text(&root)]).exits(0).prints("vigoc check");
    vigoc(&["check", text(&root), "--deny", "warnings"]).exits(0);
    vigoc(&["resolve", "host.example.com", text(&root)]).exits(0);
    std::fs::write(root.join("nodes.vgo"), "# mine\n").unwrap();
    vigoc(&["init", text(&root)]).exits(65).says("nodes.vgo");
    assert_eq!(std::fs::read_to_string(root.join("nodes.vgo")).unwrap(), "# mine\n");
}
