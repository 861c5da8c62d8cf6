//! Conditions over envoys, in the language of `when:`.
//!
//! The compiler types them as it types those of a policy, so a misspelt trait or a text compared with a number is told
//! to whoever asks, with the place, and never turns into "no envoy matches". Variables belong to a policy and cannot be
//! asked for here.

use super::mistakes::Mistakes;
use compiler::diagnostic::{Diagnostic, Severity, Sink};
use compiler::expr::{Lowered, Scope, VarTypes, when};
use compiler::facts::{ClassFacts, all_traits_of_host};
use compiler::schema::Stage;
use compiler::types::Type;
use ir::{Budget, Outcome, Value};
use std::sync::Arc;

/// What the expression is called in diagnostics.
const NAME: &str = "when";
/// Bytes of an expression.
const MAX_LENGTH: usize = 4096;

/// A condition that is well typed.
#[derive(Debug)]
pub struct Condition {
    lowered: Lowered,
}

/// What is known of an envoy.
#[derive(Clone, Debug, Default)]
pub struct About<'a> {
    /// Lower-case.
    pub hostname: &'a str,
    /// As the policy has it.
    pub environment: Option<&'a str>,
    /// Of the policy.
    pub roles: &'a [String],
    /// Of the policy.
    pub modules: &'a [String],
    /// As it sent them last.
    pub traits: Option<&'a Value>,
}

impl Condition {
    /// Parses and types it.
    pub fn compile(text: &str) -> Result<Condition, Mistakes> {
        let file: Arc<str> = NAME.into();
        let mut sink = Sink::new(file.clone());
        if text.len() > MAX_LENGTH {
            return Err(Mistakes::plain(format!("the condition has more than {MAX_LENGTH} characters")));
        }
        let scope = Scope {
            vars: &VarTypes::new(),
            module: None,
            item: None,
            stage: Stage::Converge,
            place: "the choice of envoys",
            changed: false,
        };
        let (tree, errors) = grammar::when::parse(text);
        sink.found.extend(errors.into_iter().map(|e| Diagnostic::from_syntax(&file, e, &|s| s)));
        let lowered = when::lower_any(&tree, &scope, &mut sink);
        let errors = sink.found.iter().any(|d| d.severity == Severity::Error);
        if !errors && lowered.ty != Type::Bool && lowered.ty != Type::Any {
            let message =
                format!("a condition is a bool, not {}", compiler::values::article(&lowered.ty.to_string()));
            let finding = sink.say(&compiler::diagnostic::codes::TYPE_MISMATCH, lowered.spans.span, message);
            let finding = finding.label(lowered.ty.to_string()).help("compare it: `... == 'text'`");
            sink.push(finding);
        }
        sink.found.retain(|d| d.severity == Severity::Error);
        if sink.found.is_empty() {
            return Ok(Condition { lowered });
        }
        Err(Mistakes::new(&sink.found, file, text))
    }

    /// Whether it holds for an envoy; `None` where what is known of the envoy does not say.
    pub fn holds(&self, about: &About<'_>) -> Option<bool> {
        let names = |all: &[String]| all.iter().map(|name| name.as_str().into()).collect();
        let facts = ClassFacts {
            traits: about.traits.map(|t| all_traits_of_host(t).into_iter().collect()).unwrap_or_default(),
            environment: about.environment.map(Into::into),
            roles: names(about.roles),
            modules: names(about.modules),
            hostname: Some(about.hostname.into()),
            ..ClassFacts::default()
        };
        match ir::eval(&self.lowered.expr, &facts, &mut Budget::default()) {
            Ok(Outcome::Known(Value::Bool(holds))) => Some(holds),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::traits;

    #[test]
    fn a_condition_is_asked_of_each_envoy() {
        let traits = traits("debian");
        let roles = ["webserver".to_owned()];
        let about = About {
            hostname: "web-01",
            environment: Some("production"),
            roles: &roles,
            modules: &[],
            traits: Some(&traits),
        };
        for (text, expected) in [
            ("traits.os.family == 'debian'", Some(true)),
            ("traits.os.family == 'rhel'", Some(false)),
            ("has_role('webserver') && env_is('production')", Some(true)),
            ("!has_role('webserver')", Some(false)),
            // not reported by this envoy
            ("traits.os.version == '12'", None),
        ] {
            assert_eq!(Condition::compile(text).unwrap().holds(&about), expected, "{text}");
        }
        let silent = About { traits: None, ..about };
        assert_eq!(Condition::compile("traits.os.family == 'debian'").unwrap().holds(&silent), None);
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, expected) in [
            ("traits.os.famly == 'debian'", "famly"),
            ("traits.os.family == 3", "cannot compare"),
            ("traits.os.family", "is a bool"),
            ("traits.os.family ==", "expected"),
            ("vars.port == 80", "port"),
            ("changed", "changed"),
        ] {
            let mistakes = Condition::compile(text).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert!(mistakes.rendered.contains(expected), "{text}: {}", mistakes.rendered);
            let first = &mistakes.diagnostics[0];
            assert!(first["span"]["start"]["column"].as_u64().is_some(), "{first}");
        }
    }
}
