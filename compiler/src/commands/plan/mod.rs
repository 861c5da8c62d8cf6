//! `vigoc plan`: what a change of policy does to a fleet.

mod gates;
mod human;
mod json;
mod lines;
mod markdown;
mod revision;

use super::failure::{Exit, Failure};
use super::{fleet, output};
use crate::diagnostic::{Diagnostic, merged};
use crate::plan::{Fleet, Pair, Plan, Status, Survey};
use crate::policy::{Policy, VariantError};
use clap::ValueEnum;
use gates::Gates;
use revision::Source;
use std::path::PathBuf;

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The old policy: a directory, a git revision, or REVISION:PATH.
    old: String,
    /// The new policy: a directory, a git revision, or REVISION:PATH.
    new: String,
    /// The hosts: a JSON array of {"hostname": ..., "traits": {...}}, or one such object a line; `-` reads stdin.
    #[arg(long, value_name = "FILE")]
    fleet: PathBuf,
    #[command(flatten)]
    gates: Gates,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Shows everything: every envoy group, every variation, whole texts.
    #[arg(short, long)]
    verbose: bool,
    /// Exits with 2 when anything changes for an envoy.
    #[arg(long)]
    detailed_exitcode: bool,
}

const EXAMPLES: &str = "Examples:
  vigoc plan HEAD policy --fleet fleet.jsonl            what do my edits do?
  vigoc plan main HEAD --fleet fleet.jsonl -C policy    what does this branch do?
  vigoc plan v1:policy v2:policy --fleet fleet.jsonl --format markdown > comment.md
  vigoc plan old new --fleet fleet.jsonl --max-envoys 10% --max-deletes 0 --deny changed:exec

KIND is added, removed, changed or reordered (of resources, and as in `removed:file` of one type), envoy-added
or envoy-removed. A delete is a resource that leaves the policy or whose `state` becomes `absent`, on each envoy.

Exit codes: 0 compared, 1 the new policy does not compile for a host, 2 something changes (only with
--detailed-exitcode), 3 a gate was exceeded, 64 wrong usage, 65 bad input.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// One JSON document, with everything.
    Json,
    /// For a comment on a change; at most 65,000 characters.
    Markdown,
}

impl Args {
    pub(super) fn json(&self) -> bool {
        self.format == Format::Json
    }
}

/// A plan and what it was made from.
struct Planned<'a> {
    plan: Plan,
    fleet: &'a Fleet,
    /// How the two policies are called.
    names: [String; 2],
    gates: Vec<gates::Gate>,
    verbose: bool,
    /// What shows everything, from where the plan is read.
    more: &'static str,
}

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    args.gates.check().map_err(Failure::Usage)?;
    let (old, new) = Source::both(&args.old, &args.new, directory)?;
    let fleet = Fleet::new(fleet::read(&args.fleet)?);
    let mut policy = Policy::open(old.path()).map_err(|e| old.unreadable(e))?;
    let before = Survey::of(&policy, &fleet);
    policy.switch_to(new.path()).map_err(|e| new.unreadable(e))?;
    let after = Survey::of(&policy, &fleet);
    // the process ends soon: taking the database apart would be a tenth of the work
    std::mem::forget(policy);
    let plan = Plan::between(before, after);
    let gates = args.gates.of(&plan, &fleet);
    let names = [old.name(), new.name()];
    let planned = Planned { plan, fleet: &fleet, names, gates, verbose: args.verbose, more: "-v" };
    match args.format {
        Format::Human => output::data(&human::text(&planned, output::style().colour))?,
        Format::Json => output::document("plan", json::document(&planned))?,
        Format::Markdown => output::data(&markdown::text(&planned))?,
    }
    Ok(planned.exit(args.detailed_exitcode))
}

