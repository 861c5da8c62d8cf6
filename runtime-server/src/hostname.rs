//! Names of hosts, and the globs that tokens are bound to.

/// Lower-cases a name and refuses what is none: letters, digits, `-`, `_` and dots between labels. Everything
/// else could mean something to a shell, a path or a terminal.
pub fn normalise(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    (name.len() <= 253 && name.split('.').all(label)).then_some(name)
}

/// Whether `glob` (`*` any text, `?` one character) matches the whole name, whatever the case.
pub fn matches(glob: &str, name: &str) -> bool {
    matches_exactly(&glob.to_ascii_lowercase(), &name.to_ascii_lowercase())
}

/// The same where upper and lower case are not one.
pub fn matches_exactly(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    // On a mismatch, the last `*` takes one byte more.
    let (mut g, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => (g, n) = (g + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (g, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_044_names_that_are_none() {
        for bad in ["", "../x", "a\0b", "*", "-rf", "a..b", "a.", ".a", "a b", "a/b", "é", "a\u{202e}b"] {
            assert_eq!(normalise(bad), None, "{bad:?}");
        }
        assert_eq!(normalise(&"a".repeat(64)), None);
        assert_eq!(normalise(&"a.".repeat(40_000)), None);
        assert_eq!(normalise("Web-01.Example.COM").as_deref(), Some("web-01.example.com"));
    }

    #[test]
    fn globs() {
        for (glob, name, expected) in [
            ("*", "web-01", true),
            ("web-*", "web-01", true),
            ("WEB-*", "web-01", true),
            ("web-*", "db-01", false),
            ("web-0?", "web-01", true),
            ("web-0?", "web-0", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*a*b", "xaxxab", true),
            ("", "a", false),
            ("web", "web.evil", false),
        ] {
            assert_eq!(matches(glob, name), expected, "{glob} {name}");
        }
    }
}
