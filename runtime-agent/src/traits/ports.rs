//! `ports`: what listens.

use super::{Answer, kernel_file, map};
use crate::root::Root;
use ir::Value;
use std::collections::BTreeSet;

/// Told of each kind at most.
const MOST: usize = 500;
/// States in the kernel's tables: a TCP socket that listens, a UDP socket that is bound.
const LISTEN: &str = "0A";
const BOUND: &str = "07";

pub fn collect(_root: &Root) -> Answer {
    let read = |path: &str| kernel_file(path).unwrap_or_default();
    // Sockets of those who ask name servers come and go among the ports the kernel gives out by itself.
    let given_out = kernel_file("/proc/sys/net/ipv4/ip_local_port_range")
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768);
    let both = |kind: &str, state: &str| {
        let mut all = open(&read(&format!("/proc/net/{kind}")), state);
        all.extend(open(&read(&format!("/proc/net/{kind}6")), state));
        all
    };
    let tcp = both("tcp", LISTEN);
    let mut udp = both("udp", BOUND);
    udp.retain(|port| *port < given_out);
    let list = |ports: BTreeSet<u16>| {
        Some(Value::List(ports.into_iter().take(MOST).map(|port| Value::Int(port.into())).collect()))
    };
    Answer::from([("ports".into(), map([("tcp", list(tcp)), ("udp", list(udp))]))])
}

/// Local ports of a table in that state.
fn open(table: &str, state: &str) -> BTreeSet<u16> {
    let row = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _remote, found) = (fields.next()?, fields.next()?, fields.next()?);
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (found == state && port > 0).then_some(port)
    };
    table.lines().skip(1).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_listen() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
            1: 0100007F:C350 0100007F:1F90 01 00000000:00000000\n\
            2: 00000000:0016 00000000:0000 0A 0\nodd\n";
        assert_eq!(open(table, LISTEN), [22, 8080].into());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = i64::from(listener.local_addr().unwrap().port());
        let told = collect(&Root::open(std::path::Path::new("/")).unwrap());
        let Some(Value::List(tcp)) = told.section.get("ports").and_then(|p| p.at(&["tcp".into()])) else {
            panic!()
        };
        assert!(tcp.contains(&Value::Int(port)) || tcp.len() == MOST);
    }
}
