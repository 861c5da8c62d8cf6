//! A module with its expressions lowered and checked against the types of the variables of a class.
#![allow(missing_docs, reason = "salsa generates constructors and getters without docs")]

mod attributes;
mod choice;
mod reads;
mod total;

pub use reads::{Depth, Group, Reads};
pub use total::{MOST_TEXT, are_few, is_small};

use crate::db::{Content, Db, Project, SourceFile};
use crate::diagnostic::codes::{UNKNOWN_KEY, UNKNOWN_RESOURCE_TYPE, WRONG_KIND};
use crate::diagnostic::nearest::{nearest, suggest};
use crate::diagnostic::{Diagnostic, Sink};
use crate::expr::attribute::Shape;
use crate::expr::{Lowered, Scope, VarTypes, when};
use crate::kept::kept;
use crate::resolve::interface::module;
use crate::resolve::names::unknown_names;
use crate::resolve::vars::shared_traits;
use crate::schema::{ResourceType, Stage, schema};
use crate::syntax::{AttributeAst, ModuleAst, Name, ResourceAst};
use crate::types::Type;
use grammar::Span;
use ir::{Builtin, Expr, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Types of the variables a module reads; classes that agree on them share the result.
#[salsa::interned(debug)]
pub struct TypesKey<'db> {
    /// By name.
    #[returns(ref)]
    pub types: VarTypes,
}

/// A module, typed.
#[derive(Debug)]
pub struct TypedModule {
    /// Its name.
    pub name: Arc<str>,
    /// Its own condition.
    pub when: Option<Lowered>,
    /// In source order.
    pub resources: Vec<TypedResource>,
    /// The resources by what a check of them looks at.
    pub outline: Vec<Group>,
    /// The resources by what they look at.
    pub full: Vec<Group>,
    /// Variables whose values make no difference to a check, as long as they are small.
    pub small: BTreeSet<Arc<str>>,
    /// Shared traits it looks at.
    pub footprint: BTreeSet<Arc<str>>,
    /// Findings.
    pub found: Vec<Diagnostic>,
}

/// A resource, typed.
#[derive(Debug)]
pub struct TypedResource {
    /// Its `type:` for findings about it as a whole.
    pub span: Span,
    /// Its name.
    pub name: NameForm,
    /// Its type.
    pub kind: &'static ResourceType,
    /// Its condition.
    pub when: Option<Box<Lowered>>,
    /// The list it is repeated over.
    pub foreach: Option<Box<Lowered>>,
    /// What `match` looks at.
    pub case: Option<Box<Lowered>>,
    /// Attributes by value of the case.
    pub branches: Vec<(Name, Vec<TypedAttribute>)>,
    /// Attributes, defaults of the module included.
    pub attributes: Vec<TypedAttribute>,
    /// References as written.
    pub edges: Vec<Reference>,
}

impl TypedResource {
    /// Whether it takes something away, whatever its case.
    pub fn is_absent(&self) -> bool {
        self.attributes.iter().filter(|a| &*a.name.text == "state").any(|a| match &a.shape {
            Shape::Leaf(l) => matches!(&l.expr, Expr::Const(Value::Str(state)) if &**state == "absent"),
            Shape::List(_) | Shape::Map(_) => false,
        })
    }
}

/// How a resource is named.
#[derive(Debug)]
pub enum NameForm {
    /// As written.
    Literal(Name),
    /// By a template.
    Template(Box<Lowered>),
    /// `<type>:<key>`
    Key,
}

/// A reference to other resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Which key it stands under.
    pub kind: EdgeKind,
    /// As written.
    pub to: Name,
}

/// The keys that order resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EdgeKind {
    /// The other comes first.
    DependsOn,
    /// The other comes later.
    Before,
    /// The other is told, and comes later.
    Notify,
    /// The other tells, and comes first.
    Subscribes,
}

impl EdgeKind {
    /// As written.
    pub fn key(self) -> &'static str {
        match self {
            EdgeKind::DependsOn => "depends_on",
            EdgeKind::Before => "before",
            EdgeKind::Notify => "notify",
            EdgeKind::Subscribes => "subscribes",
        }
    }
}

