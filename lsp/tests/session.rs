//! Whole sessions of an editor with the real program, message by message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

mod editor;

use editor::{Editor, acme, modern, position, uri};
use serde_json::{Value, json};
use std::path::Path;

const MODULE: &str = "name: motd\nvars: { greeting: hello }\nresources:\n  - name: motd\n    type: file\n    target_path: /etc/motd\n    content: \"é {{ .Vars.greeting }}\"\n";

fn small() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("modules")).unwrap();
    std::fs::write(root.join("nodes.vgo"), "nodes:\n  - match: \"*\"\n    modules: [motd]\n").unwrap();
    std::fs::write(root.join("modules/motd.vgo"), MODULE).unwrap();
    (dir, root)
}

fn codes(found: &[Value]) -> Vec<&str> {
    found.iter().map(|d| d["code"].as_str().unwrap()).collect()
}

#[test]
fn mistakes_appear_and_go_as_they_are_typed() {
    let (_dir, root) = small();
    let (module, nodes) = (root.join("modules/motd.vgo"), root.join("nodes.vgo"));
    let mut editor = Editor::start(json!({}), Value::Null);
    assert_eq!(editor.capabilities["positionEncoding"], "utf-16");
    assert_eq!(editor.capabilities["textDocumentSync"]["change"], 2);
    editor.open(&module, MODULE);
    assert_eq!(editor.diagnostics(&module), Vec::<Value>::new());

    // letter by letter, by ranges behind a character of two bytes
    editor.replace(&module, ".greeting", ".greting");
    let found = editor.diagnostics(&module);
    assert_eq!(codes(&found), ["unknown-variable"]);
    assert!(found[0]["message"].as_str().unwrap().contains("did you mean `.Vars.greeting`"), "{found:#?}");
    let text = editor.text(&module);
    assert_eq!(found[0]["range"]["start"], position(&text, text.find("greting").unwrap()));
    editor.replace(&module, ".greting", ".greeting");
    assert_eq!(editor.diagnostics(&module), Vec::<Value>::new());

    // a mistake in one file shows in the file that has to change
    editor.replace(&module, "name: motd\nvars", "name: modt\nvars");
    editor.diagnostics_until(&nodes, |found| codes(found).contains(&"unknown-module"));

    // closing goes back to what is on disk
    editor.close(&module);
    editor.diagnostics_until(&nodes, <[Value]>::is_empty);
    assert!(editor.quit().success());
}

