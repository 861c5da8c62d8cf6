//! `vigoc fix`: applies what findings offer to change.

use super::failure::{Exit, Failure};
use super::replace::replace;
use super::{input, output};
use crate::fix::{Fixed, fix};
use crate::policy::Policy;
use similar::TextDiff;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments of `fix`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The root of the policy.
    dir: Option<PathBuf>,
    /// Prints what would change as a unified diff, and writes nothing.
    #[arg(long)]
    diff: bool,
    /// Also replaces unknown names by the nearest one there is. Look at what it did: the nearest name need not be the
    /// one that was meant.
    #[arg(long)]
    guesses: bool,
}

const EXAMPLES: &str = "Examples:
  vigoc fix --diff               what would change?
  vigoc fix                      change it
  vigoc fix policy --guesses     and take every `did you mean` at its word

Exit codes: 0 no errors are left, 1 errors are left (with --diff also: something would change),
64 wrong usage, 65 no policy there.";

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let root = input::root(args.dir.as_deref(), directory)?;
    let mut policy = Policy::open(&root)?;
    let fixed = fix(&mut policy, args.guesses);
    let now = policy.texts();
    if args.diff {
        output::data(&diff(&fixed, &now))?;
    } else {
        write(&root, &fixed, &now)?;
        output::data(&said(&fixed))?;
    }
    if fixed.refused > 0 {
        output::warning(&format!(
            "{} cannot be fixed without breaking something else",
            output::count(fixed.refused, "finding")
        ));
    }
    if fixed.unfinished {
        output::warning("there is more to fix; run it again");
    }
    let report = policy.check();
    let left = report.summary;
    if left.errors > 0 {
        let told = if args.diff { "would be left" } else { "left; `vigoc check` shows them" };
        output::note(&format!("{} {told}", output::count(left.errors, "error")));
    }
    let exit =
        if left.errors > 0 || (args.diff && !fixed.before.is_empty()) { Exit::Findings } else { Exit::Done };
    std::mem::forget(policy);
    Ok(exit)
}

type Texts = BTreeMap<Arc<str>, Arc<str>>;

/// Writes the files that changed. One that is not on disk as it was read is left alone.
fn write(root: &Path, fixed: &Fixed, now: &Texts) -> Result<(), Failure> {
    for (path, before) in &fixed.before {
        let Some(after) = now.get(path) else { continue };
        let file = root.join(&**path);
        let there = std::fs::read(&file)
            .map_err(|e| Failure::Input(format!("cannot read `{}`: {e}", file.display())))?;
        if there != before.as_bytes() {
            let file = file.display();
            return Err(Failure::Input(format!(
                "`{file}` changed meanwhile and was left as it is; run it again"
            )));
        }
        replace(&file, after)?;
    }
    Ok(())
}

fn diff(fixed: &Fixed, now: &Texts) -> String {
    let mut out = String::new();
    for (path, before) in &fixed.before {
        let Some(after) = now.get(path) else { continue };
        let diff = TextDiff::from_lines(&**before, &**after);
        let (old, new) = (format!("a/{path}"), format!("b/{path}"));
        out.push_str(&diff.unified_diff().header(&old, &new).to_string());
    }
    out
}

fn said(fixed: &Fixed) -> String {
    let total: usize = fixed.mended.values().sum();
    if total == 0 {
        return "nothing to fix\n".into();
    }
    let mut out: String = fixed.before.keys().map(|path| format!("wrote {path}\n")).collect();
    let kinds: Vec<String> = fixed.mended.iter().map(|(slug, n)| format!("{n} {slug}")).collect();
    let (findings, files) = (output::count(total, "finding"), output::count(fixed.before.len(), "file"));
    out.push_str(&format!("fixed {findings} in {files}: {}\n", kinds.join(", ")));
    out
}
