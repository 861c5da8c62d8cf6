//! The registry of slugs and the sources agree.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;

/// Every quoted kebab-case word of the sources, and those that are given to an error on the spot.
fn sources(folder: &Path, words: &mut BTreeSet<String>, used: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, words, used);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("pub const SLUGS").next().unwrap();
            let slug = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            words.extend(text.split('"').skip(1).filter(|s| slug(s)).map(str::to_owned));
            for call in text.split("SyntaxError::new(").skip(1) {
                if let Some(rest) = call.trim_start().strip_prefix('"') {
                    used.insert(rest.split('"').next().unwrap().to_owned());
                }
            }
        }
    }
}

#[test]
fn every_slug_is_registered_and_used() {
    let (mut words, mut used) = (BTreeSet::new(), BTreeSet::new());
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut words, &mut used);
    let registered: BTreeSet<String> = grammar::SLUGS.iter().map(|(slug, _)| (*slug).to_owned()).collect();
    assert_eq!(registered.len(), grammar::SLUGS.len(), "a slug is registered twice");
    assert!(grammar::SLUGS.is_sorted(), "the registry is in alphabetical order");
    assert_eq!(used.difference(&registered).collect::<Vec<_>>(), Vec::<&String>::new(), "not registered");
    assert_eq!(registered.difference(&words).collect::<Vec<_>>(), Vec::<&String>::new(), "never emitted");
}
