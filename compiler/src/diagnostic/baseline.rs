//! A baseline: the findings of a day, so that only new ones fail from then on.
//!
//! Only warnings and hints: a policy with an error cannot be compiled, whoever knows of it.

use super::findings::{Findings, Standing};
use super::{Diagnostic, Severity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A listed finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// By which it is told.
    pub fingerprint: String,
    /// For people: its slug.
    pub code: String,
    /// For people: the file it was in.
    pub file: String,
    /// For people: what it said.
    pub message: String,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format_version: String,
    findings: Vec<Entry>,
}

const VERSION: &str = "1.0";

/// Findings that do not count.
#[derive(Debug, Default)]
pub struct Baseline {
    entries: BTreeMap<String, Entry>,
}

impl Baseline {
    /// Reads the text of a baseline; what is wrong with it otherwise.
    pub fn read(text: &str) -> Result<Self, String> {
        let document: Document = serde_json::from_str(text).map_err(|e| e.to_string())?;
        match document.format_version.split('.').next() {
            Some("1") => {}
            _ => {
                return Err(format!("format version {} is newer than this vigoc", document.format_version));
            }
        }
        let entries = document.findings.into_iter().map(|e| (e.fingerprint.clone(), e)).collect();
        Ok(Baseline { entries })
    }

    /// Lists the open warnings and hints.
    pub fn of(findings: &Findings) -> Self {
        let listed = findings.open().filter(|f| can_be_listed(&f.diagnostic));
        let entries = listed.map(|f| {
            let d = &f.diagnostic;
            let entry = Entry {
                fingerprint: f.fingerprint.clone(),
                code: d.code.to_owned(),
                file: d.place.file.to_string(),
                message: d.message.clone(),
            };
            (entry.fingerprint.clone(), entry)
        });
        Baseline { entries: entries.collect() }
    }

    /// How many it lists.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it lists nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes the listed findings out of account, and names the entries that nothing brings about any more.
    pub fn apply(mut self, findings: &mut Findings) {
        for finding in &mut findings.all {
            let listed = self.entries.remove(&finding.fingerprint).is_some();
            if listed && finding.standing == Standing::Open && can_be_listed(&finding.diagnostic) {
                finding.standing = Standing::Known;
            }
        }
        let mut gone: Vec<Entry> = self.entries.into_values().collect();
        gone.sort_by(|a, b| (&a.file, &a.code, &a.message).cmp(&(&b.file, &b.code, &b.message)));
        findings.gone = Some(gone);
    }

    /// What is written to a file: sorted by file, so that two people who add to it seldom meet.
    pub fn text(&self) -> String {
        let mut findings: Vec<Entry> = self.entries.values().cloned().collect();
        let key = |e: &Entry| (e.file.clone(), e.code.clone(), e.message.clone(), e.fingerprint.clone());
        findings.sort_by_key(key);
        let document = Document { format_version: VERSION.into(), findings };
        // plain data with text keys always becomes JSON
        serde_json::to_string_pretty(&document).map(|t| t + "\n").unwrap_or_default()
    }
}

fn can_be_listed(d: &Diagnostic) -> bool {
    d.severity != Severity::Error
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::sample;
    use super::*;

    #[test]
    fn a_written_baseline_takes_what_it_was_made_of() {
        let mut findings = sample();
        let text = Baseline::of(&findings).text();
        let read = Baseline::read(&text).unwrap();
        assert_eq!(read.len(), 1, "the error and what is known or allowed are not listed");
        read.apply(&mut findings);
        assert_eq!((findings.open().count(), findings.known()), (1, 2));
        assert_eq!(findings.gone, Some(Vec::new()));
    }

    #[test]
    fn errors_stay_and_lost_entries_are_named() {
        let mut findings = sample();
        let error = findings.all[0].fingerprint.clone();
        let entry = |fingerprint: &str| Entry {
            fingerprint: fingerprint.into(),
            code: "c".into(),
            file: "f".into(),
            message: "m".into(),
        };
        let entries = [error.as_str(), "gone"].map(|f| (f.to_owned(), entry(f))).into_iter().collect();
        Baseline { entries }.apply(&mut findings);
        assert_eq!(findings.count(Severity::Error), 1);
        assert_eq!(findings.gone, Some(vec![entry("gone")]));
    }

    #[test]
    fn other_files_are_refused() {
        for bad in ["", "[]", "{}", "{\"format_version\": \"2.0\", \"findings\": []}", "{\"findings\": 1}"] {
            assert!(Baseline::read(bad).is_err(), "{bad}");
        }
        assert!(Baseline::read("{\"format_version\": \"1.7\", \"findings\": [], \"new\": 1}").is_ok());
    }
}
