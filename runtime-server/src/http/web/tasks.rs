//! Tasks, queries and workflows.

use super::html;
use super::show::{self, Badge, part};
use crate::http::api::tasks::{self, Target, Task};
use crate::http::api::workflows::{self, Brief};
use crate::http::call::Call;
use crate::http::page::Latest;
use crate::http::problem::Problem;
use crate::text::{plain, span};
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

/// Tasks on one page.
const ROWS: u32 = 50;
/// Workflows on it.
const WORKFLOWS: u32 = 10;
/// A task on so many envoys shows what they wrote.
const SHOWN: usize = 20;
/// Pieces of output that are looked at, and characters that are shown of them.
const PIECES: u32 = 4;
const TEXT: usize = 8000;

#[derive(Template)]
#[template(path = "tasks.html")]
struct TasksPage {
    section: &'static str,
    first: bool,
    workflows: Vec<WorkflowLine>,
    tasks: Vec<TaskLine>,
    next: Option<String>,
}

struct WorkflowLine {
    link: String,
    name: String,
    state: Badge,
    author: String,
    at: String,
    ago: String,
    error: String,
}

struct TaskLine {
    link: String,
    what: String,
    author: String,
    at: String,
    ago: String,
    states: Vec<Badge>,
}

fn workflow_line(brief: &Brief, now: u64) -> WorkflowLine {
    WorkflowLine {
        link: format!("/workflows/{}", part(&brief.id)),
        name: if brief.name.is_empty() { "workflow".to_owned() } else { plain(&brief.name, 200) },
        state: workflow_state(&brief.state),
        author: plain(&brief.author, 100),
        at: show::moment(brief.created_at),
        ago: show::ago(brief.created_at, now),
        error: show::text(&brief.error),
    }
}

fn task_line(task: &Task, now: u64) -> TaskLine {
    TaskLine {
        link: format!("/tasks/{}", part(&task.id)),
        what: plain(&task.summary, 100),
        author: plain(&task.author, 100),
        at: show::moment(task.created_at),
        ago: show::ago(task.created_at, now),
        states: task.states.iter().map(|(state, n)| counted(state, *n)).collect(),
    }
}

/// How many envoys are in a state.
fn counted(state: &str, n: u64) -> Badge {
    Badge { name: format!("{n} {}", plain(state, 20)), class: class(state) }
}

fn class(state: &str) -> &'static str {
    match state {
        "ok" => "good",
        "queued" | "sent" | "running" => "info",
        "cancelled" | "expired" | "offline" => "idle",
        "interrupted" | "unknown" => "warn",
        _ => "bad",
    }
}

fn workflow_state(state: &str) -> Badge {
    let class = match state {
        "done" => "good",
        "running" => "info",
        "cancelled" => "idle",
        _ => "bad",
    };
    Badge { name: plain(state, 20), class }
}

