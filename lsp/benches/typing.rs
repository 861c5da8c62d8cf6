//! Plays an editing session with the real program: opens the module that most classes have, types a resource of two
//! hundred characters at its end, and after each asks for diagnostics, completion and hover. Prints the time to the first
//! diagnostics, the 50th and 95th percentile and the worst of each question with where the slowest were asked, and the memory
//! of the server.
//!
//!     cargo bench -p lsp -- POLICY     # without one, examples/acme
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that fails may panic"
)]

#[path = "../tests/editor/mod.rs"]
mod editor;

use compiler::policy::Policy;
use compiler::resolve::class::{classes, resolved_class};
use compiler::resolve::index::index;
use editor::{Editor, modern};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const TYPED: &str = "\n  - name: typed-by-hand\n    type: file\n    target_path: /etc/typed-by-hand.conf\n    mode: \"0644\"\n    \
                     content: |\n      host {{ .Envoy.hostname }} family {{ .Traits.os.family }}\n    when: os_family('debian', 'rhel')\n";

fn main() {
    let given = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let root =
        given.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/acme"), PathBuf::from);
    let root = root.canonicalize().unwrap();
    let path = root.join(busiest(&root));
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.trim_end().to_owned();

    let started = Instant::now();
    let mut editor = Editor::start(modern(), Value::Null);
    editor.open(&path, &text);
    editor.diagnostics(&path);
    println!("open to first diagnostics  {:>8.1} ms", milliseconds(started.elapsed()));

    let mut times: BTreeMap<&str, Vec<(Duration, usize)>> = BTreeMap::new();
    let end_of = |text: &str| editor::position(text, text.len());
    let mut whole = text.clone();
    for (number, c) in TYPED.chars().enumerate() {
        let from = end_of(&whole);
        whole.push(c);
        let at = end_of(&whole);
        let mut time = |what, since: Instant| times.entry(what).or_default().push((since.elapsed(), number));

        // as an editor does: the edit and at once what it wants to show
        let edit = Instant::now();
        editor.insert(&path, from, &c.to_string());
        let place = serde_json::json!({ "textDocument": { "uri": editor::uri(&path) }, "position": at });
        editor.ask("textDocument/completion", place.clone());
        time("completion", edit);
        let asked = Instant::now();
        editor.ask("textDocument/hover", place);
        time("hover", asked);
        editor.diagnostics(&path);
        time("diagnostics", edit);
    }
    for (what, mut all) in times {
        all.sort();
        let percentile = |p: usize| milliseconds(all[(all.len() * p / 100).min(all.len() - 1)].0);
        println!(
            "{what:<12} {} times   50th {:>8.2} ms   95th {:>8.2} ms   worst {:>8.2} ms",
            all.len(),
            percentile(50),
            percentile(95),
            percentile(100)
        );
        for (took, number) in all.iter().rev().take(SLOWEST) {
            println!("    {:>8.2} ms behind {:?}", milliseconds(*took), typed_before(*number));
        }
    }
    let (now, most) = editor.memory();
    println!("memory of the server       {:>8} MB, at most {} MB", now / 1024, most / 1024);
    assert!(editor.quit().success());
}

/// So many of the slowest are shown.
const SLOWEST: usize = 3;

/// What stood before the cursor on its line.
fn typed_before(number: usize) -> &'static str {
    let typed = TYPED.char_indices().nth(number + 1).map_or(TYPED, |(at, _)| &TYPED[..at]);
    typed.rsplit('\n').next().unwrap_or_default()
}

fn milliseconds(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

/// The file of the module that most classes have.
fn busiest(root: &Path) -> String {
    let policy = Policy::open(root).unwrap();
    let (db, project) = policy.queries();
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for class in classes(db, project) {
        for module in &resolved_class(db, project, class).modules {
            *count.entry(module).or_default() += 1;
        }
    }
    let (module, times) = count.into_iter().max_by_key(|(_, n)| *n).unwrap();
    let file = index(db, project).modules[module].path(db).to_string();
    println!("{}: {file}, which {times} of {} classes have", root.display(), policy.classes().len());
    file
}
