//! Reference pages in Markdown: of the standard library, and of the modules of a policy.

use crate::policy::Policy;
use crate::resolve::index::index;
use crate::resolve::interface::{Declared, Interface, interface, module};
use crate::schema::{Function, Param, ResourceType, Stage, Tried, schema};
use crate::syntax::ModuleAst;
use std::fmt::Write as _;
use std::sync::Arc;

/// A module of a policy, with what there is to say about it.
#[derive(Debug)]
pub struct Documented<'a> {
    /// The file that declares it.
    pub file: &'a Arc<str>,
    /// What others may know of it.
    pub interface: &'a Interface,
    ast: &'a ModuleAst,
}

impl Documented<'_> {
    /// What the module is for.
    pub fn doc(&self) -> Option<&str> {
        self.ast.doc.as_deref().map(str::trim)
    }

    /// What a parameter is for.
    pub fn doc_of(&self, variable: &Declared) -> Option<&str> {
        self.ast.params.iter().find(|p| p.name.text == variable.name)?.doc.as_deref()
    }
}

/// The modules of a policy that can be read, by name.
pub fn documented(policy: &Policy) -> impl Iterator<Item = Documented<'_>> {
    let (db, project) = policy.queries();
    index(db, project).modules.values().filter_map(move |file| {
        let (ast, interface) = (module(db, *file)?, interface(db, *file)?);
        Some(Documented { file: file.path(db), interface, ast })
    })
}

/// Types, traits and functions of the standard library.
pub fn library() -> String {
    let mut out = String::from("# Reference of the standard library\n\nMade by `vigoc doc`.\n");
    out.push_str("\n## Resource types\n");
    for ty in schema().types.values() {
        out.push('\n');
        out.push_str(&resource_type(ty, 3));
    }
    traits_and_functions(&mut out);
    out
}

/// A resource type, under a heading of this level.
pub fn resource_type(ty: &ResourceType, level: usize) -> String {
    let mut out = format!("{} {}\n\n{}\n\n", "#".repeat(level), ty.name, ty.doc.trim());
    out.push_str("| attribute | type | default | |\n| --- | --- | --- | --- |\n");
    for (attribute, a) in &ty.attributes {
        let default = match &a.default {
            Some(value) => format!("`{}`", ir::render(value).unwrap_or_default()),
            None if a.required => "required".to_owned(),
            None => String::new(),
        };
        let mut doc = a.doc.clone();
        if *attribute == ty.key {
            doc.push_str(" The key.");
        }
        if a.sensitive {
            doc.push_str(" May hold secrets.");
        }
        row(&mut out, &[&format!("`{attribute}`"), &format!("`{}`", a.ty), &default, &doc]);
    }
    if ty.unique {
        out.push_str("\nOne envoy may have only one with the same key.\n");
    }
    for set in &ty.exclusive {
        let least = if set.contains(&ty.key) && !ty.is_key_required() { "One" } else { "At most one" };
        _ = writeln!(out, "\n{least} of {}.", ticked(set.iter().map(|a| &**a)));
    }
    for (this, needs) in &ty.requires {
        _ = writeln!(out, "\n`{this}` needs `{needs}`.");
    }
    if !ty.guards.is_empty() {
        let guards = ticked(ty.guards.iter().map(|a| &**a));
        _ = writeln!(out, "\nGive one of {guards}, or `when: changed`.");
    }
    for (attribute, values) in &ty.triggered {
        let values = ticked(values.iter().map(|v| &**v));
        _ = writeln!(out, "\nWith {values} as `{attribute}`, give `when: changed`.");
    }
    for conflict in &ty.conflicts {
        let pair = |name: &str, value| format!("{name}: {}", ir::render(value).unwrap_or_default());
        let others = conflict.excludes.iter();
        let others: Vec<String> =
            others.flat_map(|(name, values)| values.iter().map(|v| pair(name, v))).collect();
        let when = pair(&conflict.when.0, &conflict.when.1);
        _ = writeln!(out, "\n`{when}` excludes {}.", ticked(others.iter().map(String::as_str)));
    }
    if !ty.example.is_empty() {
        _ = write!(out, "\n```yaml\n{}\n```\n", ty.example.trim_end());
        _ = writeln!(out, "\n{}", tried(&ty.tried));
    }
    out
}

/// What the tests do with an example.
fn tried(tried: &Tried) -> String {
    let on = match tried {
        Tried::Files => "on real files".to_owned(),
        Tried::Debian => "on a real Debian".to_owned(),
        Tried::Systemd => "on a real Debian that systemd booted".to_owned(),
        Tried::StandIns { because } => format!("with stand-ins ({because})"),
    };
    format!("The tests apply this example {on}: once, again with nothing left to do, and after drift.")
}

