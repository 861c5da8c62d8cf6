//! A policy: open it, check it, ask for the class of a host and for the variant of a class.

use crate::checks::{check, class_findings};
use crate::concern::file_errors;
use crate::db::{Content, Project, RootDb, SourceFile};
use crate::diagnostic::{Diagnostic, Severity};
use crate::facts::{shared_traits, traits_of_host};
use crate::removal;
use crate::resolve::TraitFacts;
use crate::resolve::class::{Class, classes, entries, resolved_class};
use crate::resolve::glob::normal;
use crate::resolve::index::index;
use crate::resolve::interface::interface;
use crate::resolve::vars::class_vars;
use crate::specialise::{assembled, linked};
use crate::suppress::{Allowed, suppress};
use crate::syntax::ast;
use crate::tree::{self, OpenError, Snapshot};
use ir::{Hash, Value};
use salsa::{Durability, Setter};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Trees of a policy are walked by recursion, to a limited depth; this is enough for the deepest.
pub(crate) const STACK: usize = 256 << 20;

/// A policy in memory. It can be sent to another thread, but not shared: own it on one, or behind a lock.
#[derive(Debug)]
pub struct Policy {
    db: RootDb,
    project: Project,
    root: PathBuf,
    snapshot: Snapshot,
    files: BTreeMap<Arc<str>, SourceFile>,
    /// Files that [`Policy::set_text`] was given text for.
    edited: BTreeSet<Arc<str>>,
    /// Whether everything was computed once; from then on a check has little to do.
    warm: Cell<bool>,
}

/// Names a class from outside: stable as long as the files are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassKey {
    /// The file of the node entry.
    pub file: Arc<str>,
    /// Its number there.
    pub entry: usize,
    /// The environment.
    pub environment: Option<Arc<str>>,
}

/// What `check` found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Sorted by place.
    pub diagnostics: Vec<Diagnostic>,
    /// What `# vigo: allow` comments take out of account.
    pub allowed: Vec<Allowed>,
    /// Counts.
    pub summary: Summary,
}

/// Counts of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Errors.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
    /// Files of the policy.
    pub files: usize,
    /// Modules.
    pub modules: usize,
    /// Classes.
    pub classes: usize,
}

/// What every envoy of one class and one footprint gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its class.
    pub class: ClassKey,
    /// Shared traits that the class looks at, dotted and sorted.
    pub footprint: Vec<String>,
    /// The environment.
    pub environment: Option<String>,
    /// The closure of the roles.
    pub roles: Vec<String>,
    /// Sorted by name.
    pub modules: Vec<VariantModule>,
    /// Indices into `modules`.
    pub run_order: Vec<u32>,
    /// Hash of the merged variables.
    pub vars_hash: Hash,
    /// Root over variables and modules.
    pub merkle_root: Hash,
    /// Paths of the secrets that the modules read, sorted.
    pub secrets: Vec<String>,
    /// What an agent has to know beyond the IR format.
    pub required_features: Vec<String>,
}

/// A module of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantModule {
    /// Its name.
    pub name: Arc<str>,
    /// Of `bytes`.
    pub hash: Hash,
    /// What is shipped.
    pub bytes: Arc<[u8]>,
}

/// Why there is no variant.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VariantError {
    /// The policy changed and the entry is gone.
    #[error("the policy has no such class any more")]
    NoSuchClass,
    /// The policy does not compile for this class.
    #[error("the policy does not compile for {class}: {} errors, the first is: {}", found.len(), found.first().map(|d| d.message.as_str()).unwrap_or_default())]
    Findings {
        /// Patterns and environment.
        class: Arc<str>,
        /// The errors.
        found: Vec<Diagnostic>,
    },
    /// Variables, a `foreach` or a `case` need traits that were not given.
    #[error("{what} ({file}) depends on traits that were not given: {}", traits.join(", "))]
    NeedsTraits {
        /// What cannot be decided.
        what: String,
        /// Where.
        file: Arc<str>,
        /// Which traits would decide it.
        traits: Vec<String>,
    },
}

