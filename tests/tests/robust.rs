//! Whatever stands in the files of a policy, the compiler ends soon, without a panic, and says the same every time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use compiler::diagnostic::render::{Style, human};
use compiler::policy::Policy;
use proptest::prelude::*;
use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vigo_tests::golden::{copy, rendered};

fn acme() -> (tempfile::TempDir, Policy) {
    let dir = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/acme"), dir.path()).unwrap();
    let policy = Policy::open(dir.path()).unwrap();
    (dir, policy)
}

/// Paths of a policy that hold text.
fn paths(policy: &Policy) -> Vec<Arc<str>> {
    let (db, project) = policy.queries();
    project.files(db).iter().map(|f| f.path(db).clone()).filter(|p| policy.text(p).is_some()).collect()
}

#[derive(Clone, Debug)]
enum Change {
    DeleteLine(usize),
    DuplicateLine(usize),
    SwapLines(usize, usize),
    Insert(usize, String),
    Cut(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let awkward = prop_oneof![
        Just("{{".to_owned()),
        Just("}}".to_owned()),
        Just("{{ end }}".to_owned()),
        Just("\"".to_owned()),
        Just("'".to_owned()),
        Just(": ".to_owned()),
        Just("- ".to_owned()),
        Just("\t".to_owned()),
        Just("\n".to_owned()),
        Just("    ".to_owned()),
        Just("[".to_owned()),
        Just("|\n".to_owned()),
        Just("*".to_owned()),
        Just("secret:x".to_owned()),
        Just("\u{feff}é\u{0}".to_owned()),
        any::<String>().prop_map(|s| s.chars().take(8).collect()),
    ];
    prop_oneof![
        any::<usize>().prop_map(Change::DeleteLine),
        any::<usize>().prop_map(Change::DuplicateLine),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Change::SwapLines(a, b)),
        (any::<usize>(), awkward).prop_map(|(at, text)| Change::Insert(at, text)),
        (any::<usize>(), 1..60_usize).prop_map(|(at, len)| Change::Cut(at, len)),
    ]
}

fn changed(text: &str, change: &Change) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let place = |at: usize| text.floor_char_boundary(at % (text.len() + 1));
    match change {
        _ if lines.is_empty() => return text.to_owned(),
        Change::DeleteLine(at) => drop(lines.remove(at % lines.len())),
        Change::DuplicateLine(at) => lines.insert(at % lines.len(), lines[at % lines.len()]),
        Change::SwapLines(a, b) => {
            let count = lines.len();
            lines.swap(a % count, b % count);
        }
        Change::Insert(at, new) => {
            let (head, tail) = text.split_at(place(*at));
            return format!("{head}{new}{tail}");
        }
        Change::Cut(at, len) => {
            let (from, to) = (place(*at), text.ceil_char_boundary((place(*at) + len).min(text.len())));
            return format!("{}{}", &text[..from], &text[to..]);
        }
    }
    lines.concat()
}

thread_local! {
    static ACME: RefCell<(tempfile::TempDir, Policy)> = RefCell::new(acme());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_ends_soon_with_findings(
        edits in prop::collection::vec((any::<usize>(), change()), 1..4)
    ) {
        ACME.with_borrow_mut(|(_, policy)| {
            let paths = paths(policy);
            let mut before = Vec::new();
            for (file, change) in &edits {
                let path = &paths[file % paths.len()];
                let text = policy.text(path).unwrap();
                before.push((path.clone(), text.clone()));
                policy.set_text(path, &changed(&text, change));
            }
            let began = Instant::now();
            let report = policy.check();
            let took = began.elapsed();
            for d in &report.diagnostics {
                let text = policy.text(&d.place.file);
                let end = d.place.span.end as usize;
                assert!(d.place.span.start as usize <= end, "{d:?}");
                assert!(text.as_ref().is_none_or(|t| end <= t.len()), "{d:?} ends beyond its file");
                assert!(!d.message.is_empty() && !d.message.ends_with('.'), "{d:?}");
                human(d, &|path: &str| policy.text(path), Style::default());
            }
            for (path, text) in before.into_iter().rev() {
                policy.set_text(&path, &text);
            }
            // many times what it takes, in a debug build on a busy machine
            assert!(took < Duration::from_secs(5), "{took:?}");
        });
    }
}

