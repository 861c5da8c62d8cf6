//! `when:` expressions: static types, no truthiness.

use super::call::Within;
use super::path::Reading;
use super::truth;
use super::{Lowered, Lowering, Scope, Spans};
use crate::diagnostic::Sink;
use crate::diagnostic::codes::{INVALID_VALUE, SECRET_FLOW, TYPE_MISMATCH, UNKNOWN_FUNCTION};
use crate::syntax::Condition;
use crate::types::{Refinement, Type};
use crate::values::article;
use grammar::Span;
use grammar::when::{CompareOp as Written, Expr as When, ExprKind};
use ir::{Builtin, CompareOp, Expr, Finite, Root, Value};
use std::sync::Arc;

/// A condition as a bool expression.
pub fn lower(condition: &Condition, scope: &Scope<'_>, sink: &mut Sink) -> Lowered {
    let to_file = |s| condition.scalar.map.to_file(s);
    let before = sink.found.len();
    let mut lowering = Lowering { scope, sink, to_file: &to_file, present: Vec::new() };
    let lowered = lowering.when(&condition.expr);
    lowering.must_be_bool(&lowered, "a condition");
    let lowered = lowered.unless_reported(before, sink);
    if lowered.ty == Type::Bool && !lowered.is_broken() {
        truth::report(&lowered.expr, &lowered.spans, condition.span, sink);
    }
    lowered
}

/// A lone expression of any type, for `vigoc eval`.
pub fn lower_any(expr: &When, scope: &Scope<'_>, sink: &mut Sink) -> Lowered {
    let to_file = |s| s;
    Lowering { scope, sink, to_file: &to_file, present: Vec::new() }.when(expr)
}

