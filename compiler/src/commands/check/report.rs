//! The formats of a report.

use crate::commands::output;
use crate::diagnostic::findings::{Finding, Findings};
use crate::diagnostic::github::github;
use crate::diagnostic::gitlab::gitlab;
use crate::diagnostic::junit::junit;
use crate::diagnostic::markdown::markdown;
use crate::diagnostic::render::{Style, human, short};
use crate::diagnostic::sarif::sarif;
use crate::diagnostic::{Severity, json};
use clap::ValueEnum;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Human,
    /// A line for each finding.
    Short,
    /// One JSON document.
    Json,
    /// JSON Lines: a finding on each line, and the summary on the last one.
    Ndjson,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Workflow commands of GitHub Actions.
    Github,
    /// A Code Quality report of GitLab.
    Gitlab,
    /// JUnit XML, for Jenkins and most other CI servers.
    Junit,
    /// A table for a comment on a pull request.
    Markdown,
}

/// A report in a format.
pub(super) fn text(findings: &Findings, format: Format, took: Duration, style: Style) -> String {
    let file = |path: &str| findings.texts.get(path).cloned();
    let each =
        |draw: &dyn Fn(&Finding) -> String| -> String { findings.open().map(|f| draw(f) + "\n").collect() };
    match format {
        Format::Human => each(&|f| human(&f.diagnostic, &file, style)) + &summary(findings, took),
        Format::Short => each(&|f| short(&f.diagnostic, &file)) + &summary(findings, took),
        Format::Github => each(&|f| github(&f.diagnostic, &file, &findings.prefix)),
        Format::Json => output::document_text("check", json::report(findings)),
        Format::Ndjson => lines(findings),
        Format::Sarif => sarif(findings),
        Format::Gitlab => gitlab(findings),
        Format::Junit => junit(findings),
        Format::Markdown => markdown(findings),
    }
}

/// The findings of the JSON document, then its head and its summary, one a line.
fn lines(findings: &Findings) -> String {
    let mut report = json::report(findings);
    let last = serde_json::json!({ "summary": report["summary"].take() });
    let found = report["diagnostics"].as_array().into_iter().flatten();
    let lines: String = found.map(|finding| format!("{finding}\n")).collect();
    lines + &output::document_line("check", last)
}

/// `2 errors in 41 files (38 modules, 12 classes), 0.06 s; 3 allowed by comments, 5 in the baseline`
fn summary(findings: &Findings, took: Duration) -> String {
    let kinds = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Hint, "hint")];
    let counts = kinds.iter().map(|(severity, noun)| (findings.count(*severity), noun));
    let found: Vec<String> = counts.filter(|(n, _)| *n > 0).map(|(n, noun)| output::count(n, noun)).collect();
    let found = if found.is_empty() { "no problems".to_owned() } else { found.join(", ") };
    let size = findings.size;
    let mut out = format!(
        "{found} in {} ({}, {}), {:.2} s",
        output::count(size.files, "file"),
        output::count(size.modules, "module"),
        output::count(size.classes, "class"),
        took.as_secs_f64(),
    );
    let aside = [(findings.allowed(), "allowed by comments"), (findings.known(), "in the baseline")];
    let aside: Vec<String> =
        aside.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if !aside.is_empty() {
        out.push_str("; ");
        out.push_str(&aside.join(", "));
    }
    out + "\n"
}
