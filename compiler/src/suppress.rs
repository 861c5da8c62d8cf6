//! What `# vigo: allow` comments do to the findings of a check. Errors stay: a policy that has one cannot be compiled.

use crate::checks::shipped_as_they_are;
use crate::db::{Db, Project};
use crate::diagnostic::codes::UNUSED_ALLOW;
use crate::diagnostic::{Diagnostic, Place, Severity, sort};
use crate::syntax::allow::Allow;
use crate::syntax::{Kind, ast};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A finding that a comment takes out of account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// What was found.
    pub diagnostic: Diagnostic,
    /// Why the comment says it is right.
    pub reason: Arc<str>,
}

/// Splits findings into those that count and those that are allowed. A comment that allows nothing is a finding.
pub fn suppress(db: &dyn Db, project: Project, found: Vec<Diagnostic>) -> (Vec<Diagnostic>, Vec<Allowed>) {
    let mut by_file: BTreeMap<&Arc<str>, Vec<(&Allow, bool)>> = BTreeMap::new();
    for file in project.files(db) {
        let allows = &ast(db, *file).allows;
        if !allows.is_empty() {
            by_file.insert(file.path(db), allows.iter().map(|a| (a, false)).collect());
        }
    }
    if by_file.keys().any(|path| Kind::of(path) == Kind::Template) {
        let as_they_are = shipped_as_they_are(db, project);
        as_they_are.iter().for_each(|file| drop(by_file.remove(&file.path(db))));
    }
    if by_file.is_empty() {
        return (found, Vec::new());
    }
    let covers = |allow: &Allow, d: &Diagnostic| {
        let at = d.place.span.start;
        allow.slug.text.as_ref() == d.code && allow.covers.start <= at && at <= allow.covers.end
    };
    let errors = found.iter().any(|d| d.severity == Severity::Error);
    let (mut open, mut allowed) = (Vec::new(), Vec::new());
    for d in found {
        let of_file = by_file.get_mut(&d.place.file).map(Vec::as_mut_slice).unwrap_or_default();
        match of_file.iter_mut().find(|(allow, _)| d.severity != Severity::Error && covers(allow, &d)) {
            Some((allow, used)) => {
                *used = true;
                allowed.push(Allowed { diagnostic: d, reason: allow.reason.clone() });
            }
            None => open.push(d),
        }
    }
    let mut useless = Vec::new();
    let all =
        by_file.iter().flat_map(|(file, all)| all.iter().map(move |(allow, used)| (*file, *allow, *used)));
    for (file, allow, _) in all.filter(|(_, _, used)| !used) {
        let slug = &allow.slug.text;
        let place = Place { file: file.clone(), span: allow.slug.span };
        if open.iter().any(|d| d.place.file == *file && covers(allow, d)) {
            useless.push(
                Diagnostic::new(
                    &UNUSED_ALLOW,
                    place,
                    format!("`{slug}` is an error here, and errors cannot be allowed"),
                )
                .label("allows nothing")
                .help("mend the error and remove the comment"),
            );
        } else if !errors {
            // what a mistake cuts off is not looked for, so a policy with errors says nothing about it
            let mut finding =
                Diagnostic::new(&UNUSED_ALLOW, place, format!("there is no `{slug}` to allow here"))
                    .label("allows nothing")
                    .help("remove it, or move it to the line that the finding names, or the line before");
            if let Some(whole) = allow.whole {
                finding = finding.fix(whole, "");
            }
            useless.push(finding);
        }
    }
    open.extend(useless);
    sort(&mut open);
    (open, allowed)
}
