//! `vigoc schema`: what people write and what `vigoc` prints fits the schemas, and mistakes do not.

use super::{acme, policy, text, vigoc, vigoc_in};
use jsonschema::Validator;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

fn validator(kind: &str) -> Validator {
    jsonschema::validator_for(&vigoc(&["schema", kind]).exits(0).json()).unwrap()
}

/// What does not fit, one line each.
fn wrong(validator: &Validator, document: &Json) -> Vec<String> {
    validator.iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, out),
            false => out.push(path),
        }
    }
}

fn kind_of(file: &Path) -> &'static str {
    let root = acme();
    let inside = file.strip_prefix(&root).unwrap();
    match inside.iter().next().unwrap().to_str().unwrap() {
        "modules" => "module",
        "tests" => "test",
        _ => match inside.file_name().unwrap().to_str().unwrap() {
            "roles.vgo" => "roles",
            "common.vgo" => "common",
            "environments.vgo" => "environments",
            _ => "nodes",
        },
    }
}

fn parsed(source: &str) -> Json {
    vigoc_in(Path::new("."), &["parse", "-"], source).exits(0).json()
}

#[test]
fn the_files_of_a_real_policy_fit() {
    let mut all = Vec::new();
    files(&acme(), &mut all);
    let policy = all.iter().filter(|p| p.extension().is_some_and(|e| e == "vgo"));
    let mut seen = std::collections::BTreeMap::new();
    for file in policy {
        let kind = kind_of(file);
        let validator = seen.entry(kind).or_insert_with(|| validator(kind));
        let document = vigoc(&["parse", text(file)]).exits(0).json();
        assert_eq!(wrong(validator, &document), [""; 0], "{}", file.display());
    }
    let kinds: Vec<&str> = seen.into_keys().collect();
    assert_eq!(kinds, ["common", "environments", "module", "nodes", "roles", "test"]);
}

#[test]
fn traits_and_fleets_fit() {
    let traits = validator("traits");
    for name in ["debian12", "rocky9"] {
        let text = std::fs::read_to_string(acme().join(format!("traits/{name}.json"))).unwrap();
        assert_eq!(wrong(&traits, &serde_json::from_str(&text).unwrap()), [""; 0], "{name}");
    }
    assert!(!traits.is_valid(&json!({ "os": { "family": "beos" } })));
    assert!(!traits.is_valid(&json!({ "hardware": { "cpus": "4" } })));
    let fleet = validator("fleet");
    let lines = std::fs::read_to_string(acme().join("fleet.jsonl")).unwrap();
    let hosts: Vec<Json> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for host in &hosts {
        assert_eq!(wrong(&fleet, host), [""; 0]);
    }
    assert!(fleet.is_valid(&Json::from(hosts)));
    assert!(!fleet.is_valid(&json!([{ "traits": {} }])), "a host has a name");
    assert!(!fleet.is_valid(&json!({ "hostname": "a", "roles": [] })));
}

