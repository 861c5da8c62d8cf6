//! Values and types between the words: the type of a variable where its value gives it, and the value that the chosen
//! envoy has where a variable is read.

use super::names;
use super::{Ide, Source, values};
use compiler::resolve::interface::{interface, module};
use compiler::syntax::Kind;
use compiler::uses::Of;
use grammar::Span;

/// A hint behind something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Where it stands.
    pub at: u32,
    /// What it says.
    pub text: String,
    /// Whether it is a type; a value otherwise.
    pub is_type: bool,
    /// The variable that it is about.
    pub variable: String,
}

/// The hints of a part of a file.
pub fn hints(ide: &Ide<'_>, source: &Source, part: Span) -> Vec<Hint> {
    let inside = |s: Span| part.start <= s.end && s.start <= part.end;
    let mut out = Vec::new();
    let (db, _) = ide.queries();
    if let (Some(ast), Some(seen)) = (module(db, source.file), interface(db, source.file)) {
        let vars = ast.vars.iter().map(|(name, _)| name);
        for name in vars.filter(|n| inside(n.span)) {
            if let Some(v) = seen.variables.iter().find(|v| v.name == name.text) {
                let (at, variable) = (name.span.end, name.text.to_string());
                out.push(Hint { at, text: format!(": {}", v.ty), is_type: true, variable });
            }
        }
    }
    let Some(vars) = values::of_envoy(ide) else { return out };
    // a module or template that the envoy does not get reads nothing for it
    let read = matches!(source.kind, Kind::Module | Kind::Template);
    for n in names::of_file(ide, source).into_iter().filter(|n| n.of == Of::Variable && inside(n.span)) {
        let Some(value) = vars.by_name.get(&n.name).and_then(|v| values::value_of(v)) else { continue };
        match n.how {
            "read" if read => {
                // behind the whole path: of `.Vars.a.b` the value of `a` says little
                let rest = source.text.get(n.span.end as usize..).unwrap_or_default();
                if !rest.starts_with('.') {
                    let variable = n.name.to_string();
                    out.push(Hint { at: n.span.end, text: format!(" = {value}"), is_type: false, variable });
                }
            }
            "set" | "declared" => {
                // worth saying where another layer wins
                let written = source.text.get(n.span.end as usize..).unwrap_or_default();
                let line = written.lines().next().unwrap_or_default();
                let own = line.trim_start_matches([':', ' ']);
                let elsewhere = vars
                    .by_name
                    .get(&n.name)
                    .and_then(|v| v.steps.last())
                    .is_some_and(|s| s.file != source.path && s.origin.module().is_none());
                if elsewhere && !own.is_empty() && !own.contains(&value) && !own.starts_with(['{', '|', '>'])
                {
                    let at = n.span.end + line.trim_end().len() as u32;
                    let variable = n.name.to_string();
                    // in braces the end of the line is far away
                    if !own.contains(['}', '#', ',']) {
                        out.push(Hint { at, text: format!(" → {value}"), is_type: false, variable });
                    }
                }
            }
            _ => {}
        }
    }
    out.sort_by_key(|h| h.at);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    fn of(fixture: &Fixture, path: &str) -> Vec<String> {
        let source = fixture.ide().source(path).unwrap();
        let all = Span::new(0, source.text.len() as u32);
        let hints = hints(&fixture.ide(), &source, all);
        hints
            .iter()
            .map(|h| format!("{}|{}", source.text[..h.at as usize].lines().last().unwrap(), h.text))
            .collect()
    }

    #[test]
    fn types_are_always_shown_and_values_for_the_chosen_envoy() {
        assert_eq!(of(&Fixture::new(ACME), "modules/nginx.vgo"), ["  port|: int"]);
        let fixture = Fixture::new(ACME).envoy("web-1.test");
        assert_eq!(of(&fixture, "modules/nginx.vgo"), ["  port|: int", "  port: 80| → 8080"]);
        assert_eq!(
            of(&fixture, "templates/nginx/site.conf"),
            ["listen {{ .Vars.port| = 8080", "server_name {{ .Vars.server_name| = www"]
        );
        let other = of(&Fixture::new(ACME).envoy("db-1.test"), "templates/nginx/site.conf");
        assert_eq!(other, ["listen {{ .Vars.port| = 80", "server_name {{ .Vars.server_name| = other"]);
    }
}
