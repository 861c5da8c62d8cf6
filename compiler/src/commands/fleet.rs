//! A fleet file: hosts and their traits, as a JSON array or as JSON Lines.

use super::failure::Failure;
use super::input;
use crate::plan::Member;
use crate::resolve::glob::normal;
use ir::Value;
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Keys of a host.
pub(super) const KEYS: [&str; 2] = ["hostname", "traits"];

/// Reads a fleet, sorted by host name.
pub(super) fn read(path: &Path) -> Result<Vec<Member>, Failure> {
    let text = input::text(path)?;
    let failed = |why: String| Failure::Input(format!("`{}`: {why}", path.display()));
    if text.trim().is_empty() {
        return Err(failed("it is empty; it should hold hosts".into()));
    }
    let mut rows: Vec<(String, Json)> = Vec::new();
    if text.trim_start().starts_with('[') {
        let all: Vec<Json> =
            serde_json::from_str(&text).map_err(|e| failed(format!("it is not valid JSON: {e}")))?;
        rows.extend(all.into_iter().enumerate().map(|(n, json)| (format!("host {}", n + 1), json)));
    } else {
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let json = serde_json::from_str(line)
                .map_err(|e| failed(format!("line {} is not valid JSON: {e}", n + 1)))?;
            rows.push((format!("line {}", n + 1), json));
        }
    }
    input::integers_fit(path, &text)?;
    let mut out = Vec::with_capacity(rows.len());
    let mut seen = HashSet::new();
    let mut known = HashMap::new();
    for (place, row) in rows {
        let member = member(row, &mut known).map_err(|why| failed(format!("{place}: {why}")))?;
        if !seen.insert(member.hostname.clone()) {
            return Err(failed(format!("{place}: `{}` is there already", member.hostname)));
        }
        out.push(member);
    }
    out.sort_by(|a, b| a.hostname.cmp(&b.hostname));
    Ok(out)
}

/// Traits that were read already: most hosts have what others have.
type Known = HashMap<Json, Arc<Value>>;

fn member(row: Json, known: &mut Known) -> Result<Member, String> {
    let Json::Object(mut fields) = row else {
        return Err("a host is {\"hostname\": \"...\", \"traits\": {...}}".into());
    };
    if let Some(key) = fields.keys().find(|k| !KEYS.contains(&k.as_str())) {
        return Err(format!("a host has `hostname` and `traits`, not `{key}`"));
    }
    let hostname = match fields.get("hostname") {
        Some(Json::String(name)) => normal(name),
        Some(_) => return Err("`hostname` is not text".into()),
        None => return Err("there is no `hostname`".into()),
    };
    // it becomes the name of a file
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if hostname.is_empty() || hostname.len() > 253 || hostname.starts_with('.') || !hostname.chars().all(fits)
    {
        return Err(format!("`{hostname}` is not a host name"));
    }
    let traits = match fields.remove("traits") {
        None | Some(Json::Null) => Json::Object(serde_json::Map::new()),
        Some(json @ Json::Object(_)) => json,
        Some(_) => return Err("`traits` is not an object".into()),
    };
    if let Some(traits) = known.get(&traits) {
        return Ok(Member { hostname, traits: traits.clone() });
    }
    let value = Arc::new(input::value(&traits)?);
    input::check_traits(&value)?;
    known.insert(traits, value.clone());
    Ok(Member { hostname, traits: value })
}
