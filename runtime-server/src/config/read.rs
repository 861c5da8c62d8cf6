//! From the document to the configuration.

mod secrets;

use super::value::{duration, spell};
use super::{Config, Problem};
use crate::events::WebhookSettings;
use crate::secrets::acl::Rules;
use crate::store::{Database, StoreError};
use crate::telemetry::TelemetrySettings;
use grammar::Span;
use grammar::document::{self, Core, Entry, Node, Value};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SECTIONS: &[(&str, &[&str])] = &[
    ("cluster", &["id"]),
    ("listen", &["grpc", "http"]),
    ("policy", &["dir", "watch"]),
    ("database", &["url", "ca", "password_file"]),
    ("tls", &["ca", "ca_key", "certificate", "key", "signer", "signer_key", "envoy_lifetime"]),
    ("signing", &["key_file"]),
    ("checkin", &["interval", "jitter_percent", "bundle_max_age", "streams"]),
    (
        "secrets",
        &[
            "backend",
            "dir",
            "identity_file",
            "command",
            "refresh",
            "url",
            "mount",
            "namespace",
            "token_file",
            "ca_file",
            "allow",
        ],
    ),
    ("runs", &["keep"]),
    ("events", &["webhook"]),
    ("telemetry", &["otlp_endpoint", "ca_file", "sample_percent"]),
];

/// Those of `events.webhook`.
const WEBHOOK: &[&str] = &["url", "secret_file", "ca_file", "timeout"];

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn config(text: &str, dir: &Path, problems: &mut Vec<Problem>) -> Config {
    let parsed = document::parse(text);
    for e in parsed.errors {
        problems.push(Problem { message: e.message, span: e.span, label: e.label, help: e.help });
    }
    let mut reader = Reader { root: &parsed.root, dir, problems };
    reader.known_keys();

    let defaults = Config::in_dir(dir, "");
    let tls = defaults.tls;
    let config = Config {
        cluster_id: reader.cluster_id(),
        listen_grpc: reader.address("grpc").unwrap_or(defaults.listen_grpc),
        listen_http: reader.http(defaults.listen_http),
        policy_dir: reader.path("policy", "dir").unwrap_or(defaults.policy_dir),
        policy_watch: reader.flag("policy", "watch").unwrap_or(defaults.policy_watch),
        database: reader.database().unwrap_or(defaults.database),
        tls: super::Tls {
            ca: reader.path("tls", "ca").unwrap_or(tls.ca),
            ca_key: reader.path("tls", "ca_key").unwrap_or(tls.ca_key),
            certificate: reader.path("tls", "certificate").unwrap_or(tls.certificate),
            key: reader.path("tls", "key").unwrap_or(tls.key),
            signer: reader.path("tls", "signer").unwrap_or(tls.signer),
            signer_key: reader.path("tls", "signer_key").unwrap_or(tls.signer_key),
        },
        envoy_lifetime: reader
            .duration("tls", "envoy_lifetime", HOUR..=DAY * 3650)
            .unwrap_or(defaults.envoy_lifetime),
        signing_key_file: reader.path("signing", "key_file"),
        checkin: super::CheckIn {
            interval: reader
                .duration("checkin", "interval", SECOND..=DAY)
                .unwrap_or(defaults.checkin.interval),
            jitter_percent: reader
                .number("checkin", "jitter_percent", 100)
                .unwrap_or(defaults.checkin.jitter_percent),
            bundle_max_age: reader.limit("checkin", "bundle_max_age", defaults.checkin.bundle_max_age),
            streams: reader
                .number("checkin", "streams", 1_000_000)
                .map_or(defaults.checkin.streams, |streams| streams as usize),
        },
        secrets: reader.secrets(),
        secret_rules: Rules(reader.rules()),
        webhook: reader.webhook(),
        telemetry: reader.telemetry(),
        limits: defaults.limits,
        runs_keep: reader.limit("runs", "keep", defaults.runs_keep),
    };
    reader.two_addresses(&config);
    if parsed.root.is_error() {
        // What stands in the file is unknown, so nothing can be missing from it.
        reader.problems.truncate(1);
    }
    config
}

