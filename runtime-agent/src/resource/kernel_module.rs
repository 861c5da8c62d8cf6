//! `kernel_module`: loaded or not, now and after a boot.

use super::config_file::ConfigFile;
use super::{Applied, Context, Desired, Executor, Probe, ResourceError, tables};
use crate::root::ManagedPath;
use crate::text::{bounded, printable};

/// The type.
pub struct KernelModuleType;

const KNOWN: &[&str] = &["kernel_module", "state", "options"];

struct Want {
    /// As the kernel has it, with `_`.
    name: String,
    loaded: bool,
    boot: ConfigFile,
    settings: ConfigFile,
}

impl Executor for KernelModuleType {
    fn key(&self) -> &'static str {
        "kernel_module"
    }

    fn acts_on_machine(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let want = want(desired)?;
        let mut probe = want.boot.probe(context, "start-up file")?;
        probe.changes.extend(want.settings.probe(context, "settings")?.changes);
        match (want.loaded, state(context, &want.name)?) {
            (true, State::Absent) => probe.changes.push("loaded".to_owned()),
            (true, State::NoModules) => {
                return Err(ResourceError::Unsupported {
                    kind: "kernel_module",
                    why: format!("its kernel loads no modules, and has no `{}` built in", want.name),
                });
            }
            (false, State::Loaded) => probe.changes.push("unloaded".to_owned()),
            _ => {}
        }
        Ok(probe)
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let want = want(desired)?;
        // Options are read when it is loaded; the file of the next boot is for what could be loaded.
        want.settings.write(context)?;
        match (want.loaded, state(context, &want.name)?) {
            (true, State::Absent) => drop(context.program(["modprobe", &want.name]).run()?),
            (false, State::Loaded) => drop(context.program(["modprobe", "--remove", &want.name]).run()?),
            _ => {}
        }
        want.boot.write(context)?;
        Ok(Applied::default())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Loaded,
    /// A part of the kernel: always there, and not to be unloaded.
    BuiltIn,
    Absent,
    /// Nor can it be loaded: the kernel has no modules at all.
    NoModules,
}

fn state(context: &Context<'_>, name: &str) -> Result<State, ResourceError> {
    let list = ManagedPath::parse("/proc/modules")?;
    let has_modules = context.root.follow(&list).is_some();
    let loaded = if has_modules { tables::read(context.root, &list)? } else { String::new() };
    if loaded.lines().any(|line| line.split(' ').next() == Some(name)) {
        return Ok(State::Loaded);
    }
    let release =
        nix::sys::utsname::uname().map(|u| u.release().to_string_lossy().into_owned()).unwrap_or_default();
    let built_in = format!("/lib/modules/{release}/modules.builtin");
    let path = ManagedPath::parse(&built_in)?;
    let list = context.root.read_text(&path, 4 << 20).unwrap_or_default();
    let is_it = |line: &str| {
        let file = line.rsplit('/').next().unwrap_or_default();
        file.split('.').next().is_some_and(|found| found.replace('-', "_") == name)
    };
    Ok(match (list.lines().any(is_it), has_modules) {
        (true, _) => State::BuiltIn,
        (false, true) => State::Absent,
        (false, false) => State::NoModules,
    })
}

