//! `vigoc rule`: what a kind of finding means.

use super::check::slug;
use super::failure::{Exit, Failure};
use super::output;
use crate::diagnostic::codes::slugs;
use crate::rules::{Page, page};
use clap::ValueEnum;
use serde_json::json;

/// Arguments of `rule`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The kind of finding, as it stands above it [default: list all].
    #[arg(value_parser = slug)]
    slug: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  vigoc rule needs-quotes            what it means, an example with it and one without
  vigoc rule                         all there are
  vigoc rule --format json           for programs

Exit codes: 0 printed, 64 wrong usage, or there is no such kind.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people; a page is Markdown.
    Human,
    /// One JSON document.
    Json,
}

impl Args {
    pub(super) fn json(&self) -> bool {
        self.format == Format::Json
    }
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    match (args.slug.as_deref().and_then(page), args.format) {
        (Some(page), Format::Human) => output::data(&page.document(1))?,
        (Some(page), Format::Json) => output::document("rule", json!({ "rules": [document(&page)] }))?,
        (None, Format::Human) => output::data(&list())?,
        (None, Format::Json) => {
            let all: Vec<_> = crate::rules::pages().map(|p| document(&p)).collect();
            output::document("rule", json!({ "rules": all }))?;
        }
    }
    Ok(Exit::Done)
}

fn list() -> String {
    let width = slugs().map(|(slug, ..)| slug.len()).max().unwrap_or_default();
    slugs()
        .map(|(slug, severity, about)| format!("{slug:<width$}  {:<7}  {about}\n", severity.name()))
        .collect()
}

fn document(page: &Page) -> serde_json::Value {
    json!({
        "code": page.slug,
        "severity": page.severity.name(),
        "summary": page.summary,
        "markdown": page.document(1),
    })
}
