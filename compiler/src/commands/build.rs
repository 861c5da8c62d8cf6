//! `vigoc build`: the compiled policy of a fleet, the same bytes on every machine.

use super::bundle::{Bundle, Index, IndexRow, Row};
use super::failure::{Exit, Failure};
use super::host::{Host, class_key};
use super::{fleet, input, output};
use crate::facts::shared_traits;
use crate::plan::Member;
use crate::plan::survey::Variants;
use crate::policy::{Policy, Variant};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments of `build`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The root of the policy.
    dir: Option<PathBuf>,
    /// The hosts: a JSON array of {"hostname": ..., "traits": {...}}, or one such object a line; `-` reads stdin.
    #[arg(long, value_name = "FILE")]
    fleet: PathBuf,
    /// Where to write it; an earlier build there is replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

const EXAMPLES: &str = "Examples:
  vigoc build policy --fleet fleet.jsonl --out build

Writes index.json, envoys/<host>.json and blobs/<sha256>.

Exit codes: 0 built, 1 the policy has errors for a host or no entry for it, 64 wrong usage, 65 bad input.";

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let root = input::root(args.dir.as_deref(), directory)?;
    let members = fleet::read(&args.fleet)?;
    replaceable(&args.out)?;
    let policy = Policy::open(&root)?;
    let built = Built::of(&policy, &members)?;
    built.write(&args.out)?;
    output::note(&format!(
        "built {}: {}, {}, {}",
        args.out.display(),
        output::count(built.envoys.len(), "envoy"),
        output::count(built.variants, "variant"),
        output::count(built.blobs.len(), "blob"),
    ));
    Ok(Exit::Done)
}

/// A build in memory.
#[derive(Debug, Default)]
struct Built {
    /// Document by host.
    envoys: BTreeMap<String, String>,
    /// Bytes by hash.
    blobs: BTreeMap<String, Arc<[u8]>>,
    variants: usize,
}

impl Built {
    fn of(policy: &Policy, members: &[Member]) -> Result<Built, Failure> {
        let mut out = Built::default();
        // classes share no variants, so each core takes whole classes
        let mut by_class: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, member) in members.iter().enumerate() {
            by_class.entry(policy.class_of(&member.hostname)).or_default().push(at);
        }
        let classes: Vec<Vec<usize>> = by_class.into_values().collect();
        let made = policy.each(&classes, |policy, hosts| {
            let mut variants = Variants::default();
            let hosts = hosts.iter().filter_map(|at| Some((*at, members.get(*at)?)));
            let made: Vec<_> = hosts.map(|(at, m)| (at, m, variant(policy, &mut variants, m))).collect();
            (made, variants.count)
        });
        let mut hosts = Vec::with_capacity(members.len());
        for (made, count) in made {
            hosts.extend(made);
            out.variants += count;
        }
        hosts.sort_by_key(|(at, ..)| *at);
        let (mut problems, mut failures) = (Vec::new(), Vec::new());
        for (_, member, made) in hosts {
            match made {
                Ok(variant) => out.add(&member.hostname, &variant),
                Err(failure) => {
                    problems.push(format!("  {}: {failure}", member.hostname));
                    failures.push(failure);
                }
            }
        }
        match failures.first() {
            None => Ok(out),
            Some(_) => Err(refusal(policy, problems, failures)),
        }
    }

    fn add(&mut self, hostname: &str, variant: &Variant) {
        let modules = variant.modules.iter().map(|m| {
            let hash = m.hash.to_string();
            self.blobs.entry(hash.clone()).or_insert_with(|| m.bytes.clone());
            Row { name: m.name.to_string(), hash, size: m.bytes.len() as u64 }
        });
        let order = variant.run_order.iter().filter_map(|at| variant.modules.get(*at as usize));
        let bundle = Bundle {
            format_version: output::FORMAT_VERSION.to_owned(),
            envoy: hostname.to_owned(),
            environment: variant.environment.clone(),
            roles: variant.roles.clone(),
            run_order: order.map(|m| m.name.to_string()).collect(),
            modules: modules.collect(),
            vars_hash: variant.vars_hash.to_string(),
            merkle_root: variant.merkle_root.to_string(),
            secrets: variant.secrets.clone(),
        };
        self.envoys.insert(hostname.to_owned(), output::pretty(&json!(bundle)));
    }

    fn index(&self) -> String {
        let row = |host: &String| IndexRow { envoy: host.clone(), bundle: format!("envoys/{host}.json") };
        let format_version = output::FORMAT_VERSION.to_owned();
        output::pretty(&json!(Index { format_version, envoys: self.envoys.keys().map(row).collect() }))
    }

    /// Writes everything beside `out` and moves it there at last: a failure leaves what was there.
    fn write(&self, out: &Path) -> Result<(), Failure> {
        let failed = |source| Failure::Write { what: format!("`{}`", out.display()), source };
        let parent = match out.parent() {
            Some(p) if p != Path::new("") => p,
            _ => Path::new("."),
        };
        let name = out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        fs::create_dir_all(parent).map_err(failed)?;
        let beside = |what: &str| parent.join(format!(".{name}.{what}-{}", std::process::id()));
        let (fresh, old) = (beside("new"), beside("old"));
        self.write_to(&fresh).and_then(|()| swap(&fresh, out, &old)).map_err(|e| {
            // what is half done is of no use to anyone
            let _ = fs::remove_dir_all(&fresh);
            failed(e)
        })
    }

    fn write_to(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir)?;
        fs::create_dir(dir.join("envoys"))?;
        fs::create_dir(dir.join("blobs"))?;
        for (hash, bytes) in &self.blobs {
            fs::write(dir.join("blobs").join(hash), bytes)?;
        }
        for (host, text) in &self.envoys {
            fs::write(dir.join("envoys").join(format!("{host}.json")), text)?;
        }
        fs::write(dir.join("index.json"), self.index())
    }
}

