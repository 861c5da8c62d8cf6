//! The attributes of a resource: known, typed, complete.

use super::{TypedAttribute, Typing, tied};
use crate::db::Content;
use crate::diagnostic::Sink;
use crate::diagnostic::codes::{
    DEPENDENT_ATTRIBUTE, EXCLUSIVE_ATTRIBUTES, MISSING_ATTRIBUTE, UNGUARDED_EXEC, UNKNOWN_ATTRIBUTE,
    UNKNOWN_TEMPLATE, UNTRIGGERED_RESTART, WRONG_KIND,
};
use crate::diagnostic::nearest::{listed, nearest, suggest};
use crate::expr::attribute::{self, Shape};
use crate::expr::{Lowered, Spans, template};
use crate::resolve::index::templates;
use crate::schema::{ResourceType, Stage};
use crate::syntax::module::RESOURCE_KEYS;
use crate::syntax::{AttributeAst, Name, ResourceAst, SynKind};
use crate::types::Type;
use crate::values::{self, article};
use grammar::Span;
use ir::{Expr, Value};

impl Typing<'_> {
    pub(super) fn attributes(
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
        out.shrink_to_fit();
        out
    }

    pub(super) fn attribute(
        &mut self,
        a: &AttributeAst,
        ty: &'static ResourceType,
        item: Option<&Type>,
    ) -> Option<TypedAttribute> {
        let Some(schema) = ty.attributes.get(&a.name.text) else {
            let known = ty.attributes.keys().map(|k| &**k);
            if RESOURCE_KEYS.contains(&&*a.name.text) {
                let finding = self
                    .sink
                    .say(&UNKNOWN_ATTRIBUTE, a.name.span, format!("`{}` is not an attribute", a.name.text))
                    .label("a key of the resource")
                    .help("only attributes can stand here; write it in the resource itself");
                self.sink.push(finding);
                return None;
            }
            // A line that was no `key: value` at all has been reported as that.
            if matches!(a.value.kind, SynKind::Error) {
                return None;
            }
            let message = format!("type `{}` has no attribute `{}`", ty.name, a.name.text);
            let finding = self.sink.say(&UNKNOWN_ATTRIBUTE, a.name.span, message).label("unknown attribute");
            let by_source: &[&str] = match ty.attributes.values().any(|a| a.source) {
                true => &["source", "template"],
                false => &[],
            };
            let known = known.chain(by_source.iter().copied());
            let finding = match nearest(&a.name.text, known.clone().chain(RESOURCE_KEYS)) {
                Some(near) => finding.help(format!("did you mean `{near}`?")).guess(a.name.span, near),
                None => finding.help(format!("`{}` has {}", ty.name, listed(known))),
            };
            self.sink.push(finding);
            return None;
        };
        let what = format!("`{}`", a.name.text);
        let scope = self.scope(item, Stage::Converge, "an attribute", false);
        let shape = attribute::lower(&a.value, &schema.ty, schema.sensitive, &what, &scope, &mut self.sink)?;
        let file = self.sink.file.clone();
        Some(TypedAttribute { name: a.name.clone(), file, shape, ty: &schema.ty, total: false })
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
        let templates = templates(self.db, self.project);
        let Some(file) = templates.get(path) else {
            if text.template.is_some() {
                let finding = self
                    .sink
                    .say(&WRONG_KIND, a.value.span, "`source:` takes no template")
                    .label("not a path")
                    .help("choose between files with `case:` and `match:`");
                self.sink.push(finding);
                return None;
            }
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
            total: false,
        })
    }

    pub(super) fn completeness(
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
            .filter(|(name, a)| (a.required || **name == ty.key) && !written(name))
            // what may stand in the place of the key says as much
            .filter(|(name, _)| !ty.instead_of(name).any(|other| written(other)))
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
        if !tied {
            self.untriggered(ty, attributes.iter().chain(branches.iter().flat_map(|(_, all)| all)));
        }
    }

    /// Values that do something in every run, of a resource that does not wait for a change.
    fn untriggered<'t>(&mut self, ty: &ResourceType, all: impl Iterator<Item = &'t TypedAttribute>) {
        for a in all {
            let Some((_, values)) = ty.triggered.iter().find(|(name, _)| *name == a.name.text) else {
                continue;
            };
            let Shape::Leaf(leaf) = &a.shape else { continue };
            let Expr::Const(Value::Str(value)) = &leaf.expr else { continue };
            if values.contains(value) {
                let finding = self
                    .sink
                    .say(
                        &UNTRIGGERED_RESTART,
                        leaf.spans.span,
                        format!("this {} is {value} at every check of the host", ty.name),
                    )
                    .label("waits for nothing")
                    .help(
                        "add `when: changed` here and `notify:` with the name of this resource to what it has to follow, \
                         or write `state: running`",
                    );
                self.sink.push(finding);
            }
        }
    }
}
