//! Input made to be too much ends soon, with a finding that names the limit, and without a deep stack.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use compiler::policy::Policy;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

const ENTRY: &str = "nodes:\n  - { match: host.test, modules: [m] }\n";

/// The codes and messages that a policy of these files brings.
fn findings(files: &[(&str, String)]) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let began = Instant::now();
    // less than what a thread of the server has
    let run = || {
        let report = Policy::open(dir.path()).unwrap().check();
        report.diagnostics.into_iter().map(|d| (d.code.to_owned(), d.message)).collect()
    };
    let found = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn_scoped(scope, run).unwrap();
        thread.join().unwrap()
    });
    // many times what it takes, in a debug build on a busy machine
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    found
}

fn module(resources: &str) -> Vec<(&'static str, String)> {
    vec![("nodes.vgo", ENTRY.to_owned()), ("modules/m.vgo", format!("name: m\nresources:\n{resources}"))]
}

fn chain(count: usize, ring: bool) -> String {
    let mut out = String::new();
    for n in 0..count {
        let next = if n + 1 < count { Some(n + 1) } else { ring.then_some(0) };
        let edge = next.map(|to| format!(", depends_on: [r{to}]")).unwrap_or_default();
        writeln!(out, "  - {{ name: r{n}, type: file, target_path: /f{n}{edge} }}").unwrap();
    }
    out
}

/// Resources of about the longest module that a file of a million keys and values, and a blob of 8 MiB, can hold.
const LONG: usize = 80_000;

#[test]
fn a_long_chain_of_resources_is_no_matter() {
    assert_eq!(findings(&module(&chain(LONG, false))), []);
}

#[test]
fn a_long_ring_of_resources_is_shown_in_short() {
    let found = findings(&module(&chain(LONG, true)));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "dependency-cycle");
    assert!(found[0].1.ends_with("`r49` → ... (79950 more) → `r0`"), "{}", found[0].1);
}

#[test]
fn a_long_chain_of_roles_is_no_matter() {
    let mut roles = String::from("roles:\n");
    for n in 0..50_000 {
        writeln!(roles, "  - {{ name: r{n}, includes: [r{}] }}", n + 1).unwrap();
    }
    roles.push_str("  - { name: r50000, modules: [m] }\n");
    let files = [
        ("nodes.vgo", "nodes:\n  - { match: host.test, roles: [r0] }\n".to_owned()),
        ("modules/m.vgo", "name: m\n".to_owned()),
        ("roles.vgo", roles),
    ];
    assert_eq!(findings(&files), []);
}

#[test]
fn patterns_on_both_sides_do_not_multiply_without_end() {
    let mut resources = String::new();
    for n in 0..1100 {
        writeln!(resources, "  - {{ name: a{n}, type: file, target_path: /a{n}, before: ['z*'] }}").unwrap();
        writeln!(resources, "  - {{ name: z{n}, type: file, target_path: /z{n} }}").unwrap();
    }
    let found = findings(&module(&resources));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "limit-exceeded");
}

#[test]
fn hostile_expressions_are_refused() {
    let cases = [
        ("when: \"traits.os.distro matches '((a{100}){100}){100}'\"".to_owned(), "invalid-value"),
        (format!("when: \"{}is_container\"", "!".repeat(10_000)), "nesting-too-deep"),
        (format!("when: \"{}is_container{}\"", "(".repeat(10_000), ")".repeat(10_000)), "nesting-too-deep"),
        (
            format!("content: '{}x{}'", "{{ if .Vars.x }}".repeat(10_000), "{{ end }}".repeat(10_000)),
            "nesting-too-deep",
        ),
        (
            format!(
                "content: '{{{{ $x := \"xxxxxxxxxx\" }}}}{}{{{{ $x }}}}'",
                "{{ $x = print $x $x $x $x }}".repeat(40)
            ),
            "limit-exceeded",
        ),
        (
            format!("content: '{}x{}'", "{{ range $.Vars.x }}".repeat(12), "{{ end }}".repeat(12)),
            "limit-exceeded",
        ),
    ];
    for (attribute, code) in cases {
        let list = vec!["a"; 100].join(", ");
        let text = format!(
            "name: m\nvars: {{ x: [{list}] }}\nresources:\n  - {{ name: a, type: file, target_path: /a, {attribute} }}\n"
        );
        let found = findings(&[("nodes.vgo", ENTRY.to_owned()), ("modules/m.vgo", text)]);
        let codes: Vec<&str> =
            found.iter().map(|(code, _)| code.as_str()).filter(|c| *c != "unused-variable").collect();
        assert_eq!(codes, [code], "{}", &attribute[..60.min(attribute.len())]);
    }
}
