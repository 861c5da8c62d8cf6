//! Fetching a file over HTTPS: who answers is verified, what comes is bounded and hashed.

use super::{Desired, ResourceError};
use crate::limit;
use crate::root::{ManagedPath, Root};
use crate::text::{bounded, printable};
use backon::{BlockingRetryable, ExponentialBuilder};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// What others are asked, besides the first time.
const RETRIES: usize = 3;
/// A file of CAs.
const MAX_CA: u64 = 4 << 20;
const MAX_REDIRECTS: u32 = 5;

/// What to fetch.
#[derive(Debug)]
pub(super) struct Fetch {
    /// Of https, without a password in it.
    pub url: String,
    /// Whom to trust instead of the CAs of the system.
    ca: Option<ManagedPath>,
    /// Bytes at most.
    limit: u64,
    /// For each attempt.
    timeout: Duration,
    /// What it has to be, in lower-case hexadecimal.
    pub sha256: Option<String>,
}

impl Fetch {
    /// From `url`, `ca`, `max_size`, `timeout` and `sha256`.
    pub fn of(desired: &Desired) -> Result<Self, ResourceError> {
        let url = desired.required("url")?;
        let invalid = |why: &str| ResourceError::Invalid { name: "url", why: why.to_owned() };
        let rest = url.strip_prefix("https://").ok_or_else(|| invalid("has to begin with `https://`"))?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() || url.len() > 8192 || url.chars().any(|c| c.is_control() || c == ' ') {
            return Err(invalid("is not a url"));
        }
        if authority.contains('@') {
            return Err(invalid("has a user or password in it, which everybody who sees the url would read"));
        }
        Ok(Fetch {
            url: url.to_owned(),
            ca: desired.path("ca")?,
            limit: desired.size("max_size")?,
            timeout: desired.duration("timeout")?,
            sha256: sha256(desired)?,
        })
    }

    fn failed(&self, why: impl Into<String>) -> ResourceError {
        let why: String = why.into();
        ResourceError::Fetch { url: printable(bounded(&self.url, 500)), why: printable(bounded(&why, 500)) }
    }

    /// Writes it to a file, from its beginning, and checks its hash. Tries again where that may help.
    pub fn run(&self, root: &Root, file: &mut File) -> Result<(), ResourceError> {
        let agent = self.agent(root)?;
        let mut attempt = || self.attempt(&agent, file);
        let often = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Duration::from_secs(10))
            .with_max_times(RETRIES)
            .with_jitter();
        (&mut attempt)
            .retry(often)
            .when(|stop| stop.again && !limit::is_over())
            .call()
            .map_err(|stop| stop.error)
    }

    fn agent(&self, root: &Root) -> Result<ureq::Agent, ResourceError> {
        let roots: Vec<CertificateDer<'static>> = match &self.ca {
            Some(path) => {
                let pem = root.read_text(path, MAX_CA);
                let found =
                    pem.as_deref().map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()).collect());
                match found {
                    Some(Ok(found)) if !Vec::is_empty(&found) => found,
                    _ => {
                        let why = format!("{path} holds no certificates in PEM");
                        return Err(ResourceError::Invalid { name: "ca", why });
                    }
                }
            }
            None => rustls_native_certs::load_native_certs().certs,
        };
        if roots.is_empty() {
            return Err(self.failed(
                "this host trusts no CA at all; install its package of CA certificates, or give `ca`",
            ));
        }
        let roots: Vec<Certificate<'static>> =
            roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(MAX_REDIRECTS)
            .user_agent(concat!("vigo/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(config.new_agent())
    }

    fn attempt(&self, agent: &ureq::Agent, file: &mut File) -> Result<(), Stop> {
        let again = |why: String| Stop { error: self.failed(why), again: true };
        let never = |why: String| Stop { error: self.failed(why), again: false };
        let disk = |e: std::io::Error| never(format!("cannot write it: {e}"));
        file.set_len(0).and_then(|()| file.rewind()).map_err(disk)?;
        let request =
            agent.get(&self.url).config().timeout_global(Some(limit::at_most(self.timeout))).build();
        let answer = request.call().map_err(|e| {
            let why = e.to_string();
            // Whom we do not trust now, we do not trust in a second.
            match why.contains("certificate")
                || matches!(e, ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_))
            {
                true => never(why),
                false => again(why),
            }
        })?;
        let status = answer.status();
        if !status.is_success() {
            let why = format!("the server answered {status}");
            let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
            return Err(if passing { again(why) } else { never(why) });
        }
        let too_large = || never(format!("it is larger than `max_size`, {} bytes", self.limit));
        let (_, body) = answer.into_parts();
        if body.content_length().is_some_and(|length| length > self.limit) {
            return Err(too_large());
        }
        let mut reader = body.into_with_config().limit(u64::MAX).reader();
        let (mut buffer, mut size, mut hash) = (vec![0; 64 << 10], 0u64, Sha256::new());
        loop {
            let count = reader.read(&mut buffer).map_err(|e| again(e.to_string()))?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            size = size.saturating_add(count as u64);
            if size > self.limit {
                return Err(too_large());
            }
            hash.update(bytes);
            file.write_all(bytes).map_err(disk)?;
        }
        match &self.sha256 {
            Some(want) if *want != hex(&hash.finalize()) => {
                Err(never("its SHA-256 is not the one that is declared".into()))
            }
            _ => Ok(()),
        }
    }
}

