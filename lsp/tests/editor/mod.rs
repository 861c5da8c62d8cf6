//! An editor that a test drives: it starts the real program and speaks with it over pipes.
#![allow(dead_code, reason = "each program that includes it uses a part of it")]

use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longer than anything takes on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Editor {
    child: Child,
    to: Option<ChildStdin>,
    from: mpsc::Receiver<Value>,
    waiting: VecDeque<Value>,
    next: i64,
    versions: BTreeMap<String, i32>,
    texts: BTreeMap<String, String>,
    pub capabilities: Value,
}

/// What a modern editor can do.
pub fn modern() -> Value {
    json!({
        "general": { "positionEncodings": ["utf-16"] },
        "textDocument": {
            "completion": { "completionItem": { "snippetSupport": true } },
            "documentSymbol": { "hierarchicalDocumentSymbolSupport": true },
            "codeAction": {
                "dataSupport": true, "disabledSupport": true, "resolveSupport": { "properties": ["edit"] },
            },
            "inlayHint": { "resolveSupport": { "properties": ["tooltip"] } },
        },
        "workspace": {
            "workspaceEdit": { "documentChanges": true, "resourceOperations": ["rename", "create", "delete"] },
            "configuration": true,
            "didChangeWatchedFiles": { "dynamicRegistration": true },
            "didChangeConfiguration": { "dynamicRegistration": true },
            "symbol": { "resolveSupport": { "properties": ["location.range"] } },
            "inlayHint": { "refreshSupport": true },
            "codeLens": { "refreshSupport": true },
        },
        "window": { "workDoneProgress": true },
    })
}

