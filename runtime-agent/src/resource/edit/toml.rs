//! TOML: comments, order and layout stay, by `toml_edit`.

use super::EditError;
use super::structured::{Format, Step, is_plain};
use ir::{Finite, Value as Data};
use std::sync::Arc;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value};

/// The format.
pub struct Toml;

impl Format for Toml {
    const KIND: &'static str = "toml_file";

    fn read(text: &str) -> Result<Data, EditError> {
        Ok(table(parse(text)?.iter()))
    }

    fn set(text: &str, path: &[Step], value: &Data) -> Result<String, EditError> {
        let mut document = parse(text)?;
        let Some((last, way)) = path.split_last() else { return Ok(text.to_owned()) };
        let lost = || EditError::at(text, 0, "changed while it was read");
        let holder = walk(document.as_item_mut(), way).ok_or_else(lost)?;
        if let Some(array) = holder.as_array_mut() {
            let old = last.index().and_then(|at| array.get_mut(at)).ok_or_else(lost)?;
            *old = dressed(inline(value), old);
        } else if let Some(tables) = holder.as_array_of_tables_mut() {
            let old = last.index().and_then(|at| tables.get_mut(at)).ok_or_else(lost)?;
            let Data::Map(map) = value else {
                return Err(EditError::invalid("set", "an item of `[[...]]` has to be a map"));
            };
            let mut new = Table::new();
            for (key, value) in map {
                new.insert(key, item(value));
            }
            *new.decor_mut() = old.decor().clone();
            new.set_position(old.position());
            *old = new;
        } else if let Some(inline_table) = holder.as_inline_table_mut() {
            match inline_table.get_mut(&last.text) {
                Some(old) => *old = dressed(inline(value), old),
                None => drop(inline_table.insert(&last.text, inline(value))),
            }
        } else {
            let table = holder.as_table_mut().ok_or_else(lost)?;
            match table.get_mut(&last.text) {
                Some(Item::Value(old)) if !matches!(value, Data::Map(_)) => {
                    *old = dressed(inline(value), old)
                }
                Some(old) => *old = item(value),
                None => drop(table.insert(&last.text, item(value))),
            }
        }
        Ok(document.to_string())
    }

    fn remove(text: &str, path: &[Step]) -> Result<String, EditError> {
        let mut document = parse(text)?;
        let Some((last, way)) = path.split_last() else { return Ok(text.to_owned()) };
        let lost = || EditError::at(text, 0, "changed while it was read");
        let holder = walk(document.as_item_mut(), way).ok_or_else(lost)?;
        holder.as_table_like_mut().and_then(|t| t.remove(&last.text)).ok_or_else(lost)?;
        Ok(document.to_string())
    }

    fn can_hold(value: &Data) -> Result<(), &'static str> {
        is_plain(value)?;
        match value {
            Data::Null => Err("is null, which TOML does not have; name it in `remove`"),
            Data::List(items) => items.iter().try_for_each(Toml::can_hold),
            Data::Map(map) => map.values().try_for_each(Toml::can_hold),
            _ => Ok(()),
        }
    }
}

fn parse(text: &str) -> Result<DocumentMut, EditError> {
    text.parse::<DocumentMut>().map_err(|e| {
        let at = e.span().map_or(0, |span| span.start);
        let what = e.message().lines().next().unwrap_or_default().trim_end_matches('.');
        EditError::at(text, at, format!("is not TOML: {}", crate::text::printable(what)))
    })
}

fn walk<'a>(item: &'a mut Item, path: &[Step]) -> Option<&'a mut Item> {
    path.iter().try_fold(item, |item, step| {
        if item.is_array() || item.is_array_of_tables() {
            return item.get_mut(step.index()?);
        }
        item.get_mut(step.text.as_str())
    })
}

/// A value in the place of another: the space and the comments around it stay.
fn dressed(mut new: Value, old: &Value) -> Value {
    *new.decor_mut() = old.decor().clone();
    new
}

fn table<'a>(entries: impl Iterator<Item = (&'a str, &'a Item)>) -> Data {
    Data::Map(entries.map(|(key, item)| (Arc::from(key), of_item(item))).collect())
}

fn of_item(item: &Item) -> Data {
    match item {
        Item::None => Data::Null,
        Item::Value(value) => of_value(value),
        Item::Table(t) => table(t.iter()),
        Item::ArrayOfTables(tables) => Data::List(tables.iter().map(|t| table(t.iter())).collect()),
    }
}

fn of_value(value: &Value) -> Data {
    match value {
        Value::String(text) => Data::str(text.value()),
        Value::Integer(int) => Data::Int(*int.value()),
        // `inf` and `nan` are compared by how they are written.
        Value::Float(float) => Finite::new(*float.value())
            .map_or_else(|| Data::Str(float.value().to_string().into()), Data::Float),
        Value::Boolean(bool) => Data::Bool(*bool.value()),
        Value::Datetime(time) => Data::Str(time.value().to_string().into()),
        Value::Array(items) => Data::List(items.iter().map(of_value).collect()),
        Value::InlineTable(t) => {
            Data::Map(t.iter().map(|(key, value)| (Arc::from(key), of_value(value))).collect())
        }
    }
}

/// A value on one line.
fn inline(value: &Data) -> Value {
    match value {
        Data::Bool(bool) => (*bool).into(),
        Data::Int(int) => (*int).into(),
        Data::Float(float) => float.get().into(),
        Data::List(items) => Value::Array(items.iter().map(inline).collect::<Array>()),
        Data::Map(map) => Value::InlineTable(
            map.iter().map(|(key, value)| (&**key, inline(value))).collect::<InlineTable>(),
        ),
        Data::Str(text) => (&**text).into(),
        // Refused before.
        Data::Null | Data::Bytes(_) | Data::Secret(_) => "".into(),
    }
}

/// A map becomes a table of its own, anything else a value.
fn item(value: &Data) -> Item {
    match value {
        Data::Map(map) => {
            let mut table = Table::new();
            table.set_implicit(!map.is_empty() && map.values().all(|v| matches!(v, Data::Map(_))));
            for (key, value) in map {
                table.insert(key, item(value));
            }
            Item::Table(table)
        }
        other => Item::Value(inline(other)),
    }
}
