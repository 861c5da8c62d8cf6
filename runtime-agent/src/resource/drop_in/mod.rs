//! Types whose whole content is a file of its own in a directory that a program reads: `cron`, `limits`, `logrotate`.
//!
//! A type says where the file is and what stands in it; from then on it is a [`ConfigFile`].

mod cron;
mod limits;
mod logrotate;

pub use cron::Cron;
pub use limits::Limits;
pub use logrotate::Logrotate;

use super::config_file::{ConfigFile, fragment_name};
use super::{Applied, Context, Desired, Executor, Probe, ResourceError};
use std::marker::PhantomData;

/// One type.
pub trait DropIn: Sync {
    /// Its name, and that of its key.
    const KIND: &'static str;
    /// The other attributes, without `state`.
    const ATTRIBUTES: &'static [&'static str];
    /// Where its files are.
    const DIRECTORY: &'static str;
    /// What their names end with.
    const SUFFIX: &'static str = "";

    /// What stands in the file.
    fn content(desired: &Desired) -> Result<String, ResourceError>;

    /// The program that has to accept the file, whose path is added, before it is put in place.
    fn validate(_desired: &Desired) -> Result<Option<Vec<String>>, ResourceError> {
        Ok(None)
    }
}

/// Makes an executor of it.
pub struct DropInType<D>(PhantomData<D>);

impl<D: DropIn> DropInType<D> {
    pub const fn new() -> Self {
        DropInType(PhantomData)
    }
}

/// The file that a drop-in is, and what has to accept it.
fn file_of<D: DropIn>(desired: &Desired) -> Result<(ConfigFile, Option<Vec<String>>), ResourceError> {
    let known: Vec<&str> = [D::KIND, "state"].iter().chain(D::ATTRIBUTES).copied().collect();
    desired.only(D::KIND, &known)?;
    // The programs that read these directories skip names with other characters, without a word.
    let name = fragment_name(D::KIND, desired.required(D::KIND)?)?;
    let path = format!("{}/{name}{}", D::DIRECTORY, D::SUFFIX);
    if desired.word("state", &["present", "absent"])? == "absent" {
        return Ok((ConfigFile::absent(&path)?, None));
    }
    let file = ConfigFile::with(&path, D::content(desired)?)?.sensitive(desired.any_sensitive());
    Ok((file, D::validate(desired)?))
}

impl<D: DropIn> Executor for DropInType<D> {
    fn key(&self) -> &'static str {
        D::KIND
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        file_of::<D>(desired)?.0.probe(context, "file")
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let (file, validate) = file_of::<D>(desired)?;
        file.settle(context, |new| match validate {
            Some(words) => {
                let new = new.to_string_lossy().into_owned();
                context.program(words.into_iter().chain([new])).run().map(drop)
            }
            None => Ok(()),
        })?;
        Ok(Applied::default())
    }
}

/// A text that stands in a line of such a file.
fn one_line<'a>(name: &'static str, text: &'a str) -> Result<&'a str, ResourceError> {
    if text.is_empty() || text.chars().any(char::is_control) || text.trim() != text {
        let why = "has to be one line, not empty, without spaces at its ends".to_owned();
        return Err(ResourceError::Invalid { name, why });
    }
    Ok(text)
}

