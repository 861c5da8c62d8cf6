//! Diagnostics as JSON, for programs.

use super::findings::{Findings, Standing};
use super::lines::{Lines, Position};
use super::render::line_column;
use super::{Diagnostic, Place, Severity};
use ir::Hash;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Texts of files by path.
pub type Texts = BTreeMap<Arc<str>, Arc<str>>;

/// Findings in the form of `check --format json`.
pub fn diagnostics(found: &[Diagnostic], texts: &Texts) -> Json {
    let fingerprints = fingerprints(found, texts);
    let mut lines = Lines::new(texts);
    found.iter().zip(&fingerprints).map(|(d, print)| Json::Object(diagnostic(d, print, &mut lines))).collect()
}

/// The fields of `check --format json` beside the head that all documents have.
pub fn report(findings: &Findings) -> Json {
    let mut lines = Lines::new(&findings.texts);
    let mut open = Vec::new();
    let mut suppressed = Vec::new();
    for f in &findings.all {
        let mut fields = diagnostic(&f.diagnostic, &f.fingerprint, &mut lines);
        match &f.standing {
            Standing::Open => open.push(Json::Object(fields)),
            Standing::Allowed { reason } => {
                fields.insert("suppressed_by".into(), "comment".into());
                fields.insert("reason".into(), (&**reason).into());
                suppressed.push(Json::Object(fields));
            }
            Standing::Known => {
                fields.insert("suppressed_by".into(), "baseline".into());
                suppressed.push(Json::Object(fields));
            }
        }
    }
    let gone: Vec<Json> = findings
        .gone
        .iter()
        .flatten()
        .map(
            |e| json!({ "code": e.code, "file": e.file, "message": e.message, "fingerprint": e.fingerprint }),
        )
        .collect();
    let size = findings.size;
    json!({
        "diagnostics": open,
        "suppressed": suppressed,
        "baseline_gone": gone,
        "summary": {
            "errors": findings.count(Severity::Error), "warnings": findings.count(Severity::Warning),
            "hints": findings.count(Severity::Hint), "allowed": findings.allowed(), "known": findings.known(),
            "files": size.files, "modules": size.modules, "classes": size.classes,
        },
    })
}

fn diagnostic(d: &Diagnostic, fingerprint: &str, lines: &mut Lines<'_>) -> Map<String, Json> {
    let mut span = |place: &Place| {
        let (start, end) = lines.span(place);
        json!({ "start": position(start), "end": position(end) })
    };
    let primary = (!d.label.is_empty()).then_some((&d.place, &d.label));
    let labels: Vec<Json> = primary
        .into_iter()
        .chain(d.labels.iter().map(|(place, text)| (place, text)))
        .map(|(place, text)| json!({ "file": &*place.file, "span": span(place), "text": text }))
        .collect();
    let fixes: Vec<Json> = d
        .fixes
        .iter()
        .map(|edit| {
            let place = &edit.place;
            json!({
                "file": &*place.file, "span": span(place), "replacement": edit.replacement, "guess": edit.guess,
            })
        })
        .collect();
    let mut out = Map::new();
    let mut put = |name: &str, value: Json| out.insert(name.to_owned(), value);
    put("code", d.code.into());
    put("severity", d.severity.name().into());
    put("message", d.message.as_str().into());
    put("help", d.help.as_deref().into());
    put("file", (&*d.place.file).into());
    put("span", span(&d.place));
    put("labels", labels.into());
    put("fixes", fixes.into());
    put("classes", d.classes.iter().map(|c| &**c).collect::<Vec<_>>().into());
    put("fingerprint", fingerprint.into());
    out
}

fn position(p: Position) -> Json {
    json!({ "line": p.line, "column": p.column })
}

/// For each finding a name that stays the same when lines move: a hash over code, file, message and the text of its
/// line, and its number among equals.
pub fn fingerprints(found: &[Diagnostic], texts: &Texts) -> Vec<String> {
    let mut seen: HashMap<Hash, u64> = HashMap::new();
    found
        .iter()
        .map(|d| {
            let line = texts.get(&d.place.file).map_or("", |text| line_of(text, d.place.span.start as usize));
            let parts = [d.code, &d.place.file, &d.message, line.trim()];
            let hash = hash(parts.map(str::as_bytes));
            let ordinal = seen.entry(hash).or_default();
            *ordinal += 1;
            let out = super::json::hash([&hash.0, &ordinal.to_be_bytes()]).to_string();
            out[..32].to_owned()
        })
        .collect()
}

fn hash<const N: usize>(parts: [&[u8]; N]) -> Hash {
    let lengths = parts.map(|p| (p.len() as u64).to_be_bytes());
    let all: Vec<&[u8]> = lengths.iter().zip(parts).flat_map(|(l, p)| [l.as_slice(), p]).collect();
    Hash::of_parts(&all)
}

fn line_of(text: &str, at: usize) -> &str {
    let at = text.floor_char_boundary(at.min(text.len()));
    let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
    let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
    &text[start..end]
}

/// The line of a place, from 1.
pub fn line(text: Option<&Arc<str>>, at: u32) -> usize {
    text.map_or(1, |t| line_column(t, at as usize).0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::codes::UNKNOWN_KEY;
    use grammar::Span;

    fn found(text: &str, needle: &str) -> Diagnostic {
        let at = text.find(needle).unwrap() as u32;
        let place = Place { file: "nodes.vgo".into(), span: Span::new(at, at + needle.len() as u32) };
        Diagnostic::new(&UNKNOWN_KEY, place, "unknown")
    }

    fn texts(text: &str) -> Texts {
        [("nodes.vgo".into(), text.into())].into_iter().collect()
    }

    #[test]
    fn fingerprints_survive_moved_lines_and_tell_equals_apart() {
        let (before, after) = ("a: 1\nbad: 2\n", "# new\n\na: 1\n  bad: 2\n");
        let one = fingerprints(&[found(before, "bad")], &texts(before));
        let two = fingerprints(&[found(after, "bad"), found(after, "bad")], &texts(after));
        assert_eq!(one[0], two[0]);
        assert_ne!(two[0], two[1]);
        assert_ne!(one[0], fingerprints(&[found(before, "a")], &texts(before))[0]);
    }

    #[test]
    fn columns_count_characters_from_one() {
        let text = "a: \"äöü\"\nkey: x\n";
        let json = diagnostics(&[found(text, "\"\n")], &texts(text));
        assert_eq!(json[0]["span"]["start"], serde_json::json!({ "line": 1, "column": 8 }));
        assert_eq!(json[0]["span"]["end"], serde_json::json!({ "line": 2, "column": 1 }));
    }
}
