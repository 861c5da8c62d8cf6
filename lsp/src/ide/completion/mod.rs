//! What could be typed at a position.
//!
//! [`keys`] are the keys of a mapping, [`values`] what may follow one, [`expressions`] the insides of `when:` and
//! templates.

mod expressions;
mod keys;
mod values;

use super::expression::{Expression, Language, expression_at};
use super::place::{Marked, Step, Typing};
use super::shape::{Shape, shape};
use super::{Ide, Source, hover};
use compiler::diagnostic::codes::slugs;
use compiler::syntax::Kind;
use compiler::types::{Refinement, Type};
use grammar::Span;
use std::sync::Arc;

/// What an item is, for its icon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A key of the language.
    Key,
    /// An attribute of a type.
    Attribute,
    /// A resource type.
    Type,
    /// A value.
    Value,
    /// A variable.
    Variable,
    /// A trait, or a part of its path.
    Trait,
    /// A function.
    Function,
    /// A word of an expression.
    Word,
    /// A module.
    Module,
    /// A role.
    Role,
    /// A resource.
    Resource,
    /// A file.
    File,
    /// A host.
    Host,
}

/// Something that could be typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What is shown.
    pub label: String,
    /// What it is.
    pub kind: ItemKind,
    /// Beside the label: a type, a value.
    pub detail: String,
    /// What is typed.
    pub insert: String,
    /// Whether `insert` has places to fill in (`$1`, `${1|a,b|}`).
    pub snippet: bool,
    /// The smaller, the further up.
    pub order: u8,
    /// Whether there is something to complete behind it at once.
    pub again: bool,
}

/// What could be typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completions {
    /// What is there already and goes away.
    pub replace: Option<Span>,
    /// In no order; see [`Item::order`].
    pub items: Vec<Item>,
}

impl Item {
    fn new(kind: ItemKind, label: impl Into<String>) -> Item {
        let label = label.into();
        Item {
            insert: label.clone(),
            label,
            kind,
            detail: String::new(),
            snippet: false,
            order: 5,
            again: false,
        }
    }

    fn detail(mut self, detail: impl Into<String>) -> Item {
        self.detail = detail.into();
        self
    }

    fn insert(mut self, insert: impl Into<String>) -> Item {
        self.insert = insert.into();
        self
    }

    fn snippet(mut self, insert: impl Into<String>) -> Item {
        self.insert = insert.into();
        self.snippet = true;
        self
    }

    fn order(mut self, order: u8) -> Item {
        self.order = order;
        self
    }

    fn again(mut self) -> Item {
        self.again = true;
        self
    }
}

/// More of one kind than this are not offered: what is typed on narrows them down. A list of so many is too long for
/// whoever asks, and so known not to be all.
const MANY: usize = 300;

/// Whether a text has all letters of another, in order: editors show nothing else.
fn has_letters(text: &str, typed: &str) -> bool {
    let mut letters = text.chars();
    typed.chars().all(|t| letters.any(|c| c.eq_ignore_ascii_case(&t)))
}

/// What could be typed at a position.
pub fn complete(ide: &Ide<'_>, source: &Source, at: u32) -> Completions {
    if source.kind == Kind::Template {
        let parsed = source.parsed();
        let Some(expression) = expression_at(source, &parsed, at) else { return Completions::default() };
        return expressions::complete(ide, source, expression, at, &|_| None);
    }
    let Some(marked) = Marked::new(&source.text, at as usize) else { return Completions::default() };
    if let Some(comment) = marked.comment() {
        return in_comment(comment, at);
    }
    let typing = marked.typing();
    let beside = |key: &str| typing.text_of(key).map(str::to_owned);
    let parsed = source.parsed();
    if let Some(action) = expression_at(source, &parsed, at).filter(|e| e.language == Language::Template) {
        return expressions::complete(ide, source, action, at, &beside);
    }
    let (here, beside_keys) = where_typed(source, &typing);
    if here == Shape::Condition {
        let expression = Expression { language: Language::When, span: Span::new(typing.start, at) };
        return expressions::complete(ide, source, expression, at, &beside);
    }
    let place = At { ide, source, typing: &typing, shape: here, flow: in_flow(source, at) };
    let mut out = Completions { replace: Some(Span::new(typing.start, at)), items: Vec::new() };
    if typing.as_key && !typing.typed.contains(':') {
        keys::keys(&place, beside_keys, &mut out.items);
    }
    values::values(&place, &mut out);
    out
}

