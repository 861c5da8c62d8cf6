//! Lines for people on stdout, documents for programs.

use crate::observe::{Outcome, ResourceReport, RunObserver, RunSummary};
use crate::text::{printable, printable_lines, took};
use anstyle::{AnsiColor, Style};
use ir::Value;
use serde_json::json;
use std::io::Write;
use std::path::Path;

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// Writes to stdout. A reader that went away is no error of ours.
pub fn say(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = writeln!(out, "{text}");
}

/// Writes to stderr.
pub fn error(message: &str) {
    let mut out = anstream::stderr().lock();
    let _ = writeln!(out, "{RED}error{RED:#}: {}", printable_lines(message));
}

/// Commands of a message, as they have to be typed where the agent has another root than the host's. Where messages are
/// made they are written without it.
pub fn typed(message: &str, root: &Path) -> String {
    if root == Path::new("/") {
        return message.to_owned();
    }
    let root = root.to_string_lossy();
    let quoted = shlex::try_quote(&root).unwrap_or_else(|_| "DIR".into());
    message.replace("`vigo ", &format!("`vigo --root {} ", printable(&quoted)))
}

/// Prints a line for each change and failure, as it happens.
pub struct Lines {
    quiet: bool,
    diff: bool,
    /// Of the columns; they grow with what stands in them.
    widths: (usize, usize),
}

impl Lines {
    /// `quiet`: for a run whose result is one document.
    pub fn new(quiet: bool, diff: bool) -> Self {
        Lines { quiet, diff, widths: (24, 40) }
    }

    /// The last line.
    pub fn summary(&self, summary: &RunSummary) {
        let t = summary.totals;
        let changed = if summary.dry_run { "would change" } else { "changed" };
        let (fail, fail_end) = if t.failed > 0 {
            (RED.render(), RED.render_reset())
        } else {
            (DIM.render(), DIM.render_reset())
        };
        say(&format!(
            "{} ok, {} {changed}, {fail}{} failed{fail_end}, {} skipped   {DIM}{}{DIM:#}{}{}",
            t.ok,
            t.changed,
            t.failed,
            t.skipped,
            took(summary.duration),
            if summary.dry_run { "   dry run: nothing was changed" } else { "" },
            if summary.stopped { "   stopped before the end" } else { "" },
        ));
    }
}

/// The word in front: the action where it is one word, what became of it otherwise.
fn verb(report: &ResourceReport) -> (&str, Style, &str) {
    match report.outcome {
        Outcome::Failed => ("failed", RED, ""),
        Outcome::Skipped => ("skipped", DIM, report.action.as_str()),
        Outcome::Ok => ("ok", DIM, ""),
        Outcome::Changed => {
            let (first, rest) = report.action.split_once(' ').unwrap_or((&report.action, ""));
            match first.trim_end_matches(',') {
                word @ ("created" | "removed" | "ran" | "replaced") => (word, GREEN, rest),
                _ => ("changed", YELLOW, report.action.as_str()),
            }
        }
    }
}

fn lines(n: usize) -> String {
    if n == 1 { "1 line".to_owned() } else { format!("{n} lines") }
}

impl RunObserver for Lines {
    fn resource(&mut self, report: &ResourceReport) {
        let worth_a_line = match report.outcome {
            Outcome::Changed | Outcome::Failed => true,
            Outcome::Skipped => report.is_blocked() || report.would_change(),
            Outcome::Ok => false,
        };
        if self.quiet || !worth_a_line {
            tracing::debug!(
                "{} {}.{} {}",
                report.outcome.name(),
                report.module,
                report.resource,
                report.action
            );
            return;
        }
        let (verb, style, rest) = verb(report);
        let id = printable(&format!("{}.{}", report.module, report.resource));
        let what = format!("{} {}", printable(&report.kind), report.detail);
        let (first, second) = &mut self.widths;
        (*first, *second) = (id.chars().count().max(*first), what.chars().count().max(*second));
        let mut line = format!("{style}{verb:<9}{style:#} {id:<first$} {what:<second$}");
        if let Some((added, removed)) = report.lines {
            let counted = match (added, removed) {
                (a, 0) => format!(" +{}", lines(a)),
                (0, r) => format!(" -{}", lines(r)),
                (a, r) => format!(" +{a} -{}", lines(r)),
            };
            line.push_str(&counted);
        }
        if !rest.is_empty() {
            line.push_str(&format!("  {DIM}{rest}{DIM:#}"));
        }
        say(line.trim_end());
        if let Some(error) = &report.error {
            say(&indent(error));
        }
        if let Some(diff) = report.diff.as_ref().filter(|_| self.diff) {
            let colored: Vec<String> = diff
                .trim_end()
                .lines()
                .map(|line| match line.chars().next() {
                    Some('+') => format!("{GREEN}{line}{GREEN:#}"),
                    Some('-') => format!("{RED}{line}{RED:#}"),
                    _ => line.to_owned(),
                })
                .collect();
            say(&indent(&colored.join("\n")));
        }
    }

