//! The KV engine, version 2, of HashiCorp Vault and OpenBao, over their HTTP API.
//!
//! A secret of a Vault is a map. The secret `web/db/password` is the field `password` of `web/db`; a path of one part is
//! the field `value`.

use super::backend::VaultSettings;
use super::{Provider, SecretError, Value, unreadable};
use crate::files;
use crate::outgoing::{self, OutgoingError};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;
use zeroize::{Zeroize, Zeroizing};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Of an answer: a secret of 1 MiB, all of it escaped, and others beside it.
const MAX_ANSWER_BYTES: u64 = 8 << 20;

#[derive(Debug)]
pub(super) struct Vault {
    settings: VaultSettings,
    agent: ureq::Agent,
}

/// Wiped when dropped, with all fields of text that it holds; a field that is more than text is never a secret of ours.
#[derive(Deserialize)]
struct Answer {
    data: Version,
}

#[derive(Deserialize)]
struct Version {
    /// `null` when the version was deleted.
    data: Option<BTreeMap<String, serde_json::Value>>,
}

impl Drop for Version {
    fn drop(&mut self) {
        for value in self.data.iter_mut().flat_map(BTreeMap::values_mut) {
            if let serde_json::Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

impl Vault {
    pub(super) fn new(settings: VaultSettings) -> Result<Self, SecretError> {
        let agent = outgoing::agent(settings.ca_file.as_deref(), TIMEOUT, true).map_err(|e| match e {
            OutgoingError::Certificates(_) => unreadable("*", format!("{e} (`secrets.ca_file`)")),
            OutgoingError::File(e) => unreadable("*", e),
        })?;
        Ok(Vault { settings, agent })
    }

    fn unavailable(&self, path: &str, why: impl ToString) -> SecretError {
        let place = self.settings.url.clone();
        SecretError::Unavailable { path: path.to_owned(), place, why: why.to_string() }
    }
}

impl Provider for Vault {
    fn fetch(&self, path: &str) -> Result<Value, SecretError> {
        let VaultSettings { url, mount, namespace, token_file, .. } = &self.settings;
        let (at, field) = path.rsplit_once('/').unwrap_or((path, "value"));
        if fs::metadata(token_file).is_ok_and(|meta| meta.mode() & 0o077 != 0) {
            return Err(SecretError::Exposed { path: path.to_owned(), file: token_file.clone() });
        }
        let token = Zeroizing::new(files::read_text(token_file).map_err(|e| self.unavailable(path, e))?);
        let mut request = self
            .agent
            .get(format!("{}/v1/{mount}/data/{at}", url.trim_end_matches('/')))
            .header("X-Vault-Token", token.trim())
            .header("X-Vault-Request", "true");
        if let Some(namespace) = namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        let mut response = request.call().map_err(|e| self.unavailable(path, e))?;
        let place = || format!("{url} (field `{field}` of `{mount}/{at}`)");
        match response.status().as_u16() {
            200 => {}
            404 => return Err(SecretError::Missing { path: path.to_owned(), place: place() }),
            // Not the words of the answer: nobody knows what is in them.
            403 => return Err(self.unavailable(path, "the token may not read it (403)")),
            status => return Err(self.unavailable(path, format!("the answer is {status}"))),
        }
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = Zeroizing::new(body.map_err(|e| self.unavailable(path, e))?);
        let mut answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| self.unavailable(path, "the answer is not that of a KV engine, version 2"))?;
        let missing = || SecretError::Missing { path: path.to_owned(), place: place() };
        let fields = answer.data.data.as_mut().ok_or_else(missing)?;
        match fields.get_mut(field) {
            Some(serde_json::Value::String(text)) if text.is_empty() => {
                Err(unreadable(path, format!("field `{field}` of `{mount}/{at}` is empty")))
            }
            Some(serde_json::Value::String(text)) => Ok(Zeroizing::new(std::mem::take(text).into_bytes())),
            Some(serde_json::Value::Null) | None => Err(missing()),
            Some(_) => Err(unreadable(path, format!("field `{field}` of `{mount}/{at}` is not text"))),
        }
    }

    fn keep(&self) -> Duration {
        self.settings.refresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use rustls_pki_types::PrivatePkcs8KeyDer;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::path::Path;
    use std::sync::Arc;

    /// Speaks as much HTTP as a Vault does when it is asked for a secret. What it was asked goes to the channel.
    fn fake(
        dir: &Path,
        answers: Vec<(u16, &'static str)>,
    ) -> (VaultSettings, std::sync::mpsc::Receiver<Vec<String>>) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (ca_file, token_file) = (dir.join("ca.pem"), dir.join("token"));
        std::fs::write(&ca_file, cert.pem()).unwrap();
        files::write_new(&token_file, 0o600, b"hvs.token\n").unwrap();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (asked, log) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let tls = Arc::new(tls);
            for (status, body) in answers {
                let (socket, _) = listener.accept().unwrap();
                let connection = ServerConnection::new(tls.clone()).unwrap();
                let mut stream = BufReader::new(StreamOwned::new(connection, socket));
                let mut lines = Vec::new();
                loop {
                    let mut line = String::new();
                    if stream.read_line(&mut line).is_err() || line.trim().is_empty() {
                        break;
                    }
                    lines.push(line.trim().to_owned());
                }
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.get_mut().write_all(answer.as_bytes());
                let _ = stream.get_mut().flush();
                stream.get_mut().conn.send_close_notify();
                let _ = stream.get_mut().flush();
                let _ = asked.send(lines);
            }
        });
        let settings = VaultSettings {
            url,
            mount: "kv".into(),
            namespace: Some("team".into()),
            token_file,
            ca_file: Some(ca_file),
            refresh: Duration::ZERO,
        };
        (settings, log)
    }

    #[test]
    fn a_field_of_a_secret_is_fetched_with_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, log) = fake(
            dir.path(),
            vec![
                (
                    200,
                    r#"{"data": {"data": {"password": "hunter2", "port": 5}, "metadata": {"version": 3}}}"#,
                ),
                (200, r#"{"data": {"data": {"password": "hunter2", "port": 5}}}"#),
                (200, r#"{"data": {"data": {"value": "x"}}}"#),
                (200, r#"{"data": {"data": null}}"#),
            ],
        );
        let vault = Vault::new(settings).unwrap();
        assert_eq!(vault.fetch("web/db/password").unwrap().as_slice(), b"hunter2");
        let request = log.recv().unwrap();
        assert_eq!(request[0], "GET /v1/kv/data/web/db HTTP/1.1");
        for header in ["x-vault-token: hvs.token", "x-vault-namespace: team"] {
            assert!(request.iter().any(|l| l.to_ascii_lowercase() == header), "{header}: {request:?}");
        }
        let e = vault.fetch("web/db/port").unwrap_err();
        assert!(matches!(e, SecretError::Unreadable { .. }), "{e}");
        assert_eq!(vault.fetch("alone").unwrap().as_slice(), b"x");
        assert!(matches!(vault.fetch("web/db/gone"), Err(SecretError::Missing { .. })));
    }

    #[test]
    fn case_096_no_word_of_an_answer_is_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let answers = vec![
            (403, r#"{"errors": ["hunter2"]}"#),
            (503, "hunter2"),
            (200, "hunter2"),
            (200, r#"{"data": {"data": {"password": {"hunter2": 1}}}}"#),
            (404, r#"{"errors": []}"#),
            (307, "hunter2"),
        ];
        let count = answers.len();
        let (settings, _log) = fake(dir.path(), answers);
        let vault = Vault::new(settings).unwrap();
        let mut missing = 0;
        for _ in 0..count {
            let e = vault.fetch("web/password").unwrap_err();
            assert!(!e.to_string().contains("hunter"), "{e}");
            missing += usize::from(matches!(e, SecretError::Missing { .. }));
        }
        assert_eq!(missing, 1);
        let e = vault.fetch("web/password").unwrap_err();
        assert!(matches!(e, SecretError::Unavailable { .. }), "nobody answers any more: {e}");
    }

    #[test]
    fn another_ca_and_a_missing_token_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, _log) = fake(dir.path(), vec![(200, "{}")]);
        let other = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let ca_file = dir.path().join("other.pem");
        std::fs::write(&ca_file, other.cert.pem()).unwrap();
        let vault = Vault::new(VaultSettings { ca_file: Some(ca_file), ..settings.clone() }).unwrap();
        assert!(matches!(vault.fetch("a"), Err(SecretError::Unavailable { .. })));
        let gone =
            Vault::new(VaultSettings { token_file: dir.path().join("none"), ..settings.clone() }).unwrap();
        assert!(gone.fetch("a").unwrap_err().to_string().contains("none"));
        std::fs::write(dir.path().join("empty.pem"), "").unwrap();
        let empty = VaultSettings { ca_file: Some(dir.path().join("empty.pem")), ..settings };
        assert!(Vault::new(empty).unwrap_err().to_string().contains("no certificates"));
    }
}
