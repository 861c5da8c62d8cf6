//! A value, or a part of one, becomes a variable of its module.

use super::{Refusal, applied, as_text, is_taken};
use crate::ide::values::element;
use crate::ide::{Ide, Source, TextChange};
use compiler::resolve::interface::module;
use compiler::schema::schema;
use compiler::syntax::{AttributeAst, ModuleAst, Syn, SynKind, Text};
use compiler::types::{Refinement, Type};
use grammar::Span;
use grammar::document::{Core, Style};

/// A variable in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extraction {
    /// What it is called.
    pub name: String,
    /// How many places read it then.
    pub places: usize,
    /// Changes of the file of the module.
    pub changes: Vec<TextChange>,
}

/// A scalar of an attribute.
struct Literal<'a> {
    resource: Option<&'a str>,
    attribute: &'a str,
    ty: Option<&'a Type>,
    span: Span,
    text: &'a Text,
}

/// Makes a variable of the value around a part of a file, or of the part itself where it is a piece of a longer text. With
/// `every`, each other value of the module that is written alike and has the same type becomes the variable too.
pub fn extract(ide: &Ide<'_>, source: &Source, part: Span, every: bool) -> Result<Extraction, Refusal> {
    let (db, _) = ide.queries();
    let module = module(db, source.file).ok_or(Refusal::Nothing)?;
    let all = literals(module);
    let around = all.iter().filter(|l| l.span.start <= part.start && part.end <= l.span.end);
    let literal = around.min_by_key(|l| l.span.end - l.span.start).ok_or(Refusal::Nothing)?;
    let raw = source.slice(literal.span);
    let inner = crate::ide::expression::inside(source, literal.span);
    let whole = part.start == part.end || (part.start <= inner.start && inner.end <= part.end);
    let name = name_for(ide, module, literal);
    let read = format!("{{{{ .Vars.{name} }}}}");
    let refused = || Refusal::Place { written: raw.to_owned(), file: source.path.clone() };
    let in_braces = vars_in_braces(source);
    let mut changes = Vec::new();
    let value = if whole {
        let value = whole_value(literal, raw, in_braces).ok_or_else(refused)?;
        let alike = |l: &&Literal<'_>| {
            l.span == literal.span || every && l.ty == literal.ty && source.slice(l.span) == raw
        };
        for l in all.iter().filter(alike) {
            changes.push(TextChange { span: l.span, new: format!("\"{read}\"") });
        }
        value
    } else {
        let value = piece_value(source, literal, part, in_braces).ok_or_else(refused)?;
        let (from, to) =
            ((part.start - literal.span.start) as usize, (part.end - literal.span.start) as usize);
        let (head, tail) = (raw.get(..from).ok_or_else(refused)?, raw.get(to..).ok_or_else(refused)?);
        changes.push(match literal.text.scalar.style {
            // with braces in it, it has to be in quotes
            Style::Plain if raw.contains(['"', '\\', '\n']) => return Err(refused()),
            Style::Plain => TextChange { span: literal.span, new: format!("\"{head}{read}{tail}\"") },
            _ => TextChange { span: part, new: read },
        });
        value
    };
    let places = changes.len();
    changes.push(declaration(source, &name, &value));
    changes.sort_by_key(|c| c.span.start);
    applied(&source.text, &changes).ok_or_else(refused)?;
    Ok(Extraction { name, places, changes })
}

fn whole_value(literal: &Literal<'_>, raw: &str, in_braces: bool) -> Option<String> {
    let scalar = &literal.text.scalar;
    let one_line = !raw.contains('\n') && !matches!(scalar.style, Style::Literal | Style::Folded);
    if literal.text.template.is_some() || !one_line || scalar.core() == Core::Null {
        return None;
    }
    if scalar.style != Style::Plain {
        return Some(raw.to_owned());
    }
    let text = || as_text(&scalar.text, in_braces);
    match (scalar.core(), literal.ty) {
        // the type of the attribute made it text; under `vars:` nothing does
        (Core::Int(_) | Core::Float(_) | Core::Bool(_), Some(ty)) if !is_number_or_bool(ty) => text(),
        (Core::Int(_) | Core::Float(_) | Core::Bool(_), _) => Some(raw.to_owned()),
        _ => text(),
    }
}

