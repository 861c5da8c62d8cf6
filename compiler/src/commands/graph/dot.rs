//! The DOT language of Graphviz.

use super::model::{EdgeKind, Graph, Node};
use crate::commands::output;
use std::collections::HashMap;
use std::fmt::Write;

pub(super) fn text(graph: &Graph, host: &str) -> String {
    let mut out = String::new();
    // writing to a String cannot fail
    let _ = write(graph, host, &mut out);
    out
}

fn write(graph: &Graph, host: &str, out: &mut String) -> std::fmt::Result {
    writeln!(out, "digraph {} {{", quoted(host))?;
    writeln!(out, "  rankdir=LR;\n  compound=true;\n  fontname=\"sans-serif\";")?;
    writeln!(out, "  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\"];")?;
    let mut clusters: HashMap<&str, usize> = HashMap::new();
    for (number, module) in graph.modules.iter().enumerate() {
        clusters.insert(&module.name, number);
        writeln!(out, "  subgraph cluster_{number} {{\n    label={};", quoted(&module.name))?;
        // where edges of the whole module end
        writeln!(out, "    m{number} [shape=point, style=invis];")?;
        for node in &module.nodes {
            let style = if node.focus { ", style=bold" } else { "" };
            writeln!(out, "    {} [label={}{style}];", quoted(&node.id), quoted(&label(node)))?;
        }
        writeln!(out, "  }}")?;
    }
    for edge in &graph.edges {
        let (from, to) = (quoted(&edge.from), quoted(&edge.to));
        match edge.kind {
            EdgeKind::DependsOn => writeln!(out, "  {from} -> {to};")?,
            EdgeKind::Notify => writeln!(out, "  {from} -> {to} [style=dashed, label=\"notify\"];")?,
            EdgeKind::Module => {
                if let (Some(a), Some(b)) = (clusters.get(edge.from.as_str()), clusters.get(edge.to.as_str()))
                {
                    writeln!(out, "  m{a} -> m{b} [ltail=cluster_{a}, lhead=cluster_{b}, style=bold];")?;
                }
            }
        }
    }
    if graph.left > 0 {
        let label = format!("… {}", output::count(graph.left, "more resource"));
        writeln!(out, "  more [shape=plaintext, label={}];", quoted(&label))?;
    }
    writeln!(out, "}}")
}

fn label(node: &Node) -> String {
    let when = node.when.as_ref().map(|w| format!("\nwhen {}", output::short(w, 60))).unwrap_or_default();
    format!("{}\n{}{when}", node.name, node.kind)
}

/// A string of DOT. A backslash begins an escape in labels, and `\N` would be the name of the node.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_cannot_be_left() {
        assert_eq!(quoted("a\"b"), r#""a\"b""#);
        assert_eq!(quoted("\\N\n\\"), r#""\\N\n\\""#);
        assert_eq!(quoted("]; x -> y; //"), "\"]; x -> y; //\"");
    }
}
