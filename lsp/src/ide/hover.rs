//! What there is to say about what is under the cursor, in Markdown.

use super::expression::{Language, WordKind, word_at};
use super::names::{self, Named};
use super::place::{On, Place, Step, place};
use super::shape::{self, Shape, shape};
use super::subject::condition_at;
use super::{Ide, Source, values};
use compiler::reference::call;
use compiler::resolve::class::resolved_class;
use compiler::resolve::index::index;
use compiler::resolve::interface::{interface, module};
use compiler::schema::{Attribute, Function, ResourceType, Stage, schema};
use compiler::uses::Of;
use grammar::Span;
use std::fmt::Write as _;

/// Something about a part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hover {
    /// What it is about.
    pub span: Span,
    /// In Markdown.
    pub text: String,
}

/// What there is to say.
pub fn hover(ide: &Ide<'_>, source: &Source, at: u32) -> Option<Hover> {
    let parsed = source.parsed();
    if let Some((expression, word)) = word_at(source, &parsed, at) {
        let written = source.slice(word.span);
        let text = match word.kind {
            WordKind::Function => function(written, expression.language),
            WordKind::Trait => trait_of_path(written),
            WordKind::Variable => {
                // of `.Vars.a.b` it is `a` that has a value
                let path = written.trim_start_matches(['$', '.']);
                path.split('.').nth(1).and_then(|name| variable(ide, name))
            }
            WordKind::Envoy => envoy(ide, written),
            WordKind::Keyword => keyword(written, expression.language).map(str::to_owned),
            _ => None,
        };
        // what the whole condition comes to, part by part
        let parts = match (expression.language, word.kind) {
            (Language::When, WordKind::Function | WordKind::Operator | WordKind::Keyword) => {
                condition_at(ide, source, &parsed, at)
            }
            _ => None,
        };
        let text = match (text, parts) {
            (Some(text), Some(parts)) => Some(format!("{text}\n\n{parts}")),
            (text, parts) => text.or(parts),
        };
        if let Some(text) = text {
            return Some(Hover { span: word.span, text });
        }
    }
    if let Some(named) = names::at(ide, source, at)
        && let Some(text) = about(ide, &named)
    {
        return Some(Hover { span: named.span, text });
    }
    let place = place(&parsed.root, at);
    let (span, text) = match &place.on {
        On::Key(entry) => (entry.key.span, key(&place, source, &entry.key.text)?),
        On::Value(node) => (node.span, value(ide, source, &place, node.as_str()?)?),
        On::Between => return None,
    };
    Some(Hover { span, text })
}

fn about(ide: &Ide<'_>, named: &Named) -> Option<String> {
    match named.of {
        Of::Variable => variable(ide, &named.name),
        Of::Module => a_module(ide, &named.name),
        Of::Role => role(ide, &named.name),
        Of::Trait => trait_of_path(&named.name),
        Of::Resource => resource(ide, named),
        Of::Template => Some(format!("`templates/{}`, shipped by {}", named.name, named.by)),
        Of::Environment => Some(format!("environment `{}`", named.name)),
    }
}

/// A key of the language, or an attribute.
fn key(place: &Place<'_>, source: &Source, key: &str) -> Option<String> {
    let (_, around) = place.way.split_last()?;
    let here = shape(source.kind, around);
    if let Some(doc) = shape::doc(here, key)
        && here.keys().contains(&key)
    {
        return Some(format!("**{key}**\n\n{doc}"));
    }
    match here {
        Shape::Resource | Shape::Branch => {
            let ty = resource_type(place)?;
            Some(attribute(ty, key, ty.attributes.get(key)?))
        }
        Shape::Defaults => {
            let mut of = schema().types.values().filter(|t| t.attributes.contains_key(key));
            let ty = of.next()?;
            let mut text = attribute(ty, key, ty.attributes.get(key)?);
            let others: Vec<String> = of.map(|t| format!("`{}`", t.name)).collect();
            if !others.is_empty() {
                _ = write!(text, "\n\nAlso of {}.", others.join(", "));
            }
            Some(text)
        }
        _ => None,
    }
}

