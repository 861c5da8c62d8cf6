//! The outline of a file, and names anywhere in the policy.

use super::names::{self, Named};
use super::{Ide, Source};
use compiler::syntax::{Body, ModuleAst, Name, ast};
use grammar::Span;

/// What a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolKind {
    /// A module.
    Module,
    /// A group, such as `resources`.
    Group,
    /// A variable or parameter.
    Variable,
    /// A resource.
    Resource,
    /// A role.
    Role,
    /// An environment.
    Environment,
    /// A node entry.
    Entry,
    /// A policy test.
    Test,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// What it is called.
    pub name: String,
    /// A word more.
    pub detail: String,
    /// What it is.
    pub kind: SymbolKind,
    /// All of it.
    pub span: Span,
    /// Its name.
    pub at: Span,
    /// What is in it.
    pub inside: Vec<Symbol>,
}

fn symbol(kind: SymbolKind, name: &str, detail: &str, at: Span) -> Symbol {
    Symbol { name: name.to_owned(), detail: detail.to_owned(), kind, span: at, at, inside: Vec::new() }
}

/// The outline of a file.
pub fn outline(ide: &Ide<'_>, source: &Source) -> Vec<Symbol> {
    let (db, _) = ide.queries();
    let mut out = match &ast(db, source.file).body {
        Body::Module(Some(module)) => vec![of_module(source, module)],
        Body::Roles(roles) => {
            let role = |r: &compiler::syntax::RoleAst| {
                let modules = listed(&r.layer.modules);
                let mut out = symbol(SymbolKind::Role, &r.name.text, &modules, r.name.span);
                out.inside = r.layer.vars.iter().map(|(n, _)| variable(n)).collect();
                out
            };
            roles.iter().map(role).collect()
        }
        Body::Common(layer) => layer.vars.iter().map(|(n, _)| variable(n)).collect(),
        Body::Environments(list) => {
            let environment = |e: &compiler::syntax::EnvironmentAst| {
                let mut out =
                    symbol(SymbolKind::Environment, &e.name.text, &listed(&e.layer.modules), e.name.span);
                out.inside = e.layer.vars.iter().map(|(n, _)| variable(n)).collect();
                out
            };
            list.iter().map(environment).collect()
        }
        Body::Nodes(entries) => {
            let entry = |e: &compiler::syntax::EntryAst| {
                let patterns: Vec<&str> = e.patterns.iter().map(|(n, _)| &*n.text).collect();
                let environment = e.environment.as_ref().map_or("", |n| &n.text);
                let at = e.patterns.first().map_or(e.span, |(n, _)| n.span);
                let mut out = symbol(SymbolKind::Entry, &patterns.join(", "), environment, at);
                out.span = e.span;
                out.inside = e.layer.vars.iter().map(|(n, _)| variable(n)).collect();
                out
            };
            entries.iter().map(entry).collect()
        }
        Body::Tests(tests) => {
            tests.iter().map(|t| symbol(SymbolKind::Test, &t.name.text, &t.envoy.text, t.name.span)).collect()
        }
        _ => Vec::new(),
    };
    out.iter_mut().for_each(|s| close(s, source.text.len() as u32));
    out
}

fn listed(names: &[Name]) -> String {
    names.iter().map(|n| &*n.text).collect::<Vec<_>>().join(", ")
}

fn variable(name: &Name) -> Symbol {
    symbol(SymbolKind::Variable, &name.text, "", name.span)
}

fn of_module(source: &Source, module: &ModuleAst) -> Symbol {
    let doc = module.doc.as_deref().unwrap_or_default();
    let mut out = symbol(
        SymbolKind::Module,
        &module.name.text,
        doc.lines().next().unwrap_or_default(),
        module.name.span,
    );
    out.span = Span::new(0, source.text.len() as u32);
    for p in &module.params {
        let ty = p.declared.as_ref().map(ToString::to_string).unwrap_or_default();
        out.inside.push(symbol(SymbolKind::Variable, &p.name.text, &ty, p.name.span));
    }
    out.inside.extend(module.vars.iter().map(|(n, _)| variable(n)));
    for r in &module.resources {
        let kind = r.kind.as_ref().map_or("", |k| &k.text);
        let named = r.name.as_ref().and_then(|n| Some((n.as_text()?.scalar.text.clone(), n.span)));
        let (name, at) =
            named.unwrap_or_else(|| (kind.to_owned(), r.kind.as_ref().map_or(r.span, |k| k.span)));
        let mut symbol = symbol(SymbolKind::Resource, &name, kind, at);
        symbol.span = r.span.cover(at);
        out.inside.push(symbol);
    }
    out
}

/// A whole holds its parts, and a name is never empty: editors refuse anything else.
fn close(symbol: &mut Symbol, end: u32) {
    for inner in &mut symbol.inside {
        close(inner, end);
        symbol.span = symbol.span.cover(inner.span);
    }
    symbol.span = symbol.span.cover(symbol.at);
    symbol.span = Span::new(symbol.span.start, symbol.span.end.min(end));
    if symbol.name.trim().is_empty() {
        symbol.name = "(no name)".to_owned();
    }
}

/// Declared names that have all letters of a query, in order; at most `most`.
pub fn search(ide: &Ide<'_>, query: &str, most: usize) -> Vec<Named> {
    let wanted = |name: &str| {
        let mut letters = name.chars().flat_map(char::to_lowercase);
        query
            .chars()
            .flat_map(char::to_lowercase)
            .filter(|c| !c.is_whitespace())
            .all(|q| letters.any(|c| c == q))
    };
    let mut out = names::select(ide, |u| u.how == "declared" && wanted(&u.name));
    // the nearer the name is to what was asked, the further up
    out.sort_by(|a, b| {
        (a.name.len(), &a.name, &a.file, a.span).cmp(&(b.name.len(), &b.name, &b.file, b.span))
    });
    out.dedup_by(|a, b| a.of == b.of && a.name == b.name && a.file == b.file);
    out.truncate(most);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    #[test]
    fn a_file_has_an_outline() {
        let fixture = Fixture::new(ACME);
        let names = |path: &str| {
            let source = fixture.ide().source(path).unwrap();
            let outline = outline(&fixture.ide(), &source);
            for s in &outline {
                assert!(s.inside.iter().all(|i| s.span.start <= i.span.start && i.span.end <= s.span.end));
            }
            outline
                .iter()
                .map(|s| {
                    format!(
                        "{} [{}]",
                        s.name,
                        s.inside.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(" ")
                    )
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(names("modules/nginx.vgo"), ["nginx [server_name port config reload]"]);
        assert_eq!(names("nodes.vgo"), ["web-*.test [server_name port]", "* [server_name]"]);
        assert_eq!(names("tests/web.vgo"), ["it listens []"]);
    }

    #[test]
    fn names_are_found_by_some_of_their_letters() {
        let fixture = Fixture::new(ACME);
        let found: Vec<String> =
            search(&fixture.ide(), "ngcf", 10).iter().map(|n| n.name.to_string()).collect();
        assert_eq!(found, ["nginx.config", "nginx/site.conf"]);
        assert_eq!(search(&fixture.ide(), "", 3).len(), 3);
    }
}