struct Reader<'a> {
    root: &'a Node,
    dir: &'a Path,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn problem(&mut self, span: Span, message: String, label: &str, help: Option<String>) {
        self.problems.push(Problem { message, span, label: label.to_owned(), help });
    }

    fn known_keys(&mut self) {
        let sections: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
        for section in self.entries(self.root, "the configuration") {
            let Some((name, keys)) = SECTIONS.iter().find(|(name, _)| *name == section.key.text) else {
                self.unknown(section, "", &sections);
                continue;
            };
            for entry in self.entries(&section.value, &format!("`{name}`")) {
                if !keys.contains(&entry.key.text.as_str()) {
                    self.unknown(entry, &format!("{name}."), keys);
                }
            }
        }
    }

    fn entries(&mut self, node: &'a Node, what: &str) -> &'a [Entry] {
        match &node.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Error => &[],
            _ => {
                let message = format!("{what} is a mapping of settings");
                self.problem(node.span, message, "not `key: value` lines", None);
                &[]
            }
        }
    }

    fn unknown(&mut self, entry: &Entry, section: &str, known: &[&str]) {
        let key = &entry.key.text;
        let nearest = known
            .iter()
            .map(|k| (strsim::damerau_levenshtein(k, key), k))
            .min()
            .filter(|(distance, _)| *distance <= 1 + key.chars().count() / 4);
        let help = match nearest {
            Some((_, name)) => format!("did you mean `{name}`?"),
            None => format!("one of {}", listed(known)),
        };
        let message = format!("`{section}{key}` is not a setting");
        self.problem(entry.key.span, message, "not known", Some(help));
    }

    fn node(&self, section: &str, key: &str) -> Option<&'a Node> {
        let section = section.split('.').try_fold(self.root, |at, part| at.get(part))?;
        section.get(key).filter(|n| !n.is_error())
    }

    fn text(&mut self, section: &str, key: &str) -> Option<(&'a str, Span)> {
        let node = self.node(section, key)?;
        match node.as_str().filter(|text| !text.is_empty()) {
            Some(text) => Some((text, node.span)),
            None => {
                self.problem(node.span, format!("`{section}.{key}` is text"), "not text", None);
                None
            }
        }
    }

    fn missing(&mut self, section: &str, key: &str, help: &str) {
        let top = section.split('.').next().unwrap_or_default();
        let span = self.root.entry(top).map_or(Span::new(0, 0), |e| e.key.span);
        let message = format!("`{section}.{key}` is missing");
        self.problem(span, message, "belongs here", Some(help.to_owned()));
    }

    fn cluster_id(&mut self) -> String {
        let Some((text, span)) = self.text("cluster", "id") else {
            if self.node("cluster", "id").is_none() {
                self.missing("cluster", "id", "`vigosrv init` makes one; it stands in the certificates too");
            }
            return String::new();
        };
        match uuid::Uuid::parse_str(text) {
            Ok(id) => id.to_string(),
            Err(_) => {
                self.problem(span, "`cluster.id` is a UUID".into(), "not a UUID", None);
                String::new()
            }
        }
    }

    fn address(&mut self, key: &str) -> Option<std::net::SocketAddr> {
        let (text, span) = self.text("listen", key)?;
        let address = text.parse().ok();
        if address.is_none() {
            let help = "for example `0.0.0.0:1530`, or `[::]:1530` for IPv6 too".to_owned();
            self.problem(span, format!("`listen.{key}` is ADDRESS:PORT"), "not an address", Some(help));
        }
        address
    }

    /// An address, or `none`.
    fn http(&mut self, default: Option<std::net::SocketAddr>) -> Option<std::net::SocketAddr> {
        match self.node("listen", "http") {
            None => default,
            Some(node) if node.as_str() == Some("none") => None,
            Some(_) => self.address("http"),
        }
    }

    /// Two listeners cannot have one port, unless it is one of the system's choice.
    fn two_addresses(&mut self, config: &Config) {
        let (grpc, http) = (config.listen_grpc, config.listen_http);
        if http != Some(grpc) || grpc.port() == 0 {
            return;
        }
        let node = self.node("listen", "http").or_else(|| self.node("listen", "grpc"));
        let message = format!("`listen.grpc` and `listen.http` are both {grpc}");
        let help = "give one of them another port, or set `listen.http` to `none`".to_owned();
        self.problem(node.map_or(Span::new(0, 0), |n| n.span), message, "taken", Some(help));
    }

    fn path(&mut self, section: &str, key: &str) -> Option<PathBuf> {
        self.text(section, key).map(|(text, _)| self.dir.join(text))
    }

    fn database(&mut self) -> Option<Database> {
        let (ca, password_file) = (self.path("database", "ca"), self.path("database", "password_file"));
        let (text, span) = self.text("database", "url").unzip();
        let mut database = text.and_then(Database::postgres);
        match (&mut database, text, span) {
            (Some(Database::Postgres(postgres)), _, _) => {
                (postgres.ca, postgres.password_file) = (ca, password_file);
            }
            _ if ca.is_some() || password_file.is_some() => {
                let key = if ca.is_some() { "ca" } else { "password_file" };
                let span = self.node("database", key).map_or(Span::new(0, 0), |n| n.span);
                let message = format!("`database.{key}` is for PostgreSQL");
                let help = "set `database.url` to `postgres://user@host/vigo`, or take this out".to_owned();
                self.problem(span, message, "has no meaning here", Some(help));
                return None;
            }
            _ => {}
        }
        let (text, span) = text.zip(span)?;
        let Some(database) = database else {
            let path = text.strip_prefix("sqlite:").unwrap_or(text);
            if path.contains("://") {
                let message = "`database.url` is a SQLite file or a PostgreSQL database".to_owned();
                let help = "write `sqlite:vigo.db` or `postgres://user@host/vigo`".to_owned();
                self.problem(span, message, "another database", Some(help));
                return None;
            }
            return Some(Database::Sqlite(self.dir.join(path.strip_prefix("//").unwrap_or(path))));
        };
        if let Err(StoreError::Setting { why, .. }) = database.check() {
            self.problem(span, format!("`database.url` is not understood: {why}"), "not a URL", None);
            return None;
        }
        Some(database)
    }

    fn duration(&mut self, section: &str, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let (text, span) = self.text(section, key)?;
        let Some(value) = duration(text) else {
            let help = "a number and a unit: ms, s, m, h, d or w".to_owned();
            let message = format!("`{section}.{key}` is a duration such as `5m`");
            self.problem(span, message, "not a duration", Some(help));
            return None;
        };
        if value < *range.start() {
            let least = if *range.start() == SECOND { "one second".into() } else { spell(*range.start()) };
            self.problem(span, format!("`{section}.{key}` is at least {least}"), "too short", None);
            return None;
        }
        if value > *range.end() {
            let most = spell(*range.end());
            self.problem(span, format!("`{section}.{key}` is at most {most}"), "too long", None);
            return None;
        }
        Some(value)
    }

    /// A duration of which `0` means "no limit".
    fn limit(&mut self, section: &str, key: &str, default: Option<Duration>) -> Option<Duration> {
        if self.node(section, key).and_then(Node::as_str) == Some("0") {
            return None;
        }
        self.duration(section, key, SECOND..=DAY * 36_500).or(default)
    }

    fn flag(&mut self, section: &str, key: &str) -> Option<bool> {
        let node = self.node(section, key)?;
        let value = match node.as_scalar().map(|s| s.core()) {
            Some(Core::Bool(value)) => Some(value),
            _ => None,
        };
        if value.is_none() {
            self.problem(node.span, format!("`{section}.{key}` is true or false"), "neither", None);
        }
        value
    }

    /// A whole number from 0 on.
    fn number(&mut self, section: &str, key: &str, most: u32) -> Option<u32> {
        let node = self.node(section, key)?;
        let value = match node.as_scalar().map(|s| s.core()) {
            Some(Core::Int(n)) => u32::try_from(n).ok().filter(|n| *n <= most),
            _ => None,
        };
        if value.is_none() {
            let message = format!("`{section}.{key}` is a number from 0 to {most}");
            self.problem(node.span, message, "not such a number", None);
        }
        value
    }

    fn telemetry(&mut self) -> Option<TelemetrySettings> {
        const SECTION: &str = "telemetry";
        let Some((endpoint, span)) = self.text(SECTION, "otlp_endpoint") else {
            if self.root.get(SECTION).is_some_and(|node| !entries(node).is_empty())
                && self.node(SECTION, "otlp_endpoint").is_none()
            {
                self.missing(SECTION, "otlp_endpoint", "such as `http://collector.example.com:4318`");
            }
            return None;
        };
        if !self.is_http(endpoint, span, "telemetry.otlp_endpoint") {
            return None;
        }
        Some(TelemetrySettings {
            endpoint: endpoint.to_owned(),
            ca_file: self.path(SECTION, "ca_file"),
            sample_percent: self.number(SECTION, "sample_percent", 100).unwrap_or(100),
        })
    }

    fn is_http(&mut self, url: &str, span: Span, setting: &str) -> bool {
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let is = host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'));
        if !is {
            let message = format!("`{setting}` begins with `https://` or `http://` and a host");
            self.problem(span, message, "not such a URL", None);
        }
        is
    }

    fn webhook(&mut self) -> Option<WebhookSettings> {
        let node = self.node("events", "webhook")?;
        for entry in self.entries(node, "`events.webhook`") {
            if !WEBHOOK.contains(&entry.key.text.as_str()) {
                self.unknown(entry, "events.webhook.", WEBHOOK);
            }
        }
        const SECTION: &str = "events.webhook";
        let Some((url, span)) = self.text(SECTION, "url") else {
            if matches!(node.value, Value::Map(_)) && self.node(SECTION, "url").is_none() {
                self.missing(SECTION, "url", "such as `https://alerts.example.com/vigo`");
            }
            return None;
        };
        if !self.is_http(url, span, "events.webhook.url") {
            return None;
        }
        Some(WebhookSettings {
            url: url.to_owned(),
            secret_file: self.path(SECTION, "secret_file"),
            ca_file: self.path(SECTION, "ca_file"),
            timeout: self.duration(SECTION, "timeout", SECOND..=MINUTE).unwrap_or(SECOND * 10),
            look: SECOND * 5,
        })
    }
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}