/// Each is valid but for one thing.
#[test]
fn mistakes_do_not_fit() {
    let module = |resource: &str| format!("name: m\nresources:\n  - {resource}\n");
    let schema = validator("module");
    let good = [
        "{ type: file, target_path: /a, content: 1.10, mode: \"0644\", state: present }",
        "{ type: file, target_path: /a, backup: \"{{ .Vars.keep }}\", when: changed, notify: x }",
        "{ type: file, case: \"{{ .Traits.os.family }}\", match: { debian: { target_path: /a }, default: { target_path: /b, source: c } } }",
        "{ type: exec, command: a, creates: /b, returns: [0, 2], environment: { A: 1 } }",
    ];
    for resource in good {
        assert_eq!(wrong(&schema, &parsed(&module(resource))), [""; 0], "{resource}");
    }
    let bad = [
        "{ type: file, target_path: /a, contnet: b }",
        "{ type: symlink, target_path: /a, content: b }",
        "{ type: fiel, target_path: /a }",
        "{ type: file, target_path: a }",
        "{ type: file, target_path: /a, mode: 0644 }",
        "{ type: file, target_path: /a, backup: yes }",
        "{ type: file, target_path: /a, state: gone }",
        "{ type: file, target_path: /a, content: [b] }",
        "{ type: file, target_path: /a, match: { b: { contnet: c } } }",
        "{ type: exec, command: a, returns: 0 }",
        "{ target_path: /a }",
    ];
    for resource in bad {
        assert!(!schema.is_valid(&parsed(&module(resource))), "{resource}");
    }
    let others = [
        ("module", "resources: []"),
        ("module", "{ name: a b }"),
        ("module", "{ name: m, colour: red }"),
        ("module", "{ name: m, params: { p: { defualt: 1 } } }"),
        ("module", "{ name: m, defaults: { mood: good } }"),
        ("roles", "{ roles: [{ modules: [a] }] }"),
        ("nodes", "{ nodes: [{ modules: [a] }] }"),
        ("nodes", "{ nodes: [{ match: a, conditional_vars: [{ when: true }] }] }"),
        ("common", "{ environment: a }"),
        ("environments", "{ env: { a: { roles: [b] } } }"),
        ("test", "{ test: a, expect: {} }"),
        ("test", "{ test: a, envoy: h, traits: debain12, expect: {} }"),
        ("test", "{ test: a, envoy: h, expect: { resources: { a.b: gone } } }"),
        ("test", "{ tests: [{ test: a, expct: {} }] }"),
    ];
    for (kind, source) in others {
        assert!(!validator(kind).is_valid(&parsed(source)), "{kind}: {source}");
    }
    for kind in ["roles", "nodes", "common", "environments", "test"] {
        assert!(validator(kind).is_valid(&parsed("")), "an empty file is an empty {kind}");
    }
}

#[test]
fn what_check_prints_fits() {
    let schema = validator("check");
    let clean = vigoc(&["check", text(&acme()), "--format", "json"]).exits(0).json();
    assert_eq!(wrong(&schema, &clean), [""; 0]);
    let module = "name: m\nvars: { spare: 1 }\nresources:\n  - { type: file, target_path: /a, mode: 0644, contnet: b }\n  - { type: exec, command: a } # vigo: allow(unguarded-exec) cheap\n";
    let dir = policy(&[("modules/m.vgo", module), ("nodes.vgo", "nodes: [{ match: h, modules: [m] }]\n")]);
    let found = vigoc(&["check", text(dir.path()), "--format", "json"]).exits(1).json();
    assert_eq!(wrong(&schema, &found), [""; 0]);
    assert!(found["diagnostics"].as_array().is_some_and(|d| d.len() >= 2), "{found:#}");
    assert_eq!(found["suppressed"].as_array().map(Vec::len), Some(1), "{found:#}");
    let mut other = found.clone();
    other["diagnostics"][0]["severity"] = "fatal".into();
    assert!(!schema.is_valid(&other));
    let mut other = found;
    other["summary"]["bugs"] = 0.into();
    assert!(!schema.is_valid(&other), "a new field has to be described");
    let failed = vigoc(&["check", "no/such/policy", "--format", "json"]).exits(65).json();
    assert_eq!(wrong(&schema, &failed), [""; 0]);
    assert!(failed["error"]["message"].is_string());
}

#[test]
fn what_resolve_prints_fits() {
    let schema = validator("resolve");
    let root = acme();
    let fleet = std::fs::read_to_string(root.join("fleet.jsonl")).unwrap();
    for line in fleet.lines() {
        let host: Json = serde_json::from_str(line).unwrap();
        let args =
            ["resolve", host["hostname"].as_str().unwrap(), text(&root), "--format", "json", "--traits", "-"];
        let ran = vigoc_in(Path::new("."), &args, &host["traits"].to_string()).exits(0).json();
        assert_eq!(wrong(&schema, &ran), [""; 0], "{line}");
        let mut other = ran;
        other["resources"][0]["colour"] = "red".into();
        assert!(!schema.is_valid(&other), "a new field has to be described");
    }
    let nobody = vigoc(&["resolve", "nobody.invalid", text(&root), "--format", "json"]).exits(1).json();
    assert_eq!(wrong(&schema, &nobody), [""; 0]);
}

#[test]
fn without_a_kind_all_are_listed() {
    let list = vigoc(&["schema"]).exits(0).out;
    for line in list.lines() {
        let kind = line.split_whitespace().next().unwrap();
        let schema = vigoc(&["schema", kind]).exits(0).json();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{kind}");
    }
    assert!(list.lines().count() >= 10, "{list}");
    vigoc(&["schema", "modul"]).exits(64).says("module");
}
