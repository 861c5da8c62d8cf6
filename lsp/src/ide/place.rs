//! Where in a document a position is: the keys and items on the way down to it.
//!
//! The tree decides where there is one. Half-typed text is the normal case: for completion a word that occurs nowhere else
//! is put where the cursor is, the text is read again, and the word is looked up in that tree. Where the tree has lost it,
//! indentation alone says where it stands.

use grammar::Span;
use grammar::document::{Entry, Node, Parsed, Scalar, Value, parse};

/// One step down from the root of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into the value of a key.
    Key(String),
    /// Into an item of a list.
    Item(usize),
}

impl Step {
    /// The key, if it is one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Step::Key(key) => Some(key),
            Step::Item(_) => None,
        }
    }
}

/// What is at a position.
#[derive(Debug)]
pub enum On<'t> {
    /// A key; it is the last step of the way.
    Key(&'t Entry),
    /// A scalar, or nothing where a value could stand.
    Value(&'t Node),
    /// The inside of a mapping or list, between its parts.
    Between,
}

/// A position in a tree.
#[derive(Debug)]
pub struct Place<'t> {
    /// From the root down.
    pub way: Vec<Step>,
    /// The nodes that were passed, the root first: one more than `way` has steps, but for a key.
    pub nodes: Vec<&'t Node>,
    /// What is there.
    pub on: On<'t>,
}

impl<'t> Place<'t> {
    /// The innermost mapping around the position, and the way to it.
    pub fn mapping(&self) -> Option<(&'t [Entry], &[Step])> {
        self.nodes
            .iter()
            .enumerate()
            .rev()
            .find_map(|(at, node)| Some((node.as_map()?, self.way.get(..at.min(self.way.len()))?)))
    }

    /// The text of a key that stands beside the last key of the first `depth` steps.
    pub fn beside(&self, depth: usize, key: &str) -> Option<&'t str> {
        self.nodes.get(depth)?.get(key)?.as_str()
    }

    /// The scalar at the position.
    pub fn scalar(&self) -> Option<(&'t Scalar, Span)> {
        match self.on {
            On::Value(node) => Some((node.as_scalar()?, node.span)),
            _ => None,
        }
    }
}

/// What is at a byte of a document.
pub fn place(root: &Node, at: u32) -> Place<'_> {
    let mut out = Place { way: Vec::new(), nodes: vec![root], on: On::Between };
    let mut node = root;
    loop {
        match &node.value {
            Value::Map(entries) => {
                if let Some(entry) = entries.iter().find(|e| holds(e.key.span, at)) {
                    out.way.push(Step::Key(entry.key.text.clone()));
                    out.on = On::Key(entry);
                    return out;
                }
                let Some(entry) = entries.iter().rev().find(|e| holds(e.value.span, at)) else { return out };
                out.way.push(Step::Key(entry.key.text.clone()));
                node = &entry.value;
            }
            Value::Seq(items) => {
                let Some((number, item)) = items.iter().enumerate().rev().find(|(_, i)| holds(i.span, at))
                else {
                    return out;
                };
                out.way.push(Step::Item(number));
                node = item;
            }
            Value::Scalar(_) | Value::Null => {
                out.on = On::Value(node);
                return out;
            }
            Value::Error => return out,
        }
        out.nodes.push(node);
    }
}

fn holds(span: Span, at: u32) -> bool {
    span.start <= at && at <= span.end
}

/// Occurs in no policy.
const MARK: &str = "QzVigoCursorQz";

/// A document as it would be with a word at the cursor.
#[derive(Debug)]
pub struct Marked {
    text: String,
    parsed: Parsed,
    at: usize,
}

/// What is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typing {
    /// The way to the mapping or list that it stands in.
    pub way: Vec<Step>,
    /// A key, or something that may become one: whether a value would fit is for the caller to say.
    pub as_key: bool,
    /// The key whose value it is, or a part of it; `None` for an item of the list at the end of the way.
    pub of: Option<String>,
    /// What stands before the cursor, from where it begins.
    pub typed: String,
    /// Where that begins.
    pub start: u32,
    /// The keys of the mappings around it, the innermost first, with their texts where they are scalars.
    pub levels: Vec<Vec<(String, Option<String>)>>,
    /// Whether it stands between quotes.
    pub quoted: bool,
}

impl Marked {
    /// Puts the word in. `at` has to be a character boundary of the text.
    pub fn new(text: &str, at: usize) -> Option<Marked> {
        let (head, tail) = (text.get(..at)?, text.get(at..)?);
        let text = format!("{head}{MARK}{tail}");
        let parsed = parse(&text);
        Some(Marked { text, parsed, at })
    }

    /// Whether the cursor is in a comment; what stands before it there.
    pub fn comment(&self) -> Option<&str> {
        let at = self.at as u32;
        let comment = self.parsed.comments.iter().find(|c| c.span.start < at && at <= c.span.end)?;
        self.text.get(comment.span.start as usize..self.at)
    }

