//! Which name stands where: the names of the policy, each with the exact bytes of it.

use super::{Ide, Source, Target};
use compiler::db::SourceFile;
use compiler::resolve::index::{index, templates};
use compiler::resolve::interface::interface;
use compiler::specialise::edges::Target as Reference;
use compiler::syntax::Kind;
use compiler::test_uses::test_uses;
use compiler::uses::{Of, Use, uses_of};
use grammar::Span;
use std::sync::Arc;

/// A name at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it is the name of.
    pub of: Of,
    /// The name; of a resource with its module.
    pub name: Arc<str>,
    /// Its file.
    pub file: Arc<str>,
    /// The bytes of the name itself: of `nginx.config` those of `config`.
    pub span: Span,
    /// What happens there, such as `declared`.
    pub how: &'static str,
    /// In what it stands.
    pub by: Arc<str>,
}

impl Named {
    /// Where it stands.
    pub fn target(&self) -> Target {
        Target { file: self.file.clone(), span: self.span }
    }

    /// The name without its module.
    pub fn local(&self) -> &str {
        local(self.of, &self.name)
    }

    /// Whether the name comes into being here.
    pub fn declares(&self) -> bool {
        self.how == "declared"
    }
}

/// A name without its module.
pub fn local(of: Of, name: &str) -> &str {
    match of {
        Of::Resource => name.split_once('.').map_or(name, |(_, local)| local),
        _ => name,
    }
}

/// The names of one file that are written there, in order.
pub fn of_file(ide: &Ide<'_>, source: &Source) -> Vec<Named> {
    let (db, project) = ide.queries();
    let all = match source.kind {
        Kind::Test => test_uses(db, source.file),
        _ => uses_of(db, project, source.file),
    };
    all.iter().filter_map(|u| exact(source, u)).collect()
}

fn exact(source: &Source, u: &Use) -> Option<Named> {
    let span = match (u.of, u.how) {
        // a template is declared by its file being there
        (Of::Template, "declared") => u.place.span,
        _ => exact_span(source.slice(u.place.span), u)?,
    };
    Some(Named {
        of: u.of,
        name: u.name.clone(),
        file: u.place.file.clone(),
        span,
        how: u.how,
        by: u.by.clone(),
    })
}

fn exact_span(written: &str, u: &Use) -> Option<Span> {
    let name = local(u.of, &u.name);
    let start = match u.of {
        Of::Variable => match written.find("Vars.").or_else(|| written.find("vars.")) {
            Some(root) => root + "Vars.".len(),
            None => written.find(name)?,
        },
        Of::Resource => match written.rfind(&format!(".{name}")) {
            Some(dot) => dot + 1,
            None => written.find(name)?,
        },
        _ => written.find(name)?,
    };
    let there = written.get(start..)?;
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-');
    // what was folded or escaped does not stand there as it is
    let whole = there.strip_prefix(name)?.chars().next().is_none_or(|c| ends(c) || u.of == Of::Resource);
    let from = u.place.span.start + start as u32;
    whole.then(|| Span::new(from, from + name.len() as u32))
}

/// The name at a position.
pub fn at(ide: &Ide<'_>, source: &Source, at: u32) -> Option<Named> {
    let touching = of_file(ide, source).into_iter().filter(|n| n.span.start <= at && at <= n.span.end);
    // of two that meet at the position, the one that begins there
    touching.filter(|n| n.span.start < n.span.end).max_by_key(|n| n.span.start)
}

/// Every name of the policy that is wanted and written somewhere.
pub fn select(ide: &Ide<'_>, wanted: impl Fn(&Use) -> bool) -> Vec<Named> {
    let (db, project) = ide.queries();
    select_in(ide, project.files(db), wanted)
}

fn select_in(ide: &Ide<'_>, files: &[SourceFile], wanted: impl Fn(&Use) -> bool) -> Vec<Named> {
    let (db, project) = ide.queries();
    let mut out = Vec::new();
    for file in files {
        let path = file.path(db);
        let all = match Kind::of(path) {
            Kind::Test => test_uses(db, *file),
            _ => uses_of(db, project, *file),
        };
        let mut wanted = all.iter().filter(|u| wanted(u)).peekable();
        if wanted.peek().is_some()
            && let Some(source) = ide.source(path)
        {
            out.extend(wanted.filter_map(|u| exact(&source, u)));
        }
    }
    out
}

/// Every place at which a thing is named, references by pattern too.
pub fn places(ide: &Ide<'_>, of: Of, name: &str) -> Vec<Named> {
    select(ide, |u| u.of == of && means(u, name))
}

/// Whether a use is one of this name: a reference may be a pattern, and a name one of many.
pub fn means(u: &Use, name: &str) -> bool {
    *u.name == *name || (u.of == Of::Resource && u.how != "declared" && refers(&u.name, name))
}

