//! `hosts_entry`: names of an address in `/etc/hosts`.

use super::lines::{body, insert, line_end, lines};
use super::{Edit, EditError, Edited, Editor};
use crate::resource::{Desired, ResourceError};
use crate::root::ManagedPath;
use std::net::IpAddr;

/// The edit.
pub struct Hosts;
/// The type.
pub type HostsType = Editor<Hosts>;

impl Edit for Hosts {
    const KIND: &'static str = "hosts_entry";
    const ATTRIBUTES: &'static [&'static str] = &["ip", "names", "state"];
    const KEY: &'static str = "ip";

    fn path(_desired: &Desired) -> Result<ManagedPath, ResourceError> {
        Ok(ManagedPath::parse("/etc/hosts")?)
    }

    fn creates(_desired: &Desired) -> Result<bool, ResourceError> {
        Ok(true)
    }

    fn edit(desired: &Desired, text: &str) -> Result<Edited, EditError> {
        let ip: IpAddr = desired
            .required("ip")?
            .parse()
            .map_err(|_| EditError::invalid("ip", "is not an address like `192.0.2.1` or `2001:db8::1`"))?;
        let names = desired.strings("names")?.unwrap_or_default();
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(odd) = names.iter().find(|n| n.is_empty() || n.len() > 253 || !n.chars().all(valid)) {
            let why = format!(
                "`{}` is not the name of a host",
                crate::text::printable(crate::text::bounded(odd, 100))
            );
            return Err(EditError::invalid("names", why));
        }
        let absent = desired.word("state", &["present", "absent"])? == "absent";
        if names.is_empty() && !absent {
            return Err(ResourceError::Missing("names").into());
        }
        let is = |name: &str| names.iter().any(|n| n.eq_ignore_ascii_case(name));
        let (mut out, mut changes) = (Vec::new(), Vec::new());
        let mut left = names.clone();
        let mut home = None;
        for line in lines(text) {
            let Some((address, present)) = read(line) else {
                out.push(line.to_owned());
                continue;
            };
            if address == ip && !absent {
                left.retain(|name| !present.iter().any(|p| p.eq_ignore_ascii_case(name)));
                home.get_or_insert(out.len());
            }
            // Here they are not wanted: at another address of the same kind, or at this one where they are to be gone.
            let rival =
                if absent { address == ip } else { address != ip && address.is_ipv4() == ip.is_ipv4() };
            let stays = |name: &&str| !rival || !(is(name) || absent && names.is_empty());
            let kept: Vec<&str> = present.iter().filter(|name| stays(name)).copied().collect();
            if kept.len() == present.len() {
                out.push(line.to_owned());
                continue;
            }
            changes.push(format!("taken from {address}"));
            if !kept.is_empty() {
                out.push(rewritten(line, &kept));
            }
        }
        if !left.is_empty() && !absent {
            changes.push("added".to_owned());
            match home.and_then(|at| out.get_mut(at)) {
                Some(line) => {
                    let mut all = read(line).map(|(_, names)| names).unwrap_or_default();
                    all.extend(left);
                    *line = rewritten(line, &all);
                }
                None => {
                    let end = line_end(text);
                    let all: Vec<&str> = out.iter().map(String::as_str).collect();
                    let new = format!("{ip}\t{}{end}", left.join(" "));
                    return Ok(Edited { text: insert(&all, all.len(), &new, end), changes });
                }
            }
        }
        Ok(Edited { text: out.concat(), changes })
    }
}

/// Address and names of a line that has them.
fn read(line: &str) -> Option<(IpAddr, Vec<&str>)> {
    let line = body(line);
    let mut words = line.get(..line.find('#').unwrap_or(line.len()))?.split_ascii_whitespace();
    Some((words.next()?.parse().ok()?, words.collect()))
}

