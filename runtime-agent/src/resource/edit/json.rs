//! JSON: order and layout stay.

use super::structured::{Format, MAX_DEPTH, Step, is_plain};
use super::tree::{Kind, Node};
use super::{EditError, flow};
use ir::{Finite, Value};
use std::ops::Range;

/// The format.
pub struct Json;

impl Format for Json {
    const KIND: &'static str = "json_file";

    fn read(text: &str) -> Result<Value, EditError> {
        Ok(document(text)?.map_or_else(|| Value::Map(Default::default()), |node| node.value()))
    }

    fn set(text: &str, path: &[Step], value: &Value) -> Result<String, EditError> {
        match document(text)? {
            Some(root) => flow::set(text, &root, path, value, &flow::JSON),
            None => {
                let empty = Node::empty_map();
                let made = flow::set("{}", &empty, path, value, &flow::JSON)?;
                Ok(format!("{made}\n"))
            }
        }
    }

    fn remove(text: &str, path: &[Step]) -> Result<String, EditError> {
        match document(text)? {
            Some(root) => flow::remove(text, &root, path),
            None => Ok(text.to_owned()),
        }
    }

    fn can_hold(value: &Value) -> Result<(), &'static str> {
        is_plain(value)
    }
}

/// The document, unless the text is blank.
fn document(text: &str) -> Result<Option<Node>, EditError> {
    let mut reader = Reader { text, at: if text.starts_with('\u{feff}') { 3 } else { 0 } };
    reader.space();
    if reader.at == text.len() {
        return Ok(None);
    }
    let node = reader.node(0)?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.wrong("something follows the document"));
    }
    Ok(Some(node))
}

/// Where we are in a text. Strings and numbers are read by `serde_json`; here is only what stands where.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, what: &str) -> EditError {
        EditError::at(self.text, self.at, format!("is not JSON: {what}"))
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn take(&mut self, mark: char) -> bool {
        let found = self.rest().starts_with(mark);
        self.at += usize::from(found);
        found
    }

    fn node(&mut self, depth: usize) -> Result<Node, EditError> {
        if depth > MAX_DEPTH {
            return Err(self.wrong("it is nested too deeply"));
        }
        let start = self.at;
        let kind = match self.rest().bytes().next() {
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Kind::Scalar(Value::from(self.string()?.0.as_str())),
            _ => self.word()?,
        };
        Ok(Node { span: start..self.at, kind, block: false })
    }

    fn map(&mut self, depth: usize) -> Result<Kind, EditError> {
        let mut entries = Vec::new();
        self.at += 1;
        self.space();
        if self.take('}') {
            return Ok(Kind::Map(entries));
        }
        loop {
            self.space();
            if !self.rest().starts_with('"') {
                return Err(self.wrong("a key in double quotes is due here"));
            }
            let (key, span) = self.string()?;
            self.space();
            if !self.take(':') {
                return Err(self.wrong("a `:` is due here"));
            }
            self.space();
            entries.push(super::tree::Entry { key, key_span: span, node: self.node(depth + 1)? });
            self.space();
            if self.take('}') {
                return Ok(Kind::Map(entries));
            }
            if !self.take(',') {
                return Err(self.wrong("a `,` or `}` is due here"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Kind, EditError> {
        let mut items = Vec::new();
        self.at += 1;
        self.space();
        if self.take(']') {
            return Ok(Kind::List(items));
        }
        loop {
            self.space();
            items.push(self.node(depth + 1)?);
            self.space();
            if self.take(']') {
                return Ok(Kind::List(items));
            }
            if !self.take(',') {
                return Err(self.wrong("a `,` or `]` is due here"));
            }
        }
    }

    fn string(&mut self) -> Result<(String, Range<usize>), EditError> {
        let start = self.at;
        let mut escaped = false;
        let end = self.rest().bytes().enumerate().skip(1).find_map(|(at, b)| {
            let closes = b == b'"' && !escaped;
            escaped = b == b'\\' && !escaped;
            closes.then_some(at + 1)
        });
        let end = start + end.ok_or_else(|| self.wrong("this string does not end"))?;
        let text = self.text.get(start..end).unwrap_or_default();
        let string = serde_json::from_str(text)
            .map_err(|_| self.wrong("this string has something that has to be escaped"))?;
        self.at = end;
        Ok((string, start..end))
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<Kind, EditError> {
        let rest = self.rest();
        let end = rest.find([',', ']', '}', ' ', '\t', '\n', '\r', ':', '"', '{', '[']).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default();
        let value = match serde_json::from_str(word) {
            Ok(serde_json::Value::Null) => Value::Null,
            Ok(serde_json::Value::Bool(bool)) => Value::Bool(bool),
            Ok(serde_json::Value::Number(number)) => match number.as_i64() {
                Some(int) => Value::Int(int),
                // What no number of ours holds is told from others by its text.
                None => number.as_f64().and_then(Finite::new).map_or_else(|| Value::from(word), Value::Float),
            },
            _ => return Err(self.wrong("a value is due here")),
        };
        self.at += end;
        Ok(Kind::Scalar(value))
    }
}
