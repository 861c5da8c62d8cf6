//! `roles.vgo`: named lists of modules.

use super::Name;
use super::fields::{Fields, name, names};
use super::layers::LayerAst;
use crate::diagnostic::Sink;
use grammar::Span;
use grammar::document::{Node, Value};

/// One role.
#[derive(Debug)]
pub struct RoleAst {
    /// Its name.
    pub name: Name,
    /// Roles that come before it.
    pub includes: Vec<Name>,
    /// Modules and variables.
    pub layer: LayerAst,
}

/// Reads a `roles.vgo`.
pub fn read(root: Node, sink: &mut Sink) -> Vec<RoleAst> {
    let Some(mut fields) = Fields::of(root, "roles.vgo", &["roles"], sink) else { return Vec::new() };
    let list = fields.take("roles");
    fields.finish(sink);
    let Some(list) = list else { return Vec::new() };
    let items = match list.value.value {
        Value::Seq(items) => items,
        Value::Null => Vec::new(),
        other => {
            super::fields::wrong_kind(sink, list.value.span, "`roles:`", "a list of roles", &other);
            Vec::new()
        }
    };
    items.into_iter().filter_map(|n| role(n, sink)).collect()
}

/// Keys of a role.
pub const KEYS: [&str; 6] = ["name", "doc", "includes", "modules", "exclude_modules", "vars"];

fn role(node: Node, sink: &mut Sink) -> Option<RoleAst> {
    let mut fields = Fields::of(node, "a role", &KEYS, sink)?;
    let declared = fields.need("name", sink).and_then(|e| name(&e.value, "the name of a role", sink));
    fields.take("doc");
    let includes =
        fields.take("includes").map(|e| names(e.value, "`includes:`", true, sink)).unwrap_or_default();
    let layer = LayerAst::take(&mut fields, sink);
    fields.finish(sink);
    declared.map(|name| RoleAst { name, includes, layer })
}

impl RoleAst {
    /// The role's place.
    pub fn span(&self) -> Span {
        self.name.span
    }
}
