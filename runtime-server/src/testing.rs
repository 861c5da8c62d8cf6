//! A policy in memory and databases to try, for tests of this crate and of its neighbours.
#![allow(clippy::expect_used, reason = "the harness of tests: a failing step fails the test")]

use crate::policy::{
    Checked, ClassKey, Policy, PolicyError, PolicySource, SecretUse, Variant, VariantModule,
};
use crate::store::{self, Connection, Database, lock};
use crate::tree::Tree;
use compiler::diagnostic::Place;
use ir::{Hash, Module, Value, merkle, wire};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// What the policy is at the moment; every host name but `nobody` is of one class.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Given to every envoy.
    pub modules: Vec<Module>,
    /// Read by them.
    pub secrets: Vec<String>,
    /// When not zero, the policy is not fit to be served.
    pub errors: usize,
    /// Variables: another text, another hash.
    pub vars: String,
    /// Named in the policy, at its beginning.
    pub named: Vec<String>,
}

/// A source whose policy can be edited. Its tree is one file that holds the number of a content; of any other tree, the
/// text is a module's content: with `error` in it, it has errors, and `secret:` names secrets.
#[derive(Clone, Debug, Default)]
pub struct MemoryPolicy {
    content: Arc<Mutex<Content>>,
    past: Arc<Mutex<Vec<Content>>>,
    gate: Arc<Mutex<()>>,
    compiled: Arc<Mutex<usize>>,
}

/// The file of [`MemoryPolicy`].
const MEMORY: &str = "memory.vgo";

impl MemoryPolicy {
    /// A policy of these modules. A module named `os` appears on hosts with that `os.family` only.
    pub fn new(modules: Vec<Module>) -> Self {
        let policy = Self::default();
        policy.edit(|c| c.modules = modules);
        policy
    }

    /// As an author saves a file.
    pub fn edit(&self, change: impl FnOnce(&mut Content)) {
        change(&mut lock(&self.content));
    }

    /// Lets nobody check the policy until the guard is dropped, as if that took long.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        lock(&self.gate)
    }

    /// How many variants were compiled.
    pub fn compiled(&self) -> usize {
        *lock(&self.compiled)
    }
}

impl MemoryPolicy {
    fn content(&self, tree: &Tree) -> Content {
        let number = tree.text(MEMORY).and_then(|text| text.trim().parse::<usize>().ok());
        if let Some(content) = number.and_then(|n| lock(&self.past).get(n).cloned()) {
            return content;
        }
        let text: String =
            tree.files().keys().filter_map(|path| tree.text(path)).map(|t| t.to_string()).collect();
        let named = text.split_whitespace().filter_map(|word| word.strip_prefix("secret:"));
        Content {
            modules: vec![module("base", &text)],
            errors: text.matches("error").count(),
            named: named.map(str::to_owned).collect(),
            ..Content::default()
        }
    }
}

impl PolicySource for MemoryPolicy {
    fn read(&self) -> Result<Option<Tree>, PolicyError> {
        let (now, mut past) = (lock(&self.content).clone(), lock(&self.past));
        let same = |content: &Content| format!("{content:?}") == format!("{now:?}");
        let number = past.iter().position(same).unwrap_or_else(|| {
            past.push(now.clone());
            past.len() - 1
        });
        let file = (MEMORY.to_owned(), format!("{number}\n").into_bytes());
        Tree::sent([file]).map(Some).map_err(|e| PolicyError(e.to_string()))
    }

    fn open(&self, tree: &Tree) -> Box<dyn Policy> {
        Box::new(Opened { source: self.clone(), read: self.content(tree), file: first(tree) })
    }
}

fn first(tree: &Tree) -> Arc<str> {
    tree.files().keys().next().cloned().unwrap_or_default()
}

struct Opened {
    source: MemoryPolicy,
    read: Content,
    file: Arc<str>,
}

impl Policy for Opened {
    fn take(&mut self, tree: &Tree) {
        (self.read, self.file) = (self.source.content(tree), first(tree));
    }

    fn check(&self) -> Checked {
        drop(lock(&self.source.gate));
        Checked { errors: self.read.errors, rendered: "a made-up error".into(), ..Checked::default() }
    }

    fn secrets(&self) -> Vec<SecretUse> {
        let place = || Place { file: self.file.clone(), span: grammar::Span::new(0, 0) };
        self.read.named.iter().map(|path| SecretUse { path: path.as_str().into(), place: place() }).collect()
    }

    fn class_of(&self, hostname: &str) -> Option<ClassKey> {
        (hostname != "nobody").then(|| ClassKey { file: "nodes.vgo".into(), entry: 0, environment: None })
    }

    fn layout(&self) -> Hash {
        Hash::of(b"")
    }

