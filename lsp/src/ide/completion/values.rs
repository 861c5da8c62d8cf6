//! What may follow a key, or stand in a list.

use super::{At, Completions, Item, ItemKind, MANY, has_letters};
use crate::ide::Ide;
use crate::ide::names;
use crate::ide::secrets::paths;
use crate::ide::shape::Shape;
use crate::ide::values as known;
use compiler::resolve::class::{known_environments, roles};
use compiler::resolve::index::{index, templates};
use compiler::resolve::interface::module;
use compiler::schema::{Attribute, ResourceType, schema};
use compiler::syntax::ast;
use compiler::types::{Refinement, Type};

/// Offers values.
pub fn values(at: &At<'_>, all: &mut Completions) {
    let (db, project) = at.ide.queries();
    let out = &mut all.items;
    match at.shape {
        Shape::TypeRef => types(at, out),
        Shape::ModuleRefs => {
            let named = index(db, project).modules.iter();
            out.extend(named.map(|(name, file)| {
                let doc = module(db, *file).and_then(|m| m.doc.clone()).unwrap_or_default();
                Item::new(ItemKind::Module, &**name).detail(first_sentence(&doc)).order(1)
            }));
        }
        Shape::RoleRefs => {
            let all = roles(db, project).0.iter();
            out.extend(all.map(|r| {
                Item::new(ItemKind::Role, &*r.name.text)
                    .detail(format!("{} modules", r.layer.modules.len()))
                    .order(1)
            }));
        }
        Shape::EnvironmentRef => {
            let all = known_environments(db, project).iter();
            out.extend(all.map(|name| Item::new(ItemKind::Value, &**name).detail("environment")));
        }
        Shape::ListVariable => {
            let lists =
                known::visible(at.ide, at.source).filter(|(_, ty)| matches!(ty, Type::List(_) | Type::Mixed));
            out.extend(lists.map(|(name, ty)| Item::new(ItemKind::Variable, &**name).detail(ty.to_string())));
        }
        Shape::Case => {
            let shared = schema().traits.iter().filter(|(_, t)| t.shared);
            out.extend(shared.map(|(path, t)| {
                quoted(
                    at,
                    Item::new(ItemKind::Trait, format!("{{{{ .Traits.{path} }}}}")).detail(t.ty.to_string()),
                )
            }));
        }
        Shape::ParamType => out.extend(Type::NAMES.iter().map(|name| match *name {
            "enum(...)" => {
                Item::new(ItemKind::Type, "enum").snippet("\"enum($1)\"").detail("one of several texts")
            }
            "list" | "map" => Item::new(ItemKind::Type, format!("{name}<string>")),
            name => Item::new(ItemKind::Type, name),
        })),
        Shape::ParamDefault => {
            if let Some(ty) = at.typing.text_of("type").and_then(Type::parse) {
                of_type(&ty, out);
            }
        }
        Shape::VariableValue => {
            if let Some(ty) = at.key().and_then(|name| known::type_of(at.ide, at.source, name)) {
                of_type(ty, out);
            }
            secrets(at, out);
        }
        Shape::AttributeValue => attribute(at, out),
        Shape::ResourceRefs => references(at, out),
        Shape::Hostname | Shape::Patterns => {
            let hosts = at.ide.fleet.iter().take(MOST_HOSTS);
            out.extend(
                hosts.map(|m| {
                    quoted(at, Item::new(ItemKind::Host, m.hostname.as_str()).detail("of the fleet"))
                }),
            );
        }
        Shape::Traits if !at.typing.typed.contains(':') => {
            out.extend(
                fixtures()
                    .into_iter()
                    .map(|name| Item::new(ItemKind::Value, name).detail("fixture").order(1)),
            );
        }
        Shape::ExpectedResource => {
            out.extend(["absent", "present"].map(|word| Item::new(ItemKind::Value, word).order(1)));
        }
        _ => {}
    }
    // of `module.name` only the last part may be offered: the whole is what goes away
    if all.items.is_empty() {
        all.replace = None;
    }
}

