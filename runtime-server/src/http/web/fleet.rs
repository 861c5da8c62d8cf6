//! The fleet at a glance.

use super::chart::Chart;
use super::html;
use super::show::{self, Badge, part};
use crate::http::api::compliance::since_then;
use crate::http::api::envoys::{Envoy, Filter, matching};
use crate::http::call::Call;
use crate::http::problem::Problem;
use crate::http::survey::{Survey, Surveyed};
use crate::status::{Compliance, Drift, Health, Reachability};
use crate::text::{moment, plain};
use askama::Template;
use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use std::collections::BTreeSet;

/// Envoys on one page.
const ROWS: usize = 100;
/// The choices of time, and their milliseconds.
const RANGES: [(&str, u64); 4] =
    [("1h", 3_600_000), ("24h", 86_400_000), ("7d", 604_800_000), ("90d", 7_776_000_000)];

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    section: &'static str,
    active: u64,
    compliant: u64,
    unknown: u64,
    percent: String,
    axes: Vec<Axis>,
    chart: Option<Chart>,
    ranges: Vec<Range>,
    filter: Shown,
    envoys: Vec<Row>,
    next: Option<String>,
}

struct Axis {
    name: &'static str,
    key: &'static str,
    parts: Vec<Part>,
}

struct Part {
    name: String,
    /// As a query says it.
    value: String,
    class: &'static str,
    count: usize,
    /// In percent of the fleet.
    x: f64,
    width: f64,
    chosen: bool,
}

struct Range {
    key: &'static str,
    chosen: bool,
}

struct Shown {
    active: bool,
    hostname: String,
    selects: Vec<Select>,
}

struct Select {
    key: &'static str,
    name: &'static str,
    options: Vec<Choice>,
}

struct Choice {
    value: String,
    name: String,
    chosen: bool,
}

/// An envoy in a list.
pub(super) struct Row {
    pub(super) link: String,
    pub(super) hostname: String,
    pub(super) environment: String,
    pub(super) compliance: Badge,
    pub(super) health: Badge,
    pub(super) drift: Badge,
    pub(super) reachability: Badge,
    pub(super) totals: String,
    pub(super) seen: String,
    pub(super) seen_at: String,
}

impl Row {
    pub(super) fn of(e: &Envoy, now: u64) -> Self {
        Row {
            link: format!("/envoys/{}", part(&e.hostname)),
            hostname: plain(&e.hostname, 253),
            environment: plain(e.environment.as_deref().unwrap_or_default(), 60),
            compliance: show::compliance(e.compliance),
            health: show::health(e.health),
            drift: show::drift_of(e),
            reachability: show::reachability(e.reachability),
            totals: e.last_run.as_ref().map(show::totals).unwrap_or_default(),
            seen: e.last_seen.map_or("never".to_owned(), |at| show::ago(at, now)),
            seen_at: e.last_seen.map(moment).unwrap_or_default(),
        }
    }
}

