//! Events on their way to the webhook: written down with what was told, sent in order, forgotten when they were taken.
//!
//! One server of a cluster at a time finds them and sends them: the teller. The list is bounded; what does not fit any more is
//! replaced by one event that says how many there were.

use super::value::params;
use super::{Connection, StoreError, int};
use std::collections::HashMap;

/// How many events may wait.
pub const MOST: u64 = 10_000;

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The order of delivery.
    pub seq: u64,
    /// UUIDv7: the same however often it is sent.
    pub id: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// JSON.
    pub body: String,
}

/// An event to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// UUIDv7.
    pub id: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// JSON.
    pub body: String,
}

/// The four words of a status, in the order of the columns.
pub type Words = [String; 4];

/// What was told so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The last release that there is an event of.
    pub release: u64,
    /// When the last refusal was that there is an event of.
    pub refused_at: u64,
    /// By envoy id.
    pub statuses: HashMap<String, Words>,
}

/// What is found new at one look.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// In their order.
    pub events: Vec<NewEvent>,
    /// Told from now on.
    pub release: u64,
    /// Told from now on.
    pub refused_at: u64,
    /// Told from now on.
    pub statuses: Vec<(String, Words)>,
}

/// Becomes the teller, or stays it, until then; false while another server is.
pub fn lead(conn: &mut Connection, instance: &str, now: u64, until: u64) -> Result<bool, StoreError> {
    conn.transaction(|conn| {
        conn.execute(
            "insert into told (only_row, seq, release_serial, refused_at, teller, teller_until)
             values (1, 0, 0, 0, '', 0) on conflict (only_row) do nothing",
            &[],
        )?;
        let led = conn.execute(
            "update told set teller = $1, teller_until = $3
             where only_row = 1 and (teller = $1 or teller_until < $2)",
            params![instance, int("the time", now)?, int("the time", until)?],
        )?;
        Ok(led > 0)
    })
}

/// Gives the place of the teller back.
pub fn step_down(conn: &mut Connection, instance: &str) -> Result<(), StoreError> {
    conn.execute("update told set teller = '', teller_until = 0 where teller = $1", params![instance])?;
    Ok(())
}

/// What was told so far; `None` when nothing ever was, and so what is now is no news.
pub fn told(conn: &mut Connection) -> Result<Option<Told>, StoreError> {
    let row = conn.row("select seq, release_serial, refused_at from told where only_row = 1", &[], |r| {
        Ok((r.get::<u64>(0)?, r.get::<u64>(1)?, r.get::<u64>(2)?))
    })?;
    let Some((_, release, refused_at)) = row.filter(|(seq, _, _)| *seq > 0) else { return Ok(None) };
    let statuses =
        conn.rows("select envoy_id, health, drift, reachability, compliance from told_status", &[], |r| {
            Ok((r.get::<String>(0)?, [r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?]))
        })?;
    Ok(Some(Told { release, refused_at, statuses: statuses.into_iter().collect() }))
}

/// Writes events down together with what they tell, if `instance` is the teller. `dropped` makes the event that stands for
/// those that find no room: how many, and the times of the first and the last. How many were dropped.
pub fn tell(
    conn: &mut Connection,
    instance: &str,
    news: &News,
    most: u64,
    dropped: &dyn Fn(u64, u64, u64) -> NewEvent,
) -> Result<Option<u64>, StoreError> {
    conn.transaction(|conn| {
        // Also a lock. The numbers of events begin at 2, so that 0 says that nothing was ever told.
        let first = conn.value::<u64>(
            "update told set seq = case when seq = 0 then 1 else seq end, release_serial = $2, refused_at = $3
             where only_row = 1 and teller = $1 returning seq",
            params![instance, int("the release", news.release)?, int("the time", news.refused_at)?],
        )?;
        let Some(mut seq) = first else { return Ok(None) };
        for (envoy, [health, drift, reachability, compliance]) in &news.statuses {
            // The envoy may be gone meanwhile.
            conn.execute(
                "insert into told_status (envoy_id, health, drift, reachability, compliance)
                 select id, $2, $3, $4, $5 from envoys where id = $1
                 on conflict (envoy_id) do update set health = excluded.health, drift = excluded.drift,
                 reachability = excluded.reachability, compliance = excluded.compliance",
                params![envoy, health, drift, reachability, compliance],
            )?;
        }
        for event in &news.events {
            seq += 1;
            insert(conn, seq, event)?;
        }
        conn.execute("update told set seq = $1 where only_row = 1", params![int("the number", seq)?])?;
        make_room(conn, most, dropped).map(Some)
    })
}

