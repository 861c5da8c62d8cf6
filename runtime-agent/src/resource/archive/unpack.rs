//! Writing what is in an archive.

use super::super::ResourceError;
use crate::root::{FsError, Kind, ManagedPath, Ownership, Root};
use crate::text::{bounded, printable};
use std::fs::File;
use std::io::{BufReader, Read, Write};

/// How an archive is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Not compressed.
    Tar,
    /// gzip.
    TarGz,
    /// xz.
    TarXz,
    /// Zstandard.
    TarZst,
    /// zip.
    Zip,
}

/// What an archive may come to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries.
    pub entries: usize,
    /// Bytes of all files.
    pub bytes: u64,
}

/// What a decoder may remember, which an archive says itself.
const MAX_WINDOW: u64 = 128 << 20;
/// A symlink's target, where it is kept as the content of an entry.
const MAX_TARGET: u64 = 4096;

/// Unpacks everything below a directory; how many entries that were.
pub fn unpack(
    file: File,
    format: Format,
    directory: &Root,
    strip: usize,
    owner: Ownership,
    limits: &Limits,
) -> Result<usize, ResourceError> {
    let mut target = Target { directory, strip, owner, limits: *limits, entries: 0 };
    let file = BufReader::with_capacity(64 << 10, file);
    match format {
        Format::Tar => tar(file, &mut target)?,
        Format::TarGz => tar(flate2::bufread::MultiGzDecoder::new(file), &mut target)?,
        Format::TarXz => {
            let limit = u32::try_from(MAX_WINDOW >> 10).unwrap_or(u32::MAX);
            tar(lzma_rust2::XzReader::new_mem_limit(file, true, limit), &mut target)?;
        }
        Format::TarZst => tar(super::frames::Frames::new(file, MAX_WINDOW), &mut target)?,
        Format::Zip => zip(file, &mut target)?,
    }
    Ok(target.entries)
}

fn damaged(error: &dyn std::fmt::Display) -> ResourceError {
    ResourceError::Archive(format!(
        "it is damaged, or of another format: {}",
        printable(bounded(&error.to_string(), 200))
    ))
}

/// Where it goes, and how much is left of the limits.
struct Target<'a> {
    directory: &'a Root,
    strip: usize,
    owner: Ownership,
    limits: Limits,
    entries: usize,
}

/// What an entry is.
enum Entry<'a> {
    Directory,
    File(&'a mut dyn Read),
    Symlink(String),
    /// Of an entry before it, by its name in the archive.
    HardLink(String),
}

fn tar(reader: impl Read, target: &mut Target<'_>) -> Result<(), ResourceError> {
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries().map_err(|e| damaged(&e))? {
        let mut entry = entry.map_err(|e| damaged(&e))?;
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        let name = text(&entry.path_bytes())?;
        let link = entry.link_name_bytes().map(|bytes| text(&bytes)).transpose()?;
        let mode = entry.header().mode().unwrap_or(0o644);
        let link = || link.clone().ok_or_else(|| refused(&name, "is a link to nothing"));
        if kind.is_dir() {
            target.entry(&name, mode, Entry::Directory)?;
        } else if kind.is_symlink() {
            target.entry(&name, mode, Entry::Symlink(link()?))?;
        } else if kind.is_hard_link() {
            target.entry(&name, mode, Entry::HardLink(link()?))?;
        } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
            target.entry(&name, mode, Entry::File(&mut entry))?;
        } else {
            return Err(refused(&name, "is a device, a FIFO or something else that is not unpacked"));
        }
    }
    Ok(())
}