    fn variant(&self, class: &ClassKey, traits: &Value) -> Result<Arc<Variant>, PolicyError> {
        *lock(&self.source.compiled) += 1;
        let family = traits.at(&["os".into(), "family".into()]).and_then(Value::as_str).unwrap_or("unknown");
        let mut modules = self.read.modules.clone();
        modules.push(Module { name: "os".into(), ..module("os", family) });
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        let modules = modules
            .iter()
            .map(|m| {
                let bytes = wire::encode_module(m).map_err(|e| PolicyError(e.to_string()))?;
                Ok(VariantModule { name: m.name.clone(), hash: Hash::of(&bytes), bytes: bytes.into() })
            })
            .collect::<Result<Vec<_>, PolicyError>>()?;
        let vars_hash = Hash::of(self.read.vars.as_bytes());
        Ok(Arc::new(Variant {
            class: class.clone(),
            footprint: vec!["os.family".into()],
            environment: None,
            roles: Vec::new(),
            run_order: (0..modules.len() as u32).collect(),
            merkle_root: merkle::bundle_root(vars_hash, modules.iter().map(|m| (&*m.name, m.hash))),
            vars_hash,
            modules,
            secrets: self.read.secrets.clone(),
            required_features: Vec::new(),
        }))
    }
}

/// A module whose bytes depend on `content`.
pub fn module(name: &str, content: &str) -> Module {
    let resource = ir::Resource {
        name: "file".into(),
        kind: "file".into(),
        when: None,
        attributes: vec![("content".into(), ir::Expr::Const(content.into()))],
        depends_on: Vec::new(),
        notify: Vec::new(),
    };
    Module { name: name.into(), depends_on: Vec::new(), resources: vec![resource] }
}

/// Traits with that `os.family`.
pub fn traits(family: &str) -> Value {
    let os = Value::Map(BTreeMap::from([("family".into(), family.into())]));
    Value::Map(BTreeMap::from([("os".into(), os)]))
}

/// The database of one test: a file in `dir`; a schema of its own on the PostgreSQL server that `VIGO_TEST_POSTGRES`
/// names, when it names one. Empty; [`store::open`] makes the tables.
pub fn database(dir: &Path) -> Database {
    postgres_database().unwrap_or_else(|| Database::Sqlite(dir.join("vigo.db")))
}

/// Runs a test of the database layer on SQLite, and on PostgreSQL when `VIGO_TEST_POSTGRES` names a server.
///
/// # Panics
/// When a database cannot be made, or `test` panics.
pub fn on_each(test: impl Fn(&mut Connection)) {
    let dir = tempfile::tempdir().expect("a directory");
    let sqlite = Database::Sqlite(dir.path().join("vigo.db"));
    for database in [Some(sqlite), postgres_database()].into_iter().flatten() {
        test(&mut store::open(&database, true).expect("a database"));
    }
}

/// Runs `work` on a thread of its own: a connection must not be used on one of an async runtime.
///
/// # Panics
/// When the database cannot be opened, or `work` panics.
pub fn with<T: Send>(database: &Database, work: impl FnOnce(&mut Connection) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let work = scope.spawn(|| work(&mut store::open(database, false).expect("the database")));
        work.join().expect("the work is done")
    })
}

/// What a thief of the database would read: the bytes of its files, or of every column of every table.
///
/// # Panics
/// When the database cannot be read.
pub fn everything_in(database: &Database) -> Vec<u8> {
    if let Some(path) = database.file() {
        let parts = ["", "-wal", "-journal"].map(|part| format!("{}{part}", path.display()));
        return parts.into_iter().filter_map(|file| std::fs::read(file).ok()).flatten().collect();
    }
    with(database, |conn| {
        let columns = "select table_name::text, column_name::text, data_type::text
                       from information_schema.columns where table_schema = current_schema()";
        let columns =
            conn.rows(columns, &[], |r| Ok((r.get::<String>(0)?, r.get::<String>(1)?, r.get::<String>(2)?)));
        let mut found = Vec::new();
        for (table, column, ty) in columns.expect("the columns") {
            let value = match ty.as_str() {
                "bytea" => format!("encode({column}, 'escape')"),
                _ => format!("{column}::text"),
            };
            let sql = format!("select {value} from {table}");
            for value in conn.rows(&sql, &[], |r| r.get::<Option<String>>(0)).expect("a column") {
                found.extend(value.unwrap_or_default().into_bytes());
            }
        }
        found
    })
}

/// A new schema, which stays: the server of a test is thrown away as a whole.
fn postgres_database() -> Option<Database> {
    let url = std::env::var("VIGO_TEST_POSTGRES").ok().filter(|url| !url.is_empty())?;
    let schema = format!("t_{}", uuid::Uuid::new_v4().simple());
    let (made, server) = (format!("create schema {schema}"), url.clone());
    std::thread::spawn(move || {
        let mut client = postgres::Client::connect(&server, postgres::NoTls).expect("VIGO_TEST_POSTGRES");
        client.batch_execute(&made).expect("a schema");
    })
    .join()
    .expect("a schema");
    let separator = if url.contains('?') { '&' } else { '?' };
    Database::postgres(&format!("{url}{separator}options=-csearch_path%3D{schema}"))
}
