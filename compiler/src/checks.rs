//! Everything that can be known without a host: all files, all classes.

use crate::db::{Content, Db, Project, SourceFile};
use crate::diagnostic::codes::{
    DUPLICATE_MODULE, DUPLICATE_ROLE, ROLE_CYCLE, SHADOWED_ENTRY, TWO_SPELLINGS, UNKNOWN_MODULE,
    UNKNOWN_ROLE, UNUSED_MODULE, UNUSED_ROLE, UNUSED_VARIABLE,
};
use crate::diagnostic::nearest::{did_you_mean, suggest};
use crate::diagnostic::{Diagnostic, Place, Severity, merged};
use crate::edits::removal::TAKE_OUT;
use crate::expr::VarType;
use crate::resolve::Class;
use crate::resolve::class::{self, classes, resolved_class, roles};
use crate::resolve::coverage::Earlier;
use crate::resolve::index::{index, templates};
use crate::resolve::interface::{default_findings, interface, module, reads};
use crate::resolve::vars::{TraitFacts, all_variables, class_vars, module_variable};
use crate::specialise::TypesKey;
use crate::specialise::assemble::vars_hash;
use crate::specialise::instances::{FactsKey, encoded};
use crate::specialise::link::links;
use crate::specialise::order::{drawn, order, steps};
use crate::specialise::outline::{module_findings, outline};
use crate::specialise::parts::{PartsKey, facts, parts};
use crate::specialise::typed::{Depth, template_findings};
use crate::syntax::{Kind, ast, unusable};
use grammar::Span;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// So many small variables are never too large together.
const FEW_VARIABLES: usize = 1000;

/// The findings of a class, each with the class's label.
#[salsa::tracked(returns(ref))]
pub fn class_findings<'db>(
    db: &'db dyn Db,
    project: Project,
    class: Class<'db>,
    traits: TraitFacts<'db>,
) -> Vec<Diagnostic> {
    let resolved = resolved_class(db, project, class);
    let vars = class_vars(db, project, class, traits);
    let mut out: Vec<Diagnostic> = resolved.found.iter().chain(&vars.found).cloned().collect();
    let parts = parts(db, project, class, traits);
    let (found, heavy) = parts_findings(db, project, parts);
    out.extend(found.iter().cloned());
    for part in heavy.iter().filter_map(|at| parts.parts(db).get(*at)) {
        let facts = facts(db, project, class, traits, (part.file, part.types));
        let alone = encoded(db, project, part.file, part.types, facts);
        out.extend(alone.bytes.as_ref().err().map(|d| (**d).clone()));
    }
    // few and small variables fit
    if vars.by_name.len() > FEW_VARIABLES || vars.by_name.values().any(|v| !v.small) {
        out.extend(vars_hash(db, project, class, traits).err().map(|d| *d));
    }
    out.extend(links(db, project, parts).found.iter().cloned());
    // what stands in the entry itself needs no word on where it was found
    let own = class::entry(db, class).map(|e| e.span);
    let file = class.file(db).path(db);
    let inside = |d: &Diagnostic| {
        d.place.file == *file
            && own.is_some_and(|s| s.start <= d.place.span.start && d.place.span.end <= s.end)
    };
    for d in out.iter_mut().filter(|d| !inside(d)) {
        d.classes = vec![resolved.label.clone()];
    }
    out
}

/// The findings of the modules of a class, and the places of those that may be too large to be shipped.
#[salsa::tracked(returns(ref))]
fn parts_findings<'db>(
    db: &'db dyn Db,
    project: Project,
    parts: PartsKey<'db>,
) -> (Vec<Diagnostic>, Vec<usize>) {
    let (mut out, mut heavy) = (Vec::new(), Vec::new());
    for (at, part) in parts.parts(db).iter().enumerate() {
        let found = module_findings(db, project, part.file, part.types, part.facts, part.depth);
        out.extend(found.iter().cloned());
        if outline(db, project, part.file, part.types, part.facts, part.depth).heavy {
            heavy.push(at);
        }
    }
    (out, heavy)
}

