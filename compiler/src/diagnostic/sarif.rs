//! Findings as SARIF 2.1.0, for code scanning.
//!
//! Everything is in: what a comment allows and what the baseline lists are results with a suppression, and an entry of
//! the baseline that nothing brings about any more is an absent one.

use super::baseline::Entry;
use super::codes::slugs;
use super::findings::{Finding, Findings, Standing};
use super::lines::{Lines, Position};
use super::{Diagnostic, Place, Severity};
use crate::rules;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, HashMap};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// The directory in which `vigoc` ran: paths in a report are relative to it.
const BASE: &str = "%SRCROOT%";
/// Changes with what goes into a fingerprint, so that two kinds are never compared.
const FINGERPRINT: &str = "vigocFinding/v1";

/// The whole log.
pub fn sarif(findings: &Findings) -> String {
    let known: Vec<_> = slugs().collect();
    let index: HashMap<&str, usize> = known.iter().enumerate().map(|(n, (slug, ..))| (*slug, n)).collect();
    let rules: Vec<Json> = known.iter().map(|(slug, severity, about)| rule(slug, *severity, about)).collect();
    let mut log = Log { findings, index, lines: Lines::new(&findings.texts) };
    let mut results: Vec<Json> = findings.all.iter().map(|f| log.result(f)).collect();
    results.extend(findings.gone.iter().flatten().map(|e| log.absent(e)));
    let run = json!({
        "tool": { "driver": {
            "name": "vigoc",
            "version": env!("CARGO_PKG_VERSION"),
            "semanticVersion": env!("CARGO_PKG_VERSION"),
            "rules": rules,
        } },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": { BASE: { "description": { "text": "the directory in which vigoc ran" } } },
        "invocations": [{ "executionSuccessful": true }],
        "results": results,
    });
    format!("{:#}\n", json!({ "$schema": SCHEMA, "version": "2.1.0", "runs": [run] }))
}

fn rule(slug: &str, severity: Severity, about: &str) -> Json {
    let mut rule = json!({
        "id": slug,
        "shortDescription": { "text": about },
        "defaultConfiguration": { "level": level(severity) },
    });
    if let Some(page) = rules::page(slug) {
        let about = page.about();
        rule["fullDescription"] = json!({ "text": about });
        rule["help"] = json!({ "text": about, "markdown": page.document(1) });
    }
    rule
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Hint => "note",
    }
}

struct Log<'a> {
    findings: &'a Findings,
    index: HashMap<&'static str, usize>,
    lines: Lines<'a>,
}

