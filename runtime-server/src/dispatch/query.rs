//! Queries: traits that agents are asked for.
//!
//! An agent answers with a null for what its host does not have, and could not tell a slip of the fingers from that. So
//! the compiler looks at the names when the query is made, as it does at those in a condition.

use super::mistakes::Mistakes;
use compiler::diagnostic::Sink;
use compiler::expr::check_queried_trait;
use std::sync::Arc;

/// What the list of names is called in diagnostics; a name is a line of it.
const NAME: &str = "query";

/// Whether all of it can be asked for: traits, parts of them, and groups such as `memory`.
pub(super) fn check(traits: &[String]) -> Result<(), Mistakes> {
    let file: Arc<str> = NAME.into();
    let mut sink = Sink::new(file.clone());
    let mut start = 0_u32;
    for path in traits {
        check_queried_trait(path, start, &mut sink);
        start = start.saturating_add(u32::try_from(path.len()).unwrap_or(u32::MAX)).saturating_add(1);
    }
    match sink.found.is_empty() {
        true => Ok(()),
        false => Err(Mistakes::new(&sink.found, file, &traits.join("\n"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(traits: &[&str]) -> Option<Mistakes> {
        check(&traits.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()).err()
    }

    #[test]
    fn traits_parts_of_them_and_groups_can_be_asked_for() {
        let good = [
            "os.family",
            "os",
            "filesystem.root",
            "packages.installed",
            "packages.installed.bash",
            "network.interfaces.br-lan",
            "custom",
            "custom.rack",
            "custom.rack.row.7",
        ];
        assert_eq!(found(&[]), None);
        for path in good {
            assert_eq!(found(&[path]), None, "{path}");
        }
    }

    #[test]
    fn what_does_not_exist_is_refused_with_its_place_and_what_was_meant() {
        for (path, message, help) in [
            ("os.famly", "there is no trait `os.famly`", "did you mean `os.family`?"),
            ("os.colour", "there is no trait `os.colour`", "known: `os.arch`"),
            ("memroy", "there is no trait `memroy`", "did you mean `memory`?"),
            ("costum.rack", "there is no trait `costum.rack`", "did you mean `custom`?"),
            ("weather", "there is no trait `weather`", "traits begin with `agent`"),
            ("os.family.name", "it has no fields", ""),
            ("os.", "there is no trait `os.`", "known: `os.arch`"),
            ("..", "there is no trait `..`", ""),
        ] {
            let mistakes = found(&["os.version", path]).unwrap_or_else(|| panic!("{path} is taken"));
            assert_eq!(mistakes.messages.len(), 1, "{path}: {mistakes:?}");
            assert!(mistakes.messages[0].contains(message), "{path}: {mistakes:?}");
            assert!(mistakes.rendered.contains(help), "{path}: {}", mistakes.rendered);
            assert!(mistakes.rendered.contains("query:2:"), "{path}: {}", mistakes.rendered);
        }
    }
}
