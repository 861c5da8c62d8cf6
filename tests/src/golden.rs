//! Golden cases in Markdown.
//!
//! A heading opens a case. Fenced blocks are its parts, told apart by their info string:
//!
//! - a path (`modules/nginx.vgo`): a file of the policy. `# error: [slug] "part of the message"` in it (`warning` and
//!   `hint` likewise) expects a finding that begins on this line; a line that holds nothing else is about the next one.
//!   Expectations are taken out before the compiler sees the file. After the path may stand `bytes` (`\xff` means that
//!   byte), `link` (the text is where a symlink points to) or `times=N` (the text, N times).
//! - `replace PATH`: an edit of a copied file, `old` and `new` with a line of `====` between them.
//! - `text`: everything `check` prints. Cases that find anything have one.
//! - `ir HOST key=value...`: what the host gets, given these shared traits.
//! - `fixed PATH`, `guessed PATH`: what `vigoc fix` makes of that file, and `vigoc fix --guesses`.
//!
//! A line `copy: examples/acme` starts from that policy. Otherwise a case without node entries gets one, `host.test`,
//! with its modules in the order in which they stand. `VIGO_BLESS=1` writes `text`, `ir`, `fixed` and
//! `guessed` blocks anew.

use crate::show;
use compiler::diagnostic::Severity;
use compiler::diagnostic::render::{Style, human, line_column};
use compiler::policy::{Policy, Report, Variant, VariantError};
use ir::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A part of a case.
#[derive(Debug)]
pub struct Block {
    /// What follows the fence.
    pub info: String,
    /// Lines between the fences.
    pub body: String,
    /// Bytes of the Markdown that `body` covers.
    pub range: Range<usize>,
}

/// One heading with its blocks.
#[derive(Debug)]
pub struct Case {
    /// The heading.
    pub title: String,
    /// The line of the heading, from 1.
    pub line: usize,
    /// A policy to start from, relative to the repository.
    pub copy: Option<String>,
    /// In order.
    pub blocks: Vec<Block>,
    /// Where the case ends in the Markdown.
    pub end: usize,
}

/// An inline expectation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expected {
    /// The file of the policy.
    pub file: String,
    /// From 1, in the file without expectations.
    pub line: usize,
    /// `error`, `warning` or `hint`.
    pub severity: String,
    /// The code.
    pub slug: String,
    /// Part of the message.
    pub part: String,
}

/// What a block should hold, and where it stands (or would have to be put).
pub type Edits = Vec<(Range<usize>, String)>;

/// Writes blocks of a Markdown file anew, when `VIGO_BLESS` is set. `text` is what the file holds.
pub fn bless(path: &Path, mut text: String, mut edits: Edits) -> io::Result<()> {
    if std::env::var_os("VIGO_BLESS").is_none() || edits.is_empty() {
        return Ok(());
    }
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    for (range, new) in edits {
        text.replace_range(range, &new);
    }
    fs::write(path, text)
}

/// Splits a Markdown file into cases; prose is passed over.
pub fn cases(text: &str) -> Vec<Case> {
    let mut out: Vec<Case> = Vec::new();
    let mut open: Option<(String, usize, String)> = None;
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let start = at;
        at += line.len();
        let bare = line.trim_end();
        if let Some((fence, _, _)) = &open {
            if bare == fence
                && let (Some((_, from, info)), Some(case)) = (open.take(), out.last_mut())
            {
                case.blocks.push(Block { info, body: text[from..start].to_owned(), range: from..start });
            }
            continue;
        }
        let ticks = bare.len() - bare.trim_start_matches('`').len();
        if ticks >= 3 {
            open = Some((bare[..ticks].to_owned(), at, bare[ticks..].trim().to_owned()));
        } else if let Some(title) = bare.strip_prefix('#') {
            if let Some(last) = out.last_mut() {
                last.end = start;
            }
            let title = title.trim_start_matches('#').trim().to_owned();
            out.push(Case { title, line: number + 1, copy: None, blocks: Vec::new(), end: text.len() });
        } else if let (Some(policy), Some(case)) = (bare.strip_prefix("copy: "), out.last_mut()) {
            case.copy = Some(policy.to_owned());
        }
    }
    out.retain(|c| !c.blocks.is_empty());
    out
}