#[test]
fn a_check_says_the_same_every_time() {
    let (dir, _) = acme();
    // some mistakes, so that there is something to say
    for (path, old, new) in [
        ("roles.vgo", "modules: [nginx]", "modules: [nginx, nginx2]"),
        ("modules/ssh.vgo", "mode: \"0600\"", "mode: 0600"),
        ("environments.vgo", "keep: 7", "keep: x"),
        ("templates/motd.tmpl", ".Vars.contact", ".Vars.contct"),
    ] {
        let path = dir.path().join(path);
        fs::write(&path, fs::read_to_string(&path).unwrap().replace(old, new)).unwrap();
    }
    let report = |dir: &Path| {
        let policy = Policy::open(dir).unwrap();
        let report = policy.check();
        rendered(&policy, &report)
    };
    let first = report(dir.path());
    assert!(first.contains("needs-quotes"));
    for _ in 0..5 {
        assert_eq!(report(dir.path()), first);
    }

    // the same files, written in another order
    let other = tempfile::tempdir().unwrap();
    let policy = Policy::open(dir.path()).unwrap();
    for path in paths(&policy).iter().rev() {
        let to = other.path().join(&**path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, policy.text(path).unwrap().as_bytes()).unwrap();
    }
    assert_eq!(report(other.path()), first);
}

#[test]
fn the_generated_policy_is_free_of_findings() {
    let dir = tempfile::tempdir().unwrap();
    vigo_tests::generator::generate(dir.path(), 20, 20, 10).unwrap();
    let policy = Policy::open(dir.path()).unwrap();
    let report = policy.check();
    assert!(report.diagnostics.is_empty(), "{}", rendered(&policy, &report));
}

/// A check leaves text alone that no small variable can make wrong; with a large one it has to look.
#[test]
fn a_large_variable_in_a_text_is_evaluated() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("modules")).unwrap();
    let module = format!(
        "name: m\nvars: {{ text: short }}\nresources:\n  - {{ name: f, type: file, target_path: /f, content: \"{}\" }}\n",
        "{{ .Vars.text }}".repeat(40)
    );
    std::fs::write(dir.path().join("modules/m.vgo"), module).unwrap();
    let nodes = |text: &str| {
        let text = format!(
            "nodes:\n  - match: a\n    modules: [m]\n  - match: b\n    modules: [m]\n    vars: {{ text: \"{text}\" }}\n"
        );
        std::fs::write(dir.path().join("nodes.vgo"), text).unwrap();
        Policy::open(dir.path()).unwrap().check().diagnostics
    };
    assert_eq!(nodes("longer"), Vec::new());
    let found = nodes(&"x".repeat(1 << 20));
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["limit-exceeded"], "{found:?}");
}

/// What cannot be shipped is found before anybody asks for a variant.
#[test]
fn a_module_or_variables_too_large_to_ship_are_found_by_a_check() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: String| {
        std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(path), text).unwrap();
    };
    let found = |text: &str| {
        let report = Policy::open(dir.path()).unwrap().check();
        assert_eq!(report.summary.errors, 1, "{:?}", report.diagnostics);
        assert!(report.diagnostics.iter().any(|d| d.message.contains(text)), "{:?}", report.diagnostics);
    };
    write("templates/large", "x".repeat(1 << 20));
    let file = |n: usize| format!("  - {{ name: f{n}, type: file, target_path: /f{n}, source: large }}\n");
    let resources: String = (0..10).map(file).collect();
    write("modules/m.vgo", format!("name: m\nresources:\n{resources}"));
    write("nodes.vgo", "nodes:\n  - match: a\n    modules: [m]\n".to_owned());
    found("cannot be shipped");
    let text = "y".repeat(1 << 20);
    let vars: String = (0..5).map(|n| format!("      v{n}: {text}\n")).collect();
    write("modules/m.vgo", format!("name: m\nresources:\n{}", file(0)));
    write("nodes.vgo", format!("nodes:\n  - match: a\n    modules: [m]\n    vars:\n{vars}"));
    found("the variables are too large");
}
