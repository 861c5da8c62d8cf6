//! What an agent leaves out of a check-in or a report on a stream, because the server has it.
//!
//! Both kinds name what they are made from and the SHA-256 of what they stand for, so a server that has something
//! else notices and asks for the whole. Nothing is ever stored that differs from what the agent meant.

use crate::pb::{ResourceResult, ResultsDelta, RunReport, TraitsDelta};
use ir::{Hash, Value, wire};
use prost::Message;
use std::collections::HashSet;
use std::sync::Arc;

/// What leads from encoded traits to others; `None` where either is no encoded map, or they are the same.
pub fn of_traits(before: &[u8], after: &[u8]) -> Option<TraitsDelta> {
    let (Ok(Value::Map(old)), Ok(Value::Map(new))) = (wire::decode_value(before), wire::decode_value(after))
    else {
        return None;
    };
    let removed: Vec<String> =
        old.keys().filter(|key| !new.contains_key(*key)).map(|key| key.to_string()).collect();
    let changed: std::collections::BTreeMap<Arc<str>, Value> =
        new.into_iter().filter(|(key, value)| old.get(key) != Some(value)).collect();
    if changed.is_empty() && removed.is_empty() {
        return None;
    }
    let changed = wire::encode_value(&Value::Map(changed)).ok()?;
    Some(TraitsDelta { base: Hash::of(before).0.to_vec(), changed, removed })
}

/// Encoded traits with a delta applied; `None` where it does not fit them. Whether the outcome is what the agent
/// has is for its digest to say.
pub fn apply_traits(before: &[u8], delta: &TraitsDelta) -> Option<Vec<u8>> {
    if Hash::of(before).0.as_slice() != delta.base {
        return None;
    }
    let (Ok(Value::Map(mut map)), Ok(Value::Map(changed))) =
        (wire::decode_value(before), wire::decode_value(&delta.changed))
    else {
        return None;
    };
    let removed: HashSet<&str> = delta.removed.iter().map(String::as_str).collect();
    map.retain(|key, _| !removed.contains(&**key));
    map.extend(changed);
    wire::encode_value(&Value::Map(map)).ok()
}

