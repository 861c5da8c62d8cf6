//! YAML: comments, order and layout stay. What is to change is cut out of the text and written anew.
//!
//! `saphyr-parser` says what stands where; here is only where to cut. Whatever comes of an unusual layout is read again
//! by the caller and refused if it is not what was meant.

use super::structured::{Format, MAX_DEPTH, Step, is_plain};
use super::tree::{Entry, Kind, Node, indent, line_start, line_stop, splice};
use super::{EditError, flow, lines};
use ir::{Finite, Value};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};
use std::collections::HashMap;

/// The format.
pub struct Yaml;

/// What aliases may unfold to, in values.
const MAX_VALUES: usize = 200_000;
/// For each level of what is written anew.
const UNIT: usize = 2;
const STYLE: flow::Style = flow::Style { text: written };

impl Format for Yaml {
    const KIND: &'static str = "yaml_file";

    fn read(text: &str) -> Result<Value, EditError> {
        Ok(match document(text)? {
            None => Value::Map(Default::default()),
            Some(node) => match node.value() {
                Value::Null => Value::Map(Default::default()),
                value => value,
            },
        })
    }

    fn set(text: &str, path: &[Step], value: &Value) -> Result<String, EditError> {
        let root = document(text)?;
        let new = match &root {
            Some(root) if !is_blank(root) => set(text, root, path, value)?,
            _ => {
                let Some(key) = path.last() else { return Ok(text.to_owned()) };
                let all = lines::lines(text);
                // Before the mark that ends the document, if there is one.
                let at = all.iter().rposition(|l| lines::body(l).trim_end() == "...").unwrap_or(all.len());
                lines::insert(&all, at, &format!("{}\n", entry(&key.text, value, 0)), "\n")
            }
        };
        Ok(ended(text, new))
    }

    fn remove(text: &str, path: &[Step]) -> Result<String, EditError> {
        match document(text)? {
            Some(root) => Ok(ended(text, remove(text, &root, path)?)),
            None => Ok(text.to_owned()),
        }
    }

    fn can_hold(value: &Value) -> Result<(), &'static str> {
        is_plain(value)
    }
}

/// A key without a value, or a document with nothing in it.
fn is_blank(node: &Node) -> bool {
    matches!(node.kind, Kind::Scalar(Value::Null)) && node.span.is_empty()
}

/// With the line ends of the text that it is made of.
fn ended(old: &str, new: String) -> String {
    match lines::line_end(old) {
        "\r\n" => new.replace("\r\n", "\n").replace('\n', "\r\n"),
        _ => new,
    }
}

/// The one document of a text.
fn document(text: &str) -> Result<Option<Node>, EditError> {
    // Marks count characters.
    let mut bytes: Vec<usize> = Vec::new();
    if !text.is_ascii() {
        bytes = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    }
    let mut reader =
        Reader { text, bytes, events: Parser::new_from_str(text), anchors: HashMap::new(), values: 0 };
    let mut found = None;
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::Nothing => {}
            _ if found.is_some() => {
                let at = reader.at(span.start);
                return Err(EditError::at(
                    text,
                    at,
                    "a second document begins; only files with one are edited",
                ));
            }
            event => found = Some(reader.node(event, span, 0)?),
        }
    }
    Ok(found)
}

struct Reader<'t> {
    text: &'t str,
    /// Of each character, where the text is not ASCII.
    bytes: Vec<usize>,
    events: Parser<'t, saphyr_parser::StrInput<'t>>,
    anchors: HashMap<usize, Value>,
    values: usize,
}

