//! Paths: variables, traits, the envoy and the item, with their types.

use super::{Lowered, Lowering, Scope, Spans, VarType, VarTypes};
use crate::diagnostic::Sink;
use crate::diagnostic::codes::{
    OPTIONAL_TRAIT, TOO_LATE, TYPE_MISMATCH, UNKNOWN_FIELD, UNKNOWN_TRAIT, UNKNOWN_VARIABLE, UNSET_VARIABLE,
};
use crate::diagnostic::nearest::{listed, nearest};
use crate::schema::{Stage, schema};
use crate::types::Type;
use crate::values::{article, unknown_field};
use grammar::Span;
use grammar::when::Ident;
use ir::{Expr, Root};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Looks at the path of what hosts are asked for: a trait, a part of one, or a group of them such as `memory`. What is
/// wrong with it is told as it is of a path in a condition; `start` is where the path begins in the text of the sink.
pub fn check_queried_trait(path: &str, start: u32, sink: &mut Sink) {
    if schema().is_trait_group(path) {
        return;
    }
    let mut at = start;
    let steps: Vec<Ident> = path
        .split('.')
        .map(|step| {
            let end = at.saturating_add(u32::try_from(step.len()).unwrap_or(u32::MAX));
            let span = Span::new(at, end);
            at = end.saturating_add(1);
            Ident { text: step.to_owned(), span }
        })
        .collect();
    let span = Span::new(start, at.saturating_sub(1));
    let vars = VarTypes::new();
    let place = "a query";
    let scope =
        Scope { vars: &vars, module: None, item: None, stage: Stage::Converge, place, changed: false };
    let mut lowering = Lowering { scope: &scope, sink, to_file: &|span| span, present: Vec::new() };
    lowering.trait_path(&steps, span, Reading::Excused);
}

/// The first step of a trait's path.
fn group_of(path: &str) -> &str {
    path.split('.').next().unwrap_or_default()
}

/// How a path is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As a value; it has to be there.
    Value,
    /// By `default`, which stands in where it is absent.
    Excused,
}

