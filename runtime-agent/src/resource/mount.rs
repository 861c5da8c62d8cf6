//! `mount`: a file system in `/etc/fstab`, mounted or not.

use super::fstab::{self, Entry, Which, unescape};
use super::stepwise::{Stepwise, StepwiseType};
use super::{Context, Desired, ResourceError, tables};
use crate::root::{Kind, ManagedPath, Ownership};
use crate::text::{bounded, printable};
use std::time::Duration;

/// The type.
pub type MountType = StepwiseType<Mount>;

/// See [`MountType`].
pub struct Mount;

const KNOWN: &[&str] = &["mount", "state", "source", "fstype", "options", "dump", "pass", "timeout"];

/// What is declared.
pub struct Want {
    target: ManagedPath,
    /// `None`: no line.
    entry: Option<Entry>,
    /// `None`: left alone.
    mounted: Option<bool>,
    timeout: Duration,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Unmount,
    Table,
    Directory,
    Mount,
    Remount,
}

/// What is there.
pub struct Found {
    /// Its line in `/etc/fstab`.
    listed: Option<Entry>,
    /// Type of the file system that is mounted now.
    mounted: Option<String>,
    /// What stands where it is mounted.
    place: Option<Kind>,
}

impl Stepwise for Mount {
    const KEY: &'static str = "mount";
    type Want = Want;
    type Found = Found;
    type Step = Step;

    fn want(desired: &Desired) -> Result<Want, ResourceError> {
        want(desired)
    }

    fn look(context: &Context<'_>, want: &Want) -> Result<Found, ResourceError> {
        let target = want.target.to_string();
        Ok(Found {
            listed: fstab::find(context, &Which::Target(&target))?,
            mounted: live(context, &target)?,
            place: context.root.follow(&want.target).map(|meta| meta.kind),
        })
    }

    fn steps(want: &Want, found: &Found) -> Result<Vec<Step>, ResourceError> {
        let stays = want.mounted == Some(true);
        if let Some(kind) = found.place.filter(|kind| *kind != Kind::Directory && stays) {
            return Err(ResourceError::InTheWay {
                path: want.target.to_string(),
                found: kind.name(),
                wanted: "a directory",
                fix: "remove it, or mount elsewhere",
            });
        }
        let differs = found.listed != want.entry;
        // Another file system cannot take the place of one that is mounted; other options can.
        let other_line = match (&found.listed, &want.entry) {
            (Some(have), Some(want)) => (&have.source, &have.fstype) != (&want.source, &want.fstype),
            _ => false,
        };
        let other_type = match (&want.entry, &found.mounted) {
            (Some(entry), Some(fstype)) => !is_of(entry, fstype),
            _ => false,
        };
        let other = other_line || other_type;
        let leaves = found.mounted.is_some() && (want.mounted == Some(false) || other && stays);
        let mut steps = Vec::new();
        if leaves {
            steps.push(Step::Unmount);
        }
        if differs {
            steps.push(Step::Table);
        }
        if stays {
            if found.place.is_none() {
                steps.push(Step::Directory);
            }
            if found.mounted.is_none() || leaves {
                steps.push(Step::Mount);
            } else if differs && found.listed.is_some() {
                steps.push(Step::Remount);
            }
        }
        Ok(steps)
    }

    fn said(want: &Want, step: Step) -> Option<&'static str> {
        Some(match step {
            Step::Unmount => "unmounted",
            Step::Table if want.entry.is_some() => "line in /etc/fstab",
            Step::Table => "line taken out of /etc/fstab",
            Step::Directory => "directory created",
            Step::Mount => "mounted",
            Step::Remount => "mounted anew",
        })
    }

    fn take(context: &Context<'_>, want: &Want, step: Step) -> Result<(), ResourceError> {
        let target = want.target.to_string();
        let call =
            |words: &[&str]| context.program(words.iter().copied()).within(want.timeout).run().map(drop);
        match step {
            Step::Unmount => call(&["umount", "--", &target]),
            Step::Table => fstab::put(context, &Which::Target(&target), want.entry.as_ref()),
            Step::Directory => {
                for folder in want.target.ancestors().chain([want.target.clone()]) {
                    if context.root.follow(&folder).is_none() {
                        context.root.make_directory(&folder, Ownership::default())?;
                    }
                }
                Ok(())
            }
            // What is to be mounted there stands in the table.
            Step::Mount => call(&["mount", "--", &target]),
            Step::Remount => call(&["mount", "-o", "remount", "--", &target]),
        }
    }
}