/// An attribute, typed.
#[derive(Debug)]
pub struct TypedAttribute {
    /// Its name.
    pub name: Name,
    /// The file its spans are in: the module, or a template.
    pub file: Arc<str>,
    /// Its value.
    pub shape: Shape,
    /// The type that the value has to have.
    pub ty: &'static Type,
    /// It has a value whatever its variables are; not evaluated by a check.
    pub total: bool,
}

/// What of the world a typed module looks at; no positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// What a check looks at.
    pub outline: Reads,
    /// As in [`TypedModule`].
    pub small: BTreeSet<Arc<str>>,
    /// As in [`TypedModule`].
    pub footprint: BTreeSet<Arc<str>>,
}

/// Types a module file for some variables.
#[salsa::tracked(returns(ref), no_eq)]
pub fn typed<'db>(
    db: &'db dyn Db,
    project: Project,
    file: SourceFile,
    types: TypesKey<'db>,
) -> Option<TypedModule> {
    let module = module(db, file)?;
    let mut typing = Typing {
        db,
        project,
        module,
        vars: types.types(db),
        sink: Sink::new(file.path(db).clone()),
        footprint: BTreeSet::new(),
    };
    let when = module.when.as_ref().map(|w| {
        let scope = typing.scope(None, Stage::Converge, "a condition", false);
        let lowered = when::lower(w, &scope, &mut typing.sink);
        unknown_names(db, project, &lowered, &mut typing.sink);
        shared_traits(&lowered.expr, &mut typing.footprint);
        lowered
    });
    let mut resources = kept(module.resources.iter().filter_map(|r| typing.resource(r)));
    typing.defaults(&resources);
    let small = total::mark(&mut resources, typing.vars);
    Some(TypedModule {
        name: module.name.text.clone(),
        when,
        outline: reads::groups(&resources, Depth::Outline),
        full: reads::groups(&resources, Depth::Full),
        small,
        resources,
        footprint: typing.footprint,
        found: typing.sink.found,
    })
}

impl TypedModule {
    /// Its resources in groups.
    pub fn groups(&self, depth: Depth) -> &[Group] {
        match depth {
            Depth::Outline => &self.outline,
            Depth::Full => &self.full,
        }
    }
}

/// What a module looks at. An edit that leaves it as it was stops here.
#[salsa::tracked(returns(ref))]
pub fn needs<'db>(db: &'db dyn Db, project: Project, file: SourceFile, types: TypesKey<'db>) -> Needs {
    let Some(module) = typed(db, project, file, types) else { return Needs::default() };
    let mut outline = Reads::default();
    module.outline.iter().for_each(|g| outline.merge(&g.reads));
    if let Some(when) = &module.when {
        outline.expr(&when.expr);
    }
    Needs { outline, small: module.small.clone(), footprint: module.footprint.clone() }
}

/// Findings of a template file by itself.
#[salsa::tracked(returns(ref))]
pub fn template_findings(db: &dyn Db, file: SourceFile) -> Vec<Diagnostic> {
    match file.content(db) {
        Content::Text(text) if text.contains("{{") => {
            let path = file.path(db);
            let errors = grammar::template::parse(text).1;
            errors.into_iter().map(|e| Diagnostic::from_syntax(path, e, &|s| s)).collect()
        }
        _ => Vec::new(),
    }
}

struct Typing<'db> {
    db: &'db dyn Db,
    project: Project,
    module: &'db ModuleAst,
    vars: &'db VarTypes,
    sink: Sink,
    footprint: BTreeSet<Arc<str>>,
}

impl<'db> Typing<'db> {
    fn scope<'a>(&self, item: Option<&'a Type>, stage: Stage, place: &'static str, changed: bool) -> Scope<'a>
    where
        'db: 'a,
    {
        Scope { vars: self.vars, module: Some(&self.module.name.text), item, stage, place, changed }
    }

