//! Commands that show what is stored.

use super::setup::open;
use super::{FINDING, Failure, Format};
use crate::clock::Clock;
use crate::status::{RUNS, Reachability, Status};
use crate::store::{api_tokens, envoys, runs, tokens};
use crate::text::{self, good_for, span};
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn tokens(config: &Path, format: Format) -> Result<(), Failure> {
    let (_, mut conn) = open(config)?;
    let now = Clock::system().now();
    let tokens = tokens::list(&mut conn)?;
    let state = |t: &tokens::Token| t.state(now);
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
            "open" => good_for(t.expires_at - now),
            _ => t.used_by.clone().unwrap_or_default(),
        };
        [t.id.clone(), state(t).to_owned(), t.hostname_glob.clone(), left]
    });
    table(["ID", "STATE", "HOSTS", ""], rows.collect());
    Ok(())
}

pub(super) fn api_tokens(config: &Path, format: Format) -> Result<(), Failure> {
    let (_, mut conn) = open(config)?;
    let now = Clock::system().now();
    let tokens = api_tokens::list(&mut conn)?;
    if let Format::Json = format {
        let row = |t: &api_tokens::ApiToken| {
            json!({ "id": t.id, "name": t.name, "role": t.role, "state": t.state(now), "created_at": t.created_at,
                    "expires_at": t.expires_at, "revoked_at": t.revoked_at })
        };
        let rows: Vec<Value> = tokens.iter().map(row).collect();
        return document("api-token list", json!({ "api_tokens": rows }));
    }
    let rows = tokens.iter().map(|t| {
        let left = match t.state(now) {
            "open" => good_for(t.expires_at - now),
            _ => String::new(),
        };
        [t.id.clone(), t.state(now).to_owned(), t.role.name().to_owned(), plain(&t.name), left]
    });
    table(["ID", "STATE", "ROLE", "NAME", ""], rows.collect());
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

/// What an agent wrote, on one line of a terminal.
fn plain(text: &str) -> String {
    crate::text::plain(text, 200)
}

fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) {
    anstream::print!("{}", text::table(head, &rows));
}

pub(super) fn document(command: &str, body: Value) -> Result<(), Failure> {
    anstream::println!("{}", text::document(command, body));
    Ok(())
}