/// A place in the structure of a file.
struct At<'a> {
    ide: &'a Ide<'a>,
    source: &'a Source,
    typing: &'a Typing,
    /// Of the mapping in which a key, or of the place at which a value is typed.
    shape: Shape,
    /// Whether it is in braces, where nothing may go on on the next line.
    flow: bool,
}

impl At<'_> {
    /// The last key on the way.
    fn key(&self) -> Option<&str> {
        self.typing.of.as_deref().or_else(|| self.typing.way.iter().rev().find_map(Step::key))
    }

    /// The module that the file declares.
    fn module(&self) -> Option<Arc<str>> {
        let (db, _) = self.ide.queries();
        Some(compiler::resolve::interface::interface(db, self.source.file)?.name.clone())
    }
}

/// The shape of what is typed, and the keys that are there already.
fn where_typed<'t>(source: &Source, typing: &'t Typing) -> (Shape, &'t [(String, Option<String>)]) {
    match &typing.of {
        Some(of) => {
            let mut way = typing.way.clone();
            way.push(Step::Key(of.clone()));
            (shape(source.kind, &way), &[])
        }
        // a scalar item: nothing stands beside it yet
        None if matches!(typing.way.last(), Some(Step::Item(_))) && !typing.typed.contains(':') => {
            let here = shape(source.kind, &typing.way);
            let fresh = typing.levels.len() <= mappings_on(&typing.way);
            (here, if fresh { &[] } else { typing.beside() })
        }
        None => (shape(source.kind, &typing.way), typing.beside()),
    }
}

/// How many mappings a way goes through before its last item.
fn mappings_on(way: &[Step]) -> usize {
    way.iter().filter(|s| matches!(s, Step::Key(_))).count()
}

/// Whether a brace or bracket is open on the line.
fn in_flow(source: &Source, at: u32) -> bool {
    let head = source.text.get(..at as usize).unwrap_or_default();
    let line = head.rsplit('\n').next().unwrap_or_default();
    let count = |c: char| line.matches(c).count();
    count('{') > count('}') || count('[') > count(']')
}

/// `# vigo: allow(`
fn in_comment(comment: &str, at: u32) -> Completions {
    let Some(list) = comment.split_once("vigo:").and_then(|(_, rest)| rest.split_once('(')) else {
        return Completions::default();
    };
    if list.1.contains(')') {
        return Completions::default();
    }
    let typed = list.1.rsplit(',').next().unwrap_or_default().trim_start();
    let allowed = slugs().filter(|(_, severity, _)| *severity != compiler::diagnostic::Severity::Error);
    let items = allowed.map(|(slug, _, summary)| Item::new(ItemKind::Value, slug).detail(summary)).collect();
    Completions { replace: Some(Span::new(at - typed.len() as u32, at)), items }
}

/// A right value of a type, for examples.
pub fn example(ty: &Type) -> String {
    match ty {
        Type::Bool => "true".into(),
        Type::Int => "1".into(),
        Type::Float => "0.5".into(),
        Type::List(element) => format!("[{}]", example(element)),
        Type::Map(element) => format!("{{ key: {} }}", example(element)),
        Type::Record(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, ty)| format!("{name}: {}", example(ty))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Type::Secret => "\"secret:path/of/it\"".into(),
        Type::Refined(refinement) => match refinement {
            Refinement::Path => "/etc/example.conf".into(),
            Refinement::Mode => "\"0644\"".into(),
            Refinement::Port => "8080".into(),
            Refinement::Duration => "5m".into(),
            Refinement::Cidr => "10.0.0.0/8".into(),
            Refinement::Ip => "192.0.2.1".into(),
            Refinement::Url => "https://example.com/".into(),
            Refinement::Regex => "'^ok'".into(),
            Refinement::Semver => "1.2.3".into(),
            Refinement::Cron => "\"0 3 * * *\"".into(),
            Refinement::Enum(values) => values.first().map_or_else(String::new, |v| v.to_string()),
        },
        Type::Any | Type::Str | Type::Bytes | Type::Mixed => "text".into(),
    }
}

