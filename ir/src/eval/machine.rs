//! Expressions. Templates are in `template`.

use super::{Budget, EvalError, EvalErrorKind, Outcome};
use crate::builtin::{self, Builtin, Fault, Kind, logic::truth};
use crate::expr::{Expr, Root, Slot};
use crate::facts::{Fact, Facts};
use crate::value::Value;
use regex::Regex;
use std::collections::HashMap;
use std::sync::Arc;

pub(super) type Step<T> = Result<T, EvalError>;

/// One evaluation.
///
/// Where a stage cannot decide whether a part is reached, `certain` is off, and a part that fails becomes
/// its own residual: see [`Machine::fail`].
pub(super) struct Machine<'a> {
    pub(super) facts: &'a dyn Facts,
    pub(super) budget: &'a mut Budget,
    /// `None`: set, but only a later stage knows to what.
    pub(super) slots: HashMap<Slot, Option<Value>>,
    pub(super) certain: bool,
    pub(super) nearest: super::template::Loop,
    pub(super) regexes: HashMap<Arc<str>, Regex>,
    open: Option<String>,
}

/// Builds the trail of an error on its way out, innermost child first.
pub(super) trait At {
    fn at(self, child: usize) -> Self;
}

impl<T> At for Step<T> {
    fn at(self, child: usize) -> Self {
        self.map_err(|e| e.at(child))
    }
}

impl At for EvalError {
    fn at(mut self, child: usize) -> Self {
        self.trail.push(u32::try_from(child).unwrap_or(u32::MAX));
        self
    }
}

impl<'a> Machine<'a> {
    pub(super) fn new(facts: &'a dyn Facts, budget: &'a mut Budget) -> Self {
        Machine {
            facts,
            budget,
            slots: HashMap::new(),
            certain: true,
            nearest: super::template::Loop::None,
            regexes: HashMap::new(),
            open: None,
        }
    }

    pub(super) fn run(&mut self, expr: &Expr) -> Step<Outcome> {
        let outcome = self.expr(expr).and_then(|o| match o {
            Outcome::Known(mut v) => match self.fill_secrets(&mut v) {
                Some(kind) => Err(kind.into()),
                None => Ok(Outcome::Known(v)),
            },
            residual => Ok(residual),
        });
        outcome.map_err(|mut e| {
            e.trail.reverse();
            e
        })
    }

    /// The first thing that only a later stage knows.
    pub(super) fn first_open(&mut self) -> String {
        self.open.take().unwrap_or_default()
    }

    // Only tells the kinds apart: what it holds itself is on the stack once for every level of nesting.
    pub(super) fn expr(&mut self, expr: &Expr) -> Step<Outcome> {
        self.spend(1)?;
        match expr {
            Expr::Const(v) => self.copy(v),
            Expr::Path(..) | Expr::Field(..) | Expr::Call(Builtin::Index, _) => self.present(expr),
            Expr::Local(slot) => self.local(*slot),
            Expr::List(items) => self.list(items),
            Expr::Map(entries) => self.map(entries),
            Expr::Call(Builtin::And, args) => self.operand(Builtin::And, args),
            Expr::Call(Builtin::Or, args) => self.operand(Builtin::Or, args),
            Expr::Call(Builtin::Default, args) => self.default(args),
            Expr::Call(f, args) => self.call(*f, args),
            Expr::Not(e) => self.not(e),
            Expr::And(l, r) => self.connective(false, l, r),
            Expr::Or(l, r) => self.connective(true, l, r),
            Expr::Compare(op, l, r) => self.compare(*op, l, r),
            Expr::Template(pieces) => self.template(pieces),
        }
    }

    fn map(&mut self, entries: &[(Arc<str>, Expr)]) -> Step<Outcome> {
        let values = self.all(entries.iter().map(|(_, e)| e))?;
        let keys = entries.iter().map(|(key, _)| key.clone());
        Ok(match known(values) {
            Ok(values) => Outcome::Known(Value::Map(keys.zip(values).collect())),
            Err(values) => Outcome::Residual(Expr::Map(keys.zip(self.exprs(values)).collect())),
        })
    }

