//! `vigoc test`: policy tests.

mod compare;
mod coverage;
mod expect;
mod lcov;
mod report;
mod snapshot;
mod subject;

use super::check::prefix;
use super::failure::{Exit, Failure};
use super::replace::replace;
use super::resolve::state::State;
use super::second_report::{Target, target};
use super::{input, output};
use crate::diagnostic::codes::Code;
use crate::diagnostic::render::Style;
use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::policy::{Policy, STACK};
use crate::syntax::{Body, Kind, TestAst, ast};
use clap::ValueEnum;
use coverage::Coverage;
use grammar::Span;
use report::Report;
use serde_json::Value as Json;
use snapshot::Snapshots;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The root of the policy.
    dir: Option<PathBuf>,
    /// Runs only the tests whose name or file has this text in it.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Stores what the tests with `snapshot: true` give now, as what they have to give from now on.
    #[arg(long)]
    bless: bool,
    /// Says what no test reaches: node entries, modules, resources, outcomes of conditions, and branches of `case:`.
    #[arg(long)]
    coverage: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Writes a second report to a file; may be repeated. `lcov` is the coverage for CI servers and editors.
    #[arg(long, value_name = "FORMAT:PATH", value_parser = target::<Format>)]
    report: Vec<Target<Format>>,
    /// Names the tests that pass, too.
    #[arg(short, long)]
    verbose: bool,
}

const EXAMPLES: &str = "Examples:
  vigoc test policy
  vigoc test policy --filter staging -v
  vigoc test policy --coverage
  vigoc test policy --report junit:junit.xml --report lcov:lcov.info
  vigoc test policy --bless        then read what changed beside the tests

A test is a file below tests/; docs/testing.md says what may stand in it.

Exit codes: 0 all passed, 1 a test failed or cannot be read, 64 wrong usage, 65 no policy there.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// One JSON document.
    Json,
    /// For servers that build and test.
    Junit,
    /// The coverage, in the format of lcov.
    Lcov,
}

impl Args {
    pub(super) fn json(&self) -> bool {
        self.format == Format::Json
    }
}

/// What a failed expectation is called. It is no finding of `check`: the policy may be as it should be.
static FAILED: Code = Code {
    slug: "failed-expectation",
    severity: Severity::Error,
    summary: "a policy test expects something else",
};

/// Why a test failed.
#[derive(Clone, Debug)]
struct Failed {
    finding: Diagnostic,
    /// What does not fit into a sentence: a difference, or the text itself.
    detail: Option<String>,
    /// For programs.
    expected: Json,
    /// For programs.
    actual: Json,
}

impl Failed {
    fn new(file: &Arc<str>, span: Span, message: impl Into<String>) -> Failed {
        let place = Place { file: file.clone(), span };
        let finding = Diagnostic::new(&FAILED, place, message);
        Failed { finding, detail: None, expected: Json::Null, actual: Json::Null }
    }

    fn label(mut self, text: impl Into<String>) -> Failed {
        self.finding = self.finding.label(text);
        self
    }

    fn help(mut self, text: Option<String>) -> Failed {
        self.finding = self.finding.maybe_help(text);
        self
    }
}

/// A test that was run.
#[derive(Debug)]
struct Ran {
    file: Arc<str>,
    name: Arc<str>,
    line: usize,
    /// Where the snapshot is asked for.
    span: Span,
    failed: Vec<Failed>,
    coverage: Coverage,
    /// What it gives, when it asks for a snapshot.
    snapshot: Option<Json>,
}

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let root = input::root(args.dir.as_deref(), directory)?;
    let started = Instant::now();
    let policy = Policy::open(&root)?;
    let (tests, unreadable) = tests(&policy);
    let snapshots = Snapshots::read(&root, tests.iter().map(|(file, _)| file))?;
    let chosen: Vec<(&Arc<str>, &TestAst)> = tests
        .iter()
        .filter(|(file, test)| {
            args.filter.as_ref().is_none_or(|f| file.contains(f) || test.name.text.contains(f))
        })
        .map(|(file, test)| (file, *test))
        .collect();
    if tests.is_empty() && unreadable.is_empty() {
        output::warning("the policy has no tests; they stand below tests/, such as tests/web.vgo");
    } else if chosen.is_empty() && args.filter.is_some() {
        output::warning("no test has this text in its name or file");
    }
    let formats = || args.report.iter().map(|target| target.format).chain([args.format]);
    let wanted = args.coverage || formats().any(|format| format == Format::Lcov);
    let mut ran = on_every_core(&policy, &chosen, wanted);
    if args.bless {
        let blessed = snapshots.bless(&tests, &ran)?;
        output::note(&format!("{} stored", output::count(blessed, "snapshot")));
    } else {
        ran.iter_mut().for_each(|test| snapshots.compare(test));
    }
    let mut coverage = wanted.then(Coverage::default);
    for test in &mut ran {
        if let Some(all) = &mut coverage {
            all.add(std::mem::take(&mut test.coverage));
        }
    }
    let report = Report {
        tests: ran,
        unreadable,
        coverage: coverage.map(|c| c.against(&policy)),
        texts: policy.texts(),
        took: started.elapsed(),
        verbose: args.verbose,
        list_left: args.coverage,
    };
    let text = |format, style| match format {
        Format::Human => report.human(style),
        Format::Json => output::document_text("test", report.json()),
        Format::Junit => report.junit(),
        Format::Lcov => report.coverage.as_ref().map_or(String::new(), |c| lcov::text(c, &prefix(&root))),
    };
    output::data(&text(args.format, output::style()))?;
    for target in &args.report {
        replace(&target.path, &text(target.format, Style::default()))?;
    }
    Ok(if report.passed() { Exit::Done } else { Exit::Findings })
}