#[test]
fn a_new_author_finds_what_the_tour_promises() {
    let (_dir, root) = acme();
    let (nginx, nodes) = (root.join("modules/nginx.vgo"), root.join("nodes.vgo"));
    let mut editor = Editor::start(modern(), json!({ "vigo": { "envoy": "web-07.acme.test" } }));
    editor.open(&nginx, &std::fs::read_to_string(&nginx).unwrap());
    assert_eq!(editor.diagnostics(&nginx), Vec::<Value>::new());

    // hover: an attribute, a variable with its layers
    let hover = |editor: &mut Editor, path: &Path, mark: &str| {
        let at = editor.at(path, mark);
        editor.ask("textDocument/hover", at)["contents"]["value"].as_str().unwrap_or_default().to_owned()
    };
    assert!(hover(&mut editor, &nginx, "mo$0de: \"0755\"").contains("attribute of `directory`"));
    let text = hover(&mut editor, &nginx, "{{ .Vars.server_na$0me }}");
    assert!(text.contains("For `web-07.acme.test`: `www.acme.test`"), "{text}");
    assert!(text.contains("role") || text.contains("node entry"), "{text}");

    // completion, and what it says about an item
    editor.replace(&nginx, "    mode: \"0755\"\n", "    ow\n");
    let at = editor.at(&nginx, "    ow$0\n");
    let found = editor.ask("textDocument/completion", at);
    let owner = found["items"].as_array().unwrap().iter().find(|i| i["label"] == "owner").unwrap().clone();
    assert_eq!(owner["textEdit"]["newText"], "owner: ");
    let resolved = editor.ask("completionItem/resolve", owner);
    assert!(resolved["documentation"]["value"].as_str().unwrap().contains("attribute of `directory`"));
    editor.replace(&nginx, "    ow\n", "    mode: \"0755\"\n");

    // signature, definition across files, references, highlights
    editor.replace(&nginx, "when: os_family('debian')", "when: os_family('debian', ");
    let at = editor.at(&nginx, "os_family('debian', $0");
    let signature = editor.ask("textDocument/signatureHelp", at);
    assert_eq!(signature["signatures"][0]["label"], "os_family(string...)");
    editor.replace(&nginx, "when: os_family('debian', ", "when: os_family('debian')");
    let at = editor.at(&nodes, "roles: [apps$0erver]");
    let found = editor.ask("textDocument/definition", at);
    assert_eq!(found[0]["uri"], uri(&root.join("roles.vgo")));
    let mut at = editor.at(&nginx, "  server_na$0me: {");
    at["context"] = json!({ "includeDeclaration": true });
    let found = editor.ask("textDocument/references", at.clone());
    let files: std::collections::BTreeSet<&str> =
        found.as_array().unwrap().iter().map(|l| l["uri"].as_str().unwrap()).collect();
    assert!(
        files.contains(&*uri(&nodes)) && files.contains(&*uri(&root.join("templates/nginx/site.conf.tmpl")))
    );
    assert!(files.contains(&*uri(&root.join("tests/web.vgo"))), "{files:?}");
    let found = editor.ask("textDocument/documentHighlight", at);
    assert!(found.as_array().unwrap().len() > 3);

    // outlines, folds, selections, links, tokens
    let document = json!({ "textDocument": { "uri": uri(&nginx) } });
    let found = editor.ask("textDocument/documentSymbol", document.clone());
    assert_eq!(found[0]["name"], "nginx");
    assert!(found[0]["children"].as_array().unwrap().iter().any(|s| s["name"] == "reload"));
    let found = editor.ask("workspace/symbol", json!({ "query": "nginx.reload" }));
    assert_eq!(found[0]["name"], "nginx.reload");
    assert_eq!(
        found[0]["location"],
        json!({ "uri": uri(&nginx) }),
        "its place is asked for when it is chosen"
    );
    let symbol = editor.ask("workspaceSymbol/resolve", found[0].clone());
    assert_eq!(symbol["location"]["range"]["start"], editor.at(&nginx, "- name: $0reload")["position"]);
    assert!(editor.ask("textDocument/foldingRange", document.clone()).as_array().unwrap().len() > 10);
    let at = editor.at(&nginx, "os_fam$0ily('debian')");
    let mut positions = document.clone();
    positions["positions"] = json!([at["position"]]);
    let found = editor.ask("textDocument/selectionRange", positions);
    assert!(found[0]["parent"]["parent"].is_object());
    let found = editor.ask("textDocument/documentLink", document.clone());
    assert!(
        found.as_array().unwrap().iter().any(|l| l["target"] == uri(&root.join("templates/nginx/style.css")))
    );
    let found = editor.ask("textDocument/semanticTokens/full", document.clone());
    assert_eq!(found["data"].as_array().unwrap().len() % 5, 0);
    assert!(found["data"].as_array().unwrap().len() > 50);
    let mut part = document.clone();
    part["range"] = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 400, "character": 0 } });
    assert_eq!(editor.ask("textDocument/semanticTokens/range", part.clone())["data"], found["data"]);

    // values between the words, lines above declarations
    let found = editor.ask("textDocument/inlayHint", part);
    let shown: Vec<&str> = found.as_array().unwrap().iter().map(|h| h["label"].as_str().unwrap()).collect();
    assert!(shown.contains(&" = www.acme.test") && shown.contains(&": bool"), "{shown:?}");
    let hint = found.as_array().unwrap().iter().find(|h| h["label"] == " = www.acme.test").unwrap().clone();
    assert_eq!(hint.get("tooltip"), None);
    let hint = editor.ask("inlayHint/resolve", hint);
    assert!(hint["tooltip"]["value"].as_str().unwrap().contains("nodes.vgo"), "{hint:#}");
    let found = editor.ask("textDocument/codeLens", document.clone());
    assert!(found.as_array().unwrap().iter().any(|l| l.get("command").is_none()), "{found:#}");
    let found = Value::from(editor.resolved("codeLens/resolve", &found));
    let titles: Vec<&str> =
        found.as_array().unwrap().iter().map(|l| l["command"]["title"].as_str().unwrap()).collect();
    assert!(titles.iter().any(|t| t.ends_with(" references")) && titles.contains(&"Plan"), "{titles:?}");
    assert!(titles.iter().any(|t| t.ends_with(" envoys")), "the example has a fleet: {titles:?}");

    // a lens counts what a list of references has
    let mut at = editor.at(&nginx, "name: $0nginx\n");
    at["context"] = json!({ "includeDeclaration": false });
    let listed = editor.ask("textDocument/references", at).as_array().unwrap().len();
    assert!(titles.contains(&&*format!("{listed} references")), "{listed}: {titles:?}");

    // what a name is of, and what makes it
    let at = editor.at(&nginx, "{{ .Vars.server_na$0me }}");
    let found = editor.ask("textDocument/typeDefinition", at.clone());
    let ty = editor.at(&nginx, "server_name: { type: $0string");
    assert_eq!((&found[0]["uri"], &found[0]["range"]["start"]), (&json!(uri(&nginx)), &ty["position"]));
    let found = editor.ask("textDocument/implementation", at);
    assert!(found.as_array().unwrap().iter().any(|l| l["uri"] == uri(&nodes)), "{found:#}");

    // from a resource up to the entries
    let at = editor.at(&nginx, "- name: ind$0ex");
    let item = editor.ask("textDocument/prepareCallHierarchy", at)[0].clone();
    assert_eq!(item["name"], "nginx.index");
    let module = editor.ask("callHierarchy/incomingCalls", json!({ "item": item }))[0]["from"].clone();
    assert_eq!(module["name"], "nginx");
    let roles = editor.ask("callHierarchy/incomingCalls", json!({ "item": module.clone() }));
    assert!(roles.as_array().unwrap().iter().any(|c| c["from"]["name"] == "webserver"), "{roles:#}");
    let down = editor.ask("callHierarchy/outgoingCalls", json!({ "item": module }));
    assert!(down.as_array().unwrap().iter().any(|c| c["to"]["name"] == "nginx.index"));
    assert!(editor.quit().success());
}

