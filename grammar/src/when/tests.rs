//! Conditions in a notation with all parentheses written.

use super::*;

fn show(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Text(text) => format!("{text:?}"),
        ExprKind::Int(value) => value.to_string(),
        ExprKind::Float(value) => format!("{value:?}"),
        ExprKind::Bool(value) => value.to_string(),
        ExprKind::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        ExprKind::Path(parts) => parts.iter().map(|p| p.text.clone()).collect::<Vec<_>>().join("."),
        ExprKind::Call { name, parens: false, .. } => name.text.clone(),
        ExprKind::Call { name, args, .. } => {
            format!("{}({})", name.text, args.iter().map(show).collect::<Vec<_>>().join(", "))
        }
        ExprKind::Not(inner) => format!("!{}", show(inner)),
        ExprKind::And(left, right) => format!("({} && {})", show(left), show(right)),
        ExprKind::Or(left, right) => format!("({} || {})", show(left), show(right)),
        ExprKind::Compare { op, left, right, .. } => {
            format!("({} {} {})", show(left), op.as_str(), show(right))
        }
        ExprKind::Error => "ERROR".to_owned(),
    }
}

#[test]
fn expressions() {
    for (text, want) in [
        ("a", "a"),
        ("a()", "a()"),
        ("os_family('debian', \"x\\ty\\\"\")", "os_family(\"debian\", \"x\\ty\\\"\")"),
        ("a || b && c", "(a || (b && c))"),
        ("(a || b) && c", "((a || b) && c)"),
        ("a && b && c && d && e", "(((a && b) && (c && d)) && e)"),
        ("!a == b", "(!a == b)"),
        ("!(a == b)", "!(a == b)"),
        ("!!a", "!!a"),
        (
            "traits.os.family != 'x' || vars.my-var in [1, 2.5, -3]",
            "((traits.os.family != \"x\") || (vars.my-var in [1, 2.5, -3]))",
        ),
        ("item matches '^a\\d'", "(item matches \"^a\\\\d\")"),
        ("item.x <= 1 && item.y >= 2e3", "((item.x <= 1) && (item.y >= 2000.0))"),
        ("1 < 2", "(1 < 2)"),
        ("true && !false", "(true && !false)"),
        ("[]  == [ 'a' ]", "([] == [\"a\"])"),
        ("inside && matches_x", "(inside && matches_x)"),
        ("f(a && b, [c])", "f((a && b), [c])"),
        ("a &&\n  b", "(a && b)"),
        ("vars.2x.3", "vars.2x.3"),
    ] {
        let (expr, errors) = parse(text);
        assert!(errors.is_empty(), "{text}: {errors:#?}");
        assert_eq!(show(&expr), want, "{text}");
    }
}

const MISTAKES: &[(&str, &[&str], &str)] = &[
    ("", &["when-empty"], "ERROR"),
    ("  ", &["when-empty"], "ERROR"),
    ("a && && b || ", &["when-syntax"; 2], "(((a && ERROR) && b) || ERROR)"),
    ("a b", &["when-syntax"], "ERROR"),
    ("(a", &["unclosed-bracket"], "a"),
    ("a)", &["mismatched-bracket"], "a"),
    ("f([a)", &["unclosed-bracket"], "f([a])"),
    ("a == b == c", &["when-chained-comparison"], "(ERROR == c)"),
    ("a = 1", &["when-operator"], "(a == 1)"),
    ("a and not b", &["when-operator"; 2], "(a && !b)"),
    ("a | b & c", &["when-operator"; 2], "(a || (b && c))"),
    ("traits.os.", &["when-bad-path"], "ERROR"),
    ("traits", &["when-bad-path"], "ERROR"),
    ("foo.bar", &["when-bad-path"], "ERROR"),
    (".Vars.x == 1", &["when-bad-path"], "(ERROR == 1)"),
    ("{{ vars.x }}", &["when-syntax"; 2], "vars.x"),
    ("a == 'x", &["unterminated-string"], "(a == \"x\")"),
    ("a == \"x\\d\"", &["invalid-escape"], "(a == \"x\\\\d\")"),
    ("a == 99999999999999999999", &["when-bad-number"], "(a == ERROR)"),
    ("a == 1.2.3", &["when-bad-number"], "(a == ERROR)"),
    ("a # b", &["unexpected-character", "when-syntax"], "ERROR"),
    ("f(,a)", &["when-syntax"], "f(ERROR, a)"),
];

#[test]
fn mistakes() {
    for (text, want, tree) in MISTAKES {
        let (expr, errors) = parse(text);
        assert_eq!(errors.iter().map(|e| e.slug).collect::<Vec<_>>(), *want, "{text}: {errors:#?}");
        assert_eq!(show(&expr), *tree, "{text}");
    }
}

#[test]
fn messages_speak_of_conditions() {
    let (_, errors) = parse("a && || b");
    assert_eq!(errors[0].message, "expected a value, found `||`");
    let (_, errors) = parse("a &&");
    assert_eq!(errors[0].message, "expected a value, found the end of the condition");
    let (_, errors) = parse("os_family 'x'");
    assert_eq!(errors[0].message, "expected an operator, found a value");
}

#[test]
fn spans() {
    let text = "!(traits.a == 'b') || f(1)";
    let (expr, _) = parse(text);
    let ExprKind::Or(left, right) = &expr.kind else { panic!("{expr:?}") };
    assert_eq!(&text[expr.span.range()], text);
    assert_eq!(&text[right.span.range()], "f(1)");
    let ExprKind::Not(inner) = &left.kind else { panic!("{left:?}") };
    assert_eq!(&text[inner.span.range()], "traits.a == 'b'");
    let ExprKind::Compare { op_span, .. } = &inner.kind else { panic!("{inner:?}") };
    assert_eq!(&text[op_span.range()], "==");
}

#[test]
fn depth_is_limited_and_length_is_not() {
    let deep = |n: usize| ["(", "[", "!", "f("].map(|open| open.repeat(n) + "a");
    for text in deep(129).into_iter().chain(deep(100_000)) {
        let (expr, errors) = parse(&text);
        assert_eq!(errors[0].slug, "nesting-too-deep");
        assert_eq!(expr.kind, ExprKind::Error);
    }
    let closed = format!("{}a{}", "(!".repeat(64), ")".repeat(64));
    assert!(parse(&closed).1.is_empty());
    let long = vec!["a"; 100_000].join(" && ");
    let (expr, errors) = parse(&long);
    assert!(errors.is_empty());
    fn depth(expr: &Expr) -> usize {
        match &expr.kind {
            ExprKind::And(left, right) => 1 + depth(left).max(depth(right)),
            _ => 0,
        }
    }
    assert_eq!(depth(&expr), 17);
    // Nesting that was left again does not count.
    assert!(parse(&vec!["(!a)"; 10_000].join(" || ")).1.is_empty());
}