const MOST_HOSTS: usize = 200;

fn fixtures() -> Vec<&'static str> {
    compiler::commands::ask::fixtures()
}

fn first_sentence(text: &str) -> &str {
    let end = text.find(". ").or_else(|| text.find(".\n")).unwrap_or(text.len());
    text.get(..end).unwrap_or_default().trim_end_matches(['.', '\n'])
}

/// With quotes, where the text needs them and has none yet.
fn quoted(at: &At<'_>, item: Item) -> Item {
    let needs = item.insert.starts_with(['{', '*', '[', '!']);
    if at.typing.quoted || !needs { item } else { Item { insert: format!("\"{}\"", item.insert), ..item } }
}

/// The types, each with the attributes that it has to have.
fn types(at: &At<'_>, out: &mut Vec<Item>) {
    // behind a dash the keys of the mapping stand two columns further in than the line begins
    let head = at.source.text.get(..at.typing.start as usize).unwrap_or_default();
    let line = head.rsplit('\n').next().unwrap_or_default();
    let indent = if line.trim_start().starts_with("- ") { "  " } else { "" };
    for (name, ty) in &schema().types {
        let item = Item::new(ItemKind::Type, &**name).detail(first_sentence(&ty.doc));
        let there = |key: &str| at.typing.beside().iter().any(|(k, _)| k == key);
        let needed: Vec<&str> = ty
            .attributes
            .iter()
            .filter(|(n, a)| (a.required || **n == ty.key) && !there(n))
            .map(|(n, _)| &**n)
            .collect();
        if needed.is_empty() || at.flow {
            out.push(item);
            continue;
        }
        let lines = needed.iter().enumerate().map(|(n, key)| format!("\n{indent}{key}: ${}", n + 1));
        let insert = format!("{name}{}", lines.collect::<String>());
        out.push(item.snippet(insert));
    }
}

fn of_type(ty: &Type, out: &mut Vec<Item>) {
    match ty {
        Type::Bool => out.extend(["true", "false"].map(|v| Item::new(ItemKind::Value, v).order(0))),
        Type::Refined(Refinement::Enum(values)) => {
            out.extend(values.iter().map(|v| Item::new(ItemKind::Value, &**v).order(0)));
        }
        Type::Refined(Refinement::Mode) => {
            for (mode, what) in [
                ("\"0644\"", "rw-r--r--"),
                ("\"0755\"", "rwxr-xr-x"),
                ("\"0600\"", "rw-------"),
                ("\"0640\"", "rw-r-----"),
                ("\"0700\"", "rwx------"),
                ("\"0440\"", "r--r-----"),
            ] {
                out.push(Item::new(ItemKind::Value, mode).detail(what).order(0));
            }
        }
        Type::List(element) => of_type(element, out),
        _ => {}
    }
}

fn attribute(at: &At<'_>, out: &mut Vec<Item>) {
    let (db, project) = at.ide.queries();
    let Some(name) = at.key() else { return };
    if name == "source" {
        let all = templates(db, project).keys();
        out.extend(all.map(|path| Item::new(ItemKind::File, &**path).detail("templates/").order(0)));
        return;
    }
    if name == "template" {
        of_type(&Type::Bool, out);
        return;
    }
    let types = schema().types.values();
    let found = match at.typing.text_of("type").and_then(|t| schema().types.get(t)) {
        Some(ty) => Some((ty, name)),
        None => types.into_iter().find(|t| t.attributes.contains_key(name)).map(|t| (t, name)),
    };
    let Some((ty, a)) = found.and_then(|(t, name): (&ResourceType, &str)| Some((t, t.attributes.get(name)?)))
    else {
        return;
    };
    let default = a.default.as_ref().map(known::shown);
    of_type(&a.ty, out);
    for item in out.iter_mut().filter(|i| default.as_deref() == Some(i.label.as_str())) {
        item.detail = "default".into();
    }
    fitting(at, ty, a, out);
    if a.sensitive {
        secrets(at, out);
    }
}

