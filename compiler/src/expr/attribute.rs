//! Attribute values: written values and templates in places of a known type.

use super::template;
use super::{Lowered, Scope, Spans};
use crate::diagnostic::Sink;
use crate::diagnostic::codes::{NULL_ATTRIBUTE, SECRET_FLOW, TYPE_MISMATCH};
use crate::kept::kept;
use crate::syntax::{Syn, SynKind, Text};
use crate::types::Type;
use crate::values::{self, article};
use grammar::Span;
use ir::{Expr, Value};
use std::sync::Arc;

/// A lowered attribute: an expression, or a list or map with expressions inside.
#[derive(Clone, Debug)]
pub enum Shape {
    /// One expression.
    Leaf(Box<Lowered>),
    /// A list with templates in it.
    List(Vec<Shape>),
    /// A map with templates in it.
    Map(Vec<(Arc<str>, Shape)>),
}

impl Shape {
    /// Calls `visit` for each expression.
    pub fn leaves<'a>(&'a self, visit: &mut dyn FnMut(&'a Lowered)) {
        match self {
            Shape::Leaf(l) => visit(l),
            Shape::List(items) => items.iter().for_each(|s| s.leaves(visit)),
            Shape::Map(entries) => entries.iter().for_each(|(_, s)| s.leaves(visit)),
        }
    }
}

/// An attribute's value; `what` names it in messages. `None` when it was reported as a whole.
pub fn lower(
    syn: &Syn,
    ty: &Type,
    sensitive: bool,
    what: &str,
    scope: &Scope<'_>,
    sink: &mut Sink,
) -> Option<Shape> {
    let shape = shape(syn, ty, what, scope, sink)?;
    if !sensitive {
        let mut secret = None;
        shape.leaves(&mut |l| {
            if l.secret {
                secret.get_or_insert(l.spans.span);
            }
        });
        if let Some(span) = secret {
            let finding = sink
                .say(&SECRET_FLOW, span, format!("a secret cannot flow into {what}"))
                .label("a secret flows in here")
                .help("secrets may flow only into file content and attributes that are marked sensitive");
            sink.push(finding);
        }
    }
    Some(shape)
}

fn shape(syn: &Syn, ty: &Type, what: &str, scope: &Scope<'_>, sink: &mut Sink) -> Option<Shape> {
    let mut dynamic = false;
    syn.templates(&mut |_| dynamic = true);
    match (&syn.kind, ty) {
        (SynKind::Error, _) => None,
        (SynKind::Text(text), _) if dynamic => text_with_template(text, syn.span, ty, what, scope, sink),
        (SynKind::List(items), Type::List(_) | Type::Any) if dynamic => {
            let element = element(ty);
            Some(Shape::List(kept(items.iter().filter_map(|s| shape(s, element, what, scope, sink)))))
        }
        (SynKind::Map(entries), Type::Map(_) | Type::Any) if dynamic => {
            let element = element(ty);
            Some(Shape::Map(kept(entries.iter().filter_map(|(k, s)| {
                Some((Arc::from(k.text.as_str()), shape(s, element, what, scope, sink)?))
            }))))
        }
        _ => {
            let value = values::typed(syn, ty, what, sink)?;
            if value == Value::Null {
                let finding = sink
                    .say(&NULL_ATTRIBUTE, syn.span, format!("{what} has no value"))
                    .label("nothing here")
                    .help("give a value, or leave the attribute out");
                sink.push(finding);
                return None;
            }
            let secret = value.holds_secret();
            let ty = Type::of(&value);
            let spans = Spans::leaf(syn.span);
            Some(Shape::Leaf(Box::new(Lowered {
                expr: Expr::Const(value),
                spans,
                ty,
                secret,
                optional: false,
            })))
        }
    }
}

/// What is inside a list or a map of this type; inside of anything is anything.
fn element(ty: &Type) -> &Type {
    match ty {
        Type::List(element) | Type::Map(element) => element,
        _ => &Type::Any,
    }
}

fn text_with_template(
    text: &Text,
    span: Span,
    ty: &Type,
    what: &str,
    scope: &Scope<'_>,
    sink: &mut Sink,
) -> Option<Shape> {
    let template = text.template.as_ref()?;
    let to_file = |s| text.scalar.map.to_file(s);
    // Where anything may stand, a single action gives what it has: a number stays one.
    if *ty == Type::Any
        && let Some(lowered) =
            template::lower_action(template, &to_file, scope, &mut Sink::new(sink.file.clone()))
        && !lowered.ty.is_text()
        && lowered.ty != Type::Secret
    {
        return Some(Shape::Leaf(Box::new(lowered)));
    }
    if ty.is_text() || matches!(ty, Type::Any | Type::Secret | Type::Bytes) {
        let lowered = template::lower(template, span, &to_file, scope, sink);
        return Some(Shape::Leaf(Box::new(lowered)));
    }
    let Some(lowered) = template::lower_action(template, &to_file, scope, sink) else {
        let finding = sink
            .say(
                &TYPE_MISMATCH,
                span,
                format!("{what} is {}, so it takes a single action", article(&ty.to_string())),
            )
            .label("text around an action")
            .help("write the action alone, such as \"{{ .Vars.port }}\"");
        sink.push(finding);
        return None;
    };
    if !lowered.ty.fits(ty) {
        let message =
            format!("{what} is {}, not {}", article(&ty.to_string()), article(&lowered.ty.to_string()));
        let finding = sink.say(&TYPE_MISMATCH, lowered.spans.span, message).label(lowered.ty.to_string());
        sink.push(finding);
        return None;
    }
    Some(Shape::Leaf(Box::new(lowered)))
}