fn insert(conn: &mut Connection, seq: u64, event: &NewEvent) -> Result<(), StoreError> {
    conn.execute(
        "insert into events (seq, id, at, body) values ($1, $2, $3, $4)",
        params![int("the number", seq)?, event.id, int("the time", event.at)?, event.body],
    )?;
    Ok(())
}

/// Replaces the oldest by one event when there are too many; it takes the number of the last one that it stands for.
fn make_room(
    conn: &mut Connection,
    most: u64,
    dropped: &dyn Fn(u64, u64, u64) -> NewEvent,
) -> Result<u64, StoreError> {
    let waiting = pending(conn)?;
    if waiting <= most {
        return Ok(0);
    }
    let over = waiting - most + 1;
    let sql = "select seq, at, body from events order by seq limit $1";
    let old = conn.rows(sql, params![int("the number", over)?], |r| {
        Ok((r.get::<u64>(0)?, r.get::<u64>(1)?, r.get::<String>(2)?))
    })?;
    let (Some((_, from, _)), Some((last, to, _))) = (old.first(), old.last()) else { return Ok(0) };
    // One that stood for others already stands for all of them.
    let count: u64 = old.iter().map(|(_, _, body)| stands_for(body).map_or(1, |(count, _)| count)).sum();
    let from =
        old.iter().filter_map(|(_, _, body)| stands_for(body)).map(|(_, from)| from).min().unwrap_or(*from);
    let (last, to) = (*last, *to);
    conn.execute("delete from events where seq <= $1", params![int("the number", last)?])?;
    insert(conn, last, &dropped(count, from, to))?;
    Ok(count)
}

/// How many events a body stands for, and the time of the first, when it says that some were dropped.
fn stands_for(body: &str) -> Option<(u64, u64)> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    let dropped = body.get("dropped")?;
    Some((dropped.get("count")?.as_u64()?, dropped.get("from")?.as_u64()?))
}

/// The oldest event, if `instance` is the teller for longer than until then.
pub fn oldest(conn: &mut Connection, instance: &str, until: u64) -> Result<Option<EventRow>, StoreError> {
    let leads = "select 1 from told where only_row = 1 and teller = $1 and teller_until > $2";
    if !conn.exists(leads, params![instance, int("the time", until)?])? {
        return Ok(None);
    }
    conn.row("select seq, id, at, body from events order by seq limit 1", &[], |r| {
        Ok(EventRow { seq: r.get(0)?, id: r.get(1)?, at: r.get(2)?, body: r.get(3)? })
    })
}

/// An event was taken. Its place may have been given to one that stands for it meanwhile.
pub fn taken(conn: &mut Connection, event: &EventRow) -> Result<(), StoreError> {
    conn.execute(
        "delete from events where seq = $1 and id = $2",
        params![int("the number", event.seq)?, event.id],
    )?;
    Ok(())
}

