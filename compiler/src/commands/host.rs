//! One host of a policy: its class, with everything the compiler knows about it.

use super::failure::Failure;
use super::needs::needs;
use super::output;
use crate::checks::class_findings;
use crate::concern::{all_entries, file_errors};
use crate::db::{Project, RootDb, SourceFile};
use crate::diagnostic::nearest::suggest;
use crate::diagnostic::{Diagnostic, Severity, json, merged};
use crate::facts::{ClassFacts, known_traits, shared_traits};
use crate::policy::{ClassKey, Policy};
use crate::resolve::ResolvedClass;
use crate::resolve::class::{Class, declared_environments, entry, resolved_class};
use crate::resolve::glob::normal;
use crate::resolve::index::index;
use crate::resolve::vars::{TraitFacts, VarValue, Variables, class_vars};
use crate::specialise::parts::keys;
use crate::specialise::typed::{TypedModule, typed};
use crate::specialise::{Assembled, Linked, Specialised, assembled, linked, specialised};
use ir::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A host and what is known about it.
pub(super) struct Host<'a> {
    pub(super) policy: &'a Policy,
    pub(super) db: &'a RootDb,
    pub(super) project: Project,
    /// Lower case, no trailing dot.
    pub(super) name: Arc<str>,
    pub(super) class: Class<'a>,
    pub(super) resolved: &'a ResolvedClass,
    pub(super) vars: &'a Variables,
    pub(super) linked: &'a Linked,
    traits: TraitFacts<'a>,
    /// All known traits that were given, those of the host too.
    given: Vec<(Arc<str>, Value)>,
}

/// The class of a host; without one, the pattern that comes nearest.
pub(super) fn class_key(
    policy: &Policy,
    hostname: &str,
    environment: Option<&str>,
) -> Result<ClassKey, Failure> {
    let name = normal(hostname);
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/') {
        return Err(Failure::Usage(format!("`{}` is not a host name", hostname.escape_debug())));
    }
    let mut key = policy.class_of(&name).ok_or_else(|| no_entry(policy, &name))?;
    if let Some(environment) = environment {
        let (db, project) = policy.queries();
        let declared = declared_environments(db, project);
        if !declared.contains(environment) {
            let hint = suggest(environment, declared.iter().map(|e| &**e)).unwrap_or_default();
            output::warning(&format!("nothing declares the environment `{environment}` {hint}"));
        }
        key.environment = Some(environment.into());
    }
    Ok(key)
}