impl<'t> Reader<'t> {
    fn at(&self, marker: Marker) -> usize {
        match self.bytes.is_empty() {
            true => marker.index().min(self.text.len()),
            false => self.bytes.get(marker.index()).copied().unwrap_or(self.text.len()),
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, EditError> {
        self.events.next().transpose().map_err(|e| {
            let what = format!("is not YAML: {}", crate::text::printable(e.info()));
            EditError::at(self.text, self.at(*e.marker()), what)
        })
    }

    fn due(&mut self) -> Result<(Event<'t>, Span), EditError> {
        self.next()?
            .ok_or_else(|| EditError::at(self.text, self.text.len(), "is not YAML: it ends too early"))
    }

    fn count(&mut self, more: usize, at: usize) -> Result<(), EditError> {
        self.values += more;
        match self.values > MAX_VALUES {
            true => Err(EditError::at(self.text, at, "holds more values than are edited")),
            false => Ok(()),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, EditError> {
        let (start, end) = (self.at(span.start), self.at(span.end));
        if depth > MAX_DEPTH {
            return Err(EditError::at(self.text, start, "is nested too deeply"));
        }
        self.count(1, start)?;
        match event {
            Event::Alias(id) => {
                let value = self.anchors.get(&id).cloned();
                let value = value.ok_or_else(|| {
                    EditError::at(self.text, start, "this alias is part of what it stands for")
                })?;
                self.count(size(&value), start)?;
                Ok(Node { span: start..end, kind: Kind::Alias(value), block: false })
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = match (style, &tag) {
                    (ScalarStyle::Plain, None) => plain(&text),
                    (_, None) => Value::from(&*text),
                    // What a tag makes of it is not known here; it equals nothing but itself.
                    (_, Some(tag)) if tag.is_yaml_core_schema() && tag.suffix == "str" => Value::from(&*text),
                    (_, Some(tag)) => Value::from(format!("!{}{} {text}", tag.handle, tag.suffix).as_str()),
                };
                if anchor > 0 {
                    self.anchors.insert(anchor, value.clone());
                }
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let span = if block { self.block_scalar(start, end) } else { start..end };
                Ok(Node { span, kind: Kind::Scalar(value), block })
            }
            Event::SequenceStart(anchor, _) => {
                let block = !self.opens(start, '[');
                let mut items: Vec<Node> = Vec::new();
                let stop = loop {
                    let (event, span) = self.due()?;
                    if event == Event::SequenceEnd {
                        break self.at(span.start);
                    }
                    items.push(self.node(event, span, depth + 1)?);
                };
                let span = match block {
                    true => {
                        let first =
                            items.first().map_or(start, |item| self.dash(item.span.start).unwrap_or(start));
                        first..items.last().map_or(start, |item| item.span.end)
                    }
                    false => start..stop + 1,
                };
                Ok(self.anchored(anchor, Node { span, kind: Kind::List(items), block }))
            }
            Event::MappingStart(anchor, _) => {
                let block = !self.opens(start, '{');
                let mut entries: Vec<Entry> = Vec::new();
                let stop = loop {
                    let (event, span) = self.due()?;
                    if event == Event::MappingEnd {
                        break self.at(span.start);
                    }
                    let (from, to) = (self.at(span.start), self.at(span.end));
                    let Event::Scalar(key, _, anchor, _) = event else {
                        return Err(EditError::at(
                            self.text,
                            from,
                            "a key that is not plain text cannot be edited",
                        ));
                    };
                    if anchor > 0 {
                        self.anchors.insert(anchor, Value::from(&*key));
                    }
                    let (event, span) = self.due()?;
                    let mut node = self.node(event, span, depth + 1)?;
                    if node.block && matches!(node.kind, Kind::Scalar(_)) {
                        // Its mark stands behind the key.
                        let colon = colon(self.text, to);
                        let rest = self.text.get(colon..node.span.end).unwrap_or_default();
                        node.span.start = colon + rest.len() - rest.trim_start().len();
                    }
                    entries.push(Entry { key: key.into_owned(), key_span: from..to, node });
                };
                let span = match block {
                    true => {
                        let end = entries
                            .last()
                            .map_or(start, |e| e.node.span.end.max(colon(self.text, e.key_span.end)));
                        entries.first().map_or(start, |e| e.key_span.start)..end
                    }
                    false => start..stop + 1,
                };
                Ok(self.anchored(anchor, Node { span, kind: Kind::Map(entries), block }))
            }
            _ => Err(EditError::at(self.text, start, "is not YAML that can be edited")),
        }
    }

    fn anchored(&mut self, anchor: usize, node: Node) -> Node {
        if anchor > 0 {
            self.anchors.insert(anchor, node.value());
        }
        node
    }

    fn opens(&self, at: usize, mark: char) -> bool {
        self.text.get(at..).is_some_and(|rest| rest.starts_with(mark))
    }

    /// The dash before an item.
    fn dash(&self, item: usize) -> Option<usize> {
        let before = self.text.get(..item)?.trim_end_matches([' ', '\t', '\n', '\r']);
        before.ends_with('-').then(|| before.len() - 1)
    }

    /// From the mark of a block scalar to the end of its last line.
    fn block_scalar(&self, start: usize, end: usize) -> std::ops::Range<usize> {
        let mark = self.text.get(..start).and_then(|before| before.rfind(['|', '>'])).unwrap_or(start);
        let whole = self.text.get(mark..end).unwrap_or_default();
        mark..mark + whole.trim_end_matches(['\n', '\r', ' ']).len()
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(map) => 1 + map.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

/// A plain scalar by the core schema of YAML 1.2.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['-', '+']);
    let signed = text.len() - digits.len() <= 1;
    let radix =
        |prefix: &str, radix| text.strip_prefix(prefix).and_then(|d| i64::from_str_radix(d, radix).ok());
    let int = match digits.bytes().all(|b| b.is_ascii_digit()) && signed {
        true => text.trim_start_matches('+').parse().ok(),
        false => radix("0o", 8).or_else(|| radix("0x", 16)),
    };
    if let Some(int) = int {
        return Value::Int(int);
    }
    let float = signed
        && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse().ok().filter(|_| float).and_then(Finite::new) {
        Some(float) => Value::Float(float),
        None => Value::from(text),
    }
}

/// A text as a scalar: plain where no reader, of YAML 1.1 either, takes it for something else.
fn written(text: &str) -> String {
    const WORDS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let inside = |(at, c): (usize, char)| match c {
        ':' => {
            text.get(at + 1..).is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric() || c == '/'))
        }
        ' ' => text.get(at + 1..).is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['#', ' '])),
        _ => c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@' | '+' | '=' | '%'),
    };
    let bare = text.starts_with(|c: char| c.is_alphabetic() || c == '/' || c == '_')
        && text.char_indices().all(inside)
        && !WORDS.contains(&text.to_lowercase().as_str());
    if bare { text.to_owned() } else { flow::quoted(text) }
}

/// A map or list with something in it, which gets lines.
fn has_inside(value: &Value) -> bool {
    match value {
        Value::List(items) => !items.is_empty(),
        Value::Map(map) => !map.is_empty(),
        _ => false,
    }
}

/// What fits behind a key.
fn short(value: &Value) -> String {
    match value {
        Value::List(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
        other => flow::scalar(other, &STYLE),
    }
}

/// `key: value`, whose key is in this column; without the space before the key, and without a last line end.
fn entry(key: &str, value: &Value, column: usize) -> String {
    match has_inside(value) {
        true => format!("{}:\n{}", written(key), block(value, column + UNIT)),
        false => format!("{}: {}", written(key), short(value)),
    }
}

/// Lines of a map or list in this column.
fn block(value: &Value, column: usize) -> String {
    let space = " ".repeat(column);
    format!("{space}{}", inline_block(value, column))
}

/// [`block`], with the first line's space left out.
fn inline_block(value: &Value, column: usize) -> String {
    let space = format!("\n{}", " ".repeat(column));
    match value {
        Value::Map(map) => map.iter().map(|(k, v)| entry(k, v, column)).collect::<Vec<_>>().join(&space),
        Value::List(items) => {
            let item = |v: &Value| match has_inside(v) {
                true => format!("- {}", inline_block(v, column + UNIT)),
                false => format!("- {}", short(v)),
            };
            items.iter().map(item).collect::<Vec<_>>().join(&space)
        }
        other => short(other),
    }
}

/// Behind the colon of a key that ends here.
fn colon(text: &str, key_end: usize) -> usize {
    let rest = text.get(key_end..).unwrap_or_default();
    key_end + rest.find(':').map_or(0, |at| at + 1)
}

/// How many characters stand before a byte in its line.
fn column(text: &str, at: usize) -> usize {
    text.get(line_start(text, at)..at).map_or(0, |before| before.chars().count())
}

/// The things on the way to a path, as far as they are there.
fn way<'a>(root: &'a Node, path: &[Step]) -> Vec<&'a Node> {
    let steps = (0..=path.len()).map_while(|steps| root.at(path.get(..steps)?));
    steps.collect()
}

