//! "Did you mean": the known name nearest to one that is not known.

use std::collections::BTreeSet;

/// The nearest of `known`, when it is near enough to be a slip of the fingers.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .into_iter()
        .filter(|k| *k != name)
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), k))
        .filter(|(distance, k)| {
            let longer = name.len().max(k.len());
            *distance <= 1 + longer / 4 && *distance < longer
        })
        .min_by(|a, b| a.cmp(b))
        .map(|(_, k)| k)
}

/// `did you mean ...?`, or nothing.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|k| format!("did you mean `{k}`?"))
}

/// `did you mean ...?`, or the list of what there is when that is short.
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: BTreeSet<&str> = known.into_iter().collect();
    did_you_mean(name, known.iter().copied())
        .or_else(|| (1..=12).contains(&known.len()).then(|| format!("known: {}", listed(known))))
}

/// Names in backticks with commas.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_near_and_other_words_are_not() {
        assert_eq!(
            nearest("worker_conections", ["worker_connections", "workers"]),
            Some("worker_connections")
        );
        assert_eq!(nearest("porst", ["port", "ports", "host"]), Some("port").or(Some("ports")));
        assert_eq!(nearest("b", ["a", "c"]), None);
        assert_eq!(nearest("x", ["template", "nodes"]), None);
        assert_eq!(suggest("zzz", ["a", "b"]), Some("known: `a`, `b`".into()));
    }
}