#[test]
fn a_rename_reaches_every_file_and_a_clash_is_refused() {
    let (_dir, root) = acme();
    let nginx = root.join("modules/nginx.vgo");
    let mut editor = Editor::start(modern(), Value::Null);
    editor.open(&nginx, &std::fs::read_to_string(&nginx).unwrap());
    editor.diagnostics(&nginx);
    let at = editor.at(&nginx, "  rate_li$0mit: {");
    let prepared = editor.ask("textDocument/prepareRename", at.clone());
    assert_eq!(prepared["placeholder"], "rate_limit");
    let mut asked = at.clone();
    asked["newName"] = json!("server_name");
    assert!(
        editor
            .refused("textDocument/rename", asked.clone())
            .contains("there is a variable `server_name` already")
    );
    asked["newName"] = json!("requests_per_second");
    let edit = editor.ask("textDocument/rename", asked);
    let changes = edit["documentChanges"].as_array().unwrap();
    let of = |path: &Path| changes.iter().find(|c| c["textDocument"]["uri"] == uri(path));
    assert_eq!(of(&nginx).unwrap()["textDocument"]["version"], 1);
    assert!(of(&root.join("templates/nginx/site.conf.tmpl")).is_some(), "{edit:#}");
    // done, the policy is as right as before
    for change in changes {
        let path =
            Path::new(change["textDocument"]["uri"].as_str().unwrap().strip_prefix("file://").unwrap());
        let text = apply(&std::fs::read_to_string(path).unwrap(), &change["edits"]);
        std::fs::write(path, text).unwrap();
    }
    let left = std::fs::read_to_string(root.join("tests/web.vgo")).unwrap();
    assert!(!left.contains("rate_limit") && left.contains("requests_per_second"), "{left}");
    let policy = compiler::policy::Policy::open(&root).unwrap();
    let found: Vec<String> = policy.check().diagnostics.iter().map(|d| d.message.clone()).collect();
    assert_eq!(found, Vec::<String>::new());

    // a module takes its file along, a template that moves its name
    let mut asked = editor.at(&nginx, "name: ngi$0nx");
    asked["newName"] = json!("webserver_nginx");
    let edit = editor.ask("textDocument/rename", asked);
    let moved = edit["documentChanges"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&moved["kind"], &moved["newUri"]),
        (&json!("rename"), &json!(uri(&root.join("modules/webserver_nginx.vgo"))))
    );
    let files =
        json!([{ "oldUri": uri(&root.join("templates/nginx")), "newUri": uri(&root.join("templates/web")) }]);
    let edit = editor.ask("workspace/willRenameFiles", json!({ "files": files }));
    assert!(edit.to_string().contains("web/site.conf.tmpl"), "{edit:#}");
}

fn apply(text: &str, edits: &Value) -> String {
    let offset = |p: &Value| {
        let (line, character) =
            (p["line"].as_u64().unwrap() as usize, p["character"].as_u64().unwrap() as usize);
        let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        let units: Vec<usize> =
            text[start..].char_indices().flat_map(|(at, c)| std::iter::repeat_n(at, c.len_utf16())).collect();
        start + units.get(character).copied().unwrap_or(text.len() - start)
    };
    let mut all: Vec<(usize, usize, &str)> = edits
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (offset(&e["range"]["start"]), offset(&e["range"]["end"]), e["newText"].as_str().unwrap()))
        .collect();
    all.sort_by_key(|e| std::cmp::Reverse(*e));
    let mut out = text.to_owned();
    for (from, to, new) in all {
        out.replace_range(from..to, new);
    }
    out
}

