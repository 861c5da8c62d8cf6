//! `blockinfile`.

use super::*;

#[test]
fn a_block_is_added_replaced_and_removed() {
    let k = "blockinfile";
    let block = |extra: &[(&'static str, Value)]| [&[("block", "x\ny\n".into())], extra].concat();
    becomes(k, "a\n", &block(&[]), "block added", "a\n# BEGIN vigo\nx\ny\n# END vigo\n");
    becomes(k, "a\r\n", &block(&[]), "block added", "a\r\n# BEGIN vigo\r\nx\r\ny\r\n# END vigo\r\n");
    let present = "a\n# BEGIN vigo\nold\n# END vigo\n# BEGIN other\nq\n# END other\nz";
    becomes(
        k,
        present,
        &block(&[]),
        "block replaced",
        "a\n# BEGIN vigo\nx\ny\n# END vigo\n# BEGIN other\nq\n# END other\nz",
    );
    becomes(
        k,
        present,
        &[("state", "absent".into())],
        "block removed",
        "a\n# BEGIN other\nq\n# END other\nz",
    );
    becomes(k, "a\n", &[("state", "absent".into())], "", "a\n");
    becomes(
        k,
        "<a>\n</a>\n",
        &block(&[
            ("comment", "<!--".into()),
            ("comment_end", "-->".into()),
            ("insert_before", "</a>".into()),
        ]),
        "block added",
        "<a>\n<!-- BEGIN vigo -->\nx\ny\n<!-- END vigo -->\n</a>\n",
    );
    for (text, place) in [
        ("a\n# BEGIN vigo\n", "/f, line 2, column 1: the markers"),
        ("# END vigo\n# BEGIN vigo\n", "line 2"),
        ("# BEGIN vigo\n# BEGIN vigo\n# END vigo\n", "line 1"),
    ] {
        refused(k, text, &block(&[]), place);
        refused(k, text, &[("state", "absent".into())], "the file was left as it is");
    }
    refused(k, "a\n", &[("block", "# END vigo".into())], "one of its own markers");
    refused(k, "a\n", &block(&[("label", "a\nb".into())]), "attribute `label`");
    refused(k, "a\n", &[], "attribute `block` is missing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_block_added_leaves_every_other_byte(text in texts(), block in "[a-z\n ]{0,20}") {
        use super::super::Edit;
        let d = with("blockinfile", &[("block", block.as_str().into())]);
        let once = super::super::block::Block::edit(&d, &text).unwrap().text;
        prop_assert!(once.starts_with(&text));
        prop_assert_eq!(&super::super::block::Block::edit(&d, &once).unwrap().text, &once);
        let gone = with("blockinfile", &[("state", "absent".into())]);
        let gone = super::super::block::Block::edit(&gone, &once).unwrap().text;
        prop_assert!(gone == text || gone.strip_prefix(&text).is_some_and(|end| end == "\n" || end == "\r\n"));
    }
}
