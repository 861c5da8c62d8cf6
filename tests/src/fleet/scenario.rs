//! What is simulated: a fleet, a server of its own, and one way of using it.

use super::envoy::{Envoy, News};
use super::load::{self, Load, Outcome};
use super::population::{Population, Problem};
use super::process::{Usage, usage};
use crate::generator;
use crate::processes::Server;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A way of using the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Check-ins that bring no news, each envoy on a connection that stays open
    Steady,
    /// The same, each on a new connection with a full handshake
    Reconnect,
    /// The same, each on a new connection that resumes the TLS session of the one before
    Resume,
    /// A check-in and the report of a run, on connections that stay open
    Report,
    /// Memory and time to start with that many envoys registered; none of them connects
    Registered,
    /// One module is edited: until the roots of all envoys are known again
    Publish,
    /// The server is killed and comes back with another signing key, and so do all envoys, on new connections
    Storm,
}

/// Pauses that an envoy makes before it gives up where it was asked to persist.
const ATTEMPTS: u32 = 7;

/// How large and how long.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Envoys.
    pub envoys: usize,
    /// Requests a second (check-ins with their reports count once).
    pub rate: f64,
    /// For how long; in a storm, over how long the envoys come back.
    pub seconds: f64,
    /// Modules of the policy.
    pub modules: usize,
    /// Resources of each module, at least ten.
    pub resources: usize,
    /// Node entries of the policy.
    pub entries: usize,
}

/// What a scenario showed: lines for people and a document for programs.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// One fact each.
    pub lines: Vec<String>,
    /// The same facts.
    pub document: serde_json::Map<String, Value>,
    /// Requests that were not answered as they should be. Never anything but empty on a server that works.
    pub failures: Vec<String>,
}

/// A fleet and its server. `server` stops when it is dropped.
pub struct Fleet {
    /// The server's process.
    pub server: Server,
    envoys: Vec<Arc<Mutex<Envoy>>>,
    size: Size,
}

impl Findings {
    fn note(&mut self, name: &str, line: String, value: Value) {
        self.lines.push(line);
        self.document.insert(name.to_owned(), value);
    }

    /// A phase with requests: how they fared and what the server spent on each.
    fn phase(&mut self, name: &str, what: &str, outcome: &Outcome, before: Usage, after: Usage) {
        let cpu = after.cpu.saturating_sub(before.cpu);
        let each = cpu.as_secs_f64() * 1e6 / outcome.succeeded().max(1) as f64;
        let ms = |share| outcome.percentile(share).as_secs_f64() * 1e3;
        self.lines.push(format!(
            "{name:<10} {} {what} in {:.1} s, {} failed: {each:.0} us CPU of the server each, latency ms p50 {:.1} p99 {:.1} p99.9 {:.1} max {:.1}",
            outcome.succeeded(), outcome.took.as_secs_f64(), outcome.failures.len(),
            ms(0.5), ms(0.99), ms(0.999), ms(1.0),
        ));
        let mut value = outcome.json();
        value["server_cpu_seconds"] = json!(cpu.as_secs_f64());
        value["server_cpu_us_each"] = json!(each);
        value["server_rss_bytes"] = json!(after.rss);
        self.document.insert(name.to_owned(), value);
        self.failures.extend(outcome.failures.iter().cloned());
    }
}

/// What checking one signature costs on this machine now, in microseconds of CPU: with other load on it, everything costs
/// more, and this says how much more.
fn yardstick() -> f64 {
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let signature = ir::signing::sign(&key, ir::signing::Domain::Request, b"yardstick");
    let rounds = 2000;
    let begin = usage(std::process::id()).unwrap_or_default().cpu;
    for _ in 0..rounds {
        let good =
            ir::signing::verify(&key.verifying_key(), ir::signing::Domain::Request, b"yardstick", &signature);
        std::hint::black_box(good);
    }
    let cpu = usage(std::process::id()).unwrap_or_default().cpu.saturating_sub(begin);
    cpu.as_secs_f64() * 1e6 / f64::from(rounds)
}

/// Plays one.
pub async fn play(scenario: Scenario, size: Size, dir: &Path) -> Result<Findings, Problem> {
    let mut findings = Findings::default();
    let each = yardstick();
    findings.note("signature_us", format!("yardstick  {each:.0} us to check one signature"), json!(each));
    match scenario {
        Scenario::Steady => steady(&mut Fleet::start(size, dir, false)?, &mut findings).await?,
        Scenario::Reconnect => reconnect(&mut Fleet::start(size, dir, false)?, &mut findings).await?,
        Scenario::Resume => reconnect(&mut Fleet::start(size, dir, true)?, &mut findings).await?,
        Scenario::Report => report(&mut Fleet::start(size, dir, false)?, &mut findings).await?,
        Scenario::Registered => registered(size, dir, &mut findings)?,
        Scenario::Publish => publish(size, dir, &mut findings)?,
        Scenario::Storm => storm(&mut Fleet::start(size, dir, false)?, &mut findings).await?,
    }
    Ok(findings)
}

