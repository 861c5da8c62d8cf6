//! What other files see of a module: no positions, no bodies. An edit that leaves it as it was stops here.

use crate::db::{Content, Db, Project, SourceFile};
use crate::diagnostic::Sink;
use crate::resolve::index::templates;
use crate::syntax::{AttributeAst, Body, ModuleAst, ResourceAst, Syn, ast};
use crate::types::Type;
use crate::values;
use grammar::template::{OperandKind, Piece, Pipeline, Template};
use grammar::when::{Expr as When, ExprKind};
use ir::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A module from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: Arc<str>,
    /// Variables it declares, parameters first.
    pub variables: Vec<Declared>,
    /// Modules it needs.
    pub depends_on: Vec<Arc<str>>,
}

/// A variable that a module declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: Arc<str>,
    /// Declared, or of the default.
    pub ty: Type,
    /// `None`: something else has to set it.
    pub default: Option<Arc<Value>>,
    /// Whether it stands under `params:`.
    pub parameter: bool,
    /// It has a default that was reported.
    pub broken: bool,
}

/// The module that a file declares.
pub fn module(db: &dyn Db, file: SourceFile) -> Option<&ModuleAst> {
    match &ast(db, file).body {
        Body::Module(module) => module.as_deref(),
        _ => None,
    }
}

/// The interface of a module file.
#[salsa::tracked(returns(as_ref))]
pub fn interface(db: &dyn Db, file: SourceFile) -> Option<Interface> {
    let module = module(db, file)?;
    let mut sink = Sink::new(file.path(db).clone());
    Some(Interface {
        name: module.name.text.clone(),
        variables: declared(module, &mut sink),
        depends_on: module.depends_on.iter().map(|n| n.text.clone()).collect(),
    })
}

/// Findings about the defaults of a module.
#[salsa::tracked(returns(ref))]
pub fn default_findings(db: &dyn Db, file: SourceFile) -> Vec<crate::diagnostic::Diagnostic> {
    let mut sink = Sink::new(file.path(db).clone());
    if let Some(module) = module(db, file) {
        declared(module, &mut sink);
    }
    sink.found
}

fn declared(module: &ModuleAst, sink: &mut Sink) -> Vec<Declared> {
    let params = module.params.iter().map(|p| {
        let what = format!("`{}`", p.name.text);
        let default = match (&p.default, &p.declared) {
            (Some(syn), Some(ty)) => values::typed(syn, ty, &what, sink),
            (Some(syn), None) => values::untyped(syn, sink),
            (None, _) => None,
        };
        (p.name.text.clone(), p.declared.clone(), default, true, p.default.is_some())
    });
    let params: Vec<_> = params.collect();
    let vars = module
        .vars
        .iter()
        .map(|(name, syn)| (name.text.clone(), None, values::untyped(syn, sink), false, true));
    params
        .into_iter()
        .chain(vars.collect::<Vec<_>>())
        .map(|(name, ty, default, parameter, written)| {
            let broken = default.is_none() && written;
            let default = default.filter(|v| *v != Value::Null);
            let ty = ty.or_else(|| default.as_ref().map(Type::of)).unwrap_or(Type::Any);
            let ty = default.iter().fold(ty, |ty, value| ty.holding(value));
            Declared { name, ty, default: default.map(Arc::new), parameter, broken }
        })
        .collect()
}

/// What of the world a module's body looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// First names of variables.
    pub vars: BTreeSet<Arc<str>>,
    /// The environment.
    pub environment: bool,
    /// The roles.
    pub roles: bool,
    /// The module list.
    pub modules: bool,
    /// Files below `templates/`, as named by `source:`, that are shipped as they are.
    pub files: BTreeSet<Arc<str>>,
    /// Those that are rendered.
    pub templates: BTreeSet<Arc<str>>,
}

/// What a module file looks at, templates included.
#[salsa::tracked(returns(ref))]
pub fn reads(db: &dyn Db, project: Project, file: SourceFile) -> Reads {
    let mut out = Reads::default();
    let Some(module) = module(db, file) else { return out };
    if let Some(when) = &module.when {
        out.when(&when.expr);
    }
    for attribute in &module.defaults {
        out.syn(&attribute.value);
    }
    for resource in &module.resources {
        out.resource(resource);
    }
    for name in out.templates.clone() {
        if let Some(file) = templates(db, project).get(&name) {
            out.merge(template_reads(db, *file));
        }
    }
    out
}

