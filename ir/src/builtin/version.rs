//! Order of versions.

use std::cmp::Ordering;

/// Part by part, as numbers; a part that is missing or no number is zero.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (parts(a), parts(b));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) => {
                let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
                // Without leading zeros the longer number is the larger one.
                match a.len().cmp(&b.len()).then(a.cmp(b)) {
                    Ordering::Equal => {}
                    order => return order,
                }
            }
        }
    }
}

fn parts(version: &str) -> impl Iterator<Item = &str> {
    version
        .split(['.', '-', '+', '_', '~', ':'])
        .map(|part| if part.bytes().all(|b| b.is_ascii_digit()) { part.trim_start_matches('0') } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_compare_as_numbers() {
        for (a, b, order) in [
            ("22.04", "22.4", Ordering::Equal),
            ("22.10", "22.9", Ordering::Greater),
            ("9", "10", Ordering::Less),
            ("1.0", "1", Ordering::Equal),
            ("1.0.1", "1", Ordering::Greater),
            ("1.rc1", "1.0", Ordering::Equal),
            ("2:1.0-3~4+5_6", "2.1.0.3.4.5.6", Ordering::Equal),
            ("", "0", Ordering::Equal),
            ("99999999999999999999999999", "99999999999999999999999998", Ordering::Greater),
        ] {
            assert_eq!(compare(a, b), order, "{a} and {b}");
            assert_eq!(compare(b, a), order.reverse(), "{b} and {a}");
        }
    }
}
