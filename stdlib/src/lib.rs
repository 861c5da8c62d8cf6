//! The resource types, traits and functions of Vigo: `.vgo` text, embedded in the compiler. Besides, fixtures: the traits
//! of hosts of the usual distributions, for policy tests.

use include_dir::{Dir, File, include_dir};

static LIBRARY: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR");

/// Every file of the standard library as (path, text), sorted by path.
///
/// The path is relative to `stdlib/`, with `/` between its parts: `types/file.vgo`.
pub fn files() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut files: Vec<_> = LIBRARY.dirs().flat_map(Dir::files).filter_map(policy_text).collect();
    files.sort_unstable();
    files.into_iter()
}

/// Every fixture as (name, text), sorted by name. The text is a JSON object of nested traits; those of a single host that
/// its name decides (`network.hostname`, `network.fqdn`) are not in it.
pub fn fixtures() -> impl Iterator<Item = (&'static str, &'static str)> {
    let fixture = |file: &'static File<'static>| {
        let name = file.path().to_str()?.strip_prefix("fixtures/")?.strip_suffix(".json")?;
        Some((name, file.contents_utf8()?))
    };
    let mut all: Vec<_> = LIBRARY.dirs().flat_map(Dir::files).filter_map(fixture).collect();
    all.sort_unstable();
    all.into_iter()
}

fn policy_text(file: &'static File<'static>) -> Option<(&'static str, &'static str)> {
    let path = file.path().to_str()?;
    let text = file.contents_utf8()?;
    path.ends_with(".vgo").then_some((path, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_embedded_once_and_in_order() {
        let paths: Vec<_> = files().map(|(path, _)| path).collect();
        assert!(paths.is_sorted());
        assert_eq!(
            paths,
            [
                "functions/class.vgo",
                "functions/go.vgo",
                "functions/host.vgo",
                "functions/text.vgo",
                "functions/time.vgo",
                "functions/traits.vgo",
                "traits/agent.vgo",
                "traits/cloud.vgo",
                "traits/custom.vgo",
                "traits/dmi.vgo",
                "traits/hardware.vgo",
                "traits/host.vgo",
                "traits/memory.vgo",
                "traits/mounts.vgo",
                "traits/network.vgo",
                "traits/os.vgo",
                "traits/packages.vgo",
                "traits/ports.vgo",
                "traits/security.vgo",
                "traits/services.vgo",
                "traits/users.vgo",
                "traits/virtual.vgo",
                "types/archive.vgo",
                "types/authorized_key.vgo",
                "types/blockinfile.vgo",
                "types/certificate.vgo",
                "types/container.vgo",
                "types/cron.vgo",
                "types/custom.vgo",
                "types/directory.vgo",
                "types/download.vgo",
                "types/exec.vgo",
                "types/file.vgo",
                "types/file_line.vgo",
                "types/firewall.vgo",
                "types/git.vgo",
                "types/group.vgo",
                "types/hostname.vgo",
                "types/hosts_entry.vgo",
                "types/ini.vgo",
                "types/json_file.vgo",
                "types/kernel_module.vgo",
                "types/limits.vgo",
                "types/locale.vgo",
                "types/logrotate.vgo",
                "types/mount.vgo",
                "types/package.vgo",
                "types/process.vgo",
                "types/replace.vgo",
                "types/repository.vgo",
                "types/service.vgo",
                "types/sudoers.vgo",
                "types/swap.vgo",
                "types/symlink.vgo",
                "types/sysctl.vgo",
                "types/systemd_unit.vgo",
                "types/timezone.vgo",
                "types/toml_file.vgo",
                "types/user.vgo",
                "types/yaml_file.vgo",
            ]
        );
    }

    #[test]
    fn a_type_stands_in_the_file_that_bears_its_name() {
        for (path, text) in files() {
            if let Some(name) = path.strip_prefix("types/").and_then(|name| name.strip_suffix(".vgo")) {
                assert_eq!(text.lines().next(), Some(format!("type: {name}").as_str()), "{path}");
            }
        }
    }
}
