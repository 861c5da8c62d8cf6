//! Conditions that are decided by their form alone: never true, or always.
//!
//! A condition is brought into alternatives of facts that have to hold together, and for each subject (a path, the
//! family of the system) the facts are intersected. What is found is certain; what is not found may still be so.

use super::Spans;
use crate::diagnostic::Sink;
use crate::diagnostic::codes::CONSTANT_CONDITION;
use crate::schema::schema;
use crate::types::{Refinement, Type};
use grammar::Span;
use ir::{Budget, Builtin, CompareOp, Expr, Outcome, Value};
use std::collections::BTreeMap;

/// Alternatives that are looked at; a condition with more is taken as it is.
const MAX_ALTERNATIVES: usize = 64;

/// A part of a condition and whether it is to hold.
type Fact<'a> = (&'a Expr, bool);

/// Whether a condition can never be true.
pub fn never(expr: &Expr) -> bool {
    all_contradict(alternatives(expr, true))
}

/// Whether two conditions can never be true together.
pub fn exclude(a: &Expr, b: &Expr) -> bool {
    let both = product(alternatives(a, true), alternatives(b, true));
    all_contradict(both)
}

fn always(expr: &Expr) -> bool {
    all_contradict(alternatives(expr, false))
}

fn all_contradict(alternatives: Option<Vec<Vec<Fact<'_>>>>) -> bool {
    alternatives.is_some_and(|all| all.iter().all(|facts| contradict(facts)))
}

/// Reports a condition, or the parts of it, that are decided whatever the host is like.
pub fn report(expr: &Expr, spans: &Spans, whole: Span, sink: &mut Sink) {
    let mut asks = false;
    expr.walk(&mut |e| asks |= matches!(e, Expr::Path(..) | Expr::Call(..)));
    if !asks {
        let finding = sink
            .say(&CONSTANT_CONDITION, whole, "this condition does not depend on anything")
            .label("always the same")
            .help("take it out, or the resource with it");
        sink.push(finding);
        return;
    }
    let (message, label, help) = if never(expr) {
        (
            "this condition contradicts itself, so it is never true",
            "never true",
            "join what excludes each other with `||`, or take the resource out",
        )
    } else if always(expr) {
        ("this condition is always true", "always true", "take it out")
    } else {
        parts(expr, spans, sink);
        return;
    };
    sink.push(sink.say(&CONSTANT_CONDITION, whole, message).label(label).help(help));
}

/// Alternatives that never hold, and requirements that always do.
fn parts(expr: &Expr, spans: &Spans, sink: &mut Sink) {
    let (Expr::And(a, b) | Expr::Or(a, b)) = expr else { return };
    let alternative = matches!(expr, Expr::Or(..));
    for (part, spans) in [a, b].into_iter().zip(&spans.children) {
        let (decided, message, label) = match alternative {
            true => (never(part), "this part of the condition is never true", "never true"),
            false => (always(part), "this part of the condition is always true", "always true"),
        };
        if decided {
            let finding = sink.say(&CONSTANT_CONDITION, spans.span, message).label(label).help("take it out");
            sink.push(finding);
        } else {
            parts(part, spans, sink);
        }
    }
}

/// The ways in which an expression can come to be `wanted`; `None` when there are too many.
fn alternatives(expr: &Expr, wanted: bool) -> Option<Vec<Vec<Fact<'_>>>> {
    match (expr, wanted) {
        (Expr::Not(inner), _) => alternatives(inner, !wanted),
        (Expr::And(a, b), true) | (Expr::Or(a, b), false) => {
            product(alternatives(a, wanted), alternatives(b, wanted))
        }
        (Expr::Or(a, b), true) | (Expr::And(a, b), false) => {
            let mut out = alternatives(a, wanted)?;
            out.extend(alternatives(b, wanted)?);
            (out.len() <= MAX_ALTERNATIVES).then_some(out)
        }
        _ => Some(vec![vec![(expr, wanted)]]),
    }
}