    /// What is being typed.
    pub fn typing(&self) -> Typing {
        let mut way = Vec::new();
        let mut around: Vec<&[Entry]> = Vec::new();
        self.find(&self.parsed.root, &mut way, &mut around).unwrap_or_else(|| self.by_indentation())
    }

    fn find<'t>(
        &'t self,
        node: &'t Node,
        way: &mut Vec<Step>,
        around: &mut Vec<&'t [Entry]>,
    ) -> Option<Typing> {
        match &node.value {
            Value::Map(entries) => {
                around.push(entries);
                for entry in entries {
                    if entry.key.text.contains(MARK) {
                        let start = entry.key.span.start as usize;
                        return Some(self.typing_at(way, around, start, true, None));
                    }
                    if outside(entry.value.span, self.at, MARK.len()) {
                        continue;
                    }
                    way.push(Step::Key(entry.key.text.clone()));
                    let marked = entry.value.as_str().is_some_and(|t| t.contains(MARK));
                    if marked {
                        let of = way.pop().and_then(|s| s.key().map(str::to_owned));
                        let start = entry.value.span.start as usize;
                        let own_line = self.alone(start);
                        return Some(self.typing_at(way, around, start, own_line, of));
                    }
                    if let Some(found) = self.find(&entry.value, way, around) {
                        return Some(found);
                    }
                    way.pop();
                }
                around.pop();
                None
            }
            Value::Seq(items) => {
                for (number, item) in items.iter().enumerate() {
                    if outside(item.span, self.at, MARK.len()) {
                        continue;
                    }
                    way.push(Step::Item(number));
                    if item.as_str().is_some_and(|t| t.contains(MARK)) {
                        return Some(self.typing_at(way, around, item.span.start as usize, true, None));
                    }
                    if let Some(found) = self.find(item, way, around) {
                        return Some(found);
                    }
                    way.pop();
                }
                None
            }
            _ => None,
        }
    }

    fn typing_at(
        &self,
        way: &[Step],
        around: &[&[Entry]],
        start: usize,
        as_key: bool,
        of: Option<String>,
    ) -> Typing {
        let quoted = self.text.get(start..).is_some_and(|t| t.starts_with(['"', '\'']));
        let start = (start + usize::from(quoted)).min(self.at);
        let texts = |entries: &&[Entry]| {
            let pair = |e: &Entry| (e.key.text.clone(), e.value.as_str().map(str::to_owned));
            entries.iter().filter(|e| !e.key.text.contains(MARK)).map(pair).collect()
        };
        Typing {
            way: way.to_vec(),
            as_key: as_key && !quoted,
            of,
            typed: self.text.get(start..self.at).unwrap_or_default().to_owned(),
            start: start as u32,
            levels: around.iter().rev().map(texts).collect(),
            quoted,
        }
    }

    /// Whether nothing but blanks and dashes stands before this on its line.
    fn alone(&self, at: usize) -> bool {
        let head = self.text.get(..at).unwrap_or_default();
        let line = head.rsplit('\n').next().unwrap_or_default();
        line.chars().all(|c| c == ' ' || c == '-')
    }

    /// Where the tree is lost: lines above that are indented less, up to the root.
    fn by_indentation(&self) -> Typing {
        let head = self.text.get(..self.at).unwrap_or_default();
        let mut lines = head.rsplit('\n');
        let line = Line::read(lines.next().unwrap_or_default());
        let mut steps = Vec::new();
        let mut levels: Vec<Vec<(String, Option<String>)>> = vec![Vec::new()];
        let mut column = line.column;
        if line.dashes > 0 {
            steps.push(Step::Item(0));
            column = line.dash_column;
            levels.push(Vec::new());
        }
        for above in lines.map(Line::read) {
            if above.blank || above.column > column {
                continue;
            }
            let Some((key, value)) = above.key else { continue };
            if above.column < column {
                // the key of the mapping or list that was gone through
                steps.push(Step::Key(key.to_owned()));
                column = above.column;
                levels.push(Vec::new());
            }
            if let Some(level) = levels.last_mut() {
                level.push((key.to_owned(), Some(value.to_owned())));
            }
            if above.dashes > 0 {
                // `- name: x` begins the item
                steps.push(Step::Item(0));
                column = above.dash_column;
                levels.push(Vec::new());
            }
        }
        steps.reverse();
        let (of, typed) = match line.key {
            Some((key, value)) => (Some(key.to_owned()), value.trim_start_matches(['"', '\''])),
            None => (None, line.rest.trim_start_matches(['"', '\''])),
        };
        let start = self.at.saturating_sub(typed.len()) as u32;
        Typing { way: steps, as_key: of.is_none(), of, typed: typed.to_owned(), start, levels, quoted: false }
    }
}

impl Typing {
    /// The keys beside it.
    pub fn beside(&self) -> &[(String, Option<String>)] {
        self.levels.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// The text of a key beside it, or around it.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.levels.iter().flatten().find(|(k, _)| k == key)?.1.as_deref()
    }
}

