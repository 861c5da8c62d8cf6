//! A page for every kind of finding: what it means, an example that has it and one that has not.
//!
//! The pages are the Markdown files in `compiler/rules/`. `vigoc rule`, `docs/diagnostics.md` and the rules of a SARIF
//! log come from them; a test compiles both examples of each.

use crate::diagnostic::Severity;
use crate::diagnostic::codes::slugs;
use include_dir::{Dir, include_dir};

static PAGES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/rules");

/// The page of one kind of finding.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// As in a report.
    pub slug: &'static str,
    /// Unless the place decides.
    pub severity: Severity,
    /// One line.
    pub summary: &'static str,
    /// The whole page, below a heading that is the slug. The files of an example are code blocks whose info string is
    /// their path; an example without node entries is about a host that gets all its modules.
    pub markdown: &'static str,
}

/// The page of a slug.
pub fn page(slug: &str) -> Option<Page> {
    let (slug, severity, summary) = slugs().find(|(known, ..)| *known == slug)?;
    let markdown = PAGES.get_file(format!("{slug}.md"))?.contents_utf8()?;
    Some(Page { slug, severity, summary, markdown })
}

/// All pages, by slug.
pub fn pages() -> impl Iterator<Item = Page> {
    slugs().filter_map(|(slug, ..)| page(slug))
}

impl Page {
    /// The page for readers of Markdown, who do not see info strings, with its heading at a level from 1.
    pub fn document(&self, level: usize) -> String {
        let mut out = format!("{} {}\n\n", "#".repeat(level), self.slug);
        out.push_str(&format!("*{}: {}*\n", self.severity.name(), self.summary));
        let mut inside = false;
        for line in self.markdown.lines().skip(1) {
            match line.strip_prefix("```") {
                Some(info) if !inside => {
                    inside = true;
                    let (path, how) = info.split_once(' ').unwrap_or((info, ""));
                    let how = match how.strip_prefix("times=") {
                        Some(times) => format!(", these lines {times} times"),
                        None if how == "link" => ", a symlink to".to_owned(),
                        None if how == "bytes" => {
                            ", in which `\\x` and two digits stand for a byte".to_owned()
                        }
                        None => String::new(),
                    };
                    out.push_str(&format!("`{path}`{how}:\n\n```yaml\n"));
                }
                Some(_) => {
                    inside = false;
                    out.push_str("```\n");
                }
                None => {
                    if !inside && line.starts_with("## ") {
                        out.push_str(&"#".repeat(level - level.min(1)));
                    }
                    out.push_str(line);
                    out.push('\n');
                }
            }
        }
        out
    }

    /// The prose before the examples.
    pub fn about(&self) -> &'static str {
        let text = self.markdown.split_once('\n').map_or("", |(_, rest)| rest);
        text.split("\n## ").next().unwrap_or_default().trim()
    }
}
