//! `services`: what systemd runs, and what of it failed.

use super::program::ask;
use super::{Answer, map};
use crate::root::Root;
use ir::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Told of each kind at most.
const MOST: usize = 500;
const ASK: Duration = Duration::from_secs(5);
const WORDS: &[&str] =
    &["systemctl", "list-units", "--type=service", "--all", "--plain", "--no-legend", "--no-pager"];

/// Nothing where there is no systemd, or below another root: services are the machine's.
pub fn collect(root: &Root) -> Answer {
    if !root.is_host() || !std::path::Path::new("/run/systemd/system").is_dir() {
        return Answer::default();
    }
    match ask(root, WORDS, ASK, 1 << 20, &[0]) {
        Ok(output) => told(&output),
        Err(why) => Answer::failed(why),
    }
}

/// Columns: unit, load, active, sub, description.
fn told(output: &str) -> Answer {
    let (mut running, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for line in output.lines() {
        let mut fields = line.split_whitespace().skip_while(|field| *field == "●" || *field == "*");
        let (Some(unit), Some(_), Some(active), Some(sub)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Some(name) = unit.strip_suffix(".service") else { continue };
        match (active, sub) {
            ("active", "running") => drop(running.insert(name)),
            ("failed", _) => drop(failed.insert(name)),
            _ => {}
        }
    }
    let list =
        |names: BTreeSet<&str>| Some(Value::List(names.into_iter().take(MOST).map(Value::from).collect()));
    Answer::from([("services".into(), map([("running", list(running)), ("failed", list(failed))]))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_systemctl() {
        let text = "cron.service loaded active running Regular background\n\
                    ● bad.service loaded failed failed It broke\n\
                    once.service loaded active exited Done\n\
                    gone.service not-found inactive dead gone.service\nodd\n";
        let told = told(text);
        let at = |name: &str| told.section.get("services").unwrap().at(&[name.into()]).cloned();
        assert_eq!(at("running"), Some(Value::List(vec!["cron".into()])));
        assert_eq!(at("failed"), Some(Value::List(vec!["bad".into()])));
    }
}
