//! Workflows: asking for them, following them, showing how far they are.

use super::connection::{Connection, part, typed};
use super::follow::undecided;
use super::task::{Outcome, states};
use super::{Failure, Format, INPUT, INTERNAL, Shown, UNREACHABLE};
use crate::http::api::workflows::{Brief, Detail};
use crate::text::{plain, table};
use clap::Subcommand;
use grammar::document::{self, Core, Node};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// A server that cannot be reached for this long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Subcommand)]
pub(super) enum Workflows {
    /// Run the tasks of a file in order, on a batch of envoys after the other
    #[command(after_help = "Example: vigocli workflow run restart.yaml

A file (YAML as in policy, or JSON):
  name: restart the web servers
  targets: { roles: [webserver], environments: [production] }
  batch: 25%              # or a number of envoys; all at once otherwise
  max_failures: 0         # envoys that may go wrong before it stops
  health: converged       # after each batch; or reachable (default), ignored
  steps:
    - command: [systemctl, restart, nginx]
      timeout: 30s
    - shell: curl -fsS http://localhost/ > /dev/null

Exit codes: 0 it went through, 1 it was stopped or cancelled.")]
    Run {
        /// The file
        file: PathBuf,
        /// Does not wait for its end
        #[arg(long)]
        no_follow: bool,
    },
    /// One workflow: its batches and tasks
    #[command(after_help = "Example: vigocli workflow status 0199a2b4-...

Exit codes: 0 it went through, 1 it runs, or was stopped or cancelled.")]
    Status {
        /// The workflow's id, as `list` shows it
        workflow: String,
    },
    /// Take a workflow back: nothing further is begun, and its tasks are cancelled
    #[command(after_help = "Example: vigocli workflow cancel 0199a2b4-...

Exit codes: 0 it is taken back, 1 it was over.")]
    Cancel {
        /// The workflow's id, as `list` shows it
        workflow: String,
    },
    /// List workflows, the latest first
    List {
        /// How many
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: usize,
    },
}

pub(super) fn workflows(server: &Connection, command: Workflows, format: Format) -> Outcome {
    match command {
        Workflows::Run { file, no_follow } => {
            let json = server.make("/api/v1/workflows", &read(&file)?)?;
            let made: Detail = typed(json.clone())?;
            let id = plain(&made.workflow.id, 64);
            if format == Format::Human {
                for name in &made.offline {
                    anstream::eprintln!("{}: offline, left out", plain(name, 253));
                }
                undecided(&made.undecided);
            }
            if no_follow {
                let note = Some(format!("workflow {id} was made; `vigocli workflow status {id}` shows it"));
                return Ok((Shown { command: "workflow run", json, human: String::new(), note }, true));
            }
            let detail = follow(server, &made, format)?;
            shown("workflow run", &detail)
        }
        Workflows::Status { workflow } => {
            let detail: Detail = typed(server.get(&path(&workflow), &[])?)?;
            shown("workflow status", &detail)
        }
        Workflows::Cancel { workflow } => {
            let json = server.post(&format!("{}/cancel", path(&workflow)), &json!({}))?;
            let detail: Detail = typed(json)?;
            shown("workflow cancel", &detail).map(|(shown, _)| (shown, true))
        }
        Workflows::List { limit } => {
            let json = json!({ "workflows": server.list("/api/v1/workflows", &[], limit)? });
            let all: Vec<Brief> = typed(json["workflows"].clone())?;
            let rows: Vec<[String; 5]> = all
                .iter()
                .map(|w| {
                    let made = crate::text::moment(w.created_at);
                    let error = plain(&w.error, 200);
                    [plain(&w.id, 64), made, plain(&w.name, 60), plain(&w.state, 20), error]
                })
                .collect();
            let note = all.is_empty().then(|| "no workflow was made".to_owned());
            let human = match all.is_empty() {
                true => String::new(),
                false => table(["WORKFLOW", "MADE", "NAME", "STATE", ""], &rows),
            };
            Ok((Shown { command: "workflow list", json, human, note }, true))
        }
    }
}

fn path(workflow: &str) -> String {
    format!("/api/v1/workflows/{}", part(workflow))
}

