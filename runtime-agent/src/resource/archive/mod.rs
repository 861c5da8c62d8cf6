//! `archive`: a directory that is unpacked from an archive.
//!
//! What was unpacked is known by a mark in the directory: the hash of what was asked for. An archive is fetched and its hash
//! checked before the first entry is written; every entry is written below the directory, whatever its name says.

mod frames;
mod unpack;

use super::fetch::{self, Fetch};
use super::{Applied, Context, Desired, Executor, Probe, ResourceError, ownership};
use crate::root::{Kind, Last, ManagedPath, Ownership};
use sha2::{Digest, Sha256};
use std::io::{Read, Seek};
use unpack::{Format, Limits};

/// The type.
pub struct ArchiveType;

const KNOWN: &[&str] = &[
    "target_path",
    "url",
    "archive_path",
    "sha256",
    "format",
    "strip",
    "creates",
    "owner",
    "group",
    "ca",
    "timeout",
    "max_size",
    "max_unpacked",
    "max_entries",
];
const FORMATS: &[&str] = &["tar", "tar.gz", "tar.xz", "tar.zst", "zip"];
/// The mark's name, and the beginning of a hash that tells several archives in one directory apart.
const MARK: &str = ".vigo-archive-";

/// What is to be unpacked, and where.
struct Wanted {
    path: ManagedPath,
    source: Source,
    format: Format,
    strip: usize,
    limits: Limits,
    /// Not unpacked when this is there.
    creates: Option<ManagedPath>,
}

enum Source {
    Url(Fetch),
    /// A file below the root, and its hash where one is declared.
    File(ManagedPath, Option<String>),
}

fn wanted(desired: &Desired) -> Result<Wanted, ResourceError> {
    desired.only("archive", KNOWN)?;
    let invalid = |name: &'static str, why: &str| ResourceError::Invalid { name, why: why.to_owned() };
    let (source, name) = match (desired.text("url")?, desired.path("archive_path")?) {
        (Some(url), None) => {
            let fetch = Fetch::of(desired)?;
            (Source::Url(fetch), url.split(['?', '#']).next().unwrap_or_default())
        }
        (None, Some(path)) => {
            (Source::File(path, fetch::sha256(desired)?), desired.text("archive_path")?.unwrap_or_default())
        }
        _ => return Err(invalid("url", "give either `url` or `archive_path`")),
    };
    let format = match desired.value("format") {
        Some(_) => Some(desired.word("format", FORMATS)?),
        None => {
            let ends = [("tgz", "tar.gz"), ("txz", "tar.xz"), ("tzst", "tar.zst")];
            let all = FORMATS.iter().map(|f| (*f, *f)).chain(ends);
            all.filter(|(end, _)| name.ends_with(&format!(".{end}"))).map(|(_, format)| format).next()
        }
    };
    let format = match format {
        Some("tar") => Format::Tar,
        Some("tar.gz") => Format::TarGz,
        Some("tar.xz") => Format::TarXz,
        Some("tar.zst") => Format::TarZst,
        Some("zip") => Format::Zip,
        _ => {
            return Err(invalid(
                "format",
                "cannot be told from the name of the archive; say which one it is",
            ));
        }
    };
    let count = |name: &'static str, most: i64| -> Result<usize, ResourceError> {
        let count = desired.int(name, 0..=most)?.ok_or(ResourceError::Missing(name))?;
        Ok(usize::try_from(count).unwrap_or_default())
    };
    Ok(Wanted {
        path: desired.required_path("target_path")?,
        source,
        format,
        strip: count("strip", 100)?,
        limits: Limits { entries: count("max_entries", 10_000_000)?, bytes: desired.size("max_unpacked")? },
        creates: desired.path("creates")?,
    })
}