/// The type of the resource around a place.
pub fn resource_type(place: &Place<'_>) -> Option<&'static ResourceType> {
    let depth = place.way.iter().position(|s| matches!(s, Step::Item(_)))? + 1;
    schema().types.get(place.beside(depth, "type")?)
}

fn value(ide: &Ide<'_>, source: &Source, place: &Place<'_>, text: &str) -> Option<String> {
    match shape(source.kind, &place.way) {
        Shape::TypeRef => resource_type_text(schema().types.get(text)?),
        Shape::Patterns => entry(ide, source, place),
        Shape::AttributeValue => {
            let name = place.way.iter().rev().find_map(Step::key)?;
            let ty = resource_type(place)?;
            Some(attribute(ty, name, ty.attributes.get(name)?))
        }
        Shape::Hostname => Some(host(ide, text)),
        _ => None,
    }
}

/// What a type is for, and what it has to have.
pub fn resource_type_text(ty: &ResourceType) -> Option<String> {
    let mut out = format!("**{}** — {}\n\n", ty.name, ty.doc);
    for (name, a) in &ty.attributes {
        if a.required || *name == ty.key {
            _ = writeln!(out, "- `{name}`: {} — {}", a.ty, a.doc);
        }
    }
    let more = ty.attributes.values().filter(|a| !a.required).count();
    _ = write!(out, "\n{more} optional attributes");
    Some(out)
}

/// An attribute: type, default, documentation and an example.
pub fn attribute(ty: &ResourceType, name: &str, a: &Attribute) -> String {
    let mut out = format!("**{name}**: `{}` — attribute of `{}`\n\n{}\n", a.ty, ty.name, a.doc);
    if a.required {
        out.push_str("\nIt has to be given.\n");
    }
    if let Some(default) = &a.default {
        _ = writeln!(out, "\nDefault: `{}`", values::shown(default));
    }
    if *name == *ty.key {
        out.push_str("\nIt says which thing the resource is.\n");
    }
    if a.sensitive {
        out.push_str("\nIt may hold secrets.\n");
    }
    for set in ty.exclusive.iter().filter(|set| set.iter().any(|n| **n == *name)) {
        let others: Vec<String> = set.iter().filter(|n| ***n != *name).map(|n| format!("`{n}`")).collect();
        _ = writeln!(out, "\nNot together with {}.", others.join(", "));
    }
    for (_, needs) in ty.requires.iter().filter(|(this, _)| **this == *name) {
        _ = writeln!(out, "\nNeeds `{needs}`.");
    }
    _ = write!(out, "\n```yaml\n{name}: {}\n```", super::completion::example(&a.ty));
    out
}

/// A function: how it is called, when it is known, what it is for.
pub fn function(name: &str, language: Language) -> Option<String> {
    let f = schema().functions.get(name)?;
    let when = language == Language::When;
    let called = call(name, f, when);
    let mut out = format!("```\n{called} -> {}\n```\n\n{}\n\n{}", f.returns, f.doc, known(f));
    // of a function for both there is one example, in the language that it is used in most
    if f.example.contains("{{") != when {
        _ = write!(out, "\n\nFor example `{}`", f.example);
    }
    Some(out)
}

fn known(f: &Function) -> &'static str {
    match f.stage {
        Stage::Publish => "Known when the policy is published.",
        Stage::Specialise => "Known with the shared traits of the host.",
        Stage::Converge => "Known on the host only, at each run.",
    }
}

/// The longest trait at the beginning of a path such as `.Traits.os.family` or `os.family`.
fn trait_of_path(path: &str) -> Option<String> {
    let path = path.trim_start_matches(['$', '.']);
    let path = path.strip_prefix("Traits.").or_else(|| path.strip_prefix("traits.")).unwrap_or(path);
    let steps: Vec<&str> = path.split('.').collect();
    let name = (1..=steps.len()).rev().map(|n| steps[..n].join("."));
    let (name, t) = name.filter_map(|n| schema().traits.get_key_value(n.as_str())).next()?;
    Some(trait_text(name, t))
}

