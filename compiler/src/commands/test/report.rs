//! The results of tests: for people, for programs, and as JUnit.

use super::coverage::{Covered, Left, Share};
use super::{Failed, Ran, seconds};
use crate::commands::output;
use crate::diagnostic::json::{Texts, diagnostics};
use crate::diagnostic::render::{Style, human, short};
use crate::diagnostic::{Diagnostic, Severity};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What was run.
pub(super) struct Report {
    /// In the order of files.
    pub(super) tests: Vec<Ran>,
    /// What is wrong with files of tests.
    pub(super) unreadable: Vec<Diagnostic>,
    pub(super) coverage: Option<Covered>,
    pub(super) texts: Texts,
    pub(super) took: Duration,
    pub(super) verbose: bool,
    /// Whether people are told the coverage.
    pub(super) list_left: bool,
}

impl Report {
    /// Whether nothing failed and everything could be read.
    pub(super) fn passed(&self) -> bool {
        self.failures() == 0 && !self.unreadable.iter().any(|d| d.severity == Severity::Error)
    }

    fn failures(&self) -> usize {
        self.tests.iter().filter(|t| !t.failed.is_empty()).count()
    }

    fn files(&self) -> usize {
        self.tests.iter().map(|t| &t.file).collect::<BTreeSet<_>>().len()
    }

    pub(super) fn human(&self, style: Style) -> String {
        let text = |path: &str| self.texts.get(path).cloned();
        let colour = |c: anstyle::AnsiColor| match style.colour {
            true => c.on_default().bold(),
            false => anstyle::Style::new(),
        };
        let (red, green) = (colour(anstyle::AnsiColor::Red), colour(anstyle::AnsiColor::Green));
        let mut out: String = self.unreadable.iter().map(|d| human(d, &text, style) + "\n").collect();
        for test in &self.tests {
            if test.failed.is_empty() {
                if self.verbose {
                    out.push_str(&format!("{green}ok{green:#}    {}  {}\n", test.file, test.name));
                }
                continue;
            }
            out.push_str(&format!("{red}FAIL{red:#}  {}  {}\n\n", test.file, test.name));
            for failed in &test.failed {
                out.push_str(&human(&failed.finding, &text, style));
                out.push('\n');
                if let Some(detail) = &failed.detail {
                    out.push_str(&coloured(detail, style));
                    out.push('\n');
                }
            }
        }
        if let Some(covered) = self.coverage.as_ref().filter(|_| self.list_left) {
            out.push_str(&coverage(covered));
        }
        out.push_str(&self.summary());
        out
    }

    /// `12 tests passed, 1 failed, in 5 files, 0.04 s`
    fn summary(&self) -> String {
        let failed = self.failures();
        let passed = output::count(self.tests.len() - failed, "test");
        let failed =
            if failed > 0 { format!(", {} failed", output::thousands(failed)) } else { String::new() };
        let errors = self.unreadable.iter().filter(|d| d.severity == Severity::Error).count();
        let unreadable = match errors {
            0 => String::new(),
            n => format!(", {} in test files", output::count(n, "error")),
        };
        let files = output::count(self.files(), "file");
        format!("{passed} passed{failed}{unreadable}, in {files}, {}\n", seconds(self.took))
    }

    pub(super) fn json(&self) -> Json {
        let tests: Vec<Json> = self
            .tests
            .iter()
            .map(|test| {
                let findings: Vec<Diagnostic> = test.failed.iter().map(|f| f.finding.clone()).collect();
                let mut rows = diagnostics(&findings, &self.texts);
                for (row, failed) in rows.as_array_mut().into_iter().flatten().zip(&test.failed) {
                    row["expected"] = failed.expected.clone();
                    row["actual"] = failed.actual.clone();
                    row["detail"] = failed.detail.as_deref().into();
                }
                json!({
                    "file": &*test.file,
                    "line": test.line,
                    "name": &*test.name,
                    "status": if test.failed.is_empty() { "passed" } else { "failed" },
                    "failures": rows,
                })
            })
            .collect();
        let failed = self.failures();
        let mut out = json!({
            "tests": tests,
            "diagnostics": diagnostics(&self.unreadable, &self.texts),
            "summary": { "tests": self.tests.len(), "passed": self.tests.len() - failed, "failed": failed, "files": self.files() },
        });
        if let Some(covered) = &self.coverage {
            let share = |s: Share| json!({ "covered": s.reached, "total": s.of });
            let left = |l: &Left| {
                let mut row = output::place(&l.file, l.line);
                row["kind"] = l.kind.into();
                row["name"] = l.name.as_str().into();
                row["never"] = json!(l.never);
                row["branch"] = json!(l.branch);
                row
            };
            out["coverage"] = json!({
                "entries": share(covered.entries),
                "modules": share(covered.modules),
                "resources": share(covered.resources),
                "conditions": share(covered.conditions),
                "branches": share(covered.branches),
                "uncovered": covered.left.iter().map(left).collect::<Vec<_>>(),
            });
        }
        out
    }