fn product<'a>(a: Option<Vec<Vec<Fact<'a>>>>, b: Option<Vec<Vec<Fact<'a>>>>) -> Option<Vec<Vec<Fact<'a>>>> {
    let (a, b) = (a?, b?);
    if a.len() * b.len() > MAX_ALTERNATIVES {
        return None;
    }
    Some(a.iter().flat_map(|x| b.iter().map(move |y| [x.as_slice(), y].concat())).collect())
}

/// What a subject may be.
#[derive(Default)]
struct Domain<'a> {
    /// One of these; `None` when nothing says so.
    among: Option<Vec<&'a Value>>,
    not: Vec<&'a Value>,
    /// Bounds, each with whether it is part of what is allowed.
    above: Option<(f64, bool)>,
    below: Option<(f64, bool)>,
    /// At least this version, and less than that one.
    from: Vec<&'a Value>,
    before: Vec<&'a Value>,
}

impl<'a> Domain<'a> {
    fn only(&mut self, values: Vec<&'a Value>) {
        self.among = Some(match self.among.take() {
            Some(known) => known.into_iter().filter(|v| values.iter().any(|w| same(v, w))).collect(),
            None => values,
        });
    }

    fn compare(&mut self, op: CompareOp, bound: f64) {
        let tighter = |known: Option<(f64, bool)>, closed: bool, larger: bool| match known {
            Some((at, was)) if at == bound => Some((at, was && closed)),
            Some((at, was)) if (at > bound) == larger => Some((at, was)),
            _ => Some((bound, closed)),
        };
        match op {
            CompareOp::Lt => self.below = tighter(self.below, false, false),
            CompareOp::Le => self.below = tighter(self.below, true, false),
            CompareOp::Gt => self.above = tighter(self.above, false, true),
            CompareOp::Ge => self.above = tighter(self.above, true, true),
            _ => {}
        }
    }

