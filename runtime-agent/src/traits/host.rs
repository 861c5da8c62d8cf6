//! `host`, `time` and `dmi`: which machine this is.

use super::{Answer, Section, kernel_file, map};
use crate::root::{ManagedPath, Root};
use crate::text::bounded;
use ir::{Hash, Value};

/// The machine id is for this machine's programs alone; a hash of it names the machine to others.
const ID: &str = "vigo-host-id";

pub fn collect(root: &Root) -> Answer {
    let read = |path: &str| root.read_text(&ManagedPath::parse(path).ok()?, 4096);
    let machine = read("/etc/machine-id").map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
    let id = machine.map(|id| Hash::of(format!("{ID}\0{id}").as_bytes()).to_string());
    let id = id.as_deref().and_then(|id| id.get(..32)).map(Value::from);
    let boot = kernel_file("/proc/sys/kernel/random/boot_id").map(Value::from);
    let host = map([("id", id), ("boot_id", boot)]);
    let synchronised = std::path::Path::new("/run/systemd/timesync")
        .is_dir()
        .then(|| std::path::Path::new("/run/systemd/timesync/synchronized").exists().into());
    let time = map([("zone", Some(zone(root).into())), ("synchronised", synchronised)]);
    Answer::from([("host".into(), host), ("time".into(), time)])
}

/// Where `/etc/localtime` points, or what `/etc/timezone` says; UTC without either.
fn zone(root: &Root) -> String {
    let path = |text: &str| ManagedPath::parse(text).ok();
    let link = path("/etc/localtime").and_then(|path| root.read_link(&path).ok());
    let link = link.and_then(|link| String::from_utf8(link).ok());
    let named = link.and_then(|link| link.split_once("zoneinfo/").map(|(_, zone)| zone.to_owned()));
    named
        .or_else(|| path("/etc/timezone").and_then(|path| root.read_text(&path, 4096)))
        .map(|zone| bounded(zone.trim(), 64).to_owned())
        .filter(|zone| !zone.is_empty())
        .unwrap_or_else(|| "UTC".to_owned())
}

/// What the firmware says. Some of it only root can read, and containers have none.
pub fn dmi(_root: &Root) -> Answer {
    const FIELDS: [(&str, &str); 10] = [
        ("vendor", "sys_vendor"),
        ("product", "product_name"),
        ("version", "product_version"),
        ("serial", "product_serial"),
        ("uuid", "product_uuid"),
        ("board_vendor", "board_vendor"),
        ("board_product", "board_name"),
        ("bios_vendor", "bios_vendor"),
        ("bios_version", "bios_version"),
        ("bios_date", "bios_date"),
    ];
    let read = |file: &str| kernel_file(&format!("/sys/class/dmi/id/{file}"));
    let dmi = FIELDS.map(|(name, file)| (name, read(file).map(|text| bounded(&text, 256).into())));
    let chassis = read("chassis_type").and_then(|text| text.parse().ok()).map(Value::Int);
    let Value::Map(dmi) = map(dmi.into_iter().chain([("chassis_type", chassis)])) else {
        return Answer::default();
    };
    let section = if dmi.is_empty() { Section::new() } else { [("dmi".into(), Value::Map(dmi))].into() };
    Answer::from(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_without_its_id() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let at = |path: [&str; 2]| {
            collect(&root).section.get(path[0]).and_then(|s| s.at(&[path[1].into()])).cloned()
        };
        assert_eq!((at(["host", "id"]), at(["time", "zone"])), (None, Some("UTC".into())));
        std::fs::write(dir.path().join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
        std::os::unix::fs::symlink("/usr/share/zoneinfo/Europe/Vienna", dir.path().join("etc/localtime"))
            .unwrap();
        let id = at(["host", "id"]).unwrap();
        assert!(id.as_str().is_some_and(|id| id.len() == 32 && !id.contains("0123456789abcdef")), "{id:?}");
        assert_eq!(at(["time", "zone"]), Some("Europe/Vienna".into()));
    }
}
