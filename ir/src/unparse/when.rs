//! The syntax of `when:`.

use super::{float_text, template_text};
use crate::expr::{CompareOp, Expr};
use crate::value::Value;

/// How tightly an expression holds together; a looser one inside a tighter place needs parentheses.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Level {
    Or,
    And,
    Compare,
    Not,
    Term,
}

/// A condition as it stands in `when:`.
///
/// What that syntax has no form for (maps, secrets, template variables) does not occur in a condition; should
/// it, it is shown in a form that does not parse.
pub fn when_text(expr: &Expr) -> String {
    let mut out = String::new();
    write(expr, Level::Or, &mut out);
    out
}

fn write(expr: &Expr, least: Level, out: &mut String) {
    let level = level(expr);
    if level < least {
        out.push('(');
        write(expr, Level::Or, out);
        out.push(')');
        return;
    }
    match expr {
        Expr::Const(v) => value(v, out),
        Expr::Path(root, segments) => {
            out.push_str(root.name());
            for s in segments.iter() {
                out.push('.');
                out.push_str(s);
            }
        }
        Expr::Local(slot) => out.push_str(&format!("$v{slot}")),
        Expr::Field(base, name) => {
            write(base, Level::Term, out);
            out.push('.');
            out.push_str(name);
        }
        Expr::List(items) => {
            out.push('[');
            separated(items, out);
            out.push(']');
        }
        Expr::Map(entries) => {
            out.push('{');
            for (n, (key, value)) in entries.iter().enumerate() {
                out.push_str(if n > 0 { ", " } else { "" });
                string(key, out);
                out.push_str(": ");
                write(value, Level::Or, out);
            }
            out.push('}');
        }
        Expr::Call(f, args) => {
            out.push_str(f.name());
            if !args.is_empty() {
                out.push('(');
                separated(args, out);
                out.push(')');
            }
        }
        Expr::Not(e) => {
            out.push('!');
            write(e, Level::Not, out);
        }
        // Both sides at the operator's own level: `a && (b && c)` means what `a && b && c` means.
        Expr::And(l, r) => infix("&&", l, r, Level::And, out),
        Expr::Or(l, r) => infix("||", l, r, Level::Or, out),
        Expr::Compare(op, l, r) => infix(CompareOp::symbol(*op), l, r, Level::Not, out),
        Expr::Template(_) => string(&template_text(expr), out),
    }
}

fn level(expr: &Expr) -> Level {
    match expr {
        Expr::Or(..) => Level::Or,
        Expr::And(..) => Level::And,
        Expr::Compare(..) => Level::Compare,
        Expr::Not(_) => Level::Not,
        _ => Level::Term,
    }
}

fn infix(symbol: &str, l: &Expr, r: &Expr, least: Level, out: &mut String) {
    write(l, least, out);
    out.push(' ');
    out.push_str(symbol);
    out.push(' ');
    write(r, least, out);
}

fn separated(items: &[Expr], out: &mut String) {
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push_str(", ");
        }
        write(item, Level::Or, out);
    }
}

fn value(v: &Value, out: &mut String) {
    match v {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) => out.push_str(&i.to_string()),
        Value::Float(f) => out.push_str(&float_text(f.get())),
        Value::Str(s) => string(s, out),
        Value::Bytes(_) => out.push_str("<bytes>"),
        Value::Secret(path) => string(&format!("secret:{path}"), out),
        Value::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push_str(", ");
                }
                value(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (n, (key, item)) in map.iter().enumerate() {
                if n > 0 {
                    out.push_str(", ");
                }
                string(key, out);
                out.push_str(": ");
                value(item, out);
            }
            out.push('}');
        }
    }
}

/// In single quotes where it can be: they know no escapes.
fn string(s: &str, out: &mut String) {
    if !s.contains(['\'', '\n', '\t']) {
        out.push('\'');
        out.push_str(s);
        out.push('\'');
        return;
    }
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::Builtin;
    use crate::expr::Root;
    use crate::value::Finite;

    fn t(name: &str) -> Box<Expr> {
        Box::new(Expr::path(Root::Traits, &["os", name]))
    }

    fn lit(v: Value) -> Box<Expr> {
        Box::new(Expr::Const(v))
    }

    #[track_caller]
    fn is(expr: Expr, text: &str) {
        assert_eq!(when_text(&expr), text);
    }

    #[test]
    fn parentheses_stand_only_where_they_are_needed() {
        use Expr::{And, Not, Or};
        is(Or(Box::new(And(t("a"), t("b"))), Box::new(And(t("c"), t("d")))), {
            "traits.os.a && traits.os.b || traits.os.c && traits.os.d"
        });
        is(And(Box::new(Or(t("a"), t("b"))), t("c")), "(traits.os.a || traits.os.b) && traits.os.c");
        is(And(t("a"), Box::new(And(t("b"), t("c")))), "traits.os.a && traits.os.b && traits.os.c");
        is(Not(Box::new(And(t("a"), t("b")))), "!(traits.os.a && traits.os.b)");
        let compared = Expr::Compare(CompareOp::Eq, t("a"), t("b"));
        is(Not(Box::new(compared.clone())), "!(traits.os.a == traits.os.b)");
        is(And(Box::new(compared.clone()), t("c")), "traits.os.a == traits.os.b && traits.os.c");
        let nested = Expr::Compare(CompareOp::Eq, Box::new(compared), Box::new(Not(t("c"))));
        is(nested, "(traits.os.a == traits.os.b) == !traits.os.c");
    }

    #[test]
    fn values_and_calls_are_written_as_in_policy() {
        let list = Value::List(vec!["a".into(), Value::Int(-2)]);
        is(Expr::Compare(CompareOp::In, t("family"), lit(list)), "traits.os.family in ['a', -2]");
        is(Expr::Call(Builtin::Changed, vec![]), "changed");
        is(Expr::Call(Builtin::OsFamily, vec![*lit("a".into()), *lit("b".into())]), "os_family('a', 'b')");
        is(*lit("it's \"1\"\n\\".into()), r#""it's \"1\"\n\\""#);
        is(*lit("a\\b".into()), r"'a\b'");
        is(*lit(Finite::new(2.0).map(Value::Float).unwrap()), "2.0");
    }
}
