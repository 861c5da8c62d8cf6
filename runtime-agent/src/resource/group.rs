//! `group`: a group of the host's own accounts.

use super::tables::{self, Group, account_name};
use super::{Applied, Context, Desired, Executor, Probe, ResourceError};

/// The type.
pub struct GroupType;

const KNOWN: &[&str] = &["group", "state", "gid", "system", "members"];

struct Want {
    name: String,
    present: bool,
    gid: Option<u32>,
    system: bool,
    members: Option<Vec<String>>,
}

/// A change in words, and the call that makes it.
struct Step {
    change: String,
    words: Vec<String>,
}

impl Executor for GroupType {
    fn key(&self) -> &'static str {
        "group"
    }

    fn acts_on_machine(&self) -> bool {
        true
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let want = want(desired)?;
        let steps = steps(context, &want, &tables::groups(context)?)?;
        Ok(Probe { changes: steps.into_iter().map(|step| step.change).collect(), diff: None })
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let want = want(desired)?;
        // Twice: what a new group still lacks is known when it is there.
        for _ in 0..2 {
            for step in steps(context, &want, &tables::groups(context)?)? {
                context.program(step.words).run()?;
            }
        }
        Ok(Applied::default())
    }
}

fn want(desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("group", KNOWN)?;
    let want = Want {
        name: account_name("group", desired.required("group")?)?,
        present: desired.word("state", &["present", "absent"])? == "present",
        gid: desired.int("gid", 0..=i64::from(u32::MAX) - 1)?.and_then(|gid| u32::try_from(gid).ok()),
        system: desired.flag("system")?,
        members: match desired.strings("members")? {
            Some(all) => {
                let mut all =
                    all.into_iter().map(|m| account_name("members", m)).collect::<Result<Vec<_>, _>>()?;
                all.sort();
                all.dedup();
                Some(all)
            }
            None => None,
        },
    };
    if !want.present && want.name == "root" {
        return Err(ResourceError::Invalid { name: "group", why: "`root` is never removed".to_owned() });
    }
    Ok(want)
}

