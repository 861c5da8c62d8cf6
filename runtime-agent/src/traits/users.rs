//! `users`: accounts that `/etc/passwd` has. Those of a directory service are not asked for.

use super::{Answer, map};
use crate::root::{ManagedPath, Root};
use ir::Value;

/// Told at most; their number counts all.
const MOST: usize = 1000;
/// Where accounts of people begin and end, as distributions have it.
const PEOPLE: std::ops::Range<u32> = 1000..60_000;

pub fn collect(root: &Root) -> Answer {
    let passwd = ManagedPath::parse("/etc/passwd").ok().and_then(|path| root.read_text(&path, 16 << 20));
    passwd.map(|passwd| told(&passwd)).unwrap_or_default()
}

fn told(passwd: &str) -> Answer {
    let (mut names, mut people) = (Vec::new(), Vec::new());
    for line in passwd.lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(uid)) = (fields.next(), fields.nth(1)) else { continue };
        let Ok(uid) = uid.parse::<u32>() else { continue };
        names.push(name);
        if PEOPLE.contains(&uid) {
            people.push(name);
        }
    }
    let count = i64::try_from(names.len()).ok().map(Value::Int);
    let list = |mut names: Vec<&str>| {
        names.sort_unstable();
        Some(Value::List(names.into_iter().take(MOST).map(Value::from).collect()))
    };
    Answer::from([(
        "users".into(),
        map([("count", count), ("names", list(names)), ("people", list(people))]),
    )])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_passwd() {
        let told = told(
            "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nnobody:x:65534:1::/:/x\nodd\n+::::::\n",
        );
        let at = |name: &str| told.section.get("users").unwrap().at(&[name.into()]).cloned();
        assert_eq!(at("count"), Some(Value::Int(3)));
        assert_eq!(at("people"), Some(Value::List(vec!["ann".into()])));
    }
}