impl Editor {
    pub fn start(capabilities: Value, options: Value) -> Editor {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vigo-lsp"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take(), child.stdout.take().unwrap());
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            while let Some(message) = read(&mut from) {
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut editor = Editor {
            child,
            to,
            from: receive,
            waiting: VecDeque::new(),
            next: 1,
            versions: BTreeMap::new(),
            texts: BTreeMap::new(),
            capabilities: Value::Null,
        };
        let params = json!({
            "processId": null,
            "rootUri": null,
            "capabilities": capabilities,
            "initializationOptions": options,
            "clientInfo": { "name": "Visual Studio Code" },
        });
        editor.capabilities = editor.ask("initialize", params)["capabilities"].clone();
        editor.notify("initialized", json!({}));
        editor
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        let to = self.to.as_mut().unwrap();
        write!(to, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        to.flush().unwrap();
    }

    pub fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a request; its number.
    pub fn request(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next;
        self.next += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// The whole answer to a request.
    pub fn answer(&mut self, id: i64) -> Value {
        self.wait("an answer", |m| m["id"] == id && m.get("method").is_none())
    }

    /// The result of a request, which must not fail.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        let answer = self.answer(id);
        assert!(answer.get("error").is_none(), "{method}: {answer:#}");
        answer["result"].clone()
    }

    /// What a request is answered without its details, with them.
    pub fn resolved(&mut self, method: &str, found: &Value) -> Vec<Value> {
        found.as_array().unwrap().iter().map(|item| self.ask(method, item.clone())).collect()
    }

    /// The message of the error of a request, which must fail.
    pub fn refused(&mut self, method: &str, params: Value) -> String {
        let id = self.request(method, params);
        let answer = self.answer(id);
        answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{method}: {answer:#}")).to_owned()
    }

    /// The next message that is wanted; what comes before it is kept, and what the server asks is answered.
    pub fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(at).unwrap();
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = self.from.recv_timeout(left).unwrap_or_else(|e| panic!("waiting for {what}: {e}"));
            if message.get("id").is_some() && message.get("method").is_some() {
                let result = match message["method"].as_str() {
                    Some("workspace/configuration") => json!([null]),
                    _ => Value::Null,
                };
                self.send(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }));
            }
            if wanted(&message) {
                return message;
            }
            self.waiting.push_back(message);
        }
    }

    /// The diagnostics of a document in the version that was sent last, as `code: message`.
    pub fn diagnostics(&mut self, path: &Path) -> Vec<Value> {
        let uri = uri(path);
        let version = self.versions.get(&uri).copied();
        let message = self.wait("diagnostics", |m| {
            let of = m["method"] == "textDocument/publishDiagnostics" && m["params"]["uri"] == uri;
            of && version.is_none_or(|v| m["params"]["version"] == v)
        });
        message["params"]["diagnostics"].as_array().unwrap().clone()
    }

    /// The next diagnostics of a file that satisfy a condition: an edit elsewhere may be what changes them.
    pub fn diagnostics_until(&mut self, path: &Path, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let uri = uri(path);
        let message = self.wait("other diagnostics", |m| {
            let of = m["method"] == "textDocument/publishDiagnostics" && m["params"]["uri"] == uri;
            of && wanted(m["params"]["diagnostics"].as_array().unwrap())
        });
        message["params"]["diagnostics"].as_array().unwrap().clone()
    }

    pub fn open(&mut self, path: &Path, text: &str) {
        let uri = uri(path);
        self.versions.insert(uri.clone(), 1);
        self.texts.insert(uri.clone(), text.to_owned());
        let document = json!({ "uri": uri, "languageId": "vgo", "version": 1, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": document }));
    }

    pub fn close(&mut self, path: &Path) {
        let uri = uri(path);
        self.versions.remove(&uri);
        self.notify("textDocument/didClose", json!({ "textDocument": { "uri": uri } }));
    }

    /// Replaces the first occurrence of a text in an open document, as an editor does: by its range.
    pub fn replace(&mut self, path: &Path, old: &str, new: &str) {
        let uri = uri(path);
        let text = self.texts.get_mut(&uri).unwrap();
        let at = text.find(old).unwrap_or_else(|| panic!("no `{old}` in {text}"));
        let range = json!({ "start": position(text, at), "end": position(text, at + old.len()) });
        text.replace_range(at..at + old.len(), new);
        let version = self.versions.get_mut(&uri).unwrap();
        *version += 1;
        let document = json!({ "uri": uri, "version": *version });
        let change = json!([{ "range": range, "text": new }]);
        self.notify("textDocument/didChange", json!({ "textDocument": document, "contentChanges": change }));
    }

    /// Types at a position of an open document, without looking for it.
    pub fn insert(&mut self, path: &Path, at: Value, new: &str) {
        let uri = uri(path);
        let version = self.versions.get_mut(&uri).unwrap();
        *version += 1;
        let document = json!({ "uri": uri, "version": *version });
        let change = json!([{ "range": { "start": at, "end": at }, "text": new }]);
        self.notify("textDocument/didChange", json!({ "textDocument": document, "contentChanges": change }));
    }

    /// The memory of the server in KiB, now and at most so far.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let of = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// What a request about a position has: the place of `$0` in `mark`, which is found without it.
    pub fn at(&self, path: &Path, mark: &str) -> Value {
        let uri = uri(path);
        let text = self.texts.get(&uri).cloned().unwrap_or_else(|| std::fs::read_to_string(path).unwrap());
        let cursor = mark.find("$0").unwrap();
        let found = text.find(&mark.replace("$0", "")).unwrap_or_else(|| panic!("no `{mark}` in {text}"));
        json!({ "textDocument": { "uri": uri }, "position": position(&text, found + cursor) })
    }

    pub fn text(&self, path: &Path) -> String {
        self.texts[&uri(path)].clone()
    }

    pub fn kill_pipes(&mut self) {
        self.to = None;
    }

    /// Says goodbye; how the program ends.
    pub fn quit(mut self) -> ExitStatus {
        self.ask("shutdown", Value::Null);
        self.notify("exit", Value::Null);
        self.ended()
    }

    pub fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the server goes on without an editor");
            std::thread::yield_now();
        }
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(from: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(n) = line.trim().strip_prefix("Content-Length: ") {
            length = n.parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

pub fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// In UTF-16 units.
pub fn position(text: &str, at: usize) -> Value {
    let head = &text[..at];
    let line = head.matches('\n').count();
    let start = head.rfind('\n').map_or(0, |n| n + 1);
    json!({ "line": line, "character": head[start..].encode_utf16().count() })
}

/// A copy of the example policy.
pub fn acme() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap().join("acme");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/acme"), &root);
    (dir, root)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}
