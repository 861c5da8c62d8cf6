//! `network`: names and addresses.

use super::{Section, kernel_file, map};
use crate::root::{ManagedPath, Root};
use ir::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub fn collect(root: &Root) -> Section {
    let hostname = nix::unistd::gethostname().map(|h| h.to_string_lossy().to_lowercase()).unwrap_or_default();
    let hostname = if hostname.is_empty() { "localhost".to_owned() } else { hostname };
    let addresses = addresses();
    let default = kernel_file("/proc/net/route").and_then(|table| default_interface(&table));
    let ip = default
        .as_ref()
        .and_then(|name| addresses.get(name)?.iter().find(|ip| ip.is_ipv4()))
        .map(|ip| ip.to_string().into());
    let interfaces = addresses
        .iter()
        .map(|(name, addresses)| {
            let list = addresses.iter().map(|ip| Value::from(ip.to_string())).collect();
            let mac = (!name.contains('/'))
                .then(|| kernel_file(&format!("/sys/class/net/{name}/address")))
                .flatten();
            let mac = Value::from(mac.unwrap_or_default());
            (Arc::from(name.as_str()), map([("addresses", Some(Value::List(list))), ("mac", Some(mac))]))
        })
        .collect();
    let hosts = ManagedPath::parse("/etc/hosts").ok().and_then(|path| root.read_text(&path, 1 << 20));
    let network = map([
        ("fqdn", Some(fqdn(&hostname, &hosts.unwrap_or_default()).into())),
        ("hostname", Some(hostname.split('.').next().unwrap_or_default().into())),
        ("interfaces", Some(Value::Map(interfaces))),
        ("default_interface", default.map(Value::from)),
        ("ip", ip),
    ]);
    [("network".into(), network)].into()
}

fn addresses() -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut all: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let list = all.entry(interface.interface_name).or_default();
        let Some(address) = interface.address else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            list.insert(v4.ip().into());
        } else if let Some(v6) = address.as_sockaddr_in6() {
            list.insert(v6.ip().into());
        }
    }
    all
}

/// The interface of the first route to 0.0.0.0/0.
fn default_interface(table: &str) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, "00000000", ..] = fields.as_slice() else { return None };
        (fields.get(7) == Some(&"00000000")).then(|| (*name).to_owned())
    })
}

/// The name with its domain as `/etc/hosts` has it; no name server is asked.
fn fqdn(hostname: &str, hosts: &str) -> String {
    if hostname.contains('.') {
        return hostname.to_owned();
    }
    let prefix = format!("{hostname}.");
    hosts
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(|line| line.split_whitespace().skip(1))
        .find(|name| name.to_lowercase().starts_with(&prefix))
        .map_or_else(|| hostname.to_owned(), str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_names_its_interface() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
                     eth1\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n\
                     eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\n";
        assert_eq!(default_interface(table), Some("eth0".into()));
        assert_eq!(default_interface("Iface\n"), None);
    }

    #[test]
    fn the_domain_comes_from_the_hosts_file() {
        let hosts = "127.0.0.1 localhost\n10.0.0.1 Web-1.Example.com web-1 # main\n";
        assert_eq!(fqdn("web-1", hosts), "web-1.example.com");
        assert_eq!(fqdn("web", hosts), "web");
        assert_eq!(fqdn("a.b", hosts), "a.b");
    }
}
