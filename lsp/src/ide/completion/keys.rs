//! The keys that a mapping may have and does not have yet.

use super::{At, Item, ItemKind};
use crate::ide::shape::{Follows, Shape, doc};
use crate::ide::values as known;
use compiler::resolve::class::known_environments;
use compiler::resolve::index::index;
use compiler::schema::{ResourceType, schema};
use compiler::types::{Refinement, Type};

/// Offers keys.
pub fn keys(at: &At<'_>, there: &[(String, Option<String>)], out: &mut Vec<Item>) {
    let missing = |key: &str| !there.iter().any(|(k, _)| k == key);
    for key in at.shape.keys().iter().filter(|k| missing(k)) {
        let behind = match (at.shape.follows(key), at.flow) {
            (Follows::Value, _) | (_, true) => format!("{key}: "),
            (Follows::Names, _) => format!("{key}: [$0]"),
            (Follows::Mapping, _) => format!("{key}:\n  $0"),
            (Follows::Items, _) => format!("{key}:\n  - $0"),
        };
        let snippet = behind.contains('$');
        let detail = doc(at.shape, key).unwrap_or_default();
        let detail = detail.split(". ").next().and_then(|d| d.split(": ").next()).unwrap_or_default();
        let order = if at.shape.needs(key) { 0 } else { 4 };
        let mut item =
            Item::new(ItemKind::Key, *key).detail(detail.trim_end_matches('.')).insert(behind).order(order);
        item.snippet = snippet;
        item.again = !snippet;
        out.push(item);
    }
    match at.shape {
        Shape::Resource | Shape::Branch | Shape::ExpectedResource => {
            let named = at.typing.text_of("type").map(str::to_owned);
            let ty = named.or_else(|| type_of_expected(at)).and_then(|t| schema().types.get(t.as_str()));
            if let Some(ty) = ty {
                attributes(ty, &missing, out);
            }
        }
        Shape::Defaults => {
            for ty in schema().types.values() {
                let before = out.len();
                attributes(ty, &|key| missing(key), out);
                let mut kept = out.split_off(before);
                kept.retain(|item| !out.iter().any(|o| o.label == item.label));
                out.append(&mut kept);
            }
        }
        Shape::Variables => variables(at, &missing, out),
        Shape::Overrides | Shape::Environments => {
            let (db, project) = at.ide.queries();
            for name in known_environments(db, project).iter().filter(|n| missing(n)) {
                out.push(Item::new(ItemKind::Value, &**name).detail("environment").snippet(opened(at, name)));
            }
        }
        Shape::Branches => branches(at, &missing, out),
        Shape::ExpectedResources => {
            let (db, project) = at.ide.queries();
            let typed = at.typing.typed.as_str();
            for name in index(db, project).modules.keys() {
                if typed.starts_with(&format!("{name}.")) {
                    super::values::resources_of(at.ide, name, &mut |full, kind| {
                        out.push(
                            Item::new(ItemKind::Resource, full).detail(kind).insert(format!("{full}: ")),
                        );
                    });
                } else {
                    out.push(Item::new(ItemKind::Module, format!("{name}.")).again());
                }
            }
        }
        Shape::Traits => {
            for (path, t) in &schema().traits {
                out.push(
                    Item::new(ItemKind::Trait, &**path).detail(t.ty.to_string()).insert(format!("{path}: ")),
                );
            }
        }
        _ => {}
    }
}

/// The type of the resource that a test expects, which stands in the policy.
fn type_of_expected(at: &At<'_>) -> Option<String> {
    let name = at.key().filter(|_| at.shape == Shape::ExpectedResource)?;
    let (module, _) = name.split_once('.')?;
    let mut found = None;
    super::values::resources_of(at.ide, module, &mut |full, kind| {
        if full == name {
            found = Some(kind.to_owned());
        }
    });
    found
}

fn opened(at: &At<'_>, name: &str) -> String {
    if at.flow { format!("{name}: {{ $0 }}") } else { format!("{name}:\n  $0") }
}

/// The attributes of a type, those that have to be given first.
fn attributes(ty: &ResourceType, missing: &dyn Fn(&str) -> bool, out: &mut Vec<Item>) {
    // where something stands, what excludes it makes no sense
    let excluded = |name: &str| {
        ty.exclusive
            .iter()
            .any(|set| set.iter().any(|n| **n == *name) && set.iter().any(|n| **n != *name && !missing(n)))
    };
    let mut all: Vec<(&str, &compiler::schema::Attribute)> =
        ty.attributes.iter().map(|(n, a)| (&**n, a)).collect();
    all.sort_by_key(|(name, a)| (!a.required, *name != &*ty.key));
    for (name, a) in all.into_iter().filter(|(n, _)| missing(n) && !excluded(n)) {
        let first = a.required || *name == *ty.key;
        let item =
            Item::new(ItemKind::Attribute, name).detail(a.ty.to_string()).order(if first { 0 } else { 2 });
        out.push(match &a.ty {
            Type::Bool => item.snippet(format!("{name}: ${{1|true,false|}}")),
            Type::Refined(Refinement::Enum(values)) => {
                item.snippet(format!("{name}: ${{1|{}|}}", values.join(",")))
            }
            Type::Refined(Refinement::Mode) => item.snippet(format!("{name}: \"${{1:0644}}\"")),
            _ => item.insert(format!("{name}: ")).again(),
        });
    }
    if ty.attributes.values().any(|a| a.source) {
        for (name, detail) in [("source", "file below templates/"), ("template", "bool")] {
            let instead = name == "source" && !missing("content");
            if missing(name) && !excluded(name) && !instead {
                out.push(
                    Item::new(ItemKind::Attribute, name)
                        .detail(detail)
                        .order(2)
                        .insert(format!("{name}: "))
                        .again(),
                );
            }
        }
    }
}

/// Every variable, those that have to be set first.
fn variables(at: &At<'_>, missing: &dyn Fn(&str) -> bool, out: &mut Vec<Item>) {
    let module = matches!(at.source.kind, compiler::syntax::Kind::Module);
    for (name, ty) in known::visible(at.ide, at.source).filter(|(n, _)| missing(n)) {
        // a module gives defaults to its own variables only
        let order = if module { 6 } else { 3 };
        out.push(
            Item::new(ItemKind::Variable, &**name)
                .detail(ty.to_string())
                .insert(format!("{name}: "))
                .order(order),
        );
    }
}

/// The values of the trait that a case looks at.
fn branches(at: &At<'_>, missing: &dyn Fn(&str) -> bool, out: &mut Vec<Item>) {
    // `case:` stands one level up, and is found by its name
    let case = at.typing.text_of("case").unwrap_or_default();
    for (path, t) in schema().traits.iter().filter(|(path, _)| case.contains(&format!(".Traits.{path}"))) {
        for value in t.values.iter().filter_map(|v| v.as_str()).filter(|v| missing(v)) {
            let insert = format!("{value}: {{ $0 }}");
            out.push(Item::new(ItemKind::Value, value).detail(&**path).snippet(insert).order(1));
        }
    }
    if missing("default") {
        out.push(Item::new(ItemKind::Key, "default").detail("the last resort").snippet("default: { $0 }"));
    }
}
