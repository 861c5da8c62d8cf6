//! Lists in pages. A cursor is the key of the last item, so a page does not shift when something is added before it.

use super::call::Call;
use super::problem::Problem;
use crate::store::{Connection, StoreError};
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

/// Which part of a list that begins with the latest.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Latest {
    /// How many; 100 by default, at most 1000.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

impl Latest {
    /// That part: `find` gives so many before a key.
    pub async fn page<R, T, F>(
        self,
        call: &Call,
        find: F,
        show: impl Fn(R) -> T,
        key: impl Fn(&T) -> String,
    ) -> Result<Page<T>, Problem>
    where
        R: Send + 'static,
        F: FnOnce(&mut Connection, Option<&str>, u32) -> Result<Vec<R>, StoreError> + Send + 'static,
    {
        let limit = limit(self.limit)?;
        let more = limit as u32 + 1;
        let found =
            call.site.context.store.read(move |conn| find(conn, self.cursor.as_deref(), more)).await?;
        Ok(Page::cut(found.into_iter().map(show).collect(), limit, key))
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
