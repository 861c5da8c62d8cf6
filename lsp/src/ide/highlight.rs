//! The other places of a name in the same file.

use super::names;
use super::{Ide, Source};
use grammar::Span;

/// Each place, and whether something is written there, not only read.
pub fn highlight(ide: &Ide<'_>, source: &Source, at: u32) -> Vec<(Span, bool)> {
    let Some(named) = names::at(ide, source, at) else { return Vec::new() };
    let same = |n: &names::Named| {
        n.of == named.of
            && (n.name == named.name
                || names::refers(&n.name, &named.name)
                || names::refers(&named.name, &n.name))
    };
    let here = names::of_file(ide, source).into_iter().filter(same);
    here.map(|n| (n.span, matches!(n.how, "declared" | "set"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    #[test]
    fn every_place_in_the_file_and_no_other() {
        let fixture =
            Fixture::new(&ACME.replacen("name: rel$0oad".replace("$0", "").as_str(), "name: rel$0oad", 1));
        let source = fixture.ide().source(&fixture.file).unwrap();
        let found = highlight(&fixture.ide(), &source, fixture.at);
        let shown: Vec<(&str, bool)> = found.iter().map(|(s, w)| (source.slice(*s), *w)).collect();
        assert_eq!(shown, [("reload", false), ("reload", true)]);
    }
}
