//! `firewall`: a table of nftables, whole or not at all.
//!
//! The kernel gives rules back in another form than they were written in, so the two cannot be compared. What is compared is
//! what the kernel said right after the rules were set, as a hash beside them in our file, with what it says now.

use super::config_file::ConfigFile;
use super::stepwise::{Stepwise, StepwiseType};
use super::{Context, Desired, Diff, ResourceError, tables};
use crate::root::ManagedPath;
use crate::text::{bounded, printable};
use sha2::{Digest, Sha256};

/// The type.
pub type FirewallType = StepwiseType<Firewall>;

/// See [`FirewallType`].
pub struct Firewall;

const KNOWN: &[&str] = &["firewall", "state", "family", "rules"];
const FAMILIES: &[&str] = &["inet", "ip", "ip6", "arp", "bridge", "netdev"];
const LIVE: &str = "# live: ";

/// What is declared.
pub struct Want {
    name: String,
    family: &'static str,
    /// `None`: no table.
    rules: Option<String>,
    path: String,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Create,
    Replace,
    Restore,
    Delete,
    DropFile,
}

/// What is there.
#[derive(Default)]
pub struct Found {
    /// The table as the kernel has it.
    live: Option<String>,
    /// What stands in our file.
    kept: Option<String>,
}

impl Stepwise for Firewall {
    const KEY: &'static str = "firewall";
    type Want = Want;
    type Found = Found;
    type Step = Step;

    fn want(desired: &Desired) -> Result<Want, ResourceError> {
        want(desired)
    }

    fn look(context: &Context<'_>, want: &Want) -> Result<Found, ResourceError> {
        Ok(Found { live: live(context, want)?, kept: kept(context, want)? })
    }

    fn unseen(_want: &Want) -> Option<Found> {
        Some(Found::default())
    }

    fn steps(want: &Want, found: &Found) -> Result<Vec<Step>, ResourceError> {
        let Found { live, kept } = found;
        let Some(rules) = &want.rules else {
            let steps = [(live.is_some(), Step::Delete), (kept.is_some(), Step::DropFile)];
            return Ok(steps.into_iter().filter(|(is_due, _)| *is_due).map(|(_, step)| step).collect());
        };
        let (known, text) = split(kept.as_deref().unwrap_or_default());
        Ok(match live {
            None => vec![Step::Create],
            Some(_) if text != table(want, rules) => vec![Step::Replace],
            Some(live) if known != Some(hash(live).as_str()) => vec![Step::Restore],
            Some(_) => vec![],
        })
    }

    fn said(_want: &Want, step: Step) -> Option<&'static str> {
        Some(match step {
            Step::Create => "table created",
            Step::Replace => "rules changed",
            Step::Restore => "rules put back, which others changed",
            Step::Delete => "table removed",
            Step::DropFile => "file removed",
        })
    }

    fn diff(context: &Context<'_>, want: &Want, found: &Found, steps: &[Step]) -> Option<Diff> {
        let rules = want.rules.as_ref()?;
        steps.iter().find(|step| matches!(step, Step::Create | Step::Replace))?;
        let (_, old) = split(found.kept.as_deref().unwrap_or_default());
        super::content::diff(&want.path, old, &table(want, rules), context.diff)
    }

    fn take(context: &Context<'_>, want: &Want, step: Step) -> Result<(), ResourceError> {
        match (step, &want.rules) {
            (Step::Delete, _) => {
                context.program(["nft", "delete", "table", want.family, &want.name]).run().map(drop)
            }
            (Step::DropFile, _) => Ok(context.root.remove(&ManagedPath::parse(&want.path)?)?),
            (Step::Create | Step::Replace | Step::Restore, Some(rules)) => set(context, want, rules),
            (Step::Create | Step::Replace | Step::Restore, None) => Ok(()),
        }
    }
}

