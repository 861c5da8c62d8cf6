//! The variables of a class: layers merged in order, each with where it came from.
#![allow(missing_docs, reason = "salsa generates constructors and getters without docs")]

use super::class::{Class, commons, entry, environment_layers, resolved_class, role_numbers, roles};
use super::defaults::{Conflict, Defaults, defaults};
use super::index::index;
use super::interface::{interface, module};
use super::layers::{Origin, Step, StepState};
use super::merge::{ambiguity, apply};
use super::modules::assigned;
use super::names::unknown_names;
use crate::db::{Db, Project};
use crate::diagnostic::codes::{AMBIGUOUS_DEFAULT, TYPE_MISMATCH, UNSET_PARAMETER};
use crate::diagnostic::nearest::nearest;
use crate::diagnostic::{Diagnostic, Place, Sink};
use crate::expr::{Scope, VarType, VarTypes, when};
use crate::facts::ClassFacts;
use crate::schema::{Stage, schema};
use crate::syntax::{Condition, Variables as Written};
use crate::types::Type;
use crate::values::{self, article};
use ir::{Budget, Expr, Outcome, Root, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Values of shared traits, sorted by path; a trait that is not listed is not known yet.
#[salsa::interned(debug)]
pub struct TraitFacts<'db> {
    /// Dotted path and value.
    #[returns(ref)]
    pub values: Vec<(Arc<str>, Value)>,
}

/// The variables of a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// By name, un-set ones too.
    pub by_name: BTreeMap<Arc<str>, Arc<Variable>>,
    /// Shared traits that conditions look at.
    pub footprint: BTreeSet<Arc<str>>,
    /// Findings.
    pub found: Vec<Diagnostic>,
}

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its type.
    pub ty: Type,
    /// Its value as far as known.
    pub value: VarValue,
    /// The module that declares it.
    pub declared: Option<Arc<str>>,
    /// Every layer that names it, in order.
    pub steps: Vec<Step>,
    /// Whether its value is so small that text with it in needs no evaluation to be checked.
    pub small: bool,
}

/// The value of a variable as far as known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VarValue {
    /// Known.
    Set(Arc<Value>),
    /// A condition that is not decided yet may change it.
    Undecided,
    /// Removed by null, or never set.
    Unset,
}

impl Variable {
    /// Lays a layer over it.
    fn lay(&mut self, step: Step) {
        apply(&mut self.value, &step.value, step.state);
        self.small = self.value.is_small();
        self.steps.push(step);
    }
}

impl Variables {
    /// Known values by name.
    pub fn known(&self) -> impl Iterator<Item = (&Arc<str>, &Value)> {
        self.by_name.iter().filter_map(|(name, v)| match &v.value {
            VarValue::Set(value) => Some((name, &**value)),
            _ => None,
        })
    }

    /// Types by name, for what is set.
    pub fn types(&self) -> VarTypes {
        let set = |v: &Variable| v.value != VarValue::Unset;
        self.by_name
            .iter()
            .filter(|(_, v)| set(v))
            .map(|(n, v)| (n.clone(), VarType::Set(v.ty.clone())))
            .collect()
    }
}

/// The variables of a class, as far as the traits given decide the conditions.
pub fn class_vars<'db>(
    db: &'db dyn Db,
    project: Project,
    class: Class<'db>,
    traits: TraitFacts<'db>,
) -> &'db Variables {
    // without conditions they are the same for all traits
    let conditions = entry(db, class).is_some_and(|e| !e.conditional.is_empty());
    merged_vars(db, project, class, if conditions { traits } else { TraitFacts::new(db, Vec::new()) })
}

