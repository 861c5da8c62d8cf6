//! The lines of `vigosrv dev`: what happened in front, then what it happened to.

use anstyle::{AnsiColor, Style};
use runtime_agent::observe::{Outcome, ResourceReport, RunObserver, RunSummary};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

const LABEL: Style = Style::new().bold();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// A line with a label.
pub(super) fn say(label: &str, text: &str) {
    raw(&format!("{LABEL}{label:<10}{LABEL:#} {text}"));
}

/// A line as it is. A reader that went away is no error of ours.
pub(super) fn raw(text: &str) {
    let _ = writeln!(anstream::stdout().lock(), "{text}");
}

/// In ms, then in s.
pub(super) fn took(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms < 10_000 { format!("{DIM}{ms} ms{DIM:#}") } else { format!("{DIM}{} s{DIM:#}", ms / 1000) }
}

/// Shows the runs of the agent. One that finds everything in order is not worth a line.
#[derive(Debug, Default)]
pub(super) struct Runs {
    number: usize,
    labelled: bool,
    /// The policy is as it was, so whatever changes was changed by somebody else.
    drift: bool,
    created: u32,
    ran: u32,
    /// Lines that wait for their neighbours, so that columns fit them all.
    held: Vec<Line>,
    since: Option<Instant>,
    /// What was said of resources that a sandbox leaves alone, so that it is said once.
    left_alone: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Line {
    verb: String,
    name: String,
    what: String,
    how: String,
}

/// For no longer than this: who waits for a slow command sees what was done before it.
const HOLD: Duration = Duration::from_millis(300);

impl Runs {
    /// Shows what is held.
    fn flush(&mut self) {
        let lines = std::mem::take(&mut self.held);
        self.since = None;
        let width = |of: fn(&Line) -> &str, least| {
            lines.iter().map(|l| of(l).chars().count()).max().unwrap_or(0).clamp(least, 48)
        };
        let (name, what) = (width(|l| &l.name, 24), width(|l| &l.what, 40));
        for l in &lines {
            let line = match l.how.as_str() {
                "" => format!("{} {:<name$} {}", l.verb, l.name, l.what),
                how => format!("{} {:<name$} {:<what$} {DIM}{how}{DIM:#}", l.verb, l.name, l.what),
            };
            self.line(&line);
        }
    }

    /// Before a run.
    pub(super) fn begin(&mut self, drift: bool) {
        self.flush();
        (self.created, self.ran) = (0, 0);
        (self.labelled, self.drift) = (false, drift && self.number > 0);
    }

    /// After it; the first one is summed up in any case.
    pub(super) fn end(&mut self, summary: &RunSummary) {
        self.flush();
        let t = summary.totals;
        if self.number > 1 && t.failed == 0 || self.number > 0 && !self.labelled {
            return;
        }
        let failed = if t.failed > 0 { RED } else { Style::new() };
        let some = |n: u32, word: &str| if n > 0 { format!("{n} {word}, ") } else { String::new() };
        self.line(&format!(
            "{}{}{}{} unchanged, {} skipped, {failed}{} failed{failed:#}   {}",
            some(self.created, "created"),
            some(self.ran, "ran"),
            some(t.changed.saturating_sub(self.created + self.ran), "changed"),
            t.ok,
            t.skipped,
            t.failed,
            took(summary.duration)
        ));
    }

    /// The first line of a run carries its number.
    fn line(&mut self, text: &str) {
        if self.labelled {
            return say("", text);
        }
        self.labelled = true;
        self.number += 1;
        say(&format!("run {}", self.number), text);
    }
}

impl RunObserver for Runs {
    fn resource(&mut self, report: &ResourceReport) {
        let first = report.action.split([' ', ',']).next().unwrap_or_default();
        let (verb, style) = match report.outcome {
            Outcome::Failed => ("failed", RED),
            Outcome::Changed if first == "created" => {
                self.created += 1;
                (if self.drift { "repaired" } else { "created" }, GREEN)
            }
            Outcome::Changed if first == "ran" => {
                self.ran += 1;
                ("ran", GREEN)
            }
            Outcome::Changed if self.drift => ("repaired", YELLOW),
            Outcome::Changed if first == "removed" => ("removed", YELLOW),
            Outcome::Changed => ("changed", YELLOW),
            Outcome::Skipped if report.would_change() => {
                let id = format!("{}.{}", report.module, report.resource);
                let said = self.left_alone.insert(id, report.action.clone());
                if said.is_some_and(|said| said == report.action) {
                    return;
                }
                ("skipped", DIM)
            }
            Outcome::Ok | Outcome::Skipped => return,
        };
        let name = format!("{}.{}", plain(&report.module), plain(&report.resource));
        let what = format!("{} {}", plain(&report.kind), plain(&report.detail));
        let lines = |n: usize| if n == 1 { "1 line".to_owned() } else { format!("{n} lines") };
        let how = match (report.outcome, verb, report.lines) {
            (Outcome::Failed, ..) => plain(report.error.as_deref().unwrap_or_default()),
            (_, "repaired", _) if first == "created" => "it was gone".to_owned(),
            (_, "repaired", Some((added, removed))) => {
                format!("someone changed {}", lines(added.max(removed)))
            }
            (_, _, Some((added, 0))) => format!("+{}", lines(added)),
            (_, _, Some((0, removed))) => format!("-{}", lines(removed)),
            (_, _, Some((added, removed))) => format!("+{added} -{}", lines(removed)),
            (_, "created" | "removed" | "ran", None) => String::new(),
            (_, _, None) => plain(&report.action),
        };
        self.held.push(Line { verb: format!("{style}{verb:<9}{style:#}"), name, what, how });
        if self.since.get_or_insert_with(Instant::now).elapsed() >= HOLD {
            self.flush();
        }
    }

    fn note(&mut self, text: &str) {
        self.flush();
        say("note", &plain(text));
    }
}

/// Without anything that a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