impl<'a> Host<'a> {
    /// Looks a host up. Its class may have errors: see [`Host::errors`].
    pub(super) fn find(
        policy: &'a Policy,
        hostname: &str,
        environment: Option<&str>,
        traits: &Value,
    ) -> Result<Host<'a>, Failure> {
        let key = class_key(policy, hostname, environment)?;
        let class = policy.class(&key).ok_or_else(|| no_entry(policy, &normal(hostname)))?;
        Ok(Host::of(policy, hostname, class, shared_traits(traits), known_traits(traits, |_| true)))
    }

    /// A host of a class, with the shared traits and all the traits that are known of it.
    pub(super) fn of(
        policy: &'a Policy,
        hostname: &str,
        class: Class<'a>,
        shared: Vec<(Arc<str>, Value)>,
        given: Vec<(Arc<str>, Value)>,
    ) -> Host<'a> {
        let (db, project) = policy.queries();
        let traits = TraitFacts::new(db, shared);
        Host {
            policy,
            db,
            project,
            name: normal(hostname).into(),
            class,
            resolved: resolved_class(db, project, class),
            vars: class_vars(db, project, class, traits),
            linked: linked(db, project, class, traits),
            traits,
            given,
        }
    }

    /// Errors that concern this host.
    pub(super) fn errors(&self) -> Vec<Diagnostic> {
        let of_class = class_findings(self.db, self.project, self.class, self.traits);
        let errors = of_class.iter().filter(|d| d.severity == Severity::Error).cloned().map(|mut d| {
            d.classes.clear();
            d
        });
        merged(errors.chain(file_errors(self.db, self.project, self.class).iter().cloned()))
    }

    /// Fails when the policy has errors for this host.
    pub(super) fn need_no_errors(&self) -> Result<(), Failure> {
        let mut found = self.errors();
        if found.is_empty() {
            // what cannot be shipped: a limit of the wire form
            found.extend(self.assembled().found.iter().cloned());
        }
        if found.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the policy has {} for `{}` ({})",
            output::count(found.len(), "error"),
            self.name,
            self.resolved.label
        );
        Err(Failure::Findings { message, found, texts: self.policy.texts() })
    }

    /// Fails when a variable, a `foreach` or a `case` needs traits that were not given.
    pub(super) fn need_traits(&self) -> Result<(), Failure> {
        let needs = needs(self);
        let Some(first) = needs.first() else { return Ok(()) };
        let traits: BTreeSet<Arc<str>> = needs.iter().flat_map(|n| n.traits.iter().cloned()).collect();
        let traits: Vec<Arc<str>> = traits.into_iter().collect();
        let more = match needs.len() - 1 {
            0 => " depends".to_owned(),
            n => format!(" and {n} more depend"),
        };
        let message = format!(
            "{} ({}){more} on traits that were not given: {}",
            first.what,
            first.place,
            traits.join(", ")
        );
        let help = format!("give them with `--traits FILE`, such as {}", example(&traits));
        Err(Failure::no_answer(message, Some(help)))
    }

    /// Shared traits that the class looks at and that were not given.
    pub(super) fn missing_traits(&self) -> Vec<Arc<str>> {
        let known = self.traits.values(self.db);
        let footprint = self.linked.footprint.iter();
        footprint.filter(|t| !known.iter().any(|(k, _)| k == *t)).cloned().collect()
    }

    /// What can be known of this host: `full` counts host traits in.
    pub(super) fn facts(&self, full: bool) -> ClassFacts {
        let traits = if full { &self.given } else { self.traits.values(self.db) };
        ClassFacts {
            vars: self
                .vars
                .by_name
                .iter()
                .filter_map(|(name, v)| match &v.value {
                    VarValue::Set(value) => Some((name.clone(), Some(ir::Value::clone(value)))),
                    VarValue::Undecided => Some((name.clone(), None)),
                    VarValue::Unset => None,
                })
                .collect(),
            traits: traits.iter().cloned().collect(),
            environment: self.resolved.environment.clone(),
            roles: self.resolved.roles.clone(),
            modules: self.resolved.modules.clone(),
            item: None,
            hostname: Some(self.name.clone()),
        }
    }

    /// The file of a module.
    pub(super) fn module_file(&self, name: &str) -> Option<SourceFile> {
        index(self.db, self.project).modules.get(name).copied()
    }

    /// A module as typed for this host.
    pub(super) fn typed(&self, file: SourceFile) -> Option<&'a TypedModule> {
        let (types, _) = keys(self.db, self.project, self.class, self.traits, file);
        typed(self.db, self.project, file, types).as_ref()
    }

    /// The bytes and hashes of this host's modules.
    pub(super) fn assembled(&self) -> &'a Assembled {
        assembled(self.db, self.project, self.class, self.traits)
    }

    /// A module as specialised for this host.
    pub(super) fn specialised(&self, file: SourceFile) -> &'a Specialised {
        let (types, facts) = keys(self.db, self.project, self.class, self.traits, file);
        specialised(self.db, self.project, file, types, facts)
    }

    /// The line of a byte of a file, from 1.
    pub(super) fn line(&self, file: &str, at: u32) -> usize {
        json::line(self.policy.text(file).as_ref(), at)
    }

    /// File and line of the entry.
    pub(super) fn entry(&self) -> (Arc<str>, usize) {
        let file = self.class.file(self.db).path(self.db).clone();
        let at = entry(self.db, self.class).map_or(0, |e| e.span.start);
        let line = self.line(&file, at);
        (file, line)
    }
}

/// A traits file that would do.
fn example(missing: &[Arc<str>]) -> String {
    let mut out = serde_json::json!({});
    for path in missing {
        let mut at = &mut out;
        for step in path.split('.') {
            at = &mut at[step];
        }
        *at = "...".into();
    }
    out.to_string()
}

