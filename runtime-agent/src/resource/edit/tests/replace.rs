//! `replace`.

use super::*;

#[test]
fn matches_are_replaced_and_a_replacement_that_never_ends_is_refused() {
    let k = "replace";
    let of = |pattern: &str, new: &str| [("pattern", pattern.into()), ("replacement", new.into())];
    becomes(
        k,
        "t = 1\nu = 2\nt = 3\n",
        &of("(?m)^t = [0-9]+$", "t = 9"),
        "2 matches replaced",
        "t = 9\nu = 2\nt = 9\n",
    );
    becomes(k, "a-b", &of("^(a)-(b)$", "${2}_$1"), "1 match replaced", "b_a");
    becomes(k, "none\n", &of("x", "y"), "", "none\n");
    refused(k, "a\n", &of("a", "aa"), "would change in every run");
    refused(k, "a\n", &of("(", "b"), "attribute `pattern`");
}
