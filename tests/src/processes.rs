//! Real `vigosrv` and `vigo` processes on directories of their own.
#![allow(clippy::expect_used, reason = "the harness of tests: a failing step fails the test")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A binary of the workspace. Built on first use, so that a lone `cargo test` finds what it tests.
///
/// # Panics
/// When it cannot be built.
pub fn binary(name: &str) -> PathBuf {
    // For comparing builds: programs that somebody else made.
    if let Some(folder) = std::env::var_os("VIGO_BIN_DIR") {
        return Path::new(&folder).join(name);
    }
    static BUILT: Mutex<bool> = Mutex::new(false);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let exe = std::env::current_exe().expect("the path of the test");
    let folder = exe.parent().expect("a folder");
    let profile = if folder.ends_with("deps") { folder.parent().expect("target/<profile>") } else { folder };
    let profile = profile.to_owned();
    if !*built {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--workspace", "--bins"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.file_name().is_some_and(|n| n == "release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo runs").success(), "the binaries do not build");
        *built = true;
    }
    profile.join(name)
}

/// A server with a configuration, a policy and a log of its own.
pub struct Server {
    /// Holds server.yaml, tls/, policy/ and the database.
    pub dir: PathBuf,
    /// `127.0.0.1:port`
    pub address: String,
    /// `https://127.0.0.1:port`
    pub url: String,
    /// What `init` printed.
    pub ca_hash: String,
    /// How long a line of the log is waited for; half a minute unless somebody says so.
    pub patience: Duration,
    process: Option<Child>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `vigosrv init`, a free port and a policy of the given files; not started yet.
    ///
    /// # Panics
    /// When anything of it fails.
    pub fn init(dir: &Path, policy: &[(&str, &str)]) -> Server {
        Self::init_with(dir, policy, &[])
    }

    /// As [`init`](Self::init), with more arguments for `vigosrv init`.
    ///
    /// # Panics
    /// When anything of it fails.
    pub fn init_with(dir: &Path, policy: &[(&str, &str)], arguments: &[&str]) -> Server {
        let dir = dir.join("server");
        let init = Command::new(binary("vigosrv"))
            .args(["init", "--hostname", "localhost,127.0.0.1", "--dir"])
            .arg(&dir)
            .args(arguments)
            .output()
            .expect("vigosrv runs");
        assert!(init.status.success(), "{init:?}");
        let free =
            || std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let (grpc, http) = (free(), free());
        let server = Server {
            dir,
            address: grpc.to_string(),
            url: format!("https://{http}"),
            ca_hash: text(&init.stdout).trim().to_owned(),
            process: None,
            log: Arc::default(),
            patience: Duration::from_secs(30),
        };
        server.configure("0.0.0.0:1530", &server.address);
        server.configure("0.0.0.0:8443", &http.to_string());
        for (path, content) in policy {
            server.write_policy(path, content);
        }
        server
    }

    /// Replaces text in server.yaml.
    ///
    /// # Panics
    /// When the text is not there.
    pub fn configure(&self, from: &str, to: &str) {
        let path = self.dir.join("server.yaml");
        let text = std::fs::read_to_string(&path).expect("server.yaml");
        assert!(text.contains(from), "{from} is not in {text}");
        std::fs::write(&path, text.replace(from, to)).expect("server.yaml");
    }

    /// Writes a file of the policy.
    ///
    /// # Panics
    /// When it cannot.
    pub fn write_policy(&self, path: &str, content: &str) {
        let path = self.dir.join("policy").join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("the folder");
        std::fs::write(path, content).expect("the file");
    }

    /// Starts `vigosrv run` and waits until it serves a release.
    ///
    /// # Panics
    /// When it does not within [`patience`](Self::patience).
    pub fn start(&mut self) {
        self.start_until("release served");
    }