impl Fleet {
    /// A server that knows the envoys and serves a generated policy, and the envoys, which have not spoken to it yet.
    pub fn start(size: Size, dir: &Path, resume: bool) -> Result<Fleet, Problem> {
        let (mut server, population) = set_up(size, dir, false)?;
        server.start();
        let envoys = (0..size.envoys)
            .map(|n| {
                Ok(Mutex::new(Envoy::new(population.cluster.clone(), population.identity(n)?, resume)?)
                    .into())
            })
            .collect::<Result<_, Problem>>()?;
        Ok(Fleet { server, envoys, size })
    }

    fn usage(&self) -> Result<Usage, Problem> {
        Ok(usage(self.server.pid().ok_or("the server does not run")?)?)
    }

    /// One check-in of each `stays`, spread so that neither side is busy; it has to bring `news`.
    async fn each(&self, over: Duration, news: News, stays: bool) -> Outcome {
        load::run(Load { requests: self.envoys.len(), over }, |n| self.request(n, news, stays, false, true))
            .await
    }

    fn request(
        &self,
        n: usize,
        news: News,
        stays: bool,
        reports: bool,
        persists: bool,
    ) -> impl Future<Output = Result<(), String>> + Send + 'static {
        let envoy = self.envoys.get(n % self.envoys.len().max(1)).cloned();
        async move {
            let envoy = envoy.ok_or("an empty fleet")?;
            let mut envoy = envoy.lock().await;
            let mut got = envoy.check_in().await;
            // An agent tries again after a pause that grows and is never the same; how long the server makes it wait
            // counts.
            for attempt in 0..if persists { ATTEMPTS } else { 0 } {
                if got.is_ok() {
                    break;
                }
                let most = 1u32 << attempt;
                let share = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
                tokio::time::sleep(Duration::from_secs_f64(share * f64::from(most))).await;
                got = envoy.check_in().await;
            }
            if reports && got.is_ok() {
                envoy.report(2).await?;
            }
            if !stays {
                envoy.disconnect();
            }
            match got? {
                got if got == news => Ok(()),
                got => Err(format!("{got:?} instead of {news:?}")),
            }
        }
    }

    /// Everybody has the first bundle.
    async fn warm(&self, findings: &mut Findings, stays: bool) -> Result<(), Problem> {
        let before = self.usage()?;
        let over = Duration::from_secs_f64(self.envoys.len() as f64 / self.size.rate.clamp(1.0, 500.0));
        let first = self.each(over, News::Bundle, stays).await;
        findings.phase("first", "first check-ins", &first, before, self.usage()?);
        Ok(())
    }

    /// The highest and the lowest epoch that an envoy trusts, and all requests so far.
    pub async fn epochs_and_requests(&self) -> (u64, u64, u64) {
        let (mut highest, mut lowest, mut requests) = (0, u64::MAX, 0);
        for envoy in &self.envoys {
            let envoy = envoy.lock().await;
            highest = highest.max(envoy.epoch());
            lowest = lowest.min(envoy.epoch());
            requests += envoy.requests;
        }
        (highest, lowest, requests)
    }
}

/// A server with a policy and registered envoys, not started.
fn set_up(size: Size, dir: &Path, seen: bool) -> Result<(Server, Population), Problem> {
    let server = Server::init(dir, &[]);
    let policy = server.dir.join("policy");
    let _ = std::fs::remove_dir_all(&policy);
    std::fs::create_dir_all(&policy)?;
    generator::generate(&policy, size.modules, size.resources, size.entries)?;
    let population = Population::of(&server, size.entries)?;
    population.register(size.envoys, seen)?;
    Ok((server, population))
}

async fn steady(fleet: &mut Fleet, findings: &mut Findings) -> Result<(), Problem> {
    // What the first half costs besides is everything that is made once, such as the variants.
    let rest = fleet.envoys.split_off(fleet.envoys.len() / 2);
    fleet.warm(findings, true).await?;
    let half = fleet.usage()?;
    let (first, second) = (std::mem::take(&mut fleet.envoys), rest.len().max(1) as u64);
    fleet.envoys = rest;
    fleet.warm(findings, true).await?;
    let rest = std::mem::replace(&mut fleet.envoys, first);
    fleet.envoys.extend(rest);
    let before = fleet.usage()?;
    let each = before.rss.saturating_sub(half.rss) / second;
    let line = format!("memory     {each} bytes of the server for each open connection with its envoy");
    findings.note("bytes_per_connection", line, json!(each));
    let load = Load::rate(fleet.size.rate, fleet.size.seconds);
    let outcome = load::run(load, |n| fleet.request(n, News::Same, true, false, false)).await;
    findings.phase("steady", "check-ins without news", &outcome, before, fleet.usage()?);
    Ok(())
}