fn outside(span: Span, at: usize, length: usize) -> bool {
    (span.end as usize) < at || (span.start as usize) > at + length
}

/// A line as indentation sees it.
struct Line<'a> {
    blank: bool,
    /// Where its content begins, behind dashes.
    column: usize,
    /// Where its first dash is, or its content.
    dash_column: usize,
    dashes: usize,
    key: Option<(&'a str, &'a str)>,
    rest: &'a str,
}

impl Line<'_> {
    fn read(text: &str) -> Line<'_> {
        let dash_column = text.len() - text.trim_start_matches(' ').len();
        let (mut column, mut dashes) = (dash_column, 0);
        let mut rest = text.get(column..).unwrap_or_default();
        while let Some(after) = rest.strip_prefix("- ") {
            let trimmed = after.trim_start_matches(' ');
            column += rest.len() - trimmed.len();
            dashes += 1;
            rest = trimmed;
        }
        let blank = rest.is_empty() || rest.starts_with('#');
        let key = rest.split_once(':').filter(|(key, value)| {
            !key.is_empty()
                && !key.contains([' ', '"', '\'', '{', '['])
                && (value.is_empty() || value.starts_with(' '))
        });
        let key = key.map(|(key, value)| (key, value.trim_start()));
        Line { blank: blank && dashes == 0, column, dash_column, dashes, key, rest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typing(text: &str) -> Typing {
        let at = text.find("$0").unwrap();
        Marked::new(&text.replace("$0", ""), at).unwrap().typing()
    }

    fn shown(text: &str) -> String {
        let t = typing(text);
        let way: Vec<String> = t
            .way
            .iter()
            .map(|s| match s {
                Step::Key(k) => k.clone(),
                Step::Item(n) => n.to_string(),
            })
            .collect();
        let what = if t.as_key { "key" } else { "value" };
        let of = t.of.map(|k| format!(" of {k}")).unwrap_or_default();
        format!("{} {what}{of} `{}`", way.join("/"), t.typed)
    }

    const HEAD: &str = "name: a\nresources:\n  - name: x\n    type: file\n";

    #[test]
    fn keys_and_values_are_told_apart_in_half_typed_text() {
        for (text, expected) in [
            ("na$0", " key `na`"),
            ("name: a\n$0", " key ``"),
            ("name: a\nvars:\n  $0\n", " key of vars ``"),
            ("name: a\nvars:\n  a: 1\n  b$0\n", "vars key `b`"),
            ("name: a\nvars:\n  a: 1\n  b: $0\n", "vars value of b ``"),
            ("depends_on: [a, b$0]\n", "depends_on/1 key `b`"),
            ("params:\n  p: { type: po$0\n", "params/p value of type `po`"),
            ("params:\n  p: { type: port, d$0 }\n", "params/p key `d`"),
            ("resources:\n  - $0\n", "resources/0 key ``"),
            ("resources:\n  - name: x\n    ty$0\nvars: {}\n", "resources/0 key `ty`"),
            ("resources:\n  - name: x\n    type: $0\n  - name: y\n", "resources/0 value of type ``"),
            (
                "resources:\n  - name: x\n    when: \"os_f$0\n  - name: y\n",
                "resources/0 value of when `os_f`",
            ),
            ("resources:\n  - name: x\n    notify: [$0\n", "resources/0/notify/0 key ``"),
            ("resources:\n  - name: x\n    notify:\n      - a$0\n", "resources/0/notify/0 key `a`"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_stands_beside_is_seen() {
        let t = typing(&format!("{HEAD}    mo$0\n"));
        let beside: Vec<(&str, Option<&str>)> =
            t.beside().iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
        assert_eq!(beside, [("name", Some("x")), ("type", Some("file"))]);
        let t = typing(&format!("{HEAD}    match:\n      debian: {{ $0 }}\n"));
        assert!(t.beside().is_empty(), "{t:?}");
        assert_eq!(t.text_of("type"), Some("file"));
        assert_eq!(t.way.last(), Some(&Step::Key("debian".into())));
    }

    #[test]
    fn indentation_alone_finds_the_way() {
        let text = format!("{HEAD}    mo");
        let marked = Marked::new(&text, text.len()).unwrap();
        let t = marked.by_indentation();
        assert_eq!(t.way, [Step::Key("resources".into()), Step::Item(0)]);
        assert_eq!((t.typed.as_str(), t.as_key), ("mo", true));
        assert_eq!(t.text_of("type"), Some("file"), "{t:?}");
    }

    #[test]
    fn positions_in_a_tree() {
        let text = "a:\n  - b: hello\n    c: [x, y]\n";
        let parsed = parse(text);
        let p = place(&parsed.root, text.find("ello").unwrap() as u32);
        assert_eq!(p.way, [Step::Key("a".into()), Step::Item(0), Step::Key("b".into())]);
        assert_eq!(p.scalar().unwrap().0.text, "hello");
        let p = place(&parsed.root, text.find("c:").unwrap() as u32);
        assert!(matches!(p.on, On::Key(e) if e.key.text == "c"));
    }
}
