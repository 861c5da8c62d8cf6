//! Attributes that have a value whatever their variables hold, so that a check need not evaluate them.
//!
//! Most of a policy is text with variables in it. No value of a variable can make such text wrong, so envoys that
//! differ only there have the same findings, and a check looks at one of them. What this module cannot prove is
//! evaluated.

use super::{TypedAttribute, TypedResource};
use crate::expr::attribute::Shape;
use crate::expr::{VarType, VarTypes};
use crate::schema::schema;
use crate::types::Type;
use ir::{Builtin, Expr, Piece, Root, Slot, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Bytes that a small variable prints at most.
const SMALL_TEXT: u64 = 1024;
/// Elements of a small variable, nested ones too.
const SMALL_ITEMS: u64 = 32;
/// Roles of a class for which the bounds of this module hold.
const FEW_ROLES: u64 = 1024;
/// Bytes that their names and what separates them take.
const FEW_ROLES_TEXT: u64 = 64 << 10;
/// What the attributes of one module that are not evaluated may print together, when their variables are small.
pub const MOST_TEXT: u64 = 2 << 20;
/// The same for evaluation steps.
const MOST_STEPS: u64 = 5_000_000;
/// An upper bound of what an escape makes of one byte.
const ESCAPED: u64 = 6;

/// Whether a variable is so small that the bounds of this module hold.
pub fn is_small(value: &Value) -> bool {
    fn add(value: &Value, text: &mut u64, items: &mut u64) {
        *text += 1;
        match value {
            Value::Str(s) => *text += s.len() as u64,
            Value::List(list) => {
                *items += list.len() as u64;
                list.iter().for_each(|v| add(v, text, items));
            }
            Value::Map(map) => {
                *items += map.len() as u64;
                *text += map.keys().map(|k| k.len() as u64 + 5).sum::<u64>();
                map.values().for_each(|v| add(v, text, items));
            }
            // the longest float
            Value::Bytes(bytes) => *text += bytes.len() as u64,
            _ => *text += 25,
        }
    }
    let (mut text, mut items) = (0, 0);
    add(value, &mut text, &mut items);
    text <= SMALL_TEXT && items <= SMALL_ITEMS
}

/// Whether a class has so few roles that the bounds of this module hold.
pub fn are_few(roles: &[Arc<str>]) -> bool {
    let text: usize = roles.iter().map(|r| r.len() + 1).sum();
    roles.len() as u64 <= FEW_ROLES && text as u64 <= FEW_ROLES_TEXT
}

/// Marks the attributes that cannot fail; the variables that have to be small for it.
pub(super) fn mark(resources: &mut [TypedResource], types: &VarTypes) -> BTreeSet<Arc<str>> {
    let mut small = BTreeSet::new();
    let mut all = Bound::default();
    // the names of a foreach's instances are not counted here
    for r in resources.iter_mut().filter(|r| r.foreach.is_none()) {
        let key = &r.kind.key;
        let branches = r.branches.iter_mut().flat_map(|(_, attributes)| attributes);
        for a in r.attributes.iter_mut().chain(branches).filter(|a| a.name.text != *key) {
            let Some(bound) = attribute(a, types) else { continue };
            let sum = all.and(bound);
            if sum.text > MOST_TEXT || sum.steps > MOST_STEPS {
                continue;
            }
            all = sum;
            a.total = true;
            a.shape.leaves(&mut |leaf| {
                leaf.expr.walk(&mut |e| {
                    if let Expr::Path(Root::Vars, steps) = e {
                        small.extend(steps.first().cloned());
                    }
                });
            });
        }
    }
    small
}

/// The bound of an attribute that has an expression in it and cannot fail.
fn attribute(a: &TypedAttribute, types: &VarTypes) -> Option<Bound> {
    let mut constant = true;
    a.shape.leaves(&mut |leaf| constant &= matches!(leaf.expr, Expr::Const(_)));
    if constant { None } else { shape(&a.shape, a.ty, types) }
}

fn shape(s: &Shape, ty: &Type, types: &VarTypes) -> Option<Bound> {
    let sum = |mut parts: &mut dyn Iterator<Item = Option<Bound>>| {
        (&mut parts).try_fold(Bound::default(), |sum, part| Some(sum.and(part?)))
    };
    match (s, ty) {
        // text without a refinement that a value could miss
        (Shape::Leaf(leaf), Type::Str) => match &leaf.expr {
            e @ (Expr::Template(_) | Expr::Const(Value::Str(_))) => {
                Proof { types, slots: Vec::new() }.expr(e)
            }
            _ => None,
        },
        (Shape::List(items), Type::List(ty)) => sum(&mut items.iter().map(|s| shape(s, ty, types))),
        (Shape::Map(entries), Type::Map(ty)) => sum(&mut entries.iter().map(|(_, s)| shape(s, ty, types))),
        _ => None,
    }
}

/// What an evaluation may cost, and how large its value may be.
#[derive(Clone, Copy, Debug, Default)]
struct Bound {
    /// Bytes printed.
    text: u64,
    /// Evaluation steps.
    steps: u64,
    /// Elements.
    items: u64,
}

impl Bound {
    const SMALL: Bound = Bound { text: SMALL_TEXT, steps: 1 + SMALL_ITEMS, items: SMALL_ITEMS };

    fn and(self, other: Bound) -> Bound {
        Bound {
            text: self.text.saturating_add(other.text),
            steps: self.steps.saturating_add(other.steps),
            items: self.items.saturating_add(other.items),
        }
    }

    fn times(self, n: u64) -> Bound {
        Bound {
            text: self.text.saturating_mul(n),
            steps: self.steps.saturating_mul(n),
            items: self.items.saturating_mul(n),
        }
    }
}

struct Proof<'a> {
    types: &'a VarTypes,
    /// What template variables may hold.
    slots: Vec<(Slot, Bound)>,
}

