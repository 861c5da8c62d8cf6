//! Probes that wait, made before it is their turn.
//!
//! Most runs change nothing, and spend their time waiting for programs and servers. Such probes are under way side by
//! side, for a few resources ahead. They stop for good when the first thing has to be changed: what is under way is waited
//! for and thrown away, and the rest of the run looks at each resource in its turn. So nothing is looked at while
//! something changes, nothing rests on how the host was before a change, and a run comes to the same, in the same order, as
//! one that takes one resource after the other.

use super::{End, Evaluated, Looked, look};
use crate::resource::{Context, Executor};
use std::collections::VecDeque;
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Probes that are under way at the same time. They wait, so it has little to do with how many cores there are; but a
/// small host is not to be filled with programs that ask something.
pub(super) const MOST: usize = 4;

/// What is under way; see the module.
pub(super) struct Ahead<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    context: &'scope Context<'scope>,
    most: usize,
    /// The first resource that was not considered.
    cursor: usize,
    foreseen: VecDeque<(usize, Foreseen<'scope>)>,
}

enum Foreseen<'scope> {
    Over(End),
    Looking(ScopedJoinHandle<'scope, Looked>),
}

impl<'scope, 'env> Ahead<'scope, 'env> {
    pub(super) fn new(
        scope: &'scope Scope<'scope, 'env>,
        context: &'scope Context<'scope>,
        most: usize,
    ) -> Self {
        Ahead { scope, context, most, cursor: 0, foreseen: VecDeque::new() }
    }

    /// The next of `count` resources to consider while it is the turn of `at`; none while enough is under way.
    pub(super) fn next(&mut self, count: usize, at: usize) -> Option<usize> {
        let next = self.cursor.max(at);
        if self.foreseen.len() >= self.most || next >= count {
            return None;
        }
        self.cursor = next + 1;
        Some(next)
    }

    /// Begins what has to be looked at, and keeps what is over already.
    pub(super) fn begin(&mut self, at: usize, executor: &'static dyn Executor, evaluated: Evaluated) {
        let foreseen = match evaluated {
            Evaluated::Over(end) => Foreseen::Over(end),
            Evaluated::Desired(desired) => {
                let context = self.context;
                let thread = Builder::new().name("probe".to_owned()).stack_size(1 << 20);
                match thread.spawn_scoped(self.scope, move || look(executor, context, desired)) {
                    Ok(handle) => Foreseen::Looking(handle),
                    // It is looked at in its turn.
                    Err(error) => {
                        tracing::debug!("no thread to look ahead: {error}");
                        self.most = 0;
                        return;
                    }
                }
            }
        };
        self.foreseen.push_back((at, foreseen));
    }

    /// What was foreseen of a resource whose turn it is. Blocks until it was looked at.
    pub(super) fn take(&mut self, at: usize) -> Option<Result<Looked, End>> {
        match self.foreseen.pop_front_if(|(next, _)| *next == at)?.1 {
            Foreseen::Over(end) => Some(Err(end)),
            Foreseen::Looking(handle) => handle.join().ok().map(Ok),
        }
    }

    /// Something changes now: nothing more is begun, and what is under way has ended when this returns.
    pub(super) fn give_up(&mut self) {
        self.most = 0;
        for (_, foreseen) in self.foreseen.drain(..) {
            if let Foreseen::Looking(handle) = foreseen {
                // What it saw counts no more.
                let _ = handle.join();
            }
        }
    }
}

#[cfg(test)]
mod tests;