fn want(desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("kernel_module", KNOWN)?;
    let written = desired.required("kernel_module")?;
    let invalid = |name, why: String| ResourceError::Invalid { name, why };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !written.starts_with(|c: char| c.is_ascii_alphanumeric())
        || written.len() > 60
        || !written.chars().all(allowed)
    {
        let shown = printable(bounded(written, 100));
        return Err(invalid("kernel_module", format!("`{shown}` is not the name of a module")));
    }
    let name = written.replace('-', "_");
    let state = desired.word("state", &["loaded", "absent", "blacklisted"])?;
    let options = desired.text("options")?.map(str::trim).filter(|options| !options.is_empty());
    if options.is_some_and(|options| options.chars().any(char::is_control)) {
        return Err(invalid("options", "must be one line of text".to_owned()));
    }
    if options.is_some() && state != "loaded" {
        return Err(invalid("options", "are for a module that is loaded".to_owned()));
    }
    let boot = format!("/etc/modules-load.d/vigo-{name}.conf");
    let settings = format!("/etc/modprobe.d/vigo-{name}.conf");
    Ok(Want {
        loaded: state == "loaded",
        boot: match state {
            "loaded" => ConfigFile::with(&boot, format!("# Managed by Vigo.\n{name}\n"))?,
            _ => ConfigFile::absent(&boot)?,
        },
        settings: match (state, options) {
            ("loaded", Some(options)) => {
                ConfigFile::with(&settings, format!("# Managed by Vigo.\noptions {name} {options}\n"))?
            }
            // A blacklist alone does not keep others from asking for it by name.
            ("blacklisted", _) => ConfigFile::with(
                &settings,
                format!("# Managed by Vigo.\nblacklist {name}\ninstall {name} /bin/false\n"),
            )?,
            _ => ConfigFile::absent(&settings)?,
        },
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;
    use ir::Value;

    const TYPE: KernelModuleType = KernelModuleType;

    fn machine() -> Machine {
        let m = Machine::new();
        m.write("proc/modules", "dm_mod 100 1 - Live 0x0\n");
        m.program(
            "modprobe",
            r#"asked "$@"
case $1 in --remove) grep -q "^$2 .*busy" "$here/proc/modules" && { echo "modprobe: FATAL: Module $2 is in use." >&2; exit 1; }; sed -i "/^$2 /d" "$here/proc/modules" ;;
  missing) echo 'modprobe: FATAL: Module missing not found in directory /lib/modules/6.1' >&2; exit 1 ;;
  *) echo "$1 1 0 - Live 0x0" >> "$here/proc/modules" ;; esac"#,
        );
        m
    }

    fn module(name: &str, extra: &[(&str, Value)]) -> Desired {
        let mut all = vec![("kernel_module", Value::from(name)), ("state", "loaded".into())];
        all.extend(extra.iter().cloned());
        desired(&all)
    }

    #[test]
    fn loaded_now_and_for_the_next_boot_and_again_after_drift() {
        let m = machine();
        let d = module("br-netfilter", &[("options", "a=1".into())]);
        let (said, asked) = m.converge(&TYPE, &d).unwrap();
        assert_eq!(said, "start-up file created, settings created, loaded");
        assert_eq!(asked, ["modprobe br_netfilter"]);
        assert_eq!(m.converge(&TYPE, &d).unwrap(), (String::new(), vec![]));
        assert!(m.read("etc/modules-load.d/vigo-br_netfilter.conf").ends_with("\nbr_netfilter\n"));
        assert!(m.read("etc/modprobe.d/vigo-br_netfilter.conf").ends_with("\noptions br_netfilter a=1\n"));
        m.write("proc/modules", "");
        assert_eq!(m.settles(&TYPE, &d), "loaded");
    }

    #[test]
    fn unloaded_and_kept_from_being_loaded() {
        let m = machine();
        let d = module("dm_mod", &[("state", "blacklisted".into())]);
        assert_eq!(m.settles(&TYPE, &d), "settings created, unloaded");
        assert!(m.read("etc/modprobe.d/vigo-dm_mod.conf").contains("install dm_mod /bin/false"));
        assert_eq!(m.settles(&TYPE, &module("dm_mod", &[("state", "absent".into())])), "settings removed");
        m.write("proc/modules", "dm_mod 100 1 busy\n");
        let error = m.refuses(&TYPE, &module("dm_mod", &[("state", "absent".into())]));
        assert!(error.contains("Module dm_mod is in use"), "{error}");
    }

    #[test]
    fn a_kernel_without_modules_says_so_and_has_none_to_unload() {
        let m = machine();
        std::fs::remove_file(m.sandbox.path("proc/modules")).unwrap();
        assert_eq!(
            m.refuses(&TYPE, &module("br_netfilter", &[])),
            "type `kernel_module` cannot do this on this host: its kernel loads no modules, and has no `br_netfilter` built in"
        );
        let d = module("dm_mod", &[("state", "blacklisted".into())]);
        assert_eq!(m.settles(&TYPE, &d), "settings created");
    }

    #[test]
    fn a_part_of_the_kernel_is_loaded_and_stays() {
        let m = machine();
        let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
        m.write(
            &format!("lib/modules/{release}/modules.builtin"),
            "kernel/fs/ext4/ext4.ko\nkernel/x/snd-pcm.ko.xz\n",
        );
        assert_eq!(m.settles(&TYPE, &module("ext4", &[])), "start-up file created");
        assert_eq!(m.converge(&TYPE, &module("snd_pcm", &[("state", "absent".into())])).unwrap().0, "");
    }

    #[test]
    fn what_is_not_there_leaves_nothing_for_the_next_boot() {
        let m = machine();
        assert!(m.refuses(&TYPE, &module("missing", &[])).contains("Module missing not found"));
        assert!(!m.sandbox.path("etc/modules-load.d/vigo-missing.conf").exists());
        assert!(m.refuses(&TYPE, &module("x", &[("options", "a\nblacklist y".into())])).contains("one line"));
        let never = module("x", &[("options", "a".into()), ("state", "absent".into())]);
        assert!(m.refuses(&TYPE, &never).contains("are for a module that is loaded"));
    }

    #[test]
    fn case_086_the_name_of_a_module_is_no_option_and_no_path() {
        let m = machine();
        for bad in ["", "-r", "--remove", "a b", "../x", "/x", "a.ko", "$(id)", "a\n"] {
            assert!(m.refuses(&TYPE, &module(bad, &[])).contains("is not the name of a module"), "{bad}");
        }
    }
}
