//! The canonical layout of a `.vgo` file.
//!
//! Two spaces for each level, lists indented below their key, one space after `:`, `{ a: b }` and `[a, b]`. What the
//! author means stays: comments, groups of lines between blank lines, quotes (whether `"0644"` is text is decided by its
//! quotes), line breaks inside a text, brackets that fit on one line. The tree of the result equals the tree of the
//! input, and formatting it again changes nothing.

mod flow;
mod page;
mod scalar;
mod writer;

use crate::document::{self, Node, Value};
use crate::error::SyntaxError;

/// Columns up to which brackets stay on one line.
pub const WIDTH: usize = 120;

/// Why a text keeps its layout.
#[derive(Clone, Debug, PartialEq)]
pub enum Unformatted {
    /// It has mistakes, so what its lines belong to is a guess.
    Mistakes(Vec<SyntaxError>),
    /// The result would say something else: a bug of the formatter.
    Unfaithful,
}

/// Lays a file out.
///
/// # Errors
/// A text with syntax errors is not touched: moving lines that were misunderstood would make it worse.
pub fn format(text: &str) -> Result<String, Unformatted> {
    let parsed = document::parse(text);
    if !parsed.errors.is_empty() {
        return Err(Unformatted::Mistakes(parsed.errors));
    }
    let out = writer::write(text, &parsed);
    let again = document::parse(&out);
    let faithful = again.errors.is_empty()
        && same(&parsed.root, &again.root)
        && again.comments.len() == parsed.comments.len();
    if faithful { Ok(out) } else { Err(Unformatted::Unfaithful) }
}

/// Whether two trees say the same: values, keys and the styles of scalars, wherever they stand.
pub fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Null, Value::Null) => true,
        (Value::Scalar(a), Value::Scalar(b)) => a.text == b.text && a.style == b.style,
        (Value::Seq(a), Value::Seq(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| {
                    a.key.text == b.key.text && a.key.style == b.key.style && same(&a.value, &b.value)
                })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
