//! `git`: a working copy of a repository, at a revision.
//!
//! Everything is done by the program `git`, which is given words and never runs what the repository brings: no hooks, no
//! prompts, and no transports but https, ssh and, for a path, files.

use super::program::Program;
use super::{Applied, Context, Desired, Executor, Probe, ResourceError};
use crate::command::Answer;
use crate::root::{Kind, ManagedPath, Ownership};
use crate::text::{bounded, printable};
use std::time::Duration;

/// The type.
pub struct GitType;

const KNOWN: &[&str] = &["target_path", "repository", "revision", "depth", "force", "user", "timeout"];
/// How much of a hash people look at.
const SHORT: usize = 10;

/// What is declared.
struct Wanted<'a> {
    path: ManagedPath,
    repository: &'a str,
    revision: &'a str,
    depth: Option<i64>,
    force: bool,
    user: Option<&'a str>,
    timeout: Duration,
}

/// What is there.
struct Found {
    /// The commit that is checked out.
    head: Option<String>,
    origin: Option<String>,
    /// Files that differ from it.
    dirty: Vec<String>,
}

fn wanted(desired: &Desired) -> Result<Wanted<'_>, ResourceError> {
    desired.only("git", KNOWN)?;
    let wanted = Wanted {
        path: desired.required_path("target_path")?,
        repository: desired.required("repository")?,
        revision: desired.required("revision")?,
        depth: desired.int("depth", 1..=1_000_000)?,
        force: desired.flag("force")?,
        user: desired.text("user")?,
        timeout: desired.duration("timeout")?,
    };
    let invalid = |name: &'static str, why: &str| Err(ResourceError::Invalid { name, why: why.to_owned() });
    let url = wanted.repository;
    if url.chars().any(|c| c.is_control() || c == ' ') || url.len() > 4096 {
        return invalid("repository", "is not the url of a repository");
    }
    let over_https = url.strip_prefix("https://");
    if over_https.and_then(|rest| rest.split('/').next()).is_some_and(|authority| authority.contains('@')) {
        return invalid(
            "repository",
            "has a user or password in it, which everybody who sees the url would read",
        );
    }
    // `host:path`, as ssh has it; a `::` would name a program of git's that fetches.
    let scp = |url: &str| {
        url.split_once(':').is_some_and(|(host, path)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
            host.starts_with(|c: char| c.is_ascii_alphanumeric())
                && host.chars().all(plain)
                && !path.starts_with([':', '/'])
        })
    };
    let known =
        over_https.is_some() || url.starts_with("ssh://") || is_path(url) || !url.contains("://") && scp(url);
    if !known || url.contains("::") {
        return invalid(
            "repository",
            "has to begin with `https://` or `ssh://`, or be `user@host:path` or an absolute path",
        );
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '+' | '@');
    let name = wanted.revision;
    if name.is_empty()
        || name.len() > 250
        || name.starts_with(['-', '/', '.'])
        || name.contains("..")
        || !name.chars().all(plain)
    {
        return invalid("revision", "is not the name of a branch or a tag, nor the hash of a commit");
    }
    Ok(wanted)
}

fn is_path(url: &str) -> bool {
    url.starts_with('/')
}

