//! Doing the work of an order.

use crate::clock::Clock;
use crate::command::{Command, HowEnded, Source};
use crate::root::Root;
use crate::traits;
use protocol::pb::task_work::Work;
use protocol::pb::{OutputSource, TaskCommand, TaskOrder, TaskOutcome, TaskQuery};
use protocol::task::{MAX_ANSWER_BYTES, MAX_OUTPUT_BYTES};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What ends a command before its time.
#[derive(Clone, Copy)]
pub(super) struct Ends<'a> {
    /// The agent is stopped.
    pub(super) stop: &'a AtomicBool,
    /// The task is taken back.
    pub(super) cancel: &'a AtomicBool,
}

impl Ends<'_> {
    fn cancelled(self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// Takes output, and how many bytes of it may be kept in all.
pub(super) type Take<'a> = &'a mut dyn FnMut(OutputSource, &[u8], u64);

/// Outcome, exit code, error.
pub(super) type Result = (TaskOutcome, Option<i32>, String);

fn failed(error: impl std::fmt::Display) -> Result {
    (TaskOutcome::TaskFailed, None, crate::text::printable(&error.to_string()))
}

/// Blocks until it is done.
pub(super) fn work(
    order: &TaskOrder,
    root: &Path,
    clock: &dyn Clock,
    ends: Ends<'_>,
    take: Take<'_>,
) -> Result {
    match order.work.as_ref().and_then(|w| w.work.as_ref()) {
        Some(Work::Command(asked)) => command(asked, root, ends, take),
        Some(Work::Query(asked)) => query(asked, root, clock, take),
        None => failed("there is nothing to do"),
    }
}

fn command(asked: &TaskCommand, root: &Path, ends: Ends<'_>, take: Take<'_>) -> Result {
    let root = match Root::open(root) {
        Ok(root) => root,
        Err(error) => return failed(error),
    };
    let argv = if asked.argv.is_empty() {
        vec!["/bin/sh".to_owned(), "-c".to_owned(), asked.shell.clone()]
    } else {
        asked.argv.clone()
    };
    let limit = Duration::from_millis(asked.timeout_ms.into());
    let mut command = Command::new(argv, limit);
    command.user = (!asked.user.is_empty()).then(|| asked.user.clone());
    let most = u64::from(asked.max_output.min(MAX_OUTPUT_BYTES));
    let over = || ends.stop.load(Ordering::Relaxed) || ends.cancelled();
    let ended = command.follow(&root, &over, &mut |source, bytes| {
        let source = match source {
            Source::Stdout => OutputSource::Stdout,
            Source::Stderr => OutputSource::Stderr,
        };
        take(source, bytes, most);
    });
    match ended {
        Ok(HowEnded::Code(0)) => (TaskOutcome::TaskOk, Some(0), String::new()),
        Ok(HowEnded::Code(code)) => (TaskOutcome::TaskFailed, Some(code), String::new()),
        Ok(HowEnded::TimedOut) => {
            let error = format!("stopped after {}, its time limit", crate::text::took(limit));
            (TaskOutcome::TaskTimedOut, None, error)
        }
        Ok(HowEnded::Stopped) if ends.cancelled() => {
            let error = "cancelled while it ran; its process group was killed".to_owned();
            (TaskOutcome::TaskCancelled, None, error)
        }
        Ok(HowEnded::Stopped) => {
            let error = "the agent was stopped and took the command with it".to_owned();
            (TaskOutcome::TaskInterrupted, None, error)
        }
        Err(error) => failed(error),
    }
}

/// Traits as they are now, as one JSON object by path; `null` for what this host does not have.
fn query(asked: &TaskQuery, root: &Path, clock: &dyn Clock, take: Take<'_>) -> Result {
    let all = traits::merge(&traits::collect(root, clock.now(), Vec::new()));
    let answer = if asked.traits.is_empty() {
        serde_json::Value::from(&all)
    } else {
        let value = |path: &String| {
            let segments: Vec<Arc<str>> = path.split('.').map(Into::into).collect();
            (path.clone(), all.at(&segments).map_or(serde_json::Value::Null, serde_json::Value::from))
        };
        // By path, whatever order the maps of serde_json keep in this build.
        let sorted: BTreeMap<String, serde_json::Value> = asked.traits.iter().map(value).collect();
        serde_json::Value::Object(sorted.into_iter().collect())
    };
    let text = answer.to_string();
    if text.len() > MAX_ANSWER_BYTES {
        return failed(format_args!("the answer has {} bytes; ask for fewer traits", text.len()));
    }
    take(OutputSource::Answer, text.as_bytes(), MAX_ANSWER_BYTES as u64);
    (TaskOutcome::TaskOk, None, String::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use protocol::pb::TaskWork;

    fn run(work: Work) -> (Result, Vec<(OutputSource, String)>) {
        let order = TaskOrder { work: Some(TaskWork { work: Some(work) }), ..TaskOrder::default() };
        let mut output: Vec<(OutputSource, String)> = Vec::new();
        let mut take = |source, bytes: &[u8], _| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            match output.last_mut() {
                Some((last, before)) if *last == source => before.push_str(&text),
                _ => output.push((source, text)),
            }
        };
        let never = AtomicBool::new(false);
        let ends = Ends { stop: &never, cancel: &never };
        let result = super::work(&order, Path::new("/"), &FixedClock::at(1), ends, &mut take);
        (result, output)
    }

    fn asked(argv: &[&str], shell: &str, timeout_ms: u32) -> Work {
        Work::Command(TaskCommand {
            argv: argv.iter().map(|w| (*w).to_owned()).collect(),
            shell: shell.into(),
            timeout_ms,
            max_output: 1000,
            ..TaskCommand::default()
        })
    }

    #[test]
    fn words_are_not_read_by_a_shell_and_a_line_is() {
        let (result, output) = run(asked(&["echo", "$HOME;", "id"], "", 20_000));
        assert_eq!(result, (TaskOutcome::TaskOk, Some(0), String::new()));
        assert_eq!(output, [(OutputSource::Stdout, "$HOME; id\n".to_owned())]);
        let (result, output) = run(asked(&[], "echo out; echo err >&2; exit 3", 20_000));
        assert_eq!(result, (TaskOutcome::TaskFailed, Some(3), String::new()));
        let err = (OutputSource::Stderr, "err\n".to_owned());
        assert!(output.contains(&err) && output.len() == 2, "{output:?}");
    }

    #[test]
    fn the_group_dies_at_the_time_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let line = format!("(sleep 1; echo late > {}) & sleep 30", mark.display());
        let (result, _) = run(asked(&[], &line, 100));
        assert_eq!(result.0, TaskOutcome::TaskTimedOut);
        std::thread::sleep(Duration::from_millis(1300));
        assert!(!mark.exists());
    }

    #[test]
    fn what_cannot_start_says_so() {
        let (result, _) = run(asked(&["/no/such/program"], "", 1000));
        assert!(result.0 == TaskOutcome::TaskFailed && result.2.contains("/no/such/program"), "{result:?}");
    }

    #[test]
    fn a_query_answers_by_path() {
        let traits = vec!["os.kernel".into(), "no.such".into()];
        let (result, output) = run(Work::Query(TaskQuery { traits }));
        assert_eq!(result.0, TaskOutcome::TaskOk);
        assert_eq!(output[0], (OutputSource::Answer, r#"{"no.such":null,"os.kernel":"linux"}"#.to_owned()));
    }
}