/// What the command prints when the files of a policy are compared with those of a revision.
pub(super) fn text(
    root: &std::path::Path,
    revision: &str,
    now: crate::tree::Files,
    members: Vec<crate::plan::Member>,
    markdown: bool,
) -> Result<String, Failure> {
    let (old, _) = Source::both(revision, &root.display().to_string(), None)?;
    let fleet = Fleet::new(members);
    let mut policy = Policy::open(old.path()).map_err(|e| old.unreadable(e))?;
    let before = Survey::of(&policy, &fleet);
    policy.take(now);
    let after = Survey::of(&policy, &fleet);
    let names = [old.name(), "the editor".to_owned()];
    let planned = Planned {
        plan: Plan::between(before, after),
        fleet: &fleet,
        names,
        gates: Vec::new(),
        verbose: false,
        more: "`vigoc plan -v`",
    };
    Ok(if markdown { markdown::text(&planned) } else { human::text(&planned, false) })
}

impl Planned<'_> {
    /// Says on stderr what went wrong, and how the command ends.
    fn exit(&self, detailed: bool) -> Exit {
        let found = self.findings();
        if !found.is_empty() {
            output::findings(&found, &self.plan.new.texts);
        }
        let broken = self.plan.count(Status::Broken) + self.plan.count(Status::StillBroken);
        if broken > 0 {
            let envoys = output::count(broken, "envoy");
            output::error(&format!("the new policy does not compile for {envoys}"));
        }
        let exceeded = self.gates.iter().filter(|g| g.exceeded);
        let mut any = false;
        for gate in exceeded {
            output::error(&gate.said());
            any = true;
        }
        match () {
            // what was not compared cannot have passed a gate: this comes first
            () if broken > 0 => Exit::Findings,
            () if any => Exit::Exceeded,
            () if detailed && self.plan.touched() > 0 => Exit::Differences,
            () => Exit::Done,
        }
    }

    /// Errors of the new policy, each once.
    fn findings(&self) -> Vec<Diagnostic> {
        let found = self.plan.new.refused.iter().filter_map(|r| match &r.error {
            VariantError::Findings { found, .. } => Some(found.clone()),
            VariantError::NoSuchClass | VariantError::NeedsTraits { .. } => None,
        });
        merged(found.flatten().map(|mut d| {
            d.classes.clear();
            d
        }))
    }

    /// Pairs of one status.
    fn pairs(&self, status: Status) -> impl Iterator<Item = &Pair> {
        self.plan.pairs.iter().filter(move |p| p.status == status)
    }

    /// Names of envoys, in order.
    fn hosts<'b>(&'b self, envoys: &'b [u32]) -> impl Iterator<Item = &'b str> {
        envoys.iter().filter_map(|at| self.fleet.members.get(*at as usize)).map(|m| m.hostname.as_str())
    }

    /// Envoys of several pairs, in order.
    fn envoys_of(&self, pairs: &[u32]) -> Vec<u32> {
        let of = pairs.iter().filter_map(|at| self.plan.pairs.get(*at as usize));
        let mut out: Vec<u32> = of.flat_map(|p| p.envoys.iter().copied()).collect();
        out.sort_unstable();
        out
    }

    /// `a, b, c and 409 more`
    fn some_hosts(&self, envoys: &[u32]) -> String {
        const SHOWN: usize = 3;
        let shown = if self.verbose { envoys.len() } else { SHOWN };
        let names: Vec<&str> = self.hosts(envoys).take(shown).collect();
        match envoys.len() - names.len() {
            0 => names.join(", "),
            more => format!("{} and {} more", names.join(", "), output::thousands(more)),
        }
    }

    /// Entries of pairs in the new policy, or in the old where the new has none.
    fn entries<'b>(&'b self, pairs: impl IntoIterator<Item = &'b Pair>) -> Vec<&'b crate::plan::Entry> {
        let mut out: Vec<_> = pairs
            .into_iter()
            .filter_map(|p| self.plan.new.entry(p.new).or_else(|| self.plan.old.entry(p.old)))
            .collect();
        out.sort_by_key(|e| (&e.file, e.line));
        out.dedup();
        out
    }
}

/// `web/nodes.vgo:4  web-*.example.com (production)`
fn entry_text(entry: &crate::plan::Entry) -> String {
    let environment = entry.environment.as_ref().map(|e| format!(" ({e})")).unwrap_or_default();
    let patterns: Vec<&str> = entry.patterns.iter().map(|p| &**p).collect();
    format!("{}:{}  {}{environment}", entry.file, entry.line, patterns.join(", "))
}
