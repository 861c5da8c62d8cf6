//! The fleet: envoys, runs, compliance.

use super::connection::{Connection, part, typed};
use super::{Failure, Shown};
use crate::http::api::compliance::{Compliance, Group};
use crate::http::api::envoys::{Detail, Envoy, Pushed};
use crate::http::api::runs::{Detail as RunDetail, Outcome, Run};
use crate::http::survey::Count;
use crate::text::{moment, plain, span, table};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::SystemTime;

#[derive(Debug, Subcommand)]
pub(super) enum Envoys {
    /// List active envoys by host name
    #[command(after_help = "Examples:
  vigocli envoys list --health failed --environment production
  vigocli envoys list --compliance unknown --format json | jq -r '.envoys[].hostname'")]
    List(Filter),
    /// One envoy: how it is, its traits, and what its last run did
    #[command(after_help = "Example: vigocli envoys show web-01.example.com")]
    Show {
        /// Host name or id
        host: String,
    },
    /// Take an envoy's place away; its certificate is good for nothing from then on
    Revoke {
        /// Host name or id
        host: String,
    },
    /// Send an envoy its bundle again at its next check-in, changed or not
    Push {
        /// Host name or id
        host: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Host names; `*` stands for any text, `?` for one character
    #[arg(long, value_name = "GLOB")]
    hostname: Option<String>,
    /// Of this environment
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// With this role
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// With this module
    #[arg(long, value_name = "NAME")]
    module: Option<String>,
    /// converged, degraded, failed or no-data
    #[arg(long, value_name = "STATE", value_parser = ["converged", "degraded", "failed", "no-data"], hide_possible_values = true)]
    health: Option<String>,
    /// none, changed, relapsed or diverged
    #[arg(long, value_name = "STATE", value_parser = ["none", "changed", "relapsed", "diverged"], hide_possible_values = true)]
    drift: Option<String>,
    /// online, late or offline
    #[arg(long, value_name = "STATE", value_parser = ["online", "late", "offline"], hide_possible_values = true)]
    reachability: Option<String>,
    /// compliant, non-compliant or unknown
    #[arg(long, value_name = "STATE", value_parser = ["compliant", "non-compliant", "unknown"], hide_possible_values = true)]
    compliance: Option<String>,
    /// At most so many [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Runs {
    /// List runs, the latest first
    #[command(after_help = "Example: vigocli runs list --outcome failed")]
    List {
        /// Of this envoy: host name or id
        #[arg(long, value_name = "HOST")]
        envoy: Option<String>,
        /// Only runs that changed something, or failed: changed or failed
        #[arg(long, value_name = "WHICH", value_parser = ["changed", "failed"], hide_possible_values = true)]
        outcome: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: usize,
    },
    /// One run, and what became of each resource
    Show {
        /// Host name or id
        host: String,
        /// The run's id, as `list` shows it
        run: String,
    },
}

/// By this machine's clock, as are the times ago.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

fn ago(at: u64) -> String {
    format!("{} ago", span(now().saturating_sub(at)))
}

fn totals(run: &Run) -> String {
    format!("{} ok, {} changed, {} failed, {} skipped", run.ok, run.changed, run.failed, run.skipped)
}

fn notes(run: &Run) -> String {
    let notes = [
        run.offline.then(|| "offline".to_owned()),
        run.interrupted.then(|| "interrupted".to_owned()),
        run.dropped.map(|(from, to)| format!("results {from} to {to} were dropped")),
        run.only.as_ref().map(|only| format!("only {}", plain(only, 80))),
    ];
    notes.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

pub(super) fn envoys(server: &Connection, command: Envoys) -> Result<Shown, Failure> {
    let of = |host: &str, what: &str| format!("/api/v1/envoys/{}{what}", part(host));
    match command {
        Envoys::List(filter) => list(server, filter),
        Envoys::Show { host } => {
            let json = server.get(&of(&host, ""), &[])?;
            let detail: Detail = typed(json.clone())?;
            Ok(Shown { command: "envoys show", json, human: one(&detail), note: None })
        }
        Envoys::Revoke { host } => {
            let json = server.post(&of(&host, "/revoke"), &json!({}))?;
            let note = Some(format!("{host} was revoked"));
            Ok(Shown { command: "envoys revoke", json, human: String::new(), note })
        }
        Envoys::Push { host } => {
            let json = server.post(&of(&host, "/push"), &json!({}))?;
            let pushed: Pushed = typed(json.clone())?;
            let hostname = plain(&pushed.hostname, 253);
            let note = match pushed.expected_by {
                Some(by) => format!(
                    "{hostname} gets its bundle again when it checks in, within {}",
                    span(by.saturating_sub(now()))
                ),
                None => format!("{hostname} is offline; it gets its bundle again when it comes back"),
            };
            Ok(Shown { command: "envoys push", json, human: String::new(), note: Some(note) })
        }
    }
}

fn list(server: &Connection, filter: Filter) -> Result<Shown, Failure> {
    let fields = [
        ("hostname", filter.hostname),
        ("environment", filter.environment),
        ("role", filter.role),
        ("module", filter.module),
        ("health", filter.health),
        ("drift", filter.drift),
        ("reachability", filter.reachability),
        ("compliance", filter.compliance),
    ];
    let query: Vec<(&str, String)> =
        fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let items = server.list("/api/v1/envoys", &query, filter.limit.unwrap_or(usize::MAX))?;
    let json = json!({ "envoys": items });
    let envoys: Vec<Envoy> = typed(json["envoys"].clone())?;
    let rows: Vec<[String; 7]> = envoys.iter().map(row).collect();
    let compliant = envoys.iter().filter(|e| e.compliance == crate::status::Compliance::Compliant).count();
    let (human, note) = match (envoys.is_empty(), query.is_empty()) {
        (true, true) => {
            (String::new(), "no envoy is enrolled; `vigocli token create` lets one in".to_owned())
        }
        (true, false) => (String::new(), "no envoy matches".to_owned()),
        (false, _) => (
            table(
                ["HOST", "ENVIRONMENT", "COMPLIANCE", "HEALTH", "DRIFT", "REACHABILITY", "LAST RUN"],
                &rows,
            ),
            format!("{compliant} of {} compliant", envoys.len()),
        ),
    };
    Ok(Shown { command: "envoys list", json, human, note: Some(note) })
}

fn row(e: &Envoy) -> [String; 7] {
    let seen = e.last_seen.map_or("never".to_owned(), ago);
    [
        plain(&e.hostname, 253),
        plain(e.environment.as_deref().unwrap_or("-"), 60),
        e.compliance.to_string(),
        e.health.to_string(),
        e.drift.to_string(),
        format!("{}, {seen}", e.reachability),
        e.last_run.as_ref().map(totals).unwrap_or_default(),
    ]
}

fn one(d: &Detail) -> String {
    let e = &d.envoy;
    let mut out = String::new();
    let mut line = |label: &str, text: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{label:<12} {text}");
    };
    line("envoy", &format!("{}  {}", plain(&e.hostname, 253), plain(&e.id, 64)));
    line("enrolled", &moment(e.enrolled_at));
    line("compliance", &e.compliance.to_string());
    line("health", &e.health.to_string());
    line("drift", &e.drift.to_string());
    let seen = e.last_seen.map_or("never seen".to_owned(), |at| format!("last check-in {}", ago(at)));
    line("reachable", &format!("{}, {seen}, every {}", e.reachability, span(e.interval_ms)));
    line("environment", &plain(e.environment.as_deref().unwrap_or("none"), 60));
    line("roles", &plain(&e.roles.join(", "), 300));
    line("agent", &plain(&e.agent_version, 64));
    line("policy", &plain(&e.policy_version, 100));
    if let Some(run) = &e.last_run {
        line("last run", &format!("{}: {}, {}", ago(run.received_at), totals(run), span(run.duration_ms)));
    }
    for (from, to) in &d.lost_results {
        line("lost", &format!("results {from} to {to} never came"));
    }
    out.push('\n');
    let modules: Vec<[String; 5]> = d
        .modules
        .iter()
        .map(|m| {
            let counts = [m.ok, m.changed, m.failed, m.skipped].map(|n| n.to_string());
            let [ok, changed, failed, skipped] = counts;
            [plain(&m.name, 200), ok, changed, failed, skipped]
        })
        .collect();
    out += &table(["MODULE", "OK", "CHANGED", "FAILED", "SKIPPED"], &modules);
    let notable: Vec<&Outcome> =
        d.results.iter().filter(|r| r.outcome == "changed" || r.outcome == "failed").collect();
    if !notable.is_empty() {
        out.push('\n');
        out += &outcomes(&notable);
    }
    if !d.runs.is_empty() {
        out.push('\n');
        out += &run_table(&d.runs, false);
    }
    let mut traits = Vec::new();
    flatten("", &d.traits, &mut traits);
    if !traits.is_empty() {
        out.push('\n');
        out += &table(["TRAIT", "VALUE"], &traits);
    }
    out
}

fn flatten(path: &str, value: &Value, out: &mut Vec<[String; 2]>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, value, out);
            }
        }
        Value::Null => {}
        Value::String(text) => out.push([plain(path, 200), plain(text, 500)]),
        other => out.push([plain(path, 200), plain(&other.to_string(), 500)]),
    }
}

