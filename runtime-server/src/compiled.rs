//! The compiler's policy as the server sees it.

use crate::policy::{Checked, ClassKey, Policy, PolicyError, PolicySource, Variant};
use compiler::diagnostic::render::{Style, human};
use ir::{Hash, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A policy directory.
#[derive(Clone, Debug)]
pub struct Directory(pub PathBuf);

impl PolicySource for Directory {
    fn open(&self) -> Result<Box<dyn Policy>, PolicyError> {
        Ok(Box::new(Compiled(open(&self.0)?)))
    }
}

fn open(dir: &Path) -> Result<compiler::policy::Policy, PolicyError> {
    compiler::policy::Policy::open(dir).map_err(|e| PolicyError(e.to_string()))
}

struct Compiled(compiler::policy::Policy);

impl Policy for Compiled {
    fn refresh(&mut self) -> Result<Vec<String>, PolicyError> {
        self.0.refresh().map_err(|e| PolicyError(e.to_string()))
    }

    fn digest(&self) -> Hash {
        self.0.digest()
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
