//! Owns the policies that documents are open of.

use crate::position::Lines;
use compiler::diagnostic::{Diagnostic as Finding, Severity};
use compiler::policy::Policy;
use compiler::tree::find_root;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use tower_lsp_server::ls_types::{
    Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, Location, NumberOrString, Range, Uri,
};

/// What the editor says.
pub enum Message {
    /// How columns are counted.
    Encoding { utf8: bool },
    /// A document was opened or changed.
    Edit { uri: Uri, text: String, version: i32 },
    /// A document was closed: what is on disk counts again.
    Close { uri: Uri },
    /// Something on disk changed.
    DiskChanged,
}

/// Sends the diagnostics of one document to the editor.
pub type Publish = Box<dyn Fn(Uri, Vec<Diagnostic>, Option<i32>) + Send>;

/// Every policy that a document is open of.
pub struct Workspace {
    publish: Publish,
    utf8: bool,
    policies: BTreeMap<PathBuf, Opened>,
    open: HashMap<Uri, Document>,
}

struct Opened {
    policy: Policy,
    /// Files that have diagnostics in the editor, to be cleared when they have none any more.
    shown: BTreeSet<String>,
}

struct Document {
    root: PathBuf,
    path: String,
    version: i32,
}

impl Workspace {
    /// Nothing open yet.
    pub fn new(publish: Publish) -> Self {
        Workspace { publish, utf8: false, policies: BTreeMap::new(), open: HashMap::new() }
    }

    /// Works until every sender is gone.
    pub fn run(mut self, inbox: &mpsc::Receiver<Message>) {
        while let Ok(first) = inbox.recv() {
            let mut dirty = BTreeSet::new();
            for message in std::iter::once(first).chain(inbox.try_iter()) {
                self.take(message, &mut dirty);
            }
            for root in dirty {
                // a bug in the compiler must not silence the server for good
                let checked = std::panic::catch_unwind(AssertUnwindSafe(|| self.check(&root)));
                if checked.is_err() {
                    self.policies.remove(&root);
                }
            }
        }
    }

    fn take(&mut self, message: Message, dirty: &mut BTreeSet<PathBuf>) {
        match message {
            Message::Encoding { utf8 } => self.utf8 = utf8,
            Message::Edit { uri, text, version } => {
                let Some((root, path)) = locate(&uri) else { return };
                if !self.policies.contains_key(&root) {
                    // a directory that cannot be read has no findings; the editor shows the document all the same
                    let Ok(policy) = Policy::open(&root) else { return };
                    self.policies.insert(root.clone(), Opened { policy, shown: BTreeSet::new() });
                }
                if let Some(opened) = self.policies.get_mut(&root) {
                    opened.policy.set_text(&path, &text);
                }
                self.open.insert(uri, Document { root: root.clone(), path, version });
                dirty.insert(root);
            }
            Message::Close { uri } => {
                let Some(document) = self.open.remove(&uri) else { return };
                if let Some(opened) = self.policies.get_mut(&document.root) {
                    opened.policy.discard_text(&document.path);
                }
                dirty.insert(document.root);
            }
            Message::DiskChanged => {
                for (root, opened) in &mut self.policies {
                    // unreadable for a moment: the next change tries again
                    let _ = opened.policy.refresh();
                    dirty.insert(root.clone());
                }
            }
        }
    }

    fn check(&mut self, root: &Path) {
        let Some(opened) = self.policies.get_mut(root) else { return };
        let report = opened.policy.check();
        let mut by_file: BTreeMap<String, Vec<Diagnostic>> = BTreeMap::new();
        for finding in &report.diagnostics {
            let converted = convert(finding, &opened.policy, root, self.utf8);
            by_file.entry(finding.place.file.to_string()).or_default().push(converted);
        }
        let mut touched: BTreeSet<String> = std::mem::take(&mut opened.shown);
        touched.extend(by_file.keys().cloned());
        touched.extend(self.open.values().filter(|d| d.root == root).map(|d| d.path.clone()));
        opened.shown = by_file.keys().cloned().collect();
        for path in touched {
            let Some(uri) = Uri::from_file_path(root.join(&path)) else { continue };
            let open = self.open.iter().find(|(_, d)| d.root == root && d.path == path);
            let (uri, version) = open.map_or((uri, None), |(u, d)| (u.clone(), Some(d.version)));
            (self.publish)(uri, by_file.remove(&path).unwrap_or_default(), version);
        }
    }
}

/// The policy a document belongs to, and its path there.
fn locate(uri: &Uri) -> Option<(PathBuf, String)> {
    let file = uri.to_file_path()?;
    let root = find_root(file.parent()?)?;
    let relative = file.strip_prefix(&root).ok()?;
    let path = relative.components().map(|c| c.as_os_str().to_str()).collect::<Option<Vec<_>>>()?.join("/");
    Some((root, path))
}

fn convert(finding: &Finding, policy: &Policy, root: &Path, utf8: bool) -> Diagnostic {
    let range = |file: &str, span: std::ops::Range<usize>| match policy.text(file) {
        Some(text) => Lines::new(&text, utf8).range(span),
        None => Range::default(),
    };
    let related = finding.labels.iter().filter_map(|(place, text)| {
        Some(DiagnosticRelatedInformation {
            location: Location {
                uri: Uri::from_file_path(root.join(&*place.file))?,
                range: range(&place.file, place.span.range()),
            },
            message: text.clone(),
        })
    });
    let related: Vec<_> = related.collect();
    let mut message = finding.message.clone();
    if let Some(help) = &finding.help {
        message = format!("{message}\nhelp: {help}");
    }
    Diagnostic {
        range: range(&finding.place.file, finding.place.span.range()),
        severity: Some(match finding.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
            Severity::Hint => DiagnosticSeverity::HINT,
        }),
        code: Some(NumberOrString::String(finding.code.into())),
        source: Some("vigo".into()),
        message,
        related_information: (!related.is_empty()).then_some(related),
        ..Diagnostic::default()
    }
}