/// A whole hash, of SHA-1 or SHA-256.
fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl Wanted<'_> {
    /// git with these words; in the working copy, or anywhere.
    fn git<'c>(&self, context: &Context<'c>, inside: bool, words: &[&str]) -> Program<'c> {
        let file = if is_path(self.repository) { "always" } else { "never" };
        let file = format!("protocol.file.allow={file}");
        let fixed = [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "protocol.allow=never",
            "protocol.https.allow=always",
            "protocol.ssh.allow=always",
            &file,
            "init.defaultBranch=vigo",
            "advice.detachedHead=false",
            "maintenance.auto=false",
            "gc.auto=0",
        ];
        let mut all = vec!["git"];
        fixed.iter().for_each(|setting| all.extend(["-c", setting]));
        let skipped = all.len() - 1;
        all.extend(words);
        let program = context
            .program(all)
            .within(self.timeout)
            .told_without(skipped)
            .with("GIT_TERMINAL_PROMPT", "0")
            .with("GIT_ASKPASS", "true")
            .with("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
        let program = if inside { program.inside(&self.path) } else { program };
        match self.user {
            Some(user) => program.run_as(user),
            None => program,
        }
    }

    fn ask(&self, context: &Context<'_>, words: &[&str]) -> Result<Answer, ResourceError> {
        self.git(context, true, words).ask()
    }

    fn run(&self, context: &Context<'_>, words: &[&str]) -> Result<String, ResourceError> {
        Ok(self.git(context, true, words).run()?.stdout.trim().to_owned())
    }

    /// What is there; `None` where nothing is, or an empty directory.
    fn found(&self, context: &Context<'_>) -> Result<Option<Found>, ResourceError> {
        let meta = match context.root.inspect(&self.path)? {
            None => return Ok(None),
            Some(meta) if meta.kind == Kind::Directory => meta,
            Some(other) => return Err(self.in_the_way(other.kind.name())),
        };
        let inside = ManagedPath::parse(&format!("{}/.git", self.path))?;
        match context.root.inspect(&inside)?.map(|meta| meta.kind) {
            None => {
                let mut empty = true;
                context.root.walk(&self.path, &mut |_, _, _| {
                    empty = false;
                    Ok(())
                })?;
                return if empty {
                    Ok(None)
                } else {
                    Err(self.in_the_way("a directory with something else in it"))
                };
            }
            Some(Kind::Directory) => {}
            Some(other) => return Err(self.in_the_way(other.name())),
        }
        // Its settings name programs that git runs: they have to be those of whom it runs as.
        let runs_as = match self.user {
            Some(user) => crate::accounts::uid(context.root, user)?,
            None => nix::unistd::geteuid().as_raw(),
        };
        if meta.uid != runs_as {
            return Err(ResourceError::Invalid {
                name: "user",
                why: format!("{} belongs to user {}, so git has to run as that user", self.path, meta.uid),
            });
        }
        let head = self.ask(context, &["rev-parse", "--verify", "--quiet", "HEAD"])?;
        let head = Some(head.stdout.trim().to_owned()).filter(|text| head.code == 0 && is_hash(text));
        let origin = self.ask(context, &["config", "--get", "remote.origin.url"])?;
        let origin = Some(origin.stdout.trim().to_owned()).filter(|_| origin.code == 0);
        let dirty = match head {
            // Not trimmed: what a line begins with counts.
            Some(_) => {
                let words = ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules"];
                self.git(context, true, &words).run()?.stdout
            }
            None => String::new(),
        };
        Ok(Some(Found { head, origin, dirty: dirty.lines().map(str::to_owned).collect() }))
    }

    fn in_the_way(&self, found: &'static str) -> ResourceError {
        ResourceError::InTheWay {
            path: self.path.to_string(),
            found,
            wanted: "a working copy of git",
            fix: "remove it, or clone elsewhere",
        }
    }

    /// The commit that the revision names, and what to ask the repository for.
    fn commit(&self, context: &Context<'_>) -> Result<(String, String), ResourceError> {
        if is_hash(self.revision) {
            return Ok((self.revision.to_owned(), self.revision.to_owned()));
        }
        let (branch, tag) = (format!("refs/heads/{}", self.revision), format!("refs/tags/{}", self.revision));
        let peeled = format!("{tag}^{{}}");
        let whole = if self.revision == "HEAD" { "HEAD" } else { "refs/vigo/none" };
        let listed = self
            .git(context, false, &["ls-remote", "--", self.repository, &branch, &tag, &peeled, whole])
            .run()?
            .stdout;
        let at = |name: &str| {
            let line =
                listed.lines().filter_map(|line| line.split_once('\t')).find(|(_, found)| *found == name);
            line.map(|(hash, _)| hash.to_owned()).filter(|hash| is_hash(hash))
        };
        for (asked, names) in
            [(&tag, [&peeled, &tag]), (&branch, [&branch; 2]), (&whole.to_owned(), [&whole.to_owned(); 2])]
        {
            if let Some(hash) = names.into_iter().find_map(|name| at(name)) {
                return Ok((hash, asked.clone()));
            }
        }
        Err(ResourceError::Invalid {
            name: "revision",
            why: format!(
                "{} has no branch or tag `{}`; a commit is given by its whole hash",
                printable(bounded(self.repository, 200)),
                self.revision
            ),
        })
    }
}

fn short(hash: &str) -> &str {
    hash.get(..SHORT).unwrap_or(hash)
}

