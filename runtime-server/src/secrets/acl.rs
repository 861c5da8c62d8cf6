//! Which envoys may be given which secrets.
//!
//! Policy says what an envoy uses; whoever runs the server says, in `secrets.allow`, what it may use. An author who may
//! change policy can so be kept from reading a secret by naming it in a module of some other host.

use crate::hostname::{matches, matches_exactly};

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
}