async fn reconnect(fleet: &mut Fleet, findings: &mut Findings) -> Result<(), Problem> {
    fleet.warm(findings, false).await?;
    let before = fleet.usage()?;
    let load = Load::rate(fleet.size.rate, fleet.size.seconds);
    let outcome = load::run(load, |n| fleet.request(n, News::Same, false, false, false)).await;
    findings.phase("reconnect", "check-ins on new connections", &outcome, before, fleet.usage()?);
    Ok(())
}

async fn report(fleet: &mut Fleet, findings: &mut Findings) -> Result<(), Problem> {
    fleet.warm(findings, true).await?;
    let before = fleet.usage()?;
    let load = Load::rate(fleet.size.rate, fleet.size.seconds);
    let outcome = load::run(load, |n| fleet.request(n, News::Same, true, true, false)).await;
    findings.phase("report", "check-ins with a report", &outcome, before, fleet.usage()?);
    Ok(())
}

fn registered(size: Size, dir: &Path, findings: &mut Findings) -> Result<(), Problem> {
    let start = |envoys: usize, dir: &Path| -> Result<(Duration, Usage), Problem> {
        std::fs::create_dir_all(dir)?;
        let (mut server, _) = set_up(Size { envoys, ..size }, dir, true)?;
        server.patience = Duration::from_secs(600);
        let begin = Instant::now();
        server.start();
        Ok((begin.elapsed(), usage(server.pid().ok_or("the server does not run")?)?))
    };
    let (_, empty) = start(0, &dir.join("empty"))?;
    let (took, full) = start(size.envoys, &dir.join("full"))?;
    let each = full.rss.saturating_sub(empty.rss) / size.envoys.max(1) as u64;
    let (seconds, mib) = (took.as_secs_f64(), full.rss >> 20);
    let line = format!("start      {seconds:.1} s until it serves, {:.1} s of CPU", full.cpu.as_secs_f64());
    findings.note("start_seconds", line, json!(seconds));
    findings.note("start_cpu_seconds", format!("memory     {mib} MiB"), json!(full.cpu.as_secs_f64()));
    findings.document.insert("server_rss_bytes".to_owned(), json!(full.rss));
    let line = format!("memory     {each} bytes for each registered envoy");
    findings.note("bytes_per_envoy", line, json!(each));
    Ok(())
}

fn publish(size: Size, dir: &Path, findings: &mut Findings) -> Result<(), Problem> {
    let (mut server, _) = set_up(size, dir, true)?;
    server.start();
    let path = server.dir.join("policy/modules/m0000.vgo");
    let text = std::fs::read_to_string(&path)?;
    let mut times = Vec::new();
    for round in 1..=6 {
        // The compiler is let finish what it does after a publish.
        let mut busy = usage(server.pid().ok_or("the server does not run")?)?.cpu;
        loop {
            std::thread::sleep(Duration::from_millis(300));
            let now = usage(server.pid().ok_or("the server does not run")?)?.cpu;
            if now - busy < Duration::from_millis(30) {
                break;
            }
            busy = now;
        }
        let from = server.log().len();
        let begin = Instant::now();
        std::fs::write(&path, text.replacen("0644", &format!("06{round}0"), 1))?;
        let line = server.wait_for_log(from, "policy published");
        let wall = begin.elapsed().as_secs_f64() * 1000.0;
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        let field = |name: &str| entry.get(name).cloned().unwrap_or_default();
        findings.lines.push(format!(
            "publish    {} ms for the roots of {} envoys, {} of them new, {} variants; {wall:.0} ms after the file was written",
            field("took_ms"), field("envoys"), field("changed_envoys"), field("variants"),
        ));
        times.push(json!({
            "took_ms": field("took_ms"), "envoys": field("envoys"), "changed_envoys": field("changed_envoys"),
            "variants": field("variants"), "after_write_ms": wall,
        }));
    }
    findings.document.insert("publishes".to_owned(), json!(times));
    Ok(())
}

async fn storm(fleet: &mut Fleet, findings: &mut Findings) -> Result<(), Problem> {
    fleet.warm(findings, false).await?;
    let (_, epoch, requests) = fleet.epochs_and_requests().await;
    fleet.server.kill();
    fleet.server.start();
    let before = fleet.usage()?;
    let over = Duration::from_secs_f64(fleet.size.seconds);
    let outcome = fleet.each(over, News::Renewed, false).await;
    findings.phase("storm", "envoys took the new key", &outcome, before, fleet.usage()?);
    let (_, lowest, after) = fleet.epochs_and_requests().await;
    let each = (after - requests) as f64 / fleet.envoys.len().max(1) as f64;
    let line = format!("requests   {each:.2} for each envoy: one under the old key, one under the new");
    findings.note("requests_each", line, json!(each));
    if lowest <= epoch {
        findings.failures.push(format!("an envoy still trusts epoch {lowest}"));
    }
    Ok(())
}
