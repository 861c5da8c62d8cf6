//! `ini`: keys of one section. Everything else, comments and order too, stays.

use super::lines::{body, insert, line_end, lines};
use super::{Edit, EditError, Edited, Editor};
use crate::resource::Desired;
use std::ops::Range;

/// The edit.
pub struct Ini;
/// The type.
pub type IniType = Editor<Ini>;

impl Edit for Ini {
    const KIND: &'static str = "ini";
    const ATTRIBUTES: &'static [&'static str] = &["state", "section", "set", "remove", "separator"];

    fn is_sensitive(desired: &Desired) -> bool {
        desired.is_sensitive("set")
    }

    fn edit(desired: &Desired, text: &str) -> Result<Edited, EditError> {
        let section = desired.text("section")?.unwrap_or_default();
        let (set, remove) = (desired.texts("set")?, desired.strings("remove")?.unwrap_or_default());
        let separator = separator(desired)?;
        if section.contains(['[', ']']) || !is_plain(section) {
            return Err(EditError::invalid("section", "is not the name of a section"));
        }
        for key in set.keys().map(String::as_str).chain(remove.iter().copied()) {
            let odd = key.is_empty() || key.starts_with(['#', ';', '[']) || key.contains(['=', ':']);
            if odd || !is_plain(key) {
                let why =
                    format!("`{}` is not a key", crate::text::printable(crate::text::bounded(key, 100)));
                return Err(EditError::invalid(if set.contains_key(key) { "set" } else { "remove" }, why));
            }
        }
        if let Some((key, _)) = set.iter().find(|(_, value)| !is_plain(value)) {
            let why = format!("the value of `{key}` has to be one line, without spaces at its ends");
            return Err(EditError::invalid("set", why));
        }
        if let Some(key) = remove.iter().find(|key| set.contains_key(**key)) {
            return Err(EditError::invalid("remove", format!("`{key}` stands in `set` too")));
        }
        if desired.word("state", &["present", "absent"])? == "absent" {
            if !set.is_empty() || !remove.is_empty() {
                let why = "`absent` takes the whole section away; take `set` and `remove` out";
                return Err(EditError::invalid("state", why));
            }
            return without_section(text, section);
        }
        let (mut now, mut changes) = (text.to_owned(), Vec::new());
        for key in &remove {
            let (next, changed) = without_key(&now, section, key)?;
            now = next;
            changes.extend(changed.then(|| format!("removed {key}")));
        }
        for (key, value) in &set {
            let (next, changed) = with_key(&now, section, key, value, separator)?;
            now = next;
            changes.extend(changed.then(|| format!("set {key}")));
        }
        Ok(Edited { text: now, changes })
    }
}

fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.trim() == text
}

fn separator(desired: &Desired) -> Result<&str, EditError> {
    let separator = desired.required("separator")?;
    match separator.trim() {
        "=" | ":" if !separator.contains(['\n', '\r']) => Ok(separator),
        _ => Err(EditError::invalid("separator", "has to be `=` or `:`, with spaces around it or without")),
    }
}

/// What a line is.
enum Line<'a> {
    /// `[name]`
    Header(&'a str),
    /// A key, and where its value begins; none where the line is the key alone.
    Key(&'a str, Option<usize>),
    /// Blank, or a comment.
    Other,
}

fn read(line: &str) -> Result<Line<'_>, &'static str> {
    const BYTE_ORDER_MARK: char = '\u{feff}';
    let line = body(line);
    let trimmed = line.trim_start_matches(BYTE_ORDER_MARK).trim();
    if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
        return Ok(Line::Other);
    }
    if let Some(rest) = trimmed.strip_prefix('[') {
        let (name, _) = rest.split_once(']').ok_or("the name of the section has no `]`")?;
        return Ok(Line::Header(name.trim()));
    }
    let Some(at) = line.find(['=', ':']) else { return Ok(Line::Key(trimmed, None)) };
    let key = line.get(..at).unwrap_or_default().trim_start_matches(BYTE_ORDER_MARK).trim();
    let rest = line.get(at + 1..).unwrap_or_default();
    Ok(Line::Key(key, Some(at + 1 + rest.len() - rest.trim_start().len())))
}