/// Merges the variables of a class.
#[salsa::tracked(returns(ref))]
fn merged_vars<'db>(
    db: &'db dyn Db,
    project: Project,
    class: Class<'db>,
    traits: TraitFacts<'db>,
) -> Variables {
    let resolved = resolved_class(db, project, class);
    let mut merge = Merge {
        db,
        project,
        defaults: defaults(db, assigned(db, project, class)),
        out: Variables::default(),
        place: resolved.place.clone(),
    };
    merge.defaults();
    let path = class.file(db).path(db);
    let (all_roles, roles_file) = roles(db, project);
    if let Some(file) = roles_file {
        let numbers = role_numbers(db, project);
        for name in &resolved.roles {
            if let Some(role) = numbers.get(name).and_then(|n| all_roles.get(*n)) {
                merge.layer(&Origin::Role(name.clone()), file.path(db), &role.layer.vars, StepState::Applied);
            }
        }
    }
    for (file, layer) in commons(db, project, path) {
        merge.layer(&Origin::Common, file, &layer.vars, StepState::Applied);
    }
    let Some(entry) = entry(db, class) else { return merge.out };
    merge.layer(&Origin::Entry, path, &entry.layer.vars, StepState::Applied);
    if let Some(environment) = &resolved.environment {
        for (file, e) in environment_layers(db, project, path, environment) {
            let origin = Origin::Environment(e.name.text.clone());
            merge.layer(&origin, file, &e.layer.vars, StepState::Applied);
        }
        for (name, vars) in &entry.overrides {
            if name.text == *environment {
                merge.layer(&Origin::Override(name.text.clone()), path, vars, StepState::Applied);
            }
        }
    }
    merge.ambiguous();
    for (at, (condition, vars)) in entry.conditional.iter().enumerate() {
        let state = merge.decide(condition, path, resolved, traits.values(db));
        merge.layer(&Origin::Conditional(at), path, vars, state);
    }
    merge.laid_over(class.laid_over(db));
    merge.parameters();
    merge.out
}

struct Merge<'db> {
    db: &'db dyn Db,
    project: Project,
    defaults: &'db Defaults,
    out: Variables,
    place: Place,
}

impl<'db> Merge<'db> {
    /// The lowest layer, and what is wrong with it: at this entry, which gets all of these modules.
    fn defaults(&mut self) {
        self.out.by_name = self.defaults.by_name.clone();
        for conflict in &self.defaults.conflicts {
            self.conflict(conflict);
        }
        for (variable, modules) in &self.defaults.unfit {
            self.unfit_defaults(variable, modules);
        }
    }

    fn module_place(&self, module: &Arc<str>, variable: &str) -> Option<Place> {
        let file = *index(self.db, self.project).modules.get(module)?;
        module_variable(self.db, file, variable)
    }

    /// Two modules give one variable types that exclude each other.
    fn conflict(&mut self, conflict: &Conflict) {
        let Conflict { variable, first: (first, known), second: (module, ty) } = conflict;
        let (Some(place), Some(other)) =
            (self.module_place(module, variable), self.module_place(first, variable))
        else {
            return;
        };
        let message = format!(
            "`{variable}` is {} in module `{module}`, but {} in module `{first}`",
            article(&ty.to_string()),
            article(&known.to_string())
        );
        let finding = Diagnostic::new(&TYPE_MISMATCH, place, message)
            .label(ty.to_string())
            .also(other, known.to_string())
            .also(self.place.clone(), "this entry gets both modules")
            .help(
                "all variables of an envoy stand in one space; give the two the same type, or different names",
            );
        self.out.found.push(finding);
    }

    /// Defaults that the type which another module declares does not allow.
    fn unfit_defaults(&mut self, variable: &Arc<str>, modules: &[Arc<str>]) {
        let Some(known) = self.out.by_name.get(variable) else { return };
        let (ty, declaring) = (article(&known.ty.to_string()), known.declared.clone());
        for module in modules {
            let Some(place) = self.module_place(module, variable) else { continue };
            let message = format!("the default that module `{module}` gives `{variable}` is not {ty}");
            let mut finding = Diagnostic::new(&TYPE_MISMATCH, place, message)
                .label(format!("not {ty}"))
                .help("give it a default of that type, or another name");
            let declared = declaring.as_ref().filter(|m| *m != module);
            if let Some(place) = declared.and_then(|m| self.module_place(m, variable)) {
                finding = finding.also(place, "declared here");
            }
            self.out.found.push(finding.also(self.place.clone(), "this entry gets both modules"));
        }
    }

