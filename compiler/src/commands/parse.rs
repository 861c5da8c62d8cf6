//! `vigoc parse`: a file as plain data.

use super::failure::{Exit, Failure};
use super::{input, output};
use crate::diagnostic::codes::INVALID_VALUE;
use crate::diagnostic::{Diagnostic, Sink};
use grammar::document::{Core, Node, Value};
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use std::io::{self, Write};
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
    out_of_range(&parsed.root, &mut sink);
    if sink.found.is_empty() {
        output::stream(|out| {
            let mut json = serde_json::Serializer::with_formatter(&mut *out, Indented::default());
            Plain(&parsed.root).serialize(&mut json)?;
            out.write_all(b"\n")
        })?;
        // Millions of nodes, and the process is about to end.
        std::mem::forget(parsed.root);
        return Ok(Exit::Done);
    }
    let mut found = sink.found;
    found.sort_by_key(|d| d.place.span);
    let message = format!("`{file}` has {}", output::count(found.len(), "error"));
    let texts = [(file, text.into())].into_iter().collect();
    Err(Failure::Findings { message, found, texts })
}

/// Numbers that no reader could keep.
fn out_of_range(node: &Node, sink: &mut Sink) {
    match &node.value {
        Value::Null | Value::Error => {}
        Value::Seq(items) => items.iter().for_each(|n| out_of_range(n, sink)),
        Value::Map(entries) => entries.iter().for_each(|e| out_of_range(&e.value, sink)),
        Value::Scalar(scalar) => {
            if scalar.core() == Core::OutOfRange {
                let message = format!("`{}` is not a number that can be stored", scalar.text);
                let finding = sink
                    .say(&INVALID_VALUE, node.span, message)
                    .label("out of range")
                    .help("ints have 64 bits and floats are finite; put it in quotes to keep the text");
                sink.push(finding);
            }
        }
    }
}

/// As a reader of YAML with the core schema sees it.
struct Plain<'a>(&'a Node);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.0.value {
            Value::Null | Value::Error => to.serialize_unit(),
            Value::Seq(items) => to.collect_seq(items.iter().map(Plain)),
            Value::Map(entries) => to.collect_map(entries.iter().map(|e| (&e.key.text, Plain(&e.value)))),
            Value::Scalar(scalar) => match scalar.core() {
                Core::Null | Core::OutOfRange => to.serialize_unit(),
                Core::Bool(b) => to.serialize_bool(b),
                Core::Int(i) => to.serialize_i64(i),
                Core::Float(f) => to.serialize_f64(f),
                Core::Str => to.serialize_str(&scalar.text),
            },
        }
    }
}

/// Lists and maps are spread over lines down to here. Below it they stand on one, so that indentation is never more than
/// a small multiple of the text.
const SPREAD: usize = 16;

/// Two spaces a level, as every other document.
#[derive(Default)]
struct Indented {
    depth: usize,
    /// Something stands in the innermost list or map.
    filled: bool,
}

impl Indented {
    fn open<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        out.write_all(bracket)
    }

    fn close<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        if self.filled && self.depth <= SPREAD {
            out.write_all(b"\n")?;
            self.indent(out, self.depth - 1)?;
        }
        self.depth -= 1;
        self.filled = true;
        out.write_all(bracket)
    }

    fn next<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.filled = true;
        if self.depth > SPREAD {
            return if first { Ok(()) } else { out.write_all(b", ") };
        }
        out.write_all(if first { b"\n" } else { b",\n" })?;
        self.indent(out, self.depth)
    }

    fn indent<W: ?Sized + Write>(&self, out: &mut W, depth: usize) -> io::Result<()> {
        const SPACES: [u8; 2 * SPREAD] = [b' '; 2 * SPREAD];
        out.write_all(SPACES.get(..2 * depth).unwrap_or(&SPACES))
    }
}

impl Formatter for Indented {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"[")
    }
    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"]")
    }
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)
    }
    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"{")
    }
    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"}")
    }
    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)
    }
    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}