/// The parts of a text that belong to a section, without its headers, as ranges of lines.
fn parts(all: &[&str], text: &str, section: &str) -> Result<Vec<Range<usize>>, EditError> {
    let mut parts = Vec::new();
    let (mut current, mut start, mut offset) = ("", 0, 0);
    for (at, line) in all.iter().enumerate() {
        if let Line::Header(name) = read(line).map_err(|what| EditError::at(text, offset, what))? {
            if current == section {
                parts.push(start..at);
            }
            (current, start) = (name, at + 1);
        }
        offset += line.len();
    }
    if current == section {
        parts.push(start..all.len());
    }
    Ok(parts)
}

/// Lines of a section that give a key.
fn places(all: &[&str], parts: &[Range<usize>], key: &str) -> Vec<(usize, Option<usize>)> {
    let lines = parts.iter().cloned().flatten();
    lines
        .filter_map(|at| match read(all.get(at)?) {
            Ok(Line::Key(found, value)) if found == key => Some((at, value)),
            _ => None,
        })
        .collect()
}

fn without_key(text: &str, section: &str, key: &str) -> Result<(String, bool), EditError> {
    let all = lines(text);
    let places = places(&all, &parts(&all, text, section)?, key);
    let gone = |at: usize| places.iter().any(|(place, _)| *place == at);
    let kept = all.iter().enumerate().filter(|(at, _)| !gone(*at)).map(|(_, line)| *line);
    Ok((kept.collect(), !places.is_empty()))
}

fn with_key(
    text: &str,
    section: &str,
    key: &str,
    value: &str,
    separator: &str,
) -> Result<(String, bool), EditError> {
    let all = lines(text);
    let end = line_end(text);
    let parts = parts(&all, text, section)?;
    let places = places(&all, &parts, key);
    let new = format!("{key}{separator}{value}").trim_end().to_owned();
    if let Some(((first, value_at), others)) = places.split_first() {
        let line = all.get(*first).copied().unwrap_or_default();
        let tail = line.get(body(line).len()..).unwrap_or_default();
        let replaced = match value_at {
            Some(at) if body(line).get(*at..).map(str::trim_end) == Some(value) => line.to_owned(),
            Some(at) => {
                let head = line.get(..*at).unwrap_or_default();
                let head = if value.is_empty() { head.trim_end() } else { head };
                format!("{head}{value}{tail}")
            }
            None => {
                let indent = line.len() - line.trim_start().len();
                format!("{}{new}{tail}", line.get(..indent).unwrap_or_default())
            }
        };
        let changed = replaced != line || !others.is_empty();
        let text = all
            .iter()
            .enumerate()
            .filter(|(at, _)| !others.iter().any(|(o, _)| o == at))
            .map(|(at, line)| if at == *first { replaced.as_str() } else { line });
        return Ok((text.collect(), changed));
    }
    let new = format!("{new}{end}");
    let Some(part) = parts.last().filter(|_| section.is_empty() || !parts.is_empty()) else {
        let gap = all.last().is_some_and(|line| !body(line).trim().is_empty());
        let head = format!("{}[{section}]{end}{new}", if gap { end } else { "" });
        return Ok((insert(&all, all.len(), &head, end), true));
    };
    // After the last key: what follows it may be about the next section.
    let is_key = |at: &usize| matches!(all.get(*at).map(|l| read(l)), Some(Ok(Line::Key(..))));
    let at = part.clone().rev().find(is_key).map_or(part.start, |at| at + 1);
    Ok((insert(&all, at, &new, end), true))
}

fn without_section(text: &str, section: &str) -> Result<Edited, EditError> {
    let all = lines(text);
    let parts = parts(&all, text, section)?;
    if section.is_empty() {
        return Err(EditError::invalid("section", "is missing: which section is to be absent?"));
    }
    let gone = |at: usize| parts.iter().any(|part| at + 1 >= part.start && at < part.end);
    let kept: String = all.iter().enumerate().filter(|(at, _)| !gone(*at)).map(|(_, line)| *line).collect();
    let changes = if parts.is_empty() { Vec::new() } else { vec!["section removed".to_owned()] };
    Ok(Edited { text: kept, changes })
}