/// Whether a reference to a resource means the one of this name; both with their modules.
pub fn refers(reference: &str, name: &str) -> bool {
    let (Some((module, local)), Some((other, wanted))) = (reference.split_once('.'), name.split_once('.'))
    else {
        return false;
    };
    if module != other {
        return false;
    }
    let target = Reference::new(local);
    target.means(wanted) || (wanted.contains("{{") && target.may_mean(&as_pattern(wanted)))
}

/// A templated name with `*` in place of each action.
pub fn as_pattern(name: &str) -> String {
    let mut out = String::new();
    let mut rest = name;
    while let Some((before, inside)) = rest.split_once("{{") {
        out.push_str(before);
        out.push('*');
        rest = inside.split_once("}}").map_or("", |(_, after)| after);
    }
    out + rest
}

/// Where a thing is declared. A bare reference may mean a resource of another module.
pub fn declarations(ide: &Ide<'_>, named: &Named) -> Vec<Named> {
    let declared = |u: &Use| u.of == named.of && u.how == "declared";
    let same = |u: &Use| u.name == named.name;
    let files = declaring(ide, named.of, &named.name);
    if named.of == Of::Resource && !named.declares() {
        let own = select_in(ide, &files, |u| declared(u) && (same(u) || refers(&named.name, &u.name)));
        if !own.is_empty() {
            return own;
        }
        return select(ide, |u| declared(u) && local(u.of, &u.name) == named.local());
    }
    let found = select_in(ide, &files, |u| declared(u) && same(u));
    if !found.is_empty() || named.of != Of::Variable {
        return found;
    }
    // a variable that no module declares begins where it is set
    select(ide, |u| u.of == named.of && same(u) && u.how == "set")
}

/// The files that may declare a thing: to look for it in every file takes a look at everything that is written there.
fn declaring(ide: &Ide<'_>, of: Of, name: &str) -> Vec<SourceFile> {
    let (db, project) = ide.queries();
    let index = index(db, project);
    let of_module = |name: &str| -> Vec<SourceFile> {
        let twice = index.twice.get(name).into_iter().flatten();
        index.modules.get(name).into_iter().chain(twice).copied().collect()
    };
    match of {
        Of::Module => of_module(name),
        Of::Resource => of_module(name.split_once('.').map_or(name, |(module, _)| module)),
        Of::Variable => {
            let declares = |file: &SourceFile| {
                interface(db, *file).is_some_and(|i| i.variables.iter().any(|v| *v.name == *name))
            };
            index.module_files.iter().copied().filter(declares).collect()
        }
        Of::Role => index.roles.into_iter().collect(),
        Of::Template => templates(db, project).get(name).copied().into_iter().collect(),
        Of::Environment | Of::Trait => project.files(db).clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::Fixture;

    fn at_cursor(fixture: &str) -> Option<(Of, String, String)> {
        let fixture = Fixture::new(fixture);
        let source = fixture.ide().source(&fixture.file).unwrap();
        let named = at(&fixture.ide(), &source, fixture.at)?;
        Some((named.of, named.name.to_string(), source.slice(named.span).to_owned()))
    }

    #[test]
    fn the_name_itself_is_found_and_no_more() {
        let module = |line: &str| {
            format!(
                "//- modules/a.vgo\nname: a\nvars: {{ port: 1 }}\nresources:\n  - name: x\n    type: file\n    target_path: /x\n{line}\n"
            )
        };
        let found = |line: &str| {
            at_cursor(&module(line)).map(|(of, name, text)| format!("{} {name} `{text}`", of.name()))
        };
        assert_eq!(found("    content: \"é {{ .Vars.po$0rt }}\"").as_deref(), Some("variable port `port`"));
        assert_eq!(found("    when: vars.$0port == 1").as_deref(), Some("variable port `port`"));
        assert_eq!(found("    depends_on: [b.$0y]").as_deref(), Some("resource b.y `y`"));
        assert_eq!(found("    depends_on: [$0b.y]").as_deref(), Some("module b `b`"));
        assert_eq!(found("    depends_on: [\"y$0\"]").as_deref(), Some("resource a.y `y`"));
        assert_eq!(
            found("    when: has_trait('os.fam$0ily')").as_deref(),
            Some("trait os.family `os.family`")
        );
        assert_eq!(found("    when: os_fam$0ily('debian')"), None);
    }

    #[test]
    fn references_by_pattern_mean_what_they_match() {
        assert!(refers("a.user-*", "a.user-bob") && refers("a.user-*", "a.user-{{ .Item }}"));
        assert!(refers("a.user-bob", "a.user-{{ .Item }}"));
        assert!(!refers("a.user-*", "b.user-bob") && !refers("a.group-*", "a.user-{{ .Item }}"));
    }
}
