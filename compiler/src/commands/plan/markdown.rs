//! A plan as Markdown, for a comment on a change.

use super::human::{moved_entries, refusal, summary};
use super::lines::{Budget, lines};
use super::{Planned, entry_text};
use crate::commands::output;
use crate::plan::{Group, Pair, Status};

/// Characters that a comment may have where such comments are posted.
const MOST: usize = 65_000;
/// Room for the line that says what was left out.
const LAST: usize = 200;

pub(super) fn text(planned: &Planned<'_>) -> String {
    let mut said = summary(planned).into_iter();
    let mut out = format!("### Plan: {}\n\n", escaped(&said.next().unwrap_or_default()));
    out.push_str(&format!("{} → {}\n\n", code(&planned.names[0]), code(&planned.names[1])));
    out.extend(said.map(|line| format!("- {}\n", escaped(&line))));
    for gate in &planned.gates {
        let mark = if gate.exceeded { "**gate exceeded**" } else { "gate kept" };
        let found = output::count(gate.actual, gate.what);
        out.push_str(&format!("- {mark}: {}: {found}\n", code(&format!("{} {}", gate.flag, gate.limit))));
    }
    let mut blocks: Vec<String> = planned.plan.groups.iter().map(|g| group(planned, g)).collect();
    for (status, what) in [
        (Status::Broken, "the new policy does not compile"),
        (Status::StillBroken, "neither policy compiles"),
        (Status::Removed, "no entry matches any more"),
        (Status::Added, "an entry matches now"),
        (Status::Repaired, "the policy compiles again"),
    ] {
        blocks.extend(planned.pairs(status).map(|pair| membership(planned, pair, what)));
    }
    let mut length = out.chars().count();
    let count = blocks.len();
    for (at, block) in blocks.into_iter().enumerate() {
        let more = block.chars().count();
        if length + more + LAST > MOST {
            let left = output::count(count - at, "more block");
            out.push_str(&format!("\n… {left} did not fit here; `vigoc plan -v` shows all.\n"));
            break;
        }
        out.push_str(&block);
        length += more;
    }
    out
}

fn group(planned: &Planned<'_>, group: &Group) -> String {
    let budget = if planned.verbose { Budget::ALL } else { Budget::CONCISE };
    let pairs: Vec<&Pair> =
        group.pairs.iter().filter_map(|at| planned.plan.pairs.get(*at as usize)).collect();
    let envoys = planned.envoys_of(&group.pairs);
    let title =
        format!("{}: {}", output::count(envoys.len(), "envoy"), output::count(group.items.len(), "change"));
    let mut body = format!("{}\n", escaped(&planned.some_hosts(&envoys)));
    for entry in planned.entries(pairs.iter().copied()).iter().take(5) {
        body.push_str(&format!("\n{}\n", code(&entry_text(entry))));
    }
    for (before, now) in moved_entries(planned, &pairs) {
        body.push_str(&format!("\ntaken by another entry: {} → {}\n", code(&before), code(&now)));
    }
    let mut diff = String::new();
    for item in &group.items {
        let shown = if planned.verbose { item.variations.len() } else { 1 };
        for variation in item.variations.iter().take(shown) {
            for line in lines(&variation.change, budget) {
                // what colours a line is its first character
                let mark = match line.mark {
                    '~' => '!',
                    '@' => ' ',
                    mark => mark,
                };
                let text = format!("{mark} {}{}", "  ".repeat(line.depth), line.text);
                diff.push_str(text.trim_end());
                diff.push('\n');
            }
        }
        let left = item.variations.len().saturating_sub(shown);
        if left > 0 {
            let left = output::count(left, "more variation");
            diff.push_str(&format!("    and {left}, with other values\n"));
        }
    }
    let fence = fence(&diff);
    format!("\n<details><summary>{title}</summary>\n\n{body}\n{fence}diff\n{diff}{fence}\n\n</details>\n")
}

fn membership(planned: &Planned<'_>, pair: &Pair, what: &str) -> String {
    let count = output::count(pair.envoys.len(), "envoy");
    let mut out = format!("\n**{count}**: {what}: {}\n", escaped(&planned.some_hosts(&pair.envoys)));
    for entry in planned.entries([pair]) {
        out.push_str(&format!("\n{}\n", code(&entry_text(entry))));
    }
    if let Some(why) = refusal(planned, pair) {
        out.push_str(&format!("\n{}\n", code(&why)));
    }
    out
}

/// A fence longer than any in the text.
fn fence(text: &str) -> String {
    "`".repeat(longest_run(text).max(2) + 1)
}

/// Text as code, whatever is in it.
fn code(text: &str) -> String {
    let text = text.replace('\n', " ");
    let ticks = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') || text.is_empty() { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Text in which nothing is markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '&' | '@') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(fence("x ```` y"), "`````");
        assert_eq!(escaped("<b>*x*"), "\\<b\\>\\*x\\*");
    }
}
