//! Text for people: escaped, bounded, right-sized.

use std::time::Duration;

/// What does something else than being seen made visible, so that a name or an error from outside can neither forge a
/// log line nor drive a terminal.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if ir::is_unseen(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// [`printable`], but a text of several lines keeps them.
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// At most `limit` bytes, cut between characters.
pub fn bounded(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `41 s`, `2 min`, `23 h 12 m`, `1 d 11 h`.
pub fn span(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min", s / 60),
        3600..86_400 => format!("{} h {} m", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

/// `38 ms`, `0.8 s`, `12 s`, `1 h 5 m`.
pub fn took(duration: Duration) -> String {
    match duration.as_millis() {
        ms @ 0..500 => format!("{ms} ms"),
        ms @ 500..10_000 => format!("{:.1} s", ms as f64 / 1000.0),
        ms @ 10_000..120_000 => format!("{} s", ms / 1000),
        ms => span(u64::try_from(ms).unwrap_or(u64::MAX)),
    }
}

/// A duration as policy writes it: `30s`, `5m`, `2h`, `1d`, `500ms`, or several of them.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, tail) = rest.split_at(unit_end);
        let ms = match unit.trim() {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(ms)?))?;
        rest = tail;
    }
    Some(total)
}

/// A number of bytes as policy writes it: `512k`, `10M`, `2G`, or bytes without a letter.
pub fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.strip_suffix(['k', 'M', 'G']) {
        Some(digits) => (digits, text.get(digits.len()..)?),
        None => (text, ""),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let shift = match unit {
        "k" => 10,
        "M" => 20,
        "G" => 30,
        _ => 0,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_policy_writes_them() {
        for (text, ms) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1d", 86_400_000),
            ("2w", 1_209_600_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "m", "5x", "-5s", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_read_as_policy_writes_them() {
        for (text, bytes) in [("0", 0), ("7", 7), ("512k", 512 << 10), ("10M", 10 << 20), ("2G", 2 << 30)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "k", "1T", "-1", "1.5M", "1 M", "99999999999G", "99999999999999999999"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_can_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\nc\u{202e}"), "a\\u{1b}[31mb\\nc\\u{202e}");
        assert_eq!(printable("a\u{61c}\u{2028}\u{200b}\u{e0041}"), "a\\u{61c}\\u{2028}\\u{200b}\\u{e0041}");
        assert_eq!(bounded("aé", 2), "a");
    }
}