/// Takes the expectations out of a file.
pub fn expectations(file: &str, text: &str) -> (String, Vec<Expected>) {
    let mut kept = String::new();
    let mut found = Vec::new();
    let mut number = 1;
    for line in text.split_inclusive('\n') {
        let mark = ["# error: [", "# warning: [", "# hint: ["].iter().filter_map(|m| line.find(m)).min();
        let Some(mark) = mark else {
            kept.push_str(line);
            number += 1;
            continue;
        };
        for part in line[mark..].split("# ").skip(1) {
            let Some((severity, rest)) = part.split_once(": [") else { continue };
            let Some((slug, rest)) = rest.split_once(']') else { continue };
            found.push(Expected {
                file: file.to_owned(),
                line: number,
                severity: severity.to_owned(),
                slug: slug.to_owned(),
                part: rest.trim().trim_matches('"').to_owned(),
            });
        }
        let head = line[..mark].trim_end_matches(' ');
        if !head.is_empty() {
            kept.push_str(head);
            kept.push('\n');
            number += 1;
        }
    }
    (kept, found)
}

/// Writes the policy of a case into `dir`; `repository` is where `copy:` looks. The expectations in it.
pub fn write(case: &Case, repository: &Path, dir: &Path) -> io::Result<Vec<Expected>> {
    if let Some(policy) = &case.copy {
        copy(&repository.join(policy), dir)?;
    }
    let mut expected = Vec::new();
    for block in &case.blocks {
        let mut words = block.info.split_whitespace();
        let Some(first) = words.next() else { continue };
        let how = words.next();
        if matches!(first, "text" | "ir" | "fixed" | "guessed") {
            continue;
        }
        if first == "replace" {
            let name = how.unwrap_or_default();
            let (old, new) = block.body.split_once("====\n").unwrap_or((&block.body, ""));
            let path = dir.join(name);
            let before = fs::read_to_string(&path)?;
            if before.matches(old).count() != 1 {
                return Err(io::Error::other(format!("{name} does not hold this text once:\n{old}")));
            }
            let (text, found) = expectations(name, &before.replacen(old, new, 1));
            fs::write(path, text)?;
            expected.extend(found);
            continue;
        }
        let path = dir.join(first);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let (text, found) = expectations(first, &block.body);
        expected.extend(found);
        match how {
            Some("bytes") => fs::write(path, bytes(&text))?,
            Some("link") => std::os::unix::fs::symlink(text.trim(), path)?,
            Some(times) if times.starts_with("times=") => {
                let times = times["times=".len()..].parse().map_err(io::Error::other)?;
                fs::write(path, text.repeat(times))?;
            }
            _ => fs::write(path, text)?,
        }
    }
    let files = || case.blocks.iter().filter_map(|b| b.info.split_whitespace().next());
    let special =
        ["roles.vgo", "common.vgo", "environments.vgo", "text", "ir", "replace", "fixed", "guessed"];
    let has_entries = files().any(|f| !f.contains('/') && !special.contains(&f)) || case.copy.is_some();
    if !has_entries && !files().any(|f| f.ends_with("/nodes.vgo")) {
        let modules: Vec<&str> =
            files().filter_map(|f| f.strip_prefix("modules/")?.strip_suffix(".vgo")).collect();
        let entry = format!("nodes:\n  - match: host.test\n    modules: [{}]\n", modules.join(", "));
        fs::write(dir.join("nodes.vgo"), entry)?;
    }
    Ok(expected)
}

/// Copies a directory.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// `\xff` becomes that byte.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(part.len().min(2));
        out.extend(u8::from_str_radix(digits, 16).ok());
        out.extend(rest.as_bytes());
    }
    out
}

