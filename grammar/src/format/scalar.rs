//! Texts of several lines.

use crate::Span;
use crate::document::{Scalar, Style};

/// The lines of a plain or quoted text, without what surrounds a line break: a reader drops it too.
pub(super) fn lines<'s>(source: &'s str, scalar: &Scalar, span: Span) -> Vec<&'s str> {
    let text = source.get(span.range()).unwrap_or_default();
    let mut lines: Vec<&str> = text.split('\n').collect();
    let last = lines.len() - 1;
    for (index, line) in lines.iter_mut().enumerate() {
        if index > 0 {
            *line = line.trim_start_matches([' ', '\t']);
        }
        if index < last {
            *line = trim_end(line.strip_suffix('\r').unwrap_or(line), scalar.style);
        }
    }
    lines
}

/// Without the blanks at the end, except one that is escaped.
fn trim_end(line: &str, style: Style) -> &str {
    let trimmed = line.trim_end_matches([' ', '\t']);
    let escapes = trimmed.len() - trimmed.trim_end_matches('\\').len();
    if style == Style::DoubleQuoted && escapes % 2 == 1 && trimmed.len() < line.len() {
        return &line[..=trimmed.len()];
    }
    trimmed
}

/// A block text: its header, its lines without their indentation, and whether blank lines behind it belong to it.
pub(super) struct Block<'s> {
    pub(super) header: String,
    pub(super) lines: Vec<&'s str>,
    pub(super) keeps: bool,
}

/// Takes a block text apart. `parent` is the column of the block around it, `None` at the root.
///
/// The header is made anew from what the text is: an indicator only where the text begins with a space (the
/// indentation is always 2), a `-` where the file ended before the text's line did.
pub(super) fn block<'s>(source: &'s str, scalar: &Scalar, span: Span, parent: Option<usize>) -> Block<'s> {
    let written = source.get(span.range()).unwrap_or_default();
    let (head, body) = written.split_once('\n').unwrap_or((written, ""));
    let indicators = head.get(1..).unwrap_or_default();
    let indicators = indicators.split([' ', '\t', '#', '\r']).next().unwrap_or_default();
    let digit = indicators.chars().find_map(|c| c.to_digit(10));
    let has_text = written.contains('\n');
    let spaces = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let blank = |line: &str| line.trim_start_matches(' ').is_empty();
    let all: Vec<&str> = body.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let indent = match digit {
        Some(digit) => parent.unwrap_or(0) + digit as usize,
        None => all.iter().find(|line| !blank(line)).map_or(0, |line| spaces(line)),
    };
    let mut lines: Vec<&str> = Vec::new();
    if has_text {
        lines.extend(all.iter().map(|line| line.get(indent..).unwrap_or_default()));
    }
    let explicit = match lines.iter().find(|line| !line.is_empty()) {
        Some(first) => first.starts_with(' '),
        // At the root even a comment would be the text.
        None => parent.is_none(),
    };
    let breaks = scalar.text.len() - scalar.text.trim_end_matches('\n').len();
    let chomp = match indicators.chars().find(|c| matches!(c, '+' | '-')) {
        _ if breaks == 0 && !scalar.text.is_empty() => "-",
        Some('+') => "+",
        Some(_) => "-",
        None => "",
    };
    if chomp == "+" {
        // The break of the last line of text is one of them.
        let blank = breaks - usize::from(!lines.is_empty()).min(breaks);
        lines.extend(std::iter::repeat_n("", blank));
    }
    let style = if scalar.style == Style::Folded { '>' } else { '|' };
    let indicator = if explicit { "2" } else { "" };
    Block { header: format!("{style}{indicator}{chomp}"), lines, keeps: chomp == "+" }
}