    fn is_empty(&self) -> bool {
        let inside = |n: f64| {
            self.above.is_none_or(|(low, closed)| n > low || (closed && n == low))
                && self.below.is_none_or(|(high, closed)| n < high || (closed && n == high))
        };
        if let Some(among) = &self.among {
            let allowed = |v: &&&Value| !self.not.iter().any(|w| same(v, w)) && number(v).is_none_or(inside);
            return !among.iter().any(|v| allowed(&v));
        }
        let crossed = match (self.above, self.below) {
            (Some((low, a)), Some((high, b))) => low > high || (low == high && !(a && b)),
            _ => false,
        };
        // from 12 and before 11
        let versions = self.from.iter().any(|low| {
            self.before.iter().any(|high| {
                let args = vec![Expr::Const((*low).clone()), Expr::Const((*high).clone())];
                decided(&Expr::Call(Builtin::VersionGe, args)) == Some(true)
            })
        });
        crossed || versions
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(i) => Some(*i as f64),
        Value::Float(f) => Some(f.get()),
        _ => None,
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// The value of an expression that nothing has to be known for.
fn decided(expr: &Expr) -> Option<bool> {
    match ir::eval(expr, &crate::facts::ClassFacts::default(), &mut Budget::default()) {
        Ok(Outcome::Known(Value::Bool(b))) => Some(b),
        _ => None,
    }
}

fn contradict(facts: &[Fact<'_>]) -> bool {
    let mut domains: BTreeMap<String, Domain<'_>> = BTreeMap::new();
    for (n, (expr, wanted)) in facts.iter().enumerate() {
        if facts[..n].iter().any(|(other, other_wanted)| other == expr && other_wanted != wanted) {
            return true;
        }
        if alone(expr).is_some_and(|is| is != *wanted) {
            return true;
        }
        learn(expr, *wanted, &mut domains);
    }
    domains.values().any(Domain::is_empty)
}

/// What a single part is by itself.
fn alone(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::Const(Value::Bool(b)) => Some(*b),
        Expr::Compare(op, a, b) if a == b => match op {
            CompareOp::Eq | CompareOp::Le | CompareOp::Ge => Some(true),
            CompareOp::Ne | CompareOp::Lt | CompareOp::Gt => Some(false),
            CompareOp::In | CompareOp::Matches => None,
        },
        Expr::Compare(CompareOp::In, _, list) if matches!(list.as_const(), Some(Value::List(l)) if l.is_empty()) => {
            Some(false)
        }
        // half-open: it ends where it begins
        Expr::Call(Builtin::HourRange | Builtin::MinuteRange | Builtin::LocalTime, args) => match &args[..] {
            [a, b] if a == b => Some(false),
            _ => None,
        },
        Expr::Compare(_, a, b) if a.as_const().is_some() && b.as_const().is_some() => decided(expr),
        Expr::Call(Builtin::VersionGe | Builtin::VersionLt, args)
            if args.len() == 2 && args.iter().all(|a| a.as_const().is_some()) =>
        {
            decided(expr)
        }
        _ => None,
    }
}

fn learn<'a>(expr: &'a Expr, wanted: bool, domains: &mut BTreeMap<String, Domain<'a>>) {
    match expr {
        Expr::Compare(op, a, b) => {
            let (op, subject, value) = match (subject(a), b.as_const(), subject(b), a.as_const()) {
                (Some(subject), Some(value), ..) => (*op, subject, value),
                (.., Some(subject), Some(value)) if *op != CompareOp::In => (mirrored(*op), subject, value),
                _ => return,
            };
            let domain = domain(domains, subject);
            match (if wanted { op } else { negated(op) }, value) {
                (CompareOp::Eq, value) => domain.only(vec![value]),
                (CompareOp::Ne, value) => domain.not.push(value),
                (CompareOp::In, Value::List(values)) if wanted => domain.only(values.iter().collect()),
                (CompareOp::In, Value::List(values)) => domain.not.extend(values),
                (op, value) => {
                    if let Some(bound) = number(value) {
                        domain.compare(op, bound);
                    }
                }
            }
        }
        Expr::Call(f @ (Builtin::OsFamily | Builtin::Distro | Builtin::Arch | Builtin::EnvIs), args) => {
            let Some(values) = args.iter().map(Expr::as_const).collect::<Option<Vec<_>>>() else { return };
            let read = schema().functions.get(f.name()).and_then(|f| f.reads.first());
            let subject = read.map_or_else(|| f.name().to_owned(), |path| format!("traits.{path}"));
            let domain = domain(domains, subject);
            if wanted { domain.only(values) } else { domain.not.extend(values) }
        }
        Expr::Call(f @ (Builtin::VersionGe | Builtin::VersionLt), args) => {
            let (subject, bound) = match &args[..] {
                [bound] => (Some("version traits.os.version".to_owned()), bound.as_const()),
                [of, bound] => (subject(of).map(|s| format!("version {s}")), bound.as_const()),
                _ => return,
            };
            let (Some(subject), Some(bound)) = (subject, bound) else { return };
            let domain = domain(domains, subject);
            let least = (*f == Builtin::VersionGe) == wanted;
            if least { domain.from.push(bound) } else { domain.before.push(bound) }
        }
        _ => {}
    }
}

/// The domain of a subject; that of an enum begins with its values.
fn domain<'a, 'd>(domains: &'d mut BTreeMap<String, Domain<'a>>, subject: String) -> &'d mut Domain<'a> {
    domains.entry(subject).or_insert_with_key(|subject| {
        let of_trait = subject.strip_prefix("traits.").and_then(|path| schema().traits.get(path));
        let mut domain = Domain::default();
        if let Some(Type::Refined(Refinement::Enum(_))) = of_trait.map(|t| &t.ty) {
            domain.among = of_trait.map(|t| t.values.iter().collect());
        }
        domain
    })
}

fn subject(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Path(root, steps) => Some(format!("{}.{}", root.name(), steps.join("."))),
        _ => None,
    }
}