/// Why an attempt failed, and whether another one makes sense.
struct Stop {
    error: ResourceError,
    again: bool,
}

/// The attribute `sha256`.
pub(super) fn sha256(desired: &Desired) -> Result<Option<String>, ResourceError> {
    let Some(text) = desired.text("sha256")? else { return Ok(None) };
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        let why = "is not a SHA-256: 64 hexadecimal digits".to_owned();
        return Err(ResourceError::Invalid { name: "sha256", why });
    }
    Ok(Some(text.to_ascii_lowercase()))
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn hash_of(root: &Root, path: &ManagedPath) -> Result<String, ResourceError> {
    let (mut file, _) = root.read(path)?;
    hash_file(&mut file).map_err(|e| {
        crate::root::FsError {
            action: "read",
            path: printable(&path.to_string()),
            errno: e.raw_os_error().map_or(nix::errno::Errno::EIO, nix::errno::Errno::from_raw),
        }
        .into()
    })
}

pub(super) fn hash_file(file: &mut File) -> std::io::Result<String> {
    let (mut buffer, mut hash) = (vec![0; 64 << 10], Sha256::new());
    loop {
        let count = file.read(&mut buffer)?;
        match buffer.get(..count) {
            Some(bytes) if !bytes.is_empty() => hash.update(bytes),
            _ => return Ok(hex(&hash.finalize())),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
pub(super) mod testing {
    //! A server that answers what it is told to, over TLS, with a CA of its own.

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    /// Answers by path: status line and body.
    type Answers = Arc<Mutex<Vec<(&'static str, &'static str, Vec<u8>)>>>;

    pub struct Server {
        pub url: String,
        pub ca_pem: String,
        pub asked: Arc<AtomicUsize>,
    }

    impl Server {
        pub fn start(answers: Vec<(&'static str, &'static str, Vec<u8>)>) -> Server {
            let ca_key = KeyPair::generate().unwrap();
            let mut ca = CertificateParams::new(vec![]).unwrap();
            ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
            let issuer = Issuer::new(ca, ca_key);
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec!["localhost".to_owned()])
                .unwrap()
                .signed_by(&key, &issuer)
                .unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![certificate.der().clone()],
                    rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
                )
                .unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
            let asked = Arc::new(AtomicUsize::new(0));
            let answers = Arc::new(Mutex::new(answers));
            let (config, count, table) = (Arc::new(config), asked.clone(), answers);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let tls = ServerConnection::new(config.clone()).unwrap();
                    serve(StreamOwned::new(tls, stream), &count, &table);
                }
            });
            Server { url, ca_pem, asked }
        }
    }

    fn serve(
        mut stream: StreamOwned<ServerConnection, std::net::TcpStream>,
        asked: &AtomicUsize,
        answers: &Answers,
    ) {
        let (mut request, mut byte) = (Vec::new(), [0]);
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => request.push(byte[0]),
                _ => return,
            }
        }
        asked.fetch_add(1, Ordering::SeqCst);
        let request = String::from_utf8_lossy(&request).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let mut all = answers.lock().unwrap();
        let at = all.iter().position(|(p, ..)| *p == path);
        let (status, body) = match at {
            // The last answer of a path stays.
            Some(at) if all.iter().filter(|(p, ..)| *p == path).count() > 1 => {
                let (_, status, body) = all.remove(at);
                (status, body)
            }
            Some(at) => (all[at].1, all[at].2.clone()),
            None => ("404 Not Found", Vec::new()),
        };
        drop(all);
        let head = match status.strip_prefix("302 ") {
            Some(to) => format!(
                "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ),
            None => {
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())
            }
        };
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
}
