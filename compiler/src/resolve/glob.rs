//! Patterns over host names.

use globset::{Glob, GlobBuilder, GlobMatcher};
use std::sync::OnceLock;

/// Characters of a pattern; a host name has at most 253.
const MAX_LENGTH: usize = 1024;
/// Braces within braces.
pub(super) const MAX_NESTING: usize = 16;

/// A compiled pattern; host names are compared in lower case and without a trailing dot.
#[derive(Debug)]
pub struct HostGlob {
    glob: Glob,
    /// Made when a host is asked about: a check needs none, and it is the costly part.
    matcher: OnceLock<GlobMatcher>,
    /// Pattern, lower-cased.
    pub text: String,
}

/// A host name as it is compared and printed: lower case, no trailing dot.
pub fn normal(hostname: &str) -> String {
    let lower = hostname.to_lowercase();
    lower.strip_suffix('.').unwrap_or(&lower).to_owned()
}

impl HostGlob {
    /// Compiles a pattern; the error says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let mut text = normal(pattern);
        if text.is_empty() {
            return Err("it is empty".into());
        }
        if text.contains('\\') {
            return Err("there are no escapes".into());
        }
        if text.len() > MAX_LENGTH {
            return Err(format!("it has more than {MAX_LENGTH} characters"));
        }
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(format!(
                "`{}` is in no host name; names in other scripts are written `xn--...`",
                c.escape_debug()
            ));
        }
        let nesting = text.chars().scan(0_usize, |depth, c| {
            *depth = if c == '{' { *depth + 1 } else { depth.saturating_sub(usize::from(c == '}')) };
            Some(*depth)
        });
        if nesting.max() > Some(MAX_NESTING) {
            return Err(format!("it nests more than {MAX_NESTING} `{{`"));
        }
        // to globset `**` is about directories; here it is one more way to write `*`
        while text.contains("**") {
            text = text.replace("**", "*");
        }
        let glob = GlobBuilder::new(&text)
            .literal_separator(false)
            .backslash_escape(false)
            .empty_alternates(true)
            .build()
            .map_err(|e| e.kind().to_string())?;
        Ok(HostGlob { glob, matcher: OnceLock::new(), text })
    }

    /// Whether a host name (see [`normal`]) matches.
    pub fn matches(&self, hostname: &str) -> bool {
        self.matcher.get_or_init(|| self.glob.compile_matcher()).is_match(hostname)
    }

    /// Whether it matches its own text and nothing else.
    pub fn is_plain(&self) -> bool {
        !self.text.contains(['*', '?', '[', '{'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_language_says() {
        let cases = [
            ("web-*.example.com", "web-01.a.example.com", true),
            ("web-*", "web-", true),
            ("web-?", "web-", false),
            ("web-[0-9][0-9].test", "web-42.test", true),
            ("web-[!0].test", "web-0.test", false),
            ("web-[^0].test", "web-1.test", true),
            ("{web,db}-1", "db-1", true),
            ("{web,}x", "x", true),
            ("WEB-1.", "web-1", true),
            ("a**b", "axyb", true),
            ("web", "web-1", false),
        ];
        for (pattern, host, expected) in cases {
            assert_eq!(HostGlob::new(pattern).unwrap().matches(host), expected, "{pattern} {host}");
        }
        let (deep, long) = ("{".repeat(5000) + "a" + &"}".repeat(5000), "{a,b}".repeat(5000));
        for bad in ["", "[", "{a", "a\\*", "müll", "a b", &deep, &long] {
            assert!(HostGlob::new(bad).is_err(), "{bad}");
        }
    }
}
