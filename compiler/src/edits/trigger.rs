//! What to write into a resource that acts in every run: `when: changed` where something notifies it, and otherwise what it
//! was probably meant to follow, or what says that it is done. What is not certain is a guess, which `fix` leaves to people.

use super::{File, Path, entry, find, same};
use crate::diagnostic::Diagnostic;
use crate::diagnostic::codes::{UNGUARDED_EXEC, UNTRIGGERED_RESTART};
use crate::specialise::edges::Target;
use grammar::Span;
use grammar::document::{Entry, Node, Scalar, Style, Value, parse};
use grammar::when::ExprKind;

/// Whether a finding is about a resource that acts in every run.
pub(super) fn concerns(d: &Diagnostic) -> bool {
    d.code == UNGUARDED_EXEC.slug || d.code == UNTRIGGERED_RESTART.slug
}

/// Offers the edit that the resource itself suggests, with a help that says it in words.
pub(super) fn offer(d: &mut Diagnostic, file: &File<'_>) {
    let Some(subject) = Subject::of(file, d.place.span) else { return };
    let exec = d.code == UNGUARDED_EXEC.slug;
    if subject.is_told() {
        let help = "it is notified already: add `when: changed`, and it acts only then";
        subject.propose(d, &[Change::OnlyWhenChanged], false, help);
    } else if subject.waits_for().is_some() {
        let or = match exec {
            true => "; or say when it is done with one of `creates`, `unless`, `only_if`",
            false => "; or write `state: running`",
        };
        let help = format!(
            "to act when what it depends on has changed, write `subscribes:` in place of `depends_on:` and add \
             `when: changed`{or}"
        );
        subject.propose(d, &[Change::Subscribe, Change::OnlyWhenChanged], true, &help);
    } else if exec {
        let command = subject.text_of("command").unwrap_or_default();
        let Some(path) = made(command) else { return };
        let help =
            format!("say when it is done, such as `creates: {path}`, or add `when: changed` and notify it");
        subject.propose(d, &[Change::Creates(path.to_owned())], true, &help);
    } else {
        let help = d.help.clone().unwrap_or_default();
        subject.propose(d, &[Change::Running], true, &help);
    }
}

/// One thing to write.
enum Change {
    /// `when: changed`, with the condition that is there.
    OnlyWhenChanged,
    /// `subscribes:` in place of `depends_on:`.
    Subscribe,
    /// `creates: PATH`
    Creates(String),
    /// `state: running`
    Running,
}

/// The resource that a finding is about.
struct Subject<'a> {
    file: &'a File<'a>,
    /// From the root to the value that the finding is at.
    path: Path<'a>,
    entries: &'a [Entry],
}

/// From the root to a resource: the list of resources, the resource.
const STEPS: usize = 2;

