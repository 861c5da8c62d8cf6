//! What stands behind a name: where its type comes from, and what makes it what it is.
//!
//! | name | type | what makes it |
//! | --- | --- | --- |
//! | variable | the `type:` of its parameter, or the value that gives it its type | every value that a layer gives it |
//! | element of a `foreach` | that of the list | those of the list |
//! | resource | its `type:` | the template that it ships, or else itself |
//! | module | its parameters | its resources |
//! | role | | the modules that it gives, with those of the roles it includes |
//! | environment | | the node entries that choose it |
//! | template | | the resources that ship it |
//! | pattern of a node entry | | the modules that its hosts get |

use super::expression::{WordKind, word_at};
use super::links::template_path;
use super::names::{self, Named};
use super::place::Step;
use super::{Ide, Source, Target, calls, place};
use compiler::resolve::class::{resolved_class, roles};
use compiler::resolve::interface::module;
use compiler::syntax::Kind;
use compiler::uses::Of;
use grammar::Span;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Where the type of what is at a position comes from.
pub fn type_definition(ide: &Ide<'_>, source: &Source, at: u32) -> Vec<Target> {
    if let Some(list) = list_at(ide, source, at) {
        return type_of_variable(ide, &list);
    }
    let Some(named) = names::at(ide, source, at) else { return Vec::new() };
    match named.of {
        Of::Variable => type_of_variable(ide, &named.name),
        Of::Resource => names::declarations(ide, &named).iter().filter_map(|d| type_of(ide, d)).collect(),
        Of::Module => in_modules(ide, &named.name, |m| m.params.iter().map(|p| p.name.span).collect()),
        Of::Role | Of::Environment | Of::Template | Of::Trait => Vec::new(),
    }
}

/// What makes what is at a position what it is.
pub fn implementations(ide: &Ide<'_>, source: &Source, at: u32) -> Vec<Target> {
    if let Some(list) = list_at(ide, source, at) {
        return values_of(ide, &list);
    }
    let Some(named) = names::at(ide, source, at) else { return of_entry(ide, source, at) };
    let mut out = match named.of {
        Of::Variable => values_of(ide, &named.name),
        Of::Resource => of_resource(ide, &named),
        Of::Module => in_modules(ide, &named.name, |m| {
            m.resources
                .iter()
                .map(|r| match (&r.name, &r.kind) {
                    (Some(name), _) => name.span,
                    (None, Some(kind)) => kind.span,
                    (None, None) => r.span,
                })
                .collect()
        }),
        Of::Role => modules_of_role(ide, &named.name),
        Of::Environment => places(ide, &named, "chosen"),
        Of::Template => places(ide, &named, "shipped"),
        Of::Trait => Vec::new(),
    };
    out.sort();
    out.dedup();
    out
}

/// The list behind `.Item` or `item` at a position.
fn list_at(ide: &Ide<'_>, source: &Source, at: u32) -> Option<Arc<str>> {
    let parsed = source.parsed();
    let (_, word) = word_at(source, &parsed, at)?;
    let written = source.slice(word.span).trim_start_matches(['$', '.']);
    if word.kind != WordKind::Item || !written.split('.').next().is_some_and(|w| matches!(w, "Item" | "item"))
    {
        return None;
    }
    let way = place::place(&parsed.root, at).way;
    let number = way.iter().find_map(|s| match s {
        Step::Item(n) => Some(*n),
        Step::Key(_) => None,
    })?;
    let (db, _) = ide.queries();
    // a resource that could not be read leaves a gap, so the place decides and not the number in the tree
    let start = parsed.root.get("resources")?.as_seq()?.get(number)?.span.start;
    let resource = module(db, source.file)?.resources.iter().find(|r| r.span.start == start)?;
    resource.foreach.as_ref()?.text.split('.').next().map(Arc::from)
}

