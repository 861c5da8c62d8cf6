//! `swap`: a file or device in use as swap, now and after a boot.

use super::fstab::{self, Entry, Which, unescape};
use super::stepwise::{Stepwise, StepwiseType};
use super::{Context, Desired, ResourceError, tables};
use crate::root::{Kind, ManagedPath, Meta, Ownership};
use crate::text::{bounded, printable};
use std::time::Duration;

/// The type.
pub type SwapType = StepwiseType<Swap>;

/// See [`SwapType`].
pub struct Swap;

const KNOWN: &[&str] = &["swap", "state", "size", "priority", "timeout"];
/// What the kernel needs at least, with a page for the header.
const SMALLEST: u64 = 1 << 20;

/// What is declared.
pub struct Want {
    path: ManagedPath,
    present: bool,
    size: Option<u64>,
    priority: Option<i64>,
    timeout: Duration,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Off,
    Make,
    Remove,
    Table,
    On,
}

/// What is there.
pub struct Found {
    /// The priority with which it is in use.
    used: Option<i64>,
    /// Its line in `/etc/fstab`.
    listed: Option<Entry>,
    /// What stands at the path.
    file: Option<Meta>,
}

impl Stepwise for Swap {
    const KEY: &'static str = "swap";
    type Want = Want;
    type Found = Found;
    type Step = Step;

    fn want(desired: &Desired) -> Result<Want, ResourceError> {
        want(desired)
    }

    fn look(context: &Context<'_>, want: &Want) -> Result<Found, ResourceError> {
        let path = want.path.to_string();
        Ok(Found {
            used: live(context, &path)?,
            listed: fstab::find(context, &Which::Swap(&path))?,
            file: context.root.inspect(&want.path)?,
        })
    }

    fn steps(want: &Want, found: &Found) -> Result<Vec<Step>, ResourceError> {
        let mut steps = Vec::new();
        if !want.present {
            if found.used.is_some() {
                steps.push(Step::Off);
            }
            if found.listed.is_some() {
                steps.push(Step::Table);
            }
            if want.size.is_some() && found.file.is_some_and(|meta| meta.kind == Kind::File) {
                steps.push(Step::Remove);
            }
            return Ok(steps);
        }
        let make = match (want.size, found.file) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(size), Some(meta)) if meta.kind == Kind::File => meta.size != size,
            (Some(_), Some(meta)) => {
                return Err(ResourceError::InTheWay {
                    path: want.path.to_string(),
                    found: meta.kind.name(),
                    wanted: "a file",
                    fix: "take `size` out, or name a file",
                });
            }
        };
        let other = found.used.is_some_and(|priority| want.priority.is_some_and(|wanted| wanted != priority));
        if found.used.is_some() && (make || other) {
            steps.push(Step::Off);
        }
        if make {
            steps.push(Step::Make);
        }
        if found.used.is_none() || make || other {
            steps.push(Step::On);
        }
        // Last: what cannot be switched on must not keep the next boot waiting.
        if found.listed != Some(entry(want)) {
            steps.push(Step::Table);
        }
        Ok(steps)
    }

    fn said(want: &Want, step: Step) -> Option<&'static str> {
        Some(match step {
            Step::Off => "switched off",
            Step::Make => "file made",
            Step::Remove => "file removed",
            Step::Table if want.present => "line in /etc/fstab",
            Step::Table => "line taken out of /etc/fstab",
            Step::On => "switched on",
        })
    }

    fn take(context: &Context<'_>, want: &Want, step: Step) -> Result<(), ResourceError> {
        let path = want.path.to_string();
        let call =
            |words: &[&str]| context.program(words.iter().copied()).within(want.timeout).run().map(drop);
        match step {
            Step::Off => call(&["swapoff", "--", &path]),
            Step::Make => {
                let size = want.size.unwrap_or_default();
                // Closed before anything of the memory is in it.
                let owner = context.ownership.then_some(0);
                let closed = Ownership { uid: owner, gid: owner, mode: Some(0o600) };
                context.root.replace_file(&want.path, b"", closed, |_| Ok::<(), ResourceError>(()))?;
                // In whole blocks: a file with holes is no swap.
                let made = call(&["fallocate", "--length", &size.to_string(), &path])
                    .and_then(|()| call(&["mkswap", "--", &path]));
                if made.is_err() {
                    context.root.remove(&want.path)?;
                }
                made
            }
            Step::Remove => Ok(context.root.remove(&want.path)?),
            Step::Table => {
                let entry = want.present.then(|| entry(want));
                fstab::put(context, &Which::Swap(&path), entry.as_ref())
            }
            Step::On => match want.priority {
                Some(priority) => call(&["swapon", "--priority", &priority.to_string(), "--", &path]),
                None => call(&["swapon", "--", &path]),
            },
        }
    }
}

fn entry(want: &Want) -> Entry {
    let options = want.priority.map_or_else(|| "sw".to_owned(), |priority| format!("sw,pri={priority}"));
    Entry {
        source: want.path.to_string(),
        target: "none".to_owned(),
        fstype: "swap".to_owned(),
        options,
        dump: 0,
        pass: 0,
    }
}