impl Report {
    /// Whether anything is an error.
    pub fn has_errors(&self) -> bool {
        self.summary.errors > 0
    }
}

impl Policy {
    /// Reads a policy directory.
    pub fn open(root: &Path) -> Result<Policy, OpenError> {
        Policy::open_with(root, RootDb::default())
    }

    /// Reads a policy directory into a database of the caller's, such as [`RootDb::recording`].
    pub fn open_with(root: &Path, db: RootDb) -> Result<Policy, OpenError> {
        let snapshot = tree::read(root, None)?;
        let mut files = BTreeMap::new();
        for (path, content) in &snapshot.files {
            // most files stay as they are: what rests on them alone need not be looked at after an edit of another
            let file =
                SourceFile::builder(path.clone(), content.clone()).durability(Durability::HIGH).new(&db);
            files.insert(path.clone(), file);
        }
        let project =
            Project::builder(files.values().copied().collect()).durability(Durability::HIGH).new(&db);
        Ok(Policy {
            db,
            project,
            root: root.to_owned(),
            snapshot,
            files,
            edited: BTreeSet::new(),
            warm: Cell::new(false),
        })
    }

    /// Reads what changed on disk; the paths that did.
    pub fn refresh(&mut self) -> Result<Vec<String>, OpenError> {
        let snapshot = tree::read(&self.root, Some(&self.snapshot))?;
        let mut changed = Vec::new();
        let mut others = false;
        for (path, content) in &snapshot.files {
            match self.files.get(path) {
                Some(file) => {
                    if self.snapshot.files.get(path) != Some(content) {
                        file.set_content(&mut self.db).with_durability(Durability::LOW).to(content.clone());
                        changed.push(path.to_string());
                    }
                }
                None => {
                    let file = SourceFile::new(&self.db, path.clone(), content.clone());
                    self.files.insert(path.clone(), file);
                    changed.push(path.to_string());
                    others = true;
                }
            }
        }
        let gone: Vec<Arc<str>> =
            self.files.keys().filter(|p| !snapshot.files.contains_key(*p)).cloned().collect();
        for path in gone {
            self.files.remove(&path);
            changed.push(path.to_string());
            others = true;
        }
        if others {
            let all = self.files.values().copied().collect();
            self.project.set_files(&mut self.db).to(all);
        }
        self.snapshot = snapshot;
        Ok(changed)
    }

    /// Goes on with the policy in another directory: what the two have in common is not computed again.
    pub fn switch_to(&mut self, root: &Path) -> Result<Vec<String>, OpenError> {
        self.root = root.to_owned();
        // a stamp says nothing about a file elsewhere
        self.snapshot.forget_all();
        self.refresh()
    }

    /// A second handle on the same policy, for another thread. A change waits until all handles are gone.
    pub fn handle(&self) -> Policy {
        Policy {
            db: self.db.clone(),
            project: self.project,
            root: self.root.clone(),
            snapshot: self.snapshot.clone(),
            files: self.files.clone(),
            edited: self.edited.clone(),
            warm: self.warm.clone(),
        }
    }

    /// Replaces the text of one file in memory (an editor's buffer). A new path joins the policy.
    pub fn set_text(&mut self, path: &str, text: &str) {
        let content = Content::Text(text.into());
        match self.files.get(path) {
            Some(file) => {
                // also when the text is the same: from now on it is a file that changes
                let first = self.edited.insert(path.into());
                if first || *file.content(&self.db) != content {
                    file.set_content(&mut self.db).with_durability(Durability::LOW).to(content.clone());
                }
            }
            None => {
                let path: Arc<str> = path.into();
                let file = SourceFile::new(&self.db, path.clone(), content.clone());
                self.files.insert(path, file);
                let all = self.files.values().copied().collect();
                self.project.set_files(&mut self.db).to(all);
            }
        }
        self.snapshot.files.insert(path.into(), content);
    }

