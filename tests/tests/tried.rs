//! The example of every resource type that is about files, applied to real ones: once, again with nothing left to do, and
//! after something was changed from outside.
//!
//! What is applied is the text that the reference shows. `tests/tried/TYPE.sh` has what a host needs before it (`prepare`), and
//! what somebody does to it afterwards (`drift`), in the root directory. Every resource of an example changes in the first run
//! and is put right after the drift. Types that are about the machine are applied by `tests/real/run` and
//! `tests/real/systemd`, which use the same scripts.
//!
//! `download` and `archive` fetch from the host that their example names, through a proxy that answers in its place. `git`
//! is the one example that is altered: its repository is a directory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use compiler::schema::{ResourceType, Tried, schema};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use vigo_tests::processes::{binary, text};

/// What the web has.
const SITE: &[(&str, &str, &[u8])] = &[
    ("downloads.example.com", "/tool-1.4.2-linux-amd64", b"hello"),
    ("downloads.example.com", "/app-1.4.2.tar.gz", include_bytes!("../tried/app-1.4.2.tar.gz")),
];
const REPOSITORY: &str = "https://github.com/example/app.git";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tried").join(format!("{name}.sh"))
}

/// Where this fails for a new type: it needs `tests/tried/TYPE.sh` with the functions `prepare` and `drift`.
#[test]
fn every_type_has_a_drift_and_every_drift_a_type() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tried");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut scripts: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|end| end == "sh"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    scripts.sort();
    assert_eq!(scripts, schema().types.keys().map(|name| name.to_string()).collect::<Vec<_>>());
    for name in scripts {
        let text = fs::read_to_string(script(&name)).unwrap();
        for function in ["\nprepare() ", "\ndrift() "] {
            assert!(
                format!("\n{text}").contains(function),
                "tests/tried/{name}.sh has no `{}`",
                function.trim()
            );
        }
        assert!(!text.contains("drift() { :; }"), "tests/tried/{name}.sh changes nothing");
    }
}

/// What the scripts of the real ones pick from the library, without a compiler.
#[test]
fn the_machine_is_where_the_library_says() {
    for (name, ty) in &schema().types {
        let path = format!("{}/../stdlib/types/{name}.vgo", env!("CARGO_MANIFEST_DIR"));
        let written = fs::read_to_string(path).unwrap();
        assert!(written.contains(&format!("\ntried: {}\n", ty.tried.name())), "{name}");
    }
}

