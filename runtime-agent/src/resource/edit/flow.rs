//! Changes of what stands in braces and brackets: JSON, and the part of YAML that looks like it.

use super::EditError;
use super::structured::Step;
use super::tree::{Kind, Node, indent, splice};
use ir::Value;

/// How scalars are written.
pub struct Style {
    /// A key or a text.
    pub text: fn(&str) -> String,
}

/// With double quotes around every text.
pub const JSON: Style = Style { text: quoted };

/// A text in double quotes, which JSON and YAML read alike.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Gives a value at a path that is there, or a new key of a map that is there, another value.
pub fn set(
    text: &str,
    root: &Node,
    path: &[Step],
    value: &Value,
    style: &Style,
) -> Result<String, EditError> {
    let lost = || EditError::at(text, 0, "changed while it was read");
    if let Some(node) = root.at(path) {
        let layout = Layout::of(text, node.span.start, has_line(text, node));
        let new = render(value, style, layout.as_ref());
        return Ok(splice(text, node.span.clone(), &ended(text, &new)));
    }
    let (last, way) = path.split_last().ok_or_else(lost)?;
    let holder = root.at(way).ok_or_else(lost)?;
    let Kind::Map(entries) = &holder.kind else { return Err(lost()) };
    let key = (style.text)(&last.text);
    let Some(last_entry) = entries.last() else {
        // An empty document gets lines, and so does a map in one that has lines. Where indentation counts, it stays one line.
        let lines = way.is_empty() || !root.block && has_line(text, root);
        let layout = Layout::of(text, holder.span.start, lines);
        let new = match layout {
            Some(layout) => {
                let inner = layout.inner();
                format!(
                    "{{\n{}{key}: {}\n{}}}",
                    inner.indent,
                    render(value, style, Some(&inner)),
                    layout.indent
                )
            }
            None => format!("{{{key}: {}}}", render(value, style, None)),
        };
        return Ok(splice(text, holder.span.clone(), &ended(text, &new)));
    };
    let at = last_entry.node.span.end;
    let begin = last_entry.key_span.start;
    let own_line = indent_is_all(text, begin);
    let new = match own_line {
        true => {
            let layout = Layout { indent: indent(text, begin).to_owned(), unit: unit(text) };
            format!(",\n{}{key}: {}", layout.indent, render(value, style, Some(&layout)))
        }
        false => format!(", {key}: {}", render(value, style, None)),
    };
    Ok(splice(text, at..at, &ended(text, &new)))
}

/// Takes away an entry that is there.
pub fn remove(text: &str, root: &Node, path: &[Step]) -> Result<String, EditError> {
    let lost = || EditError::at(text, 0, "changed while it was read");
    let (last, way) = path.split_last().ok_or_else(lost)?;
    let holder = root.at(way).ok_or_else(lost)?;
    let Kind::Map(entries) = &holder.kind else { return Err(lost()) };
    let spans: Vec<_> = entries.iter().map(|e| e.key_span.start..e.node.span.end).collect();
    let at = entries.iter().rposition(|e| e.key == last.text).ok_or_else(lost)?;
    let (before, after) = (at.checked_sub(1).and_then(|at| spans.get(at)), spans.get(at + 1));
    let own = spans.get(at).cloned().ok_or_else(lost)?;
    let gone = match (before, after) {
        (_, Some(after)) => own.start..after.start,
        (Some(before), None) => before.end..own.end,
        // All that is in it.
        (None, None) => holder.span.start + 1..holder.span.end.saturating_sub(1),
    };
    Ok(splice(text, gone, ""))
}

/// With the line ends of the text that it goes into. Texts inside are escaped, so a line end is one of layout.
fn ended(text: &str, new: &str) -> String {
    new.replace('\n', super::lines::line_end(text))
}

/// How a value in lines is indented.
struct Layout {
    /// Of the line that it begins on.
    indent: String,
    /// For each level.
    unit: String,
}

impl Layout {
    fn of(text: &str, at: usize, lines: bool) -> Option<Layout> {
        lines.then(|| Layout { indent: indent(text, at).to_owned(), unit: unit(text) })
    }

    fn inner(&self) -> Layout {
        Layout { indent: format!("{}{}", self.indent, self.unit), unit: self.unit.clone() }
    }
}

/// The first indent there is.
fn unit(text: &str) -> String {
    let indents = text.lines().map(|line| indent(line, 0)).filter(|i| !i.is_empty());
    indents.min_by_key(|i| i.len()).unwrap_or("  ").to_owned()
}

fn has_line(text: &str, node: &Node) -> bool {
    text.get(node.span.clone()).is_some_and(|text| text.contains('\n'))
}

/// Whether nothing but space stands before this byte in its line.
fn indent_is_all(text: &str, at: usize) -> bool {
    super::tree::line_start(text, at) + indent(text, at).len() == at
}

/// A value in braces; in lines, where a layout is given and it has an inside.
fn render(value: &Value, style: &Style, layout: Option<&Layout>) -> String {
    let (open, close, items): (_, _, Vec<(String, &Value)>) = match value {
        Value::List(items) => ('[', ']', items.iter().map(|v| (String::new(), v)).collect()),
        Value::Map(map) => {
            ('{', '}', map.iter().map(|(k, v)| (format!("{}: ", (style.text)(k)), v)).collect())
        }
        other => return scalar(other, style),
    };
    if items.is_empty() {
        return format!("{open}{close}");
    }
    let inner = layout.map(Layout::inner);
    let items: Vec<String> =
        items.iter().map(|(key, value)| format!("{key}{}", render(value, style, inner.as_ref()))).collect();
    match (layout, inner) {
        (Some(outer), Some(inner)) => {
            let between = format!(",\n{}", inner.indent);
            format!("{open}\n{}{}\n{}{close}", inner.indent, items.join(&between), outer.indent)
        }
        _ => format!("{open}{}{close}", items.join(", ")),
    }
}

/// A value that is neither map nor list.
pub fn scalar(value: &Value, style: &Style) -> String {
    match value {
        Value::Bool(bool) => bool.to_string(),
        Value::Int(int) => int.to_string(),
        // A float stays one: `1.0`, not `1`.
        Value::Float(float) => serde_json::Value::from(float.get()).to_string(),
        Value::Str(text) => (style.text)(text),
        _ => "null".to_owned(),
    }
}