#[test]
fn what_is_wrong_can_be_mended_and_laid_out() {
    let (_dir, root) = small();
    let module = root.join("modules/motd.vgo");
    let mut editor = Editor::start(modern(), Value::Null);
    let text = MODULE.replace("    content", "    mode: 0644\n    content");
    editor.open(&module, &text);
    let found = editor.diagnostics(&module);
    assert_eq!(codes(&found), ["needs-quotes"]);
    let asked = |only: Value| {
        json!({ "textDocument": { "uri": uri(&module) }, "range": found[0]["range"],
                "context": { "diagnostics": found, "only": only } })
    };
    let actions = editor.ask("textDocument/codeAction", asked(json!(["quickfix"])));
    assert_eq!(actions[0]["title"], "Replace with `\"0644\"`");
    assert_eq!(actions[0]["isPreferred"], true);
    let edits = &actions[0]["edit"]["documentChanges"][0]["edits"];
    assert!(apply(&text, edits).contains("mode: \"0644\"\n"));
    let all = editor.ask("textDocument/codeAction", asked(json!(["source.fixAll"])));
    assert_eq!((&all[0]["kind"], all[0].get("edit")), (&json!("source.fixAll.vigo"), None));
    let all = editor.resolved("codeAction/resolve", &all);
    assert!(apply(&text, &all[0]["edit"]["documentChanges"][0]["edits"]).contains("mode: \"0644\"\n"));

    editor.replace(&module, "    mode: 0644\n", "    mode:    \"0644\"\n");
    let options = json!({ "textDocument": { "uri": uri(&module) }, "options": { "tabSize": 8, "insertSpaces": false } });
    let edits = editor.ask("textDocument/formatting", options);
    let text = editor.text(&module);
    assert_eq!(apply(&text, &edits), grammar::format::format(&text).unwrap());
}

#[test]
fn diagnostics_are_fetched_by_those_who_want_to() {
    let (_dir, root) = small();
    let (module, nodes) = (root.join("modules/motd.vgo"), root.join("nodes.vgo"));
    let mut can = modern();
    can["textDocument"]["diagnostic"] = json!({});
    can["workspace"]["diagnostics"] = json!({ "refreshSupport": true });
    let mut editor = Editor::start(can, Value::Null);
    assert_eq!(editor.capabilities["diagnosticProvider"]["workspaceDiagnostics"], true);
    editor.open(&module, &MODULE.replace("name: motd\nvars", "name: modt\nvars"));
    let of =
        |path: &Path, id: &Value| json!({ "textDocument": { "uri": uri(path) }, "previousResultId": id });
    let first = editor.ask("textDocument/diagnostic", of(&nodes, &Value::Null));
    assert_eq!(first["kind"], "full");
    assert!(codes(first["items"].as_array().unwrap()).contains(&"unknown-module"));
    let again = editor.ask("textDocument/diagnostic", of(&nodes, &first["resultId"]));
    assert_eq!((&again["kind"], &again["resultId"]), (&json!("unchanged"), &first["resultId"]));
    let all = editor.ask("workspace/diagnostic", json!({ "previousResultIds": [] }));
    let ids: Vec<Value> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| json!({ "uri": i["uri"], "value": i["resultId"] }))
        .collect();
    assert!(!ids.is_empty());
    // the editor is told to fetch again when another file is the one that changes
    editor.wait("refresh", |m| m["method"] == "workspace/diagnostic/refresh");
    editor.replace(&module, "name: modt\nvars", "name: motd\nvars");
    editor.wait("refresh", |m| m["method"] == "workspace/diagnostic/refresh");
    let all = editor.ask("workspace/diagnostic", json!({ "previousResultIds": ids }));
    let empty = all["items"].as_array().unwrap();
    assert!(empty.iter().any(|i| i["uri"] == uri(&nodes) && i["items"] == json!([])), "{all:#}");
}

