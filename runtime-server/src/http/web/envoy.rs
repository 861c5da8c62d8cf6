//! One envoy, and one of its runs.

use super::html;
use super::show::{self, Badge, Line, part};
use crate::http::api::envoys::{Detail, Envoy, detail};
use crate::http::api::runs::{self, Run};
use crate::http::call::Call;
use crate::http::problem::Problem;
use crate::status::{Compliance, Drift, Health, Reachability};
use crate::text::{leaves, moment, plain, span, unquoted};
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

/// Runs on the page.
const RUNS: u32 = 20;

#[derive(Template)]
#[template(path = "envoy.html")]
struct EnvoyPage {
    section: &'static str,
    hostname: String,
    compliance: Badge,
    health: Badge,
    drift: Badge,
    reachability: Badge,
    why: String,
    facts: Vec<(&'static str, String)>,
    graph_link: String,
    running: Option<RunUnderWay>,
    last_run: Option<String>,
    notable: Vec<Line>,
    quiet: Vec<Line>,
    modules: Vec<ModuleLine>,
    runs: Vec<RunLine>,
    lost: String,
    traits: Vec<(String, String)>,
}

struct RunUnderWay {
    since: String,
    done: u32,
    results: Vec<Line>,
}

struct ModuleLine {
    name: String,
    class: &'static str,
    ok: u64,
    changed: u64,
    failed: u64,
    skipped: u64,
}

struct RunLine {
    link: String,
    at: String,
    ago: String,
    class: &'static str,
    totals: String,
    notes: String,
    release: u64,
    took: String,
}

pub(in crate::http) async fn page(call: Call) -> Result<Response, Problem> {
    let Detail { envoy, traits, modules, results, running, runs, lost_results } = detail(&call, RUNS).await?;
    let now = call.site.context.clock.now();
    let (mut notable, quiet): (Vec<_>, Vec<_>) =
        results.iter().partition(|r| r.outcome == "changed" || r.outcome == "failed");
    notable.sort_by_key(|r| r.outcome != "failed");
    let traits = leaves(&traits).into_iter();
    let flat: Vec<_> =
        traits.map(|(path, value)| (plain(&path, 200), show::text(&unquoted(value)))).collect();
    let modules = modules.into_iter().map(|m| ModuleLine {
        class: match &m {
            m if m.failed > 0 => "bad",
            m if m.changed > 0 => "info",
            m if m.ok + m.skipped > 0 => "good",
            _ => "idle",
        },
        name: plain(&m.name, 200),
        ok: m.ok,
        changed: m.changed,
        failed: m.failed,
        skipped: m.skipped,
    });
    let runs = runs.iter().map(|run| RunLine {
        link: format!("/envoys/{}/runs/{}", part(&envoy.hostname), part(&run.run_id)),
        at: moment(run.received_at),
        ago: show::ago(run.received_at, now),
        class: show::run_class(run),
        totals: show::totals(run),
        notes: show::notes(run),
        release: run.release,
        took: span(run.duration_ms),
    });
    let lost = lost_results.iter().map(|(from, to)| format!("{from} to {to}")).collect::<Vec<_>>();
    let page = EnvoyPage {
        section: "fleet",
        hostname: plain(&envoy.hostname, 253),
        compliance: show::compliance(envoy.compliance),
        health: show::health(envoy.health),
        drift: show::drift_of(&envoy),
        reachability: show::reachability(envoy.reachability),
        why: why(&envoy),
        facts: facts(&envoy, now),
        graph_link: format!("/envoys/{}/graph", part(&envoy.hostname)),
        running: running.map(|run| RunUnderWay {
            since: show::ago(run.started_at, now),
            done: run.done,
            results: run.results.iter().map(Line::from).collect(),
        }),
        last_run: envoy.last_run.as_ref().map(|run| show::ago(run.received_at, now)),
        notable: notable.into_iter().map(Line::from).collect(),
        quiet: quiet.into_iter().map(Line::from).collect(),
        modules: modules.collect(),
        runs: runs.collect(),
        lost: lost.join(", "),
        traits: flat,
    };
    html(StatusCode::OK, &page)
}

/// Why it counts as what it counts as, in one sentence.
fn why(e: &Envoy) -> String {
    let interval = span(e.interval_ms);
    let why = match (e.compliance, e.health, e.drift, e.reachability) {
        (Compliance::Compliant, ..) => {
            "Compliant: its latest run found everything as it should be, and that was seen lately."
        }
        (Compliance::Unknown, _, _, Reachability::Offline) if e.last_seen.is_none() => {
            "Unknown: it is enrolled and has not checked in yet."
        }
        (Compliance::Unknown, _, _, Reachability::Offline) => {
            return format!(
                "Unknown: it has been silent for more than two and a half of its intervals of {interval}, so nobody \
                 knows how it is. `vigo status` and `vigo doctor` on the host say more."
            );
        }
        (Compliance::Unknown, Health::NoData, ..) => "Unknown: it has not reported a run of everything yet.",
        (Compliance::Unknown, ..) => {
            "Unknown: it checks in, but has reported no run lately. `vigo status` on the host says why."
        }
        (_, Health::Failed, ..) => "Not compliant: its runs fail. The reasons are below.",
        (_, Health::Degraded, ..) => {
            "Not compliant: some resources failed in its latest run. The reasons are below."
        }
        (_, _, Drift::Changed, _) => {
            "Not compliant: its latest run had to change something; the next one shows whether that lasts."
        }
        (_, _, Drift::Relapsed, _) => "Not compliant: two runs in a row had to change something.",
        _ => {
            "Not compliant: run after run has to change something. Somebody or something undoes it, or a resource \
             is never satisfied."
        }
    };
    why.to_owned()
}

fn facts(e: &Envoy, now: u64) -> Vec<(&'static str, String)> {
    let seen = e.last_seen.map_or("never".to_owned(), |at| show::ago(at, now));
    let none = || "none".to_owned();
    vec![
        ("Environment", e.environment.as_deref().map_or_else(none, |name| plain(name, 60))),
        ("Roles", if e.roles.is_empty() { none() } else { plain(&e.roles.join(", "), 300) }),
        ("Last check-in", seen),
        ("Interval", span(e.interval_ms)),
        ("Release of its last run", e.last_run.as_ref().map_or_else(none, |run| run.release.to_string())),
        ("Enrolled", moment(e.enrolled_at)),
        ("Agent", plain(&e.agent_version, 64)),
        ("Id", plain(&e.id, 64)),
    ]
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    section: &'static str,
    hostname: String,
    envoy_link: String,
    number: u64,
    facts: Vec<(&'static str, String)>,
    results: Vec<Line>,
}

pub(in crate::http) async fn run_page(call: Call) -> Result<Response, Problem> {
    let runs::Detail { run, results } = runs::detail(&call).await?;
    let page = RunPage {
        section: "fleet",
        hostname: plain(&run.hostname, 253),
        envoy_link: format!("/envoys/{}", part(&run.hostname)),
        number: run.result_seq,
        facts: run_facts(&run),
        results: results.iter().map(Line::from).collect(),
    };
    html(StatusCode::OK, &page)
}

fn run_facts(run: &Run) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Outcome", show::totals(run)),
        ("Reported", moment(run.received_at)),
        ("Started, by its clock", moment(run.started_at)),
        ("Took", span(run.duration_ms)),
        ("Release", run.release.to_string()),
    ];
    let notes = show::notes(run);
    if !notes.is_empty() {
        facts.push(("Note", notes));
    }
    facts
}
