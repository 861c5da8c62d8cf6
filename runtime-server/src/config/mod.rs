//! `server.yaml`: what the server is told.
//!
//! Every key is known, typed and has a place to point at; a key that is not known is a mistake, never
//! a wish that nobody reads.

mod read;
mod value;

use crate::events::WebhookSettings;
use crate::limits::Limits;
use crate::secrets::Backend;
use crate::secrets::acl::Rules;
use crate::store::Database;
use crate::telemetry::TelemetrySettings;
use compiler::diagnostic::cut::{Cut, without_trailing_blanks};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan};
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use value::duration;

/// The configuration of a server. Paths are absolute or relative to the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// UUID made by `vigosrv init`.
    pub cluster_id: String,
    /// Where agents dial.
    pub listen_grpc: SocketAddr,
    /// Where people and programs look: probes, metrics, the REST API and the dashboard; `None` when it is turned off.
    pub listen_http: Option<SocketAddr>,
    /// The policy tree.
    pub policy_dir: PathBuf,
    /// Whether what lies in it is published at the start and whenever it changes; on SIGHUP it is in any case.
    pub policy_watch: bool,
    /// Where everything is kept.
    pub database: Database,
    /// Certificates and keys.
    pub tls: Tls,
    /// How long the certificates of envoys are good; they renew them in time.
    pub envoy_lifetime: Duration,
    /// A signing key that outlives the process; none by default.
    pub signing_key_file: Option<PathBuf>,
    /// How often agents come.
    pub checkin: CheckIn,
    /// Where secrets come from.
    pub secrets: Backend,
    /// Which envoys may have which of them.
    pub secret_rules: Rules,
    /// Who is told of events; nobody by default.
    pub webhook: Option<WebhookSettings>,
    /// Who collects traces; nobody by default.
    pub telemetry: Option<TelemetrySettings>,
    /// What one connection, one envoy and all together may take. Not in the file.
    pub limits: Limits,
    /// How long runs are kept; `None` for ever.
    pub runs_keep: Option<Duration>,
}

/// Certificates and keys, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The CA's certificate.
    pub ca: PathBuf,
    /// The CA's key.
    pub ca_key: PathBuf,
    /// The server's certificate and then the CA's.
    pub certificate: PathBuf,
    /// The server's key.
    pub key: PathBuf,
    /// The signer identity's certificate.
    pub signer: PathBuf,
    /// The signer identity's key.
    pub signer_key: PathBuf,
}

impl Tls {
    /// The files that `vigosrv init` writes into a directory.
    pub fn in_dir(dir: &Path) -> Self {
        Tls {
            ca: dir.join("ca.pem"),
            ca_key: dir.join("ca.key"),
            certificate: dir.join("server.pem"),
            key: dir.join("server.key"),
            signer: dir.join("signer.pem"),
            signer_key: dir.join("signer.key"),
        }
    }
}

/// How often agents come, and for how long they may do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckIn {
    /// Before jitter.
    pub interval: Duration,
    /// In percent of the interval, to both sides.
    pub jitter_percent: u32,
    /// The life of a lease; `None` for ever.
    pub bundle_max_age: Option<Duration>,
    /// How many envoys keep a stream open while there is no work for them and the server is not busy.
    pub streams: usize,
}

impl Default for CheckIn {
    fn default() -> Self {
        CheckIn {
            interval: Duration::from_secs(300),
            jitter_percent: 20,
            bundle_max_age: Some(Duration::from_secs(86_400)),
            streams: 1000,
        }
    }
}

impl Config {
    /// What `vigosrv init` sets up in a directory.
    pub fn in_dir(dir: &Path, cluster_id: &str) -> Self {
        Config {
            cluster_id: cluster_id.to_owned(),
            listen_grpc: ([0, 0, 0, 0], 1530).into(),
            listen_http: Some(([0, 0, 0, 0], 8443).into()),
            policy_dir: dir.join("policy"),
            policy_watch: true,
            database: Database::Sqlite(dir.join("vigo.db")),
            tls: Tls::in_dir(&dir.join("tls")),
            envoy_lifetime: Duration::from_secs(90 * 86_400),
            signing_key_file: None,
            checkin: CheckIn::default(),
            secrets: Backend::None,
            secret_rules: Rules::default(),
            webhook: None,
            telemetry: None,
            limits: Limits::default(),
            runs_keep: Some(Duration::from_secs(30 * 86_400)),
        }
    }

