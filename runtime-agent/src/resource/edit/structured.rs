//! `json_file`, `toml_file` and `yaml_file`: values at paths, in a document of maps and lists.
//!
//! What has to change is found by comparing values; a format then changes its text in as few places as it can. Afterwards
//! the text is read again, and has to hold exactly the values that were meant: otherwise the file stays as it was.

use super::json::Json;
use super::toml::Toml;
use super::yaml::Yaml;
use super::{Edit, EditError, Edited, Editor};
use crate::resource::{Desired, ResourceError};
use crate::text::{bounded, printable};
use ir::Value;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

/// The edit.
pub struct Structured<F>(PhantomData<F>);
/// A file of JSON.
pub type JsonType = Editor<Structured<Json>>;
/// A file of TOML.
pub type TomlType = Editor<Structured<Toml>>;
/// A file of YAML.
pub type YamlType = Editor<Structured<Yaml>>;

/// Deeper documents are not edited.
pub(super) const MAX_DEPTH: usize = 100;

/// A step of a path: a key of a map, or a number in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub text: String,
    /// In quotes: never a number.
    quoted: bool,
}

impl Step {
    /// As a number in a list, from 0.
    pub fn index(&self) -> Option<usize> {
        let plain = !self.quoted && self.text.bytes().all(|b| b.is_ascii_digit());
        if plain { self.text.parse().ok() } else { None }
    }
}

/// A format of text.
pub(super) trait Format: Sync {
    /// The type that edits it.
    const KIND: &'static str;

    /// The values of a text. An empty text holds an empty map.
    fn read(text: &str) -> Result<Value, EditError>;

    /// Gives the value at a path that exists, or a new key of a map that exists, a value.
    fn set(text: &str, path: &[Step], value: &Value) -> Result<String, EditError>;

    /// Takes away a key of a map, which exists.
    fn remove(text: &str, path: &[Step]) -> Result<String, EditError>;

    /// Whether the format can say this value.
    fn can_hold(value: &Value) -> Result<(), &'static str>;
}

impl<F: Format> Edit for Structured<F> {
    const KIND: &'static str = F::KIND;
    const ATTRIBUTES: &'static [&'static str] = &["set", "merge", "remove"];

    fn is_sensitive(desired: &Desired) -> bool {
        desired.is_sensitive("set") || desired.is_sensitive("merge")
    }

    fn edit(desired: &Desired, text: &str) -> Result<Edited, EditError> {
        let (set, merge, remove) =
            (desired.map("set")?, desired.map("merge")?, desired.strings("remove")?.unwrap_or_default());
        if set.is_none() && merge.is_none() && remove.is_empty() {
            return Err(ResourceError::Missing("set").into());
        }
        let mut work = Work::<F> {
            text: text.to_owned(),
            value: F::read(text)?,
            changes: Vec::new(),
            format: PhantomData,
        };
        for path in &remove {
            work.remove(&steps("remove", path)?)?;
        }
        if let Some(merge) = merge {
            work.merge(&mut Vec::new(), merge)?;
        }
        for (path, value) in set.into_iter().flatten() {
            work.set(&steps("set", path)?, value, "set")?;
        }
        if F::read(&work.text).ok().as_ref() != Some(&work.value) {
            return Err(EditError::at(
                text,
                0,
                format!("cannot be changed as declared by `{}`; its layout is too unusual", F::KIND),
            ));
        }
        Ok(Edited { text: work.text, changes: work.changes })
    }
}

/// A text, and what it holds.
struct Work<F> {
    text: String,
    value: Value,
    changes: Vec<String>,
    format: PhantomData<F>,
}

impl<F: Format> Work<F> {
    fn remove(&mut self, path: &[Step]) -> Result<(), EditError> {
        if get(&self.value, path).is_none() {
            return Ok(());
        }
        let (_, way) = path.split_last().unzip();
        if let Some(Value::List(_)) = get(&self.value, way.unwrap_or_default()) {
            let why =
                "is an item of a list: the next run would remove the next one; set the list as it has to be";
            return Err(EditError::invalid("remove", format!("`{}` {why}", shown(path))));
        }
        self.text = F::remove(&self.text, path)?;
        take(&mut self.value, path);
        self.changes.push(format!("removed {}", shown(path)));
        Ok(())
    }

    /// Goes down as far as both sides are maps.
    fn merge(&mut self, path: &mut Vec<Step>, map: &BTreeMap<Arc<str>, Value>) -> Result<(), EditError> {
        if path.len() > MAX_DEPTH {
            return Err(EditError::invalid("merge", "is nested too deeply"));
        }
        for (key, value) in map {
            path.push(Step { text: key.to_string(), quoted: true });
            match (value, get(&self.value, path)) {
                (Value::Map(inner), Some(Value::Map(_))) => self.merge(path, inner)?,
                _ => self.set(path, value, "merge")?,
            }
            path.pop();
        }
        Ok(())
    }

