//! The insides of `when:` and of templates.

use super::{Completions, Item, ItemKind, MANY, has_letters};
use crate::ide::expression::{Cursor, Expression, Language, WordKind, cursor, words};
use crate::ide::values as known;
use crate::ide::{Ide, Source};
use compiler::reference::call;
use compiler::resolve::class::{known_environments, roles};
use compiler::resolve::index::index;
use compiler::schema::{Param, schema};
use compiler::types::Type;
use grammar::Span;
use std::collections::BTreeSet;

/// What the resource around an expression has as the text of a key.
type Beside<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Offers what could be typed in an expression.
pub fn complete(
    ide: &Ide<'_>,
    source: &Source,
    expression: Expression,
    at: u32,
    beside: Beside<'_>,
) -> Completions {
    let cursor = cursor(&source.text, expression, at);
    let work = Work { ide, source, expression, cursor: &cursor, beside };
    let mut items = Vec::new();
    if cursor.in_text {
        work.texts(false, &mut items);
        return Completions { replace: Some(Span::new(cursor.start, at)), items };
    }
    let (path, last) = match cursor.typed.rsplit_once('.') {
        Some((path, last)) => (Some(path), last),
        None => (None, cursor.typed.as_str()),
    };
    let mut start = at - last.len() as u32;
    match (expression.language, path) {
        (Language::Template, Some("" | "$")) => work.roots(&mut items),
        (_, Some(path)) => work.path(path.trim_start_matches(['$', '.']), &mut items),
        (_, None) if last.starts_with('$') => {
            start = cursor.start;
            work.locals(&mut items);
        }
        (_, None) => {
            work.texts(true, &mut items);
            work.functions(&mut items);
            match expression.language {
                Language::Template => {
                    let before = items.len();
                    work.roots(&mut items);
                    for item in items.iter_mut().skip(before) {
                        item.label.insert(0, '.');
                        item.insert.insert(0, '.');
                    }
                    work.locals(&mut items);
                }
                Language::When => {
                    for root in ["traits", "vars"] {
                        items.push(
                            Item::new(ItemKind::Word, root).insert(format!("{root}.")).order(3).again(),
                        );
                    }
                    if (work.beside)("foreach").is_some() {
                        items.push(Item::new(ItemKind::Word, "item").order(1));
                    }
                }
            }
            for word in expression.language.keywords() {
                items.push(Item::new(ItemKind::Word, *word).order(6));
            }
        }
    }
    Completions { replace: Some(Span::new(start, at)), items }
}

struct Work<'a> {
    ide: &'a Ide<'a>,
    source: &'a Source,
    expression: Expression,
    cursor: &'a Cursor,
    beside: Beside<'a>,
}

