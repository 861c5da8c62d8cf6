//! Calls of functions: arity, types of arguments, type of the result, secrets.

use super::{Lowered, Lowering};
use crate::diagnostic::codes::{INVALID_VALUE, SECRET_FLOW, UNKNOWN_FUNCTION, WRONG_ARGUMENTS};
use crate::diagnostic::nearest::nearest;
use crate::schema::{Function, Param, schema};
use crate::types::{Refinement, Type};
use crate::values::article;
use grammar::Span;
use ir::{Builtin, Expr, Value};

/// Where a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    When,
    Template,
}

impl Lowering<'_> {
    /// The function of this name that may be called here; reports it if there is none.
    pub(super) fn function(&mut self, name: &str, span: Span, within: Within) -> Option<&'static Function> {
        let allowed = |f: &Function| match within {
            Within::When => f.in_when,
            Within::Template => f.in_template,
        };
        let all = &schema().functions;
        if let Some(f) = all.get(name).filter(|f| allowed(f)) {
            return Some(f);
        }
        let at = self.at(span);
        let place = match within {
            Within::When => "a condition",
            Within::Template => "a template",
        };
        let message = match all.contains_key(name) {
            true => format!("function `{name}` cannot be used in {place}"),
            false => format!("there is no function `{name}`"),
        };
        let known = all.iter().filter(|(_, f)| allowed(f)).map(|(n, _)| &**n);
        let mut finding = self.sink.say(&UNKNOWN_FUNCTION, at, message).label("unknown function");
        let known_path = if within == Within::When { self.meant(name) } else { None };
        if let Some(path) = known_path {
            finding = finding.help(format!("write `{path}`")).guess(at, path);
        } else if let Some(near) = nearest(name, known) {
            finding = finding.help(format!("did you mean `{near}`?")).guess(at, near);
        } else if within == Within::When && matches!(name, "traits" | "vars") {
            finding = finding.help(format!("name a field: `{name}.something`"));
        }
        self.report(finding);
        None
    }

    /// The path of which somebody wrote the last step alone.
    fn meant(&self, name: &str) -> Option<String> {
        let of_item = match self.scope.item {
            Some(Type::Record(fields)) => fields.contains_key(name),
            _ => false,
        };
        if of_item {
            return Some(format!("item.{name}"));
        }
        self.scope.vars.contains_key(name).then(|| format!("vars.{name}"))
    }

    /// A call; `span` is the whole call. Arguments are lowered already.
    pub(super) fn call(&mut self, f: &'static Function, mut args: Vec<Lowered>, span: Span) -> Lowered {
        let name = f.builtin.name();
        let (least, most) = f.arity();
        if args.len() < least || most.is_some_and(|m| args.len() > m) {
            let takes = match most {
                Some(m) if m == least => plural(m),
                Some(m) => format!("{least} to {}", plural(m)),
                None => format!("at least {}", plural(least)),
            };
            let finding = self
                .sink
                .say(&WRONG_ARGUMENTS, self.at(span), format!("`{name}` takes {takes}, not {}", args.len()))
                .label("wrong number of arguments")
                .help(f.doc.clone());
            self.report(finding);
            return Lowered { ty: f.returns.clone(), ..Lowered::error(self.at(span)) };
        }
        self.too_late(span, &format!("`{name}`"), f.stage);
        for (at, arg) in args.iter_mut().enumerate() {
            if let Some(param) = f.param(at) {
                self.argument(f, at, arg, param);
            }
        }
        let ty = result_type(f, &args);
        let secret = args.iter().any(|a| a.secret);
        if secret && reveals(f.builtin) {
            let finding = self
                .sink
                .say(&SECRET_FLOW, self.at(span), format!("`{name}` would show something of a secret"))
                .label("a secret flows in here")
                .help("secrets may flow only into file content and attributes that are marked sensitive");
            self.report(finding);
            return Lowered { ty: plain(f.returns.clone()), ..Lowered::error(self.at(span)) };
        }
        let (mut exprs, mut children) = (Vec::with_capacity(args.len()), Vec::with_capacity(args.len()));
        for arg in args {
            exprs.push(arg.expr);
            children.push(arg.spans);
        }
        let mut lowered = Lowered::new(Expr::Call(f.builtin, exprs), self.at(span), children, ty);
        lowered.secret |= secret;
        lowered
    }

    fn argument(&mut self, f: &Function, at: usize, arg: &mut Lowered, param: &Param) {
        let name = f.builtin.name();
        // `'2'` where an int is due
        let wants_int = match param {
            Param::Of(ty) => ty.is_int(),
            Param::Number | Param::Within(..) => true,
            _ => false,
        };
        if let (true, Expr::Const(Value::Str(s))) = (wants_int, &arg.expr)
            && let Ok(number) = s.parse::<i64>()
        {
            arg.expr = Expr::Const(Value::Int(number));
            arg.ty = Type::Int;
        }
        let literal = match &arg.expr {
            Expr::Const(Value::Str(s)) => Some(s.clone()),
            _ => None,
        };
        let complaint = match param {
            Param::Of(Type::Any) => None,
            Param::Of(wanted) => {
                let fits = arg.ty.fits(wanted) || (*wanted == Type::Str && arg.ty == Type::Secret);
                (!fits).then(|| {
                    format!(
                        "argument {} of `{name}` is {}, not {}",
                        at + 1,
                        article(&wanted.to_string()),
                        article(&arg.ty.to_string())
                    )
                })
            }
            Param::Number => (!arg.ty.is_number() && arg.ty != Type::Any).then(|| {
                format!("argument {} of `{name}` is a number, not {}", at + 1, article(&arg.ty.to_string()))
            }),
            Param::Within(low, high) => match &arg.expr {
                Expr::Const(Value::Int(n)) if !(low..=high).contains(&n) => {
                    let message = format!("argument {} of `{name}` cannot be {n}", at + 1);
                    let finding = self
                        .sink
                        .say(&INVALID_VALUE, arg.span(), message)
                        .label("out of range")
                        .help(format!("it is a number from {low} to {high}"));
                    self.report(finding);
                    return;
                }
                _ => (!arg.ty.is_int() && arg.ty != Type::Any).then(|| {
                    format!("argument {} of `{name}` is an int, not {}", at + 1, article(&arg.ty.to_string()))
                }),
            },
            Param::TraitPath => match &literal {
                Some(path) if schema().traits.contains_key(path) => None,
                Some(path) => {
                    self.unknown_trait(path, arg.span());
                    return;
                }
                None => Some(format!("`{name}` wants the path of a trait in quotes")),
            },
            Param::Time => (!literal.as_deref().is_some_and(is_time))
                .then(|| format!("argument {} of `{name}` is a time such as '22:30'", at + 1)),
            Param::Weekday => (!literal.as_deref().is_some_and(is_weekday))
                .then(|| format!("argument {} of `{name}` is a day such as 'monday' or 'mon'", at + 1)),
        };
        if let Some(message) = complaint {
            self.mismatch(arg, message);
            return;
        }
        if let (Expr::Const(value), Param::Of(Type::Refined(wanted))) = (&arg.expr, param)
            && let Err(why) = wanted.accepts(value)
        {
            let shown = ir::render(value).unwrap_or_default();
            let message = format!("`{shown}` is not {}, which `{name}` takes", article(&wanted.to_string()));
            let finding = self
                .sink
                .say(&INVALID_VALUE, arg.span(), message)
                .label(format!("not {}", article(&wanted.to_string())))
                .help(why);
            self.report(finding);
            return;
        }
        // a literal that is compared with an enum has to be one of its values
        if let (Some(text), [path]) = (&literal, &f.reads[..])
            && let Some(Type::Refined(Refinement::Enum(values))) = schema().traits.get(path).map(|t| &t.ty)
            && !values.contains(text)
        {
            self.not_in_enum(text, values, path, arg.span());
        }
    }

    /// Reports a literal that an enum can never equal. `at` is a span of the file.
    pub(super) fn not_in_enum(&mut self, text: &str, values: &[std::sync::Arc<str>], of: &str, at: Span) {
        let finding = self
            .sink
            .say(&INVALID_VALUE, at, format!("`{of}` is never `{text}`"))
            .label("not one of its values");
        let finding = match nearest(text, values.iter().map(|v| &**v)) {
            Some(near) => finding.help(format!("did you mean `{near}`?")),
            None => finding.help(format!(
                "it is one of {}",
                crate::diagnostic::nearest::listed(values.iter().map(|v| &**v))
            )),
        };
        self.report(finding);
    }
}

