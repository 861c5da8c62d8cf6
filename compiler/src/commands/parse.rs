//! `vigoc parse`: a file as plain data.

use super::failure::{Exit, Failure};
use super::{input, output};
use crate::diagnostic::codes::INVALID_VALUE;
use crate::diagnostic::{Diagnostic, Sink};
use grammar::document::{Core, Node, Value};
use serde_json::{Map, Number, Value as Json};
use std::path::PathBuf;
use std::sync::Arc;

/// Arguments of `parse`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The file; `-` reads stdin.
    file: PathBuf,
}

const EXAMPLES: &str = "Examples:
  vigoc parse policy/modules/nginx.vgo
  vigoc parse - < nodes.vgo | jq .nodes[0]

Exit codes: 0 parsed, 1 the text is outside the subset of YAML, 64 wrong usage, 65 a file that cannot be read.";

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let text = input::text(&args.file)?;
    let file: Arc<str> = match args.file.to_string_lossy() {
        name if name == "-" => "<stdin>".into(),
        name => name.into(),
    };
    let parsed = grammar::document::parse(&text);
    let mut sink = Sink::new(file.clone());
    for error in parsed.errors {
        sink.push(Diagnostic::from_syntax(&file, error, &|s| s));
    }
    let data = plain(&parsed.root, &mut sink);
    if sink.found.is_empty() {
        output::data(&output::pretty(&data))?;
        return Ok(Exit::Done);
    }
    let mut found = sink.found;
    found.sort_by_key(|d| d.place.span);
    let message = format!("`{file}` has {}", output::count(found.len(), "error"));
    let texts = [(file, text.into())].into_iter().collect();
    Err(Failure::Findings { message, found, texts })
}

/// As a reader of YAML with the core schema sees it.
fn plain(node: &Node, sink: &mut Sink) -> Json {
    match &node.value {
        Value::Null | Value::Error => Json::Null,
        Value::Seq(items) => items.iter().map(|n| plain(n, sink)).collect(),
        Value::Map(entries) => {
            let entries = entries.iter().map(|e| (e.key.text.clone(), plain(&e.value, sink)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
        Value::Scalar(scalar) => match scalar.core() {
            Core::Null => Json::Null,
            Core::Bool(b) => b.into(),
            Core::Int(i) => i.into(),
            Core::Float(f) => Number::from_f64(f).map_or(Json::Null, Json::Number),
            Core::Str => scalar.text.as_str().into(),
            Core::OutOfRange => {
                let message = format!("`{}` is not a number that can be stored", scalar.text);
                let finding = sink
                    .say(&INVALID_VALUE, node.span, message)
                    .label("out of range")
                    .help("ints have 64 bits and floats are finite; put it in quotes to keep the text");
                sink.push(finding);
                Json::Null
            }
        },
    }
}
