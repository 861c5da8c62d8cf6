//! What the compiler knows when it evaluates: a class, and the traits that were given.

use crate::schema::schema;
use ir::{Builtin, Fact, Facts, Root, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The facts of a class.
#[derive(Clone, Debug, Default)]
pub struct ClassFacts {
    /// Variables; `None` is not decided yet.
    pub vars: BTreeMap<Arc<str>, Option<Value>>,
    /// Traits by dotted path.
    pub traits: BTreeMap<Arc<str>, Value>,
    /// The environment.
    pub environment: Option<Arc<str>>,
    /// The closure of the roles.
    pub roles: Vec<Arc<str>>,
    /// Assigned modules.
    pub modules: Vec<Arc<str>>,
    /// The element of a foreach.
    pub item: Option<Value>,
    /// The envoy, where one envoy is asked about; a variant is for many.
    pub hostname: Option<Arc<str>>,
}

impl Facts for ClassFacts {
    fn path(&self, root: Root, segments: &[Arc<str>]) -> Fact {
        let below = |value: &Value, rest: &[Arc<str>]| match value.at(rest) {
            Some(v) => Fact::Known(v.clone()),
            None => Fact::Absent,
        };
        match root {
            Root::Vars => match segments.split_first() {
                Some((first, rest)) => match self.vars.get(first) {
                    Some(Some(value)) => below(value, rest),
                    Some(None) => Fact::NotYet,
                    None => Fact::Absent,
                },
                None => Fact::Absent,
            },
            Root::Item => match &self.item {
                Some(item) => below(item, segments),
                None => Fact::NotYet,
            },
            Root::Envoy => match segments.first().map(|s| &**s) {
                Some("environment") => {
                    Fact::Known(Value::str(self.environment.as_deref().unwrap_or_default()))
                }
                Some("roles") => {
                    Fact::Known(Value::List(self.roles.iter().map(|r| Value::Str(r.clone())).collect()))
                }
                _ => match &self.hostname {
                    Some(name) => Fact::Known(Value::Str(name.clone())),
                    None => Fact::NotYet,
                },
            },
            // what a check without a host asks most
            Root::Traits if self.traits.is_empty() => Fact::NotYet,
            Root::Traits => {
                for n in (1..=segments.len()).rev() {
                    let (known, rest) = segments.split_at(n);
                    // few traits are shared: looking at each is cheaper than joining the path
                    if let Some((_, value)) = self.traits.iter().find(|(path, _)| is_path(path, known)) {
                        return below(value, rest);
                    }
                }
                Fact::NotYet
            }
        }
    }

    fn secret(&self, _path: &str) -> Fact {
        Fact::NotYet
    }

    fn ask(&self, function: Builtin, args: &[Value]) -> Fact {
        let any = |known: &mut dyn FnMut(&str) -> bool| {
            Fact::Known(Value::Bool(args.iter().filter_map(Value::as_str).any(known)))
        };
        match function {
            Builtin::EnvIs => any(&mut |name| self.environment.as_deref() == Some(name)),
            Builtin::HasRole => any(&mut |name| self.roles.iter().any(|r| &**r == name)),
            Builtin::HasModule => any(&mut |name| self.modules.iter().any(|m| &**m == name)),
            _ => Fact::NotYet,
        }
    }
}

/// Whether a dotted path has exactly these segments.
fn is_path(path: &str, segments: &[Arc<str>]) -> bool {
    let length = segments.iter().map(|s| s.len() + 1).sum::<usize>();
    path.len() + 1 == length && path.split('.').eq(segments.iter().map(|s| &**s))
}

/// Shared traits of a nested map (`{"os": {"family": ...}}`), sorted by dotted path. What is no shared trait of
/// this compiler is left out.
pub fn shared_traits(traits: &Value) -> Vec<(Arc<str>, Value)> {
    known_traits(traits, |t| t.shared)
}

/// [`shared_traits`] of a host that has said everything about itself: an optional trait that is missing is absent,
/// which a null stands for.
pub fn traits_of_host(traits: &Value) -> Vec<(Arc<str>, Value)> {
    complete(traits, |t| t.shared)
}

/// The same of all known traits, those of a single host too.
pub fn all_traits_of_host(traits: &Value) -> Vec<(Arc<str>, Value)> {
    complete(traits, |_| true)
}

fn complete(traits: &Value, keep: impl Fn(&crate::schema::Trait) -> bool) -> Vec<(Arc<str>, Value)> {
    let mut out = known_traits(traits, &keep);
    let optional = schema().traits.iter().filter(|(_, t)| keep(t) && t.optional);
    let absent: Vec<_> = optional
        .filter(|(path, _)| !out.iter().any(|(given, _)| given == *path))
        .map(|(path, _)| (path.clone(), Value::Null))
        .collect();
    out.extend(absent);
    out.sort();
    out
}

/// Every known trait of a nested map.
pub fn known_traits(traits: &Value, keep: impl Fn(&crate::schema::Trait) -> bool) -> Vec<(Arc<str>, Value)> {
    schema()
        .traits
        .iter()
        .filter(|(_, t)| keep(t))
        .filter_map(|(path, _)| {
            let steps: Vec<Arc<str>> = path.split('.').map(Arc::from).collect();
            Some((path.clone(), traits.at(&steps)?.clone()))
        })
        .filter(|(_, v)| *v != Value::Null)
        .collect()
}
