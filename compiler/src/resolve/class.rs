//! A class: a node entry in an environment. Its roles and its module list.
#![allow(missing_docs, reason = "salsa generates constructors and getters without docs")]

use super::index::{ancestors, index};
use super::modules::{Missing, missing, modules};
use crate::db::{Db, Project, SourceFile};
use crate::diagnostic::codes::{
    MISSING_DEPENDENCY, NOT_ASSIGNED, UNKNOWN_ENVIRONMENT, UNKNOWN_MODULE, UNKNOWN_ROLE,
};
use crate::diagnostic::nearest::{nearest, suggest};
use crate::diagnostic::{Diagnostic, Place};
use crate::syntax::{Body, EntryAst, EnvironmentAst, LayerAst, Name, RoleAst, ast};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// A node entry in an environment.
#[salsa::interned(debug)]
pub struct Class<'db> {
    /// The file of the entry.
    #[returns(copy)]
    pub file: SourceFile,
    /// Its number in the file, from 0.
    #[returns(copy)]
    pub entry: usize,
    /// The environment: the entry's own, unless another one was asked for.
    #[returns(ref)]
    pub environment: Option<Arc<str>>,
    /// Variables that a policy test lays over everything else.
    #[returns(ref)]
    pub laid_over: Vec<(Arc<str>, ir::Value)>,
}

/// What a class is, without variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedClass {
    /// For people: patterns and environment.
    pub label: Arc<str>,
    /// Where the entry stands.
    pub place: Place,
    /// The environment.
    pub environment: Option<Arc<str>>,
    /// The closure, in order.
    pub roles: Vec<Arc<str>>,
    /// Assigned modules in list order; only ones that exist.
    pub modules: Vec<Arc<str>>,
    /// How each module, excluded ones too, came in.
    pub via: BTreeMap<Arc<str>, String>,
    /// Modules that were taken out, and by what.
    pub excluded: BTreeMap<Arc<str>, String>,
    /// Findings.
    pub found: Vec<Diagnostic>,
}

/// The node entries of a file.
pub fn entries(db: &dyn Db, file: SourceFile) -> &[EntryAst] {
    match &ast(db, file).body {
        Body::Nodes(entries) => entries,
        _ => &[],
    }
}

/// The roles of the policy.
pub fn roles(db: &dyn Db, project: Project) -> (&[RoleAst], Option<SourceFile>) {
    let file = index(db, project).roles;
    match file.map(|f| &ast(db, f).body) {
        Some(Body::Roles(roles)) => (roles, file),
        _ => (&[], file),
    }
}

/// Where each role stands in the list of [`roles`]; of two with one name the first.
#[salsa::tracked(returns(ref))]
pub fn role_numbers(db: &dyn Db, project: Project) -> BTreeMap<Arc<str>, usize> {
    let mut out = BTreeMap::new();
    for (number, role) in roles(db, project).0.iter().enumerate() {
        out.entry(role.name.text.clone()).or_insert(number);
    }
    out
}

/// The `common.vgo` files that apply to a file, outer first.
pub fn commons<'db>(db: &'db dyn Db, project: Project, path: &str) -> Vec<(&'db Arc<str>, &'db LayerAst)> {
    let commons = &index(db, project).commons;
    ancestors(path)
        .into_iter()
        .filter_map(|dir| commons.get(dir))
        .filter_map(|file| match &ast(db, *file).body {
            Body::Common(layer) => Some((file.path(db), &**layer)),
            _ => None,
        })
        .collect()
}

/// The `environments.vgo` that apply to a file, outer first, each with the part for one environment.
pub fn environment_layers<'db>(
    db: &'db dyn Db,
    project: Project,
    path: &str,
    environment: &str,
) -> Vec<(&'db Arc<str>, &'db EnvironmentAst)> {
    let all = &index(db, project).environments;
    let mut out = Vec::new();
    for file in ancestors(path).into_iter().filter_map(|dir| all.get(dir)).flatten() {
        if let Body::Environments(list) = &ast(db, *file).body {
            out.extend(list.iter().filter(|e| &*e.name.text == environment).map(|e| (file.path(db), e)));
        }
    }
    out
}