/// A line with other names; address, comment and line end stay.
fn rewritten(line: &str, names: &[&str]) -> String {
    let content = body(line);
    let end = line.get(content.len()..).unwrap_or_default();
    let comment = content.find('#').and_then(|at| content.get(at..));
    let head = content.get(..content.len() - comment.map_or(0, str::len)).unwrap_or_default();
    let address_end = head.len() - head.trim_start().len();
    let rest = head.get(address_end..).unwrap_or_default();
    let word = rest.find([' ', '\t']).unwrap_or(rest.len());
    let gap = rest.get(word..).unwrap_or_default();
    let gap = gap.get(..gap.len() - gap.trim_start().len()).filter(|g| !g.is_empty()).unwrap_or("\t");
    let address = head.get(..address_end + word).unwrap_or_default();
    let comment = comment.map(|c| format!(" {c}")).unwrap_or_default();
    format!("{address}{gap}{}{comment}{end}", names.join(" "))
}

#[cfg(test)]
mod tests {
    use crate::resource::testing::{Sandbox, desired};
    use ir::Value;
    use std::fs;

    const HOSTS: &str =
        "# hosts\n127.0.0.1\tlocalhost app # me\n::1 localhost\n\n10.0.0.1 db db.example.com\n";

    fn entry(ip: &str, names: &[&str], state: &str) -> crate::resource::Desired {
        let names = Value::List(names.iter().map(|n| Value::from(*n)).collect());
        desired(&[("ip", ip.into()), ("names", names), ("state", state.into())])
    }

    #[track_caller]
    fn becomes(ip: &str, names: &[&str], state: &str, action: &str, text: &str) {
        let s = Sandbox::new();
        fs::create_dir(s.path("etc")).unwrap();
        fs::write(s.path("etc/hosts"), HOSTS).unwrap();
        let d = entry(ip, names, state);
        let probe = s.converge("hosts_entry", &d).unwrap();
        assert_eq!(
            (probe.action().as_str(), fs::read_to_string(s.path("etc/hosts")).unwrap().as_str()),
            (action, text)
        );
        assert!(s.converge("hosts_entry", &d).unwrap().is_clean());
    }

    #[test]
    fn names_are_at_one_address_of_a_kind() {
        becomes("10.0.0.1", &["db"], "present", "", HOSTS);
        becomes("10.0.0.1", &["DB.example.com"], "present", "", HOSTS);
        becomes(
            "10.0.0.1",
            &["db", "q"],
            "present",
            "added",
            &HOSTS.replace("db.example.com", "db.example.com q"),
        );
        becomes(
            "10.0.0.2",
            &["app"],
            "present",
            "taken from 127.0.0.1, added",
            &(HOSTS.replace(" app #", " #") + "10.0.0.2\tapp\n"),
        );
        becomes(
            "10.0.0.2",
            &["db", "db.example.com"],
            "present",
            "taken from 10.0.0.1, added",
            "# hosts\n127.0.0.1\tlocalhost app # me\n::1 localhost\n\n10.0.0.2\tdb db.example.com\n",
        );
        becomes("::1", &["app"], "present", "added", &HOSTS.replace("::1 localhost", "::1 localhost app"));
        becomes("10.0.0.1", &["db"], "absent", "taken from 10.0.0.1", &HOSTS.replace("db db.", "db."));
        becomes(
            "10.0.0.1",
            &[],
            "absent",
            "taken from 10.0.0.1",
            &HOSTS.replace("10.0.0.1 db db.example.com\n", ""),
        );
        becomes("10.0.0.9", &[], "absent", "", HOSTS);
    }

    #[test]
    fn what_is_no_name_or_address_is_refused() {
        let s = Sandbox::new();
        for (ip, names) in [
            ("10.0.0", &["a"][..]),
            ("10.0.0.1", &["a b"]),
            ("10.0.0.1", &["a\n10.0.0.2 b"]),
            ("10.0.0.1", &[]),
        ] {
            assert!(s.probe("hosts_entry", &entry(ip, names, "present")).is_err(), "{ip} {names:?}");
        }
        fs::create_dir(s.path("etc")).unwrap();
        let new = entry("10.0.0.1", &["a"], "present");
        assert_eq!(s.converge("hosts_entry", &new).unwrap().action(), "created");
        assert_eq!(fs::read_to_string(s.path("etc/hosts")).unwrap(), "10.0.0.1\ta\n");
    }
}
