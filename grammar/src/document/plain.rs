//! Plain scalars of several lines.

use super::lexer::{BlockMore, FlowMore, token};
use super::lines::{at_end, is_marker, line_end, skip_blanks, spaces};
use super::scalar::{Scalar, TextBuilder, TextMap};
use super::tree::Style;
use crate::Span;

/// A plain scalar, where it ends, and whether a `:` was found behind it (in brackets only).
pub(super) struct Plain {
    pub(super) scalar: Scalar,
    pub(super) end: usize,
    pub(super) colon: Option<usize>,
    /// Tabs on a blank line within it, where only spaces may stand.
    pub(super) tab: Option<Span>,
}

/// A scalar of one line.
pub(super) fn single(source: &str, start: usize, end: usize) -> Scalar {
    Scalar {
        text: source[start..end].to_owned(),
        style: Style::Plain,
        map: TextMap::identity(Span::of(start..end).start),
    }
}

/// The key in the text of a key token: without the `:` and the blanks before it.
pub(super) fn key_end(source: &str, start: usize, end: usize) -> usize {
    let text = source[start..end].strip_suffix(':').unwrap_or(&source[start..end]);
    start + text.trim_end_matches([' ', '\t']).len()
}

/// A plain scalar in block context whose first line is `start..end`.
///
/// A following line that holds a `:` is not taken in: YAML forbids it, and it is nearly always a key with a wrong
/// indentation, which the layout can say better.
pub(super) fn block(source: &str, start: usize, end: usize, floor: usize) -> Plain {
    lines(source, start, end, floor, |at| match token::<BlockMore>(source, at)? {
        (BlockMore::Plain, end) => Some((end, None)),
        (BlockMore::Key, _) => None,
    })
}

/// A plain scalar in brackets whose first line is `start..end`.
pub(super) fn flow(source: &str, start: usize, end: usize, floor: usize) -> Plain {
    lines(source, start, end, floor, |at| match token::<FlowMore>(source, at)? {
        (FlowMore::Plain, end) => Some((end, None)),
        (FlowMore::Key, end) => Some((key_end(source, at, end), Some(end))),
    })
}

fn lines(
    source: &str,
    start: usize,
    mut end: usize,
    floor: usize,
    mut more: impl FnMut(usize) -> Option<(usize, Option<usize>)>,
) -> Plain {
    let mut folded: Option<TextBuilder> = None;
    let mut colon = None;
    let mut tab = None;
    while colon.is_none() {
        let Some((blank, next)) = next_text(source, end, floor) else { break };
        let Some((text_end, found)) = more(next) else { break };
        tab = tab.or_else(|| tab_on_blank_line(source, end, next, floor));
        let out = folded.get_or_insert_with(|| {
            let mut out = TextBuilder::new(source);
            out.copy(start..end);
            out
        });
        if text_end > next {
            out.fold(blank, end..next);
            out.copy(next..text_end);
            end = text_end;
        }
        colon = found;
    }
    let scalar = match folded {
        Some(out) => out.finish(Style::Plain, start),
        None => single(source, start, end),
    };
    Plain { scalar, end, colon, tab }
}

/// A tab in the indentation of the blank lines after the one that holds `end` (6.4 of the specification: an empty line has
/// the indentation of its text, or spaces that are fewer).
pub(super) fn tab_on_blank_line(source: &str, end: usize, next: usize, floor: usize) -> Option<Span> {
    let (_, mut start) = line_end(source, end);
    while start < next {
        let at = start + spaces(source, start);
        let (text, following) = line_end(source, at);
        if following > next {
            return None;
        }
        if at < text && at - start < floor {
            return Some(Span::of(at..text));
        }
        start = following;
    }
    None
}

/// Where the scalar goes on after the line that holds `end`, and how many blank lines are between.
fn next_text(source: &str, end: usize, floor: usize) -> Option<(usize, usize)> {
    if !at_end(source, skip_blanks(source, end)) {
        return None;
    }
    let (_, mut start) = line_end(source, end);
    let mut blank = 0;
    while start < source.len() {
        let at = skip_blanks(source, start);
        if at_end(source, at) {
            blank += 1;
            start = line_end(source, at).1;
            continue;
        }
        let deep = spaces(source, start) >= floor;
        return (deep && !is_marker(source, start) && source.as_bytes()[at] != b'#').then_some((blank, at));
    }
    None
}
