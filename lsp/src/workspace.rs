//! Owns the policies that documents are open of.
//!
//! One thread works through what the editor says, in order. It answers from the database itself, which is a matter of
//! microseconds to milliseconds, so an answer is always about the text that the editor had when it asked; a question that
//! was withdrawn meanwhile is left out. Checking takes longer: when nothing else is to do, a snapshot is checked on another
//! thread, and the next edit cancels that.

use crate::ide::Ide;
use crate::position::Lines;
use crate::root::locate;
use crate::settings::Settings;
use compiler::commands::ask::fleet_of;
use compiler::plan::Member;
use compiler::policy::{Policy, Report};
use compiler::resolve::vars::all_variables;
use compiler::tree::OpenError;
use compiler::types::Type;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::SystemTime;
use tower_lsp_server::ls_types::{SemanticToken, TextDocumentContentChangeEvent, Uri};

/// What the editor says.
pub enum Message {
    /// How columns are counted, and whether the editor fetches diagnostics itself.
    Agreed {
        /// Columns are bytes, otherwise UTF-16 units.
        utf8: bool,
        /// Diagnostics are asked for, never sent.
        pull: bool,
    },
    /// Settings changed.
    Configure(serde_json::Value),
    /// A document was opened.
    Open {
        /// Which.
        uri: Uri,
        /// All of it.
        text: String,
        /// Its version.
        version: i32,
    },
    /// A document was changed.
    Change {
        /// Which.
        uri: Uri,
        /// In the order in which they were made.
        changes: Vec<TextDocumentContentChangeEvent>,
        /// Its version then.
        version: i32,
    },
    /// A document was closed: what is on disk counts again.
    Close(Uri),
    /// Something on disk changed.
    DiskChanged,
    /// A question.
    Ask(Box<dyn FnOnce(&mut Workspace) + Send>),
    /// A check came to its end; `None`: an edit was faster.
    Checked {
        /// Of which policy.
        root: PathBuf,
        /// Of which state of it.
        revision: u64,
        /// What it found.
        report: Option<Report>,
    },
    /// Which variables a policy has, each with its type.
    Known {
        /// Of which policy.
        root: PathBuf,
        /// By name.
        variables: BTreeMap<Arc<str>, Type>,
    },
}

/// What the workspace tells the editor.
pub trait Outlet: Send {
    /// A policy was checked; the diagnostics of these files may be others.
    fn checked(&self, workspace: &Workspace, root: &Path, files: &BTreeSet<String>);
    /// A policy is being read for the first time.
    fn loading(&self, root: &Path);
    /// It was read and checked.
    fn loaded(&self, root: &Path);
    /// A document was opened: whatever the editor was told about it before, it may have forgotten.
    fn opened(&self, uri: &Uri);
    /// Something that the user should know.
    fn warn(&self, text: String);
    /// Values that are shown between the words and above declarations may be others.
    fn other_values(&self);
}

/// Every policy that a document is open of.
pub struct Workspace {
    outlet: Arc<dyn Outlet + Sync>,
    myself: mpsc::Sender<Message>,
    /// Columns are bytes.
    pub utf8: bool,
    /// The editor fetches diagnostics.
    pub pull: bool,
    /// What the user set.
    pub settings: Settings,
    policies: BTreeMap<PathBuf, Opened>,
    open: HashMap<Uri, Document>,
    dirty: BTreeSet<PathBuf>,
    /// Roots that the user was told about.
    unreadable: BTreeSet<PathBuf>,
    /// The colours of open documents as they were told last, each with the name of that answer.
    colours: HashMap<Uri, (String, Vec<SemanticToken>)>,
    answers: u64,
}

/// A policy.
pub struct Opened {
    /// With what is not saved.
    pub policy: Policy,
    /// Goes up with every change.
    pub revision: u64,
    report: Option<(u64, Arc<Report>)>,
    /// As the last check knew them.
    variables: Option<Arc<BTreeMap<Arc<str>, Type>>>,
    /// The state that is being checked.
    checking: Option<u64>,
    fresh: bool,
    /// Files that have diagnostics in the editor.
    shown: BTreeSet<String>,
    /// The hosts of the fleet file, sorted by name.
    pub fleet: Vec<Member>,
    fleet_stamp: Option<(PathBuf, Option<SystemTime>)>,
}

/// An open document.
pub struct Document {
    root: PathBuf,
    path: String,
    text: Arc<str>,
    version: i32,
}

/// A file of a policy, for one question.
pub struct View<'w> {
    /// Its policy.
    pub opened: &'w Opened,
    /// The root of the policy.
    pub root: &'w Path,
    /// The file in it.
    pub path: String,
    /// Columns are bytes.
    pub utf8: bool,
    /// What the user set.
    pub settings: &'w Settings,
}