fn check_aliases(text: &str, nodes: &[&Node], path: &[Step]) -> Result<(), EditError> {
    match nodes.last() {
        Some(node) if matches!(node.kind, Kind::Alias(_)) && nodes.len() <= path.len() => {
            Err(EditError::at(text, node.span.start, "this is an alias; change what it stands for"))
        }
        _ => Ok(()),
    }
}

fn is_flow(node: &Node) -> bool {
    !node.block && matches!(node.kind, Kind::Map(_) | Kind::List(_))
}

fn set(text: &str, root: &Node, path: &[Step], value: &Value) -> Result<String, EditError> {
    let lost = || EditError::at(text, 0, "changed while it was read");
    let nodes = way(root, path);
    check_aliases(text, &nodes, path)?;
    let (last, above) = path.split_last().ok_or_else(lost)?;
    // Inside braces everything is written in braces.
    if nodes.iter().take(path.len()).any(|node| is_flow(node)) {
        return flow::set(text, root, path, value, &STYLE);
    }
    let holder = nodes.get(above.len()).ok_or_else(lost)?;
    let Some(old) = nodes.get(path.len()) else {
        let Kind::Map(entries) = &holder.kind else { return Err(lost()) };
        let (first, end) = (entries.first().ok_or_else(lost)?, entries.last().ok_or_else(lost)?);
        let column = column(text, first.key_span.start);
        let at = line_stop(text, end.node.span.end.max(colon(text, end.key_span.end)));
        let new = format!("\n{}{}", " ".repeat(column), entry(&last.text, value, column));
        return Ok(splice(text, at..at, &new));
    };
    match &holder.kind {
        Kind::Map(entries) => {
            let own = entries.iter().rev().find(|e| e.key == last.text).ok_or_else(lost)?;
            let colon = colon(text, own.key_span.end);
            let inner = column(text, own.key_span.start) + UNIT;
            Ok(replace(text, colon, old, value, inner))
        }
        Kind::List(_) => {
            let inner = column(text, old.span.start);
            let new = if has_inside(value) { inline_block(value, inner) } else { short(value) };
            let gap = if old.span.is_empty() { " " } else { "" };
            Ok(splice(text, old.span.clone(), &format!("{gap}{new}")))
        }
        _ => Err(lost()),
    }
}

