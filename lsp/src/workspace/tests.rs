use super::*;
use std::sync::Mutex;
use tower_lsp_server::ls_types::{Position, Range};

/// Notes what was told: of which version of the one open document, and whether anything was found.
#[derive(Default)]
struct Told(Mutex<Vec<(i32, bool)>>);

impl Outlet for Told {
    fn checked(&self, workspace: &Workspace, root: &Path, _: &BTreeSet<String>) {
        let (_, version) = workspace.document(root, "modules/motd.vgo").unwrap();
        let found = !workspace.last_report(root).unwrap().diagnostics.is_empty();
        self.0.lock().unwrap().push((version, found));
    }
    fn loading(&self, _: &Path) {}
    fn loaded(&self, _: &Path) {}
    fn opened(&self, _: &Uri) {}
    fn warn(&self, text: String) {
        panic!("{text}");
    }
    fn other_values(&self) {}
}

#[test]
fn findings_are_told_only_of_the_text_that_was_checked() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("modules")).unwrap();
    std::fs::write(root.join("nodes.vgo"), "nodes:\n  - match: \"*\"\n    modules: [motd]\n").unwrap();
    let text = "name: motd\nresources:\n  - name: motd\n    type: file\n    target_path: /etc/motd\n    content: a\n";
    std::fs::write(root.join("modules/motd.vgo"), text).unwrap();
    let uri = Uri::from_file_path(root.join("modules/motd.vgo")).unwrap();
    let (myself, inbox) = mpsc::channel();
    let told = Arc::new(Told::default());
    let mut workspace = Workspace::new(told.clone(), myself);
    let wrong = text.replace("type: file", "type: flie");
    workspace.take(Message::Open { uri: uri.clone(), text: wrong, version: 1 });
    workspace.start_checks();
    let check_ended = || loop {
        let message = inbox.recv().unwrap();
        if matches!(message, Message::Checked { .. }) {
            return message;
        }
    };
    let of_the_first = check_ended();
    // the edit is taken before the end of a check that knew nothing of it
    let whole = TextDocumentContentChangeEvent { range: None, range_length: None, text: text.into() };
    workspace.take(Message::Change { uri, changes: vec![whole], version: 2 });
    workspace.take(of_the_first);
    assert_eq!(*told.0.lock().unwrap(), []);
    workspace.start_checks();
    let of_the_second = check_ended();
    workspace.take(of_the_second);
    assert_eq!(*told.0.lock().unwrap(), [(2, false)]);
}

#[test]
fn changes_follow_each_other() {
    let change = |from: (u32, u32), to: (u32, u32), text: &str| TextDocumentContentChangeEvent {
        range: Some(Range::new(Position::new(from.0, from.1), Position::new(to.0, to.1))),
        range_length: None,
        text: text.to_owned(),
    };
    let changes = [change((0, 1), (0, 1), "é\n"), change((1, 0), (1, 1), "B"), change((9, 0), (9, 9), "!")];
    assert_eq!(changed("abc\n", &changes, false), "aé\nBc\n!");
    let backwards = [change((0, 3), (0, 1), "x")];
    assert_eq!(changed("abc", &backwards, false), "abcx");
    let whole = TextDocumentContentChangeEvent { range: None, range_length: None, text: "z".into() };
    assert_eq!(changed("abc", &[whole], true), "z");
}