#[test]
fn commands_say_what_vigoc_says_about_what_is_not_saved() {
    let (_dir, root) = acme();
    let (nginx, test) = (root.join("modules/nginx.vgo"), root.join("tests/web.vgo"));
    let mut editor = Editor::start(modern(), Value::Null);
    editor.open(&nginx, &std::fs::read_to_string(&nginx).unwrap());
    editor.diagnostics(&nginx);
    let run = |command: &str, argument: &Value| json!({ "command": command, "arguments": [argument] });
    let place = |editor: &Editor, mark: &str| {
        let at = editor.at(&nginx, mark);
        json!({ "uri": at["textDocument"]["uri"], "position": at["position"], "envoy": null })
    };
    let execute = "workspace/executeCommand";

    let asked = place(&editor, "name: rel$0oad");
    assert!(editor.refused(execute, run("vigo.graph", &asked)).contains("no envoy is chosen"));
    let offered = editor.ask(execute, run("vigo.selectEnvoy", &json!({ "uri": uri(&nginx) })));
    let host = offered["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .find(|h| h.as_str().unwrap().starts_with("web-"))
        .unwrap()
        .clone();
    let chosen = editor.ask(execute, run("vigo.selectEnvoy", &json!({ "uri": uri(&nginx), "envoy": host })));
    assert_eq!(chosen["envoy"], host);
    editor.wait("refresh of hints", |m| m["method"] == "workspace/inlayHint/refresh");

    let graph = editor.ask(execute, run("vigo.graph", &asked));
    assert_eq!(graph["language"], "mermaid");
    assert!(graph["text"].as_str().unwrap().starts_with("flowchart LR"), "{graph:#}");
    let asked = place(&editor, "{{ .Vars.server_na$0me }}");
    let explained = editor.ask(execute, run("vigo.explain", &asked));
    assert!(explained["text"].as_str().unwrap().starts_with("server_name = "), "{explained:#}");
    let bundle = editor.ask(execute, run("vigo.previewBundle", &asked));
    assert!(bundle["text"].as_str().unwrap().contains("nginx"), "{bundle:#}");

    // a test sees what is in the editor, not what is on disk
    let one = json!({ "uri": uri(&test), "test": "the site is served with TLS in production" });
    assert_eq!(editor.ask(execute, run("vigo.runTest", &one))["passed"], true);
    editor.replace(
        &nginx,
        "target_path: \"/etc/nginx/sites-available/",
        "target_path: \"/etc/nginx/elsewhere/",
    );
    let failed = editor.ask(execute, run("vigo.runTest", &one));
    assert_eq!(failed["passed"], false);
    assert!(failed["text"].as_str().unwrap().contains("elsewhere"), "{failed:#}");

    // and so does a plan
    let git = |args: &[&str]| {
        let done = std::process::Command::new("git").current_dir(&root).args(args).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "x"]);
    let plan = editor.ask(execute, run("vigo.plan", &json!({ "uri": uri(&nginx), "revision": "HEAD" })));
    assert!(plan["text"].as_str().unwrap().contains("elsewhere"), "{plan:#}");
    assert!(editor.refused(execute, run("vigo.nonsense", &Value::Null)).contains("there is no command"));
}

#[test]
fn hostile_documents_and_requests_are_survived() {
    let (_dir, root) = small();
    let (module, nodes) = (root.join("modules/motd.vgo"), root.join("nodes.vgo"));
    let mut editor = Editor::start(modern(), json!({ "vigo": 3 }));
    editor.open(&module, MODULE);
    editor.diagnostics(&module);
    let hover = |uri: &str, line: u64, character: u64| json!({ "textDocument": { "uri": uri }, "position": { "line": line, "character": character } });
    // nowhere
    assert_eq!(editor.ask("textDocument/hover", hover(&uri(&module), 4_000_000, 4_000_000_000)), Value::Null);
    for nowhere in ["untitled:Untitled-1", "file:///nowhere/x.vgo", "http://example.com/x.vgo"] {
        assert_eq!(editor.ask("textDocument/hover", hover(nowhere, 0, 0)), Value::Null);
        editor.notify(
            "textDocument/didOpen",
            json!({ "textDocument": { "uri": nowhere, "languageId": "vgo", "version": 1, "text": "a" } }),
        );
        editor.notify(
            "textDocument/didChange",
            json!({ "textDocument": { "uri": nowhere, "version": 2 }, "contentChanges": [{ "text": "b" }] }),
        );
    }
    // changes outside of the text
    let outside = json!({ "range": { "start": { "line": 999, "character": 9 }, "end": { "line": 2, "character": 0 } }, "text": "" });
    editor.notify(
        "textDocument/didChange",
        json!({ "textDocument": { "uri": uri(&module), "version": 2 }, "contentChanges": [outside] }),
    );
    editor.ask("textDocument/hover", hover(&uri(&module), 0, 0));
    // 10 MB in one file
    let large =
        format!("{MODULE}vars:\n{}", "  x: \"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\"\n".repeat(200_000));
    editor.notify("textDocument/didChange", json!({ "textDocument": { "uri": uri(&module), "version": 3 }, "contentChanges": [{ "text": large }] }));
    let at = hover(&uri(&module), 100, 3);
    assert_eq!(editor.ask("textDocument/completion", at), Value::Null);
    editor.notify("textDocument/didChange", json!({ "textDocument": { "uri": uri(&module), "version": 4 }, "contentChanges": [{ "text": MODULE }] }));
    // a file that is not text, one that vanishes, one that gets another name
    std::fs::write(root.join("modules/bad.vgo"), [0xff, 0xfe, 0]).unwrap();
    editor.notify("workspace/didChangeWatchedFiles", json!({ "changes": [] }));
    editor.diagnostics_until(&root.join("modules/bad.vgo"), |found| codes(found) == ["not-utf8"]);
    std::fs::remove_file(root.join("modules/bad.vgo")).unwrap();
    std::fs::rename(&nodes, root.join("hosts.vgo")).unwrap();
    editor.notify("workspace/didChangeWatchedFiles", json!({ "changes": [] }));
    editor.diagnostics_until(&root.join("modules/bad.vgo"), <[Value]>::is_empty);
    // what is open stays what it is in the editor, even when it is gone on disk
    std::fs::remove_file(&module).unwrap();
    editor.notify("workspace/didChangeWatchedFiles", json!({ "changes": [] }));
    let at = editor.at(&module, "{{ .Vars.gree$0ting }}");
    assert!(editor.ask("textDocument/hover", at).is_object());
    assert!(editor.quit().success());
}

