//! Why a command did not do its work, and the exit code of each reason.

use super::output::{self, Form};
use crate::diagnostic::json::Texts;
use crate::diagnostic::{Diagnostic, json};
use crate::tree::OpenError;
use serde_json::{Map, Value as Json, json};
use std::io;

/// Wrong usage.
pub(super) const USAGE: u8 = 64;
/// A bug.
pub(super) const BUG: u8 = 70;

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// All is well.
    Done,
    /// It found what it was asked to look for.
    Findings,
    /// All is well, and there are differences.
    Differences,
    /// A limit that was given is exceeded.
    Exceeded,
}

impl Exit {
    pub(super) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Findings => 1,
            Exit::Differences => 2,
            Exit::Exceeded => 3,
        }
    }
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Arguments that do not fit together.
    #[error("{0}")]
    Usage(String),
    /// What the command was given is missing, unreadable or malformed.
    #[error("{0}")]
    Input(String),
    /// The policy cannot be read at all.
    #[error("{0}{hint}", hint = elsewhere(.0))]
    Open(#[from] OpenError),
    /// The question has no answer.
    #[error("{message}{}", help.as_ref().map(|h| format!("\n  help: {h}")).unwrap_or_default())]
    NoAnswer {
        /// What there is not.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// The policy or the text has errors that concern what was asked.
    #[error("{message}")]
    Findings {
        /// Says for what.
        message: String,
        /// The findings.
        found: Vec<Diagnostic>,
        /// Texts of the files that they stand in.
        texts: Texts,
    },
    /// Something cannot be written.
    #[error("cannot write {what}: {source}")]
    Write {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Completions or man pages.
    #[error(transparent)]
    Manual(#[from] manual::Error),
}

fn elsewhere(error: &OpenError) -> &'static str {
    if let OpenError::Empty { .. } = error { ", `-C DIR` names another directory" } else { "" }
}

impl Failure {
    /// The one place where reasons become exit codes.
    pub(super) fn code(&self) -> u8 {
        match self {
            Failure::NoAnswer { .. } | Failure::Findings { .. } => 1,
            Failure::Write { .. } | Failure::Manual(_) => 1,
            Failure::Usage(_) => USAGE,
            Failure::Input(_) | Failure::Open(_) => 65,
        }
    }

    /// A question without an answer.
    pub(super) fn no_answer(message: impl Into<String>, help: Option<String>) -> Self {
        Failure::NoAnswer { message: message.into(), help }
    }

    /// Tells people on stderr; `json` is the command, when it was asked for JSON on stdout, and the form of that.
    pub(super) fn report(&self, json: Option<(&str, Form)>) {
        let mut document = Map::new();
        if let Failure::Findings { found, texts, .. } = self {
            output::findings(found, texts);
            document.insert("diagnostics".into(), json::diagnostics(found, texts));
        }
        output::error(&self.to_string());
        if let Some((command, form)) = json {
            document.insert("error".into(), json!({ "message": self.to_string(), "exit": self.code() }));
            let text = match form {
                Form::Indented => output::document_text(command, Json::Object(document)),
                Form::Line => output::document_line(command, Json::Object(document)),
            };
            // the reason was said; there is nothing to add when that cannot be written
            let _ = output::data(&text);
        }
    }
}