/// Gives the key whose colon is here another value.
fn replace(text: &str, colon: usize, old: &Node, value: &Value, inner: usize) -> String {
    let stop = line_stop(text, colon);
    let below = old.span.start > stop;
    // A comment behind the key stays there.
    let comment = if below { text.get(colon..stop).unwrap_or_default() } else { "" };
    let (from, to) = (colon, old.span.end.max(colon));
    match (has_inside(value), below) {
        (true, _) => splice(text, from..to, &format!("{comment}\n{}", block(value, inner))),
        (false, true) => splice(text, from..to, &format!(" {}{comment}", short(value))),
        (false, false) if old.span.is_empty() => splice(text, from..from, &format!(" {}", short(value))),
        (false, false) => splice(text, old.span.clone(), &short(value)),
    }
}

fn remove(text: &str, root: &Node, path: &[Step]) -> Result<String, EditError> {
    let lost = || EditError::at(text, 0, "changed while it was read");
    let nodes = way(root, path);
    check_aliases(text, &nodes, path)?;
    let (last, above) = path.split_last().ok_or_else(lost)?;
    if nodes.iter().take(path.len()).any(|node| is_flow(node)) {
        return flow::remove(text, root, path);
    }
    let holder = nodes.get(above.len()).ok_or_else(lost)?;
    let Kind::Map(entries) = &holder.kind else { return Err(lost()) };
    let span = |e: &Entry| e.key_span.start..e.node.span.end.max(colon(text, e.key_span.end));
    let spans: Vec<_> = entries.iter().map(span).collect();
    let at = entries.iter().rposition(|e| e.key == last.text).ok_or_else(lost)?;
    let own = spans.get(at).cloned().ok_or_else(lost)?;
    if spans.len() == 1 {
        // A key without anything below it would be null.
        return match above.is_empty() {
            true => Ok(splice(text, holder.span.clone(), "{}")),
            false => set(text, root, above, &Value::Map(Default::default())),
        };
    }
    let start = line_start(text, own.start);
    if start + indent(text, own.start).len() < own.start {
        // Something stands before it in its line, such as the dash of the list it is in: the next one moves there.
        let next = spans.get(at + 1).ok_or_else(lost)?;
        return Ok(splice(text, own.start..next.start, ""));
    }
    let stop = line_stop(text, own.end);
    let rest = text.get(stop..).unwrap_or_default();
    let end = stop + rest.find('\n').map_or(0, |at| at + 1);
    if end > stop || start == 0 {
        return Ok(splice(text, start..end, ""));
    }
    // The last line, and it has no end: the line before gives up its own.
    let before = text.get(..start).map_or(0, |head| head.trim_end_matches(['\r', '\n']).len());
    Ok(splice(text, before..stop, ""))
}