/// Sets the rules, and keeps what the kernel says of them.
fn set(context: &Context<'_>, want: &Want, rules: &str) -> Result<(), ResourceError> {
    let table = table(want, rules);
    // Made if it is not there, so that it can be removed: all in one transaction of the kernel.
    let head = format!("table {0} {1}\ndelete table {0} {1}\n", want.family, want.name);
    let all = format!("{head}{table}");
    context.program(["nft", "-c", "-f", "-"]).given(&all).run()?;
    context.program(["nft", "-f", "-"]).given(&all).run()?;
    let now = live(context, want)?.unwrap_or_default();
    let text = format!("# Managed by Vigo.\n{LIVE}{}\n{table}", hash(&now));
    ConfigFile::with(&want.path, text)?.mode(0o600).write(context)
}

/// What the kernel said when the rules were set, and the rules, as they stand in our file.
fn split(kept: &str) -> (Option<&str>, &str) {
    let rest = kept.strip_prefix("# Managed by Vigo.\n").and_then(|rest| rest.strip_prefix(LIVE));
    match rest.and_then(|rest| rest.split_once('\n')) {
        Some((known, text)) => (Some(known), text),
        None => (None, ""),
    }
}

fn table(want: &Want, rules: &str) -> String {
    format!("table {} {} {{\n{}\n}}\n", want.family, want.name, rules.trim_end())
}

fn hash(text: &str) -> String {
    Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect()
}

/// The table as the kernel has it, without what its counters count.
fn live(context: &Context<'_>, want: &Want) -> Result<Option<String>, ResourceError> {
    let program = context.program(["nft", "--stateless", "list", "table", want.family, &want.name]);
    let answer = program.ask()?;
    match answer.code {
        0 => Ok(Some(answer.stdout)),
        _ if answer.stderr.contains("No such file or directory") => Ok(None),
        _ => Err(program.failed(answer)),
    }
}

/// Our file.
fn kept(context: &Context<'_>, want: &Want) -> Result<Option<String>, ResourceError> {
    let path = ManagedPath::parse(&want.path)?;
    match context.root.inspect(&path)? {
        Some(_) => tables::read(context.root, &path).map(Some),
        None => Ok(None),
    }
}

fn want(desired: &Desired) -> Result<Want, ResourceError> {
    desired.only("firewall", KNOWN)?;
    let name = desired.required("firewall")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let invalid = |name, why: String| ResourceError::Invalid { name, why };
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || name.len() > 60 || !name.chars().all(allowed) {
        let shown = printable(bounded(name, 100));
        return Err(invalid("firewall", format!("`{shown}` is not the name of a table")));
    }
    let present = desired.word("state", &["present", "absent"])? == "present";
    let rules = present.then(|| desired.required("rules").map(str::to_owned)).transpose()?;
    if let Some(rules) = &rules
        && !stays_inside(rules)
    {
        return Err(invalid("rules", "a `}` has no `{`: rules cannot leave their table".to_owned()));
    }
    Ok(Want {
        name: name.to_owned(),
        family: desired.word("family", FAMILIES)?,
        rules,
        path: format!("/etc/nftables.d/{name}.nft"),
    })
}

/// Whether each brace is closed after it was opened; those in comments and in quotes are text.
fn stays_inside(rules: &str) -> bool {
    let mut open = 0usize;
    for line in rules.lines() {
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '"' => quoted = !quoted,
                '#' if !quoted => break,
                '{' if !quoted => open += 1,
                '}' if !quoted => match open.checked_sub(1) {
                    Some(less) => open = less,
                    None => return false,
                },
                _ => {}
            }
        }
        if quoted {
            return false;
        }
    }
    open == 0
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, desired};
    use super::*;
    use ir::Value;

    const TYPE: FirewallType = FirewallType::new();
    const RULES: &str = "chain input { type filter hook input priority 0; tcp dport { 22, 80 } accept }";

    /// nft that keeps each table in a file, and gives it back in another form.
    fn machine() -> Machine {
        let m = Machine::new();
        std::fs::create_dir(m.sandbox.path("tables")).unwrap();
        m.program(
            "nft",
            r#"
case "$*" in
  *list*) [ -e "$here/tables/$5" ] || { echo 'Error: No such file or directory' >&2; exit 1; }
    echo "as the kernel has it"; cat "$here/tables/$5"; exit ;;
  delete*) asked "$@"; rm "$here/tables/$4"; exit ;;