/// A trait: its type, when it is known, and whether a host may lack it.
pub fn trait_text(name: &str, t: &compiler::schema::Trait) -> String {
    let known = match t.shared {
        true => "Shared: known when the server makes the program of a host.",
        false => "Known to the agent on the host only.",
    };
    let absent = if t.optional { " A host may lack it." } else { "" };
    format!("**{name}**: `{}` — trait\n\n{}\n\n{known}{absent}", t.ty, t.doc)
}

fn keyword(word: &str, language: Language) -> Option<&'static str> {
    Some(match (language, word) {
        (Language::When, "in") => "`value in [a, b]`: whether a list holds a value",
        (Language::When, "matches") => {
            "`text matches 'regex'`: whether the regular expression matches somewhere in the text"
        }
        (Language::Template, "if") => "`{{ if CONDITION }} ... {{ else }} ... {{ end }}`",
        (Language::Template, "range") => {
            "`{{ range $i, $v := LIST }} ... {{ else }} ... {{ end }}`; `.` is the element"
        }
        (Language::Template, "with") => {
            "`{{ with VALUE }} ... {{ else }} ... {{ end }}`: the body only when there is a value, which is `.` in it"
        }
        (Language::Template, "end") => "ends `if`, `range` or `with`",
        _ => return None,
    })
}

fn envoy(ide: &Ide<'_>, path: &str) -> Option<String> {
    let field = path.trim_start_matches(['$', '.']).strip_prefix("Envoy.")?;
    let doc = match field {
        "hostname" => "The name of the envoy, lower case.",
        "environment" => "The environment of the envoy.",
        "roles" => "The roles of the envoy with those they include, in order.",
        _ => return None,
    };
    let mut out = format!("**.Envoy.{field}**\n\n{doc}");
    if let Some(name) = ide.envoy {
        _ = write!(out, "\n\n{}", host(ide, name));
    }
    Some(out)
}

/// A variable: its type, what it is for, and its values with where they come from.
pub fn variable(ide: &Ide<'_>, name: &str) -> Option<String> {
    let ty = values::any_type(ide, name)?;
    let mut out = format!("**{name}**: `{ty}` — variable\n");
    if let Some(doc) = doc_of(ide, name) {
        _ = write!(out, "\n{}\n", doc.trim());
    }
    if let (Some(envoy), Some(vars)) = (ide.envoy, values::of_envoy(ide)) {
        match vars.by_name.get(name) {
            Some(known) => {
                let value = values::value_of(known).unwrap_or_else(|| "not known without more traits".into());
                _ = write!(out, "\nFor `{envoy}`: `{value}`\n\n| value | layer | |\n| --- | --- | --- |\n");
                for layer in values::layers(known) {
                    _ = writeln!(
                        out,
                        "| `{}` | {}, {} | {} |",
                        cell(&layer.value),
                        cell(&layer.origin),
                        layer.file,
                        layer.state
                    );
                }
            }
            None => _ = write!(out, "\n`{envoy}` does not have it.\n"),
        }
        return Some(out);
    }
    let by_class = values::by_class(ide, name);
    if by_class.is_empty() {
        out.push_str("\nNo node entry gets it.\n");
    }
    for (value, classes) in by_class.iter().take(MOST_VALUES) {
        let labels: Vec<String> = classes.iter().take(2).map(|l| format!("`{l}`")).collect();
        let more = classes.len() - labels.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        _ = write!(out, "\n- `{value}` for {}{more}", labels.join(", "));
    }
    if by_class.len() > MOST_VALUES {
        _ = write!(out, "\n- and {} other values", by_class.len() - MOST_VALUES);
    }
    Some(out)
}

const MOST_VALUES: usize = 6;

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '`'], " ")
}

