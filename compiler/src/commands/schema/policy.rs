//! The files of a policy.

use super::super::residual::value_json;
use super::values::{Place, of, text, traits};
use super::{described, object};
use crate::schema::{Attribute, ResourceType, schema};
use crate::syntax::{layers, module, nodes, roles, test};
use crate::types::Type;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeSet;

/// As the compiler has it in `is_name`.
const NAME: &str = "^[A-Za-z0-9_][A-Za-z0-9_-]*$";

fn name() -> Json {
    json!({ "type": ["string", "integer", "boolean"], "pattern": NAME })
}

/// A list; one stands for a list of one, and nothing for an empty list.
fn listed(item: Json) -> Json {
    json!({ "anyOf": [item, { "type": "array", "items": item }, { "type": "null" }] })
}

fn map_of(keys: Json, values: Json) -> Json {
    json!({ "type": ["object", "null"], "propertyNames": keys, "additionalProperties": values })
}

fn list_of(items: Json) -> Json {
    json!({ "type": ["array", "null"], "items": items })
}

fn named(values: Json) -> Json {
    map_of(json!({ "pattern": NAME }), values)
}

/// A mapping that may be left empty.
fn nullable(mut schema: Json) -> Json {
    if let Json::Object(fields) = &mut schema {
        fields.insert("type".into(), json!(["object", "null"]));
    }
    schema
}

/// Keys that mean the same wherever they stand; a key that is not here has no description, which a test finds.
fn shared(key: &str) -> Json {
    let (about, schema) = match key {
        "name" => ("Its name: letters, digits, `_` and `-`.", name()),
        "doc" => ("What it is for.", text(Place::Policy)),
        "vars" => ("Variables.", named(json!({}))),
        "when" => ("A condition.", json!({ "type": ["string", "boolean"] })),
        "depends_on" => ("What comes first.", listed(text(Place::Policy))),
        "before" => ("Resources that come later.", listed(text(Place::Policy))),
        "notify" => {
            ("Resources that are told when this one changes; they come later.", listed(text(Place::Policy)))
        }
        "subscribes" => {
            ("Resources whose changes this one is told; they come first.", listed(text(Place::Policy)))
        }
        "modules" => ("Modules.", listed(name())),
        "exclude_modules" => ("Modules that are taken out, wherever they come from.", listed(name())),
        "roles" => ("Roles.", listed(name())),
        "includes" => ("Roles that come before this one.", listed(name())),
        "environment" => ("The environment.", name()),
        "envoy" => ("The host; it need not exist.", text(Place::Policy)),
        _ => return json!({}),
    };
    described(about, schema)
}

pub(super) fn common() -> Json {
    nullable(object(&layers::COMMON_KEYS, &[], shared))
}

pub(super) fn environments() -> Json {
    let environment = nullable(object(&layers::ENVIRONMENT_KEYS, &[], shared));
    nullable(object(&["env"], &[], |_| {
        described("What each environment adds, by its name.", named(environment.clone()))
    }))
}

pub(super) fn roles() -> Json {
    let role = object(&roles::KEYS, &["name"], shared);
    nullable(object(&["roles"], &[], |_| described("The roles.", list_of(role.clone()))))
}

pub(super) fn nodes() -> Json {
    let conditional = object(&nodes::CONDITIONAL_KEYS, &nodes::CONDITIONAL_KEYS, shared);
    let entry = object(&nodes::KEYS, &["match"], |key| match key {
        "match" => described(
            "Patterns of host names; the first entry that matches decides.",
            listed(text(Place::Policy)),
        ),
        "environment_overrides" => {
            described("Variables by environment, for the hosts of this entry.", named(named(json!({}))))
        }
        "conditional_vars" => {
            described("Variables under conditions, in order.", list_of(conditional.clone()))
        }
        key => shared(key),
    });
    nullable(object(&["nodes"], &[], |_| {
        described("Node entries; the first that matches decides.", list_of(entry.clone()))
    }))
}

pub(super) fn module() -> Json {
    let param = object(&module::PARAM_KEYS, &[], |key| match key {
        "type" => described(
            "The type: a name, or such as `list<string>` and `enum(a, b)`.",
            json!({ "type": "string", "examples": Type::NAMES }),
        ),
        "default" => described("The value where no layer sets one.", json!({})),
        key => shared(key),
    });
    let attributes: BTreeSet<&str> =
        schema().types.values().flat_map(|ty| ty.attributes.keys().map(|k| &**k)).collect();
    let mut out = object(&module::KEYS, &["name"], |key| match key {
        "params" => described("What the module wants to know, with types.", named(nullable(param.clone()))),
        "vars" => {
            described("Variables with their defaults; each has the type of its default.", named(json!({})))
        }
        "defaults" => described(
            "Attributes for every resource whose type has them.",
            map_of(json!({ "enum": attributes }), json!({})),
        ),
        "resources" => described("What the module manages.", list_of(json!({ "$ref": "#/$defs/resource" }))),
        key => shared(key),
    });
    let mut defs: Map<String, Json> = schema()
        .types
        .values()
        .map(|ty| (ty.name.to_string(), described(&ty.doc, attributes_of(ty))))
        .collect();
    defs.insert("resource".into(), resource());
    if let Json::Object(fields) = &mut out {
        fields.insert("$defs".into(), defs.into());
    }
    out
}

