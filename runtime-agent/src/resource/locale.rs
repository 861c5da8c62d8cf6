//! `locale`: that a locale is there, and whether it is the one of the host.

use super::edit::LineType;
use super::{Applied, Context, Desired, Executor, Probe, ResourceError};
use crate::platform::PackageManager;
use crate::root::{Kind, ManagedPath};
use std::time::Duration;

/// The type.
pub struct LocaleType;

/// Which locales `locale-gen` makes.
const LIST: &str = "/etc/locale.gen";
/// Where Debian has the locale of the host, and where others do.
const OF_DEBIAN: &str = "/etc/default/locale";
const OF_SYSTEMD: &str = "/etc/locale.conf";
/// Making one takes its time on a small machine.
const MAKE_LIMIT: Duration = Duration::from_secs(300);

struct Wanted<'a> {
    name: &'a str,
    default: bool,
}

fn wanted(desired: &Desired) -> Result<Wanted<'_>, ResourceError> {
    desired.only("locale", &["locale", "default"])?;
    let name = desired.required("locale")?;
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    if name.is_empty()
        || name.len() > 100
        || !name.starts_with(|c: char| c.is_ascii_alphabetic())
        || !name.chars().all(valid)
    {
        return Err(ResourceError::Invalid {
            name: "locale",
            why: format!(
                "`{}` is not the name of a locale, such as `en_US.UTF-8`",
                crate::text::printable(crate::text::bounded(name, 100))
            ),
        });
    }
    Ok(Wanted { name, default: desired.flag("default")? })
}

/// `en_US.UTF-8` and `en_US.utf8` are one.
fn plain(name: &str) -> String {
    match name.split_once('.') {
        Some((language, rest)) => format!("{language}.{}", rest.to_lowercase().replace('-', "")),
        None => name.to_owned(),
    }
}

impl Wanted<'_> {
    fn is_there(&self, context: &Context<'_>) -> Result<bool, ResourceError> {
        if matches!(plain(self.name).as_str(), "C" | "POSIX" | "C.utf8") {
            return Ok(true);
        }
        let listed = context.program(["locale", "-a"]).ask_if_there()?;
        Ok(listed
            .is_some_and(|answer| answer.stdout.lines().any(|line| plain(line.trim()) == plain(self.name))))
    }

    /// The line that says what the host's locale is.
    fn default_line(&self, context: &Context<'_>) -> Result<Desired, ResourceError> {
        let debian = context.platform.package_manager == Some(PackageManager::Apt);
        let path = if debian { OF_DEBIAN } else { OF_SYSTEMD };
        Ok(line(path, &format!("LANG={}", self.name), "^LANG="))
    }

    /// The line that lets `locale-gen` make it.
    fn list_line(&self) -> Desired {
        let charset = self.name.split_once('.').map_or("ISO-8859-1", |(_, charset)| charset);
        let charset = charset.split('@').next().unwrap_or(charset);
        let line_text = format!("{} {charset}", self.name);
        let pattern = format!("^#? *{} {}[ \\t]*$", literal(self.name), literal(charset));
        line(LIST, &line_text, &pattern)
    }
}

/// A text as a part of a regular expression.
fn literal(text: &str) -> String {
    text.replace('.', "\\.")
}

fn line(path: &str, text: &str, pattern: &str) -> Desired {
    let mut line = Desired::default();
    for (name, value) in [("target_path", path), ("state", "present"), ("line", text), ("pattern", pattern)] {
        line.set(name, value.into(), false);
    }
    line.set("create", true.into(), false);
    line.set("backup", false.into(), false);
    line
}