    /// Starts `vigosrv run` and waits for a line of its log that has this text.
    ///
    /// # Panics
    /// When there is none within [`patience`](Self::patience).
    pub fn start_until(&mut self, text: &str) {
        let mut process = Command::new(binary("vigosrv"))
            .args(["run", "--config"])
            .arg(self.dir.join("server.yaml"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("vigosrv runs");
        let stderr = process.stderr.take().expect("stderr");
        let (log, from) = (Arc::clone(&self.log), self.log().len());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        self.process = Some(process);
        self.wait_for_log(from, text);
    }

    /// The id of its process while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// What it logged so far, over all starts.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first line from `from` on that has this text.
    ///
    /// # Panics
    /// When there is none within [`patience`](Self::patience).
    pub fn wait_for_log(&self, from: usize, text: &str) -> String {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(line) = self.log()[from..].iter().find(|l| l.contains(text)) {
                return line.clone();
            }
            assert!(Instant::now() < deadline, "no `{text}` in {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to stop, and waits; it has to exit with 0.
    ///
    /// # Panics
    /// When it does not.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let asked = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().expect("kill");
        assert!(asked.success());
        let status = process.wait().expect("the server ends");
        assert!(status.success(), "{status}: {:#?}", self.log());
    }

    /// Ends it as a power cut would.
    ///
    /// # Panics
    /// When it cannot.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.kill().expect("kill -9");
        process.wait().expect("the server ends");
    }

    /// A further server of the same cluster, with a directory and a port of its own; not started yet. It makes sense
    /// on PostgreSQL.
    ///
    /// # Panics
    /// When its directory cannot be made.
    pub fn beside(&self) -> Server {
        let dir = self.dir.with_file_name("server-2");
        let copied = Command::new("cp").arg("-a").arg(&self.dir).arg(&dir).status().expect("cp runs");
        assert!(copied.success(), "the directory of the server is copied");
        let free =
            || std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let (grpc, http) = (free(), free());
        let (address, url) = (grpc.to_string(), format!("https://{http}"));
        let other = Server {
            dir,
            address,
            url,
            ca_hash: self.ca_hash.clone(),
            patience: self.patience,
            process: None,
            log: Arc::default(),
        };
        other.configure(&self.address, &other.address);
        other.configure(self.url.trim_start_matches("https://"), &http.to_string());
        other
    }

    /// Runs `vigosrv` on this server's configuration.
    ///
    /// # Panics
    /// When it fails.
    pub fn command(&self, args: &[&str]) -> String {
        self.command_with_input(args, "")
    }

    /// The same, with text on its standard input.
    ///
    /// # Panics
    /// When it fails.
    pub fn command_with_input(&self, args: &[&str], input: &str) -> String {
        let mut vigosrv = Command::new(binary("vigosrv"))
            .args(args)
            .arg("--config")
            .arg(self.dir.join("server.yaml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("vigosrv runs");
        if let Some(mut stdin) = vigosrv.stdin.take() {
            // it may have ended without reading
            let _ = stdin.write_all(input.as_bytes());
        }
        let out = vigosrv.wait_with_output().expect("vigosrv ends");
        assert!(out.status.success(), "{args:?}: {out:?}");
        text(&out.stdout)
    }

    /// Runs `vigocli` on this server, as whoever has that API token.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn vigocli(&self, token: &str, args: &[&str]) -> Output {
        self.vigocli_with_input(token, args, "")
    }

    /// The same, with text on its standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn vigocli_with_input(&self, token: &str, args: &[&str], input: &str) -> Output {
        let mut vigocli = Command::new(binary("vigocli"))
            .args(["--server", &self.url, "--ca"])
            .arg(self.dir.join("tls/ca.pem"))
            .args(args)
            .env("VIGO_TOKEN", token)
            .env_remove("VIGO_TOKEN_FILE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("vigocli runs");
        if let Some(mut stdin) = vigocli.stdin.take() {
            // it may have ended without reading
            let _ = stdin.write_all(input.as_bytes());
        }
        vigocli.wait_with_output().expect("vigocli ends")
    }

    /// A fresh enrolment token.
    pub fn token(&self) -> String {
        self.command(&["token", "create"]).trim().to_owned()
    }

    /// What is stored of the runs of a host, oldest first.
    pub fn runs(&self, host: &str) -> Vec<Value> {
        let json = self.command(&["runs", host, "--format", "json", "--limit", "100"]);
        let document: Value = serde_json::from_str(&json).expect("JSON");
        let mut runs = document["runs"].as_array().cloned().unwrap_or_default();
        runs.reverse();
        runs
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A host below a directory.
pub struct Host {
    /// Its `--root`.
    pub root: PathBuf,
    /// The name it goes by.
    pub name: String,
}

impl Host {
    /// An empty host.
    pub fn new(dir: &Path, name: &str) -> Host {
        let root = dir.join(name);
        std::fs::create_dir_all(&root).expect("the root");
        Host { root, name: name.to_owned() }
    }

    /// Runs `vigo`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn vigo(&self, args: &[&str]) -> Output {
        Command::new(binary("vigo"))
            .arg("--root")
            .arg(&self.root)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("vigo runs")
    }

    /// Enrols with a server.
    pub fn enroll(&self, address: &str, token: &str, ca_hash: &str) -> Output {
        self.vigo(&[
            "enroll",
            "--server",
            address,
            "--token",
            token,
            "--ca-hash",
            ca_hash,
            "--hostname",
            &self.name,
        ])
    }

    /// `vigo run --once`; the exit code and both outputs.
    pub fn run(&self) -> (i32, String) {
        let out = self.vigo(&["run", "--once"]);
        (out.status.code().unwrap_or(-1), text(&out.stdout) + &text(&out.stderr))
    }

    /// `vigo status --format json`
    ///
    /// # Panics
    /// When it is no JSON.
    pub fn status(&self) -> Value {
        serde_json::from_slice(&self.vigo(&["status", "--format", "json"]).stdout).expect("JSON")
    }

    /// A managed file.
    pub fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(path.trim_start_matches('/'))).ok()
    }

    /// Changes a managed file behind Vigo's back.
    ///
    /// # Panics
    /// When it cannot.
    pub fn write(&self, path: &str, content: &str) {
        std::fs::write(self.root.join(path.trim_start_matches('/')), content).expect("the file");
    }
}

/// A load balancer: every connection goes to the next of the addresses, or to the one after it when nobody is there.
///
/// # Panics
/// When there is no port for it.
pub fn balance(addresses: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let front = listener.local_addr().expect("its address").to_string();
    std::thread::spawn(move || {
        for (turn, client) in listener.incoming().map_while(Result::ok).enumerate() {
            let next = addresses.iter().cycle().skip(turn % addresses.len()).take(addresses.len());
            let Some(server) = next.filter_map(|address| TcpStream::connect(address).ok()).next() else {
                continue;
            };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { continue };
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    front
}

/// An agent that stays: `vigo run`.
pub struct Daemon {
    process: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    /// Starts it on a host that is enrolled.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(host: &Host) -> Daemon {
        let mut process = Command::new(binary("vigo"))
            .arg("--root")
            .arg(&host.root)
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("vigo runs");
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let (stderr, lines) = (process.stderr.take().expect("stderr"), log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Daemon { process, log }
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The process that speaks with the server for it, if there is one.
    pub fn speaker(&self) -> Option<u32> {
        let field = |pid: u32, at: usize| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name before may have anything in it.
            stat.rsplit_once(") ")?.1.split(' ').nth(at).map(str::to_owned)
        };
        let all = std::fs::read_dir("/proc").expect("/proc");
        let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let mine = |pid: &u32| field(*pid, 1) == Some(self.pid().to_string());
        let alive = |pid: &u32| field(*pid, 0).is_some_and(|state| state != "Z");
        let talks = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(b"talk".as_slice())
        };
        pids.filter(mine).filter(alive).find(talks)
    }

    /// What it logged.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a line of its log has this text.
    ///
    /// # Panics
    /// When there is none within [`patience`](Self::patience).
    pub fn wait_for_log(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.log().iter().any(|l| l.contains(text)) {
            assert!(Instant::now() < deadline, "no `{text}` in {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to stop, and waits; it has to exit with 0.
    ///
    /// # Panics
    /// When it does not.
    pub fn stop(mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
        let status = self.process.wait().expect("the agent ends");
        assert!(status.success(), "{status}: {:#?}", self.log());
    }
}

impl Drop for Daemon {
    /// As SIGKILL does.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