impl Proof<'_> {
    /// A bound, when the expression cannot fail; null is a value that it may have.
    fn expr(&mut self, e: &Expr) -> Option<Bound> {
        let step = Bound { steps: 1, ..Bound::default() };
        Some(step.and(match e {
            Expr::Const(value) => constant(value)?,
            Expr::Path(root, steps) => self.path(*root, steps)?,
            Expr::Local(slot) => self.slots.iter().rev().find(|(s, _)| s == slot)?.1,
            // What a function gives is held in memory: 16 bytes or an element are a step.
            Expr::Call(f, args) => {
                let bound = self.call(*f, args)?;
                let held = (bound.text / 16).saturating_add(bound.items);
                Bound { steps: bound.steps.saturating_add(held), ..bound }
            }
            Expr::Template(pieces) => self.pieces(pieces)?,
            _ => return None,
        }))
    }

    fn path(&self, root: Root, steps: &[Arc<str>]) -> Option<Bound> {
        match (root, steps) {
            (Root::Vars, [name]) => match self.types.get(name)? {
                VarType::Set(ty) => (!holds_bytes(ty)).then_some(Bound::SMALL),
                VarType::Elsewhere(_) => None,
            },
            (Root::Envoy, [field]) if &**field == "roles" => {
                Some(Bound { text: FEW_ROLES_TEXT, steps: FEW_ROLES, items: FEW_ROLES })
            }
            (Root::Envoy, [_]) => Some(Bound::SMALL),
            (Root::Traits, _) => {
                let known = schema().traits.get(steps.join(".").as_str())?;
                (!known.optional).then_some(Bound::SMALL)
            }
            _ => None,
        }
    }

    fn call(&mut self, f: Builtin, args: &[Expr]) -> Option<Bound> {
        let all = |proof: &mut Self| {
            args.iter().try_fold(Bound::default(), |sum, arg| Some(sum.and(proof.expr(arg)?)))
        };
        match (f, args) {
            // absence is what `default` is for
            (Builtin::Default, [fallback, value @ Expr::Path(Root::Vars | Root::Traits, _)])
                if self.printable(value) =>
            {
                Some(self.expr(fallback)?.and(Bound::SMALL))
            }
            (Builtin::And | Builtin::Or, [_, ..]) | (Builtin::Not, [_]) => all(self),
            // what Go can compare: two of one kind
            (Builtin::Eq, [_, _, ..]) | (Builtin::Ne, [_, _]) => {
                let kinds: [fn(&Type) -> bool; 3] = [Type::is_text, Type::is_int, |t| *t == Type::Bool];
                let alike = kinds.iter().any(|kind| args.iter().all(|a| self.is(a, *kind)));
                alike.then(|| all(self))?
            }
            (Builtin::Upper | Builtin::Lower | Builtin::Trim | Builtin::Sha256 | Builtin::Base64, [arg]) => {
                let bound = self.is(arg, Type::is_text).then(|| all(self))??;
                Some(bound.times(ESCAPED).and(Bound { text: 64, ..Bound::default() }))
            }
            (Builtin::Quote | Builtin::Squote | Builtin::Html | Builtin::Js | Builtin::UrlQuery, [_, ..])
            | (Builtin::Print | Builtin::Println, [_, ..])
            | (Builtin::ToJson, [_]) => {
                let quotes = Bound { text: 16, ..Bound::default() }.times(args.len() as u64);
                let bound = all(self)?;
                // quotes and commas around every element
                let marks = Bound { text: bound.items.saturating_mul(8), ..Bound::default() };
                Some(bound.times(ESCAPED).and(quotes).and(marks))
            }
            (Builtin::Join, [separator, list]) => {
                let separator = self.is(separator, Type::is_text).then(|| self.expr(separator))??;
                let list = self.expr(list)?;
                Some(separator.times(list.items.saturating_add(1)).and(list))
            }
            _ => None,
        }
    }

    /// Whether what a path leads to, if anything, holds no bytes.
    fn printable(&self, path: &Expr) -> bool {
        let Expr::Path(Root::Vars, steps) = path else { return true };
        match steps.first().and_then(|name| self.types.get(name)) {
            Some(VarType::Set(ty) | VarType::Elsewhere(ty)) => !holds_bytes(ty),
            None => false,
        }
    }

    /// Whether the type of an expression, where it is plain to see, is a certain one; never null.
    fn is(&self, e: &Expr, wanted: fn(&Type) -> bool) -> bool {
        match e {
            Expr::Const(value) => wanted(&Type::of(value)),
            Expr::Path(Root::Vars, steps) => {
                match (&**steps, steps.first().and_then(|s| self.types.get(s))) {
                    ([_], Some(VarType::Set(ty))) => wanted(ty),
                    _ => false,
                }
            }
            Expr::Path(Root::Envoy, steps) => {
                matches!(steps.first(), Some(s) if &**s != "roles") && wanted(&Type::Str)
            }
            Expr::Path(Root::Traits, steps) => {
                let known = schema().traits.get(steps.join(".").as_str());
                known.is_some_and(|t| !t.optional && wanted(&t.ty))
            }
            Expr::Call(
                Builtin::Upper
                | Builtin::Lower
                | Builtin::Trim
                | Builtin::Sha256
                | Builtin::Base64
                | Builtin::Quote
                | Builtin::Squote
                | Builtin::Print
                | Builtin::Println
                | Builtin::Html
                | Builtin::Js
                | Builtin::UrlQuery
                | Builtin::ToJson
                | Builtin::Join,
                _,
            )
            | Expr::Template(_) => wanted(&Type::Str),
            _ => false,
        }
    }

    fn pieces(&mut self, pieces: &[Piece]) -> Option<Bound> {
        let known = self.slots.len();
        let sum = pieces.iter().try_fold(Bound::default(), |sum, piece| Some(sum.and(self.piece(piece)?)));
        self.slots.truncate(known);
        sum
    }

    fn piece(&mut self, piece: &Piece) -> Option<Bound> {
        let step = Bound { steps: 1, ..Bound::default() };
        Some(step.and(match piece {
            Piece::Text(text) => Bound { text: text.len() as u64, ..Bound::default() },
            // `<no value>` is longer than nothing
            Piece::Emit(e) => self.expr(e)?.and(Bound { text: 10, ..Bound::default() }),
            Piece::If { condition, then, otherwise } => {
                self.expr(condition)?.and(self.pieces(then)?).and(self.pieces(otherwise)?)
            }
            Piece::With { value, slot, body, otherwise } => {
                let value = self.expr(value)?;
                self.slots.push((*slot, value));
                value.and(self.pieces(body)?).and(self.pieces(otherwise)?)
            }
            Piece::Range { list, key, value, body, otherwise } => {
                if !self.is(list, |ty| matches!(ty, Type::List(_) | Type::Map(_) | Type::Record(_))) {
                    return None;
                }
                let list = self.expr(list)?;
                self.slots.push((*value, list));
                self.slots.extend(key.map(|slot| (slot, list)));
                let round = self.pieces(body)?.and(list);
                round.times(list.items.saturating_add(1)).and(self.pieces(otherwise)?)
            }
            Piece::Let(slot, e) => {
                let value = self.expr(e)?;
                self.slots.push((*slot, value));
                value
            }
            // a variable that grows in a loop has no bound that is easy to see
            Piece::Set(..) => return None,
            Piece::Break | Piece::Continue => Bound::default(),
        }))
    }
}

/// Bytes cannot be printed.
fn holds_bytes(ty: &Type) -> bool {
    match ty {
        Type::Bytes => true,
        Type::List(ty) | Type::Map(ty) => holds_bytes(ty),
        Type::Record(fields) => fields.values().any(holds_bytes),
        _ => false,
    }
}

fn constant(value: &Value) -> Option<Bound> {
    match value {
        Value::Str(text) => Some(Bound { text: text.len() as u64, ..Bound::default() }),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => Some(Bound { text: 25, ..Bound::default() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