    fn layer(&mut self, origin: &Origin, file: &Arc<str>, vars: &Written, state: StepState) {
        for (name, syn) in vars {
            let mut sink = Sink::new(file.clone());
            let known = self.out.by_name.get(&name.text);
            let what = format!("`{}`", name.text);
            let value = match known.filter(|k| k.ty != Type::Any) {
                Some(known) => values::typed(syn, &known.ty, &what, &mut sink),
                None => values::untyped(syn, &mut sink),
            };
            // only for a finding: everything else must not depend on what stands where in a module
            let mismatch = sink.found.iter().any(|f| f.code == TYPE_MISMATCH.slug);
            let declared = known.filter(|_| mismatch).and_then(|k| self.declaration(k, &name.text));
            for mut finding in sink.found {
                if finding.code == TYPE_MISMATCH.slug {
                    finding.message = format!("{}; {origin} sets it", finding.message);
                    if let Some(place) = &declared {
                        finding.labels.push((place.clone(), "declared here".into()));
                    }
                }
                self.out.found.push(finding);
            }
            let Some(value) = value.map(Arc::new) else { continue };
            let known = self.out.by_name.entry(name.text.clone()).or_insert_with(|| {
                Arc::new(Variable {
                    ty: Type::of(&value),
                    value: VarValue::Unset,
                    declared: None,
                    steps: Vec::new(),
                    small: true,
                })
            });
            let known = Arc::make_mut(known);
            match &known.ty {
                Type::Any => known.ty = Type::of(&value),
                // maps may gain keys
                Type::Record(_) if *value != Value::Null => {
                    known.ty = known.ty.clone().join(Type::of(&value));
                }
                Type::List(element) if **element == Type::Any && *value != Value::Null => {
                    known.ty = Type::of(&value);
                }
                _ => {}
            }
            known.ty = known.ty.clone().holding(&value);
            known.lay(Step {
                origin: origin.clone(),
                file: file.clone(),
                span: Some(syn.span),
                value,
                state,
            });
        }
    }

    /// Variables of a policy test, whose names and types were checked.
    fn laid_over(&mut self, vars: &[(Arc<str>, Value)]) {
        for (name, value) in vars {
            let Some(known) = self.out.by_name.get_mut(name) else { continue };
            Arc::make_mut(known).lay(Step {
                origin: Origin::Test,
                file: self.place.file.clone(),
                span: None,
                value: Arc::new(value.clone()),
                state: StepState::Applied,
            });
        }
    }

    /// Where a variable is declared; read only when there is something to report.
    fn declaration(&self, variable: &Variable, name: &str) -> Option<Place> {
        if let Some(declaring) = &variable.declared {
            let file = *index(self.db, self.project).modules.get(declaring)?;
            return module_variable(self.db, file, name);
        }
        variable.steps.first().and_then(|s| Some(Place { file: s.file.clone(), span: s.span? }))
    }

    /// Two modules give one variable different defaults and no unconditional layer decides.
    fn ambiguous(&mut self) {
        let index = index(self.db, self.project);
        for name in &self.defaults.several {
            let Some(variable) = self.out.by_name.get(name) else { continue };
            let defaults: Vec<(&Arc<str>, &Step)> =
                variable.steps.iter().filter_map(|s| Some((s.origin.module()?, s))).collect();
            let above: Vec<&Value> =
                variable.steps.iter().filter(|s| s.origin.module().is_none()).map(|s| &*s.value).collect();
            let Some(((first_module, first), others)) = defaults.split_first() else { continue };
            let undecided = others
                .iter()
                .find_map(|(m, s)| Some((m, s, ambiguity(name, &first.value, &s.value, &above)?)));
            let Some((other_module, other, name)) = undecided else { continue };
            let variable_name = name.split('.').next().unwrap_or_default();
            let at = |m: &Arc<str>, s: &Step| {
                index
                    .modules
                    .get(m)
                    .and_then(|f| module_variable(self.db, *f, variable_name))
                    .unwrap_or(Place { file: s.file.clone(), span: grammar::Span::new(0, 0) })
            };
            let message = format!(
                "modules `{first_module}` and `{other_module}` give `{name}` different defaults, and nothing decides"
            );
            let finding = Diagnostic::new(&AMBIGUOUS_DEFAULT, at(other_module, other), message)
                .label("another default")
                .also(at(first_module, first), "the first default")
                .also(self.place.clone(), "this entry gets both modules")
                .help(format!("set `{name}` under `vars:` of the entry, a role or common.vgo, or give the two variables different names"));
            self.out.found.push(finding);
        }
    }

    fn parameters(&mut self) {
        for (name, p) in &self.defaults.parameters {
            let unset = self.out.by_name.get(&p.name).is_none_or(|v| v.value == VarValue::Unset);
            if !unset {
                continue;
            }
            let message = format!("module `{name}` needs a value for `{}`, and nothing sets one", p.name);
            let mut finding = Diagnostic::new(&UNSET_PARAMETER, self.place.clone(), message)
                .label(format!("gets `{name}`"))
                .help(format!(
                    "set `{}` ({}) under `vars:` of the entry, a role or common.vgo",
                    p.name, p.ty
                ));
            let undeclared = self.out.by_name.iter().filter(|(_, v)| v.declared.is_none());
            if let Some(near) = nearest(&p.name, undeclared.map(|(n, _)| &**n)) {
                finding = finding.help(format!("`{near}` is set; is it a misspelt `{}`?", p.name));
                let step = self.out.by_name.get(near).and_then(|v| v.steps.last());
                if let Some((step, span)) = step.and_then(|s| Some((s, s.span?))) {
                    finding = finding.also(Place { file: step.file.clone(), span }, "set here");
                }
            }
            if let Some(place) = self.module_place(name, &p.name) {
                finding = finding.also(place, "a parameter without default");
            }
            self.out.found.push(finding);
        }
    }

