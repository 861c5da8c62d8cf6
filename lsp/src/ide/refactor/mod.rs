//! Changes that leave what the policy says as it is: a value that becomes a variable, a variable that becomes its value.
//!
//! What an edit is made of is decided by how the text is written; [`keeps_meaning`] then compiles the policy with it, before
//! anybody is offered it.

pub mod extract;
pub mod inline;

use super::actions::Changes;
use super::{Ide, TextChange};
use compiler::commands::ask::{fixture, fixtures};
use compiler::diagnostic::Severity;
use compiler::policy::{ClassKey, Policy};
use compiler::resolve::class::{classes, resolved_class};
use compiler::syntax::Kind;
use compiler::uses::{Of, uses_of};
use ir::{Hash, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why something cannot be extracted or inlined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing there can be.
    #[error("there is nothing here that can be extracted or inlined")]
    Nothing,
    /// Others are meant to set it.
    #[error("`{0}` is a parameter: it is there for others to set")]
    Parameter(Arc<str>),
    /// No module gives it a value, or several do.
    #[error("`{0}` does not have its value from one place under `vars:` of a module")]
    Declared(Arc<str>),
    /// A layer gives it another value.
    #[error("`{name}` is set in {file} too: not every host has the value of the module")]
    Set {
        /// The variable.
        name: Arc<str>,
        /// Where.
        file: Arc<str>,
    },
    /// A policy test is about it.
    #[error("the tests in {file} are about `{name}`; take it out of them first")]
    Tested {
        /// The variable.
        name: Arc<str>,
        /// Where.
        file: Arc<str>,
    },
    /// Lists, maps, blocks, floats, secrets.
    #[error("the value of `{0}` is not one line of text, an int or a bool")]
    Compound(Arc<str>),
    /// A place where the value cannot be written as it is.
    #[error("the value cannot be written in place of `{written}` in {file}")]
    Place {
        /// What stands there.
        written: String,
        /// Where.
        file: Arc<str>,
    },
    /// Compiled, it is not what it was.
    #[error("the policy would not say the same then, or have an error that it does not have now")]
    Meaning,
}

/// More classes and traits than this are not compared: each module is compared for the first of them anyway.
const MOST_VARIANTS: usize = 160;

/// Whether a policy says the same with the changes: every module that they touch has the same bytes, in the same order, for
/// every class and for the hosts of every fixture, and there is no error that was not there before. The policy is as it was
/// afterwards.
pub fn keeps_meaning(policy: &mut Policy, changes: &Changes) -> bool {
    let touched = touched(policy, changes);
    let before = said(policy, &touched);
    let Some(after) = with(policy, changes, |policy| said(policy, &touched)) else { return false };
    let known = |finding: &(&'static str, String), count: &usize| {
        before.errors.get(finding).is_some_and(|before| before >= count)
    };
    before.variants == after.variants && after.errors.iter().all(|(finding, count)| known(finding, count))
}

/// Does something with a policy in which changes are made, and takes them back; `None` when they do not fit.
pub fn with<T>(policy: &mut Policy, changes: &Changes, work: impl FnOnce(&Policy) -> T) -> Option<T> {
    let mut before: Vec<(&Arc<str>, Arc<str>)> = Vec::new();
    let mut after = Vec::new();
    for (path, changes) in changes {
        let text = policy.text(path)?;
        after.push((path, applied(&text, changes)?));
        before.push((path, text));
    }
    for (path, text) in &after {
        policy.set_text(path, text);
    }
    let out = work(policy);
    for (path, text) in before {
        policy.set_text(path, &text);
    }
    Some(out)
}

