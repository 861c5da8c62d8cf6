//! Beside a reader of the whole of YAML 1.2: what we accept says the same to it, or there is a reason why it is wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod documents;

use grammar::document::{self, Node, Style, Value};
use proptest::prelude::*;
use saphyr_parser::{Event, Parser, ScalarStyle};

/// What both readers see. Whether plain text is a number is decided from the text alone (chapter 10.3), so it is left out.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    /// Nothing, or `~`, which the other reader does not tell apart.
    Null,
    Plain(String),
    /// Quoted or a block.
    Text(String),
    Seq(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
}

fn plain(text: &str) -> Tree {
    if matches!(text, "" | "~") { Tree::Null } else { Tree::Plain(text.to_owned()) }
}

/// Nothing when we refuse the text.
fn ours(text: &str) -> Option<Tree> {
    let parsed = document::parse(text);
    parsed.errors.is_empty().then(|| tree(&parsed.root))
}

fn scalar(text: &str, style: Style) -> Tree {
    if style == Style::Plain { plain(text) } else { Tree::Text(text.to_owned()) }
}

fn tree(node: &Node) -> Tree {
    match &node.value {
        Value::Null => Tree::Null,
        Value::Error => panic!("an error node without an error"),
        Value::Scalar(s) => scalar(&s.text, s.style),
        Value::Seq(items) => Tree::Seq(items.iter().map(tree).collect()),
        Value::Map(entries) => {
            Tree::Map(entries.iter().map(|e| (scalar(&e.key.text, e.key.style), tree(&e.value))).collect())
        }
    }
}

/// What the other reader sees in a text of one document.
fn theirs(text: &str) -> Result<Tree, String> {
    let mut events = Vec::new();
    // It drops a leading byte order mark only from a byte stream.
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        match event.map_err(|e| e.to_string())?.0 {
            Event::Alias(_) => return Err("an alias".to_owned()),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
            Event::DocumentEnd => events.push(None),
            event => events.push(Some(event)),
        }
    }
    let mut events = events.into_iter().peekable();
    if events.peek().is_none() {
        return Ok(Tree::Null);
    }
    let root = build(&mut events)?;
    match (events.next(), events.next()) {
        (Some(None), None) => Ok(root),
        _ => Err("several documents".to_owned()),
    }
}

fn build<'a>(events: &mut impl Iterator<Item = Option<Event<'a>>>) -> Result<Tree, String> {
    let event = events.next().flatten().ok_or("the end")?;
    one(event, events)
}

fn one<'a>(event: Event<'a>, events: &mut impl Iterator<Item = Option<Event<'a>>>) -> Result<Tree, String> {
    Ok(match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) => plain(&text),
        Event::Scalar(text, ..) => Tree::Text(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match events.next().flatten().ok_or("the end")? {
                    Event::SequenceEnd => return Ok(Tree::Seq(items)),
                    event => items.push(one(event, events)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut entries = Vec::new();
            loop {
                match events.next().flatten().ok_or("the end")? {
                    Event::MappingEnd => return Ok(Tree::Map(entries)),
                    event => {
                        let key = one(event, events)?;
                        entries.push((key, build(events)?));
                    }
                }
            }
        }
        other => return Err(format!("{other:?}")),
    })
}

/// Why the other reader may refuse what we accept: chapters of the specification that it does not follow.
fn excused(complaint: &str, ours: &Tree) -> bool {
    let root_text = matches!(ours, Tree::Text(_));
    // 6.2: a tab separates as well as a space does
    complaint.starts_with("':' must be followed by a valid YAML whitespace")
        // 8.1.1.1: a text at the root has the indentation -1, so its lines may begin at the left edge, also with a tab
        || root_text && complaint.starts_with("a block scalar content cannot start with a tab")
        // 8.1.1.2: comments may follow a text, however far its lines would have to be indented
        || complaint.starts_with("wrongly indented line in block scalar")
        // Here we are the ones: 7.4 wants the closing bracket indented as well. Everybody writes it below the key, and no
        // reader insists, except that this one does where the brackets are empty.
        || complaint.starts_with("invalid indentation")
}

