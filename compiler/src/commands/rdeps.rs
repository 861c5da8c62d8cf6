//! `vigoc rdeps`: where something is used.

use super::failure::{Exit, Failure};
use super::resolve::Format;
use super::{input, output};
use crate::diagnostic::json;
use crate::diagnostic::nearest::suggest;
use crate::policy::Policy;
use crate::specialise::edges::Target;
use crate::uses::{Of, Use, uses};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Arguments of `rdeps`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A module, variable, role, environment, template, trait (`os.family`) or resource (`nginx.config`).
    name: String,
    /// The root of the policy.
    dir: Option<PathBuf>,
    /// Only where it is the name of this.
    #[arg(long, value_enum)]
    kind: Option<Of>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  vigoc rdeps nginx                       who gets this module, needs it, refers to it?
  vigoc rdeps workers --kind variable     who sets it, who reads it?
  vigoc rdeps os.family                   what depends on this trait?
  vigoc rdeps nginx/site.conf.tmpl --format json

Exit codes: 0 printed, 1 nothing has this name, 64 wrong usage, 65 no policy there.";

impl Args {
    pub(super) fn json(&self) -> bool {
        self.format == Format::Json
    }
}

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let root = input::root(args.dir.as_deref(), directory)?;
    let policy = Policy::open(&root)?;
    let (db, project) = policy.queries();
    let all = uses(db, project);
    let wanted = |u: &&Use| args.kind.is_none_or(|k| k == u.of);
    let mut found: Vec<&Use> = all.iter().filter(wanted).filter(|u| means(u, &args.name)).collect();
    found.sort_by_key(|u| (&u.place, u.of));
    if found.is_empty() {
        let known: BTreeSet<&str> = all.iter().filter(wanted).map(|u| &*u.name).collect();
        let what = args.kind.map_or("name", |k| k.name());
        let message = format!("the policy has no {what} `{}`", args.name);
        return Err(Failure::no_answer(message, suggest(&args.name, known)));
    }
    let line = |u: &Use| json::line(policy.text(&u.place.file).as_ref(), u.place.span.start);
    match args.format {
        Format::Json => {
            let row = |u: &&Use| {
                let mut row = output::place(&u.place.file, line(u));
                row["kind"] = u.of.name().into();
                row["name"] = (*u.name).into();
                row["how"] = u.how.into();
                row["by"] = (*u.by).into();
                row
            };
            let rows: Vec<Json> = found.iter().map(row).collect();
            output::document("rdeps", json!({ "name": args.name, "uses": rows }))?;
        }
        Format::Human => {
            let mut out = String::new();
            for of in Of::ALL {
                let rows: Vec<&&Use> = found.iter().filter(|u| u.of == of).collect();
                if rows.is_empty() {
                    continue;
                }
                out.push_str(&format!("{} {}\n", of.name(), args.name));
                let place = |u: &Use| format!("{}:{}", u.place.file, line(u));
                let width = rows.iter().map(|u| place(u).chars().count()).max().unwrap_or(0);
                let how = rows.iter().map(|u| u.how.len()).max().unwrap_or(0);
                for u in rows {
                    // what declares itself says nothing
                    let itself = u.how == "declared" && *u.by == format!("{} {}", u.of.name(), u.name);
                    let by = if itself || u.by == u.place.file { "" } else { &u.by };
                    let text = format!("  {:<width$}  {:<how$}  {by}", place(u), u.how);
                    out.push_str(text.trim_end());
                    out.push('\n');
                }
            }
            output::data(&out)?;
        }
    }
    Ok(Exit::Done)
}

/// Whether a use is one of this name: a reference may be a pattern, and a name a template.
fn means(u: &Use, name: &str) -> bool {
    if *u.name == *name {
        return true;
    }
    u.of == Of::Resource && u.how != "declared" && Target::new(&u.name).means(name)
}
