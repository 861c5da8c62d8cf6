//! Text for people, and text that somebody else wrote, made fit to be shown.
//!
//! Host names, traits and results come from agents, and an agent may be in the wrong hands: nothing of theirs may move a
//! cursor, forge a line or turn the reading direction around, in a terminal, a log or a browser. Escaping for HTML is
//! not done here but by the templates.

use ir::is_unseen;
use jiff::Timestamp;
use serde_json::Value;

/// At most `limit` characters; what was cut off leaves an ellipsis, what cannot be seen a replacement character.
pub fn plain(text: &str, limit: usize) -> String {
    let mut chars = text.chars().map(|c| if is_unseen(c) { '\u{fffd}' } else { c });
    let mut out: String = chars.by_ref().take(limit).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// A JSON document in which such characters are written as escapes: the same data, safe to look at.
pub fn json(document: &serde_json::Value) -> String {
    let text = format!("{document:#}");
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_unseen(c) {
            // They stand inside strings only, where an escape says the same.
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// Every value in a document that is no map, with its path, in the order of the paths.
pub fn leaves(document: &Value) -> Vec<(String, &Value)> {
    fn collect<'a>(path: &str, value: &'a Value, out: &mut Vec<(String, &'a Value)>) {
        let Value::Object(fields) = value else { return out.push((path.to_owned(), value)) };
        for (key, value) in fields {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            collect(&path, value, out);
        }
    }
    let mut out = Vec::new();
    collect("", document, &mut out);
    out.sort_by(|(a, _), (b, _)| a.cmp(b));
    out
}

/// A value as people write it: a text without quotes, everything else as JSON.
pub fn unquoted(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A moment in full, from milliseconds since 1970-01-01 UTC.
pub fn moment(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or("at no time there is".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// A time span in the two largest units that matter.
pub fn span(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let Some(at) = units.iter().position(|(unit, _)| ms >= *unit) else { return format!("{ms} ms") };
    let (unit, name) = units[at];
    let whole = format!("{} {name}", ms / unit);
    match units.get(at + 1).map(|(smaller, name)| (ms % unit / smaller, name)) {
        Some((rest, name)) if rest > 0 => format!("{whole} {rest} {name}"),
        _ => whole,
    }
}

/// What is left of a time, to the minute: who has just asked for 15 minutes reads 15 minutes.
pub fn left(ms: u64) -> String {
    span(if ms > 60_000 { ms.div_ceil(60_000).saturating_mul(60_000) } else { ms })
}

/// How long something can still be used.
pub fn good_for(ms: u64) -> String {
    format!("good for {}", left(ms))
}

/// Lines of cells, each column as wide as its widest cell.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let body: String = rows.iter().map(|row| line(row.each_ref().map(String::as_str))).collect();
    line(head) + &body
}

/// The one document that a command prints for programs.
pub fn document(command: &str, body: serde_json::Value) -> String {
    let mut document = serde_json::json!({
        "format_version": "1.0", "tool_version": env!("CARGO_PKG_VERSION"), "command": command,
    });
    if let (serde_json::Value::Object(document), serde_json::Value::Object(body)) = (&mut document, body) {
        document.extend(body);
    }
    json(&document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_widest_cell() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        let text = table(["A", "B"], &[row("long", "x"), row("é", "")]);
        assert_eq!(text, "A     B\nlong  x\né\n");
    }

    #[test]
    fn time_spans_have_two_units() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (41_000, "41 s"),
            (125_000, "2 min 5 s"),
            (3_600_000, "1 h"),
            (129_600_000, "1 d 12 h"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn what_was_made_for_some_time_is_good_for_that_time_a_moment_later() {
        for (ms, text) in [
            (900_000, "good for 15 min"),
            (899_999, "good for 15 min"),
            (840_001, "good for 15 min"),
            (840_000, "good for 14 min"),
            (3_599_000, "good for 1 h"),
            (90 * 86_400_000 - 1, "good for 90 d"),
            (41_000, "good for 41 s"),
            (0, "good for 0 ms"),
        ] {
            assert_eq!(good_for(ms), text, "{ms}");
        }
        assert!(good_for(u64::MAX).starts_with("good for "));
    }

    #[test]
    fn a_document_is_told_leaf_by_leaf() {
        let document =
            serde_json::json!({ "os": { "name": "debian", "id": 13 }, "all": [1, "b"], "no": null });
        let told: Vec<String> =
            leaves(&document).into_iter().map(|(path, leaf)| format!("{path}={}", unquoted(leaf))).collect();
        assert_eq!(told, ["all=[1,\"b\"]", "no=null", "os.id=13", "os.name=debian"]);
        let text = serde_json::json!("x");
        assert_eq!(leaves(&text), [(String::new(), &text)]);
    }

    #[test]
    fn moments_in_full() {
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(u64::MAX), "at no time there is");
    }

    #[test]
    fn case_079_nothing_an_agent_wrote_reaches_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\n\u{202e}c\u{9b}", 20), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}");
        assert_eq!(plain("abcd", 3), "abc…");
        assert_eq!(plain("abc", 3), "abc");
    }

    #[test]
    fn case_079_json_says_the_same_without_them() {
        let value = serde_json::json!({ "a\u{202e}": "x\u{9b}\u{1b}\n\u{e0041}é" });
        let text = json(&value);
        assert!(!text.replace('\n', "").chars().any(is_unseen), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