    fn copy(&mut self, value: &Value) -> Step<Outcome> {
        self.spend(size(value))?;
        Ok(Outcome::Known(value.clone()))
    }

    fn local(&mut self, slot: Slot) -> Step<Outcome> {
        match self.slots.get(&slot) {
            Some(Some(v)) => {
                let v = v.clone();
                self.spend(size(&v))?;
                Ok(Outcome::Known(v))
            }
            Some(None) => Ok(Outcome::Residual(Expr::Local(slot))),
            None => self.fail(EvalErrorKind::UnsetLocal(slot), || Expr::Local(slot)),
        }
    }

    fn list(&mut self, items: &[Expr]) -> Step<Outcome> {
        let items = self.all(items)?;
        Ok(match known(items) {
            Ok(values) => Outcome::Known(Value::List(values)),
            Err(items) => Outcome::Residual(Expr::List(self.exprs(items))),
        })
    }

    fn not(&mut self, e: &Expr) -> Step<Outcome> {
        match self.expr(e).at(0)? {
            Outcome::Known(Value::Bool(b)) => Ok(Outcome::Known(Value::Bool(!b))),
            Outcome::Known(v) => self.wrong_type("bool", v, |e| Expr::Not(Box::new(e))),
            Outcome::Residual(r) => Ok(Outcome::Residual(Expr::Not(Box::new(r)))),
        }
    }

    /// `&&` (decided by false) and `||` (decided by true).
    fn connective(&mut self, decides: bool, l: &Expr, r: &Expr) -> Step<Outcome> {
        let build = if decides { Expr::Or } else { Expr::And };
        match self.expr(l).at(0)? {
            Outcome::Known(Value::Bool(b)) if b == decides => Ok(Outcome::Known(Value::Bool(b))),
            Outcome::Known(Value::Bool(_)) => match self.expr(r).at(1)? {
                Outcome::Known(v) if !matches!(v, Value::Bool(_)) => self.wrong_type("bool", v, |e| {
                    build(Box::new(Expr::Const(Value::Bool(!decides))), Box::new(e))
                }),
                outcome => Ok(outcome),
            },
            Outcome::Known(v) => {
                let r = self.perhaps(r).at(1)?;
                let r = self.residual(r);
                self.wrong_type("bool", v, |e| build(Box::new(e), Box::new(r)))
            }
            Outcome::Residual(l) => match self.perhaps(r).at(1)? {
                // Only the right side may go: the left one is reached and may fail.
                Outcome::Known(Value::Bool(b)) if b != decides => Ok(Outcome::Residual(l)),
                r => Ok(Outcome::Residual(build(Box::new(l), Box::new(self.residual(r))))),
            },
        }
    }

    fn call(&mut self, f: Builtin, args: &[Expr]) -> Step<Outcome> {
        let args = self.all(args)?;
        self.apply(f, args)
    }

    fn apply(&mut self, f: Builtin, args: Vec<Outcome>) -> Step<Outcome> {
        // These do not look inside the value.
        let shallow = matches!(f, Builtin::Not | Builtin::Len | Builtin::Slice);
        let opened = args
            .into_iter()
            .enumerate()
            .map(|(n, arg)| if shallow { self.open(arg).at(n) } else { self.open_deep(arg).at(n) });
        let args = match known(opened.collect::<Step<Vec<_>>>()?) {
            Ok(values) => values,
            Err(args) => return Ok(Outcome::Residual(Expr::Call(f, self.exprs(args)))),
        };
        let residual = |args: Vec<Value>| Expr::Call(f, args.into_iter().map(Expr::Const).collect());
        match f.kind() {
            Kind::Pure => match self.compute(f, &args) {
                Ok(v) => Ok(Outcome::Known(v)),
                Err(kind) => self.fail(kind, || residual(args)),
            },
            Kind::Traits => self.trait_call(f, args),
            Kind::Class | Kind::Agent => match self.facts.ask(f, &args) {
                Fact::Known(v) => Ok(Outcome::Known(v)),
                Fact::Absent => self.fail(EvalErrorKind::Absent(f.name().to_owned()), || residual(args)),
                Fact::NotYet => {
                    self.note_open(|| f.name().to_owned());
                    Ok(Outcome::Residual(residual(args)))
                }
            },
        }
    }