/// A report told by what differs from another run; `None` where the two did not look at the same resources in the
/// same order, or one of them is no usual run.
pub fn of_report(before: &RunReport, after: &RunReport) -> Option<RunReport> {
    let usual = |r: &RunReport| r.dropped.is_none() && !r.interrupted && r.delta.is_none();
    let same = before.results.len() == after.results.len()
        && before
            .results
            .iter()
            .zip(&after.results)
            .all(|(a, b)| (&a.module, &a.resource, &a.r#type) == (&b.module, &b.resource, &b.r#type));
    if !same || !usual(before) || !usual(after) {
        return None;
    }
    let mut delta = ResultsDelta {
        base_run_id: before.run_id.clone(),
        whole: Hash::of(&after.encode_to_vec()).0.to_vec(),
        positions: Vec::new(),
        durations_ms: after.results.iter().map(|r| r.duration_ms).collect(),
    };
    let mut results = Vec::new();
    for (position, (old, new)) in (0..).zip(before.results.iter().zip(&after.results)) {
        if (ResourceResult { duration_ms: new.duration_ms, ..old.clone() }) != *new {
            delta.positions.push(position);
            results.push(new.clone());
        }
    }
    Some(RunReport { results, delta: Some(delta), ..after.clone() })
}

/// The whole report that a delta stands for, given the results of the run it names; `None` where it does not fit them.
pub fn whole_report(told: &RunReport, mut base: Vec<ResourceResult>) -> Option<RunReport> {
    let delta = told.delta.as_ref()?;
    if delta.positions.len() != told.results.len() || delta.durations_ms.len() != base.len() {
        return None;
    }
    for (result, took) in base.iter_mut().zip(&delta.durations_ms) {
        result.duration_ms = *took;
    }
    for (position, result) in delta.positions.iter().zip(&told.results) {
        base.get_mut(usize::try_from(*position).ok()?)?.clone_from(result);
    }
    let whole = RunReport { results: base, delta: None, ..told.clone() };
    (Hash::of(&whole.encode_to_vec()).0.as_slice() == delta.whole).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::Outcome;

    fn traits(families: &[(&str, &[(&str, i64)])]) -> Vec<u8> {
        let inner = |fields: &[(&str, i64)]| {
            Value::Map(fields.iter().map(|(k, v)| (Arc::from(*k), Value::Int(*v))).collect())
        };
        let map = families.iter().map(|(k, fields)| (Arc::from(*k), inner(fields))).collect();
        wire::encode_value(&Value::Map(map)).unwrap()
    }

    #[test]
    fn a_delta_of_traits_leads_from_one_to_the_other_and_fits_nothing_else() {
        let before =
            traits(&[("cpu", &[("count", 4)]), ("memory", &[("free", 1), ("all", 9)]), ("tpm", &[])]);
        let after = traits(&[("cpu", &[("count", 4)]), ("memory", &[("free", 2), ("all", 9)]), ("zfs", &[])]);
        let delta = of_traits(&before, &after).unwrap();
        assert_eq!(apply_traits(&before, &delta), Some(after.clone()));
        assert_eq!(delta.removed, ["tpm"]);
        let changed = wire::decode_value(&delta.changed).unwrap();
        assert!(matches!(changed, Value::Map(m) if m.keys().map(|k| &**k).eq(["memory", "zfs"])));
        assert_eq!(apply_traits(&after, &delta), None, "another base");
        assert_eq!(of_traits(&before, &before), None);
        assert_eq!(of_traits(b"no", &before), None);
        let broken = TraitsDelta { changed: b"no".to_vec(), ..delta };
        assert_eq!(apply_traits(&before, &broken), None);
    }

    fn result(resource: &str, outcome: Outcome, duration_ms: u32) -> ResourceResult {
        ResourceResult {
            module: "m".into(),
            resource: resource.into(),
            r#type: "file".into(),
            outcome: outcome.into(),
            duration_ms,
            ..ResourceResult::default()
        }
    }

    fn report(run_id: &str, results: Vec<ResourceResult>) -> RunReport {
        RunReport { run_id: run_id.into(), result_seq: 7, results, ..RunReport::default() }
    }

    #[test]
    fn a_report_tells_what_differs_and_stands_for_all_of_it() {
        let names = ["a", "b", "c"];
        let before = report("1", names.map(|n| result(n, Outcome::Ok, 1)).to_vec());
        let mut after = report("2", names.map(|n| result(n, Outcome::Ok, 5)).to_vec());
        after.results[1] = result("b", Outcome::Failed, 9);
        let told = of_report(&before, &after).unwrap();
        assert_eq!(told.results, [after.results[1].clone()]);
        assert_eq!(whole_report(&told, before.results.clone()), Some(after.clone()));
        // an unchanged run says nothing of any resource but how long it took
        let again = of_report(&after, &RunReport { run_id: "3".into(), ..after.clone() }).unwrap();
        assert!(again.results.is_empty());

        // what the server has is something else
        let mut other = before.results.clone();
        other[0].action = "created".into();
        assert_eq!(whole_report(&told, other), None);
        assert_eq!(whole_report(&told, before.results[1..].to_vec()), None);
        let mut far = told.clone();
        far.delta.as_mut().unwrap().positions = vec![u32::MAX];
        assert_eq!(whole_report(&far, before.results.clone()), None);
        // another list of resources, or another order
        let mut turned = after.clone();
        turned.results.reverse();
        assert_eq!(of_report(&before, &turned), None);
        assert_eq!(of_report(&before, &report("4", vec![])), None);
        assert_eq!(of_report(&RunReport { interrupted: true, ..before }, &after), None);
    }
}
