//! Templates: Go's `text/template`, typed.

use super::call::Within;
use super::path::Reading;
use super::{Lowered, Lowering, Scope, Spans};
use crate::diagnostic::Sink;
use crate::diagnostic::codes::{SECRET_FLOW, TYPE_MISMATCH, UNKNOWN_FIELD};
use crate::diagnostic::nearest::nearest;
use crate::types::Type;
use crate::values::article;
use grammar::Span;
use grammar::template::{
    Branch, Command, Declaration, Operand, OperandKind, Piece as Written, Pipeline, Template,
};
use grammar::when::Ident;
use ir::{Builtin, Expr, Finite, Piece, Root, Slot, Value};
use std::sync::Arc;

/// A template as text.
pub fn lower(
    template: &Template,
    span: Span,
    to_file: &dyn Fn(Span) -> Span,
    scope: &Scope<'_>,
    sink: &mut Sink,
) -> Lowered {
    let before = sink.found.len();
    let lowering = Lowering { scope, sink: &mut *sink, to_file, present: Vec::new() };
    let mut t = Templates { lowering, locals: Vec::new(), next: 0, dot: Dot::Root, secret: false };
    let (pieces, children) = t.pieces(&template.nodes);
    let secret = t.secret;
    let ty = if secret { Type::Secret } else { Type::Str };
    Lowered { expr: Expr::Template(pieces), spans: Spans { span, children }, ty, secret, optional: false }
        .unless_reported(before, sink)
}

/// The pipeline of a template that is one action and nothing else.
pub fn lower_action(
    template: &Template,
    to_file: &dyn Fn(Span) -> Span,
    scope: &Scope<'_>,
    sink: &mut Sink,
) -> Option<Lowered> {
    let [Written::Action(pipeline)] = &template.nodes[..] else { return None };
    if pipeline.declare.is_some() {
        return None;
    }
    let before = sink.found.len();
    let lowering = Lowering { scope, sink: &mut *sink, to_file, present: Vec::new() };
    let mut t = Templates { lowering, locals: Vec::new(), next: 0, dot: Dot::Root, secret: false };
    let lowered = t.commands(pipeline);
    Some(lowered.unless_reported(before, sink))
}

/// Pieces with their places.
type Pieces = (Vec<Piece>, Vec<Spans>);

/// How often the body of a `range` is lowered at most; types only grow, and they are small.
const MAX_ROUNDS: usize = 16;

/// What the dot is.
#[derive(Clone)]
enum Dot {
    /// The whole data: `.Vars`, `.Traits`, `.Envoy`, `.Item`.
    Root,
    /// The element of a `range`, the value of a `with`.
    Local(Slot, Type, bool),
}

struct Local {
    name: String,
    slot: Slot,
    ty: Type,
    secret: bool,
}

struct Templates<'a> {
    lowering: Lowering<'a>,
    locals: Vec<Local>,
    next: Slot,
    dot: Dot,
    /// Whether a secret is printed anywhere.
    secret: bool,
}

