//! Templates in a short notation: actions in `<>`, operands separated by blanks.

use super::*;

fn show(pieces: &[Piece]) -> String {
    pieces.iter().map(piece).collect()
}

fn piece(piece: &Piece) -> String {
    match piece {
        Piece::Text { text, .. } => text.clone(),
        Piece::Action(pipeline) => format!("<{}>", pipe(pipeline)),
        Piece::If(branch) => block("if", branch),
        Piece::Range(branch) => block("range", branch),
        Piece::With(branch) => block("with", branch),
        Piece::Break(_) => "<break>".to_owned(),
        Piece::Continue(_) => "<continue>".to_owned(),
        Piece::Error(_) => "<ERROR>".to_owned(),
    }
}

fn block(word: &str, branch: &Branch) -> String {
    let otherwise = branch.otherwise.as_ref().map(|pieces| format!("<else>{}", show(pieces)));
    format!("<{word} {}>{}{}<end>", pipe(&branch.pipeline), show(&branch.body), otherwise.unwrap_or_default())
}

fn pipe(pipeline: &Pipeline) -> String {
    let declare = pipeline.declare.as_ref().map(|declare| {
        let names: Vec<_> = declare.names.iter().map(|n| n.text.as_str()).collect();
        format!("{} {} ", names.join(", "), if declare.assign { "=" } else { ":=" })
    });
    let commands = pipeline.commands.iter().map(|command| {
        let operands: Vec<String> = command.operands.iter().map(operand).collect();
        operands.join(" ")
    });
    format!("{}{}", declare.unwrap_or_default(), commands.collect::<Vec<_>>().join(" | "))
}

fn operand(operand: &Operand) -> String {
    let fields = |names: &[Ident]| names.iter().map(|n| format!(".{}", n.text)).collect::<String>();
    match &operand.kind {
        OperandKind::Dot => ".".to_owned(),
        OperandKind::Field(names) => fields(names),
        OperandKind::Variable { name, fields: names } => format!("{}{}", name.text, fields(names)),
        OperandKind::Function(name) => name.text.clone(),
        OperandKind::Text(text) => format!("{text:?}"),
        OperandKind::Int(value) => value.to_string(),
        OperandKind::Float(value) => format!("{value:?}"),
        OperandKind::Bool(value) => value.to_string(),
        OperandKind::Nil => "nil".to_owned(),
        OperandKind::Paren(inner, names) => format!("({}){}", pipe(inner), fields(names)),
        OperandKind::Error => "ERROR".to_owned(),
    }
}

