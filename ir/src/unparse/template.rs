//! Go's template syntax.

use super::float_text;
use crate::builtin::quote::quoted;
use crate::builtin::text::render;
use crate::expr::{CompareOp, Expr, Piece, Root};
use crate::value::Value;
use std::sync::Arc;

/// An attribute's value as it stands in policy.
///
/// A secret is `{{ secret "path" }}`, which the language has no function for. Nor has it lists and maps as literals:
/// a list of strings becomes a `split`, any other one `(list ...)`, a map `(dict ...)`.
pub fn template_text(expr: &Expr) -> String {
    let mut out = String::new();
    match expr {
        Expr::Template(pieces) => Writer { out: &mut out, inner: false }.pieces(pieces, true),
        Expr::Const(Value::Str(s)) => out.push_str(&escaped(s, false)),
        Expr::Const(v @ (Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Null)) => {
            out.push_str(&render(v).unwrap_or_default());
        }
        e => Writer { out: &mut out, inner: false }.action("", e),
    }
    out
}

struct Writer<'a> {
    out: &'a mut String,
    /// Inside a `range` or `with`, where the dot is something else and the root is `$`.
    inner: bool,
}

impl Writer<'_> {
    /// `whole`: no action follows the last piece.
    fn pieces(&mut self, pieces: &[Piece], whole: bool) {
        for (n, piece) in pieces.iter().enumerate() {
            match piece {
                Piece::Text(text) => {
                    let ends = whole && n + 1 == pieces.len();
                    self.out.push_str(&escaped(text, !ends));
                }
                Piece::Emit(e) => self.action("", e),
                Piece::Let(slot, e) => self.action(&format!("$v{slot} := "), e),
                Piece::Set(slot, e) => self.action(&format!("$v{slot} = "), e),
                Piece::Break => self.out.push_str("{{ break }}"),
                Piece::Continue => self.out.push_str("{{ continue }}"),
                Piece::If { condition, then, otherwise } => {
                    self.action("if ", condition);
                    self.pieces(then, false);
                    self.else_if(otherwise);
                }
                Piece::With { value, slot, body, otherwise } => {
                    self.action(&format!("with $v{slot} := "), value);
                    self.body(body);
                    self.otherwise(otherwise);
                }
                Piece::Range { list, key, value, body, otherwise } => {
                    let key = key.map(|k| format!("$v{k}, ")).unwrap_or_default();
                    self.action(&format!("range {key}$v{value} := "), list);
                    self.body(body);
                    self.otherwise(otherwise);
                }
            }
        }
    }

    fn body(&mut self, pieces: &[Piece]) {
        let was = std::mem::replace(&mut self.inner, true);
        self.pieces(pieces, false);
        self.inner = was;
    }

    fn otherwise(&mut self, pieces: &[Piece]) {
        if !pieces.is_empty() {
            self.out.push_str("{{ else }}");
            self.pieces(pieces, false);
        }
        self.out.push_str("{{ end }}");
    }

    /// Only `if` has this form.
    fn else_if(&mut self, pieces: &[Piece]) {
        match pieces {
            [Piece::If { condition, then, otherwise }] => {
                self.action("else if ", condition);
                self.pieces(then, false);
                self.else_if(otherwise);
            }
            pieces => self.otherwise(pieces),
        }
    }

    fn action(&mut self, keyword: &str, e: &Expr) {
        self.out.push_str("{{ ");
        self.out.push_str(keyword);
        self.expr(e);
        self.out.push_str(" }}");
    }

    fn expr(&mut self, e: &Expr) {
        match e {
            Expr::Const(v) => self.value(v),
            Expr::Path(root, segments) => self.path(*root, segments),
            Expr::Local(slot) => self.out.push_str(&format!("$v{slot}")),
            Expr::Field(base, name) if is_name(name) => {
                match **base {
                    Expr::Local(_) | Expr::Field(..) | Expr::Path(..) => self.expr(base),
                    _ => self.parenthesised(base),
                }
                self.out.push('.');
                self.out.push_str(name);
            }
            Expr::Field(base, name) => {
                self.call("index", &[(**base).clone(), Expr::Const(Value::Str(name.clone()))]);
            }
            Expr::List(items) => self.call("list", items),
            Expr::Map(entries) => {
                self.out.push_str("dict");
                for (key, value) in entries {
                    self.out.push_str(&format!(" {}", quoted(key, false)));
                    self.argument(value);
                }
            }
            Expr::Call(f, args) => self.call(f.name(), args),
            Expr::Not(e) => self.call("not", std::slice::from_ref(e)),
            Expr::And(l, r) => self.pair("and", l, r),
            Expr::Or(l, r) => self.pair("or", l, r),
            Expr::Compare(op, l, r) => self.pair(comparison(*op), l, r),
            Expr::Template(pieces) => self.nested(pieces),
        }
    }

    fn call(&mut self, name: &str, args: &[Expr]) {
        self.out.push_str(name);
        args.iter().for_each(|arg| self.argument(arg));
    }

    fn pair(&mut self, name: &str, l: &Expr, r: &Expr) {
        self.out.push_str(name);
        self.argument(l);
        self.argument(r);
    }

    fn argument(&mut self, e: &Expr) {
        self.out.push(' ');
        let simple = match e {
            Expr::Const(v) => !matches!(v, Value::List(_) | Value::Map(_) | Value::Secret(_)),
            Expr::Path(_, segments) => segments.iter().all(|s| is_name(s)),
            Expr::Local(_) => true,
            Expr::Field(base, name) => {
                is_name(name) && matches!(**base, Expr::Local(_) | Expr::Field(..) | Expr::Path(..))
            }
            Expr::Call(_, args) => args.is_empty(),
            _ => false,
        };
        if simple { self.expr(e) } else { self.parenthesised(e) }
    }

    fn parenthesised(&mut self, e: &Expr) {
        self.out.push('(');
        self.expr(e);
        self.out.push(')');
    }

    fn path(&mut self, root: Root, segments: &[Arc<str>]) {
        let plain = segments.iter().all(|s| is_name(s));
        self.out.push_str(if plain { "" } else { "index " });
        self.out.push_str(if self.inner { "$." } else { "." });
        self.out.push_str(match root {
            Root::Traits => "Traits",
            Root::Vars => "Vars",
            Root::Envoy => "Envoy",
            Root::Item => "Item",
        });
        for s in segments {
            self.out.push_str(&if plain { format!(".{s}") } else { format!(" {}", quoted(s, false)) });
        }
    }

    fn value(&mut self, v: &Value) {
        match v {
            Value::Null => self.out.push_str("nil"),
            Value::Bool(b) => self.out.push_str(if *b { "true" } else { "false" }),
            Value::Int(i) => self.out.push_str(&i.to_string()),
            Value::Float(f) => self.out.push_str(&float_text(f.get())),
            Value::Str(s) => self.out.push_str(&quoted(s, false)),
            Value::Bytes(_) => self.out.push_str("bytes"),
            Value::Secret(path) => self.out.push_str(&format!("secret {}", quoted(path, false))),
            Value::List(items) => self.list(items),
            Value::Map(map) => {
                self.out.push_str("dict");
                for (key, item) in map {
                    self.out.push_str(&format!(" {}", quoted(key, false)));
                    self.argument(&Expr::Const(item.clone()));
                }
            }
        }
    }

    fn list(&mut self, items: &[Value]) {
        let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
        let separator = [",", ";", "|", "\n", "\u{1f}"]
            .into_iter()
            .find(|s| texts.as_ref().is_some_and(|t| !t.is_empty() && t.iter().all(|t| !t.contains(s))));
        match (texts, separator) {
            (Some(texts), Some(s)) => {
                self.out.push_str(&format!("split {} {}", quoted(s, false), quoted(&texts.join(s), false)));
            }
            // The rest of a list after its only element.
            _ if items.is_empty() => self.out.push_str("slice (split \",\" \"\") 1"),
            _ => {
                self.out.push_str("list");
                items.iter().for_each(|item| self.argument(&Expr::Const(item.clone())));
            }
        }
    }

    /// Text inside an expression, as a call that prints it.
    fn nested(&mut self, pieces: &[Piece]) {
        let (mut format, mut args) = (String::new(), Vec::new());
        for piece in pieces {
            match piece {
                Piece::Text(text) => format.push_str(&text.replace('%', "%%")),
                Piece::Emit(e) => {
                    format.push_str("%v");
                    args.push(e.clone());
                }
                // No author can write this, and no compiler pass makes it.
                _ => format.push_str("..."),
            }
        }
        let format = Expr::Const(Value::from(format));
        let args: Vec<Expr> = std::iter::once(format).chain(args).collect();
        self.call("printf", &args);
    }
}

