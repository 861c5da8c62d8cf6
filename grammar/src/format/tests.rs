//! What goes in, what comes out.

use super::*;

#[track_caller]
fn check(input: &str, want: &str) {
    let out = format(input).unwrap_or_else(|e| panic!("{input:?}: {e:?}"));
    assert_eq!(out, want, "from {input:?}");
    assert_eq!(format(&out).as_deref(), Ok(want), "a second time, from {input:?}");
}

/// Each pair: as written, as laid out.
const CASES: &[(&str, &str)] = &[
    // the edges of a file
    ("", ""),
    ("\n\n", ""),
    ("a: 1", "a: 1\n"),
    ("\u{feff}a: 1\r\nb: 2\r\n", "a: 1\nb: 2\n"),
    ("---\na: 1\n\n\n", "a: 1\n"),
    ("# c\n---\na: 1\n", "# c\n\na: 1\n"),
    ("--- # c\na: 1\n", "# c\na: 1\n"),
    ("\n\n# c   \n\n\n\na: 1\n# end", "# c\n\na: 1\n# end\n"),
    ("# only\n", "# only\n"),
    // spaces
    ("a:   1\nb :  c  d  \n", "a: 1\nb: c  d\n"),
    ("a:\t1\t# c\n", "a: 1 # c\n"),
    ("a:\n    b:\n        c: 1\n", "a:\n  b:\n    c: 1\n"),
    // lists
    ("a:\n- 1\n-   2\nb:\n      - 3\n", "a:\n  - 1\n  - 2\nb:\n  - 3\n"),
    ("- a: 1\n  b: 2\n-\n  c: 3\n-    d: 4\n     e: 5\n", "- a: 1\n  b: 2\n- c: 3\n- d: 4\n  e: 5\n"),
    ("- - 1\n  - 2\n-\n  - - 3\n", "- - 1\n  - 2\n- - - 3\n"),
    ("-\n- ~\n-\n", "-\n- ~\n-\n"),
    ("- a:\n  - 1\n  b: 2\n", "- a:\n    - 1\n  b: 2\n"),
    // groups
    ("a: 1\n\n\n\nb: 2\n  \nc:\n\n  d: 3\n", "a: 1\n\nb: 2\n\nc:\n  d: 3\n"),
    ("- 1\n\n- 2\n-\n\n  a: 1\n\n  b: 2\n", "- 1\n\n- 2\n- a: 1\n\n  b: 2\n"),
    // comments
    ("a:\n  # x\n  b: 1\n  # y\n# z\nc: 2\n", "a:\n  # x\n  b: 1\n  # y\n# z\nc: 2\n"),
    ("a:\n    b: 1\n\n    # y\n\n# z\n\nc: 2\n", "a:\n  b: 1\n\n  # y\n\n# z\n\nc: 2\n"),
    ("a:\n  # b: 1\nc: 2\n", "a:\n  # b: 1\nc: 2\n"),
    ("a:\n# b\nc: 2\n", "a:\n# b\nc: 2\n"),
    ("a:\n      # b: 1\n", "a:\n  # b: 1\n"),
    ("a:\n  - 1\n  # x\n# y\n", "a:\n  - 1\n  # x\n# y\n"),
    ("a:\n- 1\n# y\nb: 2\n", "a:\n  - 1\n# y\nb: 2\n"),
    ("a: # x\n  # y\n  b: 1\n", "a: # x\n  # y\n  b: 1\n"),
    ("- # x\n  a: 1\n- # y\n  # z\n  b: 2 # w\n", "- # x\n  a: 1\n- # y\n  # z\n  b: 2 # w\n"),
    ("a: # x\n  b c\n", "a: # x\n  b c\n"),
    ("a:\n  # x\n  [b]\n", "a:\n  # x\n  [b]\n"),
    ("a: 1\n    # deep\nb: 2\n", "a: 1\n# deep\nb: 2\n"),
    ("  # first\n  a: 1\n", "# first\na: 1\n"),
    // comments at the end of a line keep their common column
    ("a: 1     # x\nlong: 2  # y\nb: 3 # z\n", "a: 1     # x\nlong: 2  # y\nb: 3 # z\n"),
    (
        "a:\n    b: 1     # x\n    c:       # y\n      d: 2   # z\n",
        "a:\n  b: 1     # x\n  c:       # y\n    d: 2   # z\n",
    ),
    ("é: 1 # x\nb:   2   # y\n", "é: 1 # x\nb: 2   # y\n"),
    // brackets
    ("a: [ b,c ,  d, ]\n", "a: [b, c, d]\n"),
    ("a: {b: 1,c:  {d: [ ]} , }\n", "a: { b: 1, c: { d: [] } }\n"),
    ("a: {\"b\":1, c, d: }\n", "a: { \"b\": 1, c, d: }\n"),
    ("a: [b: 1, {c: 2}, e: ]\n", "a: [b: 1, { c: 2 }, e:]\n"),
    ("a: { }\nb: [\n]\n", "a: {}\nb: []\n"),
    ("a:\n  [b]\n", "a: [b]\n"),
    ("{a: 1}\n", "{ a: 1 }\n"),
    ("{a: 1,\n b: 2}\n", "a: 1\nb: 2\n"),
    ("a: [\n  b, # x\n  # y\n  c\n]\nd: 1\n", "a:\n  - b # x\n  # y\n  - c\nd: 1\n"),
    ("a: [ # x\n  b ] # y\n", "a: # x\n  - b # y\n"),
    ("a: [ # none\n]\n", "a: [] # none\n"),
    ("- {a: [1,\n  2], b: {c: 3}}\n- x\n", "- a:\n    - 1\n    - 2\n  b: { c: 3 }\n- x\n"),
    ("- [[a,\n  b], c]\n", "- - - a\n    - b\n  - c\n"),
    ("[ # x\n a]\n", "# x\n- a\n"),
    // quotes stay
    ("a: '0644'\nb: \"x\"\n'c' : \"it''s\"\n", "a: '0644'\nb: \"x\"\n'c': \"it''s\"\n"),
    // texts of several lines
    ("a: b\n     c\n\n\n     d # x\n", "a: b\n  c\n\n\n  d # x\n"),
    ("a:\n  b\n  c\n", "a: b\n  c\n"),
    ("- a: \"b  \n\n   c\\\n      d\\ \n   e \"\n", "- a: \"b\n\n    c\\\n    d\\ \n    e \"\n"),
    ("a: 'b\r\n   c'\r\n", "a: 'b\n  c'\n"),
    ("plain\n text\n", "plain\n  text\n"),
    // block texts
    ("a: |\n      b\n        c\n\n      d\ne: 1\n", "a: |\n  b\n    c\n\n  d\ne: 1\n"),
    ("a: |  # x\n   b\n", "a: |  # x\n  b\n"),
    ("a: >-\n    b\n\n\n\nc: 1\n", "a: >-\n  b\n\nc: 1\n"),
    ("a: |+\n    b\n\n\nc: 1\n", "a: |+\n  b\n\n\nc: 1\n"),
    ("a: |+\n\n\n", "a: |+\n\n\n"),
    ("a: |3\n     b\n   c\n", "a: |2\n    b\n  c\n"),
    ("a: |-1\n b\n", "a: |-\n  b\n"),
    ("a: |2\n  b\n", "a: |\n  b\n"),
    ("a: |\n  b\n    \n  c\n", "a: |\n  b\n    \n  c\n"),
    ("a: |\n  b\n  \n  c\n", "a: |\n  b\n\n  c\n"),
    ("a: |\n  b", "a: |-\n  b\n"),
    ("a: |+\n  b\n\n", "a: |+\n  b\n\n"),
    ("a: |\n", "a: |\n"),
    ("a: |\r\n  b\r\n\r\n  c\r\n", "a: |\n  b\n\n  c\n"),
    ("- |\n a\n- - >\n     b\n", "- |\n  a\n- - >\n    b\n"),
    ("a: # x\n  |\n  b\n", "a: # x\n  |\n  b\n"),
    ("a:\n  b: |\n      c\n    # x\n", "a:\n  b: |\n    c\n  # x\n"),
    ("--- |\n a\n", "|\n  a\n"),
];