/// One word of such a line.
fn word<'a>(name: &'static str, text: &'a str) -> Result<&'a str, ResourceError> {
    if one_line(name, text)?.contains([' ', '\t', '#', '"', '\'', '\\']) {
        let text = crate::text::printable(crate::text::bounded(text, 100));
        return Err(ResourceError::Invalid { name, why: format!("`{text}` is not one plain word") });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sandbox, desired};
    use super::*;
    use ir::Value;
    use std::fs;

    fn map(entries: &[(&str, &str)]) -> Value {
        Value::Map(entries.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())
    }

    fn sandbox() -> Sandbox {
        let s = Sandbox::new();
        for directory in ["etc/cron.d", "etc/security/limits.d", "etc/logrotate.d"] {
            fs::create_dir_all(s.path(directory)).unwrap();
        }
        s
    }

    fn with(all: &[(&str, Value)], extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[("state", "present".into())]);
        for (name, value) in all.iter().chain(extra) {
            d.set(name, value.clone(), false);
        }
        d
    }

    fn cron(extra: &[(&str, Value)]) -> Desired {
        let all = [
            ("cron", "backup".into()),
            ("schedule", "30 2 * * 1-5".into()),
            ("user", "root".into()),
            ("command", "/usr/local/bin/backup --day $(date +%F)".into()),
        ];
        with(&all, extra)
    }

    fn logrotate(extra: &[(&str, Value)]) -> Desired {
        let all = [
            ("logrotate", Value::from("app")),
            ("paths", Value::List(vec!["/var/log/app/*.log".into()])),
            ("frequency", "weekly".into()),
            ("rotate", Value::Int(4)),
            ("compress", true.into()),
            ("delay_compress", false.into()),
            ("missing_ok", true.into()),
            ("not_if_empty", true.into()),
            ("copy_truncate", false.into()),
            ("date_ext", false.into()),
        ];
        with(&all, extra)
    }

    /// Created, clean, drifted, repaired, removed.
    fn lives(kind: &str, d: &Desired, path: &str, content: &str) {
        let s = sandbox();
        assert_eq!(s.converge(kind, d).unwrap().action(), "file created");
        assert_eq!(fs::read_to_string(s.path(path)).unwrap(), content);
        assert!(s.converge(kind, d).unwrap().is_clean());
        fs::write(s.path(path), "drift\n").unwrap();
        let probe = s.converge(kind, d).unwrap();
        assert_eq!(probe.action(), "file changed");
        assert!(probe.diff.unwrap().text.contains("-drift\n"));
        assert_eq!(fs::read_to_string(s.path(path)).unwrap(), content);
        let mut gone = d.clone();
        gone.set("state", "absent".into(), false);
        assert_eq!(s.converge(kind, &gone).unwrap().action(), "file removed");
        assert!(s.converge(kind, &gone).unwrap().is_clean());
    }

    #[test]
    fn cron_is_one_line_and_its_environment() {
        lives(
            "cron",
            &cron(&[("environment", map(&[("MAILTO", "ops@example.com")]))]),
            "etc/cron.d/backup",
            "# Written by vigo.\nMAILTO=\"ops@example.com\"\n30 2 * * 1-5 root /usr/local/bin/backup --day $(date +\\%F)\n",
        );
    }

    #[test]
    fn limits_are_a_line_each() {
        let d = with(
            &[
                ("limits", "web".into()),
                ("domain", "www-data".into()),
                ("soft", map(&[("nofile", "65536"), ("core", "0")])),
                ("hard", map(&[("nofile", "unlimited")])),
            ],
            &[],
        );
        lives(
            "limits",
            &d,
            "etc/security/limits.d/web.conf",
            "# Written by vigo.\nwww-data soft core 0\nwww-data soft nofile 65536\nwww-data hard nofile unlimited\n",
        );
    }

    #[test]
    fn logrotate_says_what_is_declared() {
        lives(
            "logrotate",
            &logrotate(&[
                ("size", "10M".into()),
                ("create", "0640 root adm".into()),
                ("post_rotate", "systemctl reload app\ntrue\n".into()),
            ]),
            "etc/logrotate.d/app",
            "# Written by vigo.\n\"/var/log/app/*.log\" {\n    weekly\n    rotate 4\n    size 10M\n    create 0640 root adm\n    \
             compress\n    missingok\n    notifempty\n    sharedscripts\n    postrotate\n        systemctl reload app\n        true\n    \
             endscript\n}\n",
        );
    }

    #[test]
    fn what_would_be_another_line_or_file_is_refused() {
        let s = sandbox();
        let map_of = |k: &str, v: &str| map(&[(k, v)]);
        let limits = |extra: &[(&str, Value)]| {
            with(&[("limits", "a".into()), ("domain", "*".into()), ("hard", map(&[("core", "0")]))], extra)
        };
        for (kind, d, name) in [
            ("cron", cron(&[("cron", "../x".into())]), "cron"),
            ("cron", cron(&[("cron", "a.b".into())]), "cron"),
            ("cron", cron(&[("cron", "".into())]), "cron"),
            ("cron", cron(&[("command", "a\nb".into())]), "command"),
            ("cron", cron(&[("user", "a b".into())]), "user"),
            ("cron", cron(&[("schedule", "* * * *".into())]), "schedule"),
            ("cron", cron(&[("schedule", "* * * * * root rm".into())]), "schedule"),
            ("cron", cron(&[("environment", map_of("A B", "c"))]), "environment"),
            ("cron", cron(&[("environment", map_of("A", "c\nd"))]), "environment"),
            ("limits", limits(&[("domain", "a b".into())]), "domain"),
            ("limits", limits(&[("hard", map_of("nofiles", "1"))]), "hard"),
            ("limits", limits(&[("soft", map_of("nofile", "many"))]), "soft"),
            ("logrotate", logrotate(&[("paths", Value::List(vec!["var/log".into()]))]), "paths"),
            ("logrotate", logrotate(&[("paths", Value::List(vec![]))]), "paths"),
            ("logrotate", logrotate(&[("paths", Value::List(vec!["/a\"b".into()]))]), "paths"),
            ("logrotate", logrotate(&[("size", "ten".into())]), "size"),
            ("logrotate", logrotate(&[("create", "0640 root".into())]), "create"),
            ("logrotate", logrotate(&[("post_rotate", "a\nendscript\n".into())]), "post_rotate"),
            ("logrotate", logrotate(&[("rotate", Value::Int(-1))]), "rotate"),
        ] {
            match s.converge(kind, &d) {
                Err(ResourceError::Invalid { name: found, .. }) => assert_eq!(found, name),
                other => panic!("{kind} {name}: {other:?}"),
            }
        }
        assert!(matches!(
            s.probe("cron", &cron(&[("hour", "1".into())])),
            Err(ResourceError::UnknownAttribute { .. })
        ));
    }

    #[test]
    fn case_082_only_a_regular_file_is_a_drop_in() {
        let s = sandbox();
        std::os::unix::fs::symlink("/etc/shadow", s.path("etc/cron.d/backup")).unwrap();
        assert!(matches!(s.converge("cron", &cron(&[])), Err(ResourceError::InTheWay { .. })));
    }

    #[test]
    fn a_purge_knows_their_files() {
        fn knows<D: DropIn>() {
            let file = format!("{}/a{}", D::DIRECTORY, D::SUFFIX);
            let known: Vec<String> = super::super::managed::files_of(D::KIND, "a").collect();
            assert_eq!(known, [file]);
        }
        knows::<Cron>();
        knows::<Limits>();
        knows::<Logrotate>();
        assert_eq!(super::super::managed::files_of("file", "a").count(), 0);
    }
}
