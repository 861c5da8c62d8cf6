//! Published policies: what was published, by whom and why, file by file, and whether anything may be published now.
//!
//! Files are stored once, under the SHA-256 of their bytes, however many releases have them.

use super::value::{Param, Row, ToParam, params};
use super::{Connection, StoreError, Topic, int, meta};
use ir::Hash;
use std::collections::HashSet;
use std::sync::Arc;

/// A policy that is to be published.
#[derive(Clone, Debug, Default)]
pub struct NewRelease {
    /// Of the whole tree; two trees with the same digest are the same.
    pub digest: Hash,
    /// Who publishes it.
    pub author: String,
    /// Why.
    pub message: String,
    /// What changed since the release before: JSON.
    pub summary: String,
    /// Which envoys it changes: JSON.
    pub blast_radius: String,
    /// The release whose files these are, when it goes back to one.
    pub rolled_back_from: Option<u64>,
    /// Path below the policy's root, and bytes. No path twice.
    pub files: Vec<(String, Arc<[u8]>)>,
}

/// A release as it is stored, without its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRow {
    /// Its number; grows by one.
    pub serial: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub published_at: u64,
    /// Of its tree.
    pub digest: Hash,
    /// Who published it; empty for a watched directory.
    pub author: String,
    /// Why.
    pub message: String,
    /// JSON, or empty.
    pub summary: String,
    /// JSON, or empty.
    pub blast_radius: String,
    /// The release that it went back to.
    pub rolled_back_from: Option<u64>,
}

/// Why nothing was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unpublished {
    /// Nothing is, before some time.
    Frozen(Freeze),
    /// Somebody else published since whoever asks looked: the latest release.
    Moved(Box<ReleaseRow>),
}

/// Nothing is published until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Milliseconds since 1970-01-01 UTC.
    pub until: u64,
    /// Who did it.
    pub by: String,
    /// Why, in the words of whoever did it.
    pub reason: String,
}

/// The policy that was refused last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Of its tree.
    pub digest: Hash,
    /// Who wanted to publish it; empty for a watched directory.
    pub author: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// What checking found.
    pub diagnostics: String,
}

/// Makes the release after `base`, the latest one that its author knows (0: there is none), and says its number. Not while
/// publishing is frozen, unless `over_freeze` is set. What was refused before is forgotten.
pub fn publish(
    conn: &mut Connection,
    release: &NewRelease,
    base: u64,
    over_freeze: bool,
    now: u64,
) -> Result<Result<u64, Unpublished>, StoreError> {
    conn.attempt(|conn| {
        meta::lock(conn, "releases")?;
        let latest = latest(conn)?;
        let serial = match latest {
            Some(latest) if latest.serial != base => return Ok(Err(Unpublished::Moved(Box::new(latest)))),
            _ => base + 1,
        };
        if !over_freeze && let Some(freeze) = frozen(conn, now)? {
            return Ok(Err(Unpublished::Frozen(freeze)));
        }
        let number = int("the release", serial)?;
        conn.execute(
            "insert into releases (serial, published_at, digest, author, message, summary, blast_radius,
             rolled_back_from) values ($1, $2, $3, $4, $5, $6, $7, $8)",
            params![
                number,
                int("the time", now)?,
                release.digest,
                release.author,
                release.message,
                release.summary,
                release.blast_radius,
                release.rolled_back_from.map(|serial| int("the release", serial)).transpose()?,
            ],
        )?;
        let known: HashSet<Hash> = files(conn, base)?.into_iter().map(|(_, hash)| hash).collect();
        keep_files(conn, number, &release.files, &known)?;
        forgive(conn)?;
        conn.say(Topic::Releases)?;
        Ok(Ok(serial))
    })
}

/// Stores the files of a release that has none, or damaged ones; they have to be the ones it was made of.
pub fn keep(conn: &mut Connection, serial: u64, tree: &[(String, Arc<[u8]>)]) -> Result<(), StoreError> {
    let number = int("the release", serial)?;
    conn.transaction(|conn| {
        meta::lock(conn, "releases")?;
        conn.execute("delete from release_files where serial = $1", params![number])?;
        for (_, bytes) in tree {
            conn.execute("update blobs set bytes = $2 where hash = $1", params![Hash::of(bytes), **bytes])?;
        }
        keep_files(conn, number, tree, &HashSet::new())
    })
}

fn keep_files(
    conn: &mut Connection,
    number: i64,
    tree: &[(String, Arc<[u8]>)],
    known: &HashSet<Hash>,
) -> Result<(), StoreError> {
    let mut hashes = Vec::with_capacity(tree.len());
    for (_, bytes) in tree {
        let hash = Hash::of(bytes);
        hashes.push(hash);
        if !known.contains(&hash) && !conn.exists("select 1 from blobs where hash = $1", params![hash])? {
            conn.execute(
                "insert into blobs (hash, bytes) values ($1, $2) on conflict (hash) do nothing",
                params![hash, **bytes],
            )?;
        }
    }
    let rows = tree.iter().zip(&hashes);
    let values: Vec<Param<'_>> =
        rows.flat_map(|((path, _), hash)| [Param::Int(number), path.to_param(), hash.to_param()]).collect();
    conn.insert("insert into release_files (serial, path, hash)", 3, "", &values)
}

