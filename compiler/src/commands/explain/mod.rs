//! `vigoc explain`: why a host gets something, and why not.

mod condition;
mod module;
mod resource;
mod var;

use super::failure::{Exit, Failure};
use super::host::Host;
use super::resolve::Format;
use super::{asked, output};
use crate::diagnostic::nearest::suggest;
use serde_json::Value as Json;
use std::path::PathBuf;

pub(super) use resource::chosen_branch;
pub(super) use var::{LAYERS, effects};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("subject").required(true).args(["var", "module", "resource", "when"]))]
pub(super) struct Args {
    #[command(flatten)]
    asked: asked::HostArgs,
    /// A variable: every layer that sets it.
    #[arg(long, value_name = "NAME")]
    var: Option<String>,
    /// A module: how it came in, or why it did not.
    #[arg(long, value_name = "MODULE")]
    module: Option<String>,
    /// A resource: what it is for this host.
    #[arg(long, value_name = "MODULE.RESOURCE")]
    resource: Option<String>,
    /// A condition, of a resource or of a whole module: each part of it with its value.
    #[arg(long, value_name = "MODULE.RESOURCE")]
    when: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  vigoc explain web-01.example.com --var workers
  vigoc explain web-01.example.com --module debug
  vigoc explain web-01.example.com --resource nginx.config
  vigoc explain web-01.example.com --when nginx.config --traits traits/debian12.json

Exit codes: 0 explained, 1 no entry matches or there is no such thing, 64 wrong usage, 65 bad input.";

impl Args {
    pub(super) fn json(&self) -> bool {
        self.format == Format::Json
    }
}

/// What is asked about.
pub(super) use super::ask::Subject;

/// What the command prints for people.
pub(super) fn text(host: &Host<'_>, subject: &Subject) -> Result<String, Failure> {
    let answer = match subject {
        Subject::Var(name) => var::explain(host, name),
        Subject::Module(name) => module::explain(host, name),
        Subject::Resource(name) => resource::explain(host, name),
        Subject::When(name) => condition::explain(host, name),
    };
    answer.map(|answer| answer.text)
}

/// An answer: for people, and as fields of the document.
struct Answer {
    text: String,
    fields: Vec<(&'static str, Json)>,
}

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let asked = args.asked.read(directory)?;
    let host = asked.host()?;
    let errors = host.errors();
    let answer = if let Some(name) = &args.var {
        var::explain(&host, name)
    } else if let Some(name) = &args.module {
        module::explain(&host, name)
    } else if let Some(name) = &args.resource {
        resource::explain(&host, name)
    } else if let Some(name) = &args.when {
        condition::explain(&host, name)
    } else {
        Err(Failure::Usage("say what to explain: --var, --module, --resource or --when".into()))
    };
    if !errors.is_empty() {
        let many = output::count(errors.len(), "error");
        output::warning(&format!("the policy has {many} for this host; `vigoc check` shows them"));
    }
    let answer = answer?;
    match args.format {
        Format::Human => output::data(&answer.text)?,
        Format::Json => {
            let (file, line) = host.entry();
            let head = [("envoy", Json::from(&*host.name)), ("entry", output::place(&file, line))];
            let all = head.into_iter().chain(answer.fields).map(|(k, v)| (k.to_owned(), v));
            output::document("explain", Json::Object(all.collect()))?;
        }
    }
    Ok(Exit::Done)
}

/// Rows of text with columns as wide as they need to be.
fn table(rows: &[Vec<String>]) -> String {
    const MOST: usize = 48;
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|r| r.get(at)).map(|c| c.chars().count());
        cells.filter(|n| *n <= MOST).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(c, w)| format!("{c:w$}")).collect();
        out.push_str(cells.join("   ").trim_end());
        out.push('\n');
    }
    out
}

/// A name that does not exist.
fn unknown<'a>(what: &str, name: &str, host: &Host<'_>, known: impl IntoIterator<Item = &'a str>) -> Failure {
    Failure::no_answer(format!("`{}` has no {what} `{name}`", host.name), suggest(name, known))
}
