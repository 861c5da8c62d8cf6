//! Who brings what: from a resource to its module, to the roles that give it, to the node entries.

use super::names::{self, Named};
use super::{Ide, Source, Target};
use compiler::syntax::{Body, ast};
use compiler::uses::Of;
use grammar::Span;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// What it is.
    pub kind: LinkKind,
    /// Its name; of a resource with its module, of an entry its patterns.
    pub name: String,
    /// Where it is declared.
    pub target: Target,
}

/// What a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkKind {
    /// A resource.
    Resource,
    /// A module.
    Module,
    /// A role.
    Role,
    /// A node entry, or another layer that gives modules, such as `common.vgo`.
    Layer,
}

impl LinkKind {
    /// As programs write it.
    pub fn name(self) -> &'static str {
        match self {
            LinkKind::Resource => "resource",
            LinkKind::Module => "module",
            LinkKind::Role => "role",
            LinkKind::Layer => "entry",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<LinkKind> {
        [LinkKind::Resource, LinkKind::Module, LinkKind::Role, LinkKind::Layer]
            .into_iter()
            .find(|k| k.name() == name)
    }

    fn of(of: Of) -> Option<LinkKind> {
        match of {
            Of::Resource => Some(LinkKind::Resource),
            Of::Module => Some(LinkKind::Module),
            Of::Role => Some(LinkKind::Role),
            _ => None,
        }
    }
}

/// The link at a position.
pub fn at(ide: &Ide<'_>, source: &Source, at: u32) -> Option<Link> {
    if let Some(named) = names::at(ide, source, at)
        && let Some(kind) = LinkKind::of(named.of)
    {
        let declared = names::declarations(ide, &named).into_iter().next().unwrap_or(named);
        return Some(link(kind, &declared));
    }
    entry_at(ide, source, at)
}

fn link(kind: LinkKind, n: &Named) -> Link {
    Link { kind, name: n.name.to_string(), target: n.target() }
}

/// The number in its file of the node entry that has a pattern at a position.
pub fn entry_number_at(ide: &Ide<'_>, source: &Source, at: u32) -> Option<usize> {
    let (db, _) = ide.queries();
    let Body::Nodes(entries) = &ast(db, source.file).body else { return None };
    entries.iter().position(|e| e.patterns.iter().any(|(n, _)| n.span.start <= at && at <= n.span.end))
}

fn entry_at(ide: &Ide<'_>, source: &Source, at: u32) -> Option<Link> {
    let (db, _) = ide.queries();
    let Body::Nodes(entries) = &ast(db, source.file).body else { return None };
    let entry = entries.get(entry_number_at(ide, source, at)?)?;
    let (first, _) = entry.patterns.first()?;
    let patterns: Vec<&str> = entry.patterns.iter().map(|(n, _)| &*n.text).collect();
    let target = Target { file: source.path.clone(), span: first.span };
    Some(Link { kind: LinkKind::Layer, name: patterns.join(", "), target })
}

/// Who brings a link, each with the places that say so.
pub fn incoming(ide: &Ide<'_>, to: &Link) -> Vec<(Link, Vec<Span>)> {
    let mut out: BTreeMap<Link, Vec<Span>> = BTreeMap::new();
    match to.kind {
        LinkKind::Resource => {
            if let Some((module, _)) = to.name.split_once('.')
                && let Some(d) = declared(ide, Of::Module, module)
            {
                out.entry(link(LinkKind::Module, &d)).or_default().push(to.target.span);
            }
            // who notifies it brings it to run
            for n in names::places(ide, Of::Resource, &to.name).iter().filter(|n| n.how == "notified") {
                if let Some(d) = declared(ide, Of::Resource, &n.by) {
                    out.entry(link(LinkKind::Resource, &d)).or_default().push(n.span);
                }
            }
        }
        LinkKind::Module => {
            for n in names::places(ide, Of::Module, &to.name)
                .iter()
                .filter(|n| matches!(n.how, "assigned" | "needed"))
            {
                out.entry(giver(ide, n)).or_default().push(n.span);
            }
        }
        LinkKind::Role => {
            for n in names::places(ide, Of::Role, &to.name)
                .iter()
                .filter(|n| matches!(n.how, "given" | "included"))
            {
                out.entry(giver(ide, n)).or_default().push(n.span);
            }
        }
        LinkKind::Layer => {}
    }
    out.into_iter().collect()
}

fn declared(ide: &Ide<'_>, of: Of, name: &str) -> Option<Named> {
    names::select(ide, |u| u.of == of && u.how == "declared" && *u.name == *name).into_iter().next()
}

/// What gives a module or role at a place: a role, a module that needs it, an entry, or a file for a directory.
fn giver(ide: &Ide<'_>, n: &Named) -> Link {
    let by: &str = &n.by;
    for (prefix, of, kind) in [("role ", Of::Role, LinkKind::Role), ("module ", Of::Module, LinkKind::Module)]
    {
        if let Some(d) = by.strip_prefix(prefix).and_then(|name| declared(ide, of, name)) {
            return link(kind, &d);
        }
    }
    let name = by.strip_prefix("entry ").unwrap_or(by).to_owned();
    let span = entry_span(ide, &n.file, &name).unwrap_or(n.span);
    Link { kind: LinkKind::Layer, name, target: Target { file: n.file.clone(), span } }
}

fn entry_span(ide: &Ide<'_>, file: &Arc<str>, patterns: &str) -> Option<Span> {
    let (db, _) = ide.queries();
    let Body::Nodes(entries) = &ast(db, ide.policy.file(file)?).body else { return None };
    let named = |e: &&compiler::syntax::EntryAst| {
        e.patterns.iter().map(|(n, _)| &*n.text).collect::<Vec<_>>().join(", ") == patterns
    };
    Some(entries.iter().find(named)?.patterns.first()?.0.span)
}

/// What a link brings, each with the places that say so.
pub fn outgoing(ide: &Ide<'_>, from: &Link) -> Vec<(Link, Vec<Span>)> {
    let mut out: BTreeMap<Link, Vec<Span>> = BTreeMap::new();
    let by = match from.kind {
        LinkKind::Module => format!("module {}", from.name),
        LinkKind::Role => format!("role {}", from.name),
        LinkKind::Layer => format!("entry {}", from.name),
        LinkKind::Resource => from.name.clone(),
    };
    let wanted = |u: &compiler::uses::Use| {
        *u.by == *by && matches!(u.how, "assigned" | "needed" | "given" | "included" | "notified")
    };
    for n in names::select(ide, wanted).into_iter().filter(|n| n.file == from.target.file) {
        if let Some(kind) = LinkKind::of(n.of)
            && let Some(d) = declared(ide, n.of, &n.name)
        {
            out.entry(link(kind, &d)).or_default().push(n.span);
        }
    }
    if from.kind == LinkKind::Module {
        let prefix = format!("{}.", from.name);
        let own = names::select(ide, |u| {
            u.of == Of::Resource && u.how == "declared" && u.name.starts_with(&prefix)
        });
        for n in own {
            out.entry(link(LinkKind::Resource, &n)).or_default().push(n.span);
        }
    }
    out.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    #[test]
    fn from_a_resource_up_to_the_entries_and_down_again() {
        let fixture = Fixture::new(&ACME.replacen("[nginx.config]", "[nginx.con$0fig]", 1));
        let ide = fixture.ide();
        let source = ide.source(&fixture.file).unwrap();
        let start = at(&ide, &source, fixture.at).unwrap();
        assert_eq!((start.kind, start.name.as_str()), (LinkKind::Resource, "nginx.config"));
        let up = |l: &Link| incoming(&ide, l).into_iter().map(|(l, _)| l).collect::<Vec<_>>();
        let names = |links: &[Link]| {
            links.iter().map(|l| format!("{} {}", l.kind.name(), l.name)).collect::<Vec<_>>()
        };
        let modules = up(&start);
        assert_eq!(names(&modules), ["module nginx"]);
        let roles = up(&modules[0]);
        assert_eq!(names(&roles), ["module motd", "role web"]);
        let entries = up(&roles[1]);
        assert_eq!(names(&entries), ["entry *", "entry web-*.test"]);
        let down = |l: &Link| outgoing(&ide, l).into_iter().map(|(l, _)| l).collect::<Vec<_>>();
        assert_eq!(names(&down(&entries[1])), ["role web"]);
        assert_eq!(names(&down(&roles[1])), ["module motd", "module nginx"]);
        assert_eq!(names(&down(&modules[0])), ["resource nginx.config", "resource nginx.reload"]);
        assert_eq!(names(&down(&down(&modules[0])[0])), ["resource nginx.reload"]);
    }
}
