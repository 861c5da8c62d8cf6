//! The paths of secrets that are written in the policy. The paths are no secrets.

use super::Ide;
use compiler::db::{Content, Db, SourceFile};
use compiler::syntax::Kind;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What stands before a path.
const PREFIX: &str = "secret:";

/// Every path, each once.
pub fn paths(ide: &Ide<'_>) -> BTreeSet<Arc<str>> {
    let (db, project) = ide.queries();
    project.files(db).iter().flat_map(|file| of_file(db, *file)).cloned().collect()
}

/// Those of one file, found in its text: after an edit, those of other files are as they were.
#[salsa::tracked(returns(ref))]
fn of_file(db: &dyn Db, file: SourceFile) -> Vec<Arc<str>> {
    let Content::Text(text) = file.content(db) else { return Vec::new() };
    if Kind::of(file.path(db)) == Kind::Template {
        return Vec::new();
    }
    let path = |(at, _): (usize, &str)| {
        let before = text.get(..at)?.chars().next_back();
        let rest = text.get(at + PREFIX.len()..)?;
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "/._-".contains(c))).unwrap_or(rest.len());
        // the whole of a value begins behind a quote or a blank
        let whole = before.is_none_or(|c| matches!(c, '"' | '\'' | ' '));
        rest.get(..end).filter(|_| whole && end > 0).map(Arc::from)
    };
    text.match_indices(PREFIX).filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    #[test]
    fn paths_are_found_in_every_file_but_templates() {
        let policy = ACME
            .replacen("port: 8080 }", "port: 8080, a: \"secret:web/key\" }", 1)
            .replacen(
                "  vars: { server_name: other }",
                "  vars: { server_name: other, b: 'secret:db' } # nosecret:x",
                1,
            )
            .replacen("listen {{", "secret:template {{", 1);
        let fixture = Fixture::new(&policy);
        let found = paths(&fixture.ide());
        assert_eq!(found.iter().map(|p| &**p).collect::<Vec<_>>(), ["db", "web/key"]);
    }
}
