//! The section `secrets`: where they are kept, and who may have which.

use super::{DAY, Reader, SECOND, SECTIONS, entries, listed};
use crate::secrets::acl::Rule;
use crate::secrets::{Backend, VaultSettings};
use grammar::document::{Node, Value};
use std::time::Duration;

impl Reader<'_> {
    pub(super) fn secrets(&mut self) -> Backend {
        let Some((backend, span)) = self.text("secrets", "backend") else {
            // The others would be read by nobody, which is hardly what they were written for.
            if let Some(entry) = self.root.get("secrets").map_or(&[][..], entries).first() {
                let help = format!("`backend` is one of {}", listed(Backend::NAMES));
                self.problem(entry.key.span, "`secrets.backend` is missing".into(), "needs it", Some(help));
            }
            return Backend::None;
        };
        let needed: &[(&str, &str)] = match backend {
            "none" | "environment" => &[],
            "directory" => &[("dir", "the directory with a file per secret")],
            "age" => &[
                ("dir", "the directory with a file per secret, encrypted with age"),
                ("identity_file", "the file with the age identity of the server"),
            ],
            "command" => &[("command", "the program and its arguments, such as `[pass, show]`")],
            "vault" => &[
                ("url", "such as `https://vault.example.com:8200`"),
                ("token_file", "the file with the token for the Vault"),
            ],
            _ => {
                let message = format!("`secrets.backend` is one of {}", listed(Backend::NAMES));
                self.problem(span, message, "not known", None);
                return Backend::None;
            }
        };
        let optional: &[&str] = match backend {
            "command" => &["refresh"],
            "vault" => &["refresh", "mount", "namespace", "ca_file"],
            _ => &[],
        };
        for entry in self.root.get("secrets").map_or(&[][..], entries) {
            let key = entry.key.text.as_str();
            let of_another = SECTIONS.iter().any(|(name, keys)| *name == "secrets" && keys.contains(&key));
            let used = key == "backend"
                || key == "allow"
                || optional.contains(&key)
                || needed.iter().any(|(k, _)| *k == key);
            if of_another && !used {
                let message = format!("`secrets.{key}` says nothing to the backend `{backend}`");
                self.problem(entry.key.span, message, "not used", Some("remove it".to_owned()));
            }
        }
        let mut complete = true;
        for (key, help) in needed {
            if self.node("secrets", key).is_none() {
                self.missing("secrets", key, help);
                complete = false;
            }
        }
        if !complete {
            return Backend::None;
        }
        let refresh = self.duration("secrets", "refresh", SECOND..=DAY).unwrap_or(SECOND * 60);
        let built = match backend {
            "environment" => Some(Backend::Environment),
            "directory" => self.path("secrets", "dir").map(Backend::Directory),
            "age" => self
                .path("secrets", "dir")
                .zip(self.path("secrets", "identity_file"))
                .map(|(dir, identity_file)| Backend::Age { dir, identity_file }),
            "command" => {
                self.words("secrets", "command").map(|command| Backend::Command { command, refresh })
            }
            "vault" => self.vault(refresh),
            _ => None,
        };
        built.unwrap_or(Backend::None)
    }

    fn vault(&mut self, refresh: Duration) -> Option<Backend> {
        let (url, span) = self.text("secrets", "url")?;
        if url.strip_prefix("https://").is_none_or(str::is_empty) {
            let help = "secrets travel over TLS only: `https://HOST:PORT`".to_owned();
            self.problem(span, "`secrets.url` begins with `https://`".into(), "not HTTPS", Some(help));
            return None;
        }
        Some(Backend::Vault(VaultSettings {
            url: url.to_owned(),
            mount: self.text("secrets", "mount").map_or("secret", |(mount, _)| mount).to_owned(),
            namespace: self.text("secrets", "namespace").map(|(namespace, _)| namespace.to_owned()),
            token_file: self.path("secrets", "token_file")?,
            ca_file: self.path("secrets", "ca_file"),
            refresh,
        }))
    }

    /// `secrets.allow`; a rule that cannot be read lets nobody have anything.
    pub(super) fn rules(&mut self) -> Option<Vec<Rule>> {
        const KEYS: &[&str] = &["secrets", "envoys", "roles"];
        let node = self.node("secrets", "allow")?;
        let Value::Seq(items) = &node.value else {
            let message = "`secrets.allow` is a list of rules".to_owned();
            let help = "for example `- { secrets: [db/*], envoys: [db-*], roles: [database] }`".to_owned();
            self.problem(node.span, message, "not a list", Some(help));
            return Some(Vec::new());
        };
        let mut rules = Vec::new();
        for item in items {
            for entry in entries(item).iter().filter(|e| !KEYS.contains(&e.key.text.as_str())) {
                self.unknown(entry, "secrets.allow.", KEYS);
            }
            let mut list = |key: &str| match item.get(key) {
                None => Vec::new(),
                Some(node) => self.texts(node, &format!("`secrets.allow.{key}`")),
            };
            let rule = Rule { secrets: list("secrets"), envoys: list("envoys"), roles: list("roles") };
            if item.get("secrets").is_none() {
                let message = "a rule names `secrets`, and perhaps `envoys` and `roles`".to_owned();
                self.problem(item.span, message, "names none", None);
            }
            rules.push(rule);
        }
        Some(rules)
    }

    fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        let texts: Option<Vec<String>> = match &node.value {
            Value::Seq(items) => items.iter().map(|i| i.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        texts.unwrap_or_else(|| {
            self.problem(node.span, format!("{what} is a list of text"), "not a list of text", None);
            Vec::new()
        })
    }

    /// A program and its arguments.
    fn words(&mut self, section: &str, key: &str) -> Option<Vec<String>> {
        let node = self.node(section, key)?;
        let words: Option<Vec<String>> = match &node.value {
            Value::Seq(items) => items.iter().map(|i| i.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let words = words.filter(|w| w.first().is_some_and(|program| !program.is_empty()));
        if words.is_none() {
            let help = "a list, the program first: nothing is read by a shell".to_owned();
            let message = format!("`{section}.{key}` is a program and its arguments");
            self.problem(node.span, message, "not a list of text", Some(help));
        }
        words
    }
}