pub(in crate::http) async fn page(call: Call) -> Result<Response, Problem> {
    let asked: Latest = call.query()?;
    let now = call.site.context.clock.now();
    let first = asked.cursor.is_none();
    let workflows = match first {
        true => workflows::latest(&call, Latest { limit: Some(WORKFLOWS), cursor: None }).await?.items,
        false => Vec::new(),
    };
    let tasks = tasks::latest(&call, Latest { limit: Some(ROWS), cursor: asked.cursor }).await?;
    let page = TasksPage {
        section: "tasks",
        first,
        workflows: workflows.iter().map(|brief| workflow_line(brief, now)).collect(),
        next: tasks.next.map(|cursor| format!("/tasks?cursor={}", part(&cursor))),
        tasks: tasks.items.iter().map(|task| task_line(task, now)).collect(),
    };
    html(StatusCode::OK, &page)
}

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage {
    section: &'static str,
    what: String,
    done: bool,
    facts: Vec<(&'static str, String)>,
    workflow: Option<String>,
    states: Vec<Badge>,
    /// Whoever looks may not see what commands wrote.
    hidden: bool,
    targets: Vec<TargetLine>,
}

struct TargetLine {
    link: String,
    hostname: String,
    state: Badge,
    exit: String,
    took: String,
    remark: String,
    /// What it wrote, and whether that is standard error.
    output: Vec<(String, bool)>,
}

pub(in crate::http) async fn one(call: Call) -> Result<Response, Problem> {
    let detail = tasks::named(&call).await?;
    let (task, now) = (&detail.task, call.site.context.clock.now());
    let mut targets = Vec::with_capacity(detail.targets.len());
    for target in &detail.targets {
        let mut output = Vec::new();
        // Commands write what is not for everybody.
        if detail.targets.len() <= SHOWN && call.is_operator() {
            let pieces = tasks::pieces(&call, task.id.clone(), target.envoy.clone(), 0, PIECES).await?;
            let mut left = TEXT;
            for piece in pieces {
                let text: String = piece.text.lines().map(|line| plain(line, left) + "\n").collect();
                let text: String = text.chars().take(left).collect();
                left = left.saturating_sub(text.chars().count());
                output.push((text, piece.source == "stderr"));
            }
        }
        targets.push(target_line(target, output));
    }
    let mut facts = vec![
        ("Made", format!("{} ({})", show::moment(task.created_at), show::ago(task.created_at, now))),
        ("By", plain(&task.author, 100)),
        ("Begins until", show::moment(task.not_after)),
    ];
    if let Some(at) = task.cancelled_at {
        facts.push(("Cancelled", show::ago(at, now)));
    }
    facts.push(("Id", plain(&task.id, 64)));
    let page = TaskPage {
        section: "tasks",
        what: plain(&task.summary, 100),
        done: task.done,
        facts,
        workflow: task.workflow.as_ref().map(|id| format!("/workflows/{}", part(id))),
        states: task.states.iter().map(|(state, n)| counted(state, *n)).collect(),
        hidden: !call.is_operator(),
        targets,
    };
    html(StatusCode::OK, &page)
}

fn target_line(t: &Target, output: Vec<(String, bool)>) -> TargetLine {
    let mut remark = show::text(&t.error);
    if t.state == "queued" {
        remark = "waits for its next check-in".to_owned();
    } else if t.state == "offline" {
        remark = "not seen lately; nothing was sent".to_owned();
    }
    if t.output_dropped > 0 {
        let cut = format!("{} of {} bytes of output were cut off", t.output_dropped, t.output_bytes);
        remark = if remark.is_empty() { cut } else { format!("{remark}; {cut}") };
    }
    TargetLine {
        link: format!("/envoys/{}", part(&t.hostname)),
        hostname: plain(&t.hostname, 253),
        state: Badge { name: plain(&t.state, 20), class: class(&t.state) },
        exit: t.exit_code.map(|code| code.to_string()).unwrap_or_default(),
        took: t.duration_ms.map(span).unwrap_or_default(),
        remark,
        output,
    }
}

#[derive(Template)]
#[template(path = "workflow.html")]
struct WorkflowPage {
    section: &'static str,
    name: String,
    state: Badge,
    error: String,
    done: bool,
    facts: Vec<(&'static str, String)>,
    batches: Vec<BatchLine>,
    offline: String,
}

struct BatchLine {
    number: usize,
    hosts: String,
    steps: Vec<(u32, TaskLine)>,
}

pub(in crate::http) async fn workflow(call: Call) -> Result<Response, Problem> {
    let detail = workflows::named(&call).await?;
    let (brief, now) = (&detail.workflow, call.site.context.clock.now());
    let WorkflowLine { name, state, author, at, ago, error, .. } = workflow_line(brief, now);
    let mut facts = vec![("Made", format!("{at} ({ago})")), ("By", author)];
    if let Some(ended) = brief.ended_at {
        facts.push(("Took", span(ended.saturating_sub(brief.created_at))));
    }
    facts.push(("Id", plain(&brief.id, 64)));
    let batches = detail.batches.iter().enumerate().map(|(at, hosts)| BatchLine {
        number: at + 1,
        hosts: plain(&hosts.join(", "), 500),
        steps: detail
            .tasks
            .iter()
            .filter(|step| step.batch as usize == at + 1)
            .map(|step| (step.step, task_line(&step.task, now)))
            .collect(),
    });
    let page = WorkflowPage {
        section: "tasks",
        name,
        state,
        error,
        done: brief.state != "running",
        facts,
        batches: batches.collect(),
        offline: plain(&detail.offline.join(", "), 500),
    };
    html(StatusCode::OK, &page)
}
