//! Values and texts that people look at.

use crate::Value;

/// Whether a character does something else than being seen: it moves a cursor, ends a line, turns the reading direction
/// around or takes no room. Texts of somebody else are shown without them, or anybody could forge a line of a log or
/// say one thing and show another.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Reading direction.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Line and paragraph separators, and what has no width and joins nothing.
            | '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // Tags.
            | '\u{e0000}'..='\u{e007f}')
}

/// As JSON; bytes and secrets, which traits never hold, as null.
impl From<&Value> for serde_json::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null | Value::Bytes(_) | Value::Secret(_) => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(i) => (*i).into(),
            Value::Float(f) => f.get().into(),
            Value::Str(text) => (**text).into(),
            Value::List(list) => list.iter().map(Self::from).collect(),
            Value::Map(map) => {
                let fields = map.iter().map(|(key, value)| (key.to_string(), value.into()));
                fields.collect::<serde_json::Map<_, _>>().into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_079_what_is_not_seen_is_told_apart_from_text() {
        for c in
            "\u{1b}\n\t\u{9b}\u{61c}\u{202e}\u{2066}\u{2028}\u{2029}\u{200b}\u{2060}\u{feff}\u{e0041}".chars()
        {
            assert!(is_unseen(c), "{c:?}");
        }
        // Joiners belong to the writing of some languages, and to pictures.
        for c in "aé\u{200d}\u{200c}漢🦀 \u{a0}".chars() {
            assert!(!is_unseen(c), "{c:?}");
        }
    }
}
