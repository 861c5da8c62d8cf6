//! A module specialised for one set of facts: foreach unrolled, cases chosen, expressions folded, resources ordered.
#![allow(missing_docs, reason = "salsa generates constructors and getters without docs")]

use super::edges::Target;
use super::order::order;
use super::typed::{EdgeKind, NameForm, Reference, TypedAttribute, TypedResource, TypesKey, tied, typed};
use crate::db::{Db, Project, SourceFile};
use crate::diagnostic::codes::{
    DEPENDENCY_CYCLE, DUPLICATE_RESOURCE, EVALUATION_FAILED, LIMIT_EXCEEDED, TOO_LATE, TYPE_MISMATCH,
    UNCOVERED_CASE, UNKNOWN_RESOURCE, USELESS_NOTIFY,
};
use crate::diagnostic::nearest::suggest;
use crate::diagnostic::{Diagnostic, Place, Sink};
use crate::expr::Lowered;
use crate::expr::attribute::Shape;
use crate::facts::ClassFacts;
use crate::resolve::interface::interface;
use crate::schema::ResourceType;
use crate::types::{Type, widened};
use crate::values::{article, check_refinement};
use grammar::Span;
use ir::{Budget, Builtin, EvalErrorKind, Expr, Outcome, Piece, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Resources that one module may have.
const MAX_INSTANCES: usize = 100_000;

/// The facts a module looks at, and no others: modules that agree on them share the result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModuleFacts {
    /// Variables it reads; `None` is not decided yet. What is not set is not listed.
    pub vars: Vec<(Arc<str>, Option<Value>)>,
    /// Shared traits it looks at, as far as known.
    pub traits: Vec<(Arc<str>, Value)>,
    /// The environment, if it looks at it.
    pub environment: Option<Arc<str>>,
    /// The roles, if it looks at them.
    pub roles: Vec<Arc<str>>,
    /// The modules, if it looks at them.
    pub modules: Vec<Arc<str>>,
}

/// Interned [`ModuleFacts`].
#[salsa::interned(debug)]
pub struct FactsKey<'db> {
    /// The facts.
    #[returns(ref)]
    pub facts: ModuleFacts,
}

/// A specialised module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Specialised {
    /// Its own condition is false: it is absent from the variant.
    pub gated: bool,
    /// All resources, in run order, those with a false condition among them.
    pub instances: Vec<Instance>,
    /// Names of resources that may exist under facts that are not known yet, as patterns.
    pub templated: Vec<Arc<str>>,
    /// References to resources of other modules.
    pub external: Vec<External>,
    /// Encoded, when no other module can change it.
    pub encoded: Option<Encoded>,
    /// What could not be decided without more traits: for each the place and what it is.
    pub undecided: Vec<(Place, String)>,
    /// Findings.
    pub found: Vec<Diagnostic>,
}

/// The bytes of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Their hash.
    pub hash: ir::Hash,
    /// What is shipped.
    pub bytes: Arc<[u8]>,
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub kind: Arc<str>,
    /// Its `type:`, for findings.
    pub span: Span,
    /// Its condition is false.
    pub dropped: bool,
    /// What is left of its condition, the module's included.
    pub when: Option<Expr>,
    /// What was written, evaluated; sorted by name.
    pub attributes: Vec<(Arc<str>, Expr)>,
    /// Defaults of the type for what was not written.
    pub defaults: Vec<(Arc<str>, Expr)>,
    /// Value of the key attribute, when known.
    pub key: Option<Arc<str>>,
    /// Instances of this module that come first and must not fail, by number.
    pub depends_on: Vec<usize>,
    /// Instances of this module that are told, by number.
    pub notify: Vec<usize>,
    /// Its condition, as written, asks `changed`.
    pub tied: bool,
    /// It waits for `changed`; the place of the condition.
    pub waits: Option<Span>,
}

/// A reference to another module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// The instance that has it.
    pub from: usize,
    /// The key it stands under.
    pub kind: EdgeKind,
    /// As written.
    pub text: Arc<str>,
    /// Its place.
    pub span: Span,
}

