//! Output and results on their way from a task to a stream.

use super::{Open, Tasks, lock};
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

impl Open {
    /// Takes what was written. No piece ends in the middle of a character: each is read by itself.
    pub(super) fn take(&mut self, source: u8, bytes: &[u8]) {
        let mut all = self.unfinished.remove(&source).unwrap_or_default();
        all.extend_from_slice(bytes);
        let rest = all.split_off(all.len() - begun(&all));
        if !rest.is_empty() {
            self.unfinished.insert(source, rest);
        }
        self.add(source, &all);
    }

    /// Nothing more is written.
    pub(super) fn flush(&mut self) {
        for (source, rest) in std::mem::take(&mut self.unfinished) {
            self.add(source, &rest);
        }
        self.growing = None;
    }

    fn add(&mut self, source: u8, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = match self.pieces.last() {
                Some(last) if self.growing.is_some() && last.source == source => {
                    MAX_PIECE_BYTES.saturating_sub(last.data.len())
                }
                _ => 0,
            };
            let (now, later) = bytes.split_at(between_characters(bytes, room));
            if now.is_empty() {
                self.pieces.push(Piece { source, data: Vec::new() });
                self.growing = Some(Instant::now());
                continue;
            }
            if let Some(last) = self.pieces.last_mut() {
                last.data.extend_from_slice(now);
            }
            bytes = later;
        }
    }
}

/// How many bytes at the end begin a character that does not end there.
fn begun(bytes: &[u8]) -> usize {
    let tail = bytes.iter().rev().take(3).position(|byte| *byte >= 0xC0);
    tail.map_or(0, |at| {
        let lead = bytes.iter().rev().nth(at).copied().unwrap_or(0);
        let whole = match lead {
            0xC0..0xE0 => 2,
            0xE0..0xF0 => 3,
            _ => 4,
        };
        if at + 1 < whole { at + 1 } else { 0 }
    })
}

/// The last place up to `most` that is not within a character. What is no text has such places anywhere.
fn between_characters(bytes: &[u8], most: usize) -> usize {
    if most >= bytes.len() {
        return bytes.len();
    }
    let head = bytes.get(..most).unwrap_or_default();
    most - begun(head)
}

impl Tasks {
    pub(super) fn output(&self, id: &str, source: OutputSource, bytes: &[u8]) {
        let mut state = lock(&self.state);
        let Some(open) = state.open.get_mut(id) else { return };
        open.take(source as u8, bytes);
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
