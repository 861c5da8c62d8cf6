//! A module with its expressions lowered and checked against the types of the variables of a class.
#![allow(missing_docs, reason = "salsa generates constructors and getters without docs")]

mod attributes;
mod reads;
mod total;

pub use reads::{Depth, Group, Reads};
pub use total::{MOST_TEXT, are_few, is_small};

use crate::db::{Content, Db, Project, SourceFile};
use crate::diagnostic::codes::{
    ITEM_NOT_NAMED, MISSING_KEY, SECRET_FLOW, TYPE_MISMATCH, UNCOVERED_CASE, UNKNOWN_KEY,
    UNKNOWN_RESOURCE_TYPE, WRONG_KIND,
};
use crate::diagnostic::nearest::{listed, nearest, suggest};
use crate::diagnostic::{Diagnostic, Sink};
use crate::expr::attribute::Shape;
use crate::expr::{Lowered, Scope, Spans, VarType, VarTypes, template, when};
use crate::resolve::interface::module;
use crate::resolve::names::unknown_names;
use crate::resolve::vars::shared_traits;
use crate::schema::{ResourceType, Stage, schema};
use crate::syntax::{AttributeAst, ModuleAst, Name, ResourceAst, Syn, SynKind};
use crate::types::{Refinement, Type};
use crate::values::{self, article};
use grammar::Span;
use ir::{Builtin, Expr, Root, Value};
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
    pub when: Option<Lowered>,
    /// The list it is repeated over.
    pub foreach: Option<Lowered>,
    /// What `match` looks at.
    pub case: Option<Lowered>,
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
    let mut resources: Vec<_> = module.resources.iter().filter_map(|r| typing.resource(r)).collect();
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
                (Some(lowered), Some(item))
            }
            None => (None, None),
        };
        let item = item.as_ref();
        let when = r.when.as_ref().map(|w| {
            let scope = self.scope(item, Stage::Converge, "a condition", true);
            let lowered = when::lower(w, &scope, &mut self.sink);
            unknown_names(self.db, self.project, &lowered, &mut self.sink);
            lowered
        });
        let case = self.case(r, item);
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
        let branches: Vec<_> =
            r.branches.iter().map(|(label, a)| (label.clone(), self.attributes(a, ty, item))).collect();
        self.completeness(r, kind, ty, &attributes, &branches, when.as_ref());
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

    fn foreach(&mut self, list: &Name) -> Option<(Lowered, Type)> {
        let mut steps = list.text.split('.');
        let first = steps.next().unwrap_or_default();
        let mut whole = first.to_owned();
        let mut ty = match self.vars.get(first) {
            Some(VarType::Set(ty) | VarType::Elsewhere(ty)) => ty.clone(),
            None => {
                let known = self.vars.keys().map(|k| &**k);
                let message = format!(
                    "`{first}` is not defined for any envoy that gets module `{}`",
                    self.module.name.text
                );
                let mut finding = self
                    .sink
                    .say(&crate::diagnostic::codes::UNKNOWN_VARIABLE, list.span, message)
                    .label("no layer sets this");
                finding = match nearest(first, known) {
                    Some(near) => finding.help(format!("did you mean `{near}`?")),
                    None => finding.help("`foreach:` names a list variable, without `.Vars`"),
                };
                self.sink.push(finding);
                return None;
            }
        };
        for step in steps {
            ty = match ty {
                Type::Record(mut fields) => match fields.remove(step) {
                    Some(ty) => ty,
                    None => {
                        values::unknown_field(&mut self.sink, list.span, &whole, step, &fields);
                        return None;
                    }
                },
                Type::Map(t) => *t,
                _ => Type::Any,
            };
            whole = format!("{whole}.{step}");
        }
        let element = match ty {
            Type::List(t) => *t,
            Type::Any => Type::Any,
            other => {
                let message = format!("`foreach:` wants a list, not {}", article(&other.to_string()));
                let finding = self.sink.say(&TYPE_MISMATCH, list.span, message).label(other.to_string());
                self.sink.push(finding);
                return None;
            }
        };
        let expr = Expr::Path(Root::Vars, list.text.split('.').map(Arc::from).collect());
        let lowered = Lowered {
            expr,
            spans: Spans::leaf(list.span),
            ty: Type::List(Box::new(element.clone())),
            secret: false,
            optional: false,
        };
        Some((lowered, element))
    }

    fn case(&mut self, r: &ResourceAst, item: Option<&Type>) -> Option<Lowered> {
        let syn = match (&r.case, r.match_span) {
            (Some(syn), Some(_)) => syn,
            (None, None) => return None,
            (Some(syn), None) => {
                let finding =
                    self.sink.say(&MISSING_KEY, syn.span, "a `case:` needs a `match:`").label("no `match:`");
                self.sink.push(finding);
                return None;
            }
            (None, Some(span)) => {
                let finding =
                    self.sink.say(&MISSING_KEY, span, "a `match:` needs a `case:`").label("no `case:`");
                self.sink.push(finding);
                return None;
            }
        };
        let scope = self.scope(item, Stage::Specialise, "the value of a `case:`", false);
        let text = syn.as_text()?;
        let to_file = |s| text.scalar.map.to_file(s);
        let lowered = match &text.template {
            Some(t) => template::lower_action(t, &to_file, &scope, &mut self.sink)
                .unwrap_or_else(|| template::lower(t, syn.span, &to_file, &scope, &mut self.sink)),
            None => {
                let finding = self
                    .sink
                    .say(&WRONG_KIND, syn.span, "a `case:` without an action is always the same")
                    .label("not a template")
                    .help("write, for example, \"{{ .Traits.os.family }}\"");
                self.sink.push(finding);
                return None;
            }
        };
        if lowered.secret {
            let finding = self
                .sink
                .say(&SECRET_FLOW, lowered.spans.span, "a `case:` cannot look at a secret")
                .label("a secret")
                .help("secrets may flow only into file content and attributes that are marked sensitive");
            self.sink.push(finding);
            return None;
        }
        let has_default = r.branches.iter().any(|(l, _)| &*l.text == "default");
        if let Type::Refined(Refinement::Enum(values)) = &lowered.ty {
            for (label, _) in r.branches.iter().filter(|(l, _)| &*l.text != "default") {
                if !values.contains(&label.text) {
                    let finding = self
                        .sink
                        .say(&UNCOVERED_CASE, label.span, format!("the case is never `{}`", label.text))
                        .label("never taken")
                        .maybe_help(suggest(&label.text, values.iter().map(|v| &**v)));
                    self.sink.push(finding);
                }
            }
            let missing: Vec<&str> = values
                .iter()
                .map(|v| &**v)
                .filter(|v| !r.branches.iter().any(|(l, _)| &*l.text == *v))
                .collect();
            if !has_default && !missing.is_empty() {
                let finding = self
                    .sink
                    .say(&UNCOVERED_CASE, syn.span, format!("no branch for {}", listed(missing)))
                    .label("not covered")
                    .help("add the missing branches, or a `default:`");
                self.sink.push(finding);
            }
        } else if !has_default {
            let finding = self
                .sink
                .say(&UNCOVERED_CASE, syn.span, "a case over free text needs a `default:` branch")
                .label(lowered.ty.to_string())
                .help("add `default: { ... }` under `match:`");
            self.sink.push(finding);
        }
        Some(lowered)
    }

    fn name(
        &mut self,
        r: &ResourceAst,
        ty: &ResourceType,
        item: Option<&Type>,
        attributes: &[TypedAttribute],
    ) -> Option<NameForm> {
        // what was reported might have mentioned it
        let mentions_item = |l: &Lowered| {
            let mut found = l.is_broken();
            l.expr.walk(&mut |e| found |= matches!(e, Expr::Path(Root::Item, _)));
            found
        };
        let (form, named, span) = match &r.name {
            None => {
                let key = attributes.iter().find(|a| a.name.text == ty.key);
                let mut named = key.is_none();
                if let Some(key) = key {
                    key.shape.leaves(&mut |l| named |= mentions_item(l));
                }
                (NameForm::Key, named, r.kind.as_ref().map_or(r.span, |k| k.span))
            }
            Some(Syn { kind: SynKind::Text(text), span }) => match &text.template {
                None => {
                    let name = Name { text: Arc::from(text.scalar.text.as_str()), span: *span };
                    if name.text.is_empty() || name.text.contains('*') {
                        let finding = self
                            .sink
                            .say(
                                &crate::diagnostic::codes::INVALID_NAME,
                                *span,
                                "this cannot be the name of a resource",
                            )
                            .label("not a name")
                            .help("a name is not empty and has no `*`");
                        self.sink.push(finding);
                        return None;
                    }
                    (NameForm::Literal(name), false, *span)
                }
                Some(t) => {
                    let to_file = |s| text.scalar.map.to_file(s);
                    let scope = self.scope(item, Stage::Specialise, "the name of a resource", false);
                    let lowered = template::lower(t, *span, &to_file, &scope, &mut self.sink);
                    if lowered.secret {
                        let finding = self
                            .sink
                            .say(&SECRET_FLOW, *span, "a secret cannot flow into a name")
                            .label("a secret flows in here");
                        self.sink.push(finding);
                    }
                    let named = mentions_item(&lowered);
                    (NameForm::Template(Box::new(lowered)), named, *span)
                }
            },
            Some(other) => {
                let finding = self
                    .sink
                    .say(
                        &WRONG_KIND,
                        other.span,
                        format!("the name of a resource is text, not {}", other.describe()),
                    )
                    .label(other.describe());
                self.sink.push(finding);
                return None;
            }
        };
        if item.is_some() && !named {
            let finding = self
                .sink
                .say(&ITEM_NOT_NAMED, span, "each instance of a foreach needs a name of its own")
                .label("the same for every item")
                .help("mention `.Item` in the name, such as \"user-{{ .Item.name }}\"");
            self.sink.push(finding);
        }
        Some(form)
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