/// What there is to say about an item, which is looked up when it is chosen.
pub fn documentation(ide: &Ide<'_>, kind: ItemKind, label: &str, context: &str) -> Option<String> {
    let schema = compiler::schema::schema();
    match kind {
        ItemKind::Variable => hover::variable(ide, label),
        ItemKind::Module => hover::a_module(ide, label),
        ItemKind::Type => hover::resource_type_text(schema.types.get(label)?),
        ItemKind::Attribute => {
            let ty = schema.types.get(context)?;
            Some(hover::attribute(ty, label, ty.attributes.get(label)?))
        }
        ItemKind::Function => {
            let language = if context == "when" { Language::When } else { Language::Template };
            hover::function(label, language)
        }
        ItemKind::Trait => {
            let path = if context.is_empty() { label.to_owned() } else { format!("{context}.{label}") };
            Some(hover::trait_text(&path, schema.traits.get(path.as_str())?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    fn completions(text: &str) -> Completions {
        let fixture = Fixture::new(text);
        let source = fixture.ide().source(&fixture.file).unwrap();
        complete(&fixture.ide(), &source, fixture.at)
    }

    /// The labels that a file of the small policy offers with another text in it.
    fn labels(mark: &str, with: &str) -> Vec<String> {
        let mut items = completions(&ACME.replacen(mark, with, 1)).items;
        items.sort_by(|a, b| (a.order, &a.label).cmp(&(b.order, &b.label)));
        items.into_iter().map(|i| i.label).collect()
    }

    fn has(labels: &[String], wanted: &[&str]) {
        for w in wanted {
            assert!(labels.iter().any(|l| l == w), "no `{w}` in {labels:?}");
        }
    }

    fn lacks(labels: &[String], unwanted: &[&str]) {
        for w in unwanted {
            assert!(!labels.iter().any(|l| l == w), "`{w}` in {labels:?}");
        }
    }

    #[test]
    fn keys_of_a_module_that_are_not_there_yet() {
        let found = labels("doc: Web server.\n", "d$0\n");
        has(&found, &["doc", "depends_on", "defaults", "when"]);
        lacks(&found, &["name", "params", "vars", "resources", "type"]);
    }

    #[test]
    fn attributes_of_the_type_come_first() {
        let found = labels("    mode: \"0644\"\n", "    $0\n");
        has(&found, &["mode", "owner", "content", "when", "depends_on"]);
        lacks(&found, &["target_path", "notify", "name", "type", "source"]);
        let mode = found.iter().position(|l| l == "mode").unwrap();
        assert!(mode < found.iter().position(|l| l == "when").unwrap());
    }

    #[test]
    fn what_a_thing_begins_with_comes_first() {
        let found = labels("resources:\n  - name: config", "resources:\n  - $0\n  - name: config");
        assert_eq!(found[..2], ["name", "type"]);
        assert_eq!(labels("nodes:\n", "nodes:\n  - $0\n")[0], "match");
        let found = labels("nginx.config: { mode: \"0644\" }", "nginx.config: { $0 }");
        has(&found, &["mode", "source", "absent"]);
    }

    #[test]
    fn the_same_in_the_middle_of_other_damage() {
        for text in ["    mo$0\n    content: \"{{ .Vars\n", "    mo$0\n  - name: [\n", "    mo$0\n   x y z\n"]
        {
            has(&labels("    mode: \"0644\"\n", text), &["mode", "owner"]);
        }
    }

    #[test]
    fn values_of_the_place() {
        has(&labels("state: reloaded", "state: $0"), &["reloaded", "running", "stopped"]);
        has(&labels("state: reloaded", "enabled: t$0"), &["true", "false"]);
        has(&labels("type: service", "type: $0"), &["service", "file", "exec"]);
        has(&labels("source: nginx/site.conf", "source: $0"), &["nginx/site.conf"]);
        has(&labels("depends_on: [nginx]", "depends_on: [$0]"), &["nginx"]);
        has(&labels("notify: [reload]", "notify: [$0]"), &["reload", "motd."]);
        has(&labels("[nginx.config]", "[nginx.$0]"), &["nginx.config", "nginx.reload"]);
        has(&labels("roles: [web]", "roles: [$0"), &["web"]);
        has(
            &labels("modules: [nginx, motd]\n//- nodes", "modules: [nginx, $0\n//- nodes"),
            &["nginx", "motd"],
        );
        has(&labels("{ type: string, doc: The name. }", "{ type: p$0 }"), &["path", "port"]);
        has(&labels("traits: debian12", "traits: $0"), &["debian12", "rocky9"]);
        has(&labels("vars: { server_name: www, port: 8080 }", "vars: { $0 }"), &["server_name", "port"]);
    }

    #[test]
    fn a_type_brings_what_it_needs() {
        let found =
            completions(&ACME.replacen("    type: service\n    service: nginx\n", "    type: $0\n", 1));
        let file = found.items.iter().find(|i| i.label == "file").unwrap();
        assert!(file.snippet && file.insert.starts_with("file\ntarget_path: "), "{file:?}");
        let service = found.items.iter().find(|i| i.label == "service").unwrap();
        assert!(service.insert.contains("\nservice: "), "{service:?}");
    }

    #[test]
    fn templates_complete_what_they_can_read() {
        has(&labels("{{ .Vars.port }}\"", "{{ $0"), &["default", "if", ".Vars", ".Traits"]);
        let found = labels("{{ .Vars.port }}\"", "{{ .Vars.$0 }}\"");
        has(&found, &["port", "server_name"]);
        lacks(&found, &["default", "if"]);
        has(&labels("listen {{ .Vars.port }}", "listen {{ .Vars.p$0"), &["port", "server_name"]);
        has(&labels("{{ .Vars.port }}\"", "{{ .Traits.os.$0"), &["family", "distro"]);
        has(&labels("{{ .Vars.port }}\"", "{{ .Envoy.$0"), &["hostname", "roles"]);
        has(&labels("{{ .Vars.port }}\"", "{{ if eq .Traits.os.family \\\"$0"), &["debian", "rhel"]);
    }

    #[test]
    fn conditions_complete_what_they_can_ask() {
        let with =
            |text: &str| labels("when: os_family('debian') && vars.port == 80", &format!("when: {text}"));
        has(&with("$0"), &["os_family", "is_container", "traits", "vars", "changed"]);
        has(&with("\"!is_$0"), &["is_container"]);
        has(&with("os_family('$0"), &["debian", "rhel"]);
        has(&with("os_family('debian') && vars.$0"), &["port"]);
        has(&with("traits.os.$0"), &["family"]);
        has(&with("traits.os.family == '$0"), &["debian"]);
        has(&with("has_role('$0')"), &["web"]);
        has(&with("has_module('m$0')"), &["motd"]);
        has(&with("has_trait('os.f$0')"), &["os.family"]);
        has(&with("day_of_week('$0"), &["monday"]);
    }

    #[test]
    fn what_is_typed_is_what_goes_away() {
        for (text, gone) in [("mod$0", "mod"), ("$0", "")] {
            let policy = ACME.replacen("    mode: \"0644\"\n", &format!("    {text}\n"), 1);
            let found = completions(&policy);
            let fixture = Fixture::new(&policy);
            let source = fixture.ide().source(&fixture.file).unwrap();
            assert_eq!(source.slice(found.replace.unwrap()), gone);
        }
        let policy = ACME.replacen("{{ .Vars.port }}\"", "{{ .Vars.po$0 }}\"", 1);
        let fixture = Fixture::new(&policy);
        let source = fixture.ide().source(&fixture.file).unwrap();
        assert_eq!(source.slice(completions(&policy).replace.unwrap()), "po");
    }

    #[test]
    fn comments_complete_what_may_be_allowed() {
        let found = labels("doc: Web server.\n", "# vigo: allow(unused-$0\n");
        has(&found, &["unused-module", "unguarded-exec"]);
        lacks(&found, &["unknown-module"]);
        assert!(labels("doc: Web server.\n", "# just a co$0\n").is_empty());
    }
}
