//! What makes of one resource several, or one of several kinds: `foreach`, `case`, and the name that tells them apart.

use super::{NameForm, TypedAttribute, Typing};
use crate::diagnostic::codes::{
    INVALID_NAME, ITEM_NOT_NAMED, MISSING_KEY, SECRET_FLOW, TYPE_MISMATCH, UNCOVERED_CASE, UNKNOWN_VARIABLE,
    WRONG_KIND,
};
use crate::diagnostic::nearest::{listed, nearest, suggest};
use crate::expr::{Lowered, Spans, VarType, template};
use crate::schema::{ResourceType, Stage};
use crate::syntax::{Name, ResourceAst, Syn, SynKind};
use crate::types::{Refinement, Type};
use crate::values::{self, article};
use ir::{Expr, Root};
use std::sync::Arc;

impl Typing<'_> {
    pub(super) fn foreach(&mut self, list: &Name) -> Option<(Lowered, Type)> {
        let mut steps = list.text.split('.');
        let first = steps.next().unwrap_or_default();
        let mut whole = first.to_owned();
        let mut ty = match self.vars.get(first) {
            Some(VarType::Set(ty) | VarType::Elsewhere(ty)) => ty.clone(),
            None => {
                let known = self.vars.keys().map(|k| &**k);
                let message = format!(
                    "`{first}` is not defined for any envoy that gets module `{}`",
                    self.module.name.text
                );
                let mut finding =
                    self.sink.say(&UNKNOWN_VARIABLE, list.span, message).label("no layer sets this");
                finding = match nearest(first, known) {
                    Some(near) => finding.help(format!("did you mean `{near}`?")),
                    None => finding.help("`foreach:` names a list variable, without `.Vars`"),
                };
                self.sink.push(finding);
                return None;
            }
        };
        for step in steps {
            ty = match ty {
                Type::Record(mut fields) => match fields.remove(step) {
                    Some(ty) => ty,
                    None => {
                        values::unknown_field(&mut self.sink, list.span, &whole, step, &fields);
                        return None;
                    }
                },
                Type::Map(t) => *t,
                _ => Type::Any,
            };
            whole = format!("{whole}.{step}");
        }
        let element = match ty {
            Type::List(t) => *t,
            Type::Any => Type::Any,
            other => {
                let message = format!("`foreach:` wants a list, not {}", article(&other.to_string()));
                let finding = self.sink.say(&TYPE_MISMATCH, list.span, message).label(other.to_string());
                self.sink.push(finding);
                return None;
            }
        };
        let expr = Expr::Path(Root::Vars, list.text.split('.').map(Arc::from).collect());
        let lowered = Lowered {
            expr,
            spans: Spans::leaf(list.span),
            ty: Type::List(Box::new(element.clone())),
            secret: false,
            optional: false,
        };
        Some((lowered, element))
    }

    pub(super) fn case(&mut self, r: &ResourceAst, item: Option<&Type>) -> Option<Lowered> {
        let syn = match (&r.case, r.match_span) {
            (Some(syn), Some(_)) => syn,
            (None, None) => return None,
            (Some(syn), None) => {
                let finding =
                    self.sink.say(&MISSING_KEY, syn.span, "a `case:` needs a `match:`").label("no `match:`");
                self.sink.push(finding);
                return None;
            }
            (None, Some(span)) => {
                let finding =
                    self.sink.say(&MISSING_KEY, span, "a `match:` needs a `case:`").label("no `case:`");
                self.sink.push(finding);
                return None;
            }
        };
        let scope = self.scope(item, Stage::Specialise, "the value of a `case:`", false);
        let text = syn.as_text()?;
        let to_file = |s| text.scalar.map.to_file(s);
        let lowered = match &text.template {
            Some(t) => template::lower_action(t, &to_file, &scope, &mut self.sink)
                .unwrap_or_else(|| template::lower(t, syn.span, &to_file, &scope, &mut self.sink)),
            None => {
                let finding = self
                    .sink
                    .say(&WRONG_KIND, syn.span, "a `case:` without an action is always the same")
                    .label("not a template")
                    .help("write, for example, \"{{ .Traits.os.family }}\"");
                self.sink.push(finding);
                return None;
            }
        };
        if lowered.secret {
            let finding = self
                .sink
                .say(&SECRET_FLOW, lowered.spans.span, "a `case:` cannot look at a secret")
                .label("a secret")
                .help("secrets may flow only into file content and attributes that are marked sensitive");
            self.sink.push(finding);
            return None;
        }
        let has_default = r.branches.iter().any(|(l, _)| &*l.text == "default");
        if let Type::Refined(Refinement::Enum(values)) = &lowered.ty {
            for (label, _) in r.branches.iter().filter(|(l, _)| &*l.text != "default") {
                if !values.contains(&label.text) {
                    let finding = self
                        .sink
                        .say(&UNCOVERED_CASE, label.span, format!("the case is never `{}`", label.text))
                        .label("never taken")
                        .maybe_help(suggest(&label.text, values.iter().map(|v| &**v)));
                    self.sink.push(finding);
                }
            }
            let missing: Vec<&str> = values
                .iter()
                .map(|v| &**v)
                .filter(|v| !r.branches.iter().any(|(l, _)| &*l.text == *v))
                .collect();
            if !has_default && !missing.is_empty() {
                let finding = self
                    .sink
                    .say(&UNCOVERED_CASE, syn.span, format!("no branch for {}", listed(missing)))
                    .label("not covered")
                    .help("add the missing branches, or a `default:`");
                self.sink.push(finding);
            }
        } else if !has_default {
            let finding = self
                .sink
                .say(&UNCOVERED_CASE, syn.span, "a case over free text needs a `default:` branch")
                .label(lowered.ty.to_string())
                .help("add `default: { ... }` under `match:`");
            self.sink.push(finding);
        }
        Some(lowered)
    }

    pub(super) fn name(
        &mut self,
        r: &ResourceAst,
        ty: &ResourceType,
        item: Option<&Type>,
        attributes: &[TypedAttribute],
    ) -> Option<NameForm> {
        // what was reported might have mentioned it
        let mentions_item = |l: &Lowered| {
            let mut found = l.is_broken();
            l.expr.walk(&mut |e| found |= matches!(e, Expr::Path(Root::Item, _)));
            found
        };
        let (form, named, span) = match &r.name {
            None => {
                let key = attributes.iter().find(|a| a.name.text == ty.key);
                let mut named = key.is_none();
                if let Some(key) = key {
                    key.shape.leaves(&mut |l| named |= mentions_item(l));
                }
                (NameForm::Key, named, r.kind.as_ref().map_or(r.span, |k| k.span))
            }
            Some(Syn { kind: SynKind::Text(text), span }) => match &text.template {
                None => {
                    let name = Name { text: Arc::from(text.scalar.text.as_str()), span: *span };
                    if name.text.is_empty() || name.text.contains('*') {
                        let finding = self
                            .sink
                            .say(&INVALID_NAME, *span, "this cannot be the name of a resource")
                            .label("not a name")
                            .help("a name is not empty and has no `*`");
                        self.sink.push(finding);
                        return None;
                    }
                    (NameForm::Literal(name), false, *span)
                }
                Some(t) => {
                    let to_file = |s| text.scalar.map.to_file(s);
                    let scope = self.scope(item, Stage::Specialise, "the name of a resource", false);
                    let lowered = template::lower(t, *span, &to_file, &scope, &mut self.sink);
                    if lowered.secret {
                        let finding = self
                            .sink
                            .say(&SECRET_FLOW, *span, "a secret cannot flow into a name")
                            .label("a secret flows in here");
                        self.sink.push(finding);
                    }
                    let named = mentions_item(&lowered);
                    (NameForm::Template(Box::new(lowered)), named, *span)
                }
            },
            Some(other) => {
                let finding = self
                    .sink
                    .say(
                        &WRONG_KIND,
                        other.span,
                        format!("the name of a resource is text, not {}", other.describe()),
                    )
                    .label(other.describe());
                self.sink.push(finding);
                return None;
            }
        };
        if item.is_some() && !named {
            let finding = self
                .sink
                .say(&ITEM_NOT_NAMED, span, "each instance of a foreach needs a name of its own")
                .label("the same for every item")
                .help("mention `.Item` in the name, such as \"user-{{ .Item.name }}\"");
            self.sink.push(finding);
        }
        Some(form)
    }
}