#[test]
fn the_first_file_of_a_policy_need_not_be_saved() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("modules")).unwrap();
    let module = root.join("modules/motd.vgo");
    let mut editor = Editor::start(modern(), Value::Null);
    editor.open(&module, &MODULE.replace(".greeting", ".greting"));
    assert!(codes(&editor.diagnostics(&module)).contains(&"unknown-variable"));
    let at = editor.at(&module, "type: fi$0le");
    assert!(editor.ask("textDocument/hover", at).is_object());
    // saved, it is the same
    std::fs::write(&module, MODULE).unwrap();
    editor.notify("textDocument/didSave", json!({ "textDocument": { "uri": uri(&module) } }));
    editor.replace(&module, ".greting", ".greeting");
    assert!(!codes(&editor.diagnostics(&module)).contains(&"unknown-variable"));
}

#[test]
fn the_server_ends_with_its_editor_and_knows_no_other() {
    let (_dir, root) = small();
    let module = root.join("modules/motd.vgo");
    let mut one = Editor::start(modern(), Value::Null);
    let mut other = Editor::start(modern(), Value::Null);
    one.open(&module, &MODULE.replace(".greeting", ".one"));
    other.open(&module, &MODULE.replace(".greeting", ".other"));
    let said = |found: &[Value]| found[0]["message"].as_str().unwrap().to_owned();
    assert!(said(&one.diagnostics(&module)).contains("`.Vars.one`"));
    assert!(!said(&other.diagnostics(&module)).contains("one`"));
    // the pipe breaks, without a word
    one.kill_pipes();
    assert_eq!(one.ended().code(), Some(1));
    let at = other.at(&module, "type: fi$0le");
    assert!(other.ask("textDocument/hover", at).is_object());
    assert!(other.quit().success());
}

#[test]
fn a_question_that_is_withdrawn_is_answered_so() {
    let (_dir, root) = acme();
    let nginx = root.join("modules/nginx.vgo");
    let mut editor = Editor::start(modern(), Value::Null);
    editor.open(&nginx, &std::fs::read_to_string(&nginx).unwrap());
    let at = editor.at(&nginx, "type: fi$0le");
    let ids: Vec<i64> = (0..30).map(|_| editor.request("textDocument/hover", at.clone())).collect();
    for id in &ids[..29] {
        editor.notify("$/cancelRequest", json!({ "id": id }));
    }
    // each is answered: with a result, or as cancelled
    for id in ids {
        let answer = editor.answer(id);
        assert!(answer["result"].is_object() || answer["error"]["code"] == -32800, "{answer:#}");
    }
}

/// The text of a file after an edit of the workspace.
fn after(editor: &Editor, path: &Path, edit: &Value) -> String {
    let changes = edit["documentChanges"].as_array().unwrap();
    let of = changes.iter().find(|c| c["textDocument"]["uri"] == uri(path)).unwrap();
    apply(&editor.text(path), &of["edits"])
}

