//! Streams with an agent that does exactly what a test tells it to.

use crate::harness::*;
use prost::Message;
use protocol::pb::agent_frame::What as Said;
use protocol::pb::server_frame::What;
use protocol::pb::{
    AgentFrame, LaterFrame, OutputSource, ServerFrame, SignedFrame, StreamHello, TaskEnded, TaskOrder,
    TaskOutcome, TaskOutput, TaskStarted, signed_frame,
};
use protocol::request::{self, Rpc};
use runtime_server::dispatch::Limits;
use runtime_server::dispatch::task::{self, Job};
use runtime_server::store::tasks::{self, NewTarget, PieceRow, Reach, State, TargetRow};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

pub const QUICK: Duration = Duration::from_millis(100);

pub struct Stream {
    frames: mpsc::Sender<SignedFrame>,
    pub incoming: Streaming<ServerFrame>,
    header: Vec<u8>,
    number: u64,
}

impl Stream {
    pub async fn open(cluster: &Cluster, agent: &mut Agent, unreported: &[&str]) -> Result<Stream, Status> {
        let hello = StreamHello {
            commands: true,
            unreported: unreported.iter().map(|id| (*id).to_owned()).collect(),
            epoch: agent.trusted.epoch,
        };
        let header = agent.header(cluster);
        let opening = request::sign(&agent.key, Rpc::Stream, &header, &hello.encode_to_vec());
        Self::with(cluster, agent, signed_frame::Frame::Opening(opening)).await
    }