fn resource() -> Json {
    let types: Vec<&str> = schema().types.keys().map(|name| &**name).collect();
    let by_type: Vec<Json> = types
        .iter()
        .map(|name| {
            let attributes = format!("#/$defs/{name}");
            let branch =
                json!({ "type": ["object", "null"], "$ref": attributes, "unevaluatedProperties": false });
            json!({
                "if": { "properties": { "type": { "const": name } }, "required": ["type"] },
                "then": { "$ref": attributes, "properties": { "match": { "additionalProperties": branch } } },
            })
        })
        .collect();
    let mut out = object(&module::RESOURCE_KEYS, &["type"], |key| match key {
        "name" => described("Its name, a template. Without one it is `TYPE:KEY`.", text(Place::Policy)),
        "type" => described("What it is.", json!({ "enum": types })),
        "foreach" => described("The list variable that it is repeated over.", json!({ "type": "string" })),
        "case" => described("What `match` looks at, a template.", text(Place::Policy)),
        "match" => described(
            "Attributes by the value of `case`; `default` takes what nothing else does.",
            json!({ "type": ["object", "null"] }),
        ),
        key => shared(key),
    });
    if let Json::Object(fields) = &mut out {
        // the attributes are in the branch of the type, which `additionalProperties` would not see
        fields.remove("additionalProperties");
        fields.insert("allOf".into(), by_type.into());
        fields.insert("unevaluatedProperties".into(), false.into());
    }
    out
}

fn attributes_of(ty: &ResourceType) -> Json {
    let mut properties: Map<String, Json> =
        ty.attributes.iter().map(|(name, a)| (name.to_string(), attribute(a))).collect();
    if let Some((name, _)) = ty.attributes.iter().find(|(_, a)| a.source) {
        let source = json!({ "type": "string" });
        properties.insert(
            "source".into(),
            described(&format!("A file under `templates/` that gives `{name}`."), source),
        );
        let whether = "With `false` the file of `source` is shipped as it is.";
        properties.insert("template".into(), described(whether, json!({ "type": "boolean" })));
    }
    json!({ "properties": properties })
}

fn attribute(a: &Attribute) -> Json {
    let mut about = format!("{} Type: {}.", a.doc, a.ty);
    if a.required {
        about.push_str(" Has to be given here, in `defaults` or by `match`.");
    }
    if a.sensitive {
        about.push_str(" May hold secrets.");
    }
    let mut out = described(&about, of(&a.ty, Place::Attribute));
    if let (Json::Object(fields), Some(default)) = (&mut out, &a.default) {
        fields.insert("default".into(), value_json(default));
    }
    out
}

pub(super) fn test() -> Json {
    let words = test::Word::names().collect::<Vec<_>>().join("`, `");
    let value =
        described(&format!("A value, or a mapping with nothing but these words: `{words}`."), json!({}));
    let expect = object(&test::EXPECT, &[], |key| match key {
        "modules" => described("Modules that are there, in this order, or words about the list.", json!({})),
        "roles" => described("Roles that are there, in this order, or words about the list.", json!({})),
        "vars" => described("Variables by name.", map_of(json!({}), value.clone())),
        "resources" => described(
            "By `module.resource`.",
            map_of(
                json!({}),
                json!({ "anyOf": [
                { "enum": ["present", "absent"] },
                { "type": "object", "additionalProperties": value },
            ] }),
            ),
        ),
        "order" => {
            described("Resources that run in this order, with anything between.", listed(text(Place::Policy)))
        }
        "snapshot" => described("Whether everything is as it was stored.", json!({ "type": "boolean" })),
        _ => json!({}),
    });
    let fixtures: Vec<&str> = stdlib::fixtures().map(|(name, _)| name).collect();
    let fixture = json!({ "enum": fixtures });
    let mut own = traits(Place::Policy);
    if let Some(properties) = own.get_mut("properties").and_then(Json::as_object_mut) {
        properties
            .insert("fixture".into(), described("The fixture that these are laid over.", fixture.clone()));
    }
    let known = json!({ "anyOf": [fixture, own, { "type": "null" }] });
    let key = |key: &str| match key {
        "test" => described("What it shows.", text(Place::Policy)),
        "traits" => described("What is known of the host: a fixture, or traits.", known.clone()),
        "vars" => described("Laid over all other layers.", named(json!({}))),
        "expect" => described("What has to hold.", nullable(expect.clone())),
        key => shared(key),
    };
    let one = object(&test::KEYS, &["test", "expect"], key);
    let mut alone = one.clone();
    if let Some(required) = alone.get_mut("required").and_then(Json::as_array_mut) {
        required.push("envoy".into());
    }
    let several = object(&test::SEVERAL, &["tests"], |k| match k {
        "tests" => described("The tests.", list_of(json!({ "$ref": "#/$defs/test" }))),
        k => key(k),
    });
    json!({
        "$defs": { "test": one },
        "type": ["object", "null"],
        "if": { "required": ["tests"] },
        "then": nullable(several),
        "else": nullable(alone),
    })
}