#[test]
fn a_value_becomes_a_variable_and_a_value_again() {
    let (_dir, root) = small();
    let module = root.join("modules/motd.vgo");
    let mut editor = Editor::start(modern(), Value::Null);
    editor.open(&module, MODULE);
    editor.diagnostics(&module);
    let asked = |editor: &Editor, from: &str, to: &str, only: Value| {
        let range = json!({ "start": editor.at(&module, from)["position"], "end": editor.at(&module, to)["position"] });
        json!({ "textDocument": { "uri": uri(&module) }, "range": range,
                "context": { "diagnostics": [], "only": only, "triggerKind": if only.is_null() { 2 } else { 1 } } })
    };
    let selected = |only| ("target_path: $0/etc/motd", "target_path: /etc$0/motd", only);
    let (from, to, only) = selected(json!(["refactor"]));
    let found = editor.ask("textDocument/codeAction", asked(&editor, from, to, only));
    assert_eq!(found[0]["title"], "Extract to the variable `motd_target_path`");
    assert_eq!((&found[0]["kind"], found[0].get("edit")), (&json!("refactor.extract"), None));
    let extracted = editor.ask("codeAction/resolve", found[0].clone());
    let text = after(&editor, &module, &extracted["edit"]);
    assert!(text.contains("vars: { greeting: hello, motd_target_path: /etc }\n"), "{text}");
    assert!(text.contains("target_path: \"{{ .Vars.motd_target_path }}/motd\"\n"), "{text}");
    assert_eq!(editor.text(&module), MODULE, "trying it out changes nothing");

    // the cursor alone brings no light bulb, and what cannot be done says why when it is asked for
    let cursor = "target_path: /e$0tc/motd";
    assert_eq!(editor.ask("textDocument/codeAction", asked(&editor, cursor, cursor, Value::Null)), json!([]));
    editor.replace(&module, MODULE, &text);
    assert_eq!(editor.diagnostics(&module), Vec::<Value>::new());
    let cursor = ".Vars.motd_targ$0et_path";
    let found =
        editor.ask("textDocument/codeAction", asked(&editor, cursor, cursor, json!(["refactor.inline"])));
    assert_eq!(found[0]["title"], "Inline `motd_target_path` where it is read (1 place)");
    let inlined = editor.ask("codeAction/resolve", found[0].clone());
    let again = after(&editor, &module, &inlined["edit"]);
    assert_eq!(again, MODULE.replace("target_path: /etc/motd", "target_path: \"/etc/motd\""));
    let nodes = root.join("nodes.vgo");
    editor.open(
        &nodes,
        "nodes:\n  - match: \"*\"\n    modules: [motd]\n    vars: { motd_target_path: /srv }\n",
    );
    let found =
        editor.ask("textDocument/codeAction", asked(&editor, cursor, cursor, json!(["refactor.inline"])));
    let reason = found[0]["disabled"]["reason"].as_str().unwrap();
    assert!(reason.contains("is set in nodes.vgo too"), "{found:#}");
    // what was offered before that is refused now
    assert!(
        editor
            .refused("codeAction/resolve", json!({ "title": "x", "data": inlined["data"] }))
            .contains("nodes.vgo")
    );
    assert!(
        editor
            .refused("codeAction/resolve", json!({ "title": "x", "data": { "work": "nonsense" } }))
            .contains("not one of")
    );
    // an editor that asks for nothing later has it at once
    let mut old = modern();
    old["textDocument"]["codeAction"] = json!({});
    let mut other = Editor::start(old, Value::Null);
    other.open(&module, MODULE);
    let (from, to, only) = selected(json!(["refactor.extract"]));
    let found = other.ask("textDocument/codeAction", asked(&other, from, to, only));
    assert_eq!(after(&other, &module, &found[0]["edit"]), text);
}

#[test]
fn colours_are_told_as_what_changed() {
    let (_dir, root) = acme();
    let nginx = root.join("modules/nginx.vgo");
    let mut editor = Editor::start(modern(), Value::Null);
    assert_eq!(editor.capabilities["semanticTokensProvider"]["full"]["delta"], true);
    editor.open(&nginx, &std::fs::read_to_string(&nginx).unwrap());
    let document = json!({ "uri": uri(&nginx) });
    let numbers = |v: &Value| v["data"].as_array().unwrap().clone();
    let first = editor.ask("textDocument/semanticTokens/full", json!({ "textDocument": document }));
    let mut known = numbers(&first);
    let mut since = first["resultId"].clone();
    for (old, new) in [
        ("{{ .Vars.server_name }}/index", "{{ .Vars.server_name | upper }}/index"),
        ("when: os_family('debian')\n", "when: \"!is_container\"\n"),
        ("doc: nginx", "doc: an nginx"),
    ] {
        editor.replace(&nginx, old, new);
        let asked = json!({ "textDocument": document, "previousResultId": since });
        let delta = editor.ask("textDocument/semanticTokens/full/delta", asked);
        let edits = delta["edits"].as_array().unwrap();
        assert!(edits.len() < 2, "{edits:#?}");
        for e in edits {
            let start = e["start"].as_u64().unwrap() as usize;
            let end = start + e["deleteCount"].as_u64().unwrap() as usize;
            assert!(end - start < known.len() / 2, "most stays as it was");
            known.splice(start..end, e["data"].as_array().unwrap().iter().cloned());
        }
        since = delta["resultId"].clone();
        let full = editor.ask(
            "textDocument/semanticTokens/range",
            json!({ "textDocument": document,
            "range": { "start": { "line": 0, "character": 0 }, "end": { "line": 999, "character": 0 } } }),
        );
        assert_eq!(known, numbers(&full), "{new}");
    }
    // an answer that is not known any more brings all of them
    let asked = json!({ "textDocument": document, "previousResultId": "of yore" });
    assert_eq!(numbers(&editor.ask("textDocument/semanticTokens/full/delta", asked)), known);
}

