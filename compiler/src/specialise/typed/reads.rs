//! What expressions look at, and resources grouped by it.

use super::{NameForm, TypedAttribute, TypedResource};
use crate::resolve::vars::shared_traits;
use ir::{Builtin, Expr, Root};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// How much of a module is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Depth {
    /// What can have findings, and what other modules see.
    Outline,
    /// Everything.
    Full,
}

impl Depth {
    /// Whether an attribute is evaluated.
    pub fn looks_at(self, attribute: &TypedAttribute) -> bool {
        self == Depth::Full || !attribute.total
    }
}

/// Resources that look at the same facts.
#[derive(Debug)]
pub struct Group {
    /// What they look at.
    pub reads: Reads,
    /// Their numbers.
    pub resources: Vec<usize>,
}

/// What expressions look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reads {
    /// First names of variables.
    pub vars: BTreeSet<Arc<str>>,
    /// Shared traits.
    pub traits: BTreeSet<Arc<str>>,
    /// The environment.
    pub environment: bool,
    /// The roles.
    pub roles: bool,
    /// The module list.
    pub modules: bool,
}

impl Reads {
    /// Adds what `other` looks at.
    pub(in crate::specialise) fn merge(&mut self, other: &Reads) {
        self.vars.extend(other.vars.iter().cloned());
        self.traits.extend(other.traits.iter().cloned());
        self.environment |= other.environment;
        self.roles |= other.roles;
        self.modules |= other.modules;
    }

    fn of(r: &TypedResource, depth: Depth) -> Reads {
        let mut out = Reads::default();
        if let NameForm::Template(name) = &r.name {
            out.expr(&name.expr);
        }
        for lowered in [&r.when, &r.foreach, &r.case].into_iter().flatten() {
            out.expr(&lowered.expr);
        }
        let attributes = r.attributes.iter().chain(r.branches.iter().flat_map(|(_, a)| a));
        for attribute in attributes.filter(|a| depth.looks_at(a)) {
            attribute.shape.leaves(&mut |l| out.expr(&l.expr));
        }
        out
    }

    pub(super) fn expr(&mut self, e: &Expr) {
        shared_traits(e, &mut self.traits);
        e.walk(&mut |e| match e {
            Expr::Path(Root::Vars, steps) => self.vars.extend(steps.first().cloned()),
            Expr::Path(Root::Envoy, steps) => match steps.first().map(|s| &**s) {
                Some("environment") => self.environment = true,
                Some("roles") => self.roles = true,
                _ => {}
            },
            Expr::Call(Builtin::EnvIs, _) => self.environment = true,
            Expr::Call(Builtin::HasRole, _) => self.roles = true,
            Expr::Call(Builtin::HasModule, _) => self.modules = true,
            _ => {}
        });
    }
}

/// Groups resources by what they look at.
pub(super) fn groups(resources: &[TypedResource], depth: Depth) -> Vec<Group> {
    let mut out: Vec<Group> = Vec::new();
    let mut numbers: FxHashMap<Reads, usize> = FxHashMap::default();
    for (number, resource) in resources.iter().enumerate() {
        match numbers.entry(Reads::of(resource, depth)) {
            Entry::Occupied(known) => {
                if let Some(group) = out.get_mut(*known.get()) {
                    group.resources.push(number);
                }
            }
            Entry::Vacant(new) => {
                out.push(Group { reads: new.key().clone(), resources: vec![number] });
                new.insert(out.len() - 1);
            }
        }
    }
    out.iter_mut().for_each(|group| group.resources.shrink_to_fit());
    out.shrink_to_fit();
    out
}