    /// What a condition of `conditional_vars` says, with the variables merged so far.
    fn decide(
        &mut self,
        condition: &Condition,
        file: &Arc<str>,
        class: &super::ResolvedClass,
        traits: &[(Arc<str>, Value)],
    ) -> StepState {
        let mut sink = Sink::new(file.clone());
        let types = self.out.types();
        let scope = Scope {
            vars: &types,
            module: None,
            item: None,
            stage: Stage::Specialise,
            place: "a condition of `conditional_vars`",
            changed: false,
        };
        let lowered = when::lower(condition, &scope, &mut sink);
        unknown_names(self.db, self.project, &lowered, &mut sink);
        self.out.found.append(&mut sink.found);
        shared_traits(&lowered.expr, &mut self.out.footprint);
        let vars = self
            .out
            .by_name
            .iter()
            .map(|(n, v)| {
                (
                    n.clone(),
                    match &v.value {
                        VarValue::Set(value) => Some(Value::clone(value)),
                        _ => None,
                    },
                )
            })
            .collect();
        let facts = ClassFacts {
            vars,
            traits: traits.iter().cloned().collect(),
            environment: class.environment.clone(),
            roles: class.roles.clone(),
            modules: class.modules.clone(),
            item: None,
            hostname: None,
        };
        match ir::eval(&lowered.expr, &facts, &mut Budget::default()) {
            Ok(Outcome::Known(Value::Bool(true))) => StepState::Applied,
            Ok(Outcome::Known(_)) => StepState::Skipped,
            Ok(Outcome::Residual(_)) => StepState::Undecided,
            Err(error) => {
                self.out.found.push(lowered.failure(file, &error));
                StepState::Undecided
            }
        }
    }
}

/// Where a module declares a variable.
pub fn module_variable(db: &dyn Db, file: crate::db::SourceFile, name: &str) -> Option<Place> {
    let module = module(db, file)?;
    let of_params = module.params.iter().map(|p| &p.name);
    let declared = of_params.chain(module.vars.iter().map(|(n, _)| n)).find(|n| &*n.text == name)?;
    Some(Place { file: file.path(db).clone(), span: declared.span })
}

/// Shared traits that an expression looks at.
pub fn shared_traits(expr: &Expr, out: &mut BTreeSet<Arc<str>>) {
    let schema = schema();
    expr.walk(&mut |e| match e {
        Expr::Path(Root::Traits, steps) => {
            let prefix = (1..=steps.len()).rev().map(|n| steps[..n].join("."));
            let known = prefix.filter_map(|p| schema.traits.get_key_value(p.as_str())).next();
            if let Some((name, known)) = known
                && known.shared
            {
                out.insert(name.clone());
            }
        }
        Expr::Call(f, args) => {
            if let Some(f) = schema.functions.get(f.name()) {
                out.extend(f.reads.iter().cloned());
            }
            if let (ir::Builtin::HasTrait, Some(Expr::Const(Value::Str(path)))) = (f, args.first())
                && schema.traits.get(path).is_some_and(|t| t.shared)
            {
                out.insert(path.clone());
            }
        }
        _ => {}
    });
}

/// Every variable that any class or module knows, with its type there; the last resort of a name.
#[salsa::tracked(returns(ref))]
pub fn all_variables(db: &dyn Db, project: Project) -> BTreeMap<Arc<str>, Type> {
    let mut out: BTreeMap<Arc<str>, Type> = BTreeMap::new();
    let mut add = |name: &Arc<str>, ty: &Type| {
        out.entry(name.clone()).or_insert_with(|| ty.clone());
    };
    for file in &index(db, project).module_files {
        for declared in interface(db, *file).into_iter().flat_map(|i| &i.variables) {
            add(&declared.name, &declared.ty);
        }
    }
    let none = TraitFacts::new(db, Vec::new());
    for class in super::class::classes(db, project) {
        for (name, variable) in &class_vars(db, project, class, none).by_name {
            add(name, &variable.ty);
        }
    }
    out
}