    fn resource(&mut self, r: &ResourceAst) -> Option<TypedResource> {
        let kind = r.kind.as_ref()?;
        let Some(ty) = schema().types.get(&kind.text) else {
            let known = schema().types.keys().map(|k| &**k);
            let mut finding = self
                .sink
                .say(&UNKNOWN_RESOURCE_TYPE, kind.span, format!("there is no resource type `{}`", kind.text))
                .label("unknown type")
                .maybe_help(suggest(&kind.text, known.clone()));
            if let Some(near) = nearest(&kind.text, known) {
                finding = finding.guess(kind.span, near);
            }
            self.sink.push(finding);
            return None;
        };
        let (foreach, item) = match &r.foreach {
            Some(list) => {
                let (lowered, item) = self.foreach(list)?;
                (Some(Box::new(lowered)), Some(item))
            }
            None => (None, None),
        };
        let item = item.as_ref();
        let when = r.when.as_ref().map(|w| {
            let scope = self.scope(item, Stage::Converge, "a condition", true);
            let lowered = when::lower(w, &scope, &mut self.sink);
            unknown_names(self.db, self.project, &lowered, &mut self.sink);
            Box::new(lowered)
        });
        let case = self.case(r, item).map(Box::new);
        let mut attributes = Vec::new();
        let written = self.attributes(&r.attributes, ty, item);
        for default in &self.module.defaults {
            let given = |all: &[AttributeAst]| all.iter().any(|a| a.name.text == default.name.text);
            let by_source =
                &*default.name.text == "content" && r.attributes.iter().any(|a| &*a.name.text == "source");
            if ty.attributes.contains_key(&default.name.text) && !given(&r.attributes) && !by_source {
                attributes.extend(self.attribute(default, ty, item));
            }
        }
        attributes.extend(written);
        attributes.shrink_to_fit();
        let branches =
            kept(r.branches.iter().map(|(label, a)| (label.clone(), self.attributes(a, ty, item))));
        self.completeness(r, kind, ty, &attributes, &branches, when.as_deref());
        let name = self.name(r, ty, item, &attributes);
        for lowered in [&when, &case, &foreach].into_iter().flatten() {
            shared_traits(&lowered.expr, &mut self.footprint);
        }
        let all = attributes.iter().chain(branches.iter().flat_map(|(_, a)| a));
        for attribute in all {
            attribute.shape.leaves(&mut |l| shared_traits(&l.expr, &mut self.footprint));
        }
        Some(TypedResource {
            span: kind.span,
            name: name?,
            kind: ty,
            when,
            foreach,
            case,
            branches,
            attributes,
            edges: self.references(r),
        })
    }

    fn references(&mut self, r: &ResourceAst) -> Vec<Reference> {
        let all = [
            (EdgeKind::DependsOn, &r.depends_on),
            (EdgeKind::Before, &r.before),
            (EdgeKind::Notify, &r.notify),
            (EdgeKind::Subscribes, &r.subscribes),
        ];
        let mut out = Vec::new();
        for (kind, to) in all.into_iter().flat_map(|(kind, names)| names.iter().map(move |to| (kind, to))) {
            if to.text.contains("{{") {
                let finding = self
                    .sink
                    .say(&WRONG_KIND, to.span, format!("`{}:` takes no template", kind.key()))
                    .label("not a name")
                    .help("name the resource as it is called in the end, or all of them: `user-*`");
                self.sink.push(finding);
            } else {
                out.push(Reference { kind, to: to.clone() });
            }
        }
        out.shrink_to_fit();
        out
    }

    /// Defaults of the module that no resource of it can take.
    fn defaults(&mut self, resources: &[TypedResource]) {
        for default in &self.module.defaults {
            let taken = resources.iter().any(|r| r.kind.attributes.contains_key(&default.name.text));
            let broken = self.module.resources.len() != resources.len();
            if !taken && !broken {
                let known: BTreeMap<&str, ()> =
                    schema().types.values().flat_map(|t| t.attributes.keys()).map(|k| (&**k, ())).collect();
                let message = format!("no resource of this module has an attribute `{}`", default.name.text);
                let finding =
                    self.sink.say(&UNKNOWN_KEY, default.name.span, message).label("no effect").maybe_help(
                        crate::diagnostic::nearest::did_you_mean(&default.name.text, known.into_keys()),
                    );
                self.sink.push(finding);
            }
        }
    }
}

/// Whether a condition asks `changed`, or might have before it was reported.
pub fn tied(when: &Lowered) -> bool {
    let mut tied = when.is_broken();
    when.expr.walk(&mut |e| tied |= matches!(e, Expr::Call(Builtin::Changed, _)));
    tied
}
