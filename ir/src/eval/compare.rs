//! The comparisons of `when:`.

use super::machine::{At, Machine, Step};
use super::{EvalErrorKind, Outcome};
use crate::expr::{CompareOp, Expr};
use crate::value::Value;
use regex::Regex;
use std::cmp::Ordering;
use std::sync::Arc;

impl Machine<'_> {
    pub(super) fn compare(&mut self, op: CompareOp, l: &Expr, r: &Expr) -> Step<Outcome> {
        let l = self.expr(l).and_then(|o| self.open_deep(o)).at(0)?;
        let r = self.expr(r).and_then(|o| self.open_deep(o)).at(1)?;
        let rebuild = |l, r| Expr::Compare(op, Box::new(l), Box::new(r));
        match (l, r) {
            (Outcome::Known(l), Outcome::Known(r)) => match self.decide(op, &l, &r) {
                Ok(b) => Ok(Outcome::Known(Value::Bool(b))),
                Err(kind) => self.fail(kind, || rebuild(Expr::Const(l), Expr::Const(r))),
            },
            (l, r) => {
                let l = self.residual(l);
                Ok(Outcome::Residual(rebuild(l, self.residual(r))))
            }
        }
    }

    fn decide(&mut self, op: CompareOp, l: &Value, r: &Value) -> Result<bool, EvalErrorKind> {
        Ok(match op {
            CompareOp::Eq => same(l, r)?,
            CompareOp::Ne => !same(l, r)?,
            CompareOp::Lt => order(l, r)?.is_lt(),
            CompareOp::Le => order(l, r)?.is_le(),
            CompareOp::Gt => order(l, r)?.is_gt(),
            CompareOp::Ge => order(l, r)?.is_ge(),
            CompareOp::In => match r {
                Value::List(items) => items.iter().any(|v| same(l, v).unwrap_or(false)),
                _ => return Err(EvalErrorKind::Type { expected: "list", found: r.kind() }),
            },
            CompareOp::Matches => match (l, r) {
                (Value::Str(text), Value::Str(pattern)) => self.regex(pattern)?.is_match(text),
                (Value::Str(_), v) | (v, _) => {
                    return Err(EvalErrorKind::Type { expected: "string", found: v.kind() });
                }
            },
        })
    }

    /// A pattern inside a loop is compiled once.
    fn regex(&mut self, pattern: &Arc<str>) -> Result<Regex, EvalErrorKind> {
        if let Some(r) = self.regexes.get(pattern) {
            return Ok(r.clone());
        }
        let regex = Regex::new(pattern).map_err(|e| EvalErrorKind::Regex(e.to_string()))?;
        self.regexes.insert(pattern.clone(), regex.clone());
        Ok(regex)
    }
}

/// A trait may be null where its type says otherwise; it equals nothing else.
fn same(l: &Value, r: &Value) -> Result<bool, EvalErrorKind> {
    match (l, r) {
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => Ok(order(l, r)?.is_eq()),
        (Value::Null, _) | (_, Value::Null) => Ok(l == r),
        _ if l.kind() == r.kind() => Ok(l == r),
        _ => Err(EvalErrorKind::Type { expected: l.kind(), found: r.kind() }),
    }
}

fn order(l: &Value, r: &Value) -> Result<Ordering, EvalErrorKind> {
    match (l, r) {
        (Value::Int(l), Value::Int(r)) => Ok(l.cmp(r)),
        (Value::Str(l), Value::Str(r)) => Ok(l.cmp(r)),
        (Value::Float(l), Value::Float(r)) => Ok(l.get().partial_cmp(&r.get()).unwrap_or(Ordering::Equal)),
        (Value::Int(l), Value::Float(r)) => Ok(int_float(*l, r.get())),
        (Value::Float(l), Value::Int(r)) => Ok(int_float(*r, l.get()).reverse()),
        (Value::Int(_) | Value::Float(_) | Value::Str(_), _) => {
            Err(EvalErrorKind::Type { expected: l.kind(), found: r.kind() })
        }
        _ => Err(EvalErrorKind::Type { expected: "number or string", found: l.kind() }),
    }
}

/// Exact: converting a large integer to a float would lose its last digits.
fn int_float(i: i64, f: f64) -> Ordering {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if f >= LIMIT {
        return Ordering::Less;
    }
    if f < -LIMIT {
        return Ordering::Greater;
    }
    let whole = f.trunc();
    i.cmp(&(whole as i64)).then(if f > whole {
        Ordering::Less
    } else if f < whole {
        Ordering::Greater
    } else {
        Ordering::Equal
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_floats_compare_exactly() {
        assert_eq!(int_float(3, 3.0), Ordering::Equal);
        assert_eq!(int_float(3, 3.5), Ordering::Less);
        assert_eq!(int_float(-3, -3.5), Ordering::Greater);
        assert_eq!(int_float(i64::MAX, 9.3e18), Ordering::Less);
        assert_eq!(int_float(i64::MAX, 9_223_372_036_854_775_808.0), Ordering::Less);
        assert_eq!(int_float(i64::MIN, -9_223_372_036_854_775_808.0), Ordering::Equal);
        assert_eq!(int_float((1 << 53) + 1, 9_007_199_254_740_992.0), Ordering::Greater);
    }
}