/// Variables that fit an attribute as they are.
fn fitting(at: &At<'_>, _: &ResourceType, a: &Attribute, out: &mut Vec<Item>) {
    // in a text that has begun, `{{` brings its own
    if at.typing.quoted || at.source.kind != compiler::syntax::Kind::Module {
        return;
    }
    // what is any text to the compiler need not be a mode or a path
    let fits = |ty: &Type| match &a.ty {
        Type::Refined(_) => *ty == a.ty,
        other => ty.fits(other) && *ty != Type::Any,
    };
    // of what is typed already, nothing else can come of it: what is left of it behind the beginning, the name has
    let mut rest = at.typing.typed.chars().peekable();
    for c in "\"{{ .Vars.".chars() {
        rest.next_if(|t| t.eq_ignore_ascii_case(&c));
    }
    let rest: String = rest.collect::<String>().trim_end_matches(['"', '}', ' ']).to_owned();
    let visible = known::visible(at.ide, at.source).filter(|(name, ty)| has_letters(name, &rest) && fits(ty));
    for (name, ty) in visible.take(MANY) {
        let label = format!("{{{{ .Vars.{name} }}}}");
        let insert = format!("\"{label}\"");
        out.push(Item::new(ItemKind::Variable, label).detail(ty.to_string()).insert(insert).order(7));
    }
}

/// The paths of secrets that the policy has already.
fn secrets(at: &At<'_>, out: &mut Vec<Item>) {
    for path in paths(at.ide) {
        let text = format!("secret:{path}");
        if !has_letters(&format!("\"{text}\""), &at.typing.typed) {
            continue;
        }
        let insert = if at.typing.quoted { text.clone() } else { format!("\"{text}\"") };
        out.push(
            Item::new(ItemKind::Value, text).detail("a secret that is used already").insert(insert).order(6),
        );
    }
}

/// Resources of the module by their names, of others behind the name of their module.
fn references(at: &At<'_>, out: &mut Vec<Item>) {
    let (db, project) = at.ide.queries();
    let typed = at.typing.typed.as_str();
    let own = at.module();
    // of a reference that is being written, the resource itself is none
    let itself = at.typing.text_of("name");
    if let Some(own) = &own {
        let prefix = format!("{own}.");
        resources_of(at.ide, own, &mut |full, kind| {
            let name = full.strip_prefix(&prefix).unwrap_or(full);
            if Some(name) != itself {
                out.push(quoted(at, Item::new(ItemKind::Resource, name).detail(kind).order(0)));
            }
        });
    }
    for name in index(db, project).modules.keys().filter(|n| Some(*n) != own.as_ref()) {
        if typed.starts_with(&format!("{name}.")) {
            resources_of(at.ide, name, &mut |full, kind| {
                out.push(Item::new(ItemKind::Resource, full).detail(kind).order(0));
            });
        } else {
            out.push(
                Item::new(ItemKind::Module, format!("{name}.")).detail("resources of the module").again(),
            );
        }
    }
}

/// Calls `each` with the name, as `module.name`, and the type of every resource of a module.
pub fn resources_of(ide: &Ide<'_>, name: &str, each: &mut dyn FnMut(&str, &str)) {
    let (db, project) = ide.queries();
    let Some(file) = index(db, project).modules.get(name) else { return };
    let compiler::syntax::Body::Module(Some(module)) = &ast(db, *file).body else { return };
    for r in &module.resources {
        let kind = r.kind.as_ref().map_or("?", |k| &k.text);
        let Some(text) = r.name.as_ref().and_then(|n| n.as_text()) else { continue };
        let local = names::as_pattern(&text.scalar.text);
        each(&format!("{name}.{local}"), kind);
    }
}
