//! `vigoc graph`.

use super::{acme, policy, text, vigoc};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// Names that mean something to DOT, Mermaid and HTML.
const ODD: &str = "odd \\\" -> ]; <b>#1`x`\\N";

fn odd() -> TempDir {
    let name = ODD.replace('\\', "\\\\").replace('"', "\\\"");
    let app = format!(
        r#"name: app
depends_on: [base]
defaults: {{ mode: "0644" }}
resources:
  - {{ name: "{name}", type: file, target_path: /a, content: a, notify: [last] }}
  - {{ name: two, type: file, target_path: /b, content: b, depends_on: ["odd*"], when: "file_exists('/x\"y')" }}
  - {{ name: three, type: file, target_path: /c, content: c, depends_on: [two] }}
  - {{ name: aside, type: file, target_path: /d, content: d, before: [three] }}
  - {{ name: last, type: exec, command: x, when: changed }}
"#
    );
    let base = "name: base\nresources:\n  - { name: dir, type: directory, target_path: /srv, before: [app.three] }\n";
    policy(&[
        ("nodes.vgo", "nodes:\n  - { match: \"*\", modules: [base, app] }\n"),
        ("modules/app.vgo", &app),
        ("modules/base.vgo", base),
    ])
}

fn graph(dir: &TempDir, more: &[&str]) -> super::Ran {
    vigoc(&[&["graph", "h", text(dir.path())], more].concat()).exits(0)
}

/// (from, to, kind)
fn edges(document: &Json) -> Vec<(String, String, String)> {
    let text = |v: &Json| v.as_str().unwrap().to_owned();
    let all = document["edges"].as_array().unwrap().iter();
    all.map(|e| (text(&e["from"]), text(&e["to"]), text(&e["kind"]))).collect()
}

fn nodes(document: &Json) -> Vec<&str> {
    document["nodes"].as_array().unwrap().iter().map(|n| n["name"].as_str().unwrap()).collect()
}

#[test]
fn edges_lead_from_what_runs_first_and_say_why() {
    let dir = odd();
    let document = graph(&dir, &["--format", "json"]).json();
    let odd = format!("app.{ODD}");
    let expected = [
        ("app.aside", "app.three", "depends_on"),
        (&odd, "app.two", "depends_on"),
        ("app.two", "app.three", "depends_on"),
        ("base.dir", "app.three", "depends_on"),
        (&odd, "app.last", "notify"),
        ("base", "app", "module"),
    ];
    assert_eq!(edges(&document), expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    assert_eq!((document["omitted"].as_u64(), &document["modules"]), (Some(0), &json!(["base", "app"])));
}

#[test]
fn a_focus_shows_what_comes_before_and_after_it() {
    let dir = odd();
    let of = |args: &[&str]| {
        let document = graph(&dir, &[&["--format", "json"], args].concat()).json();
        nodes(&document).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of(&["--focus", "app.two"]), [ODD, "two", "three"], "not what three waits for besides");
    assert_eq!(of(&["--focus", "app.three", "--depth", "1"]), ["dir", "two", "aside", "three"]);
    assert_eq!(of(&["--focus", "base"]), ["dir", "three"]);
    assert_eq!(of(&["--focus", "app.two", "--depth", "0"]), ["two"]);
    vigoc(&["graph", "h", text(dir.path()), "--focus", "app.tow"]).exits(1).says("did you mean `app.two`");
    vigoc(&["graph", "h", text(dir.path()), "--depth", "1"]).exits(64);
}

#[test]
fn there_is_a_budget_and_the_rest_is_counted() {
    let dir = odd();
    for format in ["dot", "mermaid"] {
        graph(&dir, &["--format", format, "--max-nodes", "2"]).prints("… 4 more resources");
        graph(&dir, &["--format", format, "--max-nodes", "5"]).prints("… 1 more resource");
    }
    let document = graph(&dir, &["--format", "json", "--max-nodes", "2", "--focus", "app.three"]).json();
    assert_eq!((nodes(&document).len(), document["omitted"].as_u64()), (2, Some(3)));
    assert!(nodes(&document).contains(&"three"), "the nearest stay");
}

/// Reads the tokens of DOT: words, quoted strings, punctuation.
fn dot_tokens(source: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                let mut token = String::from("\"");
                loop {
                    match chars.next().expect("the string ends") {
                        '\\' => match chars.next().expect("an escape has a character") {
                            '"' => token.push('"'),
                            '\\' => token.push('\\'),
                            'n' => token.push('\n'),
                            other => panic!("escape \\{other} means something to Graphviz"),
                        },
                        '"' => break,
                        c => token.push(c),
                    }
                }
                out.push(token);
            }
            '-' if chars.peek() == Some(&'>') => {
                chars.next();
                out.push("->".into());
            }
            c if c.is_alphanumeric() || c == '_' => {
                let mut token = c.to_string();
                while let Some(c) = chars.peek().filter(|c| c.is_alphanumeric() || **c == '_') {
                    token.push(*c);
                    chars.next();
                }
                out.push(token);
            }
            c if c.is_whitespace() => {}
            c => {
                assert!("{}[]=;,".contains(c), "`{c}` in {source}");
                out.push(c.to_string());
            }
        }
    }
    out
}

