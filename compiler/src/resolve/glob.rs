//! Patterns over host names.

use globset::{Glob, GlobBuilder, GlobMatcher};
use std::sync::OnceLock;

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

    /// Whether this pattern surely matches whatever `other` matches. A plain name is covered by a pattern that
    /// matches it; beyond that only equal patterns and `*` are told.
    pub fn covers(&self, other: &HostGlob) -> bool {
        let plain = |text: &str| !text.contains(['*', '?', '[', '{']);
        let some = || plain(&other.text) && !plain(&self.text) && self.matches(&other.text);
        self.text == other.text || self.text == "*" || some()
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
        for bad in ["", "[", "{a", "a\\*"] {
            assert!(HostGlob::new(bad).is_err(), "{bad}");
        }
    }
}