/// The query of the page: a filter whose empty fields a form has sent along, and the range of the drawing.
struct Asked {
    filter: Filter,
    range: (&'static str, u64),
    /// Without range and cursor, as it goes into links.
    query: String,
}

fn asked(uri: &Uri) -> Result<Asked, Problem> {
    let query = uri.query().unwrap_or_default();
    let mut range = RANGES[1];
    let mut fields = form_urlencoded::Serializer::new(String::new());
    let mut kept = form_urlencoded::Serializer::new(String::new());
    for (key, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
        if key == "range" {
            range = RANGES.into_iter().find(|(name, _)| *name == value).unwrap_or(range);
            continue;
        }
        fields.append_pair(&key, &value);
        if key != "cursor" {
            kept.append_pair(&key, &value);
        }
    }
    let fields = format!("/?{}", fields.finish());
    let wrong = |_| Problem::invalid("the address has a filter that is not known; go back to the fleet");
    let uri: Uri = fields.parse().map_err(|_| Problem::invalid("the address is not understood"))?;
    let filter = Query::<Filter>::try_from_uri(&uri).map_err(wrong)?.0;
    Ok(Asked { filter, range, query: kept.finish() })
}

pub(in crate::http) async fn page(call: Call) -> Result<Response, Problem> {
    let Asked { filter, range, query } = asked(&call.uri)?;
    let survey = call.site.survey().await?;
    let samples = since_then(&call, survey.at.saturating_sub(range.1)).await?;
    let found = matching(&survey, &filter, ROWS);
    let count = survey.count();
    let page = FleetPage {
        section: "fleet",
        active: count.active,
        compliant: count.compliant,
        unknown: count.unknown,
        percent: count.ratio.map(percent).unwrap_or_default(),
        axes: axes(&survey, &filter),
        chart: Chart::of(&samples),
        ranges: RANGES.iter().map(|(key, _)| Range { key, chosen: *key == range.0 }).collect(),
        filter: shown(&survey, &filter),
        envoys: found.items.iter().map(|e| Row::of(e, survey.at)).collect(),
        next: found.next.map(|cursor| format!("/?{query}&cursor={}", part(&cursor))),
    };
    html(StatusCode::OK, &page)
}

/// Rounded down: 100 % is said of a fleet in which everything is right, and of no other.
fn percent(ratio: f64) -> String {
    let tenths = (ratio * 1000.0).floor() as u64;
    match tenths % 10 {
        0 => format!("{} %", tenths / 10),
        tenth => format!("{}.{tenth} %", tenths / 10),
    }
}

/// As a query and JSON write it.
fn key_of(name: &impl ToString) -> String {
    name.to_string().replace(' ', "-")
}

fn axes(survey: &Survey, filter: &Filter) -> Vec<Axis> {
    let all = survey.envoys.len().max(1) as f64;
    let axis = |name, key, parts: Vec<(Badge, usize, bool)>| {
        let mut x = 0.0;
        let parts = parts.into_iter().map(|(badge, count, chosen)| {
            let width = count as f64 / all * 100.0;
            let left = x;
            x += width;
            Part {
                value: key_of(&badge.name),
                name: badge.name,
                class: badge.class,
                count,
                x: left,
                width,
                chosen,
            }
        });
        Axis { name, key, parts: parts.collect() }
    };
    let count = |is: &dyn Fn(&Surveyed) -> bool| survey.envoys.iter().filter(|e| is(e)).count();
    vec![
        axis(
            "Health",
            "health",
            Health::ALL
                .iter()
                .map(|h| (show::health(*h), count(&|e| e.status.health == *h), filter.health == Some(*h)))
                .collect(),
        ),
        axis(
            "Drift",
            "drift",
            Drift::ALL
                .iter()
                .map(|d| (show::drift(*d), count(&|e| e.status.drift == *d), filter.drift == Some(*d)))
                .collect(),
        ),
        axis(
            "Reachability",
            "reachability",
            Reachability::ALL
                .iter()
                .map(|r| {
                    let chosen = filter.reachability == Some(*r);
                    (show::reachability(*r), count(&|e| e.status.reachability == *r), chosen)
                })
                .collect(),
        ),
    ]
}

fn shown(survey: &Survey, filter: &Filter) -> Shown {
    fn states<T: Copy + PartialEq + ToString>(all: &[T], chosen: Option<T>) -> Vec<Choice> {
        let choice = |state: &T| Choice {
            value: key_of(state),
            name: state.to_string(),
            chosen: chosen == Some(*state),
        };
        all.iter().map(choice).collect()
    }
    let names = |of: &dyn Fn(&Surveyed) -> Vec<String>, chosen: &Option<String>| {
        let mut names: BTreeSet<String> = survey.envoys.iter().flat_map(of).collect();
        names.extend(chosen.clone());
        names
            .into_iter()
            .map(|name| Choice {
                name: plain(&name, 60),
                chosen: chosen.as_ref() == Some(&name),
                value: name,
            })
            .collect()
    };
    let environment = |e: &Surveyed| e.place.iter().filter_map(|p| p.environment.clone()).collect();
    let role = |e: &Surveyed| e.place.iter().flat_map(|p| p.roles.clone()).collect();
    Shown {
        active: filter.hostname.is_some()
            || filter.environment.is_some()
            || filter.role.is_some()
            || filter.health.is_some()
            || filter.drift.is_some()
            || filter.reachability.is_some()
            || filter.compliance.is_some(),
        hostname: plain(filter.hostname.as_deref().unwrap_or_default(), 253),
        selects: vec![
            Select {
                key: "environment",
                name: "environment",
                options: names(&environment, &filter.environment),
            },
            Select { key: "role", name: "role", options: names(&role, &filter.role) },
            Select {
                key: "compliance",
                name: "compliance",
                options: states(Compliance::ALL, filter.compliance),
            },
            Select { key: "health", name: "health", options: states(Health::ALL, filter.health) },
            Select { key: "drift", name: "drift", options: states(Drift::ALL, filter.drift) },
            Select {
                key: "reachability",
                name: "reachability",
                options: states(Reachability::ALL, filter.reachability),
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_said_only_of_all() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.9999), "99.9 %");
        assert_eq!(percent(0.5), "50 %");
        assert_eq!(percent(0.0), "0 %");
    }

    #[test]
    fn a_form_sends_what_nobody_filled_in() {
        let uri: Uri = "/?hostname=web-*&health=&drift=none&range=7d&cursor=a".parse().unwrap();
        let asked = asked(&uri).unwrap();
        assert_eq!((asked.filter.drift, asked.filter.health), (Some(Drift::None), None));
        assert_eq!((asked.range.0, asked.query.as_str()), ("7d", "hostname=web-*&drift=none"));
        assert!(super::asked(&"/?health=great".parse().unwrap()).is_err());
        assert!(super::asked(&"/?nothing=known".parse().unwrap()).is_err());
    }
}
