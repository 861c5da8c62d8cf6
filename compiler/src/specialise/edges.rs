//! References between resources: names, patterns, and what they mean.

use globset::{GlobBuilder, GlobMatcher};
use std::sync::Arc;

/// A name or pattern that stands for resources of one module.
#[derive(Debug)]
pub enum Target {
    /// One resource.
    Exact(Arc<str>),
    /// Every match; only `*` is special.
    Pattern(Box<GlobMatcher>, Arc<str>),
}

impl Target {
    /// Reads the resource part of a reference.
    pub fn new(text: &str) -> Self {
        if !text.contains('*') {
            return Target::Exact(text.into());
        }
        match pattern(text) {
            Some(matcher) => Target::Pattern(Box::new(matcher), text.into()),
            None => Target::Exact(text.into()),
        }
    }

    /// The name, if it is one of a single resource.
    pub fn exact(&self) -> Option<&str> {
        match self {
            Target::Exact(name) => Some(name),
            Target::Pattern(..) => None,
        }
    }

    /// Whether it means the resource of this name.
    pub fn means(&self, name: &str) -> bool {
        match self {
            Target::Exact(exact) => **exact == *name,
            Target::Pattern(matcher, _) => matcher.is_match(name),
        }
    }

    /// Whether it could mean an instance of a resource whose name is a template, given as a pattern (`user-*`).
    pub fn may_mean(&self, declared: &str) -> bool {
        match self {
            Target::Exact(exact) => pattern(declared).is_some_and(|p| p.is_match(&**exact)),
            Target::Pattern(matcher, text) => {
                matcher.is_match(declared) || pattern(declared).is_some_and(|p| p.is_match(&**text))
            }
        }
    }
}

impl Target {
    /// Whether it may mean an instance that is not there: one that facts which are not known yet may bring about, or,
    /// with a `*`, one that the list of a `foreach` might have held.
    pub fn may_be_of(&self, templated: &[Arc<str>], listed: &[Arc<str>]) -> bool {
        let pattern = matches!(self, Target::Pattern(..));
        templated.iter().chain(listed.iter().filter(|_| pattern)).any(|t| self.may_mean(t))
    }
}

/// A matcher for text in which only `*` is special.
fn pattern(text: &str) -> Option<GlobMatcher> {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '?' | '[' | ']' | '{' | '}' | '!' | ',' | '-' | '\\' => format!("[{c}]"),
            c => c.to_string(),
        })
        .collect();
    // a class cannot hold `]`, `\` or `^` alone in every engine; such names are matched exactly
    if text.contains([']', '\\', '[']) {
        return None;
    }
    let collapsed = escaped.replace("**", "*");
    let glob = GlobBuilder::new(&collapsed).literal_separator(false).backslash_escape(false).build().ok()?;
    Some(glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_star_is_special() {
        assert!(Target::new("user-*").means("user-bob"));
        assert!(!Target::new("user-*").means("users"));
        assert!(Target::new("a?*").means("a?b"));
        assert!(!Target::new("a?*").means("axb"));
        assert!(Target::new("{a}*").means("{a}b"));
        assert!(Target::new("user-*").may_mean("user-*"));
        assert!(Target::new("user-bob").may_mean("user-*"));
        assert!(!Target::new("group-bob").may_mean("user-*"));
    }
}
