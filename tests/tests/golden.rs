//! Runs `golden/*.md`; `src/golden.rs` says what stands in them. `VIGO_GOLDEN=word` runs the cases whose title has it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use compiler::diagnostic::CODES;
use compiler::policy::Policy;
use compiler::resolve::TraitFacts;
use compiler::resolve::class::classes;
use compiler::specialise::parts::{keys, parts};
use compiler::specialise::specialised;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use vigo_tests::golden::{
    Case, Edits, bless, cases, compiled, differences, expectations, fixed, rendered, write,
};

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        fs::read_dir(here().join("golden")).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

fn run(case: &Case, edits: &mut Edits) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let expected = write(case, here().parent().unwrap(), dir.path()).map_err(|e| e.to_string())?;
    let began = spent();
    let policy = Policy::open(dir.path()).map_err(|e| e.to_string())?;
    let report = policy.check();
    let mut wrong = differences(&policy, &report, expected);
    wrong.push_str(&unseen(&policy, &report));
    if spent().saturating_sub(began) > SLOW {
        wrong.push_str(&format!("takes more than {} seconds of processor time\n", SLOW.as_secs()));
    }
    let mut compare = |block: Option<&vigo_tests::golden::Block>, what: &str, now: String| match block {
        Some(block) if block.body == now => {}
        Some(block) => {
            wrong.push_str(&format!("{what} differs; it is now:\n{now}"));
            edits.push((block.range.clone(), now));
        }
        None => {
            wrong.push_str(&format!("no {what} block; it would be:\n{now}"));
            edits.push((case.end..case.end, format!("```text\n{now}```\n\n")));
        }
    };
    let text = case.blocks.iter().find(|b| b.info == "text");
    if text.is_some() || !report.diagnostics.is_empty() {
        compare(text, "text", rendered(&policy, &report));
    }
    for block in case.blocks.iter().filter(|b| b.info.split_whitespace().next() == Some("ir")) {
        compare(Some(block), &block.info, compiled(&policy, &block.info));
    }
    for block in &case.blocks {
        if block.info.starts_with("fixed ") || block.info.starts_with("guessed ") {
            compare(Some(block), &block.info, fixed(dir.path(), &block.info));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Processor time of a case that is too much work. Other programs on the machine do not count.
const SLOW: Duration = Duration::from_secs(10);
/// Processor time after which a case will not come to an end.
const HANGS: Duration = Duration::from_secs(120);
/// The case that runs, and what was spent when it began.
static RUNNING: Mutex<Option<(String, Duration)>> = Mutex::new(None);

/// Processor time of this process so far; other tests run in processes of their own, or take none to speak of.
fn spent() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // behind the name of the program, which may hold anything
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // USER_HZ is 100 on every Linux
    Duration::from_millis(ticks * 10)
}

/// Ends the test when a case does not end: a test that hangs says nothing.
fn watch() {
    loop {
        std::thread::sleep(Duration::from_millis(500));
        if let Some((title, began)) = RUNNING.lock().unwrap().as_ref()
            && spent().saturating_sub(*began) > HANGS
        {
            eprintln!("{title}: no end after {} seconds of processor time", HANGS.as_secs());
            std::process::exit(101);
        }
    }
}

/// What evaluating every module for every class finds that the check, which leaves out what cannot fail, did not.
fn unseen(policy: &Policy, report: &compiler::policy::Report) -> String {
    let (db, project) = policy.queries();
    let none = TraitFacts::new(db, Vec::new());
    let mut out = String::new();
    for class in classes(db, project) {
        for part in parts(db, project, class, none).parts(db) {
            let (types, facts) = keys(db, project, class, none, part.file);
            for d in &specialised(db, project, part.file, types, facts).found {
                let mut told = report.diagnostics.iter().chain(report.allowed.iter().map(|a| &a.diagnostic));
                if !told.any(|r| (&r.place, &r.message) == (&d.place, &d.message)) {
                    out.push_str(&format!("the check does not find: {} at {:?}\n", d.message, d.place));
                }
            }
        }
    }
    out
}

#[test]
fn golden() {
    let only = std::env::var("VIGO_GOLDEN").unwrap_or_default();
    std::thread::spawn(watch);
    let mut failed = 0;
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut edits: Edits = Vec::new();
        for case in cases(&text).iter().filter(|c| c.title.contains(&only)) {
            *RUNNING.lock().unwrap() =
                Some((format!("golden/{name}:{}: {}", case.line, case.title), spent()));
            if let Err(wrong) = run(case, &mut edits) {
                failed += 1;
                println!("\n== golden/{name}:{}: {}\n{wrong}", case.line, case.title);
            }
        }
        bless(&path, text, edits).unwrap();
    }
    assert!(failed == 0, "{failed} cases differ; after reading them: VIGO_BLESS=1");
}

/// Codes that no policy on disk can bring about, and why.
const BEYOND_A_POLICY: &[(&str, &str)] = &[
    ("policy-too-large", "opening fails; takes 100,000 files"),
    ("empty-policy", "opening fails"),
    ("syntax-error", "the properties of the grammar hold that nothing gives it"),
    ("too-many-values", "nobody reads a golden of a million values; a test of the grammar has it"),
    ("too-many-errors", "nobody reads a golden of a hundred findings; a test of the grammar has it"),
];

#[test]
fn every_code_has_a_golden() {
    let mut seen = BTreeSet::new();
    for path in documents() {
        for case in cases(&fs::read_to_string(path).unwrap()) {
            for block in case.blocks {
                seen.extend(expectations("", &block.body).1.into_iter().map(|e| e.slug));
            }
        }
    }
    let excused: BTreeSet<&str> = BEYOND_A_POLICY.iter().map(|(slug, _)| *slug).collect();
    let slugs = CODES.iter().map(|c| c.slug).chain(grammar::error::SLUGS.iter().map(|(slug, _)| *slug));
    let lacking: Vec<&str> = slugs.filter(|s| !seen.contains(*s) && !excused.contains(s)).collect();
    assert!(lacking.is_empty(), "no golden shows {lacking:?}");
    let needless: Vec<&&str> = excused.iter().filter(|s| seen.contains(**s)).collect();
    assert!(needless.is_empty(), "these have goldens after all: {needless:?}");
}
