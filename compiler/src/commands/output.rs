//! Data goes to stdout, everything else to stderr. A reader that went away is no error.

use super::failure::Failure;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::json::Texts;
use crate::diagnostic::render::{Style, human};
use serde_json::{Map, Value as Json, json};
use std::io::{self, Write};

/// The version of every JSON document.
pub(super) const FORMAT_VERSION: &str = "1.0";

/// Writes data to stdout.
pub(super) fn data(text: &str) -> Result<(), Failure> {
    data_if_read(text).map(drop)
}

/// Writes data to stdout; whether anybody still reads it.
pub(super) fn data_if_read(text: &str) -> Result<bool, Failure> {
    stream_if_read(|out| out.write_all(text.as_bytes()))
}

/// Buffered, so that a document can be written in small pieces.
pub(super) type Stdout = io::BufWriter<io::StdoutLock<'static>>;

/// Writes data to stdout piece by piece.
pub(super) fn stream(write: impl FnOnce(&mut Stdout) -> io::Result<()>) -> Result<(), Failure> {
    stream_if_read(write).map(drop)
}

fn stream_if_read(write: impl FnOnce(&mut Stdout) -> io::Result<()>) -> Result<bool, Failure> {
    let mut out = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(Failure::Write { what: "to stdout".into(), source }),
        Ok(()) => Ok(true),
    }
}

/// How a JSON document is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people who look into it.
    Indented,
    /// On one line, where a line is a document.
    Line,
}

/// Writes one JSON document with the head that all have.
pub(super) fn document(command: &str, fields: Json) -> Result<(), Failure> {
    data(&document_text(command, fields))
}

/// The text of [`document`].
pub(super) fn document_text(command: &str, fields: Json) -> String {
    pretty(&with_head(command, fields))
}

/// The same on one line.
pub(super) fn document_line(command: &str, fields: Json) -> String {
    format!("{}\n", with_head(command, fields))
}

fn with_head(command: &str, fields: Json) -> Json {
    let mut out = Map::new();
    out.insert("format_version".into(), FORMAT_VERSION.into());
    out.insert("command".into(), command.into());
    out.insert("tool_version".into(), env!("CARGO_PKG_VERSION").into());
    if let Json::Object(fields) = fields {
        out.extend(fields);
    }
    Json::Object(out)
}

/// Indented, with a final newline.
pub(super) fn pretty(json: &Json) -> String {
    format!("{json:#}\n")
}

/// Says something on stderr.
pub(super) fn note(text: &str) {
    let mut err = anstream::AutoStream::auto(io::stderr());
    // there is no third place to complain in
    let _ = writeln!(err, "{text}");
}

/// Says on stderr what went wrong.
pub(super) fn error(text: &str) {
    let red = anstyle::AnsiColor::Red.on_default().bold();
    note(&format!("{red}error:{red:#} {text}"));
}

/// Says on stderr what is odd.
pub(super) fn warning(text: &str) {
    let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
    note(&format!("{yellow}warning:{yellow:#} {text}"));
}

/// Draws findings on stderr.
pub(super) fn findings(found: &[Diagnostic], texts: &Texts) {
    let style = style_of(&io::stderr());
    let mut err = io::stderr().lock();
    for d in found {
        let _ = writeln!(err, "{}", human(d, &|p| texts.get(p).cloned(), style));
    }
}

/// How to draw on stdout.
pub(super) fn style() -> Style {
    style_of(&io::stdout())
}

/// Colours only for a terminal that wants them, and as wide as it is.
fn style_of<S: anstream::stream::RawStream + terminal_size_of::Handle>(stream: &S) -> Style {
    let colour = anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never;
    let width = stream.columns().map_or(Style::default().width, |w| usize::from(w).clamp(40, 160));
    Style { colour, width }
}

mod terminal_size_of {
    //! The width of the terminal behind a stream.

    use std::io::{Stderr, Stdout};
    use std::os::fd::AsFd;

    /// A stream that may be a terminal.
    pub(super) trait Handle {
        /// Its columns, if it is one.
        fn columns(&self) -> Option<u16>;
    }

    impl Handle for Stdout {
        fn columns(&self) -> Option<u16> {
            terminal_size::terminal_size_of(self.as_fd()).map(|(w, _)| w.0)
        }
    }

    impl Handle for Stderr {
        fn columns(&self) -> Option<u16> {
            terminal_size::terminal_size_of(self.as_fd()).map(|(w, _)| w.0)
        }
    }
}

/// `1 error`, `2 errors`, `1,240 files`.
pub(super) fn count(n: usize, noun: &str) -> String {
    let plural = match noun {
        _ if n == 1 => noun.to_owned(),
        _ if noun.ends_with("ss") => format!("{noun}es"),
        _ if noun.ends_with("ry") => format!("{}ies", noun.strip_suffix('y').unwrap_or(noun)),
        _ => format!("{noun}s"),
    };
    format!("{} {plural}", thousands(n))
}

/// `1,240`
pub(super) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Text of at most so many characters.
pub(super) fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let head: String = text.chars().take(most).collect();
    format!("{head}…")
}

/// A file and a line of it, as every document has them.
pub(super) fn place(file: &str, line: usize) -> Json {
    json!({ "file": file, "line": line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_well() {
        assert_eq!(count(1, "class"), "1 class");
        assert_eq!(count(2, "class"), "2 classes");
        assert_eq!(count(0, "error"), "0 errors");
        assert_eq!(count(3, "entry"), "3 entries");
        assert_eq!(count(1240, "file"), "1,240 files");
    }
}
