//! Diagnostics as workflow commands of GitHub Actions.

use super::render::line_column;
use super::{Diagnostic, Severity};
use std::sync::Arc;

/// One finding; `prefix` is the way from the repository to the policy, empty or with a final `/`.
pub fn github(d: &Diagnostic, text: &dyn Fn(&str) -> Option<Arc<str>>, prefix: &str) -> String {
    let level = match d.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Hint => "notice",
    };
    let text = text(&d.place.file);
    let at = |offset: u32| text.as_ref().map_or((1, 1), |t| line_column(t, offset as usize));
    let ((line, column), (end_line, end_column)) = (at(d.place.span.start), at(d.place.span.end));
    let file = property(&format!("{prefix}{}", d.place.file));
    let columns =
        if line == end_line { format!(",col={column},endColumn={end_column}") } else { String::new() };
    let mut said = d.message_with_classes();
    if let Some(help) = &d.help {
        said.push_str("\nhelp: ");
        said.push_str(help);
    }
    format!(
        "::{level} file={file},line={line},endLine={end_line}{columns},title={}::{}",
        d.code,
        message(&said)
    )
}

fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Place;
    use crate::diagnostic::codes::UNKNOWN_KEY;

    #[test]
    fn what_github_would_read_as_syntax_is_escaped() {
        let place = Place { file: "a,b.vgo".into(), span: grammar::Span::new(3, 4) };
        let d = Diagnostic::new(&UNKNOWN_KEY, place, "50% of\nlines").help("a: b");
        assert_eq!(
            github(&d, &|_| Some("a\nbc\n".into()), "policy/"),
            "::error file=policy/a%2Cb.vgo,line=2,endLine=2,col=2,endColumn=3,title=unknown-key::50%25 of%0Alines%0Ahelp: a: b"
        );
    }
}
