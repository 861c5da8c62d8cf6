//! `workspace/executeCommand`: what `vigoc` says, asked from the editor about the policy with what is not saved.
//!
//! Each takes one object: `uri` (a file of the policy), `position`, `envoy`, and what it says itself. Each but
//! `vigo.selectEnvoy` gives `{title, language, text}`.

use super::capabilities::COMMANDS;
use crate::ide::calls::{self, LinkKind};
use crate::ide::subject::subject_at;
use crate::ide::{hover, values};
use crate::position::Lines;
use crate::workspace::{View, Workspace};
use compiler::commands::ask::{self, Subject};
use compiler::plan::Member;
use compiler::policy::Policy;
use compiler::resolve::glob::normal;
use compiler::syntax::{Body, Kind, ast};
use ir::Value;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use tower_lsp_server::ls_types::{Position, Uri};

/// An answer, or work that takes longer and needs the policy no more.
pub enum Outcome {
    /// At once.
    Answer(Json),
    /// To be done on a thread of its own.
    Later(Box<dyn FnOnce() -> Result<Json, String> + Send>),
}

/// What a command was given.
struct Asked {
    fields: Json,
}

impl Asked {
    fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key)?.as_str().filter(|t| !t.trim().is_empty())
    }

    fn position(&self) -> Option<Position> {
        serde_json::from_value(self.fields.get("position")?.clone()).ok()
    }

    /// The policy that it is about: that of the file, or else the only one that is open.
    fn uri(&self, workspace: &Workspace) -> Result<Uri, String> {
        if let Some(text) = self.text("uri") {
            return text.parse().map_err(|_| format!("`{text}` is not an address of a file"));
        }
        let mut policies = workspace.policies();
        match (policies.next(), policies.next()) {
            (Some((root, _)), None) => {
                Uri::from_file_path(root.join("nodes.vgo")).ok_or_else(|| "the policy has no address".into())
            }
            (None, _) => Err("no policy is open; open a .vgo file first".into()),
            _ => Err("several policies are open; say which with `uri`".into()),
        }
    }
}

/// Runs a command.
pub fn execute(workspace: &mut Workspace, command: &str, arguments: &[Json]) -> Result<Outcome, String> {
    // some editors give the object itself, some nothing
    let asked = Asked { fields: arguments.first().cloned().unwrap_or(Json::Null) };
    if !COMMANDS.contains(&command) {
        return Err(format!("there is no command `{command}`; there are {}", COMMANDS.join(", ")));
    }
    if command == "vigo.selectEnvoy" {
        return select_envoy(workspace, &asked);
    }
    let uri = asked.uri(workspace)?;
    let Some(view) = workspace.view(&uri) else {
        return Err(format!("`{}` is in no policy", uri.as_str()));
    };
    match command {
        "vigo.explain" => explain(&view, &asked),
        "vigo.graph" => graph(&view, &asked),
        "vigo.previewBundle" => preview(&view, &asked),
        "vigo.runTest" => run_test(&view, &asked),
        _ => plan(&view, &asked),
    }
}

fn report(title: impl Into<String>, language: &str, text: impl Into<String>) -> Json {
    json!({ "title": title.into(), "language": language, "text": text.into() })
}

/// The host that a command is about, with its traits as far as the fleet file has them.
fn envoy(view: &View<'_>, asked: &Asked) -> Result<(String, Value), String> {
    let chosen = asked.text("envoy").or(asked.text("host")).or(view.settings.envoy.as_deref());
    let Some(name) = chosen.map(normal) else {
        return Err(
            "no envoy is chosen; choose one with vigo.selectEnvoy, or in the setting vigo.envoy".into()
        );
    };
    let mut ide = view.ide();
    ide.envoy = Some(&name);
    let traits = values::traits(&ide).map_or_else(|| Value::Map(Default::default()), |t| Value::clone(&t));
    Ok((name, traits))
}

/// In an editor it is the fleet file that knows the traits.
fn failed(error: &ask::NoAnswer) -> String {
    let text = error.to_string();
    match text.split_once("\n  help: give them with `--traits FILE`") {
        Some((what, _)) => {
            format!("{what}; the fleet file (setting vigo.fleet) is where the editor has them from")
        }
        None => text,
    }
}

fn explain(view: &View<'_>, asked: &Asked) -> Result<Outcome, String> {
    let source = view.ide().source(&view.path).ok_or("the file is gone")?;
    let at = asked.position().map_or(0, |p| Lines::new(&source.text, view.utf8).offset(p));
    let subject = match asked.text("var") {
        Some(name) => Some(Subject::Var(name.into())),
        None => subject_at(&view.ide(), &source, at),
    };
    let Some(subject) = subject else {
        return Err(
            "there is nothing here that can be explained: try a variable, a module, a resource or a `when:`"
                .into(),
        );
    };
    let Ok((host, traits)) = envoy(view, asked) else {
        // without an envoy, what holds for all classes
        let text = hover::hover(&view.ide(), &source, at).map(|h| h.text);
        let text = text.ok_or("no envoy is chosen; choose one with vigo.selectEnvoy")?;
        return Ok(Outcome::Answer(report("Explain", "markdown", text)));
    };
    let policy = &view.opened.policy;
    let text = ask::explained(policy, &host, &traits, &subject).map_err(|e| failed(&e))?;
    Ok(Outcome::Answer(report(format!("Explain: {host}"), "plaintext", text)))
}