    pub async fn with(
        cluster: &Cluster,
        agent: &Agent,
        first: signed_frame::Frame,
    ) -> Result<Stream, Status> {
        let header = match &first {
            signed_frame::Frame::Opening(opening) => opening.header.clone(),
            signed_frame::Frame::Later(_) => Vec::new(),
        };
        let (frames, outgoing) = mpsc::channel(64);
        frames.send(SignedFrame { frame: Some(first) }).await.unwrap();
        let mut client = agent.client(cluster).await;
        let incoming = client.stream(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(Stream { frames, incoming, header, number: 0 })
    }

    /// What the server says next, heartbeats left out.
    pub async fn hear(&mut self) -> Result<Option<What>, Status> {
        loop {
            let limit = Duration::from_secs(20);
            let heard = tokio::time::timeout(limit, self.incoming.message()).await.expect("an answer");
            match heard?.and_then(|f| f.what) {
                Some(What::Heartbeat(_)) => {}
                other => return Ok(other),
            }
        }
    }

    pub async fn task(&mut self, agent: &Agent) -> TaskOrder {
        loop {
            match self.hear().await.unwrap() {
                Some(What::Task(envelope)) => {
                    let reply = &agent.reply;
                    let key = &agent.trusted.key;
                    return protocol::task::open(
                        key,
                        &envelope,
                        &reply.cluster_id,
                        &reply.envoy_id,
                        &agent.nonce,
                    )
                    .unwrap();
                }
                Some(What::Opened(_) | What::PolicyChanged(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn signed(&mut self, agent: &Agent, what: Said) -> LaterFrame {
        let mut signer = protocol::stream::FrameSigner::new(&agent.key, &self.header);
        self.number += 1;
        let frame = AgentFrame { what: Some(what) };
        let mut later = signer.sign(&frame);
        while later.number < self.number {
            later = signer.sign(&frame);
        }
        later
    }

    pub async fn say(&mut self, agent: &Agent, what: Said) {
        let later = self.signed(agent, what);
        // The server may be gone; then the test sees it in what it hears.
        let _ = self.frames.send(SignedFrame { frame: Some(signed_frame::Frame::Later(later)) }).await;
    }

    /// The status that the server ends the stream with.
    pub async fn end(&mut self) -> Status {
        loop {
            match self.hear().await {
                Err(status) => return status,
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a word"),
            }
        }
    }
}

pub fn uptime() -> Job {
    Job { command: vec!["uptime".into()], ..Job::default() }
}

pub async fn ordered(cluster: &Cluster, agent: &Agent, job: &Job) -> String {
    ordered_as(cluster, agent, job, None).await
}

async fn ordered_as(cluster: &Cluster, agent: &Agent, job: &Job, id: Option<&str>) -> String {
    let target = NewTarget {
        envoy_id: agent.reply.envoy_id.clone(),
        hostname: "web-01".into(),
        reach: Reach::Promotable,
    };
    let job = job.check().unwrap();
    let context = cluster.server().context();
    let id = id.map(str::to_owned);
    task::create(context, &job, vec![target], "test".into(), id, None).await.unwrap().id
}

pub async fn target(cluster: &Cluster, id: &str) -> TargetRow {
    let id = id.to_owned();
    let store = &cluster.server().context().store;
    store.read(move |conn| tasks::targets(conn, &id)).await.unwrap().remove(0)
}

pub async fn state(cluster: &Cluster, id: &str, expected: State) -> TargetRow {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let row = target(cluster, id).await;
        if row.state == expected {
            return row;
        }
        assert!(Instant::now() < deadline, "{row:?} is not {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn pieces(cluster: &Cluster, id: &str, agent: &Agent) -> Vec<PieceRow> {
    let (id, envoy) = (id.to_owned(), agent.reply.envoy_id.clone());
    let store = &cluster.server().context().store;
    store.read(move |conn| tasks::output(conn, &id, &envoy, 0, 100)).await.unwrap()
}

pub fn started(id: &str) -> Said {
    Said::Started(TaskStarted { task_id: id.into(), started_at: 1 })
}

pub fn output(id: &str, piece: u32, data: &[u8]) -> Said {
    let source = OutputSource::Stdout.into();
    Said::Output(TaskOutput { task_id: id.into(), piece, source, data: data.to_vec() })
}

pub fn ended(id: &str, exit_code: i32) -> Said {
    let outcome = if exit_code == 0 { TaskOutcome::TaskOk } else { TaskOutcome::TaskFailed };
    Said::Ended(TaskEnded {
        task_id: id.into(),
        outcome: outcome.into(),
        exit_code: Some(exit_code),
        pieces: 1,
        ..TaskEnded::default()
    })
}

/// The same of a command that wrote so many pieces of output.
fn after(pieces: u32, ended: Said) -> Said {
    match ended {
        Said::Ended(ended) => Said::Ended(TaskEnded { pieces, ..ended }),
        other => other,
    }
}

/// Whether the server asks for a stream at a check-in.
pub async fn asked(cluster: &Cluster, agent: &mut Agent) -> bool {
    let signed = agent.signed(cluster);
    agent.send(cluster, signed).await.unwrap().stream_requested
}

#[tokio::test]
async fn a_task_goes_out_and_its_result_comes_in() {
    let cluster = Cluster::with(|c| c.checkin.streams = 0).await;
    let mut agent = cluster.agent("web-01").await;
    assert!(!asked(&cluster, &mut agent).await);
    let id = ordered(&cluster, &agent, &uptime()).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !asked(&cluster, &mut agent).await {
        assert!(Instant::now() < deadline, "no stream is asked for");
    }
    let mut stream = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    let order = stream.task(&agent).await;
    assert_eq!(order.task_id, id);
    assert_eq!(order.epoch, agent.trusted.epoch);
    assert!(!asked(&cluster, &mut agent).await, "it has a stream");
    stream.say(&agent, started(&id)).await;
    state(&cluster, &id, State::Running).await;
    // output is there before the end
    stream.say(&agent, output(&id, 0, b"up 3 days\n")).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while pieces(&cluster, &id, &agent).await.is_empty() {
        assert!(Instant::now() < deadline, "no output");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // a second task goes out on the open stream at once
    let second = ordered(&cluster, &agent, &uptime()).await;
    assert_eq!(stream.task(&agent).await.task_id, second);
    stream.say(&agent, ended(&id, 3)).await;
    assert_eq!(stream.hear().await.unwrap(), Some(What::Acknowledged(id.clone())));
    let row = target(&cluster, &id).await;
    assert_eq!((row.state, row.exit_code), (State::Failed, Some(3)));
    // the result again, with another content: acknowledged, the first one stays
    stream.say(&agent, ended(&id, 0)).await;
    assert_eq!(stream.hear().await.unwrap(), Some(What::Acknowledged(id.clone())));
    assert_eq!(target(&cluster, &id).await.state, State::Failed);
    assert_eq!(pieces(&cluster, &id, &agent).await.len(), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn case_034_a_revoked_envoy_loses_its_stream_and_gets_nothing_more() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let mut stream = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    assert!(matches!(stream.hear().await.unwrap(), Some(What::Opened(_))));
    let (id, now) = (agent.reply.envoy_id.clone(), cluster.now());
    let revoked = cluster
        .server()
        .context()
        .store
        .call(move |conn| runtime_server::store::envoys::revoke(conn, &id, now));
    assert!(revoked.await.unwrap());
    let since = Instant::now();
    let status = stream.end().await;
    assert_eq!(reason(&status), (Code::PermissionDenied, "revoked"));
    assert!(since.elapsed() <= Duration::from_secs(5), "{:?}", since.elapsed());
    refused(Stream::open(&cluster, &mut agent, &[]).await.map(|_| ()), Code::PermissionDenied, "revoked");
    cluster.stop().await;
}

#[tokio::test]
async fn case_077_an_agent_that_never_reads_is_cut_off() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let context = cluster.server().context();
    *context.dispatch.limits.lock().unwrap() = Limits { heartbeat: QUICK, linger: HOUR, keep: 0 };
    let long = "x".repeat(60_000);
    let job = Job { command: vec!["echo".into(), long], ..Job::default() };
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(ordered(&cluster, &agent, &job).await);
    }
    let stream = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    eventually(|| context.dispatch.streams() == 0).await;
    let mut sent = 0;
    for id in &ids {
        sent += usize::from(target(&cluster, id).await.state == State::Sent);
    }
    assert_eq!(sent, 8, "what was sent waits in memory");
    drop(stream);
    // its twin, which reads, gets them all
    *context.dispatch.limits.lock().unwrap() = Limits::default();
    let mut stream = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    for _ in &ids {
        let id = stream.task(&agent).await.task_id;
        stream.say(&agent, started(&id)).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn case_066_what_was_sent_and_not_begun_is_sent_again_and_what_was_begun_is_not() {
    let mut cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let (a, b) = (ordered(&cluster, &agent, &uptime()).await, ordered(&cluster, &agent, &uptime()).await);
    let c = ordered(&cluster, &agent, &uptime()).await;
    let mut stream = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    for expected in [&a, &b, &c] {
        assert_eq!(stream.task(&agent).await.task_id, *expected);
    }
    stream.say(&agent, started(&b)).await;
    stream.say(&agent, started(&c)).await;
    stream.say(&agent, output(&c, 0, b"one")).await;
    state(&cluster, &b, State::Running).await;
    state(&cluster, &c, State::Running).await;
    // a new process, with another key
    cluster.restart().await;
    let mut old = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    match old.hear().await.unwrap() {
        Some(What::StaleKey(statement)) => agent.trusted = trust(&cluster, &statement),
        other => panic!("{other:?}"),
    }
    // the agent knows of `c` and has forgotten `b`
    let mut stream = Stream::open(&cluster, &mut agent, &[&c]).await.unwrap();
    assert_eq!(stream.task(&agent).await.task_id, a, "and neither b nor c");
    assert_eq!(target(&cluster, &b).await.state, State::Unknown);
    stream.say(&agent, started(&c)).await;
    stream.say(&agent, output(&c, 0, b"one")).await;
    stream.say(&agent, output(&c, 1, b"two")).await;
    stream.say(&agent, after(2, ended(&c, 0))).await;
    assert_eq!(stream.hear().await.unwrap(), Some(What::Acknowledged(c.clone())));
    let texts: Vec<Vec<u8>> = pieces(&cluster, &c, &agent).await.into_iter().map(|p| p.data).collect();
    assert_eq!(texts, [b"one".to_vec(), b"two".to_vec()]);
    cluster.stop().await;
}

#[tokio::test]
async fn work_is_told_to_an_open_stream_whatever_its_id_is() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let mut stream = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    // Of a server whose clock is ahead; the other one's is behind.
    for id in ["ffffffff-0000-7000-8000-000000000000", "00000000-0000-7000-8000-000000000000"] {
        ordered_as(&cluster, &agent, &uptime(), Some(id)).await;
        assert_eq!(stream.task(&agent).await.task_id, id);
        stream.say(&agent, started(id)).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn what_a_second_run_writes_takes_the_place_of_what_the_first_one_did() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let id = ordered(&cluster, &agent, &Job { idempotent: true, ..uptime() }).await;
    let mut stream = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    assert_eq!(stream.task(&agent).await.task_id, id);
    stream.say(&agent, started(&id)).await;
    for piece in 0..3 {
        stream.say(&agent, output(&id, piece, b"first")).await;
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while pieces(&cluster, &id, &agent).await.len() < 3 {
        assert!(Instant::now() < deadline, "no output");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The agent died and ran it once more.
    drop(stream);
    let mut stream = Stream::open(&cluster, &mut agent, &[&id]).await.unwrap();
    assert!(matches!(stream.hear().await.unwrap(), Some(What::Opened(_))));
    stream.say(&agent, started(&id)).await;
    stream.say(&agent, output(&id, 0, b"second")).await;
    stream.say(&agent, ended(&id, 0)).await;
    assert_eq!(stream.hear().await.unwrap(), Some(What::Acknowledged(id.clone())));
    let texts: Vec<Vec<u8>> = pieces(&cluster, &id, &agent).await.into_iter().map(|p| p.data).collect();
    assert_eq!(texts, [b"second".to_vec()]);
    cluster.stop().await;
}

#[tokio::test]
async fn time_runs_out_for_tasks_that_nobody_takes() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let waiting = ordered(&cluster, &agent, &uptime()).await;
    let mut stream = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    assert_eq!(stream.task(&agent).await.task_id, waiting);
    drop(stream);
    // what is ordered before the server has noticed would be sent to nobody
    let context = cluster.server().context();
    eventually(|| context.dispatch.streams() == 0).await;
    let late = ordered(&cluster, &agent, &Job { wait: Some("1h".into()), ..uptime() }).await;
    cluster.advance(Duration::from_secs(3601));
    state(&cluster, &waiting, State::Unknown).await;
    state(&cluster, &late, State::Expired).await;
    // it had run after all
    let mut stream = Stream::open(&cluster, &mut agent, &[&waiting]).await.unwrap();
    assert!(matches!(stream.hear().await.unwrap(), Some(What::Opened(_))));
    stream.say(&agent, ended(&waiting, 0)).await;
    assert_eq!(stream.hear().await.unwrap(), Some(What::Acknowledged(waiting.clone())));
    assert_eq!(target(&cluster, &waiting).await.state, State::Ok);
    cluster.stop().await;
}

#[tokio::test]
async fn case_041_an_agent_speaks_for_itself_and_keeps_the_rules() {
    let cluster = Cluster::start().await;
    let (mut a, mut b) = (cluster.agent("a").await, cluster.agent("b").await);
    let id = ordered(&cluster, &a, &Job { max_output: Some(10), ..uptime() }).await;
    // a result of a task of another envoy changes nothing
    let mut stream = Stream::open(&cluster, &mut b, &[&id]).await.unwrap();
    assert!(matches!(stream.hear().await.unwrap(), Some(What::Opened(_))));
    stream.say(&b, ended(&id, 0)).await;
    assert_eq!(stream.hear().await.unwrap(), Some(What::Acknowledged(id.clone())));
    assert_eq!(target(&cluster, &id).await.state, State::Queued);

    // more output than was asked for
    let mut stream = Stream::open(&cluster, &mut a, &[]).await.unwrap();
    stream.task(&a).await;
    stream.say(&a, output(&id, 0, b"0123456789a")).await;
    assert_eq!(reason(&stream.end().await), (Code::InvalidArgument, "malformed"));
    // a frame twice, and one of another key
    for forge in [true, false] {
        let mut stream = Stream::open(&cluster, &mut a, &[]).await.unwrap();
        let frame = stream.signed(if forge { &b } else { &a }, Said::Heartbeat(0));
        for _ in 0..2 {
            let later = signed_frame::Frame::Later(frame.clone());
            let _ = stream.frames.send(SignedFrame { frame: Some(later) }).await;
        }
        assert_eq!(reason(&stream.end().await), (Code::Unauthenticated, "bad-signature"));
    }
    // an opening that is none, or one that was used
    let mut signer = protocol::stream::FrameSigner::new(&a.key, b"");
    let later = signer.sign(&AgentFrame { what: Some(Said::Heartbeat(1)) });
    let opened = Stream::with(&cluster, &a, signed_frame::Frame::Later(later)).await.map(|_| ());
    refused(opened, Code::InvalidArgument, "malformed");
    let hello = StreamHello::default().encode_to_vec();
    let header = a.header(&cluster);
    let opening = request::sign(&a.key, Rpc::Stream, &header, &hello);
    Stream::with(&cluster, &a, signed_frame::Frame::Opening(opening.clone())).await.unwrap();
    let again = Stream::with(&cluster, &a, signed_frame::Frame::Opening(opening.clone())).await.map(|_| ());
    refused(again, Code::Aborted, "replay");
    let stolen = Stream::with(&cluster, &b, signed_frame::Frame::Opening(opening)).await.map(|_| ());
    refused(stolen, Code::PermissionDenied, "wrong-envoy");
    cluster.stop().await;
}

#[tokio::test]
async fn an_idle_stream_is_released_and_a_change_of_the_policy_is_told() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let context = cluster.server().context();
    let mut stream = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    assert!(matches!(stream.hear().await.unwrap(), Some(What::Opened(_))));
    cluster.policy.edit(|p| p.vars = "changed".into());
    cluster.server().reload().await.unwrap();
    assert!(matches!(stream.hear().await.unwrap(), Some(What::PolicyChanged(_))));
    drop(stream);
    *context.dispatch.limits.lock().unwrap() = Limits { heartbeat: HOUR, linger: QUICK, keep: 0 };
    let mut stream = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    assert!(matches!(stream.hear().await.unwrap(), Some(What::Opened(_))));
    assert!(matches!(stream.hear().await.unwrap(), Some(What::Release(_))));
    // a newer stream takes the place of an older one
    let mut newer = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    assert!(matches!(newer.hear().await.unwrap(), Some(What::Opened(_))));
    assert_eq!(stream.end().await.code(), Code::Unavailable);
    cluster.stop().await;
}

fn cancelled(id: &str) -> Said {
    let outcome = TaskOutcome::TaskCancelled.into();
    Said::Ended(TaskEnded { task_id: id.into(), outcome, ..TaskEnded::default() })
}

#[tokio::test]
async fn a_task_is_taken_back_wherever_it_is() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let context = cluster.server().context().clone();
    let cancel = |id: &str| {
        let (context, id) = (context.clone(), id.to_owned());
        async move { task::cancel(&context, &id, "ann".into()).await.unwrap() }
    };
    // not sent yet: it never will be
    let waiting = ordered(&cluster, &agent, &uptime()).await;
    assert_eq!(cancel(&waiting).await, (1, 0));
    assert_eq!(target(&cluster, &waiting).await.state, State::Cancelled);
    assert_eq!(cancel(&waiting).await, (0, 0), "it is over");

    // begun: the agent is told, and what it says counts
    let (a, b) = (ordered(&cluster, &agent, &uptime()).await, ordered(&cluster, &agent, &uptime()).await);
    let mut stream = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    assert_eq!(stream.task(&agent).await.task_id, a, "and not the one that was taken back");
    assert_eq!(stream.task(&agent).await.task_id, b);
    stream.say(&agent, started(&a)).await;
    stream.say(&agent, output(&a, 0, b"half of it")).await;
    state(&cluster, &a, State::Running).await;
    assert_eq!(cancel(&a).await, (0, 1));
    assert_eq!(stream.hear().await.unwrap(), Some(What::Cancel(a.clone())));
    assert_eq!(target(&cluster, &a).await.state, State::Running, "until the agent says so");
    stream.say(&agent, cancelled(&a)).await;
    assert_eq!(stream.hear().await.unwrap(), Some(What::Acknowledged(a.clone())));
    assert_eq!(target(&cluster, &a).await.state, State::Cancelled);
    assert_eq!(pieces(&cluster, &a, &agent).await.len(), 1, "what it wrote is kept");
    // its end was under way already: then it stands
    assert_eq!(cancel(&b).await, (0, 1));
    assert_eq!(stream.hear().await.unwrap(), Some(What::Cancel(b.clone())));
    stream.say(&agent, ended(&b, 0)).await;
    assert_eq!(stream.hear().await.unwrap(), Some(What::Acknowledged(b.clone())));
    assert_eq!(target(&cluster, &b).await.state, State::Ok);

    // sent on a stream that broke: an agent that has no record of it is not sent it again, and one that has is told
    let (c, d) = (ordered(&cluster, &agent, &uptime()).await, ordered(&cluster, &agent, &uptime()).await);
    assert_eq!(stream.task(&agent).await.task_id, c);
    assert_eq!(stream.task(&agent).await.task_id, d);
    drop(stream);
    for id in [&c, &d] {
        assert_eq!(cancel(id).await, (0, 1));
    }
    let mut stream = Stream::open(&cluster, &mut agent, &[&d]).await.unwrap();
    assert!(matches!(stream.hear().await.unwrap(), Some(What::Opened(_))));
    assert_eq!(stream.hear().await.unwrap(), Some(What::Cancel(d.clone())));
    state(&cluster, &c, State::Cancelled).await;

    // nobody answers: in the end it is not known
    drop(stream);
    cluster.advance(Duration::from_secs(121));
    state(&cluster, &d, State::Unknown).await;
    cluster.stop().await;
}
