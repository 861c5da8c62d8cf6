//! Random well-typed expressions.
//!
//! Choices are read from a tape of numbers, zero being the plainest one; proptest shrinks the tape.

use crate::world::LETTERS;
use ir::{Builtin, CompareOp, Expr, Piece, Root, Slot, Value};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    Bool,
    Int,
    Str,
    List,
    Map,
}

pub struct Generator<'a> {
    tape: std::slice::Iter<'a, u16>,
    depth: u32,
    slots: Slot,
    /// Variables in scope.
    scope: Vec<(Slot, Type)>,
    /// Where in `scope` those of the innermost template begin: only these it may assign.
    own: usize,
    in_loop: bool,
}

fn boxed(e: Expr) -> Box<Expr> {
    Box::new(e)
}

impl<'a> Generator<'a> {
    pub fn new(tape: &'a [u16]) -> Self {
        Generator { tape: tape.iter(), depth: 0, slots: 0, scope: Vec::new(), own: 0, in_loop: false }
    }

    /// Mostly templates, since they are the intricate part.
    pub fn any(&mut self) -> Expr {
        match self.pick(4) {
            0 => self.of(Type::Bool),
            1 => self.of(Type::Str),
            _ => self.template(),
        }
    }

    fn pick(&mut self, choices: u16) -> u16 {
        self.tape.next().map_or(0, |n| n % choices)
    }

    fn number(&mut self, below: u16) -> i64 {
        i64::from(self.pick(below))
    }

    fn a_type(&mut self) -> Type {
        [Type::Str, Type::Bool, Type::Int, Type::List][self.pick(4) as usize]
    }

    fn some(&mut self) -> Expr {
        let t = self.a_type();
        self.of(t)
    }

    fn path(&mut self, letter: &str) -> Expr {
        let name = format!("{letter}{}", self.pick(3));
        Expr::path(Root::Traits, &[&name])
    }

