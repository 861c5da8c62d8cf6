//! Renames what has a name in the policy, in every file that names it.

use super::links::template_path;
use super::names::{self, Named};
use super::{Ide, Source, TextChange};
use compiler::syntax::fields::is_name;
use compiler::uses::{Of, Use};
use grammar::Span;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why something cannot be renamed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing there has a name of the policy's own.
    #[error("there is nothing here that can be renamed")]
    Nothing,
    /// Traits are what hosts say about themselves.
    #[error("`{0}` is a trait; its name is not for the policy to choose")]
    Given(Arc<str>),
    /// The name is made of values.
    #[error("the name `{0}` is made by a template; change the template")]
    Made(String),
    /// Characters that a name cannot have.
    #[error("`{0}` cannot be a name: names have letters, digits, `_` and `-`, and do not start with `-`")]
    NotAName(String),
    /// Something else has the name.
    #[error("there is {0} `{1}` already")]
    Taken(&'static str, String),
    /// A pattern means the thing under its old name and not under the new one, or the other way round.
    #[error("the reference `{0}` would mean something else then; change it first")]
    Pattern(Arc<str>),
    /// A name that does not stand in the file as it is, but for instance with escapes.
    #[error("`{name}` is written in another way in {file}; change it there first")]
    Written {
        /// The name.
        name: Arc<str>,
        /// Where.
        file: Arc<str>,
    },
}

/// What a rename does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renaming {
    /// Changes by file.
    pub changes: BTreeMap<Arc<str>, Vec<TextChange>>,
    /// A file that is called otherwise then: its old and its new path.
    pub moved: Option<(String, String)>,
}

/// What would be renamed: its place, and its name now.
pub fn prepare(ide: &Ide<'_>, source: &Source, at: u32) -> Result<(Span, String), Refusal> {
    let named = names::at(ide, source, at).ok_or(Refusal::Nothing)?;
    check_kind(&named)?;
    Ok((named.span, source.slice(named.span).to_owned()))
}

fn check_kind(named: &Named) -> Result<(), Refusal> {
    match named.of {
        Of::Trait => Err(Refusal::Given(named.name.clone())),
        Of::Resource if named.local().contains(['{', '*']) => Err(Refusal::Made(named.local().to_owned())),
        _ => Ok(()),
    }
}

/// Renames what is at a position.
pub fn rename(ide: &Ide<'_>, source: &Source, at: u32, new: &str) -> Result<Renaming, Refusal> {
    let named = names::at(ide, source, at).ok_or(Refusal::Nothing)?;
    check_kind(&named)?;
    let new = new.trim();
    if named.of == Of::Template {
        return rename_template(ide, &named.name, new);
    }
    // what is written plain and is null is nothing
    if !is_name(new) || matches!(new, "null" | "Null" | "NULL") {
        return Err(Refusal::NotAName(new.to_owned()));
    }
    let declared = names::declarations(ide, &named);
    let old = declared.first().map_or(&named.name, |d| &d.name).clone();
    if let Some(made) = declared.iter().find(|d| d.of == Of::Resource && d.local().contains("{{")) {
        return Err(Refusal::Made(made.local().to_owned()));
    }
    let full = match (named.of, old.split_once('.')) {
        (Of::Resource, Some((module, _))) => format!("{module}.{new}"),
        _ => new.to_owned(),
    };
    if *full == *old {
        return Ok(Renaming::default());
    }
    if uses_exist(ide, |u| u.of == named.of && *u.name == *full) {
        return Err(Refusal::Taken(article(named.of), full));
    }
    let mut out = Renaming::default();
    let wanted =
        |u: &Use| *u.name == *old || (u.of == Of::Resource && bare(ide, u, &old)) || names::means(u, &old);
    let mut found = names::select(ide, |u| u.of == named.of && wanted(u));
    if named.of == Of::Resource {
        // a pattern goes on meaning it, or the rename would change what the policy says
        let patterns = names::select(ide, |u| u.of == Of::Resource && u.name.contains('*'));
        for pattern in patterns {
            if names::refers(&pattern.name, &old) != names::refers(&pattern.name, &full) {
                return Err(Refusal::Pattern(pattern.name));
            }
        }
        found.retain(|n| !n.name.contains('*'));
    }
    complete(ide, named.of, &old, &found)?;
    for n in found {
        let change = TextChange { span: n.span, new: new.to_owned() };
        let of_file = out.changes.entry(n.file).or_default();
        if !of_file.contains(&change) {
            of_file.push(change);
        }
    }
    if named.of == Of::Module
        && let Some(d) = declared.first()
        && let Some(folder) = d.file.strip_suffix(&format!("{old}.vgo"))
        && folder.ends_with('/')
    {
        out.moved = Some((d.file.to_string(), format!("{folder}{new}.vgo")));
    }
    Ok(out)
}

