//! Commands that show what is stored.

use super::setup::open;
use super::{FINDING, Failure, Format};
use crate::clock::Clock;
use crate::status::{RUNS, Reachability, Status};
use crate::store::{envoys, runs, tokens};
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn tokens(config: &Path, format: Format) -> Result<(), Failure> {
    let (_, mut conn) = open(config)?;
    let now = Clock::system().now();
    let tokens = tokens::list(&mut conn)?;
    let state = |t: &tokens::Token| match t {
        t if t.revoked_at.is_some() => "revoked",
        t if t.used_at.is_some() => "used",
        t if t.expires_at < now => "expired",
        _ => "open",
    };
    if let Format::Json = format {
        let rows: Vec<Value> = tokens
            .iter()
            .map(|t| {
                json!({ "id": t.id, "hostname": t.hostname_glob, "state": state(t), "created_at": t.created_at,
                        "expires_at": t.expires_at, "used_at": t.used_at, "used_by": t.used_by })
            })
            .collect();
        return document("token list", json!({ "tokens": rows }));
    }
    let rows = tokens.iter().map(|t| {
        let left = match state(t) {
            "open" => format!("{} left", span(t.expires_at - now)),
            _ => t.used_by.clone().unwrap_or_default(),
        };
        [t.id.clone(), state(t).to_owned(), t.hostname_glob.clone(), left]
    });
    table(["ID", "STATE", "HOSTS", ""], rows.collect());
    Ok(())
}

pub(super) fn envoys(config: &Path, format: Format) -> Result<(), Failure> {
    let (_, mut conn) = open(config)?;
    let now = Clock::system().now();
    let mut rows = Vec::new();
    for envoy in envoys::list(&mut conn)?.into_iter().filter(|e| e.revoked_at.is_none()) {
        let runs = runs::latest_whole(&mut conn, &envoy.id, RUNS)?;
        let status = Status::of(&envoy, &runs, now);
        rows.push((envoy, status, runs));
    }
    let compliant = rows.iter().filter(|(_, status, _)| status.compliant()).count();
    if let Format::Json = format {
        let mut list = Vec::new();
        for (e, status, runs) in &rows {
            list.push(json!({
                "id": e.id, "hostname": e.hostname, "health": status.health, "drift": status.drift,
                "reachability": status.reachability, "compliant": status.compliant(),
                "enrolled_at": e.enrolled_at, "last_seen": e.last_seen, "seq": e.seq,
                "policy_version": e.policy_version, "agent_version": e.agent_version,
                "last_run": runs.first().map(run), "lost_results": runs::lost(&mut conn, &e.id)?,
            }));
        }
        let fleet = json!({ "active": rows.len(), "compliant": compliant });
        return document("envoys", json!({ "envoys": list, "fleet": fleet }));
    }
    if rows.is_empty() {
        anstream::eprintln!("no envoy is enrolled; `vigosrv token create` lets one in");
        return Ok(());
    }
    let lines = rows.iter().map(|(e, status, runs)| {
        let seen =
            e.last_seen.map_or("never".to_owned(), |seen| format!("{} ago", span(now.saturating_sub(seen))));
        let reach = match status.reachability {
            Reachability::Online => format!("online, {seen}"),
            other => format!("{other}, {seen}"),
        };
        let last = runs.first().map(totals).unwrap_or_default();
        [e.hostname.clone(), status.health.to_string(), status.drift.to_string(), reach, last]
    });
    table(["HOST", "HEALTH", "DRIFT", "REACHABILITY", "LAST RUN"], lines.collect());
    anstream::eprintln!("{compliant} of {} compliant (converged, no drift)", rows.len());
    Ok(())
}