impl Executor for LocaleType {
    fn key(&self) -> &'static str {
        "locale"
    }

    fn acts_on_machine(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let wanted = wanted(desired)?;
        let mut probe = Probe::clean();
        if !wanted.is_there(context)? {
            probe.changes.push("made".to_owned());
        }
        if wanted.default {
            let left = LineType::new().probe(context, &wanted.default_line(context)?)?;
            probe.changes.extend((!left.is_clean()).then(|| "default of the host".to_owned()));
            probe.diff = left.diff;
        }
        Ok(probe)
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let wanted = wanted(desired)?;
        if !wanted.is_there(context)? {
            let list = context.root.follow(&ManagedPath::parse(LIST)?);
            if list.is_none_or(|meta| meta.kind != Kind::File) {
                let package = match context.platform.package_manager {
                    Some(PackageManager::Apt) => "locales".to_owned(),
                    Some(PackageManager::Dnf | PackageManager::Yum) => {
                        format!("glibc-langpack-{}", wanted.name.split(['_', '.']).next().unwrap_or_default())
                    }
                    Some(PackageManager::Zypper) => "glibc-locale".to_owned(),
                    Some(PackageManager::Pacman) => "glibc".to_owned(),
                    Some(PackageManager::Apk) | None => "musl-locales".to_owned(),
                };
                return Err(ResourceError::Unsupported {
                    kind: "locale",
                    why: format!(
                        "there is no {LIST}, so it cannot be made here; install the package `{package}` first"
                    ),
                });
            }
            converge(context, &wanted.list_line())?;
            context.program(["locale-gen"]).within(MAKE_LIMIT).run()?;
        }
        if wanted.default {
            converge(context, &wanted.default_line(context)?)?;
        }
        Ok(Applied::default())
    }
}

fn converge(context: &Context<'_>, line: &Desired) -> Result<(), ResourceError> {
    let left = LineType::new().probe(context, line)?;
    if !left.is_clean() {
        LineType::new().apply(context, line, &left)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;

    fn locale(name: &str, default: bool) -> Desired {
        desired(&[("locale", name.into()), ("default", default.into())])
    }

    /// Debian with its `locale-gen`, which makes what the list says.
    fn debian() -> Machine {
        let mut m = Machine::new();
        m.sandbox.platform.package_manager = Some(PackageManager::Apt);
        m.program("locale", "echo C; echo POSIX; cat \"$here/made\" 2>/dev/null || true");
        m.program("locale-gen", "asked \"$@\"; sed -n 's/^\\([a-z][^ ]*\\)\\.UTF-8 .*/\\1.utf8/p' \"$here/etc/locale.gen\" > \"$here/made\"");
        m.write("etc/locale.gen", "# list\n# de_DE.UTF-8 UTF-8\n# en_US.UTF-8 UTF-8\n");
        m.write("etc/default/locale", "#  File\nLANG=C\nLC_TIME=C\n");
        m
    }

    #[test]
    fn made_by_locale_gen_once_and_again_after_drift() {
        let m = debian();
        let d = locale("en_US.UTF-8", true);
        assert_eq!(m.settles(&LocaleType, &d), "made, default of the host");
        assert_eq!(m.read("etc/locale.gen"), "# list\n# de_DE.UTF-8 UTF-8\nen_US.UTF-8 UTF-8\n");
        assert_eq!(m.read("etc/default/locale"), "#  File\nLANG=en_US.UTF-8\nLC_TIME=C\n");
        m.write("made", "");
        let (said, asked) = m.converge(&LocaleType, &d).unwrap();
        assert_eq!((said.as_str(), asked), ("made", vec!["locale-gen ".to_owned()]));
        m.write("etc/default/locale", "LANG=C\n");
        assert_eq!(m.settles(&LocaleType, &d), "default of the host");
        assert_eq!(m.settles(&LocaleType, &locale("nl_NL.UTF-8", false)), "made");
    }

    #[test]
    fn elsewhere_the_package_is_named() {
        let mut m = Machine::new();
        m.sandbox.platform.package_manager = Some(PackageManager::Dnf);
        m.program("locale", "echo C.utf8; echo de_DE.utf8");
        m.write("etc/x", "");
        assert_eq!(m.settles(&LocaleType, &locale("de_DE.UTF-8", true)), "default of the host");
        assert_eq!(m.read("etc/locale.conf"), "LANG=de_DE.UTF-8\n");
        assert!(
            m.refuses(&LocaleType, &locale("en_US.UTF-8", false))
                .contains("install the package `glibc-langpack-en`")
        );
        for bad in ["", "en US", "a;b", "../x", "-a", "en_US.UTF-8\n"] {
            assert!(
                m.refuses(&LocaleType, &locale(bad, false)).contains("is not the name of a locale"),
                "{bad}"
            );
        }
    }
}
