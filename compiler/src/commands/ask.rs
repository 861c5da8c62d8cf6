//! What commands print for people, as text: an editor asks a policy that it holds in memory, files that are not saved
//! included.

use super::failure::Failure;
use super::host::Host;
use super::{explain, fleet, graph, input, plan, resolve, test};
use crate::plan::Member;
use crate::policy::Policy;
use crate::tree::Files;
use ir::Value;
use std::path::Path;

pub use super::residual::value_text;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NoAnswer(#[from] Failure);

/// What [`explain`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A variable.
    Var(String),
    /// A module.
    Module(String),
    /// `module.resource`
    Resource(String),
    /// The condition of `module` or `module.resource`.
    When(String),
}

/// Why a host gets something, as `vigoc explain` says it.
pub fn explained(policy: &Policy, host: &str, traits: &Value, subject: &Subject) -> Result<String, NoAnswer> {
    Ok(explain::text(&Host::find(policy, host, None, traits)?, subject)?)
}

/// What a host gets, as `vigoc resolve` says it.
pub fn resolved(policy: &Policy, host: &str, traits: &Value) -> Result<String, NoAnswer> {
    Ok(resolve::text(&compiled(policy, host, traits)?))
}

/// The order and the triggers of a host, for Graphviz or else for Mermaid.
pub fn drawn(
    policy: &Policy,
    host: &str,
    traits: &Value,
    focus: Option<&str>,
    dot: bool,
) -> Result<String, NoAnswer> {
    Ok(graph::text(&compiled(policy, host, traits)?, focus, dot)?)
}

fn compiled<'a>(policy: &'a Policy, host: &str, traits: &Value) -> Result<Host<'a>, Failure> {
    let host = Host::find(policy, host, None, traits)?;
    host.need_no_errors()?;
    host.need_traits()?;
    Ok(host)
}

/// Runs the policy tests that are wanted, by file and name: whether they pass, and the report of `vigoc test`. Stored
/// snapshots are read below `root`.
pub fn tested(
    policy: &Policy,
    root: &Path,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<(bool, String), NoAnswer> {
    Ok(test::text(policy, root, wanted)?)
}

/// What the files of a policy change for a fleet, against a git revision of `root`: as the terminal shows it, or else in
/// Markdown for a comment.
pub fn planned(
    root: &Path,
    revision: &str,
    now: Files,
    members: Vec<Member>,
    markdown: bool,
) -> Result<String, NoAnswer> {
    Ok(plan::text(root, revision, now, members, markdown)?)
}

/// The hosts of a fleet file, sorted by name.
pub fn fleet_of(path: &Path) -> Result<Vec<Member>, NoAnswer> {
    if path == Path::new("-") {
        return Err(NoAnswer(Failure::Input("a fleet cannot be read from stdin here".into())));
    }
    Ok(fleet::read(path)?)
}

/// The traits of a built-in fixture such as `debian12`.
pub fn fixture(name: &str) -> Option<Value> {
    let (_, text) = stdlib::fixtures().find(|(known, _)| *known == name)?;
    serde_json::from_str(text).ok().and_then(|json| input::value(&json).ok())
}

/// The names of the built-in fixtures.
pub fn fixtures() -> Vec<&'static str> {
    stdlib::fixtures().map(|(name, _)| name).collect()
}