    /// Forgets the text that [`Policy::set_text`] gave a file: what is on disk counts again.
    pub fn discard_text(&mut self, path: &str) {
        self.snapshot.forget(path);
        // a directory that cannot be read now is read at the next refresh
        let _ = self.refresh();
    }

    /// The database and its project, for queries beyond this door.
    pub fn queries(&self) -> (&RootDb, Project) {
        (&self.db, self.project)
    }

    /// The root as it was given.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The text of a file, for rendering a finding.
    pub fn text(&self, path: &str) -> Option<Arc<str>> {
        match self.files.get(path)?.content(&self.db) {
            Content::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// The texts of all files, by path.
    pub fn texts(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        self.files
            .iter()
            .filter_map(|(path, file)| match file.content(&self.db) {
                Content::Text(text) => Some((path.clone(), text.clone())),
                _ => None,
            })
            .collect()
    }

    /// Digest over all files, for telling one state of the policy from another.
    pub fn digest(&self) -> Hash {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for (path, content) in &self.snapshot.files {
            let bytes: &[u8] = match content {
                Content::Text(t) => t.as_bytes(),
                Content::Bytes(b) => b,
                _ => &[],
            };
            parts.push((path.len() as u64).to_be_bytes().to_vec());
            parts.push(path.as_bytes().to_vec());
            parts.push(Hash::of(bytes).0.to_vec());
        }
        Hash::of_parts(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// Checks everything that can be known without a host.
    pub fn check(&self) -> Report {
        if !self.warm.replace(true) {
            let threads = threads();
            if threads > 1 && self.files.len() >= WORTH_THREADS {
                self.warm_up(threads, &mut |_| {});
            }
        }
        self.report()
    }

    /// [`Policy::check`], and how long each of its steps took. Only the first check of a policy has much to do in any.
    pub fn check_timed(&self) -> (Report, Vec<(&'static str, Duration)>) {
        let mut steps = Vec::new();
        let mut since = Instant::now();
        let mut done = |step: &'static str| {
            let now = Instant::now();
            steps.push((step, now - since));
            since = now;
        };
        self.warm.set(true);
        let threads = if self.files.len() >= WORTH_THREADS { threads() } else { 1 };
        self.warm_up(threads, &mut done);
        let report = self.report();
        done("collect");
        (report, steps)
    }

    fn report(&self) -> Report {
        let (mut diagnostics, allowed) = suppress(&self.db, self.project, check(&self.db, self.project));
        removal::offer(&mut diagnostics, &|path| self.text(path));
        let count = |s| diagnostics.iter().filter(|d| d.severity == s).count();
        let summary = Summary {
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            files: self.files.len(),
            modules: index(&self.db, self.project).modules.len(),
            classes: classes(&self.db, self.project).len(),
        };
        Report { diagnostics, allowed, summary }
    }

    /// Computes the costly queries on every core; `done` is told after each step. What fails here fails again, and is
    /// said, in the report.
    fn warm_up(&self, threads: usize, done: &mut dyn FnMut(&'static str)) {
        let files: Vec<SourceFile> = self.files.values().copied().collect();
        self.on_every_core(threads, |db, _, number| {
            for file in files.iter().skip(number).step_by(threads) {
                ast(db, *file);
            }
        });
        done("parse");
        self.on_every_core(threads, |db, _, number| {
            for file in files.iter().skip(number).step_by(threads) {
                interface(db, *file);
            }
        });
        done("types");
        self.on_every_core(threads, |db, project, number| {
            let none = TraitFacts::new(db, Vec::new());
            for class in classes(db, project).into_iter().skip(number).step_by(threads) {
                class_vars(db, project, class, none);
            }
        });
        done("resolve");
        self.on_every_core(threads, |db, project, number| {
            let none = TraitFacts::new(db, Vec::new());
            for class in classes(db, project).into_iter().skip(number).step_by(threads) {
                class_findings(db, project, class, none);
            }
        });
        done("specialise");
    }

    fn on_every_core(&self, threads: usize, work: impl Fn(&RootDb, Project, usize) + Sync) {
        let (work, project) = (&work, self.project);
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|number| {
                    let db = self.db.clone();
                    let thread = std::thread::Builder::new().stack_size(STACK);
                    thread.spawn_scoped(scope, move || work(&db, project, number))
                })
                // a thread that does not start leaves its part to whoever asks for it
                .filter_map(Result::ok)
                .collect();
            for thread in running {
                let _ = thread.join();
            }
        });
    }

    /// The class of a host: the first entry that matches.
    pub fn class_of(&self, hostname: &str) -> Option<ClassKey> {
        let name = normal(hostname);
        for file in &index(&self.db, self.project).nodes {
            for (entry, e) in entries(&self.db, *file).iter().enumerate() {
                if e.patterns.iter().any(|(_, glob)| glob.matches(&name)) {
                    let environment = e.environment.as_ref().map(|n| n.text.clone());
                    return Some(ClassKey { file: file.path(&self.db).clone(), entry, environment });
                }
            }
        }
        None
    }

    /// All classes.
    pub fn classes(&self) -> Vec<ClassKey> {
        let key = |c: Class<'_>| ClassKey {
            file: c.file(&self.db).path(&self.db).clone(),
            entry: c.entry(&self.db),
            environment: c.environment(&self.db).clone(),
        };
        classes(&self.db, self.project).into_iter().map(key).collect()
    }

    /// The class behind a key.
    pub fn class(&self, key: &ClassKey) -> Option<Class<'_>> {
        class_of_key(&self.db, &self.files, key, Vec::new())
    }

