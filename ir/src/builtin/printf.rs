//! `printf`, after Go's `fmt`. What Go would mark inside the text (`%!d(string=x)`) is an error here.

use super::number::{self, Exponent};
use super::quote::{quoted, quoted_char};
use super::text::plain;
use super::{Answer, Fault, int};
use crate::value::Value;

/// Go refuses a larger width or precision.
const LARGEST: usize = 1_000_000;

pub(crate) fn printf(args: &[Value], limit: usize) -> Answer {
    let Some((format, args)) = args.split_first() else { return Err("takes a format".into()) };
    let Value::Str(format) = format else { return Err("the format must be a string".into()) };
    let mut p = Printer { format, at: 0, args, next: 0, reordered: false, out: String::new(), limit };
    p.run()?;
    Ok(Value::from(p.out))
}

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Default)]
struct Spec {
    sharp: bool,
    zero: bool,
    plus: bool,
    minus: bool,
    space: bool,
    /// `%#v`: Go syntax.
    go: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Printer<'a> {
    format: &'a str,
    at: usize,
    args: &'a [Value],
    next: usize,
    /// An explicit index was used, so arguments may be left over.
    reordered: bool,
    out: String,
    limit: usize,
}

impl<'a> Printer<'a> {
    fn run(&mut self) -> Result<(), Fault> {
        while let Some((text, _)) = self.rest().split_once('%') {
            self.at += text.len() + 1;
            self.push(text)?;
            self.verb()?;
        }
        self.push(self.rest())?;
        if !self.reordered && self.next < self.args.len() {
            return Err(Fault::Message(format!(
                "{} arguments, but the format takes {}",
                self.args.len(),
                self.next
            )));
        }
        Ok(())
    }

