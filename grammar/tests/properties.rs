//! What holds for every text.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod promises;

use grammar::document::{Node, Style, Value};
use grammar::{document, template, when};
use proptest::prelude::*;

const POLICY: &str = r#"# A module
name: nginx
params:
  port: { type: port, default: 80, doc: "TCP port" }
vars: {server_name: localhost, list: [a, 'b', {c: d}]}
resources:
  - name: config
    type: file
    content: |
      worker_processes {{ .Vars.workers }};

        server { listen {{ .Vars.port }}; }
    doc: >-
      folded
      text
    when: os_family('debian') && !(vars.x == 3 || item.a in ['b'])
    depends_on: [package]   # comment
    notify:
    - reload
    - - nested
  - name: "user-{{ .Item.name | upper }}"
    text: plain
      going on
    quoted: "two
      lines \
      escaped\tand so on"
"#;

fn parse_all(text: &str) {
    promises::document(text);
    promises::expression(text);
    promises::template(text);
}

/// Text that is likely to be nearly right.
fn near() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n"),
        Just("\n  "),
        Just("\n    "),
        Just("- "),
        Just("a: "),
        Just(": "),
        Just(" #c"),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just(","),
        Just("\""),
        Just("'"),
        Just("|"),
        Just(">-"),
        Just("x"),
        Just("é"),
        Just("\t"),
        Just("\r\n"),
        Just("\\"),
        Just("{{ "),
        Just(" }}"),
        Just("&a "),
        Just("*b"),
        Just("!c "),
        Just("? "),
        Just("---"),
        Just("if "),
        Just("end"),
        Just("else "),
        Just("range "),
        Just("$x := "),
        Just(".a"),
        Just("("),
        Just(")"),
        Just("&& "),
        Just("|| "),
        Just("== "),
        Just("!"),
        Just("1"),
        Just("in "),
        Just("traits.b"),
        Just("\u{feff}"),
        Just("`"),
        Just("\\x4"),
        Just("%"),
        Just("\r"),
        Just("..."),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

thread_local! {
    /// What the fuzz targets begin with.
    static SEEDS: Vec<String> = {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
        let mut paths: Vec<_> = ["document", "expression", "template"]
            .iter()
            .flat_map(|kind| std::fs::read_dir(dir.join(kind)).unwrap())
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
    };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC*") {
        parse_all(&text);
    }

    #[test]
    fn nearly_right_text(text in near()) {
        parse_all(&text);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// What the fuzz targets do, for a moment.
    #[test]
    fn damaged_seeds(
        seed in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..8, near()), 0..4),
        splice in any::<Option<prop::sample::Index>>(),
    ) {
        SEEDS.with(|seeds| {
            let mut text = seeds[seed.index(seeds.len())].clone();
            if let Some(at) = splice {
                let other = &seeds[other.index(seeds.len())];
                let at = other.floor_char_boundary(at.index(other.len() + 1));
                text.push_str(&other[at..]);
            }
            for (at, length, insert) in cuts {
                let start = text.floor_char_boundary(at.index(text.len() + 1));
                let end = text.ceil_char_boundary((start + length).min(text.len()));
                text.replace_range(start..end, &insert);
            }
            parse_all(&text);
        });
    }

    #[test]
    fn mutated_policy(cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..12, near()), 1..4)) {
        let mut text = POLICY.to_owned();
        for (at, length, insert) in cuts {
            let floor = |mut i: usize| {
                i = i.min(text.len());
                while !text.is_char_boundary(i) {
                    i -= 1;
                }
                i
            };
            let start = floor(at.index(text.len() + 1));
            let end = floor(start + length).max(start);
            text.replace_range(start..end, &insert);
        }
        parse_all(&text);
    }

    #[test]
    fn data_survives_writing(data in data(), style in any::<[u8; 16]>()) {
        let mut writer = Writer { out: String::new(), style, turn: 0, after_block: false };
        writer.block(&data, 0);
        let parsed = document::parse(&writer.out);
        prop_assert!(parsed.errors.is_empty(), "{}\n{:#?}", writer.out, parsed.errors);
        prop_assert_eq!(read(&parsed.root), data, "{}", writer.out);
    }
}

/// What a document says, whatever its style.
#[derive(Clone, Debug, PartialEq)]
enum Data {
    Text(String),
    Seq(Vec<Data>),
    Map(Vec<(String, Data)>),
}

fn data() -> impl Strategy<Value = Data> {
    let text = prop_oneof![
        3 => "[a-z]{1,8}",
        1 => "[ -~é\n\t]{0,20}",
        1 => "[a-z :#'\"\\\\{}\\[\\],&*!|>%@`?-]{0,12}",
    ];
    let key = prop_oneof![3 => "[a-z]{1,8}", 1 => "[ -~é]{0,12}"];
    text.prop_map(Data::Text).prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Data::Seq),
            proptest::collection::btree_map(key.clone(), inner, 0..5)
                .prop_map(|map| Data::Map(map.into_iter().collect())),
        ]
    })
}

fn read(node: &Node) -> Data {
    match &node.value {
        Value::Scalar(scalar) => Data::Text(scalar.text.clone()),
        Value::Seq(items) => Data::Seq(items.iter().map(read).collect()),
        Value::Map(entries) => {
            Data::Map(entries.iter().map(|e| (e.key.text.clone(), read(&e.value))).collect())
        }
        Value::Null | Value::Error => panic!("{node:?}"),
    }
}