fn outcomes(results: &[&Outcome]) -> String {
    let rows: Vec<[String; 4]> = results
        .iter()
        .map(|r| {
            let said = if r.error.is_empty() { &r.action } else { &r.error };
            let name = plain(&format!("{}.{}", r.module, r.resource), 200);
            [plain(&r.outcome, 20), name, plain(&r.kind, 60), plain(said, 500)]
        })
        .collect();
    table(["OUTCOME", "RESOURCE", "TYPE", ""], &rows)
}

fn run_table(runs: &[Run], hosts: bool) -> String {
    let rows: Vec<[String; 7]> = runs
        .iter()
        .map(|r| {
            let host = if hosts { plain(&r.hostname, 253) } else { r.result_seq.to_string() };
            [
                plain(&r.run_id, 64),
                host,
                ago(r.received_at),
                r.release.to_string(),
                totals(r),
                span(r.duration_ms),
                notes(r),
            ]
        })
        .collect();
    table(["RUN", if hosts { "HOST" } else { "NR" }, "REPORTED", "RELEASE", "RESOURCES", "TOOK", ""], &rows)
}

pub(super) fn runs(server: &Connection, command: Runs) -> Result<Shown, Failure> {
    match command {
        Runs::List { envoy, outcome, limit } => {
            let fields = [("envoy", envoy), ("outcome", outcome)];
            let query: Vec<(&str, String)> =
                fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            let json = json!({ "runs": server.list("/api/v1/runs", &query, limit)? });
            let runs: Vec<Run> = typed(json["runs"].clone())?;
            let note = runs.is_empty().then(|| "no run was reported".to_owned());
            let human = if runs.is_empty() { String::new() } else { run_table(&runs, true) };
            Ok(Shown { command: "runs list", json, human, note })
        }
        Runs::Show { host, run } => {
            let path = format!("/api/v1/envoys/{}/runs/{}", part(&host), part(&run));
            let json = server.get(&path, &[])?;
            let detail: RunDetail = typed(json.clone())?;
            let results: Vec<&Outcome> = detail.results.iter().collect();
            let human = run_table(std::slice::from_ref(&detail.run), true) + "\n" + &outcomes(&results);
            Ok(Shown { command: "runs show", json, human, note: None })
        }
    }
}