    fn note(&mut self, text: &str) {
        let mut out = anstream::stderr().lock();
        let _ = writeln!(out, "{YELLOW}note{YELLOW:#}: {}", printable_lines(text));
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("          {line}")).collect::<Vec<_>>().join("\n")
}

/// A run as one document.
pub fn summary_json(command: &str, summary: &RunSummary) -> serde_json::Value {
    let result = |r: &ResourceReport| {
        json!({
            "module": r.module, "resource": r.resource, "type": r.kind, "outcome": r.outcome.name(),
            "action": r.action, "detail": r.detail, "error": r.error, "diff": r.diff,
            "lines": r.lines.map(|(added, removed)| json!({"added": added, "removed": removed})),
            "duration_ms": u64::try_from(r.duration.as_millis()).unwrap_or(u64::MAX),
        })
    };
    json!({
        "format_version": "1.0",
        "command": command,
        "tool_version": env!("CARGO_PKG_VERSION"),
        "run_id": summary.run_id,
        "dry_run": summary.dry_run,
        "offline": summary.offline,
        "stopped": summary.stopped,
        "totals": summary.totals,
        "results": summary.results.iter().map(result).collect::<Vec<_>>(),
        "duration_ms": u64::try_from(summary.duration.as_millis()).unwrap_or(u64::MAX),
    })
}

/// A value as lines `path = value`.
pub fn flat(path: &str, value: &Value) -> String {
    match value {
        Value::Map(map) => map
            .iter()
            .map(|(k, v)| if path.is_empty() { flat(k, v) } else { flat(&format!("{path}.{k}"), v) })
            .collect(),
        Value::Str(text) => format!("{path} = {}\n", printable(text)),
        other => format!("{path} = {}\n", serde_json::Value::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_says_what_happened() {
        let mut report = ResourceReport {
            module: "m".into(),
            resource: "r".into(),
            kind: "file".into(),
            outcome: Outcome::Changed,
            action: "content changed, mode 0644 -> 0600".into(),
            detail: "/x".into(),
            error: None,
            lines: None,
            diff: None,
            duration: std::time::Duration::ZERO,
        };
        assert_eq!((verb(&report).0, verb(&report).2), ("changed", "content changed, mode 0644 -> 0600"));
        report.action = "replaced a directory".into();
        assert_eq!((verb(&report).0, verb(&report).2), ("replaced", "a directory"));
        report.outcome = Outcome::Failed;
        assert_eq!(verb(&report).0, "failed");
    }

    #[test]
    fn commands_can_be_typed_as_they_stand() {
        let said = "it does not run; start it with `systemctl start vigo` or `vigo run`";
        assert_eq!(typed(said, Path::new("/")), said);
        for (root, shown) in [("/srv/a", "/srv/a"), ("/srv/a b", "'/srv/a b'")] {
            let expected =
                format!("it does not run; start it with `systemctl start vigo` or `vigo --root {shown} run`");
            assert_eq!(typed(said, Path::new(root)), expected);
        }
    }

    #[test]
    fn traits_are_flat_for_people() {
        let value = Value::Map(
            [("os".into(), Value::Map([("a".into(), "x".into()), ("n".into(), Value::Int(2))].into()))]
                .into(),
        );
        assert_eq!(flat("", &value), "os.a = x\nos.n = 2\n");
    }
}
