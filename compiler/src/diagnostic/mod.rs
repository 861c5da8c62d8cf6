//! What the compiler says: plain data. [`findings`] is what a report is about; [`render`] and the files named after a
//! format draw one.

pub mod baseline;
pub mod codes;
pub mod cut;
pub mod findings;
pub mod github;
pub mod gitlab;
pub mod json;
pub mod junit;
pub mod lines;
pub mod markdown;
pub mod nearest;
pub mod render;
pub mod sarif;

pub use codes::{CODES, Code, code};

use grammar::Span;
use std::sync::Arc;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Advice; never fails a check.
    Hint,
    /// Probably a mistake.
    Warning,
    /// Cannot be compiled.
    Error,
}

impl Severity {
    /// As in the JSON form.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Hint => "hint",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// A span in a file; the path is relative to the policy root, with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: Arc<str>,
    /// Bytes in it.
    pub span: Span,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    /// A stable slug of [`CODES`].
    pub code: &'static str,
    /// From the registry, unless the place decides.
    pub severity: Severity,
    /// Names the offender; lower-case start, no final full stop.
    pub message: String,
    /// What the author has to change.
    pub place: Place,
    /// Stands under the primary span.
    pub label: String,
    /// Other places, each with a word on why.
    pub labels: Vec<(Place, String)>,
    /// What to type.
    pub help: Option<String>,
    /// Edits that would mend it, to be applied together.
    pub fixes: Vec<Edit>,
    /// The classes it was found in, when it does not hold for the file as such; sorted.
    pub classes: Vec<Arc<str>>,
}

/// Replaces a span of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edit {
    /// What goes away.
    pub place: Place,
    /// What comes instead.
    pub replacement: String,
    /// Only the nearest name that there is: a person has to say whether it is the one that was meant.
    pub guess: bool,
}

impl Diagnostic {
    /// A finding with the severity its code has in the registry.
    pub fn new(code: &'static Code, place: Place, message: impl Into<String>) -> Self {
        Diagnostic {
            code: code.slug,
            severity: code.severity,
            message: message.into(),
            place,
            label: String::new(),
            labels: Vec::new(),
            help: None,
            fixes: Vec::new(),
            classes: Vec::new(),
        }
    }

    /// Sets the text under the primary span.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds another place.
    pub fn also(mut self, place: Place, text: impl Into<String>) -> Self {
        self.labels.push((place, text.into()));
        self
    }

    /// Sets the help.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Sets the help, if there is any.
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        if help.is_some() {
            self.help = help;
        }
        self
    }

    /// Adds an edit of the primary file that is right whatever the author had in mind.
    pub fn fix(self, span: Span, replacement: impl Into<String>) -> Self {
        self.edit(span, replacement.into(), false)
    }

    /// Adds an edit of the primary file that is right if the author meant the nearest name.
    pub fn guess(self, span: Span, replacement: impl Into<String>) -> Self {
        self.edit(span, replacement.into(), true)
    }

    fn edit(mut self, span: Span, replacement: String, guess: bool) -> Self {
        let place = Place { file: self.place.file.clone(), span };
        self.fixes.push(Edit { place, replacement, guess });
        self
    }

    /// The message, and the first classes that it was found in.
    pub fn message_with_classes(&self) -> String {
        match &self.classes[..] {
            [] => self.message.clone(),
            classes => {
                let shown: Vec<&str> = classes.iter().take(3).map(|c| &**c).collect();
                let more = match classes.len() - shown.len() {
                    0 => String::new(),
                    n => format!(" and {n} more"),
                };
                format!("{} (for {}{more})", self.message, shown.join("; "))
            }
        }
    }

    /// A syntax error of a file; `to_file` moves its spans from where the text was parsed to the file.
    pub fn from_syntax(file: &Arc<str>, error: grammar::SyntaxError, to_file: &dyn Fn(Span) -> Span) -> Self {
        let at = |span| Place { file: file.clone(), span: to_file(span) };
        Diagnostic {
            code: error.slug,
            severity: code(error.slug).map_or(Severity::Error, |c| c.severity),
            message: error.message,
            place: at(error.span),
            label: error.label,
            labels: error.related.into_iter().map(|(s, t)| (at(s), t)).collect(),
            help: error.help,
            fixes: error
                .fix
                .into_iter()
                .map(|f| Edit { place: at(f.span), replacement: f.replacement, guess: false })
                .collect(),
            classes: Vec::new(),
        }
    }
}

/// Collects the findings of one file.
#[derive(Debug)]
pub struct Sink {
    /// The file that spans are in, when nothing else is said.
    pub file: Arc<str>,
    /// What was found.
    pub found: Vec<Diagnostic>,
}

impl Sink {
    /// Nothing found yet.
    pub fn new(file: Arc<str>) -> Self {
        Sink { file, found: Vec::new() }
    }

    /// A place in the file.
    pub fn at(&self, span: Span) -> Place {
        Place { file: self.file.clone(), span }
    }

    /// Starts a finding in the file; give it to [`Sink::push`].
    pub fn say(&self, code: &'static Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, self.at(span), message)
    }

    /// Adds a finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }
}

/// Merges equal findings of several classes, sorts by place, then severity.
pub fn merged(all: impl IntoIterator<Item = Diagnostic>) -> Vec<Diagnostic> {
    // `None`: found without a class too, so it holds as such
    let mut by_finding: std::collections::HashMap<Diagnostic, Option<Vec<Arc<str>>>> = Default::default();
    for mut d in all {
        let classes = std::mem::take(&mut d.classes);
        let known = by_finding.entry(d).or_insert_with(|| Some(Vec::new()));
        match known {
            Some(known) if !classes.is_empty() => known.extend(classes),
            known => *known = None,
        }
    }
    let mut out: Vec<Diagnostic> = by_finding
        .into_iter()
        .map(|(mut d, classes)| {
            d.classes = classes.unwrap_or_default();
            d.classes.sort();
            d.classes.dedup();
            d
        })
        .collect();
    sort(&mut out);
    out
}

/// Brings findings into the order of the text.
pub fn sort(found: &mut [Diagnostic]) {
    // all of a finding: what differs must not come in the order of a hash
    fn key(d: &Diagnostic) -> impl Ord + '_ {
        (&d.place, d.code, &d.message, &d.classes, &d.labels, &d.label, &d.help, d.severity)
    }
    found.sort_by(|a, b| key(a).cmp(&key(b)));
}
