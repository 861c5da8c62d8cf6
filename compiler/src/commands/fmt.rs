//! `vigoc fmt`: one layout for all files.

use super::failure::{Exit, Failure};
use super::replace::replace;
use super::{input, output};
use crate::diagnostic::Diagnostic;
use crate::diagnostic::json::Texts;
use grammar::format::{Unformatted, format};
use similar::TextDiff;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments of `fmt`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Files, and directories with all `.vgo` files below them; `-` reads stdin [default: the policy here].
    paths: Vec<PathBuf>,
    /// Changes nothing; prints the files that would change, and exits with 1 if there are any.
    #[arg(long)]
    check: bool,
    /// Changes nothing; prints what would change.
    #[arg(long)]
    diff: bool,
}

const EXAMPLES: &str = "Examples:
  vigoc fmt                              the policy here
  vigoc fmt nodes.vgo modules            a file and a directory
  vigoc fmt --check                      for CI: is everything laid out?
  vigoc fmt --diff nodes.vgo             what would change?
  vigoc fmt - < nodes.vgo                to stdout, for editors

Exit codes: 0 laid out, 1 a file has errors (or, with --check, would change), 64 wrong usage,
65 a file that cannot be read.";

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let stdin = Path::new("-");
    if args.paths.iter().any(|p| p == stdin) && args.paths.len() > 1 {
        return Err(Failure::Usage("`-` reads stdin, and stands alone".into()));
    }
    let paths = match args.paths.as_slice() {
        [] => below(&input::root(None, directory)?)?,
        _ if directory.is_some() => {
            return Err(Failure::Usage("give the policy once: as PATH or with -C".into()));
        }
        [one] if one == stdin => vec![one.clone()],
        paths => {
            let mut all = Vec::new();
            for path in paths {
                all.extend(if path.is_dir() { below(path)? } else { vec![path.clone()] });
            }
            all
        }
    };
    let mut work = Work { args, changed: 0, unread: Vec::new(), found: Vec::new(), texts: Texts::new() };
    for path in &paths {
        work.file(path)?;
    }
    work.end(paths.len())
}

/// The `.vgo` files below a directory, in byte order. Names with a dot in front are left out, and links: what they lead
/// to is laid out where it is.
fn below(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |e: io::Error| Failure::Input(format!("cannot read `{}`: {e}", dir.display()));
    let mut entries =
        fs::read_dir(dir).and_then(|entries| entries.collect::<Result<Vec<_>, _>>()).map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut all = Vec::new();
    for entry in entries {
        let kind = entry.file_type().map_err(unreadable)?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if kind.is_dir() {
            all.extend(below(&path)?);
        } else if kind.is_file() && path.extension().is_some_and(|e| e == "vgo") {
            // `./nodes.vgo` is `nodes.vgo` to everybody
            all.push(path.strip_prefix(".").map(Path::to_owned).unwrap_or(path));
        }
    }
    Ok(all)
}

struct Work<'a> {
    args: &'a Args,
    changed: usize,
    unread: Vec<String>,
    found: Vec<Diagnostic>,
    texts: Texts,
}

impl Work<'_> {
    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        let stdin = path == Path::new("-");
        let text = match input::text(path) {
            Ok(text) => text,
            // the other files are still worth the while
            Err(Failure::Input(why)) => {
                self.unread.push(why);
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        let shown = if stdin { "<stdin>".to_owned() } else { path.display().to_string() };
        let new = match format(&text) {
            Ok(new) => new,
            Err(Unformatted::Mistakes(errors)) => {
                let file: Arc<str> = shown.into();
                self.found.extend(errors.into_iter().map(|e| Diagnostic::from_syntax(&file, e, &|s| s)));
                self.texts.insert(file, text.into());
                return Ok(());
            }
            Err(Unformatted::Unfaithful) => {
                output::note(&format!(
                    "`{shown}` is left as it is: its new layout would say something else; please report this file"
                ));
                if stdin { text.clone() } else { return Ok(()) }
            }
        };
        let changes = new != text;
        self.changed += usize::from(changes);
        let quiet = self.args.check || self.args.diff;
        if stdin && !quiet {
            return output::data(&new);
        }
        if !changes {
            return Ok(());
        }
        if self.args.diff {
            output::data(&diff(&shown, &text, &new))?;
        } else if self.args.check {
            output::data(&format!("{shown}\n"))?;
        }
        if !quiet {
            replace(path, &new)?;
            output::data(&format!("{shown}\n"))?;
        }
        Ok(())
    }

    fn end(self, files: usize) -> Result<Exit, Failure> {
        if !self.found.is_empty() {
            let mut wrong: Vec<&str> = self.found.iter().map(|d| &*d.place.file).collect();
            wrong.dedup();
            let message = match wrong.as_slice() {
                [one] => {
                    format!("`{one}` has {}; it is left as it is", output::count(self.found.len(), "error"))
                }
                many => {
                    format!("{} have errors; they are left as they are", output::count(many.len(), "file"))
                }
            };
            self.unread.iter().for_each(|why| output::error(why));
            return Err(Failure::Findings { message, found: self.found, texts: self.texts });
        }
        if !self.unread.is_empty() {
            return Err(Failure::Input(self.unread.join("\n")));
        }
        if self.args.check && self.changed > 0 {
            let would = if self.changed == 1 { "file would change" } else { "files would change" };
            output::note(&format!("{} of {files} {would}; run `vigoc fmt`", self.changed));
            return Ok(Exit::Findings);
        }
        Ok(Exit::Done)
    }
}

fn diff(path: &str, old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    diff.unified_diff().context_radius(3).header(path, &format!("{path} (laid out)")).to_string()
}
