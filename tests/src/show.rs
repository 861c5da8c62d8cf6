//! A compiled module as text that people can read and a diff can compare.

use ir::{Expr, Module, Piece, Resource, Target, Value};
use std::fmt::Write as _;

/// A module, a line for each thing it says.
pub fn module(module: &Module) -> String {
    let mut out = format!("\n{}", module.name);
    if !module.depends_on.is_empty() {
        let _ = write!(out, " after {}", module.depends_on.join(", "));
    }
    out.push('\n');
    for r in &module.resources {
        resource(module, r, &mut out);
    }
    out
}

fn resource(module: &Module, r: &Resource, out: &mut String) {
    let _ = writeln!(out, "  {} {}", r.kind, r.name);
    if let Some(when) = &r.when {
        let _ = writeln!(out, "    when {}", expr(when));
    }
    for (name, value) in &r.attributes {
        let _ = writeln!(out, "    {name} = {}", expr(value));
    }
    for (word, targets) in [("after", &r.depends_on), ("tells", &r.notify)] {
        if !targets.is_empty() {
            let names: Vec<String> = targets.iter().map(|t| target(module, t)).collect();
            let _ = writeln!(out, "    {word} {}", names.join(", "));
        }
    }
}

fn target(module: &Module, target: &Target) -> String {
    match target {
        Target::Local(at) => match module.resources.get(*at as usize) {
            Some(r) => r.name.to_string(),
            None => format!("?{at}"),
        },
        Target::Other { module, resource } => format!("{module}.{resource}"),
    }
}

/// A value as JSON; `<path>` is a secret.
pub fn value(v: &Value) -> String {
    match v {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(f) => format!("{:?}", f.get()),
        Value::Str(s) => format!("{s:?}"),
        Value::Bytes(b) => format!("{} bytes", b.len()),
        Value::Secret(path) => format!("<{path}>"),
        Value::List(items) => format!("[{}]", items.iter().map(value).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let entries: Vec<String> = map.iter().map(|(k, v)| format!("{k}: {}", value(v))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// An expression, fully bracketed.
pub fn expr(e: &Expr) -> String {
    let all = |args: &[Expr]| args.iter().map(expr).collect::<Vec<_>>().join(", ");
    match e {
        Expr::Const(v) => value(v),
        Expr::Path(root, segments) => {
            segments.iter().fold(root.name().to_owned(), |path, s| format!("{path}.{s}"))
        }
        Expr::Local(slot) => format!("${slot}"),
        Expr::Field(of, name) => format!("{}.{name}", expr(of)),
        Expr::List(items) => format!("[{}]", all(items)),
        Expr::Map(entries) => {
            let entries: Vec<String> = entries.iter().map(|(k, v)| format!("{k}: {}", expr(v))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Expr::Call(f, args) if args.is_empty() => f.name().to_owned(),
        Expr::Call(f, args) => format!("{}({})", f.name(), all(args)),
        Expr::Not(a) => format!("!{}", expr(a)),
        Expr::And(a, b) => format!("({} && {})", expr(a), expr(b)),
        Expr::Or(a, b) => format!("({} || {})", expr(a), expr(b)),
        Expr::Compare(op, a, b) => format!("({} {} {})", expr(a), op.symbol(), expr(b)),
        Expr::Template(pieces) => format!("`{}`", text(pieces)),
    }
}

fn text(pieces: &[Piece]) -> String {
    pieces.iter().map(piece).collect()
}

fn piece(p: &Piece) -> String {
    let otherwise = |pieces: &[Piece]| match pieces {
        [] => String::new(),
        pieces => format!("{{else}}{}", text(pieces)),
    };
    match p {
        Piece::Text(t) => t.escape_debug().to_string(),
        Piece::Emit(e) => format!("{{{}}}", expr(e)),
        Piece::If { condition, then, otherwise: o } => {
            format!("{{if {}}}{}{}{{end}}", expr(condition), text(then), otherwise(o))
        }
        Piece::Range { list, key, value, body, otherwise: o } => {
            let key = key.map(|k| format!("${k}, ")).unwrap_or_default();
            format!("{{range {key}${value} := {}}}{}{}{{end}}", expr(list), text(body), otherwise(o))
        }
        Piece::With { value, slot, body, otherwise: o } => {
            format!("{{with ${slot} := {}}}{}{}{{end}}", expr(value), text(body), otherwise(o))
        }
        Piece::Let(slot, e) => format!("{{${slot} := {}}}", expr(e)),
        Piece::Set(slot, e) => format!("{{${slot} = {}}}", expr(e)),
        Piece::Break => "{break}".into(),
        Piece::Continue => "{continue}".into(),
    }
}