fn type_of_variable(ide: &Ide<'_>, name: &str) -> Vec<Target> {
    let (db, project) = ide.queries();
    let mut out = Vec::new();
    for file in project.files(db) {
        let Some(module) = module(db, *file) else { continue };
        let mut push = |span: Span| out.push(Target { file: file.path(db).clone(), span });
        for p in module.params.iter().filter(|p| *p.name.text == *name) {
            push(if p.type_span.start < p.type_span.end { p.type_span } else { p.name.span });
        }
        module.vars.iter().filter(|(n, _)| *n.text == *name).for_each(|(_, value)| push(value.span));
    }
    if out.is_empty() {
        // the first value that it gets
        let set = names::select(ide, |u| u.of == Of::Variable && u.how == "set" && *u.name == *name);
        out.extend(set.iter().filter(|n| Kind::of(&n.file) != Kind::Test).map(Named::target));
    }
    out
}

/// The type of a resource, where it is declared.
fn type_of(ide: &Ide<'_>, declared: &Named) -> Option<Target> {
    let (db, _) = ide.queries();
    let file = ide.policy.file(&declared.file)?;
    let own = |r: &&compiler::syntax::ResourceAst| {
        r.name
            .as_ref()
            .is_some_and(|n| n.span.start <= declared.span.start && declared.span.end <= n.span.end)
    };
    let kind = module(db, file)?.resources.iter().find(own)?.kind.as_ref()?;
    Some(Target { file: declared.file.clone(), span: kind.span })
}

/// Places in the files that declare a module of this name.
fn in_modules(
    ide: &Ide<'_>,
    name: &str,
    spans: impl Fn(&compiler::syntax::ModuleAst) -> Vec<Span>,
) -> Vec<Target> {
    let (db, project) = ide.queries();
    let mut out = Vec::new();
    for file in project.files(db) {
        if let Some(module) = module(db, *file).filter(|m| *m.name.text == *name) {
            out.extend(spans(module).into_iter().map(|span| Target { file: file.path(db).clone(), span }));
        }
    }
    out
}

/// Where a variable gets a value: its default, and every layer that sets it. Tests are none.
fn values_of(ide: &Ide<'_>, name: &str) -> Vec<Target> {
    let (db, _) = ide.queries();
    let gives = names::select(ide, |u| {
        u.of == Of::Variable && *u.name == *name && matches!(u.how, "declared" | "set")
    });
    let has_value = |n: &&Named| {
        let Some(module) = ide.policy.file(&n.file).and_then(|f| module(db, f)) else {
            return Kind::of(&n.file) != Kind::Test;
        };
        !module.params.iter().any(|p| p.name.span == n.span && p.default.is_none())
    };
    gives.iter().filter(has_value).map(Named::target).collect()
}

fn of_resource(ide: &Ide<'_>, named: &Named) -> Vec<Target> {
    let mut out = Vec::new();
    for d in names::declarations(ide, named) {
        let shipped = names::select(ide, |u| u.of == Of::Template && u.how == "shipped" && u.by == d.name);
        let files = shipped.iter().map(|n| template_path(&n.name)).filter(|p| ide.policy.file(p).is_some());
        let before = out.len();
        out.extend(files.map(|path| Target { file: path.into(), span: Span::new(0, 0) }));
        if out.len() == before {
            out.push(d.target());
        }
    }
    out
}

/// The places at which something happens to a name.
fn places(ide: &Ide<'_>, named: &Named, how: &str) -> Vec<Target> {
    let found = names::select(ide, |u| u.of == named.of && u.how == how && u.name == named.name);
    found.iter().filter(|n| Kind::of(&n.file) != Kind::Test).map(Named::target).collect()
}

fn modules_of_role(ide: &Ide<'_>, name: &str) -> Vec<Target> {
    let (db, project) = ide.queries();
    let (all, _) = roles(db, project);
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut todo = vec![name];
    let mut modules: BTreeSet<&str> = BTreeSet::new();
    while let Some(name) = todo.pop() {
        if !seen.insert(name) {
            continue;
        }
        for role in all.iter().filter(|r| *r.name.text == *name) {
            modules.extend(role.layer.modules.iter().map(|n| &*n.text));
            todo.extend(role.includes.iter().map(|n| &*n.text));
        }
    }
    declared_modules(ide, &modules)
}

fn declared_modules(ide: &Ide<'_>, modules: &BTreeSet<&str>) -> Vec<Target> {
    let found =
        names::select(ide, |u| u.of == Of::Module && u.how == "declared" && modules.contains(&*u.name));
    found.iter().map(Named::target).collect()
}

