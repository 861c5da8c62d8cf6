//! Output and results on their way from a task to a stream.

use super::{Tasks, lock};
use crate::store::Piece;
use protocol::pb::agent_frame::What;
use protocol::pb::{AgentFrame, OutputSource, TaskOutput, TaskStarted};
use protocol::task::MAX_PIECE_BYTES;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long output is collected before it is sent.
const GATHER: Duration = Duration::from_millis(200);

/// How far one stream has come with what there is to send.
#[derive(Debug, Default)]
pub struct Cursors(BTreeMap<String, Cursor>);

#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    started: bool,
    pieces: usize,
    ended: bool,
}

impl Tasks {
    pub(super) fn output(&self, id: &str, source: OutputSource, mut bytes: &[u8]) {
        let source = source as u8;
        let mut state = lock(&self.state);
        let Some(open) = state.open.get_mut(id) else { return };
        while !bytes.is_empty() {
            let room = match open.pieces.last() {
                Some(last) if open.growing.is_some() && last.source == source => {
                    MAX_PIECE_BYTES.saturating_sub(last.data.len())
                }
                _ => 0,
            };
            if room == 0 {
                open.pieces.push(Piece { source, data: Vec::new() });
                open.growing = Some(Instant::now());
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(last) = open.pieces.last_mut() {
                last.data.extend_from_slice(now);
            }
            bytes = later;
        }
        drop(state);
        self.changed.notify_one();
    }

    /// What a stream that has come so far sends next; and when to ask again, where there is output that is still
    /// being collected.
    pub fn next_frame(&self, cursors: &mut Cursors) -> (Option<AgentFrame>, Option<Duration>) {
        let mut state = lock(&self.state);
        cursors.0.retain(|id, _| state.open.contains_key(id));
        let mut again = None;
        for (id, open) in &mut state.open {
            let cursor = cursors.0.entry(id.clone()).or_default();
            if cursor.ended {
                continue;
            }
            if let (Some(started_at), false) = (open.started_at, cursor.started) {
                cursor.started = true;
                let started = TaskStarted { task_id: id.clone(), started_at };
                return (Some(frame(What::Started(started))), None);
            }
            if let Some(piece) = open.pieces.get(cursor.pieces) {
                let last = cursor.pieces + 1 == open.pieces.len();
                if let (true, Some(since)) = (last, open.growing)
                    && piece.data.len() < MAX_PIECE_BYTES
                    && since.elapsed() < GATHER
                {
                    again = Some(GATHER - since.elapsed().min(GATHER));
                    continue;
                }
                if last {
                    open.growing = None;
                }
                let output = TaskOutput {
                    task_id: id.clone(),
                    piece: u32::try_from(cursor.pieces).unwrap_or(u32::MAX),
                    source: piece.source.into(),
                    data: piece.data.clone(),
                };
                cursor.pieces += 1;
                return (Some(frame(What::Output(output))), None);
            }
            if let Some(ended) = &open.ended {
                cursor.ended = true;
                return (Some(frame(What::Ended(ended.clone()))), None);
            }
        }
        (None, again)
    }
}

fn frame(what: What) -> AgentFrame {
    AgentFrame { what: Some(what) }
}
