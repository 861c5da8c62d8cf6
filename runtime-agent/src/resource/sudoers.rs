//! `sudoers`: a file below `/etc/sudoers.d`, checked by visudo before it counts.

use super::config_file::{ConfigFile, fragment_name};
use super::{Applied, Context, Desired, Executor, Probe, ResourceError};

/// The type.
pub struct SudoersType;

const KNOWN: &[&str] = &["sudoers", "state", "content"];
const DIRECTORY: &str = "/etc/sudoers.d";

impl Executor for SudoersType {
    fn key(&self) -> &'static str {
        "sudoers"
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        file(desired)?.probe(context, "rules")
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let mut note = None;
        file(desired)?.settle(context, |path| {
            let program =
                context.program(["visudo".into(), "-c".into(), "-f".into(), path.display().to_string()]);
            match program.ask_if_there()? {
                Some(answer) if answer.code == 0 => Ok(()),
                Some(answer) => Err(ResourceError::Exit {
                    what: "`visudo -c` refused the new rules and".to_owned(),
                    code: answer.code,
                    expected: "0".to_owned(),
                    output: match desired.is_sensitive("content") {
                        true => "(output hidden: the rules hold a secret)".to_owned(),
                        // The name of the temporary file says nothing.
                        false => format!("{}{}", answer.stdout, answer.stderr)
                            .replace(&path.display().to_string(), "the new file"),
                    },
                }),
                // Nothing reads the rules of a sandbox.
                None if !context.root.is_host() => {
                    note = Some("not checked: there is no `visudo`".to_owned());
                    Ok(())
                }
                None => Err(ResourceError::NoProgram("visudo".to_owned())),
            }
        })?;
        Ok(Applied { note })
    }
}

fn file(desired: &Desired) -> Result<ConfigFile, ResourceError> {
    desired.only("sudoers", KNOWN)?;
    let name = fragment_name("sudoers", desired.required("sudoers")?)?;
    let path = format!("{DIRECTORY}/{name}");
    if desired.word("state", &["present", "absent"])? == "absent" {
        return ConfigFile::absent(&path);
    }
    let mut content = desired.required("content")?.to_owned();
    if !content.ends_with('\n') {
        content.push('\n');
    }
    Ok(ConfigFile::with(&path, content)?.mode(0o440).sensitive(desired.is_sensitive("content")))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;
    use ir::Value;
    use std::os::unix::fs::PermissionsExt;

    const RULE: &str = "deploy ALL=(root) NOPASSWD: /usr/bin/true";

    fn machine() -> Machine {
        let m = Machine::new();
        m.program("visudo", "case $3 in */.vigo-new-*) ;; *) exit 9 ;; esac\ngrep -q BROKEN \"$3\" && { echo \"$3:1:7: syntax error\" >&2; exit 1; }; exit 0");
        m.write("etc/sudoers.d/README", "");
        m
    }

    fn sudoers(name: &str, extra: &[(&str, Value)]) -> Desired {
        let mut all =
            vec![("sudoers", Value::from(name)), ("state", "present".into()), ("content", RULE.into())];
        all.extend(extra.iter().cloned());
        desired(&all)
    }

    #[test]
    fn rules_are_closed_checked_and_repaired() {
        let m = machine();
        let d = sudoers("deploy", &[]);
        assert_eq!(m.settles(&SudoersType, &d), "rules created");
        assert_eq!(m.read("etc/sudoers.d/deploy"), format!("{RULE}\n"));
        let path = m.sandbox.path("etc/sudoers.d/deploy");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o440);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&path, "eve ALL=(ALL) ALL\n").unwrap();
        assert_eq!(m.settles(&SudoersType, &d), "rules changed, rules mode 0644 -> 0440");
        assert_eq!(
            m.settles(&SudoersType, &sudoers("deploy", &[("state", "absent".into())])),
            "rules removed"
        );
    }

    #[test]
    fn what_visudo_refuses_never_counts() {
        let m = machine();
        m.settles(&SudoersType, &sudoers("deploy", &[]));
        let error = m.refuses(&SudoersType, &sudoers("deploy", &[("content", "BROKEN".into())]));
        assert_eq!(
            error,
            "`visudo -c` refused the new rules and ended with 1, expected 0:\nthe new file:1:7: syntax error"
        );
        assert_eq!(m.read("etc/sudoers.d/deploy"), format!("{RULE}\n"));
        assert_eq!(std::fs::read_dir(m.sandbox.path("etc/sudoers.d")).unwrap().count(), 2, "no leftovers");
        let missing = desired(&[("sudoers", "x".into()), ("state", "present".into())]);
        assert_eq!(m.refuses(&SudoersType, &missing), "attribute `content` is missing");
    }

    #[test]
    fn case_080_the_name_is_one_that_sudo_reads_and_stays_in_its_directory() {
        let m = machine();
        for bad in ["", "../passwd", "a/b", "a.b", "a~", ".hidden", "-c", "a b", "a\n"] {
            let error = m.refuses(&SudoersType, &sudoers(bad, &[]));
            assert!(error.contains("cannot be the name of a file"), "{bad}: {error}");
        }
    }
}
