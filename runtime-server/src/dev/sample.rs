//! A host to try a policy out with.

use crate::policy::PolicyError;
use compiler::policy::Policy;
use std::path::Path;

/// One called `demo` when the policy knows it, else any name that some node entry matches.
pub(super) fn hostname(dir: &Path) -> Result<Option<String>, PolicyError> {
    let policy = Policy::open(dir).map_err(|e| PolicyError(e.to_string()))?;
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