/// Every environment that an `environments.vgo` or an `environment_overrides` declares.
#[salsa::tracked(returns(ref))]
pub fn declared_environments(db: &dyn Db, project: Project) -> BTreeSet<Arc<str>> {
    let index = index(db, project);
    let mut out = BTreeSet::new();
    for file in index.environments.values().flatten() {
        if let Body::Environments(list) = &ast(db, *file).body {
            out.extend(list.iter().map(|e| e.name.text.clone()));
        }
    }
    for file in &index.nodes {
        for entry in entries(db, *file) {
            out.extend(entry.overrides.iter().map(|(name, _)| name.text.clone()));
        }
    }
    out
}

/// Every environment that is declared, or that an entry has.
#[salsa::tracked(returns(ref))]
pub fn known_environments(db: &dyn Db, project: Project) -> BTreeSet<Arc<str>> {
    let mut out = declared_environments(db, project).clone();
    for file in &index(db, project).nodes {
        out.extend(entries(db, *file).iter().filter_map(|e| Some(e.environment.as_ref()?.text.clone())));
    }
    out
}

/// Every module that some layer assigns.
#[salsa::tracked(returns(ref))]
fn named_modules(db: &dyn Db, project: Project) -> BTreeSet<Arc<str>> {
    let index = index(db, project);
    let mut out = BTreeSet::new();
    let mut add = |layer: &LayerAst| out.extend(layer.modules.iter().map(|name| name.text.clone()));
    roles(db, project).0.iter().for_each(|role| add(&role.layer));
    for file in index.commons.values() {
        if let Body::Common(layer) = &ast(db, *file).body {
            add(layer);
        }
    }
    for file in index.environments.values().flatten() {
        if let Body::Environments(list) = &ast(db, *file).body {
            list.iter().for_each(|e| add(&e.layer));
        }
    }
    for file in &index.nodes {
        entries(db, *file).iter().for_each(|e| add(&e.layer));
    }
    out
}

/// All classes: every entry in its own environment.
pub fn classes(db: &dyn Db, project: Project) -> Vec<Class<'_>> {
    let mut out = Vec::new();
    for file in &index(db, project).nodes {
        for (at, entry) in entries(db, *file).iter().enumerate() {
            let environment = entry.environment.as_ref().map(|e| e.text.clone());
            out.push(Class::new(db, *file, at, environment, Vec::new()));
        }
    }
    out
}

/// The entry of a class.
pub fn entry<'db>(db: &'db dyn Db, class: Class<'db>) -> Option<&'db EntryAst> {
    entries(db, class.file(db)).get(class.entry(db))
}