fn steps(context: &Context<'_>, want: &Want, groups: &[Group]) -> Result<Vec<Step>, ResourceError> {
    let busybox = context.platform.busybox_accounts;
    let name = want.name.as_str();
    let step = |change: String, words: &[&str]| Step {
        change,
        words: words.iter().map(|w| (*w).to_owned()).collect(),
    };
    let found = groups.iter().find(|group| group.name == name);
    let taken = groups.iter().find(|group| Some(group.gid) == want.gid && group.name != name);
    if let (true, Some(other), Some(gid)) = (want.present, taken, want.gid) {
        return Err(ResourceError::Invalid {
            name: "gid",
            why: format!("{gid} is the number of group `{}`", other.name),
        });
    }
    let gid = want.gid.map(|gid| gid.to_string());
    let Some(found) = found else {
        if !want.present {
            return Ok(Vec::new());
        }
        let mut words = vec![if busybox { "addgroup" } else { "groupadd" }];
        if want.system {
            words.push(if busybox { "-S" } else { "--system" });
        }
        if let Some(gid) = &gid {
            words.extend([if busybox { "-g" } else { "--gid" }, gid]);
        }
        words.push(name);
        return Ok(vec![step("created".to_owned(), &words)]);
    };
    if !want.present {
        return Ok(vec![step("removed".to_owned(), &[if busybox { "delgroup" } else { "groupdel" }, name])]);
    }
    let mut steps = Vec::new();
    if let Some(gid) = gid.filter(|gid| *gid != found.gid.to_string()) {
        steps.push(step(format!("gid {} -> {gid}", found.gid), &["groupmod", "--gid", &gid, name]));
    }
    if let Some(members) = &want.members {
        let joined: Vec<&String> = members.iter().filter(|m| !found.members.contains(m)).collect();
        let left: Vec<&String> = found.members.iter().filter(|m| !members.contains(m)).collect();
        let mut change = joined
            .iter()
            .map(|m| format!("+{m}"))
            .chain(left.iter().map(|m| format!("-{m}")))
            .collect::<Vec<_>>();
        if !change.is_empty() && !busybox {
            steps.push(step(
                format!("members {}", change.join(" ")),
                &["gpasswd", "--members", &members.join(","), name],
            ));
        } else if !change.is_empty() {
            let calls = joined
                .iter()
                .map(|m| ["addgroup", m, name])
                .chain(left.iter().map(|m| ["delgroup", m, name]));
            for (change, words) in change.drain(..).zip(calls) {
                steps.push(step(format!("members {change}"), &words));
            }
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;
    use ir::Value;

    fn machine() -> Machine {
        let m = Machine::new();
        m.write("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        m.write("etc/group", "root:x:0:\nadm:x:4:syslog,ann\n");
        let table = "t=\"$here/etc/group\"; for name in \"$@\"; do :; done\n";
        m.program("groupadd", &format!("asked \"$@\"\n{table}gid=1000; while [ $# -gt 1 ]; do [ $1 = --gid ] && gid=$2; shift; done; echo \"$name:x:$gid:\" >> $t"));
        m.program("groupmod", &format!("asked \"$@\"\n{table}sed -i \"s/^$name:x:[0-9]*:/$name:x:$2:/\" $t"));
        m.program("groupdel", &format!("asked \"$@\"\n{table}sed -i \"/^$name:/d\" $t"));
        m.program(
            "gpasswd",
            &format!("asked \"$@\"\n{table}sed -i \"s/^\\($name:x:[0-9]*\\):.*/\\1:$2/\" $t"),
        );
        m
    }

    fn group(name: &str, extra: &[(&str, Value)]) -> Desired {
        let mut all =
            vec![("group", Value::from(name)), ("state", "present".into()), ("system", false.into())];
        all.extend(extra.iter().cloned());
        desired(&all)
    }

    fn names(all: &[&str]) -> Value {
        Value::List(all.iter().map(|n| Value::from(*n)).collect())
    }

    #[test]
    fn created_with_its_members_and_drift_repaired_and_removed() {
        let m = machine();
        let d = group("deploy", &[("gid", Value::Int(1500)), ("members", names(&["ann", "bob"]))]);
        let (said, asked) = m.converge(&GroupType, &d).unwrap();
        assert_eq!(said, "created");
        assert_eq!(asked, ["groupadd --gid 1500 deploy", "gpasswd --members ann,bob deploy"]);
        assert_eq!(m.converge(&GroupType, &d).unwrap(), (String::new(), vec![]));
        m.write("etc/group", "root:x:0:\nadm:x:4:ann\ndeploy:x:1501:bob,eve\n");
        assert_eq!(m.settles(&GroupType, &d), "gid 1501 -> 1500, members +ann -eve");
        assert_eq!(m.settles(&GroupType, &group("deploy", &[("members", names(&[]))])), "members -ann -bob");
        assert_eq!(m.settles(&GroupType, &group("deploy", &[("state", "absent".into())])), "removed");
        assert_eq!(m.converge(&GroupType, &group("adm", &[])).unwrap().0, "", "members are left alone");
    }

    #[test]
    fn busybox_has_programs_of_its_own() {
        let mut m = machine();
        m.sandbox.platform.busybox_accounts = true;
        m.program("addgroup", "asked \"$@\"\nt=$here/etc/group\n[ $1 = -S ] && { echo \"$4:x:$3:\" >> $t; exit; }\nsed -i \"s/^\\($2:x:.*\\)/\\1$1/\" $t");
        m.program("delgroup", "asked \"$@\"\nt=$here/etc/group\n[ $# = 1 ] && { sed -i \"/^$1:/d\" $t; exit; }\nsed -i \"s/$1//\" $t");
        let d =
            group("web", &[("gid", Value::Int(99)), ("system", true.into()), ("members", names(&["ann"]))]);
        let (_, asked) = m.converge(&GroupType, &d).unwrap();
        assert_eq!(asked, ["addgroup -S -g 99 web", "addgroup ann web"]);
        assert_eq!(m.settles(&GroupType, &group("web", &[("members", names(&[]))])), "members -ann");
        assert_eq!(m.settles(&GroupType, &group("web", &[("state", "absent".into())])), "removed");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let m = machine();
        for (d, why) in [
            (group("deploy", &[("gid", Value::Int(4))]), "attribute `gid`: 4 is the number of group `adm`"),
            (group("deploy", &[("gid", Value::Int(-1))]), "-1 is not between 0"),
            (group("root", &[("state", "absent".into())]), "`root` is never removed"),
            (group("deploy", &[("members", names(&["a,b"]))]), "is not the name of an account"),
        ] {
            let error = m.refuses(&GroupType, &d);
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn case_086_the_name_of_a_group_is_no_option_and_no_second_line() {
        let m = machine();
        for bad in
            ["", "-g", "--gid", "a b", "a;b", "a:b", "a\nb", "$(id)", "1000", "a,b", "../x", &"x".repeat(33)]
        {
            let error = m.refuses(&GroupType, &group(bad, &[]));
            assert!(error.contains("is not the name of an account"), "{bad}: {error}");
        }
    }
}
