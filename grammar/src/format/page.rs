//! The lines that were written so far.

/// A line and the comment at its end.
#[derive(Debug)]
struct Line {
    text: String,
    comment: Option<Trailing>,
    kind: Kind,
}

impl Line {
    fn is_unused(&self) -> bool {
        self.kind == Kind::Content && self.comment.is_none() && self.text.bytes().all(|b| b == b' ')
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Keys and values.
    Content,
    /// A comment on its own.
    Comment,
    /// A line of a block text, which cannot have a comment.
    Text,
}

/// A comment at the end of a line.
#[derive(Clone, Debug)]
pub(super) struct Trailing {
    /// With its `#`.
    pub(super) text: String,
    /// Where it was written: comments in one column are kept in one column.
    pub(super) column: usize,
    /// Blanks before it.
    pub(super) gap: usize,
}

/// The lines of the result.
#[derive(Debug, Default)]
pub(super) struct Page {
    lines: Vec<Line>,
    /// The line before opened a block: its first line follows at once.
    opened: bool,
    /// The last line ends a text that keeps its line breaks: a blank line would be part of it.
    kept: bool,
}

impl Page {
    /// A new line of content, to be continued with [`Page::add`].
    pub(super) fn line(&mut self, indent: usize) {
        self.push(" ".repeat(indent), Kind::Content);
    }

    /// A comment on a line of its own.
    pub(super) fn comment(&mut self, indent: usize, text: &str) {
        self.push(format!("{}{text}", " ".repeat(indent)), Kind::Comment);
    }

    /// A line of a block text.
    pub(super) fn text(&mut self, text: String) {
        self.push(text, Kind::Text);
    }

    /// A further line of a plain or quoted text; blank lines count.
    pub(super) fn more(&mut self, indent: usize, text: &str) {
        if text.is_empty() {
            return self.push(String::new(), Kind::Text);
        }
        self.push(format!("{}{text}", " ".repeat(indent)), Kind::Content);
    }

    /// A blank line between two groups.
    pub(super) fn blank(&mut self) {
        if !self.lines.is_empty() && !self.opened && !self.kept {
            self.lines.push(Line { text: String::new(), comment: None, kind: Kind::Text });
        }
    }

    fn push(&mut self, text: String, kind: Kind) {
        // A line that was begun for something that then had to stand further down.
        if self.lines.last().is_some_and(Line::is_unused) {
            self.lines.pop();
        }
        self.lines.push(Line { text, comment: None, kind });
        (self.opened, self.kept) = (false, false);
    }

    /// Continues the line, behind a space if there is something on it.
    pub(super) fn add(&mut self, text: &str) {
        if let Some(line) = self.lines.last_mut() {
            if !line.text.is_empty() && !line.text.ends_with(' ') {
                line.text.push(' ');
            }
            line.text.push_str(text);
        }
    }

    /// Puts a comment at the end of the line. Gives it back when the line cannot take it.
    pub(super) fn trail(&mut self, comment: Trailing) -> Result<(), Trailing> {
        match self.lines.last_mut() {
            Some(line) if line.kind == Kind::Content && line.comment.is_none() && !line.is_unused() => {
                line.comment = Some(comment);
                Ok(())
            }
            _ => Err(comment),
        }
    }

    /// Whether a block can begin on this line: nothing is on it, or a `-`.
    pub(super) fn takes_block(&self) -> bool {
        self.lines.last().is_some_and(|line| {
            line.is_unused()
                || (line.kind == Kind::Content && line.comment.is_none() && line.text.ends_with('-'))
        })
    }

    /// The next line is the first one of a block.
    pub(super) fn opened(&mut self) {
        self.opened = true;
    }

    /// The lines so far end with a text that keeps its line breaks.
    pub(super) fn kept(&mut self) {
        self.kept = true;
    }

    /// The column behind the last line.
    pub(super) fn column(&self) -> usize {
        self.lines.last().map_or(0, |line| line.text.chars().count())
    }

    /// The lines, with the comments in their columns.
    pub(super) fn finish(mut self) -> String {
        self.align();
        let mut out = String::new();
        for line in self.lines {
            out.push_str(&line.text);
            if let Some(comment) = line.comment {
                out.push_str(&" ".repeat(comment.gap));
                out.push_str(&comment.text);
            }
            out.push('\n');
        }
        out
    }

    /// Comments that follow each other in one column stay in one column, as near to the text as one of them was.
    fn align(&mut self) {
        let commented: Vec<usize> =
            (0..self.lines.len()).filter(|i| self.lines[*i].comment.is_some()).collect();
        let column = |lines: &[Line], i: usize| lines[i].comment.as_ref().map(|c| c.column);
        for group in
            commented.chunk_by(|a, b| column(&self.lines, *a) == column(&self.lines, *b)).collect::<Vec<_>>()
        {
            let width = |line: &Line| line.text.chars().count();
            let gap = group.iter().filter_map(|i| self.lines[*i].comment.as_ref().map(|c| c.gap)).min();
            let widest = group.iter().map(|i| width(&self.lines[*i])).max();
            let column = widest.unwrap_or(0) + gap.unwrap_or(1).max(1);
            for i in group {
                let line = &mut self.lines[*i];
                let gap = column - width(line);
                if let Some(comment) = &mut line.comment {
                    comment.gap = gap;
                }
            }
        }
    }
}
