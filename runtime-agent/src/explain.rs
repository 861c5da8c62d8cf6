//! `vigo explain`: one resource of this host's policy, what it has to be, why, and how it is.

use crate::agent::{Agent, AgentError};
use crate::checkin::Conversation;
use crate::converge::{Forgetful, RunOptions, evaluate};
use crate::identity::{Identity, IdentityError};
use crate::observe::{Outcome, ResourceReport, Silent};
use crate::store::Store;
use crate::text::{bounded, printable, printable_lines};
use ir::unparse::{template_text, when_text};
use ir::{Expr, Module, Resource, Target, Value};
use serde_json::json;
use std::fmt::Write;

/// Bytes of a value that are shown to people.
const MOST: usize = 300;
/// Where a secret went into a value.
const HIDDEN: &str = "(sensitive)";

/// An attribute.
#[derive(Debug)]
struct Attribute {
    name: String,
    /// As policy has it, where the agent had something left to compute.
    expr: Option<String>,
    /// What it is, or why that is not known.
    value: Result<Value, String>,
    sensitive: bool,
}

/// Everything about one resource.
#[derive(Debug)]
pub struct Explanation {
    id: String,
    kind: String,
    /// Where its module stands among all, from 1; and it in its module.
    place: [usize; 4],
    when: Option<(String, String)>,
    depends_on: Vec<String>,
    notifies: Vec<String>,
    notified_by: Vec<String>,
    attributes: Vec<Attribute>,
    triggered: bool,
    report: Option<ResourceReport>,
}

impl Agent {
    /// Explains `module.resource`. Looks at the host as a dry run does; changes nothing, and takes no lock.
    pub fn explain(&self, id: &str) -> Result<Explanation, AgentError> {
        let identity = Identity::load(self.state())?;
        let store = Store::look(self.state())?.ok_or(IdentityError::NotEnrolled)?;
        let conversation = Conversation { identity: &identity, store: &store, clock: self.clock() };
        let Some(verified) = conversation.held_bundle()? else {
            let bundle = conversation.inspect()?.err().unwrap_or(crate::verify::VerifyError::NoBundle);
            return Err(AgentError::NothingValid { bundle, server: None });
        };
        let options = RunOptions { dry_run: true, diff: true, only: Some(id.to_owned()) };
        crate::agent::exists(&options, &verified.modules)?;
        let due = store.triggers()?;
        let triggered = due.contains(id);
        self.beside(&identity, &store, &verified, |root, work| {
            let summary = self.converge(root, work, &options, &mut Forgetful(due), &mut Silent)?;
            let facts = self.facts(root, work);
            facts.changed.set(triggered);
            let evaluate = |expr: &Expr| evaluate(&facts, expr);
            let mut explanation = declared(&verified.modules, id, &evaluate).ok_or_else(|| {
                AgentError::NoSuch { only: id.to_owned(), modules: crate::agent::names(&verified.modules) }
            })?;
            explanation.triggered = triggered;
            explanation.report = summary.results.into_iter().next();
            Ok(explanation)
        })
    }
}

type Evaluate<'a> = dyn Fn(&Expr) -> Result<(Value, bool), String> + 'a;

fn declared(modules: &[Module], id: &str, evaluate: &Evaluate<'_>) -> Option<Explanation> {
    let (at, module) = modules.iter().enumerate().find(|(_, m)| {
        id.strip_prefix(&*m.name).is_some_and(|rest| {
            rest.strip_prefix('.').is_some_and(|name| m.resources.iter().any(|r| *r.name == *name))
        })
    })?;
    let name = id.strip_prefix(&*module.name)?.strip_prefix('.')?;
    let (within, resource) = module.resources.iter().enumerate().find(|(_, r)| *r.name == *name)?;
    let named = |targets: &[Target]| targets.iter().filter_map(|t| target(module, t)).collect();
    let notifies_this =
        |m: &Module, r: &Resource| r.notify.iter().any(|t| target(m, t).as_deref() == Some(id));
    let notified_by = modules
        .iter()
        .flat_map(|m| m.resources.iter().map(move |r| (m, r)))
        .filter(|(m, r)| notifies_this(m, r))
        .map(|(m, r)| format!("{}.{}", m.name, r.name))
        .collect();
    let when = resource.when.as_ref().map(|when| {
        let value = match evaluate(when) {
            Ok((Value::Bool(holds), _)) => holds.to_string(),
            Ok((other, _)) => format!("{}, not a bool", other.kind()),
            Err(error) => error,
        };
        (when_text(when), value)
    });
    let attribute = |(name, expr): &(std::sync::Arc<str>, Expr)| {
        let evaluated = evaluate(expr);
        let sensitive = matches!(evaluated, Ok((_, true)));
        Attribute {
            name: name.to_string(),
            expr: expr.as_const().is_none().then(|| template_text(expr)),
            value: evaluated.map(|(value, sensitive)| if sensitive { HIDDEN.into() } else { value }),
            sensitive,
        }
    };
    Some(Explanation {
        id: id.to_owned(),
        kind: resource.kind.to_string(),
        place: [at + 1, modules.len(), within + 1, module.resources.len()],
        when,
        depends_on: named(&resource.depends_on),
        notifies: named(&resource.notify),
        notified_by,
        attributes: resource.attributes.iter().map(attribute).collect(),
        triggered: false,
        report: None,
    })
}