#[test]
fn templates() {
    for (text, want) in [
        ("", ""),
        ("plain { text } }}", "plain { text } }}"),
        ("a{{ . }}b{{.Vars.x.y}}c", "a<.>b<.Vars.x.y>c"),
        ("a \n{{- .x -}}\n b", "a<.x>b"),
        ("a {{- -3 -}} b {{-3}} {{- 3}}", "a<-3>b <-3><3>"),
        ("a {{/* c */}} b {{- /* {{ x }} */ -}} c", "a  bc"),
        (
            "{{ f .a \"b\\n\\\"\\x41\\101\\u00e9\" `c\\d` 1 -2.5 true nil }}",
            "<f .a \"b\\n\\\"AAé\" \"c\\\\d\" 1 -2.5 true nil>",
        ),
        ("{{ \"\\xc3\\xa9\" }}", "<\"é\">"),
        ("{{ f 0x1F 0b11 0o17 017 1_000 1e3 .5 1_0.5 }}", "<f 31 3 15 15 1000 1000.0 0.5 10.5>"),
        ("{{ .a | f 1 | g }}", "<.a | f 1 | g>"),
        ("{{ (f .a).b.c }} {{ f (g (h)) .x }}", "<(f .a).b.c> <f (g (h)) .x>"),
        ("{{ $x := .a }}{{ $x.b.c }}{{ $x = 2 }}{{ $ }}{{ $.a }}", "<$x := .a><$x.b.c><$x = 2><$><$.a>"),
        (
            "{{ if .a }}1{{ else if f .b }}2{{ else }}3{{ end }}4",
            "<if .a>1<else><if f .b>2<else>3<end><end>4",
        ),
        (
            "{{ with $x := .a }}{{ $x }}{{ else with .b }}{{ $x }}{{ end }}",
            "<with $x := .a><$x><else><with .b><$x><end><end>",
        ),
        (
            "{{ range $i, $v := .l }}{{ $i }}{{ if $v }}{{ break }}{{ end }}{{ continue }}{{ else }}-{{ end }}",
            "<range $i, $v := .l><$i><if $v><break><end><continue><else>-<end>",
        ),
        (
            "{{ range .a }}{{ range .b }}{{ else }}{{ continue }}{{ end }}{{ break }}{{ end }}",
            "<range .a><range .b><else><continue><end><break><end>",
        ),
        ("{{ $x:=1 }}{{ $x = 2 }}{{ $x =3 }}", "<$x := 1><$x = 2><$x = 3>"),
        ("{{ range $v := .l }}{{ $v }}{{ end }}", "<range $v := .l><$v><end>"),
        ("{{\n  f\n  .a\n}}", "<f .a>"),
        ("{{ \"}}\" }}{{ `}}` }}", "<\"}}\"><\"}}\">"),
        ("{{ f `a\r\nb` }}", "<f \"a\\nb\">"),
    ] {
        let (template, errors) = parse(text);
        assert!(errors.is_empty(), "{text}: {errors:#?}");
        assert_eq!(show(&template.nodes), want, "{text}");
    }
}

const MISTAKES: &[(&str, &[&str], &str)] = &[
    ("{{ 'a' }}", &["template-char-constant"], "<ERROR>"),
    ("{{ define \"x\" }}a{{ end }}b", &["template-unsupported"], "<with ERROR>a<end>b"),
    ("{{ template \"x\" }}b", &["template-unsupported"], "<ERROR>b"),
    ("{{ break }}", &["template-outside-range"], "<ERROR>"),
    (
        "{{ range .a }}{{ else }}{{ continue }}{{ end }}",
        &["template-outside-range"],
        "<range .a><else><ERROR><end>",
    ),
    ("{{ $x }}{{ $y = 1 }}", &["template-undefined-variable"; 2], "<$x><$y = 1>"),
    ("{{ $x := $x }}", &["template-undefined-variable"], "<$x := $x>"),
    (
        "{{ if .a }}{{ $x := 1 }}{{ else }}{{ $x }}{{ end }}{{ $x }}",
        &["template-undefined-variable"; 2],
        "<if .a><$x := 1><else><$x><end><$x>",
    ),
    ("a{{ if .a }}b{{ range .c }}", &["template-unclosed-block"; 2], "a<if .a>b<range .c><end><end>"),
    ("{{ if .a }}{{ else if .b }}", &["template-unclosed-block"], "<if .a><else><if .b><end><end>"),
    ("a{{ end }}b{{ else }}", &["template-unexpected-end"; 2], "a<ERROR>b<ERROR>"),
    ("{{ if .a }}{{ else }}{{ else }}{{ end }}", &["template-unexpected-end"], "<if .a><else><ERROR><end>"),
    ("{{ range .a }}{{ else if .b }}{{ end }}", &["template-syntax"], "<range .a><else><if .b><end><end>"),
    ("{{ .a.b 1 }}{{ 1 | .x }}{{ (f).x 2 }}", &["template-method-call"; 3], "<.a.b 1><1 | .x><(f).x 2>"),
    ("{{ 1 2 }}{{ .a | 3 }}{{ nil }}", &["template-not-a-function"; 3], "<1 2><.a | 3><nil>"),
    (
        "{{ range .a }}{{ range .b }}{{ else }}{{ if .c }}{{ break }}{{ end }}{{ end }}{{ end }}",
        &["template-unsupported"],
        "<range .a><range .b><else><if .c><ERROR><end><end><end>",
    ),
    ("{{ f(.a) }}", &["template-missing-space"], "<ERROR>"),
    ("{{ $x := 1 }}{{ $x=2 }}", &["template-missing-space"], "<$x := 1><ERROR>"),
    ("{{ f \"a\"\"b\" }}", &["template-missing-space"], "<ERROR>"),
    ("{{ .a }{{ .b }}", &["template-unclosed-action"], "<ERROR><.b>"),
    ("{{ .a", &["template-unclosed-action"], "<ERROR>"),
    ("a {{/* b", &["template-unclosed-action"], "a "),
    ("{{/* a */ }}b{{ /* c */}}", &["template-comment"; 2], "b<ERROR>"),
    ("{{ \"a }}b", &["template-unterminated-text"], "<ERROR>b"),
    ("{{ \"\\d\" }}", &["template-escape"], "<\"\\\\d\">"),
    ("{{ \"\\xff\" }}", &["template-escape"], "<\"\u{fffd}\">"),
    ("{{ f 08 1i 9223372036854775808 0x1p4 1__0 12ab }}", &["template-number"; 6], "<ERROR>"),
    ("{{ }}{{ if }}a{{ end }}", &["template-syntax"; 2], "<ERROR><if ERROR>a<end>"),
    ("{{ f | }}{{ | f }}{{ (f }}{{ f) }}", &["template-syntax"; 4], "<ERROR><ERROR><ERROR><ERROR>"),
    ("{{ $a, $b := .c }}", &["template-syntax"], "<$a, $b := .c>"),
    ("{{ .a == 1 }}{{ x.y }}{{ .a, .b }}{{ f if }}", &["template-syntax"; 4], "<ERROR><ERROR><ERROR><ERROR>"),
    ("{{ end x }}", &["template-unexpected-end", "template-syntax"], "<ERROR>"),
];