    /// [`Policy::class`] with variables laid over all others, as a policy test has them.
    pub fn class_with(&self, key: &ClassKey, vars: Vec<(Arc<str>, Value)>) -> Option<Class<'_>> {
        class_of_key(&self.db, &self.files, key, vars)
    }

    /// The variant of a class for some traits (`{"os": {"family": ...}}`); traits that it does not look at make no
    /// difference.
    pub fn variant(&self, key: &ClassKey, traits: &Value) -> Result<Arc<Variant>, VariantError> {
        self.variant_with(key, shared_traits(traits))
    }

    /// The variant for a host that has said everything about itself: a trait that it does not name is absent, not
    /// unknown.
    pub fn variant_of_host(&self, key: &ClassKey, traits: &Value) -> Result<Arc<Variant>, VariantError> {
        self.variant_with(key, traits_of_host(traits))
    }

    /// The variants of many classes, made on every core; in the order in which they were asked for.
    pub fn variants(&self, asked: &[(ClassKey, Value)]) -> Vec<Result<Arc<Variant>, VariantError>> {
        let threads = threads().min(asked.len());
        if threads < 2 {
            return asked.iter().map(|(key, traits)| self.variant(key, traits)).collect();
        }
        let (next, files) = (AtomicUsize::new(0), &self.files);
        let made = Mutex::new(BTreeMap::new());
        self.on_every_core(threads, |db, project, _| {
            while let Some((at, (key, traits))) = take(asked, &next) {
                let variant = variant_of_class(db, project, files, key, shared_traits(traits));
                made.lock().unwrap_or_else(PoisonError::into_inner).insert(at, variant);
            }
        });
        let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
        // what a thread did not get to, because it failed, fails here and is said
        let variant = |(at, (key, traits)): (usize, &(ClassKey, Value))| {
            made.remove(&at).unwrap_or_else(|| self.variant(key, traits))
        };
        asked.iter().enumerate().map(variant).collect()
    }

    fn variant_with(
        &self,
        key: &ClassKey,
        traits: Vec<(Arc<str>, Value)>,
    ) -> Result<Arc<Variant>, VariantError> {
        variant_of_class(&self.db, self.project, &self.files, key, traits)
    }
}

