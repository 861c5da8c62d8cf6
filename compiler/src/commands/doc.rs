//! `vigoc doc`: reference pages.

use super::failure::{Exit, Failure};
use super::residual::value_json;
use super::{input, output};
use crate::diagnostic::nearest::nearest;
use crate::policy::Policy;
use crate::reference::{self, call, documented};
use crate::schema::{ResourceType, schema};
use clap::ValueEnum;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments of `doc`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A resource type, or the directory of a policy to print the modules of [default: the standard library].
    #[arg(value_name = "TYPE|DIR")]
    what: Option<PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  vigoc doc | less                types, traits and functions
  vigoc doc file                  a resource type, with an example
  vigoc doc policy > MODULES.md   the modules of a policy, with their parameters
  vigoc doc --format json | jq -r '.types[].name'

A directory that has the name of a type is written `./file`.

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
    let named = args.what.as_deref().and_then(Path::to_str).and_then(|name| schema().types.get(name));
    if let Some(ty) = named {
        if directory.is_some() {
            return Err(Failure::Usage("give a type or a policy, not both".into()));
        }
        match args.format {
            Format::Markdown => output::data(&reference::resource_type(ty, 1))?,
            Format::Json => output::document("doc", json!({ "types": [resource_type(ty)] }))?,
        }
        return Ok(Exit::Done);
    }
    let policy = match args.what.is_some() || directory.is_some() {
        true => Some(open(args.what.as_deref(), directory)?),
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

/// The policy; a word that is neither a directory nor a type was meant as one of them.
fn open(what: Option<&Path>, directory: Option<PathBuf>) -> Result<Policy, Failure> {
    let word = what.and_then(Path::to_str).filter(|word| !word.contains('/') && !Path::new(word).exists());
    if let Some(word) = word {
        let near = nearest(word, schema().types.keys().map(|name| &**name));
        let help = near.map(|near| format!("; did you mean `vigoc doc {near}`?")).unwrap_or_default();
        return Err(Failure::Input(format!("`{word}` is neither a resource type nor a directory{help}")));
    }
    Ok(Policy::open(&input::root(what, directory)?)?)
}

fn names(list: &[Arc<str>]) -> Vec<&str> {
    list.iter().map(|name| &**name).collect()
}

fn resource_type(ty: &ResourceType) -> Json {
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
    let requires = ty.requires.iter().map(|(this, needs)| json!({ "attribute": &**this, "needs": &**needs }));
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
        "name": &*ty.name,
        "doc": ty.doc,
        "key": &*ty.key,
        "unique": ty.unique,
        "attributes": attributes.collect::<Vec<_>>(),
        "exclusive": ty.exclusive.iter().map(|set| names(set)).collect::<Vec<_>>(),
        "requires": requires.collect::<Vec<_>>(),
        "guards": names(&ty.guards),
        "conflicts": conflicts.collect::<Vec<_>>(),
        "example": ty.example,
        "tried": ty.tried.name(),
    })
}

fn library() -> Json {
    let types = schema().types.values().map(resource_type);
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
