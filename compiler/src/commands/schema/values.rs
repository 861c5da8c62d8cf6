//! Values by their type, and what is made of them alone: traits and fleets.

use super::super::fleet;
use super::{described, object};
use crate::schema::schema;
use crate::types::{Refinement, Type};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In policy, where a template may take its place.
    Attribute,
    /// In policy.
    Policy,
    /// In JSON, where text is in quotes.
    Json,
}

/// A value of a type. In policy the place decides the type: text may look like a number.
pub(super) fn of(ty: &Type, place: Place) -> Json {
    let plain = match ty {
        Type::Any | Type::Mixed => return json!({}),
        Type::Bool => json!({ "type": "boolean" }),
        Type::Int => json!({ "type": "integer" }),
        Type::Float => json!({ "type": "number" }),
        Type::Refined(Refinement::Port) => json!({ "type": "integer", "minimum": 1, "maximum": 65535 }),
        Type::Refined(Refinement::Enum(values)) => {
            json!({ "enum": values.iter().map(|v| &**v).collect::<Vec<_>>() })
        }
        Type::Refined(Refinement::Mode) => json!({ "type": "string", "pattern": "^[0-7]{3,4}$" }),
        Type::Refined(Refinement::Path) => json!({ "type": "string", "pattern": "^/" }),
        Type::Str | Type::Bytes | Type::Secret | Type::Refined(_) => return text(place),
        Type::List(item) => json!({ "type": "array", "items": of(item, place) }),
        Type::Map(item) => json!({ "type": "object", "additionalProperties": of(item, place) }),
        Type::Record(fields) => {
            let properties: Map<String, Json> =
                fields.iter().map(|(name, ty)| (name.to_string(), of(ty, place))).collect();
            json!({ "type": "object", "properties": properties })
        }
    };
    match place {
        Place::Attribute => {
            json!({ "anyOf": [plain, { "type": "string", "pattern": "\\{\\{", "description": "A template." }] })
        }
        Place::Policy | Place::Json => plain,
    }
}

/// Text.
pub(super) fn text(place: Place) -> Json {
    match place {
        Place::Json => json!({ "type": "string" }),
        Place::Policy | Place::Attribute => json!({ "type": ["string", "number", "boolean"] }),
    }
}

/// What is known of a host. Traits that the standard library does not have may be there too.
pub(super) fn traits(place: Place) -> Json {
    let all = schema().traits.iter().map(|(path, t)| {
        let schema = described(&t.doc, of(&t.ty, place));
        (path.split('.').collect::<Vec<_>>(), schema)
    });
    nested(all.collect())
}

fn nested(all: Vec<(Vec<&str>, Json)>) -> Json {
    let mut properties = Map::new();
    let mut groups: BTreeMap<&str, Vec<(Vec<&str>, Json)>> = BTreeMap::new();
    for (path, schema) in all {
        match path.split_first() {
            Some((first, [])) => drop(properties.insert((*first).to_owned(), schema)),
            Some((first, rest)) => groups.entry(first).or_default().push((rest.to_vec(), schema)),
            None => {}
        }
    }
    properties.extend(groups.into_iter().map(|(name, inner)| (name.to_owned(), nested(inner))));
    json!({ "type": "object", "properties": properties })
}

/// A list of hosts, or one of them: a line of JSON Lines.
pub(super) fn fleet() -> Json {
    let host = object(&fleet::KEYS, &fleet::KEYS[..1], |key| match key {
        "hostname" => described("The name of the host.", json!({ "type": "string", "minLength": 1 })),
        "traits" => described("What is known of it.", traits(Place::Json)),
        _ => json!({}),
    });
    json!({
        "$defs": { "host": host },
        "anyOf": [{ "$ref": "#/$defs/host" }, { "type": "array", "items": { "$ref": "#/$defs/host" } }],
    })
}
