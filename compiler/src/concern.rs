//! Errors of files that a class is made of: an error elsewhere in the policy does not touch its hosts.

use crate::checks::role_findings;
use crate::db::{Content, Db, Project, SourceFile};
use crate::diagnostic::codes::{DUPLICATE_MODULE, INVALID_GLOB, MISSING_KEY};
use crate::diagnostic::{Diagnostic, Place, Severity, Sink, merged};
use crate::resolve::class::{Class, entries, entry, resolved_class, roles};
use crate::resolve::index::{ancestors, index, templates};
use crate::resolve::interface::{default_findings, interface, module, reads};
use crate::specialise::typed::template_findings;
use crate::syntax::{Body, Name, ast, unusable};
use grammar::Span;

/// The errors that [`crate::checks::class_findings`] does not see, because they belong to a file and not to a class.
#[salsa::tracked(returns(ref))]
pub fn file_errors<'db>(db: &'db dyn Db, project: Project, class: Class<'db>) -> Vec<Diagnostic> {
    let mut work = Work { db, project, out: Vec::new() };
    work.entries(class);
    work.layers(class);
    work.roles(class);
    work.modules(class);
    merged(work.out)
}

struct Work<'db> {
    db: &'db dyn Db,
    project: Project,
    out: Vec<Diagnostic>,
}

impl<'db> Work<'db> {
    fn take<'a>(
        &mut self,
        found: impl IntoIterator<Item = &'a Diagnostic>,
        concerns: impl Fn(&Diagnostic) -> bool,
    ) {
        let errors = found.into_iter().filter(|d| d.severity == Severity::Error && concerns(d));
        self.out.extend(errors.cloned());
    }

    /// The entry itself, and whatever before it could have hidden an entry that matches first.
    fn entries(&mut self, class: Class<'db>) {
        let db = self.db;
        let Some(own) = entry(db, class) else { return };
        for file in &index(db, self.project).nodes {
            let here = *file == class.file(db);
            self.take(&ast(db, *file).found, |d| {
                let inside = own.span.start <= d.place.span.start && d.place.span.start <= own.span.end;
                let before = !here || d.place.span.start < own.span.start;
                (here && inside) || (before && hides_entries(d))
            });
            if here {
                break;
            }
        }
    }

    fn layers(&mut self, class: Class<'db>) {
        let db = self.db;
        let index = index(db, self.project);
        for dir in ancestors(class.file(db).path(db)) {
            if let Some(file) = index.commons.get(dir) {
                self.take(&ast(db, *file).found, |_| true);
            }
            let Some(environment) = class.environment(db) else { continue };
            for file in index.environments.get(dir).into_iter().flatten() {
                let ast = ast(db, *file);
                let names: Vec<&Name> = match &ast.body {
                    Body::Environments(list) => list.iter().map(|e| &e.name).collect(),
                    _ => Vec::new(),
                };
                self.take(&ast.found, |d| is_syntax(d) || part_of(&names, d, |n| n == environment));
            }
        }
    }

    fn roles(&mut self, class: Class<'db>) {
        let db = self.db;
        let (all, Some(file)) = roles(db, self.project) else { return };
        let closure = &resolved_class(db, self.project, class).roles;
        let names: Vec<&Name> = all.iter().map(|r| &r.name).collect();
        let concerns = |d: &Diagnostic| is_syntax(d) || part_of(&names, d, |n| closure.contains(n));
        self.take(&ast(db, file).found, concerns);
        self.take(&role_findings(db, self.project), concerns);
    }

    fn modules(&mut self, class: Class<'db>) {
        let db = self.db;
        let index = index(db, self.project);
        for name in &resolved_class(db, self.project, class).modules {
            let Some(file) = index.modules.get(name).copied() else { continue };
            self.take(&ast(db, file).found, |_| true);
            self.take(default_findings(db, file), |_| true);
            for other in index.twice.get(name).into_iter().flatten() {
                self.twice(file, *other);
            }
            for template in &reads(db, self.project, file).templates {
                let Some(template) = templates(db, self.project).get(template).copied() else { continue };
                self.take(template_findings(db, template), |_| true);
                let content = template.content(db);
                if !matches!(content, Content::Text(_) | Content::Bytes(_)) {
                    self.out.push(unusable(&Sink::new(template.path(db).clone()), content));
                }
            }
        }
    }

    fn twice(&mut self, first: SourceFile, second: SourceFile) {
        let db = self.db;
        let place = |file: SourceFile| Place {
            file: file.path(db).clone(),
            span: module(db, file).map_or(Span::new(0, 0), |m| m.name.span),
        };
        let name = interface(db, first).map(|i| i.name.to_string()).unwrap_or_default();
        let finding =
            Diagnostic::new(&DUPLICATE_MODULE, place(second), format!("there is a module `{name}` already"));
        self.out.push(
            finding
                .label("declared again")
                .also(place(first), "first declared here")
                .help("give one of the two another name"),
        );
    }
}

/// Whether an entry may be missing, or match less than its author meant.
fn hides_entries(d: &Diagnostic) -> bool {
    is_syntax(d) || d.code == INVALID_GLOB.slug || d.code == MISSING_KEY.slug
}

/// Errors of the text itself, after which anything in the file may have been misread.
fn is_syntax(d: &Diagnostic) -> bool {
    grammar::SLUGS.iter().any(|(slug, _)| *slug == d.code)
        || matches!(d.code, "not-utf8" | "file-too-large" | "unreadable-file" | "link-leaves-root")
}

/// Whether a finding stands in one of the parts of a file that `names` begin, and that part is wanted.
fn part_of(names: &[&Name], d: &Diagnostic, wanted: impl Fn(&std::sync::Arc<str>) -> bool) -> bool {
    let before = names.iter().filter(|n| n.span.start <= d.place.span.start);
    match before.max_by_key(|n| n.span.start) {
        Some(name) => wanted(&name.text),
        // before the first part: about the file as a whole
        None => true,
    }
}

/// Every node entry with its file, in the order in which they are tried.
pub fn all_entries(db: &dyn Db, project: Project) -> Vec<(SourceFile, &crate::syntax::EntryAst)> {
    let files = &index(db, project).nodes;
    files.iter().flat_map(|file| entries(db, *file).iter().map(|e| (*file, e))).collect()
}