impl Templates<'_> {
    fn pieces(&mut self, nodes: &[Written]) -> (Vec<Piece>, Vec<Spans>) {
        let known = self.locals.len();
        let mut out = (Vec::with_capacity(nodes.len()), Vec::with_capacity(nodes.len()));
        for node in nodes {
            self.piece(node, &mut out);
        }
        self.locals.truncate(known);
        out
    }

    fn at(&self, span: Span) -> Span {
        self.lowering.at(span)
    }

    fn slot(&mut self) -> Slot {
        self.next += 1;
        self.next - 1
    }

    fn piece(&mut self, node: &Written, out: &mut Pieces) {
        let (piece, spans) = match node {
            Written::Text { text, span } => {
                (Piece::Text(Arc::from(text.as_str())), Spans::leaf(self.at(*span)))
            }
            Written::Action(pipeline) => {
                let value = self.commands(pipeline);
                if let Some(declare) = &pipeline.declare {
                    self.bind(declare, value, out);
                    return;
                }
                self.secret |= value.secret;
                let spans = Spans { span: value.span(), children: vec![value.spans.clone()] };
                (Piece::Emit(value.expr), spans)
            }
            Written::If(branch) => {
                let known = self.locals.len();
                let condition = self.condition(branch, "`if`", out);
                let (then, mut children) = self.pieces(&branch.body);
                let (otherwise, others) = self.otherwise(branch);
                self.locals.truncate(known);
                children.insert(0, condition.spans);
                children.extend(others);
                let spans = Spans::of(self.at(branch.span), children);
                (Piece::If { condition: condition.expr, then, otherwise }, spans)
            }
            Written::Range(branch) => self.range(branch),
            Written::With(branch) => {
                let known = self.locals.len();
                let value = self.condition(branch, "`with`", out);
                let piece = self.with(branch, value);
                self.locals.truncate(known);
                piece
            }
            Written::Break(span) => (Piece::Break, Spans::leaf(self.at(*span))),
            Written::Continue(span) => (Piece::Continue, Spans::leaf(self.at(*span))),
            Written::Error(_) => return,
        };
        out.0.push(piece);
        out.1.push(spans);
    }

    /// What an `if` or `with` looks at. `{{ if $x := ... }}` is `{{ $x := ... }}{{ if $x }}`, but for the reach of `$x`.
    fn condition(&mut self, branch: &Branch, what: &str, out: &mut Pieces) -> Lowered {
        let value = self.commands(&branch.pipeline);
        self.not_secret(&value, what);
        let Some(declare) = &branch.pipeline.declare else { return value };
        let (ty, secret, span) = (value.ty.clone(), value.secret, value.span());
        match self.bind(declare, value, out) {
            Some(slot) => {
                Lowered { expr: Expr::Local(slot), spans: Spans::leaf(span), ty, secret, optional: false }
            }
            // the grammar has reported it
            None => Lowered::error(span),
        }
    }

    /// `$x := value` or `$x = value`; the slot of the variable.
    fn bind(&mut self, declare: &Declaration, value: Lowered, out: &mut Pieces) -> Option<Slot> {
        let spans = Spans { span: value.span(), children: vec![value.spans.clone()] };
        let name = declare.names.first()?;
        let (slot, piece) = if declare.assign {
            let local = self.locals.iter_mut().rev().find(|l| l.name == name.text)?;
            local.secret |= value.secret;
            local.ty = std::mem::replace(&mut local.ty, Type::Any).join(value.ty);
            (local.slot, Piece::Set(local.slot, value.expr))
        } else {
            let slot = self.slot();
            self.locals.push(Local { name: name.text.clone(), slot, ty: value.ty, secret: value.secret });
            (slot, Piece::Let(slot, value.expr))
        };
        out.0.push(piece);
        out.1.push(spans);
        Some(slot)
    }

    fn otherwise(&mut self, branch: &Branch) -> (Vec<Piece>, Vec<Spans>) {
        branch.otherwise.as_ref().map(|nodes| self.pieces(nodes)).unwrap_or_default()
    }

    fn range(&mut self, branch: &Branch) -> (Piece, Spans) {
        let list = self.commands(&branch.pipeline);
        self.not_secret(&list, "`range`");
        let (key_type, element) = match &list.ty {
            Type::List(t) => (Type::Int, (**t).clone()),
            Type::Map(t) => (Type::Str, (**t).clone()),
            Type::Record(fields) => {
                (Type::Str, fields.values().cloned().reduce(Type::join).unwrap_or(Type::Any))
            }
            Type::Any => (Type::Any, Type::Any),
            other => {
                let message = format!("`range` wants a list or a map, not {}", article(&other.to_string()));
                self.lowering.mismatch(&list, message);
                (Type::Any, Type::Any)
            }
        };
        let secret = element.holds_secret();
        let known = self.locals.len();
        let value = self.slot();
        let (mut key, mut copy) = (None, None);
        if let Some(declare) = &branch.pipeline.declare {
            if declare.assign {
                self.range_assigns(branch);
            }
            let (k, v) = match &declare.names[..] {
                [v] => (None, Some(v)),
                [k, v] => (Some(k), Some(v)),
                _ => (None, None),
            };
            if let Some(name) = k {
                let slot = self.slot();
                key = Some(slot);
                self.element(name, slot, key_type);
            }
            if let Some(name) = v {
                // the dot stays what it is when its variable is given another value
                let slot = if assigns(&branch.body, &name.text) {
                    let slot = self.slot();
                    copy = Some((slot, self.at(name.span)));
                    slot
                } else {
                    value
                };
                self.element(name, slot, element.clone());
            }
        }
        let outer = std::mem::replace(&mut self.dot, Dot::Local(value, element, secret));
        let (mut body, mut children) = self.repeated(&branch.body);
        self.dot = outer;
        if let Some((slot, span)) = copy {
            body.insert(0, Piece::Let(slot, Expr::Local(value)));
            body.shrink_to_fit();
            children.insert(0, Spans { span, children: vec![Spans::leaf(span)] });
        }
        let (mut otherwise, mut others) = (Vec::new(), Vec::new());
        if branch.otherwise.is_some() {
            // behind `else` the variables hold what was found empty
            for local in self.locals.iter_mut().skip(known) {
                local.ty = list.ty.clone();
                otherwise.push(Piece::Let(local.slot, list.expr.clone()));
                let span = list.spans.span;
                others.push(Spans { span, children: vec![list.spans.clone()] });
            }
        }
        let (pieces, places) = self.otherwise(branch);
        otherwise.extend(pieces);
        otherwise.shrink_to_fit();
        others.extend(places);
        self.locals.truncate(known);
        children.insert(0, list.spans);
        children.extend(others);
        let spans = Spans::of(self.at(branch.span), children);
        (Piece::Range { list: list.expr, key, value, body, otherwise }, spans)
    }

    /// A variable of a `range`.
    fn element(&mut self, name: &Ident, slot: Slot, ty: Type) {
        self.locals.push(Local { name: name.text.clone(), slot, secret: ty.holds_secret(), ty });
    }

    /// Some versions of Go set the variable to the elements, others do not.
    fn range_assigns(&mut self, branch: &Branch) {
        let Some(name) = branch.pipeline.declare.as_ref().and_then(|d| d.names.first()) else { return };
        let finding = self
            .lowering
            .sink
            .say(
                &TYPE_MISMATCH,
                self.lowering.at(name.span),
                "`range` cannot assign to a variable that is there already",
            )
            .label("declared before")
            .help(format!("declare one: `{{{{ range {} := ... }}}}`", name.text));
        self.lowering.report(finding);
    }

    /// The body of a `range`. What it assigns at its end is there at its start the next time round, so it is lowered
    /// again until the types of the variables outside it stay as they are.
    fn repeated(&mut self, body: &[Written]) -> (Vec<Piece>, Vec<Spans>) {
        let state = |t: &Self| t.locals.iter().map(|l| (l.ty.clone(), l.secret)).collect::<Vec<_>>();
        let (next, found) = (self.next, self.lowering.sink.found.len());
        for _ in 0..MAX_ROUNDS {
            let before = state(self);
            let pieces = self.pieces(body);
            if state(self) == before {
                return pieces;
            }
            self.next = next;
            self.lowering.sink.found.truncate(found);
        }
        self.pieces(body)
    }

    fn with(&mut self, branch: &Branch, value: Lowered) -> (Piece, Spans) {
        let slot = self.slot();
        let outer = std::mem::replace(&mut self.dot, Dot::Local(slot, value.ty, value.secret));
        let (body, mut children) = self.pieces(&branch.body);
        self.dot = outer;
        let (otherwise, others) = self.otherwise(branch);
        children.insert(0, value.spans);
        children.extend(others);
        let spans = Spans::of(self.at(branch.span), children);
        (Piece::With { value: value.expr, slot, body, otherwise }, spans)
    }

    fn commands(&mut self, pipeline: &Pipeline) -> Lowered {
        let mut value: Option<Lowered> = None;
        let last = pipeline.commands.len().saturating_sub(1);
        for (at, command) in pipeline.commands.iter().enumerate() {
            // the value before a `| default` may be absent
            let excused = at < last && names_default(&pipeline.commands[at + 1]);
            value = Some(self.command(command, value, excused));
        }
        value.unwrap_or_else(|| Lowered::error(self.at(pipeline.span)))
    }

    fn command(&mut self, command: &Command, piped: Option<Lowered>, excused: bool) -> Lowered {
        let Some((first, rest)) = command.operands.split_first() else {
            return Lowered::error(self.at(command.span));
        };
        if let OperandKind::Function(name) = &first.kind {
            let Some(f) = self.lowering.function(&name.text, name.span, Within::Template) else {
                rest.iter().for_each(|o| drop(self.operand(o, Reading::Value)));
                return Lowered::error(self.at(command.span));
            };
            let is_default = f.builtin == Builtin::Default;
            let mut args: Vec<Lowered> = rest
                .iter()
                .enumerate()
                .map(|(at, o)| {
                    let reading = if is_default && at == 1 { Reading::Excused } else { Reading::Value };
                    self.operand(o, reading)
                })
                .collect();
            args.extend(piped);
            return self.lowering.call(f, args, command.span);
        }
        let reading = if excused { Reading::Excused } else { Reading::Value };
        let value = self.operand(first, reading);
        if let Some(extra) = rest.first() {
            let finding = self
                .lowering
                .sink
                .say(&TYPE_MISMATCH, self.lowering.at(extra.span), "a value takes no arguments")
                .label("unexpected");
            self.lowering.report(finding);
        } else if piped.is_some() {
            let finding = self
                .lowering
                .sink
                .say(&TYPE_MISMATCH, value.span(), "a pipeline goes into a function, not into a value")
                .label("not a function");
            self.lowering.report(finding);
        }
        value
    }

    fn operand(&mut self, operand: &Operand, reading: Reading) -> Lowered {
        let span = operand.span;
        match &operand.kind {
            OperandKind::Dot => match self.dot.clone() {
                Dot::Root => self.whole(span),
                Dot::Local(slot, ty, secret) => self.local(slot, ty, secret, &[], ".", span),
            },
            OperandKind::Field(steps) => match self.dot.clone() {
                Dot::Root => self.root_field(steps, span, reading),
                Dot::Local(slot, ty, secret) => self.local(slot, ty, secret, steps, ".", span),
            },
            OperandKind::Variable { name, fields } if name.text == "$" => {
                if fields.is_empty() {
                    self.whole(span)
                } else {
                    self.root_field(fields, span, reading)
                }
            }
            OperandKind::Variable { name, fields } => {
                let found = self.locals.iter().rev().find(|l| l.name == name.text);
                match found.map(|l| (l.slot, l.ty.clone(), l.secret)) {
                    Some((slot, ty, secret)) => self.local(slot, ty, secret, fields, &name.text, span),
                    // the grammar has reported it
                    None => Lowered::error(self.at(span)),
                }
            }
            OperandKind::Function(name) => {
                match self.lowering.function(&name.text, name.span, Within::Template) {
                    Some(f) => self.lowering.call(f, Vec::new(), span),
                    None => Lowered::error(self.at(span)),
                }
            }
            OperandKind::Text(t) => self.lowering.constant(Value::str(t), span),
            OperandKind::Int(i) => self.lowering.constant(Value::Int(*i), span),
            OperandKind::Float(f) => {
                let value = Finite::new(*f).map_or(Value::Null, Value::Float);
                self.lowering.constant(value, span)
            }
            OperandKind::Bool(b) => self.lowering.constant(Value::Bool(*b), span),
            OperandKind::Nil => self.lowering.constant(Value::Null, span),
            OperandKind::Paren(pipeline, fields) => {
                let value = self.commands(pipeline);
                let Some(ty) = self.lowering.fields(value.ty.clone(), "this", fields) else {
                    return Lowered::error(self.at(span));
                };
                let secret = value.secret;
                let mut out = with_fields(value.expr, value.spans, fields, self.at(span), ty);
                out.secret |= secret;
                out
            }
            OperandKind::Error => Lowered::error(self.at(span)),
        }
    }

    fn local(
        &mut self,
        slot: Slot,
        ty: Type,
        secret: bool,
        fields: &[Ident],
        whole: &str,
        span: Span,
    ) -> Lowered {
        let Some(ty) = self.lowering.fields(ty, whole, fields) else { return Lowered::error(self.at(span)) };
        let at = self.at(span);
        let mut out = with_fields(Expr::Local(slot), Spans::leaf(at), fields, at, ty);
        out.secret |= secret && out.ty.is_text();
        out
    }

    fn root_field(&mut self, steps: &[Ident], span: Span, reading: Reading) -> Lowered {
        let known = ["Vars", "Traits", "Envoy", "Item"];
        let Some((first, rest)) = steps.split_first() else { return Lowered::error(self.at(span)) };
        let root = match first.text.as_str() {
            "Vars" => Root::Vars,
            "Traits" => Root::Traits,
            "Envoy" => Root::Envoy,
            "Item" | "Each" => Root::Item,
            other => {
                let help = match nearest(other, known) {
                    Some(near) => format!("did you mean `.{near}`?"),
                    None => format!(
                        "variables are read as `.Vars.{other}`; there are `.Vars`, `.Traits`, `.Envoy` and `.Item`"
                    ),
                };
                let finding = self
                    .lowering
                    .sink
                    .say(&UNKNOWN_FIELD, self.lowering.at(first.span), format!("there is no `.{other}`"))
                    .label("unknown")
                    .help(help);
                self.lowering.report(finding);
                return Lowered::error(self.at(span));
            }
        };
        if rest.is_empty() && root != Root::Item {
            return self.whole(span);
        }
        self.lowering.path(root, rest, span, reading)
    }

    /// `.`, `$`, `.Vars` and the like as a value.
    fn whole(&mut self, span: Span) -> Lowered {
        let finding = self
            .lowering
            .sink
            .say(&TYPE_MISMATCH, self.lowering.at(span), "the whole data cannot be used as a value")
            .label("not a value")
            .help("name a field, such as `.Vars.port`");
        self.lowering.report(finding);
        Lowered::error(self.at(span))
    }

    fn not_secret(&mut self, value: &Lowered, what: &str) {
        if value.secret {
            let finding = self
                .lowering
                .sink
                .say(&SECRET_FLOW, value.span(), format!("{what} cannot look at a secret"))
                .label("a secret")
                .help("secrets may flow only into file content and attributes that are marked sensitive");
            self.lowering.report(finding);
        }
    }
}

