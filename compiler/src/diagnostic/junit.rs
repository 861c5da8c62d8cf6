//! Findings as JUnit XML, which most CI servers show as tests.
//!
//! A file is a class. One without findings is one passed test; each finding is a test of its own: an error fails, what
//! is allowed or known is skipped, a warning passes and is printed.

use super::findings::{Finding, Findings, Standing};
use super::lines::Lines;
use super::{Diagnostic, Severity};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use std::collections::BTreeMap;
use std::io;

/// The whole report.
pub fn junit(findings: &Findings) -> String {
    let mut out = Writer::new_with_indent(Vec::new(), b' ', 2);
    // writing to memory cannot fail
    let _ = document(findings, &mut out);
    let mut bytes = out.into_inner();
    bytes.push(b'\n');
    String::from_utf8(bytes).unwrap_or_default()
}

fn document(findings: &Findings, out: &mut Writer<Vec<u8>>) -> io::Result<()> {
    out.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let mut by_file: BTreeMap<&str, Vec<&Finding>> =
        findings.texts.keys().map(|path| (&**path, Vec::new())).collect();
    for f in &findings.all {
        by_file.entry(&f.diagnostic.place.file).or_default().push(f);
    }
    let tests: usize = by_file.values().map(|found| found.len().max(1)).sum();
    let failures = findings.count(Severity::Error);
    let skipped = findings.allowed() + findings.known();
    let (tests, failures, skipped) = (tests.to_string(), failures.to_string(), skipped.to_string());
    let counts = [("tests", tests.as_str()), ("failures", &failures), ("errors", "0")];
    let suites = out.create_element("testsuites").with_attribute(("name", "vigoc check"));
    suites.with_attributes(counts).write_inner_content(|out| {
        let suite = out.create_element("testsuite").with_attribute(("name", "vigoc check"));
        suite.with_attributes(counts).with_attribute(("skipped", skipped.as_str())).write_inner_content(
            |out| {
                let mut lines = Lines::new(&findings.texts);
                for (file, found) in &by_file {
                    let path = clean(&format!("{}{file}", findings.prefix));
                    if found.is_empty() {
                        let passed = [("classname", path.as_str()), ("name", "check"), ("file", &path)];
                        out.create_element("testcase").with_attributes(passed).write_empty()?;
                    }
                    for f in found {
                        case(f, &path, &mut lines, out)?;
                    }
                }
                Ok(())
            },
        )?;
        Ok(())
    })?;
    Ok(())
}

fn case(f: &Finding, path: &str, lines: &mut Lines<'_>, out: &mut Writer<Vec<u8>>) -> io::Result<()> {
    let d = &f.diagnostic;
    let message = clean(&d.message_with_classes());
    let (start, _) = lines.span(&d.place);
    let line = start.line.to_string();
    let body = clean(&body(d, path, start.line, start.column));
    // no line in the name: a test keeps its history when lines move
    let name = format!("{}: {message}", d.code);
    let attributes = [("classname", path), ("name", name.as_str()), ("file", path), ("line", line.as_str())];
    out.create_element("testcase").with_attributes(attributes).write_inner_content(|out| {
        let text = BytesText::new(&body);
        match (&f.standing, d.severity) {
            (Standing::Open, Severity::Error) => {
                let said = [("type", d.code), ("message", &message)];
                out.create_element("failure").with_attributes(said).write_text_content(text)?
            }
            (Standing::Open, _) => out.create_element("system-out").write_text_content(text)?,
            (Standing::Allowed { reason }, _) => {
                let why = format!("allowed: {}", clean(reason));
                out.create_element("skipped").with_attribute(("message", why.as_str())).write_empty()?
            }
            (Standing::Known, _) => {
                out.create_element("skipped").with_attribute(("message", "in the baseline")).write_empty()?
            }
        };
        Ok(())
    })?;
    Ok(())
}

fn body(d: &Diagnostic, path: &str, line: usize, column: usize) -> String {
    let help = d.help.as_ref().map(|h| format!("\nhelp: {h}")).unwrap_or_default();
    let (severity, message) = (d.severity.name(), d.message_with_classes());
    format!("{path}:{line}:{column}: {severity}: {message} [{}]{help}", d.code)
}

/// XML 1.0 has no way to write most control characters, escaped or not.
fn clean(text: &str) -> String {
    let fits = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if fits(c) { c } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::sample;
    use super::*;
    use quick_xml::Reader;

    #[test]
    fn any_message_gives_well_formed_xml() {
        let xml = junit(&sample());
        let mut reader = Reader::from_str(&xml);
        let mut cases = Vec::new();
        loop {
            match reader.read_event().unwrap() {
                Event::Eof => break,
                Event::Start(e) | Event::Empty(e) if e.name().as_ref() == "testcase" => {
                    let value = |name: &str| {
                        let found = e.try_get_attribute(name).unwrap().unwrap();
                        found.normalized_value(quick_xml::XmlVersion::Implicit1_0).unwrap().into_owned()
                    };
                    cases.push((value("classname"), value("name")));
                }
                _ => {}
            }
        }
        assert_eq!(cases.len(), 5);
        assert_eq!(cases[0], ("policy/nodes.vgo".into(), "check".into()));
        assert_eq!(cases[1].0, "policy/web site/a.vgo");
        assert!(cases[2].1.contains("a|b `c|d` <i>\u{fffd}"), "{cases:?}");
        insta::assert_snapshot!(xml);
    }
}