/// All findings of the policy, merged and sorted.
pub fn check(db: &dyn Db, project: Project) -> Vec<Diagnostic> {
    let mut out = file_findings(db, project);
    let none = TraitFacts::new(db, Vec::new());
    let all = classes(db, project);
    for class in &all {
        out.extend(class_findings(db, project, *class, none).iter().cloned());
    }
    for found in [lone_modules(db, project), shadowed(db, project), &role_findings(db, project)] {
        out.extend(found.iter().cloned());
    }
    // what a mistake cuts off is not unused
    if out.iter().all(|d| d.severity != Severity::Error) {
        out.extend(unused(db, project).iter().cloned());
    }
    let mut out = merged(out);
    if out.iter().all(|d| d.classes.is_empty()) {
        return out;
    }
    let files: Vec<Arc<str>> =
        out.iter().filter(|d| !d.classes.is_empty()).map(|d| d.place.file.clone()).collect();
    let concerned = concerned(db, project, &all, &files.iter().map(|path| &**path).collect());
    for d in &mut out {
        // what holds for every class, or for every class that has the module, holds as such
        let every = concerned.get(&*d.place.file).copied().unwrap_or(all.len());
        if d.classes.len() == every || d.classes.len() == all.len() {
            d.classes.clear();
        }
    }
    out
}

/// How many classes could have a finding in each of some files: of a module those that get it, of a template those of its
/// modules, of a file with a single node entry that one.
fn concerned<'a>(
    db: &dyn Db,
    project: Project,
    all: &[Class<'_>],
    files: &BTreeSet<&'a str>,
) -> BTreeMap<&'a str, usize> {
    // the classes are many, and have many modules each: the few files are looked for once
    let mut of_module: HashMap<&str, Vec<&'a str>> = HashMap::new();
    let any_template = files.iter().any(|path| Kind::of(path) == Kind::Template);
    for (name, file) in &index(db, project).modules {
        let mut found: Vec<&str> = files.get(&**file.path(db)).copied().into_iter().collect();
        if any_template {
            let rendered = reads(db, project, *file).templates.iter();
            let paths = rendered.filter_map(|t| Some(templates(db, project).get(t)?.path(db)));
            found.extend(paths.filter_map(|path| files.get(&**path)));
        }
        if !found.is_empty() {
            of_module.insert(name, found);
        }
    }
    let mut out: BTreeMap<&str, usize> = BTreeMap::new();
    for class in all {
        let own = files.get(&**class.file(db).path(db)).copied();
        let modules = resolved_class(db, project, *class).modules.iter();
        let of_modules = modules.filter_map(|name| of_module.get(&**name)).flatten().copied();
        let each: BTreeSet<&str> = own.into_iter().chain(of_modules).collect();
        for file in each {
            *out.entry(file).or_default() += 1;
        }
    }
    out
}

/// Files below `templates/` that no module renders and some module ships: braces mean nothing in them.
pub fn shipped_as_they_are(db: &dyn Db, project: Project) -> HashSet<SourceFile> {
    let mut out: HashSet<SourceFile> = HashSet::new();
    let mut rendered: HashSet<SourceFile> = HashSet::new();
    let index = index(db, project);
    for file in &index.module_files {
        let reads = reads(db, project, *file);
        let templates = templates(db, project);
        out.extend(reads.files.iter().filter_map(|t| templates.get(t)));
        rendered.extend(reads.templates.iter().filter_map(|t| templates.get(t)));
    }
    out.retain(|file| !rendered.contains(file));
    out
}

