//! A variable becomes its value, wherever it is read, and is gone.

use super::Refusal;
use crate::ide::actions::Changes;
use crate::ide::expression::{Expression, Language, expressions};
use crate::ide::names;
use crate::ide::place::place;
use crate::ide::{Ide, Source, TextChange};
use compiler::resolve::interface::module;
use compiler::syntax::{Kind, SynKind};
use compiler::test_uses::test_uses;
use compiler::uses::{Of, uses_of};
use grammar::Span;
use grammar::document::{Core, Parsed, Style};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A variable on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inlining {
    /// What it was called.
    pub name: Arc<str>,
    /// How many places read it.
    pub places: usize,
    /// Changes by file.
    pub changes: Changes,
}

/// Where a variable is read, by file.
type Reads = BTreeMap<Arc<str>, Vec<Span>>;

/// What a variable is.
enum Literal {
    Text {
        text: String,
        raw: String,
    },
    /// An int or a bool, as a template prints it.
    Word(String),
}

/// Writes the value of the variable at a position wherever it is read, and takes its declaration away.
pub fn inline(ide: &Ide<'_>, source: &Source, at: u32) -> Result<Inlining, Refusal> {
    let named = names::at(ide, source, at).filter(|n| n.of == Of::Variable).ok_or(Refusal::Nothing)?;
    let name = named.name.clone();
    let (declared_in, reads) = uses(ide, &name)?;
    let home = ide.source(&declared_in).ok_or(Refusal::Nothing)?;
    let literal = value(ide, &home, &name)?;
    let mut out = Inlining { places: reads.values().map(Vec::len).sum(), name, changes: Changes::new() };
    for (path, spans) in reads {
        let page = ide.source(&path).ok_or(Refusal::Nothing)?;
        let parsed = page.parsed();
        let all = expressions(&page, &parsed);
        let changes = out.changes.entry(path.clone()).or_default();
        for span in spans {
            let refused = || Refusal::Place { written: page.slice(span).to_owned(), file: path.clone() };
            let around = all.iter().find(|e| e.span.start <= span.start && span.end <= e.span.end);
            let around = around.ok_or_else(refused)?;
            changes.push(replacement(&page, &parsed, *around, span, &literal).ok_or_else(refused)?);
        }
    }
    let gone = without(&home, &out.name).ok_or(Refusal::Declared(out.name.clone()))?;
    out.changes.entry(declared_in).or_default().push(gone);
    for (path, changes) in &mut out.changes {
        changes.sort_by_key(|c| c.span.start);
        // of `a: "{{ .Vars.x }}{{ .Vars.x }}"` each action goes alone
        changes.dedup();
        let fits = ide.source(path).is_some_and(|s| super::applied(&s.text, changes).is_some());
        if !fits {
            return Err(Refusal::Meaning);
        }
    }
    Ok(out)
}

/// The file that declares it, and every place that reads it, by file.
fn uses(ide: &Ide<'_>, name: &Arc<str>) -> Result<(Arc<str>, Reads), Refusal> {
    let (db, project) = ide.queries();
    let mut declared: Vec<Arc<str>> = Vec::new();
    let mut reads = Reads::new();
    for file in project.files(db) {
        let path = file.path(db);
        let test = Kind::of(path) == Kind::Test;
        let all = if test { test_uses(db, *file) } else { uses_of(db, project, *file) };
        for u in all.iter().filter(|u| u.of == Of::Variable && u.name == *name) {
            match u.how {
                _ if test => return Err(Refusal::Tested { name: name.clone(), file: path.clone() }),
                "declared" => declared.push(path.clone()),
                "set" => return Err(Refusal::Set { name: name.clone(), file: path.clone() }),
                _ => reads.entry(path.clone()).or_default().push(u.place.span),
            }
        }
    }
    match declared.as_slice() {
        [one] => Ok((one.clone(), reads)),
        _ => Err(Refusal::Declared(name.clone())),
    }
}

