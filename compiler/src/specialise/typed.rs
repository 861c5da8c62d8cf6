//! A module with its expressions lowered and checked against the types of the variables of a class.
#![allow(missing_docs, reason = "salsa generates constructors and getters without docs")]

use crate::db::{Content, Db, Project, SourceFile};
use crate::diagnostic::codes::{
    DEPENDENT_ATTRIBUTE, EXCLUSIVE_ATTRIBUTES, ITEM_NOT_NAMED, MISSING_ATTRIBUTE, MISSING_KEY, TYPE_MISMATCH,
    UNCOVERED_CASE, UNGUARDED_EXEC, UNKNOWN_ATTRIBUTE, UNKNOWN_KEY, UNKNOWN_RESOURCE_TYPE, UNKNOWN_TEMPLATE,
    WRONG_KIND,
};
use crate::diagnostic::nearest::{listed, nearest, suggest};
use crate::diagnostic::{Diagnostic, Sink};
use crate::expr::attribute::{self, Shape};
use crate::expr::{Lowered, Scope, Spans, VarType, VarTypes, template, when};
use crate::resolve::index::index;
use crate::resolve::interface::module;
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
    /// The resources by what they look at.
    pub groups: Vec<Group>,
    /// Shared traits it looks at.
    pub footprint: BTreeSet<Arc<str>>,
    /// Findings.
    pub found: Vec<Diagnostic>,
}

/// Resources that look at the same facts.
#[derive(Debug)]
pub struct Group {
    /// What they look at.
    pub reads: Reads,
    /// Their numbers.
    pub resources: Vec<usize>,
}

/// What expressions look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// First names of variables.
    pub vars: BTreeSet<Arc<str>>,
    /// Shared traits.
    pub traits: BTreeSet<Arc<str>>,
    /// The environment.
    pub environment: bool,
    /// The roles.
    pub roles: bool,
    /// The module list.
    pub modules: bool,
}

impl Reads {
    fn of(r: &TypedResource) -> Reads {
        let mut out = Reads::default();
        if let NameForm::Template(name) = &r.name {
            out.expr(&name.expr);
        }
        for lowered in [&r.when, &r.foreach, &r.case].into_iter().flatten() {
            out.expr(&lowered.expr);
        }
        for attribute in r.attributes.iter().chain(r.branches.iter().flat_map(|(_, a)| a)) {
            attribute.shape.leaves(&mut |l| out.expr(&l.expr));
        }
        out
    }

    fn expr(&mut self, e: &Expr) {
        shared_traits(e, &mut self.traits);
        e.walk(&mut |e| match e {
            Expr::Path(Root::Vars, steps) => self.vars.extend(steps.first().cloned()),
            Expr::Path(Root::Envoy, steps) => match steps.first().map(|s| &**s) {
                Some("environment") => self.environment = true,
                Some("roles") => self.roles = true,
                _ => {}
            },
            Expr::Call(Builtin::EnvIs, _) => self.environment = true,
            Expr::Call(Builtin::HasRole, _) => self.roles = true,
            Expr::Call(Builtin::HasModule, _) => self.modules = true,
            _ => {}
        });
    }
}