fn shown(command: &'static str, detail: &Detail) -> Outcome {
    let rows: Vec<[String; 5]> = detail
        .tasks
        .iter()
        .map(|t| {
            let batch = format!("{} of {}", t.batch, detail.batches.len());
            [batch, t.step.to_string(), plain(&t.task.summary, 60), states(&t.task), plain(&t.task.id, 64)]
        })
        .collect();
    let human = table(["BATCH", "STEP", "WHAT", "ENVOYS", "TASK"], &rows);
    let w = &detail.workflow;
    let why = if w.error.is_empty() { String::new() } else { format!(": {}", plain(&w.error, 500)) };
    let note = Some(format!("{} {}{why}", plain(&w.name, 200), plain(&w.state, 20)).trim().to_owned());
    let json = serde_json::to_value(detail).map_err(|e| Failure::new(INTERNAL, e))?;
    Ok((Shown { command, json, human, note }, w.state == "done"))
}

fn follow(server: &Connection, made: &Detail, format: Format) -> Result<Detail, Failure> {
    let target = match format == Format::Human && std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let steps = made.asked.as_ref().map_or(1, |w| w.steps.len());
    let bar = ProgressBar::with_draw_target(Some((made.batches.len() * steps) as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let mut answered = Instant::now();
    loop {
        match server.get(&path(&made.workflow.id), &[]).and_then(typed::<Detail>) {
            Ok(detail) => {
                answered = Instant::now();
                bar.set_position(detail.tasks.iter().filter(|t| t.task.done).count() as u64);
                if let Some(last) = detail.tasks.last() {
                    bar.set_message(format!(
                        "batch {}, step {}: {}",
                        last.batch,
                        last.step,
                        states(&last.task)
                    ));
                }
                if detail.workflow.state != "running" {
                    bar.finish_and_clear();
                    return Ok(detail);
                }
            }
            // A server that restarts comes back, and carries it on.
            Err(failure) if failure.code == UNREACHABLE && answered.elapsed() < PATIENCE => {}
            Err(failure) => {
                let id = plain(&made.workflow.id, 64);
                let help = format!("; the workflow goes on: `vigocli workflow status {id}`");
                return Err(Failure::new(failure.code, failure.message + &help));
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// A file as the server takes it; what its parts mean is for the server to say.
fn read(file: &Path) -> Result<Value, Failure> {
    let text = crate::files::read_text(file).map_err(|e| Failure::new(INPUT, e))?;
    let parsed = document::parse(&text);
    if let Some(error) = parsed.errors.first() {
        let before = text.get(..error.span.start as usize).unwrap_or_default();
        let line = before.lines().count().max(1);
        return Err(Failure::new(INPUT, format!("{}:{line}: {}", file.display(), error.message)));
    }
    let mut workflow = plain_json(&parsed.root);
    // All at once is what nobody writes by an empty or unreadable number.
    if workflow.get("batch").is_some_and(Value::is_null) {
        let what = "`batch` is a number of envoys such as `5`, or a share such as `25%`";
        return Err(Failure::new(INPUT, format!("{}: {what}", file.display())));
    }
    // `5` and `25%` are two spellings of one thing; only one of them is text to a reader of YAML.
    if let Some(batch) = workflow.get_mut("batch")
        && let Some(envoys) = batch.as_u64()
    {
        *batch = Value::String(envoys.to_string());
    }
    Ok(workflow)
}

fn plain_json(node: &Node) -> Value {
    match &node.value {
        document::Value::Null | document::Value::Error => Value::Null,
        document::Value::Seq(items) => items.iter().map(plain_json).collect(),
        document::Value::Map(entries) => {
            let fields = entries.iter().map(|e| (e.key.text.to_string(), plain_json(&e.value)));
            Value::Object(fields.collect())
        }
        document::Value::Scalar(scalar) => match scalar.core() {
            Core::Null | Core::OutOfRange => Value::Null,
            Core::Bool(b) => b.into(),
            Core::Int(i) => i.into(),
            Core::Float(f) => f.into(),
            Core::Str => scalar.text.to_string().into(),
        },
    }
}