pub(super) fn runs(
    config: &Path,
    host: &str,
    limit: u32,
    results: bool,
    format: Format,
) -> Result<(), Failure> {
    let (_, mut conn) = open(config)?;
    let Some(envoy) = envoys::find(&mut conn, host)? else {
        return Err(Failure::new(FINDING, format!("there is no envoy `{host}`")));
    };
    let runs = runs::latest(&mut conn, &envoy.id, limit)?;
    let mut results_of = |r: &runs::RunRow| {
        if results { runs::results(&mut conn, &envoy.id, &r.run_id) } else { Ok(Vec::new()) }
    };
    if let Format::Json = format {
        let mut list = Vec::new();
        for r in &runs {
            let mut value = run(r);
            if results {
                value["results"] = results_of(r)?
                    .into_iter()
                    .map(|x| {
                        json!({ "module": x.module, "resource": x.resource, "type": x.kind, "outcome": x.outcome,
                                "action": x.action, "error": x.error, "duration_ms": x.duration_ms })
                    })
                    .collect();
            }
            list.push(value);
        }
        return document("runs", json!({ "envoy": envoy.hostname, "id": envoy.id, "runs": list }));
    }
    let now = Clock::system().now();
    for r in &runs {
        let notes = [
            (r.offline, "offline"),
            (r.interrupted, "interrupted"),
            (r.dropped.is_some(), "results dropped"),
        ];
        let only = r.part.as_ref().map(|part| format!("only {}", plain(part)));
        let notes = notes.into_iter().filter(|(on, _)| *on).map(|(_, text)| text);
        let notes: Vec<&str> = only.as_deref().into_iter().chain(notes).collect();
        let line = format!(
            "{:>6}  {:>12} ago  release {:<5} {:<45} {:>8}  {}",
            r.result_seq,
            span(now.saturating_sub(r.started_at)),
            r.release_serial,
            totals(r),
            span(r.duration_ms),
            notes.join(", ")
        );
        anstream::println!("{}", line.trim_end());
        for x in results_of(r)? {
            let place = format!("{}.{}", plain(&x.module), plain(&x.resource));
            let said = if x.error.is_empty() { &x.action } else { &x.error };
            let line = format!("        {:<8} {place:<32} {:<10} {}", x.outcome, plain(&x.kind), plain(said));
            anstream::println!("{}", line.trim_end());
        }
    }
    for (from, to) in runs::lost(&mut conn, &envoy.id)? {
        anstream::eprintln!("results {from} to {to} never came");
    }
    Ok(())
}

fn run(r: &runs::RunRow) -> Value {
    json!({ "run_id": r.run_id, "result_seq": r.result_seq, "received_at": r.received_at, "started_at": r.started_at,
            "duration_ms": r.duration_ms, "release": r.release_serial, "offline": r.offline,
            "interrupted": r.interrupted, "ok": r.ok, "changed": r.changed, "failed": r.failed,
            "skipped": r.skipped, "dropped": r.dropped, "only": r.part })
}

fn totals(r: &runs::RunRow) -> String {
    format!("{} ok, {} changed, {} failed, {} skipped", r.ok, r.changed, r.failed, r.skipped)
}

/// What an agent wrote, without anything that a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_bidi(c) { '\u{fffd}' } else { c }).take(200).collect()
}

fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A time span in the two largest units that matter.
pub(super) fn span(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let Some(at) = units.iter().position(|(unit, _)| ms >= *unit) else { return format!("{ms} ms") };
    let (unit, name) = units[at];
    let whole = format!("{} {name}", ms / unit);
    match units.get(at + 1).map(|(smaller, name)| (ms % unit / smaller, name)) {
        Some((rest, name)) if rest > 0 => format!("{whole} {rest} {name}"),
        _ => whole,
    }
}

fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) {
    let width =
        |at: usize| rows.iter().map(|r| r[at].chars().count()).chain([head[at].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        anstream::println!("{}", padded.join("  ").trim_end());
    };
    line(head.to_vec());
    rows.iter().for_each(|row| line(row.iter().map(String::as_str).collect()));
}

fn document(command: &str, body: Value) -> Result<(), Failure> {
    let mut document = json!({
        "format_version": "1.0", "tool_version": env!("CARGO_PKG_VERSION"), "command": command,
    });
    if let (Value::Object(document), Value::Object(body)) = (&mut document, body) {
        document.extend(body);
    }
    anstream::println!("{document:#}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_have_two_units() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (41_000, "41 s"),
            (125_000, "2 min 5 s"),
            (3_600_000, "1 h"),
            (129_600_000, "1 d 12 h"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn case_079_nothing_an_agent_wrote_reaches_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\n\u{202e}c"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
    }
}
