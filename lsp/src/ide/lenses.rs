//! Lines above declarations: how often they are used, which envoys they are for, what can be run.

use super::definition::references_of;
use super::{Ide, Source, Target};
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

/// What a lens says and does. What takes a look at the whole policy is found out by [`resolve`], for those that are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// How often a module or role is named.
    References(Of, Arc<str>),
    /// How many envoys have a module.
    EnvoysOf(Arc<str>),
    /// How many envoys an entry takes.
    Envoys(Envoys),
    /// Runs a policy test.
    RunTest(Arc<str>),
    /// Runs all policy tests of the file.
    RunTests,
    /// Compares with the last revision.
    Plan,
}

/// Envoys of the fleet, or else classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envoys {
    /// How many.
    pub count: usize,
    /// Whether these are hosts of a fleet; classes otherwise.
    pub hosts: bool,
    /// One of them.
    pub example: Option<String>,
}

/// What a lens turned out to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Every place that names it, but not those that declare it.
    References(Vec<Target>),
    /// The envoys.
    Envoys(Envoys),
}

/// Finds out what a lens says; `None` for one that says it already.
pub fn resolve(ide: &Ide<'_>, what: &What) -> Option<Said> {
    match what {
        What::References(of, name) => Some(Said::References(references_of(ide, *of, name, false))),
        What::EnvoysOf(module) => Some(Said::Envoys(envoys_of_module(ide, module))),
        What::Envoys(envoys) => Some(Said::Envoys(envoys.clone())),
        What::RunTest(_) | What::RunTests | What::Plan => None,
    }
}

/// The lenses of a file.
pub fn lenses(ide: &Ide<'_>, source: &Source) -> Vec<Lens> {
    let (db, _) = ide.queries();
    let mut out = Vec::new();
    match &ast(db, source.file).body {
        Body::Module(Some(module)) => {
            let span = module.name.span;
            let name = &module.name.text;
            out.push(Lens { span, what: What::References(Of::Module, name.clone()) });
            out.push(Lens { span, what: What::EnvoysOf(name.clone()) });
            out.push(Lens { span, what: What::Plan });
        }
        Body::Roles(roles) => {
            for role in roles {
                let what = What::References(Of::Role, role.name.text.clone());
                out.push(Lens { span: role.name.span, what });
            }
        }
        Body::Nodes(entries) => {
            let by_entry = if ide.fleet.is_empty() { BTreeMap::new() } else { by_entry(ide) };
            for (number, entry) in entries.iter().enumerate() {
                let span = entry.patterns.first().map_or(entry.span, |(name, _)| name.span);
                if !ide.fleet.is_empty() {
                    let hosts = by_entry.get(&(source.path.clone(), number));
                    let what = What::Envoys(Envoys {
                        count: hosts.map_or(0, Vec::len),
                        hosts: true,
                        example: hosts.and_then(|h| h.first()).map(|h| (*h).to_owned()),
                    });
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

fn envoys_of_module(ide: &Ide<'_>, name: &str) -> Envoys {
    let (db, project) = ide.queries();
    let having: Vec<_> = classes(db, project)
        .into_iter()
        .filter(|c| resolved_class(db, project, *c).modules.iter().any(|m| **m == *name))
        .collect();
    if ide.fleet.is_empty() {
        let example = having.first().map(|c| resolved_class(db, project, *c).label.to_string());
        return Envoys { count: having.len(), hosts: false, example };
    }
    let by_entry = by_entry(ide);
    let mut hosts: Vec<&str> = Vec::new();
    for class in having {
        hosts.extend(by_entry.get(&(class.file(db).path(db).clone(), class.entry(db))).into_iter().flatten());
    }
    Envoys { count: hosts.len(), hosts: true, example: hosts.iter().min().map(|h| (*h).to_owned()) }
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

    fn says(fixture: &Fixture, what: &What) -> String {
        match resolve(&fixture.ide(), what) {
            Some(Said::References(all)) => format!("{} references", all.len()),
            Some(Said::Envoys(e)) => {
                let what = if e.hosts { "envoys" } else { "classes" };
                format!("{} {what}, {}", e.count, e.example.unwrap_or_default())
            }
            None => format!("{what:?}"),
        }
    }

    #[test]
    fn declarations_say_where_they_are_used() {
        let fixture = Fixture::new(ACME);
        let module = of(&fixture, "modules/nginx.vgo");
        assert_eq!(module[0].0, "nginx");
        // the role, `depends_on`, the reference to `nginx.config`, and two expectations of the test
        assert_eq!(says(&fixture, &module[0].1), "5 references");
        assert_eq!(says(&fixture, &module[1].1), "2 classes, web-*.test");
        assert_eq!(says(&fixture, &of(&fixture, "roles.vgo")[0].1), "2 references");
        assert_eq!(
            of(&fixture, "tests/web.vgo"),
            [("it listens".to_owned(), What::RunTest("it listens".into()))]
        );
    }

    /// What is counted is what is listed.
    #[test]
    fn a_lens_counts_what_references_list() {
        let fixture = Fixture::new(ACME);
        for path in ["modules/nginx.vgo", "modules/motd.vgo", "roles.vgo"] {
            let source = fixture.ide().source(path).unwrap();
            let lens = lenses(&fixture.ide(), &source).into_iter().next().unwrap();
            let listed = crate::ide::definition::references(&fixture.ide(), &source, lens.span.start, false);
            assert_eq!(resolve(&fixture.ide(), &lens.what), Some(Said::References(listed)), "{path}");
        }
    }

    #[test]
    fn entries_count_the_hosts_of_the_fleet() {
        let fixture = Fixture::new(ACME).fleet(&["db-1.test", "web-1.test", "web-2.test"]);
        assert_eq!(says(&fixture, &of(&fixture, "nodes.vgo")[0].1), "2 envoys, web-1.test");
        assert_eq!(says(&fixture, &of(&fixture, "modules/nginx.vgo")[1].1), "3 envoys, db-1.test");
    }
}
