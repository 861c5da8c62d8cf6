//! `vigoc init`: a small working policy.

use super::failure::{Exit, Failure};
use super::output;
use include_dir::{Dir, File, include_dir};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Where to write it [default: here].
    dir: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  vigoc init                 in this directory
  vigoc init policy          in a new one

Exit codes: 0 written, 1 cannot be written, 64 wrong usage, 65 a file is there already.";

static SKELETON: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../examples/init");

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let dir = match (&args.dir, directory) {
        (Some(_), Some(_)) => {
            return Err(Failure::Usage("give the directory once: as DIR or with -C".into()));
        }
        (Some(dir), None) => dir.clone(),
        (None, dir) => dir.unwrap_or_else(|| ".".into()),
    };
    if dir.exists() && !dir.is_dir() {
        return Err(Failure::Input(format!("`{}` is not a directory", dir.display())));
    }
    let mut files = Vec::new();
    all_files(&SKELETON, &mut files);
    files.sort_by_key(|f| f.path());
    let there: Vec<String> = files
        .iter()
        .filter(|f| fs::symlink_metadata(dir.join(f.path())).is_ok())
        .map(|f| f.path().display().to_string())
        .collect();
    if !there.is_empty() {
        let message = format!("`{}` holds {} already; nothing was written", dir.display(), there.join(", "));
        return Err(Failure::Input(message));
    }
    for file in &files {
        let path = dir.join(file.path());
        write(&path, file.contents())
            .map_err(|source| Failure::Write { what: format!("`{}`", path.display()), source })?;
    }
    output::data(&said(&dir, &files))?;
    Ok(Exit::Done)
}

fn all_files<'a>(dir: &'a Dir<'a>, out: &mut Vec<&'a File<'a>>) {
    out.extend(dir.files());
    dir.dirs().for_each(|d| all_files(d, out));
}

/// Never over a file that appeared meanwhile.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(bytes)
}

fn said(dir: &Path, files: &[&File<'_>]) -> String {
    let mut out = String::new();
    for file in files {
        out.push_str(&format!("wrote {}\n", dir.join(file.path()).display()));
    }
    let place = if dir == Path::new(".") { String::new() } else { format!(" {}", dir.display()) };
    out.push_str(&format!(
        "\nNext:\n  vigoc check{place}\n  vigoc resolve host.example.com{place}\n  vigoc explain host.example.com{place} --var contact\n"
    ));
    out
}