/// The modules that the hosts of a node entry get.
fn of_entry(ide: &Ide<'_>, source: &Source, at: u32) -> Vec<Target> {
    let Some(number) = calls::entry_number_at(ide, source, at) else { return Vec::new() };
    let (db, project) = ide.queries();
    let classes = super::values::all_classes(ide).into_iter();
    let of = classes.filter(|c| c.file(db) == source.file && c.entry(db) == number);
    let modules: BTreeSet<&str> =
        of.flat_map(|c| resolved_class(db, project, c).modules.iter().map(|m| &**m)).collect();
    declared_modules(ide, &modules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    fn ask(policy: &str, mark: &str, what: fn(&Ide<'_>, &Source, u32) -> Vec<Target>) -> Vec<String> {
        assert!(policy.contains(&mark.replace("$0", "")), "{mark}");
        let fixture = Fixture::new(&policy.replacen(&mark.replace("$0", ""), mark, 1));
        let source = fixture.ide().source(&fixture.file).unwrap();
        fixture.shown(&what(&fixture.ide(), &source, fixture.at))
    }

    #[test]
    fn a_type_comes_from_somewhere() {
        let of = |mark: &str| ask(ACME, mark, type_definition);
        assert_eq!(of("{{ .Vars.server_na$0me"), ["modules/nginx.vgo:4 string"]);
        assert_eq!(of("listen {{ .Vars.po$0rt"), ["modules/nginx.vgo:6 80"]);
        assert_eq!(of("[nginx.con$0fig]"), ["modules/nginx.vgo:9 file"]);
        assert_eq!(of("name: rel$0oad"), ["modules/nginx.vgo:15 service"]);
        assert_eq!(of("modules: [ngi$0nx, motd]\n//- nodes"), ["modules/nginx.vgo:4 server_name"]);
        assert_eq!(of("roles: [we$0b]"), Vec::<String>::new());
        assert_eq!(of("doc: Web se$0rver."), Vec::<String>::new());
    }

    #[test]
    fn what_makes_a_name_is_found() {
        let of = |mark: &str| ask(ACME, mark, implementations);
        assert_eq!(of("listen {{ .Vars.po$0rt"), ["modules/nginx.vgo:6 port", "nodes.vgo:4 port"]);
        // a parameter without a default has its values from the entries
        assert_eq!(of("{{ .Vars.server_na$0me"), ["nodes.vgo:4 server_name", "nodes.vgo:7 server_name"]);
        assert_eq!(of("roles: [we$0b]"), ["modules/motd.vgo:1 motd", "modules/nginx.vgo:1 nginx"]);
        assert_eq!(
            of("depends_on: [ngi$0nx]"),
            ["modules/nginx.vgo:8 config", "modules/nginx.vgo:14 reload"]
        );
        assert_eq!(of("[nginx.con$0fig]"), ["templates/nginx/site.conf:1 "]);
        assert_eq!(of("notify: [rel$0oad]"), ["modules/nginx.vgo:14 reload"]);
        assert_eq!(of("source: nginx/si$0te.conf"), ["modules/nginx.vgo:11 nginx/site.conf"]);
        assert_eq!(of("match: \"web-*.te$0st\""), ["modules/motd.vgo:1 motd", "modules/nginx.vgo:1 nginx"]);
    }

    #[test]
    fn the_element_of_a_foreach_is_of_its_list() {
        let policy = ACME
            .replacen("  port: 80\n", "  port: 80\n  dirs: [a, b]\n", 1)
            .replacen("  - name: config\n", "  - name: \"dir-{{ .Item }}\"\n    type: directory\n    foreach: dirs\n    target_path: \"/srv/{{ .Item }}\"\n  - name: config\n", 1);
        let mark = "/srv/{{ .It$0em }}";
        assert_eq!(ask(&policy, mark, type_definition), ["modules/nginx.vgo:7 [a, b]"]);
        assert_eq!(ask(&policy, mark, implementations), ["modules/nginx.vgo:7 dirs"]);
    }
}