impl Specialised {
    /// The IR of the module; `extra` are edges that other modules add, by instance.
    pub fn module(&self, name: &Arc<str>, depends_on: &[Arc<str>], extra: &ExtraEdges) -> ir::Module {
        let mut number = HashMap::new();
        for (at, _) in self.instances.iter().enumerate().filter(|(_, i)| !i.dropped) {
            number.insert(at, number.len() as u32);
        }
        let targets = |local: &[usize], others: Option<&BTreeSet<(Arc<str>, Arc<str>)>>| {
            let mut out: Vec<ir::Target> =
                local.iter().filter_map(|at| number.get(at)).map(|n| ir::Target::Local(*n)).collect();
            out.sort();
            out.dedup();
            out.extend(
                others
                    .into_iter()
                    .flatten()
                    .map(|(m, r)| ir::Target::Other { module: m.clone(), resource: r.clone() }),
            );
            out
        };
        let resources = self
            .instances
            .iter()
            .enumerate()
            .filter(|(_, i)| !i.dropped)
            .map(|(at, i)| {
                let mut attributes: Vec<_> = i.attributes.iter().chain(&i.defaults).cloned().collect();
                attributes.sort_by(|a, b| a.0.cmp(&b.0));
                ir::Resource {
                    name: i.name.clone(),
                    kind: i.kind.clone(),
                    when: i.when.clone(),
                    attributes,
                    depends_on: targets(&i.depends_on, extra.depends_on.get(&at)),
                    notify: targets(&i.notify, extra.notify.get(&at)),
                }
            })
            .collect();
        ir::Module { name: name.clone(), depends_on: depends_on.to_vec(), resources }
    }
}

/// Edges between modules, by instance of this one: (module, resource).
#[derive(Clone, Debug, Default)]
pub struct ExtraEdges {
    /// What comes first.
    pub depends_on: BTreeMap<usize, BTreeSet<(Arc<str>, Arc<str>)>>,
    /// What is told.
    pub notify: BTreeMap<usize, BTreeSet<(Arc<str>, Arc<str>)>>,
}

/// Specialises a module file.
#[salsa::tracked(returns(ref))]
pub fn specialised<'db>(
    db: &'db dyn Db,
    project: Project,
    file: SourceFile,
    types: TypesKey<'db>,
    facts: FactsKey<'db>,
) -> Specialised {
    let Some(module) = typed(db, project, file, types) else { return Specialised::default() };
    let known = facts.facts(db);
    let mut work = Work {
        facts: ClassFacts {
            vars: known.vars.iter().cloned().collect(),
            traits: known.traits.iter().cloned().collect(),
            environment: known.environment.clone(),
            roles: known.roles.clone(),
            modules: known.modules.clone(),
            item: None,
            hostname: None,
        },
        budget: Budget::default(),
        sink: Sink::new(file.path(db).clone()),
        out: Specialised::default(),
        gate: None,
    };
    if let Some(when) = &module.when {
        match work.eval(when) {
            Some(Outcome::Known(Value::Bool(false))) => work.out.gated = true,
            Some(Outcome::Residual(expr)) => work.gate = Some(expr),
            _ => {}
        }
    }
    for resource in &module.resources {
        work.resource(resource);
    }
    work.unique_names();
    let depends_on = interface(db, file).map(|i| i.depends_on.as_slice()).unwrap_or_default();
    work.edges(&module.name, module.resources.as_slice());
    if work.out.external.is_empty() && !work.out.gated {
        let ir = work.out.module(&module.name, depends_on, &ExtraEdges::default());
        work.out.encoded = encode(&ir, &mut work.sink);
    }
    work.out.found = work.sink.found;
    work.out
}

/// Encodes a module; the limits of the wire form are findings.
pub fn encode(module: &ir::Module, sink: &mut Sink) -> Option<Encoded> {
    match ir::wire::encode_module(module) {
        Ok(bytes) => Some(Encoded { hash: ir::Hash::of(&bytes), bytes: bytes.into() }),
        Err(e) => {
            let message = format!("module `{}` cannot be shipped: {e}", module.name);
            let finding = sink.say(&LIMIT_EXCEEDED, Span::new(0, 0), message).help("split it");
            sink.push(finding);
            None
        }
    }
}

