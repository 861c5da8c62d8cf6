//! `hardware` and `virtual`: processors, memory, maker, and whether there is a hypervisor below.

use super::{Section, kernel_file, map};
use crate::root::Root;
use ir::Value;

/// Hardware is the host's whatever the root is.
pub fn collect(_root: &Root) -> Section {
    let cpuinfo = kernel_file("/proc/cpuinfo").unwrap_or_default();
    let memory = kernel_file("/proc/meminfo").and_then(|text| memory_mb(&text));
    let dmi = |name: &str| kernel_file(&format!("/sys/class/dmi/id/{name}"));
    let (vendor, product) = (dmi("sys_vendor"), dmi("product_name"));
    let inside = is_virtual(&cpuinfo, vendor.as_deref(), product.as_deref());
    let hardware = map([
        ("cpus", Some(Value::Int(cpus(&cpuinfo)))),
        ("memory_mb", Some(Value::Int(memory.unwrap_or(0)))),
        ("vendor", vendor.map(Value::from)),
        ("product", product.map(Value::from)),
    ]);
    [("hardware".into(), hardware), ("virtual".into(), map([("inside", Some(inside.into()))]))].into()
}

fn cpus(cpuinfo: &str) -> i64 {
    let listed = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let count = if listed > 0 { listed } else { std::thread::available_parallelism().map_or(1, usize::from) };
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn memory_mb(meminfo: &str) -> Option<i64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<i64>().ok().map(|kb| kb / 1024)
}

fn is_virtual(cpuinfo: &str, vendor: Option<&str>, product: Option<&str>) -> bool {
    let flagged = cpuinfo
        .lines()
        .any(|line| line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor"));
    let made = [vendor, product].into_iter().flatten().any(|name| {
        ["QEMU", "KVM", "VMware", "VirtualBox", "innotek", "Xen", "Amazon EC2", "Google Compute Engine"]
            .iter()
            .any(|maker| name.contains(maker))
    });
    flagged || made || std::path::Path::new("/sys/hypervisor/type").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_lists() {
        let cpuinfo = "processor\t: 0\nflags\t\t: fpu hypervisor sse\nprocessor\t: 1\nflags: fpu\n";
        assert_eq!(cpus(cpuinfo), 2);
        assert!(is_virtual(cpuinfo, None, None));
        assert_eq!(memory_mb("MemTotal:       16384000 kB\nMemFree: 1 kB\n"), Some(16000));
        assert_eq!(memory_mb(""), None);
    }
}
