//! Where everything that has a name is declared and used: modules, variables, roles, environments, templates, traits and
//! resources.

use crate::db::{Content, Db, Project, SourceFile};
use crate::diagnostic::Place;
use crate::resolve::index::templates;
use crate::schema::schema;
use crate::syntax::{Body, Condition, Kind, LayerAst, Name, ResourceAst, RoleAst, Syn, Variables, ast};
use grammar::Span;
use grammar::document::TextMap;
use grammar::template::{OperandKind, Piece, Pipeline};
use grammar::when::{Expr, ExprKind};
use std::sync::Arc;

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Of {
    /// A module.
    Module,
    /// A variable or parameter.
    Variable,
    /// A role.
    Role,
    /// An environment.
    Environment,
    /// A file below `templates/`.
    Template,
    /// A trait.
    Trait,
    /// A resource, as `module.name`.
    Resource,
}

impl Of {
    /// All of them.
    pub const ALL: [Of; 7] =
        [Of::Module, Of::Variable, Of::Role, Of::Environment, Of::Template, Of::Trait, Of::Resource];

    /// For people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Of::Module => "module",
            Of::Variable => "variable",
            Of::Role => "role",
            Of::Environment => "environment",
            Of::Template => "template",
            Of::Trait => "trait",
            Of::Resource => "resource",
        }
    }
}

/// A place at which a name stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// What it names.
    pub of: Of,
    /// The name.
    pub name: Arc<str>,
    /// Where.
    pub place: Place,
    /// What happens there, such as `declared` or `read`.
    pub how: &'static str,
    /// In what, such as `module nginx` or `role webserver`.
    pub by: Arc<str>,
}

/// Every use of every name, sorted by place. Names that do not exist are among them.
pub fn uses(db: &dyn Db, project: Project) -> Vec<Use> {
    let mut out: Vec<Use> =
        project.files(db).iter().flat_map(|file| uses_of(db, project, *file)).cloned().collect();
    out.sort();
    out.dedup();
    out
}

/// What one file declares and uses, sorted by place: after an edit, that of other files is as it was.
#[salsa::tracked(returns(ref))]
pub fn uses_of(db: &dyn Db, project: Project, file: SourceFile) -> Vec<Use> {
    let mut out = Vec::new();
    let path = file.path(db);
    let mut walk = Walk { file: path.clone(), by: path.clone(), module: None, out: &mut out };
    match &ast(db, file).body {
        Body::Module(Some(module)) => walk.module(module),
        Body::Roles(roles) => roles.iter().for_each(|r| walk.role(r)),
        Body::Common(layer) => walk.layer(layer),
        Body::Environments(list) => {
            for e in list {
                walk.by = format!("environment {}", e.name.text).into();
                walk.name(Of::Environment, &e.name, "declared");
                walk.layer(&e.layer);
            }
        }
        Body::Nodes(entries) => {
            for e in entries {
                let patterns: Vec<&str> = e.patterns.iter().map(|(p, _)| &*p.text).collect();
                walk.by = format!("entry {}", patterns.join(", ")).into();
                e.environment.iter().for_each(|n| walk.name(Of::Environment, n, "chosen"));
                walk.layer(&e.layer);
                for (name, vars) in &e.overrides {
                    walk.name(Of::Environment, name, "declared");
                    walk.variables(vars, "set");
                }
                for (when, vars) in &e.conditional {
                    walk.when(when);
                    walk.variables(vars, "set");
                }
            }
        }
        Body::Module(None) | Body::Tests(_) | Body::Other => {}
    }
    if Kind::of(path) == Kind::Template {
        template_file(db, project, file, &mut walk);
    }
    out.sort();
    out.dedup();
    out
}

/// A template file is a declaration, and reads what a module that ships it would read.
fn template_file(db: &dyn Db, project: Project, file: SourceFile, walk: &mut Walk<'_>) {
    let Some((name, _)) = templates(db, project).iter().find(|(_, f)| **f == file) else { return };
    walk.by = format!("template {name}").into();
    walk.push(Of::Template, name, Span::new(0, 0), "declared");
    if let Content::Text(text) = file.content(db)
        && text.contains("{{")
    {
        walk.pieces(&grammar::template::parse(text).0.nodes, &|span| span);
    }
}