fn graph(view: &View<'_>, asked: &Asked) -> Result<Outcome, String> {
    let (host, traits) = envoy(view, asked)?;
    let dot = asked.text("format") == Some("dot");
    let focus = asked.text("focus").map(str::to_owned).or_else(|| focus_at(view, asked));
    let policy = &view.opened.policy;
    let draw = |focus: Option<&str>| ask::drawn(policy, &host, &traits, focus, dot);
    // what is under the cursor need not be there for this host
    let text = draw(focus.as_deref()).or_else(|_| draw(None)).map_err(|e| failed(&e))?;
    Ok(Outcome::Answer(report(format!("Graph: {host}"), if dot { "dot" } else { "mermaid" }, text)))
}

/// The resource at the position.
fn focus_at(view: &View<'_>, asked: &Asked) -> Option<String> {
    let source = view.ide().source(&view.path)?;
    let at = Lines::new(&source.text, view.utf8).offset(asked.position()?);
    let link = calls::at(&view.ide(), &source, at)?;
    (link.kind == LinkKind::Resource).then_some(link.name)
}

fn preview(view: &View<'_>, asked: &Asked) -> Result<Outcome, String> {
    let (host, traits) = envoy(view, asked)?;
    let text = ask::resolved(&view.opened.policy, &host, &traits).map_err(|e| failed(&e))?;
    Ok(Outcome::Answer(report(format!("Bundle: {host}"), "plaintext", text)))
}

fn run_test(view: &View<'_>, asked: &Asked) -> Result<Outcome, String> {
    let all = asked.fields.get("all").and_then(Json::as_bool).unwrap_or(false);
    let name = match asked.text("test") {
        Some(name) => Some(name.to_owned()),
        None if all => None,
        None => asked.position().and_then(|p| test_at(view, p)),
    };
    let file = (Kind::of(&view.path) == Kind::Test).then(|| view.path.clone());
    let title = match (&name, &file) {
        (Some(name), _) => format!("Test: {name}"),
        (None, Some(file)) => format!("Tests: {file}"),
        (None, None) => "Tests".to_owned(),
    };
    let (files, root) = (view.opened.policy.files(), view.root.to_owned());
    Ok(Outcome::Later(Box::new(move || {
        let policy = Policy::of(files);
        let wanted = |f: &str, n: &str| {
            file.as_deref().is_none_or(|file| f == file) && name.as_deref().is_none_or(|name| n == name)
        };
        let (passed, text) = ask::tested(&policy, &root, wanted).map_err(|e| e.to_string())?;
        let mut out = report(title, "plaintext", text);
        out["passed"] = passed.into();
        Ok(out)
    })))
}

/// The test that a position is in: the last that begins at or before it.
fn test_at(view: &View<'_>, position: Position) -> Option<String> {
    let source = view.ide().source(&view.path)?;
    let at = Lines::new(&source.text, view.utf8).offset(position);
    let (db, _) = view.ide().queries();
    let Body::Tests(tests) = &ast(db, source.file).body else { return None };
    let line_end = source.text.get(at as usize..)?.find('\n').map_or(source.text.len(), |n| at as usize + n);
    let before = tests.iter().filter(|t| t.name.span.start as usize <= line_end);
    before.max_by_key(|t| t.name.span.start).map(|t| t.name.text.to_string())
}

fn plan(view: &View<'_>, asked: &Asked) -> Result<Outcome, String> {
    let fleet: Vec<Member> = view.opened.fleet.clone();
    if fleet.is_empty() {
        return Err("a plan is about a fleet: put fleet.jsonl beside nodes.vgo, or name the file in the setting vigo.fleet".into());
    }
    let revision = asked.text("revision").unwrap_or("HEAD").to_owned();
    let markdown = match asked.text("format") {
        None | Some("text") => false,
        Some("markdown") => true,
        Some(other) => return Err(format!("a plan is `text` or `markdown`, not `{other}`")),
    };
    let (files, root): (_, PathBuf) = (view.opened.policy.files(), view.root.to_owned());
    Ok(Outcome::Later(Box::new(move || {
        let text = ask::planned(&root, &revision, files, fleet, markdown).map_err(|e| e.to_string())?;
        let language = if markdown { "markdown" } else { "plaintext" };
        Ok(report(format!("Plan: {revision} → the editor"), language, text))
    })))
}

/// More hosts than this are not picked from a list.
const MOST: usize = 5000;

fn select_envoy(workspace: &mut Workspace, asked: &Asked) -> Result<Outcome, String> {
    if let Some(given) = asked.fields.get("envoy") {
        workspace.settings.envoy = match given {
            Json::Null => None,
            Json::String(name) if name.trim().is_empty() => None,
            Json::String(name) => Some(normal(name)),
            other => return Err(format!("`{other}` is not a host name")),
        };
    }
    let envoy = workspace.settings.envoy.clone();
    let candidates = match asked.uri(workspace).ok().and_then(|uri| workspace.view(&uri)) {
        Some(view) => candidates(&view),
        None => Vec::new(),
    };
    Ok(Outcome::Answer(json!({ "envoy": envoy, "candidates": candidates })))
}

/// Hosts of the fleet; without one, those that tests and node entries name.
fn candidates(view: &View<'_>) -> Vec<String> {
    let ide = view.ide();
    if !ide.fleet.is_empty() {
        return ide.fleet.iter().take(MOST).map(|m| m.hostname.clone()).collect();
    }
    let (db, project) = ide.queries();
    let mut out: BTreeSet<Arc<str>> = BTreeSet::new();
    for file in project.files(db) {
        match &ast(db, *file).body {
            Body::Tests(tests) => out.extend(tests.iter().map(|t| t.envoy.text.clone())),
            Body::Nodes(entries) => {
                let patterns = entries.iter().flat_map(|e| &e.patterns).map(|(n, _)| &n.text);
                out.extend(patterns.filter(|p| !p.contains(['*', '?', '[', '{'])).cloned());
            }
            _ => {}
        }
    }
    out.into_iter().take(MOST).map(|n| normal(&n)).collect()
}
