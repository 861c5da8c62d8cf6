//! The formats of a report, and the second reports that `--report` writes.

use crate::commands::failure::Failure;
use crate::commands::output;
use crate::commands::replace::replace;
use crate::diagnostic::findings::{Finding, Findings};
use crate::diagnostic::github::github;
use crate::diagnostic::gitlab::gitlab;
use crate::diagnostic::junit::junit;
use crate::diagnostic::markdown::markdown;
use crate::diagnostic::nearest::did_you_mean;
use crate::diagnostic::render::{Style, human, short};
use crate::diagnostic::sarif::sarif;
use crate::diagnostic::{Severity, json};
use clap::ValueEnum;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Human,
    /// A line for each finding.
    Short,
    /// One JSON document.
    Json,
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

/// Where a second report goes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) format: Format,
    pub(super) path: PathBuf,
}

/// Reads `FORMAT:PATH`.
pub(super) fn target(text: &str) -> Result<Target, String> {
    let names: Vec<String> = Format::value_variants()
        .iter()
        .filter_map(|v| Some(v.to_possible_value()?.get_name().to_owned()))
        .collect();
    let (format, path) = text.split_once(':').ok_or("write it as FORMAT:PATH, such as sarif:check.sarif")?;
    let format = Format::from_str(format, false).map_err(|_| {
        let near = did_you_mean(format, names.iter().map(String::as_str)).map(|m| format!(", {m}"));
        format!("`{format}` is no format{}; there are {}", near.unwrap_or_default(), names.join(", "))
    })?;
    match path {
        "" => Err("the path is empty".into()),
        path => Ok(Target { format, path: path.into() }),
    }
}

impl Target {
    /// Writes the report, as a whole or not at all.
    pub(super) fn write(&self, findings: &Findings, took: Duration) -> Result<(), Failure> {
        replace(&self.path, &text(findings, self.format, took, Style::default()))
    }
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
        Format::Sarif => sarif(findings),
        Format::Gitlab => gitlab(findings),
        Format::Junit => junit(findings),
        Format::Markdown => markdown(findings),
    }
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