/// Equal, or refused by us.
fn check(text: &str) -> Result<(), TestCaseError> {
    // About the end of a file without a line break, see `end_of_file`.
    let text = &format!("{}\n", text.trim_end_matches('\n'));
    let Some(ours) = ours(text) else { return Ok(()) };
    match theirs(text) {
        Err(complaint) if excused(&complaint, &ours) => {}
        theirs => prop_assert_eq!(theirs, Ok(ours), "{}", text),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn documents_say_the_same(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&documents::document(&bytes))?;
    }

    #[test]
    fn damaged_documents_say_the_same(
        bytes in prop::collection::vec(any::<u8>(), 0..150),
        at in any::<prop::sample::Index>(),
        cut in 0..4usize,
        put in prop::sample::select(&[
            "", " ", "\n", "\n  ", "- ", "a: ", "#", " # c", "'", "\"", "|\n", "[", "}", ",", "x", "\t", ":", "? ", "-\t", ": ", "---\n", "!", "&a ", "\\",
        ][..]),
    ) {
        let mut text = documents::document(&bytes);
        let from = text.floor_char_boundary(at.index(text.len() + 1));
        let to = text.ceil_char_boundary((from + cut).min(text.len()));
        text.replace_range(from..to, put);
        check(&text)?;
    }
}

/// What we and the other reader make of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// Both read it, as the same.
    Same,
    /// We refuse it; it is right.
    Ours,
    /// Both refuse it, or it has what a tree cannot show: an alias, a second document.
    Both,
    /// We read it; the other reader refuses it, for a reason that is named beside the text.
    Theirs,
}
use Verdict::{Both, Ours, Same, Theirs};

