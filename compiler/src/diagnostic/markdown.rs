//! Findings as Markdown: a table fit for a comment on a pull request.

use super::Severity;
use super::findings::{Finding, Findings};
use super::lines::Lines;

/// GitHub refuses a comment of more than 65,536 characters; the rest is left for what a bot puts around it.
pub const MOST: usize = 65_000;

/// The whole report, at most [`MOST`] characters; errors come first.
pub fn markdown(findings: &Findings) -> String {
    let mut open: Vec<&Finding> = findings.open().collect();
    open.sort_by_key(|f| std::cmp::Reverse(f.diagnostic.severity));
    let mut out = format!("## vigoc check: {}\n\n", counts(findings));
    let footer = footer(findings);
    if !open.is_empty() {
        out.push_str("| | where | what |\n| --- | --- | --- |\n");
    }
    let mut lines = Lines::new(&findings.texts);
    let mut length = out.chars().count();
    // what is said in place of the rows that do not fit
    let room = MOST.saturating_sub(footer.chars().count() + 100);
    for (at, f) in open.iter().enumerate() {
        let row = row(f, &findings.prefix, &mut lines);
        length += row.chars().count();
        if length > room {
            let left = open.len() - at;
            out.push_str(&format!("\n{left} more are not shown: there is no room for them here.\n"));
            break;
        }
        out.push_str(&row);
    }
    if !open.is_empty() {
        out.push('\n');
    }
    out.push_str(&footer);
    out
}

fn counts(findings: &Findings) -> String {
    let kinds = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Hint, "hint")];
    let found: Vec<String> = kinds
        .iter()
        .map(|(severity, noun)| (findings.count(*severity), noun))
        .filter(|(n, _)| *n > 0)
        .map(|(n, noun)| format!("{n} {noun}{}", if n == 1 { "" } else { "s" }))
        .collect();
    if found.is_empty() { "no problems".into() } else { found.join(", ") }
}

fn footer(findings: &Findings) -> String {
    let size = findings.size;
    let mut out = format!("files: {}, modules: {}, classes: {}", size.files, size.modules, size.classes);
    for (n, what) in [(findings.allowed(), "allowed by a comment"), (findings.known(), "in the baseline")] {
        if n > 0 {
            out.push_str(&format!(", {what}: {n}"));
        }
    }
    let gone = findings.gone.as_ref().map_or(0, Vec::len);
    if gone > 0 {
        out.push_str(&format!(", in the baseline but gone: {gone}"));
    }
    out.push('\n');
    out
}

fn row(f: &Finding, prefix: &str, lines: &mut Lines<'_>) -> String {
    let d = &f.diagnostic;
    let (start, _) = lines.span(&d.place);
    let place = code(&format!("{prefix}{}:{}", d.place.file, start.line));
    let mut what = format!("**{}**: {}", d.code, prose(&d.message_with_classes()));
    if let Some(help) = &d.help {
        what.push_str(&format!("<br>help: {}", prose(help)));
    }
    format!("| {} | {place} | {what} |\n", d.severity.name())
}

/// Text in a cell as it is, with what stands between backticks as code.
fn prose(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        // a backtick without its partner
        return plain(text);
    }
    parts.iter().enumerate().map(|(n, part)| if n % 2 == 1 { code(part) } else { plain(part) }).collect()
}

/// Nothing in it is read as Markdown, HTML, or the name of a person to be told.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' => out.push_str("<br>"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("&#64;"),
            '#' => out.push_str("&#35;"),
            '|' | '*' | '_' | '[' | ']' | '\\' | '`' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn code(text: &str) -> String {
    if text.trim().is_empty() || text.contains('`') {
        return plain(&format!("`{text}`"));
    }
    // a `|` ends a cell even inside code
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("`{}`", text.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::sample;
    use super::*;

    #[test]
    fn a_message_cannot_leave_its_cell() {
        let text = markdown(&sample());
        insta::assert_snapshot!(text);
        let rows: Vec<&str> = text.lines().filter(|l| l.starts_with('|')).collect();
        assert_eq!(rows.len(), 4);
        for row in rows {
            let bars = row.replace("\\|", "").matches('|').count();
            assert_eq!(bars, 4, "{row}");
        }
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut findings = sample();
        let one = findings.all[0].clone();
        findings.all = vec![one; 5_000];
        let text = markdown(&findings);
        assert!(text.chars().count() <= MOST, "{}", text.chars().count());
        assert!(text.chars().count() > MOST - 1_000);
        assert!(text.contains(" more are not shown"));
        assert!(text.ends_with("classes: 1, in the baseline but gone: 1\n"));
    }
}
