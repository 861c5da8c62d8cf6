//! A policy as a directory or as a git revision, which is laid out in a temporary directory.

use crate::commands::failure::Failure;
use crate::commands::input;
use crate::tree::{MAX_FILES, MAX_POLICY_BYTES, OpenError};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Where a policy is read from.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Directory(PathBuf),
    /// Deleted with it.
    Laid(TempDir),
}

impl Source {
    /// The old and the new policy. A revision alone is about the directory of the other, or else about the policy that
    /// `directory` names or that lies here.
    pub(super) fn both(
        old: &str,
        new: &str,
        directory: Option<PathBuf>,
    ) -> Result<(Source, Source), Failure> {
        let beside = |other: &str| -> Result<PathBuf, Failure> {
            match (&directory, Path::new(other).is_dir()) {
                (None, true) => Ok(other.into()),
                (directory, _) => input::root(None, directory.clone()),
            }
        };
        let source = |given: &str, other: &str| -> Result<Source, Failure> {
            if Path::new(given).is_dir() {
                return Ok(Source { name: given.to_owned(), place: Place::Directory(given.into()) });
            }
            let laid = match given.split_once(':') {
                // git finds the repository from here
                Some((revision, path)) => {
                    let here = directory.clone().unwrap_or_else(|| ".".into());
                    lay(given, &here, revision, Some(path))?
                }
                None => lay(given, &beside(other)?, given, None)?,
            };
            Ok(Source { name: given.to_owned(), place: Place::Laid(laid) })
        };
        Ok((source(old, new)?, source(new, old)?))
    }

    /// As it was given.
    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    /// Why it cannot be read as a policy.
    pub(super) fn unreadable(&self, error: OpenError) -> Failure {
        match (&self.place, error) {
            (Place::Laid(_), OpenError::Empty { .. }) => Failure::Input(format!(
                "no policy in `{}`: it holds no .vgo file; REVISION:PATH names another directory",
                self.name
            )),
            (_, error) => Failure::Open(error),
        }
    }

    /// The directory to read.
    pub(super) fn path(&self) -> &Path {
        match &self.place {
            Place::Directory(path) => path,
            Place::Laid(dir) => dir.path(),
        }
    }
}

/// A file of a revision.
struct Blob {
    id: String,
    path: String,
    link: bool,
}

/// Lays the policy of a revision out. `path` is relative to the repository; without it the place of `here` in it counts.
fn lay(given: &str, here: &Path, revision: &str, path: Option<&str>) -> Result<TempDir, Failure> {
    let failed = |why: String| Failure::Input(why);
    if revision.is_empty() || revision.starts_with('-') {
        return Err(failed(format!("`{given}` is neither a directory nor a git revision")));
    }
    let git = Git { here };
    let inside = git.run(&["rev-parse", "--show-prefix"]).map_err(|e| match e {
        Problem::NotThere => failed(format!(
            "`{given}` is not a directory, and the program `git`, which would read it as a revision, is not there"
        )),
        Problem::Failed(_) => failed(format!(
            "`{given}` is not a directory, and `{}` is not in a git repository that can be read",
            here.display()
        )),
        Problem::Io(e) => failed(format!("cannot run `git`: {e}")),
    })?;
    let said = |e: Problem| failed(format!("git cannot read `{given}`: {e}"));
    let commit = git.run(&["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")]).map_err(
        |e| match e {
            Problem::Failed(_) => failed(format!(
                "`{revision}` is neither a directory nor a revision of the git repository at `{}`",
                here.display()
            )),
            e => said(e),
        },
    )?;
    let commit = line(&commit);
    let prefix = line(&inside);
    let folder = path.unwrap_or(&prefix).trim_end_matches('/');
    let tree = match folder {
        "" | "." => format!("{commit}^{{tree}}"),
        folder => format!("{commit}:{folder}"),
    };
    let no_folder = || failed(format!("revision `{revision}` has no directory `{folder}`"));
    let tree = git.run(&["rev-parse", "--verify", "--quiet", &tree]).map_err(|e| match e {
        Problem::Failed(_) => no_folder(),
        e => said(e),
    })?;
    let listed =
        git.run(&["ls-tree", "-r", "-z", "-l", "--full-tree", &line(&tree)]).map_err(|e| match e {
            Problem::Failed(_) => no_folder(),
            e => said(e),
        })?;
    let blobs = blobs(&listed).map_err(|why| failed(format!("`{given}`: {why}")))?;
    let dir = tempfile::Builder::new()
        .prefix("vigoc-plan-")
        .tempdir()
        .map_err(|source| Failure::Write { what: "to a temporary directory".into(), source })?;
    git.write(&blobs, dir.path()).map_err(said)?;
    Ok(dir)
}