/// A bare reference to a resource of another module, which nothing in its own module has.
fn bare(ide: &Ide<'_>, u: &Use, old: &str) -> bool {
    if u.how == "declared" || names::local(u.of, &u.name) != names::local(u.of, old) || *u.name == *old {
        return false;
    }
    let qualified = u.place.span.end - u.place.span.start > names::local(u.of, &u.name).len() as u32 + 2;
    let own = uses_exist(ide, |d| d.of == Of::Resource && d.how == "declared" && d.name == u.name);
    !qualified && !own
}

fn uses_exist(ide: &Ide<'_>, wanted: impl Fn(&Use) -> bool) -> bool {
    let (db, project) = ide.queries();
    project.files(db).iter().any(|file| compiler::uses::uses_of(db, project, *file).iter().any(&wanted))
}

/// Every use has to be written as it is: what is left out would be a mistake afterwards.
fn complete(ide: &Ide<'_>, of: Of, old: &str, found: &[Named]) -> Result<(), Refusal> {
    let (db, project) = ide.queries();
    for file in project.files(db) {
        for u in compiler::uses::uses_of(db, project, *file) {
            let here = u.of == of && *u.name == *old;
            let there = || {
                found.iter().any(|n| {
                    n.file == u.place.file
                        && u.place.span.start <= n.span.start
                        && n.span.end <= u.place.span.end
                })
            };
            if here && !there() {
                return Err(Refusal::Written { name: u.name.clone(), file: u.place.file.clone() });
            }
        }
    }
    Ok(())
}

fn article(of: Of) -> &'static str {
    match of {
        Of::Module => "a module",
        Of::Variable => "a variable",
        Of::Role => "a role",
        Of::Environment => "an environment",
        Of::Template => "a template",
        Of::Trait => "a trait",
        Of::Resource => "a resource",
    }
}

/// A template is renamed with its file.
fn rename_template(ide: &Ide<'_>, old: &str, new: &str) -> Result<Renaming, Refusal> {
    let fits = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
    };
    if !new.split('/').all(fits) {
        return Err(Refusal::NotAName(new.to_owned()));
    }
    if old == new {
        return Ok(Renaming::default());
    }
    if ide.policy.file(&template_path(new)).is_some() {
        return Err(Refusal::Taken("a template", new.to_owned()));
    }
    let mut out = moved_template(ide, old, new);
    if ide.policy.file(&template_path(old)).is_some() {
        out.moved = Some((template_path(old), template_path(new)));
    }
    Ok(out)
}

/// What has to change when the file of a template gets another name.
fn moved_template(ide: &Ide<'_>, old: &str, new: &str) -> Renaming {
    let mut out = Renaming::default();
    let found = names::select(ide, |u| u.of == Of::Template && u.how == "shipped" && *u.name == *old);
    for n in found {
        out.changes.entry(n.file).or_default().push(TextChange { span: n.span, new: new.to_owned() });
    }
    out
}

