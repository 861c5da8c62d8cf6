//! Changes told once: those of one outline (the same resource, changed in the same places) together, those on the same
//! envoys under one heading.

use super::diff::{Change, Part};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Changes on the same envoys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Numbers of the pairs of variants whose envoys these are, sorted.
    pub pairs: Vec<u32>,
    /// How many envoys.
    pub envoys: usize,
    /// Sorted by module and resource.
    pub items: Vec<Item>,
}

/// A change of one outline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// How it looks, by number of envoys: most often there is one.
    pub variations: Vec<Variation>,
}

/// A change as it is on some envoys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variation {
    /// The change.
    pub change: Arc<Change>,
    /// Numbers of the pairs that have it, sorted.
    pub pairs: Vec<u32>,
    /// How many envoys.
    pub envoys: usize,
}

/// What two changes have in common when only values differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Outline {
    module: Option<Arc<str>>,
    resource: Option<Arc<str>>,
    kind: &'static str,
    parts: Vec<Arc<str>>,
}

impl Outline {
    fn of(change: &Change) -> Outline {
        let parts = match change {
            Change::Changed { parts, .. } | Change::ModuleChanged { parts, .. } => parts.as_slice(),
            _ => &[],
        };
        let name = |part: &Part| -> Arc<str> {
            match part {
                Part::Type { .. } => "type".into(),
                Part::When { .. } => "when".into(),
                Part::Attribute { name, .. } => name.clone(),
                Part::Edges { key, .. } => (*key).into(),
            }
        };
        Outline {
            module: change.module().cloned(),
            resource: change.resource().cloned(),
            kind: change.kind(),
            parts: parts.iter().map(name).collect(),
        }
    }
}

/// Groups the changes of pairs of variants, each given with its number of envoys. The widest come first.
pub(super) fn groups(pairs: &[(usize, &[Arc<Change>])]) -> Vec<Group> {
    // changes are shared between pairs, so an address mostly tells them apart before their content does
    let mut numbers: FxHashMap<&Change, usize> = FxHashMap::default();
    let mut known: FxHashMap<*const Change, usize> = FxHashMap::default();
    let mut changes: Vec<(&Arc<Change>, Vec<u32>)> = Vec::new();
    for (pair, (_, list)) in pairs.iter().enumerate() {
        for change in list.iter() {
            let number = *known.entry(Arc::as_ptr(change)).or_insert_with(|| {
                *numbers.entry(change).or_insert_with(|| {
                    changes.push((change, Vec::new()));
                    changes.len() - 1
                })
            });
            if let Some((_, of)) = changes.get_mut(number)
                && of.last() != Some(&(pair as u32))
            {
                of.push(pair as u32);
            }
        }
    }
    let envoys = |of: &[u32]| -> usize {
        of.iter().filter_map(|at| pairs.get(*at as usize)).map(|(envoys, _)| envoys).sum()
    };
    let mut by_outline: FxHashMap<Outline, Vec<Variation>> = FxHashMap::default();
    for (change, of) in changes {
        let variation = Variation { change: change.clone(), envoys: envoys(&of), pairs: of };
        by_outline.entry(Outline::of(change)).or_default().push(variation);
    }
    let mut by_pairs: FxHashMap<Vec<u32>, Vec<(Outline, Item)>> = FxHashMap::default();
    for (outline, mut variations) in by_outline {
        variations.sort_by(|a, b| b.envoys.cmp(&a.envoys).then_with(|| a.pairs.cmp(&b.pairs)));
        let all: BTreeSet<u32> = variations.iter().flat_map(|v| v.pairs.iter().copied()).collect();
        by_pairs.entry(all.into_iter().collect()).or_default().push((outline, Item { variations }));
    }
    let mut out: Vec<Group> = by_pairs
        .into_iter()
        .map(|(pairs, mut items)| {
            // what is about the modules themselves comes last
            items.sort_by(|(a, _), (b, _)| (a.module.is_none(), a).cmp(&(b.module.is_none(), b)));
            let items = items.into_iter().map(|(_, item)| item).collect();
            Group { envoys: envoys(&pairs), pairs, items }
        })
        .collect();
    out.sort_by(|a, b| b.envoys.cmp(&a.envoys).then_with(|| a.pairs.cmp(&b.pairs)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::{Expr, Value};

    fn change(resource: &str, value: &str) -> Arc<Change> {
        let new = Some(Expr::Const(Value::str(value)));
        let parts = vec![Part::Attribute { name: "content".into(), old: None, new }];
        Arc::new(Change::Changed { module: "m".into(), name: resource.into(), kind: "file".into(), parts })
    }

    #[test]
    fn equal_changes_are_told_once_and_other_values_are_variations() {
        let (a, b, b2, c) = (change("a", "1"), change("b", "1"), change("b", "2"), change("c", "1"));
        // equal in content, made twice
        let again = change("a", "1");
        let groups = groups(&[(10, &[a, b]), (5, &[again, b2]), (1, &[c])]);
        let shape: Vec<_> = groups
            .iter()
            .map(|g| {
                (g.envoys, g.items.iter().map(|i| i.variations.iter().map(|v| v.envoys).collect()).collect())
            })
            .collect::<Vec<(usize, Vec<Vec<usize>>)>>();
        assert_eq!(shape, [(15, vec![vec![15], vec![10, 5]]), (1, vec![vec![1]])]);
        assert_eq!(groups[0].pairs, [0, 1]);
    }
}