/// Constructs of the specification (YAML 1.2.2), by chapter.
const CONSTRUCTS: &[(&str, Verdict, &str)] = &[
    // 5.2, 5.4: byte order mark, line breaks
    ("5.2", Same, "\u{feff}a: b\n"),
    ("5.4", Same, "a: b\r\nc: |\r\n  d\r\n  e\r\n"),
    ("5.4", Same, "a: \"b\u{2028}c\u{85}d\"\n"),
    ("5.4", Ours, "a: b\rc: d\n"),
    // 5.1, 5.7: characters, escapes
    ("5.1", Ours, "a: \"b\u{7}c\"\n"),
    ("5.7", Same, "a: \"\\0\\a\\b\\t\\n\\v\\f\\r\\e\\ \\\"\\/\\\\\\N\\_\\L\\P\\x41\\u0041\\U00000041\"\n"),
    ("5.7", Both, "a: \"\\d\"\n"),
    ("5.7", Both, "a: \"\\x4\"\n"),
    ("5.7", Both, "a: \"\\ud800\"\n"),
    // 5.3: indicators that cannot begin a plain scalar
    ("5.3", Both, "a: @b\n"),
    ("5.3", Both, "a: `b\n"),
    ("5.3", Both, "a: %b\nc: }\n"),
    // 6.1: indentation
    ("6.1", Same, "a:\n b:\n    c: d\n    e: f\n g: h\n"),
    ("6.1", Both, "a:\n  b: c\n d: e\n"),
    ("6.1", Both, "a:\n\tb: c\n"),
    ("6.1", Both, "- a\n - b: c\n"),
    // 6.2: separation; tabs separate as spaces do
    ("6.2", Same, "a:  b\t \n-x: c\n"),
    ("6.2", Theirs, "a:\tb\n"),
    ("6.2", Same, "- a\n-\tb\n"),
    ("6.2", Both, "-\t- a\n"),
    // 6.4: empty lines
    ("6.4", Same, "a: \"b\n\n   \n  c\"\nd: e\n\n  f\n"),
    ("6.4", Both, "a: \"b\n\t\n  c\"\n"),
    // 6.5: folding
    ("6.5", Same, ">-\n  a\n  b\n\n\n  c\n   d\n  e\n"),
    ("6.5", Same, "a: 'b \n  c\t\n\n \t d'\n"),
    // 6.6: comments
    ("6.6", Same, "# a\na: b # c\n  # d\n#e\n"),
    ("6.6", Both, "a: 'b'# c\n"),
    ("6.6", Same, "a: b# c\n"),
    ("6.6", Same, "a: # c\n  # d\n  b\n"),
    ("6.6", Both, "a: b\n  # c\n  d\n"),
    // 6.8, 6.9: directives, tags, anchors
    ("6.8", Ours, "%YAML 1.2\n---\na: b\n"),
    ("6.9.1", Ours, "a: !!str 1\n"),
    ("6.9.1", Ours, "a: !b c\n"),
    ("6.9.2", Ours, "a: &b c\n"),
    ("7.1", Both, "a: &b c\nd: *b\n"),
    ("7.1", Both, "a: *b\n"),
    // 7.2: empty nodes
    ("7.2", Same, "a:\nb:\n- \n-\n"),
    ("7.2", Same, "{a, b: , c: ''}\n"),
    ("7.2", Ours, "{: a}\n"),
    ("7.2", Ours, ": a\n"),
    // 7.3.1, 7.3.2: quoted scalars
    ("7.3.1", Same, "a: \"b \\\n  c\\  \n  \\ d\n\n  e\"\n"),
    ("7.3.2", Same, "'a''b': 'c\n\n  d''e'\n"),
    ("7.3", Both, "a: 'b\nc'\n"),
    ("7.3", Both, "a: \"b\n--- c\"\n"),
    ("7.3", Both, "a: 'b' c\n"),
    // 7.3.3: plain scalars
    ("7.3.3", Same, "- -a\n- ?b\n- :c\n- a:b\n- a#b\n- http://c:1/#d\n- a, b] c}\n"),
    ("7.3.3", Same, "[-a, ?b, :c, a:b, a#b, http://c:1/#d]\n"),
    ("7.3.3", Same, "a\n b\n\n c\n"),
    ("7.3.3", Both, "a: b: c\n"),
    ("7.3.3", Both, "a: b\n  c: d\n"),
    ("7.3.3", Same, "a:\n  b\n  - c\n"),
    // 7.4: flow collections
    ("7.4", Same, "[a, 'b', \"c\", [d], {e: f}, ]\n"),
    ("7.4", Same, "[\n a,\n  b\n ]\n"),
    ("7.4", Same, "a: [\n  b\n]\n"),
    ("7.4", Theirs, "a: [\n]\n"),
    ("7.4", Both, "[a, , b]\n"),
    ("7.4", Both, "[, a]\n"),
    ("7.4", Both, "a: [b\nc: d\n"),
    ("7.4", Both, "[a}\n"),
    ("7.4", Both, "[a]b\n"),
    ("7.4.1", Same, "[a: b, {c: d, e}, \"f\":g, h: ]\n"),
    ("7.4.1", Both, "[a\n : b]\n"),
    ("7.4.1", Ours, "[? a : b]\n"),
    ("7.4.2", Same, "{a: b, \"c\":d, 'e':[f], g: {h: i}}\n"),
    ("7.4.2", Both, "{a:[b]}\n"),
    ("7.4.2", Ours, "{a\n : b}\n"),
    ("7.4.2", Ours, "{[a]: b}\n"),
    ("7.4.2", Ours, "{? a : b}\n"),
    ("7.4", Ours, "[a]: b\n"),
    // 8.1: block scalars
    ("8.1.1", Same, "- |\n a\n- |-\n b\n- |+\n c\n\n- >\n d\n- >-\n e\n- >+\n f\n\n"),
    ("8.1.1.1", Same, "- |1\n  a\n- >2-\n   b\n- |+3\n    c\n\n- d\n"),
    ("8.1.1.1", Both, "- |0\n a\n"),
    ("8.1.1.1", Both, "- |12\n  a\n"),
    ("8.1.1.1", Both, "- |\n    \n  a\n"),
    ("8.1.1.1", Both, "a: |\n    b\n  c\n"),
    ("8.1.1.1", Theirs, "|\n\ta\n"),
    ("8.1.1.2", Same, "a: |  # b\n  c\n # d\n\n# e\nf: g\n"),
    ("8.1.1.2", Ours, "a: |\n  b\n\t\nc: d\n"),
    ("8.1.1.2", Theirs, "a: |2\n\n # b\n"),
    ("8.1.1", Both, "a: | b\n  c\n"),
    ("8.1.2", Same, "a: |\n  b\n   c\n\n  \td\n    \n  e\n"),
    ("8.1.3", Same, "a: >\n  b\n  c\n\n    d\n\n  e\n  \tf\n  g\n"),
    // 8.2: block collections
    ("8.2.1", Same, "a:\n- b\n- - c\n  - d\n-\n  - e\nf:\n  - g: h\n    i: j\n"),
    ("8.2.1", Both, "a: - b\n"),
    ("8.2.1", Both, "- a\nb: c\n"),
    ("8.2.2", Same, "'a': b\n\"c\" : d\ne f: g\n"),
    ("8.2.2", Ours, "? a\n: b\n"),
    ("8.2.2", Ours, "? [a]\n: b\n"),
    ("8.2.2", Both, "'a\n b': c\n"),
    ("8.2.2", Both, "a: b\nc\n"),
    ("8.2.2", Same, "a:\n  b: c\n---x: d\n"),
    // 9: documents
    ("9.1", Same, ""),
    ("9.1", Same, "# a\n"),
    ("9.1", Same, "---\na: b\n"),
    ("9.1", Same, "--- |\n a\n"),
    ("9.1", Same, "--- a\n b\n"),
    ("9.1", Ours, "a: b\n...\n"),
    ("9.2", Both, "---\na: b\n---\nc: d\n"),
    ("9.1", Both, "--- a: b\n"),
    // 3.2.1.3: keys are unique, which the other reader leaves to whoever builds the mapping
    ("3.2.1.3", Ours, "a: b\na: c\n"),
    // 10: a merge key is not part of 1.2, but of the readers that people know
    ("10", Ours, "<<: a\n"),
];