fn with_fields(expr: Expr, spans: Spans, fields: &[Ident], at: Span, ty: Type) -> Lowered {
    let (expr, spans) = fields.iter().fold((expr, spans), |(e, s), field| {
        (Expr::Field(Box::new(e), Arc::from(field.text.as_str())), Spans { span: at, children: vec![s] })
    });
    Lowered { secret: ty.holds_secret(), expr, spans, ty, optional: false }
}

fn names_default(command: &Command) -> bool {
    matches!(command.operands.first().map(|o| &o.kind),
        Some(OperandKind::Function(name)) if name.text == Builtin::Default.name())
}

/// Whether a variable of this name is assigned anywhere in here.
fn assigns(pieces: &[Written], name: &str) -> bool {
    let sets = |pipeline: &Pipeline| {
        pipeline.declare.as_ref().is_some_and(|d| d.assign && d.names.iter().any(|n| n.text == name))
    };
    pieces.iter().any(|piece| match piece {
        Written::Action(pipeline) => sets(pipeline),
        Written::If(branch) | Written::Range(branch) | Written::With(branch) => {
            let otherwise = branch.otherwise.as_deref().unwrap_or_default();
            sets(&branch.pipeline) || assigns(&branch.body, name) || assigns(otherwise, name)
        }
        Written::Text { .. } | Written::Break(_) | Written::Continue(_) | Written::Error(_) => false,
    })
}
