//! A module as other modules and a check of it see it: names, edges, conditions; no values and no positions, so that
//! neither another value of a variable nor an edit of a text reaches the classes that have the module.

use super::instances::{FactsKey, Instance, Specialised, composed};
use super::shape::Shape;
use super::typed::{Depth, MOST_TEXT, TypesKey, typed};
use crate::db::{Db, Project, SourceFile};
use crate::diagnostic::{Diagnostic, Place};
use crate::resolve::interface::interface;
use std::sync::Arc;

/// The outline of a specialised module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Its own condition is false: it is absent from the variant.
    pub gated: bool,
    /// Modules it needs.
    pub depends_on: Vec<Arc<str>>,
    /// All resources, in run order, those with a false condition among them.
    pub resources: Vec<ResourceOutline>,
    /// Those that may be alone in managing what their key names.
    pub unique: Vec<usize>,
    /// Those that wait for `changed` and that nothing in the module notifies.
    pub untold: Vec<usize>,
    /// Edges between them.
    pub shape: Arc<Shape>,
    /// Names of resources that may exist under facts that are not known yet, as patterns.
    pub templated: Vec<Arc<str>>,
    /// Names of instances of a `foreach` whose list is known, as patterns.
    pub listed: Vec<Arc<str>>,
    /// What could not be decided without more traits: for each the place and what it is.
    pub undecided: Vec<(Place, String)>,
    /// It may be too large to be shipped: whether it is, only its bytes can tell.
    pub heavy: bool,
    /// Findings of evaluating it.
    pub found: Vec<Diagnostic>,
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceOutline {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub kind: Arc<str>,
    /// The number of the resource it comes from.
    pub number: usize,
    /// Its condition is false.
    pub dropped: bool,
    /// The agent decides whether it is there.
    pub conditional: bool,
    /// Value of the key attribute, when known.
    pub key: Option<Arc<str>>,
    /// Its condition, as written, asks `changed`.
    pub tied: bool,
}

/// The outline of a module for some facts; with [`Depth::Outline`] they need not hold more than what a check looks at.
#[salsa::tracked(returns(ref))]
pub fn outline<'db>(
    db: &'db dyn Db,
    project: Project,
    file: SourceFile,
    types: TypesKey<'db>,
    facts: FactsKey<'db>,
    depth: Depth,
) -> Outline {
    let all = composed(db, project, file, types, facts, depth);
    let alone = |i: &Instance| i.unique && !i.dropped && i.key.is_some();
    let mut told = vec![false; all.instances.len()];
    for to in all.shape.notify.iter().flatten() {
        if let Some(told) = told.get_mut(*to) {
            *told = true;
        }
    }
    let places = || all.instances.iter().enumerate();
    let heavy = weight(&all) + MOST_TEXT > ir::wire::MAX_MODULE_BYTES as u64 / 2;
    Outline {
        gated: all.gated,
        heavy,
        depends_on: interface(db, file).map(|i| i.depends_on.clone()).unwrap_or_default(),
        unique: places().filter(|(_, i)| alone(i)).map(|(at, _)| at).collect(),
        untold: places().filter(|(at, i)| i.waits && !told[*at]).map(|(at, _)| at).collect(),
        resources: all
            .instances
            .iter()
            .map(|i| ResourceOutline {
                name: i.name.clone(),
                kind: i.kind.clone(),
                number: i.number,
                dropped: i.dropped,
                conditional: i.when.is_some() || all.gate.is_some(),
                key: i.key.clone(),
                tied: i.tied,
            })
            .collect(),
        shape: all.shape,
        templated: all.templated,
        listed: all.listed,
        undecided: all.undecided,
        found: all.found,
    }
}

/// About how many bytes a module takes, without what is left out of an outline.
fn weight(module: &Specialised) -> u64 {
    let edges: usize = module.shape.depends_on.iter().chain(&module.shape.notify).map(Vec::len).sum();
    let resource = |i: &Arc<Instance>| {
        let written = i.attributes.iter().map(|(name, e)| name.len() as u64 + e.weight()).sum::<u64>();
        128 + i.name.len() as u64 + i.when.as_ref().map_or(0, ir::Expr::weight) + written
    };
    edges as u64 * 8 + module.instances.iter().map(resource).sum::<u64>()
}

/// Findings of a module: of its types and of evaluating it.
#[salsa::tracked(returns(ref))]
pub fn module_findings<'db>(
    db: &'db dyn Db,
    project: Project,
    file: SourceFile,
    types: TypesKey<'db>,
    facts: FactsKey<'db>,
    depth: Depth,
) -> Vec<Diagnostic> {
    let typed = typed(db, project, file, types).as_ref().map(|t| t.found.as_slice()).unwrap_or_default();
    typed.iter().chain(&outline(db, project, file, types, facts, depth).found).cloned().collect()
}
