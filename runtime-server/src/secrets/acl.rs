//! Which envoys may be given which secrets.
//!
//! Policy says what an envoy uses; whoever runs the server says, in `secrets.allow`, what it may use. An author who may
//! change policy can so be kept from reading a secret by naming it in a module of some other host.

use crate::hostname::{matches, matches_exactly};
use std::collections::{BTreeMap, BTreeSet};

/// Hosts that are named in a finding.
const NAMED: usize = 3;

/// Secrets, and who may have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Paths; `*` stands for any text, `?` for one character.
    pub secrets: Vec<String>,
    /// Host names, with the same wildcards; any where none is given.
    pub envoys: Vec<String>,
    /// An envoy has one of these; any where none is given.
    pub roles: Vec<String>,
}

/// All rules; without any, every envoy may have what its policy names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(pub Option<Vec<Rule>>);

impl Rules {
    /// Whether an envoy of that name and with these roles may have a secret.
    pub fn allow(&self, secret: &str, hostname: &str, roles: &[String]) -> bool {
        self.0.as_ref().is_none_or(|rules| {
            rules.iter().any(|rule| {
                rule.secrets.iter().any(|glob| matches_exactly(glob, secret))
                    && (rule.envoys.is_empty() || rule.envoys.iter().any(|glob| matches(glob, hostname)))
                    && (rule.roles.is_empty() || rule.roles.iter().any(|role| roles.contains(role)))
            })
        })
    }
}

/// Secrets that a policy gives to envoys that may not have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denied(BTreeMap<String, Hosts>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hosts {
    count: usize,
    /// The first of them by name.
    first: BTreeSet<String>,
}

impl Denied {
    /// One more envoy, with the secrets that its policy names. An envoy is counted once.
    pub fn count(&mut self, rules: &Rules, secrets: &[String], hostname: &str, roles: &[String]) {
        let paths: BTreeSet<&String> =
            secrets.iter().filter(|path| !rules.allow(path, hostname, roles)).collect();
        for path in paths {
            let hosts = self.0.entry(path.clone()).or_default();
            hosts.count += 1;
            hosts.first.insert(hostname.to_owned());
            if hosts.first.len() > NAMED {
                hosts.first.pop_last();
            }
        }
    }

    /// Each secret, and who would get it: `web-1 and web-2`, `a, b, c and 9 more`.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|(path, hosts)| {
            let mut names: Vec<String> = hosts.first.iter().map(|name| format!("`{name}`")).collect();
            if hosts.count > names.len() {
                names.push(format!("{} more", hosts.count - names.len()));
            }
            let last = names.pop().unwrap_or_default();
            let who = if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) };
            (path.as_str(), who)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_098_a_secret_is_for_whom_a_rule_names() {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let rule = |secrets: &[&str], envoys: &[&str], roles: &[&str]| Rule {
            secrets: texts(secrets),
            envoys: texts(envoys),
            roles: texts(roles),
        };
        let rules = Rules(Some(vec![
            rule(&["web/*"], &["web-*"], &[]),
            rule(&["db/*", "backup"], &["db-*"], &["database"]),
            rule(&["motd"], &[], &[]),
        ]));
        for (secret, hostname, role, expected) in [
            ("web/key", "web-1", "", true),
            ("web/key", "db-1", "database", false),
            ("db/password", "db-1", "database", true),
            ("db/password", "db-1", "web", false),
            ("db/password", "web-1", "database", false),
            ("backup", "db-1", "database", true),
            ("motd", "anybody", "", true),
            ("other", "web-1", "database", false),
            ("webx", "web-1", "", false),
            ("WEB/key", "web-1", "", false),
            ("web/key", "WEB-1", "", true),
        ] {
            assert_eq!(
                rules.allow(secret, hostname, &texts(&[role])),
                expected,
                "{secret} {hostname} {role}"
            );
        }
        assert!(Rules(None).allow("other", "web-1", &[]), "nobody said anything");
        assert!(!Rules(Some(vec![])).allow("other", "web-1", &[]), "nobody may have any");
    }

    #[test]
    fn who_is_denied_is_named_with_a_bound() {
        let rules = Rules(Some(vec![]));
        let mut denied = Denied::default();
        let paths = ["db".to_owned(), "db".to_owned()];
        denied.count(&rules, &paths, "h3", &[]);
        assert_eq!(denied.secrets().collect::<Vec<_>>(), [("db", "`h3`".to_owned())]);
        denied.count(&rules, &paths, "h1", &[]);
        assert_eq!(denied.secrets().next().unwrap().1, "`h1` and `h3`");
        for name in ["h5", "h2", "h4"] {
            denied.count(&rules, &paths, name, &[]);
        }
        assert_eq!(denied.secrets().next().unwrap().1, "`h1`, `h2`, `h3` and 2 more");
        let mut nobody = Denied::default();
        nobody.count(&Rules(None), &paths, "h1", &[]);
        assert_eq!(nobody, Denied::default());
    }
}
