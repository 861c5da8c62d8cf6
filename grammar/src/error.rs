//! What a parser has to say about a mistake.

use crate::Span;

/// One mistake in a text. Plain data: rendering is somebody else's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Stable name of the kind of mistake, one of [`SLUGS`].
    pub slug: &'static str,
    /// One sentence, lower case, no full stop.
    pub message: String,
    /// What the author has to change.
    pub span: Span,
    /// A few words to stand at `span`.
    pub label: String,
    /// What to write instead.
    pub help: Option<String>,
    /// An edit that removes the mistake.
    pub fix: Option<Fix>,
    /// Other places that matter, each with a few words.
    pub related: Vec<(Span, String)>,
}

/// A replacement in the coordinates of the text that was parsed. Applying it is always safe for the author's intent as far
/// as syntax can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// The bytes to replace; may be empty (an insertion).
    pub span: Span,
    /// What to put there.
    pub replacement: String,
}

impl SyntaxError {
    pub(crate) fn new(
        slug: &'static str,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        SyntaxError {
            slug,
            message: message.into(),
            span,
            label: label.into(),
            help: None,
            fix: None,
            related: Vec::new(),
        }
    }

    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    pub(crate) fn fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.fix = Some(Fix { span, replacement: replacement.into() });
        self
    }

    pub(crate) fn related(mut self, span: Span, text: impl Into<String>) -> Self {
        self.related.push((span, text.into()));
        self
    }
}

/// Errors shown for one text; beyond this the rest is counted only.
pub(crate) const MOST: usize = 100;

/// Collects errors without letting a hostile text fill the memory with them.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    errors: Vec<SyntaxError>,
    dropped: usize,
    dropped_at: Option<Span>,
}

impl Sink {
    pub(crate) fn push(&mut self, error: SyntaxError) {
        if self.errors.len() < MOST {
            self.errors.push(error);
        } else {
            self.dropped += 1;
            self.dropped_at.get_or_insert(error.span);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.errors.len() + self.dropped
    }

    /// Takes the errors of a part, which come after all errors so far.
    pub(crate) fn append(&mut self, other: Sink) {
        for error in other.errors {
            self.push(error);
        }
        self.dropped += other.dropped;
        self.dropped_at = self.dropped_at.or(other.dropped_at);
    }

    /// Takes the errors of another pass over the same text.
    pub(crate) fn absorb(&mut self, other: Sink) {
        self.dropped += other.dropped;
        self.dropped_at = self.dropped_at.or(other.dropped_at);
        // All of them: which ones survive is decided after sorting, in `finish`.
        self.errors.extend(other.errors);
    }

    /// The errors in the order of the text, with a last one that says how many were left out.
    pub(crate) fn finish(mut self) -> Vec<SyntaxError> {
        self.errors.sort_by_key(|e| (e.span.start, e.span.end));
        if self.errors.len() > MOST {
            self.dropped += self.errors.len() - MOST;
            self.dropped_at = self.errors.get(MOST).map(|e| e.span);
            self.errors.truncate(MOST);
        }
        if let Some(at) = self.dropped_at.filter(|_| self.dropped > 0) {
            self.errors.push(
                SyntaxError::new(
                    "too-many-errors",
                    at,
                    format!("{} more errors are not shown", self.dropped),
                    "the first one left out",
                )
                .help("fix the ones above first: many of the rest may follow from them"),
            );
        }
        self.errors
    }
}

/// Every slug of this crate with what it means.
pub const SLUGS: &[(&str, &str)] = &[
    ("alias", "a YAML alias (`*name`), or an unquoted value that begins with `*`"),
    ("anchor", "a YAML anchor (`&name`), or an unquoted value that begins with `&`"),
    ("bad-block-header", "something other than indicators after `|` or `>`"),
    ("bad-block-indent", "a line of a block text that is indented less than its first line"),
    ("bad-indentation", "a line whose indentation matches no block above it"),
    ("comment-needs-space", "a `#` that follows a value without a space"),
    ("content-after-value", "text after a value that is already complete"),
    ("control-character", "a character that does not print"),
    ("directive", "a YAML directive (`%YAML`, `%TAG`)"),
    ("document-end", "a YAML document end marker (`...`)"),
    ("duplicate-key", "a key that its mapping already has"),
    ("expected-key", "something that cannot be a key where a key is due"),
    ("explicit-key", "a YAML explicit key (`? key`)"),
    ("extra-comma", "a comma with nothing before it"),
    ("invalid-escape", "an escape that double-quoted text does not know"),
    ("key-too-long", "a key of more than 1024 characters or more than one line"),
    ("list-in-brackets", "a `- ` list inside brackets"),
    ("list-on-key-line", "a `- ` list that starts on the line of its key"),
    ("merge-key", "a YAML merge key (`<<`)"),
    ("mismatched-bracket", "a closing bracket of the wrong kind"),
    ("missing-colon", "a line of a mapping without `:`"),
    ("missing-comma", "two values side by side in brackets"),
    ("missing-key", "a `:` with no key before it"),
    ("missing-space-after-colon", "a `:` that is not followed by a space"),
    ("mixed-block", "a list item among keys, or a key among list items"),
    ("nested-mapping-on-one-line", "a second `key: value` on the line of the first"),
    ("nesting-too-deep", "more than 128 levels of nesting"),
    ("non-scalar-key", "a list or a mapping as a key"),
    ("reserved-character", "an unquoted value that begins with a character YAML reserves"),
    ("several-documents", "a second `---` document in one file"),
    ("syntax-error", "text that no other rule describes better"),
    ("tab-indentation", "a tab in the indentation of a line"),
    ("tag", "a YAML tag (`!name`), or an unquoted value that begins with `!`"),
    ("template-char-constant", "a character constant in a template"),
    ("template-comment", "a template comment that does not fill its action"),
    ("template-escape", "an escape that template text does not know"),
    ("template-method-call", "a field of a template with arguments"),
    ("template-missing-space", "two operands of a template without a space between them"),
    ("template-needs-quotes", "an unquoted value that begins with `{{`"),
    ("template-not-a-function", "something that is no function used as one in a template"),
    ("template-number", "a number that a template cannot hold"),
    ("template-outside-range", "`break` or `continue` outside a `range`"),
    ("template-syntax", "an action that does not follow the template syntax"),
    ("template-unclosed-action", "a `{{` without its `}}`"),
    ("template-unclosed-block", "an `if`, `range` or `with` without its `end`"),
    ("template-undefined-variable", "a template variable that nothing declares"),
    ("template-unexpected-end", "an `end` or `else` that nothing opened"),
    ("template-unsupported", "a template action that the language leaves out"),
    ("template-unterminated-text", "text in a template without its closing quote"),
    ("too-many-errors", "the errors of a text beyond the hundredth"),
    ("too-many-values", "a file with more than a million keys and values"),
    ("unclosed-bracket", "a `[` or `{` without its counterpart"),
    ("unexpected-character", "a character that cannot stand here"),
    ("unexpected-colon", "a second `:` in one entry in brackets"),
    ("unexpected-indent", "a line that is deeper than the one above, which opens no block"),
    ("unterminated-string", "quoted text without its closing quote"),
    ("when-bad-number", "a number that a condition cannot hold"),
    ("when-bad-path", "a dotted path that is incomplete or begins with an unknown name"),
    ("when-chained-comparison", "comparisons in a row"),
    ("when-empty", "a condition with nothing in it"),
    ("when-operator", "an operator of some other language"),
    ("when-syntax", "a condition that does not follow the grammar"),
];
