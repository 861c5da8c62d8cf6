//! Lists in pages. A cursor is the key of the last item, so a page does not shift when something is added before it.

use super::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many items a page has when nobody says.
const DEFAULT: u32 = 100;
/// The longest page.
const MOST: u32 = 1000;

/// A part of a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// The `cursor` of the next page; null at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// From one item more than the page has, if there are as many.
    pub fn cut(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(key);
        Page { items, next }
    }

    /// The same page of other items.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}

/// How long a page is.
pub fn limit(asked: Option<u32>) -> Result<usize, Problem> {
    match asked.unwrap_or(DEFAULT) {
        n @ 1..=MOST => Ok(n as usize),
        n => Err(Problem::invalid(format!("`limit` is from 1 to {MOST}, not {n}"))),
    }
}

/// The same for a cursor that is not of this list.
pub fn bad_cursor() -> Problem {
    Problem::invalid("`cursor` is not one that this list gave; leave it out to begin at the start")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_the_next_one_only_when_there_is_one() {
        let page = |n: u32| Page::cut((0..n).collect(), 3, u32::to_string);
        assert_eq!((page(3).items.len(), page(3).next), (3, None));
        assert_eq!((page(4).items.len(), page(4).next.as_deref()), (3, Some("2")));
        assert_eq!(page(0).next, None);
        assert!(limit(Some(0)).is_err() && limit(Some(1001)).is_err());
        assert_eq!(limit(None).unwrap(), 100);
    }
}