impl Lowering<'_> {
    fn when(&mut self, e: &When) -> Lowered {
        match &e.kind {
            ExprKind::Text(t) => self.constant(Value::str(t), e.span),
            ExprKind::Int(i) => self.constant(Value::Int(*i), e.span),
            ExprKind::Float(f) => {
                let value = Finite::new(*f).map_or(Value::Null, Value::Float);
                self.constant(value, e.span)
            }
            ExprKind::Bool(b) => self.constant(Value::Bool(*b), e.span),
            ExprKind::Error => Lowered::error(self.at(e.span)),
            ExprKind::List(items) => self.list(items, e.span),
            ExprKind::Path(steps) => {
                let root = match steps.first().map(|s| s.text.as_str()) {
                    Some("traits") => Root::Traits,
                    Some("vars") => Root::Vars,
                    _ => Root::Item,
                };
                let lowered = self.path(root, &steps[1..], e.span, Reading::Value);
                self.no_secret(&lowered);
                lowered
            }
            ExprKind::Call { name, args, .. } => self.when_call(name, args, e.span),
            ExprKind::Not(inner) => {
                let known = self.present.len();
                let inner = self.when(inner);
                self.present.truncate(known);
                self.must_be_bool(&inner, "what `!` negates");
                let spans = vec![inner.spans];
                Lowered::new(Expr::Not(Box::new(inner.expr)), self.at(e.span), spans, Type::Bool)
            }
            ExprKind::And(a, b) => {
                let left = self.when(a);
                self.must_be_bool(&left, "the left side of `&&`");
                shown_present(&left.expr, &mut self.present);
                let right = self.when(b);
                self.must_be_bool(&right, "the right side of `&&`");
                // what the right side has shown holds for what follows in the chain
                shown_present(&right.expr, &mut self.present);
                pair(left, right, self.at(e.span), Expr::And)
            }
            ExprKind::Or(a, b) => {
                let known = self.present.len();
                let left = self.when(a);
                self.must_be_bool(&left, "the left side of `||`");
                self.present.truncate(known);
                let right = self.when(b);
                self.must_be_bool(&right, "the right side of `||`");
                self.present.truncate(known);
                pair(left, right, self.at(e.span), Expr::Or)
            }
            ExprKind::Compare { op, left, right, .. } => {
                let (left, right) = (self.when(left), self.when(right));
                self.compare(*op, left, right, e.span)
            }
        }
    }

    fn list(&mut self, items: &[When], span: Span) -> Lowered {
        let items: Vec<Lowered> = items.iter().map(|i| self.when(i)).collect();
        let ty = items.iter().map(|i| i.ty.clone()).reduce(Type::join).unwrap_or(Type::Any);
        let (exprs, spans): (Vec<Expr>, Vec<Spans>) = items.into_iter().map(|i| (i.expr, i.spans)).unzip();
        let constant: Option<Vec<Value>> = exprs.iter().map(|e| e.as_const().cloned()).collect();
        let expr = constant.map_or_else(|| Expr::List(exprs), |values| Expr::Const(Value::List(values)));
        Lowered::new(expr, self.at(span), spans, Type::List(Box::new(ty)))
    }

    fn when_call(&mut self, name: &grammar::when::Ident, args: &[When], span: Span) -> Lowered {
        let Some(f) = self.function(&name.text, name.span, Within::When) else {
            args.iter().for_each(|a| drop(self.when(a)));
            return Lowered::error(self.at(span));
        };
        if f.builtin == Builtin::Changed && !self.scope.changed {
            let finding = self
                .sink
                .say(&UNKNOWN_FUNCTION, self.at(span), "`changed` is for the `when:` of a resource only")
                .label("not here");
            self.report(finding);
        }
        let args = args.iter().map(|a| self.when(a)).collect();
        self.call(f, args, span)
    }

    fn compare(&mut self, op: Written, left: Lowered, right: Lowered, span: Span) -> Lowered {
        let (op, symbol) = (compare_op(op), op.as_str());
        let any = |l: &Lowered| l.ty == Type::Any;
        match op {
            CompareOp::In => {
                let element = match &right.ty {
                    Type::List(t) => Some((**t).clone()),
                    Type::Any => Some(Type::Any),
                    _ => None,
                };
                match element {
                    Some(t) if comparable(&left.ty, &t) => self.enum_literals(&left, &right),
                    Some(t) => {
                        let message = format!("{} is never in a list of {t}", article(&left.ty.to_string()));
                        self.mismatch(&left, message);
                    }
                    None => {
                        let message =
                            format!("`in` wants a list on the right, not {}", article(&right.ty.to_string()));
                        self.mismatch(&right, message);
                    }
                }
            }
            CompareOp::Matches => {
                for (side, value) in [("left", &left), ("right", &right)] {
                    // a secret was reported as such
                    if !value.ty.is_text() && !any(value) && value.ty != Type::Secret {
                        let message = format!(
                            "`matches` wants text on the {side}, not {}",
                            article(&value.ty.to_string())
                        );
                        self.mismatch(value, message);
                    }
                }
                if let Expr::Const(Value::Str(pattern)) = &right.expr
                    && let Err(why) = Refinement::Regex.accepts(&Value::Str(pattern.clone()))
                {
                    let finding =
                        self.sink.say(&INVALID_VALUE, right.span(), why).label("not a regular expression");
                    self.report(finding);
                }
            }
            CompareOp::Eq | CompareOp::Ne => {
                if comparable(&left.ty, &right.ty) {
                    self.enum_literals(&left, &right);
                    self.enum_literals(&right, &left);
                } else {
                    self.incomparable(&left, &right, symbol, span);
                }
            }
            CompareOp::Lt | CompareOp::Le | CompareOp::Gt | CompareOp::Ge => {
                let ordered = |t: &Type| t.is_number() || t.is_text() || *t == Type::Any;
                if !comparable(&left.ty, &right.ty) || !ordered(&left.ty) || !ordered(&right.ty) {
                    self.incomparable(&left, &right, symbol, span);
                }
            }
        }
        pair(left, right, self.at(span), |a, b| Expr::Compare(op, a, b))
    }

    fn incomparable(&mut self, left: &Lowered, right: &Lowered, symbol: &str, span: Span) {
        let (a, b) = (left.ty.to_string(), right.ty.to_string());
        let message = format!("`{symbol}` cannot compare {} with {}", article(&a), article(&b));
        let (l, r) = (self.sink.at(left.span()), self.sink.at(right.span()));
        let mut finding = self.sink.say(&TYPE_MISMATCH, self.at(span), message).also(l, a).also(r, b);
        if left.ty == Type::Bool || right.ty == Type::Bool {
            finding = finding.help("a bool stands alone: `vars.x` or `!vars.x`");
        }
        self.report(finding);
    }

    /// Literals on one side, when the other side is an enum.
    fn enum_literals(&mut self, value: &Lowered, literals: &Lowered) {
        let Type::Refined(Refinement::Enum(values)) = &value.ty else { return };
        let of = match &value.expr {
            Expr::Path(root, steps) => {
                steps.iter().fold(root.name().to_owned(), |path, step| format!("{path}.{step}"))
            }
            _ => "this".to_owned(),
        };
        match &literals.expr {
            Expr::Const(Value::Str(s)) if !values.contains(s) => {
                self.not_in_enum(s, values, &of, literals.span());
            }
            Expr::Const(Value::List(items)) => {
                for (at, item) in items.iter().enumerate() {
                    if let Value::Str(s) = item
                        && !values.contains(s)
                    {
                        let span = literals.spans.follow(&[at as u32]);
                        self.not_in_enum(s, values, &of, span);
                    }
                }
            }
            _ => {}
        }
    }

    fn must_be_bool(&mut self, value: &Lowered, what: &str) {
        if value.ty == Type::Bool || value.ty == Type::Any {
            return;
        }
        let message = format!("{what} is a bool, not {}", article(&value.ty.to_string()));
        let help = match &value.ty {
            t if t.is_text() => Some("compare it: `... == 'text'`; text is neither true nor false"),
            t if t.is_number() => Some("compare it: `... != 0`; a number is neither true nor false"),
            Type::List(_) => Some("ask what you mean: `'x' in ...`"),
            _ => None,
        };
        let finding = self
            .sink
            .say(&TYPE_MISMATCH, value.span(), message)
            .label(value.ty.to_string())
            .maybe_help(help.map(str::to_owned));
        self.report(finding);
    }

    fn no_secret(&mut self, value: &Lowered) {
        if value.secret {
            let finding = self
                .sink
                .say(&SECRET_FLOW, value.span(), "a condition cannot look at a secret")
                .label("a secret")
                .help("secrets may flow only into file content and attributes that are marked sensitive");
            self.report(finding);
        }
    }
}

