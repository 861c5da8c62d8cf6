//! The secrets that a policy names, with the places where it does.

use crate::db::{Content, Db, Project};
use crate::diagnostic::Place;
use crate::syntax::Kind;
use crate::values::secret_path;
use grammar::document::{Node, Value, parse};
use std::sync::Arc;

/// A place at which a secret is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretUse {
    /// Of the secret, without `secret:`.
    pub path: Arc<str>,
    /// Where; the value as a whole, quotes included.
    pub place: Place,
}

/// Every `secret:PATH` of a policy, sorted by path and then by place; also where no host comes to it. Tests of a policy are
/// left out: what they name is made up.
pub fn secrets(db: &dyn Db, project: Project) -> Vec<SecretUse> {
    let mut out = Vec::new();
    for file in project.files(db) {
        let path = file.path(db);
        let Content::Text(text) = file.content(db) else { continue };
        let kind = Kind::of(path);
        // most files name none, and need not be parsed once more
        if kind != Kind::Template && kind != Kind::Test && text.contains("secret:") {
            walk(&parse(text).root, path, &mut out);
        }
    }
    out.sort();
    out
}

fn walk(node: &Node, file: &Arc<str>, out: &mut Vec<SecretUse>) {
    match &node.value {
        Value::Scalar(scalar) => {
            let written = scalar.text.as_str();
            // a template is no secret, whatever it begins with
            if let Some(path) = secret_path(written).filter(|path| !path.contains("{{")) {
                let place = Place { file: file.clone(), span: node.span };
                out.push(SecretUse { path: path.into(), place });
            }
        }
        Value::Seq(items) => items.iter().for_each(|item| walk(item, file, out)),
        Value::Map(entries) => entries.iter().for_each(|entry| walk(&entry.value, file, out)),
        Value::Null | Value::Error => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::render::line_column;
    use crate::policy::Policy;
    use crate::tree::Files;

    #[test]
    fn every_place_is_found_and_nothing_else() {
        let text = |path: &str, text: &str| (Arc::from(path), Content::Text(text.into()));
        let files: Files = [
            text("nodes.vgo", "nodes:\n  - match: a\n    modules: [m]\n    vars: { p: \"secret:b/one\", q: [x, secret:a] }\n"),
            text("modules/m.vgo", "name: m\n# secret:comment\nvars: { p: secret:b/one }\nresources:\n  - name: f\n    type: file\n    target_path: /f\n    content: \"secret:{{.Vars.p}}\"\n"),
            text("modules/unused.vgo", "name: unused\nresources:\n  - name: f\n    type: file\n    target_path: /g\n    content: 'secret:c'\n"),
            text("tests/t.vgo", "test: t\nenvoy: a\nvars: { p: secret:made-up }\n"),
            text("templates/t.tmpl", "secret:text\n"),
        ]
        .into();
        let policy = Policy::of(files);
        let (db, project) = policy.queries();
        let found: Vec<String> = secrets(db, project)
            .iter()
            .map(|s| {
                let text = policy.text(&s.place.file).unwrap();
                let (line, column) = line_column(&text, s.place.span.start as usize);
                format!("{} {}:{line}:{column}", s.path, s.place.file)
            })
            .collect();
        assert_eq!(
            found,
            [
                "a nodes.vgo:4:39",
                "b/one modules/m.vgo:3:12",
                "b/one nodes.vgo:4:16",
                "c modules/unused.vgo:6:14"
            ]
        );
    }
}