/// Larger files are checked, and nothing else: to look for every word of such a file at every keystroke helps nobody.
const LARGEST: usize = 2 << 20;

impl Workspace {
    /// Nothing open yet.
    pub fn new(outlet: Arc<dyn Outlet + Sync>, myself: mpsc::Sender<Message>) -> Self {
        Workspace {
            outlet,
            myself,
            utf8: false,
            pull: false,
            settings: Settings::default(),
            policies: BTreeMap::new(),
            open: HashMap::new(),
            dirty: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            colours: HashMap::new(),
            answers: 0,
        }
    }

    /// Works until the process ends.
    pub fn run(mut self, inbox: &mpsc::Receiver<Message>) {
        loop {
            let message = match inbox.try_recv() {
                Ok(message) => message,
                Err(mpsc::TryRecvError::Disconnected) => return,
                Err(mpsc::TryRecvError::Empty) => {
                    // whoever types or waits comes first
                    self.start_checks();
                    match inbox.recv() {
                        Ok(message) => message,
                        Err(_) => return,
                    }
                }
            };
            // a bug must not silence the server for good
            let taken = std::panic::catch_unwind(AssertUnwindSafe(|| self.take(message)));
            if taken.is_err() {
                self.start_over();
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Agreed { utf8, pull } => (self.utf8, self.pull) = (utf8, pull),
            Message::Configure(json) => {
                let before = self.settings.clone();
                self.settings.take(&json);
                // some editors tell of every setting that changes, whosever it is
                if self.settings != before {
                    self.policies.values_mut().for_each(|o| o.fleet_stamp = None);
                    self.outlet.other_values();
                }
            }
            Message::Open { uri, text, version } => {
                let Some((root, path)) = uri.to_file_path().and_then(|file| locate(&file)) else { return };
                self.outlet.opened(&uri);
                self.edit(uri, Document { root, path, text: text.into(), version });
            }
            Message::Change { uri, changes, version } => {
                let Some(document) = self.open.remove(&uri) else { return };
                let text = changed(&document.text, &changes, self.utf8);
                self.edit(uri, Document { text: text.into(), version, ..document });
            }
            Message::Close(uri) => {
                let Some(document) = self.open.remove(&uri) else { return };
                self.colours.remove(&uri);
                if let Some(opened) = self.policies.get_mut(&document.root) {
                    opened.policy.discard_text(&document.path);
                    opened.revision += 1;
                    self.lay_over(&document.root.clone());
                }
                self.dirty.insert(document.root);
            }
            Message::DiskChanged => {
                for root in self.policies.keys().cloned().collect::<Vec<_>>() {
                    if let Some(opened) = self.policies.get_mut(&root) {
                        // unreadable for a moment: the next change tries again
                        let _ = opened.policy.refresh();
                        opened.revision += 1;
                        opened.fleet_stamp = None;
                    }
                    self.lay_over(&root);
                    self.dirty.insert(root);
                }
                self.outlet.other_values();
            }
            Message::Ask(question) => question(self),
            Message::Checked { root, revision, report } => self.checked(&root, revision, report),
            Message::Known { root, variables } => {
                if let Some(opened) = self.policies.get_mut(&root) {
                    opened.variables = Some(Arc::new(variables));
                }
            }
        }
    }

    fn edit(&mut self, uri: Uri, document: Document) {
        let root = document.root.clone();
        if self.opened(&root) {
            if let Some(opened) = self.policies.get_mut(&root) {
                opened.policy.set_text(&document.path, &document.text);
                opened.revision += 1;
            }
            self.dirty.insert(root);
        }
        self.open.insert(uri, document);
    }

    /// Reads a policy, unless it was read before; whether it is there.
    fn opened(&mut self, root: &Path) -> bool {
        if self.policies.contains_key(root) {
            return true;
        }
        self.outlet.loading(root);
        let policy = match Policy::open(root) {
            Ok(policy) => policy,
            // the first file is not saved yet
            Err(OpenError::Empty { .. }) => Policy::empty(root),
            Err(error) => {
                self.outlet.loaded(root);
                // once: it stays unreadable with every key that is pressed
                if self.unreadable.insert(root.to_owned()) {
                    self.outlet.warn(error.to_string());
                }
                return false;
            }
        };
        self.unreadable.remove(root);
        let opened = Opened {
            policy,
            revision: 0,
            report: None,
            variables: None,
            checking: None,
            fresh: true,
            shown: BTreeSet::new(),
            fleet: Vec::new(),
            fleet_stamp: None,
        };
        self.policies.insert(root.to_owned(), opened);
        true
    }

    /// What is open counts, whatever is on disk.
    fn lay_over(&mut self, root: &Path) {
        let Some(opened) = self.policies.get_mut(root) else { return };
        for document in self.open.values().filter(|d| d.root == root) {
            opened.policy.set_text(&document.path, &document.text);
        }
    }

    /// Reads everything anew, after a bug.
    fn start_over(&mut self) {
        self.outlet
            .warn("something went wrong inside the language server; the policy is read again".to_owned());
        for root in std::mem::take(&mut self.policies).into_keys() {
            if self.opened(&root) {
                self.lay_over(&root);
                self.dirty.insert(root);
            }
        }
    }

    fn start_checks(&mut self) {
        for root in std::mem::take(&mut self.dirty) {
            let Some(opened) = self.policies.get_mut(&root) else { continue };
            if opened.checking.is_some() {
                // its end brings this one back
                continue;
            }
            let (handle, revision, myself) = (opened.policy.handle(), opened.revision, self.myself.clone());
            opened.checking = Some(revision);
            let (of, known) = (root.clone(), opened.variables.clone());
            let check = move || {
                let report = unless_cancelled(|| handle.check());
                let found = report.is_some();
                let _ = myself.send(Message::Checked { root: of.clone(), revision, report });
                // findings wait for nothing; what completion offers may be a moment older
                let variables =
                    if found { unless_cancelled(|| variables(&handle, known.as_deref())) } else { None };
                // an edit waits for this
                drop(handle);
                if let Some(variables) = variables.flatten() {
                    let _ = myself.send(Message::Known { root: of, variables });
                }
            };
            if std::thread::Builder::new().name("vigo-check".into()).stack_size(STACK).spawn(check).is_err() {
                opened.checking = None;
                self.dirty.insert(root);
                return;
            }
        }
    }

    fn checked(&mut self, root: &Path, revision: u64, report: Option<Report>) {
        let Some(opened) = self.policies.get_mut(root) else { return };
        opened.checking = None;
        if opened.revision != revision {
            // an edit came between: its places are those of another text, and the next check is at hand
            self.dirty.insert(root.to_owned());
            return;
        }
        let Some(report) = report else { return };
        opened.report = Some((revision, Arc::new(report)));
        let first = std::mem::take(&mut opened.fresh);
        self.tell(root);
        if first {
            self.outlet.loaded(root);
        }
    }

    /// Tells the editor what was found last.
    fn tell(&mut self, root: &Path) {
        let Some(opened) = self.policies.get_mut(root) else { return };
        let Some((_, report)) = &opened.report else { return };
        let now: BTreeSet<String> = report.diagnostics.iter().map(|d| d.place.file.to_string()).collect();
        let mut touched = std::mem::replace(&mut opened.shown, now.clone());
        touched.extend(now);
        touched.extend(self.open.values().filter(|d| d.root == root).map(|d| d.path.clone()));
        self.outlet.clone().checked(self, root, &touched);
    }

    /// What is found in a policy as it is now.
    pub fn report(&mut self, root: &Path) -> Option<Arc<Report>> {
        let opened = self.policies.get_mut(root)?;
        if let Some((revision, report)) = &opened.report
            && *revision == opened.revision
        {
            return Some(report.clone());
        }
        let report = Arc::new(opened.policy.check());
        opened.report = Some((opened.revision, report.clone()));
        Some(report)
    }

    /// Does something with a policy that may change it for a moment, and has to leave it as it was.
    pub fn try_on<T>(&mut self, root: &Path, work: impl FnOnce(&mut Policy) -> T) -> Option<T> {
        let opened = self.policies.get_mut(root)?;
        let out = work(&mut opened.policy);
        // a check that was under way is lost
        opened.revision += 1;
        self.dirty.insert(root.to_owned());
        Some(out)
    }

    /// Keeps the colours of a document that were told; the name of the answer.
    pub fn coloured(&mut self, uri: &Uri, tokens: Vec<SemanticToken>) -> Option<String> {
        // what is not open is asked about once
        self.open.get(uri)?;
        self.answers += 1;
        let name = self.answers.to_string();
        self.colours.insert(uri.clone(), (name.clone(), tokens));
        Some(name)
    }

    /// The colours of a document as an answer had them, if it was the last.
    pub fn colours(&mut self, uri: &Uri, answer: &str) -> Option<Vec<SemanticToken>> {
        let (name, tokens) = self.colours.remove(uri)?;
        (name == answer).then_some(tokens)
    }

    /// What was found last, without looking again.
    pub fn last_report(&self, root: &Path) -> Option<Arc<Report>> {
        Some(self.policies.get(root)?.report.as_ref()?.1.clone())
    }

    /// The policies that are open, with their roots.
    pub fn policies(&self) -> impl Iterator<Item = (&PathBuf, &Opened)> {
        self.policies.iter()
    }

    /// The policy of a file, which is read when it was not yet, and the path of the file in it.
    pub fn find(&mut self, uri: &Uri) -> Option<(PathBuf, String)> {
        let (root, path) = match self.open.get(uri) {
            Some(document) => (document.root.clone(), document.path.clone()),
            None => locate(&uri.to_file_path()?)?,
        };
        if !self.opened(&root) {
            return None;
        }
        self.read_fleet(&root);
        Some((root, path))
    }

    /// A file, for a question about it.
    pub fn view(&mut self, uri: &Uri) -> Option<View<'_>> {
        let (root, path) = self.find(uri)?;
        let (root, opened) = self.policies.get_key_value(&root)?;
        let text = opened.policy.text(&path)?;
        (text.len() <= LARGEST).then_some(View {
            opened,
            root,
            path,
            utf8: self.utf8,
            settings: &self.settings,
        })
    }