fn zip(reader: BufReader<File>, target: &mut Target<'_>) -> Result<(), ResourceError> {
    let mut archive = zip::ZipArchive::new(reader).map_err(|e| damaged(&e))?;
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(|e| damaged(&e))?;
        let name = text(entry.name_raw())?;
        let mode = entry.unix_mode().unwrap_or(if entry.is_dir() { 0o755 } else { 0o644 });
        let kind = mode & 0o170_000;
        if entry.is_dir() {
            target.entry(&name, mode, Entry::Directory)?;
        } else if entry.is_symlink() {
            let mut link = Vec::new();
            (&mut entry).take(MAX_TARGET).read_to_end(&mut link).map_err(|e| damaged(&e))?;
            target.entry(&name, mode, Entry::Symlink(text(&link)?))?;
        } else if matches!(kind, 0 | 0o100_000) {
            target.entry(&name, mode, Entry::File(&mut entry))?;
        } else {
            return Err(refused(&name, "is a device, a FIFO or something else that is not unpacked"));
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<String, ResourceError> {
    let name = || printable(bounded(&String::from_utf8_lossy(bytes), 200));
    String::from_utf8(bytes.to_vec()).map_err(|_| refused(&name(), "has a name that is not UTF-8"))
}

fn refused(name: &str, why: &str) -> ResourceError {
    ResourceError::Archive(format!("entry `{}` {why}", printable(bounded(name, 200))))
}

/// The steps of a name, plain ones alone.
fn steps(name: &str) -> Result<Vec<&str>, ResourceError> {
    if name.starts_with('/') {
        return Err(refused(name, "has an absolute path"));
    }
    let steps: Vec<&str> = name.split('/').filter(|step| !matches!(*step, "" | ".")).collect();
    match steps.iter().any(|step| *step == ".." || step.contains('\0')) {
        true => Err(refused(name, "has a path with `..`")),
        false => Ok(steps),
    }
}

/// Whether a symlink in this directory (steps below the target) that points there stays below the target.
fn leads_out(directory: &[&str], link: &str) -> bool {
    let mut depth = directory.len();
    link.starts_with('/')
        || link.split('/').any(|step| match step {
            "" | "." => false,
            ".." => {
                let out = depth == 0;
                depth = depth.saturating_sub(1);
                out
            }
            _ => {
                depth += 1;
                false
            }
        })
}

impl Target<'_> {
    fn entry(&mut self, name: &str, mode: u32, entry: Entry<'_>) -> Result<(), ResourceError> {
        if crate::limit::is_over() {
            return Err(ResourceError::Archive("it has more entries than there is time for".to_owned()));
        }
        self.entries += 1;
        if self.entries > self.limits.entries {
            let most = self.limits.entries;
            return Err(ResourceError::Archive(format!(
                "it has more than {most} entries; `max_entries` raises the limit"
            )));
        }
        let steps = steps(name)?;
        let Some((last, above)) = steps.get(self.strip..).and_then(<[&str]>::split_last) else {
            return Ok(());
        };
        self.parents(above)?;
        let path = below(&[above, &[last]].concat())?;
        let found = self.directory.inspect(&path)?.map(|meta| meta.kind);
        let in_the_way =
            |found: Kind| refused(name, &format!("cannot be written: {} stands there", found.name()));
        // Neither set-id nor sticky bits come out of an archive.
        let bits = Ownership { mode: Some(mode & 0o777), ..self.owner };
        match entry {
            Entry::Directory => match found {
                None => {
                    let open = Ownership { mode: Some(mode & 0o777 | 0o700), ..self.owner };
                    self.directory.make_directory(&path, open)?;
                }
                Some(Kind::Directory) => {}
                Some(other) => return Err(in_the_way(other)),
            },
            Entry::File(reader) => {
                if let Some(other @ (Kind::Directory | Kind::Special(_))) = found {
                    return Err(in_the_way(other));
                }
                let left = &mut self.limits.bytes;
                let write = |file: &mut File| copy(reader, file, left, name);
                self.directory.replace_file_with(&path, bits, write, |_| Ok(()))?;
            }
            Entry::Symlink(link) => {
                if leads_out(above, &link) || link.is_empty() || link.contains('\0') {
                    return Err(refused(name, "is a symlink that leads out of the directory"));
                }
                if let Some(other @ (Kind::Directory | Kind::Special(_))) = found {
                    return Err(in_the_way(other));
                }
                self.directory.replace_link(&path, &link, Ownership { mode: None, ..self.owner })?;
            }
            Entry::HardLink(original) => {
                let original = steps_after(&original, self.strip)?;
                let original = below(&original.iter().map(String::as_str).collect::<Vec<_>>())?;
                if self.directory.inspect(&original)?.map(|meta| meta.kind) != Some(Kind::File) {
                    return Err(refused(name, "is a hard link to what is no file of the archive"));
                }
                if let Some(other @ (Kind::Directory | Kind::Special(_))) = found {
                    return Err(in_the_way(other));
                }
                self.directory.replace_hard_link(&path, &original)?;
            }
        }
        Ok(())
    }

    /// Directories that the archive takes for granted. A symlink is none: nothing is written through it.
    fn parents(&self, steps: &[&str]) -> Result<(), ResourceError> {
        for end in 1..=steps.len() {
            let path = below(steps.get(..end).unwrap_or_default())?;
            match self.directory.inspect(&path)?.map(|meta| meta.kind) {
                Some(Kind::Directory) => {}
                None => {
                    self.directory.make_directory(&path, Ownership { mode: Some(0o755), ..self.owner })?
                }
                Some(other) => {
                    let why = format!("cannot be a directory: {} stands there", other.name());
                    return Err(refused(&path.to_string(), &why));
                }
            }
        }
        Ok(())
    }
}

fn steps_after(name: &str, strip: usize) -> Result<Vec<String>, ResourceError> {
    Ok(steps(name)?.into_iter().skip(strip).map(str::to_owned).collect())
}

fn below(steps: &[&str]) -> Result<ManagedPath, ResourceError> {
    Ok(ManagedPath::parse(&format!("/{}", steps.join("/")))?)
}

fn copy(reader: &mut dyn Read, file: &mut File, left: &mut u64, name: &str) -> Result<(), ResourceError> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = reader.read(&mut buffer).map_err(|e| damaged(&e))?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        *left = left.checked_sub(count as u64).ok_or_else(|| {
            ResourceError::Archive(
                "it unpacks to more than `max_unpacked`, which raises the limit".to_owned(),
            )
        })?;
        file.write_all(bytes).map_err(|e| FsError {
            action: "write",
            path: printable(bounded(name, 200)),
            errno: e.raw_os_error().map_or(nix::errno::Errno::EIO, nix::errno::Errno::from_raw),
        })?;
    }
}