/// What the module that declares a parameter says about it.
fn doc_of(ide: &Ide<'_>, name: &str) -> Option<String> {
    let (db, project) = ide.queries();
    let params = index(db, project).modules.values().filter_map(|f| module(db, *f)).flat_map(|m| &m.params);
    params.filter(|p| *p.name.text == *name).find_map(|p| p.doc.as_ref().map(|d| d.to_string()))
}

/// A module: what it is for, and its parameters.
pub fn a_module(ide: &Ide<'_>, name: &str) -> Option<String> {
    let (db, project) = ide.queries();
    let file = *index(db, project).modules.get(name)?;
    let (ast, seen) = (module(db, file)?, interface(db, file)?);
    let mut out = format!("**{name}** — module, `{}`\n", file.path(db));
    if let Some(doc) = &ast.doc {
        _ = write!(out, "\n{}\n", doc.trim());
    }
    for v in seen.variables.iter().filter(|v| v.parameter) {
        let default = match &v.default {
            Some(value) => format!(", default `{}`", values::shown(value)),
            None => ", has to be set".to_owned(),
        };
        _ = write!(out, "\n- `{}`: {}{default}", v.name, v.ty);
    }
    _ = write!(out, "\n\n{} resources", ast.resources.len());
    let given = values::all_classes(ide).into_iter();
    let given =
        given.filter(|c| resolved_class(db, project, *c).modules.iter().any(|m| **m == *name)).count();
    _ = write!(out, ", {given} classes get it");
    Some(out)
}

fn role(ide: &Ide<'_>, name: &str) -> Option<String> {
    let (db, project) = ide.queries();
    let (roles, _) = compiler::resolve::class::roles(db, project);
    let role = roles.iter().find(|r| *r.name.text == *name)?;
    let listed = |names: &[compiler::syntax::Name]| {
        names.iter().map(|n| format!("`{}`", n.text)).collect::<Vec<_>>().join(", ")
    };
    let mut out = format!("**{name}** — role\n");
    if !role.includes.is_empty() {
        _ = write!(out, "\nIncludes {}\n", listed(&role.includes));
    }
    _ = write!(out, "\nGives {}", listed(&role.layer.modules));
    Some(out)
}

fn resource(ide: &Ide<'_>, named: &Named) -> Option<String> {
    let (db, project) = ide.queries();
    let declared = names::declarations(ide, named);
    let mut out = String::new();
    for d in declared.iter().take(3) {
        let (owner, local) = d.name.split_once('.')?;
        let file = *index(db, project).modules.get(owner)?;
        let named = |r: &&compiler::syntax::ResourceAst| {
            r.name.as_ref().and_then(|n| n.as_text()).is_some_and(|t| t.scalar.text == local)
        };
        let r = module(db, file)?.resources.iter().find(named)?;
        let kind = r.kind.as_ref().map_or("?", |k| &k.text);
        _ = writeln!(out, "**{}** — {kind}, `{}`", d.name, d.file);
        let ty = schema().types.get(kind);
        for a in &r.attributes {
            if ty.is_some_and(|t| t.key == a.name.text)
                && let Some(text) = a.value.as_text()
            {
                _ = writeln!(out, "\n`{}: {}`", a.name.text, text.scalar.text);
            }
        }
    }
    (!out.is_empty()).then_some(out)
}

