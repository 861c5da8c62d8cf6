//! Long lines, cut around what is pointed at: a finding in a megabyte on one line is drawn in one screen.

use super::render::line_column;
use miette::{LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use std::ops::Range;
use std::sync::Arc;

/// Characters of a line that is drawn whole.
const LONG: usize = 200;
/// Bytes kept before a place and behind it.
const BEFORE: usize = 60;
const BEHIND: usize = 80;
/// Lines drawn around a place, and one to spare.
const CONTEXT: usize = 2;
const GAP: &str = "…";

/// A text to draw from, with the lines near its labels cut.
#[derive(Clone, Debug)]
pub struct Cut {
    name: Arc<str>,
    whole: Arc<str>,
    shown: String,
    /// What of `whole` is shown, and where in `shown` it begins.
    kept: Vec<(Range<usize>, usize)>,
}

impl Cut {
    /// Cuts, and moves the labels along.
    pub fn new(name: Arc<str>, whole: Arc<str>, labels: &mut [LabeledSpan]) -> Self {
        let places: Vec<Range<usize>> = labels.iter().map(|l| l.offset()..l.offset() + l.len()).collect();
        let mut gaps = Vec::new();
        for region in regions(&whole, &places) {
            let mut start = region.start;
            for line in whole[region].split_inclusive('\n') {
                let text = line.trim_end_matches(['\n', '\r']);
                if text.len() > LONG && text.chars().count() > LONG {
                    gaps.extend(gaps_of(&whole, start..start + text.len(), &places));
                }
                start += line.len();
            }
        }
        let mut cut = Cut { name, shown: String::new(), kept: Vec::new(), whole };
        let mut from = 0;
        for gap in gaps {
            cut.keep(from..gap.start);
            cut.shown.push_str(GAP);
            from = gap.end;
        }
        cut.keep(from..cut.whole.len());
        for (label, place) in labels.iter_mut().zip(places) {
            let (start, end) = (cut.shown_at(place.start), cut.shown_at(place.end));
            let (said, primary) = (label.label().map(str::to_owned), label.primary());
            *label = if primary {
                LabeledSpan::new_primary_with_span(said, start..end)
            } else {
                LabeledSpan::new_with_span(said, start..end)
            };
        }
        cut
    }

    fn keep(&mut self, range: Range<usize>) {
        let at = self.shown.len();
        self.shown.push_str(&self.whole[range.clone()]);
        self.kept.push((range, at));
    }

    /// Where a byte of the whole text is shown; the gap, if it is not.
    fn shown_at(&self, at: usize) -> usize {
        let next = self.kept.partition_point(|(range, _)| range.start <= at);
        match next.checked_sub(1).and_then(|i| self.kept.get(i)) {
            Some((range, shown)) => shown + at.min(range.end) - range.start,
            None => 0,
        }
    }

    /// Which byte of the whole text is shown here.
    fn whole_at(&self, at: usize) -> usize {
        let next = self.kept.partition_point(|(_, shown)| *shown <= at);
        match next.checked_sub(1).and_then(|i| self.kept.get(i)) {
            Some((range, shown)) => (range.start + at - shown).min(range.end),
            None => 0,
        }
    }
}

impl SourceCode for Cut {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self.shown.read_span(span, before, after)?;
        // Without context it is asked where the place is, for the head: that has to be true of the file.
        let column = match (before, after) {
            (0, 0) => line_column(&self.whole, self.whole_at(span.offset())).1 - 1,
            _ => found.column(),
        };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.to_string(),
            found.data(),
            *found.span(),
            found.line(),
            column,
            found.line_count(),
        )))
    }
}