const SELECT: &str =
    "select serial, published_at, digest, author, message, summary, blast_radius, rolled_back_from
    from releases";

fn row(r: Row<'_>) -> Result<ReleaseRow, StoreError> {
    Ok(ReleaseRow {
        serial: r.get(0)?,
        published_at: r.get(1)?,
        digest: r.get(2)?,
        author: r.get(3)?,
        message: r.get(4)?,
        summary: r.get(5)?,
        blast_radius: r.get(6)?,
        rolled_back_from: r.get(7)?,
    })
}

/// The latest releases before a number, the latest first.
pub fn list(conn: &mut Connection, before: Option<u64>, limit: u32) -> Result<Vec<ReleaseRow>, StoreError> {
    let before = before.map_or(Ok(i64::MAX), |serial| int("the release", serial))?;
    let sql = format!("{SELECT} where serial < $1 order by serial desc limit $2");
    conn.rows(&sql, params![before, limit], row)
}

/// The latest one.
pub fn latest(conn: &mut Connection) -> Result<Option<ReleaseRow>, StoreError> {
    Ok(list(conn, None, 1)?.into_iter().next())
}

/// The latest release that has this tree.
pub fn with_digest(conn: &mut Connection, digest: Hash) -> Result<Option<u64>, StoreError> {
    conn.value("select serial from releases where digest = $1 order by serial desc limit 1", params![digest])
}

/// One of them.
pub fn find(conn: &mut Connection, serial: u64) -> Result<Option<ReleaseRow>, StoreError> {
    conn.row(&format!("{SELECT} where serial = $1"), params![int("the release", serial)?], row)
}

/// The paths of a release and the hashes of their bytes, by path. Empty for a release that was made without its files.
pub fn files(conn: &mut Connection, serial: u64) -> Result<Vec<(String, Hash)>, StoreError> {
    conn.rows(
        "select path, hash from release_files where serial = $1 order by path",
        params![int("the release", serial)?],
        |r| Ok((r.get(0)?, r.get(1)?)),
    )
}

/// The files of a release with their bytes, by path; checked, because what comes out of here is compiled and signed.
pub fn tree(conn: &mut Connection, serial: u64) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let rows = conn.rows(
        "select f.path, f.hash, b.bytes from release_files f join blobs b on b.hash = f.hash
         where f.serial = $1 order by f.path",
        params![int("the release", serial)?],
        |r| Ok((r.get::<String>(0)?, r.get::<Hash>(1)?, r.get::<Vec<u8>>(2)?)),
    )?;
    let whole = |(path, hash, bytes): (String, Hash, Vec<u8>)| match Hash::of(&bytes) == hash {
        true => Ok((path, bytes)),
        false => Err(StoreError::Column(2)),
    };
    rows.into_iter().map(whole).collect()
}

/// Lets nothing be published until then.
pub fn freeze(conn: &mut Connection, freeze: &Freeze) -> Result<(), StoreError> {
    let until = int("the time", freeze.until)?;
    let set = "frozen_until = $1, frozen_by = $2, frozen_reason = $3";
    state(conn, set, params![until, freeze.by, freeze.reason])
}

/// Lets policies be published again.
pub fn thaw(conn: &mut Connection) -> Result<(), StoreError> {
    state(conn, "frozen_until = 0, frozen_by = '', frozen_reason = ''", &[])
}

/// What stands in the way of publishing now.
pub fn frozen(conn: &mut Connection, now: u64) -> Result<Option<Freeze>, StoreError> {
    conn.row(
        "select frozen_until, frozen_by, frozen_reason from publish_state where frozen_until > $1",
        params![int("the time", now)?],
        |r| Ok(Freeze { until: r.get(0)?, by: r.get(1)?, reason: r.get(2)? }),
    )
}

/// Remembers a policy that has errors, until another one is published.
pub fn refuse(conn: &mut Connection, refused: &Refused) -> Result<(), StoreError> {
    let at = int("the time", refused.at)?;
    let set = "refused_digest = $1, refused_at = $2, refused_author = $3, refused_diagnostics = $4";
    state(conn, set, params![refused.digest, at, refused.author, refused.diagnostics])
}

/// Forgets the policy that was refused: what is served is what somebody wants.
pub fn forgive(conn: &mut Connection) -> Result<(), StoreError> {
    let set = "refused_digest = null, refused_author = '', refused_diagnostics = ''";
    conn.execute(&format!("update publish_state set {set} where refused_digest is not null"), &[])?;
    Ok(())
}

/// The policy that has errors, when that was the last one to come.
pub fn refused(conn: &mut Connection) -> Result<Option<Refused>, StoreError> {
    conn.row(
        "select refused_digest, refused_at, refused_author, refused_diagnostics from publish_state
         where refused_digest is not null",
        &[],
        |r| Ok(Refused { digest: r.get(0)?, at: r.get(1)?, author: r.get(2)?, diagnostics: r.get(3)? }),
    )
}

