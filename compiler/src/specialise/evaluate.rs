//! Evaluates resources that look at the same facts: foreach unrolled, cases chosen, expressions folded.

mod conflicts;

use super::instances::{FactsKey, Instance};
use super::shape::Names;
use super::typed::{Depth, NameForm, TypedAttribute, TypedResource, TypesKey, tied, typed};
use crate::db::{Db, Project, SourceFile};
use crate::diagnostic::codes::{LIMIT_EXCEEDED, MISSING_KEY, TOO_LATE, TYPE_MISMATCH, UNCOVERED_CASE};
use crate::diagnostic::{Diagnostic, Place, Sink};
use crate::expr::Lowered;
use crate::expr::attribute::Shape;
use crate::facts::ClassFacts;
use crate::schema::ResourceType;
use crate::types::{Type, widened};
use crate::values::{article, check_refinement};
use grammar::Span;
use ir::{Budget, Builtin, EvalErrorKind, Expr, Outcome, Piece, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Resources that one module may have.
const MAX_INSTANCES: usize = 100_000;

/// Some resources of a module, evaluated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluated {
    /// With the number of the resource each comes from.
    pub instances: Vec<(usize, Arc<Instance>)>,
    /// Their names.
    pub names: Arc<Names>,
    /// What could not be decided without more traits: for each the place and what it is.
    pub undecided: Vec<(Place, String)>,
    /// What of the budget was spent on what a check evaluates too.
    pub spent: Spent,
    /// Findings.
    pub found: Vec<Diagnostic>,
}

/// Parts of a [`Budget`] that were used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Evaluation steps.
    pub steps: u64,
    /// Bytes of rendered text.
    pub text: u64,
}

impl Spent {
    fn of(left: &Budget) -> Spent {
        let whole = Budget::default();
        Spent { steps: whole.steps.saturating_sub(left.steps), text: whole.text.saturating_sub(left.text) }
    }

    /// Both together.
    pub fn and(self, other: Spent) -> Spent {
        Spent { steps: self.steps.saturating_add(other.steps), text: self.text.saturating_add(other.text) }
    }

    /// Why it is more than one module may spend, if it is.
    pub fn exceeds(self) -> Option<EvalErrorKind> {
        let whole = Budget::default();
        match (self.steps > whole.steps, self.text > whole.text) {
            (true, _) => Some(EvalErrorKind::TooManySteps),
            (false, true) => Some(EvalErrorKind::TooMuchText),
            (false, false) => None,
        }
    }
}

/// Evaluates one group of a module. Variants that agree on what the group looks at share the result, however much else
/// they differ in.
#[salsa::tracked(returns(ref))]
pub fn evaluated<'db>(
    db: &'db dyn Db,
    project: Project,
    file: SourceFile,
    types: TypesKey<'db>,
    depth: Depth,
    group: usize,
    facts: FactsKey<'db>,
) -> Evaluated {
    let Some(module) = typed(db, project, file, types) else { return Evaluated::default() };
    let Some(group) = module.groups(depth).get(group) else { return Evaluated::default() };
    let mut work = Work::new(db, file, facts, depth);
    for number in &group.resources {
        work.number = *number;
        if let Some(resource) = module.resources.get(*number) {
            work.resource(resource);
        }
    }
    let names = work.out.instances.iter().map(|(number, i)| (*number, i.name.clone())).collect();
    work.out.names = Arc::new(Names::new(names, work.templated, work.listed));
    work.out.spent = Spent::of(&work.budget);
    work.out.found = work.sink.found;
    work.out
}

/// What is left of a module's own condition: `None` when it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// No condition, or true.
    Open,
    /// False: the module is absent.
    Closed,
    /// The agent decides.
    Later(Expr),
}

/// Evaluates the condition of a module.
pub fn gate<'db>(
    db: &'db dyn Db,
    file: SourceFile,
    when: &Lowered,
    facts: FactsKey<'db>,
) -> (Gate, Vec<Diagnostic>) {
    let mut work = Work::new(db, file, facts, Depth::Full);
    let gate = match work.eval(when) {
        Some(Outcome::Known(Value::Bool(false))) => Gate::Closed,
        Some(Outcome::Residual(expr)) => Gate::Later(expr),
        _ => Gate::Open,
    };
    (gate, work.sink.found)
}

