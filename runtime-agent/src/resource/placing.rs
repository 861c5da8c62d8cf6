//! Content that takes its place on the host: previous content kept, new content validated, owner and mode kept or given.
//! Every type that writes a file does it here.

use super::{Context, Desired, Diff, ResourceError, ownership};
use crate::command::{self, Command};
use crate::root::{FsError, Kind, ManagedPath, Meta, Ownership};
use std::fs::File;
use std::io::Write;
use std::time::Duration;

const VALIDATE_LIMIT: Duration = Duration::from_secs(60);

/// New content of a file, and what is known of it.
pub(super) struct New<'a> {
    pub path: &'a ManagedPath,
    pub content: &'a [u8],
    /// Whether a secret is in it: then it is closed to others where nothing else is declared, and never shown.
    pub sensitive: bool,
    /// What stands there now.
    pub found: Option<Meta>,
}

/// Something else than a file stands at the path of one.
pub(super) fn not_a_file(path: &ManagedPath, kind: Kind) -> ResourceError {
    ResourceError::InTheWay {
        path: path.to_string(),
        found: kind.name(),
        wanted: "a file",
        fix: "remove it, or declare it as what it is",
    }
}

/// Checks `validate` without running it.
pub(super) fn check_validate(desired: &Desired) -> Result<(), ResourceError> {
    match desired.text("validate")? {
        Some(line) => validator(line, "").map(drop),
        None => Ok(()),
    }
}

/// Gives the file its new content in one step, and says what else there is to know. Owner and mode are those that are
/// declared, or those that the file had.
pub(super) fn put(
    context: &Context<'_>,
    desired: &Desired,
    new: &New<'_>,
) -> Result<Option<String>, ResourceError> {
    put_with(context, desired, new.path, new.found, new.sensitive, |file| {
        file.write_all(new.content).map_err(|e| {
            let errno = e.raw_os_error().map_or(nix::errno::Errno::EIO, nix::errno::Errno::from_raw);
            let path = crate::text::printable(&new.path.to_string());
            FsError { action: "write", path, errno }.into()
        })
    })
}

/// [`put`] with content that is written as it comes.
pub(super) fn put_with(
    context: &Context<'_>,
    desired: &Desired,
    path: &ManagedPath,
    found: Option<Meta>,
    sensitive: bool,
    write: impl FnOnce(&mut File) -> Result<(), ResourceError>,
) -> Result<Option<String>, ResourceError> {
    let fresh = if sensitive { 0o600 } else { 0o644 };
    let give = given(ownership(context, desired)?, found, fresh);
    let backup = desired.value("backup").is_some() && desired.flag("backup")?;
    let note = match found {
        Some(_) if backup => {
            Some(format!("previous content kept as {}", context.root.back_up(path, context.now)?))
        }
        _ => None,
    };
    context.root.replace_file_with(path, give, write, |temporary| match desired.text("validate")? {
        Some(line) => validate(context, line, &temporary.to_string_lossy(), sensitive),
        None => Ok(()),
    })?;
    Ok(note)
}

/// What a file gets that replaces `found`: what is declared, and what it had otherwise.
pub(super) fn given(want: Ownership, found: Option<Meta>, fresh: u32) -> Ownership {
    let mut give = Ownership { mode: want.mode.or(Some(found.map_or(fresh, |m| m.mode))), ..want };
    // A new file belongs to whoever writes it; replacing one must not change whose it is.
    if nix::unistd::geteuid().is_root() {
        give.uid = give.uid.or(found.map(|m| m.uid));
        give.gid = give.gid.or(found.map(|m| m.gid));
    }
    give
}

/// How the content differs, unless a secret is in it.
pub(super) fn shown_diff(
    context: &Context<'_>,
    path: &ManagedPath,
    sensitive: bool,
    old: Option<&str>,
    new: Option<&str>,
) -> Option<Diff> {
    if sensitive {
        return None;
    }
    super::content::diff(&path.to_string(), old?, new?, context.diff)
}

fn validator(line: &str, temporary: &str) -> Result<Command, ResourceError> {
    let argv = command::split(line)?;
    if !argv.iter().any(|word| word.contains("%s")) {
        return Err(ResourceError::Invalid {
            name: "validate",
            why: "needs `%s` where the new file's path belongs".to_owned(),
        });
    }
    let argv = argv.into_iter().map(|word| word.replace("%s", temporary)).collect();
    Ok(Command::new(argv, VALIDATE_LIMIT))
}

fn validate(
    context: &Context<'_>,
    line: &str,
    temporary: &str,
    sensitive: bool,
) -> Result<(), ResourceError> {
    let ended = validator(line, temporary)?.run(context.root)?;
    if ended.code == 0 {
        return Ok(());
    }
    let output = if sensitive { "(output hidden: the file holds a secret)".to_owned() } else { ended.output };
    Err(ResourceError::Exit {
        what: format!("`validate: {}` refused the new content and", crate::text::printable(line)),
        code: ended.code,
        expected: "0".to_owned(),
        output,
    })
}