/// Nothing matches: says which pattern comes nearest.
pub(super) fn no_entry(policy: &Policy, name: &str) -> Failure {
    let (db, project) = policy.queries();
    let mut best: Option<(usize, String, String, String)> = None;
    for (file, entry) in all_entries(db, project) {
        for (written, glob) in &entry.patterns {
            let (distance, would) = nearest_match(&glob.text, name);
            if best.as_ref().is_none_or(|(d, ..)| distance < *d) {
                let path = file.path(db);
                let line = json::line(policy.text(path).as_ref(), written.span.start);
                best = Some((distance, glob.text.clone(), would, format!("{path}:{line}")));
            }
        }
    }
    let help = match best {
        Some((_, pattern, would, place)) if would != pattern => {
            format!("the nearest pattern is `{pattern}` ({place}); it would match `{would}`")
        }
        Some((_, pattern, _, place)) => format!("the nearest pattern is `{pattern}` ({place})"),
        None => "the policy has no node entries; write them in nodes.vgo".to_owned(),
    };
    Failure::no_answer(format!("no entry matches `{name}`"), Some(help))
}

/// How many characters of `name` have to change before `pattern` matches, and to what. Alternatives count as any text.
fn nearest_match(pattern: &str, name: &str) -> (usize, String) {
    let tokens = tokens(pattern);
    let name: Vec<char> = name.chars().take(256).collect();
    // cells[t][n]: cost of the best match of the first t tokens with the first n characters, and its text
    let mut row: Vec<(usize, String)> = vec![(0, String::new())];
    for n in 0..name.len() {
        row.push((n + 1, row[n].1.clone()));
    }
    for token in tokens {
        let mut next: Vec<(usize, String)> = Vec::with_capacity(row.len());
        for n in 0..row.len() {
            let shown = token.sample(None);
            let mut best = (row[n].0 + token.least(), row[n].1.clone() + &shown);
            if n > 0 {
                let c = name[n - 1];
                let same = token.takes(c);
                let via = (row[n - 1].0 + usize::from(!same), row[n - 1].1.clone() + &token.sample(Some(c)));
                let dropped = (next[n - 1].0 + 1, next[n - 1].1.clone());
                let longer = (next[n - 1].0, format!("{}{c}", next[n - 1].1));
                if via.0 < best.0 {
                    best = via;
                }
                if matches!(token, Token::Run) && longer.0 < best.0 {
                    best = longer;
                }
                if dropped.0 < best.0 {
                    best = dropped;
                }
            }
            next.push(best);
        }
        row = next;
    }
    row.pop().unwrap_or_default()
}

enum Token {
    Char(char),
    Any,
    Run,
}

impl Token {
    fn least(&self) -> usize {
        usize::from(!matches!(self, Token::Run))
    }

    fn takes(&self, c: char) -> bool {
        match self {
            Token::Char(own) => *own == c,
            Token::Any | Token::Run => true,
        }
    }

    fn sample(&self, c: Option<char>) -> String {
        match (self, c) {
            (Token::Char(own), _) => own.to_string(),
            (Token::Any, c) => c.unwrap_or('0').to_string(),
            (Token::Run, c) => c.map(String::from).unwrap_or_default(),
        }
    }
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut chars = pattern.chars().take(256);
    while let Some(c) = chars.next() {
        let close = match c {
            '[' => ']',
            '{' => '}',
            _ => {
                out.push(match c {
                    '*' => Token::Run,
                    '?' => Token::Any,
                    c => Token::Char(c),
                });
                continue;
            }
        };
        let mut depth = 1;
        for inner in chars.by_ref() {
            depth += usize::from(inner == c && c == '{');
            depth -= usize::from(inner == close);
            if depth == 0 {
                break;
            }
        }
        out.push(if c == '[' { Token::Any } else { Token::Run });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_match_is_a_name_that_the_pattern_takes() {
        assert_eq!(
            nearest_match("web-*.example.com", "wep-01.example.com"),
            (1, "web-01.example.com".into())
        );
        assert_eq!(nearest_match("db-[0-9].test", "db-7.test"), (0, "db-7.test".into()));
        assert_eq!(nearest_match("db-01.test", "db-1.test"), (1, "db-01.test".into()));
        assert_eq!(nearest_match("*", "x").0, 0);
        assert_eq!(nearest_match("app-*.{eu,us}.test", "app-1.eu.tets").0, 2);
    }
}
