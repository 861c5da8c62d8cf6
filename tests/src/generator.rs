//! Writes policies of any size, always the same for the same numbers: what the benchmarks measure.
//!
//! A module comes in blocks of ten resources: a directory, files, a symlink, a `foreach` with two instances and two
//! commands. Three in ten are for Debian only and three in ten for Red Hat, so a host of either keeps seven in ten.

use std::fs;
use std::io;
use std::path::Path;

/// Modules that one role holds.
const MODULES_PER_ROLE: usize = 10;
/// Roles that one node entry names; with the above, 40 modules.
const ROLES_PER_ENTRY: usize = 4;
/// Resources of one block.
const BLOCK: usize = 10;
const ENVIRONMENTS: [&str; 3] = ["production", "staging", "development"];

/// Writes a policy into `dir`: `modules` modules of `resources` resources each, roles of ten modules, and `entries`
/// node entries of four roles each (fewer where there are fewer).
///
/// It compiles without a warning when every role is named (four times `entries` is at least the number of roles)
/// and `resources` is at least ten.
pub fn generate(dir: &Path, modules: usize, resources: usize, entries: usize) -> io::Result<()> {
    let roles = modules.div_ceil(MODULES_PER_ROLE);
    for folder in ["modules", "templates"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    for number in 0..modules {
        let path = dir.join("modules").join(format!("{}.vgo", module_name(number)));
        fs::write(path, module(number, resources))?;
    }
    fs::write(dir.join("templates/settings.tmpl"), TEMPLATE)?;
    fs::write(dir.join("common.vgo"), COMMON)?;
    fs::write(dir.join("environments.vgo"), environments())?;
    fs::write(dir.join("roles.vgo"), roles_file(roles, modules))?;
    fs::write(dir.join("nodes.vgo"), nodes_file(roles, entries))
}

/// A fleet file (JSON Lines) with one host for each of the `entries`, Debian and Rocky Linux in turn.
pub fn fleet(entries: usize) -> String {
    (0..entries)
        .map(|entry| format!("{{\"hostname\": \"{}\", \"traits\": {}}}\n", hostname(entry), traits(entry)))
        .collect()
}

/// A fleet file (JSON Lines) with `hosts` hosts spread over the `entries`, of both systems each.
pub fn large_fleet(entries: usize, hosts: usize) -> String {
    (0..hosts)
        .map(|host| {
            let (entry, number) = (host % entries.max(1), host / entries.max(1));
            let traits = traits(number);
            format!("{{\"hostname\": \"h{entry:05}-{number:05}.gen.test\", \"traits\": {traits}}}\n")
        })
        .collect()
}

/// The host that gets the node entry with this number.
pub fn hostname(entry: usize) -> String {
    format!("h{entry:05}.gen.test")
}

/// The shared traits of that host, as JSON.
fn traits(entry: usize) -> &'static str {
    if entry.is_multiple_of(2) {
        r#"{"os": {"family": "debian", "distro": "debian", "version": "12", "codename": "bookworm", "kernel": "linux", "arch": "x86_64"}, "virtual": {"inside": true}, "container": {"inside": false}}"#
    } else {
        r#"{"os": {"family": "rhel", "distro": "rocky", "version": "9.4", "kernel": "linux", "arch": "x86_64"}, "virtual": {"inside": true}, "container": {"inside": false}}"#
    }
}

fn module_name(number: usize) -> String {
    format!("m{number:04}")
}

fn role_name(number: usize) -> String {
    format!("role{number:03}")
}

fn module(number: usize, resources: usize) -> String {
    let name = module_name(number);
    let mut body = String::new();
    let mut written = 0;
    while written < resources {
        let left = resources - written;
        let (text, count) = resource(&name, written / BLOCK, written % BLOCK, left);
        body.push_str(&text);
        written += count;
    }

    let mut text = format!("name: {name}\ndoc: Generated module {number}.\n");
    if body.contains("_port }}") {
        let port = 1024 + number % 60_000;
        text.push_str(&format!(
            "params:\n  {name}_port: {{ type: port, default: {port}, doc: TCP port to listen on. }}\n"
        ));
    }
    let vars = [("_label", format!("label of {name}")), ("_items", "[first, second]".to_owned())];
    let read: Vec<_> = vars.iter().filter(|(suffix, _)| body.contains(&format!("{name}{suffix}"))).collect();
    if !read.is_empty() {
        text.push_str("vars:\n");
    }
    for (suffix, value) in read {
        text.push_str(&format!("  {name}{suffix}: {value}\n"));
    }
    if !number.is_multiple_of(MODULES_PER_ROLE) {
        text.push_str(&format!("depends_on: [{}]\n", module_name(number - 1)));
    }
    text.push_str(if body.is_empty() { "resources: []\n" } else { "resources:\n" });
    text + &body
}

