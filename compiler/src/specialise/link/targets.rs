//! Two resources of one envoy that manage the same thing.

use super::Linking;
use crate::diagnostic::codes::DUPLICATE_TARGET;
use crate::diagnostic::{Diagnostic, Severity};
use crate::expr::truth;
use crate::schema::schema;
use crate::specialise::typed::TypedResource;
use ir::{Expr, Root};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::collections::hash_map::Entry;

impl Linking<'_, '_> {
    /// Two resources of a unique type with one key on one envoy.
    pub(super) fn unique_targets(&mut self) {
        let count = self.parts.iter().map(|p| p.outline.unique.len()).sum();
        let types = &schema().types;
        let mut seen: FxHashMap<(&str, Cow<'_, str>), (usize, usize)> = FxHashMap::default();
        // where several may be there, each under its own condition
        let mut more: FxHashMap<(usize, usize), Vec<(usize, usize)>> = FxHashMap::default();
        seen.reserve(count);
        for (part, p) in self.parts.iter().enumerate().filter(|(_, p)| !p.outline.gated) {
            for at in p.outline.unique.iter().copied() {
                let Some(i) = p.outline.resources.get(at) else { continue };
                let (Some(key), Some(kind)) = (&i.key, types.get(&i.kind)) else { continue };
                let key = kind.canonical(key);
                let leader = match seen.entry((&kind.domain, key.clone())) {
                    Entry::Vacant(free) => {
                        free.insert((part, at));
                        continue;
                    }
                    Entry::Occupied(taken) => *taken.get(),
                };
                let others = more.entry(leader).or_insert_with(|| vec![leader]);
                // one that is surely there is an error, so it is looked for first
                let firm = others.iter().copied().find(|other| !self.conditional(*other));
                let clash = firm
                    .into_iter()
                    .chain(others.iter().copied())
                    .find(|other| self.clash((part, at), *other));
                others.push((part, at));
                let Some((other_part, other)) = clash else { continue };
                let Some(first) = self.resources(other_part).get(other) else { continue };
                let message = match first.kind == i.kind {
                    true => format!("two resources manage the {} `{key}` of one envoy", i.kind),
                    false => format!("a {} and a {} manage `{key}` of one envoy", first.kind, i.kind),
                };
                let mut finding =
                    Diagnostic::new(&DUPLICATE_TARGET, self.place_of_resource(part, i), message)
                        .label(format!("`{}.{}`", p.part.name, i.name))
                        .also(
                            self.place_of_resource(other_part, first),
                            format!("`{}.{}`", self.name(other_part), first.name),
                        )
                        .help("keep one of them, or give them conditions that exclude each other");
                if i.conditional || first.conditional {
                    finding.severity = Severity::Warning;
                }
                self.out.found.push(finding);
            }
        }
    }

    fn conditional(&self, at: (usize, usize)) -> bool {
        self.resources(at.0).get(at.1).is_some_and(|r| r.conditional)
    }

    /// Whether two resources with one key may both be there.
    fn clash(&self, this: (usize, usize), other: (usize, usize)) -> bool {
        let outlined = |at: (usize, usize)| self.resources(at.0).get(at.1);
        let (Some(i), Some(first)) = (outlined(this), outlined(other)) else { return false };
        // two of one name are reported as such
        if this.0 == other.0 && first.name == i.name {
            return false;
        }
        let (typed_i, typed_first) = (self.typed(this.0, i.number), self.typed(other.0, first.number));
        // what is taken away may make room for something of another type
        if i.kind != first.kind && [typed_i, typed_first].into_iter().flatten().any(TypedResource::is_absent)
        {
            return false;
        }
        match (typed_i.and_then(|r| r.when.as_ref()), typed_first.and_then(|r| r.when.as_ref())) {
            (Some(ours), Some(theirs)) => {
                let mut of_item = false;
                let mut look = |e: &Expr| of_item |= matches!(e, Expr::Path(Root::Item, _));
                ours.expr.walk(&mut look);
                theirs.expr.walk(&mut look);
                of_item || !truth::exclude(&ours.expr, &theirs.expr)
            }
            _ => true,
        }
    }
}