    /// Reads a file; relative paths in it start where it lies.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path).map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?;
        let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::parse(&path.display().to_string(), &text, dir)
    }

    /// Reads text; `name` is what messages call it.
    pub fn parse(name: &str, text: &str, dir: &Path) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let config = read::config(text, dir, &mut problems);
        if problems.is_empty() {
            return Ok(config);
        }
        problems.sort_by_key(|p| p.span.start);
        let (name, text) = (Arc::from(name), Arc::from(text));
        Err(ConfigError::Invalid(problems.into_iter().map(|p| p.mistake(&name, &text)).collect()))
    }
}

/// No configuration is larger; what is, is another file.
const LIMIT: u64 = 1 << 20;

fn read(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8 text"))
}

fn hint(cause: &std::io::Error) -> &'static str {
    if cause.kind() == std::io::ErrorKind::NotFound {
        "; `--config FILE` names another one, and a new server begins with `vigosrv init`"
    } else {
        ""
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file, or none that may be read.
    #[error("cannot read the configuration {}: {cause}{}", path.display(), hint(cause))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Mistakes in it.
    #[error("{}", Listed(.0))]
    Invalid(Vec<Mistake>),
}

impl ConfigError {
    /// All mistakes with the lines they stand in.
    pub fn render(&self, colour: bool) -> String {
        let ConfigError::Invalid(mistakes) = self else { return format!("{self}\n") };
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_links(false);
        let mut out = String::new();
        for mistake in mistakes {
            if handler.render_report(&mut out, mistake).is_err() {
                out.push_str(&format!("{mistake}\n"));
            }
        }
        without_trailing_blanks(&out)
    }
}

struct Listed<'a>(&'a [Mistake]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// One mistake in a configuration.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Mistake {
    message: String,
    #[source_code]
    source_code: Cut,
    #[label(collection)]
    labels: Vec<LabeledSpan>,
    #[help]
    help: Option<String>,
}

#[derive(Debug)]
struct Problem {
    message: String,
    span: grammar::Span,
    label: String,
    help: Option<String>,
}

impl Problem {
    fn mistake(self, name: &Arc<str>, text: &Arc<str>) -> Mistake {
        let mut labels = vec![LabeledSpan::new_primary_with_span(Some(self.label), self.span.range())];
        let source_code = Cut::new(name.clone(), text.clone(), &mut labels);
        Mistake { message: self.message, source_code, labels, help: self.help }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse("server.yaml", text, Path::new("/srv")).map_err(|e| e.render(false))
    }

    const CLUSTER: &str = "cluster:\n  id: 0b2e4e0e-5d0f-4a11-9d0c-2f6f3f1f7a10\n";

    #[test]
    fn everything_has_a_default_but_the_cluster() {
        let config = parse(CLUSTER).unwrap();
        assert_eq!(config, Config::in_dir(Path::new("/srv"), "0b2e4e0e-5d0f-4a11-9d0c-2f6f3f1f7a10"));
        let missing = parse("").unwrap_err();
        assert!(missing.contains("`cluster.id` is missing"), "{missing}");
    }