struct Walk<'a> {
    file: Arc<str>,
    by: Arc<str>,
    /// Whose resources bare references are about.
    module: Option<Arc<str>>,
    out: &'a mut Vec<Use>,
}

/// From offsets in a text to offsets in its file.
type ToFile<'a> = &'a dyn Fn(Span) -> Span;

impl Walk<'_> {
    fn push(&mut self, of: Of, name: &str, span: Span, how: &'static str) {
        let place = Place { file: self.file.clone(), span };
        self.out.push(Use { of, name: name.into(), place, how, by: self.by.clone() });
    }

    fn name(&mut self, of: Of, name: &Name, how: &'static str) {
        self.push(of, &name.text, name.span, how);
    }

    fn names(&mut self, of: Of, names: &[Name], how: &'static str) {
        names.iter().for_each(|n| self.name(of, n, how));
    }

    fn variables(&mut self, vars: &Variables, how: &'static str) {
        vars.iter().for_each(|(n, _)| self.name(Of::Variable, n, how));
    }

    fn layer(&mut self, layer: &LayerAst) {
        self.names(Of::Role, &layer.roles, "given");
        self.names(Of::Module, &layer.modules, "assigned");
        self.names(Of::Module, &layer.exclude_modules, "excluded");
        self.variables(&layer.vars, "set");
    }

    fn role(&mut self, role: &RoleAst) {
        self.by = format!("role {}", role.name.text).into();
        self.name(Of::Role, &role.name, "declared");
        self.names(Of::Role, &role.includes, "included");
        self.layer(&role.layer);
    }

    fn module(&mut self, module: &crate::syntax::ModuleAst) {
        let name = &module.name;
        self.by = format!("module {}", name.text).into();
        self.module = Some(name.text.clone());
        self.name(Of::Module, name, "declared");
        self.names(Of::Module, &module.depends_on, "needed");
        module.params.iter().for_each(|p| self.name(Of::Variable, &p.name, "declared"));
        self.variables(&module.vars, "declared");
        module.when.iter().for_each(|w| self.when(w));
        module.defaults.iter().for_each(|a| self.syn(&a.value));
        module.resources.iter().for_each(|r| self.resource(&name.text, r));
    }

    fn resource(&mut self, module: &str, r: &ResourceAst) {
        let text = r.name.as_ref().and_then(|n| Some((n.span, n.as_text()?)));
        let shown = text.map(|(_, t)| t.scalar.text.clone());
        self.by = match (&shown, &r.kind) {
            (Some(name), _) => format!("{module}.{name}").into(),
            (None, Some(kind)) => format!("{module}, a {}", kind.text).into(),
            (None, None) => format!("module {module}").into(),
        };
        if let Some((span, text)) = text {
            self.push(Of::Resource, &format!("{module}.{}", text.scalar.text), span, "declared");
        }
        r.when.iter().for_each(|w| self.when(w));
        if let Some(list) = &r.foreach {
            let first = list.text.split('.').next().unwrap_or_default();
            self.push(Of::Variable, first, list.span, "read");
        }
        r.name.iter().chain(r.case.as_deref()).for_each(|s| self.syn(s));
        for a in r.attributes.iter().chain(r.branches.iter().flat_map(|(_, a)| a)) {
            self.syn(&a.value);
            if &*a.name.text == "source"
                && let Some(text) = a.value.as_text()
            {
                self.push(Of::Template, &text.scalar.text, a.value.span, "shipped");
            }
        }
        for (list, how) in [
            (&r.depends_on, "depended on"),
            (&r.before, "run before"),
            (&r.notify, "notified"),
            (&r.subscribes, "subscribed to"),
        ] {
            for n in list {
                match n.text.split_once('.') {
                    Some((other, _)) => {
                        self.push(Of::Module, other, n.span, "referred to");
                        self.push(Of::Resource, &n.text, n.span, how);
                    }
                    None => self.push(Of::Resource, &format!("{module}.{}", n.text), n.span, how),
                }
            }
        }
    }

    fn syn(&mut self, syn: &Syn) {
        match &syn.kind {
            crate::syntax::SynKind::Text(text) => {
                if let Some(template) = &text.template {
                    let map: &TextMap = &text.scalar.map;
                    self.pieces(&template.nodes, &|span| map.to_file(span));
                }
            }
            crate::syntax::SynKind::List(items) => items.iter().for_each(|s| self.syn(s)),
            crate::syntax::SynKind::Map(entries) => entries.iter().for_each(|(_, s)| self.syn(s)),
            crate::syntax::SynKind::Empty | crate::syntax::SynKind::Error => {}
        }
    }

    fn when(&mut self, when: &Condition) {
        self.expr(&when.expr, &|span| when.scalar.map.to_file(span));
    }

    fn expr(&mut self, e: &Expr, to_file: ToFile<'_>) {
        match &e.kind {
            ExprKind::Path(steps) => {
                let texts: Vec<&str> = steps.iter().map(|s| s.text.as_str()).collect();
                match texts[..] {
                    ["vars", name, ..] => self.push(Of::Variable, name, to_file(e.span), "read"),
                    ["traits", ..] => self.path_of_trait(&texts[1..], to_file(e.span)),
                    _ => {}
                }
            }
            ExprKind::Call { name, args, .. } => {
                let span = to_file(name.span);
                for arg in args {
                    let of = match name.text.as_str() {
                        "has_module" => Of::Module,
                        "has_role" => Of::Role,
                        "env_is" => Of::Environment,
                        "has_trait" => Of::Trait,
                        _ => continue,
                    };
                    if let ExprKind::Text(text) = &arg.kind {
                        self.push(of, text, to_file(arg.span), "asked for");
                    }
                }
                let reads = schema().functions.get(name.text.as_str()).map(|f| f.reads.as_slice());
                for path in reads.unwrap_or_default() {
                    self.push(Of::Trait, path, span, "read");
                }
                args.iter().for_each(|a| self.expr(a, to_file));
            }
            ExprKind::List(items) => items.iter().for_each(|i| self.expr(i, to_file)),
            ExprKind::Not(a) => self.expr(a, to_file),
            ExprKind::And(a, b) | ExprKind::Or(a, b) => {
                self.expr(a, to_file);
                self.expr(b, to_file);
            }
            ExprKind::Compare { left, right, .. } => {
                self.expr(left, to_file);
                self.expr(right, to_file);
            }
            ExprKind::Text(_)
            | ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Error => {}
        }
    }

    /// The longest known trait at the beginning of a path; without one, the path as it stands.
    fn path_of_trait(&mut self, steps: &[&str], span: Span) {
        let known = (1..=steps.len()).rev().map(|n| steps[..n].join("."));
        let name = known.into_iter().find(|p| schema().traits.contains_key(p.as_str()));
        self.push(Of::Trait, &name.unwrap_or_else(|| steps.join(".")), span, "read");
    }

    fn pieces(&mut self, pieces: &[Piece], to_file: ToFile<'_>) {
        for piece in pieces {
            match piece {
                Piece::Action(p) => self.pipeline(p, to_file),
                Piece::If(b) | Piece::Range(b) | Piece::With(b) => {
                    self.pipeline(&b.pipeline, to_file);
                    self.pieces(&b.body, to_file);
                    self.pieces(b.otherwise.as_deref().unwrap_or_default(), to_file);
                }
                Piece::Text { .. } | Piece::Break(_) | Piece::Continue(_) | Piece::Error(_) => {}
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, to_file: ToFile<'_>) {
        for operand in pipeline.commands.iter().flat_map(|c| &c.operands) {
            match &operand.kind {
                OperandKind::Field(steps) | OperandKind::Variable { fields: steps, .. } => {
                    let texts: Vec<&str> = steps.iter().map(|s| s.text.as_str()).collect();
                    let span = to_file(operand.span);
                    match texts[..] {
                        ["Vars", name, ..] => self.push(Of::Variable, name, span, "read"),
                        ["Traits", ..] if texts.len() > 1 => self.path_of_trait(&texts[1..], span),
                        _ => {}
                    }
                }
                OperandKind::Paren(inner, _) => self.pipeline(inner, to_file),
                _ => {}
            }
        }
    }
}
