//! `modules/**/*.vgo`: one module a file.

use super::condition::Condition;
use super::fields::{Fields, check_name, name, names, start_of, text, wrong_kind};
use super::layers::variables;
use super::text::Syn;
use super::{Name, Variables};
use crate::diagnostic::Sink;
use crate::diagnostic::codes::{DUPLICATE_VARIABLE, MISSING_KEY, UNKNOWN_TYPE_NAME};
use crate::diagnostic::nearest::suggest;
use crate::kept::kept;
use crate::types::Type;
use grammar::Span;
use grammar::document::{Entry, Node, Value};
use std::sync::Arc;

/// A module as it is written.
#[derive(Debug)]
pub struct ModuleAst {
    /// Its name.
    pub name: Name,
    /// What it is for.
    pub doc: Option<Arc<str>>,
    /// Its typed interface.
    pub params: Vec<ParamAst>,
    /// Defaults.
    pub vars: Variables,
    /// Gates the whole module.
    pub when: Option<Condition>,
    /// Modules that come first.
    pub depends_on: Vec<Name>,
    /// Attributes for every resource whose type has them.
    pub defaults: Vec<AttributeAst>,
    /// Its resources.
    pub resources: Vec<ResourceAst>,
}

/// A parameter.
#[derive(Debug)]
pub struct ParamAst {
    /// Its name.
    pub name: Name,
    /// Its declared type, or the type of its default.
    pub declared: Option<Type>,
    /// The place of its type.
    pub type_span: Span,
    /// Its default.
    pub default: Option<Syn>,
    /// For people.
    pub doc: Option<Arc<str>>,
}

/// An attribute.
#[derive(Clone, Debug)]
pub struct AttributeAst {
    /// Its name.
    pub name: Name,
    /// Its value, with templates parsed.
    pub value: Syn,
}

/// A resource as it is written.
#[derive(Debug)]
pub struct ResourceAst {
    /// The whole resource.
    pub span: Span,
    /// Its name; a template in a foreach.
    pub name: Option<Syn>,
    /// Its type.
    pub kind: Option<Name>,
    /// Gates it.
    pub when: Option<Box<Condition>>,
    /// The variable it is repeated over.
    pub foreach: Option<Name>,
    /// What `match` looks at.
    pub case: Option<Box<Syn>>,
    /// Attributes by value of the case; the key `default` is the last resort.
    pub branches: Vec<(Name, Vec<AttributeAst>)>,
    /// Place of `match:`.
    pub match_span: Option<Span>,
    /// References.
    pub depends_on: Vec<Name>,
    /// References.
    pub before: Vec<Name>,
    /// References.
    pub notify: Vec<Name>,
    /// References.
    pub subscribes: Vec<Name>,
    /// Everything else.
    pub attributes: Vec<AttributeAst>,
}

/// Keys of a module.
pub const KEYS: [&str; 8] = ["name", "doc", "params", "vars", "when", "depends_on", "defaults", "resources"];
/// Keys of a parameter.
pub const PARAM_KEYS: [&str; 3] = ["type", "default", "doc"];
/// Keys of a resource that are no attributes of its type.
pub const RESOURCE_KEYS: [&str; 11] = [
    "name",
    "type",
    "when",
    "foreach",
    "case",
    "match",
    "depends_on",
    "before",
    "notify",
    "subscribes",
    "doc",
];

/// Reads a module.
pub fn read(root: Node, sink: &mut Sink) -> Option<ModuleAst> {
    let mut fields = Fields::of(root, "a module", &KEYS, sink)?;
    let declared = match fields.take_older("name", &["module", "configcrate"], sink) {
        Some(e) => name(&e.value, "the name of a module", sink),
        None => fields.need("name", sink).and(None),
    };
    let doc = fields.take("doc").and_then(|e| text(&e.value, "`doc:`", sink)).map(|n| n.text);
    let params = fields.take("params").map(|e| params(e.value, sink)).unwrap_or_default();
    let vars = fields.take("vars").map(|e| variables(e.value, "`vars:`", sink)).unwrap_or_default();
    for (var, _) in &vars {
        if let Some(param) = params.iter().find(|p| p.name.text == var.text) {
            let finding = sink
                .say(&DUPLICATE_VARIABLE, var.span, format!("`{}` is a parameter already", var.text))
                .label("declared again")
                .also(sink.at(param.name.span), "declared here")
                .help("keep one of the two");
            sink.push(finding);
        }
    }
    let when = fields.take("when").and_then(|e| Condition::read(e.value, sink));
    let depends_on =
        fields.take("depends_on").map(|e| names(e.value, "`depends_on:`", true, sink)).unwrap_or_default();
    let defaults =
        fields.take("defaults").map(|e| attributes(e.value, "`defaults:`", sink)).unwrap_or_default();
    let list = fields.take("resources");
    fields.finish(sink);
    let resources = match list {
        None => Vec::new(),
        Some(e) => match e.value.value {
            Value::Seq(items) => kept(items.into_iter().filter_map(|n| resource(n, sink))),
            Value::Null => Vec::new(),
            other => {
                wrong_kind(sink, e.value.span, "`resources:`", "a list of resources", &other);
                Vec::new()
            }
        },
    };
    Some(ModuleAst { name: declared?, doc, params, vars, when, depends_on, defaults, resources })
}

