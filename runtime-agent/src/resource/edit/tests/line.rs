//! `file_line`.

use super::*;

#[test]
fn a_line_is_added_replaced_and_removed() {
    let k = "file_line";
    let line = |extra: &[(&'static str, Value)]| [&[("line", "b = 2".into())], extra].concat();
    becomes(k, "a\n", &line(&[]), "line added", "a\nb = 2\n");
    becomes(k, "a", &line(&[]), "line added", "a\nb = 2\n");
    becomes(k, "a\r\n", &line(&[]), "line added", "a\r\nb = 2\r\n");
    becomes(k, "b = 2\nb = 2\n", &line(&[]), "", "b = 2\nb = 2\n");
    let pattern = line(&[("pattern", "^#?b *=".into())]);
    becomes(k, "a\n#b = 1\nc", &pattern, "line replaced", "a\nb = 2\nc");
    becomes(k, "a\nb = 2\nc\nb = 3\n", &pattern, "line removed", "a\nb = 2\nc\n");
    becomes(k, "b=1\r\nb = 3\r\n#b=4\r\n", &pattern, "line replaced, 2 lines removed", "b = 2\r\n");
    becomes(
        k,
        "x\na\ny\na\nz\n",
        &line(&[("insert_after", "^a$".into())]),
        "line added",
        "x\na\ny\na\nb = 2\nz\n",
    );
    becomes(
        k,
        "x\na\ny\na\n",
        &line(&[("insert_before", "^a$".into())]),
        "line added",
        "x\nb = 2\na\ny\na\n",
    );
    becomes(k, "x\n", &line(&[("insert_after", "^a$".into())]), "line added", "x\nb = 2\n");
    let absent = |extra: &[(&'static str, Value)]| [&[("state", "absent".into())], extra].concat();
    becomes(k, "a\nb = 2\nc\nb = 2", &absent(&[("line", "b = 2".into())]), "2 lines removed", "a\nc\n");
    becomes(k, "a\nb\n", &absent(&[("pattern", "^[b-d]$".into())]), "line removed", "a\n");
    refused(k, "a\n", &absent(&[]), "attribute `line` is missing");
    refused(k, "a\n", &[("line", "a\nb".into())], "more than one line");
    refused(k, "a\n", &[], "attribute `line` is missing");
    refused(
        k,
        "a\n",
        &line(&[("pattern", "(".into())]),
        "attribute `pattern`: is not a regular expression: unclosed",
    );
    refused(k, "a\n", &line(&[("insert_after", "a".into()), ("insert_before", "a".into())]), "insert_before");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_line_added_leaves_every_other_byte(text in texts(), line in "[a-z= ]{1,6}") {
        use super::super::Edit;
        let d = with("file_line", &[("line", line.as_str().into())]);
        let once = super::super::line::Line::edit(&d, &text).unwrap().text;
        prop_assert!(once.lines().any(|l| l == line));
        prop_assert_eq!(&super::super::line::Line::edit(&d, &once).unwrap().text, &once);
        prop_assert!(once.starts_with(&text));
        let d = with("file_line", &[("line", line.as_str().into()), ("pattern", "^b".into())]);
        let once = super::super::line::Line::edit(&d, &text).unwrap().text;
        prop_assert_eq!(&super::super::line::Line::edit(&d, &once).unwrap().text, &once);
        let gone = with("file_line", &[("line", line.as_str().into()), ("state", "absent".into())]);
        let gone = super::super::line::Line::edit(&gone, &once).unwrap().text;
        prop_assert!(gone.lines().all(|l| l != line));
    }
}