fn groups(resources: &[TypedResource]) -> Vec<Group> {
    let mut out: Vec<Group> = Vec::new();
    for (number, resource) in resources.iter().enumerate() {
        let reads = Reads::of(resource);
        match out.iter_mut().find(|g| g.reads == reads) {
            Some(group) => group.resources.push(number),
            None => out.push(Group { reads, resources: vec![number] }),
        }
    }
    out
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
        shared_traits(&lowered.expr, &mut typing.footprint);
        lowered
    });
    let resources: Vec<_> = module.resources.iter().filter_map(|r| typing.resource(r)).collect();
    typing.defaults(&resources);
    Some(TypedModule {
        name: module.name.text.clone(),
        when,
        groups: groups(&resources),
        resources,
        footprint: typing.footprint,
        found: typing.sink.found,
    })
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
                finding = finding.fix(kind.span, near);
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
            when::lower(w, &scope, &mut self.sink)
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
            edges: references(r),
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

    fn attributes(
        &mut self,
        all: &[AttributeAst],
        ty: &'static ResourceType,
        item: Option<&Type>,
    ) -> Vec<TypedAttribute> {
        let mut out: Vec<TypedAttribute> = Vec::new();
        let has_source = ty.attributes.values().any(|a| a.source);
        for a in all {
            match &*a.name.text {
                "source" if has_source => out.extend(self.source(a, all, ty, item)),
                "template" if has_source => {
                    if !all.iter().any(|a| &*a.name.text == "source") {
                        let finding = self
                            .sink
                            .say(&DEPENDENT_ATTRIBUTE, a.name.span, "`template:` needs `source:`")
                            .label("nothing to render");
                        self.sink.push(finding);
                    }
                }
                _ => out.extend(self.attribute(a, ty, item)),
            }
        }
        out
    }

    fn attribute(
        &mut self,
        a: &AttributeAst,
        ty: &'static ResourceType,
        item: Option<&Type>,
    ) -> Option<TypedAttribute> {
        let Some(schema) = ty.attributes.get(&a.name.text) else {
            let known = ty.attributes.keys().map(|k| &**k);
            let language =
                ["when", "foreach", "case", "match", "depends_on", "before", "notify", "subscribes", "doc"];
            let message = format!("type `{}` has no attribute `{}`", ty.name, a.name.text);
            let finding = self.sink.say(&UNKNOWN_ATTRIBUTE, a.name.span, message).label("unknown attribute");
            let by_source: &[&str] = match ty.attributes.values().any(|a| a.source) {
                true => &["source", "template"],
                false => &[],
            };
            let known = known.chain(by_source.iter().copied());
            let finding = match nearest(&a.name.text, known.clone().chain(language)) {
                Some(near) => finding.help(format!("did you mean `{near}`?")).fix(a.name.span, near),
                None => finding.help(format!("`{}` has {}", ty.name, listed(known))),
            };
            self.sink.push(finding);
            return None;
        };
        let what = format!("`{}`", a.name.text);
        let scope = self.scope(item, Stage::Converge, "an attribute", false);
        let shape = attribute::lower(&a.value, &schema.ty, schema.sensitive, &what, &scope, &mut self.sink)?;
        let file = self.sink.file.clone();
        Some(TypedAttribute { name: a.name.clone(), file, shape, ty: &schema.ty })
    }

    /// `source:` becomes the attribute that it renders.
    fn source(
        &mut self,
        a: &AttributeAst,
        all: &[AttributeAst],
        ty: &'static ResourceType,
        item: Option<&Type>,
    ) -> Option<TypedAttribute> {
        let (target, schema) = ty.attributes.iter().find(|(_, s)| s.source)?;
        if let Some(both) = all.iter().find(|other| other.name.text == *target) {
            let finding = self
                .sink
                .say(
                    &EXCLUSIVE_ATTRIBUTES,
                    a.name.span,
                    format!("`source` and `{target}` exclude each other"),
                )
                .label("and this")
                .also(self.sink.at(both.name.span), "this")
                .help("keep one of them");
            self.sink.push(finding);
            return None;
        }
        let SynKind::Text(text) = &a.value.kind else {
            let finding = self
                .sink
                .say(&WRONG_KIND, a.value.span, "`source:` is the path of a file below templates/")
                .label(a.value.describe());
            self.sink.push(finding);
            return None;
        };
        let path = text.scalar.text.as_str();
        let templates = &index(self.db, self.project).templates;
        let Some(file) = templates.get(path) else {
            let finding = self
                .sink
                .say(&UNKNOWN_TEMPLATE, a.value.span, format!("there is no file `templates/{path}`"))
                .label("not found")
                .maybe_help(suggest(path.trim_start_matches("templates/"), templates.keys().map(|k| &**k)));
            self.sink.push(finding);
            return None;
        };
        let render = match all.iter().find(|a| &*a.name.text == "template") {
            Some(flag) => {
                let value = values::typed(&flag.value, &Type::Bool, "`template`", &mut self.sink)?;
                value == Value::Bool(true)
            }
            None => true,
        };
        let template_path = file.path(self.db).clone();
        let constant = |value: Value, span| {
            let ty = Type::of(&value);
            Lowered { expr: Expr::Const(value), spans: Spans::leaf(span), ty, secret: false, optional: false }
        };
        let lowered = match file.content(self.db) {
            Content::Text(text) if render && text.contains("{{") => {
                let (parsed, _) = grammar::template::parse(text);
                let scope = self.scope(item, Stage::Converge, "an attribute", false);
                let mut sink = Sink::new(template_path.clone());
                let end = text.len() as u32;
                let lowered = template::lower(&parsed, Span::new(0, end), &|s| s, &scope, &mut sink);
                self.sink.found.append(&mut sink.found);
                lowered
            }
            Content::Text(text) => constant(Value::Str(text.clone()), Span::new(0, 0)),
            Content::Bytes(bytes) => constant(Value::Bytes(bytes.clone()), Span::new(0, 0)),
            // reported where files are checked
            Content::Unreadable(_) | Content::TooLarge(_) | Content::LeavesRoot => return None,
        };
        Some(TypedAttribute {
            name: Name { text: target.clone(), span: a.name.span },
            file: template_path,
            shape: Shape::Leaf(Box::new(lowered)),
            ty: &schema.ty,
        })
    }

    fn completeness(
        &mut self,
        r: &ResourceAst,
        kind: &Name,
        ty: &'static ResourceType,
        attributes: &[TypedAttribute],
        branches: &[(Name, Vec<TypedAttribute>)],
        when: Option<&Lowered>,
    ) {
        // an attribute that was reported as wrong is not missing too
        let written = |name: &str| {
            let of = |all: &[AttributeAst]| {
                all.iter().any(|a| {
                    &*a.name.text == name
                        || (&*a.name.text == "source" && ty.attributes.get(name).is_some_and(|s| s.source))
                })
            };
            of(&r.attributes)
                || attributes.iter().any(|a| &*a.name.text == name)
                || (!r.branches.is_empty() && r.branches.iter().all(|(_, a)| of(a)))
        };
        let anywhere = |name: &str| {
            written(name) || branches.iter().any(|(_, all)| all.iter().any(|a| &*a.name.text == name))
        };
        let missing: Vec<&str> = ty
            .attributes
            .iter()
            .filter(|(name, a)| a.required && !written(name))
            .map(|(name, _)| &**name)
            .collect();
        if !missing.is_empty() {
            let docs: Vec<String> = missing
                .iter()
                .filter_map(|m| {
                    Some(format!("`{m}: ...` ({})", article(&ty.attributes.get(*m)?.ty.to_string())))
                })
                .collect();
            let finding = self
                .sink
                .say(&MISSING_ATTRIBUTE, kind.span, format!("this {} has no {}", ty.name, listed(missing)))
                .label("incomplete")
                .help(format!("add {}", docs.join(", ")));
            self.sink.push(finding);
        }
        for set in &ty.exclusive {
            let given: Vec<&AttributeAst> =
                r.attributes.iter().filter(|a| set.contains(&a.name.text)).collect();
            if let [first, second, ..] = given[..] {
                let message = format!("`{}` and `{}` exclude each other", first.name.text, second.name.text);
                let finding = self
                    .sink
                    .say(&EXCLUSIVE_ATTRIBUTES, second.name.span, message)
                    .label("and this")
                    .also(self.sink.at(first.name.span), "this");
                self.sink.push(finding);
            }
        }
        for (this, needs) in &ty.requires {
            if let Some(a) = r.attributes.iter().find(|a| a.name.text == *this)
                && !anywhere(needs)
            {
                let finding = self
                    .sink
                    .say(&DEPENDENT_ATTRIBUTE, a.name.span, format!("`{this}` needs `{needs}`"))
                    .label("not enough alone");
                self.sink.push(finding);
            }
        }
        let tied = when.is_some_and(tied);
        if !ty.guards.is_empty() && !tied && !ty.guards.iter().any(|g| anywhere(g)) {
            let finding = self
                .sink
                .say(&UNGUARDED_EXEC, kind.span, "this command runs at every check of the host")
                .label("no guard")
                .help(format!(
                    "say when it is done with one of {}, or tie it to a change with `when: changed`",
                    listed(ty.guards.iter().map(|g| &**g))
                ));
            self.sink.push(finding);
        }
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
                            .say(
                                &crate::diagnostic::codes::SECRET_FLOW,
                                *span,
                                "a secret cannot flow into a name",
                            )
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

fn references(r: &ResourceAst) -> Vec<Reference> {
    let of = |kind: EdgeKind, names: &[Name]| {
        names.iter().map(move |to| Reference { kind, to: to.clone() }).collect::<Vec<_>>()
    };
    [
        of(EdgeKind::DependsOn, &r.depends_on),
        of(EdgeKind::Before, &r.before),
        of(EdgeKind::Notify, &r.notify),
        of(EdgeKind::Subscribes, &r.subscribes),
    ]
    .concat()
}