    /// A policy as a whole, for a question about it.
    pub fn view_of(&self, root: &Path) -> Option<View<'_>> {
        let (root, opened) = self.policies.get_key_value(root)?;
        Some(View { opened, root, path: String::new(), utf8: self.utf8, settings: &self.settings })
    }

    /// Where an open document stands: its address as the editor gave it, and its version.
    pub fn document(&self, root: &Path, path: &str) -> Option<(&Uri, i32)> {
        let found = self.open.iter().find(|(_, d)| d.root == root && d.path == path)?;
        Some((found.0, found.1.version))
    }

    /// Reads the fleet file again when it is another one.
    fn read_fleet(&mut self, root: &Path) {
        let Some(opened) = self.policies.get_mut(root) else { return };
        let written = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
        // it may lie where nobody watches
        if opened.fleet_stamp.as_ref().is_some_and(|(path, stamp)| written(path) == *stamp) {
            return;
        }
        let path = match &self.settings.fleet {
            Some(given) => Some(root.join(given)),
            None => {
                ["fleet.jsonl", "fleet.json"].iter().map(|name| root.join(name)).find(|path| path.is_file())
            }
        };
        let Some(path) = path else {
            opened.fleet_stamp = Some((PathBuf::new(), None));
            opened.fleet = Vec::new();
            return;
        };
        let stamp = written(&path);
        match fleet_of(&path) {
            Ok(fleet) => opened.fleet = fleet,
            Err(error) => {
                opened.fleet = Vec::new();
                self.outlet.warn(error.to_string());
            }
        }
        opened.fleet_stamp = Some((path, stamp));
    }
}