fn is_number_or_bool(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Bool | Type::Int | Type::Float | Type::Refined(Refinement::Port) | Type::Any | Type::Mixed
    )
}

fn piece_value(source: &Source, literal: &Literal<'_>, part: Span, in_braces: bool) -> Option<String> {
    let piece = source.slice(part);
    let head = source.slice(Span::new(literal.span.start, part.start));
    let in_action = head.matches("{{").count() > head.matches("}}").count();
    let half = head.ends_with(['{', '\\']) || piece.starts_with('}');
    let escaped = piece.contains(['\\', '\'', '"', '\n', '{', '}']);
    let takes_text = literal.ty.is_none_or(|ty| !is_number_or_bool(ty));
    if piece.is_empty() || in_action || half || escaped || !takes_text {
        return None;
    }
    as_text(piece, in_braces)
}

/// Every scalar of the module that may become a template.
fn literals(module: &ModuleAst) -> Vec<Literal<'_>> {
    let mut out = Vec::new();
    for attribute in &module.defaults {
        let types = schema().types.values();
        let ty = types.filter_map(|t| t.attributes.get(&*attribute.name.text)).map(|a| &a.ty).next();
        of_attribute(None, attribute, ty, &mut out);
    }
    for r in &module.resources {
        let kind = r.kind.as_ref().and_then(|k| schema().types.get(&*k.text));
        let name = r.name.as_ref().and_then(|n| n.as_text()).map(|t| t.scalar.text.as_str());
        for attribute in r.attributes.iter().chain(r.branches.iter().flat_map(|(_, a)| a)) {
            let ty = kind.and_then(|k| k.attributes.get(&*attribute.name.text)).map(|a| &a.ty);
            of_attribute(name, attribute, ty, &mut out);
        }
    }
    out
}

fn of_attribute<'a>(
    resource: Option<&'a str>,
    attribute: &'a AttributeAst,
    ty: Option<&'a Type>,
    out: &mut Vec<Literal<'a>>,
) {
    // the file that a source names is looked up when the policy is compiled
    if !matches!(&*attribute.name.text, "source" | "template") {
        of_value(resource, &attribute.name.text, &attribute.value, ty, out);
    }
}

fn of_value<'a>(
    resource: Option<&'a str>,
    attribute: &'a str,
    syn: &'a Syn,
    ty: Option<&'a Type>,
    out: &mut Vec<Literal<'a>>,
) {
    match &syn.kind {
        SynKind::Text(text) => out.push(Literal { resource, attribute, ty, span: syn.span, text }),
        SynKind::List(items) => {
            let ty = ty.and_then(element);
            items.iter().for_each(|item| of_value(resource, attribute, item, ty, out));
        }
        SynKind::Map(entries) => {
            for (key, value) in entries {
                let ty = ty.and_then(|ty| crate::ide::values::part(ty, &key.text));
                of_value(resource, attribute, value, ty, out);
            }
        }
        SynKind::Empty | SynKind::Error => {}
    }
}

/// All variables of a host stand in one space, so the name says which module it is of.
fn name_for(ide: &Ide<'_>, module: &ModuleAst, literal: &Literal<'_>) -> String {
    let word = |text: &str| -> String {
        let mut word: String =
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        while word.contains("__") {
            word = word.replace("__", "_");
        }
        word.trim_matches('_').to_owned()
    };
    let (module, attribute) = (word(&module.name.text), word(literal.attribute));
    let short = format!("{module}_{attribute}");
    let resource = literal.resource.filter(|r| !r.contains("{{")).map(word);
    let long = resource.map(|r| format!("{module}_{r}_{attribute}"));
    let numbered = (2..).map(|n| format!("{short}_{n}"));
    let mut names = std::iter::once(short.clone()).chain(long).chain(numbered);
    names.find(|name| !is_taken(ide, name)).unwrap_or(short)
}