/// A node entry: which classes and how many hosts it is for.
fn entry(ide: &Ide<'_>, source: &Source, place: &Place<'_>) -> Option<String> {
    let number = place.way.iter().find_map(|s| match s {
        Step::Item(n) => Some(*n),
        Step::Key(_) => None,
    })?;
    let (db, project) = ide.queries();
    let class =
        values::all_classes(ide).into_iter().find(|c| c.file(db) == source.file && c.entry(db) == number)?;
    let resolved = resolved_class(db, project, class);
    let listed = |names: &[std::sync::Arc<str>]| {
        let names: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let mut out = format!(
        "**{}** — node entry\n\nRoles: {}\n\nModules: {}\n",
        resolved.label,
        listed(&resolved.roles),
        listed(&resolved.modules)
    );
    if !ide.fleet.is_empty() {
        let hosts = super::lenses::hosts_of(ide, &source.path, number);
        let shown: Vec<String> = hosts.iter().take(3).map(|h| format!("`{h}`")).collect();
        let dots = if hosts.len() > shown.len() { ", ..." } else { "" };
        _ = write!(
            out,
            "\n{} of {} hosts of the fleet: {}{dots}",
            hosts.len(),
            ide.fleet.len(),
            shown.join(", ")
        );
    }
    Some(out)
}

/// A host: the entry that matches it.
fn host(ide: &Ide<'_>, name: &str) -> String {
    let (db, project) = ide.queries();
    let class = ide.policy.class_of(name);
    match class.as_ref().and_then(|key| ide.policy.class(key)) {
        Some(class) => {
            let resolved = resolved_class(db, project, class);
            let modules: Vec<String> = resolved.modules.iter().map(|m| format!("`{m}`")).collect();
            format!(
                "`{name}` is matched by `{}` in `{}`\n\nModules: {}",
                resolved.label,
                class.file(db).path(db),
                modules.join(", ")
            )
        }
        None => format!("No node entry matches `{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    fn at(mark: &str, envoy: Option<&str>) -> String {
        let mut fixture = Fixture::new(&ACME.replacen(&mark.replace("$0", ""), mark, 1));
        fixture.envoy = envoy.map(str::to_owned);
        let source = fixture.ide().source(&fixture.file).unwrap();
        hover(&fixture.ide(), &source, fixture.at).map(|h| h.text).unwrap_or_default()
    }

    #[test]
    fn attributes_types_and_keys_are_explained() {
        let text = at("mo$0de: \"0644\"", None);
        assert!(text.contains("**mode**: `mode`") && text.contains("attribute of `file`"), "{text}");
        assert!(at("type: fi$0le", None).contains("`target_path`"));
        assert!(at("not$0ify: [", None).contains("told when this one changed"));
        assert!(at("depends_on: [ngi$0nx]", None).contains("Web server."));
        assert!(at("name: we$0b", None).contains("Gives `nginx`, `motd`"));
    }

    #[test]
    fn a_variable_has_its_values_and_where_they_come_from() {
        let text = at("listen {{ .Vars.po$0rt", None);
        assert!(text.contains("**port**: `int`"), "{text}");
        assert!(text.contains("`8080` for `web-*.test`") && text.contains("`80` for `*`"), "{text}");
        let text = at("listen {{ .Vars.po$0rt", Some("web-1.test"));
        assert!(text.contains("For `web-1.test`: `8080`"), "{text}");
        assert!(text.contains("| `80` | default of module nginx, modules/nginx.vgo |"), "{text}");
        assert!(text.contains("| `8080` | node entry, nodes.vgo |"), "{text}");
    }

    #[test]
    fn words_of_expressions_are_explained() {
        assert!(at("when: os_fam$0ily", None).contains("os_family("));
        assert!(at("&& vars.po$0rt", None).contains("**port**"));
        let parts = at("&$0& vars.port", Some("web-1.test"));
        assert!(parts.contains("vars.port == 80") && parts.contains("false"), "{parts}");
        assert_eq!(at("&$0& vars.port", None), "");
    }

    #[test]
    fn an_entry_says_how_many_hosts_it_is_for() {
        let mut fixture = Fixture::new(&ACME.replacen("\"web-*", "\"web$0-*", 1));
        fixture = fixture.fleet(&["db-1.test", "web-1.test", "web-2.test"]);
        let source = fixture.ide().source(&fixture.file).unwrap();
        let text = hover(&fixture.ide(), &source, fixture.at).unwrap().text;
        assert!(text.contains("2 of 3 hosts of the fleet: `web-1.test`, `web-2.test`"), "{text}");
        assert!(text.contains("Modules: `nginx`, `motd`"), "{text}");
    }
}