    /// Output of functions is not rendered text, but it is held in memory: 16 bytes are a step.
    pub(super) fn compute(&mut self, f: Builtin, args: &[Value]) -> Result<Value, EvalErrorKind> {
        let value = builtin::call(f, args, self.budget.text).map_err(|fault| match fault {
            Fault::Message(message) => EvalErrorKind::Call { function: f, message },
            Fault::TooMuchText => EvalErrorKind::TooMuchText,
        })?;
        let text = value.as_str().map_or(0, str::len) as u64 / 16;
        self.spend_kind(text + size(&value))?;
        Ok(value)
    }

    /// Go's `and` and `or`: the first operand that decides, else the last.
    fn operand(&mut self, f: Builtin, args: &[Expr]) -> Step<Outcome> {
        let decides = f == Builtin::Or;
        let mut kept = Vec::new();
        for (n, arg) in args.iter().enumerate() {
            let last = n + 1 == args.len();
            let was = self.certain;
            self.certain = was && kept.is_empty();
            let outcome = self.expr(arg);
            // The last one is the result whatever it is.
            let outcome = if last { outcome } else { outcome.and_then(|o| self.open(o)) };
            self.certain = was;
            match outcome.at(n)? {
                Outcome::Known(v) if last || truth(&v) == decides => {
                    if kept.is_empty() {
                        return Ok(Outcome::Known(v));
                    }
                    kept.push(self.constant(v));
                    break;
                }
                // Not the result, and nothing else depends on it.
                Outcome::Known(_) => {}
                Outcome::Residual(r) => kept.push(r),
            }
        }
        match kept.len() {
            0 => self.fail(wrong_count(f), || Expr::Call(f, Vec::new())),
            1 => Ok(Outcome::Residual(kept.remove(0))),
            _ => Ok(Outcome::Residual(Expr::Call(f, kept))),
        }
    }

