//! The registry of diagnostics: each has one slug for ever.

use super::Severity;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// Stable, kebab-case.
    pub slug: &'static str,
    /// Unless the place decides.
    pub severity: Severity,
    /// One line on what it means.
    pub summary: &'static str,
}

/// The code with this slug.
pub fn code(slug: &str) -> Option<&'static Code> {
    static BY_SLUG: LazyLock<BTreeMap<&'static str, &'static Code>> =
        LazyLock::new(|| CODES.iter().map(|c| (c.slug, *c)).collect());
    BY_SLUG.get(slug).copied()
}

/// Every slug there is with its severity and a line on what it means: those of [`CODES`] and of the grammar, sorted.
pub fn slugs() -> impl Iterator<Item = (&'static str, Severity, &'static str)> {
    static ALL: LazyLock<Vec<(&'static str, Severity, &'static str)>> = LazyLock::new(|| {
        let ours = CODES.iter().map(|c| (c.slug, c.severity, c.summary));
        let syntax = grammar::SLUGS.iter().map(|(slug, summary)| (*slug, Severity::Error, *summary));
        let mut all: Vec<_> = ours.chain(syntax).collect();
        all.sort_by_key(|(slug, ..)| *slug);
        all
    });
    ALL.iter().copied()
}

macro_rules! codes {
    ($($name:ident = $slug:literal, $severity:ident, $summary:literal;)*) => {
        $(#[doc = $summary] pub static $name: Code =
            Code { slug: $slug, severity: Severity::$severity, summary: $summary };)*

        /// Codes of the compiler; those of the grammar are in [`grammar::error::SLUGS`].
        pub static CODES: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    UNREADABLE_FILE = "unreadable-file", Error, "a file or directory of the policy cannot be read";
    NOT_UTF8 = "not-utf8", Error, "a `.vgo` file is not UTF-8 text";
    FILE_TOO_LARGE = "file-too-large", Error, "a file is larger than 16 MiB";
    POLICY_TOO_LARGE = "policy-too-large", Error, "a policy has too many files or bytes";
    LINK_LEAVES_ROOT = "link-leaves-root", Error, "a symlink points out of the policy";
    EMPTY_POLICY = "empty-policy", Error, "a directory holds no policy";
    TWO_SPELLINGS = "two-spellings", Error, "a directory holds a file under its new and its old name";
    OLDER_SPELLING = "older-spelling", Hint, "an older name of a key or file";

    WRONG_KIND = "wrong-kind", Error, "a list, map or text stands where something else is due";
    UNKNOWN_KEY = "unknown-key", Error, "a key that this place does not have";
    MISSING_KEY = "missing-required-key", Error, "a key that this place must have";
    INVALID_NAME = "invalid-name", Error, "a name with characters that names cannot have";
    UNKNOWN_TYPE_NAME = "unknown-type-name", Error, "a `type:` of a parameter that does not exist";

    DUPLICATE_MODULE = "duplicate-module", Error, "two files declare one module";
    DUPLICATE_ROLE = "duplicate-role", Error, "two roles have one name";
    DUPLICATE_RESOURCE = "duplicate-resource", Error, "two resources of a module have one name";
    DUPLICATE_TARGET = "duplicate-target", Error, "two resources manage one thing on one envoy";
    DUPLICATE_VARIABLE = "duplicate-variable", Error, "a name stands under `params:` and under `vars:`";
    UNKNOWN_MODULE = "unknown-module", Error, "a module that does not exist";
    UNKNOWN_ROLE = "unknown-role", Error, "a role that does not exist";
    UNKNOWN_ENVIRONMENT = "unknown-environment", Warning, "an environment that nothing declares";
    UNKNOWN_RESOURCE_TYPE = "unknown-resource-type", Error, "a resource type that does not exist";
    UNKNOWN_RESOURCE = "unknown-resource", Error, "a reference to a resource that does not exist";
    AMBIGUOUS_REFERENCE = "ambiguous-reference", Error, "a bare reference that fits resources of several modules";
    UNQUALIFIED_REFERENCE = "unqualified-reference", Hint, "a bare reference to a resource of another module";
    ROLE_CYCLE = "role-cycle", Error, "roles include each other in a circle";
    DEPENDENCY_CYCLE = "dependency-cycle", Error, "resources or modules wait for each other in a circle";
    MISSING_DEPENDENCY = "missing-dependency", Error, "a module needs one that the envoy does not get";
    NOT_ASSIGNED = "not-assigned", Warning, "an excluded module was not assigned";

    UNKNOWN_ATTRIBUTE = "unknown-attribute", Error, "an attribute that the resource type does not have";
    MISSING_ATTRIBUTE = "missing-attribute", Error, "an attribute that the resource type must have";
    EXCLUSIVE_ATTRIBUTES = "exclusive-attributes", Error, "attributes that exclude each other";
    DEPENDENT_ATTRIBUTE = "dependent-attribute", Error, "an attribute that needs another one";
    NULL_ATTRIBUTE = "null-attribute", Error, "an attribute without a value";
    UNGUARDED_EXEC = "unguarded-exec", Warning, "a command that runs at every check";
    UNTRIGGERED_RESTART = "untriggered-restart", Warning, "a service that is restarted or reloaded at every check";
    NEVER_TRUE = "never-true", Warning, "a condition that cannot become true";
    USELESS_NOTIFY = "useless-notify", Warning, "a resource is told of changes, but does not ask for them";
    CONSTANT_CONDITION = "constant-condition", Warning, "a condition that does not depend on anything";

    UNKNOWN_VARIABLE = "unknown-variable", Error, "a variable that nothing sets";
    UNSET_VARIABLE = "unset-variable", Error, "a variable that is not set for some envoys";
    UNSET_PARAMETER = "unset-parameter", Error, "a parameter without default that nothing sets";
    AMBIGUOUS_DEFAULT = "ambiguous-default", Error, "two modules give one variable different defaults";
    UNKNOWN_FIELD = "unknown-field", Error, "a field that a map does not have";
    UNKNOWN_TRAIT = "unknown-trait", Error, "a trait that does not exist";
    OPTIONAL_TRAIT = "optional-trait", Error, "a trait that may be absent is read unguarded";
    UNKNOWN_FUNCTION = "unknown-function", Error, "a function that does not exist here";
    WRONG_ARGUMENTS = "wrong-arguments", Error, "a function is called with other arguments than it takes";
    TYPE_MISMATCH = "type-mismatch", Error, "a value of another type than the place needs";
    INVALID_VALUE = "invalid-value", Error, "a value that its type does not allow";
    NEEDS_QUOTES = "needs-quotes", Error, "a value that means something else to readers without quotes";
    AMBIGUOUS_SCALAR = "ambiguous-scalar", Warning, "a plain value that YAML readers disagree about";
    TEMPLATE_IN_VARIABLE = "template-in-variable", Warning, "text in a variable is not a template";
    SECRET_FLOW = "secret-flow", Error, "a secret flows where it could be seen";
    TOO_LATE = "too-late", Error, "a value is needed before it can be known";
    EVALUATION_FAILED = "evaluation-failed", Error, "an expression has no value";
    UNKNOWN_TEMPLATE = "unknown-template", Error, "a file that `source:` names does not exist";
    ITEM_NOT_NAMED = "item-not-named", Error, "the name of a foreach resource does not mention `.Item`";
    UNCOVERED_CASE = "uncovered-case", Error, "a case has no branch for a value";
    INVALID_GLOB = "invalid-glob", Error, "a pattern that cannot be matched";
    SHADOWED_ENTRY = "shadowed-entry", Warning, "a node entry that earlier ones cover";
    LIMIT_EXCEEDED = "limit-exceeded", Error, "a limit of the language is exceeded";

    UNUSED_VARIABLE = "unused-variable", Warning, "a variable that nothing reads";
    UNUSED_MODULE = "unused-module", Warning, "a module that no node entry gets";
    UNUSED_ROLE = "unused-role", Warning, "a role that nothing names";

    MALFORMED_ALLOW = "malformed-allow", Error, "a `# vigo:` comment that is not `allow(SLUG) REASON`";
    UNKNOWN_SLUG = "unknown-slug", Error, "a `# vigo: allow` of a kind of finding that does not exist";
    ALLOW_WITHOUT_REASON = "allow-without-reason", Error, "a `# vigo: allow` that does not say why";
    UNUSED_ALLOW = "unused-allow", Warning, "a `# vigo: allow` with nothing to allow";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_unique_and_kebab_case() {
        let mut seen = std::collections::BTreeSet::new();
        for slug in CODES.iter().map(|c| c.slug) {
            assert!(seen.insert(slug), "{slug} twice");
            assert!(
                slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{slug}"
            );
        }
    }
}