/// Puts `fresh` in the place of `out`.
fn swap(fresh: &Path, out: &Path, old: &Path) -> io::Result<()> {
    if !out.exists() {
        return fs::rename(fresh, out);
    }
    fs::rename(out, old)?;
    if let Err(e) = fs::rename(fresh, out) {
        fs::rename(old, out)?;
        return Err(e);
    }
    fs::remove_dir_all(old)
}

/// Only nothing, an empty directory or an earlier build is replaced.
fn replaceable(out: &Path) -> Result<(), Failure> {
    if out.file_name().is_none() {
        return Err(Failure::Usage(format!("`--out {}` has to name a new directory", out.display())));
    }
    if !out.exists() {
        return Ok(());
    }
    let refused = |why: &str| Failure::Input(format!("`{}` {why}; it was left as it is", out.display()));
    let entries = fs::read_dir(out).map_err(|_| refused("is not a directory that can be read"))?;
    let names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    let ours = |name: &String| matches!(name.as_str(), "index.json" | "envoys" | "blobs");
    let built =
        names.iter().all(ours) && out.join("index.json").is_file() && is_index(&out.join("index.json"));
    if names.is_empty() || built { Ok(()) } else { Err(refused("is not empty and not an earlier build")) }
}

fn is_index(path: &Path) -> bool {
    input::json(path).is_ok_and(|j| j.get("format_version").is_some() && j.get("envoys").is_some())
}

fn variant(policy: &Policy, variants: &mut Variants, member: &Member) -> Result<Arc<Variant>, Failure> {
    let key = class_key(policy, &member.hostname, None)?;
    let shared = shared_traits(&member.traits);
    variants.of(policy, &key, &member.traits, &shared).or_else(|error| {
        // says more about what is wrong, and about which traits are missing
        let host = Host::find(policy, &member.hostname, None, &member.traits)?;
        host.need_no_errors()?;
        host.need_traits()?;
        Err(Failure::no_answer(error.to_string(), None))
    })
}

/// So many hosts that cannot be built are named.
const MOST_NAMED: usize = 20;

/// The hosts that cannot be built, and each finding once.
fn refusal(policy: &Policy, problems: Vec<String>, failures: Vec<Failure>) -> Failure {
    let mut found = Vec::new();
    for failure in failures {
        if let Failure::Findings { found: some, .. } = failure {
            found.extend(some);
        }
    }
    let more = match problems.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        n => format!("\n  … and {}", output::count(n, "more host")),
    };
    let named = problems.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join("\n");
    let count = output::count(problems.len(), "host");
    let message = format!("{count} cannot be built; nothing was written\n{named}{more}");
    Failure::Findings { message, found: crate::diagnostic::merged(found), texts: policy.texts() }
}
