//! `/etc/fstab`: lines of fields, of which one is ours.

use super::{Context, ResourceError, tables};
use crate::root::{ManagedPath, Ownership};

const PATH: &str = "/etc/fstab";

/// A line: what, where, type, options, dump, pass. The fields are as people write them; blanks are escaped in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub source: String,
    pub target: String,
    pub fstype: String,
    pub options: String,
    pub dump: i64,
    pub pass: i64,
}

impl Entry {
    fn line(&self) -> String {
        let [source, target, options] =
            [&self.source, &self.target, &self.options].map(|field| escape(field));
        format!("{source} {target} {} {options} {} {}", self.fstype, self.dump, self.pass)
    }
}

/// Which line is meant.
pub(super) enum Which<'a> {
    /// By where it is mounted.
    Target(&'a str),
    /// By what it is, for swap, which is mounted nowhere.
    Swap(&'a str),
}

impl Which<'_> {
    fn is(&self, entry: &Entry) -> bool {
        match self {
            Which::Target(target) => entry.target == *target,
            Which::Swap(source) => entry.source == *source && entry.fstype == "swap",
        }
    }
}

/// The present entry.
pub(super) fn find(context: &Context<'_>, which: &Which<'_>) -> Result<Option<Entry>, ResourceError> {
    Ok(read(context)?.lines().filter_map(parse).find(|entry| which.is(entry)))
}

/// Puts the entry in its place, or takes it out.
pub(super) fn put(
    context: &Context<'_>,
    which: &Which<'_>,
    entry: Option<&Entry>,
) -> Result<(), ResourceError> {
    let old = read(context)?;
    let new = edited(&old, which, entry);
    if new == old {
        return Ok(());
    }
    let path = ManagedPath::parse(PATH)?;
    let found = context.root.inspect(&path)?;
    let owner = context.ownership.then_some(0);
    let mode = found.map_or(0o644, |meta| meta.mode);
    let ownership = Ownership { uid: owner, gid: owner, mode: Some(mode) };
    context.root.replace_file(&path, new.as_bytes(), ownership, |_| Ok(()))
}

fn read(context: &Context<'_>) -> Result<String, ResourceError> {
    tables::read(context.root, &ManagedPath::parse(PATH)?)
}

/// Every other line stays as it is, and so does the place.
fn edited(text: &str, which: &Which<'_>, entry: Option<&Entry>) -> String {
    let mut out = String::new();
    let mut left = entry;
    for line in text.lines() {
        match parse(line).filter(|found| which.is(found)) {
            None => out.push_str(line),
            Some(found) => match left.take() {
                Some(entry) if found == *entry => out.push_str(line),
                Some(entry) => out.push_str(&entry.line()),
                None => continue,
            },
        }
        out.push('\n');
    }
    if let Some(entry) = left {
        out.push_str(&entry.line());
        out.push('\n');
    }
    if out.strip_suffix('\n') == Some(text) { text.to_owned() } else { out }
}

fn parse(line: &str) -> Option<Entry> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let mut fields = line.split_whitespace();
    let number = |field: Option<&str>| field.map_or(Some(0), |text| text.parse().ok());
    Some(Entry {
        source: unescape(fields.next()?),
        target: unescape(fields.next()?),
        fstype: fields.next()?.to_owned(),
        options: unescape(fields.next().unwrap_or("defaults")),
        dump: number(fields.next())?,
        pass: number(fields.next())?,
    })
}

/// As `getmntent` does.
fn escape(field: &str) -> String {
    field.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011").replace('#', "\\043")
}

/// Octal escapes of the kernel and of fstab.
pub(super) fn unescape(field: &str) -> String {
    let mut out = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(source: &str, target: &str) -> Entry {
        Entry {
            source: source.into(),
            target: target.into(),
            fstype: "ext4".into(),
            options: "defaults".into(),
            dump: 0,
            pass: 2,
        }
    }

    #[test]
    fn one_line_changes_and_the_rest_stays() {
        let old =
            "# a comment\nUUID=1  /  ext4  errors=remount-ro 0 1\n/dev/b /my\\040data ext4 defaults 0 2\n";
        let which = Which::Target("/my data");
        assert_eq!(edited(old, &which, Some(&entry("/dev/b", "/my data"))), old);
        let new = edited(old, &which, Some(&entry("/dev/c", "/my data")));
        assert_eq!(new, old.replace("/dev/b", "/dev/c"));
        assert_eq!(edited(old, &which, None), old.split_inclusive('\n').take(2).collect::<String>());
        let added = edited("x", &Which::Target("/n"), Some(&entry("/dev/n", "/n")));
        assert_eq!(added, "x\n/dev/n /n ext4 defaults 0 2\n");
        assert_eq!(edited("no line break", &Which::Target("/n"), None), "no line break");
        let twice = format!("{old}/dev/z /my\\040data xfs defaults\n");
        assert_eq!(edited(&twice, &which, Some(&entry("/dev/b", "/my data"))), old);
    }

    #[test]
    fn escapes_go_there_and_back() {
        for text in ["/a b", "/a\tb", "/a\\b", "/a#b", "/plain", "/é"] {
            assert_eq!(unescape(&escape(text)), text);
        }
        assert_eq!(unescape("/x\\04"), "/x\\04");
        assert_eq!(unescape("\\"), "\\");
    }
}
