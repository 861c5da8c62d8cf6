//! Half-typed files are the normal case: every beginning of every example file, and every example with one word left out,
//! must answer every question.
//!
//! In the gate some of them are tried; `VIGO_HALF_TYPED=all cargo test -p lsp --test half_typed --release` tries all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use compiler::policy::Policy;
use grammar::Span;
use lsp::ide::{self, Ide, Source};
use std::path::Path;

fn acme() -> Policy {
    Policy::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/acme")).unwrap()
}

fn files(policy: &Policy) -> Vec<(String, String)> {
    policy.texts().iter().map(|(path, text)| (path.to_string(), text.to_string())).collect()
}

/// One of so many is tried.
fn every(some: usize) -> usize {
    if std::env::var("VIGO_HALF_TYPED").is_ok_and(|v| v == "all") { 1 } else { some }
}

/// Asks everything at a position.
fn ask(ide: &Ide<'_>, source: &Source, at: u32) {
    let inside = |s: Span| {
        assert!(source.text.get(s.range()).is_some(), "{}: {s:?} at {at} is not in the text", source.path);
    };
    let found = ide::completion::complete(ide, source, at);
    found.replace.into_iter().for_each(inside);
    for item in found.items.iter().take(3) {
        ide::completion::documentation(ide, item.kind, &item.label, "file");
    }
    ide::hover::hover(ide, source, at).into_iter().for_each(|h| inside(h.span));
    ide::signature::signature(source, at);
    ide::highlight::highlight(ide, source, at).into_iter().for_each(|(s, _)| inside(s));
    ide::selection::selections(source, at).into_iter().for_each(inside);
    for typed in ["\n", "-", ":"] {
        ide::format::typed(source, at, typed).into_iter().for_each(|c| inside(c.span));
    }
    for target in [
        ide::definition::definition(ide, source, at),
        ide::implementation::type_definition(ide, source, at),
        ide::implementation::implementations(ide, source, at),
    ]
    .concat()
    {
        let text = ide.policy.text(&target.file).unwrap_or_default();
        assert!(text.get(target.span.range()).is_some(), "{}: {target:?} at {at}", source.path);
    }
    for part in [Span::new(at, at), Span::new(at.saturating_sub(3), at)] {
        if source.text.get(part.range()).is_none() {
            continue;
        }
        for every in [false, true] {
            if let Ok(done) = ide::refactor::extract::extract(ide, source, part, every) {
                assert!(
                    ide::refactor::applied(&source.text, &done.changes).is_some(),
                    "{} at {at}",
                    source.path
                );
            }
        }
    }
    if let Ok(done) = ide::refactor::inline::inline(ide, source, at) {
        for (path, changes) in &done.changes {
            let text = ide.policy.text(path).unwrap();
            assert!(ide::refactor::applied(&text, changes).is_some(), "{path} at {at}");
        }
    }
    if let Ok((span, _)) = ide::rename::prepare(ide, source, at) {
        inside(span);
        let _ = ide::rename::rename(ide, source, at, "renamed_to_this");
        ide::definition::references(ide, source, at, true);
    }
    if let Some(link) = ide::calls::at(ide, source, at) {
        ide::calls::incoming(ide, &link);
        ide::calls::outgoing(ide, &link);
    }
}

/// Asks everything about a file as a whole.
fn ask_file(ide: &Ide<'_>, source: &Source) {
    let all = Span::new(0, source.text.len() as u32);
    let inside = |s: Span| assert!(source.text.get(s.range()).is_some(), "{}: {s:?}", source.path);
    let mut last = 0;
    for token in ide::tokens::tokens(source, None) {
        inside(token.span);
        assert!(token.span.start >= last, "{}: tokens overlap", source.path);
        last = token.span.end;
    }
    ide::inlay::hints(ide, source, all).into_iter().for_each(|h| inside(Span::new(h.at, h.at)));
    for lens in ide::lenses::lenses(ide, source) {
        inside(lens.span);
        ide::lenses::resolve(ide, &lens.what);
    }
    ide::links::links(ide, source).into_iter().for_each(|(s, _)| inside(s));
    ide::symbols::outline(ide, source).into_iter().for_each(|s| inside(s.span));
    ide::folding::folds(source).into_iter().for_each(|f| assert!(f.first < f.last));
    ide::format::format(source).into_iter().for_each(|c| inside(c.span));
    ide::symbols::search(ide, "n", 10);
    ide::secrets::paths(ide);
}

fn with(policy: &mut Policy, path: &str, text: &str, positions: &[usize]) {
    policy.set_text(path, text);
    let ide = Ide { policy, envoy: Some("web-07.acme.test"), fleet: &[], variables: None };
    let source = ide.source(path).unwrap();
    ask_file(&ide, &source);
    for at in positions {
        ask(&ide, &source, source.text.floor_char_boundary(*at) as u32);
    }
}

#[test]
fn every_beginning_of_every_example_answers() {
    let mut policy = acme();
    let step = every(97);
    for (path, text) in files(&policy) {
        for (at, _) in text.char_indices().filter(|(at, _)| at % step == 0) {
            with(&mut policy, &path, &text[..at], &[at]);
        }
        policy.set_text(&path, &text);
    }
}

#[test]
fn every_example_without_one_of_its_words_answers() {
    let mut policy = acme();
    let step = every(41);
    for (path, text) in files(&policy) {
        let mut words: Vec<(usize, usize)> = Vec::new();
        let mut start = 0;
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let mut before: Option<char> = None;
        for (at, c) in text.char_indices() {
            let goes_on = before.is_some_and(|b| is_word(b) && is_word(c) || b == ' ' && c == ' ');
            if !goes_on && at > start {
                words.push((start, at));
                start = at;
            }
            before = Some(c);
        }
        words.push((start, text.len()));
        for (from, to) in words.into_iter().step_by(step) {
            let damaged = format!("{}{}", &text[..from], &text[to..]);
            with(&mut policy, &path, &damaged, &[from, from / 2, damaged.len()]);
        }
        policy.set_text(&path, &text);
    }
}

/// What is half typed in one place leaves what is typed in another as useful as before.
#[test]
fn damage_stays_where_it_is() {
    let mut policy = acme();
    let path = "modules/nginx.vgo";
    let text = policy.text(path).unwrap().to_string();
    let marked =
        text.replacen("    mode: \"0755\"\n    depends_on: [srv]\n", "    \n    depends_on: [srv]\n", 1);
    let at = marked.find("    \n    depends_on: [srv]").unwrap() + 4;
    for damage in [
        "  - name: \"half\n",
        "  - name: [\n",
        "  - ty\n",
        "  - name: x\n    when: os_family('deb\n",
        "  - {\n",
        "  - name: \"{{ .Vars\n",
    ] {
        let damaged = marked.replacen("  - name: style ", &format!("{damage}  - name: style "), 1);
        assert_ne!(damaged, marked);
        policy.set_text(path, &damaged);
        let ide = Ide { policy: &policy, envoy: None, fleet: &[], variables: None };
        let source = ide.source(path).unwrap();
        let found = ide::completion::complete(&ide, &source, at as u32);
        let labels: Vec<&str> = found.items.iter().map(|i| i.label.as_str()).collect();
        assert!(labels.contains(&"owner") && labels.contains(&"mode"), "{damage:?}: {labels:?}");
        let hover = damaged.find("type: directory").unwrap() + 8;
        assert!(ide::hover::hover(&ide, &source, hover as u32).is_some(), "{damage:?}");
    }
}