fn target(module: &Module, target: &Target) -> Option<String> {
    crate::converge::target(module, target)
}

/// A value on one line.
fn short(value: &Value) -> String {
    let text = match value {
        Value::Bytes(bytes) => format!("({} bytes)", bytes.len()),
        other => serde_json::Value::from(other).to_string(),
    };
    let shown = bounded(&text, MOST);
    format!("{}{}", printable(shown), if shown.len() < text.len() { "..." } else { "" })
}

impl Explanation {
    /// How it is now, in one line.
    fn now(&self) -> String {
        let Some(report) = &self.report else { return "not looked at".to_owned() };
        match report.outcome {
            Outcome::Ok => "as it should be".to_owned(),
            Outcome::Changed => format!("would change: {}", report.action),
            Outcome::Skipped if report.action == "when" => "not its turn: `when` is false".to_owned(),
            Outcome::Skipped => format!("left alone: {}", report.action),
            Outcome::Failed => {
                format!("fails: {}", printable_lines(report.error.as_deref().unwrap_or(&report.action)))
            }
        }
    }

    /// For people.
    pub fn human(&self, diff: bool) -> String {
        let mut out = String::new();
        let mut line = |name: &str, text: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "{name:<12}{text}");
        };
        line("resource", &format!("{}, a `{}`", printable(&self.id), printable(&self.kind)));
        let [module, modules, resource, resources] = self.place;
        line("order", &format!("module {module} of {modules}, resource {resource} of {resources} in it"));
        if let Some((text, value)) = &self.when {
            line("when", &printable(text));
            line("", &format!("now: {}", printable(value)));
        }
        for (name, list) in [
            ("depends on", &self.depends_on),
            ("notifies", &self.notifies),
            ("notified by", &self.notified_by),
        ] {
            if !list.is_empty() {
                line(name, &printable(&list.join(", ")));
            }
        }
        for (at, attribute) in self.attributes.iter().enumerate() {
            let value = match &attribute.value {
                Ok(_) if attribute.sensitive => HIDDEN.to_owned(),
                Ok(value) => short(value),
                Err(error) => format!("not known: {}", printable(error)),
            };
            line(
                if at == 0 { "attributes" } else { "" },
                &format!("{} = {value}", printable(&attribute.name)),
            );
            if let Some(expr) = &attribute.expr {
                line("", &format!("  from {}", printable(bounded(expr, MOST))));
            }
        }
        if self.triggered {
            line("trigger", "something called for it in an earlier run, and it was not served yet");
        }
        line("now", &self.now());
        if let Some(diff) = self.report.as_ref().and_then(|r| r.diff.as_ref()).filter(|_| diff) {
            out.push_str(diff);
        }
        out
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let attributes: serde_json::Map<String, serde_json::Value> = self
            .attributes
            .iter()
            .map(|a| {
                let value = match &a.value {
                    Ok(_) if a.sensitive => json!({ "sensitive": true, "expr": a.expr }),
                    Ok(value) => json!({ "value": serde_json::Value::from(value), "expr": a.expr }),
                    Err(error) => json!({ "error": error, "expr": a.expr }),
                };
                (a.name.clone(), value)
            })
            .collect();
        json!({
            "format_version": "1.0",
            "command": "explain",
            "tool_version": env!("CARGO_PKG_VERSION"),
            "resource": self.id,
            "type": self.kind,
            "when": self.when.as_ref().map(|(text, value)| json!({ "expr": text, "value": value })),
            "depends_on": self.depends_on,
            "notifies": self.notifies,
            "notified_by": self.notified_by,
            "attributes": attributes,
            "triggered": self.triggered,
            "outcome": self.report.as_ref().map(|r| r.outcome.name()),
            "action": self.report.as_ref().map(|r| r.action.as_str()),
            "error": self.report.as_ref().and_then(|r| r.error.as_deref()),
            "diff": self.report.as_ref().and_then(|r| r.diff.as_deref()),
        })
    }
}
