//! A policy: open it, check it, ask for the class of a host and for the variant of a class.

use crate::checks::{check, class_findings};
use crate::db::{Content, Project, RootDb, SourceFile};
use crate::diagnostic::{Diagnostic, Severity};
use crate::edits;
use crate::facts::{shared_traits, traits_of_host};
use crate::resolve::TraitFacts;
use crate::resolve::class::{Class, classes, entries};
use crate::resolve::glob::normal;
use crate::resolve::index::index;
use crate::resolve::interface::interface;
use crate::resolve::matching::matching;
use crate::resolve::vars::class_vars;
use crate::suppress::{Allowed, suppress};
use crate::syntax::ast;
use crate::tree::{self, Files, OpenError, Snapshot};
use crate::variant::{class_of_key, variant_of_class};
use ir::{Hash, Value};
use salsa::{Durability, Setter};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use crate::variant::{ClassKey, Variant, VariantError, VariantModule};

/// Trees of a policy are walked by recursion, to a limited depth; this is enough for the deepest.
pub(crate) const STACK: usize = 256 << 20;

/// A policy in memory. It can be sent to another thread, but not shared: own it on one, or behind a lock.
#[derive(Debug)]
pub struct Policy {
    // shared with handles, of which there is one for every check of an editor; let go of before the database, since a
    // change waits for that and then finds these its own
    snapshot: Arc<Snapshot>,
    files: Arc<BTreeMap<Arc<str>, SourceFile>>,
    /// Files that [`Policy::set_text`] was given text for.
    edited: Arc<BTreeSet<Arc<str>>>,
    db: RootDb,
    project: Project,
    root: PathBuf,
    /// Whether everything was computed once; from then on a check has little to do.
    warm: Cell<bool>,
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
        Ok(Policy::holding(root, tree::read(root, None)?, db))
    }

    /// A policy of files that were read elsewhere. There is no directory to [`refresh`](Policy::refresh) it from; use
    /// [`Policy::take`].
    pub fn of(files: Files) -> Policy {
        Policy::holding(Path::new(""), Snapshot::of(files), RootDb::default())
    }

    /// A policy in a directory that holds no file of one yet: an editor may have the first.
    pub fn empty(root: &Path) -> Policy {
        Policy::holding(root, Snapshot::default(), RootDb::default())
    }

    fn holding(root: &Path, snapshot: Snapshot, db: RootDb) -> Policy {
        let mut files = BTreeMap::new();
        for (path, content) in &snapshot.files {
            files.insert(path.clone(), durable(&db, path, content));
        }
        let project =
            Project::builder(files.values().copied().collect()).durability(Durability::HIGH).new(&db);
        Policy {
            db,
            project,
            root: root.to_owned(),
            snapshot: Arc::new(snapshot),
            files: Arc::new(files),
            edited: Arc::default(),
            warm: Cell::new(false),
        }
    }

    /// Reads what changed on disk; the paths that did.
    ///
    /// A file keeps its durability: salsa computes again whatever rests on something that became less durable, also where
    /// nothing comes of the change.
    pub fn refresh(&mut self) -> Result<Vec<String>, OpenError> {
        let snapshot = tree::read(&self.root, Some(&self.snapshot))?;
        Ok(self.take_in(snapshot))
    }

    /// Goes on with other files: what they have in common with those before is not computed again. The paths that
    /// differ.
    pub fn take(&mut self, files: Files) -> Vec<String> {
        self.take_in(Snapshot::of(files))
    }

    fn take_in(&mut self, snapshot: Snapshot) -> Vec<String> {
        let mut changed = Vec::new();
        let mut others = false;
        for (path, content) in &snapshot.files {
            match self.files.get(path) {
                Some(file) => {
                    if self.snapshot.files.get(path) != Some(content) {
                        file.set_content(&mut self.db).to(content.clone());
                        changed.push(path.to_string());
                    }
                }
                None => {
                    let file = durable(&self.db, path, content);
                    Arc::make_mut(&mut self.files).insert(path.clone(), file);
                    changed.push(path.to_string());
                    others = true;
                }
            }
        }
        let gone: Vec<Arc<str>> =
            self.files.keys().filter(|p| !snapshot.files.contains_key(*p)).cloned().collect();
        for path in gone {
            Arc::make_mut(&mut self.files).remove(&path);
            changed.push(path.to_string());
            others = true;
        }
        if others {
            let all = self.files.values().copied().collect();
            self.project.set_files(&mut self.db).to(all);
        }
        self.snapshot = Arc::new(snapshot);
        changed
    }

    /// Goes on with the policy in another directory: what the two have in common is not computed again.
    pub fn switch_to(&mut self, root: &Path) -> Result<Vec<String>, OpenError> {
        self.root = root.to_owned();
        // a stamp says nothing about a file elsewhere
        Arc::make_mut(&mut self.snapshot).forget_all();
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
                let first = !self.edited.contains(path);
                if first {
                    Arc::make_mut(&mut self.edited).insert(path.into());
                }
                if first || *file.content(&self.db) != content {
                    file.set_content(&mut self.db).with_durability(Durability::LOW).to(content.clone());
                }
            }
            None => {
                let path: Arc<str> = path.into();
                let file = SourceFile::new(&self.db, path.clone(), content.clone());
                Arc::make_mut(&mut self.files).insert(path, file);
                let all = self.files.values().copied().collect();
                self.project.set_files(&mut self.db).to(all);
            }
        }
        Arc::make_mut(&mut self.snapshot).files.insert(path.into(), content);
    }

    /// Forgets the text that [`Policy::set_text`] gave a file: what is on disk counts again.
    pub fn discard_text(&mut self, path: &str) {
        Arc::make_mut(&mut self.snapshot).forget(path);
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

    /// The file with this path, for queries about one file.
    pub fn file(&self, path: &str) -> Option<SourceFile> {
        self.files.get(path).copied()
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

    /// The files as they are, for [`Policy::of`] and [`Policy::take`].
    pub fn files(&self) -> Files {
        self.snapshot.files.clone()
    }

    /// Digest over all files, for telling one state of the policy from another.
    pub fn digest(&self) -> Hash {
        tree::digest(&self.snapshot.files)
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
        edits::offer(&mut diagnostics, &|path| self.text(path));
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
        self.each_on(threads, &files, |policy, file| ast(&policy.db, *file).found.len());
        done("parse");
        self.each_on(threads, &files, |policy, file| interface(&policy.db, *file).is_some());
        done("types");
        let classes = self.classes();
        self.each_on(threads, &classes, |policy, key| {
            let none = TraitFacts::new(&policy.db, Vec::new());
            policy.class(key).map(|class| class_vars(&policy.db, policy.project, class, none).by_name.len())
        });
        done("resolve");
        self.each_on(threads, &classes, |policy, key| {
            let none = TraitFacts::new(&policy.db, Vec::new());
            policy.class(key).map(|class| class_findings(&policy.db, policy.project, class, none).len())
        });
        done("specialise");
    }

    /// Does the same work on each of a list, on every core; the results in the order of the list.
    pub(crate) fn each<T: Sync, R: Send>(
        &self,
        list: &[T],
        work: impl Fn(&Policy, &T) -> R + Sync,
    ) -> Vec<R> {
        self.each_on(threads(), list, work)
    }

    fn each_on<T: Sync, R: Send>(
        &self,
        threads: usize,
        list: &[T],
        work: impl Fn(&Policy, &T) -> R + Sync,
    ) -> Vec<R> {
        let threads = threads.min(list.len());
        if threads < 2 {
            return list.iter().map(|item| work(self, item)).collect();
        }
        let (work, next) = (&work, &AtomicUsize::new(0));
        let mut out: Vec<Option<R>> = list.iter().map(|_| None).collect();
        std::thread::scope(|scope| {
            let start = |_| {
                let policy = self.handle();
                let job = move || -> Vec<(usize, R)> {
                    let mine = std::iter::from_fn(|| take(list, next));
                    mine.map(|(at, item)| (at, work(&policy, item))).collect()
                };
                std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, job).ok()
            };
            let running: Vec<_> = (0..threads).filter_map(start).collect();
            for (at, result) in running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()) {
                if let Some(place) = out.get_mut(at) {
                    *place = Some(result);
                }
            }
        });
        // what a thread that could not be had, or that failed, leaves over fails here and is said
        out.into_iter().zip(list).map(|(done, item)| done.unwrap_or_else(|| work(self, item))).collect()
    }

    /// The class of a host: the first entry that matches.
    pub fn class_of(&self, hostname: &str) -> Option<ClassKey> {
        let (file, entry) = matching(&self.db, self.project).entry(&self.db, &normal(hostname))?;
        let environment = entries(&self.db, file).get(entry)?.environment.as_ref().map(|n| n.text.clone());
        Some(ClassKey { file: file.path(&self.db).clone(), entry, environment })
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
        self.each(asked, |policy, (key, traits)| policy.variant(key, traits))
    }

    fn variant_with(
        &self,
        key: &ClassKey,
        traits: Vec<(Arc<str>, Value)>,
    ) -> Result<Arc<Variant>, VariantError> {
        variant_of_class(&self.db, self.project, &self.files, key, traits)
    }
}

/// Most files stay as they are: what rests on them alone need not be looked at after an edit of another.
fn durable(db: &RootDb, path: &Arc<str>, content: &Content) -> SourceFile {
    SourceFile::builder(path.clone(), content.clone()).durability(Durability::HIGH).new(db)
}

/// Fewer files than this are done before the threads have started.
const WORTH_THREADS: usize = 20;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(8)
}

/// The next of a list that several threads work on.
fn take<'a, T>(list: &'a [T], next: &AtomicUsize) -> Option<(usize, &'a T)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    list.get(at).map(|item| (at, item))
}
