//! Templates, evaluated online: each piece either runs now or goes into the residual.
//!
//! A template variable is known as long as every assignment to it runs now. Before a piece whose control is
//! undecided, the variables it may assign are *lifted*: their values go into the residual as `Let`, and from
//! there on they belong to the later stage.

use super::machine::{At, Machine, Step};
use super::{EvalErrorKind, Outcome};
use crate::builtin::logic::truth;
use crate::builtin::text::render;
use crate::expr::{Expr, Piece, Slot};
use crate::value::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The innermost `range` around a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    None,
    /// Runs now: `break` leaves it now.
    Unrolled,
    /// Stays in the residual, or is left under a condition that does: `break` goes there too.
    Kept,
}

/// How a sequence of pieces ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
    /// A kept `break` or `continue`: nothing after it is reached.
    Dead,
    /// The unrolled loop may or may not be left here, so it cannot be unrolled.
    Undecided,
}

#[derive(Default)]
struct Out {
    pieces: Vec<Piece>,
    text: String,
}

impl Out {
    fn push(&mut self, piece: Piece) {
        self.flush();
        self.pieces.push(piece);
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.pieces.push(Piece::Text(Arc::from(self.text.as_str())));
            self.text.clear();
        }
    }

    fn append(&mut self, other: Out) {
        for piece in other.pieces {
            match piece {
                Piece::Text(t) => self.text.push_str(&t),
                piece => self.push(piece),
            }
        }
        self.text.push_str(&other.text);
    }

    fn finish(mut self) -> Vec<Piece> {
        self.flush();
        self.pieces
    }
}

/// The parts of a `range`.
struct Body<'a> {
    key: Option<Slot>,
    value: Slot,
    body: &'a [Piece],
    otherwise: &'a [Piece],
}

