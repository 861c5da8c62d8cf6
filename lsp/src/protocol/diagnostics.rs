//! Findings as diagnostics: sent after a check, or fetched by file or for the whole policy.

use crate::position::Lines;
use crate::workspace::{View, Workspace};
use compiler::diagnostic::{Diagnostic as Finding, Severity};
use compiler::policy::Report;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use tower_lsp_server::ls_types::*;

/// The findings of each file that has any.
pub fn by_file(view: &View<'_>, report: &Report) -> BTreeMap<String, Vec<Diagnostic>> {
    let mut grouped: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in &report.diagnostics {
        grouped.entry(&finding.place.file).or_default().push(finding);
    }
    grouped.into_iter().map(|(file, findings)| (file.to_owned(), of_file(view, file, &findings))).collect()
}

fn of_file(view: &View<'_>, file: &str, findings: &[&Finding]) -> Vec<Diagnostic> {
    let text = view.opened.policy.text(file).unwrap_or_default();
    let lines = Lines::new(&text, view.utf8);
    findings.iter().map(|finding| convert(view, finding, &lines)).collect()
}

/// One finding, in a file with these lines.
pub fn convert(view: &View<'_>, finding: &Finding, lines: &Lines<'_>) -> Diagnostic {
    let related = finding.labels.iter().filter_map(|(place, text)| {
        let range = match view.opened.policy.text(&place.file) {
            Some(other) => Lines::new(&other, view.utf8).range(place.span.range()),
            None => Range::default(),
        };
        let location = Location { uri: view.uri(&place.file)?, range };
        Some(DiagnosticRelatedInformation { location, message: text.clone() })
    });
    let related: Vec<_> = related.collect();
    let mut message = finding.message.clone();
    if let Some(help) = &finding.help {
        message = format!("{message}\nhelp: {help}");
    }
    let tag = match finding.code {
        code if code.starts_with("unused-") => Some(DiagnosticTag::UNNECESSARY),
        "older-spelling" => Some(DiagnosticTag::DEPRECATED),
        _ => None,
    };
    Diagnostic {
        range: lines.range(finding.place.span.range()),
        severity: Some(match finding.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
            Severity::Hint => DiagnosticSeverity::HINT,
        }),
        code: Some(NumberOrString::String(finding.code.into())),
        source: Some("vigo".into()),
        message,
        related_information: (!related.is_empty()).then_some(related),
        tags: tag.map(|t| vec![t]),
        ..Diagnostic::default()
    }
}

/// Names a list of diagnostics: the same list has the same name.
pub fn result_id(diagnostics: &[Diagnostic]) -> String {
    let mut hasher = DefaultHasher::new();
    for d in diagnostics {
        serde_json::to_string(d).unwrap_or_default().hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

/// The diagnostics of one document.
pub fn document(
    workspace: &mut Workspace,
    params: &DocumentDiagnosticParams,
) -> DocumentDiagnosticReportResult {
    let found = workspace.find(&params.text_document.uri).and_then(|(root, path)| {
        let report = workspace.report(&root)?;
        let view = workspace.view_of(&root)?;
        let of: Vec<&Finding> = report.diagnostics.iter().filter(|d| *d.place.file == *path).collect();
        Some(of_file(&view, &path, &of))
    });
    let items = found.unwrap_or_default();
    let id = result_id(&items);
    let report = if params.previous_result_id.as_ref() == Some(&id) {
        DocumentDiagnosticReport::Unchanged(RelatedUnchangedDocumentDiagnosticReport {
            related_documents: None,
            unchanged_document_diagnostic_report: UnchangedDocumentDiagnosticReport { result_id: id },
        })
    } else {
        DocumentDiagnosticReport::Full(RelatedFullDocumentDiagnosticReport {
            related_documents: None,
            full_document_diagnostic_report: FullDocumentDiagnosticReport { result_id: Some(id), items },
        })
    };
    DocumentDiagnosticReportResult::Report(report)
}

/// The diagnostics of every file of every policy that is open.
pub fn workspace(
    workspace: &mut Workspace,
    params: &WorkspaceDiagnosticParams,
) -> WorkspaceDiagnosticReportResult {
    let mut known: HashMap<&Uri, &str> =
        params.previous_result_ids.iter().map(|p| (&p.uri, p.value.as_str())).collect();
    let mut items = Vec::new();
    let roots: Vec<_> = workspace.policies().map(|(root, _)| root.clone()).collect();
    for root in roots {
        let Some(report) = workspace.report(&root) else { continue };
        let Some(view) = workspace.view_of(&root) else { continue };
        for (path, diagnostics) in by_file(&view, &report) {
            let Some((uri, version)) = place(workspace, &view, &root, &path) else { continue };
            let id = result_id(&diagnostics);
            items.push(match known.remove(&uri) {
                Some(before) if before == id => unchanged(uri, version, id),
                _ => full(uri, version, id, diagnostics),
            });
        }
    }
    // files that had findings and have none any more
    for (uri, _) in known.into_iter().filter(|(_, id)| *id != result_id(&[])) {
        items.push(full(uri.clone(), None, result_id(&[]), Vec::new()));
    }
    WorkspaceDiagnosticReportResult::Report(WorkspaceDiagnosticReport { items })
}

fn place(workspace: &Workspace, view: &View<'_>, root: &Path, path: &str) -> Option<(Uri, Option<i64>)> {
    match workspace.document(root, path) {
        Some((uri, version)) => Some((uri.clone(), Some(version.into()))),
        None => Some((view.uri(path)?, None)),
    }
}

fn full(
    uri: Uri,
    version: Option<i64>,
    id: String,
    items: Vec<Diagnostic>,
) -> WorkspaceDocumentDiagnosticReport {
    WorkspaceDocumentDiagnosticReport::Full(WorkspaceFullDocumentDiagnosticReport {
        uri,
        version,
        full_document_diagnostic_report: FullDocumentDiagnosticReport { result_id: Some(id), items },
    })
}

fn unchanged(uri: Uri, version: Option<i64>, id: String) -> WorkspaceDocumentDiagnosticReport {
    WorkspaceDocumentDiagnosticReport::Unchanged(WorkspaceUnchangedDocumentDiagnosticReport {
        uri,
        version,
        unchanged_document_diagnostic_report: UnchangedDocumentDiagnosticReport { result_id: id },
    })
}