/// Without the blank that the margin of an empty line ends in.
pub fn without_trailing_blanks(drawn: &str) -> String {
    drawn.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

/// The lines around the places, in order and apart.
fn regions(text: &str, places: &[Range<usize>]) -> Vec<Range<usize>> {
    let around = |place: &Range<usize>| {
        let (start, end) = (text.floor_char_boundary(place.start), text.floor_char_boundary(place.end));
        let from = text[..start].rmatch_indices('\n').nth(CONTEXT).map_or(0, |(at, _)| at + 1);
        let to = text[end..].match_indices('\n').nth(CONTEXT).map_or(text.len(), |(at, _)| end + at + 1);
        from..to
    };
    let mut all: Vec<Range<usize>> = places.iter().map(around).collect();
    all.sort_by_key(|r| (r.start, r.end));
    let mut apart: Vec<Range<usize>> = Vec::new();
    for next in all {
        match apart.last_mut() {
            Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
            _ => apart.push(next),
        }
    }
    apart
}

/// What of a line is left out: all that is far from the ends of every place in it.
fn gaps_of(text: &str, line: Range<usize>, places: &[Range<usize>]) -> Vec<Range<usize>> {
    let ends = places.iter().flat_map(|p| [p.start, p.end]).filter(|at| line.start <= *at && *at <= line.end);
    let mut ends: Vec<usize> = ends.collect();
    if ends.is_empty() {
        ends.push(line.start);
    }
    ends.sort_unstable();
    let mut gaps = Vec::new();
    let mut from = line.start;
    for end in ends {
        let until = text.floor_char_boundary(end.saturating_sub(BEFORE).max(line.start));
        // A gap has to be worth its mark.
        if until > from + GAP.len() {
            gaps.push(from..until);
        }
        from = from.max(text.ceil_char_boundary((end + BEHIND).min(line.end)));
    }
    if line.end > from + GAP.len() {
        gaps.push(from..line.end);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::super::render::{Style, human};
    use super::super::{Diagnostic, Place, codes};
    use grammar::Span;
    use std::sync::Arc;

    fn drawn(text: &str, place: std::ops::Range<usize>) -> String {
        let file: Arc<str> = "a.vgo".into();
        let span = Span::new(place.start as u32, place.end as u32);
        let place = Place { file: file.clone(), span };
        let found = Diagnostic::new(&codes::INVALID_VALUE, place, "wrong").label("here");
        let text: Arc<str> = text.into();
        human(&found, &|_| Some(text.clone()), Style::default())
    }

    #[test]
    fn a_long_line_is_cut_around_the_place_and_the_head_is_true() {
        let text = format!("a: [{}oops, {}]\n", "é, ".repeat(5000), "1, ".repeat(5000));
        let at = text.find("oops").unwrap();
        let drawn = drawn(&text, at..at + 4);
        assert!(drawn.contains("a.vgo:1:15005"), "{drawn}");
        assert!(drawn.contains("…"), "{drawn}");
        assert!(drawn.contains("é, oops, 1, "), "{drawn}");
        assert!(drawn.lines().all(|line| line.chars().count() < 200), "{drawn}");
        let column = |line: &str, what: char| line.chars().position(|c| c == what).unwrap();
        let source = drawn.lines().find(|l| l.contains("oops")).unwrap();
        let mark = drawn.lines().find(|l| l.contains('┬')).unwrap();
        assert_eq!(column(source, 'o'), column(mark, '─'), "{drawn}");
    }

    #[test]
    fn a_long_place_shows_both_its_ends() {
        let text = format!("a: [{}last]\n", "1, ".repeat(5000));
        let drawn = drawn(&text, 3..text.len() - 1);
        assert!(drawn.contains("a: [1, 1"), "{drawn}");
        assert!(drawn.contains("1, last]"), "{drawn}");
        assert!(drawn.lines().all(|line| line.chars().count() < 300), "{drawn}");
    }

    #[test]
    fn a_long_neighbour_is_cut_and_an_empty_one_leaves_no_blanks() {
        let text = format!("x: {}\na: oops\n\nb: 1\n", "y".repeat(5000));
        let at = text.find("oops").unwrap();
        let drawn = drawn(&text, at..at + 4);
        assert!(drawn.contains("x: yyy") && drawn.contains("y…"), "{drawn}");
        assert!(drawn.lines().all(|line| line.chars().count() < 200), "{drawn}");
        assert!(drawn.lines().all(|line| line == line.trim_end()), "{drawn:?}");
    }
}