/// What has to change in the policy when files are called otherwise: paths relative to the root, old and new. A folder
/// stands for what is in it. A template is named by its path; a module that has the name of its file goes on having it,
/// unless the new name cannot be one or is taken.
pub fn moved(ide: &Ide<'_>, files: &[(String, String)]) -> Renaming {
    let mut out = Renaming::default();
    let (db, project) = ide.queries();
    for (old, new) in files {
        for path in project.files(db).iter().map(|f| f.path(db)) {
            let rest = match path.strip_prefix(old.as_str()) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
                _ => continue,
            };
            let new = format!("{new}{rest}");
            let done = match (path.strip_prefix("templates/"), new.strip_prefix("templates/")) {
                (Some(old), Some(new)) => moved_template(ide, old, new),
                _ => moved_module(ide, path, &new).unwrap_or_default(),
            };
            for (file, changes) in done.changes {
                let of_file = out.changes.entry(file).or_default();
                of_file.extend(changes.into_iter().filter(|c| !of_file.contains(c)).collect::<Vec<_>>());
            }
        }
    }
    out
}

/// What has to change when the file of a module gets another name.
fn moved_module(ide: &Ide<'_>, old: &str, new: &str) -> Option<Renaming> {
    let stem = |path: &str| {
        let name = path.strip_prefix("modules/")?.rsplit('/').next()?.strip_suffix(".vgo")?;
        Some(name.to_owned())
    };
    let (old_name, new_name) = (stem(old)?, stem(new)?);
    let source = ide.source(old)?;
    let (db, _) = ide.queries();
    let declared = compiler::resolve::interface::module(db, source.file)?.name.clone();
    if *declared.text != *old_name || old_name == new_name {
        return None;
    }
    // refused: the module keeps its name, which need not be that of its file
    rename(ide, &source, declared.span.start, &new_name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    fn at(mark: &str) -> (Fixture, Source) {
        let fixture = Fixture::new(&ACME.replacen(&mark.replace("$0", ""), mark, 1));
        let source = fixture.ide().source(&fixture.file).unwrap();
        (fixture, source)
    }

    /// The policy after a rename: it must say the same, and have no other finding than before.
    fn after(mark: &str, new: &str) -> (BTreeMap<String, String>, Option<(String, String)>) {
        let (mut fixture, source) = at(mark);
        let before: Vec<String> =
            fixture.policy.check().diagnostics.iter().map(|d| d.message.clone()).collect();
        assert_eq!(before, Vec::<String>::new());
        let done = rename(&fixture.ide(), &source, fixture.at, new).unwrap();
        let mut texts = BTreeMap::new();
        let mut files = fixture.policy.files();
        for (path, mut changes) in done.changes {
            let mut text = fixture.policy.text(&path).unwrap().to_string();
            changes.sort_by_key(|c| std::cmp::Reverse(c.span.start));
            for c in changes {
                text.replace_range(c.span.range(), &c.new);
            }
            texts.insert(path.to_string(), text.clone());
            files.insert(path, compiler::db::Content::Text(text.into()));
        }
        if let Some((old, new)) = &done.moved {
            let content = files.remove(old.as_str()).unwrap();
            files.insert(new.as_str().into(), content);
        }
        fixture.policy.take(files);
        let found: Vec<String> =
            fixture.policy.check().diagnostics.iter().map(|d| d.message.clone()).collect();
        assert_eq!(found, Vec::<String>::new(), "{texts:#?}");
        (texts, done.moved)
    }

    #[test]
    fn a_renamed_policy_says_the_same() {
        let (texts, moved) = after("  po$0rt: 80", "listen_port");
        assert_eq!(moved, None);
        let files: Vec<&str> = texts.keys().map(String::as_str).collect();
        assert_eq!(
            files,
            [
                "modules/motd.vgo",
                "modules/nginx.vgo",
                "nodes.vgo",
                "templates/nginx/site.conf",
                "tests/web.vgo"
            ]
        );
        assert!(texts["modules/motd.vgo"].contains("\"port {{ .Vars.listen_port }}\""));

        let (texts, moved) = after("depends_on: [ngi$0nx]", "webserver");
        assert_eq!(moved, Some(("modules/nginx.vgo".into(), "modules/webserver.vgo".into())));
        assert!(texts["modules/motd.vgo"].contains("[webserver.config]"));
        assert!(texts["tests/web.vgo"].contains("webserver.config:"));
        assert!(texts["modules/nginx.vgo"].contains("service: nginx"), "only names are renamed");

        let (texts, _) = after("nginx.con$0fig]", "main");
        assert!(
            texts["modules/nginx.vgo"].contains("- name: main")
                && texts["tests/web.vgo"].contains("nginx.main:")
        );
        let (texts, _) = after("notify: [rel$0oad]", "again");
        assert_eq!(texts.len(), 1);
        let (texts, _) = after("name: we$0b", "frontend");
        assert!(texts["nodes.vgo"].contains("roles: [frontend]"));
        let (texts, moved) = after("source: nginx/si$0te.conf", "nginx/main.conf");
        assert_eq!(moved, Some(("templates/nginx/site.conf".into(), "templates/nginx/main.conf".into())));
        assert!(texts["modules/nginx.vgo"].contains("source: nginx/main.conf"));
    }

    #[test]
    fn what_would_break_is_refused() {
        let refused = |mark: &str, new: &str| {
            let (fixture, source) = at(mark);
            rename(&fixture.ide(), &source, fixture.at, new).unwrap_err().to_string()
        };
        assert_eq!(refused("  po$0rt: 80", "server_name"), "there is a variable `server_name` already");
        assert!(refused("  po$0rt: 80", "a b").contains("cannot be a name"));
        assert!(refused("  po$0rt: 80", "null").contains("cannot be a name"));
        assert_eq!(refused("depends_on: [ngi$0nx]", "motd"), "there is a module `motd` already");
        assert_eq!(refused("notify: [rel$0oad]", "config"), "there is a resource `nginx.config` already");
        assert_eq!(refused("doc: Web se$0rver.", "x"), "there is nothing here that can be renamed");
        assert!(refused("source: nginx/si$0te.conf", "../x").contains("cannot be a name"));
    }

    #[test]
    fn a_pattern_keeps_its_meaning() {
        let text = "//- modules/a.vgo\nname: a\nresources:\n  - name: user-$0one\n    type: file\n    target_path: /a\n    \
                    content: \"\"\n  - name: last\n    type: file\n    target_path: /b\n    content: \"\"\n    depends_on: [\"user-*\"]\n";
        let fixture = Fixture::new(text);
        let source = fixture.ide().source(&fixture.file).unwrap();
        let refused = rename(&fixture.ide(), &source, fixture.at, "other").unwrap_err();
        assert_eq!(refused, Refusal::Pattern("a.user-*".into()));
        assert!(rename(&fixture.ide(), &source, fixture.at, "user-two").is_ok());
    }

    #[test]
    fn files_that_move_take_their_names_along() {
        let fixture = Fixture::new(ACME);
        for (old, new) in
            [("templates/nginx", "templates/web"), ("templates/nginx/site.conf", "templates/web/site.conf")]
        {
            let done = moved(&fixture.ide(), &[(old.into(), new.into())]);
            let change = &done.changes["modules/nginx.vgo"][0];
            assert_eq!(change.new, "web/site.conf");
        }
        assert_eq!(
            moved(&fixture.ide(), &[("templates/ngin".into(), "templates/x".into())]),
            Renaming::default()
        );
    }

    #[test]
    fn a_module_that_has_the_name_of_its_file_keeps_having_it() {
        let fixture = Fixture::new(ACME);
        let moving = |old: &str, new: &str| moved(&fixture.ide(), &[(old.into(), new.into())]);
        let done = moving("modules/nginx.vgo", "modules/web/server.vgo");
        let files: Vec<&str> = done.changes.keys().map(|p| &**p).collect();
        assert_eq!(files, ["modules/motd.vgo", "modules/nginx.vgo", "roles.vgo", "tests/web.vgo"]);
        assert!(done.changes.values().flatten().all(|c| c.new == "server"));
        // into a folder it keeps its name; a name that is taken or cannot be one is not given
        for new in ["modules/web/nginx.vgo", "modules/motd2.txt", "modules/motd.vgo", "modules/a b.vgo"] {
            assert_eq!(moving("modules/nginx.vgo", new), Renaming::default(), "{new}");
        }
        assert_eq!(moving("modules", "modules2"), Renaming::default());
    }
}
