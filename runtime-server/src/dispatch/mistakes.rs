//! What the compiler found in a text that came with a request.

use compiler::diagnostic::render::{Style, human};
use compiler::diagnostic::{Diagnostic, json};
use std::sync::Arc;

/// What is wrong with a condition or a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistakes {
    /// As `vigoc check` draws them, without colours.
    pub rendered: String,
    /// As in `vigoc check --format json`; the file is what the text is called.
    pub diagnostics: serde_json::Value,
    /// The messages alone.
    pub messages: Vec<String>,
}

impl Mistakes {
    /// Of a text that is called `file` in what was found.
    pub fn new(found: &[Diagnostic], file: Arc<str>, text: &str) -> Self {
        let text: Arc<str> = text.into();
        let source = |_: &str| Some(text.clone());
        let style = Style { colour: false, ..Style::default() };
        let texts = [(file, text.clone())].into_iter().collect();
        Mistakes {
            rendered: found.iter().map(|d| human(d, &source, style)).collect::<Vec<_>>().join("\n"),
            diagnostics: json::diagnostics(found, &texts),
            messages: found.iter().map(|d| d.message.clone()).collect(),
        }
    }

    /// One without a place.
    pub fn plain(message: String) -> Self {
        Mistakes {
            rendered: format!("{message}\n"),
            diagnostics: serde_json::json!([]),
            messages: vec![message],
        }
    }
}
