//! Lines above declarations: how often they are used, which envoys they are for, what can be run.

use super::names;
use super::{Ide, Source};
use compiler::resolve::class::{classes, resolved_class};
use compiler::resolve::glob::normal;
use compiler::resolve::matching::matching;
use compiler::syntax::{Body, ast};
use compiler::uses::Of;
use grammar::Span;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A line above something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lens {
    /// What it stands above.
    pub span: Span,
    /// What it says and does.
    pub what: What,
}

/// What a lens says and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// How often a thing is named.
    References(usize),
    /// How many envoys of the fleet, or else classes, have it.
    Envoys {
        /// How many.
        count: usize,
        /// Whether these are hosts of a fleet; classes otherwise.
        hosts: bool,
        /// One of them.
        example: Option<String>,
    },
    /// Runs a policy test.
    RunTest(Arc<str>),
    /// Runs all policy tests of the file.
    RunTests,
    /// Compares with the last revision.
    Plan,
}

/// The lenses of a file.
pub fn lenses(ide: &Ide<'_>, source: &Source) -> Vec<Lens> {
    let (db, _) = ide.queries();
    let mut out = Vec::new();
    match &ast(db, source.file).body {
        Body::Module(Some(module)) => {
            let span = module.name.span;
            let name = &module.name.text;
            out.push(Lens { span, what: What::References(names::count(ide, Of::Module, name)) });
            out.push(Lens { span, what: envoys_of_module(ide, name) });
            out.push(Lens { span, what: What::Plan });
        }
        Body::Roles(roles) => {
            for role in roles {
                let count = names::count(ide, Of::Role, &role.name.text);
                out.push(Lens { span: role.name.span, what: What::References(count) });
            }
        }
        Body::Nodes(entries) => {
            let by_entry = if ide.fleet.is_empty() { BTreeMap::new() } else { by_entry(ide) };
            for (number, entry) in entries.iter().enumerate() {
                let span = entry.patterns.first().map_or(entry.span, |(name, _)| name.span);
                if !ide.fleet.is_empty() {
                    let hosts = by_entry.get(&(source.path.clone(), number));
                    let what = What::Envoys {
                        count: hosts.map_or(0, Vec::len),
                        hosts: true,
                        example: hosts.and_then(|h| h.first()).map(|h| (*h).to_owned()),
                    };
                    out.push(Lens { span, what });
                }
                if number == 0 {
                    out.push(Lens { span, what: What::Plan });
                }
            }
        }
        Body::Tests(tests) => {
            if let Some(first) = tests.first().filter(|_| tests.len() > 1) {
                let start = Span::new(0, first.name.span.start.min(1));
                out.push(Lens { span: start, what: What::RunTests });
            }
            for test in tests {
                out.push(Lens { span: test.name.span, what: What::RunTest(test.name.text.clone()) });
            }
        }
        _ => {}
    }
    out
}

fn envoys_of_module(ide: &Ide<'_>, name: &str) -> What {
    let (db, project) = ide.queries();
    let having: Vec<_> = classes(db, project)
        .into_iter()
        .filter(|c| resolved_class(db, project, *c).modules.iter().any(|m| **m == *name))
        .collect();
    if ide.fleet.is_empty() {
        let example = having.first().map(|c| resolved_class(db, project, *c).label.to_string());
        return What::Envoys { count: having.len(), hosts: false, example };
    }
    let by_entry = by_entry(ide);
    let mut hosts: Vec<&str> = Vec::new();
    for class in having {
        hosts.extend(by_entry.get(&(class.file(db).path(db).clone(), class.entry(db))).into_iter().flatten());
    }
    What::Envoys { count: hosts.len(), hosts: true, example: hosts.iter().min().map(|h| (*h).to_owned()) }
}

/// The hosts of the fleet by the entry that takes them: its file, and its number there.
pub fn by_entry<'a>(ide: &Ide<'a>) -> BTreeMap<(Arc<str>, usize), Vec<&'a str>> {
    let (db, project) = ide.queries();
    let matching = matching(db, project);
    let mut out: BTreeMap<(Arc<str>, usize), Vec<&str>> = BTreeMap::new();
    for member in ide.fleet {
        if let Some((file, entry)) = matching.entry(db, &normal(&member.hostname)) {
            out.entry((file.path(db).clone(), entry)).or_default().push(&member.hostname);
        }
    }
    out
}

/// The hosts of the fleet that an entry takes.
pub fn hosts_of<'a>(ide: &Ide<'a>, file: &str, number: usize) -> Vec<&'a str> {
    by_entry(ide).remove(&(file.into(), number)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    fn of(fixture: &Fixture, path: &str) -> Vec<(String, What)> {
        let source = fixture.ide().source(path).unwrap();
        let lenses = lenses(&fixture.ide(), &source);
        lenses.into_iter().map(|l| (source.slice(l.span).to_owned(), l.what)).collect()
    }

    #[test]
    fn declarations_say_where_they_are_used() {
        let fixture = Fixture::new(ACME);
        let module = of(&fixture, "modules/nginx.vgo");
        // the role, `depends_on`, and the reference to `nginx.config`
        assert_eq!(module[0], ("nginx".to_owned(), What::References(3)));
        let example = Some("web-*.test".to_owned());
        assert_eq!(module[1].1, What::Envoys { count: 2, hosts: false, example });
        assert_eq!(of(&fixture, "roles.vgo")[0].1, What::References(2));
        assert_eq!(
            of(&fixture, "tests/web.vgo"),
            [("it listens".to_owned(), What::RunTest("it listens".into()))]
        );
    }

    #[test]
    fn entries_count_the_hosts_of_the_fleet() {
        let fixture = Fixture::new(ACME).fleet(&["db-1.test", "web-1.test", "web-2.test"]);
        let nodes = of(&fixture, "nodes.vgo");
        let example = Some("web-1.test".to_owned());
        assert_eq!(nodes[0].1, What::Envoys { count: 2, hosts: true, example });
        let module = of(&fixture, "modules/nginx.vgo");
        assert_eq!(
            module[1].1,
            What::Envoys { count: 3, hosts: true, example: Some("db-1.test".to_owned()) }
        );
    }
}
