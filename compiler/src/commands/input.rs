//! What a command is given besides a policy: files and stdin, bounded and checked.

use super::failure::Failure;
use crate::diagnostic::render::line_column;
use crate::facts::known_traits;
use crate::schema::schema;
use crate::tree::{MAX_FILE_BYTES, find_root};
use crate::types::Type;
use ir::{Finite, Value};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The root of the policy: what was given, or the nearest directory that holds a policy.
pub(super) fn root(dir: Option<&Path>, directory: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match (dir, directory) {
        (Some(_), Some(_)) => Err(Failure::Usage("give the policy once: as DIR or with -C".into())),
        (Some(dir), None) => Ok(dir.to_owned()),
        (None, Some(dir)) => Ok(dir),
        (None, None) => {
            let here = std::env::current_dir()
                .map_err(|e| Failure::Input(format!("cannot tell the current directory: {e}")))?;
            find_root(&here).ok_or_else(|| {
                Failure::Input(
                    "there is no policy here or above; give its directory, or make one with `vigoc init`"
                        .into(),
                )
            })
        }
    }
}

/// Text of a file, `-` is stdin. At most as much as a file of a policy may have.
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let stdin = path == Path::new("-");
    if path.is_dir() {
        return Err(Failure::Input(format!("`{shown}` is a directory; give a file")));
    }
    let mut bytes = Vec::new();
    let read = if stdin {
        io::stdin().lock().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
    };
    read.map_err(|e| Failure::Input(format!("cannot read `{shown}`: {e}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Failure::Input(format!("`{shown}` is larger than 16 MiB")));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure::Input(format!("`{shown}` is not UTF-8 text (byte {at})"))
    })
}

/// A JSON file.
pub(super) fn json(path: &Path) -> Result<Json, Failure> {
    let text = text(path)?;
    if text.trim().is_empty() {
        return Err(Failure::Input(format!("`{}` is empty; it should hold JSON", path.display())));
    }
    let json = serde_json::from_str(&text)
        .map_err(|e| Failure::Input(format!("`{}` is not valid JSON: {e}", path.display())))?;
    integers_fit(path, &text)?;
    Ok(json)
}

/// Refuses integers beyond 64 bits, which would become floats, and so other numbers, without a word. The text is valid
/// JSON.
pub(super) fn integers_fit(path: &Path, text: &str) -> Result<(), Failure> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        at += match byte {
            b'"' => {
                let mut escaped = false;
                let closed = rest.iter().skip(1).position(|b| {
                    let closes = *b == b'"' && !escaped;
                    escaped = *b == b'\\' && !escaped;
                    closes
                });
                closed.map_or(rest.len(), |inside| inside + 2)
            }
            b'-' | b'0'..=b'9' => {
                let end =
                    rest.iter().position(|b| !matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
                let number = text.get(at..at + end.unwrap_or(rest.len())).unwrap_or_default();
                if !number.contains(['.', 'e', 'E']) && number.parse::<i64>().is_err() {
                    let (line, column) = line_column(text, at);
                    return Err(Failure::Input(format!(
                        "`{}`:{line}:{column}: {} does not fit into 64 bits; write it as text, in quotes",
                        path.display(),
                        super::output::short(number, 40)
                    )));
                }
                number.len().max(1)
            }
            _ => 1,
        };
    }
    Ok(())
}

/// A JSON file that holds an object.
pub(super) fn object(path: &Path, what: &str) -> Result<Value, Failure> {
    match value(&json(path)?) {
        Ok(map @ Value::Map(_)) => Ok(map),
        Ok(other) => Err(Failure::Input(format!(
            "`{}` holds {} where {what} are due as a JSON object",
            path.display(),
            crate::values::article(other.kind())
        ))),
        Err(why) => Err(Failure::Input(format!("`{}`: {why}", path.display()))),
    }
}

/// JSON as a value of policy.
pub(super) fn value(json: &Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => Value::Int(i),
            (None, f) => match f.and_then(Finite::new) {
                Some(f) => Value::Float(f),
                None => return Err(format!("{n} is not a number that can be stored")),
            },
        },
        Json::String(s) => Value::str(s),
        Json::Array(items) => Value::List(items.iter().map(value).collect::<Result<_, _>>()?),
        Json::Object(map) => Value::Map(
            map.iter().map(|(k, v)| Ok((Arc::from(k.as_str()), value(v)?))).collect::<Result<_, String>>()?,
        ),
    })
}

/// Traits of a host: a nested map. Traits that this compiler does not know are left alone.
pub(super) fn traits(path: Option<&Path>) -> Result<Value, Failure> {
    let Some(path) = path else { return Ok(Value::Map(BTreeMap::new())) };
    let traits = object(path, "traits")?;
    check_traits(&traits).map_err(|why| Failure::Input(format!("`{}`: {why}", path.display())))?;
    Ok(traits)
}

/// Whether known traits have the types they should.
pub(super) fn check_traits(traits: &Value) -> Result<(), String> {
    if let Value::Map(map) = traits
        && let Some(key) = map.keys().find(|k| k.contains('.'))
    {
        let (first, rest) = key.split_once('.').unwrap_or((key, ""));
        return Err(format!("traits are nested: write {{\"{first}\": {{\"{rest}\": ...}}}} for `{key}`"));
    }
    for path in schema().traits.keys() {
        // a text where a map of traits is due
        let steps: Vec<Arc<str>> = path.split('.').map(Arc::from).collect();
        for n in 1..steps.len() {
            if let Some(value) = traits.at(&steps[..n])
                && !matches!(value, Value::Map(_) | Value::Null)
            {
                let group = steps[..n].join(".");
                return Err(format!(
                    "`{group}` is {}, not a map of traits",
                    crate::values::article(value.kind())
                ));
            }
        }
    }
    for (path, value) in known_traits(traits, |_| true) {
        let Some(wanted) = schema().traits.get(&path).map(|t| &t.ty) else { continue };
        let found = Type::of(&value);
        if !found.fits(wanted) {
            let (wanted, found) = (wanted.to_string(), found.to_string());
            return Err(format!(
                "trait `{path}` is {}, not {}",
                crate::values::article(&wanted),
                crate::values::article(&found)
            ));
        }
        if let Type::Refined(refinement) = wanted {
            refinement.accepts(&value).map_err(|why| format!("trait `{path}`: {why}"))?;
        }
    }
    Ok(())
}
