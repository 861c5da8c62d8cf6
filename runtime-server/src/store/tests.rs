//! What holds for the database as a whole.

use super::value::params;
use super::*;
use crate::testing::{database, on_each};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

fn file(dir: &tempfile::TempDir) -> (PathBuf, Database) {
    let path = dir.path().join("db");
    (path.clone(), Database::Sqlite(path))
}

fn user_statement(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn only_init_creates_and_only_for_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (path, db) = file(&dir);
    assert!(matches!(open(&db, false), Err(StoreError::Missing(_))));
    assert!(!path.exists());
    drop(open(&db, true).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    open(&db, false).unwrap();
    // Another program's database gets no tables of ours by mistake.
    let other = dir.path().join("other");
    user_statement(&other, "create table t (x)");
    assert!(matches!(open(&Database::Sqlite(other), false), Err(StoreError::Missing(_))));
}

#[test]
fn only_init_makes_tables_and_a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for db in [Database::Sqlite(dir.path().join("db")), database(dir.path())] {
        assert!(matches!(open(&db, false), Err(StoreError::Missing(_))), "{db}");
        let mut conn = open(&db, true).unwrap();
        drop(open(&db, true).unwrap());
        conn.execute("update vigo_schema set version = 99", &[]).unwrap();
        drop(conn);
        let refused = open(&db, false);
        assert!(
            matches!(refused, Err(StoreError::Newer { found: 99, known: schema::KNOWN, .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn case_062_damaged_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, db) = file(&dir);
    let text = b"this is no database, although it is long enough to have a header".repeat(40);
    std::fs::write(&path, text).unwrap();
    assert!(matches!(open(&db, false), Err(StoreError::Damaged { .. })));
    std::fs::remove_file(&path).unwrap();

    drop(open(&db, true).unwrap());
    user_statement(&path, "pragma journal_mode = delete");
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(matches!(open(&db, false), Err(StoreError::Damaged { .. })));
    let mut flipped = good.clone();
    flipped[4096..8192].fill(0xa5);
    std::fs::write(&path, flipped).unwrap();
    assert!(matches!(open(&db, false), Err(StoreError::Damaged { .. })));
    std::fs::write(&path, good).unwrap();
    open(&db, false).unwrap();
}

#[test]
fn a_server_that_is_not_there_is_named_without_its_password() {
    let db = Database::postgres("postgres://vigo:hunter2@127.0.0.1:1/vigo?connect_timeout=2").unwrap();
    let said = open(&db, false).unwrap_err();
    assert!(matches!(said, StoreError::Unreachable(_)), "{said:?}");
    assert!(!said.to_string().contains("hunter2"), "{said}");
}

#[test]
fn every_kind_of_value_comes_back_as_it_went_in() {
    on_each(|conn| {
        conn.batch(&create(conn, "kinds (n integer, t text, b blob)")).unwrap();
        let (number, bytes) = (i64::MIN, vec![0, 255, 39, 92]);
        for (n, t, b) in [
            (Some(number), Some("ö 'quoted' \u{202e}"), Some(bytes.clone())),
            (Some(i64::MAX), Some(""), Some(vec![])),
            (None, None, None),
        ] {
            conn.execute("delete from kinds", &[]).unwrap();
            let insert = "insert into kinds (t, b, n) values ($2, $3, $1)";
            assert_eq!(conn.execute(insert, params![n, t, b]).unwrap(), 1);
            let back = conn.row("select n, t, b from kinds", &[], |r| {
                Ok((r.get::<Option<i64>>(0)?, r.get::<Option<String>>(1)?, r.get::<Option<Vec<u8>>>(2)?))
            });
            assert_eq!(back.unwrap().unwrap(), (n, t.map(str::to_owned), b));
        }
        conn.execute("delete from kinds", &[]).unwrap();
        conn.execute("insert into kinds (n, t) values ($1, $2)", params![true, "a\0b"]).unwrap();
        let back = conn.row("select n, t from kinds", &[], |r| Ok((r.get::<bool>(0)?, r.get::<String>(1)?)));
        assert_eq!(back.unwrap().unwrap(), (true, "a\u{fffd}b".to_owned()), "PostgreSQL holds no NUL");
        assert!(matches!(conn.value::<String>("select n from kinds", &[]), Err(StoreError::Column(0))));
    });
}

/// `create table` in the words of the database.
fn create(conn: &Connection, table: &str) -> String {
    schema::in_words_of(conn, &format!("create table {table} strict;"))
}

#[test]
fn rows_go_in_whatever_their_number() {
    on_each(|conn| {
        conn.batch(&create(conn, "numbers (n integer, t text)")).unwrap();
        for count in [0, 1, 7, 8, 63, 64, 65, 200] {
            conn.execute("delete from numbers", &[]).unwrap();
            let values: Vec<value::Param<'_>> =
                (0..count).flat_map(|n| [value::Param::Int(n), value::Param::Text("x".into())]).collect();
            conn.insert("insert into numbers (n, t)", 2, "", &values).unwrap();
            let stored = conn.rows("select n from numbers order by n", &[], |r| r.get::<i64>(0)).unwrap();
            assert_eq!(stored, (0..count).collect::<Vec<_>>());
            let update = "update numbers set n = numbers.n + v.column1";
            let values: Vec<value::Param<'_>> = (0..count).map(value::Param::Int).collect();
            conn.update_from(
                update,
                &["bigint"],
                "where numbers.n = v.column1 and v.column1 % 2 = 1",
                &values,
            )
            .unwrap();
            let odd = conn.value::<i64>("select count(*) from numbers where n % 2 = 1", &[]).unwrap();
            assert_eq!(odd, Some(0));
        }
    });
}

#[test]
fn a_transaction_is_done_whole_or_not_at_all() {
    on_each(|conn| {
        conn.batch(&create(conn, "t (n integer unique)")).unwrap();
        let put = |conn: &mut Connection, n: i64| conn.execute("insert into t (n) values ($1)", params![n]);
        let count =
            |conn: &mut Connection| conn.value::<i64>("select count(*) from t", &[]).unwrap().unwrap();
        conn.transaction(|conn| put(conn, 1)).unwrap();
        let refused: Result<(), &str> = conn
            .attempt(|conn| {
                put(conn, 2)?;
                Ok(Err("no"))
            })
            .unwrap();
        assert_eq!((refused, count(conn)), (Err("no"), 1));
        // Inside of another one, only its own part is taken back.
        conn.transaction(|conn| {
            put(conn, 3)?;
            let _: Result<(), ()> = conn.attempt(|conn| {
                put(conn, 4)?;
                Ok(Err(()))
            })?;
            conn.transaction(|conn| put(conn, 5))
        })
        .unwrap();
        assert_eq!(count(conn), 3);
        // Whoever swallows an error does not get half of it stored.
        let swallowed = conn.transaction(|conn| {
            put(conn, 6)?;
            let _ = put(conn, 1);
            Ok(())
        });
        assert!(matches!(swallowed, Err(StoreError::Refused(_))), "{swallowed:?}");
        assert_eq!(count(conn), 3);
        put(conn, 7).unwrap();
    });
}

#[test]
fn transactions_that_cross_are_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(dir.path());
    let mut conn = open(&db, true).unwrap();
    conn.batch(&create(&conn, "pair (id integer primary key, n integer not null)")).unwrap();
    conn.execute("insert into pair (id, n) values (1, 0), (2, 0)", &[]).unwrap();
    std::thread::scope(|scope| {
        for (first, second) in [(1i64, 2i64), (2, 1)] {
            let db = &db;
            scope.spawn(move || {
                let mut conn = open(db, false).unwrap();
                for _ in 0..40 {
                    conn.transaction(|conn| {
                        let add = "update pair set n = n + 1 where id = $1";
                        conn.execute(add, params![first])?;
                        std::thread::yield_now();
                        conn.execute(add, params![second])
                    })
                    .unwrap();
                }
            });
        }
    });
    let sums = conn.rows("select n from pair order by id", &[], |r| r.get::<i64>(0)).unwrap();
    assert_eq!(sums, [80, 80]);
}

async fn store(dir: &tempfile::TempDir) -> (Database, Store) {
    let db = database(dir.path());
    let made = db.clone();
    std::thread::spawn(move || drop(open(&made, true).unwrap())).join().unwrap();
    let store = Store::open(&db).await.unwrap();
    (db, store)
}

#[tokio::test]
async fn what_was_handed_over_is_finished_before_closing() {
    let dir = tempfile::tempdir().unwrap();
    let (_, store) = store(&dir).await;
    let answer = store.call(|conn| conn.value::<i64>("select 41 + $1", params![1i64])).await;
    assert_eq!(answer.unwrap(), Some(42));
    let crashed = store.call(|conn| conn.transaction(|_| -> Result<(), _> { panic!("on purpose") })).await;
    assert!(matches!(crashed, Err(StoreError::Crashed)));
    for _ in 0..20 {
        let stored =
            store.call(|conn| conn.transaction(|conn| conn.execute("update meta set key = key", &[])));
        stored.await.unwrap();
    }
    std::thread::scope(|scope| scope.spawn(|| store.close()).join()).unwrap();
    assert!(matches!(store.call(|_| Ok(())).await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn case_028_a_file_has_one_server() {
    let dir = tempfile::tempdir().unwrap();
    let (db, one) = store(&dir).await;
    let Database::Sqlite(path) = &db else { return one.close_elsewhere().await };
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(path, &link).unwrap();
    for path in [path, &link] {
        let refused = Store::open(&Database::Sqlite(path.clone())).await;
        assert!(matches!(refused, Err(StoreError::InUse(_))), "{refused:?}");
    }
    crate::testing::with(&db, |conn| ping(conn).unwrap());
    one.close_elsewhere().await;
    Store::open(&db).await.unwrap().close_elsewhere().await;
}

#[tokio::test]
async fn a_database_that_does_not_keep_up_says_so_and_work_of_nobody_is_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let (db, store) = store(&dir).await;
    let store = Arc::new(store);
    let lanes = if db.file().is_some() { 1 } else { POSTGRES_SESSIONS };
    let gates: Vec<_> = (0..lanes)
        .map(|_| {
            let (begun, begins) = oneshot::channel::<()>();
            let (open, gate) = std::sync::mpsc::channel::<()>();
            let store = store.clone();
            let work = move |_: &mut Connection| {
                begun.send(()).unwrap();
                gate.recv().unwrap();
                Ok(())
            };
            let held = tokio::spawn(async move { store.call(work).await });
            (begins, open, held)
        })
        .collect();
    let mut opens = Vec::new();
    for (begins, open, held) in gates {
        begins.await.unwrap();
        opens.push((open, held));
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut given_up = Vec::new();
    loop {
        let done = done.clone();
        let mut asked = Box::pin(store.call(move |_| {
            done.store(true, Ordering::SeqCst);
            Ok(())
        }));
        // Handed over, and then given up.
        match at_once(&mut asked) {
            None => given_up.push(asked),
            Some(refused) => break assert!(matches!(refused, Err(StoreError::Overloaded)), "{refused:?}"),
        }
    }
    assert_eq!(given_up.len(), WAITING);
    drop(given_up);
    for (open, held) in opens {
        open.send(()).unwrap();
        held.await.unwrap().unwrap();
    }
    // All that waited is through when there is room, and something behind it was done.
    while let Err(StoreError::Overloaded) = store.call(|_| Ok(())).await {
        tokio::task::yield_now().await;
    }
    assert!(!done.load(Ordering::SeqCst));
    let store = Arc::into_inner(store).unwrap();
    store.close_elsewhere().await;
}

/// What a future has to say at once.
fn at_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

impl Store {
    async fn close_elsewhere(self) {
        tokio::task::spawn_blocking(move || self.close()).await.unwrap();
    }
}

#[test]
fn a_session_that_cannot_be_used_is_left_for_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(dir.path());
    let mut conn = open(&db, true).unwrap();
    if db.file().is_some() {
        return;
    }
    let limits = ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"];
    let limits = limits.map(|limit| conn.value::<String>(&format!("show {limit}"), &[]).unwrap().unwrap());
    assert_eq!(limits, ["10s", "1min", "1min"]);
    // As on a server that became a standby.
    conn.execute("set session characteristics as transaction read only", &[]).unwrap();
    let write = |conn: &mut Connection| {
        conn.transaction(|conn| conn.execute("insert into meta (key, value) values ('k', 'v')", &[]))
    };
    assert!(matches!(write(&mut conn), Err(StoreError::Unreachable(_))));
    assert_eq!(write(&mut conn).unwrap(), 1, "on a new connection");
    // Whoever waits for the lock of somebody who does not go on is told so.
    conn.execute("set lock_timeout = '50ms'", &[]).unwrap();
    let mut other = open(&db, false).unwrap();
    other
        .transaction(|other| {
            other.execute("update meta set value = 'w' where key = 'k'", &[])?;
            let waits = conn.execute("update meta set value = 'x' where key = 'k'", &[]);
            assert!(matches!(waits, Err(StoreError::Busy)), "{waits:?}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_server_that_is_not_there_is_not_dialled_for_everybody_who_asks() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let url = format!("postgres://vigo@{address}/vigo?connect_timeout=1");
    let Some(Database::Postgres(settings)) = Database::postgres(&url) else { panic!() };
    let mut conn = session::connection(&settings);
    let first = ping(&mut conn).unwrap_err().to_string();
    // Somebody would answer now, and is not asked.
    let there = std::net::TcpListener::bind(address).unwrap();
    there.set_nonblocking(true).unwrap();
    assert_eq!(ping(&mut conn).unwrap_err().to_string(), first);
    let dialled = there.accept().map(|_| ());
    assert_eq!(dialled.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn what_another_process_or_this_one_changes_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let (db, store) = store(&dir).await;
    let mut heard = store.watch(Topic::Envoys);
    let change = |conn: &mut Connection| {
        conn.transaction(|conn| {
            // What is written must be new: SQLite notices when a row stays as it was, and writes nothing.
            let key = uuid::Uuid::new_v4().to_string();
            conn.execute("insert into meta (key, value) values ($1, $2)", params![key, [0u8; 1]])?;
            conn.say(Topic::Envoys)
        })
    };
    let limit = Duration::from_secs(30);
    store.call(change).await.unwrap();
    tokio::time::timeout(limit, heard.changed()).await.unwrap().unwrap();
    for _ in 0..3 {
        heard.mark_unchanged();
        crate::testing::with(&db, change).unwrap();
        tokio::time::timeout(limit, heard.changed()).await.unwrap().unwrap();
    }
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
}