    /// One suite a file; the file is the class of its tests, which is what servers show.
    pub(super) fn junit(&self) -> String {
        let mut suites: BTreeMap<&Arc<str>, Vec<&Ran>> = BTreeMap::new();
        self.tests.iter().for_each(|t| suites.entry(&t.file).or_default().push(t));
        let mut broken: BTreeMap<&Arc<str>, Vec<&Diagnostic>> = BTreeMap::new();
        self.unreadable.iter().for_each(|d| broken.entry(&d.place.file).or_default().push(d));
        let (tests, failures, errors) = (self.tests.len(), self.failures(), broken.len());
        let mut out = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"vigoc test\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\">\n",
            tests + errors
        );
        let files: BTreeSet<&Arc<str>> = suites.keys().chain(broken.keys()).copied().collect();
        for file in files {
            let tests = suites.get(file).map(Vec::as_slice).unwrap_or_default();
            let found = broken.get(file).map(Vec::as_slice).unwrap_or_default();
            let failures = tests.iter().filter(|t| !t.failed.is_empty()).count();
            let errors = usize::from(!found.is_empty());
            let name = escaped(file);
            out.push_str(&format!(
                "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\">\n",
                tests.len() + errors
            ));
            for test in tests {
                let case = format!("    <testcase classname=\"{name}\" name=\"{}\"", escaped(&test.name));
                if test.failed.is_empty() {
                    out.push_str(&format!("{case}/>\n"));
                    continue;
                }
                out.push_str(&format!("{case}>\n"));
                for failed in &test.failed {
                    let message = escaped(&failed.finding.message);
                    out.push_str(&format!(
                        "      <failure message=\"{message}\">{}</failure>\n",
                        self.body(failed)
                    ));
                }
                out.push_str("    </testcase>\n");
            }
            if !found.is_empty() {
                let text: Vec<String> =
                    found.iter().map(|d| short(d, &|p| self.texts.get(p).cloned())).collect();
                let text = escaped(&text.join("\n"));
                out.push_str(&format!(
                    "    <testcase classname=\"{name}\" name=\"can be read\">\n      <error message=\"the file has errors\">{text}</error>\n    </testcase>\n"
                ));
            }
            out.push_str("  </testsuite>\n");
        }
        out.push_str("</testsuites>\n");
        out
    }

    fn body(&self, failed: &Failed) -> String {
        let place = short(&failed.finding, &|p| self.texts.get(p).cloned());
        let parts = [Some(place), failed.finding.help.clone(), failed.detail.clone()];
        escaped(&parts.into_iter().flatten().collect::<Vec<_>>().join("\n"))
    }
}

fn coloured(diff: &str, style: Style) -> String {
    let line = |line: &str| {
        let colour = match line.chars().next() {
            Some('+') if style.colour => anstyle::AnsiColor::Green.on_default(),
            Some('-') if style.colour => anstyle::AnsiColor::Red.on_default(),
            _ => anstyle::Style::new(),
        };
        format!("    {colour}{line}{colour:#}\n")
    };
    diff.lines().map(line).collect()
}

fn coverage(covered: &Covered) -> String {
    let mut out = String::from("coverage\n");
    for (what, share) in [
        ("node entries", covered.entries),
        ("modules", covered.modules),
        ("resources", covered.resources),
        ("when: outcomes", covered.conditions),
        ("case: branches", covered.branches),
    ] {
        let percent = (share.reached * 100).checked_div(share.of).unwrap_or(100);
        out.push_str(&format!("  {what:<15}{:>5} of {:<5} {percent:>3} %\n", share.reached, share.of));
    }
    if !covered.left.is_empty() {
        out.push_str("not covered\n");
        let place = |l: &Left| format!("{}:{}", l.file, l.line);
        let width = covered.left.iter().map(|l| place(l).chars().count()).max().unwrap_or(0);
        for left in &covered.left {
            let what = match (left.never, &left.branch) {
                (Some(outcome), _) => format!("when of {} is never {outcome}", left.name),
                (_, Some(label)) => format!("case of {} is never {label}", left.name),
                (None, None) => format!("{} {}", left.kind, left.name),
            };
            out.push_str(&format!("  {:<width$}  {what}\n", place(left)));
        }
    }
    out.push('\n');
    out
}

/// Text of XML 1.0, which has no control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
