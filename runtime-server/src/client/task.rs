//! Tasks and queries: asking for them, following them, showing what came of them.

use super::connection::{Connection, part, typed};
use super::{Failure, Format, Shown, USAGE};
use crate::dispatch::target::Targets;
use crate::dispatch::task::Job;
use crate::http::api::tasks::{Create, Created, Detail, Output, Piece, Target, Task};
use crate::text::{leaves, plain, span, table, unquoted};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, SystemTime};

/// Between two looks at a task: short at first, for most are.
const SOON: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_secs(2);
/// Running envoys whose output is shown before they end.
const WATCHED: usize = 8;
/// A server that cannot be reached for this long while a task is followed is given up.
const PATIENCE: Duration = Duration::from_secs(60);

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
    #[command(after_help = "Example: vigocli task status 0199a2b4-... --output")]
    Status {
        /// The task's id, as `list` shows it
        task: String,
        /// Shows what was written, too
        #[arg(long)]
        output: bool,
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
  vigocli query --all os.distro os.release
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
                let note = format!(
                    "task {} was made; `vigocli task status {0}` shows it",
                    plain(&created.task.task.id, 64)
                );
                let json = value(&created)?;
                return Ok((
                    Shown { command: "task run", json, human: String::new(), note: Some(note) },
                    true,
                ));
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

fn path(task: &str, below: &str) -> String {
    format!("/api/v1/tasks/{}{below}", part(task))
}

fn value(of: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(of).map_err(|e| Failure::new(super::INTERNAL, e))
}

fn create(server: &Connection, job: Job, selection: Selection) -> Result<Created, Failure> {
    typed(server.post("/api/v1/tasks", &Create { job, targets: selection.into() })?)
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

fn remark(t: &Target) -> String {
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

fn all_ok(targets: &[Target]) -> bool {
    targets.iter().all(|t| t.state == "ok")
}

fn pieces(server: &Connection, task: &str, envoy: &str, from: u32) -> Result<(Vec<Piece>, u32), Failure> {
    let (mut all, mut next) = (Vec::new(), from);
    loop {
        let below = format!("/output/{}", part(envoy));
        let output: Output = typed(server.get(&path(task, &below), &[("from", next.to_string())])?)?;
        let more = output.next > next;
        next = output.next;
        all.extend(output.pieces);
        if !more {
            return Ok((all, next));
        }
    }
}

/// Output as lines fit for a terminal; the answer of a query as `path = value`.
fn lines(pieces: &[Piece]) -> Vec<String> {
    let mut out = Vec::new();
    let mut sources: Vec<&str> = Vec::new();
    for piece in pieces {
        if !sources.contains(&piece.source.as_str()) {
            sources.push(&piece.source);
        }
    }
    for source in sources {
        let text: String = pieces.iter().filter(|p| p.source == source).map(|p| p.text.as_str()).collect();
        match (source, serde_json::from_str::<Value>(&text)) {
            ("answer", Ok(answer)) => out.extend(told(&answer)),
            _ => out.extend(text.lines().map(shown)),
        }
    }
    out
}

fn shown(line: &str) -> String {
    let visible = |c: char| if ir::is_unseen(c) && c != '\t' { '\u{fffd}' } else { c };
    line.chars().map(visible).collect()
}

fn told(answer: &Value) -> impl Iterator<Item = String> {
    leaves(answer).into_iter().map(|(path, value)| format!("{} = {}", shown(&path), shown(&unquoted(value))))
}

/// Shows results as they come.
struct Printer {
    bar: ProgressBar,
    human: bool,
    /// How far the output of an envoy was taken.
    next: BTreeMap<String, u32>,
    /// Lines that are not whole yet, by envoy and source.
    rest: BTreeMap<(String, String), String>,
    output: BTreeMap<String, Vec<Piece>>,
    told: BTreeMap<String, bool>,
    one: bool,
}

impl Printer {
    fn new(detail: &Detail, format: Format) -> Self {
        let human = format == Format::Human;
        let target = match human && std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(detail.targets.len() as u64), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Printer {
            bar,
            human,
            next: BTreeMap::new(),
            rest: BTreeMap::new(),
            output: BTreeMap::new(),
            told: BTreeMap::new(),
            one: detail.targets.len() == 1,
        }
    }

    fn say(&self, line: &str) {
        self.bar.suspend(|| {
            // A reader that went away is no error of ours.
            let _ = writeln!(anstream::stdout(), "{line}");
        });
    }

    fn look(&mut self, server: &Connection, detail: &Detail) -> Result<(), Failure> {
        let running = detail.targets.iter().filter(|t| t.open && t.state == "running").count();
        for target in &detail.targets {
            let ended = !target.open;
            if self.told.get(&target.envoy) == Some(&true) {
                continue;
            }
            if ended || (target.state == "running" && running <= WATCHED) {
                self.fetch(server, detail, target, ended)?;
            }
            if ended {
                self.told.insert(target.envoy.clone(), true);
                if self.human {
                    self.ended(target);
                }
            }
        }
        let done = detail.targets.iter().filter(|t| !t.open).count();
        let wrong = detail.targets.iter().filter(|t| !t.open && t.state != "ok").count();
        self.bar.set_position(done as u64);
        let waiting = detail.targets.iter().filter(|t| t.state == "queued").count();
        let mut message = format!("{running} running");
        if waiting > 0 {
            message += &format!(", {waiting} waiting");
        }
        if wrong > 0 {
            message += &format!(", {wrong} not ok");
        }
        self.bar.set_message(message);
        Ok(())
    }

    fn fetch(
        &mut self,
        server: &Connection,
        detail: &Detail,
        target: &Target,
        ended: bool,
    ) -> Result<(), Failure> {
        let from = self.next.get(&target.envoy).copied().unwrap_or(0);
        let (pieces, next) = pieces(server, &detail.task.id, &target.envoy, from)?;
        self.next.insert(target.envoy.clone(), next);
        if self.human {
            for piece in &pieces {
                self.print(target, piece);
            }
            if ended {
                let of_target = |(envoy, _): &(String, String)| *envoy == target.envoy;
                let keys: Vec<_> = self.rest.keys().filter(|key| of_target(key)).cloned().collect();
                for key in keys {
                    let rest = self.rest.remove(&key).unwrap_or_default();
                    match (key.1.as_str(), serde_json::from_str::<Value>(&rest)) {
                        ("answer", Ok(answer)) => {
                            told(&answer).for_each(|line| self.line(target, &line));
                        }
                        _ if rest.is_empty() => {}
                        _ => self.line(target, &shown(&rest)),
                    }
                }
            }
        }
        self.output.entry(target.hostname.clone()).or_default().extend(pieces);
        Ok(())
    }

    fn print(&mut self, target: &Target, piece: &Piece) {
        let key = (target.envoy.clone(), piece.source.clone());
        let mut text = self.rest.remove(&key).unwrap_or_default();
        text += &piece.text;
        while piece.source != "answer"
            && let Some((line, rest)) = text.split_once('\n')
        {
            self.line(target, &shown(line));
            text = rest.to_owned();
        }
        self.rest.insert(key, text);
    }

    fn line(&self, target: &Target, line: &str) {
        if self.one {
            self.say(line)
        } else {
            self.say(&format!("{} | {line}", plain(&target.hostname, 253)))
        }
    }

    /// What is not told by the output: on stderr, so that the output can be piped.
    fn ended(&self, target: &Target) {
        if target.state == "ok" && target.output_dropped == 0 {
            return;
        }
        let code = target.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
        let remark = remark(target);
        let why = if remark.is_empty() { String::new() } else { format!(": {remark}") };
        self.bar.suspend(|| {
            anstream::eprintln!("{}: {}{code}{why}", plain(&target.hostname, 253), plain(&target.state, 20));
        });
    }
}

/// Looks again and again until every envoy is done with.
fn follow(
    server: &Connection,
    command: &'static str,
    created: &Created,
    format: Format,
    printer: &mut Printer,
) -> Outcome {
    let id = &created.task.task.id;
    if format == Format::Human {
        for name in &created.unknown {
            anstream::eprintln!("{}: no envoy is called so", plain(name, 253));
        }
        for name in &created.undecided {
            anstream::eprintln!("{}: left out, too little is known of it", plain(name, 253));
        }
    }
    let mut pause = SOON;
    let mut answered = std::time::Instant::now();
    let detail = loop {
        let looked = server.get(&path(id, ""), &[]).and_then(|json| {
            let detail: Detail = typed(json)?;
            printer.look(server, &detail)?;
            Ok(detail)
        });
        match looked {
            Ok(detail) => {
                answered = std::time::Instant::now();
                if detail.task.done {
                    break detail;
                }
            }
            // A server that restarts comes back, and the task is still there.
            Err(failure) if failure.code == super::UNREACHABLE && answered.elapsed() < PATIENCE => {}
            Err(failure) => {
                let help = format!("; the task goes on: `vigocli task status {}`", plain(id, 64));
                return Err(Failure::new(failure.code, failure.message + &help));
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 5 / 4).min(LATER);
    };
    printer.bar.finish_and_clear();
    let good = all_ok(&detail.targets) && created.unknown.is_empty();
    let mut json = value(&detail)?;
    json["unknown"] = value(&created.unknown)?;
    json["undecided"] = value(&created.undecided)?;
    json["output"] = value(&printer.output)?;
    let ok = detail.targets.iter().filter(|t| t.state == "ok").count();
    let many = detail.targets.len() > 1;
    let note = many.then(|| format!("{ok} of {} ok; task {}", detail.targets.len(), plain(id, 64)));
    Ok((Shown { command, json, human: String::new(), note }, good))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(source: &str, text: &str) -> Piece {
        Piece { piece: 0, source: source.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn case_079_output_cannot_drive_the_terminal() {
        let pieces =
            [piece("stdout", "a\x1b[2J\tb\nc"), piece("stdout", "d\n"), piece("stderr", "\u{202e}x\n")];
        assert_eq!(lines(&pieces), ["a\u{fffd}[2J\tb", "cd", "\u{fffd}x"]);
    }

    #[test]
    fn an_answer_is_shown_by_path() {
        let answer = r#"{"os": {"family": "debian"}, "cpus": 4, "no.such": null}"#;
        assert_eq!(lines(&[piece("answer", answer)]), ["cpus = 4", "no.such = null", "os.family = debian"]);
        assert_eq!(lines(&[piece("answer", "no\x07json")]), ["no\u{fffd}json"]);
    }
}