    fn set(&mut self, path: &[Step], value: &Value, name: &'static str) -> Result<(), EditError> {
        let invalid = |why: String| EditError::invalid(name, format!("`{}` {why}", shown(path)));
        if let Err(why) = F::can_hold(value) {
            return Err(invalid(why.to_owned()));
        }
        if get(&self.value, path) == Some(value) {
            return Ok(());
        }
        // What is missing on the way becomes maps.
        let found = |steps: usize| path.get(..steps).and_then(|p| get(&self.value, p));
        let is_there = |steps: &usize| *steps == 0 || found(*steps).is_some_and(|v| *v != Value::Null);
        let there = (0..path.len()).rev().find(is_there).unwrap_or_default();
        let (way, rest) = path.split_at(there);
        let Some((step, inner)) = rest.split_first() else { return Err(invalid("is no path".to_owned())) };
        match get(&self.value, way) {
            Some(Value::Map(_)) => {}
            Some(list @ Value::List(_)) if child(list, step).is_some() => {}
            Some(Value::List(list)) => {
                return Err(invalid(format!("is not there: {} is a list of {}", place(way), list.len())));
            }
            _ => return Err(invalid(format!("cannot be set: {} is neither a map nor a list", place(way)))),
        }
        let new = path.get(..=there).unwrap_or(path);
        let mut nested = value.clone();
        for step in inner.iter().rev() {
            nested = Value::Map([(Arc::from(step.text.as_str()), nested)].into());
        }
        self.text = F::set(&self.text, new, &nested)?;
        put(&mut self.value, new, nested);
        self.changes.push(format!("set {}", shown(path)));
        Ok(())
    }
}

/// Where a step leads in a value.
fn child<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match value {
        Value::Map(map) => map.get(step.text.as_str()),
        Value::List(list) => list.get(step.index()?),
        _ => None,
    }
}

fn get<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| child(value, step))
}

fn get_mut<'a>(value: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Map(map) => map.get_mut(step.text.as_str()),
        Value::List(list) => list.get_mut(step.index()?),
        _ => None,
    })
}

fn put(value: &mut Value, path: &[Step], new: Value) {
    let Some((last, way)) = path.split_last() else { return };
    match get_mut(value, way) {
        Some(Value::Map(map)) => drop(map.insert(Arc::from(last.text.as_str()), new)),
        Some(Value::List(list)) => {
            if let Some(item) = last.index().and_then(|at| list.get_mut(at)) {
                *item = new;
            }
        }
        _ => {}
    }
}

fn take(value: &mut Value, path: &[Step]) {
    let Some((last, way)) = path.split_last() else { return };
    if let Some(Value::Map(map)) = get_mut(value, way) {
        map.remove(last.text.as_str());
    }
}

/// Reads `server.ports.0` and `"a.b".c`.
fn steps(name: &'static str, path: &str) -> Result<Vec<Step>, EditError> {
    let wrong = |why: &str| {
        let path = printable(bounded(path, 200));
        EditError::invalid(
            name,
            format!("`{path}` is not a path: {why}; write it like `server.port` or `\"a.b\".c`"),
        )
    };
    let (mut steps, mut rest) = (Vec::new(), path);
    loop {
        let step = match rest.strip_prefix('"') {
            Some(inside) => {
                let (text, tail) = inside.split_once('"').ok_or_else(|| wrong("a quote does not close"))?;
                rest = tail;
                Step { text: text.to_owned(), quoted: true }
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                let (text, tail) = rest.split_at(end);
                if text.is_empty() {
                    return Err(wrong("it has an empty step"));
                }
                rest = tail;
                Step { text: text.to_owned(), quoted: false }
            }
        };
        steps.push(step);
        if steps.len() > MAX_DEPTH {
            return Err(wrong("it is too long"));
        }
        match rest.strip_prefix('.') {
            Some(tail) => rest = tail,
            None if rest.is_empty() => return Ok(steps),
            None => return Err(wrong("something follows a quote")),
        }
    }
}

/// A path as people write it.
fn shown(path: &[Step]) -> String {
    let step = |s: &Step| {
        let bare = !s.text.is_empty() && !s.text.contains(['.', '"']);
        let text = printable(bounded(&s.text, 100));
        if bare { text } else { format!("\"{text}\"") }
    };
    path.iter().map(step).collect::<Vec<_>>().join(".")
}

fn place(path: &[Step]) -> String {
    if path.is_empty() { "the document".to_owned() } else { format!("`{}`", shown(path)) }
}

/// Whether something that no text format has stands inside.
pub(super) fn is_plain(value: &Value) -> Result<(), &'static str> {
    match value {
        Value::Bytes(_) => Err("is bytes, not text"),
        Value::Secret(_) => Err("is a secret that has no value here"),
        Value::List(items) => items.iter().try_for_each(is_plain),
        Value::Map(map) => map.values().try_for_each(is_plain),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_shown_the_same() {
        for path in ["a", "a.b", "a.0.b", "\"a.b\".c", "a-b.c_d", "\"\""] {
            assert_eq!(shown(&steps("set", path).unwrap()), path);
        }
        for path in ["", ".", "a..b", "a.", ".a", "\"a", "\"a\"b"] {
            assert!(steps("set", path).is_err(), "{path}");
        }
        let quoted = steps("set", "\"0\".0").unwrap();
        assert_eq!((quoted[0].index(), quoted[1].index()), (None, Some(0)));
    }
}