/// Findings of single files.
fn file_findings(db: &dyn Db, project: Project) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    let mut names: BTreeMap<&str, Place> = BTreeMap::new();
    let as_they_are = shipped_as_they_are(db, project);
    let index = index(db, project);
    for file in project.files(db).iter().copied() {
        let path = file.path(db);
        match Kind::of(path) {
            Kind::Template => {
                if !as_they_are.contains(&file) {
                    out.extend(template_findings(db, file).iter().chain(&ast(db, file).found).cloned());
                } else if !matches!(file.content(db), Content::Text(_) | Content::Bytes(_)) {
                    out.push(unusable(&crate::diagnostic::Sink::new(path.clone()), file.content(db)));
                }
            }
            _ => out.extend(ast(db, file).found.iter().cloned()),
        }
        let Some(module) = module(db, file) else { continue };
        out.extend(default_findings(db, file).iter().cloned());
        let place = Place { file: path.clone(), span: module.name.span };
        match names.get(&*module.name.text) {
            Some(first) => out.push(duplicate_module(&module.name.text, first.clone(), place)),
            None => drop(names.insert(&module.name.text, place)),
        }
    }
    for files in index.environments.values().filter(|f| f.len() > 1) {
        let Some(file) = files.last() else { continue };
        let place = Place { file: file.path(db).clone(), span: Span::new(0, 0) };
        out.push(
            Diagnostic::new(
                &TWO_SPELLINGS,
                place,
                "a directory holds environments.vgo and per_env_overrides.vgo",
            )
            .help("merge the two into environments.vgo"),
        );
    }
    out
}

/// Duplicates, unknown names and circles in `roles.vgo`, for roles that no entry has too.
pub(crate) fn role_findings(db: &dyn Db, project: Project) -> Vec<Diagnostic> {
    let (all, Some(file)) = roles(db, project) else { return Vec::new() };
    let path = file.path(db);
    let index = index(db, project);
    let modules = &index.modules;
    let at = |span| Place { file: path.clone(), span };
    let mut out = Vec::new();
    let mut number: HashMap<&Arc<str>, usize> = HashMap::new();
    for (n, role) in all.iter().enumerate() {
        let first = *number.entry(&role.name.text).or_insert(n);
        if first != n {
            let first = &all[first];
            out.push(
                Diagnostic::new(
                    &DUPLICATE_ROLE,
                    at(role.name.span),
                    format!("there is a role `{}` already", role.name.text),
                )
                .label("declared again")
                .also(at(first.name.span), "first declared here"),
            );
        }
    }
    for role in all {
        for name in role.includes.iter().filter(|name| !number.contains_key(&name.text)) {
            out.push(
                Diagnostic::new(&UNKNOWN_ROLE, at(name.span), format!("there is no role `{}`", name.text))
                    .label("unknown role")
                    .maybe_help(suggest(&name.text, all.iter().map(|r| &*r.name.text))),
            );
        }
        let listed = role.layer.modules.iter().chain(&role.layer.exclude_modules);
        for name in listed.filter(|n| !modules.contains_key(&n.text) && !index.broken.contains(&n.text)) {
            let mut finding = Diagnostic::new(
                &UNKNOWN_MODULE,
                at(name.span),
                format!("there is no module `{}`", name.text),
            )
            .label("unknown module")
            .maybe_help(suggest(&name.text, modules.keys().map(|k| &**k)));
            if let Some(near) = crate::diagnostic::nearest::nearest(&name.text, modules.keys().map(|k| &**k))
            {
                finding = finding.guess(name.span, near);
            }
            out.push(finding);
        }
    }
    let mut includes: HashMap<(usize, usize), Span> = HashMap::new();
    for (n, role) in all.iter().enumerate() {
        for include in &role.includes {
            if let Some(included) = number.get(&include.text) {
                includes.entry((*included, n)).or_insert(include.span);
            }
        }
    }
    let mut edges: Vec<(usize, usize)> = includes.keys().copied().collect();
    edges.sort_unstable();
    for circle in order(all.len(), &edges).err().into_iter().flatten() {
        let name = |n: usize| format!("`{}`", all[n].name.text);
        let message = match circle[..] {
            [one] => format!("role {} includes itself", name(one)),
            _ => format!("roles include each other: {}", drawn(&circle, name)),
        };
        // edges run from the included role to the including one; people read them the other way round
        let mut steps = steps(&circle).filter_map(|(included, including)| {
            let span = includes.get(&(included, including))?;
            Some((at(*span), format!("{} includes {}", name(including), name(included))))
        });
        if let Some((place, text)) = steps.next() {
            let help = if circle.len() == 1 { "take it out" } else { "take one of these includes out" };
            let mut finding = Diagnostic::new(&ROLE_CYCLE, place, message).label(text).help(help);
            for (place, text) in steps {
                finding = finding.also(place, text);
            }
            out.push(finding);
        }
    }
    out
}