/// The resource at `slot` of a block, and how many it makes. `left` is how many the module still lacks.
fn resource(module: &str, block: usize, slot: usize, left: usize) -> (String, usize) {
    let dir = format!("/{module}-{block}");
    let after = format!("    depends_on: [dir-{block}]\n");
    let text = match slot {
        0 => format!(
            "  - name: dir-{block}\n    type: directory\n    target_path: {dir}\n    mode: \"0755\"\n"
        ),
        1 => {
            let notify =
                if left >= BLOCK - 1 { format!("    notify: [reload-{block}]\n") } else { String::new() };
            format!(
                "  - name: config-{block}\n    type: file\n    target_path: {dir}/config\n    content: |\n      \
                 # {{{{ .Envoy.hostname }}}}, {{{{ .Vars.site }}}}, team {{{{ .Vars.team }}}}\n      \
                 listen {{{{ .Vars.{module}_port }}}}\n      \
                 system {{{{ .Traits.os.distro }}}} {{{{ .Traits.os.arch }}}}\n      \
                 {{{{- range .Vars.ntp_servers }}}}\n      server {{{{ . }}}}\n      {{{{- end }}}}\n      \
                 log {{{{ if eq .Vars.log_level \"debug\" }}}}all{{{{ else }}}}{{{{ .Vars.log_level }}}}{{{{ end }}}}\n    \
                 mode: \"0644\"\n{after}{notify}"
            )
        }
        2 => format!(
            "  - name: debian-{block}\n    type: file\n    target_path: {dir}/debian\n    \
             content: \"{{{{ .Vars.{module}_label | upper }}}}\"\n    mode: \"0644\"\n    \
             when: os_family('debian')\n{after}"
        ),
        3 => format!(
            "  - name: link-{block}\n    type: symlink\n    target_path: {dir}/link\n    target: debian\n    \
             when: os_family('debian')\n    depends_on: [debian-{block}]\n"
        ),
        4 => format!(
            "  - name: rhel-{block}\n    type: file\n    target_path: {dir}/rhel\n    \
             content: \"{{{{ .Vars.{module}_label | lower }}}}\"\n    mode: \"0600\"\n    \
             when: os_family('rhel')\n{after}"
        ),
        5 => format!(
            "  - name: once-{block}\n    type: exec\n    command: touch once\n    cwd: {dir}\n    \
             creates: {dir}/once\n    when: os_family('rhel') && version_ge('8')\n{after}"
        ),
        6 if left >= 2 => {
            let text = format!(
                "  - name: \"item-{block}-{{{{ .Item }}}}\"\n    type: file\n    foreach: {module}_items\n    \
                 target_path: \"{dir}/{{{{ .Item }}}}\"\n    content: \"{{{{ .Item }}}} of {{{{ .Vars.site }}}}\"\n    \
                 mode: \"0644\"\n{after}"
            );
            return (text, 2);
        }
        8 => format!(
            "  - name: settings-{block}\n    type: file\n    target_path: {dir}/settings\n    \
             source: settings.tmpl\n    mode: \"0644\"\n    when: os_family('debian') && !is_container\n{after}"
        ),
        9 => format!(
            "  - name: reload-{block}\n    type: exec\n    command: touch reloaded\n    cwd: {dir}\n    \
             when: changed && os_family('rhel')\n"
        ),
        _ => format!(
            "  - name: plain-{block}\n    type: file\n    target_path: {dir}/plain\n    content: \"\"\n    \
             mode: \"0644\"\n{after}"
        ),
    };
    (text, 1)
}

const TEMPLATE: &str = "\
# {{ .Envoy.hostname }}
{{- with .Envoy.roles }}
roles = {{ join \",\" . }}
{{- end }}
site = {{ quote .Vars.site }}
team = {{ quote .Vars.team }}
{{- range $i, $server := .Vars.ntp_servers }}
ntp{{ $i }} = {{ $server }}
{{- end }}
codename = {{ default \"none\" .Traits.os.codename }}
";

const COMMON: &str = "\
vars:
  site: gen.test
  team: none
  log_level: info
  ntp_servers: [ntp1.gen.test, ntp2.gen.test]
";

fn environments() -> String {
    let mut text = String::from("env:\n");
    for (environment, level) in ENVIRONMENTS.iter().zip(["warn", "info", "debug"]) {
        text.push_str(&format!("  {environment}:\n    vars: {{ log_level: {level} }}\n"));
    }
    text
}

fn roles_file(roles: usize, modules: usize) -> String {
    if roles == 0 {
        return String::from("roles: []\n");
    }
    let mut text = String::from("roles:\n");
    for role in 0..roles {
        let first = role * MODULES_PER_ROLE;
        let last = modules.min(first + MODULES_PER_ROLE);
        let names: Vec<_> = (first..last).map(module_name).collect();
        text.push_str(&format!("  - name: {}\n    modules: [{}]\n", role_name(role), names.join(", ")));
    }
    text
}

fn nodes_file(roles: usize, entries: usize) -> String {
    if entries == 0 {
        return String::from("nodes: []\n");
    }
    let mut text = String::from("nodes:\n");
    for entry in 0..entries {
        let first = entry * ROLES_PER_ENTRY;
        let names: Vec<_> = (0..roles.min(ROLES_PER_ENTRY)).map(|i| role_name((first + i) % roles)).collect();
        text.push_str(&format!(
            "  - match: [\"{}\", \"h{entry:05}-*.gen.test\"]\n    environment: {}\n    roles: [{}]\n    \
             vars: {{ team: team{} }}\n",
            hostname(entry),
            ENVIRONMENTS[entry % ENVIRONMENTS.len()],
            names.join(", "),
            entry % 7,
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_makes_exactly_the_resources_asked_for() {
        for resources in 0..25 {
            let text = module(3, resources);
            let declared = text.matches("  - name: ").count();
            let repeated = text.matches("    foreach: ").count();
            assert_eq!(declared + repeated, resources, "{text}");
        }
    }

    #[test]
    fn the_same_numbers_give_the_same_text() {
        assert_eq!(module(17, 20), module(17, 20));
        assert_eq!(fleet(3).lines().count(), 3);
    }

    #[test]
    fn every_role_is_named_where_there_are_entries_enough() {
        let nodes = nodes_file(20, 5);
        assert!((0..20).all(|role| nodes.contains(&role_name(role))));
    }
}