/// The type without what was reported about secrets in it.
fn plain(ty: Type) -> Type {
    if ty.holds_secret() { Type::Any } else { ty }
}

fn plural(n: usize) -> String {
    match n {
        0 => "no arguments".into(),
        1 => "1 argument".into(),
        n => format!("{n} arguments"),
    }
}

fn result_type(f: &Function, args: &[Lowered]) -> Type {
    let ty = |at: usize| args.get(at).map_or(Type::Any, |a| a.ty.clone());
    match f.builtin {
        Builtin::Index => args.iter().skip(1).fold(ty(0), |base, key| match base {
            Type::List(t) | Type::Map(t) => *t,
            Type::Record(fields) => match &key.expr {
                Expr::Const(Value::Str(k)) => fields.get(k).cloned().unwrap_or(Type::Any),
                _ => fields.into_values().reduce(Type::join).unwrap_or(Type::Any),
            },
            _ => Type::Any,
        }),
        Builtin::Default | Builtin::And | Builtin::Or => {
            args.iter().map(|a| a.ty.clone()).reduce(Type::join).unwrap_or(Type::Any)
        }
        Builtin::Slice => ty(0),
        Builtin::Split => Type::List(Box::new(Type::Str)),
        _ if f.returns == Type::Str && args.iter().any(|a| a.secret) => Type::Secret,
        _ => f.returns.clone(),
    }
}

/// Functions whose result says something about a secret argument.
fn reveals(b: Builtin) -> bool {
    matches!(
        b,
        Builtin::Eq
            | Builtin::Ne
            | Builtin::Lt
            | Builtin::Le
            | Builtin::Gt
            | Builtin::Ge
            | Builtin::And
            | Builtin::Or
            | Builtin::Not
            | Builtin::Len
            | Builtin::Sha256
            | Builtin::Index
    )
}

fn is_time(text: &str) -> bool {
    text.split_once(':').is_some_and(|(h, m)| {
        let two = |t: &str, limit: u32| t.len() == 2 && t.parse::<u32>().is_ok_and(|n| n < limit);
        two(h, 24) && two(m, 60)
    })
}

fn is_weekday(text: &str) -> bool {
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let lower = text.to_ascii_lowercase();
    days.iter().any(|d| *d == lower || d[..3] == lower)
}