/// The priority with which it is in use.
fn live(context: &Context<'_>, path: &str) -> Result<Option<i64>, ResourceError> {
    let table = tables::read(context.root, &ManagedPath::parse("/proc/swaps")?)?;
    Ok(table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (unescape(fields.first()?) == path).then(|| fields.get(4)?.parse().ok())?
    }))
}

fn want(desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("swap", KNOWN)?;
    let path = desired.required_path("swap")?;
    if path.to_string().chars().any(char::is_control) {
        return Err(ResourceError::Invalid { name: "swap", why: "has a control character in it".to_owned() });
    }
    let size = desired.text("size")?.map(|text| {
        bytes(text).filter(|bytes| *bytes >= SMALLEST && bytes % 4096 == 0).ok_or_else(|| {
            let shown = printable(bounded(text, 50));
            let why = format!("`{shown}` is not a size of swap, such as `512M` or `2G`");
            ResourceError::Invalid { name: "size", why }
        })
    });
    Ok(Want {
        path,
        present: desired.word("state", &["present", "absent"])? == "present",
        size: size.transpose()?,
        priority: desired.int("priority", 0..=32767)?,
        timeout: desired.duration("timeout")?,
    })
}

/// `512M`, `2G`: in steps of 1024.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let shift = match text.get(digits..)? {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;
    use ir::Value;
    use std::os::unix::fs::PermissionsExt;

    const TYPE: SwapType = SwapType::new();

    fn machine() -> Machine {
        let m = Machine::new();
        m.write("etc/fstab", "");
        m.write("proc/swaps", "Filename Type Size Used Priority\n");
        m.program("fallocate", "asked \"$@\"\ntruncate -s \"$2\" \"$here$3\"");
        m.program("mkswap", "asked \"$@\"\n[ ! -e \"$here/broken\" ]");
        m.program(
            "swapon",
            "asked \"$@\"\npri=-2; [ \"$1\" = --priority ] && { pri=$2; shift 2; }\necho \"$2 file 100 0 $pri\" >> \"$here/proc/swaps\"",
        );
        m.program("swapoff", "asked \"$@\"\ngrep -v \"^$2 \" \"$here/proc/swaps\" > \"$here/t\"; cat \"$here/t\" > \"$here/proc/swaps\"");
        m
    }

    fn swap(extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[
            ("swap", "/swapfile".into()),
            ("state", "present".into()),
            ("size", "2M".into()),
            ("timeout", "20s".into()),
        ]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    }

    #[test]
    fn made_switched_on_and_again_after_drift_and_gone() {
        let m = machine();
        let (said, asked) = m.converge(&TYPE, &swap(&[])).unwrap();
        assert_eq!(said, "file made, switched on, line in /etc/fstab");
        assert_eq!(
            asked,
            ["fallocate --length 2097152 /swapfile", "mkswap -- /swapfile", "swapon -- /swapfile"]
        );
        let mode = std::fs::metadata(m.sandbox.path("swapfile")).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode, m.read("etc/fstab").as_str()), (0o600, "/swapfile none swap sw 0 0\n"));
        assert_eq!(m.converge(&TYPE, &swap(&[])).unwrap(), (String::new(), vec![]));
        m.write("proc/swaps", "Filename\n");
        assert_eq!(m.settles(&TYPE, &swap(&[])), "switched on");
        let d = swap(&[("priority", Value::Int(5))]);
        assert_eq!(m.settles(&TYPE, &d), "switched off, switched on, line in /etc/fstab");
        assert_eq!(
            m.settles(&TYPE, &swap(&[("size", "1M".into())])),
            "switched off, file made, switched on, line in /etc/fstab"
        );
        let gone = swap(&[("state", "absent".into()), ("size", "1M".into())]);
        assert_eq!(m.settles(&TYPE, &gone), "switched off, line taken out of /etc/fstab, file removed");
    }

    #[test]
    fn a_device_is_never_made() {
        let m = machine();
        let mut d =
            desired(&[("swap", "/dev/sdz9".into()), ("state", "present".into()), ("timeout", "20s".into())]);
        let (_, asked) = m.converge(&TYPE, &d).unwrap();
        assert_eq!(asked, ["swapon -- /dev/sdz9"]);
        nix::unistd::mkfifo(&m.sandbox.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        d = swap(&[("swap", "/fifo".into())]);
        assert!(m.refuses(&TYPE, &d).contains("is a FIFO, not a file"));
    }

    #[test]
    fn half_a_swap_file_is_none() {
        let m = machine();
        m.write("broken", "");
        m.refuses(&TYPE, &swap(&[]));
        assert!(!m.sandbox.path("swapfile").exists());
        assert_eq!(m.read("etc/fstab"), "");
        for bad in ["", "2", "2X", "-1G", "1000000000000T", "5000000"] {
            assert!(
                m.refuses(&TYPE, &swap(&[("size", bad.into())])).contains("is not a size of swap"),
                "{bad}"
            );
        }
    }
}