    fn letter(&mut self) -> &'static str {
        LETTERS[self.pick(3) as usize]
    }

    fn local(&mut self, t: Type) -> Option<Expr> {
        let slots: Vec<Slot> = self.scope.iter().filter(|(_, of)| *of == t).map(|(s, _)| *s).collect();
        let n = self.pick(slots.len().max(1) as u16) as usize;
        slots.get(n).map(|s| Expr::Local(*s))
    }

    fn of(&mut self, t: Type) -> Expr {
        self.depth += 1;
        let choices = if self.depth > 6 { 3 } else { 14 };
        let e = match (t, self.pick(choices)) {
            (_, 2) => match self.local(t) {
                Some(e) => e,
                None => self.constant(t),
            },
            (Type::Map, 7..) => {
                Expr::Map(vec![("x".into(), self.of(Type::Str)), ("y".into(), self.of(Type::Str))])
            }
            (_, 0) | (Type::Map, _) => self.constant(t),
            (Type::Bool, n) => self.bool(n),
            (Type::Int, n) => self.int(n),
            (Type::Str, n) => self.str(n),
            (Type::List, n) => self.list(n),
        };
        self.depth -= 1;
        e
    }

    fn constant(&mut self, t: Type) -> Expr {
        Expr::Const(match t {
            Type::Bool => Value::Bool(self.pick(2) == 1),
            Type::Int => Value::Int(self.number(4) - 1),
            Type::Str => Value::from(["", "a", "b", "x y"][self.pick(4) as usize]),
            Type::List => Value::List((0..self.pick(3)).map(|n| Value::from(LETTERS[n as usize])).collect()),
            Type::Map => return Expr::path(Root::Traits, &["m0"]),
        })
    }

    fn call<const N: usize>(&mut self, f: Builtin, args: [Type; N]) -> Expr {
        Expr::Call(f, args.into_iter().map(|t| self.of(t)).collect())
    }

    fn bool(&mut self, n: u16) -> Expr {
        match n {
            1 | 3 => self.path("b"),
            4 => Expr::Not(boxed(self.of(Type::Bool))),
            5 | 6 => Expr::And(boxed(self.of(Type::Bool)), boxed(self.of(Type::Bool))),
            7 | 8 => Expr::Or(boxed(self.of(Type::Bool)), boxed(self.of(Type::Bool))),
            9 => {
                let t = self.a_type();
                let ordered = matches!(t, Type::Int | Type::Str);
                let ops = [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Ge];
                let op = ops[self.pick(if ordered { 4 } else { 2 }) as usize];
                Expr::Compare(op, boxed(self.of(t)), boxed(self.of(t)))
            }
            10 => Expr::Compare(CompareOp::In, boxed(self.of(Type::Str)), boxed(self.of(Type::List))),
            11 => Expr::Call(Builtin::OsFamily, vec![Expr::Const(Value::from("debian"))]),
            12 => {
                let path = format!("{}{}", ["b", "s", "m"][self.pick(3) as usize], self.pick(3));
                let f = [Builtin::HasTrait, Builtin::FileExists, Builtin::HasRole][self.pick(3) as usize];
                Expr::Call(f, vec![Expr::Const(Value::from(path))])
            }
            _ => match self.pick(3) {
                0 => self.call(Builtin::Eq, [Type::Str, Type::Str]),
                1 => self.call(Builtin::FileExists, [Type::Str]),
                _ => self.call(Builtin::Not, [Type::List]),
            },
        }
    }

    fn int(&mut self, n: u16) -> Expr {
        match n {
            1 | 3..6 => self.path("i"),
            6..9 => self.call(Builtin::Len, [Type::List]),
            _ => self.call(Builtin::Len, [Type::Str]),
        }
    }

    fn list(&mut self, n: u16) -> Expr {
        match n {
            1 | 3..6 => self.path("l"),
            6..9 => self.call(Builtin::Split, [Type::Str, Type::Str]),
            _ => Expr::List((0..self.pick(4)).map(|_| self.of(Type::Str)).collect()),
        }
    }

    fn str(&mut self, n: u16) -> Expr {
        match n {
            1 => self.path("s"),
            3 => {
                let fallback = self.of(Type::Str);
                Expr::Call(Builtin::Default, vec![fallback, self.perhaps_absent()])
            }
            4 => {
                let or = vec![self.constant(Type::Str), self.perhaps_absent()];
                Expr::Call(Builtin::Default, vec![self.constant(Type::Str), Expr::Call(Builtin::Or, or)])
            }
            5 => self.call(Builtin::Upper, [Type::Str]),
            6 => Expr::Call(Builtin::Print, vec![self.some(), self.some()]),
            7 => self.call(Builtin::Join, [Type::Str, Type::List]),
            8 => self.call(Builtin::Or, [Type::Str, Type::Str]),
            9 => Expr::Call(Builtin::And, vec![self.of(Type::Bool), self.of(Type::Str), self.of(Type::Str)])
                .printed(),
            10 => Expr::Const(Value::Secret(["p0", "p1"][self.pick(2) as usize].into())),
            11 => self.perhaps_absent(),
            _ => self.template(),
        }
    }

    /// What `default` excuses.
    fn perhaps_absent(&mut self) -> Expr {
        let map = self.of(Type::Map);
        match self.pick(6) {
            0 => self.path("s"),
            1 => Expr::path(Root::Traits, &["m0", self.letter()]),
            2 => Expr::Field(boxed(map), self.letter().into()),
            3 => Expr::Call(Builtin::Index, vec![map, Expr::Const(Value::from(self.letter()))]),
            4 => Expr::Call(Builtin::Index, vec![self.path("l"), self.path("i")]),
            _ => self.call(Builtin::Index, [Type::List, Type::Int]),
        }
    }

    fn template(&mut self) -> Expr {
        self.depth += 1;
        let (own, in_loop) = (self.own, self.in_loop);
        (self.own, self.in_loop) = (self.scope.len(), false);
        let pieces = self.pieces();
        (self.own, self.in_loop) = (own, in_loop);
        self.depth -= 1;
        Expr::Template(pieces)
    }

    /// What is declared in here is gone afterwards.
    fn pieces(&mut self) -> Vec<Piece> {
        let scope = self.scope.len();
        let count = if self.depth > 7 { self.pick(2) } else { self.pick(7) };
        let pieces = (0..count).map(|_| self.piece()).collect();
        self.scope.truncate(scope);
        pieces
    }

    fn body_with(&mut self, binders: &[(Slot, Type)], in_loop: bool) -> Vec<Piece> {
        let (scope, outer) = (self.scope.len(), self.in_loop);
        self.scope.extend(binders);
        self.in_loop = in_loop || outer;
        let body = self.pieces();
        self.in_loop = outer;
        self.scope.truncate(scope);
        body
    }

    /// Often a fact alone: it decides nothing before it is known.
    fn condition(&mut self) -> Expr {
        if self.pick(3) < 2 { self.path("b") } else { self.some() }
    }

    /// Often a variable, so that wrong ones show.
    fn seen(&mut self) -> Expr {
        let n = self.pick(2 * self.scope.len().max(1) as u16) as usize;
        match self.scope.get(n) {
            Some((slot, _)) => Expr::Local(*slot),
            None => self.some(),
        }
    }

    fn slot(&mut self) -> Slot {
        self.slots += 1;
        self.slots
    }

    fn piece(&mut self) -> Piece {
        self.depth += 1;
        let piece = match self.pick(13) {
            0 => Piece::Text("t".into()),
            1 | 2 => Piece::Emit(self.seen()),
            3 | 4 => Piece::If { condition: self.condition(), then: self.pieces(), otherwise: self.pieces() },
            5 | 6 => {
                let (key, value) = (self.slot(), self.slot());
                let (key, mut binders) = match self.pick(2) {
                    0 => (None, vec![]),
                    _ => (Some(key), vec![(key, Type::Int)]),
                };
                binders.push((value, Type::Str));
                let list = if self.pick(2) == 0 { self.path("l") } else { self.of(Type::List) };
                let body = self.body_with(&binders, true);
                Piece::Range { list, key, value, body, otherwise: self.pieces() }
            }
            7 => {
                let (t, slot) = (self.a_type(), self.slot());
                let value = self.of(t);
                Piece::With {
                    value,
                    slot,
                    body: self.body_with(&[(slot, t)], false),
                    otherwise: self.pieces(),
                }
            }
            8 => {
                let (t, slot) = (self.a_type(), self.slot());
                let value = if self.pick(2) == 0 { self.constant(t) } else { self.of(t) };
                self.scope.push((slot, t));
                Piece::Let(slot, value)
            }
            9..12 => {
                let own: Vec<_> = self.scope.get(self.own..).unwrap_or_default().to_vec();
                let n = self.pick(own.len().max(1) as u16) as usize;
                match own.get(n) {
                    Some((slot, t)) => {
                        Piece::Set(*slot, if self.pick(2) == 0 { self.constant(*t) } else { self.of(*t) })
                    }
                    None => Piece::Text("u".into()),
                }
            }
            _ if self.in_loop => [Piece::Break, Piece::Continue][self.pick(2) as usize].clone(),
            _ => Piece::Text("v".into()),
        };
        self.depth -= 1;
        piece
    }
}

trait Printed {
    fn printed(self) -> Expr;
}

impl Printed for Expr {
    /// A string, of something whose type depends on what it gives.
    fn printed(self) -> Expr {
        Expr::Call(Builtin::Print, vec![self])
    }
}
