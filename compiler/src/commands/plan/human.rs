//! A plan for people: the summary first, then the changes, the widest first.

use super::lines::{Budget, lines};
use super::{Planned, entry_text};
use crate::commands::output;
use crate::plan::{Item, Pair, Status};
use std::fmt::Write;

/// Headings that are shown unless all are wanted.
const GROUPS: usize = 12;
/// Changes under one heading.
const ITEMS: usize = 12;

pub(super) fn text(planned: &Planned<'_>, colour: bool) -> String {
    let mut out = Human { planned, colour, out: String::new() };
    // writing to a String cannot fail
    let _ = out.all();
    out.out
}

/// `412 of 10,000 envoys change, 9,588 stay as they are`
pub(super) fn summary(planned: &Planned<'_>) -> Vec<String> {
    let plan = &planned.plan;
    let all = output::count(planned.fleet.members.len(), "envoy");
    let said = |status: Status, what: &str| {
        let count = plan.count(status);
        (count > 0).then(|| format!("{} {what}", output::count(count, "envoy")))
    };
    let mut out = vec![match plan.touched() {
        0 => format!("nothing changes on {all}"),
        n => format!("{} of {all} get something else", output::thousands(n)),
    }];
    out.extend(
        [
            said(Status::Changed, "with changed resources"),
            said(Status::Reordered, "with the same resources in another order"),
            said(Status::Added, "that an entry matches now"),
            said(Status::Removed, "that no entry matches any more"),
            said(Status::Broken, "that the new policy does not compile for"),
            said(Status::Repaired, "that the policy compiles for again"),
            said(Status::StillBroken, "that neither policy compiles for"),
            said(Status::Variables, "where only variables differ that no resource reads"),
            said(Status::Unmatched, "that no entry matches in either policy"),
        ]
        .into_iter()
        .flatten(),
    );
    out
}

struct Human<'a> {
    planned: &'a Planned<'a>,
    colour: bool,
    out: String,
}