impl Lowering<'_> {
    /// A path from its root; `span` is the whole path. Spans are offsets into the text.
    pub(super) fn path(&mut self, root: Root, steps: &[Ident], span: Span, reading: Reading) -> Lowered {
        match root {
            Root::Vars => self.variable(steps, span, reading),
            Root::Traits => self.trait_path(steps, span, reading),
            Root::Envoy => self.envoy(steps, span),
            Root::Item => self.item(steps, span),
        }
    }

    fn written(&self, root: &str, steps: &[Ident]) -> String {
        steps.iter().fold(root.to_owned(), |path, step| path + "." + &step.text)
    }

    fn lowered(&mut self, root: Root, steps: &[Ident], span: Span, ty: Type) -> Lowered {
        let segments = steps.iter().map(|s| Arc::from(s.text.as_str())).collect();
        Lowered::new(Expr::Path(root, segments), self.at(span), Vec::new(), ty)
    }

    fn variable(&mut self, steps: &[Ident], span: Span, reading: Reading) -> Lowered {
        let Some((first, fields)) = steps.split_first() else { return Lowered::error(self.at(span)) };
        let shown = format!("`.Vars.{}`", first.text);
        let ty = match self.scope.vars.get(first.text.as_str()) {
            Some(VarType::Set(ty)) => ty.clone(),
            Some(VarType::Elsewhere(ty)) if reading == Reading::Excused => ty.clone(),
            Some(VarType::Elsewhere(_)) => {
                let message = format!("{shown} is not set here");
                let finding = self
                    .sink
                    .say(&UNSET_VARIABLE, self.at(first.span), message)
                    .label("no layer sets this for some envoys")
                    .help(format!("give it a default under `vars:` of the module, or write `default` before it: `{{{{ .Vars.{} | default \"\" }}}}`", first.text));
                self.report(finding);
                return Lowered::error(self.at(span));
            }
            None => {
                let message = match self.scope.module {
                    Some(m) => format!("{shown} is not defined for any envoy that gets module `{m}`"),
                    None => format!("{shown} is not defined here"),
                };
                let known = self.scope.vars.keys().map(|k| &**k);
                let help = nearest(&first.text, known).map(|near| {
                    let ty = match self.scope.vars.get(near) {
                        Some(VarType::Set(t) | VarType::Elsewhere(t)) => format!(" ({t})"),
                        None => String::new(),
                    };
                    (near.to_owned(), format!("did you mean `.Vars.{near}`{ty}?"))
                });
                let at = self.at(first.span);
                let mut finding = self.sink.say(&UNKNOWN_VARIABLE, at, message).label("no layer sets this");
                finding = match help {
                    Some((near, help)) => finding.help(help).guess(at, near),
                    None => finding.help(format!(
                        "declare it under `vars:` or `params:` of the module: `{}: ...`",
                        first.text
                    )),
                };
                self.report(finding);
                return Lowered::error(self.at(span));
            }
        };
        let whole = format!(".Vars.{}", first.text);
        match self.fields(ty, &whole, fields) {
            Some(ty) => self.lowered(Root::Vars, steps, span, ty),
            None => Lowered::error(self.at(span)),
        }
    }

    /// The type behind some fields; `None` when one was reported.
    pub(super) fn fields(&mut self, mut ty: Type, whole: &str, fields: &[Ident]) -> Option<Type> {
        let mut whole = whole.to_owned();
        for field in fields {
            let at = self.at(field.span);
            ty = match ty {
                Type::Any => Type::Any,
                Type::Map(element) => *element,
                Type::Record(record) => match record.get(field.text.as_str()) {
                    Some(ty) => ty.clone(),
                    None => {
                        unknown_field(self.sink, at, &whole, &field.text, &record);
                        return None;
                    }
                },
                other => {
                    let message = format!("`{whole}` is {}; it has no fields", article(&other.to_string()));
                    let finding = self.sink.say(&UNKNOWN_FIELD, at, message).label("no such field");
                    self.report(finding);
                    return None;
                }
            };
            whole = format!("{whole}.{}", field.text);
        }
        Some(ty)
    }

    fn trait_path(&mut self, steps: &[Ident], span: Span, reading: Reading) -> Lowered {
        let path = steps.iter().map(|s| s.text.as_str()).collect::<Vec<_>>().join(".");
        let schema = schema();
        let found = (1..=steps.len()).rev().find_map(|n| {
            let prefix = steps[..n].iter().map(|s| s.text.as_str()).collect::<Vec<_>>().join(".");
            schema.traits.get_key_value(prefix.as_str()).map(|(name, t)| (n, name.clone(), t))
        });
        let Some((used, name, known)) = found else {
            let at = self.at(span);
            self.unknown_trait(&path, at);
            return Lowered::error(self.at(span));
        };
        self.too_late(
            span,
            &format!("trait `{name}`"),
            if known.shared { Stage::Specialise } else { Stage::Converge },
        );
        if known.optional && reading == Reading::Value && !self.present.contains(&name) {
            let at = self.at(span);
            let in_when = self.scope.place == "a condition";
            let help = if in_when {
                format!("write `has_trait('{name}') && ...` before it")
            } else {
                format!("write `{{{{ .Traits.{path} | default \"...\" }}}}`")
            };
            let finding = self
                .sink
                .say(&OPTIONAL_TRAIT, at, format!("trait `{name}` may be absent on a host"))
                .label("may be absent")
                .help(help);
            self.report(finding);
        }
        match self.fields(known.ty.clone(), &name, &steps[used..]) {
            Some(ty) => {
                let mut lowered = self.lowered(Root::Traits, steps, span, ty);
                lowered.optional = known.optional;
                lowered
            }
            None => Lowered::error(self.at(span)),
        }
    }

    /// Reports a trait that does not exist; `at` is a span of the file.
    pub(super) fn unknown_trait(&mut self, path: &str, at: Span) {
        let traits = || schema().traits.keys().map(|k| &**k);
        let finding =
            self.sink.say(&UNKNOWN_TRAIT, at, format!("there is no trait `{path}`")).label("unknown trait");
        let finding = match nearest(path, traits()) {
            Some(near) => finding.help(format!("did you mean `{near}`?")),
            None => {
                let group = path.split('.').next().unwrap_or_default();
                let of_group: Vec<&str> = traits().filter(|t| group_of(t) == group).collect();
                let groups: BTreeSet<&str> = traits().map(group_of).collect();
                finding.help(match nearest(group, groups.iter().copied()) {
                    _ if !of_group.is_empty() => format!("known: {}", listed(of_group)),
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("traits begin with {}", listed(groups)),
                })
            }
        };
        self.report(finding);
    }

    fn envoy(&mut self, steps: &[Ident], span: Span) -> Lowered {
        let known = ["hostname", "environment", "roles"];
        let ty = match steps.first().map(|s| s.text.as_str()) {
            Some("hostname") => {
                self.too_late(span, "`.Envoy.hostname`", Stage::Converge);
                Type::Str
            }
            Some("environment") => Type::Str,
            Some("roles") => Type::List(Box::new(Type::Str)),
            other => {
                let at = self.at(steps.first().map_or(span, |s| s.span));
                let name = other.unwrap_or_default();
                let near = nearest(name, known);
                let finding = self
                    .sink
                    .say(&UNKNOWN_FIELD, at, format!("`.Envoy` has no field `{name}`"))
                    .label("no such field")
                    .help(near.map_or_else(
                        || format!("it has {}", listed(known)),
                        |n| format!("did you mean `.Envoy.{n}`?"),
                    ));
                self.report(finding);
                return Lowered::error(self.at(span));
            }
        };
        match self.fields(ty, &self.written(".Envoy", &steps[..1]), &steps[1..]) {
            Some(ty) => self.lowered(Root::Envoy, steps, span, ty),
            None => Lowered::error(self.at(span)),
        }
    }

    fn item(&mut self, steps: &[Ident], span: Span) -> Lowered {
        let Some(ty) = self.scope.item else {
            let finding = self
                .sink
                .say(&UNKNOWN_FIELD, self.at(span), "`.Item` exists only in a resource with `foreach:`")
                .label("no foreach here");
            self.report(finding);
            return Lowered::error(self.at(span));
        };
        match self.fields(ty.clone(), ".Item", steps) {
            Some(ty) => self.lowered(Root::Item, steps, span, ty),
            None => Lowered::error(self.at(span)),
        }
    }

    /// Reports something that cannot be known in time for this place.
    pub(super) fn too_late(&mut self, span: Span, what: &str, known_at: Stage) {
        if known_at > self.scope.stage {
            let finding = self
                .sink
                .say(&TOO_LATE, self.at(span), format!("{what} is known only on the host, too late for {}", self.scope.place))
                .label("known only on the host")
                .help("use variables, the environment, roles or shared traits here; a `when:` of the resource may ask the host");
            self.report(finding);
        }
    }

    /// Reports a value of the wrong type.
    pub(super) fn mismatch(&mut self, value: &Lowered, message: String) {
        let finding = self.sink.say(&TYPE_MISMATCH, value.span(), message).label(value.ty.to_string());
        self.report(finding);
    }

    pub(super) fn constant(&mut self, value: ir::Value, span: Span) -> Lowered {
        let ty = Type::of(&value);
        Lowered {
            expr: Expr::Const(value),
            spans: Spans::leaf(self.at(span)),
            ty,
            secret: false,
            optional: false,
        }
    }
}
