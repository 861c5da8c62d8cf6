//! The compiler's policy as the server sees it.

use crate::policy::{Checked, ClassKey, Policy, PolicyError, PolicySource, SecretUse, Variant};
use crate::store::lock;
use crate::tree::Tree;
use compiler::diagnostic::json;
use compiler::diagnostic::render::{Style, human};
use compiler::tree::{self, OpenError, Snapshot};
use ir::{Hash, Value};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A policy directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// So that files that did not change are not read again.
    latest: Mutex<Option<Snapshot>>,
}

impl Directory {
    /// It need not be there yet.
    pub fn new(path: PathBuf) -> Self {
        Directory { path, latest: Mutex::default() }
    }
}

impl PolicySource for Directory {
    fn read(&self) -> Result<Option<Tree>, PolicyError> {
        let mut latest = lock(&self.latest);
        let snapshot = match tree::read(&self.path, latest.as_ref()) {
            Ok(snapshot) => snapshot,
            Err(OpenError::Empty { .. }) => return Ok(None),
            Err(e) => return Err(PolicyError(e.to_string())),
        };
        let files = latest.insert(snapshot).files.clone();
        Tree::new(files).map(Some).map_err(|e| PolicyError(e.to_string()))
    }

    fn open(&self, tree: &Tree) -> Box<dyn Policy> {
        Box::new(Compiled(compiler::policy::Policy::of(tree.files().clone())))
    }
}

struct Compiled(compiler::policy::Policy);

impl Policy for Compiled {
    fn take(&mut self, tree: &Tree) {
        self.0.take(tree.files().clone());
    }

    fn check(&self) -> Checked {
        let report = self.0.check();
        let style = Style { colour: true, ..Style::default() };
        let summary = report.summary;
        Checked {
            errors: summary.errors,
            warnings: summary.warnings,
            files: summary.files,
            modules: summary.modules,
            classes: summary.classes,
            diagnostics: match report.diagnostics.is_empty() {
                true => serde_json::Value::Array(Vec::new()),
                false => json::diagnostics(&report.diagnostics, &self.0.texts()),
            },
            rendered: report
                .diagnostics
                .iter()
                .map(|d| human(d, &|path| self.0.text(path), style))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    fn class_of(&self, hostname: &str) -> Option<ClassKey> {
        self.0.class_of(hostname)
    }

    fn layout(&self) -> Hash {
        let (db, project) = self.0.queries();
        let nodes = &compiler::resolve::index::index(db, project).nodes;
        let texts = nodes.iter().map(|file| {
            let path = file.path(db);
            let text = self.0.text(path).unwrap_or_default();
            [Hash::of(path.as_bytes()).0, Hash::of(text.as_bytes()).0].concat()
        });
        Hash::of(&texts.collect::<Vec<_>>().concat())
    }

    fn variant(&self, class: &ClassKey, traits: &Value) -> Result<Arc<Variant>, PolicyError> {
        self.0.variant_of_host(class, traits).map_err(|e| PolicyError(e.to_string()))
    }

    fn secrets(&self) -> Vec<SecretUse> {
        let (db, project) = self.0.queries();
        compiler::secrets::secrets(db, project)
    }
}
