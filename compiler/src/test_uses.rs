//! What policy tests name: modules, roles, variables, environments and resources. Apart from [`crate::uses`], which is
//! about what makes a policy; a rename in an editor has to reach the tests as well.

use crate::db::{Db, SourceFile};
use crate::diagnostic::Place;
use crate::syntax::test::Matcher;
use crate::syntax::{Body, Name, Syn, SynKind, ast};
use crate::uses::{Of, Use};
use grammar::Span;
use std::sync::Arc;

/// Every name in a file of policy tests, sorted by place; a name may be one of nothing.
#[salsa::tracked(returns(ref))]
pub fn test_uses(db: &dyn Db, file: SourceFile) -> Vec<Use> {
    let mut out = Vec::new();
    let Body::Tests(tests) = &ast(db, file).body else { return out };
    for test in tests {
        let mut walk =
            Walk { file: file.path(db), by: format!("test {}", test.name.text).into(), out: &mut out };
        if let Some(name) = &test.environment {
            walk.push(Of::Environment, &name.text, name.span, "chosen");
        }
        for (name, _) in &test.vars {
            walk.push(Of::Variable, &name.text, name.span, "set");
        }
        for (name, _) in &test.expect.vars {
            walk.push(Of::Variable, &name.text, name.span, "expected");
        }
        walk.matcher(Of::Module, test.expect.modules.as_ref());
        walk.matcher(Of::Role, test.expect.roles.as_ref());
        let resources = test.expect.resources.iter().map(|(name, _)| name);
        resources.chain(&test.expect.order).for_each(|name| walk.resource(name));
    }
    out.sort();
    out.dedup();
    out
}

struct Walk<'a> {
    file: &'a Arc<str>,
    by: Arc<str>,
    out: &'a mut Vec<Use>,
}

impl Walk<'_> {
    fn push(&mut self, of: Of, name: &str, span: Span, how: &'static str) {
        let place = Place { file: self.file.clone(), span };
        self.out.push(Use { of, name: name.into(), place, how, by: self.by.clone() });
    }

    fn resource(&mut self, name: &Name) {
        if let Some((module, _)) = name.text.split_once('.') {
            self.push(Of::Module, module, name.span, "referred to");
            self.push(Of::Resource, &name.text, name.span, "expected");
        }
    }

    /// The texts of a matcher are names of modules or roles.
    fn matcher(&mut self, of: Of, matcher: Option<&Matcher>) {
        for (_, syn) in matcher.into_iter().flat_map(|m| &m.all) {
            self.texts(of, syn);
        }
    }

    fn texts(&mut self, of: Of, syn: &Syn) {
        match &syn.kind {
            SynKind::Text(text) => self.push(of, &text.scalar.text, syn.span, "expected"),
            SynKind::List(items) => items.iter().for_each(|item| self.texts(of, item)),
            SynKind::Map(_) | SynKind::Empty | SynKind::Error => {}
        }
    }
}
