//! Links from `source:` to the file below `templates/`.

use super::names;
use super::{Ide, Source};
use compiler::uses::Of;
use grammar::Span;

/// The path of a template in the policy.
pub fn template_path(name: &str) -> String {
    format!("templates/{name}")
}

/// Every template that a file names and that is there, with the path of it.
pub fn links(ide: &Ide<'_>, source: &Source) -> Vec<(Span, String)> {
    let shipped =
        names::of_file(ide, source).into_iter().filter(|n| n.of == Of::Template && n.how == "shipped");
    shipped
        .map(|n| (n.span, template_path(&n.name)))
        .filter(|(_, path)| ide.policy.file(path).is_some())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    #[test]
    fn a_source_leads_to_its_file() {
        let fixture = Fixture::new(ACME);
        let source = fixture.ide().source("modules/nginx.vgo").unwrap();
        let found = links(&fixture.ide(), &source);
        assert_eq!(found.len(), 1);
        assert_eq!(source.slice(found[0].0), "nginx/site.conf");
        assert_eq!(found[0].1, "templates/nginx/site.conf");
    }
}