/// Everything a check prints.
pub fn rendered(policy: &Policy, report: &Report) -> String {
    let text = |path: &str| policy.text(path);
    let style = Style { colour: false, width: 100 };
    let drawn: Vec<String> = report
        .diagnostics
        .iter()
        .map(|d| human(d, &text, style).lines().map(|l| l.trim_end().to_owned() + "\n").collect())
        .collect();
    drawn.join("\n")
}

/// What differs between findings and expectations, one line each.
pub fn differences(policy: &Policy, report: &Report, mut expected: Vec<Expected>) -> String {
    let mut out = String::new();
    for d in &report.diagnostics {
        let text = policy.text(&d.place.file).unwrap_or_else(|| Arc::from(""));
        let line = line_column(&text, d.place.span.start as usize).0;
        let at = expected.iter().position(|e| {
            *e.file == *d.place.file
                && e.line == line
                && e.severity == d.severity.name()
                && e.slug == d.code
                && d.message.contains(&e.part)
        });
        match at {
            Some(at) => drop(expected.remove(at)),
            None => {
                let severity = d.severity.name();
                let _ = writeln!(
                    out,
                    "unexpected {}:{line}: # {severity}: [{}] {:?}",
                    d.place.file, d.code, d.message
                );
            }
        }
    }
    for e in expected {
        let _ =
            writeln!(out, "missing    {}:{}: # {}: [{}] {:?}", e.file, e.line, e.severity, e.slug, e.part);
    }
    out
}

/// `os.family=debian` and the like as a nested map of traits.
pub fn traits<'a>(words: impl Iterator<Item = &'a str>) -> Value {
    let mut out = Value::Map(BTreeMap::new());
    for (path, text) in words.filter_map(|w| w.split_once('=')) {
        let value = match text {
            "true" | "false" => Value::Bool(text == "true"),
            _ => Value::str(text),
        };
        insert(&mut out, path, value);
    }
    out
}

fn insert(into: &mut Value, path: &str, value: Value) {
    let Value::Map(map) = into else { return };
    match path.split_once('.') {
        Some((first, rest)) => {
            insert(map.entry(Arc::from(first)).or_insert_with(|| Value::Map(BTreeMap::new())), rest, value);
        }
        None => drop(map.insert(Arc::from(path), value)),
    }
}

/// What `vigoc fix` makes of the file that a `fixed` or `guessed` block names.
pub fn fixed(dir: &Path, info: &str) -> String {
    let (how, path) = info.split_once(' ').unwrap_or_default();
    let mut policy = match Policy::open(dir) {
        Ok(policy) => policy,
        Err(e) => return format!("{e}\n"),
    };
    compiler::fix::fix(&mut policy, how == "guessed");
    policy.text(path).map_or_else(|| format!("there is no `{path}`\n"), |text| text.to_string())
}

/// What the first words of an `ir` block ask for.
pub fn compiled(policy: &Policy, info: &str) -> String {
    let mut words = info.split_whitespace().skip(1);
    let host = words.next().unwrap_or_default();
    let Some(class) = policy.class_of(host) else { return format!("no entry matches {host}\n") };
    match policy.variant(&class, &traits(words)) {
        Ok(variant) => shown(&variant),
        Err(VariantError::Findings { found, .. }) => {
            let errors = found.iter().filter(|d| d.severity == Severity::Error);
            errors.map(|d| format!("error: {}\n", d.message)).collect()
        }
        Err(e) => format!("{e}\n"),
    }
}

fn shown(variant: &Variant) -> String {
    let mut out = String::new();
    let mut line = |name: &str, values: &[String]| {
        if !values.is_empty() {
            let _ = writeln!(out, "{name}: {}", values.join(", "));
        }
    };
    line("environment", variant.environment.as_slice());
    line("roles", &variant.roles);
    line("looks at", &variant.footprint);
    line("secrets", &variant.secrets);
    for at in &variant.run_order {
        let bytes = &variant.modules[*at as usize].bytes;
        match ir::wire::decode_module(bytes) {
            Ok(module) => out.push_str(&show::module(&module)),
            Err(e) => drop(writeln!(out, "cannot be decoded: {e}")),
        }
    }
    out
}