    fn rest(&self) -> &'a str {
        self.format.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.format.as_bytes().get(self.at).copied()
    }

    fn verb(&mut self) -> Result<(), Fault> {
        let mut spec = self.flags();
        let mut indexed = self.index()?;
        if self.peek() == Some(b'*') {
            self.at += 1;
            let width = self.star("width")?;
            // A negative width is the flag `-`.
            spec.minus |= width < 0;
            spec.zero &= width >= 0;
            spec.width = Some(width.unsigned_abs() as usize);
            indexed = false;
        } else {
            spec.width = self.number()?;
            if indexed && spec.width.is_some() {
                return Err("a width cannot follow an index".into());
            }
        }
        if self.peek() == Some(b'.') && self.at + 1 < self.format.len() {
            self.at += 1;
            if indexed {
                return Err("a precision cannot follow an index".into());
            }
            indexed = self.index()?;
            if self.peek() == Some(b'*') {
                self.at += 1;
                let precision = self.star("precision")?;
                spec.precision =
                    Some(usize::try_from(precision).map_err(|_| Fault::from("the precision is below zero"))?);
                indexed = false;
            } else {
                spec.precision = Some(self.number()?.unwrap_or(0));
            }
        }
        if !indexed {
            self.index()?;
        }
        let Some(verb) = self.rest().chars().next() else { return Err("a verb is missing after %".into()) };
        self.at += verb.len_utf8();
        if verb == '%' {
            return self.push("%");
        }
        let Some(arg) = self.args.get(self.next) else {
            return Err(Fault::Message(format!("there is no argument for %{verb}")));
        };
        self.next += 1;
        if verb == 'v' {
            spec.go = std::mem::take(&mut spec.sharp);
            spec.plus = false;
        }
        self.arg(arg, verb, spec, false)
    }

    fn flags(&mut self) -> Spec {
        let mut spec = Spec::default();
        loop {
            match self.peek() {
                Some(b'#') => spec.sharp = true,
                Some(b'0') => spec.zero = !spec.minus,
                Some(b'+') => spec.plus = true,
                Some(b'-') => (spec.minus, spec.zero) = (true, false),
                Some(b' ') => spec.space = true,
                _ => return spec,
            }
            self.at += 1;
        }
    }

    /// `[n]`: the next argument is the nth. Says whether one stood here.
    fn index(&mut self) -> Result<bool, Fault> {
        if self.peek() != Some(b'[') {
            return Ok(false);
        }
        self.reordered = true;
        let inside = self.rest().split_once(']').and_then(|(inside, _)| inside.get(1..)).unwrap_or_default();
        let index = inside.parse().ok().filter(|n| (1..=self.args.len()).contains(n));
        let index =
            index.ok_or_else(|| Fault::Message(format!("[{inside}] is not the number of an argument")))?;
        self.next = index - 1;
        self.at += inside.len() + 2;
        Ok(true)
    }

    fn number(&mut self) -> Result<Option<usize>, Fault> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let text = self.rest().get(..digits).unwrap_or_default();
        let number = if text.is_empty() { Ok(None) } else { text.parse().map(Some) };
        self.at += digits;
        number.ok().filter(|n| n.is_none_or(|n| n <= LARGEST)).ok_or_else(|| "a width is too large".into())
    }

    fn star(&mut self, what: &str) -> Result<i64, Fault> {
        let arg =
            self.args.get(self.next).ok_or_else(|| Fault::Message(format!("there is no {what} for *")))?;
        self.next += 1;
        let n = int(arg)?;
        if n.unsigned_abs() > LARGEST as u64 {
            return Err(Fault::Message(format!("the {what} {n} is too large")));
        }
        Ok(n)
    }

    fn push(&mut self, text: &str) -> Result<(), Fault> {
        if self.out.len() + text.len() > self.limit {
            return Err(Fault::TooMuchText);
        }
        self.out.push_str(text);
        Ok(())
    }

    fn fill(&mut self, spec: Spec, missing: usize) -> Result<(), Fault> {
        if self.out.len() + missing > self.limit {
            return Err(Fault::TooMuchText);
        }
        let pad = if spec.zero { '0' } else { ' ' };
        self.out.extend(std::iter::repeat_n(pad, missing));
        Ok(())
    }

    fn pad(&mut self, spec: Spec, text: &str) -> Result<(), Fault> {
        let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
        if !spec.minus {
            self.fill(spec, missing)?;
        }
        self.push(text)?;
        if spec.minus { self.fill(spec, missing) } else { Ok(()) }
    }

    fn arg(&mut self, arg: &Value, verb: char, spec: Spec, nested: bool) -> Result<(), Fault> {
        if verb == 'T' && !nested {
            return self.pad(spec, truncate(spec, go_type(arg)));
        }
        match arg {
            // An address, and an error to wrap.
            _ if matches!(verb, 'p' | 'w') => wrong(verb, arg.kind()),
            Value::Null if nested => self.push(if spec.go { "interface {}(nil)" } else { "<nil>" }),
            Value::Null if verb == 'v' => self.pad(spec, "<nil>"),
            Value::Bool(b) if matches!(verb, 't' | 'v') => self.pad(spec, if *b { "true" } else { "false" }),
            Value::Int(i) => self.int(*i, verb, spec),
            Value::Float(f) => self.float(f.get(), verb, spec),
            Value::Str(s) => self.string(s, verb, spec),
            Value::List(items) => {
                let (open, between, close) =
                    if spec.go { ("[]interface {}{", ", ", "}") } else { ("[", " ", "]") };
                self.push(open)?;
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        self.push(between)?;
                    }
                    self.arg(item, verb, spec, true)?;
                }
                self.push(close)
            }
            Value::Map(map) => {
                let (open, between, close) =
                    if spec.go { ("map[string]interface {}{", ", ", "}") } else { ("map[", " ", "]") };
                self.push(open)?;
                for (n, (key, item)) in map.iter().enumerate() {
                    if n > 0 {
                        self.push(between)?;
                    }
                    self.string(key, verb, spec)?;
                    self.push(":")?;
                    self.arg(item, verb, spec, true)?;
                }
                self.push(close)
            }
            Value::Bytes(_) | Value::Secret(_) => plain(arg).map(|_| ()),
            Value::Null | Value::Bool(_) => wrong(verb, arg.kind()),
        }
    }

    fn int(&mut self, i: i64, verb: char, spec: Spec) -> Result<(), Fault> {
        let char_of = |i: i64| u32::try_from(i).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
        let n = i.unsigned_abs();
        let (digits, prefix) = match verb {
            'v' | 'd' => (n.to_string(), ""),
            'b' => (format!("{n:b}"), if spec.sharp { "0b" } else { "" }),
            'o' | 'O' => (format!("{n:o}"), if verb == 'O' { "0o" } else { "" }),
            'x' => (format!("{n:x}"), if spec.sharp { "0x" } else { "" }),
            'X' => (format!("{n:X}"), if spec.sharp { "0X" } else { "" }),
            'c' => return self.pad(spec, &char_of(i).to_string()),
            'q' => return self.pad(spec, &quoted_char(char_of(i), spec.plus)),
            'U' => return self.unicode(i, spec),
            _ => return wrong(verb, "int"),
        };
        let sign = sign(i < 0, spec);
        let least = match (spec.precision, spec.width) {
            // Nothing is printed but the padding.
            (Some(0), _) if i == 0 => return self.pad(Spec { zero: false, minus: false, ..spec }, ""),
            (Some(p), _) => p,
            (None, Some(w)) if spec.zero => w.saturating_sub(sign.len()),
            _ => 0,
        };
        let mut digits = format!("{}{digits}", "0".repeat(least.saturating_sub(digits.len())));
        if spec.sharp && matches!(verb, 'o' | 'O') && !digits.starts_with('0') {
            digits.insert(0, '0');
        }
        self.pad(Spec { zero: false, ..spec }, &format!("{sign}{prefix}{digits}"))
    }

    fn unicode(&mut self, i: i64, spec: Spec) -> Result<(), Fault> {
        let least = spec.precision.unwrap_or(4).max(4);
        let digits = format!("{:X}", i as u64);
        let mut text = format!("U+{}{digits}", "0".repeat(least.saturating_sub(digits.len())));
        if let Some(c) = u32::try_from(i).ok().and_then(char::from_u32)
            && spec.sharp
            && super::quote::printable(c)
        {
            text.push_str(&format!(" '{c}'"));
        }
        self.pad(Spec { zero: false, ..spec }, &text)
    }

    fn float(&mut self, f: f64, verb: char, spec: Spec) -> Result<(), Fault> {
        let p = spec.precision;
        let magnitude = f.abs();
        let mut text = match verb {
            'v' | 'g' | 'G' => number::float(magnitude, Exponent::WhenLong, p),
            'e' | 'E' => number::float(magnitude, Exponent::Always, p.or(Some(6))),
            'f' | 'F' => number::float(magnitude, Exponent::Never, p.or(Some(6))),
            'b' => number::binary(magnitude),
            'x' | 'X' => number::hex(magnitude, p),
            _ => return wrong(verb, "float"),
        };
        if spec.sharp && verb != 'b' {
            text = number::with_point(&text, verb, p);
        }
        if verb.is_ascii_uppercase() {
            text.make_ascii_uppercase();
        }
        let sign = sign(f.is_sign_negative(), spec);
        let length = sign.len() + text.len();
        match spec.width {
            Some(width) if spec.zero && !sign.is_empty() && width > length => {
                self.push(sign)?;
                self.fill(spec, width - length)?;
                self.push(&text)
            }
            _ => self.pad(spec, &format!("{sign}{text}")),
        }
    }

    fn string(&mut self, s: &str, verb: char, spec: Spec) -> Result<(), Fault> {
        match verb {
            'v' if spec.go => self.pad(spec, &quoted(truncate(spec, s), false)),
            'v' | 's' => self.pad(spec, truncate(spec, s)),
            'x' | 'X' => self.hex(s, verb, spec),
            'q' => {
                let s = truncate(spec, s);
                let raw = |c: char| c != '`' && c != '\u{feff}' && (c == '\t' || (c >= ' ' && c != '\u{7f}'));
                if spec.sharp && s.chars().all(raw) {
                    return self.pad(spec, &format!("`{s}`"));
                }
                self.pad(spec, &quoted(s, spec.plus))
            }
            _ => wrong(verb, "string"),
        }
    }

    /// The bytes of a string.
    fn hex(&mut self, s: &str, verb: char, spec: Spec) -> Result<(), Fault> {
        let bytes = s.as_bytes();
        let bytes = bytes.get(..spec.precision.unwrap_or(bytes.len())).unwrap_or(bytes);
        let prefix = match (spec.sharp, verb) {
            (false, _) => "",
            (true, 'x') => "0x",
            (true, _) => "0X",
        };
        if bytes.is_empty() {
            // As Go does, on the left even with `-`.
            return self.fill(spec, spec.width.unwrap_or(0));
        }
        let mut text = String::from(prefix);
        for (n, byte) in bytes.iter().enumerate() {
            if spec.space && n > 0 {
                text.push(' ');
                text.push_str(prefix);
            }
            text.push_str(&if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") });
        }
        self.pad(spec, &text)
    }
}

fn sign(negative: bool, spec: Spec) -> &'static str {
    match spec {
        _ if negative => "-",
        Spec { plus: true, .. } => "+",
        Spec { space: true, .. } => " ",
        _ => "",
    }
}

/// To as many characters as the precision says.
fn truncate(spec: Spec, s: &str) -> &str {
    match spec.precision.and_then(|p| s.char_indices().nth(p)) {
        Some((end, _)) => s.get(..end).unwrap_or(s),
        None => s,
    }
}

fn wrong(verb: char, kind: &str) -> Result<(), Fault> {
    Err(Fault::Message(format!("%{verb} cannot print {kind}")))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float64",
        Value::Str(_) | Value::Secret(_) => "string",
        Value::Bytes(_) => "[]uint8",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
    }
}