fn pair(
    left: Lowered,
    right: Lowered,
    span: Span,
    make: impl FnOnce(Box<Expr>, Box<Expr>) -> Expr,
) -> Lowered {
    let expr = make(Box::new(left.expr), Box::new(right.expr));
    Lowered::new(expr, span, vec![left.spans, right.spans], Type::Bool)
}

/// Traits that `has_trait` shows to be there when `expr` is true.
fn shown_present(expr: &Expr, present: &mut Vec<Arc<str>>) {
    match expr {
        Expr::And(a, b) => {
            shown_present(a, present);
            shown_present(b, present);
        }
        Expr::Call(Builtin::HasTrait, args) => {
            if let Some(Expr::Const(Value::Str(path))) = args.first() {
                present.push(path.clone());
            }
        }
        _ => {}
    }
}

fn comparable(a: &Type, b: &Type) -> bool {
    let text = |t: &Type| t.is_text() || *t == Type::Secret;
    *a == Type::Any
        || *b == Type::Any
        || (a.is_number() && b.is_number())
        || (text(a) && text(b))
        || (*a == Type::Bool && *b == Type::Bool)
        || matches!((a, b), (Type::List(x), Type::List(y)) if comparable(x, y))
}

fn compare_op(op: Written) -> CompareOp {
    match op {
        Written::Eq => CompareOp::Eq,
        Written::Ne => CompareOp::Ne,
        Written::Lt => CompareOp::Lt,
        Written::Le => CompareOp::Le,
        Written::Gt => CompareOp::Gt,
        Written::Ge => CompareOp::Ge,
        Written::In => CompareOp::In,
        Written::Matches => CompareOp::Matches,
    }
}