fn vars_in_braces(source: &Source) -> bool {
    let parsed = source.parsed();
    parsed.root.get("vars").is_some_and(|node| source.slice(node.span).starts_with('{'))
}

/// A line under `vars:`, the last one there; with `vars:` itself where there is none.
fn declaration(source: &Source, name: &str, value: &str) -> TextChange {
    let parsed = source.parsed();
    let insert = |at: usize, new: String| TextChange { span: Span::new(at as u32, at as u32), new };
    let entries = parsed.root.as_map().unwrap_or_default();
    let own = parsed.root.get("vars");
    if let Some(last) = own.and_then(|n| n.as_map()).and_then(<[_]>::last) {
        let end = last.value.span.end.max(last.key.span.end) as usize;
        if vars_in_braces(source) {
            return insert(end, format!(", {name}: {value}"));
        }
        let head = source.text.get(..end).unwrap_or_default().trim_end();
        let line = line_end(&source.text, head.len());
        let column = column_of(&source.text, last.key.span.start as usize);
        return insert(line, format!("\n{}{name}: {value}", " ".repeat(column)));
    }
    let (at, own_key) = match entries.iter().find(|e| e.key.text == "vars") {
        // `vars:` with nothing in it
        Some(entry) => (entry.key.span.start as usize, true),
        None => {
            let after = entries.iter().find(|e| !matches!(e.key.text.as_str(), "name" | "doc" | "params"));
            (after.map_or(source.text.len(), |e| e.key.span.start as usize), false)
        }
    };
    if own_key {
        let end = line_end(&source.text, at);
        let line = source.text.get(at..end).unwrap_or_default();
        if let Some(braces) = line.find('{') {
            return insert(at + braces + 1, format!(" {name}: {value} "));
        }
        return insert(end, format!("\n  {name}: {value}"));
    }
    insert(above_comments(&source.text, at), format!("vars:\n  {name}: {value}\n"))
}

fn line_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.find('\n').unwrap_or(rest.len())
}

fn column_of(text: &str, at: usize) -> usize {
    at - text.get(..at).and_then(|head| head.rfind('\n')).map_or(0, |n| n + 1)
}