struct Work {
    facts: ClassFacts,
    budget: Budget,
    sink: Sink,
    out: Specialised,
    /// What is left of the module's condition.
    gate: Option<Expr>,
}

impl Work {
    fn eval(&mut self, lowered: &Lowered) -> Option<Outcome> {
        let file = self.sink.file.clone();
        self.eval_in(lowered, &file)
    }

    /// Evaluates; an error becomes a finding in `file`.
    fn eval_in(&mut self, lowered: &Lowered, file: &Arc<str>) -> Option<Outcome> {
        match ir::eval(&lowered.expr, &self.facts, &mut self.budget) {
            Ok(outcome) => Some(outcome),
            Err(error) => {
                let place = Place { file: file.clone(), span: lowered.spans.follow(&error.trail) };
                let limit = matches!(error.kind, EvalErrorKind::TooManySteps | EvalErrorKind::TooMuchText);
                let code = if limit { &LIMIT_EXCEEDED } else { &EVALUATION_FAILED };
                let finding = Diagnostic::new(code, place, error.kind.to_string()).label("here");
                let finding = match error.kind {
                    EvalErrorKind::Absent(_) => finding.help("give it a value, or write `default` before it"),
                    _ => finding,
                };
                self.sink.push(finding);
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
                self.templated(r);
                let before = self.sink.found.len();
                for item in items {
                    self.facts.item = Some(item);
                    self.instance(r);
                }
                self.facts.item = None;
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
        self.out.templated.push(pattern.into());
    }

    fn instance(&mut self, r: &TypedResource) {
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
                            return;
                        }
                    }
                }
                Some(Outcome::Residual(_)) => {
                    self.undecided(case.spans.span, "the value of a `case:`");
                    self.templated(r);
                    return;
                }
                None => return,
            }
        }
        let (when, dropped) = match &r.when {
            None => (None, false),
            Some(w) => match self.eval(w) {
                Some(Outcome::Known(Value::Bool(false))) => (None, true),
                Some(Outcome::Residual(e)) => (Some(e), false),
                _ => (None, false),
            },
        };
        let mut attributes: BTreeMap<Arc<str>, (Expr, Place)> = BTreeMap::new();
        for a in r.attributes.iter().chain(chosen) {
            if let Some(expr) = self.attribute(a) {
                let place = self.sink.at(a.name.span);
                attributes.insert(a.name.text.clone(), (expr, place));
            }
        }
        let key = attributes.get(&r.kind.key).and_then(|(e, _)| match e {
            Expr::Const(Value::Str(s)) => Some(s.clone()),
            _ => None,
        });
        let Some(name) = self.name(r, key.as_ref()) else { return };
        let written: Vec<_> = attributes.into_iter().map(|(n, (e, _))| (n, e)).collect();
        let mut waits = None;
        if let (Some(expr), Some(lowered)) = (&when, &r.when) {
            expr.walk(&mut |e| {
                if matches!(e, Expr::Call(Builtin::Changed, _)) {
                    waits = Some(lowered.spans.span);
                }
            });
        }
        let when = match (&self.gate, when) {
            (Some(gate), Some(when)) => Some(Expr::And(Box::new(gate.clone()), Box::new(when))),
            (Some(gate), None) => Some(gate.clone()),
            (None, when) => when,
        };
        self.out.instances.push(Instance {
            name,
            kind: r.kind.name.clone(),
            span: r.span,
            dropped,
            when,
            defaults: type_defaults(r.kind, &written),
            attributes: written,
            key,
            depends_on: Vec::new(),
            notify: Vec::new(),
            tied: r.when.as_ref().is_some_and(tied),
            waits,
        });
    }

    fn name(&mut self, r: &TypedResource, key: Option<&Arc<str>>) -> Option<Arc<str>> {
        match &r.name {
            NameForm::Literal(name) => Some(name.text.clone()),
            NameForm::Key => match key {
                Some(key) => Some(format!("{}:{key}", r.kind.name).into()),
                None => {
                    self.needs_name(r);
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

    fn needs_name(&mut self, r: &TypedResource) {
        // a key that was reported as missing or wrong says enough
        let Some(attribute) = r.attributes.iter().find(|a| a.name.text == r.kind.key) else { return };
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
        let what = format!("`{}`", a.name.text);
        let expr = self.shape(&a.shape, a.ty, &what, &a.file)?;
        Some(expr)
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
                        let (keys, values) = sorted.into_iter().unzip();
                        Expr::Map(keys, values)
                    },
                    |m| Expr::Const(Value::Map(m)),
                ))
            }
        }
    }

    fn unique_names(&mut self) {
        let mut seen: HashMap<Arc<str>, Span> = HashMap::new();
        for i in &self.out.instances {
            if let Some(first) = seen.get(&i.name) {
                let finding = self
                    .sink
                    .say(&DUPLICATE_RESOURCE, i.span, format!("two resources are named `{}`", i.name))
                    .label("again")
                    .also(self.sink.at(*first), "first");
                self.sink.push(finding);
            } else {
                seen.insert(i.name.clone(), i.span);
            }
        }
    }

    /// Resolves references inside the module, orders the instances.
    fn edges(&mut self, module: &Arc<str>, resources: &[TypedResource]) {
        let by_type_span: HashMap<u32, &TypedResource> =
            resources.iter().map(|r| (r.span.start, r)).collect();
        let count = self.out.instances.len();
        let names: HashMap<Arc<str>, usize> =
            self.out.instances.iter().enumerate().map(|(at, i)| (i.name.clone(), at)).collect();
        // (first, then) with the reference that says so
        let mut edges: Vec<((usize, usize), Span, EdgeKind)> = Vec::new();
        for at in 0..count {
            let Some(resource) = by_type_span.get(&self.out.instances[at].span.start) else { continue };
            for reference in &resource.edges {
                match self.local(module, reference, &names) {
                    Some(targets) => {
                        let told: &[usize] = match reference.kind {
                            EdgeKind::Notify => &targets,
                            EdgeKind::Subscribes => &[at],
                            EdgeKind::DependsOn | EdgeKind::Before => &[],
                        };
                        if !told.is_empty() && !told.iter().any(|to| self.out.instances[*to].tied) {
                            let place = self.sink.at(reference.to.span);
                            let name = &self.out.instances[told[0]].name;
                            self.sink.push(useless_notify(reference.kind, name, place));
                        }
                        for to in targets {
                            self.edge(at, to, reference, &mut edges);
                        }
                    }
                    None => self.out.external.push(External {
                        from: at,
                        kind: reference.kind,
                        text: reference.to.text.clone(),
                        span: reference.to.span,
                    }),
                }
            }
        }
        let plain: Vec<(usize, usize)> = edges.iter().map(|(e, ..)| *e).collect();
        match order(count, &plain) {
            Ok(order) => self.reorder(&order),
            Err(circle) => self.report_circle(&circle, &edges),
        }
    }

    fn edge(
        &mut self,
        at: usize,
        to: usize,
        reference: &Reference,
        edges: &mut Vec<((usize, usize), Span, EdgeKind)>,
    ) {
        let pair = match reference.kind {
            EdgeKind::DependsOn => {
                self.out.instances[at].depends_on.push(to);
                (to, at)
            }
            EdgeKind::Before => {
                self.out.instances[to].depends_on.push(at);
                (at, to)
            }
            EdgeKind::Notify => {
                self.out.instances[at].notify.push(to);
                (at, to)
            }
            EdgeKind::Subscribes => {
                self.out.instances[to].notify.push(at);
                (to, at)
            }
        };
        edges.push((pair, reference.to.span, reference.kind));
    }

    /// The instances of this module that a reference means; `None` when it is for another module.
    fn local(
        &mut self,
        module: &Arc<str>,
        reference: &Reference,
        names: &HashMap<Arc<str>, usize>,
    ) -> Option<Vec<usize>> {
        let text = &*reference.to.text;
        if let Some(at) = names.get(text) {
            return Some(vec![*at]);
        }
        let qualified = text.split_once('.').filter(|(m, _)| *m == &**module).map(|(_, r)| r);
        let target = Target::new(qualified.unwrap_or(text));
        let mut found: Vec<usize> = self
            .out
            .instances
            .iter()
            .enumerate()
            .filter(|(_, i)| target.means(&i.name))
            .map(|(at, _)| at)
            .collect();
        found.sort_unstable();
        if !found.is_empty() || self.out.templated.iter().any(|t| target.may_mean(t)) {
            return Some(found);
        }
        if qualified.is_some() {
            self.unknown(reference, names.keys().map(|k| &**k));
            return Some(Vec::new());
        }
        None
    }

    fn unknown<'a>(&mut self, reference: &Reference, known: impl Iterator<Item = &'a str>) {
        let mut known: Vec<&str> = known.collect();
        known.sort_unstable();
        let finding = self
            .sink
            .say(
                &UNKNOWN_RESOURCE,
                reference.to.span,
                format!("`{}:` names `{}`, which does not exist", reference.kind.key(), reference.to.text),
            )
            .label("unknown resource")
            .maybe_help(suggest(&reference.to.text, known));
        self.sink.push(finding);
    }

    fn reorder(&mut self, order: &[usize]) {
        let mut new_place = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            new_place[*old] = new;
        }
        let mut old: Vec<Option<Instance>> =
            std::mem::take(&mut self.out.instances).into_iter().map(Some).collect();
        for from in order {
            if let Some(mut instance) = old[*from].take() {
                for list in [&mut instance.depends_on, &mut instance.notify] {
                    list.iter_mut().for_each(|at| *at = new_place[*at]);
                    list.sort_unstable();
                    list.dedup();
                }
                self.out.instances.push(instance);
            }
        }
        for external in &mut self.out.external {
            external.from = new_place[external.from];
        }
    }

    fn report_circle(&mut self, circle: &[usize], edges: &[((usize, usize), Span, EdgeKind)]) {
        let name = |at: usize| self.out.instances[at].name.clone();
        let circle = waiting(circle);
        let next = circle.iter().copied().cycle().skip(1);
        let steps: Vec<(usize, usize)> = next.zip(circle.iter().copied()).collect();
        let mut places = steps.iter().filter_map(|step| {
            let (_, span, kind) = edges.iter().find(|(e, ..)| e == step)?;
            let text = match kind {
                EdgeKind::DependsOn | EdgeKind::Subscribes => {
                    format!("`{}` waits for `{}`", name(step.1), name(step.0))
                }
                EdgeKind::Before | EdgeKind::Notify => {
                    format!("`{}` comes before `{}`", name(step.0), name(step.1))
                }
            };
            Some((*span, text))
        });
        let Some((span, text)) = places.next() else { return };
        let shown: Vec<String> =
            circle.iter().chain(circle.first()).map(|at| format!("`{}`", name(*at))).collect();
        let mut finding = self
            .sink
            .say(&DEPENDENCY_CYCLE, span, format!("resources wait for each other: {}", shown.join(" → ")))
            .label(text)
            .help("take one of these edges out");
        for (span, text) in places {
            finding = finding.also(self.sink.at(span), text);
        }
        self.sink.push(finding);
    }
}

/// A circle of (first, then) the way people read it: each waits for the next.
pub(crate) fn waiting(circle: &[usize]) -> Vec<usize> {
    let first = circle.first().copied();
    first.into_iter().chain(circle.iter().skip(1).rev().copied()).collect()
}

/// A resource that is told, but would do the same anyway.
pub(super) fn useless_notify(kind: EdgeKind, told: &str, place: Place) -> Diagnostic {
    let message = format!("`{}:` has no effect: `{told}` does not ask whether anything changed", kind.key());
    Diagnostic::new(&USELESS_NOTIFY, place, message)
        .label("nothing is triggered")
        .help(format!("give `{told}` the condition `when: changed` to run it only then, or write `depends_on:` if only the order matters"))
}

fn type_defaults(kind: &ResourceType, written: &[(Arc<str>, Expr)]) -> Vec<(Arc<str>, Expr)> {
    kind.attributes
        .iter()
        .filter(|(name, _)| !written.iter().any(|(w, _)| w == *name))
        .filter_map(|(name, a)| Some((name.clone(), Expr::Const(a.default.clone()?))))
        .collect()
}