fn value(ide: &Ide<'_>, home: &Source, name: &Arc<str>) -> Result<Literal, Refusal> {
    let (db, _) = ide.queries();
    let module = module(db, home.file).ok_or(Refusal::Nothing)?;
    let own = module.vars.iter().find(|(n, _)| n.text == *name);
    let (_, syn) = own.ok_or_else(|| Refusal::Parameter(name.clone()))?;
    let compound = || Refusal::Compound(name.clone());
    let SynKind::Text(text) = &syn.kind else { return Err(compound()) };
    let block = matches!(text.scalar.style, Style::Literal | Style::Folded);
    let odd = text.scalar.text.starts_with("secret:") || text.scalar.text.contains(['\n', '{', '}']);
    match text.scalar.core() {
        _ if block || odd => Err(compound()),
        Core::Str => {
            let raw = home.slice(syn.span).to_owned();
            Ok(Literal::Text { text: text.scalar.text.clone(), raw })
        }
        Core::Int(n) => Ok(Literal::Word(n.to_string())),
        Core::Bool(b) => Ok(Literal::Word(b.to_string())),
        Core::Null | Core::Float(_) | Core::OutOfRange => Err(compound()),
    }
}

/// The value in place of one use of the variable.
fn replacement(
    page: &Source,
    parsed: &Parsed,
    around: Expression,
    span: Span,
    literal: &Literal,
) -> Option<TextChange> {
    let written = page.slice(span);
    // a part of the value is not the value
    let path = written.trim_start_matches('$').trim_start_matches('.');
    if path.matches('.').count() != 1 {
        return None;
    }
    let place = place(&parsed.root, span.start);
    let scalar = place.scalar();
    let style = scalar.map(|(s, _)| s.style);
    if around.language == Language::When {
        let new = match literal {
            Literal::Word(word) => word.clone(),
            Literal::Text { text, .. } if text.contains(['\'', '"', '\\']) => return None,
            Literal::Text { text, .. } if style == Some(Style::SingleQuoted) => format!("''{text}''"),
            Literal::Text { text, .. }
                if style == Some(Style::Plain) && (text.contains(": ") || text.contains(" #")) =>
            {
                return None;
            }
            Literal::Text { text, .. } => format!("'{text}'"),
        };
        return Some(TextChange { span, new });
    }
    let action = action(page, around)?;
    let inside = page.slice(Span::new(action.start + 2, action.end - 2));
    if inside.trim() != written {
        return Some(TextChange { span, new: operand(literal, style)? });
    }
    if let Some((_, whole)) = scalar
        && crate::ide::expression::inside(page, whole) == action
        && matches!(style, Some(Style::Plain | Style::SingleQuoted | Style::DoubleQuoted))
    {
        let new = match literal {
            Literal::Word(word) => word.clone(),
            Literal::Text { raw, .. } => raw.clone(),
        };
        return Some(TextChange { span: whole, new });
    }
    let new = match (literal, style) {
        (Literal::Word(word), _) => word.clone(),
        (Literal::Text { text, .. }, Some(Style::DoubleQuoted)) => {
            text.replace('\\', "\\\\").replace('"', "\\\"")
        }
        (Literal::Text { text, .. }, Some(Style::SingleQuoted)) => text.replace('\'', "''"),
        (Literal::Text { text, .. }, _) => text.clone(),
    };
    Some(TextChange { span: action, new })
}

/// The braces around an expression, with what is in them.
fn action(page: &Source, around: Expression) -> Option<Span> {
    let open = page.text.get(..around.span.start as usize)?.rfind("{{")?;
    let close = page.text.get(around.span.end as usize..)?.find("}}")?;
    Some(Span::new(open as u32, around.span.end + close as u32 + 2))
}

/// The value as an operand of a longer expression.
fn operand(literal: &Literal, style: Option<Style>) -> Option<String> {
    match literal {
        Literal::Word(word) => Some(word.clone()),
        Literal::Text { text, .. } if text.contains(['"', '\\', '`', '\'']) => None,
        // quotes in quotes would take escapes
        Literal::Text { text, .. } if style == Some(Style::DoubleQuoted) => Some(format!("`{text}`")),
        Literal::Text { text, .. } => Some(format!("\"{text}\"")),
    }
}

