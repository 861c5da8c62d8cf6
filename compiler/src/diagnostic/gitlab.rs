//! Findings as GitLab's Code Quality report, which merge requests show beside the lines.

use super::Severity;
use super::findings::Findings;
use super::lines::Lines;
use serde_json::{Value as Json, json};

/// The whole report: a JSON list of what counts.
pub fn gitlab(findings: &Findings) -> String {
    let mut lines = Lines::new(&findings.texts);
    let all: Vec<Json> = findings
        .open()
        .map(|f| {
            let d = &f.diagnostic;
            let (start, end) = lines.span(&d.place);
            let mut issue = json!({
                "description": d.message_with_classes(),
                "check_name": d.code,
                "fingerprint": f.fingerprint,
                "severity": severity(d.severity),
                "location": {
                    "path": format!("{}{}", findings.prefix, d.place.file),
                    "lines": { "begin": start.line, "end": end.line },
                },
            });
            if let Some(help) = &d.help {
                issue["content"] = json!({ "body": help });
            }
            issue
        })
        .collect();
    format!("{:#}\n", Json::Array(all))
}

/// GitLab has `info`, `minor`, `major`, `critical` and `blocker`. What cannot be compiled keeps a policy from being
/// published, but hurts no host.
fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "critical",
        Severity::Warning => "minor",
        Severity::Hint => "info",
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::sample;
    use super::*;

    #[test]
    fn what_gitlab_asks_for_is_there() {
        let json: Json = serde_json::from_str(&gitlab(&sample())).unwrap();
        let all = json.as_array().unwrap();
        assert_eq!(all.len(), 2, "neither what is allowed nor what is known");
        let first = &all[0];
        assert_eq!(first["check_name"], "unknown-key");
        assert_eq!(first["severity"], "critical");
        assert_eq!(first["location"]["path"], "policy/web site/a.vgo");
        assert_eq!(first["location"]["lines"]["begin"], 2);
        assert_eq!(all[1]["severity"], "minor");
        let prints: std::collections::BTreeSet<_> = all.iter().map(|i| i["fingerprint"].as_str()).collect();
        assert_eq!(prints.len(), 2);
    }
}