#[test]
fn constructs_of_the_specification() {
    let mut wrong = Vec::new();
    for (chapter, want, text) in CONSTRUCTS {
        let (ours, theirs) = (ours(text), theirs(text));
        let found = match (&ours, &theirs) {
            (Some(a), Ok(b)) if a == b => Same,
            (Some(_), Err(_)) => Theirs,
            (None, Ok(_)) => Ours,
            (None, Err(_)) => Both,
            _ => panic!("{chapter} {text:?}\n{ours:?}\n{theirs:?}"),
        };
        if found != *want {
            wrong.push(format!("{chapter} {text:?}: {found:?}, not {want:?}\n  {ours:?}\n  {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where a text block ends with the file, before its line does: 8.1.1.2 lets the end of the file stand for the line break,
/// which is then not there to be kept. The other reader adds it.
#[test]
fn end_of_file() {
    for (text, want) in [
        ("a: |\n  b", "b"),
        ("a: >\n  b", "b"),
        ("a: |+\n  b", "b"),
        ("a: |+\n  b\n", "b\n"),
        ("a: |+\n  b\n\n  ", "b\n\n"),
    ] {
        let want = Tree::Map(vec![(Tree::Plain("a".into()), Tree::Text(want.into()))]);
        assert_eq!(ours(text), Some(want), "{text:?}");
    }
}
