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

/// What became of something that `default` may excuse.
pub(super) enum Found {
    Outcome(Outcome),
    /// It is not there; the residual is for where that does not matter yet.
    Missing(EvalError, Expr),
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

    pub(super) fn expr(&mut self, expr: &Expr) -> Step<Outcome> {
        self.spend(1)?;
        match expr {
            Expr::Const(v) => {
                self.spend(size(v))?;
                Ok(Outcome::Known(v.clone()))
            }
            Expr::Path(..) | Expr::Field(..) | Expr::Call(Builtin::Index, _) => match self.find(expr)? {
                Found::Outcome(o) => Ok(o),
                Found::Missing(error, _) if self.certain => Err(error),
                Found::Missing(_, residual) => Ok(Outcome::Residual(residual)),
            },
            Expr::Local(slot) => match self.slots.get(slot) {
                Some(Some(v)) => {
                    let v = v.clone();
                    self.spend(size(&v))?;
                    Ok(Outcome::Known(v))
                }
                Some(None) => Ok(Outcome::Residual(expr.clone())),
                None => self.fail(EvalErrorKind::UnsetLocal(*slot), || expr.clone()),
            },
            Expr::List(items) => {
                let items = self.all(items)?;
                Ok(match known(items) {
                    Ok(values) => Outcome::Known(Value::List(values)),
                    Err(items) => Outcome::Residual(Expr::List(self.exprs(items))),
                })
            }
            Expr::Map(keys, values) => {
                let values = self.all(values)?;
                Ok(match known(values) {
                    Ok(values) => Outcome::Known(Value::Map(keys.iter().cloned().zip(values).collect())),
                    Err(values) => Outcome::Residual(Expr::Map(keys.clone(), self.exprs(values))),
                })
            }
            Expr::Call(f, args) => self.call(*f, args),
            Expr::Not(e) => match self.expr(e).at(0)? {
                Outcome::Known(Value::Bool(b)) => Ok(Outcome::Known(Value::Bool(!b))),
                Outcome::Known(v) => self.wrong_type("bool", v, |e| Expr::Not(Box::new(e))),
                Outcome::Residual(r) => Ok(Outcome::Residual(Expr::Not(Box::new(r)))),
            },
            Expr::And(l, r) => self.connective(false, l, r),
            Expr::Or(l, r) => self.connective(true, l, r),
            Expr::Compare(op, l, r) => self.compare(*op, l, r),
            Expr::Template(pieces) => self.template(pieces),
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
                let r = self.perhaps(|m| m.residual(r))?;
                self.wrong_type("bool", v, |e| build(Box::new(e), Box::new(r)))
            }
            Outcome::Residual(l) => match self.perhaps(|m| m.expr(r)).at(1)? {
                // Only the right side may go: the left one is reached and may fail.
                Outcome::Known(Value::Bool(b)) if b != decides => Ok(Outcome::Residual(l)),
                r => Ok(Outcome::Residual(build(Box::new(l), Box::new(self.to_expr(r))))),
            },
        }
    }

    fn call(&mut self, f: Builtin, args: &[Expr]) -> Step<Outcome> {
        match f {
            Builtin::And => return self.operand(f, args),
            Builtin::Or => return self.operand(f, args),
            Builtin::Default => return self.default(args),
            _ => {}
        }
        let mut args = self.all(args)?;
        // The others look at more than whether and where the value is.
        if !matches!(f, Builtin::Not | Builtin::Len | Builtin::Slice) {
            for (n, arg) in args.iter_mut().enumerate() {
                *arg = self.open_deep(std::mem::replace(arg, Outcome::Known(Value::Null))).at(n)?;
            }
        } else {
            for (n, arg) in args.iter_mut().enumerate() {
                *arg = self.open(std::mem::replace(arg, Outcome::Known(Value::Null))).at(n)?;
            }
        }
        let args = match known(args) {
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
    fn compute(&mut self, f: Builtin, args: &[Value]) -> Result<Value, EvalErrorKind> {
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
            let outcome = if kept.is_empty() {
                self.expr(arg)
            } else {
                self.perhaps(|m| m.expr(arg).and_then(|o| m.open(o)))
            };
            let outcome = match outcome.at(n)? {
                // The last one is the result whatever it is.
                o if last => o,
                o => self.open(o).at(n)?,
            };
            match outcome {
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

    /// `default D V`. D is only computed when it is needed.
    fn default(&mut self, args: &[Expr]) -> Step<Outcome> {
        let f = Builtin::Default;
        let [fallback, value] = args else {
            let args = self.perhaps(|m| m.residuals(args))?;
            return self.fail(wrong_count(f), || Expr::Call(f, args));
        };
        let found = match self.excused(value).at(1)? {
            Found::Outcome(o) => self.open(o).at(1)?,
            Found::Missing(..) => Outcome::Known(Value::Null),
        };
        match found {
            Outcome::Known(Value::Null) => self.expr(fallback).at(0),
            Outcome::Known(Value::Str(s)) if s.is_empty() => self.expr(fallback).at(0),
            Outcome::Known(v) => Ok(Outcome::Known(v)),
            Outcome::Residual(value) => {
                let fallback = self.perhaps(|m| m.residual(fallback)).at(0)?;
                Ok(Outcome::Residual(Expr::Call(f, vec![fallback, value])))
            }
        }
    }

    /// A value whose absence the caller can bear. Only a path, and what is taken from it, is excused; what
    /// happens to become one while evaluating is wrapped, so that a later stage does not excuse it either.
    fn excused(&mut self, expr: &Expr) -> Step<Found> {
        if excusable(expr) {
            self.spend(1)?;
            return self.find(expr);
        }
        Ok(Found::Outcome(match self.expr(expr)? {
            Outcome::Residual(r) if excusable(&r) => Outcome::Residual(Expr::Call(Builtin::Or, vec![r])),
            outcome => outcome,
        }))
    }

    fn find(&mut self, expr: &Expr) -> Step<Found> {
        let outcome = match expr {
            Expr::Path(root, segments) => match self.facts.path(*root, segments) {
                Fact::Known(v) => {
                    self.spend(size(&v))?;
                    Outcome::Known(v)
                }
                Fact::Absent => {
                    let kind = EvalErrorKind::Absent(path_name(*root, segments));
                    return Ok(Found::Missing(kind.into(), expr.clone()));
                }
                Fact::NotYet => {
                    self.note_open(|| path_name(*root, segments));
                    Outcome::Residual(expr.clone())
                }
            },
            Expr::Field(base, name) => return self.field(expr, base, name),
            Expr::Call(Builtin::Index, args) => return self.index(args),
            _ => self.expr(expr)?,
        };
        Ok(Found::Outcome(outcome))
    }

    fn field(&mut self, whole: &Expr, base: &Expr, name: &Arc<str>) -> Step<Found> {
        if let Some(v) = self.peek(whole) {
            let v = v.clone();
            self.spend(size(&v))?;
            return Ok(Found::Outcome(Outcome::Known(v)));
        }
        let again = |base| Expr::Field(Box::new(base), name.clone());
        Ok(match self.excused(base).at(0)? {
            Found::Missing(error, base) => Found::Missing(error.at(0), again(base)),
            Found::Outcome(Outcome::Residual(base)) => Found::Outcome(Outcome::Residual(again(base))),
            Found::Outcome(Outcome::Known(Value::Map(mut map))) => match map.remove(name) {
                Some(v) => Found::Outcome(Outcome::Known(v)),
                None => self.missing(name, again(Expr::Const(Value::Map(map)))),
            },
            Found::Outcome(Outcome::Known(Value::Null)) => {
                self.missing(name, again(Expr::Const(Value::Null)))
            }
            Found::Outcome(Outcome::Known(v)) => Found::Outcome(self.wrong_type("map", v, again)?),
        })
    }

    fn missing(&self, name: &str, residual: Expr) -> Found {
        Found::Missing(EvalErrorKind::Absent(name.to_owned()).into(), residual)
    }

    /// A field of what a slot holds, without copying the rest of it.
    fn peek(&self, expr: &Expr) -> Option<&Value> {
        match expr {
            Expr::Local(slot) => self.slots.get(slot)?.as_ref(),
            Expr::Field(base, name) => match self.peek(base)? {
                Value::Map(m) => m.get(name),
                _ => None,
            },
            _ => None,
        }
    }

    /// What Go only finds when running (no such element) is absence here: `default` excuses it.
    fn index(&mut self, args: &[Expr]) -> Step<Found> {
        let f = Builtin::Index;
        let Some((item, keys)) = args.split_first() else {
            return self.fail(wrong_count(f), || Expr::Call(f, Vec::new())).map(Found::Outcome);
        };
        let item = match self.excused(item).at(0)? {
            Found::Missing(error, item) => {
                let mut args = vec![item];
                args.extend(self.perhaps(|m| m.residuals(keys))?);
                return Ok(Found::Missing(error.at(0), Expr::Call(f, args)));
            }
            Found::Outcome(o) => self.open(o).at(0)?,
        };
        // As long as the item may be missing, and that be excused, nothing may be said of the keys.
        let certain = self.certain && matches!(item, Outcome::Known(_));
        let was = std::mem::replace(&mut self.certain, certain);
        let keys: Step<Vec<_>> = keys
            .iter()
            .enumerate()
            .map(|(n, key)| self.expr(key).and_then(|o| self.open_deep(o)).at(n + 1))
            .collect();
        self.certain = was;
        let mut args = vec![item];
        args.extend(keys?);
        Ok(match known(args) {
            Err(args) => Found::Outcome(Outcome::Residual(Expr::Call(f, self.exprs(args)))),
            Ok(args) => match self.compute(f, &args) {
                Ok(v) => Found::Outcome(Outcome::Known(v)),
                Err(error @ EvalErrorKind::Call { .. }) => {
                    let args = args.into_iter().map(Expr::Const).collect();
                    Found::Missing(error.into(), Expr::Call(f, args))
                }
                Err(error) => return Err(error.into()),
            },
        })
    }

    fn all(&mut self, exprs: &[Expr]) -> Step<Vec<Outcome>> {
        exprs.iter().enumerate().map(|(n, e)| self.expr(e).at(n)).collect()
    }

    fn residual(&mut self, expr: &Expr) -> Step<Expr> {
        let outcome = self.expr(expr)?;
        Ok(self.to_expr(outcome))
    }

    fn residuals(&mut self, exprs: &[Expr]) -> Step<Vec<Expr>> {
        exprs.iter().enumerate().map(|(n, e)| self.residual(e).at(n)).collect()
    }

    fn exprs(&mut self, outcomes: Vec<Outcome>) -> Vec<Expr> {
        outcomes.into_iter().map(|o| self.to_expr(o)).collect()
    }

    pub(super) fn to_expr(&mut self, outcome: Outcome) -> Expr {
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
    pub(super) fn perhaps<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let was = std::mem::replace(&mut self.certain, false);
        let result = run(self);
        self.certain = was;
        result
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

fn excusable(expr: &Expr) -> bool {
    matches!(expr, Expr::Path(..) | Expr::Field(..) | Expr::Call(Builtin::Index, _))
}

fn wrong_count(function: Builtin) -> EvalErrorKind {
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
fn size(value: &Value) -> u64 {
    match value {
        Value::List(l) => l.iter().fold(0, |n, v| n + 1 + size(v)),
        Value::Map(m) => m.values().fold(0, |n, v| n + 1 + size(v)),
        _ => 0,
    }
}
