//! Mermaid, as Markdown renderers draw it.

use super::model::{EdgeKind, Graph, Node};
use crate::commands::output;
use std::collections::HashMap;
use std::fmt::Write;

pub(super) fn text(graph: &Graph) -> String {
    let mut out = String::new();
    // writing to a String cannot fail
    let _ = write(graph, &mut out);
    out
}

fn write(graph: &Graph, out: &mut String) -> std::fmt::Result {
    writeln!(out, "flowchart LR")?;
    // names may hold anything, so numbers stand for them
    let mut ids: HashMap<&str, String> = HashMap::new();
    let mut number = 0;
    for (at, module) in graph.modules.iter().enumerate() {
        writeln!(out, "  subgraph m{at}[\"{}\"]", escaped(&module.name))?;
        for node in &module.nodes {
            let id = format!("r{number}");
            number += 1;
            writeln!(out, "    {id}[\"{}\"]", label(node))?;
            if node.focus {
                writeln!(out, "    style {id} stroke-width:4px")?;
            }
            ids.insert(&node.id, id);
        }
        writeln!(out, "  end")?;
    }
    let modules: HashMap<&str, String> =
        graph.modules.iter().enumerate().map(|(at, m)| (&*m.name, format!("m{at}"))).collect();
    for edge in &graph.edges {
        let (of, arrow) = match edge.kind {
            EdgeKind::DependsOn => (&ids, "-->"),
            EdgeKind::Notify => (&ids, "-. notify .->"),
            EdgeKind::Module => (&modules, "==>"),
        };
        if let (Some(from), Some(to)) = (of.get(edge.from.as_str()), of.get(edge.to.as_str())) {
            writeln!(out, "  {from} {arrow} {to}")?;
        }
    }
    if graph.left > 0 {
        let label = format!("… {}", output::count(graph.left, "more resource"));
        writeln!(out, "  more[\"{}\"]", escaped(&label))?;
    }
    Ok(())
}

fn label(node: &Node) -> String {
    let mut out = format!("{}<br/>{}", escaped(&node.name), escaped(&node.kind));
    if let Some(when) = &node.when {
        out.push_str(&format!("<br/>when {}", escaped(&output::short(when, 60))));
    }
    out
}

/// Text between quotes: what means something to Mermaid, Markdown or HTML becomes a character reference.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '#' | '&' | '<' | '>' | '`' | '\\' | ';' | '%' | '*' | '_' | '{' | '}' | '[' | ']'
            | '|' | '~' => {
                out.push_str(&format!("#{};", u32::from(c)));
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_quotes() {
        assert_eq!(escaped("a\"]; x-->y"), "a#34;#93;#59; x--#62;y");
        assert_eq!(escaped("#quot;\n`"), "#35;quot#59; #96;");
    }
}