impl Log<'_> {
    fn result(&mut self, f: &Finding) -> Json {
        let d = &f.diagnostic;
        let mut text = d.message_with_classes();
        if let Some(help) = &d.help {
            text.push_str("\nhelp: ");
            text.push_str(help);
        }
        let mut result = json!({
            "ruleId": d.code,
            "level": level(d.severity),
            "message": { "text": text },
            "locations": [self.location(&d.place, &d.label)],
            "partialFingerprints": { FINGERPRINT: f.fingerprint },
        });
        if let Some(index) = self.index.get(d.code) {
            result["ruleIndex"] = (*index).into();
        }
        let related: Vec<Json> = d.labels.iter().map(|(place, said)| self.location(place, said)).collect();
        if !related.is_empty() {
            result["relatedLocations"] = related.into();
        }
        if !d.fixes.is_empty() {
            result["fixes"] = json!([self.fix(d)]);
        }
        let suppressed =
            |kind: &str, why: &str| json!([{ "kind": kind, "status": "accepted", "justification": why }]);
        match &f.standing {
            Standing::Open => {}
            Standing::Allowed { reason } => result["suppressions"] = suppressed("inSource", reason),
            Standing::Known => result["suppressions"] = suppressed("external", "in the baseline"),
        }
        if self.findings.gone.is_some() {
            let known = f.standing == Standing::Known;
            result["baselineState"] = if known { "unchanged" } else { "new" }.into();
        }
        result
    }

    /// All edits of a finding are one fix: they belong together.
    fn fix(&mut self, d: &Diagnostic) -> Json {
        let mut by_file: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
        for edit in &d.fixes {
            let (start, end) = self.lines.span(&edit.place);
            let replacement = json!({ "deletedRegion": region(start, end), "insertedContent": { "text": edit.replacement } });
            by_file.entry(&edit.place.file).or_default().push(replacement);
        }
        let changes: Vec<Json> = by_file
            .into_iter()
            .map(|(file, edits)| json!({ "artifactLocation": self.artifact(file), "replacements": edits }))
            .collect();
        let about = d.help.clone().unwrap_or_else(|| format!("mend: {}", d.message));
        json!({ "description": { "text": about }, "artifactChanges": changes })
    }

    fn absent(&self, entry: &Entry) -> Json {
        let mut result = json!({
            "ruleId": entry.code,
            "level": "none",
            "message": { "text": entry.message },
            "locations": [{ "physicalLocation": { "artifactLocation": self.artifact(&entry.file) } }],
            "partialFingerprints": { FINGERPRINT: entry.fingerprint },
            "baselineState": "absent",
        });
        if let Some(index) = self.index.get(entry.code.as_str()) {
            result["ruleIndex"] = (*index).into();
        }
        result
    }

    fn location(&mut self, place: &Place, said: &str) -> Json {
        let (start, end) = self.lines.span(place);
        let mut location = json!({ "physicalLocation": {
            "artifactLocation": self.artifact(&place.file), "region": region(start, end),
        } });
        if !said.is_empty() {
            location["message"] = json!({ "text": said });
        }
        location
    }

    fn artifact(&self, file: &str) -> Json {
        json!({ "uri": uri(&format!("{}{file}", self.findings.prefix)), "uriBaseId": BASE })
    }
}

fn region(start: Position, end: Position) -> Json {
    json!({
        "startLine": start.line, "startColumn": start.column, "endLine": end.line, "endColumn": end.column,
    })
}

/// What RFC 3986 does not allow in a path as it is. A `:` in the first part would be taken for a scheme.
const NOT_IN_A_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b':')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

fn uri(path: &str) -> String {
    utf8_percent_encode(path, NOT_IN_A_PATH).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::sample;
    use super::*;
    use std::sync::LazyLock;

    /// The schema of OASIS; see `compiler/tests/data/README.md`.
    static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
        let text = include_str!("../../tests/data/sarif-schema-2.1.0.json");
        let mut schema: Json = serde_json::from_str(text).unwrap();
        // a pattern with a `]` too many, which only lenient regex engines take
        for place in ["run", "toolComponent"] {
            schema["definitions"][place]["properties"]["language"] = json!({ "type": "string" });
        }
        jsonschema::validator_for(&schema).unwrap()
    });

    fn valid(log: &Json) -> Vec<String> {
        VALIDATOR.iter_errors(log).map(|e| format!("{}: {e}", e.instance_path())).collect()
    }

    #[test]
    fn a_log_is_valid() {
        let log: Json = serde_json::from_str(&sarif(&sample())).unwrap();
        assert_eq!(valid(&log), Vec::<String>::new());
        let mut wrong = log.clone();
        wrong["runs"][0]["results"][0]["level"] = "fatal".into();
        assert!(!valid(&wrong).is_empty(), "the schema sees mistakes");
    }

    #[test]
    fn every_result_says_what_becomes_of_it() {
        let log: Json = serde_json::from_str(&sarif(&sample())).unwrap();
        let mut run = log["runs"][0].clone();
        let rules = run["tool"]["driver"]["rules"].take();
        let rules = rules.as_array().unwrap();
        assert_eq!(rules.len(), slugs().count());
        for result in run["results"].as_array_mut().unwrap() {
            // it moves with every new slug
            let at = result["ruleIndex"].take().as_u64().unwrap() as usize;
            assert_eq!(rules[at]["id"], result["ruleId"]);
        }
        insta::assert_snapshot!(format!("{:#}", run["results"]));
    }

    #[test]
    fn paths_are_references() {
        assert_eq!(uri("a b/100%/c:d#e/ü.vgo"), "a%20b/100%25/c%3Ad%23e/%C3%BC.vgo");
    }
}