impl Human<'_> {
    fn all(&mut self) -> std::fmt::Result {
        let planned = self.planned;
        let mut said = summary(planned).into_iter();
        if let Some(first) = said.next() {
            writeln!(self.out, "{} → {}: {first}", planned.names[0], planned.names[1])?;
        }
        for line in said {
            writeln!(self.out, "  {line}")?;
        }
        for gate in &planned.gates {
            writeln!(self.out, "  {}", gate.said())?;
        }
        let groups = &planned.plan.groups;
        let shown = if planned.verbose { groups.len() } else { GROUPS };
        for group in groups.iter().take(shown) {
            let pairs = group.pairs.iter().filter_map(|at| planned.plan.pairs.get(*at as usize));
            self.heading(&planned.envoys_of(&group.pairs), pairs)?;
            let most = if planned.verbose { group.items.len() } else { ITEMS };
            for item in group.items.iter().take(most) {
                self.item(item)?;
            }
            self.more(group.items.len().saturating_sub(most), "change", 2)?;
        }
        self.more(groups.len().saturating_sub(shown), "change group", 0)?;
        for (status, what) in [
            (Status::Added, "an entry matches now"),
            (Status::Removed, "no entry matches any more"),
            (Status::Repaired, "the policy compiles again"),
            (Status::Broken, "the new policy does not compile"),
            (Status::StillBroken, "neither policy compiles"),
        ] {
            self.membership(status, what)?;
        }
        Ok(())
    }

    fn heading<'b>(&mut self, envoys: &[u32], pairs: impl IntoIterator<Item = &'b Pair>) -> std::fmt::Result {
        let planned = self.planned;
        let count = output::count(envoys.len(), "envoy");
        let bold = if self.colour { anstyle::Style::new().bold() } else { anstyle::Style::new() };
        writeln!(self.out, "\n{bold}{count}{bold:#}  {}", planned.some_hosts(envoys))?;
        let pairs: Vec<&Pair> = pairs.into_iter().collect();
        let entries = planned.entries(pairs.iter().copied());
        let shown = if planned.verbose { entries.len() } else { 3 };
        for entry in entries.iter().take(shown) {
            writeln!(self.out, "  {}", entry_text(entry))?;
        }
        self.more(entries.len().saturating_sub(shown), "entry", 2)?;
        for (before, now) in moved_entries(planned, &pairs) {
            writeln!(self.out, "  taken by another entry: {before} → {now}")?;
        }
        Ok(())
    }

    fn item(&mut self, item: &Item) -> std::fmt::Result {
        let planned = self.planned;
        let budget = if planned.verbose { Budget::ALL } else { Budget::CONCISE };
        let shown = if planned.verbose { item.variations.len() } else { 1 };
        let several = item.variations.len() > 1;
        for variation in item.variations.iter().take(shown) {
            for (at, line) in lines(&variation.change, budget).into_iter().enumerate() {
                let style = style(line.mark, self.colour);
                let indent = " ".repeat(2 + line.depth * 2);
                // lines of a text keep their column
                let mark = match line.mark {
                    '@' => String::new(),
                    mark if line.depth < 2 => format!("{mark} "),
                    mark => format!("  {mark}"),
                };
                writeln!(self.out, "{indent}{style}{mark}{}{style:#}", line.text)?;
                if at == 0 && several {
                    let envoys = planned.envoys_of(&variation.pairs);
                    let count = output::count(envoys.len(), "envoy");
                    writeln!(self.out, "      of these on {count}: {}", planned.some_hosts(&envoys))?;
                }
            }
        }
        let left = item.variations.len().saturating_sub(shown);
        if left > 0 {
            let left = output::count(left, "more variation");
            writeln!(self.out, "      and {left}, with other values ({} shows all)", self.planned.more)?;
        }
        Ok(())
    }

    fn membership(&mut self, status: Status, what: &str) -> std::fmt::Result {
        let planned = self.planned;
        let pairs: Vec<&Pair> = planned.pairs(status).collect();
        let shown = if planned.verbose { pairs.len() } else { GROUPS };
        for pair in pairs.iter().take(shown) {
            self.heading(&pair.envoys, [*pair])?;
            writeln!(self.out, "  {what}")?;
            if let Some(why) = refusal(planned, pair) {
                writeln!(self.out, "  {why}")?;
            }
        }
        self.more(pairs.len().saturating_sub(shown), "entry", 0)
    }

    fn more(&mut self, left: usize, noun: &str, indent: usize) -> std::fmt::Result {
        if left == 0 {
            return Ok(());
        }
        let line = if indent == 0 { "\n" } else { "" };
        let what = output::count(left, &format!("more {noun}"));
        writeln!(self.out, "{line}{}… {what} ({} shows all)", " ".repeat(indent), self.planned.more)
    }
}

/// Why a policy does not compile for envoys; the new one where both do not.
pub(super) fn refusal(planned: &Planned<'_>, pair: &Pair) -> Option<String> {
    let of = |survey: &crate::plan::Survey, fate| match fate {
        crate::plan::Fate::Refused(at) => survey.refused.get(at as usize).map(|r| r.error.to_string()),
        _ => None,
    };
    of(&planned.plan.new, pair.new).or_else(|| of(&planned.plan.old, pair.old))
}

/// Entries that all these envoys were taken from by others, in words; each change once.
pub(super) fn moved_entries(planned: &Planned<'_>, pairs: &[&Pair]) -> Vec<(String, String)> {
    let moved = |p: &&Pair| {
        let (old, new) = (planned.plan.old.entry(p.old)?, planned.plan.new.entry(p.new)?);
        // an entry may move within its file, and its file may be another one, with the same patterns
        let same = old.patterns == new.patterns && old.environment == new.environment;
        (!same).then(|| (entry_text(old), entry_text(new)))
    };
    let all: Option<Vec<(String, String)>> = pairs.iter().map(moved).collect();
    let mut out = all.unwrap_or_default();
    out.sort();
    out.dedup();
    out
}

fn style(mark: char, colour: bool) -> anstyle::Style {
    let colour_of = match mark {
        '+' => anstyle::AnsiColor::Green,
        '-' => anstyle::AnsiColor::Red,
        '~' => anstyle::AnsiColor::Yellow,
        '@' => anstyle::AnsiColor::Cyan,
        _ => return anstyle::Style::new(),
    };
    if colour { colour_of.on_default() } else { anstyle::Style::new() }
}
