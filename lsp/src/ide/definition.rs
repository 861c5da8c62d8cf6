//! Go to where a name comes from.

use super::links::template_path;
use super::names::{self, Named};
use super::{Ide, Source, Target};
use compiler::uses::Of;
use grammar::Span;

/// Where the name at a position is declared; of a declaration itself, every place that sets the same variable.
pub fn definition(ide: &Ide<'_>, source: &Source, at: u32) -> Vec<Target> {
    let Some(named) = names::at(ide, source, at) else { return Vec::new() };
    of(ide, &named)
}

/// Where a name is declared.
pub fn of(ide: &Ide<'_>, named: &Named) -> Vec<Target> {
    if named.of == Of::Template {
        let path = template_path(&named.name);
        let there = ide.policy.file(&path).is_some();
        return if there { vec![Target { file: path.into(), span: Span::new(0, 0) }] } else { Vec::new() };
    }
    names::declarations(ide, named).iter().map(Named::target).collect()
}

/// Every place at which the name stands; `declaration` says whether those that declare it count.
pub fn references(ide: &Ide<'_>, source: &Source, at: u32, declaration: bool) -> Vec<Target> {
    let Some(named) = names::at(ide, source, at) else { return Vec::new() };
    // of a reference to a resource, what counts is the resource
    let declared = names::declarations(ide, &named);
    let name = declared.first().map_or(&named.name, |d| &d.name);
    references_of(ide, named.of, name, declaration)
}

/// [`references`] of what has a name.
pub fn references_of(ide: &Ide<'_>, of: Of, name: &str, declaration: bool) -> Vec<Target> {
    let all = names::places(ide, of, name);
    let mut out: Vec<Target> =
        all.iter().filter(|n| declaration || !n.declares()).map(Named::target).collect();
    out.sort();
    out.dedup();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    fn go(mark: &str) -> Vec<String> {
        let fixture = Fixture::new(&ACME.replacen(&mark.replace("$0", ""), mark, 1));
        let source = fixture.ide().source(&fixture.file).unwrap();
        fixture.shown(&definition(&fixture.ide(), &source, fixture.at))
    }

    #[test]
    fn every_kind_of_name_leads_to_its_declaration() {
        assert_eq!(go("port {{ .Vars.po$0rt"), ["modules/nginx.vgo:6 port"]);
        assert_eq!(go("listen {{ .Vars.po$0rt"), ["modules/nginx.vgo:6 port"]);
        assert_eq!(go("vars.po$0rt == 80"), ["modules/nginx.vgo:6 port"]);
        assert_eq!(go("server_na$0me: www"), ["modules/nginx.vgo:4 server_name"]);
        assert_eq!(go("depends_on: [ngi$0nx]"), ["modules/nginx.vgo:1 nginx"]);
        assert_eq!(go("[nginx.con$0fig]"), ["modules/nginx.vgo:8 config"]);
        assert_eq!(go("notify: [rel$0oad]"), ["modules/nginx.vgo:14 reload"]);
        assert_eq!(go("roles: [we$0b]"), ["roles.vgo:2 web"]);
        assert_eq!(go("modules: [nginx, mo$0td]\n//- nodes"), ["modules/motd.vgo:1 motd"]);
        assert_eq!(go("source: nginx/si$0te.conf"), ["templates/nginx/site.conf:1 "]);
        assert_eq!(go("nginx.con$0fig: {"), ["modules/nginx.vgo:8 config"]);
        assert_eq!(go("doc: Web se$0rver."), Vec::<String>::new());
    }

    #[test]
    fn references_are_found_in_every_file() {
        let fixture = Fixture::new(&ACME.replacen("  port: 80", "  po$0rt: 80", 1));
        let source = fixture.ide().source(&fixture.file).unwrap();
        let found = fixture.shown(&references(&fixture.ide(), &source, fixture.at, false));
        assert_eq!(
            found,
            [
                "modules/motd.vgo:7 port",
                "modules/motd.vgo:9 port",
                "nodes.vgo:4 port",
                "templates/nginx/site.conf:1 port",
                "tests/web.vgo:6 port"
            ]
        );
    }
}
