//! `vigoc check`: everything that can be known without a host.

use super::failure::{Exit, Failure};
use super::{input, output};
use crate::diagnostic::github::github;
use crate::diagnostic::json::Texts;
use crate::diagnostic::nearest::did_you_mean;
use crate::diagnostic::render::{Style, human, short};
use crate::diagnostic::{CODES, Diagnostic, Severity, json};
use crate::policy::{Policy, Report};
use clap::ValueEnum;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The root of the policy.
    dir: Option<PathBuf>,
    /// How to print what was found.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Takes findings of this kind (or `warnings`: all warnings) for errors; may be repeated.
    #[arg(long, value_name = "warnings|SLUG", value_parser = deniable)]
    deny: Vec<String>,
    /// Leaves out warnings and hints of this kind; may be repeated. Errors stay.
    #[arg(long, value_name = "SLUG", value_parser = slug)]
    allow: Vec<String>,
    /// Says on stderr how long each step took.
    #[arg(long)]
    timings: bool,
    /// Writes a second report to a file; may be repeated.
    #[arg(long, value_name = "FORMAT:PATH", value_parser = report)]
    report: Vec<(Format, PathBuf)>,
}

const EXAMPLES: &str = "Examples:
  vigoc check                                    the policy here
  vigoc check policy --deny warnings             fail on warnings too
  vigoc check --format github                    annotations in GitHub Actions
  vigoc check --report json:check.json           for people here, for programs there

Exit codes: 0 no errors, 1 errors (or what --deny names), 64 wrong usage, 65 no policy there.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// A line for each finding.
    Short,
    /// One JSON document.
    Json,
    /// Workflow commands of GitHub Actions.
    Github,
}

impl Args {
    pub(super) fn json(&self) -> bool {
        self.format == Format::Json
    }
}

fn report(text: &str) -> Result<(Format, PathBuf), String> {
    let known = || {
        let names = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        names.map(|v| v.get_name().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let (format, path) = text.split_once(':').ok_or("write it as FORMAT:PATH, such as json:check.json")?;
    let format = Format::from_str(format, false)
        .map_err(|_| format!("`{format}` is no format; there are {}", known()))?;
    match path {
        "" => Err("the path is empty".into()),
        path => Ok((format, path.into())),
    }
}

fn deniable(text: &str) -> Result<String, String> {
    if text == "warnings" { Ok(text.to_owned()) } else { slug(text) }
}

fn slug(text: &str) -> Result<String, String> {
    let known = || CODES.iter().map(|c| c.slug).chain(grammar::SLUGS.iter().map(|(slug, _)| *slug));
    if known().any(|s| s == text) {
        return Ok(text.to_owned());
    }
    let near = did_you_mean(text, known()).map(|m| format!("; {m}")).unwrap_or_default();
    Err(format!("there is no such kind of finding{near}"))
}

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let root = input::root(args.dir.as_deref(), directory)?;
    let started = Instant::now();
    let policy = Policy::open(&root)?;
    let read = started.elapsed();
    let report = judged(policy.check(), args);
    let took = started.elapsed();
    let shown = Shown { report: &report, texts: policy.texts(), root: &root, took };
    output::data(&shown.text(args.format, output::style()))?;
    for (format, path) in &args.report {
        let text = shown.text(*format, Style::default());
        std::fs::write(path, text)
            .map_err(|source| Failure::Write { what: format!("`{}`", path.display()), source })?;
    }
    if args.timings {
        let all = started.elapsed();
        output::note(&format!("read     {}", milliseconds(read)));
        output::note(&format!("check    {}", milliseconds(took.saturating_sub(read))));
        output::note(&format!("report   {}", milliseconds(all.saturating_sub(took))));
    }
    let exit = if report.has_errors() { Exit::Findings } else { Exit::Done };
    // the process ends here: taking the database apart would be a tenth of the work
    std::mem::forget(policy);
    Ok(exit)
}

/// What `--allow` and `--deny` make of a report; hints come last.
fn judged(mut report: Report, args: &Args) -> Report {
    let is = |list: &[String], slug: &str| list.iter().any(|s| s == slug);
    report.diagnostics.retain(|d| d.severity == Severity::Error || !is(&args.allow, d.code));
    for d in &mut report.diagnostics {
        if is(&args.deny, d.code) || (d.severity == Severity::Warning && is(&args.deny, "warnings")) {
            d.severity = Severity::Error;
        }
    }
    report.diagnostics.sort_by_key(|d| d.severity == Severity::Hint);
    let count = |s| report.diagnostics.iter().filter(|d| d.severity == s).count();
    report.summary.errors = count(Severity::Error);
    report.summary.warnings = count(Severity::Warning);
    report
}

struct Shown<'a> {
    report: &'a Report,
    texts: Texts,
    root: &'a Path,
    took: Duration,
}

impl Shown<'_> {
    fn text(&self, format: Format, style: Style) -> String {
        let found = &self.report.diagnostics;
        let text = |path: &str| self.texts.get(path).cloned();
        match format {
            Format::Human => {
                let mut out: String = found.iter().map(|d| human(d, &text, style) + "\n").collect();
                out.push_str(&self.summary());
                out
            }
            Format::Short => {
                let mut out: String = found.iter().map(|d| short(d, &text) + "\n").collect();
                out.push_str(&self.summary());
                out
            }
            Format::Github => {
                let prefix = prefix(self.root);
                found.iter().map(|d| github(d, &text, &prefix) + "\n").collect()
            }
            Format::Json => self.json(),
        }
    }

    fn json(&self) -> String {
        let s = self.report.summary;
        let fields = json!({
            "diagnostics": json::diagnostics(&self.report.diagnostics, &self.texts),
            "summary": {
                "errors": s.errors, "warnings": s.warnings,
                "files": s.files, "modules": s.modules, "classes": s.classes,
            },
        });
        output::document_text("check", fields)
    }

    /// `2 errors in 41 files (38 modules, 12 classes), 0.06 s`
    fn summary(&self) -> String {
        let s = self.report.summary;
        let hints = self.report.diagnostics.iter().filter(|d: &&Diagnostic| d.severity == Severity::Hint);
        let kinds = [(s.errors, "error"), (s.warnings, "warning"), (hints.count(), "hint")];
        let found: Vec<String> =
            kinds.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| output::count(*n, noun)).collect();
        let found = if found.is_empty() { "no problems".to_owned() } else { found.join(", ") };
        format!(
            "{found} in {} ({}, {}), {:.2} s\n",
            output::count(s.files, "file"),
            output::count(s.modules, "module"),
            output::count(s.classes, "class"),
            self.took.as_secs_f64(),
        )
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// The way from here to the policy, for annotations, whose paths begin at the repository.
fn prefix(root: &Path) -> String {
    let here = std::env::current_dir().ok().and_then(|d| d.canonicalize().ok());
    let below = here.zip(root.canonicalize().ok()).and_then(|(here, root)| {
        let below = root.strip_prefix(here).ok()?;
        below.to_str().map(str::to_owned)
    });
    match below {
        Some(below) if !below.is_empty() => format!("{}/", below.replace('\\', "/")),
        _ => String::new(),
    }
}
