//! What an editor may do about a finding: the edits that the compiler offers, the same as `vigoc fix` makes.

use super::{Source, TextChange};
use compiler::diagnostic::{Diagnostic, Severity};
use compiler::fix::fix_file;
use compiler::policy::{Policy, Report};
use compiler::syntax::Kind;
use grammar::Span;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Changes by file.
pub type Changes = BTreeMap<Arc<str>, Vec<TextChange>>;

/// Something that can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What it does.
    pub title: String,
    /// The finding that it is about.
    pub of: Diagnostic,
    /// Whether it is right whatever the author had in mind.
    pub preferred: bool,
    /// What it changes.
    pub changes: Changes,
}

/// What can be done about the findings that touch a part of a file.
pub fn actions(report: &Report, source: &Source, part: Span) -> Vec<Action> {
    let touches = |d: &&Diagnostic| {
        *d.place.file == *source.path && d.place.span.start <= part.end && part.start <= d.place.span.end
    };
    let mut out = Vec::new();
    for d in report.diagnostics.iter().filter(touches) {
        if !d.fixes.is_empty() {
            let mut changes = Changes::new();
            for edit in &d.fixes {
                let change = TextChange { span: edit.place.span, new: edit.replacement.clone() };
                changes.entry(edit.place.file.clone()).or_default().push(change);
            }
            let guess = d.fixes.iter().any(|e| e.guess);
            out.push(Action { title: title(d), of: d.clone(), preferred: !guess, changes });
        }
        if d.severity != Severity::Error && source.kind != Kind::Template {
            out.push(allow(d, source));
        }
    }
    out
}

fn title(d: &Diagnostic) -> String {
    match d.fixes.as_slice() {
        [edit] if edit.replacement.is_empty() => "Delete it".to_owned(),
        [edit] if edit.replacement.lines().count() <= 1 && edit.replacement.len() < 60 => {
            match edit.place.span.start == edit.place.span.end {
                true => format!("Insert `{}`", edit.replacement.trim()),
                false => format!("Replace with `{}`", edit.replacement.trim()),
            }
        }
        _ => d.help.as_deref().map_or_else(|| format!("Mend `{}`", d.code), capital),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A comment above the line that takes the finding out of account; the reason is left to the author.
fn allow(d: &Diagnostic, source: &Source) -> Action {
    let head = source.text.get(..d.place.span.start as usize).unwrap_or_default();
    let line = head.rfind('\n').map_or(0, |n| n + 1);
    let indent: String =
        source.text.get(line..).unwrap_or_default().chars().take_while(|c| *c == ' ').collect();
    let new = format!("{indent}# vigo: allow({}) \n", d.code);
    let change = TextChange { span: Span::new(line as u32, line as u32), new };
    Action {
        title: format!("Allow `{}` here, for a reason", d.code),
        of: d.clone(),
        preferred: false,
        changes: Changes::from([(source.path.clone(), vec![change])]),
    }
}

/// Whether [`fix_all`] has anything to do, as far as one check tells.
pub fn can_fix(report: &Report, path: &str) -> bool {
    let mends =
        |d: &Diagnostic| !d.fixes.is_empty() && d.fixes.iter().all(|e| !e.guess && *e.place.file == *path);
    report.diagnostics.iter().any(mends)
}

/// What `vigoc fix` makes of one file, edits that are right whatever the author had in mind. The policy is as it was
/// afterwards.
pub fn fix_all(policy: &mut Policy, path: &str) -> Option<Vec<TextChange>> {
    let before = policy.text(path)?;
    fix_file(policy, path);
    let after = policy.text(path)?;
    policy.set_text(path, &before);
    let changes = super::format::difference(&before, &after);
    (!changes.is_empty()).then_some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    fn apply(text: &str, changes: &[TextChange]) -> String {
        let mut text = text.to_owned();
        let mut changes = changes.to_vec();
        changes.sort_by_key(|c| std::cmp::Reverse(c.span.start));
        for c in changes {
            text.replace_range(c.span.range(), &c.new);
        }
        text
    }

    #[test]
    fn the_edits_of_the_compiler_are_offered() {
        let mut fixture =
            Fixture::new(&ACME.replacen("mode: \"0644\"\n    notify", "mode: 06$044\n    notify", 1));
        let source = fixture.ide().source(&fixture.file).unwrap();
        let report = fixture.policy.check();
        let found = actions(&report, &source, Span::new(fixture.at, fixture.at));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!((found[0].title.as_str(), found[0].preferred), ("Replace with `\"0644\"`", true));
        assert!(apply(&source.text, &found[0].changes["modules/nginx.vgo"]).contains("mode: \"0644\"\n"));
        assert!(can_fix(&report, "modules/nginx.vgo") && !can_fix(&report, "nodes.vgo"));
        let all = fix_all(&mut fixture.policy, "modules/nginx.vgo").unwrap();
        assert!(apply(&source.text, &all).contains("mode: \"0644\"\n"));
        assert_eq!(fixture.policy.text("modules/nginx.vgo").unwrap(), source.text, "it is as it was");
        assert_eq!(fix_all(&mut fixture.policy, "nodes.vgo"), None);
    }

    #[test]
    fn a_guess_is_not_preferred_and_a_warning_can_be_allowed() {
        let fixture = Fixture::new(&ACME.replacen(
            "modules: [nginx, motd]\n//- nodes",
            "modules: [ngi$0x, motd]\n//- nodes",
            1,
        ));
        let source = fixture.ide().source(&fixture.file).unwrap();
        let found = actions(&fixture.policy.check(), &source, Span::new(fixture.at, fixture.at));
        assert_eq!((found[0].title.as_str(), found[0].preferred), ("Replace with `nginx`", false));
        let fixture =
            Fixture::new(&ACME.replacen("vars:\n  port: 80\n", "vars:\n  port: 80\n  un$0used: 1\n", 1));
        let source = fixture.ide().source(&fixture.file).unwrap();
        let found = actions(&fixture.policy.check(), &source, Span::new(fixture.at, fixture.at));
        let titles: Vec<&str> = found.iter().map(|a| a.title.as_str()).collect();
        assert!(titles.contains(&"Allow `unused-variable` here, for a reason"), "{titles:?}");
        let allow = found.iter().find(|a| a.title.starts_with("Allow")).unwrap();
        assert!(
            apply(&source.text, &allow.changes["modules/nginx.vgo"])
                .contains("  # vigo: allow(unused-variable) \n  unused: 1")
        );
    }
}