/// Fewer files than this are done before the threads have started.
const WORTH_THREADS: usize = 20;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(8)
}

fn class_of_key<'db>(
    db: &'db RootDb,
    files: &BTreeMap<Arc<str>, SourceFile>,
    key: &ClassKey,
    laid_over: Vec<(Arc<str>, Value)>,
) -> Option<Class<'db>> {
    let file = *files.get(&key.file)?;
    entries(db, file).get(key.entry)?;
    Some(Class::new(db, file, key.entry, key.environment.clone(), laid_over))
}

/// The next of a list that several threads work on.
fn take<'a, T>(list: &'a [T], next: &AtomicUsize) -> Option<(usize, &'a T)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    list.get(at).map(|item| (at, item))
}

/// Whether a finding is among those of a class, which also say in which class they are.
fn known(found: &[Diagnostic], one: &Diagnostic) -> bool {
    found.iter().any(|d| (d.code, &d.place, &d.message) == (one.code, &one.place, &one.message))
}

fn variant_of_class(
    db: &RootDb,
    project: Project,
    files: &BTreeMap<Arc<str>, SourceFile>,
    key: &ClassKey,
    traits: Vec<(Arc<str>, Value)>,
) -> Result<Arc<Variant>, VariantError> {
    let class = class_of_key(db, files, key, Vec::new()).ok_or(VariantError::NoSuchClass)?;
    let facts = TraitFacts::new(db, traits);
    let resolved = resolved_class(db, project, class);
    let linked = linked(db, project, class, facts);
    let errors = |found: &[Diagnostic]| -> Vec<Diagnostic> {
        found.iter().filter(|d| d.severity == Severity::Error).cloned().collect()
    };
    let assembled = assembled(db, project, class, facts);
    let mut found = errors(class_findings(db, project, class, facts));
    found.extend(errors(file_errors(db, project, class)));
    found.extend(assembled.found.iter().filter(|d| !known(&found, d)).cloned().collect::<Vec<_>>());
    if !found.is_empty() {
        return Err(VariantError::Findings { class: resolved.label.clone(), found });
    }
    let footprint: Vec<String> = linked.footprint.iter().map(|t| t.to_string()).collect();
    if let Some((place, what)) = linked.undecided.first() {
        let given: BTreeSet<&str> = facts.values(db).iter().map(|(p, _)| &**p).collect();
        let traits = footprint.iter().filter(|t| !given.contains(t.as_str())).cloned().collect();
        return Err(VariantError::NeedsTraits { what: what.clone(), file: place.file.clone(), traits });
    }
    let module = |(name, e): &(Arc<str>, _)| -> VariantModule {
        let e: &crate::specialise::instances::Encoded = e;
        VariantModule { name: name.clone(), hash: e.hash, bytes: e.bytes.clone() }
    };
    let mut modules: Vec<VariantModule> = assembled.modules.iter().map(module).collect();
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    let place = |name: &Arc<str>| modules.binary_search_by(|m| m.name.cmp(name)).ok().map(|n| n as u32);
    let run_order = linked.modules.iter().filter_map(|m| place(&m.name)).collect();
    let secrets: BTreeSet<&Arc<str>> = assembled.modules.iter().flat_map(|(_, e)| &*e.secrets).collect();
    let secrets = secrets.into_iter().map(|s| s.to_string()).collect();
    Ok(Arc::new(Variant {
        class: key.clone(),
        footprint,
        environment: resolved.environment.as_ref().map(|e| e.to_string()),
        roles: resolved.roles.iter().map(|r| r.to_string()).collect(),
        modules,
        run_order,
        vars_hash: assembled.vars_hash,
        merkle_root: assembled.merkle_root,
        secrets,
        required_features: Vec::new(),
    }))
}
