//! `vigoc resolve`: the desired state of one host.

pub(super) mod state;

use super::failure::{Exit, Failure};
use super::host::Host;
use super::residual::{Shown, attribute_text, value_json, value_text};
use super::{asked, output};
use clap::ValueEnum;
use ir::unparse::when_text;
use serde_json::{Map, Value as Json, json};
use state::State;
use std::fmt::Write;
use std::path::PathBuf;

/// Arguments of `resolve`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    asked: asked::HostArgs,
    /// Finishes with the traits given what only the agent would finish.
    #[arg(long)]
    full: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  vigoc resolve web-01.example.com
  vigoc resolve web-01.example.com policy --traits traits/debian12.json
  vigoc resolve web-01.example.com --environment staging --format json | jq .vars

Exit codes: 0 resolved, 1 no entry matches, errors for this host or traits missing, 64 wrong usage, 65 bad input.";

/// Formats of commands about one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Human,
    /// One JSON document.
    Json,
}

impl Args {
    pub(super) fn json(&self) -> bool {
        self.format == Format::Json
    }
}

/// What the command prints for people.
pub(super) fn text(host: &Host<'_>) -> String {
    human(host, &State::of(host, false))
}

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let asked = args.asked.read(directory)?;
    let host = asked.compiled()?;
    let state = State::of(&host, args.full);
    match args.format {
        Format::Json => output::document("resolve", json(&host, &state))?,
        Format::Human => output::data(&human(&host, &state))?,
    }
    Ok(Exit::Done)
}

/// The state of a host as JSON.
pub(super) fn json(host: &Host<'_>, state: &State) -> Json {
    let (file, line) = host.entry();
    let vars: Map<String, Json> = host.vars.known().map(|(n, v)| (n.to_string(), value_json(v))).collect();
    let resources: Vec<Json> = state
        .resources
        .iter()
        .map(|r| {
            let shown = Shown {
                name: &r.name,
                kind: &r.kind,
                when: r.when.as_ref(),
                attributes: &r.attributes,
                depends_on: r.depends_on.iter().map(String::as_str).collect(),
                notify: r.notify.iter().map(String::as_str).collect(),
            };
            let mut out = json!({ "module": &*r.module });
            if let (Json::Object(out), Json::Object(fields)) = (&mut out, shown.json()) {
                out.extend(fields);
            }
            out
        })
        .collect();
    json!({
        "envoy": &*host.name,
        "entry": output::place(&file, line),
        "environment": host.resolved.environment.as_deref(),
        "roles": names(&host.resolved.roles),
        "modules": names(&state.modules),
        "vars": vars,
        "merkle_root": host.assembled().merkle_root.to_string(),
        "footprint": names(&host.linked.footprint),
        "resources": resources,
    })
}

fn names<'a>(list: impl IntoIterator<Item = &'a std::sync::Arc<str>>) -> Vec<&'a str> {
    list.into_iter().map(|n| &**n).collect()
}

fn human(host: &Host<'_>, state: &State) -> String {
    let mut out = String::new();
    // writing to a String cannot fail
    let _ = summary(host, state, &mut out);
    out
}

fn summary(host: &Host<'_>, state: &State, out: &mut String) -> std::fmt::Result {
    let (file, line) = host.entry();
    let environment = host.resolved.environment.as_deref().unwrap_or("none");
    writeln!(out, "{}   {file}:{line}", host.name)?;
    writeln!(out, "environment  {environment}")?;
    writeln!(out, "roles        {}", listed(&names(&host.resolved.roles)))?;
    writeln!(out, "modules      {}", listed(&names(&state.modules)))?;
    let missing = names(&host.linked.footprint).join(", ");
    if !missing.is_empty() {
        writeln!(out, "looks at     {missing}")?;
    }
    writeln!(out, "root         {}", host.assembled().merkle_root.short())?;
    let vars: Vec<_> = host.vars.known().collect();
    if !vars.is_empty() {
        writeln!(out, "\nvariables")?;
        let width = vars.iter().map(|(n, _)| n.chars().count()).max().unwrap_or(0).min(32);
        for (name, value) in vars {
            writeln!(out, "  {name:width$}  {}", output::short(&value_text(value), WIDE))?;
        }
    }
    for module in &state.modules {
        let resources = state.resources.iter().filter(|r| r.module == *module);
        writeln!(out, "\n{module}")?;
        for r in resources {
            writeln!(out, "  {}  ({})", r.name, r.kind)?;
            let width = r.attributes.iter().map(|(n, _)| n.len()).max().unwrap_or(0).max("notifies".len());
            if let Some(when) = &r.when {
                writeln!(out, "    {:width$}  {}", "when", when_text(when))?;
            }
            for (name, expr) in &r.attributes {
                writeln!(out, "    {name:width$}  {}", output::short(&attribute_text(expr), WIDE))?;
            }
            for (key, list) in [("after", &r.depends_on), ("notifies", &r.notify)] {
                if !list.is_empty() {
                    writeln!(out, "    {key:width$}  {}", list.join(", "))?;
                }
            }
        }
    }
    Ok(())
}

/// Characters of a value; `--format json` has it all.
const WIDE: usize = 100;

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