/// The declaration taken away; `vars:` with it, where nothing else is declared.
fn without(home: &Source, name: &str) -> Option<TextChange> {
    let parsed = home.parsed();
    let vars = parsed.root.as_map()?.iter().find(|e| e.key.text == "vars")?;
    let entries = vars.value.as_map()?;
    let number = entries.iter().position(|e| e.key.text == *name)?;
    let entry = entries.get(number)?;
    let span = |from: u32, to: u32| TextChange { span: Span::new(from, to), new: String::new() };
    if entries.len() == 1 {
        return Some(lines(home, vars.key.span.start, vars.value.span.end));
    }
    if !home.slice(vars.value.span).starts_with('{') {
        return Some(lines(home, entry.key.span.start, entry.value.span.end));
    }
    match (entries.get(number + 1), number.checked_sub(1).and_then(|n| entries.get(n))) {
        (Some(next), _) => Some(span(entry.key.span.start, next.key.span.start)),
        (None, Some(last)) => Some(span(last.value.span.end, entry.value.span.end)),
        (None, None) => None,
    }
}

/// Whole lines taken away.
fn lines(home: &Source, from: u32, to: u32) -> TextChange {
    let head = home.text.get(..from as usize).unwrap_or_default();
    let start = head.rfind('\n').map_or(0, |n| n + 1);
    let until = home.text.get(..to as usize).unwrap_or_default().trim_end().len();
    let rest = home.text.get(until..).unwrap_or_default();
    let end = until + rest.find('\n').map_or(rest.len(), |n| n + 1);
    TextChange { span: Span::new(start as u32, end as u32), new: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::Fixture;
    use crate::ide::refactor::{applied, keeps_meaning};

    const POLICY: &str = "//- modules/app.vgo
name: app
vars:
  dir: /etc/app    # where it lives
  port: 80
  tls: true
  level: \"quiet\"
  owners: [root]
  who: root
resources:
  - name: config
    type: file
    target_path: \"{{ .Vars.dir }}/app.conf\"
    source: app/app.conf
    when: vars.tls && vars.dir != '/srv'
  - name: \"of-{{ .Item }}\"
    type: file
    foreach: owners
    target_path: '/etc/of-{{ .Item }}-{{ .Vars.port }}'
    content: \"{{ .Vars.level }}\"
    owner: \"{{ .Vars.who }}\"
  - name: block
    type: file
    target_path: /etc/block
    content: |
      {{ if .Vars.tls }}on{{ end }} {{ .Vars.level | upper }}
      {{- .Vars.port -}}
    mode: \"0600\"
//- templates/app/app.conf
listen {{ .Vars.port }} in {{.Vars.dir}} {{ printf \"%s/%d\" .Vars.dir .Vars.port }}
//- nodes.vgo
nodes:
  - match: \"*\"
    modules: [app]
    vars: { who: app }
//- tests/app.vgo
test: it is there
envoy: a.test
traits: debian12
expect:
  modules: [app]
";

    fn inlined(policy: &str, mark: &str) -> Result<BTreeMap<String, String>, Refusal> {
        assert!(policy.contains(&mark.replace("$0", "")), "{mark}");
        let mut fixture = Fixture::new(&policy.replacen(&mark.replace("$0", ""), mark, 1));
        let before: Vec<String> = fixture.policy.check().diagnostics.into_iter().map(|d| d.message).collect();
        assert_eq!(before, Vec::<String>::new());
        let source = fixture.ide().source(&fixture.file).unwrap();
        let done = inline(&fixture.ide(), &source, fixture.at)?;
        let text = |path: &str, changes: &[TextChange]| {
            applied(&fixture.policy.text(path).unwrap(), changes).unwrap()
        };
        let texts: BTreeMap<String, String> =
            done.changes.iter().map(|(path, changes)| (path.to_string(), text(path, changes))).collect();
        assert!(keeps_meaning(&mut fixture.policy, &done.changes), "{texts:#?}");
        Ok(texts)
    }

    #[test]
    fn a_text_is_written_wherever_it_was_read() {
        let texts = inlined(POLICY, "  di$0r: /etc/app").unwrap();
        let module = &texts["modules/app.vgo"];
        assert!(module.contains("vars:\n  port: 80\n"), "{module}");
        assert!(module.contains("target_path: \"/etc/app/app.conf\"\n"), "{module}");
        assert!(module.contains("when: vars.tls && '/etc/app' != '/srv'\n"), "{module}");
        let template = &texts["templates/app/app.conf"];
        assert_eq!(
            template,
            "listen {{ .Vars.port }} in /etc/app {{ printf \"%s/%d\" \"/etc/app\" .Vars.port }}\n"
        );
        // asked for where it is read, it is the same
        assert_eq!(inlined(POLICY, "\"{{ .Vars.di$0r }}/app").unwrap(), texts);
    }

    #[test]
    fn an_int_and_a_text_are_written_as_they_were_printed() {
        let texts = inlined(POLICY, "  po$0rt: 80").unwrap();
        let module = &texts["modules/app.vgo"];
        assert!(module.contains("'/etc/of-{{ .Item }}-80'"), "{module}");
        assert!(module.contains("{{- 80 -}}"), "{module}");
        assert!(texts["templates/app/app.conf"].starts_with("listen 80 in "), "{texts:#?}");
        let texts = inlined(POLICY, "  lev$0el: ").unwrap();
        let module = &texts["modules/app.vgo"];
        assert!(module.contains("    content: \"quiet\"\n"), "{module}");
        assert!(module.contains("{{ \"quiet\" | upper }}"), "{module}");
    }

    #[test]
    fn the_last_variable_takes_its_key_along() {
        let policy = "//- modules/a.vgo\nname: a\nvars: { x$0: /a }\nresources:\n  - name: f\n    type: file\n    target_path: \"{{ .Vars.x }}\"\n    content: b\n//- nodes.vgo\nnodes:\n  - { match: a.test, modules: [a] }\n";
        let texts = inlined(&policy.replace("$0", ""), "{ x$0: /a }").unwrap();
        assert!(texts["modules/a.vgo"].starts_with("name: a\nresources:\n"), "{texts:#?}");
        assert!(texts["modules/a.vgo"].contains("target_path: /a\n"), "{texts:#?}");
        let two = policy
            .replace("$0", "")
            .replace("{ x: /a }", "{ x: /a, y: b }")
            .replace("content: b", "content: \"{{ .Vars.y }}\"");
        assert!(inlined(&two, "x$0: /a").unwrap()["modules/a.vgo"].contains("vars: { y: b }"));
        assert!(inlined(&two, "y$0: b").unwrap()["modules/a.vgo"].contains("vars: { x: /a }"));
    }

    #[test]
    fn what_is_not_the_same_for_all_is_refused() {
        let refused = |policy: &str, mark: &str| inlined(policy, mark).unwrap_err();
        assert_eq!(
            refused(POLICY, "  wh$0o: root"),
            Refusal::Set { name: "who".into(), file: "nodes.vgo".into() }
        );
        assert_eq!(refused(POLICY, "  own$0ers: [root]"), Refusal::Compound("owners".into()));
        assert_eq!(refused(POLICY, "target_path: /etc/bl$0ock"), Refusal::Nothing);
        let tested = POLICY
            .replace("  modules: [app]\n", "  modules: [app]\n  vars: { dir: /etc/app }\n")
            .replacen("    modules: [app]\n  vars: { dir: /etc/app }\n", "    modules: [app]\n", 1);
        assert!(matches!(refused(&tested, "  di$0r: /etc/app    #"), Refusal::Tested { .. }));
        let parameter = POLICY.replace(
            "vars:\n  dir: /etc/app    # where it lives\n",
            "params:\n  dir: { type: path, default: /etc/app }\nvars:\n",
        );
        assert_eq!(refused(&parameter, "  di$0r: { type"), Refusal::Parameter("dir".into()));
    }
}