/// Whether what is mounted can be what was declared; `auto` and binds are anything.
fn is_of(entry: &Entry, fstype: &str) -> bool {
    let anything = matches!(entry.fstype.as_str(), "auto" | "none") || entry.fstype.starts_with("fuse");
    let family = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    anything || entry.fstype == fstype || family(&entry.fstype) == family(fstype)
}

/// Type of the file system that is mounted there last; none where there is none.
fn live(context: &Context<'_>, target: &str) -> Result<Option<String>, ResourceError> {
    let table = tables::read(context.root, &ManagedPath::parse("/proc/self/mountinfo")?)?;
    Ok(table
        .lines()
        .rev()
        .filter(|line| line.split(' ').nth(4).is_some_and(|at| unescape(at) == target))
        .find_map(|line| Some(line.split_once(" - ")?.1.split(' ').next()?.to_owned())))
}

fn invalid(name: &'static str, why: impl Into<String>) -> ResourceError {
    ResourceError::Invalid { name, why: why.into() }
}

fn want(desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("mount", KNOWN)?;
    let target = desired.required_path("mount")?;
    let state = desired.word("state", &["mounted", "present", "unmounted", "absent"])?;
    let field = |name: &'static str, text: &str| {
        let good = !text.is_empty() && !text.starts_with('-') && !text.chars().any(char::is_control);
        let shown = printable(bounded(text, 100));
        good.then(|| text.to_owned())
            .ok_or_else(|| invalid(name, format!("`{shown}` cannot stand in /etc/fstab")))
    };
    field("mount", &target.to_string())?;
    let entry = match state {
        "absent" => None,
        _ => {
            let fstype = field("fstype", desired.required("fstype")?)?;
            let options = desired.strings("options")?.unwrap_or_default();
            let bad = |option: &&&str| {
                option.is_empty() || option.contains(',') || option.chars().any(char::is_whitespace)
            };
            if let Some(option) = options.iter().find(bad) {
                let shown = printable(bounded(option, 100));
                return Err(invalid("options", format!("`{shown}` is not one option")));
            }
            if fstype.contains(char::is_whitespace) {
                return Err(invalid("fstype", "must be one word"));
            }
            let options = if options.is_empty() { "defaults".to_owned() } else { options.join(",") };
            Some(Entry {
                source: field("source", desired.required("source")?)?,
                target: target.to_string(),
                fstype,
                options: field("options", &options)?,
                dump: desired.int("dump", 0..=9)?.ok_or(ResourceError::Missing("dump"))?,
                pass: desired.int("pass", 0..=9)?.ok_or(ResourceError::Missing("pass"))?,
            })
        }
    };
    let mounted = match state {
        "mounted" => Some(true),
        "present" => None,
        _ => Some(false),
    };
    Ok(Want { target, entry, mounted, timeout: desired.duration("timeout")? })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;
    use ir::Value;

    const TYPE: MountType = MountType::new();

    fn machine() -> Machine {
        let m = Machine::new();
        m.write("etc/fstab", "UUID=1 / ext4 errors=remount-ro 0 1\n");
        m.write("proc/self/mountinfo", "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
        m.program(
            "mount",
            r#"asked "$@"
for at in "$@"; do :; done
[ -d "$here$at" ] || { echo "mount: $at: mount point does not exist." >&2; exit 32; }
[ "$1" = -o ] && exit 0
line=$(grep " $at " "$here/etc/fstab") || exit 1
set -- $line
echo "22 21 0:30 / $at rw shared:1 - $3 $1 rw" >> "$here/proc/self/mountinfo""#,
        );
        m.program("umount", "asked \"$@\"\nt=\"$here/proc/self/mountinfo\"; grep -v \" $2 \" \"$t\" > \"$here/t\"; cat \"$here/t\" > \"$t\"");
        m
    }

    fn mount(extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[
            ("mount", "/srv/scratch".into()),
            ("state", "mounted".into()),
            ("source", "tmpfs".into()),
            ("fstype", "tmpfs".into()),
            ("options", Value::List(vec!["size=64m".into(), "nosuid".into()])),
            ("dump", Value::Int(0)),
            ("pass", Value::Int(0)),
            ("timeout", "20s".into()),
        ]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    }

    #[test]
    fn mounted_once_with_other_options_anew_and_again_after_drift() {
        let m = machine();
        let d = mount(&[]);
        let (said, asked) = m.converge(&TYPE, &d).unwrap();
        assert_eq!(said, "line in /etc/fstab, directory created, mounted");
        assert_eq!(asked, ["mount -- /srv/scratch"]);
        assert_eq!(
            m.read("etc/fstab"),
            "UUID=1 / ext4 errors=remount-ro 0 1\ntmpfs /srv/scratch tmpfs size=64m,nosuid 0 0\n"
        );
        assert_eq!(m.converge(&TYPE, &d).unwrap(), (String::new(), vec![]));
        let other = mount(&[("options", Value::List(vec!["size=32m".into()]))]);
        let (said, asked) = m.converge(&TYPE, &other).unwrap();
        assert_eq!(
            (said.as_str(), asked),
            ("line in /etc/fstab, mounted anew", vec!["mount -o remount -- /srv/scratch".to_owned()])
        );
        m.write("proc/self/mountinfo", "");
        assert_eq!(m.settles(&TYPE, &other), "mounted");
    }

    #[test]
    fn another_file_system_takes_its_place_after_it_left() {
        let m = machine();
        m.settles(&TYPE, &mount(&[]));
        let d = mount(&[("source", "/dev/sdb1".into()), ("fstype", "ext4".into())]);
        let (said, asked) = m.converge(&TYPE, &d).unwrap();
        assert_eq!(said, "unmounted, line in /etc/fstab, mounted");
        assert_eq!(asked, ["umount -- /srv/scratch", "mount -- /srv/scratch"]);
        assert_eq!(m.converge(&TYPE, &d).unwrap().0, "");
    }

    #[test]
    fn in_the_table_only_and_gone() {
        let m = machine();
        assert_eq!(m.settles(&TYPE, &mount(&[("state", "present".into())])), "line in /etc/fstab");
        assert_eq!(m.settles(&TYPE, &mount(&[])), "directory created, mounted");
        assert_eq!(
            m.converge(&TYPE, &mount(&[("state", "present".into())])).unwrap().0,
            "",
            "it may stay mounted"
        );
        assert_eq!(m.settles(&TYPE, &mount(&[("state", "unmounted".into())])), "unmounted");
        assert_eq!(m.settles(&TYPE, &mount(&[("state", "absent".into())])), "line taken out of /etc/fstab");
        assert_eq!(m.read("etc/fstab"), "UUID=1 / ext4 errors=remount-ro 0 1\n");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let m = machine();
        m.write("srv/scratch", "a file");
        assert!(m.refuses(&TYPE, &mount(&[])).contains("is a file, not a directory"));
        for (name, value, why) in [
            ("mount", "relative".into(), "is not absolute"),
            ("mount", "/a/../b".into(), "`..` step"),
            ("source", "-o".into(), "cannot stand in /etc/fstab"),
            ("source", "tmpfs\n/dev/sda1 / ext4".into(), "cannot stand in /etc/fstab"),
            ("fstype", "a b".into(), "must be one word"),
            ("options", Value::List(vec!["a,b".into()]), "`a,b` is not one option"),
            ("options", Value::List(vec!["a b".into()]), "`a b` is not one option"),
            ("pass", Value::Int(10), "is not between 0 and 9"),
        ] {
            let error = m.refuses(&TYPE, &mount(&[(name, value)]));
            assert!(error.contains(why), "{name}: {error}");
        }
    }
}
