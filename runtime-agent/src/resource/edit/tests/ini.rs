//! `ini`.

use super::*;

#[test]
fn keys_of_a_section_are_set_and_removed_and_all_else_stays() {
    let k = "ini";
    let text = "; top\nglobal=1\n\n[one]\n# about a\na = 1\nb: 2\n\n; about two\n[two]\na = 5\na = 6\n";
    let set = |section: &str, key: &'static str, value: &str| {
        [("section", Value::from(section)), ("set", map(&[(key, value.into())]))]
    };
    becomes(k, text, &set("one", "a", "1"), "", text);
    becomes(k, text, &set("one", "a", "9"), "set a", &text.replace("a = 1", "a = 9"));
    becomes(k, text, &set("one", "b", ""), "set b", &text.replace("b: 2", "b:"));
    becomes(k, text, &set("one", "c", "x y"), "set c", &text.replace("b: 2\n", "b: 2\nc = x y\n"));
    becomes(k, text, &set("two", "a", "7"), "set a", &text.replace("a = 5\na = 6", "a = 7"));
    becomes(k, text, &set("", "global", "2"), "set global", &text.replace("global=1", "global=2"));
    becomes(
        k,
        text,
        &set("", "other", "2"),
        "set other",
        &text.replace("global=1\n", "global=1\nother = 2\n"),
    );
    becomes(k, text, &set("new", "a", "1"), "set a", &format!("{text}\n[new]\na = 1\n"));
    becomes(k, "[s]\nflag\n", &set("s", "flag", "1"), "set flag", "[s]\nflag = 1\n");
    becomes(k, "\u{feff}a=1\r\n[s]\r\n", &set("", "a", "2"), "set a", "\u{feff}a=2\r\n[s]\r\n");
    becomes(k, "[s]", &set("s", "a", "1"), "set a", "[s]\na = 1\n");
    let remove = |section: &str, key: &str| [("section", Value::from(section)), ("remove", list(&[key]))];
    becomes(k, text, &remove("two", "a"), "removed a", &text.replace("a = 5\na = 6\n", ""));
    becomes(k, text, &remove("one", "none"), "", text);
    let absent = [("section", Value::from("one")), ("state", "absent".into())];
    becomes(k, text, &absent, "section removed", "; top\nglobal=1\n\n[two]\na = 5\na = 6\n");
    refused(
        k,
        "[one\na=1\n",
        &set("one", "a", "2"),
        "/f, line 1, column 1: the name of the section has no `]`",
    );
    refused(k, text, &set("one]", "a", "2"), "attribute `section`");
    refused(k, text, &set("one", "a=b", "2"), "attribute `set`: `a=b` is not a key");
    refused(k, text, &set("one", "a", "x\ny"), "one line");
    refused(
        k,
        text,
        &[("separator", " is ".into()), ("set", map(&[("a", "1".into())]))],
        "attribute `separator`",
    );
    refused(k, text, &[("state", "absent".into())], "attribute `section`: is missing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn an_ini_key_is_changed_in_one_place(text in texts(), section in prop::sample::select(vec!["", "s", "t", "u"]), key in "[a-c]", value in "[a-z0-9 ]{0,5}") {
        use super::super::Edit;
        let value = value.trim();
        let d = with("ini", &[("section", section.into()), ("set", map(&[(key.as_str(), value.into())]))]);
        let once = super::super::ini::Ini::edit(&d, &text).unwrap();
        prop_assert_eq!(&super::super::ini::Ini::edit(&d, &once.text).unwrap().text, &once.text);
        for line in text.lines().filter(|l| l.starts_with(['#', ';', '['])) {
            prop_assert!(once.text.lines().any(|l| l == line));
        }
        let gone = with("ini", &[("section", section.into()), ("remove", list(&[&key]))]);
        let gone = super::super::ini::Ini::edit(&gone, &once.text).unwrap().text;
        prop_assert_eq!(super::super::ini::Ini::edit(&d, &gone).unwrap().changes.is_empty(), false);
    }
}