#[test]
fn layouts() {
    for (input, want) in CASES {
        check(input, want);
    }
}

#[test]
fn long_brackets_become_blocks() {
    let words = |n: usize| vec!["abcdefgh"; n].join(", ");
    // `a: [` and `]` and twelve words of ten columns, less the last comma and blank
    check(&format!("a: [{}]\n", words(11)), &format!("a: [{}]\n", words(11)));
    check(&format!("a: [{}]\n", words(12)), &format!("a:\n{}", "  - abcdefgh\n".repeat(12)));
    let long = "x".repeat(130);
    check(&format!("a:\n    {long}\n"), &format!("a:\n  {long}\n"));
    check(&format!("a: {long}\n"), &format!("a: {long}\n"));
}

#[test]
fn mistakes_are_given_back() {
    let Err(Unformatted::Mistakes(errors)) = format("a: [b\nc: 'd\n") else { panic!() };
    assert_eq!(
        errors.iter().map(|e| e.slug).collect::<Vec<_>>(),
        ["unclosed-bracket", "unterminated-string"]
    );
}

#[test]
fn a_changed_style_is_not_the_same() {
    let root = |text: &str| document::parse(text).root;
    assert!(same(&root("a: [1, 'b']"), &root("a:\n  - 1\n  - 'b'\n")));
    for (a, b) in
        [("a: 1", "a: '1'"), ("a: 1", "'a': 1"), ("[a]", "[a, b]"), ("a: |\n b", "a: >\n b"), ("a:", "a: ~")]
    {
        assert!(!same(&root(a), &root(b)), "{a} {b}");
    }
}