/// A text with changes made, in any order; `None` when they overlap or do not fit.
pub fn applied(text: &str, changes: &[TextChange]) -> Option<String> {
    let mut sorted: Vec<&TextChange> = changes.iter().collect();
    sorted.sort_by_key(|c| (c.span.start, c.span.end));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for change in sorted {
        let span = change.span.range();
        out.push_str(text.get(at..span.start)?);
        text.get(span.clone())?;
        out.push_str(&change.new);
        at = span.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

/// What a policy says to those who get some modules.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    /// By class and traits: modules with their hashes, and the order.
    variants: Vec<Result<Program, String>>,
    /// How often each error is found. A warning, such as of a condition that is always true now, is for the author to read.
    errors: BTreeMap<(&'static str, String), usize>,
}

type Program = (Vec<(Arc<str>, Hash)>, Vec<u32>, Vec<String>);

fn said(policy: &Policy, modules: &BTreeSet<Arc<str>>) -> Said {
    let mut out = Said::default();
    for d in policy.check().diagnostics.into_iter().filter(|d| d.severity == Severity::Error) {
        *out.errors.entry((d.code, d.message)).or_default() += 1;
    }
    let mut traits = vec![Value::Map(Default::default())];
    traits.extend(fixtures().into_iter().filter_map(fixture));
    let keys = having(policy, modules);
    for (key, traits) in traits.iter().flat_map(|t| keys.iter().map(move |k| (k, t))).take(MOST_VARIANTS) {
        out.variants.push(match policy.variant(key, traits) {
            Ok(v) => {
                let hashes = v.modules.iter().map(|m| (m.name.clone(), m.hash)).collect();
                Ok((hashes, v.run_order.clone(), v.secrets.clone()))
            }
            Err(error) => Err(error.to_string()),
        });
    }
    out
}

/// The classes that have one of the modules.
fn having(policy: &Policy, modules: &BTreeSet<Arc<str>>) -> Vec<ClassKey> {
    let (db, project) = policy.queries();
    let all = classes(db, project).into_iter();
    let wanted = all.filter(|c| resolved_class(db, project, *c).modules.iter().any(|m| modules.contains(m)));
    wanted
        .map(|c| ClassKey {
            file: c.file(db).path(db).clone(),
            entry: c.entry(db),
            environment: c.environment(db).clone(),
        })
        .collect()
}

/// The modules that changes are about: those of the files, and those that ship them as templates.
fn touched(policy: &Policy, changes: &Changes) -> BTreeSet<Arc<str>> {
    let (db, project) = policy.queries();
    let mut out = BTreeSet::new();
    let mut templates = BTreeSet::new();
    for path in changes.keys() {
        match (Kind::of(path), path.strip_prefix("templates/")) {
            (Kind::Template, Some(name)) => drop(templates.insert(name)),
            _ => {
                let seen = policy.file(path).and_then(|f| compiler::resolve::interface::interface(db, f));
                out.extend(seen.map(|i| i.name.clone()));
            }
        }
    }
    if !templates.is_empty() {
        for file in project.files(db) {
            let ships = |u: &compiler::uses::Use| {
                u.of == Of::Template && u.how == "shipped" && templates.contains(&*u.name)
            };
            if uses_of(db, project, *file).iter().any(ships) {
                let seen = compiler::resolve::interface::interface(db, *file);
                out.extend(seen.map(|i| i.name.clone()));
            }
        }
    }
    out
}

/// A text as a plain or quoted scalar that is text wherever it stands; `None` when it takes escapes.
fn as_text(text: &str, in_braces: bool) -> Option<String> {
    let special = [',', '{', '}', '[', ']', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`'];
    let is_mapping = text.contains(": ") || text.ends_with([' ', ':']) || in_braces && text.contains(':');
    let is_word = WORDS.contains(&text.to_ascii_lowercase().as_str());
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let plain = begins && !is_mapping && !is_word && !text.contains(special);
    match () {
        () if plain && !text.contains(['\n', '\t']) => Some(text.to_owned()),
        () if text.contains(['"', '\\', '\n', '\t']) => None,
        () => Some(format!("\"{text}\"")),
    }
}

/// Words that are no text to some reader.
const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// Whether the policy has a variable of this name already.
fn is_taken(ide: &Ide<'_>, name: &str) -> bool {
    let (db, project) = ide.queries();
    let named = |u: &compiler::uses::Use| u.of == Of::Variable && *u.name == *name;
    project.files(db).iter().any(|file| match Kind::of(file.path(db)) {
        Kind::Test => compiler::test_uses::test_uses(db, *file).iter().any(named),
        _ => uses_of(db, project, *file).iter().any(named),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};
    use grammar::Span;

    fn changes(file: &str, text: &str, old: &str, new: &str) -> Changes {
        let at = text.find(old).unwrap() as u32;
        let span = Span::new(at, at + old.len() as u32);
        Changes::from([(file.into(), vec![TextChange { span, new: new.to_owned() }])])
    }

    #[test]
    fn a_change_of_meaning_is_seen_and_a_change_of_words_is_none() {
        let mut fixture = Fixture::new(ACME);
        let (module, site) = ("modules/nginx.vgo", "templates/nginx/site.conf");
        let text = |f: &Fixture, path: &str| f.policy.text(path).unwrap().to_string();
        let before = (text(&fixture, module), text(&fixture, site));
        let same = changes(module, &before.0, "mode: \"0644\"", "mode: '0644'");
        assert!(keeps_meaning(&mut fixture.policy, &same));
        for (file, old, new) in [
            (module, "mode: \"0644\"", "mode: \"0600\""),
            (module, "  port: 80", "  port: 81"),
            (module, "  port: 80", "  prt: 80"),
            (site, "listen", "listens"),
        ] {
            let text = if file == module { &before.0 } else { &before.1 };
            assert!(!keeps_meaning(&mut fixture.policy, &changes(file, text, old, new)), "{old} -> {new}");
        }
        assert_eq!((text(&fixture, module), text(&fixture, site)), before, "nothing stays changed");
        assert!(fixture.policy.check().diagnostics.is_empty());
    }

    #[test]
    fn text_stays_text() {
        for (text, written) in [
            ("/etc/a b", "/etc/a b"),
            ("0644", "\"0644\""),
            ("1.10", "\"1.10\""),
            ("yes", "\"yes\""),
            ("a: b", "\"a: b\""),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
        ] {
            assert_eq!(as_text(text, false).as_deref(), Some(written));
        }
        assert_eq!(as_text("a\"b", false), None);
        assert_eq!(as_text("a:b", true).as_deref(), Some("\"a:b\""));
    }
}