struct Work {
    depth: Depth,
    facts: ClassFacts,
    budget: Budget,
    /// For what a check does not evaluate: it must not be what makes a variant fail.
    total: Budget,
    sink: Sink,
    out: Evaluated,
    /// Names of resources that may exist under facts that are not known yet, as patterns.
    templated: Vec<Arc<str>>,
    /// Names of instances of a `foreach` whose list is known, as patterns.
    listed: Vec<Arc<str>>,
    /// Number of the resource being evaluated.
    number: usize,
}

impl Work {
    fn new<'db>(db: &'db dyn Db, file: SourceFile, facts: FactsKey<'db>, depth: Depth) -> Work {
        let known = facts.facts(db);
        Work {
            depth,
            facts: ClassFacts {
                vars: known.vars.iter().map(|(n, v)| (n.clone(), v.as_deref().cloned())).collect(),
                traits: known.traits.iter().cloned().collect(),
                environment: known.environment.clone(),
                roles: known.roles.clone(),
                modules: known.modules.clone(),
                item: None,
                hostname: None,
            },
            budget: Budget::default(),
            total: Budget::default(),
            sink: Sink::new(file.path(db).clone()),
            out: Evaluated::default(),
            templated: Vec::new(),
            listed: Vec::new(),
            number: 0,
        }
    }

    fn eval(&mut self, lowered: &Lowered) -> Option<Outcome> {
        let file = self.sink.file.clone();
        self.eval_in(lowered, &file)
    }

    /// Evaluates; an error becomes a finding in `file`.
    fn eval_in(&mut self, lowered: &Lowered, file: &Arc<str>) -> Option<Outcome> {
        match ir::eval(&lowered.expr, &self.facts, &mut self.budget) {
            Ok(outcome) => Some(outcome),
            Err(error) => {
                self.sink.push(lowered.failure(file, &error));
                None
            }
        }
    }

    fn resource(&mut self, r: &TypedResource) {
        let Some(foreach) = &r.foreach else {
            self.facts.item = None;
            self.instance(r);
            return;
        };
        match self.eval(foreach) {
            Some(Outcome::Known(Value::List(items))) => {
                if items.len() + self.out.instances.len() > MAX_INSTANCES {
                    let message = format!("a module has at most {MAX_INSTANCES} resources");
                    let finding =
                        self.sink.say(&LIMIT_EXCEEDED, foreach.spans.span, message).label("too many items");
                    self.sink.push(finding);
                    return;
                }
                self.listed.push(pattern(r));
                let before = self.sink.found.len();
                for item in items {
                    self.facts.item = Some(item);
                    self.instance(r);
                }
                self.facts.item = None;
                if self.sink.found.len() > before {
                    // an instance that was reported may be the one that is looked for
                    self.templated(r);
                }
                // one mistake in the resource, not one for every item
                let mut seen = BTreeSet::new();
                let mut at = 0;
                self.sink.found.retain(|d| {
                    at += 1;
                    at <= before || seen.insert((d.code, d.place.clone()))
                });
            }
            Some(Outcome::Known(other)) => {
                let message = format!("`foreach:` wants a list, not {}", article(other.kind()));
                let finding = self.sink.say(&TYPE_MISMATCH, foreach.spans.span, message).label(other.kind());
                self.sink.push(finding);
            }
            Some(Outcome::Residual(_)) => {
                self.undecided(foreach.spans.span, "the list of a `foreach:`");
                self.templated(r);
            }
            None => self.templated(r),
        }
    }

    fn undecided(&mut self, span: Span, what: &str) {
        let place = self.sink.at(span);
        self.out.undecided.push((place, what.to_owned()));
    }

    /// Remembers what names the instances of a resource may have.
    fn templated(&mut self, r: &TypedResource) {
        let pattern = pattern(r);
        // Once for all items of a foreach.
        if self.templated.last() != Some(&pattern) {
            self.templated.push(pattern);
        }
    }

    fn instance(&mut self, r: &TypedResource) {
        let (when, dropped) = match &r.when {
            None => (None, false),
            Some(w) => match self.eval(w) {
                Some(Outcome::Known(Value::Bool(false))) => (None, true),
                Some(Outcome::Residual(e)) => (Some(e), false),
                _ => (None, false),
            },
        };
        let (found, undecided) = (self.sink.found.len(), self.out.undecided.len());
        let made = self.made(r, when, dropped);
        if dropped {
            // What is on no envoy of the class can fail on none.
            self.sink.found.truncate(found);
            self.out.undecided.truncate(undecided);
        }
        // One that was reported may be the one that is looked for.
        if !made {
            self.templated(r);
        }
    }

    /// Whether there is such an instance.
    fn made(&mut self, r: &TypedResource, when: Option<Expr>, dropped: bool) -> bool {
        let mut chosen: &[TypedAttribute] = &[];
        if let Some(case) = &r.case {
            match self.eval(case) {
                Some(Outcome::Known(value)) => {
                    let text = ir::render(&value).unwrap_or_default();
                    let branch = r
                        .branches
                        .iter()
                        .find(|(label, _)| *label.text == *text)
                        .or_else(|| r.branches.iter().find(|(label, _)| &*label.text == "default"));
                    match branch {
                        Some((_, attributes)) => chosen = attributes,
                        None => {
                            let message = format!("no branch for `{text}`");
                            let finding = self
                                .sink
                                .say(&UNCOVERED_CASE, case.spans.span, message)
                                .label("not covered")
                                .help("add the branch, or a `default:`");
                            self.sink.push(finding);
                            return false;
                        }
                    }
                }
                Some(Outcome::Residual(_)) => {
                    self.undecided(case.spans.span, "the value of a `case:`");
                    return false;
                }
                None => return false,
            }
        }
        let mut attributes: BTreeMap<Arc<str>, Expr> = BTreeMap::new();
        let depth = self.depth;
        for a in r.attributes.iter().chain(chosen).filter(|a| depth.looks_at(a)) {
            if let Some(expr) = self.attribute(a) {
                attributes.insert(a.name.text.clone(), expr);
            }
        }
        let key = attributes.get(&r.kind.key).and_then(|e| match e {
            Expr::Const(Value::Str(s)) => Some(s.clone()),
            _ => None,
        });
        self.conflicts(r, chosen, &attributes);
        let Some(name) = self.name(r, chosen, key.as_ref()) else { return false };
        let written: Vec<_> = attributes.into_iter().collect();
        let mut waits = false;
        if let Some(expr) = &when {
            expr.walk(&mut |e| waits |= matches!(e, Expr::Call(Builtin::Changed, _)));
        }
        let instance = Instance {
            name,
            kind: r.kind.name.clone(),
            unique: r.kind.unique,
            number: self.number,
            dropped,
            when,
            defaults: match depth {
                Depth::Outline => Vec::new(),
                Depth::Full => type_defaults(r.kind, &written),
            },
            attributes: written,
            key,
            tied: r.when.as_deref().is_some_and(tied),
            waits,
        };
        self.out.instances.push((self.number, Arc::new(instance)));
        true
    }

    fn name(
        &mut self,
        r: &TypedResource,
        chosen: &[TypedAttribute],
        key: Option<&Arc<str>>,
    ) -> Option<Arc<str>> {
        match &r.name {
            NameForm::Literal(name) => Some(name.text.clone()),
            NameForm::Key => match key {
                Some(key) => Some(format!("{}:{key}", r.kind.name).into()),
                None => {
                    self.needs_name(r, chosen);
                    None
                }
            },
            NameForm::Template(lowered) => match self.eval(lowered)? {
                Outcome::Known(Value::Str(s)) if !s.is_empty() && !s.contains('*') => Some(s),
                Outcome::Known(other) => {
                    let shown = ir::render(&other).unwrap_or_default();
                    let finding = self
                        .sink
                        .say(
                            &crate::diagnostic::codes::INVALID_NAME,
                            lowered.spans.span,
                            format!("`{shown}` cannot be the name of a resource"),
                        )
                        .label("renders to this")
                        .help("a name is not empty and has no `*`");
                    self.sink.push(finding);
                    None
                }
                Outcome::Residual(_) => {
                    self.undecided(lowered.spans.span, "the name of a resource");
                    self.templated(r);
                    None
                }
            },
        }
    }

    fn needs_name(&mut self, r: &TypedResource, chosen: &[TypedAttribute]) {
        let mut written = chosen.iter().chain(&r.attributes);
        let Some(attribute) = written.clone().find(|a| a.name.text == r.kind.key) else {
            // a key that was reported as missing or wrong says enough
            let Some(other) = r.kind.instead_of(&r.kind.key).find(|o| written.any(|a| a.name.text == **o))
            else {
                return;
            };
            let finding = self
                .sink
                .say(
                    &MISSING_KEY,
                    r.span,
                    format!("this {} needs a `name:`: it has `{other}` and no `{}`", r.kind.name, r.kind.key),
                )
                .label("no name")
                .help("add `name: ...`");
            self.sink.push(finding);
            return;
        };
        let mut late = false;
        attribute.shape.leaves(&mut |l| late |= !matches!(l.expr, Expr::Const(_)));
        if !late {
            return;
        }
        let finding = self
            .sink
            .say(
                &TOO_LATE,
                r.span,
                format!(
                    "this {} needs a `name:`: its `{}` is known only on the host",
                    r.kind.name, r.kind.key
                ),
            )
            .label("no name")
            .help("add `name: ...`");
        self.sink.push(finding);
    }

    fn attribute(&mut self, a: &TypedAttribute) -> Option<Expr> {
        if let Shape::Leaf(leaf) = &a.shape
            && let Expr::Const(value) = &leaf.expr
        {
            return Some(Expr::Const(value.clone()));
        }
        let what = format!("`{}`", a.name.text);
        if a.total {
            std::mem::swap(&mut self.budget, &mut self.total);
        }
        let expr = self.shape(&a.shape, a.ty, &what, &a.file);
        if a.total {
            std::mem::swap(&mut self.budget, &mut self.total);
        }
        expr
    }

    fn shape(&mut self, shape: &Shape, ty: &Type, what: &str, file: &Arc<str>) -> Option<Expr> {
        match shape {
            Shape::Leaf(lowered) => {
                if let Expr::Const(v) = &lowered.expr {
                    return Some(Expr::Const(v.clone()));
                }
                match self.eval_in(lowered, file)? {
                    Outcome::Known(value) => {
                        let value = widened(value, ty);
                        let mut sink = Sink::new(file.clone());
                        let ok = check_refinement(&value, lowered.spans.span, ty, what, &mut sink);
                        self.sink.found.append(&mut sink.found);
                        let fits =
                            Type::of(&value).fits(ty) || matches!(value, Value::Str(_) if ty.is_text());
                        if !fits {
                            let place = Place { file: file.clone(), span: lowered.spans.span };
                            let found = Type::of(&value).to_string();
                            let message =
                                format!("{what} is {}, not {}", article(&ty.to_string()), article(&found));
                            self.sink.push(Diagnostic::new(&TYPE_MISMATCH, place, message).label(found));
                        }
                        (ok && fits).then_some(Expr::Const(value))
                    }
                    Outcome::Residual(expr) => Some(expr),
                }
            }
            Shape::List(items) => {
                let element = match ty {
                    Type::List(t) => t,
                    _ => ty,
                };
                let items: Vec<Expr> =
                    items.iter().map(|s| self.shape(s, element, what, file)).collect::<Option<_>>()?;
                let constant: Option<Vec<Value>> = items.iter().map(|e| e.as_const().cloned()).collect();
                Some(constant.map_or_else(|| Expr::List(items), |v| Expr::Const(Value::List(v))))
            }
            Shape::Map(entries) => {
                let element = match ty {
                    Type::Map(t) => t,
                    _ => ty,
                };
                let entries: Vec<(Arc<str>, Expr)> = entries
                    .iter()
                    .map(|(k, s)| Some((k.clone(), self.shape(s, element, what, file)?)))
                    .collect::<Option<_>>()?;
                let constant: Option<BTreeMap<Arc<str>, Value>> =
                    entries.iter().map(|(k, e)| Some((k.clone(), e.as_const()?.clone()))).collect();
                Some(constant.map_or_else(
                    || {
                        let sorted: BTreeMap<Arc<str>, Expr> = entries.into_iter().collect();
                        Expr::Map(sorted.into_iter().collect())
                    },
                    |m| Expr::Const(Value::Map(m)),
                ))
            }
        }
    }
}

/// The names that the instances of a resource may have, as a pattern.
fn pattern(r: &TypedResource) -> Arc<str> {
    let pattern = match &r.name {
        NameForm::Literal(name) => name.text.to_string(),
        NameForm::Key => format!("{}:*", r.kind.name),
        NameForm::Template(lowered) => match &lowered.expr {
            Expr::Template(pieces) => pieces
                .iter()
                .map(|p| match p {
                    Piece::Text(t) => t.to_string(),
                    _ => "*".to_owned(),
                })
                .collect(),
            _ => "*".to_owned(),
        },
    };
    pattern.into()
}

fn type_defaults(kind: &ResourceType, written: &[(Arc<str>, Expr)]) -> Vec<(Arc<str>, Expr)> {
    kind.attributes
        .iter()
        .filter(|(name, _)| !written.iter().any(|(w, _)| w == *name))
        .filter_map(|(name, a)| Some((name.clone(), Expr::Const(a.default.clone()?))))
        .collect()
}