#[test]
fn dot_is_well_formed_whatever_names_hold() {
    let dir = odd();
    let source = graph(&dir, &["--format", "dot"]).out;
    let tokens = dot_tokens(&source);
    let opened = tokens.iter().filter(|t| *t == "{").count();
    assert_eq!(opened, tokens.iter().filter(|t| *t == "}").count());
    assert_eq!(opened, 3, "the graph and two modules: {source}");
    let label = |text: String| tokens.contains(&format!("\"{text}"));
    assert!(label(format!("{ODD}\nfile")), "{tokens:?}");
    assert!(label("two\nfile\nwhen file_exists('/x\"y')".into()), "{tokens:?}");
    let arrows: Vec<_> =
        tokens.windows(3).filter(|w| w[1] == "->").map(|w| (w[0].as_str(), w[2].as_str())).collect();
    let odd = format!("\"app.{ODD}");
    assert!(arrows.contains(&(&odd, "\"app.two")), "{arrows:?}");
    assert!(arrows.contains(&("m0", "m1")), "{arrows:?}");
    assert_eq!(arrows.len(), 6);
}

/// A character reference of Mermaid, undone.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('#') {
        out.push_str(&rest[..at]);
        let (code, after) = rest[at + 1..].split_once(';').expect("a reference ends");
        out.push(char::from_u32(code.parse().expect("a number")).unwrap());
        rest = after;
    }
    out + rest
}

#[test]
fn mermaid_is_well_formed_whatever_names_hold() {
    let dir = odd();
    let source = graph(&dir, &["--format", "mermaid"]).out;
    let mut lines = source.lines();
    assert_eq!(lines.next(), Some("flowchart LR"));
    let (mut labels, mut edges, mut open) = (Vec::new(), 0, 0);
    for line in lines {
        let line = line.trim();
        if line == "end" {
            open -= 1;
        } else if let Some((_, label)) = line.split_once("[\"") {
            open += i32::from(line.starts_with("subgraph "));
            let label = label.strip_suffix("\"]").unwrap_or_else(|| panic!("{line}"));
            assert!(!label.contains(['"', '`', '[', ']']), "{line}");
            labels.push(label.split("<br/>").map(unescaped).collect::<Vec<_>>());
        } else {
            let known = [" --> ", " -. notify .-> ", " ==> "].iter().any(|arrow| line.contains(arrow));
            assert!(known && !line.contains('"'), "{line}");
            edges += 1;
        }
    }
    assert_eq!((open, edges), (0, 6), "{source}");
    assert!(labels.contains(&vec![ODD.to_owned(), "file".to_owned()]), "{labels:?}");
}

#[test]
fn acme_is_drawn() {
    let (root, traits) = (acme(), acme().join("traits/debian12.json"));
    let args =
        ["graph", "app-01.us.acme.test", text(&root), "--traits", text(&traits), "--focus", "shop.config"];
    vigoc(&args).exits(0).prints("flowchart LR").prints("-. notify .->");
    vigoc(&args[..3]).exits(1).says("traits that were not given");
    vigoc(&["graph", "nope", text(&root)]).exits(1).says("no entry matches `nope`");
}
