//! `vigoc graph`: the order and the triggers of one host, drawn.

mod dot;
mod mermaid;
mod model;

use super::failure::{Exit, Failure};
use super::host::Host;
use super::resolve::state::State;
use super::{asked, output};
use clap::ValueEnum;
use model::{Focus, Graph};

pub(super) use model::edge_kinds;
use std::path::PathBuf;

/// Arguments of `graph`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    asked: asked::HostArgs,
    /// How to draw it.
    #[arg(long, value_enum, default_value_t = Format::Mermaid)]
    format: Format,
    /// Shows only what comes before or after this.
    #[arg(long, value_name = "MODULE[.RESOURCE]")]
    focus: Option<String>,
    /// How many edges away from the focus; without it, all the way.
    #[arg(long, value_name = "N", requires = "focus")]
    depth: Option<usize>,
    /// How many resources are drawn; the rest is counted.
    #[arg(long, value_name = "N", default_value_t = 100)]
    max_nodes: usize,
}

const EXAMPLES: &str = "Examples:
  vigoc graph web-01.example.com policy > graph.mmd
  vigoc graph web-01.example.com policy --format dot | dot -Tsvg > graph.svg
  vigoc graph web-01.example.com --focus nginx.config --depth 2
  vigoc graph web-01.example.com --format json --max-nodes 100000 | jq .edges

An arrow leads from what runs first to what runs after it: a plain one where the second depends on the first, a
dashed one where the first notifies the second, a thick one where a whole module waits for another.

Exit codes: 0 drawn, 1 no entry matches, errors for this host or traits missing, 64 wrong usage, 65 bad input.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For Graphviz.
    Dot,
    /// For Markdown.
    Mermaid,
    /// One JSON document.
    Json,
}

impl Args {
    pub(super) fn json(&self) -> bool {
        self.format == Format::Json
    }
}

/// What the command prints, with as many resources as it draws by default.
pub(super) fn text(host: &Host<'_>, focus: Option<&str>, dot: bool) -> Result<String, Failure> {
    let focus = focus.map(|name| Focus { name, depth: Some(2) });
    let graph = Graph::of(host, &State::of(host, false), focus.as_ref(), 100)?;
    Ok(if dot { dot::text(&graph, &host.name) } else { mermaid::text(&graph) })
}

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let asked = args.asked.read(directory)?;
    let host = asked.compiled()?;
    let focus = args.focus.as_deref().map(|name| Focus { name, depth: args.depth });
    let graph = Graph::of(&host, &State::of(&host, false), focus.as_ref(), args.max_nodes)?;
    match args.format {
        Format::Dot => output::data(&dot::text(&graph, &host.name))?,
        Format::Mermaid => output::data(&mermaid::text(&graph))?,
        Format::Json => output::document("graph", graph.json(&host.name))?,
    }
    Ok(Exit::Done)
}
