//! `mounts` and `filesystem`: what is mounted, and how full it is.

use super::{Answer, kernel_file, map};
use crate::root::Root;
use crate::text::bounded;
use ir::Value;
use nix::sys::statvfs::statvfs;

/// Told at most.
const MOST: usize = 200;
/// Servers that do not answer hold up whoever asks how full they are.
const REMOTE: &[&str] = &["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "lustre", "afs"];

struct Mount {
    path: String,
    device: String,
    kind: String,
    options: String,
}

pub fn mounts(_root: &Root) -> Answer {
    let list = mounted().iter().map(Mount::told).collect();
    Answer::from([("mounts".into(), map([("list", Some(Value::List(list)))]))])
}

pub fn filesystem(_root: &Root) -> Answer {
    let mounted = mounted();
    let local = mounted.iter().filter(|m| !REMOTE.contains(&m.kind.as_str()) && !m.kind.starts_with("fuse"));
    let usage = local.filter_map(|m| usage(&m.path)).collect();
    let root = usage_fields("/").map(map);
    Answer::from([("filesystem".into(), map([("root", root), ("usage", Some(Value::List(usage)))]))])
}

fn mounted() -> Vec<Mount> {
    parse(&kernel_file("/proc/self/mountinfo").unwrap_or_default())
}

/// Lines of `mountinfo`: id, parent, device number, root, path, options, any optional fields, `-`, type, device, more options.
/// What the kernel makes up, and layers of containers, are left out.
fn parse(mountinfo: &str) -> Vec<Mount> {
    let mut all: Vec<Mount> = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut fields = before.split(' ').skip(4);
        let (Some(path), Some(options)) = (fields.next(), fields.next()) else { continue };
        let mut fields = after.split(' ');
        let (Some(kind), Some(device)) = (fields.next(), fields.next()) else { continue };
        let real = device.starts_with("/dev/") || REMOTE.contains(&kind) || matches!(kind, "zfs" | "btrfs");
        let path = unescape(path);
        if !real && path != "/" {
            continue;
        }
        // A later mount at the same place hides the earlier one.
        all.retain(|m| m.path != path);
        all.push(Mount {
            path,
            device: unescape(device),
            kind: kind.to_owned(),
            options: options.to_owned(),
        });
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all.truncate(MOST);
    all
}

/// The kernel writes space, tab, newline and backslash in octal.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(u8::is_ascii);
        match code {
            Some(code) => {
                out.push(code.into());
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out + rest
}

impl Mount {
    fn told(&self) -> Value {
        let text = |text: &str| Some(Value::from(bounded(text, 256)));
        map([
            ("path", text(&self.path)),
            ("device", text(&self.device)),
            ("type", text(&self.kind)),
            ("options", text(&self.options)),
        ])
    }
}

fn usage(path: &str) -> Option<Value> {
    let path_field = ("path", Some(Value::from(bounded(path, 256))));
    Some(map(usage_fields(path)?.into_iter().chain([path_field])))
}

#[allow(clippy::unnecessary_cast, reason = "these fields are narrower on some architectures")]
fn usage_fields(path: &str) -> Option<[(&'static str, Option<Value>); 4]> {
    let stat = statvfs(path).ok()?;
    let unit = stat.fragment_size() as u64;
    let mb = |blocks: u64| i64::try_from(blocks.saturating_mul(unit) >> 20).ok().map(Value::Int);
    let (size, free) = (stat.blocks() as u64, stat.blocks_free() as u64);
    Some([
        ("size_mb", mb(size)),
        ("free_mb", mb(stat.blocks_available() as u64)),
        ("used_percent", percent(size.saturating_sub(free), size)),
        (
            "inodes_used_percent",
            percent((stat.files() as u64).saturating_sub(stat.files_free() as u64), stat.files() as u64),
        ),
    ])
}

fn percent(part: u64, whole: u64) -> Option<Value> {
    let hundredths = part.checked_mul(100)?.checked_div(whole)?;
    i64::try_from(hundredths).ok().map(Value::Int)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_really_mounted() {
        let text = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
23 22 0:5 / /proc rw - proc proc rw\n\
24 22 0:40 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw\n\
25 22 0:50 / /srv/two\\040words ro,nosuid - nfs4 files:/export rw\n\
26 22 8:2 / /data rw - xfs /dev/sdb rw\n\
27 22 8:3 / /data rw - ext4 /dev/sdc rw\n\
broken line\n";
        let paths: Vec<String> =
            parse(text).iter().map(|m| format!("{} {} {}", m.path, m.device, m.kind)).collect();
        assert_eq!(paths, ["/ /dev/sda1 ext4", "/data /dev/sdc ext4", "/srv/two words files:/export nfs4"]);
        assert_eq!(unescape("a\\b\\0"), "a\\b\\0");
        assert_eq!(percent(1, 0), None);
        assert_eq!(percent(1, 3), Some(Value::Int(33)));
    }
}
