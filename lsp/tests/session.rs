//! A whole session of an editor, over a pipe, message by message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};

struct Editor {
    to: WriteHalf<DuplexStream>,
    from: BufReader<ReadHalf<DuplexStream>>,
}

impl Editor {
    async fn start() -> Editor {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (input, output) = tokio::io::split(theirs);
        tokio::spawn(lsp::serve(input, output));
        let (from, to) = tokio::io::split(ours);
        let mut editor = Editor { to, from: BufReader::new(from) };
        editor
            .send(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"capabilities": {}}}))
            .await;
        let reply = editor.receive().await;
        assert_eq!(reply["result"]["capabilities"]["positionEncoding"], "utf-16");
        editor.notify("initialized", json!({})).await;
        editor
    }

    async fn send(&mut self, message: Value) {
        let body = message.to_string();
        let frame = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.to.write_all(frame.as_bytes()).await.unwrap();
    }

    async fn notify(&mut self, method: &str, params: Value) {
        self.send(json!({"jsonrpc": "2.0", "method": method, "params": params})).await;
    }

    async fn receive(&mut self) -> Value {
        tokio::time::timeout(Duration::from_secs(30), async {
            let mut length = 0;
            loop {
                let mut line = String::new();
                self.from.read_line(&mut line).await.unwrap();
                if line.trim().is_empty() {
                    break;
                }
                if let Some(n) = line.trim().strip_prefix("Content-Length: ") {
                    length = n.parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            self.from.read_exact(&mut body).await.unwrap();
            serde_json::from_slice(&body).unwrap()
        })
        .await
        .expect("the server answers")
    }

    /// The next diagnostics of a file.
    async fn diagnostics(&mut self, uri: &str) -> Vec<Value> {
        loop {
            let message = self.receive().await;
            if message["method"] == "textDocument/publishDiagnostics" && message["params"]["uri"] == uri {
                return message["params"]["diagnostics"].as_array().unwrap().clone();
            }
        }
    }
}

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

const MODULE: &str = "name: motd\nvars: { greeting: hello }\nresources:\n  - name: motd\n    type: file\n    target_path: /etc/motd\n    content: \"é {{ .Vars.greeting }}\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_appear_and_go_as_they_are_typed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("modules")).unwrap();
    std::fs::write(root.join("nodes.vgo"), "nodes:\n  - match: \"*\"\n    modules: [motd]\n").unwrap();
    std::fs::write(root.join("modules/motd.vgo"), MODULE).unwrap();
    let module = uri(&root.join("modules/motd.vgo"));
    let nodes = uri(&root.join("nodes.vgo"));

    let mut editor = Editor::start().await;
    let open = |text: &str| json!({"textDocument": {"uri": module, "languageId": "vgo", "version": 1, "text": text}});
    editor.notify("textDocument/didOpen", open(MODULE)).await;
    assert_eq!(editor.diagnostics(&module).await, Vec::<Value>::new());

    let change = |version: i32, text: String| json!({"textDocument": {"uri": module, "version": version}, "contentChanges": [{"text": text}]});
    editor.notify("textDocument/didChange", change(2, MODULE.replace(".greeting", ".greting"))).await;
    let found = editor.diagnostics(&module).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    let unknown = found.iter().find(|d| d["code"] == "unknown-variable").unwrap();
    assert!(unknown["message"].as_str().unwrap().contains("did you mean `.Vars.greeting`"), "{unknown}");
    // `é` is two bytes and one UTF-16 unit
    let line = "    content: \"é {{ .Vars.greting }}\"";
    let column = line.chars().take_while(|c| *c != '.').count() + ".Vars.".len();
    assert_eq!(unknown["range"]["start"], json!({"line": 6, "character": column}));

    // a mistake in one file shows in the file that has to change
    editor
        .notify("textDocument/didChange", change(3, MODULE.replace("name: motd\nvars", "name: modt\nvars")))
        .await;
    assert!(editor.diagnostics(&nodes).await.iter().any(|d| d["code"] == "unknown-module"));

    // closing goes back to what is on disk
    editor.notify("textDocument/didClose", json!({"textDocument": {"uri": module}})).await;
    assert_eq!(editor.diagnostics(&nodes).await, Vec::<Value>::new());
}
