//! What a report is about: every finding, and whether it counts.

use super::baseline::Entry;
use super::json::{Texts, fingerprints};
use super::{Diagnostic, Severity, sort};
use crate::policy::{Report, Summary};
use crate::suppress::Allowed;
use std::collections::HashMap;
use std::sync::Arc;

/// Whether a finding counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Open,
    /// A `# vigo: allow` comment takes it, and says why.
    Allowed {
        /// What the comment says.
        reason: Arc<str>,
    },
    /// The baseline lists it.
    Known,
}

/// One finding of a report.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was found.
    pub diagnostic: Diagnostic,
    /// Stays the same when lines move.
    pub fingerprint: String,
    /// Whether it counts.
    pub standing: Standing,
}

/// Everything that a report of `check` can say.
#[derive(Debug)]
pub struct Findings {
    /// In the order of the text; hints come last.
    pub all: Vec<Finding>,
    /// What the baseline lists and nothing brings about any more; `None` without a baseline.
    pub gone: Option<Vec<Entry>>,
    /// How large the policy is.
    pub size: Summary,
    /// Texts of its files.
    pub texts: Texts,
    /// The way from the current directory to the policy: empty, or with a final `/`.
    pub prefix: String,
}

impl Findings {
    /// What a check found; nothing is known of a baseline.
    pub fn new(report: Report, texts: Texts, prefix: String) -> Self {
        let place = |d: &Diagnostic| (d.place.clone(), d.code, d.message.clone());
        let mut reasons: HashMap<_, Arc<str>> = HashMap::new();
        let mut found = report.diagnostics;
        for Allowed { diagnostic, reason } in report.allowed {
            reasons.insert(place(&diagnostic), reason);
            found.push(diagnostic);
        }
        sort(&mut found);
        // over all of them: a comment that allows one of two equal findings does not rename the other
        let fingerprints = fingerprints(&found, &texts);
        let mut all: Vec<Finding> = found
            .into_iter()
            .zip(fingerprints)
            .map(|(diagnostic, fingerprint)| {
                let standing = match reasons.get(&place(&diagnostic)) {
                    Some(reason) => Standing::Allowed { reason: reason.clone() },
                    None => Standing::Open,
                };
                Finding { diagnostic, fingerprint, standing }
            })
            .collect();
        all.sort_by_key(|f| f.diagnostic.severity == Severity::Hint);
        Findings { all, gone: None, size: report.summary, texts, prefix }
    }

    /// Those that count.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.all.iter().filter(|f| f.standing == Standing::Open)
    }

    /// How many of a severity count.
    pub fn count(&self, severity: Severity) -> usize {
        self.open().filter(|f| f.diagnostic.severity == severity).count()
    }

    /// How many comments allow.
    pub fn allowed(&self) -> usize {
        self.all.iter().filter(|f| matches!(f.standing, Standing::Allowed { .. })).count()
    }

    /// How many the baseline lists.
    pub fn known(&self) -> usize {
        self.all.iter().filter(|f| f.standing == Standing::Known).count()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::diagnostic::Place;
    use crate::diagnostic::codes::{UNKNOWN_KEY, UNUSED_VARIABLE};
    use grammar::Span;

    /// An error, a warning with a hostile message, an allowed one and a known one, in one file.
    pub(in crate::diagnostic) fn sample() -> Findings {
        let text = "name: ü\nbad: 1\nx: | <b>\nsame: 1\nlast: 1\n";
        let at = |needle: &str| {
            let at = text.find(needle).unwrap() as u32;
            Place { file: "web site/a.vgo".into(), span: Span::new(at, at + needle.len() as u32) }
        };
        let error = Diagnostic::new(&UNKNOWN_KEY, at("bad"), "there is no key `bad`")
            .label("unknown key")
            .help("did you mean `bat`?")
            .also(at("name"), "the file begins here")
            .guess(at("bad").span, "bat");
        let hostile = "a|b `c|d` <i>\u{7}\n@team & \"q\" %0A 100%";
        let warning = Diagnostic::new(&UNUSED_VARIABLE, at("x"), hostile);
        let allowed = Diagnostic::new(&UNUSED_VARIABLE, at("same"), "nothing reads `same`");
        let known = Diagnostic::new(&UNUSED_VARIABLE, at("last"), "nothing reads `last`");
        let report = Report {
            diagnostics: vec![error, warning, known],
            allowed: vec![Allowed { diagnostic: allowed, reason: "read by people".into() }],
            summary: Summary { errors: 1, warnings: 2, files: 2, modules: 1, classes: 1 },
        };
        let texts: Texts =
            [("web site/a.vgo".into(), text.into()), ("nodes.vgo".into(), "nodes: []\n".into())]
                .into_iter()
                .collect();
        let mut findings = Findings::new(report, texts, "policy/".into());
        findings.all.last_mut().unwrap().standing = Standing::Known;
        findings.gone = Some(vec![Entry {
            fingerprint: "00".repeat(16),
            code: "unused-role".into(),
            file: "roles.vgo".into(),
            message: "nothing names role `old`".into(),
        }]);
        findings
    }

    #[test]
    fn what_is_allowed_or_known_does_not_count() {
        let findings = sample();
        assert_eq!((findings.open().count(), findings.allowed(), findings.known()), (2, 1, 1));
        assert_eq!((findings.count(Severity::Error), findings.count(Severity::Warning)), (1, 1));
    }
}