impl Machine<'_> {
    pub(super) fn template(&mut self, pieces: &[Piece]) -> Step<Outcome> {
        let was = std::mem::replace(&mut self.nearest, Loop::None);
        let mut out = Out::default();
        let result = self.pieces(pieces, 0, &mut out);
        self.nearest = was;
        result?;
        Ok(if out.pieces.is_empty() {
            Outcome::Known(Value::from(out.text))
        } else {
            Outcome::Residual(Expr::Template(out.finish()))
        })
    }

    fn pieces(&mut self, pieces: &[Piece], first_child: usize, out: &mut Out) -> Step<Flow> {
        for (n, piece) in pieces.iter().enumerate() {
            match self.piece(piece, out).at(first_child + n)? {
                Flow::Next => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    fn piece(&mut self, piece: &Piece, out: &mut Out) -> Step<Flow> {
        self.spend(1)?;
        match piece {
            Piece::Text(text) => {
                self.spend_text(text.len())?;
                out.text.push_str(text);
            }
            Piece::Emit(e) => self.emit(e, out).at(0)?,
            Piece::Let(slot, e) => self.declare(*slot, e, out).at(0)?,
            Piece::Set(slot, e) => self.set(*slot, e, out)?,
            Piece::If { condition, then, otherwise } => return self.branch(condition, then, otherwise, out),
            Piece::With { value, slot, body, otherwise } => {
                return self.with(value, *slot, body, otherwise, out);
            }
            Piece::Range { list, key, value, body, otherwise } => {
                return self.range(list, Body { key: *key, value: *value, body, otherwise }, out);
            }
            Piece::Break => return self.leave(Flow::Break, piece, out),
            Piece::Continue => return self.leave(Flow::Continue, piece, out),
        }
        Ok(Flow::Next)
    }

    fn emit(&mut self, e: &Expr, out: &mut Out) -> Step<()> {
        let outcome = self.expr(e)?;
        match self.printed(outcome)? {
            Outcome::Known(Value::Str(text)) => {
                self.spend_text(text.len())?;
                out.text.push_str(&text);
            }
            outcome => {
                let e = self.residual(outcome);
                out.push(Piece::Emit(e));
            }
        }
        Ok(())
    }

    fn printed(&mut self, outcome: Outcome) -> Step<Outcome> {
        match self.open_deep(outcome)? {
            Outcome::Known(Value::Null) => Ok(Outcome::Known(Value::str("<no value>"))),
            Outcome::Known(v @ Value::Str(_)) => Ok(Outcome::Known(v)),
            Outcome::Known(v) => match render(&v) {
                Ok(text) => Ok(Outcome::Known(Value::from(text))),
                Err(kind) => self.fail(kind, || Expr::Const(v)),
            },
            residual => Ok(residual),
        }
    }

    fn declare(&mut self, slot: Slot, e: &Expr, out: &mut Out) -> Step<()> {
        let state = match self.expr(e)? {
            Outcome::Known(v) => Some(v),
            Outcome::Residual(r) => {
                out.push(Piece::Let(slot, r));
                None
            }
        };
        self.slots.insert(slot, state);
        Ok(())
    }

    fn set(&mut self, slot: Slot, e: &Expr, out: &mut Out) -> Step<()> {
        let outcome = self.expr(e).at(0)?;
        match (self.slots.get(&slot), outcome) {
            (Some(Some(_)), Outcome::Known(v)) => {
                self.slots.insert(slot, Some(v));
            }
            // The declaration was never put out, so this becomes it.
            (Some(Some(_)), Outcome::Residual(r)) => {
                out.push(Piece::Let(slot, r));
                self.slots.insert(slot, None);
            }
            (None, _) if self.certain => return Err(EvalErrorKind::UnsetLocal(slot).into()),
            (_, outcome) => {
                let e = self.residual(outcome);
                out.push(Piece::Set(slot, e));
            }
        }
        Ok(())
    }

    fn branch(&mut self, condition: &Expr, then: &[Piece], otherwise: &[Piece], out: &mut Out) -> Step<Flow> {
        let condition = self.expr(condition).and_then(|o| self.open(o)).at(0)?;
        let after = 1 + then.len();
        match condition {
            Outcome::Known(v) if truth(&v) => self.pieces(then, 1, out),
            Outcome::Known(_) => self.pieces(otherwise, after, out),
            Outcome::Residual(condition) => {
                self.lift(&[then, otherwise], &[], out);
                let then = self.kept(then, 1, false)?;
                let otherwise = self.kept(otherwise, after, false)?;
                Ok(self.undecided(Piece::If { condition, then, otherwise }, out))
            }
        }
    }

    fn with(
        &mut self,
        value: &Expr,
        slot: Slot,
        body: &[Piece],
        otherwise: &[Piece],
        out: &mut Out,
    ) -> Step<Flow> {
        let value = self.expr(value).and_then(|o| self.open(o)).at(0)?;
        let after = 1 + body.len();
        match value {
            Outcome::Known(v) if truth(&v) => {
                self.slots.insert(slot, Some(v));
                self.pieces(body, 1, out)
            }
            Outcome::Known(_) => self.pieces(otherwise, after, out),
            Outcome::Residual(value) => {
                self.lift(&[body, otherwise], &[slot], out);
                self.slots.insert(slot, None);
                let body = self.kept(body, 1, false)?;
                let otherwise = self.kept(otherwise, after, false)?;
                Ok(self.undecided(Piece::With { value, slot, body, otherwise }, out))
            }
        }
    }

    fn range(&mut self, list: &Expr, parts: Body<'_>, out: &mut Out) -> Step<Flow> {
        let list = self.expr(list).and_then(|o| self.open(o)).at(0)?;
        let list = match list {
            Outcome::Known(Value::Null) => return self.pieces(parts.otherwise, 1 + parts.body.len(), out),
            Outcome::Known(v @ (Value::List(_) | Value::Map(_))) => {
                if let Some(flow) = self.unroll(&v, &parts, out)? {
                    return Ok(flow);
                }
                // Not empty: what stands under `else` is never reached.
                let list = self.constant(v);
                return self.keep(list, Body { otherwise: &[], ..parts }, out);
            }
            Outcome::Known(v) => match self.wrong_type("list or map", v, |e| e).at(0)? {
                Outcome::Known(v) => Expr::Const(v),
                Outcome::Residual(e) => e,
            },
            Outcome::Residual(e) => e,
        };
        self.keep(list, parts, out)
    }

    /// Runs the loop now; `None` when whether it is left depends on what is not known yet.
    fn unroll(&mut self, items: &Value, parts: &Body<'_>, out: &mut Out) -> Step<Option<Flow>> {
        let items: Vec<(Value, &Value)> = match items {
            Value::List(l) => l.iter().enumerate().map(|(n, v)| (Value::Int(n as i64), v)).collect(),
            Value::Map(m) => m.iter().map(|(k, v)| (Value::Str(k.clone()), v)).collect(),
            _ => Vec::new(),
        };
        if items.is_empty() {
            return self.pieces(parts.otherwise, 1 + parts.body.len(), out).map(Some);
        }
        // To start again from, should it turn out that the loop must be kept.
        let before: Vec<_> = if leaves_loop(parts.body) {
            assigned(&[parts.body]).into_iter().map(|s| (s, self.slots.get(&s).cloned())).collect()
        } else {
            Vec::new()
        };
        let text = self.budget.text;
        let was = std::mem::replace(&mut self.nearest, Loop::Unrolled);
        let mut unrolled = Out::default();
        let result = items.into_iter().try_for_each(|(key, value)| {
            self.slots.insert(parts.value, Some(value.clone()));
            if let Some(slot) = parts.key {
                self.slots.insert(slot, Some(key));
            }
            match self.pieces(parts.body, 1, &mut unrolled).map_err(Ended::Failed)? {
                Flow::Undecided => Err(Ended::Undecided),
                Flow::Break => Err(Ended::Break),
                Flow::Next | Flow::Continue | Flow::Dead => self.spend(1).map_err(Ended::Failed),
            }
        });
        self.nearest = was;
        match result {
            Ok(()) | Err(Ended::Break) => {
                out.append(unrolled);
                Ok(Some(Flow::Next))
            }
            Err(Ended::Failed(error)) => Err(error),
            Err(Ended::Undecided) => {
                self.budget.text = text;
                for (slot, state) in before {
                    match state {
                        Some(state) => self.slots.insert(slot, state),
                        None => self.slots.remove(&slot),
                    };
                }
                Ok(None)
            }
        }
    }

    fn keep(&mut self, list: Expr, parts: Body<'_>, out: &mut Out) -> Step<Flow> {
        let Body { key, value, body, otherwise } = parts;
        let own: Vec<Slot> = key.into_iter().chain([value]).collect();
        self.lift(&[body, otherwise], &own, out);
        for slot in own {
            self.slots.insert(slot, None);
        }
        let after = 1 + body.len();
        let body = self.kept(body, 1, true)?;
        let otherwise = self.kept(otherwise, after, false)?;
        Ok(self.undecided(Piece::Range { list, key, value, body, otherwise }, out))
    }

    /// Pieces that are perhaps not reached: the body of a kept loop, or a branch.
    fn kept(&mut self, pieces: &[Piece], first_child: usize, loop_body: bool) -> Step<Vec<Piece>> {
        let nearest = match self.nearest {
            Loop::Unrolled => Loop::Kept,
            _ if loop_body => Loop::Kept,
            nearest => nearest,
        };
        let was = std::mem::replace(&mut self.nearest, nearest);
        let certain = std::mem::replace(&mut self.certain, false);
        let mut out = Out::default();
        let result = self.pieces(pieces, first_child, &mut out);
        self.certain = certain;
        self.nearest = was;
        result?;
        Ok(out.finish())
    }

    fn undecided(&mut self, piece: Piece, out: &mut Out) -> Flow {
        let leaves = self.nearest == Loop::Unrolled && leaves_loop(std::slice::from_ref(&piece));
        out.push(piece);
        if leaves { Flow::Undecided } else { Flow::Next }
    }

    fn leave(&mut self, flow: Flow, piece: &Piece, out: &mut Out) -> Step<Flow> {
        match self.nearest {
            Loop::Unrolled => Ok(flow),
            Loop::None if self.certain => {
                Err(EvalErrorKind::Type { expected: "range", found: "break or continue outside of one" }
                    .into())
            }
            Loop::None | Loop::Kept => {
                out.push(piece.clone());
                Ok(Flow::Dead)
            }
        }
    }

    /// Hands the variables that `bodies` may assign to the later stage.
    fn lift(&mut self, bodies: &[&[Piece]], own: &[Slot], out: &mut Out) {
        for slot in assigned(bodies) {
            if own.contains(&slot) {
                continue;
            }
            if let Some(state @ Some(_)) = self.slots.get_mut(&slot)
                && let Some(value) = state.take()
            {
                let value = self.constant(value);
                out.push(Piece::Let(slot, value));
            }
        }
    }

    fn spend_text(&mut self, bytes: usize) -> Step<()> {
        let left = self.budget.text.checked_sub(bytes as u64);
        self.budget.text = left.unwrap_or(0);
        if left.is_some() { Ok(()) } else { Err(EvalErrorKind::TooMuchText.into()) }
    }
}

enum Ended {
    Break,
    Undecided,
    Failed(super::EvalError),
}

/// Whether a `break` or `continue` in here belongs to a loop around it.
fn leaves_loop(pieces: &[Piece]) -> bool {
    pieces.iter().any(|p| match p {
        Piece::Break | Piece::Continue => true,
        Piece::If { then, otherwise, .. } => leaves_loop(then) || leaves_loop(otherwise),
        Piece::With { body, otherwise, .. } => leaves_loop(body) || leaves_loop(otherwise),
        Piece::Range { otherwise, .. } => leaves_loop(otherwise),
        Piece::Text(_) | Piece::Emit(_) | Piece::Let(..) | Piece::Set(..) => false,
    })
}

/// The variables from outside that `bodies` may assign.
fn assigned(bodies: &[&[Piece]]) -> BTreeSet<Slot> {
    fn collect(pieces: &[Piece], set: &mut BTreeSet<Slot>, declared: &mut BTreeSet<Slot>) {
        for piece in pieces {
            match piece {
                Piece::Set(slot, _) => {
                    set.insert(*slot);
                }
                Piece::Let(slot, _) => {
                    declared.insert(*slot);
                }
                Piece::If { then, otherwise, .. } => {
                    collect(then, set, declared);
                    collect(otherwise, set, declared);
                }
                Piece::Range { key, value, body, otherwise, .. } => {
                    declared.extend(key.iter().chain([value]));
                    collect(body, set, declared);
                    collect(otherwise, set, declared);
                }
                Piece::With { slot, body, otherwise, .. } => {
                    declared.insert(*slot);
                    collect(body, set, declared);
                    collect(otherwise, set, declared);
                }
                Piece::Text(_) | Piece::Emit(_) | Piece::Break | Piece::Continue => {}
            }
        }
    }
    let (mut set, mut declared) = (BTreeSet::new(), BTreeSet::new());
    for body in bodies {
        collect(body, &mut set, &mut declared);
    }
    &set - &declared
}
