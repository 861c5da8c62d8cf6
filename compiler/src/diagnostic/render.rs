//! Diagnostics for people, through miette.

use super::cut::{Cut, without_trailing_blanks};
use super::{Diagnostic, Place, Severity};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, Report};
use std::sync::Arc;

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// With colours.
    pub colour: bool,
    /// Columns.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Style { colour: false, width: 100 }
    }
}

/// Draws one finding; `text` gives the text of a file.
pub fn human(d: &Diagnostic, text: &dyn Fn(&str) -> Option<Arc<str>>, style: Style) -> String {
    let theme = if style.colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(style.width)
        .with_links(false)
        .without_syntax_highlighting();
    let mut out = String::new();
    let same_file = |p: &&(Place, String)| p.0.file == d.place.file;
    let mut labels = vec![label(&d.place, &d.label, text, true)];
    labels.extend(d.labels.iter().filter(same_file).map(|(p, t)| label(p, t, text, false)));
    let mut main =
        MietteDiagnostic::new(d.message_with_classes()).with_code(d.code).with_severity(severity(d.severity));
    let others: Vec<_> = d.labels.iter().filter(|l| !same_file(l)).collect();
    // miette draws the help right under its source; here it comes last
    if others.is_empty() {
        main.help = d.help.clone();
    }
    draw(&handler, main, &d.place.file, labels, text, &mut out);
    for (at, (place, said)) in others.iter().enumerate() {
        let mut other =
            MietteDiagnostic::new(format!("see {}", place.file)).with_severity(miette::Severity::Advice);
        if at + 1 == others.len() {
            other.help = d.help.clone();
        }
        draw(&handler, other, &place.file, vec![label(place, said, text, false)], text, &mut out);
    }
    out
}

fn severity(s: Severity) -> miette::Severity {
    match s {
        Severity::Error => miette::Severity::Error,
        Severity::Warning => miette::Severity::Warning,
        Severity::Hint => miette::Severity::Advice,
    }
}

fn label(place: &Place, said: &str, text: &dyn Fn(&str) -> Option<Arc<str>>, primary: bool) -> LabeledSpan {
    let len = text(&place.file).map_or(0, |t| t.len());
    let start = (place.span.start as usize).min(len);
    let end = (place.span.end as usize).clamp(start, len);
    let said = (!said.is_empty()).then(|| said.to_owned());
    if primary {
        LabeledSpan::new_primary_with_span(said, start..end)
    } else {
        LabeledSpan::new_with_span(said, start..end)
    }
}

fn draw(
    handler: &GraphicalReportHandler,
    d: MietteDiagnostic,
    file: &Arc<str>,
    labels: Vec<LabeledSpan>,
    text: &dyn Fn(&str) -> Option<Arc<str>>,
    out: &mut String,
) {
    // a file that cannot be shown is named in the message
    let shown = text(file).filter(|t| !t.is_empty());
    let mut d = d;
    let report = match shown {
        Some(text) => {
            let mut labels = labels;
            let cut = Cut::new(file.clone(), text, &mut labels);
            d.labels = Some(labels);
            Report::new(d).with_source_code(cut)
        }
        None => {
            let at = labels.first().and_then(|l| {
                let (line, column) = line_column(&text(file)?, l.offset());
                Some(format!("{file}:{line}:{column}"))
            });
            let help = d.help.take();
            let place = format!("in {}", at.unwrap_or_else(|| file.to_string()));
            d.help = Some(help.map_or(place.clone(), |h| format!("{h}\n{place}")));
            Report::new(d)
        }
    };
    let mut drawn = String::new();
    // writing to a String cannot fail
    let _ = handler.render_report(&mut drawn, report.as_ref());
    out.push_str(&without_trailing_blanks(&drawn));
}

fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

/// Line and column of a byte, both from 1; columns count characters.
pub fn line_column(text: &str, at: usize) -> (usize, usize) {
    let head = &text[..floor(text, at)];
    let start = head.rfind('\n').map_or(0, |n| n + 1);
    (head.matches('\n').count() + 1, head[start..].chars().count() + 1)
}

/// `file:line:column: severity: message [code]`
pub fn short(d: &Diagnostic, text: &dyn Fn(&str) -> Option<Arc<str>>) -> String {
    let (line, column) = text(&d.place.file).map_or((1, 1), |t| line_column(&t, d.place.span.start as usize));
    format!(
        "{}:{line}:{column}: {}: {} [{}]",
        d.place.file,
        d.severity.name(),
        d.message_with_classes(),
        d.code
    )
}
