//! Values of one resource that exclude each other.

use super::Work;
use crate::diagnostic::codes::EXCLUSIVE_ATTRIBUTES;
use crate::diagnostic::{Diagnostic, Place};
use crate::expr::attribute::Shape;
use crate::specialise::typed::{TypedAttribute, TypedResource};
use ir::{Expr, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Work {
    /// Values that exclude each other; what only the host knows is for the host to refuse.
    pub(super) fn conflicts(
        &mut self,
        r: &TypedResource,
        chosen: &[TypedAttribute],
        values: &BTreeMap<Arc<str>, Expr>,
    ) {
        let is = |attribute: &Arc<str>, value: &Value| {
            values.get(attribute).and_then(Expr::as_const) == Some(value)
        };
        // of two of one name the branch of a `case:` counts
        let place = |attribute: &Arc<str>| {
            let written = r.attributes.iter().chain(chosen).rev().find(|a| a.name.text == *attribute)?;
            let mut span = written.name.span;
            if let Shape::Leaf(leaf) = &written.shape {
                span = leaf.spans.span;
            }
            Some(Place { file: written.file.clone(), span })
        };
        for conflict in &r.kind.conflicts {
            let (this, value) = &conflict.when;
            if !is(this, value) {
                continue;
            }
            let others = conflict.excludes.iter();
            let others = others.flat_map(|(other, values)| values.iter().map(move |value| (other, value)));
            for (other, excluded) in others.filter(|(other, value)| is(other, value)) {
                let (Some(first), Some(second)) = (place(this), place(other)) else { continue };
                let shown = |name: &str, value: &Value| {
                    format!("`{name}: {}`", ir::render(value).unwrap_or_default())
                };
                let message =
                    format!("{} and {} exclude each other", shown(this, value), shown(other, excluded));
                let finding = Diagnostic::new(&EXCLUSIVE_ATTRIBUTES, second, message)
                    .label("and this")
                    .also(first, "this")
                    .help(&conflict.help);
                self.sink.push(finding);
            }
        }
    }
}
