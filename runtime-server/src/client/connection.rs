//! Requests to the server, and what they come to when they do not work.

use super::{FINDING, Failure, INPUT, INTERNAL, UNREACHABLE, USAGE};
use crate::http::IDEMPOTENCY_KEY;
use crate::http::page::Page;
use crate::http::problem::Problem;
use crate::outgoing;
use backon::{BlockingRetryable, ExponentialBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body};
use zeroize::Zeroizing;

/// So often what makes something once is asked for again.
const AGAIN: usize = 3;
const TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// No answer is longer.
const MAX_ANSWER: u64 = 256 << 20;
/// Items asked for at once.
const PAGE: usize = 500;

/// Where the server is, and what it knows us by.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) server: Option<String>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
}

/// A server that can be asked.
pub(super) struct Connection {
    agent: Agent,
    server: String,
    token: Zeroizing<String>,
}

impl Connection {
    /// Reads token and certificate; nothing is dialled.
    pub(super) fn new(place: &Place) -> Result<Self, Failure> {
        let server = place.server.as_deref().map(str::trim).filter(|s| !s.is_empty());
        let server = server.ok_or_else(|| {
            Failure::new(USAGE, "which server? Give `--server https://HOST:8443`, or set VIGO_SERVER")
        })?;
        if server.starts_with("http://") {
            return Err(Failure::new(USAGE, "the server is reached by https only: the token is a secret"));
        }
        let server = server.strip_prefix("https://").unwrap_or(server).trim_end_matches('/');
        let host = server.split('/').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if host != server || host.is_empty() || !host.chars().all(plain) {
            return Err(Failure::new(USAGE, "`--server` is https://HOST:PORT, without anything behind it"));
        }
        let ca = place.ca.as_deref().ok_or_else(|| {
            let help =
                "give `--ca FILE`, or set VIGO_CA: it is `tls/ca.pem` beside the server's configuration";
            Failure::new(USAGE, format!("which certificate does the server have? {help}"))
        })?;
        let roots = outgoing::roots(ca).map_err(|e| Failure::new(INPUT, e))?;
        let config = outgoing::config(&roots, concat!("vigocli/", env!("CARGO_PKG_VERSION")))
            .https_only(true)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(TIMEOUT))
            .build();
        let token = token(place.token_file.as_deref())?;
        Ok(Connection { agent: config.into(), server: format!("https://{server}"), token })
    }

    /// Asks for something; `query` is a list of parameters.
    pub(super) fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        let mut request = self
            .agent
            .get(format!("{}{path}", self.server))
            .header("authorization", format!("Bearer {}", *self.token));
        for (key, value) in query {
            request = request.query(key, value);
        }
        self.answer(request.call())
    }

    /// Asks for something to be done.
    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, Failure> {
        self.post_patiently(path, body, TIMEOUT)
    }

    /// Asks for something to be made, and asks again when no answer comes: it has an id beforehand, so it is made once.
    pub(super) fn make(&self, path: &str, body: &impl Serialize) -> Result<Value, Failure> {
        let body = serde_json::to_vec(body).map_err(|e| Failure::new(INTERNAL, e))?;
        let id = uuid::Uuid::now_v7().to_string();
        let ask = || {
            let request = self
                .agent
                .post(format!("{}{path}", self.server))
                .header("authorization", format!("Bearer {}", *self.token))
                .header(IDEMPOTENCY_KEY, &id)
                .content_type("application/json");
            self.answer(request.send(&body[..]))
        };
        let again = ExponentialBuilder::default().with_max_times(AGAIN).with_jitter();
        ask.retry(again).when(|failure| failure.code == UNREACHABLE).call()
    }

    /// The same for what takes its time.
    pub(super) fn post_patiently(
        &self,
        path: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<Value, Failure> {
        // It may hold a secret.
        let body = Zeroizing::new(serde_json::to_vec(body).map_err(|e| Failure::new(INTERNAL, e))?);
        let request = self
            .agent
            .post(format!("{}{path}", self.server))
            .header("authorization", format!("Bearer {}", *self.token))
            .content_type("application/json")
            .config()
            .timeout_global(Some(patience))
            .build();
        self.answer(request.send(&body[..]))
    }

    /// A list, page by page, up to `limit` items.
    pub(super) fn list(
        &self,
        path: &str,
        query: &[(&str, String)],
        limit: usize,
    ) -> Result<Vec<Value>, Failure> {
        let (mut items, mut cursor) = (Vec::new(), None);
        while items.len() < limit {
            let mut query = query.to_vec();
            query.push(("limit", PAGE.min(limit - items.len()).to_string()));
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page: Page<Value> = typed(self.get(path, &query)?)?;
            items.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        Ok(items)
    }

    fn answer(&self, answered: Result<Response<Body>, ureq::Error>) -> Result<Value, Failure> {
        let unreachable = |e: ureq::Error| {
            Failure::new(UNREACHABLE, format!("cannot reach {}: {e}{}", self.server, hint(&e)))
        };
        let mut response = answered.map_err(unreachable)?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(unreachable)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| not_ours(&self.server));
        }
        let problem: Problem = serde_json::from_slice(&body).map_err(|_| not_ours(&self.server))?;
        let said = |text: &str| crate::text::plain(text, 2000);
        let code = super::release::exit_code(&problem.code).unwrap_or(match status.as_u16() {
            400 => USAGE,
            500.. => UNREACHABLE,
            _ => FINDING,
        });
        let detail = match problem.code.as_str() {
            "unauthenticated" => {
                "it is not known, has expired or was revoked; `vigosrv api-token create` on the \
                                  server's machine makes one"
                    .to_owned()
            }
            _ => said(&problem.detail),
        };
        let mut message = format!("{}; {detail}", said(&problem.title));
        if let Some(findings) = &problem.findings {
            for line in findings.rendered.lines() {
                message.push('\n');
                message += &crate::text::plain(line, 1000);
            }
        }
        Err(Failure::new(code, message))
    }
}

fn hint(e: &ureq::Error) -> &'static str {
    let said = e.to_string();
    match e {
        // A CA of the same name, but another key, fails at the signature.
        _ if said.contains("UnknownIssuer") || said.contains("BadSignature") => {
            "; `--ca` is not the CA of this server"
        }
        _ if said.contains("NotValidForName") => {
            "; the server's certificate is for other names, see `vigosrv init --hostname`"
        }
        _ => "",
    }
}

fn not_ours(server: &str) -> Failure {
    Failure::new(UNREACHABLE, format!("{server} answers, but not as a Vigo server of this version does"))
}

/// The token of the file, or of the environment.
fn token(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let token = match file {
        Some(file) => read(file)?,
        None => Zeroizing::new(std::env::var("VIGO_TOKEN").unwrap_or_default()),
    };
    let token = Zeroizing::new(token.trim().to_owned());
    if token.is_empty() {
        let help = "give `--token-file FILE`, or set VIGO_TOKEN or VIGO_TOKEN_FILE; `vigosrv api-token create` on the \
                    server's machine makes a token";
        return Err(Failure::new(USAGE, format!("which API token? {help}")));
    }
    if !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Failure::new(
            INPUT,
            "what was given as API token is none: it has one line of letters, digits and dots",
        ));
    }
    Ok(token)
}

fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    crate::files::read_text(path).map(Zeroizing::new).map_err(|e| Failure::new(INPUT, e))
}

/// The same as a type of ours.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value)
        .map_err(|e| Failure::new(INTERNAL, format!("the server's answer is not understood: {e}")))
}

/// A part of a path.
pub(super) fn part(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
