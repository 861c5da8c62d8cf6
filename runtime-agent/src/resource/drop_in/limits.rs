//! `limits`: what `pam_limits` lets a user use.

use super::{DropIn, word};
use crate::resource::{Desired, ResourceError};

/// The type.
pub struct Limits;

const ITEMS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "maxlogins",
    "maxsyslogins",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nonewprivs",
    "nproc",
    "priority",
    "rss",
    "rtprio",
    "sigpending",
    "stack",
];

impl DropIn for Limits {
    const KIND: &'static str = "limits";
    const ATTRIBUTES: &'static [&'static str] = &["domain", "soft", "hard"];
    const DIRECTORY: &'static str = "/etc/security/limits.d";
    const SUFFIX: &'static str = ".conf";

    fn content(desired: &Desired) -> Result<String, ResourceError> {
        let domain = word("domain", desired.required("domain")?)?;
        let mut content = "# Written by vigo.\n".to_owned();
        for kind in ["soft", "hard"] {
            for (item, value) in desired.texts(kind)? {
                let number = value.strip_prefix('-').unwrap_or(&value);
                let number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
                let valid =
                    ITEMS.contains(&item.as_str()) && (number || matches!(&*value, "unlimited" | "infinity"));
                if !valid {
                    let shown =
                        crate::text::printable(crate::text::bounded(&format!("{item}: {value}"), 100));
                    let why = format!(
                        "`{shown}` is not a limit; limits are numbers or `unlimited`, of {}",
                        ITEMS.join(", ")
                    );
                    return Err(ResourceError::Invalid { name: kind, why });
                }
                content.push_str(&format!("{domain} {kind} {item} {value}\n"));
            }
        }
        Ok(content)
    }
}