pub(super) fn compliance(server: &Connection) -> Result<Shown, Failure> {
    let json = server.get("/api/v1/compliance", &[])?;
    let Compliance { fleet, environments, roles, modules, .. } = typed(json.clone())?;
    let mut rows = vec![counted("fleet", "", &fleet)];
    for (what, groups) in [("environment", &environments), ("role", &roles), ("module", &modules)] {
        rows.extend(groups.iter().map(|Group { name, count }| {
            let name = if name.is_empty() { "(none)" } else { name };
            counted(what, name, count)
        }));
    }
    let human = table(["", "NAME", "COMPLIANT", "ENVOYS", "NON-COMPLIANT", "UNKNOWN", "SHARE"], &rows);
    Ok(Shown { command: "compliance", json, human, note: None })
}

fn counted(what: &str, name: &str, count: &Count) -> [String; 7] {
    // Rounded down: 100 % is said when it is all, and not before.
    let share = count.ratio.map_or("-".to_owned(), |r| format!("{} %", (r * 1000.0).floor() / 10.0));
    let [compliant, active, non_compliant, unknown] =
        [count.compliant, count.active, count.non_compliant, count.unknown].map(|n| n.to_string());
    [what.to_owned(), plain(name, 100), compliant, active, non_compliant, unknown, share]
}
