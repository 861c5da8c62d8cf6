//! Values as they are written, with the templates inside parsed.

use crate::diagnostic::{Diagnostic, Sink};
use crate::kept::kept;
use grammar::Span;
use grammar::document::{Key, Node, Scalar, Style, Value as Written};
use grammar::template::Template;

/// A value as it is written.
#[derive(Clone, Debug)]
pub struct Syn {
    /// Its place.
    pub span: Span,
    /// What it is.
    pub kind: SynKind,
}

/// What is written.
#[derive(Clone, Debug)]
pub enum SynKind {
    /// Nothing after the colon.
    Empty,
    /// A scalar.
    Text(Text),
    /// A list.
    List(Vec<Syn>),
    /// A map.
    Map(Vec<(Key, Syn)>),
    /// Reported already.
    Error,
}

/// A scalar, with its template when it has actions.
#[derive(Clone, Debug)]
pub struct Text {
    /// As written.
    pub scalar: Scalar,
    /// Present when the text has an action.
    pub template: Option<Box<Template>>,
}

impl Text {
    /// Whether it was written without quotes and not as a block.
    pub fn is_plain(&self) -> bool {
        self.scalar.style == Style::Plain
    }
}

impl Syn {
    /// Takes a node over; `templates` says whether `{{` in it is a template.
    pub fn new(node: Node, templates: bool, sink: &mut Sink) -> Syn {
        let span = node.span;
        let kind = match node.value {
            Written::Null => SynKind::Empty,
            Written::Error => SynKind::Error,
            Written::Scalar(scalar) => {
                let template = if templates { parse_template(&scalar, sink) } else { None };
                SynKind::Text(Text { scalar, template })
            }
            Written::Seq(items) => {
                SynKind::List(kept(items.into_iter().map(|n| Syn::new(n, templates, sink))))
            }
            Written::Map(entries) => {
                SynKind::Map(kept(entries.into_iter().map(|e| (e.key, Syn::new(e.value, templates, sink)))))
            }
        };
        Syn { span, kind }
    }

    /// The text of a scalar.
    pub fn as_text(&self) -> Option<&Text> {
        match &self.kind {
            SynKind::Text(t) => Some(t),
            _ => None,
        }
    }

    /// What it is, in messages.
    pub fn describe(&self) -> &'static str {
        match self.kind {
            SynKind::Empty => "nothing",
            SynKind::Text(_) => "text",
            SynKind::List(_) => "a list",
            SynKind::Map(_) => "a map",
            SynKind::Error => "an error",
        }
    }

    /// Calls `visit` for each template inside.
    pub fn templates<'a>(&'a self, visit: &mut dyn FnMut(&'a Template)) {
        match &self.kind {
            SynKind::Text(t) => {
                if let Some(template) = &t.template {
                    visit(template);
                }
            }
            SynKind::List(items) => items.iter().for_each(|s| s.templates(visit)),
            SynKind::Map(entries) => entries.iter().for_each(|(_, s)| s.templates(visit)),
            SynKind::Empty | SynKind::Error => {}
        }
    }
}

fn parse_template(scalar: &Scalar, sink: &mut Sink) -> Option<Box<Template>> {
    if !scalar.text.contains("{{") {
        return None;
    }
    let (template, errors) = grammar::template::parse(&scalar.text);
    let file = sink.file.clone();
    for error in errors {
        sink.push(Diagnostic::from_syntax(&file, error, &|s| scalar.map.to_file(s)));
    }
    Some(Box::new(template))
}
