//! `logrotate`: how log files are rotated.

use super::{DropIn, one_line};
use crate::resource::{Desired, ResourceError};
use std::path::Path;

/// The type.
pub struct Logrotate;

/// Where it is installed on the systems that have it.
const PROGRAMS: &[&str] = &["/usr/sbin/logrotate", "/usr/bin/logrotate", "/sbin/logrotate"];

impl DropIn for Logrotate {
    const KIND: &'static str = "logrotate";
    const ATTRIBUTES: &'static [&'static str] = &[
        "paths",
        "frequency",
        "rotate",
        "size",
        "create",
        "compress",
        "delay_compress",
        "missing_ok",
        "not_if_empty",
        "copy_truncate",
        "date_ext",
        "post_rotate",
    ];
    const DIRECTORY: &'static str = "/etc/logrotate.d";

    fn content(desired: &Desired) -> Result<String, ResourceError> {
        let invalid = |name: &'static str, why: &str| ResourceError::Invalid { name, why: why.to_owned() };
        let paths = desired.strings("paths")?.unwrap_or_default();
        if paths.is_empty() {
            return Err(invalid("paths", "names no file"));
        }
        for path in &paths {
            if !one_line("paths", path)?.starts_with('/') || path.contains(['"', '\\', '{', '}']) {
                return Err(invalid("paths", "has to be absolute paths, which may hold `*` and `?`"));
            }
        }
        let quoted: Vec<String> = paths.iter().map(|path| format!("\"{path}\"")).collect();
        let frequency = desired.word("frequency", &["hourly", "daily", "weekly", "monthly", "yearly"])?;
        let rotate = desired.int("rotate", 0..=100_000)?.ok_or(ResourceError::Missing("rotate"))?;
        let mut lines = vec![frequency.to_owned(), format!("rotate {rotate}")];
        if let Some(size) = desired.text("size")? {
            let digits = size.trim_end_matches(['k', 'M', 'G']);
            if digits.is_empty()
                || size.len() - digits.len() > 1
                || !digits.bytes().all(|b| b.is_ascii_digit())
            {
                return Err(invalid("size", "is not a size; write it like `100k`, `10M` or `1G`"));
            }
            lines.push(format!("size {size}"));
        }
        if let Some(create) = desired.text("create")? {
            let words: Vec<&str> = one_line("create", create)?.split(' ').collect();
            let plain = |w: &&str| {
                !w.is_empty()
                    && w.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            };
            if words.len() != 3 || !words.iter().all(plain) {
                return Err(invalid(
                    "create",
                    "is not mode, owner and group; write it like `0640 www-data adm`",
                ));
            }
            lines.push(format!("create {create}"));
        }
        for (name, word) in [
            ("compress", "compress"),
            ("delay_compress", "delaycompress"),
            ("missing_ok", "missingok"),
            ("not_if_empty", "notifempty"),
            ("copy_truncate", "copytruncate"),
            ("date_ext", "dateext"),
        ] {
            if desired.flag(name)? {
                lines.push(word.to_owned());
            }
        }
        if let Some(script) = desired.text("post_rotate")? {
            if script.lines().any(|l| matches!(l.trim(), "endscript")) || script.contains('\0') {
                return Err(invalid("post_rotate", "holds the word that ends it, `endscript`"));
            }
            lines.push("sharedscripts".to_owned());
            lines.push("postrotate".to_owned());
            lines.extend(script.lines().map(|l| format!("    {l}")));
            lines.push("endscript".to_owned());
        }
        let lines: String = lines.iter().map(|l| format!("    {}", l).trim_end().to_owned() + "\n").collect();
        Ok(format!("# Written by vigo.\n{} {{\n{lines}}}\n", quoted.join(" ")))
    }

    /// logrotate takes a log that is missing for a mistake, unless it was told that it may be.
    fn validate(desired: &Desired) -> Result<Option<Vec<String>>, ResourceError> {
        let program = PROGRAMS.iter().find(|path| Path::new(path).exists());
        let program = program.filter(|_| desired.flag("missing_ok").unwrap_or(false));
        Ok(program.map(|path| vec![(*path).to_owned(), "-d".to_owned()]))
    }
}