/// Two files declare one module.
pub fn duplicate_module(name: &str, first: Place, second: Place) -> Diagnostic {
    Diagnostic::new(&DUPLICATE_MODULE, second, format!("there is a module `{name}` already"))
        .label("declared again")
        .also(first, "first declared here")
        .help("give one of the two another name")
}

/// A module that no entry gets is checked all the same.
#[salsa::tracked(returns(ref))]
fn lone_modules(db: &dyn Db, project: Project) -> Vec<Diagnostic> {
    let used: BTreeSet<&Arc<str>> =
        classes(db, project).iter().flat_map(|class| &resolved_class(db, project, *class).modules).collect();
    let modules = &index(db, project).modules;
    modules
        .iter()
        .filter(|(name, _)| !used.contains(name))
        .flat_map(|(_, f)| lone_module(db, project, *f))
        .collect()
}

/// Modules, roles and variables that nothing uses.
#[salsa::tracked(returns(ref))]
fn unused(db: &dyn Db, project: Project) -> Vec<Diagnostic> {
    let all = &classes(db, project);
    let mut out = Vec::new();
    let index = index(db, project);
    let mut used_modules: BTreeSet<&str> = BTreeSet::new();
    let mut used_roles: BTreeSet<&str> = BTreeSet::new();
    for class in all {
        let resolved = resolved_class(db, project, *class);
        used_modules.extend(resolved.via.keys().map(|m| &**m));
        used_roles.extend(resolved.roles.iter().map(|r| &**r));
    }
    for (name, file) in &index.modules {
        if used_modules.contains(&**name) {
            continue;
        }
        if let Some(module) = module(db, *file) {
            let place = Place { file: file.path(db).clone(), span: module.name.span };
            out.push(
                Diagnostic::new(&UNUSED_MODULE, place, format!("no node entry gets module `{name}`"))
                    .label("unused")
                    .help("add it to a role or an entry, or take the file out"),
            );
        }
    }
    let (roles, file) = roles(db, project);
    if let Some(file) = file {
        let included: BTreeSet<&str> = roles.iter().flat_map(|r| &r.includes).map(|n| &*n.text).collect();
        for role in
            roles.iter().filter(|r| !used_roles.contains(&*r.name.text) && !included.contains(&*r.name.text))
        {
            let place = Place { file: file.path(db).clone(), span: role.span() };
            out.push(
                Diagnostic::new(&UNUSED_ROLE, place, format!("nothing names the role `{}`", role.name.text))
                    .label("unused")
                    .help("add it to the `roles:` of an entry, or take it out"),
            );
        }
    }
    out.extend(unused_variables(db, project, all));
    out
}

/// A module that no class has, checked with its own variables and with those that classes set.
fn lone_module(db: &dyn Db, project: Project, file: SourceFile) -> Vec<Diagnostic> {
    let mut types: BTreeMap<Arc<str>, VarType> =
        all_variables(db, project).iter().map(|(n, t)| (n.clone(), VarType::Set(t.clone()))).collect();
    for declared in interface(db, file).into_iter().flat_map(|i| &i.variables) {
        types.insert(declared.name.clone(), VarType::Set(declared.ty.clone()));
    }
    let types = TypesKey::new(db, types);
    let vars = reads(db, project, file).vars.iter().map(|v| (v.clone(), None)).collect();
    let facts = crate::specialise::instances::ModuleFacts {
        vars,
        traits: Vec::new(),
        environment: None,
        roles: Vec::new(),
        modules: Vec::new(),
    };
    module_findings(db, project, file, types, FactsKey::new(db, facts), Depth::Full).clone()
}