impl<'a> Subject<'a> {
    fn of(file: &'a File<'a>, at: Span) -> Option<Subject<'a>> {
        let mut path = Path::new();
        find(&file.parsed.root, at, &mut path).then_some(())?;
        let (root, n) = *path.first()?;
        let listed = entry(root, n).is_some_and(|e| e.key.text == "resources");
        let (resource, _) = *path.get(STEPS)?;
        listed.then_some(())?;
        Some(Subject { file, entries: resource.as_map()?, path })
    }

    fn get(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|e| e.key.text == key)
    }

    fn text_of(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.value.as_str()
    }

    /// Whether a resource of the module notifies it, or it says itself whose changes it waits for.
    fn is_told(&self) -> bool {
        if self.get("subscribes").is_some_and(|e| !references(&e.value).is_empty()) {
            return true;
        }
        let key = || {
            Some(format!(
                "{}:{}",
                self.text_of("type")?,
                self.text_of("command").or(self.text_of("service"))?
            ))
        };
        let Some(name) = self.text_of("name").map(str::to_owned).or_else(key) else { return false };
        let Some((resources, own)) = self.path.get(STEPS - 1) else { return false };
        let others = resources.as_seq().unwrap_or_default().iter().enumerate().filter(|(n, _)| n != own);
        others
            .filter_map(|(_, r)| r.get("notify"))
            .flat_map(references)
            .any(|to| Target::new(to).means(&name))
    }

    /// The entry with what has to come first.
    fn waits_for(&self) -> Option<&'a Entry> {
        let entry = self.get("depends_on")?;
        (!references(&entry.value).is_empty() && self.get("subscribes").is_none()).then_some(entry)
    }

    /// Adds the edits and the help, when they lead to what is meant and to nothing else.
    fn propose(&self, d: &mut Diagnostic, changes: &[Change], guess: bool, help: &str) {
        // what stands in a branch of a `case:` must not change the other branches
        let branch = self.path.len() > STEPS + 1;
        if branch && !changes.iter().all(|c| matches!(c, Change::Running)) {
            return;
        }
        let Some((_, own)) = self.path.get(STEPS) else { return };
        let mut places = [*own, self.entries.len().saturating_sub(1)];
        if self.entries.get(*own).is_some_and(|e| e.key.text == "type") {
            // nothing comes between the type of a resource and what it does
            places.reverse();
        }
        for place in places {
            let Some(edits) = changes.iter().map(|c| self.edits(c, place)).collect::<Option<Vec<_>>>() else {
                continue;
            };
            let edits: Vec<(Span, String)> = edits.into_iter().flatten().collect();
            if self.leads_to(&edits, changes) {
                let with = |d: Diagnostic, (span, text): (Span, String)| match guess {
                    true => d.guess(span, text),
                    false => d.fix(span, text),
                };
                *d = edits.into_iter().fold(d.clone().help(help), with);
                return;
            }
        }
    }

    /// What to replace; what is new stands behind the entry with this number.
    fn edits(&self, change: &Change, behind: usize) -> Option<Vec<(Span, String)>> {
        match change {
            Change::OnlyWhenChanged => match self.get("when") {
                Some(when) => self.both(&when.value),
                None => Some(vec![self.insertion("when: changed", behind)?]),
            },
            Change::Subscribe => Some(vec![(self.waits_for()?.key.span, "subscribes".to_owned())]),
            Change::Creates(path) => Some(vec![self.insertion(&format!("creates: {path}"), behind)?]),
            Change::Running => {
                let (node, n) = *self.path.last()?;
                Some(vec![(entry(node, n)?.value.span, "running".to_owned())])
            }
        }
    }

    /// `changed && ` before a condition.
    fn both(&self, when: &Node) -> Option<Vec<(Span, String)>> {
        let scalar = when.as_scalar()?;
        let quote = match scalar.style {
            Style::Plain => 0,
            Style::SingleQuoted | Style::DoubleQuoted => 1,
            Style::Literal | Style::Folded => return None,
        };
        let (start, end) = (when.span.start + quote, when.span.end.checked_sub(quote)?);
        let at = |at| Span::new(at, at);
        Some(match is_either(scalar) {
            true => vec![(at(start), "changed && (".to_owned()), (at(end), ")".to_owned())],
            false => vec![(at(start), "changed && ".to_owned())],
        })
    }

    /// A new entry behind another one, laid out as its neighbours are.
    fn insertion(&self, text: &str, behind: usize) -> Option<(Span, String)> {
        let (resource, _) = self.path.get(STEPS)?;
        let end = self.file.end(self.entries.get(behind)?.span());
        let flow = self.file.text.get(resource.span.start as usize..)?.starts_with('{');
        let (at, new) = if flow {
            (end, format!(", {text}"))
        } else {
            let start = self.entries.first()?.key.span.start as usize;
            (self.file.line_end(end), format!("\n{}{text}", " ".repeat(start - self.file.line_start(start))))
        };
        Some((Span::new(at as u32, at as u32), new))
    }

    /// Whether the text with these edits says what the changes mean, and everything else as before.
    fn leads_to(&self, edits: &[(Span, String)], changes: &[Change]) -> bool {
        let mut sorted: Vec<&(Span, String)> = edits.iter().collect();
        sorted.sort_by_key(|(span, _)| span.start);
        let (mut text, mut at) = (String::new(), 0);
        for (span, new) in sorted {
            let Some(before) = self.file.text.get(at..span.start as usize) else { return false };
            text.push_str(before);
            text.push_str(new);
            at = span.end as usize;
        }
        let Some(rest) = self.file.text.get(at..) else { return false };
        let mut now = parse(&(text + rest));
        let undone = match resource_of(&mut now.root, &self.path) {
            Some(entries) => changes.iter().all(|c| self.undo(c, entries)),
            None => false,
        };
        undone && now.errors.len() <= self.file.parsed.errors.len() && same(&self.file.parsed.root, &now.root)
    }

    /// Takes a change back; false where it is not what the text says.
    fn undo(&self, change: &Change, entries: &mut Vec<Entry>) -> bool {
        let mut take = |key: &str, text: &str| {
            let at = entries.iter().position(|e| e.key.text == key && e.value.as_str() == Some(text));
            at.map(|at| entries.remove(at)).is_some()
        };
        match change {
            Change::Creates(path) => take("creates", path),
            Change::OnlyWhenChanged => match self.get("when") {
                None => take("when", "changed"),
                Some(old) => {
                    let Some(scalar) = old.value.as_scalar() else { return false };
                    let text = match is_either(scalar) {
                        true => format!("changed && ({})", scalar.text),
                        false => format!("changed && {}", scalar.text),
                    };
                    let new = entries.iter_mut().find(|e| e.key.text == "when");
                    let new = new.filter(|e| e.value.as_str() == Some(text.as_str()));
                    new.map(|e| e.value = old.value.clone()).is_some()
                }
            },
            Change::Subscribe => {
                let new = entries.iter_mut().find(|e| e.key.text == "subscribes");
                new.map(|e| e.key.text = "depends_on".to_owned()).is_some()
            }
            Change::Running => {
                let keys: Vec<&Entry> =
                    self.path.iter().skip(STEPS).filter_map(|(node, n)| entry(node, *n)).collect();
                let Some((old, above)) = keys.split_last() else { return false };
                let mut inside = entries;
                for key in above {
                    let found = inside.iter_mut().find(|e| e.key.text == key.key.text);
                    match found.map(|e| &mut e.value.value) {
                        Some(Value::Map(below)) => inside = below,
                        _ => return false,
                    }
                }
                let new = inside.iter_mut().find(|e| e.key.text == old.key.text);
                let new = new.filter(|e| e.value.as_str() == Some("running"));
                new.map(|e| e.value = old.value.clone()).is_some()
            }
        }
    }
}

