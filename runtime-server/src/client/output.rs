//! What tasks wrote, as it is shown.

use super::Failure;
use super::connection::{Connection, part, typed};
use crate::http::api::tasks::{Output, Piece};
use crate::text::{leaves, unquoted};
use ir::is_unseen;
use serde_json::Value;

/// Output of a task on an envoy from a piece on, and the number of the one that comes next.
pub(super) fn pieces(
    server: &Connection,
    task: &str,
    envoy: &str,
    from: u32,
) -> Result<(Vec<Piece>, u32), Failure> {
    let (mut all, mut next) = (Vec::new(), from);
    loop {
        let below = format!("/output/{}", part(envoy));
        let output: Output = typed(
            server.get(&format!("/api/v1/tasks/{}{below}", part(task)), &[("from", next.to_string())])?,
        )?;
        let more = output.next > next;
        next = output.next;
        all.extend(output.pieces);
        if !more {
            return Ok((all, next));
        }
    }
}

/// Output as lines fit for a terminal; the answer of a query as `path = value`.
pub(super) fn lines(pieces: &[Piece]) -> Vec<String> {
    let mut out = Vec::new();
    let mut sources: Vec<&str> = Vec::new();
    for piece in pieces {
        if !sources.contains(&piece.source.as_str()) {
            sources.push(&piece.source);
        }
    }
    for source in sources {
        let text: String = pieces.iter().filter(|p| p.source == source).map(|p| p.text.as_str()).collect();
        match (source, serde_json::from_str::<Value>(&text)) {
            ("answer", Ok(answer)) => out.extend(told(&answer)),
            _ => out.extend(text.lines().map(shown)),
        }
    }
    out
}

/// A line without what a terminal would act on.
pub(super) fn shown(line: &str) -> String {
    let visible = |c: char| if is_unseen(c) && c != '\t' { '\u{fffd}' } else { c };
    line.chars().map(visible).collect()
}

/// `path = value` of every leaf.
pub(super) fn told(answer: &Value) -> impl Iterator<Item = String> {
    leaves(answer).into_iter().map(|(path, value)| format!("{} = {}", shown(&path), shown(&unquoted(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(source: &str, text: &str) -> Piece {
        Piece { piece: 0, source: source.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn case_079_output_cannot_drive_the_terminal() {
        let pieces =
            [piece("stdout", "a\x1b[2J\tb\nc"), piece("stdout", "d\n"), piece("stderr", "\u{202e}x\n")];
        assert_eq!(lines(&pieces), ["a\u{fffd}[2J\tb", "cd", "\u{fffd}x"]);
    }

    #[test]
    fn an_answer_is_shown_by_path() {
        let answer = r#"{"os": {"family": "debian"}, "cpus": 4, "no.such": null}"#;
        assert_eq!(lines(&[piece("answer", answer)]), ["cpus = 4", "no.such = null", "os.family = debian"]);
        assert_eq!(lines(&[piece("answer", "no\x07json")]), ["no\u{fffd}json"]);
    }
}