impl Wanted {
    /// Which mark, and what stands in it.
    fn mark(&self, context: &Context<'_>) -> Result<(ManagedPath, String), ResourceError> {
        let (name, content) = match &self.source {
            Source::Url(fetch) => {
                (fetch.url.clone(), fetch.sha256.clone().unwrap_or_else(|| fetch.url.clone()))
            }
            Source::File(path, Some(sha256)) => (path.to_string(), sha256.clone()),
            Source::File(path, None) => (path.to_string(), self.hash_of_file(context, path)?),
        };
        let short = |text: &str| fetch::hex(&Sha256::digest(text.as_bytes()));
        let name = short(&name).get(..16).unwrap_or_default().to_owned();
        let mark = ManagedPath::parse(&format!("{}/{MARK}{name}", self.path))?;
        let content = short(&format!("1 {:?} {} {content}", self.format, self.strip));
        Ok((mark, content + "\n"))
    }

    /// In a dry run the archive may be made by another resource.
    fn hash_of_file(&self, context: &Context<'_>, path: &ManagedPath) -> Result<String, ResourceError> {
        match context.root.inspect(path)? {
            Some(_) => fetch::hash_of(context.root, path),
            None => Ok("missing".to_owned()),
        }
    }
}

impl Executor for ArchiveType {
    fn key(&self) -> &'static str {
        "target_path"
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let wanted = wanted(desired)?;
        ownership(context, desired)?;
        match context.root.inspect(&wanted.path)? {
            None => return Ok(Probe::change("unpacked")),
            Some(meta) if meta.kind == Kind::Directory => {}
            Some(other) => {
                return Err(ResourceError::InTheWay {
                    path: wanted.path.to_string(),
                    found: other.kind.name(),
                    wanted: "a directory",
                    fix: "remove it, or unpack elsewhere",
                });
            }
        }
        if let Some(creates) = &wanted.creates {
            let there = context.root.follow(creates).is_some();
            return Ok(if there { Probe::clean() } else { Probe::change("unpacked") });
        }
        let (mark, content) = wanted.mark(context)?;
        Ok(match context.root.inspect(&mark)? {
            Some(meta)
                if meta.kind == Kind::File
                    && super::content::holds(context.root, &mark, content.as_bytes())? =>
            {
                Probe::clean()
            }
            Some(_) => Probe::change("unpacked anew"),
            None => Probe::change("unpacked"),
        })
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let wanted = wanted(desired)?;
        let owner = Ownership { mode: None, ..ownership(context, desired)? };
        if context.root.inspect(&wanted.path)?.is_none() {
            context.root.make_directory(&wanted.path, owner)?;
        }
        let mut file = context.root.scratch(&wanted.path)?;
        let disk = |e: std::io::Error| ResourceError::Archive(format!("it cannot be copied: {e}"));
        match &wanted.source {
            Source::Url(fetch) => fetch.run(context.root, &mut file)?,
            Source::File(path, sha256) => {
                let (from, _) = context.root.read(path)?;
                let limit = desired.size("max_size")?;
                // Of the copy, so that what was checked is what is unpacked.
                let copied =
                    std::io::copy(&mut from.take(limit.saturating_add(1)), &mut file).map_err(disk)?;
                if copied > limit {
                    return Err(ResourceError::Archive(format!(
                        "it is larger than `max_size`, {limit} bytes"
                    )));
                }
                file.rewind().map_err(disk)?;
                let found = fetch::hash_file(&mut file).map_err(disk)?;
                if sha256.as_ref().is_some_and(|want| *want != found) {
                    return Err(ResourceError::Archive(
                        "its SHA-256 is not the one that is declared".to_owned(),
                    ));
                }
            }
        }
        file.rewind().map_err(disk)?;
        let directory = context.root.below(&wanted.path, Last::Refused)?.flushed_at_once();
        let count = unpack::unpack(file, wanted.format, &directory, wanted.strip, owner, &wanted.limits)?;
        directory.flush()?;
        let (mark, content) = wanted.mark(context)?;
        let give = Ownership { mode: Some(0o644), ..Ownership::default() };
        context.root.replace_file(&mark, content.as_bytes(), give, |_| Ok::<_, ResourceError>(()))?;
        Ok(Applied { note: Some(format!("{count} entries")) })
    }
}

#[cfg(test)]
mod tests;
