//! Tasks and queries: asking for them, taking them back, showing what came of them.

use super::connection::{Connection, part, typed};
use super::follow::{Printer, follow, left_out};
use super::output::{lines, pieces};
use super::{Failure, Format, Shown, USAGE};
use crate::dispatch::target::Targets;
use crate::dispatch::task::Job;
use crate::http::api::tasks::{Cancelled, Create, Created, Detail, Target, Task};
use crate::text::{plain, span, table};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::SystemTime;

#[derive(Debug, Subcommand)]
pub(super) enum Tasks {
    /// Run a command on envoys and follow it
    #[command(after_help = "Examples:
  vigocli task run --on web-01.example.com -- systemctl status nginx
  vigocli task run --on 'web-*' --on 'app-*' -- uptime
  vigocli task run --role webserver --environment staging --shell 'df -h / | tail -1'
  vigocli task run --when \"traits.os.family == 'debian'\" --timeout 10m -- apt-get update
  vigocli task run --all --no-follow -- true

Do not put secrets into arguments: they are stored with the task, and every process on the host can see them.

Exit codes: 0 every envoy was reached and ended with 0, 1 otherwise.")]
    Run(Box<Run>),
    /// One task: what came of it on each envoy
    #[command(after_help = "Example: vigocli task status 0199a2b4-... --output

What it wrote needs the role operator.

Exit codes: 0 every envoy was reached and ended with 0, 1 otherwise, also while it runs.")]
    Status {
        /// The task's id, as `list` shows it
        task: String,
        /// Shows what was written, too
        #[arg(long)]
        output: bool,
    },
    /// Take a task back: what has not begun never will, what runs is killed
    #[command(after_help = "Example: vigocli task cancel 0199a2b4-...

Envoys kill the process group of the command, with SIGTERM and 2 seconds later SIGKILL. What it wrote until then is kept.

Exit codes: 0 it is taken back, 1 it was over.")]
    Cancel {
        /// The task's id, as `list` shows it
        task: String,
    },
    /// List tasks, the latest first
    List {
        /// How many
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: usize,
    },
}

/// Which envoys; parts narrow each other down, several of one part add up.
#[derive(Debug, Default, Args)]
pub(super) struct Selection {
    /// A host name, or a pattern over host names; may be repeated
    #[arg(long = "on", value_name = "HOST|GLOB", value_delimiter = ',')]
    hosts: Vec<String>,
    /// With this role; may be repeated
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',')]
    roles: Vec<String>,
    /// Of this environment; may be repeated
    #[arg(long = "environment", value_name = "NAME", value_delimiter = ',')]
    environments: Vec<String>,
    /// For which this holds, as in `when:`
    #[arg(long, value_name = "EXPR")]
    when: Option<String>,
    /// Every envoy
    #[arg(long)]
    all: bool,
}

impl Selection {
    /// Nobody in particular is never everybody.
    fn check(&self) -> Result<(), Failure> {
        let parts = [&self.hosts, &self.roles, &self.environments];
        if self.all || self.when.is_some() || parts.iter().any(|part| !part.is_empty()) {
            return Ok(());
        }
        let why = "which envoys? Give --on, --role, --environment or --when, or --all for every envoy";
        Err(Failure::new(USAGE, why))
    }
}

impl From<Selection> for Targets {
    fn from(s: Selection) -> Self {
        Targets { all: s.all, hosts: s.hosts, roles: s.roles, environments: s.environments, when: s.when }
    }
}

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    selection: Selection,
    /// A line for `sh -c`, in the place of a command
    #[arg(long, value_name = "LINE", conflicts_with = "command")]
    shell: Option<String>,
    /// As this user; root otherwise
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// What the command may take [default: 5m]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// How long the task waits for envoys that have not checked in yet [default: 15m]
    #[arg(long, value_name = "DURATION")]
    wait: Option<String>,
    /// Bytes of output that are kept for each envoy [default: 1 MiB]
    #[arg(long, value_name = "BYTES")]
    max_output: Option<u32>,
    /// It may run a second time when the agent died while it ran
    #[arg(long)]
    idempotent: bool,
    /// Does not wait for results
    #[arg(long)]
    no_follow: bool,
    /// Program and arguments; no shell reads them
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigocli query --all os.distro os.version
  vigocli query --on 'web-*' memory --format json")]
pub(super) struct Query {
    #[command(flatten)]
    selection: Selection,
    /// How long the query waits for envoys that have not checked in yet [default: 15m]
    #[arg(long, value_name = "DURATION")]
    wait: Option<String>,
    /// Traits, such as os.family; all of them when none is given
    #[arg(value_name = "TRAIT")]
    traits: Vec<String>,
}

/// What a command shows, and whether all went well.
pub(super) type Outcome = Result<(Shown, bool), Failure>;

