//! What the parsers and the formatter promise for every text. The fuzz targets check the same.

use grammar::document::{Node, Value};
use grammar::format::{Unformatted, format, same};
use grammar::{Span, SyntaxError, document as documents, template as templates, when};
use std::collections::BTreeSet;

/// The text of a file: a tree with spans inside the text, errors in order, and a layout that says the same.
pub fn document(text: &str) {
    let parsed = documents::parse(text);
    errors(text, &parsed.errors);
    node(text, &parsed.root);
    assert!(
        parsed.errors.iter().all(|e| e.slug != "syntax-error"),
        "the layout let something through: {text:?}"
    );
    for pair in parsed.comments.windows(2) {
        assert!(pair[0].span.end <= pair[1].span.start, "{pair:?}");
    }
    for comment in &parsed.comments {
        assert!(comment.text(text).starts_with('#'));
    }
    match format(text) {
        Ok(out) => {
            assert!(parsed.errors.is_empty());
            assert!(same(&parsed.root, &documents::parse(&out).root), "{text:?} became {out:?}");
            assert_eq!(format(&out).as_deref(), Ok(out.as_str()), "{text:?}");
        }
        Err(Unformatted::Mistakes(found)) => assert!(!found.is_empty() && found == parsed.errors),
        Err(Unformatted::Unfaithful) => panic!("the layout of {text:?} says something else"),
    }
}

/// The text of a condition.
pub fn expression(text: &str) {
    errors(text, &when::parse(text).1);
}

/// The text of a template.
pub fn template(text: &str) {
    errors(text, &templates::parse(text).1);
}

/// Errors are in order, inside the text, on character boundaries, and registered.
pub fn errors(text: &str, errors: &[SyntaxError]) {
    assert!(errors.len() <= 101);
    for pair in errors.windows(2) {
        assert!(pair[0].span.start <= pair[1].span.start || pair[1].slug == "too-many-errors");
    }
    for error in errors {
        assert!(grammar::SLUGS.iter().any(|(slug, _)| *slug == error.slug), "{}", error.slug);
        assert!(text.get(error.span.range()).is_some(), "{error:?}");
        for (span, _) in &error.related {
            assert!(text.get(span.range()).is_some(), "{error:?}");
        }
        if let Some(fix) = &error.fix {
            assert!(text.get(fix.span.range()).is_some(), "{error:?}");
        }
    }
}

fn node(text: &str, node: &Node) {
    assert!(text.get(node.span.range()).is_some(), "{node:?}");
    match &node.value {
        Value::Null | Value::Error => {}
        Value::Scalar(scalar) => {
            for (at, c) in scalar.text.char_indices() {
                let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
                let span = scalar.map.to_file(Span::new(offset(at), offset(at + c.len_utf8())));
                let Some(written) = text.get(span.range()) else { panic!("{scalar:?} {span:?}") };
                let verbatim = written.starts_with(c);
                let folded = matches!(c, ' ' | '\n') || written.contains('\\') || written == "''";
                assert!(verbatim || folded, "{c:?} from {written:?}");
            }
        }
        Value::Seq(items) => items.iter().for_each(|item| {
            assert!(node.span.start <= item.span.start && item.span.end <= node.span.end);
            self::node(text, item);
        }),
        Value::Map(entries) => {
            let mut keys = BTreeSet::new();
            for entry in entries {
                assert!(keys.insert(&entry.key.text), "duplicate key left in the tree");
                assert!(text.get(entry.key.span.range()).is_some());
                assert!(node.span.start <= entry.key.span.start && entry.span().end <= node.span.end);
                self::node(text, &entry.value);
            }
        }
    }
}
