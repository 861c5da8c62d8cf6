//! The compiler's policy as the server sees it.

use crate::policy::{Checked, ClassKey, Policy, PolicyError, PolicySource, SecretUse, Variant};
use crate::store::lock;
use crate::tree::Tree;
use compiler::diagnostic::json;
use compiler::diagnostic::render::{Style, human};
use compiler::tree::{self, OpenError, Snapshot};
use ir::{Hash, Value};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A policy directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// So that files that did not change are not read again.
    latest: Mutex<Option<Snapshot>>,
}

impl Directory {
    /// It need not be there yet.
    pub fn new(path: PathBuf) -> Self {
        Directory { path, latest: Mutex::default() }
    }
}

impl PolicySource for Directory {
    fn read(&self) -> Result<Option<Tree>, PolicyError> {
        let mut latest = lock(&self.latest);
        let snapshot = match tree::read(&self.path, latest.as_ref()) {
            Ok(snapshot) => snapshot,
            Err(OpenError::Empty { .. }) => return Ok(None),
            Err(e) => return Err(PolicyError(e.to_string())),
        };
        let files = latest.insert(snapshot).files.clone();
        Tree::new(files).map(Some).map_err(|e| PolicyError(e.to_string()))
    }

    fn open(&self, tree: &Tree) -> Box<dyn Policy> {
        Box::new(Compiled(compiler::policy::Policy::of(tree.files().clone())))
    }
}

fn open(dir: &Path) -> Result<compiler::policy::Policy, PolicyError> {
    compiler::policy::Policy::open(dir).map_err(|e| PolicyError(e.to_string()))
}

struct Compiled(compiler::policy::Policy);

impl Policy for Compiled {
    fn take(&mut self, tree: &Tree) {
        self.0.take(tree.files().clone());
    }

    fn check(&self) -> Checked {
        let report = self.0.check();
        let style = Style { colour: true, ..Style::default() };
        let summary = report.summary;
        Checked {
            errors: summary.errors,
            warnings: summary.warnings,
            files: summary.files,
            modules: summary.modules,
            classes: summary.classes,
            diagnostics: match report.diagnostics.is_empty() {
                true => serde_json::Value::Array(Vec::new()),
                false => json::diagnostics(&report.diagnostics, &self.0.texts()),
            },
            rendered: report
                .diagnostics
                .iter()
                .map(|d| human(d, &|path| self.0.text(path), style))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    fn class_of(&self, hostname: &str) -> Option<ClassKey> {
        self.0.class_of(hostname)
    }

    fn layout(&self) -> Hash {
        let (db, project) = self.0.queries();
        let nodes = &compiler::resolve::index::index(db, project).nodes;
        let texts = nodes.iter().map(|file| {
            let path = file.path(db);
            let text = self.0.text(path).unwrap_or_default();
            [Hash::of(path.as_bytes()).0, Hash::of(text.as_bytes()).0].concat()
        });
        Hash::of(&texts.collect::<Vec<_>>().concat())
    }

    fn variant(&self, class: &ClassKey, traits: &Value) -> Result<Arc<Variant>, PolicyError> {
        self.0.variant_of_host(class, traits).map_err(|e| PolicyError(e.to_string()))
    }

    fn secrets(&self) -> Vec<SecretUse> {
        let (db, project) = self.0.queries();
        compiler::secrets::secrets(db, project)
    }
}

/// A host name for trying a policy out: one called `demo` when the policy knows it, else any that some node
/// entry matches.
pub fn sample_hostname(dir: &Path) -> Result<Option<String>, PolicyError> {
    let policy = open(dir)?;
    let (db, project) = policy.queries();
    let mut patterns: Vec<String> = Vec::new();
    for file in &compiler::resolve::index::index(db, project).nodes {
        for entry in compiler::resolve::class::entries(db, *file) {
            patterns.extend(entry.patterns.iter().map(|(_, glob)| glob.text.clone()));
        }
    }
    let demo = patterns.iter().find(|p| p.split('.').next() == Some("demo")).map(|p| filled(p));
    let any = patterns.iter().map(|p| filled(p));
    let mut candidates = demo.into_iter().chain(["demo".to_owned()]).chain(any);
    Ok(candidates.find(|name| crate::hostname::normalise(name).is_some() && policy.class_of(name).is_some()))
}

/// A name that a pattern is likely to match.
fn filled(pattern: &str) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => out.push_str("demo"),
            '?' => out.push('1'),
            '{' | '[' => {
                let (inner, after) = rest.split_once(if c == '{' { '}' } else { ']' }).unwrap_or((rest, ""));
                match c {
                    '{' => out.push_str(inner.split(',').next().unwrap_or("")),
                    _ => out.extend(inner.chars().next()),
                }
                rest = after;
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_names() {
        for (pattern, name) in [
            ("*", "demo"),
            ("web-0?.example.com", "web-01.example.com"),
            ("app-*.{eu,us}.acme.test", "app-demo.eu.acme.test"),
            ("db[0-9]", "db0"),
        ] {
            assert_eq!(filled(pattern), name);
        }
    }
}