pub(super) fn tasks(server: &Connection, command: Tasks, format: Format) -> Outcome {
    match command {
        Tasks::Run(run) => {
            if run.command.is_empty() && run.shell.is_none() {
                return Err(Failure::new(USAGE, "what to run? Give it after `--`, or with `--shell LINE`"));
            }
            let job = Job {
                command: run.command,
                shell: run.shell,
                user: run.user,
                timeout: run.timeout,
                max_output: run.max_output,
                idempotent: run.idempotent,
                wait: run.wait,
                query: None,
            };
            let created = create(server, job, run.selection)?;
            if run.no_follow {
                left_out(&created, format);
                let offline = created.task.targets.iter().any(|t| t.state == "offline");
                let note = format!(
                    "task {} was made; `vigocli task status {0}` shows it",
                    plain(&created.task.task.id, 64)
                );
                let json = value(&created)?;
                let shown = Shown { command: "task run", json, human: String::new(), note: Some(note) };
                return Ok((shown, created.unknown.is_empty() && !offline));
            }
            follow(server, "task run", &created, format, &mut Printer::new(&created.task, format))
        }
        Tasks::Status { task, output } => {
            let detail: Detail = typed(server.get(&path(&task, ""), &[])?)?;
            let good = detail.task.done && all_ok(&detail.targets);
            let mut human = status(&detail);
            let mut json = value(&detail)?;
            if output {
                let mut outputs = BTreeMap::new();
                for target in &detail.targets {
                    let (pieces, _) = pieces(server, &detail.task.id, &target.envoy, 0)?;
                    for line in lines(&pieces) {
                        human += &format!("{} | {line}\n", plain(&target.hostname, 253));
                    }
                    outputs.insert(target.hostname.clone(), value(&pieces)?);
                }
                json["output"] = value(&outputs)?;
            }
            Ok((Shown { command: "task status", json, human, note: None }, good))
        }
        Tasks::Cancel { task } => {
            let json = server.post(&path(&task, "/cancel"), &json!({}))?;
            let cancelled: Cancelled = typed(json.clone())?;
            let id = plain(&cancelled.task.task.id, 64);
            let (not, stopped) = (envoys(cancelled.not_begun), envoys(cancelled.to_be_stopped));
            let note = format!(
                "task {id} is taken back: it does not begin on {not} and is stopped on {stopped}; \
                 `vigocli task status {id}` shows what came of it"
            );
            let human = status(&cancelled.task);
            Ok((Shown { command: "task cancel", json, human, note: Some(note) }, true))
        }
        Tasks::List { limit } => {
            let json = json!({ "tasks": server.list("/api/v1/tasks", &[], limit)? });
            let tasks: Vec<Task> = typed(json["tasks"].clone())?;
            let rows: Vec<[String; 5]> = tasks.iter().map(row).collect();
            let note = tasks.is_empty().then(|| "no task was made".to_owned());
            let human = match tasks.is_empty() {
                true => String::new(),
                false => table(["TASK", "MADE", "WHAT", "BY", "ENVOYS"], &rows),
            };
            Ok((Shown { command: "task list", json, human, note }, true))
        }
    }
}

pub(super) fn query(server: &Connection, query: Query, format: Format) -> Outcome {
    let job = Job { query: Some(query.traits), wait: query.wait, ..Job::default() };
    let created = create(server, job, query.selection)?;
    follow(server, "query", &created, format, &mut Printer::new(&created.task, format))
}

/// Of a task.
pub(super) fn path(task: &str, below: &str) -> String {
    format!("/api/v1/tasks/{}{below}", part(task))
}

/// As JSON.
pub(super) fn value(of: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(of).map_err(|e| Failure::new(super::INTERNAL, e))
}

fn envoys(n: u64) -> String {
    if n == 1 { "1 envoy".to_owned() } else { format!("{n} envoys") }
}

fn create(server: &Connection, job: Job, selection: Selection) -> Result<Created, Failure> {
    selection.check()?;
    typed(server.make("/api/v1/tasks", &Create { job, targets: selection.into() })?)
}

/// How many envoys of a task are in which state.
pub(super) fn states(task: &Task) -> String {
    let states: Vec<String> =
        task.states.iter().map(|(state, n)| format!("{n} {}", plain(state, 20))).collect();
    states.join(", ")
}

fn row(task: &Task) -> [String; 5] {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    [
        plain(&task.id, 64),
        format!("{} ago", span(now.saturating_sub(task.created_at))),
        plain(&task.summary, 60),
        plain(&task.author, 60),
        states(task),
    ]
}

fn status(detail: &Detail) -> String {
    let rows: Vec<[String; 5]> = detail
        .targets
        .iter()
        .map(|t| {
            [
                plain(&t.hostname, 253),
                plain(&t.state, 20),
                t.exit_code.map_or(String::new(), |code| code.to_string()),
                t.duration_ms.map_or(String::new(), span),
                remark(t),
            ]
        })
        .collect();
    table(["HOST", "STATE", "EXIT", "TOOK", ""], &rows)
}

/// What there is to say beside a state.
pub(super) fn remark(t: &Target) -> String {
    let mut parts = Vec::new();
    if !t.error.is_empty() {
        parts.push(plain(&t.error, 500));
    }
    match t.state.as_str() {
        "offline" => parts.push("not seen lately; nothing was sent".to_owned()),
        "queued" if t.reach == "promotable" => parts.push("waits for its next check-in".to_owned()),
        _ => {}
    }
    if t.output_dropped > 0 {
        parts.push(format!("{} of {} bytes of output were cut off", t.output_dropped, t.output_bytes));
    }
    parts.join("; ")
}

/// Whether every envoy was reached and ended well.
pub(super) fn all_ok(targets: &[Target]) -> bool {
    targets.iter().all(|t| t.state == "ok")
}