esac
asked "$@"
cat > "$here/in"
grep -q BROKEN "$here/in" && { echo '/dev/stdin:4:1: Error: syntax error' >&2; exit 1; }
[ "$1" = -c ] && exit 0
name=$(sed -n '1s/table [a-z0-9]* //p' "$here/in")
tail -n +3 "$here/in" > "$here/tables/$name"
"#,
        );
        m
    }

    fn firewall(extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[
            ("firewall", "vigo".into()),
            ("state", "present".into()),
            ("family", "inet".into()),
            ("rules", RULES.into()),
        ]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    }

    #[test]
    fn a_table_is_checked_set_kept_and_put_back() {
        let m = machine();
        m.write("tables/docker", "theirs");
        let d = firewall(&[]);
        let (said, asked) = m.converge(&TYPE, &d).unwrap();
        assert_eq!(said, "table created");
        assert_eq!(asked, ["nft -c -f -", "nft -f -"]);
        assert_eq!(m.read("tables/vigo"), format!("table inet vigo {{\n{RULES}\n}}\n"));
        assert!(m.read("etc/nftables.d/vigo.nft").ends_with(&m.read("tables/vigo")));
        assert_eq!(m.converge(&TYPE, &d).unwrap(), (String::new(), vec![]));
        m.write("tables/vigo", "somebody opened a port");
        assert_eq!(m.settles(&TYPE, &d), "rules put back, which others changed");
        let other = firewall(&[("rules", "chain input { drop }\n".into())]);
        assert_eq!(m.settles(&TYPE, &other), "rules changed");
        std::fs::remove_file(m.sandbox.path("etc/nftables.d/vigo.nft")).unwrap();
        assert_eq!(m.settles(&TYPE, &other), "rules changed");
        std::fs::remove_file(m.sandbox.path("tables/vigo")).unwrap();
        assert_eq!(m.settles(&TYPE, &other), "table created");
        assert_eq!(m.settles(&TYPE, &firewall(&[("state", "absent".into())])), "table removed, file removed");
        assert!(!m.sandbox.path("etc/nftables.d/vigo.nft").exists());
        assert_eq!(m.read("tables/docker"), "theirs");
    }

    #[test]
    fn what_nft_refuses_changes_nothing() {
        let m = machine();
        m.settles(&TYPE, &firewall(&[]));
        let before = m.read("tables/vigo");
        let error = m.refuses(&TYPE, &firewall(&[("rules", "BROKEN".into())]));
        assert!(
            error.contains("`nft -c -f -` ended with 1, expected 0:\n/dev/stdin:4:1: Error: syntax error"),
            "{error}"
        );
        assert_eq!(m.read("tables/vigo"), before);
    }

    #[test]
    fn rules_stay_in_their_table() {
        let m = machine();
        for bad in ["}\nflush ruleset\ntable inet x {", "chain a {", "chain a { } }", "chain \"a", "#{\n}"] {
            assert!(
                m.refuses(&TYPE, &firewall(&[("rules", bad.into())])).contains("rules cannot leave"),
                "{bad}"
            );
        }
        assert!(stays_inside("chain a { # }\n log prefix \"}\" }"));
        for bad in ["", "a b", "-f", "x;y", "1x", "a/b", "a\n"] {
            let error = m.refuses(&TYPE, &firewall(&[("firewall", bad.into())]));
            assert!(error.contains("is not the name of a table"), "{bad}: {error}");
        }
    }
}
