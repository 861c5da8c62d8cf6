//! Which envoys work is for.

use super::condition::{About, Condition};
use super::mistakes::Mistakes;
use crate::context::Context;
use crate::store::tasks::{NewTarget, Reach};
use compiler::resolve::glob::{HostGlob, normal};
use ir::wire;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Names, globs, roles and the like in one request.
const MAX_ITEMS: usize = 10_000;

/// Which envoys: those that are in every part that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// Every envoy; needed where nothing else is given, so that nobody means it by mistake.
    pub all: bool,
    /// Host names, or globs over them: any of these.
    pub hosts: Vec<String>,
    /// With any of these roles.
    pub roles: Vec<String>,
    /// Of any of these environments.
    pub environments: Vec<String>,
    /// For which this holds: an expression as in `when:`, over traits, roles, modules and the environment.
    pub when: Option<String>,
}

/// What is known of an envoy.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// Lower-case.
    pub hostname: String,
    /// As the policy has it.
    pub environment: Option<String>,
    /// Of the policy.
    pub roles: Vec<String>,
    /// Of the policy.
    pub modules: Vec<String>,
    /// Whether it is seen regularly.
    pub seen: bool,
    /// Its traits as it sent them; only looked at where there is a condition.
    pub traits: Option<Vec<u8>>,
}

/// Who was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// By name.
    pub targets: Vec<NewTarget>,
    /// Names that no envoy has.
    pub unknown: Vec<String>,
    /// Envoys of which too little is known for `when`; they were left out.
    pub undecided: Vec<String>,
}

/// Why nobody was looked for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// Nothing was given.
    #[error("which envoys? Give `hosts`, `roles`, `environments` or `when`, or `all: true` for every envoy")]
    Nothing,
    /// A pattern.
    #[error("`{0}` is no pattern of host names: {1}")]
    Glob(String, String),
    /// Too much was given.
    #[error("at most {MAX_ITEMS} hosts, roles and environments")]
    TooMany,
    /// The condition.
    #[error("the condition has errors: {}", .0.messages.join("; "))]
    Condition(Mistakes),
}

/// What is asked for, checked and ready to be compared.
pub struct Selector {
    globs: Vec<(String, HostGlob)>,
    asked: Targets,
    condition: Option<Condition>,
}

impl Selector {
    /// Checks what is asked for.
    pub fn new(asked: Targets) -> Result<Self, TargetError> {
        let items = asked.hosts.len() + asked.roles.len() + asked.environments.len();
        if items == 0 && asked.when.is_none() && !asked.all {
            return Err(TargetError::Nothing);
        }
        if items > MAX_ITEMS {
            return Err(TargetError::TooMany);
        }
        let globs = asked
            .hosts
            .iter()
            .map(|host| match HostGlob::new(host) {
                Ok(glob) => Ok((host.clone(), glob)),
                Err(why) => Err(TargetError::Glob(host.chars().take(253).collect(), why)),
            })
            .collect::<Result<_, _>>()?;
        let condition = asked.when.as_deref().map(Condition::compile).transpose();
        Ok(Selector { globs, condition: condition.map_err(TargetError::Condition)?, asked })
    }

    /// Who it is, among these. Blocks: a fleet may be large.
    pub fn choose(&self, context: &Context, candidates: &[Candidate]) -> Chosen {
        let mut chosen = Chosen::default();
        let any = |wanted: &[String], has: &[String]| {
            wanted.is_empty() || has.iter().any(|name| wanted.contains(name))
        };
        for candidate in candidates {
            let host =
                self.globs.is_empty() || self.globs.iter().any(|(_, g)| g.matches(&candidate.hostname));
            if !host
                || !any(&self.asked.roles, &candidate.roles)
                || !any(&self.asked.environments, candidate.environment.as_slice())
            {
                continue;
            }
            match self.decide(candidate) {
                Some(true) => {}
                Some(false) => continue,
                None => {
                    chosen.undecided.push(candidate.hostname.clone());
                    continue;
                }
            }
            let reach = if context.dispatch.is_open(&candidate.id) {
                Reach::Online
            } else if candidate.seen {
                Reach::Promotable
            } else {
                Reach::Offline
            };
            chosen.targets.push(NewTarget {
                envoy_id: candidate.id.clone(),
                hostname: candidate.hostname.clone(),
                reach,
            });
        }
        chosen.targets.sort_by(|a, b| a.hostname.cmp(&b.hostname));
        let known: BTreeSet<&str> = candidates.iter().map(|c| c.hostname.as_str()).collect();
        let plain = self.globs.iter().filter(|(_, glob)| glob.is_plain()).map(|(host, _)| normal(host));
        chosen.unknown = plain.filter(|host| !known.contains(host.as_str())).collect();
        chosen
    }

    /// Whether [`Candidate::traits`] will be looked at.
    pub fn wants_traits(&self) -> bool {
        self.condition.is_some()
    }

    fn decide(&self, candidate: &Candidate) -> Option<bool> {
        let Some(condition) = &self.condition else { return Some(true) };
        let traits = candidate.traits.as_deref().and_then(|bytes| wire::decode_value(bytes).ok());
        condition.holds(&About {
            hostname: &candidate.hostname,
            environment: candidate.environment.as_deref(),
            roles: &candidate.roles,
            modules: &candidate.modules,
            traits: traits.as_ref(),
        })
    }
}