/// The files that a policy may have, out of what `ls-tree -z -l` prints: mode, type, name, size, a tab and a path.
fn blobs(listed: &[u8]) -> Result<Vec<Blob>, String> {
    let (mut out, mut bytes) = (Vec::new(), 0u64);
    for row in listed.split(|b| *b == 0).filter(|row| !row.is_empty()) {
        // a path that is not UTF-8 is no policy
        let Ok(row) = std::str::from_utf8(row) else { continue };
        let (about, path) = row.split_once('\t').ok_or("git printed something unexpected")?;
        let mut about = about.split_whitespace();
        let (mode, kind, id, size) = (about.next(), about.next(), about.next(), about.next());
        let (Some(mode), Some("blob"), Some(id), Some(size)) = (mode, kind, id, size) else { continue };
        let mut steps = path.split('/');
        if steps.clone().any(|step| step.is_empty() || step.starts_with('.'))
            || steps.next() == Some("target")
        {
            continue;
        }
        let link = mode == "120000";
        if !link && !path.ends_with(".vgo") && !path.starts_with("templates/") {
            continue;
        }
        bytes += size.parse::<u64>().unwrap_or(0);
        out.push(Blob { id: id.to_owned(), path: path.to_owned(), link });
        if out.len() > MAX_FILES || bytes > MAX_POLICY_BYTES {
            return Err("more than 100,000 files or 1 GiB; is this the right directory?".into());
        }
    }
    // files first: no file is then written through a link
    out.sort_by_key(|blob| blob.link);
    Ok(out)
}

/// Why git did not do its work.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("the program `git` is not there")]
    NotThere,
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The `git` program, run in a directory.
struct Git<'a> {
    here: &'a Path,
}

impl Git<'_> {
    /// Only commands that read objects are run. Neither what the caller's environment says about another repository nor
    /// a hook, a pager, a replaced object or the network has a say.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.args(["--no-replace-objects", "--no-pager", "--literal-pathspecs"]);
        command.args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]);
        command.arg("-C").arg(self.here).args(args);
        for name in
            ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_TRACE"]
        {
            command.env_remove(name);
        }
        command.envs([("GIT_NO_LAZY_FETCH", "1"), ("GIT_OPTIONAL_LOCKS", "0"), ("GIT_TERMINAL_PROMPT", "0")]);
        command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Result<Vec<u8>, Problem> {
        let Output { status, stdout, stderr } = self.command(args).output().map_err(not_there)?;
        if status.success() { Ok(stdout) } else { Err(Problem::Failed(line(&stderr))) }
    }

    /// Writes blobs below a directory.
    fn write(&self, blobs: &[Blob], dir: &Path) -> Result<(), Problem> {
        let mut child =
            self.command(&["cat-file", "--batch"]).stdin(Stdio::piped()).spawn().map_err(not_there)?;
        let (Some(mut ask), Some(answer)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Problem::Failed("no pipe".into()));
        };
        let asked: Vec<u8> = blobs.iter().flat_map(|b| format!("{}\n", b.id).into_bytes()).collect();
        let read = std::thread::scope(|scope| {
            // git stops reading while its answers are not read; the pipe closes at the end
            scope.spawn(move || ask.write_all(&asked));
            let mut answer = BufReader::new(answer);
            blobs.iter().try_for_each(|blob| receive(&mut answer, blob, dir))
        });
        if read.is_err() {
            // it may wait for a reader
            let _ = child.kill();
        }
        let status = child.wait()?;
        read?;
        if status.success() { Ok(()) } else { Err(Problem::Failed("`git cat-file` failed".into())) }
    }
}

fn not_there(e: io::Error) -> Problem {
    if e.kind() == io::ErrorKind::NotFound { Problem::NotThere } else { Problem::Io(e) }
}

/// The first line, without its end.
fn line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned()
}

/// Reads one answer of `cat-file --batch` (name, type and size on a line, the bytes, a newline) into its place.
fn receive(answer: &mut impl BufRead, blob: &Blob, dir: &Path) -> Result<(), Problem> {
    let mut head = String::new();
    answer.take(200).read_line(&mut head)?;
    let size = match head.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "blob", size] => size.parse::<u64>().ok(),
        _ => None,
    };
    let size = size.ok_or_else(|| Problem::Failed(format!("`{}` is not in the repository", blob.path)))?;
    let path = dir.join(&blob.path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    if blob.link {
        let mut target = Vec::new();
        answer.take(size.min(4096)).read_to_end(&mut target)?;
        link(&target, &path)?;
    } else {
        let mut file = fs::File::create_new(&path)?;
        if io::copy(&mut answer.take(size), &mut file)? != size {
            return Err(Problem::Failed(format!("`{}` is cut short", blob.path)));
        }
    }
    let mut end = [0];
    answer.read_exact(&mut end)?;
    if end == *b"\n" { Ok(()) } else { Err(Problem::Failed(format!("`{}` has another size", blob.path))) }
}

/// Whether it leaves the policy is found out, and said, when the policy is read.
fn link(target: &[u8], path: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    std::os::unix::fs::symlink(OsStr::from_bytes(target), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_policy_may_have_is_taken() {
        let row = |mode: &str, kind: &str, path: &str| format!("{mode} {kind} abc     12\t{path}\0");
        let listed: String = [
            row("120000", "blob", "modules/link.vgo"),
            row("100644", "blob", "nodes.vgo"),
            row("100755", "blob", "templates/x.sh"),
            row("100644", "blob", "README.md"),
            row("100644", "blob", ".git/config.vgo"),
            row("100644", "blob", "a/../../etc/x.vgo"),
            row("100644", "blob", "/etc/x.vgo"),
            row("100644", "blob", "target/x.vgo"),
            row("160000", "commit", "sub.vgo"),
        ]
        .concat();
        let taken: Vec<_> = blobs(listed.as_bytes()).unwrap().into_iter().map(|b| (b.path, b.link)).collect();
        let expected = [("nodes.vgo", false), ("templates/x.sh", false), ("modules/link.vgo", true)];
        assert_eq!(taken, expected.map(|(path, link)| (path.to_owned(), link)));
        assert!(blobs(b"nonsense\0").is_err());
    }
}