fn traits_and_functions(out: &mut String) {
    out.push_str("\n## Traits\n\n`shared` traits are known when the server makes the program of a host, `host` traits to \
                  the agent only.\n\n| trait | type | known | |\n| --- | --- | --- | --- |\n");
    for (path, t) in &schema().traits {
        let doc = if t.optional { format!("{} May be absent.", t.doc) } else { t.doc.clone() };
        let scope = if t.shared { "shared" } else { "host" };
        row(out, &[&format!("`{path}`"), &format!("`{}`", t.ty), scope, &doc]);
    }
    for (title, wanted) in [("conditions", true), ("templates", false)] {
        _ = write!(
            out,
            "\n## Functions of {title}\n\n| function | gives | known | |\n| --- | --- | --- | --- |\n"
        );
        for (name, f) in
            schema().functions.iter().filter(|(_, f)| if wanted { f.in_when } else { f.in_template })
        {
            let known = match f.stage {
                Stage::Publish => "at publish",
                Stage::Specialise => "with the shared traits",
                Stage::Converge => "on the host",
            };
            row(out, &[&format!("`{}`", call(name, f, wanted)), &format!("`{}`", f.returns), known, &f.doc]);
        }
    }
}

/// The modules of a policy with their parameters and variables.
pub fn modules(policy: &Policy) -> String {
    let mut out = String::from("# Modules\n");
    for module in documented(policy) {
        let seen = module.interface;
        _ = write!(out, "\n## {}\n\n", seen.name);
        if let Some(doc) = module.doc() {
            _ = write!(out, "{doc}\n\n");
        }
        _ = writeln!(out, "Declared in `{}`.", module.file);
        if !seen.depends_on.is_empty() {
            _ = writeln!(out, "\nNeeds {}.", ticked(seen.depends_on.iter().map(|m| &**m)));
        }
        if seen.variables.is_empty() {
            continue;
        }
        out.push_str("\n| variable | type | default | |\n| --- | --- | --- | --- |\n");
        for v in &seen.variables {
            let default = match &v.default {
                // the path of a secret is no secret, but nobody needs it here
                Some(value) if value.holds_secret() => "a secret".to_owned(),
                Some(value) => format!("`{}`", ir::render(value).unwrap_or_default()),
                None if v.parameter => "has to be set".to_owned(),
                None => String::new(),
            };
            let doc = module.doc_of(v).unwrap_or_default();
            row(&mut out, &[&format!("`{}`", v.name), &format!("`{}`", v.ty), &default, doc]);
        }
    }
    out
}

/// A call as it is written; `...` stands for more of the same, `[...]` for what may be left out.
pub fn call(name: &str, f: &Function, condition: bool) -> String {
    let mut params: Vec<String> = f.params.iter().map(param).collect();
    for optional in params.iter_mut().rev().take(f.optional) {
        *optional = format!("[{optional}]");
    }
    params.extend(f.variadic.as_ref().map(|p| format!("{}...", param(p))));
    match (condition, params.is_empty()) {
        (_, true) => name.to_owned(),
        (true, _) => format!("{name}({})", params.join(", ")),
        (false, _) => format!("{name} {}", params.join(" ")),
    }
}

fn param(p: &Param) -> String {
    match p {
        Param::Of(ty) => ty.to_string(),
        Param::Number => "number".into(),
        Param::TraitPath => "'path.of.trait'".into(),
        Param::Time => "'HH:MM'".into(),
        Param::Weekday => "'day'".into(),
        Param::Within(low, high) => format!("{low} to {high}"),
    }
}

fn ticked<'a>(names: impl Iterator<Item = &'a str>) -> String {
    crate::diagnostic::nearest::listed(names)
}

/// A row of a table: a line break or a bar inside would end it.
fn row(out: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells
        .iter()
        .map(|c| c.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|"))
        .collect();
    _ = writeln!(out, "| {} |", cells.join(" | "));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `vigoc doc > docs/reference.md` makes the page anew.
    #[test]
    fn the_committed_page_is_what_the_library_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference.md");
        let page = std::fs::read_to_string(path).unwrap();
        assert_eq!(page, library(), "docs/reference.md is stale: `vigoc doc > docs/reference.md`");
    }

    #[test]
    fn a_cell_stays_in_its_row() {
        let mut out = String::new();
        row(&mut out, &["a|b", "c\nd"]);
        assert_eq!(out, "| a\\|b | c d |\n");
    }
}
