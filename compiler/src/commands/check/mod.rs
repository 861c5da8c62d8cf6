//! `vigoc check`: everything that can be known without a host.

mod report;
mod watch;

use super::failure::{Exit, Failure};
use super::output::Form;
use super::replace::replace;
use super::second_report::{Target, target};
use super::{input, output};
use crate::diagnostic::Severity;
use crate::diagnostic::baseline::Baseline;
use crate::diagnostic::codes::slugs;
use crate::diagnostic::findings::{Findings, Standing};
use crate::diagnostic::nearest::did_you_mean;
use crate::diagnostic::render::Style;
use crate::policy::Policy;
use report::Format;
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
    /// Writes a second report to a file; may be repeated.
    #[arg(long, value_name = "FORMAT:PATH", value_parser = target::<Format>)]
    report: Vec<Target<Format>>,
    /// Takes findings of this kind (or `warnings`: all warnings) for errors; may be repeated.
    #[arg(long, value_name = "warnings|SLUG", value_parser = deniable)]
    deny: Vec<String>,
    /// Leaves out warnings and hints of this kind; may be repeated. Errors stay.
    #[arg(long, value_name = "SLUG", value_parser = slug)]
    allow: Vec<String>,
    /// Leaves out the warnings and hints that this file lists, and names those in it that are gone.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Writes the warnings and hints there are now to this file, for `--baseline`.
    #[arg(long, value_name = "FILE", conflicts_with = "baseline")]
    write_baseline: Option<PathBuf>,
    /// Goes on and checks again whenever a file changes.
    #[arg(long, conflicts_with = "write_baseline")]
    watch: bool,
    /// Says on stderr how long each step took.
    #[arg(long)]
    timings: bool,
}

const EXAMPLES: &str = "Examples:
  vigoc check                                    the policy here
  vigoc check policy --deny warnings             fail on warnings too
  vigoc check --format github                    annotations in GitHub Actions
  vigoc check --format ndjson | jq -r .code      a finding a line, the summary on the last
  vigoc check --report sarif:check.sarif --report junit:check.xml
                                                 for people here, for programs there
  vigoc check --write-baseline baseline.json     once, in a policy that has warnings
  vigoc check --baseline baseline.json --deny warnings
                                                 from then on only new ones fail
  vigoc check --watch                            after every save

A comment `# vigo: allow(SLUG) REASON` on the line of a warning, or on the line before, allows it there.
`vigoc rule SLUG` explains a finding.

Exit codes: 0 no errors, 1 errors (or what --deny names), 64 wrong usage, 65 no policy or baseline there.";

impl Args {
    /// The form of JSON that it prints.
    pub(super) fn json(&self) -> Option<Form> {
        match self.format {
            Format::Json => Some(Form::Indented),
            Format::Ndjson => Some(Form::Line),
            _ => None,
        }
    }
}

fn deniable(text: &str) -> Result<String, String> {
    if text == "warnings" { Ok(text.to_owned()) } else { slug(text) }
}

/// A slug there is; the nearest one otherwise.
pub(super) fn slug(text: &str) -> Result<String, String> {
    let known = || slugs().map(|(slug, ..)| slug);
    if known().any(|s| s == text) {
        return Ok(text.to_owned());
    }
    let near = did_you_mean(text, known()).map(|m| format!("; {m}"));
    Err(format!("there is no such kind of finding{}", near.unwrap_or("; `vigoc rule` lists them".into())))
}

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let root = input::root(args.dir.as_deref(), directory)?;
    if args.watch && !matches!(args.format, Format::Human | Format::Short | Format::Ndjson) {
        return Err(Failure::Usage(
            "--watch prints one report after the other: use it with --format human, short or ndjson, and --report for others"
                .into(),
        ));
    }
    let started = Instant::now();
    let policy = Policy::open(&root)?;
    let read = started.elapsed();
    if args.watch {
        return watch::run(args, policy, &root, read);
    }
    let checked = check(args, &policy, &root, started, read)?;
    output::data(&report::text(&checked.findings, args.format, checked.took, output::style()))?;
    checked.finish(args)?;
    // the process ends here: taking the database apart would be a tenth of the work
    std::mem::forget(policy);
    Ok(checked.exit())
}

/// A check that is done, but not told.
struct Checked {
    findings: Findings,
    took: Duration,
    /// What each step took, in their order.
    steps: Vec<(&'static str, Duration)>,
    done: Instant,
}

/// Checks, and judges what was found by the arguments. `read` is how long it took to read the files, since `started`.
fn check(
    args: &Args,
    policy: &Policy,
    root: &Path,
    started: Instant,
    read: Duration,
) -> Result<Checked, Failure> {
    let baseline = match &args.baseline {
        Some(path) => Some(baseline(path)?),
        None => None,
    };
    let mut steps = vec![("read", read)];
    let report = if args.timings {
        let (report, more) = policy.check_timed();
        steps.extend(more);
        report
    } else {
        policy.check()
    };
    let mut findings = Findings::new(report, policy.texts(), prefix(root));
    let allowed = |slug: &str| args.allow.iter().any(|s| s == slug);
    findings.all.retain(|f| f.diagnostic.severity == Severity::Error || !allowed(f.diagnostic.code));
    if let Some(path) = &args.write_baseline {
        let listed = Baseline::of(&findings);
        replace(path, &listed.text())?;
        output::note(&format!("wrote {} to {}", output::count(listed.len(), "finding"), path.display()));
        listed.apply(&mut findings);
    } else if let Some(listed) = baseline {
        listed.apply(&mut findings);
    }
    let denied = |slug: &str| args.deny.iter().any(|s| s == slug);
    for f in findings.all.iter_mut().filter(|f| f.standing == Standing::Open) {
        let d = &mut f.diagnostic;
        if denied(d.code) || (d.severity == Severity::Warning && denied("warnings")) {
            d.severity = Severity::Error;
        }
    }
    Ok(Checked { findings, took: started.elapsed(), steps, done: Instant::now() })
}

impl Checked {
    /// What is told beside the report: other reports, lost entries of the baseline, times.
    fn finish(&self, args: &Args) -> Result<(), Failure> {
        for target in &args.report {
            let text = report::text(&self.findings, target.format, self.took, Style::default());
            replace(&target.path, &text)?;
        }
        let gone = self.findings.gone.as_deref().unwrap_or_default();
        if let (Some(path), false) = (&args.baseline, gone.is_empty()) {
            let listed: String =
                gone.iter().map(|e| format!("\n  {}: {} [{}]", e.file, e.message, e.code)).collect();
            let (path, what) = (path.display(), output::count(gone.len(), "finding"));
            output::warning(&format!(
                "`{path}` lists {what} that nothing brings about any more; --write-baseline {path} takes them out{listed}"
            ));
        }
        if args.timings {
            let told = ("report", self.done.elapsed());
            for (step, took) in self.steps.iter().chain([&told]) {
                output::note(&format!("{step:<11} {:>9.1} ms", took.as_secs_f64() * 1000.0));
            }
        }
        Ok(())
    }

    fn exit(&self) -> Exit {
        if self.findings.count(Severity::Error) > 0 { Exit::Findings } else { Exit::Done }
    }
}

fn baseline(path: &Path) -> Result<Baseline, Failure> {
    let text = input::text(path)?;
    Baseline::read(&text).map_err(|why| {
        let path = path.display();
        Failure::Input(format!("`{path}` is no baseline: {why}; --write-baseline {path} makes one"))
    })
}

/// The way from here to the policy, for reports whose paths begin at the repository.
pub(super) fn prefix(root: &Path) -> String {
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