/// Work on a snapshot; `None` when an edit was faster, or a bug ended it.
fn unless_cancelled<T>(work: impl FnOnce() -> T) -> Option<T> {
    let caught =
        std::panic::catch_unwind(AssertUnwindSafe(|| salsa::Cancelled::catch(AssertUnwindSafe(work)).ok()));
    caught.ok().flatten()
}

/// The variables of a policy, if they are others than those that are known.
fn variables(policy: &Policy, known: Option<&BTreeMap<Arc<str>, Type>>) -> Option<BTreeMap<Arc<str>, Type>> {
    let (db, project) = policy.queries();
    let now = all_variables(db, project);
    (known != Some(now)).then(|| now.clone())
}

impl View<'_> {
    /// What the editor may ask.
    pub fn ide(&self) -> Ide<'_> {
        Ide {
            policy: &self.opened.policy,
            envoy: self.settings.envoy.as_deref(),
            fleet: &self.opened.fleet,
            variables: self.opened.variables.as_deref(),
        }
    }

    /// The address of a file of the policy.
    pub fn uri(&self, path: &str) -> Option<Uri> {
        Uri::from_file_path(self.root.join(path))
    }
}

/// Trees are walked by recursion to a limited depth; the memory is taken only where it is used.
pub const STACK: usize = 256 << 20;

/// A text after changes, each about the text that the one before it left.
fn changed(text: &str, changes: &[TextDocumentContentChangeEvent], utf8: bool) -> String {
    let mut out = text.to_owned();
    for change in changes {
        match change.range {
            None => out.clone_from(&change.text),
            Some(range) => {
                let span = Lines::new(&out, utf8).span(range);
                out.replace_range(span, &change.text);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
