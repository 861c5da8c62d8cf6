//! What may be absent: a path, what is taken from it, and `default`, which excuses that.

use super::machine::{At, Machine, Step, known, path_name, size, wrong_count};
use super::{EvalError, EvalErrorKind, Outcome};
use crate::builtin::Builtin;
use crate::expr::Expr;
use crate::facts::Fact;
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What became of something that `default` may excuse.
enum Found {
    Outcome(Outcome),
    /// It is not there; the residual is for where that does not matter yet.
    Missing(EvalError, Expr),
}

impl Machine<'_> {
    pub(super) fn present(&mut self, expr: &Expr) -> Step<Outcome> {
        match self.find(expr)? {
            Found::Outcome(o) => Ok(o),
            Found::Missing(error, _) if self.certain => Err(error),
            Found::Missing(_, residual) => Ok(Outcome::Residual(residual)),
        }
    }

    /// `default D V`. D is only computed when it is needed.
    pub(super) fn default(&mut self, args: &[Expr]) -> Step<Outcome> {
        let f = Builtin::Default;
        let [fallback, value] = args else {
            let args = self.perhaps_all(args)?;
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
                let fallback = self.perhaps(fallback).at(0)?;
                let fallback = self.residual(fallback);
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
        let base = self.excused(base).at(0)?;
        self.field_of(base, name)
    }

    fn field_of(&mut self, base: Found, name: &Arc<str>) -> Step<Found> {
        let again = |base| Expr::Field(Box::new(base), name.clone());
        Ok(match base {
            Found::Missing(error, base) => Found::Missing(error.at(0), again(base)),
            Found::Outcome(Outcome::Residual(base)) => Found::Outcome(Outcome::Residual(again(base))),
            Found::Outcome(Outcome::Known(Value::Map(mut map))) => match map.remove(name) {
                Some(v) => Found::Outcome(Outcome::Known(v)),
                // It is missing from an empty map just as well.
                None => self.missing(name, again(Expr::Const(Value::Map(BTreeMap::new())))),
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
            Found::Outcome(o) => self.open(o).at(0)?,
            Found::Missing(error, item) => {
                let keys = self.perhaps_all(keys)?;
                let args = [item].into_iter().chain(keys).collect();
                return Ok(Found::Missing(error.at(0), Expr::Call(f, args)));
            }
        };
        let args = self.keys(item, keys)?;
        self.element(args)
    }

    fn keys(&mut self, item: Outcome, keys: &[Expr]) -> Step<Vec<Outcome>> {
        // As long as the item may be missing, and that be excused, nothing may be said of the keys.
        let certain = self.certain && matches!(item, Outcome::Known(_));
        let was = std::mem::replace(&mut self.certain, certain);
        let mut args = vec![item];
        let result = keys.iter().enumerate().try_for_each(|(n, key)| {
            args.push(self.expr(key).and_then(|o| self.open_deep(o)).at(n + 1)?);
            Ok(())
        });
        self.certain = was;
        result.map(|()| args)
    }

    fn element(&mut self, args: Vec<Outcome>) -> Step<Found> {
        let f = Builtin::Index;
        Ok(match known(args) {
            Err(args) => Found::Outcome(Outcome::Residual(Expr::Call(f, self.exprs(args)))),
            Ok(args) => match self.compute(f, &args) {
                Ok(v) => Found::Outcome(Outcome::Known(v)),
                Err(error @ EvalErrorKind::Call { .. }) => {
                    let args = args.into_iter().map(|v| self.constant(v)).collect();
                    Found::Missing(error.into(), Expr::Call(f, args))
                }
                Err(error) => return Err(error.into()),
            },
        })
    }
}

fn excusable(expr: &Expr) -> bool {
    matches!(expr, Expr::Path(..) | Expr::Field(..) | Expr::Call(Builtin::Index, _))
}