/// Writes data in styles that the bytes of `style` choose.
struct Writer {
    out: String,
    style: [u8; 16],
    turn: usize,
    after_block: bool,
}

impl Writer {
    fn choose(&mut self, ways: u8) -> u8 {
        self.turn += 1;
        self.style[self.turn % 16].wrapping_add(u8::try_from(self.turn % 251).unwrap()) % ways
    }

    /// A value that begins at the start of a line.
    fn block(&mut self, data: &Data, indent: usize) {
        match data {
            Data::Seq(items) if !items.is_empty() => {
                for item in items {
                    self.line(indent, "-");
                    self.inner(item, indent, false);
                }
            }
            Data::Map(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    let key = self.scalar(key, false);
                    self.line(indent, &format!("{key}:"));
                    self.inner(value, indent, true);
                }
            }
            _ => {
                self.out.push_str(&" ".repeat(indent));
                self.flow(data);
                self.out.push('\n');
            }
        }
    }

    fn line(&mut self, indent: usize, text: &str) {
        // Behind a block text a comment or a blank line would be part of it.
        if !std::mem::take(&mut self.after_block) && self.choose(6) == 0 {
            let filler = if self.choose(2) == 0 { "\n" } else { "   # comment\n" };
            self.out.push_str(filler);
        }
        self.out.push_str(&" ".repeat(indent));
        self.out.push_str(text);
    }

    /// The value behind a key or a dash.
    fn inner(&mut self, data: &Data, indent: usize, of_key: bool) {
        let empty =
            matches!(data, Data::Seq(v) if v.is_empty()) || matches!(data, Data::Map(v) if v.is_empty());
        match data {
            Data::Text(text) if self.choose(3) == 0 && literal(text) => {
                self.after_block = true;
                let body = text.trim_end_matches('\n');
                let breaks = text.len() - body.len();
                self.out.push_str([" |-\n", " |\n", " |+\n"][breaks.min(2)]);
                for line in body.split('\n') {
                    let pad = if line.is_empty() { 0 } else { indent + 3 };
                    self.out.push_str(&format!("{}{line}\n", " ".repeat(pad)));
                }
                self.out.push_str(&"\n".repeat(breaks.saturating_sub(1)));
            }
            Data::Text(_) => {
                self.out.push(' ');
                self.flow(data);
                let end = if self.choose(4) == 0 { "  # comment\n" } else { "\n" };
                self.out.push_str(end);
            }
            _ if empty || self.choose(4) == 0 => {
                self.out.push(' ');
                self.flow(data);
                self.out.push('\n');
            }
            Data::Seq(_) if of_key && self.choose(2) == 0 => {
                self.out.push('\n');
                self.block(data, indent);
            }
            _ => {
                let more = 1 + usize::from(self.choose(4));
                self.out.push('\n');
                self.block(data, indent + more);
            }
        }
    }

    fn flow(&mut self, data: &Data) {
        match data {
            Data::Text(text) => {
                let text = self.scalar(text, true);
                self.out.push_str(&text);
            }
            Data::Seq(items) => {
                self.out.push('[');
                for item in items {
                    self.flow(item);
                    self.out.push_str(", ");
                }
                self.out.push(']');
            }
            Data::Map(entries) => {
                self.out.push_str("{ ");
                for (key, value) in entries {
                    let key = self.scalar(key, false);
                    self.out.push_str(&format!("{key}: "));
                    self.flow(value);
                    self.out.push_str(", ");
                }
                self.out.push('}');
            }
        }
    }

    fn scalar(&mut self, text: &str, _value: bool) -> String {
        let simple = !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase());
        match self.choose(3) {
            0 if simple => text.to_owned(),
            1 if !text.contains(['\n', '\t']) => format!("'{}'", text.replace('\'', "''")),
            _ => {
                let mut out = String::from("\"");
                for c in text.chars() {
                    match c {
                        '\n' => out.push_str("\\n"),
                        '\t' => out.push_str("\\t"),
                        '"' => out.push_str("\\\""),
                        '\\' => out.push_str("\\\\"),
                        'é' => out.push_str("\\u00e9"),
                        c => out.push(c),
                    }
                }
                out + "\""
            }
        }
    }
}

/// Whether a literal block can hold the text without an indentation indicator.
fn literal(text: &str) -> bool {
    !text.trim_matches('\n').is_empty()
        && !text.starts_with([' ', '\n', '\t'])
        && text.split('\n').all(|line| line.is_empty() || !line.trim_matches(' ').is_empty())
}

#[test]
fn styles_are_told_apart() {
    let root = document::parse("a: b\nc: 'd'\ne: \"f\"\ng: |\n h\ni: >\n j\n").root;
    let styles: Vec<_> = root.as_map().unwrap().iter().map(|e| e.value.as_scalar().unwrap().style).collect();
    assert_eq!(
        styles,
        [Style::Plain, Style::SingleQuoted, Style::DoubleQuoted, Style::Literal, Style::Folded]
    );
}

#[test]
fn the_policy_is_right() {
    let parsed = document::parse(POLICY);
    assert!(parsed.errors.is_empty(), "{:#?}", parsed.errors);
    let resources = parsed.root.get("resources").and_then(Node::as_seq).unwrap();
    let condition = resources[0].get("when").and_then(Node::as_str).unwrap();
    assert!(when::parse(condition).1.is_empty());
    let content = resources[0].get("content").and_then(Node::as_str).unwrap();
    assert!(template::parse(content).1.is_empty());
}