#[test]
fn every_example_about_files_is_applied_found_as_it_is_and_put_right_after_drift() {
    let dir = tempfile::tempdir().unwrap();
    let web = Web::start(dir.path());
    let repository = repository(dir.path());
    let types: Vec<&ResourceType> = schema().types.values().filter(|ty| ty.tried == Tried::Files).collect();
    let bundles = compiled(dir.path(), &types, &repository);
    let mut wrong = Vec::new();
    for ty in types {
        let host = Host { name: host_of(&ty.name), root: dir.path().join("root").join(&*ty.name), web: &web };
        fs::create_dir_all(&host.root).unwrap();
        if let Err(error) = host.tries(&ty.name, &bundles) {
            wrong.push(format!("{}: {error}", ty.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn host_of(kind: &str) -> String {
    format!("{}.test", kind.replace('_', "-"))
}

/// What `vigoc build` makes of the examples: a module and a host for each.
fn compiled(dir: &Path, types: &[&ResourceType], repository: &Path) -> PathBuf {
    let (policy, fleet, out) = (dir.join("policy"), dir.join("fleet.jsonl"), dir.join("bundles"));
    fs::create_dir_all(policy.join("modules")).unwrap();
    let (mut nodes, mut hosts) = ("nodes:\n".to_owned(), String::new());
    for ty in types {
        let resources: String = ty.example.lines().map(|line| format!("  {line}\n")).collect();
        let resources = resources.replace(REPOSITORY, repository.to_str().unwrap());
        let (name, host) = (&ty.name, host_of(&ty.name));
        fs::write(
            policy.join(format!("modules/{name}.vgo")),
            format!("name: {name}\nresources:\n{resources}"),
        )
        .unwrap();
        nodes.push_str(&format!("  - match: {host}\n    modules: [{name}]\n"));
        hosts.push_str(&format!("{{\"hostname\": \"{host}\", \"traits\": {{}}}}\n"));
    }
    fs::write(policy.join("nodes.vgo"), nodes).unwrap();
    fs::write(&fleet, hosts).unwrap();
    let built = Command::new(binary("vigoc"))
        .arg("build")
        .arg(&policy)
        .arg("--fleet")
        .arg(&fleet)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", text(&built.stderr));
    out
}

struct Host<'a> {
    name: String,
    root: PathBuf,
    web: &'a Web,
}

impl Host<'_> {
    fn tries(&self, kind: &str, bundles: &Path) -> Result<(), String> {
        self.sh(kind, "prepare")?;
        self.apply(bundles, "at first", 2, "0 ok, ")?;
        self.apply(bundles, "again", 0, "")?;
        self.sh(kind, "drift")?;
        self.apply(bundles, "after drift", 2, "0 ok, ")?;
        self.apply(bundles, "at last", 0, "")
    }

    fn sh(&self, kind: &str, function: &str) -> Result<(), String> {
        let line = format!("set -e; . {}; {function}", script(kind).display());
        let ran = Command::new("sh").args(["-c", &line]).current_dir(&self.root).output().unwrap();
        match ran.status.success() {
            true => Ok(()),
            false => Err(format!("{function}: {}", text(&ran.stderr))),
        }
    }

    /// A run that ends with this code, and in which all resources are as it says.
    fn apply(&self, bundles: &Path, when: &str, code: i32, start: &str) -> Result<(), String> {
        let ran = Command::new(binary("vigo"))
            .arg("--root")
            .arg(&self.root)
            .args(["apply", "--detailed-exitcode", "--envoy", &self.name])
            .arg(bundles)
            .env("HTTPS_PROXY", &self.web.proxy)
            .env("SSL_CERT_FILE", &self.web.ca)
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .output()
            .unwrap();
        let said = text(&ran.stdout) + &text(&ran.stderr);
        let summary = said.lines().rev().find(|line| line.contains(" ok, ")).unwrap_or_default();
        let end =
            if code == 0 { " ok, 0 changed, 0 failed, 0 skipped" } else { " changed, 0 failed, 0 skipped" };
        if ran.status.code() == Some(code) && summary.starts_with(start) && summary.contains(end) {
            return Ok(());
        }
        Err(format!("{when}: ended with {:?}\n{said}", ran.status.code()))
    }
}

/// A repository with two commits, of which the second has the tag of the example.
fn repository(dir: &Path) -> PathBuf {
    let git = dir.join("app.git");
    let line = "git init --quiet --initial-branch=main . && git config user.name App && git config user.email app@example.com && \
                echo one >README && git add README && git commit --quiet -m one && \
                echo two >README && git commit --quiet -am two && git tag v1.4.2 && git commit --quiet --allow-empty -m three";
    fs::create_dir(&git).unwrap();
    let made = Command::new("sh").args(["-c", line]).current_dir(&git).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    git
}

/// A proxy in whose place the hosts of [`SITE`] answer, over TLS, with a CA of their own.
struct Web {
    proxy: String,
    ca: PathBuf,
}

impl Web {
    fn start(dir: &Path) -> Web {
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = dir.join("ca.pem");
        fs::write(&ca, params.self_signed(&ca_key).unwrap().pem()).unwrap();
        let (issuer, key) = (Issuer::new(params, ca_key), KeyPair::generate().unwrap());
        let mut names: Vec<String> = SITE.iter().map(|(host, ..)| (*host).to_owned()).collect();
        names.dedup();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
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
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &config);
            }
        });
        Web { proxy, ca }
    }
}

/// The first line of a request, and what it says is the host.
fn request(stream: &mut impl Read) -> Option<(String, String)> {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let request = text(&request);
    let host = request.lines().find_map(|line| line.to_lowercase().strip_prefix("host:").map(str::to_owned));
    Some((request.lines().next()?.to_owned(), host?.trim().to_owned()))
}

fn answer(mut stream: TcpStream, config: &Arc<ServerConfig>) {
    let Some((line, _)) = request(&mut stream) else { return };
    if !line.starts_with("CONNECT ") || stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").is_err() {
        return;
    }
    let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
    let Some((line, host)) = request(&mut stream) else { return };
    let path = line.split(' ').nth(1).unwrap_or_default();
    let found = SITE.iter().find(|(name, at, _)| *name == host && *at == path);
    let (status, body) = found.map_or(("404 Not Found", &b""[..]), |(_, _, body)| ("200 OK", body));
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // Who hung up has no use for it.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    stream.conn.send_close_notify();
    let _ = stream.flush();
}