    #[test]
    fn every_key() {
        let text = format!(
            "{CLUSTER}{}",
            "listen: { grpc: 127.0.0.1:1, http: '[::1]:2' }
policy: { dir: /p, watch: false }
database: { url: sqlite:///d/vigo.db }
tls: { ca: a, ca_key: b, certificate: /c, key: d, signer: e, signer_key: f, envoy_lifetime: 30d }
signing: { key_file: k }
checkin: { interval: 90s, jitter_percent: 0, bundle_max_age: 0, streams: 7 }
secrets: { backend: directory, dir: s }
events: { webhook: { url: 'https://h/x', secret_file: w, ca_file: x, timeout: 3s } }
telemetry: { otlp_endpoint: 'http://c:4318', ca_file: y, sample_percent: 5 }
runs: { keep: 7d }
"
        );
        let config = parse(&text).unwrap();
        let path = |p: &str| Path::new("/srv").join(p);
        assert_eq!(config.listen_grpc.to_string(), "127.0.0.1:1");
        assert_eq!(config.listen_http.unwrap().to_string(), "[::1]:2");
        assert_eq!((config.policy_dir.as_path(), config.policy_watch), (Path::new("/p"), false));
        assert_eq!(config.database, Database::Sqlite("/d/vigo.db".into()));
        assert_eq!((config.tls.ca, config.tls.certificate), (path("a"), "/c".into()));
        assert_eq!(config.envoy_lifetime, Duration::from_secs(30 * 86_400));
        assert_eq!(config.signing_key_file, Some(path("k")));
        assert_eq!(config.checkin.interval, Duration::from_secs(90));
        assert_eq!((config.checkin.jitter_percent, config.checkin.bundle_max_age), (0, None));
        assert_eq!(config.checkin.streams, 7);
        assert_eq!(config.secrets, Backend::Directory(path("s")));
        let telemetry = config.telemetry.unwrap();
        assert_eq!((telemetry.endpoint.as_str(), telemetry.sample_percent), ("http://c:4318", 5));
        assert_eq!(telemetry.ca_file, Some(path("y")));
        let webhook = config.webhook.unwrap();
        assert_eq!((webhook.url.as_str(), webhook.timeout), ("https://h/x", Duration::from_secs(3)));
        assert_eq!((webhook.secret_file, webhook.ca_file), (Some(path("w")), Some(path("x"))));
        assert_eq!(config.runs_keep, Some(Duration::from_secs(7 * 86_400)));
    }

    #[test]
    fn every_backend_of_secrets_can_be_written() {
        let backend = |text: &str| parse(&format!("{CLUSTER}secrets: {text}\n")).map(|c| c.secrets);
        let (dir, identity_file) = ("/srv/s".into(), "/srv/i".into());
        assert_eq!(
            backend("{ backend: age, dir: s, identity_file: i }"),
            Ok(Backend::Age { dir, identity_file })
        );
        assert_eq!(backend("{ backend: environment }"), Ok(Backend::Environment));
        let command = vec!["pass".to_owned(), "show".to_owned()];
        let refresh = Duration::from_secs(60);
        assert_eq!(
            backend("{ backend: command, command: [pass, show] }"),
            Ok(Backend::Command { command, refresh })
        );
        let Ok(Backend::Vault(vault)) =
            backend("{ backend: vault, url: 'https://v:8200', token_file: t, mount: kv, refresh: 5m }")
        else {
            panic!("a Vault")
        };
        assert_eq!((vault.mount.as_str(), vault.refresh), ("kv", Duration::from_secs(300)));
        assert_eq!((vault.token_file, vault.ca_file), (PathBuf::from("/srv/t"), None));
    }

    #[test]
    fn case_098_rules_for_secrets_are_read_whole_or_not_at_all() {
        let rules = |text: &str| {
            let text = format!("{CLUSTER}secrets: {{ backend: environment, allow: {text} }}\n");
            parse(&text).map(|config| config.secret_rules.0)
        };
        let read = rules("[{ secrets: [db/*], envoys: [db-*], roles: [database] }, { secrets: [motd] }]");
        let read = read.unwrap().unwrap();
        assert_eq!(
            (read[0].secrets.as_slice(), read[0].envoys.as_slice()),
            (&["db/*".to_owned()][..], &["db-*".to_owned()][..])
        );
        assert_eq!(
            (read[0].roles.as_slice(), read[1].roles.len(), read.len()),
            (&["database".to_owned()][..], 0, 2)
        );
        assert_eq!(rules("[]"), Ok(Some(vec![])));
        for (text, expected) in [
            ("web", "a list of rules"),
            ("[web]", "a rule names `secrets`"),
            ("[{ envoys: [web-*] }]", "a rule names `secrets`"),
            ("[{ secrets: web }]", "a list of text"),
            ("[{ secrets: [web], hosts: [x] }]", "`secrets.allow.hosts` is not a setting"),
        ] {
            let said = rules(text).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
        let unset = parse(&format!("{CLUSTER}secrets: {{ backend: environment }}\n")).unwrap();
        assert_eq!(unset.secret_rules, Rules(None));
    }

    #[test]
    fn an_unknown_key_is_pointed_at_and_the_nearest_one_is_named() {
        let rendered = parse(&format!("{CLUSTER}checkin:\n  intervall: 5m\n")).unwrap_err();
        for part in ["`checkin.intervall` is not a setting", "server.yaml:4:3", "did you mean `interval`"] {
            assert!(rendered.contains(part), "{part}: {rendered}");
        }
        let rendered = parse(&format!("{CLUSTER}chekin:\n  interval: 5m\n")).unwrap_err();
        assert!(rendered.contains("did you mean `checkin`"), "{rendered}");
        let rendered = parse(&format!("{CLUSTER}colour: blue\n")).unwrap_err();
        assert!(rendered.contains("one of `cluster`, `listen`"), "{rendered}");
    }

    #[test]
    fn a_long_line_is_not_drawn_whole() {
        let rendered =
            parse(&format!("{CLUSTER}a: {}1{}\n", "[".repeat(5000), "]".repeat(5000))).unwrap_err();
        assert!(rendered.lines().all(|line| line.chars().count() < 400), "{rendered}");
        assert!(rendered.contains("server.yaml:3:"), "{rendered}");
    }

    #[test]
    fn values_of_another_type_are_pointed_at() {
        for (text, expected) in [
            ("checkin:\n  interval: 5\n", "a duration"),
            ("checkin:\n  interval: 0s\n", "at least one second"),
            ("checkin:\n  interval: 99d\n", "at most"),
            ("checkin:\n  jitter_percent: 101\n", "from 0 to 100"),
            ("checkin:\n  streams: many\n", "from 0 to 1000000"),
            ("listen:\n  grpc: localhost\n", "ADDRESS:PORT"),
            ("tls:\n  envoy_lifetime: 5m\n", "at least 1h"),
            ("listen: 1530\n", "settings"),
            (
                "secrets:\n  backend: valt\n",
                "one of `none`, `directory`, `age`, `environment`, `command`, `vault`",
            ),
            ("secrets:\n  dir: a\n", "`secrets.backend` is missing"),
            ("secrets:\n  backend: environment\n  dir: a\n", "says nothing to the backend"),
            ("secrets:\n  backend: age\n  dir: a\n", "`secrets.identity_file` is missing"),
            ("secrets:\n  backend: command\n  command: pass show\n", "a program and its arguments"),
            ("secrets:\n  backend: command\n  command: []\n", "a program and its arguments"),
            ("secrets: { backend: vault, url: 'http://v', token_file: t }\n", "begins with `https://`"),
            ("secrets: { backend: vault, url: 'https://v' }\n", "`secrets.token_file` is missing"),
            ("secrets:\n  backend: directory\n", "`secrets.dir` is missing"),
            ("database:\n  url: mysql://x\n", "`postgres://user@host/vigo`"),
            ("database:\n  url: postgres://h/vigo\n", "names no user"),
            ("database:\n  url: postgres://u@h:x/vigo\n", "`database.url`"),
            ("database:\n  password_file: p\n", "PostgreSQL"),
            ("policy:\n  dir: [a]\n", "text"),
            ("events:\n  webhook: { url: 'ftp://h' }\n", "begins with `https://` or `http://`"),
            ("events:\n  webhook: { secret_file: s }\n", "`events.webhook.url` is missing"),
            ("events:\n  webhook: { url: 'https://h', timeout: 5m }\n", "at most"),
            ("events:\n  webhook: { url: 'https://h', secret_fil: s }\n", "did you mean `secret_file`"),
            ("events:\n  webhook: 'https://h'\n", "settings"),
            ("telemetry:\n  otlp_endpoint: collector:4318\n", "begins with `https://` or `http://`"),
            ("telemetry:\n  sample_percent: 5\n", "`telemetry.otlp_endpoint` is missing"),
            ("telemetry: { otlp_endpoint: 'http://c', sample_percent: 101 }\n", "from 0 to 100"),
            ("policy:\n  dir:\n", "text"),
            ("policy:\n  watch: sometimes\n", "true or false"),
            ("policy:\n  watch: 'true'\n", "true or false"),
        ] {
            let rendered = parse(&format!("{CLUSTER}{text}")).unwrap_err();
            assert!(rendered.contains(expected), "{text}: {rendered}");
        }
        let bad_id = parse("cluster:\n  id: ../x\n").unwrap_err();
        assert!(bad_id.contains("UUID"), "{bad_id}");
        assert!(parse("a: [\n").is_err());
        assert!(parse("- a\n").is_err());
    }
}