/// Resolves a class but for its variables.
#[salsa::tracked(returns(ref))]
pub fn resolved_class<'db>(db: &'db dyn Db, project: Project, class: Class<'db>) -> ResolvedClass {
    let file = class.file(db);
    let path = file.path(db);
    let environment = class.environment(db).clone();
    let mut out = ResolvedClass {
        label: Arc::from(""),
        place: Place { file: path.clone(), span: grammar::Span::new(0, 0) },
        environment: environment.clone(),
        roles: Vec::new(),
        modules: Vec::new(),
        via: BTreeMap::new(),
        excluded: BTreeMap::new(),
        found: Vec::new(),
    };
    let Some(entry) = entry(db, class) else { return out };
    let patterns: Vec<&str> = entry.patterns.iter().map(|(n, _)| &*n.text).collect();
    out.label = match &environment {
        Some(e) => format!("{} ({e})", patterns.join(", ")).into(),
        None => patterns.join(", ").into(),
    };
    out.place.span = entry.patterns.first().map_or(entry.span, |(name, _)| name.span);

    let mut build = Build { db, project, out, excludes: Vec::new(), roles_seen: HashSet::new() };
    let commons = commons(db, project, path);
    let overrides =
        environment.as_deref().map(|e| environment_layers(db, project, path, e)).unwrap_or_default();
    if let Some(name) = entry.environment.as_ref().filter(|n| Some(&n.text) == environment.as_ref())
        && !declared_environments(db, project).contains(&name.text)
    {
        let known = declared_environments(db, project);
        let help = suggest(&name.text, known.iter().map(|k| &**k))
            .unwrap_or_else(|| format!("declare it in environments.vgo: `env: {{ {}: {{}} }}`", name.text));
        let message = format!("nothing declares the environment `{}`", name.text);
        let finding = Diagnostic::new(&UNKNOWN_ENVIRONMENT, place(path, name), message)
            .label("not declared")
            .help(help);
        build.out.found.push(finding);
    }
    for (file, layer) in &commons {
        build.roles(&layer.roles, file);
    }
    build.roles(&entry.layer.roles, path);

    for (file, layer) in &commons {
        build.modules(&layer.modules, file, &format!("{file}"));
    }
    build.role_modules();
    build.modules(&entry.layer.modules, path, "node entry");
    for (file, e) in &overrides {
        build.modules(&e.layer.modules, file, &format!("environment {} in {file}", e.name.text));
    }
    for (file, layer) in &commons {
        build.exclude(&layer.exclude_modules, file, &format!("{file}"));
    }
    build.exclude(&entry.layer.exclude_modules, path, "node entry");
    for (file, e) in &overrides {
        let what = format!("environment {} in {file}", e.name.text);
        build.exclude(&e.layer.exclude_modules, file, &what);
    }
    build.finish();
    build.out
}

fn place(file: &Arc<str>, name: &Name) -> Place {
    Place { file: file.clone(), span: name.span }
}

struct Build<'db> {
    db: &'db dyn Db,
    project: Project,
    out: ResolvedClass,
    excludes: Vec<(Arc<str>, Place, String)>,
    roles_seen: HashSet<Arc<str>>,
}

impl<'db> Build<'db> {
    /// Adds roles: an included role comes before the one that includes it, each once. Without recursion, since the
    /// chain may be long.
    fn roles(&mut self, names: &'db [Name], file: &Arc<str>) {
        let (roles, roles_file) = roles(self.db, self.project);
        let numbers = role_numbers(self.db, self.project);
        let roles_path = roles_file.map_or(file, |f| f.path(self.db));
        // what is still to be looked at; `None` closes the role whose includes came before
        let mut open: Vec<(&Arc<str>, Option<&'db Name>, &'db Arc<str>)> = Vec::new();
        for name in names {
            open.push((file, Some(name), &name.text));
            while let Some((file, to_open, text)) = open.pop() {
                let Some(name) = to_open else {
                    self.out.roles.push(text.clone());
                    continue;
                };
                let Some(role) = numbers.get(text).and_then(|n| roles.get(*n)) else {
                    let help = suggest(text, numbers.keys().map(|r| &**r));
                    let message = format!("there is no role `{text}`");
                    let finding = Diagnostic::new(&UNKNOWN_ROLE, place(file, name), message)
                        .label("unknown role")
                        .maybe_help(help.or_else(|| Some("declare it in roles.vgo".into())));
                    self.out.found.push(finding);
                    continue;
                };
                // seen, or open: then it is a circle, which is reported where roles are checked
                if !self.roles_seen.insert(text.clone()) {
                    continue;
                }
                open.push((file, None, text));
                open.extend(role.includes.iter().rev().map(|name| (roles_path, Some(name), &name.text)));
            }
        }
    }

    fn role_modules(&mut self) {
        let (roles, file) = roles(self.db, self.project);
        let Some(file) = file else { return };
        let path = file.path(self.db);
        let numbers = role_numbers(self.db, self.project);
        for name in self.out.roles.clone() {
            if let Some(role) = numbers.get(&name).and_then(|n| roles.get(*n)) {
                self.modules(&role.layer.modules, path, &format!("role {name}"));
                self.exclude(&role.layer.exclude_modules, path, &format!("role {name}"));
            }
        }
    }

