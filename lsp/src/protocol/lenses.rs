//! `textDocument/codeLens` and `codeLens/resolve`.

use super::capabilities::Can;
use super::convert::{Page, locations, range};
use crate::ide::lenses::{Envoys, Said, What, lenses, resolve};
use crate::workspace::View;
use compiler::uses::Of;
use serde_json::{Value as Json, json};
use tower_lsp_server::ls_types::*;

/// The lines above declarations. Those that take a look at the whole policy are without a text until the editor shows them.
pub fn code_lens(view: &View<'_>, uri: &Uri) -> Option<Vec<CodeLens>> {
    if !view.settings.code_lens {
        return Some(Vec::new());
    }
    let page = Page::of(view)?;
    let lines = page.lines();
    let lens = |l: crate::ide::lenses::Lens| CodeLens {
        range: range(&lines, l.span),
        command: at_once(uri, &l.what),
        data: later(uri, &l.what),
    };
    Some(lenses(&view.ide(), &page.source).into_iter().map(lens).collect())
}

/// What a lens does that says it at once.
fn at_once(uri: &Uri, what: &What) -> Option<Command> {
    Some(match what {
        What::References(..) | What::EnvoysOf(_) => return None,
        What::Envoys(envoys) => of_envoys(uri, envoys),
        What::RunTest(name) => {
            command("Run test".into(), "vigo.runTest", json!({ "uri": uri, "test": &**name }))
        }
        What::RunTests => {
            command("Run all tests of this file".into(), "vigo.runTest", json!({ "uri": uri, "all": true }))
        }
        What::Plan => command("Plan".into(), "vigo.plan", json!({ "uri": uri, "revision": "HEAD" })),
    })
}

/// What the editor gives back when a lens is to say something.
fn later(uri: &Uri, what: &What) -> Option<Json> {
    match what {
        What::References(of, name) => Some(json!({ "uri": uri, "references": of.name(), "name": &**name })),
        What::EnvoysOf(module) => Some(json!({ "uri": uri, "envoys": &**module })),
        _ => None,
    }
}

/// The address in the data of a lens.
pub fn uri_of(lens: &CodeLens) -> Option<Uri> {
    lens.data.as_ref()?.get("uri")?.as_str()?.parse().ok()
}

/// What a lens says and does that said nothing so far.
pub fn resolved(view: &View<'_>, can: &Can, lens: &CodeLens) -> Option<Command> {
    let data = lens.data.as_ref()?;
    let text = |key: &str| data.get(key).and_then(Json::as_str);
    let uri = uri_of(lens)?;
    let what = match (text("references"), text("envoys")) {
        (Some(kind), _) => {
            What::References(Of::ALL.into_iter().find(|of| of.name() == kind)?, text("name")?.into())
        }
        (None, module) => What::EnvoysOf(module?.into()),
    };
    Some(match resolve(&view.ide(), &what)? {
        Said::Envoys(envoys) => of_envoys(&uri, &envoys),
        Said::References(all) => {
            let all = locations(view, &all);
            let title = plural(all.len(), "reference");
            // only one family of editors can be told to show a list
            if can.is_vscode() && !all.is_empty() {
                let arguments = vec![json!(uri), json!(lens.range.start), json!(all)];
                Command { title, command: "editor.action.showReferences".into(), arguments: Some(arguments) }
            } else {
                nothing(title)
            }
        }
    })
}

fn of_envoys(uri: &Uri, envoys: &Envoys) -> Command {
    let title = plural(envoys.count, if envoys.hosts { "envoy" } else { "class" });
    match envoys.example.as_ref().filter(|_| envoys.hosts) {
        Some(host) => command(title, "vigo.selectEnvoy", json!({ "uri": uri, "envoy": host })),
        None => nothing(title),
    }
}

fn command(title: String, command: &str, argument: Json) -> Command {
    Command { title, command: command.to_owned(), arguments: Some(vec![argument]) }
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