#[test]
fn mistakes() {
    for (text, want, tree) in MISTAKES {
        let (template, errors) = parse(text);
        assert_eq!(errors.iter().map(|e| e.slug).collect::<Vec<_>>(), *want, "{text}: {errors:#?}");
        assert_eq!(show(&template.nodes), *tree, "{text}");
    }
}

#[test]
fn messages_follow_the_style() {
    for (text, ..) in MISTAKES {
        for error in parse(text).1 {
            let first = error.message.chars().next().unwrap();
            assert!(!first.is_uppercase() && !error.message.ends_with('.'), "{error:?}");
            assert!(error.help.is_some() || error.fix.is_some(), "{error:?}");
        }
    }
}

#[test]
fn unclosed_block_points_at_its_opening() {
    let text = "a{{ if .x }}b{{ range .y }}c{{ end }}";
    let (_, errors) = parse(text);
    assert_eq!(&text[errors[0].span.range()], "{{ if .x }}");
}

#[test]
fn literal_means_no_braces() {
    assert!(parse("a } b { c").0.is_literal());
    assert!(!parse("a{{/* only a comment */}}").0.is_literal());
    assert!(!parse("{{ .a }}").0.is_literal());
}

#[test]
fn depth_is_limited() {
    let nest = |n: usize| format!("{}{}", "{{ if .a }}".repeat(n), "{{ end }}".repeat(n));
    let chain = |n: usize| format!("{{{{ if .a }}}}{}{{{{ end }}}}x", "{{ else if .b }}".repeat(n));
    let parens = |n: usize| format!("{{{{ {}f{} }}}}", "(".repeat(n), ")".repeat(n));
    for text in [nest(128), chain(127), parens(128)] {
        assert!(parse(&text).1.is_empty());
    }
    for n in [129, 50_000] {
        for text in [nest(n), chain(n), parens(n)] {
            let (_, errors) = parse(&text);
            assert_eq!(errors.iter().map(|e| e.slug).collect::<Vec<_>>(), ["nesting-too-deep"]);
        }
    }
}
