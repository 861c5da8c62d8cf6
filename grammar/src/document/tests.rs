//! Values, errors and repairs, as tables.

use super::*;

/// A tree in one line: plain text as it is, other scalars with their style in front.
fn show(node: &Node) -> String {
    match &node.value {
        Value::Null => "~".to_owned(),
        Value::Error => "ERROR".to_owned(),
        Value::Scalar(scalar) => {
            let text = scalar.text.escape_debug();
            match scalar.style {
                Style::Plain => text.to_string(),
                Style::SingleQuoted => format!("'{text}'"),
                Style::DoubleQuoted => format!("\"{text}\""),
                Style::Literal => format!("|{text}|"),
                Style::Folded => format!(">{text}>"),
            }
        }
        Value::Seq(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entry = |e: &Entry| format!("{}: {}", e.key.text.escape_debug(), show(&e.value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

fn slugs(parsed: &Parsed) -> Vec<&'static str> {
    parsed.errors.iter().map(|e| e.slug).collect()
}

#[test]
fn values() {
    let cases: &[(&str, &str)] = &[
        ("", "~"),
        ("# only a comment\n", "~"),
        ("---\n", "~"),
        ("\u{feff}a: 1\r\nb: 2\r\n", "{a: 1, b: 2}"),
        ("--- # comment\na: b", "{a: b}"),
        ("a: b c  # trailing\n", "{a: b c}"),
        ("a: b#c\nd: http://e:80/#f\n", "{a: b#c, d: http://e:80/#f}"),
        ("a:\nb: ~\nc: ''\n", "{a: ~, b: ~, c: ''}"),
        ("a: b\n  c\n\n  d\n", "{a: b c\\nd}"),
        ("a:\n  b\n  - c\n", "{a: b - c}"),
        ("a:\n- 1\n- 2\nb: 3\n", "{a: [1, 2], b: 3}"),
        ("a:\n  - b: 1\n    c: 2\n  -\n    d: 3\n  - - e\n    - f\n", "{a: [{b: 1, c: 2}, {d: 3}, [e, f]]}"),
        ("- - - a\n    - b\n", "[[[a, b]]]"),
        ("a: [b, c d, 'e', {f: g}, h: i, ]\n", "{a: [b, c d, 'e', {f: g}, {h: i}]}"),
        ("{a, b: c, \"d\":e, f: }\n", "{a: ~, b: c, d: e, f: ~}"),
        ("a: [\n  b, # comment\n  c\n   d\n]\ne: f\n", "{a: [b, c d], e: f}"),
        ("a: {}\nb: []\n", "{a: {}, b: []}"),
        ("a: |\n  b\n   c\n\n  d\n\n", "{a: |b\\n c\\n\\nd\\n|}"),
        ("a: |-\n  b\n\nc: |+\n  d\n\n", "{a: |b|, c: |d\\n\\n|}"),
        ("a: |2\n   b\n  c\n", "{a: | b\\nc\\n|}"),
        ("a: >\n  b\n  c\n\n  d\n    e\n  f\n", "{a: >b c\\nd\\n  e\\nf\\n>}"),
        ("a: >+1 # comment\n b\n\n", "{a: >b\\n\\n>}"),
        ("- |\n a\n- >-\n b\n c\n", "[|a\\n|, >b c>]"),
        ("a: |\n  # no comment\n# comment\nb: c\n", "{a: |# no comment\\n|, b: c}"),
        ("a: |", "{a: ||}"),
        ("a: |\r\n  b\r\n  c\r\n", "{a: |b\\nc\\n|}"),
        ("a: 'it''s\n\n  b  \n  c'\n", "{a: 'it\\'s\\nb c'}"),
        ("a: \"\\x41\\u00e9\\U0001F600\\t\\\n   b  \\\n\n  c\"\n", "{a: \"Aé😀\\tb  \\nc\"}"),
        ("\"a b\": c\n'd': e\nf g : h\n", "{a b: c, d: e, f g: h}"),
        ("-x: y\n?z: 1\n:q: r\na::: b\n-: c\n", "{-x: y, ?z: 1, :q: r, a::: b, -: c}"),
        ("a:\tb\t# c\n", "{a: b}"),
        ("a: x\n   \n\t\nb: y\n", "{a: x, b: y}"),
        ("--- |\n a\n", "|a\\n|"),
        ("plain\n  text\n", "plain text"),
        ("é: ü\nlist: [ä, ö]\n", "{é: ü, list: [ä, ö]}"),
    ];
    for (text, want) in cases {
        let parsed = parse(text);
        assert_eq!(slugs(&parsed), Vec::<&str>::new(), "{text:?}");
        assert_eq!(show(&parsed.root), *want, "{text:?}");
    }
}

/// Text, slugs in order, the tree that is left.
const MISTAKES: &[(&str, &[&str], &str)] = &[
    ("a: &x b\nc: *x\nd: 1\n", &["anchor", "alias"], "{a: b, c: \"*x\", d: 1}"),
    ("a: !!str b\nc: !changed\nd: 1\n", &["tag", "tag"], "{a: b, c: \"!changed\", d: 1}"),
    ("a: *.conf\n", &["alias"], "{a: \"*.conf\"}"),
    ("<<: x\na: b\n", &["merge-key"], "{a: b}"),
    ("? a\n: b\nc: d\n", &["explicit-key"], "{c: d}"),
    ("a: 1\n? b\n: c\nd: 2\n", &["explicit-key"], "{a: 1, d: 2}"),
    ("[a]: b\n", &["non-scalar-key"], "[a]"),
    ("a: {[b]: c, d: e}\n", &["non-scalar-key"], "{a: {d: e}}"),
    ("%YAML 1.2\n---\na: b\n", &["directive"], "{a: b}"),
    ("a: b\n...\n", &["document-end"], "{a: b}"),
    ("a: b\n---\nc: d\n", &["several-documents"], "{a: b}"),
    ("a:\n\tb: c\nd: e\n", &["tab-indentation"], "{a: {b: c}, d: e}"),
    ("-\ta: b\n", &["tab-indentation"], "[{a: b}]"),
    ("a: 1\nb: 2\na: 3\n", &["duplicate-key"], "{a: 1, b: 2}"),
    ("a: b\u{1}c\n", &["control-character"], "{a: b\\u{1}c}"),
    ("a: b\rc\n", &["control-character", "content-after-value"], "{a: b}"),
    ("a: {{ .Vars.x }}/y # c\nb: 1\n", &["template-needs-quotes"], "{a: \"{{ .Vars.x }}/y\", b: 1}"),
    ("a: [{{ .x }}, b]\n", &["template-needs-quotes"], "{a: [\"{{ .x }}\", b]}"),
    ("{{ .x }}: 1\nb: 2\n", &["template-needs-quotes"], "{{{ .x }}: 1, b: 2}"),
    ("a: b: c\nd: e\n", &["nested-mapping-on-one-line"], "{a: \"b: c\", d: e}"),
    ("a: \"b\": c\nd: e\n", &["nested-mapping-on-one-line"], "{a: \"b\", d: e}"),
    ("a: - b\n   - c\nd: e\n", &["list-on-key-line"], "{a: [b, c], d: e}"),
    ("a: \"b\nc: 'd\ne: f\n", &["unterminated-string", "unterminated-string"], "{a: \"b\", c: 'd', e: f}"),
    ("a: [b, c\nd: {e: f\ng: h\n", &["unclosed-bracket", "unclosed-bracket"], "{a: [b, c], d: {e: f}, g: h}"),
    ("a: [b, {c: d]\ne: f\n", &["unclosed-bracket"], "{a: [b, {c: d}], e: f}"),
    ("a: {b: c]\nd: e\n", &["mismatched-bracket"], "{a: {b: c}, d: e}"),
    ("a: [\"b\" \"c\", , d]\n", &["missing-comma", "extra-comma"], "{a: [\"b\", \"c\", d]}"),
    ("a: {b: c: d, e: f}\n", &["unexpected-colon"], "{a: {b: c, d: ~, e: f}}"),
    (
        "{a:[b], c: [d:{e: f}], \"g\":[]}\n",
        &["missing-space-after-colon"; 2],
        "{a: [b], c: [{d: {e: f}}], g: []}",
    ),
    ("a: b\n \t\n\t\n  c\nd: 'e\n\t\n  f'\n", &["tab-indentation"; 2], "{a: b\\n\\nc, d: 'e\\nf'}"),
    ("a: [b\n\t]\nc: d\n", &["tab-indentation"], "{a: [b], c: d}"),
    ("\"a\\\nb\": c\n", &["key-too-long"], "\"ab\""),
    ("a:\n  'b\n  c': d\n  e: f\n", &["key-too-long"], "{a: 'b c'}"),
    ("a: |\n\t\nb: >\n  c\n \t\n  d\ne: f\n", &["tab-indentation"; 2], "{a: ||, b: >c\\nd\\n>, e: f}"),
    ("a: [- b]\n", &["list-in-brackets"], "{a: [b]}"),
    ("a: {b\n  c: d}\n", &["key-too-long"], "{a: {b c: d}}"),
    ("a: {b\n  c, d: e}\nf: [{'g\n  h'}]\n", &["key-too-long"; 2], "{a: {b c: ~, d: e}, f: [{g h: ~}]}"),
    ("a: [&x b, @c, d]\n", &["anchor", "reserved-character"], "{a: [b, \"@c\", d]}"),
    ("a: @b\nc: `d`\ne: %f\n", &["reserved-character"; 3], "{a: \"@b\", c: \"`d`\", e: \"%f\"}"),
    ("a: ]b\n", &["unexpected-character"], "{a: \"]b\"}"),
    ("a: \"b\" c\nd: [e] f\n", &["content-after-value"; 2], "{a: \"b\", d: [e]}"),
    ("a: 'b'# c\n", &["comment-needs-space"], "{a: 'b'}"),
    ("a: \"\\d\\u12\"\n", &["invalid-escape"; 2], "{a: \"\\\\d\\\\u12\"}"),
    ("a: | b\nc: d\n", &["bad-block-header"], "{a: \"| b\", c: d}"),
    ("a: >=1.2\nb: c\n", &["bad-block-header"], "{a: \">=1.2\", b: c}"),
    ("a: |\n    b\n  c\nd: e\n", &["bad-block-indent"], "{a: |b\\nc\\n|, d: e}"),
    ("a: |\n    b\n  é\nd: e\n", &["bad-block-indent"], "{a: |b\\né\\n|, d: e}"),
    ("a: 1\nb\nc: 3\n", &["missing-colon"], "{a: 1, b: ERROR, c: 3}"),
    ("a: 1\nb\n  c: 3\n", &["missing-colon"], "{a: 1, b: {c: 3}}"),
    ("- a b\n  c: d\n- e: f\n", &["missing-colon"], "[{a: b, c: d}, {e: f}]"),
    ("a 'b'\nc: d\ne  f\n  g: h\n", &["missing-colon"; 2], "{a: 'b', c: d, e  f: {g: h}}"),
    ("a: 1\nb c d\ne: 2\n", &["missing-colon"], "{a: 1, b c d: ERROR, e: 2}"),
    ("a: 1\nb:c\n\"d\":e\n", &["missing-space-after-colon"; 2], "{a: 1, b: c, d: e}"),
    ("a: 1\n: b\n", &["missing-key"], "{a: 1}"),
    ("a: 1\n@: b\n[c\n", &["expected-key"; 2], "{a: 1}"),
    ("a: 1\n - b\n - c\nd: 2\n", &["missing-colon"], "{a: 1 - b - c, d: 2}"),
    ("- a: 1\n   b: 2\n   c: 3\n- d: 4\n", &["unexpected-indent"], "[{a: 1, b: 2, c: 3}, {d: 4}]"),
    ("a:\n    b: 1\n  c: 2\n  d: 3\ne: 4\n", &["bad-indentation"], "{a: {b: 1, c: 2, d: 3}, e: 4}"),
    ("a:\n  - b: 1\n   - c: 2\n  - d: 3\n", &["bad-indentation"], "{a: [{b: 1}, {c: 2}, {d: 3}]}"),
    ("- a\nb: c\n- d\n", &["mixed-block"], "[a, d]"),
    ("a: 1\n- b\n- c\nd: 2\n", &["mixed-block"], "{a: 1, d: 2}"),
    ("[a]\nb: c\n", &["content-after-value"], "[a]"),
    ("--- a: b\nc: d\n", &["nested-mapping-on-one-line"], "{a: b, c: d}"),
];

#[test]
fn mistakes() {
    for (text, want, tree) in MISTAKES {
        if text.contains("\n - b\n - c") {
            // Legal YAML, if not what was meant: kept as a reminder that text goes on over list-like lines.
            assert!(parse(text).errors.is_empty());
            assert_eq!(show(&parse(text).root), *tree);
            continue;
        }
        let parsed = parse(text);
        assert_eq!(slugs(&parsed), *want, "{text:?}: {:#?}", parsed.errors);
        assert_eq!(show(&parsed.root), *tree, "{text:?}");
    }
}

#[test]
fn fixes_remove_the_mistake() {
    let mut fixed = 0;
    for (text, ..) in MISTAKES {
        let parsed = parse(text);
        for error in &parsed.errors {
            let Some(fix) = &error.fix else { continue };
            let mut text = (*text).to_owned();
            text.replace_range(fix.span.range(), &fix.replacement);
            let again = parse(&text);
            assert!(again.errors.len() <= parsed.errors.len(), "{text:?}: {:?}", again.errors);
            let still = again.errors.iter().any(|e| e.slug == error.slug && e.span.start == error.span.start);
            assert!(!still, "{text:?}: {:?}", again.errors);
            fixed += 1;
        }
    }
    assert!(fixed > 20);
}

#[test]
fn messages_follow_the_style() {
    for (text, ..) in MISTAKES {
        for error in parse(text).errors {
            let first = error.message.chars().next().unwrap();
            assert!(!first.is_uppercase() && !error.message.ends_with('.'), "{error:?}");
            assert!(!error.message.contains('\n') && !error.label.is_empty(), "{error:?}");
            assert!(error.help.is_some() || error.fix.is_some(), "{error:?}");
        }
    }
}

#[test]
fn spans() {
    let text = "a: bc\nd:\n  - e\n  - [f, \"g\"]\nh:\n";
    let root = parse(text).root;
    let at = |span: Span| &text[span.range()];
    assert_eq!(at(root.span), "a: bc\nd:\n  - e\n  - [f, \"g\"]\nh:");
    assert_eq!(at(root.get("a").unwrap().span), "bc");
    let list = root.get("d").unwrap();
    assert_eq!(at(list.span), "- e\n  - [f, \"g\"]");
    assert_eq!(at(list.as_seq().unwrap()[1].as_seq().unwrap()[1].span), "\"g\"");
    let empty = root.get("h").unwrap();
    assert_eq!((empty.span.start, empty.span.end), (text.len() as u32 - 1, text.len() as u32 - 1));
    assert_eq!(at(root.entry("h").unwrap().key.span), "h");
}

#[test]
fn duplicate_points_at_both() {
    for count in [2, 20] {
        let filler: String = (0..count).map(|i| format!("k{i}: v\n")).collect();
        let text = format!("x: 1\n{filler}x: 2\n");
        let errors = parse(&text).errors;
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].span.start as usize, text.rfind('x').unwrap());
        assert_eq!(errors[0].related[0].0, Span::new(0, 1));
    }
}

#[test]
fn comments() {
    let text =
        "# one\na: b # two\n\n  # three\nc: [d, # four\n  # five\n  e]\nf: |  # six\n  # text\n# seven\n";
    let parsed = parse(text);
    let found: Vec<_> = parsed.comments.iter().map(|c| (&text[c.span.range()], c.own_line)).collect();
    assert_eq!(
        found,
        [
            ("# one", true),
            ("# two", false),
            ("# three", true),
            ("# four", false),
            ("# five", true),
            ("# six", false),
            ("# seven", true)
        ]
    );
}

#[test]
fn text_map_leads_back_to_the_file() {
    let cases: &[(&str, &str, &str)] = &[
        // document, part of the text, what it was written as
        ("a: bcd\n", "c", "c"),
        ("a: 'b''c'\n", "'", "''"),
        ("a: \"b\\tc d\"\n", "\t", "\\t"),
        ("a: \"b\\tc d\"\n", "\tc", "\\tc"),
        ("a: \"b\\u00e9c\"\n", "éc", "\\u00e9c"),
        ("a: |\n  one\n  two\n", "two", "two"),
        ("a: |\n  one\n  two\n", "one\n", "one\n"),
        ("a: |\n  one\n  two\n", "e\ntw", "e\n  tw"),
        ("a: |\r\n  one\r\n  two\r\n", "two", "two"),
        ("a: >\n  one\n  two\n", "two", "two"),
        ("a: one\n   two three\n", "three", "three"),
        ("a: \"one\n   two \\\n   three\"\n", "three", "three"),
        ("a: {{ .x }}\n", ".x", ".x"),
        ("a: >-\n  x\n\n  {{ .y }}\n", ".y", ".y"),
    ];
    for (text, part, want) in cases {
        let root = parse(text).root;
        let scalar = root.get("a").unwrap().as_scalar().unwrap();
        let start = scalar.text.find(part).unwrap();
        let span = scalar.map.to_file(Span::of(start..start + part.len()));
        assert_eq!(&text[span.range()], *want, "{text:?} {part:?}");
        let empty = scalar.map.to_file(Span::of(start..start));
        assert_eq!((empty.start, empty.end), (span.start, span.start));
        let whole = scalar.map.to_file(Span::of(scalar.text.len()..scalar.text.len() + 5));
        assert!(whole.end as usize <= text.len() + 5);
    }
}

#[test]
fn core_schema() {
    let core = |text: &str| parse(&format!("a: {text}\n")).root.get("a").unwrap().as_scalar().unwrap().core();
    for (text, want) in [
        ("null", Core::Null),
        ("~", Core::Null),
        ("True", Core::Bool(true)),
        ("FALSE", Core::Bool(false)),
        ("yes", Core::Str),
        ("'true'", Core::Str),
        ("0", Core::Int(0)),
        ("-12", Core::Int(-12)),
        ("+12", Core::Int(12)),
        ("0644", Core::Int(644)),
        ("0o17", Core::Int(15)),
        ("0xFf", Core::Int(255)),
        ("0o8", Core::Str),
        ("-0x1", Core::Str),
        ("9223372036854775807", Core::Int(i64::MAX)),
        ("9223372036854775808", Core::OutOfRange),
        ("1.10", Core::Float(1.1)),
        (".5", Core::Float(0.5)),
        ("1.", Core::Float(1.0)),
        ("-1e3", Core::Float(-1000.0)),
        ("1e999", Core::OutOfRange),
        (".inf", Core::OutOfRange),
        ("-.INF", Core::OutOfRange),
        (".nan", Core::OutOfRange),
        (".", Core::Str),
        ("1.2.3", Core::Str),
        ("1_000", Core::Str),
        ("e3", Core::Str),
        ("2024-01-01", Core::Str),
    ] {
        assert_eq!(core(text), want, "{text}");
    }
}

#[test]
fn nesting_is_limited() {
    let at = |depth: usize| {
        let block: String = (0..depth).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        let flow = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let dashes = format!("{}x", "- ".repeat(depth));
        let maps = format!("{}{}", "{a: ".repeat(depth), "}".repeat(depth));
        [block, flow, dashes, maps]
    };
    for text in at(128) {
        assert_eq!(slugs(&parse(&text)), Vec::<&str>::new());
    }
    for depth in [129, 2_000] {
        for text in at(depth) {
            assert_eq!(slugs(&parse(&text)), ["nesting-too-deep"], "{}", &text[..20]);
        }
    }
}

#[test]
fn errors_are_capped() {
    let parsed = parse(&"a: [b\n".repeat(100_000));
    assert_eq!(parsed.errors.len(), 101);
    assert_eq!(parsed.errors[100].slug, "too-many-errors");
    assert!(parsed.errors.windows(2).all(|pair| pair[0].span.start <= pair[1].span.start));
}

/// One mistake in one resource leaves its siblings alone.
#[test]
fn siblings_survive() {
    let broken = [
        "  - name: b\n    mode: \"0644\n    owner: x\n",
        "  - name: b\n    list: [x, y\n    owner: x\n",
        "  - name: b\n     mode: 1\n    owner: x\n",
        "  - name b\n    owner: x\n",
        "  - name: b\n    mode 1\n    owner: x\n",
        "  - name: b\n    a: b: c\n    owner: x\n",
        "  - name: b\n\tmode: 1\n    owner: x\n",
        "  - name: b\n    text: |\n      x\n     y\n    owner: x\n",
        "  - name: b\n    *x\n    owner: x\n",
        "   - name: b\n     owner: x\n",
        "  -name: b\n    owner: x\n",
    ];
    for middle in broken {
        let text =
            format!("resources:\n  - name: a\n    type: file\n{middle}  - name: c\n    type: package\n");
        let parsed = parse(&text);
        assert_eq!(parsed.errors.len(), 1, "{middle}: {:#?}", parsed.errors);
        let items = parsed.root.get("resources").unwrap().as_seq().unwrap();
        let name = |node: &Node| node.get("name").and_then(Node::as_str).map(str::to_owned);
        assert_eq!(name(&items[0]).as_deref(), Some("a"), "{middle}");
        assert_eq!(items[0].as_map().unwrap().len(), 2, "{middle}: {}", show(&items[0]));
        let last = items.last().unwrap();
        assert_eq!(name(last).as_deref(), Some("c"), "{middle}");
        assert_eq!(last.get("type").and_then(Node::as_str), Some("package"), "{middle}");
    }
}

#[test]
fn spaces_of_unicode_are_text() {
    let parsed = parse("a\u{205f}: {b\u{205f}: 'c\u{205f}\n  d'}\n");
    assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
    let inner = parsed.root.get("a\u{205f}").and_then(|n| n.get("b\u{205f}")).and_then(Node::as_str);
    assert_eq!(inner, Some("c\u{205f} d"));
    let open = parse("{\u{205f}");
    assert!(open.root.as_map().unwrap().iter().all(|e| e.span().end <= open.root.span.end));
}

#[test]
fn a_file_has_so_many_keys_and_values_and_no_more() {
    for (text, most, tree) in [
        ("a: [1, 2, 3]\nb: 4\n", 4, "{a: [1, 2]}"),
        ("a: [{b: c}, {d: [e]}]\n", 8, "{a: [{b: c}, {d: []}]}"),
        ("a: 1\nb:\n  - 2\n  - 3\nc: 4\n", 6, "{a: 1, b: [2, 3]}"),
        ("-\n-\n-\n-\n", 2, "[~, ~]"),
        ("- - - a\n", 2, "[[[~]]]"),
        ("a: 1\nb: 2\n", 3, "{a: 1, b: ~}"),
    ] {
        let parsed = parse_at_most(text, most);
        assert_eq!(slugs(&parsed), ["too-many-values"], "{text:?}");
        assert_eq!(show(&parsed.root), tree, "{text:?}");
        let parsed = parse_at_most(text, most + 9);
        assert_eq!(slugs(&parsed), [""; 0], "{text:?}");
    }
}
