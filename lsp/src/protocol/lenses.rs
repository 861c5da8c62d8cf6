//! `textDocument/codeLens`.

use super::capabilities::Can;
use super::convert::{Page, locations, range};
use crate::ide::definition::references;
use crate::ide::lenses::{What, lenses};
use crate::workspace::View;
use serde_json::{Value as Json, json};
use tower_lsp_server::ls_types::*;

/// The lines above declarations.
pub fn code_lens(view: &View<'_>, can: &Can, uri: &Uri) -> Option<Vec<CodeLens>> {
    if !view.settings.code_lens {
        return Some(Vec::new());
    }
    let page = Page::of(view)?;
    let lines = page.lines();
    let ide = view.ide();
    let command = |title: String, command: &str, argument: Json| Command {
        title,
        command: command.to_owned(),
        arguments: Some(vec![argument]),
    };
    let mut out = Vec::new();
    for lens in lenses(&ide, &page.source) {
        let at = range(&lines, lens.span);
        let what = match lens.what {
            What::References(count) => {
                let title = plural(count, "reference");
                // only one family of editors can be told to show a list
                if can.is_vscode() && count > 0 {
                    let all = locations(view, &references(&ide, &page.source, lens.span.start, false));
                    let arguments = vec![json!(uri), json!(at.start), json!(all)];
                    Command {
                        title,
                        command: "editor.action.showReferences".into(),
                        arguments: Some(arguments),
                    }
                } else {
                    nothing(title)
                }
            }
            What::Envoys { count, hosts, example } => {
                let title = plural(count, if hosts { "envoy" } else { "class" });
                match example.filter(|_| hosts) {
                    Some(host) => command(title, "vigo.selectEnvoy", json!({ "uri": uri, "envoy": host })),
                    None => nothing(title),
                }
            }
            What::RunTest(name) => {
                command("Run test".into(), "vigo.runTest", json!({ "uri": uri, "test": &*name }))
            }
            What::RunTests => command(
                "Run all tests of this file".into(),
                "vigo.runTest",
                json!({ "uri": uri, "all": true }),
            ),
            What::Plan => command("Plan".into(), "vigo.plan", json!({ "uri": uri, "revision": "HEAD" })),
        };
        out.push(CodeLens { range: at, command: Some(what), data: None });
    }
    Some(out)
}

/// A line that says something and does nothing.
fn nothing(title: String) -> Command {
    Command { title, command: String::new(), arguments: None }
}

fn plural(count: usize, noun: &str) -> String {
    match (count, noun) {
        (1, _) => format!("1 {noun}"),
        (_, "class") => format!("{count} classes"),
        _ => format!("{count} {noun}s"),
    }
}