/// The resource at the same place of another text.
fn resource_of<'n>(root: &'n mut Node, path: &Path<'_>) -> Option<&'n mut Vec<Entry>> {
    let (list, resource) = (path.first()?.1, path.get(STEPS - 1)?.1);
    let Value::Map(entries) = &mut root.value else { return None };
    let Value::Seq(resources) = &mut entries.get_mut(list)?.value.value else { return None };
    match &mut resources.get_mut(resource)?.value {
        Value::Map(entries) => Some(entries),
        _ => None,
    }
}

/// Names under `notify:` and the like: a list, or one of them.
fn references(node: &Node) -> Vec<&str> {
    match &node.value {
        Value::Scalar(scalar) => vec![scalar.text.as_str()],
        Value::Seq(items) => items.iter().filter_map(Node::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether a condition is `a || b`, which binds less than `&&`.
fn is_either(condition: &Scalar) -> bool {
    matches!(grammar::when::parse(&condition.text).0.kind, ExprKind::Or(..))
}

/// The absolute path that a command makes, where its words say so.
fn made(command: &str) -> Option<&str> {
    // what a shell or a template would still change
    if command.contains(['$', '`', '"', '\'', '\\', ';', '|', '&', '<', '{']) {
        return None;
    }
    let words: Vec<&str> = command.split_whitespace().collect();
    let after = |flag: &str| {
        let at = words.iter().position(|word| *word == flag)?;
        words.get(at + 1).copied()
    };
    let last = || words.get(1..)?.last().copied();
    let (program, first) = (words.first()?.rsplit('/').next()?, words.get(1).copied().unwrap_or_default());
    let path = after(">").or_else(|| match program {
        "touch" | "mkdir" | "mkfifo" => last(),
        "git" if first == "clone" => last(),
        "python3" if first == "-m" && words.get(2) == Some(&"venv") => last(),
        "curl" => after("-o").or_else(|| after("--output")),
        "wget" => after("-O"),
        "openssl" => after("-out"),
        "ssh-keygen" => after("-f"),
        _ => None,
    })?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-' | b'+' | b'@');
    (path.starts_with('/') && path.bytes().all(plain)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_makes() {
        for (command, path) in [
            ("touch /run/ready", Some("/run/ready")),
            ("mkdir -p /srv/app", Some("/srv/app")),
            ("/usr/bin/openssl dhparam -out /etc/dh.pem 2048", Some("/etc/dh.pem")),
            ("ssh-keygen -t ed25519 -f /etc/app/key -N x", Some("/etc/app/key")),
            ("locale-gen > /var/log/locale", Some("/var/log/locale")),
            ("git clone https://git.test/app.git /opt/app", Some("/opt/app")),
            ("curl -so /tmp/x https://x.test/?a=1#b", None),
            ("curl -s https://x.test/?a=1#b -o /opt/x", Some("/opt/x")),
            ("touch /run/a*", None),
            ("touch once", None),
            ("touch", None),
            ("touch $HOME/x", None),
            ("touch /run/{{ .Vars.name }}", None),
            ("update-motd", None),
            ("git pull /opt/app", None),
        ] {
            assert_eq!(made(command), path, "{command}");
        }
    }
}
