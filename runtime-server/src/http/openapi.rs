//! The OpenAPI 3.1 document, made of the table of routes and the types that the handlers really use.

use super::auth::Access;
use super::problem::Problem;
use super::route::{Describe, Doc, ROUTES, Route};
use crate::events::Event;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The document.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.definitions_path = "/components/schemas".into();
        s.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let Some(doc) = &route.doc else { continue };
        let operation = operation(&mut generator, route, doc);
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        entry[route.method.name().to_ascii_lowercase()] = operation;
    }
    // Last: what else has the name of one of its parts keeps it.
    let event = generator.subschema_for::<Event>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vigo",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Times are milliseconds since 1970-01-01 UTC, durations milliseconds. Lists come in pages: \
                pass `next` as `cursor`. Errors are RFC 9457 problem documents; `code` is for programs.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "webhooks": { "event": { "post": {
            "operationId": "event",
            "summary": "Something happened; sent to `events.webhook.url` until it is answered with a status of 200 to 299",
            "description": "At least once, in order. `idempotency-key` is the same for each attempt. With a secret, \
                `vigo-signature` is `t=SECONDS,v1=HEX`: HMAC-SHA256 over SECONDS, a dot and the body.",
            "parameters": [
                { "name": "idempotency-key", "in": "header", "required": true, "schema": { "type": "string" } },
                { "name": "vigo-signature", "in": "header", "required": false, "schema": { "type": "string" } },
            ],
            "requestBody": { "required": true, "content": { "application/json": { "schema": event } } },
            "responses": { "2XX": { "description": "It was taken." }, "default": { "description": "Send it again later." } },
            "security": [],
        } } },
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": { "problem": {
                "description": "It did not work.",
                "content": { "application/problem+json": { "schema": problem } },
            } },
        },
    })
}

fn operation(generator: &mut SchemaGenerator, route: &Route, doc: &Doc) -> Value {
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(doc.query.map(|query| in_query(generator, query)).unwrap_or_default());
    let (kind, answer) = doc.answer;
    let schema = match answer {
        Some(answer) => json!(answer(generator)),
        None => json!({ "type": "string" }),
    };
    let mut operation = json!({
        "operationId": doc.id,
        "summary": doc.summary,
        "parameters": parameters,
        "responses": {
            doc.status.to_string(): { "description": "It worked.", "content": { kind: { "schema": schema } } },
            "default": { "$ref": "#/components/responses/problem" },
        },
    });
    if let Some(body) = doc.body {
        let schema = body(generator);
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    match route.access {
        Access::Public | Access::Page => operation["security"] = json!([]),
        Access::Token(role) => {
            operation["security"] = json!([{ "token": [] }]);
            operation["x-vigo-role"] = json!(role.name());
        }
    }
    operation
}

/// A type with named fields, field by field: what a query consists of.
fn in_query(generator: &mut SchemaGenerator, query: Describe) -> Vec<Value> {
    let reference = query(generator);
    let name = reference.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next());
    let schema = name.and_then(|name| generator.definitions_mut().remove(name));
    let properties = schema.as_ref().and_then(|s| s.get("properties")).and_then(Value::as_object);
    let mut parameters = Vec::new();
    for (name, schema) in properties.into_iter().flatten() {
        let mut schema = schema.clone();
        let fields = schema.as_object_mut();
        let description = fields.and_then(|f| f.remove("description")).unwrap_or_default();
        parameters.push(json!({ "name": name, "in": "query", "description": description, "schema": schema }));
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_route_and_no_loose_end() {
        let document = document();
        for route in ROUTES.iter().filter(|r| r.doc.is_some()) {
            let operation = &document["paths"][route.path][route.method.name().to_ascii_lowercase()];
            assert!(operation["operationId"].is_string(), "{route:?}");
            let open = operation["security"].as_array().unwrap().is_empty();
            assert_eq!(open, route.access == Access::Public, "{route:?}");
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#/").skip(1) {
            let pointer = format!("/{}", reference.split('"').next().unwrap());
            assert!(document.pointer(&pointer).is_some(), "{pointer} leads nowhere");
        }
        let filter = &document["paths"]["/api/v1/envoys"]["get"]["parameters"];
        let names: Vec<&str> = filter.as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
        assert!(names.contains(&"health") && names.contains(&"cursor"), "{names:?}");
    }
}