fn state(conn: &mut Connection, set: &str, values: &[Param<'_>]) -> Result<(), StoreError> {
    conn.transaction(|conn| {
        conn.execute(
            "insert into publish_state (only_row) values (1) on conflict (only_row) do nothing",
            &[],
        )?;
        conn.execute(&format!("update publish_state set {set}"), values)?;
        conn.say(Topic::Releases)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_each;

    fn release(files: &[(&str, &str)]) -> NewRelease {
        let text = format!("{files:?}");
        NewRelease {
            digest: Hash::of(text.as_bytes()),
            author: "ann".into(),
            message: "why".into(),
            files: files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().into())).collect(),
            ..NewRelease::default()
        }
    }

    fn put(conn: &mut Connection, text: &str, base: u64, now: u64) -> Result<u64, Unpublished> {
        publish(conn, &release(&[("a", text)]), base, false, now).unwrap()
    }

    #[test]
    fn a_release_follows_the_one_its_author_knew() {
        on_each(|conn| {
            assert_eq!(put(conn, "a", 0, 1), Ok(1));
            assert_eq!(put(conn, "b", 1, 2), Ok(2));
            let Err(Unpublished::Moved(latest)) = put(conn, "c", 1, 3) else {
                panic!("published over another")
            };
            assert_eq!((latest.serial, latest.author.as_str()), (2, "ann"));
            assert!(matches!(put(conn, "c", 0, 3), Err(Unpublished::Moved(_))));
            assert_eq!(put(conn, "a", 2, 4), Ok(3), "going back is a new release");
            let rows = list(conn, None, 2).unwrap();
            assert_eq!(rows.iter().map(|r| r.serial).collect::<Vec<_>>(), [3, 2]);
            assert_eq!(list(conn, Some(2), 9).unwrap().len(), 1);
            assert_eq!(find(conn, 2).unwrap().unwrap().published_at, 2);
            assert_eq!(find(conn, 9).unwrap(), None);
            assert_eq!(with_digest(conn, rows[0].digest).unwrap(), Some(3));
            assert_eq!(with_digest(conn, Hash::of(b"other")).unwrap(), None);
        });
    }

    #[test]
    fn files_are_stored_once_and_come_back() {
        on_each(|conn| {
            let first =
                [("modules/a.vgo", "name: a\n"), ("nodes.vgo", "nodes: []\n"), ("same.vgo", "name: a\n")];
            let new = release(&first);
            publish(conn, &new, 0, false, 1).unwrap().unwrap();
            let second = NewRelease { rolled_back_from: Some(1), ..release(&first[..2]) };
            publish(conn, &second, 1, false, 2).unwrap().unwrap();
            assert_eq!(conn.value::<i64>("select count(*) from blobs", &[]).unwrap(), Some(2));
            assert_eq!(find(conn, 2).unwrap().unwrap().rolled_back_from, Some(1));
            let expected = |files: &[(&str, &str)]| -> Vec<(String, Vec<u8>)> {
                files.iter().map(|(p, t)| ((*p).to_owned(), t.as_bytes().to_vec())).collect()
            };
            assert_eq!(tree(conn, 1).unwrap(), expected(&first));
            assert_eq!(tree(conn, 2).unwrap(), expected(&first[..2]));
            assert_eq!(tree(conn, 9).unwrap(), []);
            conn.execute("update blobs set bytes = $1", params![b"edited by hand"]).unwrap();
            assert!(matches!(tree(conn, 1), Err(StoreError::Column(2))));
            keep(conn, 1, &new.files).unwrap();
            assert_eq!(tree(conn, 1).unwrap(), expected(&first), "whoever has the files can mend it");
        });
    }

    #[test]
    fn a_frozen_cluster_publishes_nothing_new() {
        on_each(|conn| {
            assert_eq!(put(conn, "1", 0, 1), Ok(1));
            let until = Freeze { until: 100, by: "ann".into(), reason: "holidays".into() };
            freeze(conn, &until).unwrap();
            assert_eq!(put(conn, "2", 1, 99), Err(Unpublished::Frozen(until)));
            let forced = publish(conn, &release(&[("a", "2")]), 1, true, 99).unwrap();
            assert_eq!(forced, Ok(2), "who may, goes over it");
            assert_eq!(put(conn, "3", 2, 100), Ok(3), "it is over");
            freeze(conn, &Freeze { until: 1000, by: String::new(), reason: String::new() }).unwrap();
            thaw(conn).unwrap();
            assert_eq!(put(conn, "4", 3, 101), Ok(4));
        });
    }

    #[test]
    fn what_was_refused_is_known_until_something_is_published() {
        on_each(|conn| {
            assert_eq!(refused(conn).unwrap(), None);
            let diagnostics = "error: a typo".to_owned();
            let bad = Refused { digest: Hash::of(b"bad"), author: "ann".into(), at: 7, diagnostics };
            refuse(conn, &bad).unwrap();
            assert_eq!(refused(conn).unwrap(), Some(bad));
            assert_eq!(put(conn, "1", 0, 8), Ok(1));
            assert_eq!(refused(conn).unwrap(), None);
        });
    }
}