fn comparison(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "eq",
        CompareOp::Ne => "ne",
        CompareOp::Lt => "lt",
        CompareOp::Le => "le",
        CompareOp::Gt => "gt",
        CompareOp::Ge => "ge",
        CompareOp::In => "in",
        CompareOp::Matches => "matches",
    }
}

fn is_name(s: &str) -> bool {
    s.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Text so that no action begins in it, nor with its last brace and the first of an action after it.
fn escaped(text: &str, action_follows: bool) -> String {
    let out = text.replace("{{", "{{ \"{{\" }}");
    match out.strip_suffix('{') {
        Some(head) if action_follows => format!("{head}{{{{ \"{{\" }}}}"),
        _ => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::Builtin;

    #[track_caller]
    fn is(expr: Expr, text: &str) {
        assert_eq!(template_text(&expr), text);
    }

    fn t(name: &str) -> Expr {
        Expr::path(Root::Traits, &["os", name])
    }

    fn text(t: &str) -> Piece {
        Piece::Text(t.into())
    }

    #[test]
    fn pieces_become_actions() {
        is(
            Expr::Template(vec![
                text("a {{ b { "),
                Piece::Let(1, Expr::Const("x\"".into())),
                Piece::If {
                    condition: t("a"),
                    then: vec![Piece::Set(1, t("b"))],
                    otherwise: vec![Piece::If {
                        condition: Expr::Not(Box::new(t("c"))),
                        then: vec![text("c")],
                        otherwise: vec![text("d{")],
                    }],
                },
                Piece::Range {
                    list: Expr::Const(Value::List(vec!["a".into(), "b".into()])),
                    key: Some(2),
                    value: 3,
                    body: vec![
                        Piece::Emit(Expr::Local(3)),
                        Piece::Emit(t("d-e")),
                        Piece::If { condition: t("f"), then: vec![Piece::Break], otherwise: vec![] },
                    ],
                    otherwise: vec![Piece::If { condition: t("g"), then: vec![], otherwise: vec![] }],
                },
                Piece::Emit(Expr::Const(Value::Secret("web/db".into()))),
            ]),
            "a {{ \"{{\" }} b { {{ $v1 := \"x\\\"\" }}{{ if .Traits.os.a }}{{ $v1 = .Traits.os.b }}\
             {{ else if not .Traits.os.c }}c{{ else }}d{{ \"{\" }}{{ end }}\
             {{ range $v2, $v3 := split \",\" \"a,b\" }}{{ $v3 }}{{ index $.Traits \"os\" \"d-e\" }}\
             {{ if $.Traits.os.f }}{{ break }}{{ end }}{{ else }}{{ if .Traits.os.g }}{{ end }}{{ end }}{{ secret \"web/db\" }}",
        );
    }

    #[test]
    fn arguments_are_parenthesised_where_they_are_calls() {
        let upper = Expr::Call(Builtin::Upper, vec![t("a")]);
        let field = Expr::Field(Box::new(Expr::Local(1)), "x".into());
        is(
            Expr::Call(Builtin::Default, vec![Expr::Const(Value::Int(-1)), upper]),
            "{{ default -1 (upper .Traits.os.a) }}",
        );
        is(Expr::Call(Builtin::Join, vec![Expr::Const(",".into()), field]), "{{ join \",\" $v1.x }}");
        is(Expr::Const("a {{ b".into()), "a {{ \"{{\" }} b");
        is(Expr::Const(Value::Bool(true)), "true");
    }
}
