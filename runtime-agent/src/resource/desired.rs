//! The attributes of a resource, evaluated, and typed reading of them.

use super::ResourceError;
use crate::root::ManagedPath;
use ir::Value;
use regex::{Regex, RegexBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Evaluated attributes. `Debug` shows no values: some are secrets.
#[derive(Clone, Default)]
pub struct Desired {
    values: BTreeMap<String, Value>,
    sensitive: BTreeSet<String>,
}

impl std::fmt::Debug for Desired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

fn wrong(name: &'static str, expected: &'static str, found: &Value) -> ResourceError {
    ResourceError::WrongType { name, expected, found: found.kind() }
}

impl Desired {
    /// Gives an attribute its value. Null is the same as nothing.
    pub fn set(&mut self, name: &str, value: Value, sensitive: bool) {
        if sensitive {
            self.sensitive.insert(name.to_owned());
        }
        if value != Value::Null {
            self.values.insert(name.to_owned(), value);
        }
    }

    /// Whether the value was computed from a secret.
    pub fn is_sensitive(&self, name: &str) -> bool {
        self.sensitive.contains(name)
    }

    /// Whether any value was.
    pub fn any_sensitive(&self) -> bool {
        !self.sensitive.is_empty()
    }

    /// Refuses attributes that the type does not have: ignoring one would be a promise broken silently.
    pub fn only(&self, kind: &'static str, known: &[&str]) -> Result<(), ResourceError> {
        match self.values.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(ResourceError::UnknownAttribute { kind, name: crate::text::printable(name) }),
            None => Ok(()),
        }
    }

    /// The value as it is.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// A string.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, ResourceError> {
        match self.values.get(name) {
            None => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a string", other)),
        }
    }

    /// A string that must be there.
    pub fn required(&self, name: &'static str) -> Result<&str, ResourceError> {
        self.text(name)?.ok_or(ResourceError::Missing(name))
    }

    /// One of a few words that must be there.
    pub fn word<'a>(&self, name: &'static str, allowed: &[&'a str]) -> Result<&'a str, ResourceError> {
        let text = self.required(name)?;
        allowed.iter().find(|a| **a == text).copied().ok_or_else(|| ResourceError::Invalid {
            name,
            why: format!("`{}` is not one of {}", crate::text::printable(text), allowed.join(", ")),
        })
    }

    /// A bool that must be there.
    pub fn flag(&self, name: &'static str) -> Result<bool, ResourceError> {
        match self.values.get(name) {
            None => Err(ResourceError::Missing(name)),
            Some(Value::Bool(b)) => Ok(*b),
            Some(other) => Err(wrong(name, "a bool", other)),
        }
    }

    /// A managed path.
    pub fn path(&self, name: &'static str) -> Result<Option<ManagedPath>, ResourceError> {
        Ok(self.text(name)?.map(ManagedPath::parse).transpose()?)
    }

    /// A managed path that must be there.
    pub fn required_path(&self, name: &'static str) -> Result<ManagedPath, ResourceError> {
        self.path(name)?.ok_or(ResourceError::Missing(name))
    }

    /// Text or bytes.
    pub fn content(&self, name: &'static str) -> Result<Option<&[u8]>, ResourceError> {
        match self.values.get(name) {
            None => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text.as_bytes())),
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            Some(other) => Err(wrong(name, "a string or bytes", other)),
        }
    }

    /// Permission bits, written in octal.
    pub fn mode(&self, name: &'static str) -> Result<Option<u32>, ResourceError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let valid = matches!(text.len(), 3..=5) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        match u32::from_str_radix(text, 8) {
            Ok(mode) if valid && mode <= 0o7777 => Ok(Some(mode)),
            _ => Err(ResourceError::Invalid {
                name,
                why: format!("`{}` is not a mode; write it like \"0644\"", crate::text::printable(text)),
            }),
        }
    }

    /// A duration that must be there, such as `30s`.
    pub fn duration(&self, name: &'static str) -> Result<Duration, ResourceError> {
        let text = self.required(name)?;
        crate::text::parse_duration(text).ok_or_else(|| ResourceError::Invalid {
            name,
            why: format!(
                "`{}` is not a duration; write it like \"30s\" or \"5m\"",
                crate::text::printable(text)
            ),
        })
    }

    /// A number of bytes that must be there, such as `10M`.
    pub fn size(&self, name: &'static str) -> Result<u64, ResourceError> {
        let text = self.required(name)?;
        crate::text::parse_size(text).ok_or_else(|| ResourceError::Invalid {
            name,
            why: format!(
                "`{}` is not a size; write it like \"512k\", \"10M\" or \"2G\"",
                crate::text::printable(crate::text::bounded(text, 100))
            ),
        })
    }

    /// A list of integers that must be there.
    pub fn ints(&self, name: &'static str) -> Result<Vec<i64>, ResourceError> {
        match self.values.get(name) {
            None => Err(ResourceError::Missing(name)),
            Some(Value::List(list)) => list
                .iter()
                .map(|v| match v {
                    Value::Int(i) => Ok(*i),
                    other => Err(wrong(name, "a list of ints", other)),
                })
                .collect(),
            Some(other) => Err(wrong(name, "a list of ints", other)),
        }
    }

    /// A map, if there is one.
    pub fn map(&self, name: &'static str) -> Result<Option<&BTreeMap<Arc<str>, Value>>, ResourceError> {
        match self.values.get(name) {
            None => Ok(None),
            Some(Value::Map(map)) => Ok(Some(map)),
            Some(other) => Err(wrong(name, "a map", other)),
        }
    }

    /// A bool, where one is given.
    pub fn choice(&self, name: &'static str) -> Result<Option<bool>, ResourceError> {
        self.value(name).map(|_| self.flag(name)).transpose()
    }

    /// One of a few words, where one is given.
    pub fn optional_word<'a>(
        &self,
        name: &'static str,
        allowed: &[&'a str],
    ) -> Result<Option<&'a str>, ResourceError> {
        self.value(name).map(|_| self.word(name, allowed)).transpose()
    }

    /// A whole number within a range, where one is given.
    pub fn int(
        &self,
        name: &'static str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<i64>, ResourceError> {
        match self.values.get(name) {
            None => Ok(None),
            Some(Value::Int(i)) if range.contains(i) => Ok(Some(*i)),
            Some(Value::Int(i)) => Err(ResourceError::Invalid {
                name,
                why: format!("{i} is not between {} and {}", range.start(), range.end()),
            }),
            Some(other) => Err(wrong(name, "an int", other)),
        }
    }

    /// A list of strings, where one is given.
    pub fn strings(&self, name: &'static str) -> Result<Option<Vec<&str>>, ResourceError> {
        match self.values.get(name) {
            None => Ok(None),
            Some(Value::List(list)) => list
                .iter()
                .map(|v| match v {
                    Value::Str(text) => Ok(&**text),
                    other => Err(wrong(name, "a list of strings", other)),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Err(wrong(name, "a list of strings", other)),
        }
    }

    /// A regular expression. It matches in time that grows with the text alone, and its size is limited.
    pub fn regex(&self, name: &'static str) -> Result<Option<Regex>, ResourceError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let regex = RegexBuilder::new(text).size_limit(1 << 20).build();
        regex.map(Some).map_err(|e| {
            let reason = e.to_string();
            let last = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let why = format!("is not a regular expression: {}", crate::text::printable(last));
            ResourceError::Invalid { name, why }
        })
    }

    /// A map with text values; empty when there is none.
    pub fn texts(&self, name: &'static str) -> Result<BTreeMap<String, String>, ResourceError> {
        match self.values.get(name) {
            None => Ok(BTreeMap::new()),
            Some(Value::Map(map)) => map
                .iter()
                .map(|(k, v)| match v {
                    Value::Str(text) => Ok((k.to_string(), text.to_string())),
                    other => Err(wrong(name, "a map of strings", other)),
                })
                .collect(),
            Some(other) => Err(wrong(name, "a map of strings", other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::desired;
    use super::*;

    #[test]
    fn a_mode_is_octal_text() {
        let mode = |text: &str| desired(&[("mode", text.into())]).mode("mode");
        assert_eq!(mode("0644").unwrap(), Some(0o644));
        assert_eq!(mode("4755").unwrap(), Some(0o4755));
        assert_eq!(mode("644").unwrap(), Some(0o644));
        for bad in ["", "64", "0o644", "rw", "0888", "10000", "+644", "77777"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_type_says_which_attribute_and_what_is_due() {
        let d = desired(&[("mode", Value::Int(644)), ("force", "yes".into())]);
        assert_eq!(d.mode("mode").unwrap_err().to_string(), "attribute `mode` must be a string, not int");
        assert_eq!(d.flag("force").unwrap_err().to_string(), "attribute `force` must be a bool, not string");
        assert_eq!(d.flag("backup").unwrap_err().to_string(), "attribute `backup` is missing");
        assert!(d.only("file", &["mode"]).is_err());
    }
}
