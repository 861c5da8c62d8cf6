//! What systemd says of the units of a run. Most of what a question costs is the start of `systemctl`, so one is about all of
//! them, and its answer is good for as long as the run has changed nothing.

use super::{Found, read, unit};
use ir::{Expr, Resource, Value};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Types that ask about a unit, which their key names.
const KINDS: [&str; 2] = ["service", "systemd_unit"];
/// In one question; the arguments of a program have an end. Others are asked about by themselves.
const MOST: usize = 1000;
/// Other programs start and stop units, too.
const FRESH: Duration = Duration::from_secs(5);

/// The units that a run will ask about, and what systemd said of them.
#[derive(Debug)]
pub struct Units {
    names: BTreeSet<String>,
    answer: Mutex<Answer>,
    fresh: Duration,
}

#[derive(Debug)]
enum Answer {
    /// Nobody wanted to know yet.
    Due,
    Of(Instant, HashMap<String, Found>),
    /// From here on each unit is asked about by itself.
    Over,
}

impl Units {
    /// Nothing is known beforehand.
    pub const fn none() -> Self {
        Units { names: BTreeSet::new(), answer: Mutex::new(Answer::Over), fresh: FRESH }
    }

    /// Those that these resources name, whether or not their `when` is true: asking changes nothing. Nothing is asked yet.
    pub fn of<'a>(
        resources: impl Iterator<Item = &'a Resource>,
        evaluate: impl Fn(&Expr) -> Result<Value, String>,
    ) -> Self {
        let names = resources
            .filter(|resource| KINDS.contains(&&*resource.kind))
            .filter_map(|resource| evaluate(resource.attribute(&resource.kind)?).ok())
            // What is refused here is refused again, in words, when it is its turn.
            .filter_map(|name| unit(name.as_str()?).ok())
            // systemd answers none of the questions after one about a template.
            .filter(|name| !name.contains("@."))
            .take(MOST)
            .collect();
        Units { names, answer: Mutex::new(Answer::Due), fresh: FRESH }
    }

    /// What systemd said of that unit. `ask` gives what `systemctl show` prints of several, with their `Names`. `None` when it has
    /// to be asked about by itself.
    pub(super) fn found(
        &self,
        unit: &str,
        ask: impl FnOnce(&BTreeSet<String>) -> Option<String>,
    ) -> Option<Found> {
        if self.names.len() < 2 || !self.names.contains(unit) {
            return None;
        }
        // Whoever comes second has the answer of the first.
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = match &*answer {
            Answer::Due => true,
            Answer::Of(at, _) => at.elapsed() > self.fresh,
            Answer::Over => return None,
        };
        if stale {
            let asked = Instant::now();
            *answer = ask(&self.names).map_or(Answer::Over, |output| Answer::Of(asked, by_name(&output)));
        }
        match &*answer {
            Answer::Of(_, found) => found.get(unit).cloned(),
            _ => None,
        }
    }

    /// Something changes now. What was said before counts no more, and nothing is kept from here on.
    pub fn forget(&self) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Answer::Over;
    }
}

/// Units are paragraphs, each with all names that the unit has: an alias is found by its own. What does not say whose it is, is
/// nobody's.
fn by_name(output: &str) -> HashMap<String, Found> {
    let mut found = HashMap::new();
    for paragraph in output.split("\n\n") {
        let names = paragraph.lines().find_map(|line| line.strip_prefix("Names=")).unwrap_or_default();
        found.extend(names.split_whitespace().map(|name| (name.to_owned(), read(paragraph))));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn resource(kind: &str, name: &str) -> Resource {
        Resource {
            name: "r".into(),
            kind: kind.into(),
            attributes: vec![(kind.into(), Expr::Const(name.into()))],
            when: None,
            depends_on: vec![],
            notify: vec![],
        }
    }

    fn constant(expr: &Expr) -> Result<Value, String> {
        expr.as_const().cloned().ok_or_else(|| "not known".to_owned())
    }

    fn units(resources: &[Resource]) -> Units {
        Units::of(resources.iter(), constant)
    }

    const ANSWER: &str = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNames=nginx.service\n\n\
        LoadState=loaded\nActiveState=inactive\nUnitFileState=alias\nNames=sshd.service ssh.service\n\n\
        LoadState=not-found\nActiveState=inactive\nUnitFileState=\nNames=gone.timer\n";

    #[test]
    fn one_question_is_about_all_units_and_an_alias_is_found_by_its_name() {
        let names = [("service", "nginx"), ("service", "ssh"), ("systemd_unit", "gone.timer")];
        let more =
            [("service", "../x"), ("service", "getty@"), ("file", "/etc/motd"), ("service", "nginx.service")];
        let resources: Vec<_> = names.iter().chain(&more).map(|(kind, name)| resource(kind, name)).collect();
        let units = units(&resources);
        let asked = RefCell::new(Vec::new());
        let found = |unit: &str| {
            units.found(unit, |names| {
                asked.borrow_mut().push(names.iter().cloned().collect::<Vec<_>>().join(" "));
                Some(ANSWER.to_owned())
            })
        };
        let said =
            |unit: &str| found(unit).map(|found| format!("{} {} {}", found.load, found.active, found.file));
        assert_eq!(said("nginx.service").unwrap(), "loaded active enabled");
        assert_eq!(said("ssh.service").unwrap(), "loaded inactive alias");
        assert_eq!(said("gone.timer").unwrap(), "not-found inactive ");
        assert_eq!(*asked.borrow(), ["gone.timer nginx.service ssh.service"]);
        // Of these nothing was asked.
        assert!(found("getty@.service").is_none() && found("other.service").is_none());
        units.forget();
        assert!(found("nginx.service").is_none());
        assert_eq!(asked.borrow().len(), 1, "nor is it asked again");
    }

    #[test]
    fn what_cannot_be_told_apart_or_is_old_is_asked_again() {
        let two = [resource("service", "nginx"), resource("service", "ssh")];
        let asked = RefCell::new(0);
        let ask = |units: &Units, answer: Option<&str>| {
            units.found("nginx.service", |_| {
                *asked.borrow_mut() += 1;
                answer.map(str::to_owned)
            })
        };
        // A systemd that does not say whose answer it is, one that does not answer, and a unit that is alone.
        assert!(ask(&units(&two), Some("LoadState=loaded\n\nLoadState=loaded\n")).is_none());
        let silent = units(&two);
        assert!(ask(&silent, None).is_none() && ask(&silent, Some(ANSWER)).is_none());
        assert!(
            ask(&units(&two[..1]), Some(ANSWER)).is_none() && ask(&Units::none(), Some(ANSWER)).is_none()
        );
        assert_eq!(asked.replace(0), 2);
        let old = Units { fresh: Duration::ZERO, ..units(&two) };
        assert!(ask(&old, Some(ANSWER)).is_some() && ask(&old, Some(ANSWER)).is_some());
        assert_eq!(*asked.borrow(), 2);
    }
}