/// What a template file looks at.
#[salsa::tracked(returns(ref))]
pub fn template_reads(db: &dyn Db, file: SourceFile) -> Reads {
    let mut out = Reads::default();
    if let Content::Text(text) = file.content(db)
        && text.contains("{{")
    {
        out.template(&grammar::template::parse(text).0);
    }
    out
}

impl Reads {
    fn merge(&mut self, other: &Reads) {
        self.vars.extend(other.vars.iter().cloned());
        self.environment |= other.environment;
        self.roles |= other.roles;
        self.modules |= other.modules;
    }

    fn resource(&mut self, r: &ResourceAst) {
        if let Some(when) = &r.when {
            self.when(&when.expr);
        }
        if let Some(list) = &r.foreach {
            self.vars.insert(first_name(&list.text));
        }
        r.name.iter().chain(r.case.as_deref()).for_each(|s| self.syn(s));
        let as_it_is = |a: &AttributeAst| {
            &*a.name.text == "template" && a.value.as_text().is_some_and(|t| t.scalar.text == "false")
        };
        let as_it_is = r.attributes.iter().any(as_it_is);
        let branches = r.branches.iter().flat_map(|(_, attributes)| attributes);
        for attribute in r.attributes.iter().chain(branches) {
            self.syn(&attribute.value);
            if &*attribute.name.text == "source"
                && let Some(text) = attribute.value.as_text()
            {
                let files = if as_it_is { &mut self.files } else { &mut self.templates };
                files.insert(text.scalar.text.as_str().into());
            }
        }
    }

    fn syn(&mut self, syn: &Syn) {
        syn.templates(&mut |t| self.template(t));
    }

    fn when(&mut self, e: &When) {
        match &e.kind {
            ExprKind::Path(steps) => {
                if let [root, name, ..] = &steps[..]
                    && root.text == "vars"
                {
                    self.vars.insert(name.text.as_str().into());
                }
            }
            ExprKind::Call { name, args, .. } => {
                self.function(&name.text);
                args.iter().for_each(|a| self.when(a));
            }
            ExprKind::List(items) => items.iter().for_each(|i| self.when(i)),
            ExprKind::Not(a) => self.when(a),
            ExprKind::And(a, b) | ExprKind::Or(a, b) => {
                self.when(a);
                self.when(b);
            }
            ExprKind::Compare { left, right, .. } => {
                self.when(left);
                self.when(right);
            }
            ExprKind::Text(_)
            | ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Error => {}
        }
    }

    fn function(&mut self, name: &str) {
        match name {
            "env_is" => self.environment = true,
            "has_role" => self.roles = true,
            "has_module" => self.modules = true,
            _ => {}
        }
    }

    fn template(&mut self, template: &Template) {
        self.pieces(&template.nodes);
    }

    fn pieces(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            match piece {
                Piece::Action(p) => self.pipeline(p),
                Piece::If(b) | Piece::Range(b) | Piece::With(b) => {
                    self.pipeline(&b.pipeline);
                    self.pieces(&b.body);
                    self.pieces(b.otherwise.as_deref().unwrap_or_default());
                }
                Piece::Text { .. } | Piece::Break(_) | Piece::Continue(_) | Piece::Error(_) => {}
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline) {
        for operand in pipeline.commands.iter().flat_map(|c| &c.operands) {
            match &operand.kind {
                OperandKind::Field(steps) | OperandKind::Variable { fields: steps, .. } => match &steps[..] {
                    [root, name, ..] if root.text == "Vars" => {
                        self.vars.insert(name.text.as_str().into());
                    }
                    [root, name, ..] if root.text == "Envoy" => {
                        self.environment |= name.text == "environment";
                        self.roles |= name.text == "roles";
                    }
                    _ => {}
                },
                OperandKind::Paren(inner, _) => self.pipeline(inner),
                _ => {}
            }
        }
    }
}

/// Variables that a condition reads.
pub fn condition_vars(condition: &When, out: &mut BTreeSet<Arc<str>>) {
    let mut reads = Reads::default();
    reads.when(condition);
    out.append(&mut reads.vars);
}

/// The first part of a dotted name.
pub fn first_name(path: &str) -> Arc<str> {
    path.split('.').next().unwrap_or(path).into()
}