/// Runs the tests that are wanted, by file and name: whether they pass, and what the command prints.
pub(super) fn text(
    policy: &Policy,
    root: &std::path::Path,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<(bool, String), Failure> {
    let started = Instant::now();
    let (tests, unreadable) = tests(policy);
    let snapshots = Snapshots::read(root, tests.iter().map(|(file, _)| file))?;
    let chosen: Vec<(&Arc<str>, &TestAst)> = tests
        .iter()
        .filter(|(file, test)| wanted(file, &test.name.text))
        .map(|(file, test)| (file, *test))
        .collect();
    if chosen.is_empty() {
        return Err(Failure::no_answer("there is no such test", None));
    }
    let unreadable = unreadable.into_iter().filter(|d| chosen.iter().any(|(file, _)| **file == d.place.file));
    let mut ran = on_every_core(policy, &chosen, false);
    ran.iter_mut().for_each(|test| snapshots.compare(test));
    let report = Report {
        tests: ran,
        unreadable: unreadable.collect(),
        coverage: None,
        texts: policy.texts(),
        took: started.elapsed(),
        verbose: true,
        list_left: false,
    };
    Ok((report.passed(), report.human(Style::default())))
}

/// Every test of a policy, by file, and what is wrong with files of tests.
fn tests(policy: &Policy) -> (Vec<(Arc<str>, &TestAst)>, Vec<Diagnostic>) {
    let (db, project) = policy.queries();
    let (mut tests, mut found) = (Vec::new(), Vec::new());
    for file in project.files(db).iter().filter(|f| Kind::of(f.path(db)) == Kind::Test) {
        let ast = ast(db, *file);
        found.extend(ast.found.iter().cloned());
        if let Body::Tests(list) = &ast.body {
            tests.extend(list.iter().map(|test| (file.path(db).clone(), test)));
        }
    }
    (tests, found)
}

fn on_every_core(policy: &Policy, tests: &[(&Arc<str>, &TestAst)], coverage: bool) -> Vec<Ran> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8).min(tests.len());
    let mut by_place: BTreeMap<usize, Ran> = BTreeMap::new();
    if threads > 1 {
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            for number in 0..threads {
                let handle = policy.handle();
                let job = move || {
                    let mine = tests.iter().enumerate().skip(number).step_by(threads);
                    mine.map(|(at, (file, test))| (at, one(&handle, file, test, coverage)))
                        .collect::<Vec<_>>()
                };
                running.extend(std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, job).ok());
            }
            for thread in running {
                by_place.extend(thread.join().unwrap_or_default());
            }
        });
    }
    // a thread that could not be had, or that a bug ended, leaves its work to this one
    for (at, (file, test)) in tests.iter().enumerate() {
        by_place.entry(at).or_insert_with(|| one(policy, file, test, coverage));
    }
    by_place.into_values().collect()
}

/// Runs one test.
fn one(policy: &Policy, file: &Arc<str>, test: &TestAst, coverage: bool) -> Ran {
    let line = crate::diagnostic::json::line(policy.text(file).as_ref(), test.name.span.start);
    let mut ran = Ran {
        file: file.clone(),
        name: test.name.text.clone(),
        line,
        span: test.expect.snapshot.unwrap_or(test.name.span),
        failed: Vec::new(),
        coverage: Coverage::default(),
        snapshot: None,
    };
    match subject::host(policy, file, test) {
        Err(failed) => ran.failed = failed,
        Ok(host) => {
            let state = State::of(&host, true);
            ran.failed = expect::check(&host, &state, file, &test.expect);
            if coverage {
                ran.coverage = Coverage::of(&host);
            }
            if test.expect.snapshot.is_some() {
                ran.snapshot = Some(snapshot::of(&host, &state));
            }
        }
    }
    ran
}

/// How long something took, for people.
fn seconds(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}