    fn all<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) -> Step<Vec<Outcome>> {
        exprs.into_iter().enumerate().map(|(n, e)| self.expr(e).at(n)).collect()
    }

    pub(super) fn exprs(&mut self, outcomes: Vec<Outcome>) -> Vec<Expr> {
        outcomes.into_iter().map(|o| self.residual(o)).collect()
    }

    pub(super) fn residual(&mut self, outcome: Outcome) -> Expr {
        match outcome {
            Outcome::Known(v) => self.constant(v),
            Outcome::Residual(e) => e,
        }
    }

    /// A constant for a residual; what is known of its secrets is filled in.
    pub(super) fn constant(&mut self, mut value: Value) -> Expr {
        // An absent secret is an error where its text is needed, not where it is passed on.
        let _ = self.fill_secrets(&mut value);
        Expr::Const(value)
    }

    /// Something that may not be reached at all: what fails in it stays as it is.
    pub(super) fn perhaps(&mut self, expr: &Expr) -> Step<Outcome> {
        let was = std::mem::replace(&mut self.certain, false);
        let outcome = self.expr(expr);
        self.certain = was;
        outcome
    }

    pub(super) fn perhaps_all(&mut self, exprs: &[Expr]) -> Step<Vec<Expr>> {
        let outcomes = exprs.iter().map(|e| self.perhaps(e)).collect::<Step<_>>()?;
        Ok(self.exprs(outcomes))
    }

    /// An error, or the failing expression itself where it may not be reached. The budget has no such way
    /// out.
    pub(super) fn fail(&self, kind: EvalErrorKind, residual: impl FnOnce() -> Expr) -> Step<Outcome> {
        let fatal = matches!(kind, EvalErrorKind::TooManySteps | EvalErrorKind::TooMuchText);
        if self.certain || fatal { Err(kind.into()) } else { Ok(Outcome::Residual(residual())) }
    }

    pub(super) fn wrong_type(
        &mut self,
        expected: &'static str,
        value: Value,
        residual: impl FnOnce(Expr) -> Expr,
    ) -> Step<Outcome> {
        let kind = EvalErrorKind::Type { expected, found: value.kind() };
        let value = self.constant(value);
        self.fail(kind, || residual(value))
    }

    /// Replaces a secret, where it is the whole value, by its text.
    pub(super) fn open(&mut self, outcome: Outcome) -> Step<Outcome> {
        match outcome {
            Outcome::Known(v @ Value::Secret(_)) => self.open_deep(Outcome::Known(v)),
            outcome => Ok(outcome),
        }
    }

    /// Replaces secrets anywhere inside by their texts; a residual when one is not known yet.
    pub(super) fn open_deep(&mut self, outcome: Outcome) -> Step<Outcome> {
        match outcome {
            Outcome::Known(mut v) if v.holds_secret() => match self.fill_secrets(&mut v) {
                Some(kind) => self.fail(kind, || Expr::Const(v)),
                None if v.holds_secret() => Ok(Outcome::Residual(Expr::Const(v))),
                None => Ok(Outcome::Known(v)),
            },
            outcome => Ok(outcome),
        }
    }

    /// Puts in the texts of all secrets that are known; says which one does not exist.
    fn fill_secrets(&mut self, value: &mut Value) -> Option<EvalErrorKind> {
        match value {
            Value::Secret(path) => match self.facts.secret(path) {
                Fact::Known(text) => {
                    *value = text;
                    None
                }
                Fact::Absent => Some(EvalErrorKind::Absent(secret_name(path))),
                Fact::NotYet => {
                    let name = secret_name(path);
                    self.note_open(|| name);
                    None
                }
            },
            Value::List(items) => items.iter_mut().fold(None, |e, v| e.or(self.fill_secrets(v))),
            Value::Map(map) => map.values_mut().fold(None, |e, v| e.or(self.fill_secrets(v))),
            _ => None,
        }
    }

    pub(super) fn note_open(&mut self, name: impl FnOnce() -> String) {
        if self.open.is_none() {
            self.open = Some(name());
        }
    }

    pub(super) fn spend(&mut self, steps: u64) -> Step<()> {
        Ok(self.spend_kind(steps)?)
    }

    fn spend_kind(&mut self, steps: u64) -> Result<(), EvalErrorKind> {
        let left = self.budget.steps.checked_sub(steps);
        self.budget.steps = left.unwrap_or(0);
        if left.is_some() { Ok(()) } else { Err(EvalErrorKind::TooManySteps) }
    }
}

/// All values, or the outcomes back.
pub(super) fn known(outcomes: Vec<Outcome>) -> Result<Vec<Value>, Vec<Outcome>> {
    if outcomes.iter().any(|o| matches!(o, Outcome::Residual(_))) {
        return Err(outcomes);
    }
    let value = |o| match o {
        Outcome::Known(v) => Some(v),
        Outcome::Residual(_) => None,
    };
    Ok(outcomes.into_iter().filter_map(value).collect())
}

pub(super) fn wrong_count(function: Builtin) -> EvalErrorKind {
    EvalErrorKind::Call { function, message: "wrong number of arguments".to_owned() }
}

fn secret_name(path: &str) -> String {
    format!("secret:{path}")
}

/// As people write it.
pub(super) fn path_name(root: Root, segments: &[Arc<str>]) -> String {
    segments.iter().fold(root.name().to_owned(), |name, s| name + "." + s)
}

/// What copying a value costs.
pub(super) fn size(value: &Value) -> u64 {
    match value {
        Value::List(l) => l.iter().fold(0, |n, v| n + 1 + size(v)),
        Value::Map(m) => m.values().fold(0, |n, v| n + 1 + size(v)),
        _ => 0,
    }
}
