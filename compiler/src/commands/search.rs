//! `vigoc search`: finds what a policy and the standard library have by a part of its name or of its text.

use super::failure::{Exit, Failure};
use super::resolve::Format;
use super::{input, output};
use crate::diagnostic::json;
use crate::policy::Policy;
use crate::resolve::index::index;
use crate::resolve::interface::module;
use crate::schema::schema;
use crate::uses::{Of, uses};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Arguments of `search`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Words that all have to occur, in any case.
    #[arg(required = true)]
    query: Vec<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  vigoc search nginx
  vigoc search rate limit -C policy
  vigoc search memory                traits, types and functions are searched, too

Exit codes: 0 found, 1 nothing found, 64 wrong usage, 65 no policy there.";

impl Args {
    pub(super) fn json(&self) -> bool {
        self.format == Format::Json
    }
}

/// Something that was found.
struct Hit {
    kind: &'static str,
    name: String,
    doc: String,
    /// Nowhere in the policy: it is part of the standard library.
    place: Option<(Arc<str>, usize)>,
}

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let root = input::root(None, directory)?;
    let policy = Policy::open(&root)?;
    let words: Vec<String> = args.query.iter().map(|w| w.to_lowercase()).collect();
    let matches = |hit: &Hit| {
        let text = format!("{} {} {}", hit.kind, hit.name, hit.doc).to_lowercase();
        words.iter().all(|word| text.contains(word.as_str()))
    };
    let mut found: Vec<Hit> = of_policy(&policy).into_iter().chain(of_library()).filter(matches).collect();
    // what is called so comes before what only speaks of it
    let named = |hit: &Hit| words.iter().all(|word| hit.name.to_lowercase().contains(word.as_str()));
    found.sort_by_key(|hit| !named(hit));
    if found.is_empty() {
        let message = format!("nothing has `{}` in its name or description", args.query.join(" "));
        return Err(Failure::no_answer(message, Some("one word, or a part of one, finds more".into())));
    }
    match args.format {
        Format::Json => {
            let row = |hit: &Hit| {
                let (file, line) = hit.place.as_ref().map(|(f, l)| (&**f, *l)).unzip();
                json!({ "kind": hit.kind, "name": hit.name, "doc": hit.doc, "file": file, "line": line })
            };
            let rows: Vec<Json> = found.iter().map(row).collect();
            output::document("search", json!({ "query": args.query.join(" "), "found": rows }))?;
        }
        Format::Human => {
            let place = |hit: &Hit| match &hit.place {
                Some((file, line)) => format!("{file}:{line}"),
                None => "standard library".to_owned(),
            };
            let kind = found.iter().map(|h| h.kind.len()).max().unwrap_or(0);
            let name = found.iter().map(|h| h.name.chars().count()).max().unwrap_or(0).min(40);
            let text: String = found
                .iter()
                .map(|h| {
                    let doc = output::short(h.doc.lines().next().unwrap_or_default(), 72);
                    let doc = if doc.is_empty() { doc } else { format!("\n{:kind$}    {doc}", "") };
                    format!("{:<kind$}  {:<name$}  {}{doc}\n", h.kind, h.name, place(h))
                })
                .collect();
            output::data(&text)?;
        }
    }
    Ok(Exit::Done)
}

/// What the policy declares, each thing once: where it is declared first.
fn of_policy(policy: &Policy) -> Vec<Hit> {
    let (db, project) = policy.queries();
    let line = |file: &str, at| json::line(policy.text(file).as_ref(), at);
    let mut out: BTreeMap<(Of, Arc<str>), Hit> = BTreeMap::new();
    for u in uses(db, project) {
        let declares = match u.of {
            // one that no module declares is declared by whoever sets it
            Of::Variable => matches!(u.how, "declared" | "set"),
            Of::Trait => false,
            _ => u.how == "declared",
        };
        if declares {
            let place = Some((u.place.file.clone(), line(&u.place.file, u.place.span.start)));
            let hit = Hit { kind: u.of.name(), name: u.name.to_string(), doc: String::new(), place };
            let known = out.entry((u.of, u.name)).or_insert(hit);
            if u.how == "declared" && known.doc.is_empty() && u.of == Of::Variable {
                known.place = Some((u.place.file.clone(), line(&u.place.file, u.place.span.start)));
            }
        }
    }
    for (name, file) in &index(db, project).modules {
        let doc = module(db, *file).and_then(|m| m.doc.as_ref());
        if let (Some(hit), Some(doc)) = (out.get_mut(&(Of::Module, name.clone())), doc) {
            hit.doc = doc.to_string();
        }
    }
    let mut out: Vec<Hit> = out.into_values().collect();
    for (file, entry) in crate::concern::all_entries(db, project) {
        let path = file.path(db);
        let patterns: Vec<&str> = entry.patterns.iter().map(|(n, _)| &*n.text).collect();
        let place = Some((path.clone(), line(path, entry.span.start)));
        out.push(Hit { kind: "entry", name: patterns.join(", "), doc: String::new(), place });
    }
    out
}

/// What the standard library has.
fn of_library() -> impl Iterator<Item = Hit> {
    let hit = |kind: &'static str, name: &str, doc: &str| Hit {
        kind,
        name: name.to_owned(),
        doc: doc.to_owned(),
        place: None,
    };
    let types = schema().types.iter().map(move |(name, t)| hit("type", name, &t.doc));
    let traits = schema().traits.iter().map(move |(name, t)| hit("trait", name, &t.doc));
    let functions = schema().functions.iter().map(move |(name, f)| hit("function", name, &f.doc));
    types.chain(traits).chain(functions)
}