/// How many wait.
pub fn pending(conn: &mut Connection) -> Result<u64, StoreError> {
    Ok(conn.value("select count(*) from events", &[])?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::envoys::{self, tests::candidate};
    use super::*;
    use crate::testing::on_each;
    use serde_json::json;

    fn event(n: u64) -> NewEvent {
        NewEvent { id: format!("id{n}"), at: n * 10, body: json!({ "n": n }).to_string() }
    }

    fn dropped(count: u64, from: u64, to: u64) -> NewEvent {
        let body = json!({ "dropped": { "count": count, "from": from, "to": to } }).to_string();
        NewEvent { id: format!("dropped{count}"), at: to, body }
    }

    fn news(events: std::ops::Range<u64>) -> News {
        News { events: events.map(event).collect(), release: 3, refused_at: 4, ..News::default() }
    }

    #[test]
    fn one_server_tells_at_a_time_and_another_takes_over() {
        on_each(|conn| {
            assert!(lead(conn, "a", 100, 200).unwrap());
            assert!(!lead(conn, "b", 199, 300).unwrap());
            assert_eq!(tell(conn, "b", &news(0..1), 9, &dropped).unwrap(), None);
            assert!(lead(conn, "a", 150, 250).unwrap(), "it goes on");
            assert!(lead(conn, "b", 251, 400).unwrap(), "the other was silent");
            assert_eq!(tell(conn, "a", &news(0..1), 9, &dropped).unwrap(), None);
            step_down(conn, "b").unwrap();
            assert!(lead(conn, "a", 260, 300).unwrap());
        });
    }

    #[test]
    fn events_are_sent_in_order_and_forgotten_when_they_were_taken() {
        on_each(|conn| {
            assert!(lead(conn, "a", 1, 1000).unwrap());
            assert_eq!(told(conn).unwrap(), None, "nothing was ever told");
            let first = candidate(conn, 1, "web-01");
            envoys::enrol(conn, &first, 5).unwrap().unwrap();
            let words: Words = ["converged", "none", "online", "compliant"].map(str::to_owned);
            let statuses = vec![("e1".to_owned(), words.clone()), ("gone".to_owned(), words.clone())];
            tell(conn, "a", &News { statuses, ..news(0..3) }, 9, &dropped).unwrap();
            let known = told(conn).unwrap().unwrap();
            assert_eq!((known.release, known.refused_at), (3, 4));
            assert_eq!(known.statuses, HashMap::from([("e1".to_owned(), words)]));
            for n in 0..3 {
                let next = oldest(conn, "a", 999).unwrap().unwrap();
                assert_eq!((next.id.as_str(), next.at), (event(n).id.as_str(), n * 10));
                assert_eq!(oldest(conn, "b", 0).unwrap(), None, "not the teller");
                assert_eq!(oldest(conn, "a", 1000).unwrap(), None, "not for long enough");
                taken(conn, &next).unwrap();
            }
            assert_eq!(oldest(conn, "a", 0).unwrap(), None);
            // Begun anew, the numbers go on.
            tell(conn, "a", &news(7..8), 9, &dropped).unwrap();
            assert_eq!(oldest(conn, "a", 0).unwrap().unwrap().seq, 5);
        });
    }

    #[test]
    fn what_finds_no_room_is_counted_in_one_event() {
        on_each(|conn| {
            assert!(lead(conn, "a", 1, 1000).unwrap());
            assert_eq!(tell(conn, "a", &news(0..10), 10, &dropped).unwrap(), Some(0));
            let on_its_way = oldest(conn, "a", 0).unwrap().unwrap();
            assert_eq!(tell(conn, "a", &news(10..12), 10, &dropped).unwrap(), Some(3));
            assert_eq!(pending(conn).unwrap(), 10);
            let first = oldest(conn, "a", 0).unwrap().unwrap();
            assert_eq!(stands_for(&first.body), Some((3, 0)));
            assert_eq!(
                tell(conn, "a", &news(12..14), 10, &dropped).unwrap(),
                Some(5),
                "those before included"
            );
            let first = oldest(conn, "a", 0).unwrap().unwrap();
            assert_eq!((stands_for(&first.body), first.at), (Some((5, 0)), 40));
            taken(conn, &on_its_way).unwrap();
            assert_eq!(
                pending(conn).unwrap(),
                10,
                "what was dropped while it was sent takes nothing else along"
            );
            taken(conn, &first).unwrap();
            let ids: Vec<u64> = std::iter::from_fn(|| {
                let next = oldest(conn, "a", 0).unwrap()?;
                taken(conn, &next).unwrap();
                next.id.strip_prefix("id")?.parse().ok()
            })
            .collect();
            assert_eq!(ids, (5..14).collect::<Vec<_>>());
        });
    }
}
