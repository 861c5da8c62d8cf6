//! Envoys that are to get their bundle again, changed or not.

use super::value::params;
use super::{Connection, StoreError, Topic, int};

/// Asks for it. Asking twice is asking once.
pub fn ask(conn: &mut Connection, envoy_id: &str, now: u64) -> Result<(), StoreError> {
    conn.transaction(|conn| {
        conn.execute(
            "insert into pushes (envoy_id, asked_at) values ($1, $2)
             on conflict (envoy_id) do update set asked_at = excluded.asked_at",
            params![envoy_id, int("the time", now)?],
        )?;
        conn.say(Topic::Pushes)
    })
}

/// Those that wait for it.
pub fn waiting(conn: &mut Connection) -> Result<Vec<String>, StoreError> {
    conn.rows("select envoy_id from pushes order by envoy_id", &[], |row| row.get(0))
}

/// An envoy was sent it.
pub fn served(conn: &mut Connection, envoy_id: &str) -> Result<(), StoreError> {
    conn.transaction(|conn| {
        conn.execute("delete from pushes where envoy_id = $1", params![envoy_id])?;
        conn.say(Topic::Pushes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::envoys::{self, tests::candidate};
    use crate::testing::on_each;

    #[test]
    fn an_envoy_waits_until_it_is_served() {
        on_each(|conn| {
            for n in [1, 2] {
                let one = candidate(conn, n, &format!("h{n}"));
                envoys::enrol(conn, &one, 5).unwrap().unwrap();
                ask(conn, &format!("e{n}"), 7).unwrap();
            }
            ask(conn, "e1", 8).unwrap();
            assert_eq!(waiting(conn).unwrap(), ["e1", "e2"]);
            served(conn, "e1").unwrap();
            assert_eq!(waiting(conn).unwrap(), ["e2"]);
        });
    }
}
