//! Gates: how much a change may touch before somebody has to look.

use crate::commands::output;
use crate::diagnostic::nearest::suggest;
use crate::plan::{Change, Fleet, Plan, Status};
use crate::schema::schema;
use std::str::FromStr;

/// Limits of a plan.
#[derive(Debug, clap::Args)]
pub(super) struct Gates {
    /// Exits with 3 when more envoys get something else: a number, or a percentage of the fleet.
    #[arg(long, value_name = "N|P%")]
    max_envoys: Option<Limit>,
    /// Exits with 3 when more resources are deleted, over all envoys.
    #[arg(long, value_name = "N")]
    max_deletes: Option<usize>,
    /// Exits with 3 when there is a change of this kind, such as `removed` or `changed:exec`; may be repeated.
    #[arg(long, value_name = "KIND")]
    deny: Vec<Denied>,
}

/// A limit on the number of envoys.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    Envoys(usize),
    /// Of all envoys.
    Percent(f64),
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix('%') {
            Some(number) => match number.parse::<f64>() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Limit::Percent(percent)),
                _ => Err("a percentage lies between 0% and 100%".into()),
            },
            None => text
                .parse()
                .map(Limit::Envoys)
                .map_err(|_| "write a number of envoys, such as 50, or a percentage, such as 10%".into()),
        }
    }
}

/// A kind of change that is not wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Denied {
    kind: &'static str,
    /// Of this resource type only.
    of: Option<String>,
}

const CHANGES: [&str; 4] = ["added", "removed", "changed", "reordered"];
const ENVOYS: [&str; 2] = ["envoy-added", "envoy-removed"];

impl FromStr for Denied {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, of) = match text.split_once(':') {
            Some((kind, of)) => (kind, Some(of)),
            None => (text, None),
        };
        let known = CHANGES.iter().chain(&ENVOYS);
        let Some(found) = known.clone().find(|k| **k == kind) else {
            let help = suggest(kind, known.copied()).unwrap_or_default();
            return Err(format!("there is no kind of change `{kind}`; {help}"));
        };
        if let Some(of) = of {
            if ENVOYS.contains(found) || *found == "reordered" {
                return Err(format!("`{kind}` is not about a resource type; leave `:{of}` out"));
            }
            let types = &schema().types;
            if !types.contains_key(of) {
                let help =
                    suggest(of, types.keys().map(|k| &**k)).map(|h| format!("; {h}")).unwrap_or_default();
                return Err(format!("there is no resource type `{of}`{help}"));
            }
        }
        Ok(Denied { kind: found, of: of.map(str::to_owned) })
    }
}

/// A gate and what it found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gate {
    /// The flag, as it was written.
    pub(super) flag: &'static str,
    pub(super) limit: String,
    /// What is limited, in words.
    pub(super) what: &'static str,
    pub(super) actual: usize,
    pub(super) exceeded: bool,
}

impl Gate {
    /// What there is to say about it.
    pub(super) fn said(&self) -> String {
        let verdict = if self.exceeded { "exceeded" } else { "kept" };
        let found = output::count(self.actual, self.what);
        format!("`{} {}` is {verdict}: {found}", self.flag, self.limit)
    }
}

impl Gates {
    /// Nothing that the types above do not see yet.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut seen: Vec<&Denied> = Vec::new();
        for denied in &self.deny {
            if seen.contains(&denied) {
                return Err(format!("`--deny {}` is given twice", denied.text()));
            }
            seen.push(denied);
        }
        Ok(())
    }

    /// Every gate that was given, with what the plan is.
    pub(super) fn of(&self, plan: &Plan, fleet: &Fleet) -> Vec<Gate> {
        let mut out = Vec::new();
        if let Some(limit) = self.max_envoys {
            let actual = plan.touched();
            let (shown, exceeded) = match limit {
                Limit::Envoys(n) => (n.to_string(), actual > n),
                Limit::Percent(p) => {
                    let share = actual as f64 * 100.0 / fleet.members.len().max(1) as f64;
                    (format!("{p}%"), share > p)
                }
            };
            out.push(Gate { flag: "--max-envoys", limit: shown, what: "envoy", actual, exceeded });
        }
        if let Some(limit) = self.max_deletes {
            let actual = plan.deletes();
            let exceeded = actual > limit;
            out.push(Gate {
                flag: "--max-deletes",
                limit: limit.to_string(),
                what: "delete",
                actual,
                exceeded,
            });
        }
        for denied in &self.deny {
            let actual = denied.count(plan);
            let (limit, exceeded) = (denied.text(), actual > 0);
            out.push(Gate { flag: "--deny", limit, what: denied.what(), actual, exceeded });
        }
        out
    }
}

impl Denied {
    fn text(&self) -> String {
        match &self.of {
            Some(of) => format!("{}:{of}", self.kind),
            None => self.kind.to_owned(),
        }
    }

    fn what(&self) -> &'static str {
        if ENVOYS.contains(&self.kind) { "envoy" } else { "change" }
    }

    fn count(&self, plan: &Plan) -> usize {
        match self.kind {
            "envoy-added" => plan.count(Status::Added),
            "envoy-removed" => plan.count(Status::Removed),
            _ => {
                let variations = plan.groups.iter().flat_map(|g| &g.items).flat_map(|i| &i.variations);
                variations.filter(|v| self.is(&v.change)).map(|v| v.envoys).sum()
            }
        }
    }

    fn is(&self, change: &Change) -> bool {
        change.kind() == self.kind && self.of.as_ref().is_none_or(|of| change.types().contains(of.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_or_percentages() {
        assert_eq!("5".parse(), Ok(Limit::Envoys(5)));
        assert_eq!("2.5%".parse(), Ok(Limit::Percent(2.5)));
        for wrong in ["", "%", "-1", "101%", "NaN%", "inf%", "five", "5 %"] {
            assert!(wrong.parse::<Limit>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn kinds_are_known_and_misspelt_ones_are_told() {
        assert_eq!("changed:exec".parse(), Ok(Denied { kind: "changed", of: Some("exec".into()) }));
        assert!("remved".parse::<Denied>().unwrap_err().contains("did you mean `removed`"));
        assert!("removed:fil".parse::<Denied>().unwrap_err().contains("did you mean `file`"));
        assert!("envoy-added:file".parse::<Denied>().is_err());
    }
}