/// The beginning of the comment lines that stand directly above a line; without any, of the line itself.
fn above_comments(text: &str, at: usize) -> usize {
    let mut start = at - column_of(text, at);
    while let Some(head) = text.get(..start).and_then(|h| h.strip_suffix('\n')) {
        let line = head.rfind('\n').map_or(0, |n| n + 1);
        if !head.get(line..).is_some_and(|l| l.starts_with('#')) {
            break;
        }
        start = line;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::actions::Changes;
    use crate::ide::fixture::{ACME, Fixture};
    use crate::ide::refactor::keeps_meaning;

    /// `$0` begins what is selected, `$1` ends it.
    fn extracted(policy: &str, every: bool) -> Result<(String, String), Refusal> {
        let at = policy.find("$0").unwrap();
        let length = policy[at + 2..].find("$1").unwrap_or(0);
        let mut fixture = Fixture::new(&policy.replacen("$1", "", 1));
        let source = fixture.ide().source(&fixture.file).unwrap();
        let part = Span::new(fixture.at, fixture.at + length as u32);
        let done = extract(&fixture.ide(), &source, part, every)?;
        let after = applied(&source.text, &done.changes).unwrap();
        let changes = Changes::from([(source.path.clone(), done.changes)]);
        assert!(keeps_meaning(&mut fixture.policy, &changes), "{after}");
        Ok((done.name, after))
    }

    fn of(mark: &str, with: &str) -> Result<(String, String), Refusal> {
        assert!(ACME.contains(mark), "{mark}");
        extracted(&ACME.replacen(mark, with, 1), false)
    }

    #[test]
    fn a_value_becomes_a_variable_of_the_module() {
        let (name, after) = of("/etc/nginx.conf", "/etc/ng$0inx.conf").unwrap();
        assert_eq!(name, "nginx_target_path");
        assert!(after.contains("vars:\n  port: 80\n  nginx_target_path: /etc/nginx.conf\n"), "{after}");
        assert!(after.contains("    target_path: \"{{ .Vars.nginx_target_path }}\"\n"), "{after}");
        // what is text by its attribute alone gets quotes where nothing says so
        let (_, after) = of("mode: \"0644\"\n    notify", "mode: \"$00644\"\n    notify").unwrap();
        assert!(after.contains("  nginx_mode: \"0644\"\n"), "{after}");
        let (_, after) = of("content: \"port {{ .Vars.port }}\"", "content: 1$0.10").unwrap();
        assert!(after.contains("motd_content: \"1.10\"\n"), "{after}");
        // without `vars:` it comes along, where it belongs
        assert!(after.contains("name: motd\nvars:\n  motd_content"), "{after}");
        assert!(after.contains("\ndepends_on: [nginx]\n"), "{after}");
    }

    #[test]
    fn a_piece_of_a_text_becomes_a_variable() {
        let (_, after) = of("/etc/nginx.conf", "$0/etc$1/nginx.conf").unwrap();
        assert!(after.contains("  nginx_target_path: /etc\n"), "{after}");
        assert!(after.contains("target_path: \"{{ .Vars.nginx_target_path }}/nginx.conf\"\n"), "{after}");
        let (_, after) = of("\"port {{ .Vars.port }}\"", "\"$0port$1 {{ .Vars.port }}\"").unwrap();
        assert!(after.contains("content: \"{{ .Vars.motd_content }} {{ .Vars.port }}\"\n"), "{after}");
        for part in
            ["\"port {{ $0.Vars$1.port }}\"", "\"po$0rt {{$1 .Vars.port }}\"", "\"port {{ .Va$0rs.port }}\""]
        {
            assert!(of("\"port {{ .Vars.port }}\"", part).is_err(), "{part}");
        }
    }

    #[test]
    fn every_value_that_is_written_alike_may_follow() {
        let two = "content: \"x\"\n    mode: \"0$0644\"\n  - name: other\n    type: file\n    target_path: /etc/other\n    content: a\n    mode: \"0644\"";
        let policy = ACME.replacen("content: \"port {{ .Vars.port }}\"", two, 1);
        let (_, after) = extracted(&policy, true).unwrap();
        assert_eq!(after.matches("mode: \"{{ .Vars.motd_mode }}\"").count(), 2, "{after}");
        let (_, after) = extracted(&policy, false).unwrap();
        assert_eq!(after.matches("mode: \"{{ .Vars.motd_mode }}\"").count(), 1, "{after}");
    }

    #[test]
    fn a_name_that_is_taken_is_not_taken_again() {
        let policy = ACME.replacen("  port: 80\n", "  port: 80\n  nginx_mode: x\n", 1).replacen(
            "mode: \"0644\"\n    notify",
            "mode: \"$00644\"\n    owner: \"{{ .Vars.nginx_mode }}\"\n    notify",
            1,
        );
        assert_eq!(extracted(&policy, false).unwrap().0, "nginx_config_mode");
    }

    #[test]
    fn braces_stay_braces() {
        let policy = ACME.replacen("vars:\n  port: 80\n", "vars: { port: 80 }\n", 1).replacen(
            "/etc/nginx.conf",
            "/etc/ng$0inx.conf",
            1,
        );
        let (_, after) = extracted(&policy, false).unwrap();
        assert!(after.contains("vars: { port: 80, nginx_target_path: /etc/nginx.conf }\n"), "{after}");
    }

    #[test]
    fn what_is_no_value_of_an_attribute_is_left_alone() {
        for (mark, with) in [
            ("name: nginx", "name: ng$0inx"),
            ("source: nginx/site.conf", "source: nginx/si$0te.conf"),
            ("notify: [reload]", "notify: [rel$0oad]"),
            ("type: service", "type: ser$0vice"),
            ("port: 80\nres", "port: 8$00\nres"),
        ] {
            assert_eq!(of(mark, with), Err(Refusal::Nothing), "{with}");
        }
        assert!(
            of("roles: [web]\n    vars: { server_name: www", "roles: [we$0b]\n    vars: { server_name: www")
                .is_err()
        );
    }
}
