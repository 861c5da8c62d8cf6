//! Following a task: results as they come, with a progress bar where somebody looks.

use super::connection::{Connection, typed};
use super::output::{pieces, shown, told};
use super::task::{Outcome, all_ok, path, remark, value};
use super::{Failure, Format, Shown};
use crate::http::api::tasks::{Created, Detail, Piece, Target};
use crate::text::{moment, plain};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two looks at a task: short at first, for most are.
const SOON: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_secs(2);
/// Whoever waits so long wants to know for what.
const LONG: Duration = Duration::from_secs(3);
/// Running envoys whose output is shown before they end.
const WATCHED: usize = 8;
/// A server that cannot be reached for this long while a task is followed is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shows results as they come.
pub(super) struct Printer {
    bar: ProgressBar,
    human: bool,
    /// How far the output of an envoy was taken.
    next: BTreeMap<String, u32>,
    /// Lines that are not whole yet, by envoy and source.
    rest: BTreeMap<(String, String), String>,
    output: BTreeMap<String, Vec<Piece>>,
    told: BTreeMap<String, bool>,
    one: bool,
    began: Instant,
    /// Whether it was said that some have not come yet.
    waits: bool,
}

impl Printer {
    /// For a task that was made.
    pub(super) fn new(detail: &Detail, format: Format) -> Self {
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
            began: Instant::now(),
            waits: false,
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
        if waiting > 0 && self.human && !self.waits && self.began.elapsed() >= LONG {
            self.waits = true;
            let who = match detail.targets.iter().find(|t| t.state == "queued") {
                Some(one) if waiting == 1 => plain(&one.hostname, 253),
                _ => format!("{waiting} envoys"),
            };
            let until = moment(detail.task.not_after);
            self.bar.suspend(|| {
                anstream::eprintln!(
                    "waiting for {who} to check in, until {until}; the task goes on without this command, and \
                     `vigocli task status {}` shows it",
                    plain(&detail.task.id, 64)
                );
            });
        }
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

/// Names those that were asked for and get nothing.
pub(super) fn left_out(created: &Created, format: Format) {
    if format == Format::Human {
        for name in &created.unknown {
            anstream::eprintln!("{}: no envoy is called so", plain(name, 253));
        }
        undecided(&created.undecided);
    }
}

/// Names those of whom nobody can say whether they were meant.
pub(super) fn undecided(names: &[String]) {
    for name in names {
        anstream::eprintln!("{}: left out, too little is known of it", plain(name, 253));
    }
}

/// Looks again and again until every envoy is done with.
pub(super) fn follow(
    server: &Connection,
    command: &'static str,
    created: &Created,
    format: Format,
    printer: &mut Printer,
) -> Outcome {
    let id = &created.task.task.id;
    left_out(created, format);
    let mut pause = SOON;
    let mut answered = Instant::now();
    let detail = loop {
        let looked = server.get(&path(id, ""), &[]).and_then(|json| {
            let detail: Detail = typed(json)?;
            printer.look(server, &detail)?;
            Ok(detail)
        });
        match looked {
            Ok(detail) => {
                answered = Instant::now();
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