impl Work<'_> {
    fn roots(&self, out: &mut Vec<Item>) {
        for (root, detail) in [
            ("Vars", "variables"),
            ("Traits", "facts about the host"),
            ("Envoy", "hostname, environment, roles"),
        ] {
            out.push(
                Item::new(ItemKind::Word, root).detail(detail).insert(format!("{root}.")).order(1).again(),
            );
        }
        if (self.beside)("foreach").is_some() {
            out.push(Item::new(ItemKind::Word, "Item").detail("the element of the foreach").order(0));
        }
    }

    /// What may follow a path.
    fn path(&self, path: &str, out: &mut Vec<Item>) {
        let mut steps = path.split('.');
        match steps.next().unwrap_or_default() {
            "Vars" | "vars" => match steps.next() {
                None => self.variables(out),
                Some(name) => {
                    let ty = known::type_of(self.ide, self.source, name);
                    let ty = steps.fold(ty, |ty, step| known::part(ty?, step));
                    fields(ty, out);
                }
            },
            "Traits" | "traits" => traits(&steps.collect::<Vec<_>>().join("."), out),
            "Envoy" => {
                for (field, detail) in
                    [("hostname", "string"), ("environment", "string"), ("roles", "list<string>")]
                {
                    out.push(Item::new(ItemKind::Variable, field).detail(detail));
                }
            }
            "Item" | "Each" | "item" => {
                let list = (self.beside)("foreach").unwrap_or_default();
                let mut way = list.split('.');
                let ty = way.next().and_then(|name| known::type_of(self.ide, self.source, name));
                let ty = way.fold(ty, |ty, step| known::part(ty?, step)).and_then(known::element);
                fields(steps.fold(ty, |ty, step| known::part(ty?, step)), out);
            }
            _ => {}
        }
    }

    /// Every variable, with its type and the value that the chosen envoy has.
    fn variables(&self, out: &mut Vec<Item>) {
        let of_envoy = known::of_envoy(self.ide);
        let (db, _) = self.ide.queries();
        let own = compiler::resolve::interface::interface(db, self.source.file);
        let typed = self.cursor.typed.rsplit('.').next().unwrap_or_default();
        let crowded = known::types(self.ide).len() > MANY;
        let fits = |name: &str| !crowded || has_letters(name, typed);
        let visible = known::visible(self.ide, self.source).filter(|(name, _)| fits(name));
        for (name, ty) in visible.take(MANY) {
            let declared = own.and_then(|i| i.variables.iter().find(|v| v.name == *name));
            let value = match of_envoy {
                Some(vars) => vars.by_name.get(name).and_then(|v| known::value_of(v)),
                None => declared.and_then(|v| v.default.as_ref()).map(|v| known::shown(v)),
            };
            let detail = match value {
                Some(value) => format!("{ty} = {value}"),
                None => ty.to_string(),
            };
            let order = if declared.is_some() { 0 } else { 2 };
            out.push(Item::new(ItemKind::Variable, &**name).detail(detail).order(order));
        }
    }

    /// Variables of the template, `$x`.
    fn locals(&self, out: &mut Vec<Item>) {
        if self.expression.language != Language::Template {
            return;
        }
        let until = self.cursor.start;
        let from = until.saturating_sub(FAR);
        let from = self.source.text.floor_char_boundary(from as usize) as u32;
        let mut seen = BTreeSet::new();
        for word in words(&self.source.text, Span::new(from, until), Language::Template) {
            let written = self.source.slice(word.span);
            if word.kind == WordKind::Local && written.len() > 1 && seen.insert(written.to_owned()) {
                out.push(Item::new(ItemKind::Variable, written).order(1));
            }
        }
    }

    fn functions(&self, out: &mut Vec<Item>) {
        let when = self.expression.language == Language::When;
        for (name, f) in
            schema().functions.iter().filter(|(_, f)| if when { f.in_when } else { f.in_template })
        {
            let item = Item::new(ItemKind::Function, &**name).detail(format!(
                "{} -> {}",
                call(name, f, when),
                f.returns
            ));
            let takes = !f.params.is_empty() || f.variadic.is_some();
            out.push(match (when, takes) {
                (true, true) => {
                    let text = f.params.first().or(f.variadic.as_ref()).is_some_and(is_text);
                    let insert = if text { format!("{name}('$1')$0") } else { format!("{name}($1)$0") };
                    item.snippet(insert).order(2).again()
                }
                _ => item.order(2),
            });
        }
    }

    /// Texts that mean something here; `bare`: no quote is typed yet.
    fn texts(&self, bare: bool, out: &mut Vec<Item>) {
        let (db, project) = self.ide.queries();
        let mut push = |text: &str, detail: &str| {
            let insert = match (bare, self.expression.language) {
                (false, _) => text.to_owned(),
                (true, Language::When) => format!("'{text}'"),
                (true, Language::Template) => format!("\"{text}\""),
            };
            out.push(Item::new(ItemKind::Value, text).detail(detail).insert(insert).order(0));
        };
        if let Some(path) = &self.cursor.compared {
            let path = path.trim_start_matches(['$', '.']);
            let (root, rest) = path.split_once('.').unwrap_or((path, ""));
            match root {
                "Traits" | "traits" => {
                    let values = schema().traits.get(rest).map(|t| t.values.as_slice()).unwrap_or_default();
                    values.iter().filter_map(|v| v.as_str()).for_each(|v| push(v, rest));
                }
                "Vars" | "vars" => {
                    if let Some(Type::Refined(compiler::types::Refinement::Enum(values))) =
                        known::type_of(self.ide, self.source, rest)
                    {
                        values.iter().for_each(|v| push(v, rest));
                    }
                }
                _ => {}
            }
            return;
        }
        let Some((function, number)) = &self.cursor.call else { return };
        match function.as_str() {
            "has_role" => roles(db, project).0.iter().for_each(|r| push(&r.name.text, "role")),
            "has_module" => index(db, project).modules.keys().for_each(|m| push(m, "module")),
            "env_is" => known_environments(db, project).iter().for_each(|e| push(e, "environment")),
            name => {
                let Some(f) = schema().functions.get(name) else { return };
                match f.param(*number) {
                    Some(Param::TraitPath) => {
                        schema().traits.iter().for_each(|(path, t)| push(path, &t.ty.to_string()));
                    }
                    Some(Param::Weekday) => {
                        let days =
                            ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
                        days.iter().for_each(|d| push(d, "day"));
                    }
                    _ if f.variadic.is_some() => {
                        for path in &f.reads {
                            let values =
                                schema().traits.get(path).map(|t| t.values.as_slice()).unwrap_or_default();
                            values.iter().filter_map(|v| v.as_str()).for_each(|v| push(v, path));
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// How far back variables of a template are looked for.
const FAR: u32 = 64 << 10;

fn is_text(param: &Param) -> bool {
    matches!(param, Param::Of(Type::Str | Type::Refined(_)) | Param::TraitPath | Param::Time | Param::Weekday)
}

fn fields(ty: Option<&Type>, out: &mut Vec<Item>) {
    if let Some(Type::Record(fields)) = ty {
        out.extend(
            fields.iter().map(|(name, ty)| Item::new(ItemKind::Variable, &**name).detail(ty.to_string())),
        );
    }
}

/// The next step of the paths of traits below one.
fn traits(path: &str, out: &mut Vec<Item>) {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
    let mut seen = BTreeSet::new();
    for (name, t) in &schema().traits {
        let Some(rest) = name.strip_prefix(prefix.as_str()) else { continue };
        match rest.split_once('.') {
            Some((step, _)) => {
                if seen.insert(step) {
                    out.push(Item::new(ItemKind::Trait, step).insert(format!("{step}.")).again());
                }
            }
            None => {
                let known = if t.shared { "shared" } else { "host" };
                out.push(Item::new(ItemKind::Trait, rest).detail(format!("{}, {known}", t.ty)));
            }
        }
    }
}