fn unused_variables(db: &dyn Db, project: Project, all: &[Class<'_>]) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    let index = index(db, project);
    let mut read: BTreeSet<&str> = BTreeSet::new();
    for file in &index.module_files {
        read.extend(reads(db, project, *file).vars.iter().map(|v| &**v));
    }
    let conditions = conditional_reads(db, project);
    read.extend(conditions.iter().map(|v| &**v));
    let mut said: BTreeSet<(&Arc<str>, Option<Span>)> = BTreeSet::new();
    for file in &index.module_files {
        for declared in interface(db, *file).into_iter().flat_map(|i| &i.variables) {
            if read.contains(&*declared.name) {
                continue;
            }
            if let Some(place) = module_variable(db, *file, &declared.name) {
                let what = if declared.parameter { "parameter" } else { "variable" };
                out.push(
                    Diagnostic::new(
                        &UNUSED_VARIABLE,
                        place,
                        format!("nothing reads the {what} `{}`", declared.name),
                    )
                    .label("unused")
                    .help(TAKE_OUT),
                );
            }
        }
    }
    let none = TraitFacts::new(db, Vec::new());
    for class in all {
        for (name, variable) in &class_vars(db, project, *class, none).by_name {
            if variable.declared.is_some() || read.contains(&**name) {
                continue;
            }
            let Some(step) = variable.steps.first() else { continue };
            let (Some(span), true) = (step.span, said.insert((&step.file, step.span))) else { continue };
            let place = Place { file: step.file.clone(), span };
            out.push(
                Diagnostic::new(&UNUSED_VARIABLE, place, format!("nothing reads the variable `{name}`"))
                    .label("unused")
                    .help(TAKE_OUT)
                    .maybe_help(did_you_mean(name, read.iter().copied())),
            );
        }
    }
    out
}

/// Variables that conditions of `conditional_vars` read.
#[salsa::tracked(returns(ref))]
pub fn conditional_reads(db: &dyn Db, project: Project) -> BTreeSet<Arc<str>> {
    let mut out = BTreeSet::new();
    for file in &index(db, project).nodes {
        for entry in class::entries(db, *file) {
            for (condition, _) in &entry.conditional {
                crate::resolve::interface::condition_vars(&condition.expr, &mut out);
            }
        }
    }
    out
}

/// Entries that earlier ones cover.
#[salsa::tracked(returns(ref))]
fn shadowed(db: &dyn Db, project: Project) -> Vec<Diagnostic> {
    let (mut places, mut earlier): (Vec<Place>, Earlier<'_>) = (Vec::new(), Earlier::default());
    let mut out = Vec::new();
    for file in &index(db, project).nodes {
        for entry in class::entries(db, *file) {
            let covering: Option<BTreeSet<usize>> =
                entry.patterns.iter().try_fold(BTreeSet::new(), |mut all, (_, glob)| {
                    all.extend(earlier.covering(glob)?);
                    Some(all)
                });
            if let (Some((name, _)), Some(covering)) = (entry.patterns.first(), covering) {
                let place = Place { file: file.path(db).clone(), span: name.span };
                let mut finding = Diagnostic::new(
                    &SHADOWED_ENTRY,
                    place,
                    "no host reaches this entry: earlier ones match first",
                )
                .label("never reached")
                .help("the first match wins; move this entry up");
                for number in covering {
                    finding = finding.also(places[number].clone(), "matches first");
                }
                out.push(finding);
            }
            for (name, glob) in &entry.patterns {
                places.push(Place { file: file.path(db).clone(), span: name.span });
                earlier.push(glob);
            }
        }
    }
    out
}