impl Executor for GitType {
    fn key(&self) -> &'static str {
        "target_path"
    }

    /// For the server that a branch is looked up on.
    fn waits(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let wanted = wanted(desired)?;
        let Some(found) = wanted.found(context)? else { return Ok(Probe::change("cloned")) };
        let mut changes = Vec::new();
        let origin = found.origin.as_deref().unwrap_or("none");
        if origin != wanted.repository {
            changes.push(format!("repository {} -> {}", printable(bounded(origin, 200)), wanted.repository));
        }
        let (commit, _) = wanted.commit(context)?;
        match found.head.as_deref() {
            Some(head) if head == commit => {}
            head => changes.push(format!("revision {} -> {}", head.map_or("none", short), short(&commit))),
        }
        if !found.dirty.is_empty() {
            if !wanted.force {
                let some: Vec<&str> = found.dirty.iter().take(3).filter_map(|line| line.get(3..)).collect();
                return Err(ResourceError::Invalid {
                    name: "force",
                    why: format!(
                        "{} has local changes ({}); `force: true` discards them",
                        wanted.path,
                        printable(bounded(&some.join(", "), 200))
                    ),
                });
            }
            changes.push(format!("{} local changes discarded", found.dirty.len()));
        }
        Ok(Probe { changes, diff: None })
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let wanted = wanted(desired)?;
        let (commit, asked) = wanted.commit(context)?;
        let found = wanted.found(context)?;
        if found.is_none() {
            if context.root.inspect(&wanted.path)?.is_none() {
                let account =
                    wanted.user.map(|user| crate::accounts::account(context.root, user)).transpose()?;
                let account = account.filter(|_| context.ownership);
                let owner = Ownership {
                    uid: account.as_ref().map(|a| a.uid),
                    gid: account.as_ref().map(|a| a.gid),
                    mode: None,
                };
                context.root.make_directory(&wanted.path, owner)?;
            }
            wanted.run(context, &["init", "--quiet"])?;
        }
        let origin = found.as_ref().and_then(|f| f.origin.as_deref());
        if origin != Some(wanted.repository) {
            let verb: &[&str] = if origin.is_some() { &["remote", "set-url"] } else { &["remote", "add"] };
            wanted.run(context, &[verb, &["--", "origin", wanted.repository]].concat())?;
        }
        let depth = wanted.depth.map(|depth| format!("--depth={depth}"));
        let mut words = vec!["fetch", "--quiet", "--force", "--no-tags", "--no-recurse-submodules"];
        words.extend(depth.as_deref());
        let have = wanted.ask(context, &["cat-file", "-e", &format!("{commit}^{{commit}}")])?.code == 0;
        if !have {
            let one = wanted.ask(context, &[&words[..], &["--", "origin", &asked]].concat())?;
            if one.code != 0 {
                // Not every server gives a commit by its hash alone.
                let all = ["--", "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
                let words: Vec<&str> =
                    words.iter().copied().filter(|word| !word.starts_with("--depth")).collect();
                wanted.run(context, &[&words[..], &all].concat())?;
            }
        }
        let mut words = vec!["checkout", "--quiet", "--detach"];
        words.extend(wanted.force.then_some("--force"));
        wanted.run(context, &[&words[..], &[&commit, "--"]].concat())?;
        if wanted.force {
            wanted.run(context, &["reset", "--quiet", "--hard", &commit, "--"])?;
        }
        Ok(Applied { note: Some(format!("at {}", short(&commit))) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sandbox, desired};
    use super::*;
    use ir::Value;
    use std::fs;
    use std::path::Path;

    fn git(directory: &Path, words: &[&str]) -> String {
        let done = std::process::Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"])
            .args(words)
            .current_dir(directory)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// A repository with two commits; the first has the tag `v1`.
    fn repository() -> (tempfile::TempDir, String, String) {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q"]);
        fs::write(dir.path().join("f"), "one").unwrap();
        git(dir.path(), &["add", "f"]);
        git(dir.path(), &["commit", "-qm", "one"]);
        git(dir.path(), &["tag", "-a", "v1", "-m", "v1"]);
        let first = git(dir.path(), &["rev-parse", "HEAD"]);
        fs::write(dir.path().join("f"), "two").unwrap();
        git(dir.path(), &["commit", "-qam", "two"]);
        let second = git(dir.path(), &["rev-parse", "HEAD"]);
        (dir, first, second)
    }

    fn copy(repository: &Path, revision: &str, extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[
            ("target_path", "/app".into()),
            ("repository", repository.to_str().unwrap().into()),
            ("revision", revision.into()),
            ("force", false.into()),
            ("timeout", "60s".into()),
        ]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    }

    fn content(s: &Sandbox) -> String {
        fs::read_to_string(s.path("app/f")).unwrap()
    }

    #[test]
    fn cloned_moved_and_repaired() {
        let (repo, first, second) = repository();
        let s = Sandbox::new();
        let at = |revision: &str| copy(repo.path(), revision, &[]);
        assert_eq!(s.converge("git", &at("v1")).unwrap().action(), "cloned");
        assert_eq!(content(&s), "one");
        assert!(s.converge("git", &at("v1")).unwrap().is_clean());
        assert!(s.converge("git", &at(&first)).unwrap().is_clean(), "a tag is its commit");
        let moved = s.converge("git", &at("main")).unwrap().action();
        assert_eq!(moved, format!("revision {} -> {}", &first[..10], &second[..10]));
        assert_eq!(content(&s), "two");
        // The branch moves on.
        fs::write(repo.path().join("f"), "three").unwrap();
        git(repo.path(), &["commit", "-qam", "three"]);
        assert!(s.converge("git", &at("main")).unwrap().action().starts_with("revision"));
        assert_eq!(content(&s), "three");
        assert!(s.converge("git", &at("HEAD")).unwrap().is_clean());
        s.converge("git", &at(&second)).unwrap();
        assert_eq!(content(&s), "two");
        let error = s.probe("git", &at("none")).unwrap_err().to_string();
        assert!(error.contains("has no branch or tag `none`"), "{error}");
    }

    #[test]
    fn local_changes_are_an_error_unless_they_are_discarded() {
        let (repo, _, _) = repository();
        let s = Sandbox::new();
        s.converge("git", &copy(repo.path(), "main", &[])).unwrap();
        fs::write(s.path("app/f"), "mine").unwrap();
        let error = s.converge("git", &copy(repo.path(), "main", &[])).unwrap_err().to_string();
        assert_eq!(error, "attribute `force`: /app has local changes (f); `force: true` discards them");
        assert_eq!(content(&s), "mine");
        let forced = copy(repo.path(), "main", &[("force", true.into())]);
        assert_eq!(s.converge("git", &forced).unwrap().action(), "1 local changes discarded");
        assert_eq!(content(&s), "two");
    }

    #[test]
    fn shallow_copies_and_other_repositories() {
        let (repo, first, _) = repository();
        let s = Sandbox::new();
        s.converge("git", &copy(repo.path(), "main", &[("depth", Value::Int(1))])).unwrap();
        assert_eq!(content(&s), "two");
        let (other, _, _) = repository();
        let action = s.converge("git", &copy(other.path(), "v1", &[])).unwrap().action();
        assert!(action.starts_with("repository "), "{action}");
        assert_eq!(content(&s), "one");
        let _ = first;
    }

    #[test]
    fn case_086_nothing_of_the_policy_or_the_repository_is_run() {
        let s = Sandbox::new();
        for url in [
            "ext::sh -c touch% /tmp/x",
            "--upload-pack=touch",
            "git://h/r",
            "http://h/r",
            "-oProxyCommand=x:y",
            "file:///r",
            "https://u:p@h/r",
            "h::r",
            "relative/path",
        ] {
            let d = desired(&[
                ("target_path", "/app".into()),
                ("repository", url.into()),
                ("revision", "main".into()),
                ("force", false.into()),
                ("timeout", "60s".into()),
            ]);
            let error = s.probe("git", &d).unwrap_err();
            assert!(matches!(error, ResourceError::Invalid { name: "repository", .. }), "{url}: {error}");
        }
        let (repo, _, _) = repository();
        for revision in ["", "-x", "--force", "a..b", "a b", "a:b", "HEAD~1", "@{u}", "/a", "a\n"] {
            let error = s.probe("git", &copy(repo.path(), revision, &[])).unwrap_err();
            assert!(matches!(error, ResourceError::Invalid { name: "revision", .. }), "{revision}: {error}");
        }
        // A hook in the working copy.
        s.converge("git", &copy(repo.path(), "v1", &[])).unwrap();
        let hook = s.path("app/.git/hooks/post-checkout");
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", s.path("ran").display())).unwrap();
        fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        s.converge("git", &copy(repo.path(), "main", &[])).unwrap();
        assert!(!s.path("ran").exists());
    }

    #[test]
    fn case_082_only_a_directory_is_a_working_copy() {
        let (repo, _, _) = repository();
        let s = Sandbox::new();
        let d = copy(repo.path(), "main", &[]);
        std::os::unix::fs::symlink("/tmp", s.path("app")).unwrap();
        assert!(matches!(s.converge("git", &d), Err(ResourceError::InTheWay { .. })));
        fs::remove_file(s.path("app")).unwrap();
        fs::create_dir(s.path("app")).unwrap();
        fs::write(s.path("app/mine"), "").unwrap();
        assert!(matches!(s.converge("git", &d), Err(ResourceError::InTheWay { .. })));
        fs::remove_file(s.path("app/mine")).unwrap();
        assert_eq!(s.converge("git", &d).unwrap().action(), "cloned");
    }
}
