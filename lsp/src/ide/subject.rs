//! What `vigoc explain` would be asked about at a place.

use super::names;
use super::place::{Step, place};
use super::shape::{Shape, shape};
use super::{Ide, Source, values};
use compiler::commands::ask::{Subject, explained};
use compiler::resolve::interface::interface;
use compiler::uses::Of;
use grammar::document::Parsed;
use ir::Value;

/// What can be explained at a position.
pub fn subject_at(ide: &Ide<'_>, source: &Source, at: u32) -> Option<Subject> {
    if let Some(named) = names::at(ide, source, at) {
        match named.of {
            Of::Variable => return Some(Subject::Var(named.name.to_string())),
            Of::Module => return Some(Subject::Module(named.name.to_string())),
            Of::Resource => {
                let declared = names::declarations(ide, &named).into_iter().next();
                return Some(Subject::Resource(declared.map_or(named.name, |d| d.name).to_string()));
            }
            _ => {}
        }
    }
    let parsed = source.parsed();
    let (name, whole) = owner_at(ide, source, &parsed, at)?;
    let way = place(&parsed.root, at).way;
    Some(match (shape(source.kind, &way), whole) {
        (Shape::Condition, _) => Subject::When(name),
        (_, false) => Subject::Resource(name),
        (_, true) => Subject::Module(name),
    })
}

/// The resource around a position as `module.name`, or the module; and whether it is the module.
fn owner_at(ide: &Ide<'_>, source: &Source, parsed: &Parsed, at: u32) -> Option<(String, bool)> {
    let (db, _) = ide.queries();
    let module = interface(db, source.file)?.name.clone();
    let way = place(&parsed.root, at).way;
    let number = way.iter().find_map(|s| match s {
        Step::Item(n) => Some(*n),
        Step::Key(_) => None,
    });
    let resource = number.and_then(|n| parsed.root.get("resources")?.as_seq()?.get(n)?.get("name")?.as_str());
    Some(match resource {
        Some(name) => (format!("{module}.{name}"), false),
        None => (module.to_string(), true),
    })
}

/// The parts of the condition around a position with the values that they have for the chosen envoy.
pub fn condition_at(ide: &Ide<'_>, source: &Source, parsed: &Parsed, at: u32) -> Option<String> {
    let envoy = ide.envoy?;
    let way = place(&parsed.root, at).way;
    if shape(source.kind, &way) != Shape::Condition {
        return None;
    }
    let (name, _) = owner_at(ide, source, parsed, at)?;
    let traits = values::traits(ide);
    let none = Value::Map(Default::default());
    let traits = traits.as_deref().unwrap_or(&none);
    let text = explained(ide.policy, envoy, traits, &Subject::When(name)).ok()?;
    Some(format!("For `{envoy}`:\n\n```\n{}\n```", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    #[test]
    fn the_innermost_thing_is_explained() {
        let of = |mark: &str| {
            let fixture = Fixture::new(&ACME.replacen(&mark.replace("$0", ""), mark, 1));
            let source = fixture.ide().source(&fixture.file).unwrap();
            subject_at(&fixture.ide(), &source, fixture.at)
        };
        assert_eq!(of("vars.po$0rt == 80"), Some(Subject::Var("port".into())));
        assert_eq!(of("os_fam$0ily('debian') &&"), Some(Subject::When("motd.motd".into())));
        assert_eq!(of("mo$0de: \"0644\""), Some(Subject::Resource("nginx.config".into())));
        assert_eq!(of("d$0oc: Web server."), Some(Subject::Module("nginx".into())));
        assert_eq!(of("notify: [rel$0oad]"), Some(Subject::Resource("nginx.reload".into())));
        assert_eq!(of("roles: [we$0b]"), None);
    }
}
