//! `vigoc doc`: reference pages.

use super::failure::{Exit, Failure};
use super::residual::value_json;
use super::{input, output};
use crate::policy::Policy;
use crate::reference::{self, call, documented};
use crate::schema::schema;
use clap::ValueEnum;
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use std::sync::Arc;

/// Arguments of `doc`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A policy: prints its modules instead of the standard library.
    dir: Option<PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  vigoc doc | less                types, traits and functions
  vigoc doc policy > MODULES.md   the modules of a policy, with their parameters
  vigoc doc --format json | jq -r '.types[].name'

Exit codes: 0 success, 64 wrong usage, 65 no policy there.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Markdown,
    /// One JSON document.
    Json,
}

impl Args {
    pub(super) fn json(&self) -> bool {
        self.format == Format::Json
    }
}

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let policy = match args.dir.is_some() || directory.is_some() {
        true => Some(Policy::open(&input::root(args.dir.as_deref(), directory)?)?),
        false => None,
    };
    match (args.format, &policy) {
        (Format::Markdown, Some(policy)) => output::data(&reference::modules(policy))?,
        (Format::Markdown, None) => output::data(&reference::library())?,
        (Format::Json, Some(policy)) => output::document("doc", modules(policy))?,
        (Format::Json, None) => output::document("doc", library())?,
    }
    Ok(Exit::Done)
}

fn names(list: &[Arc<str>]) -> Vec<&str> {
    list.iter().map(|name| &**name).collect()
}

fn library() -> Json {
    let types = schema().types.iter().map(|(name, ty)| {
        let attributes = ty.attributes.iter().map(|(name, a)| {
            json!({
                "name": &**name,
                "type": a.ty.to_string(),
                "required": a.required,
                "default": a.default.as_ref().map(value_json),
                "sensitive": a.sensitive,
                "source": a.source,
                "doc": a.doc,
            })
        });
        let requires =
            ty.requires.iter().map(|(this, needs)| json!({ "attribute": &**this, "needs": &**needs }));
        let conflicts = ty.conflicts.iter().map(|c| {
            let excludes = c.excludes.iter().map(|(name, values)| {
                json!({ "attribute": &**name, "values": values.iter().map(value_json).collect::<Vec<_>>() })
            });
            json!({
                "attribute": &*c.when.0,
                "value": value_json(&c.when.1),
                "excludes": excludes.collect::<Vec<_>>(),
            })
        });
        json!({
            "name": &**name,
            "doc": ty.doc,
            "key": &*ty.key,
            "unique": ty.unique,
            "attributes": attributes.collect::<Vec<_>>(),
            "exclusive": ty.exclusive.iter().map(|set| names(set)).collect::<Vec<_>>(),
            "requires": requires.collect::<Vec<_>>(),
            "guards": names(&ty.guards),
            "conflicts": conflicts.collect::<Vec<_>>(),
        })
    });
    let traits = schema().traits.iter().map(|(path, t)| {
        json!({
            "path": &**path,
            "type": t.ty.to_string(),
            "scope": if t.shared { "shared" } else { "host" },
            "optional": t.optional,
            "doc": t.doc,
        })
    });
    let functions = schema().functions.iter().map(|(name, f)| {
        json!({
            "name": &**name,
            "when": f.in_when.then(|| call(name, f, true)),
            "template": f.in_template.then(|| call(name, f, false)),
            "returns": f.returns.to_string(),
            "stage": f.stage.name(),
            "reads": names(&f.reads),
            "doc": f.doc,
        })
    });
    json!({
        "types": types.collect::<Vec<_>>(),
        "traits": traits.collect::<Vec<_>>(),
        "functions": functions.collect::<Vec<_>>(),
    })
}

fn modules(policy: &Policy) -> Json {
    let all = documented(policy).map(|module| {
        let variables = module.interface.variables.iter().map(|v| {
            json!({
                "name": &*v.name,
                "type": v.ty.to_string(),
                "parameter": v.parameter,
                "required": v.parameter && v.default.is_none(),
                "default": v.default.as_deref().map(value_json),
                "doc": module.doc_of(v),
            })
        });
        json!({
            "name": &*module.interface.name,
            "file": &**module.file,
            "doc": module.doc(),
            "depends_on": names(&module.interface.depends_on),
            "variables": variables.collect::<Vec<_>>(),
        })
    });
    json!({ "modules": all.collect::<Vec<_>>() })
}