fn negated(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Eq => CompareOp::Ne,
        CompareOp::Ne => CompareOp::Eq,
        CompareOp::Lt => CompareOp::Ge,
        CompareOp::Le => CompareOp::Gt,
        CompareOp::Gt => CompareOp::Le,
        CompareOp::Ge => CompareOp::Lt,
        op @ (CompareOp::In | CompareOp::Matches) => op,
    }
}

fn mirrored(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Lt => CompareOp::Gt,
        CompareOp::Le => CompareOp::Ge,
        CompareOp::Gt => CompareOp::Lt,
        CompareOp::Ge => CompareOp::Le,
        op => op,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Scope, VarType, when};
    use crate::schema::Stage;

    fn lowered(text: &str) -> Expr {
        let (parsed, errors) = grammar::when::parse(text);
        assert!(errors.is_empty(), "{text}: {errors:?}");
        let vars = [("n", Type::Int), ("f", Type::Float), ("s", Type::Str), ("t", Type::Str)]
            .map(|(name, ty)| (name.into(), VarType::Set(ty)))
            .into();
        let scope = Scope {
            vars: &vars,
            module: None,
            item: None,
            stage: Stage::Converge,
            place: "a condition",
            changed: true,
        };
        let mut sink = Sink::new("t".into());
        let lowered = when::lower_any(&parsed, &scope, &mut sink);
        assert!(sink.found.is_empty(), "{text}: {:?}", sink.found);
        lowered.expr
    }

    #[test]
    fn what_contradicts_itself() {
        for text in [
            "vars.s == 'a' && vars.s == 'b'",
            "vars.s == 'a' && vars.s != 'a'",
            "vars.s in ['a', 'b'] && vars.s in ['c']",
            "vars.s == 'a' && !(vars.s in ['a', 'b'])",
            "vars.n > 5 && vars.n < 3",
            "vars.n >= 5 && 5 > vars.n",
            "vars.n == 2 && vars.n >= 4",
            "vars.f > 1.5 && vars.f <= 1.5",
            "is_container && (is_virtual && !is_container)",
            "os_family('debian') && traits.os.family == 'rhel'",
            "traits.os.family != 'debian' && !os_family('rhel', 'suse', 'alpine', 'arch', 'other')",
            "version_ge('12') && version_lt('11')",
            "version_ge('12') && version_lt('12.0')",
            "version_ge(vars.s, '2') && !version_ge(vars.s, '1')",
            "hour_range(5, 5)",
            "vars.s in []",
            "vars.s != vars.s",
            "is_container && false",
            "is_container && 1 > 2",
            "(vars.s == 'a' || vars.s == 'b') && vars.s == 'c'",
        ] {
            assert!(never(&lowered(text)), "{text}");
            assert!(always(&lowered(&format!("!({text})"))), "{text}");
        }
    }

    #[test]
    fn what_does_not() {
        for text in [
            "vars.s == 'a' || vars.s == 'b'",
            "vars.s == 'a' && vars.t == 'b'",
            "vars.s != 'a' && vars.s != 'b'",
            "vars.n >= 3 && vars.n <= 3",
            "vars.n > 3 && vars.n < 5",
            "os_family('debian') && version_ge('12') && version_lt('13')",
            "version_ge('11') && version_lt('12')",
            "version_ge(vars.s, '2') && version_lt(vars.t, '1')",
            "!os_family('debian') && !os_family('rhel')",
            "hour_range(22, 4)",
            "has_trait('os.codename') && traits.os.codename == 'x'",
            "file_exists('/a') && !file_exists('/b')",
            "vars.s < 'a' && vars.s > 'b'",
            "vars.s matches 'a' && !(vars.s matches 'b')",
        ] {
            let expr = lowered(text);
            assert!(!never(&expr), "{text}");
            assert!(!always(&expr), "{text}");
        }
        assert!(exclude(&lowered("os_family('debian')"), &lowered("os_family('rhel')")));
        assert!(!exclude(&lowered("os_family('debian')"), &lowered("is_container")));
    }
}
