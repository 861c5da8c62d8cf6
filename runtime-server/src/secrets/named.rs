//! Whether the secrets that a policy names are there and go to envoys that may have them, told with the places where it names
//! them.

use super::acl::Denied;
use super::{PATIENCE, SecretError, Secrets};
use crate::policy::{Checked, SecretUse};
use crate::tree::Tree;
use compiler::diagnostic::render::{Style, human};
use compiler::diagnostic::{Diagnostic, Severity, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// The findings about those that cannot be had, or not by everybody who would get them; `None` when there are none. An error
/// when whoever has them does not answer, and nothing else is wrong. Blocks for as long as the provider takes.
pub fn amiss(
    secrets: &Secrets,
    uses: &[SecretUse],
    denied: &Denied,
    tree: &Tree,
) -> Result<Option<Checked>, SecretError> {
    let mut by_path: BTreeMap<&str, Vec<&SecretUse>> = BTreeMap::new();
    for named in uses {
        by_path.entry(&named.path).or_default().push(named);
    }
    let until = Instant::now() + PATIENCE;
    let (mut found, mut silent) = (Vec::new(), None);
    for (path, places) in &by_path {
        let Some((first, others)) = places.split_first() else { continue };
        match secrets.get_until(path, until) {
            Ok(_) => {}
            Err(e @ SecretError::Unavailable { .. }) => {
                silent.get_or_insert(e);
            }
            Err(e) => {
                let help = match e {
                    SecretError::Missing { .. } => format!(
                        "make it, with `vigosrv secrets set {path}` where the backend is `age`, or mend the path"
                    ),
                    _ => "mend the secret, or its path".to_owned(),
                };
                found.push(finding("missing-secret", e.to_string(), help, first, others));
            }
        }
    }
    for (path, who) in denied.secrets() {
        let Some((first, others)) = by_path.get(path).and_then(|places| places.split_first()) else {
            continue;
        };
        found.push(finding(
            "denied-secret",
            format!("secret `{path}` would go to {who}, and `secrets.allow` of the server does not let it"),
            "take it from these hosts, or let whoever runs the server allow it".to_owned(),
            first,
            others,
        ));
    }
    found.sort_by(|a, b| (&a.place, &a.message).cmp(&(&b.place, &b.message)));
    match silent {
        _ if !found.is_empty() => Ok(Some(checked(&found, tree))),
        Some(e) => Err(e),
        None => Ok(None),
    }
}

fn finding(
    code: &'static str,
    message: String,
    help: String,
    first: &SecretUse,
    others: &[&SecretUse],
) -> Diagnostic {
    Diagnostic {
        code,
        severity: Severity::Error,
        message,
        place: first.place.clone(),
        label: "named here".to_owned(),
        labels: others.iter().map(|other| (other.place.clone(), "and here".to_owned())).collect(),
        help: Some(help),
        fixes: Vec::new(),
        classes: Vec::new(),
    }
}

fn checked(found: &[Diagnostic], tree: &Tree) -> Checked {
    let style = Style { colour: true, ..Style::default() };
    let places =
        found.iter().flat_map(|d| std::iter::once(&d.place).chain(d.labels.iter().map(|(place, _)| place)));
    let texts = places.filter_map(|place| Some((place.file.clone(), tree.text(&place.file)?))).collect();
    Checked {
        errors: found.len(),
        rendered: found
            .iter()
            .map(|d| human(d, &|path| tree.text(path), style))
            .collect::<Vec<_>>()
            .join("\n"),
        diagnostics: json::diagnostics(found, &texts),
        ..Checked::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Provider, Value};
    use super::*;
    use compiler::policy::Policy;
    use zeroize::Zeroizing;

    /// `there` is there; whoever has `far/...` does not answer.
    #[derive(Debug)]
    struct Some1;

    impl Provider for Some1 {
        fn fetch(&self, path: &str) -> Result<Value, SecretError> {
            match path {
                "there" => Ok(Zeroizing::new(b"k7-canary".to_vec())),
                far if far.starts_with("far/") => {
                    let (path, place) = (far.to_owned(), "the vault".to_owned());
                    Err(SecretError::Unavailable { path, place, why: "it does not answer".into() })
                }
                other => Err(SecretError::Missing { path: other.to_owned(), place: "the vault".into() }),
            }
        }
    }

    fn ask(vars: &str) -> Result<Option<Checked>, SecretError> {
        let text = format!("nodes:\n  - match: \"*\"\n    vars: {{ {vars} }}\n");
        let tree = Tree::sent([("nodes.vgo".to_owned(), text.into_bytes())]).unwrap();
        let policy = Policy::of(tree.files().clone());
        let (db, project) = policy.queries();
        let secrets = Secrets::over(Box::new(Some1), [1; 32]);
        amiss(&secrets, &compiler::secrets::secrets(db, project), &Denied::default(), &tree)
    }

    #[test]
    fn a_missing_secret_is_told_with_its_places_and_a_silent_provider_apart() {
        assert_eq!(ask("a: secret:there"), Ok(None));
        let found = ask("a: secret:there, b: secret:db, c: \"secret:db\"").unwrap().unwrap();
        let plain = found.plain();
        for part in ["there is no secret `db` in the vault", "nodes.vgo:3:33", "and here", "missing-secret"] {
            assert!(plain.contains(part), "{part}: {plain}");
        }
        assert!(!plain.contains("canary"));
        let start = &found.diagnostics[0]["span"]["start"];
        assert_eq!((&start["line"], &start["column"], found.errors), (&3.into(), &33.into(), 1));
        assert!(matches!(ask("a: secret:far/one"), Err(SecretError::Unavailable { .. })));
        let both = ask("a: secret:far/one, b: secret:db").unwrap().unwrap();
        assert_eq!(both.errors, 1, "what is known to be missing is said first");
        let bad = ask("a: secret:../etc/shadow").unwrap().unwrap();
        assert!(bad.plain().contains("is not a secret's path"), "{}", bad.plain());
    }
}
