//! Published policies: what was published, by whom and why, file by file, and whether anything may be published now.
//!
//! Files are stored once, under the SHA-256 of their bytes, however many releases have them.

use super::value::{Param, Row, ToParam, params};
use super::{Connection, StoreError, Topic, int, meta};
use ir::Hash;
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

/// What publishing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The latest release has this tree already.
    Unchanged(u64),
    /// A new release.
    New(u64),
}

impl Published {
    /// Its number, new or not.
    pub fn serial(self) -> u64 {
        match self {
            Published::Unchanged(serial) | Published::New(serial) => serial,
        }
    }
}

/// Nothing is published until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Milliseconds since 1970-01-01 UTC.
    pub until: u64,
    /// Why, in the words of whoever did it.
    pub reason: String,
}

/// The policy that was refused last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Of its tree.
    pub digest: Hash,
    /// Milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// What checking found.
    pub diagnostics: String,
}

/// Makes a release, unless the latest one has the same digest or publishing is frozen. What was refused before is
/// forgotten.
pub fn publish(
    conn: &mut Connection,
    release: &NewRelease,
    now: u64,
) -> Result<Result<Published, Freeze>, StoreError> {
    conn.attempt(|conn| {
        meta::lock(conn, "releases")?;
        let latest =
            conn.row("select serial, digest from releases order by serial desc limit 1", &[], |r| {
                Ok((r.get::<u64>(0)?, r.get::<Hash>(1)?))
            })?;
        let serial = match latest {
            Some((serial, digest)) if digest == release.digest => {
                return Ok(Ok(Published::Unchanged(serial)));
            }
            latest => latest.map_or(1, |(serial, _)| serial + 1),
        };
        if let Some(freeze) = frozen(conn, now)? {
            return Ok(Err(freeze));
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
        let mut hashes = Vec::with_capacity(release.files.len());
        for (_, bytes) in &release.files {
            let hash = Hash::of(bytes);
            hashes.push(hash);
            if !conn.exists("select 1 from blobs where hash = $1", params![hash])? {
                conn.execute(
                    "insert into blobs (hash, bytes) values ($1, $2) on conflict (hash) do nothing",
                    params![hash, **bytes],
                )?;
            }
        }
        let rows = release.files.iter().zip(&hashes);
        let values: Vec<Param<'_>> = rows
            .flat_map(|((path, _), hash)| [Param::Int(number), path.to_param(), hash.to_param()])
            .collect();
        conn.insert("insert into release_files (serial, path, hash)", 3, "", &values)?;
        conn.execute("update publish_state set refused_digest = null, refused_diagnostics = ''", &[])?;
        conn.say(Topic::Releases)?;
        Ok(Ok(Published::New(serial)))
    })
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

/// The bytes of a file; checked, because what comes out of here is compiled and signed.
pub fn blob(conn: &mut Connection, hash: Hash) -> Result<Option<Vec<u8>>, StoreError> {
    let bytes: Option<Vec<u8>> = conn.value("select bytes from blobs where hash = $1", params![hash])?;
    match bytes {
        Some(bytes) if Hash::of(&bytes) != hash => Err(StoreError::Column(0)),
        bytes => Ok(bytes),
    }
}

/// Lets nothing be published until then.
pub fn freeze(conn: &mut Connection, freeze: &Freeze) -> Result<(), StoreError> {
    let until = int("the time", freeze.until)?;
    state(conn, "frozen_until = $1, frozen_reason = $2", params![until, freeze.reason])
}

/// Lets policies be published again.
pub fn thaw(conn: &mut Connection) -> Result<(), StoreError> {
    state(conn, "frozen_until = 0, frozen_reason = ''", &[])
}

/// What stands in the way of publishing now.
pub fn frozen(conn: &mut Connection, now: u64) -> Result<Option<Freeze>, StoreError> {
    conn.row(
        "select frozen_until, frozen_reason from publish_state where frozen_until > $1",
        params![int("the time", now)?],
        |r| Ok(Freeze { until: r.get(0)?, reason: r.get(1)? }),
    )
}

/// Remembers a policy that has errors, until another one is published.
pub fn refuse(conn: &mut Connection, refused: &Refused) -> Result<(), StoreError> {
    let at = int("the time", refused.at)?;
    let set = "refused_digest = $1, refused_at = $2, refused_diagnostics = $3";
    state(conn, set, params![refused.digest, at, refused.diagnostics])
}

/// The policy that has errors, when that was the last one to come.
pub fn refused(conn: &mut Connection) -> Result<Option<Refused>, StoreError> {
    conn.row(
        "select refused_digest, refused_at, refused_diagnostics from publish_state
         where refused_digest is not null",
        &[],
        |r| Ok(Refused { digest: r.get(0)?, at: r.get(1)?, diagnostics: r.get(2)? }),
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

    #[test]
    fn a_release_keeps_its_serial_until_the_policy_changes() {
        on_each(|conn| {
            let mut put = |n: &str, now| publish(conn, &release(&[("a", n)]), now).unwrap().unwrap();
            assert_eq!(put("a", 1), Published::New(1));
            assert_eq!(put("a", 2), Published::Unchanged(1));
            assert_eq!(put("b", 3), Published::New(2));
            assert_eq!(put("a", 4), Published::New(3), "going back is a new release");
            let rows = list(conn, None, 2).unwrap();
            assert_eq!(rows.iter().map(|r| r.serial).collect::<Vec<_>>(), [3, 2]);
            assert_eq!(list(conn, Some(2), 9).unwrap().len(), 1);
            assert_eq!(find(conn, 2).unwrap().unwrap().published_at, 3);
            assert_eq!(find(conn, 9).unwrap(), None);
        });
    }

    #[test]
    fn files_are_stored_once_and_come_back() {
        on_each(|conn| {
            let first =
                [("modules/a.vgo", "name: a\n"), ("nodes.vgo", "nodes: []\n"), ("same.vgo", "name: a\n")];
            publish(conn, &release(&first), 1).unwrap().unwrap();
            let second = NewRelease { rolled_back_from: Some(1), ..release(&first[..2]) };
            publish(conn, &second, 2).unwrap().unwrap();
            assert_eq!(conn.value::<i64>("select count(*) from blobs", &[]).unwrap(), Some(2));
            assert_eq!(find(conn, 2).unwrap().unwrap().rolled_back_from, Some(1));
            for (serial, expected) in [(1, &first[..]), (2, &first[..2])] {
                let mut back = Vec::new();
                for (path, hash) in files(conn, serial).unwrap() {
                    back.push((path, String::from_utf8(blob(conn, hash).unwrap().unwrap()).unwrap()));
                }
                let expected: Vec<_> =
                    expected.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect();
                assert_eq!(back, expected);
            }
            assert_eq!(blob(conn, Hash::of(b"other")).unwrap(), None);
            conn.execute("update blobs set bytes = $1", params![b"edited by hand"]).unwrap();
            assert!(matches!(blob(conn, Hash::of(b"name: a\n")), Err(StoreError::Column(0))));
        });
    }

    #[test]
    fn a_frozen_cluster_publishes_nothing_new() {
        on_each(|conn| {
            publish(conn, &release(&[("a", "1")]), 1).unwrap().unwrap();
            let until = Freeze { until: 100, reason: "holidays".into() };
            freeze(conn, &until).unwrap();
            assert_eq!(publish(conn, &release(&[("a", "2")]), 99).unwrap(), Err(until));
            let same = publish(conn, &release(&[("a", "1")]), 99).unwrap();
            assert_eq!(same, Ok(Published::Unchanged(1)), "a restart is not a publish");
            assert_eq!(publish(conn, &release(&[("a", "2")]), 100).unwrap(), Ok(Published::New(2)));
            freeze(conn, &Freeze { until: 1000, reason: String::new() }).unwrap();
            thaw(conn).unwrap();
            assert_eq!(publish(conn, &release(&[("a", "3")]), 101).unwrap(), Ok(Published::New(3)));
        });
    }

    #[test]
    fn what_was_refused_is_known_until_something_is_published() {
        on_each(|conn| {
            assert_eq!(refused(conn).unwrap(), None);
            let bad = Refused { digest: Hash::of(b"bad"), at: 7, diagnostics: "error: a typo".into() };
            refuse(conn, &bad).unwrap();
            assert_eq!(refused(conn).unwrap(), Some(bad));
            publish(conn, &release(&[("a", "1")]), 8).unwrap().unwrap();
            assert_eq!(refused(conn).unwrap(), None);
        });
    }
}