#[test]
fn a_command_shows_that_it_runs_and_can_be_given_up() {
    let (_dir, root) = acme();
    let test = root.join("tests/web.vgo");
    let mut editor = Editor::start(modern(), Value::Null);
    editor.open(&test, &std::fs::read_to_string(&test).unwrap());
    editor.diagnostics(&test);
    let run = |token: &str| json!({ "command": "vigo.runTest", "arguments": [{ "uri": uri(&test), "all": true }], "workDoneToken": token });
    let reply = editor.ask("workspace/executeCommand", run("first"));
    assert_eq!(reply["passed"], true);
    for kind in ["begin", "end"] {
        let said = editor.wait(kind, |m| {
            m["method"] == "$/progress"
                && m["params"]["token"] == "first"
                && m["params"]["value"]["kind"] == kind
        });
        assert!(kind == "end" || said["params"]["value"]["cancellable"] == true, "{said:#}");
    }
    // given up, it is answered so, or it was faster
    let id = editor.request("workspace/executeCommand", run("second"));
    editor.notify("window/workDoneProgress/cancel", json!({ "token": "second" }));
    editor.notify("window/workDoneProgress/cancel", json!({ "token": "nobody knows it" }));
    let answer = editor.answer(id);
    assert!(answer["error"]["code"] == -32800 || answer["result"]["passed"] == true, "{answer:#}");
}

#[test]
fn a_file_that_moves_takes_its_module_along() {
    let (_dir, root) = acme();
    let nginx = root.join("modules/nginx.vgo");
    let mut editor = Editor::start(modern(), Value::Null);
    let filters = &editor.capabilities["workspace"]["fileOperations"]["willRename"]["filters"];
    assert!(filters.to_string().contains("**/modules/**"), "{filters:#}");
    editor.open(&nginx, &std::fs::read_to_string(&nginx).unwrap());
    let files = json!([{ "oldUri": uri(&nginx), "newUri": uri(&root.join("modules/frontend.vgo")) }]);
    let edit = editor.ask("workspace/willRenameFiles", json!({ "files": files }));
    assert!(after(&editor, &nginx, &edit).starts_with("name: frontend\n"), "{edit:#}");
    let changes = edit["documentChanges"].as_array().unwrap();
    assert!(changes.iter().any(|c| c["textDocument"]["uri"] == uri(&root.join("roles.vgo"))), "{edit:#}");
    assert!(changes.iter().all(|c| c.get("kind").is_none()), "the editor renames the file itself");
}

/// A directory with node entries below a policy is a part of it, whichever of its files is opened first.
#[test]
fn entries_in_a_directory_belong_to_the_policy_above_them() {
    let (_dir, root) = acme();
    let office = root.join("office/nodes.vgo");
    let mut editor = Editor::start(modern(), Value::Null);
    let text = std::fs::read_to_string(&office).unwrap();
    editor.open(&office, &text);
    assert_eq!(editor.diagnostics(&office), Vec::<Value>::new());
    let at = editor.at(&office, "match: \"ws-*.acme$0.test\"");
    let found = editor.ask("textDocument/implementation", at);
    let modules = uri(&root.join("modules/"));
    assert!(
        found.as_array().unwrap().iter().any(|l| l["uri"].as_str().unwrap().starts_with(&modules)),
        "{found:#}"
    );
}

#[test]
fn settings_are_asked_for_and_those_of_others_change_nothing() {
    let (_dir, root) = acme();
    let nginx = root.join("modules/nginx.vgo");
    let mut editor = Editor::start(modern(), json!({ "vigo": { "envoy": "web-07.acme.test" } }));
    let registered = |method: &'static str| {
        move |m: &Value| {
            m["method"] == "client/registerCapability" && m["params"]["registrations"][0]["method"] == method
        }
    };
    editor.wait("files are watched", registered("workspace/didChangeWatchedFiles"));
    editor.wait("settings are told", registered("workspace/didChangeConfiguration"));
    editor.open(&nginx, &std::fs::read_to_string(&nginx).unwrap());
    editor.diagnostics(&nginx);
    // the editor is asked what it is now
    editor.notify("workspace/didChangeConfiguration", json!({ "settings": null }));
    editor.wait("a question", |m| m["method"] == "workspace/configuration");
    let set = |envoy: &str| json!({ "settings": { "vigo": { "envoy": envoy } } });
    editor.notify("workspace/didChangeConfiguration", set("web-01.acme.test"));
    editor.wait("hints are fetched again", |m| m["method"] == "workspace/inlayHint/refresh");
    let at = editor.at(&nginx, "{{ .Vars.server_na$0me }}");
    let hover = editor.ask("textDocument/hover", at)["contents"]["value"].as_str().unwrap().to_owned();
    assert!(hover.contains("For `web-01.acme.test`"), "{hover}");
}
