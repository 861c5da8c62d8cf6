//! `vigoc rule`.

use super::vigoc;

#[test]
fn a_rule_is_explained_and_all_are_listed() {
    let ran = vigoc(&["rule", "needs-quotes"]).exits(0).prints("# needs-quotes\n");
    assert!(ran.out.contains("## Wrong") && ran.out.contains("## Right"), "{}", ran.out);
    vigoc(&["rule"]).exits(0).prints("needs-quotes ").prints("unclosed-bracket ");
    vigoc(&["rule", "needs-quote"]).exits(64).says("did you mean `needs-quotes`?");
}

#[test]
fn rules_for_programs() {
    let one = vigoc(&["rule", "unused-role", "--format", "json"]).exits(0).json();
    assert_eq!(one["command"], "rule");
    assert_eq!(one["rules"][0]["code"], "unused-role");
    assert_eq!(one["rules"][0]["severity"], "warning");
    let all = vigoc(&["rule", "--format", "json"]).exits(0).json();
    assert_eq!(all["rules"].as_array().unwrap().len(), vigoc(&["rule"]).out.lines().count());
}