fn params(node: Node, sink: &mut Sink) -> Vec<ParamAst> {
    let Some(fields) = Fields::of(node, "`params:`", &[], sink) else { return Vec::new() };
    let mut out = Vec::new();
    for entry in fields.rest() {
        let name = Name { text: Arc::from(entry.key.text), span: entry.key.span };
        if !check_name(&name, "the name of a parameter", sink) {
            continue;
        }
        let Some(mut fields) = Fields::of(entry.value, "a parameter", &PARAM_KEYS, sink) else {
            continue;
        };
        let written = fields.take("type");
        let default = fields.take("default").map(|e| Syn::new(e.value, false, sink));
        if written.is_none() && default.is_none() {
            let finding = sink
                .say(
                    &MISSING_KEY,
                    name.span,
                    format!("parameter `{}` has neither a type nor a default", name.text),
                )
                .label("of which type?")
                .help(format!("write `{}: {{ type: string }}`, or give a `default:`", name.text));
            sink.push(finding);
        }
        let type_name = written.and_then(|e| text(&e.value, "`type:`", sink));
        let doc = fields.take("doc").and_then(|e| text(&e.value, "`doc:`", sink)).map(|n| n.text);
        fields.finish(sink);
        let declared = type_name.as_ref().and_then(|t| {
            let parsed = Type::parse(&t.text);
            if parsed.is_none() {
                let finding = sink
                    .say(&UNKNOWN_TYPE_NAME, t.span, format!("`{}` is not a type", t.text))
                    .label("unknown type")
                    .maybe_help(match t.text.split_once('(') {
                        Some(("enum", rest)) if !rest.contains(')') => Some(
                            "in a flow mapping a comma ends the value: write `type: \"enum(a, b)\"`".into(),
                        ),
                        _ => suggest(&t.text, Type::NAMES),
                    });
                sink.push(finding);
            }
            parsed
        });
        let type_span = type_name.map_or(name.span, |t| t.span);
        out.push(ParamAst { name, declared, type_span, default, doc });
    }
    out
}

fn attributes(node: Node, what: &str, sink: &mut Sink) -> Vec<AttributeAst> {
    let Some(fields) = Fields::of(node, what, &[], sink) else { return Vec::new() };
    kept(fields.rest().into_iter().map(|e| attribute(e, sink)))
}

fn attribute(e: Entry, sink: &mut Sink) -> AttributeAst {
    AttributeAst {
        name: Name { text: Arc::from(e.key.text), span: e.key.span },
        value: Syn::new(e.value, true, sink),
    }
}

fn resource(node: Node, sink: &mut Sink) -> Option<ResourceAst> {
    let span = node.span;
    let mut fields = Fields::of(node, "a resource", &[], sink)?;
    let name = fields.take("name").map(|e| Syn::new(e.value, true, sink));
    let kind = fields.need("type", sink).and_then(|e| text(&e.value, "`type:`", sink));
    let when = fields.take("when").and_then(|e| Condition::read(e.value, sink)).map(Box::new);
    let foreach = fields.take("foreach").and_then(|e| text(&e.value, "`foreach:`", sink));
    let case = fields.take("case").map(|e| Box::new(Syn::new(e.value, true, sink)));
    let branches = fields.take("match");
    let match_span = branches.as_ref().map(|e| e.key.span);
    let branches = branches.map(|e| match_branches(e.value, sink)).unwrap_or_default();
    fields.take("doc");
    let mut references = |key: &str, sink: &mut Sink| {
        fields.take(key).map(|e| names(e.value, &format!("`{key}:`"), false, sink)).unwrap_or_default()
    };
    let depends_on = references("depends_on", sink);
    let before = references("before", sink);
    let notify = references("notify", sink);
    let subscribes = references("subscribes", sink);
    let attributes = kept(fields.rest().into_iter().map(|e| attribute(e, sink)));
    Some(ResourceAst {
        span: start_of(span).cover(span),
        name,
        kind,
        when,
        foreach,
        case,
        branches,
        match_span,
        depends_on,
        before,
        notify,
        subscribes,
        attributes,
    })
}

fn match_branches(node: Node, sink: &mut Sink) -> Vec<(Name, Vec<AttributeAst>)> {
    let Some(fields) = Fields::of(node, "`match:`", &[], sink) else { return Vec::new() };
    kept(fields.rest().into_iter().map(|e| {
        let label = Name { text: Arc::from(e.key.text), span: e.key.span };
        (label, attributes(e.value, "a branch of `match:`", sink))
    }))
}