    /// The module that a name means. A name that there is not is reported, and means the nearest module that nothing
    /// names: what else is wrong in that one is then found at once.
    fn meant(&mut self, name: &Name, file: &Arc<str>) -> Option<Arc<str>> {
        let index = index(self.db, self.project);
        let modules = &index.modules;
        if modules.contains_key(&name.text) {
            return Some(name.text.clone());
        }
        if index.broken.contains(&name.text) {
            return None;
        }
        let message = format!("there is no module `{}`", name.text);
        let finding = Diagnostic::new(&UNKNOWN_MODULE, place(file, name), message)
            .label("unknown module")
            .maybe_help(suggest(&name.text, modules.keys().map(|k| &**k)));
        let finding = match nearest(&name.text, modules.keys().map(|k| &**k)) {
            Some(near) => finding.guess(name.span, near),
            None => finding,
        };
        self.out.found.push(finding);
        let named = named_modules(self.db, self.project);
        let lone = modules.keys().filter(|m| !named.contains(*m));
        nearest(&name.text, lone.map(|m| &**m)).map(Arc::from)
    }

    fn modules(&mut self, names: &[Name], file: &Arc<str>, via: &str) {
        for name in names {
            let Some(module) = self.meant(name, file) else { continue };
            if !self.out.modules.contains(&module) {
                self.out.modules.push(module.clone());
                self.out.via.insert(module, via.to_owned());
            }
        }
    }

    fn exclude(&mut self, names: &[Name], file: &Arc<str>, by: &str) {
        for name in names {
            if let Some(module) = self.meant(name, file) {
                self.excludes.push((module, place(file, name), by.to_owned()));
            }
        }
    }

    /// Exclusions are taken out last; then every assigned module has to have what it needs.
    fn finish(&mut self) {
        for (name, place, by) in std::mem::take(&mut self.excludes) {
            if !self.out.via.contains_key(&name) {
                let message = format!("module `{name}` is excluded, but it was not assigned");
                let finding = Diagnostic::new(&NOT_ASSIGNED, place, message).label("nothing to exclude");
                self.out.found.push(finding);
            }
            self.out.modules.retain(|m| *m != name);
            self.out.excluded.insert(name, by);
        }
        // a misspelt name may be the one that is missing
        if self.out.found.iter().any(|d| d.code == UNKNOWN_MODULE.slug || d.code == UNKNOWN_ROLE.slug) {
            return;
        }
        let index = index(self.db, self.project);
        let modules = modules(self.db, self.project, &self.out.modules);
        for Missing { module: name, file, number, needed } in missing(self.db, modules) {
            if index.broken.contains(needed) {
                continue;
            }
            let span = super::interface::module(self.db, *file)
                .and_then(|m| m.depends_on.get(*number))
                .map_or(grammar::Span::new(0, 0), |n| n.span);
            let at = Place { file: file.path(self.db).clone(), span };
            let finding = if index.modules.contains_key(needed) {
                let why = match self.out.excluded.get(needed) {
                    Some(by) => format!("; {by} excludes it"),
                    None => String::new(),
                };
                let help = match self.out.excluded.contains_key(needed) {
                    true => format!("take `{needed}` out of `exclude_modules:`, or exclude `{name}` too"),
                    false => format!("add `{needed}` to the modules of a role or of the entry"),
                };
                let message = format!("module `{name}` needs `{needed}`, which is not assigned{why}");
                Diagnostic::new(&MISSING_DEPENDENCY, at, message).label("not assigned").help(help)
            } else {
                Diagnostic::new(&UNKNOWN_MODULE, at, format!("there is no module `{needed}`"))
                    .label("unknown module")
                    .maybe_help(suggest(needed, index.modules.keys().map(|k| &**k)))
            };
            self.out.found.push(finding);
        }
    }
}
