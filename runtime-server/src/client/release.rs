//! Publishing, and what was published.

use super::connection::{Connection, part, typed};
use super::{FINDING, Failure, INPUT, Shown, USAGE};
use crate::difference::FileChange;
use crate::http::api::releases::{Detail, Difference, Done, File, Frozen, Release, State};
use crate::publish::Plan;
use crate::reach::{Reach, Share};
use crate::text::{left, moment, plain, span, table};
use crate::tree::Tree;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use compiler::tree;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// A large policy takes its time to be compiled.
const PATIENCE: Duration = Duration::from_secs(330);
/// Rows of a table before the rest is only counted.
const ROWS: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigocli publish --dry-run policy
  vigocli publish --plan-digest 0c3f9a... --message 'TLS 1.3 only' policy
  vigocli publish                         the policy around the current directory

The server checks the policy and computes what every known envoy gets; a policy with errors, or that names a secret which \
is not there, is refused, and what was served stays. A dry run ends with the digest of the plan; with it, nothing else than \
what was looked at is published.

Exit codes: 0 published (or it was already), 1 refused, 3 the plan is another one by now.")]
pub(super) struct Publish {
    /// The root of the policy
    dir: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(super) struct How {
    /// Says what would happen, and does nothing
    #[arg(long)]
    dry_run: bool,
    /// The plan that a dry run showed; another one is not carried out
    #[arg(long, value_name = "DIGEST", conflicts_with = "dry_run")]
    plan_digest: Option<String>,
    /// Why; stands in the list of releases
    #[arg(long, short, default_value = "", value_name = "TEXT")]
    message: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum Releases {
    /// List releases, the latest first
    List {
        /// How many
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: usize,
    },
    /// One release: its files, what changed, and what that did to the fleet
    Show {
        /// Its number
        serial: u64,
    },
    /// What differs between two releases, line by line
    #[command(after_help = "Examples:
  vigocli releases diff 4 7
  vigocli releases diff 7       with the one before")]
    Diff {
        /// The older one, when two are given
        a: u64,
        /// The newer one
        b: Option<u64>,
    },
    /// Publish the policy of an older release again, under a new number
    #[command(after_help = "Examples:
  vigocli releases rollback 6 --dry-run
  vigocli releases rollback 6 --message 'nginx does not start'

Exit codes: 0 published (or it was already), 1 refused, 3 the plan is another one by now.")]
    Rollback {
        /// The release to go back to
        serial: u64,
        #[command(flatten)]
        how: How,
        /// Also while publishing is frozen, and when secrets are missing; for admins
        #[arg(long)]
        force: bool,
    },
    /// Let nothing be published until some time
    #[command(group = clap::ArgGroup::new("end").required(true).args(["duration", "until"]), after_help = "Examples:
  vigocli releases freeze --for 3d --reason 'end of the quarter'
  vigocli releases freeze --until 2027-01-02T08:00:00Z")]
    Freeze {
        /// Such as 12h or 3d
        #[arg(long = "for", value_name = "DURATION")]
        duration: Option<String>,
        /// A moment with its time zone, such as 2027-01-02T08:00:00Z
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Why; whoever wants to publish is told
        #[arg(long, default_value = "", value_name = "TEXT")]
        reason: String,
    },
    /// Let policies be published again
    Unfreeze,
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

pub(super) fn publish(server: &Connection, asked: Publish) -> Result<Shown, Failure> {
    let files = files(asked.dir)?;
    let How { dry_run, plan_digest, message } = asked.how;
    let body = json!({ "files": files, "message": message, "dry_run": dry_run, "plan_digest": plan_digest });
    done("publish", server.post_patiently("/api/v1/releases", &body, PATIENCE)?)
}

/// What `vigoc` would read, in the form of a request.
fn files(dir: Option<PathBuf>) -> Result<Vec<File>, Failure> {
    let root = match dir {
        Some(dir) => dir,
        None => {
            let here = std::env::current_dir().map_err(|e| Failure::new(INPUT, e))?;
            let none = "which policy? There is none here or above; give its directory, `vigocli publish DIR`";
            tree::find_root(&here).ok_or_else(|| Failure::new(INPUT, none))?
        }
    };
    let unreadable = |e: String| Failure::new(INPUT, e);
    let snapshot = tree::read(&root, None).map_err(|e| unreadable(e.to_string()))?;
    let tree = Tree::new(snapshot.files).map_err(|e| unreadable(e.to_string()))?;
    let bytes = tree.bytes().map_err(|e| unreadable(e.to_string()))?;
    let file = |(path, bytes): (String, std::sync::Arc<[u8]>)| match std::str::from_utf8(&bytes) {
        Ok(text) => File { path, text: Some(text.to_owned()), base64: None },
        Err(_) => File { path, text: None, base64: Some(STANDARD.encode(&bytes)) },
    };
    Ok(bytes.into_iter().map(file).collect())
}

fn done(command: &'static str, json: Value) -> Result<Shown, Failure> {
    let done: Done = typed(json.clone())?;
    let serial = done.serial.unwrap_or_default();
    let human = done.plan.as_ref().map(plan).unwrap_or_default();
    let note = match (done.outcome.as_str(), &done.plan) {
        ("unchanged", _) => format!("release {serial} has this policy already"),
        ("planned", Some(plan)) => format!(
            "nothing was published; `--plan-digest {}` in place of `--dry-run` publishes exactly this",
            plain(&plan.plan_digest, 64)
        ),
        (_, Some(plan)) => {
            let Reach { changed, envoys, .. } = plan.reach;
            format!("release {serial} is published; {changed} of {envoys} envoys get something else")
        }
        _ => format!("release {serial} is published"),
    };
    Ok(Shown { command, json, human, note: Some(note) })
}

fn plan(plan: &Plan) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = match plan.base {
        Some(base) => writeln!(out, "compared with release {base}"),
        None => writeln!(out, "the first release"),
    };
    if !plan.findings.trim().is_empty() {
        out.push('\n');
        out += &lines(&plan.findings);
    }
    out.push('\n');
    out += &changes(&plan.changes);
    out.push('\n');
    out += &reach(&plan.reach);
    let _ = writeln!(out, "\nplan {}", plain(&plan.plan_digest, 64));
    out
}

/// Text in lines, as somebody else wrote it.
fn lines(text: &str) -> String {
    text.trim_end().lines().map(|line| plain(line, 1000) + "\n").collect()
}

fn changes(changes: &[FileChange]) -> String {
    let sign = |sign: char, lines: Option<u64>| lines.map_or(String::new(), |n| format!("{sign}{n}"));
    let rows: Vec<[String; 4]> = changes
        .iter()
        .take(ROWS)
        .map(|c| {
            let [added, removed] = [sign('+', c.lines_added), sign('-', c.lines_removed)];
            [plain(&c.path, 200), plain(&c.change, 20), added, removed]
        })
        .collect();
    if rows.is_empty() {
        return "no file changed\n".to_owned();
    }
    table(["FILE", "", "", ""], &rows) + &more(changes.len())
}

fn more(all: usize) -> String {
    if all > ROWS { format!("and {} more\n", all - ROWS) } else { String::new() }
}

fn reach(reach: &Reach) -> String {
    let mut out = String::new();
    let share = |what: &str, s: &Share| {
        let name = if s.name.is_empty() { "(none)" } else { &s.name };
        [what.to_owned(), plain(name, 100), s.changed.to_string(), s.envoys.to_string()]
    };
    let mut rows =
        vec![["fleet".to_owned(), String::new(), reach.changed.to_string(), reach.envoys.to_string()]];
    rows.extend(reach.environments.iter().map(|s| share("environment", s)));
    rows.extend(reach.roles.iter().map(|s| share("role", s)));
    out += &table(["", "NAME", "CHANGE", "ENVOYS"], &rows);
    if reach.lost > 0 {
        let lost = "get no bundle any more; they keep what they have until it expires";
        let _ = writeln!(out, "{} of those that change {lost}", reach.lost);
    }
    if reach.unknown > 0 {
        let _ = writeln!(out, "{} more have not checked in yet", reach.unknown);
    }
    if !reach.changes.is_empty() {
        let rows: Vec<[String; 3]> = reach
            .changes
            .iter()
            .take(ROWS)
            .map(|t| {
                let name = if t.name.is_empty() { "order of modules" } else { &t.name };
                [plain(name, 200), plain(&t.change, 20), t.envoys.to_string()]
            })
            .collect();
        out.push('\n');
        out += &table(["RESOURCE", "", "ENVOYS"], &rows);
        out += &more(reach.changes.len());
    }
    out
}

pub(super) fn releases(server: &Connection, command: Releases) -> Result<Shown, Failure> {
    let of = |serial: u64, what: &str| format!("/api/v1/releases/{}{what}", part(&serial.to_string()));
    match command {
        Releases::List { limit } => list(server, limit),
        Releases::Show { serial } => {
            let json = server.get(&of(serial, ""), &[])?;
            let detail: Detail = typed(json.clone())?;
            Ok(Shown { command: "releases show", json, human: one(&detail), note: None })
        }
        Releases::Diff { a, b } => {
            let (query, to) = match b {
                Some(b) => (vec![("from", a.to_string())], b),
                None => (Vec::new(), a),
            };
            let json = server.get(&of(to, "/diff"), &query)?;
            let difference: Difference = typed(json.clone())?;
            let note = difference.text.is_empty().then(|| "they are the same".to_owned());
            let human = lines(&difference.text);
            Ok(Shown { command: "releases diff", json, human, note })
        }
        Releases::Rollback { serial, how: How { dry_run, plan_digest, message }, force } => {
            let body = json!({
                "message": message, "dry_run": dry_run, "plan_digest": plan_digest, "force": force,
            });
            done("releases rollback", server.post_patiently(&of(serial, "/rollback"), &body, PATIENCE)?)
        }
        Releases::Freeze { duration, until, reason } => {
            let until = until.as_deref().map(time).transpose()?;
            let mut body = json!({ "reason": reason });
            match until {
                Some(until) => body["until"] = until.into(),
                None => body["duration"] = duration.into(),
            }
            let json = server.post("/api/v1/publishing/freeze", &body)?;
            let note = frozen(&typed(json.clone())?);
            Ok(Shown { command: "releases freeze", json, human: String::new(), note: Some(note) })
        }
        Releases::Unfreeze => {
            let json = server.post("/api/v1/publishing/unfreeze", &json!({}))?;
            let note = Some("policies can be published".to_owned());
            Ok(Shown { command: "releases unfreeze", json, human: String::new(), note })
        }
    }
}

fn time(text: &str) -> Result<u64, Failure> {
    let help = "give a moment with its time zone, such as 2027-01-02T08:00:00Z";
    let bad = || Failure::new(USAGE, format!("`{}` is no moment; {help}", plain(text, 60)));
    let time: jiff::Timestamp = text.parse().map_err(|_| bad())?;
    u64::try_from(time.as_millisecond()).map_err(|_| bad())
}

fn frozen(frozen: &Frozen) -> String {
    let left = left(frozen.until.saturating_sub(now()));
    let reason =
        if frozen.reason.is_empty() { String::new() } else { format!(": {}", plain(&frozen.reason, 1000)) };
    let (until, by) = (moment(frozen.until), plain(&frozen.by, 100));
    format!("publishing is frozen until {until} ({left} left), by {by}{reason}")
}

fn list(server: &Connection, limit: usize) -> Result<Shown, Failure> {
    let state = server.get("/api/v1/publishing", &[])?;
    let json =
        json!({ "releases": server.list("/api/v1/releases", &[], limit)?, "publishing": state.clone() });
    let releases: Vec<Release> = typed(json["releases"].clone())?;
    let state: State = typed(state)?;
    let rows: Vec<[String; 7]> = releases
        .iter()
        .map(|r| {
            let served = if r.served { "served" } else { "" };
            let reach = r.reach.as_ref().map(|reach| format!("{} of {}", reach.changed, reach.envoys));
            let (files, author) = (r.files_changed.to_string(), plain(&r.author, 100));
            let at = moment(r.published_at);
            [r.serial.to_string(), at, author, files, reach.unwrap_or_default(), served.to_owned(), about(r)]
        })
        .collect();
    let human = match releases.is_empty() {
        true => String::new(),
        false => table(["RELEASE", "PUBLISHED", "BY", "FILES CHANGED", "ENVOYS CHANGED", "", ""], &rows),
    };
    let mut notes = Vec::new();
    if releases.is_empty() {
        notes.push("nothing was published yet; `vigocli publish DIR` does".to_owned());
    }
    if let Some(freeze) = &state.frozen {
        notes.push(frozen(freeze));
    }
    if let Some(refused) = &state.refused {
        let (ago, author) = (span(now().saturating_sub(refused.at)), plain(&refused.author, 100));
        notes.push(format!(
            "a policy by {author} was refused {ago} ago; what was served is still served\n\n{}",
            lines(&refused.findings)
        ));
    }
    if state.failed {
        notes.push(
            "the policy directory of the server cannot be published; the server's log says why".to_owned(),
        );
    }
    if state.latest != state.served {
        notes.push("this server does not serve the latest release yet".to_owned());
    }
    let note = Some(notes.join("\n")).filter(|note| !note.is_empty());
    Ok(Shown { command: "releases list", json, human, note })
}

/// The author's words in one line, and where the policy is from.
fn about(r: &Release) -> String {
    let back = r.rolled_back_from.map(|from| format!("back to {from}"));
    let message = r.message.lines().next().map(|line| plain(line, 80)).filter(|m| !m.is_empty());
    [back, message].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

fn one(d: &Detail) -> String {
    let r = &d.release;
    let mut out = String::new();
    let mut line = |label: &str, text: &str| {
        let _ = writeln!(out, "{label:<12} {text}");
    };
    line("release", &format!("{}{}", r.serial, if r.served { "  served" } else { "" }));
    line("published", &format!("{}, by {}", moment(r.published_at), plain(&r.author, 100)));
    if let Some(from) = r.rolled_back_from {
        line("back to", &from.to_string());
    }
    line("digest", &plain(&r.digest, 64));
    line("files", &d.files.len().to_string());
    if !r.message.is_empty() {
        let indented = r.message.lines().map(|l| plain(l, 1000)).collect::<Vec<_>>().join("\n             ");
        line("why", &indented);
    }
    out.push('\n');
    out += &changes(&d.changes);
    if let Some(known) = &r.reach {
        out.push('\n');
        out += &reach(known);
    }
    out
}

/// What a request that was refused comes to.
pub(super) fn exit_code(problem: &str) -> Option<u8> {
    match problem {
        "plan-changed" => Some(3),
        "policy-refused" | "frozen" | "conflict" => Some(FINDING),
        _ => None,
    }
}
