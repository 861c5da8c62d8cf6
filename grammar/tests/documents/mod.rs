//! Documents as people lay them out, out of a stream of random bytes: every style of scalar and collection, in any
//! indentation, with comments and blank lines wherever they may stand.

/// Writes a document. The same bytes give the same text; no bytes give the simplest one.
pub fn document(bytes: &[u8]) -> String {
    let mut w = Writer { bytes, at: 0, out: String::new(), fuel: 40 };
    if w.one_in(12) {
        w.out.push_str("---\n");
    }
    w.filler(0);
    match w.pick(10) {
        0 => w.seq(0),
        1 => {
            w.scalar(None);
            w.end_line();
        }
        2 => {
            w.flow(0, 0);
            w.end_line();
        }
        _ => w.map(0),
    }
    w.filler(0);
    if w.one_in(8) {
        return w.out.trim_end_matches('\n').to_owned();
    }
    if w.one_in(8) {
        return w.out.replace('\n', "\r\n");
    }
    w.out
}

struct Writer<'a> {
    bytes: &'a [u8],
    at: usize,
    out: String,
    /// Values that may still be written.
    fuel: usize,
}

const WORDS: &[&str] = &[
    "a",
    "b",
    "0644",
    "true",
    "~",
    "null",
    "1.10",
    "x y",
    "http://x/#y",
    "é",
    "-c",
    "?d",
    ":e",
    "a#b",
    "f:g",
    "it's",
    "h \"i\"",
    "-",
    "0x1F",
    ".5",
    "j\\k",
    "*.conf",
    "&x",
    "!y",
    "%z",
    "@w",
    "`v`",
    "yes",
    "--- x",
    "..",
    "<<",
    "{{ .x }}",
    "a: b",
    "c #d",
    "[e",
    "f]",
    "{g",
    "h}",
    "i,j",
    "|",
    ">=1",
    "# k",
    "'l'",
    "\"m\"",
    "n:",
    "- o",
    "? p",
    "\u{a0}q",
    "\u{2028}r",
];

impl Writer<'_> {
    fn pick(&mut self, ways: usize) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or(255);
        self.at += 1;
        usize::from(255 - byte) % ways
    }

    /// Never without bytes.
    fn one_in(&mut self, ways: usize) -> bool {
        self.pick(ways) == ways - 1
    }

    fn spaces(&mut self, n: usize) {
        self.out.push_str(&" ".repeat(n));
    }

    /// Comments and blank lines, or nothing.
    fn filler(&mut self, indent: usize) {
        while self.one_in(6) {
            match self.pick(4) {
                0 => self.out.push('\n'),
                1 => {
                    let n = self.pick(9);
                    self.spaces(n);
                    self.out.push_str("# deep\n");
                }
                2 => self.out.push_str("  \n"),
                _ => {
                    self.spaces(indent);
                    self.out.push_str("# here  \n");
                }
            }
        }
    }

    fn end_line(&mut self) {
        if self.one_in(5) {
            let n = 1 + self.pick(5);
            self.spaces(n);
            self.out.push_str("# end");
        } else if self.one_in(12) {
            self.out.push_str("  ");
        }
        self.out.push('\n');
    }

    fn word(&mut self) -> &'static str {
        if self.one_in(3) { WORDS[self.pick(WORDS.len())] } else { ["a", "bc", "def"][self.pick(3)] }
    }

    fn key(&mut self, number: usize) -> String {
        let word = self.word();
        let text = format!("{word}{number}");
        match self.pick(6) {
            0 => format!("\"{}\"", escaped(&text)),
            1 => format!("'{}'", text.replace('\'', "''")),
            _ if is_plain(&text, true) => text,
            _ => format!("'{}'", text.replace('\'', "''")),
        }
    }

    fn map(&mut self, indent: usize) {
        let entries = 1 + self.pick(4);
        for number in 0..entries {
            if number > 0 {
                self.filler(indent);
                self.spaces(indent);
            }
            let key = self.key(number);
            self.out.push_str(&key);
            if self.one_in(12) {
                self.out.push(' ');
            }
            self.out.push(':');
            self.value(indent, true);
        }
    }

    fn seq(&mut self, indent: usize) {
        let items = 1 + self.pick(4);
        for number in 0..items {
            if number > 0 {
                self.filler(indent);
                self.spaces(indent);
            }
            self.out.push('-');
            self.value(indent, false);
        }
    }

    /// What follows a `key:` or a `-` that stands at `indent`.
    fn value(&mut self, indent: usize, of_key: bool) {
        if self.fuel == 0 {
            return self.end_line();
        }
        self.fuel -= 1;
        match self.pick(9) {
            0 | 1 => {
                let before = self.out.len();
                if self.one_in(6) {
                    self.end_line();
                    self.filler(indent + 1);
                    let n = indent + 1 + self.pick(3);
                    self.spaces(n);
                } else {
                    let n = 1 + if self.one_in(6) { self.pick(4) } else { 0 };
                    self.spaces(n);
                }
                let block = self.scalar(Some(indent));
                if !block {
                    self.end_line();
                }
                debug_assert!(self.out.len() > before);
            }
            2 => self.end_line(),
            3 => {
                self.out.push(' ');
                self.flow(indent + 1, 0);
                self.end_line();
            }
            4 if !of_key => {
                let n = 1 + self.pick(3);
                self.spaces(n);
                if self.one_in(2) { self.map(indent + 1 + n) } else { self.seq(indent + 1 + n) }
            }
            5 if of_key => {
                self.end_line();
                let n = indent + if self.one_in(3) { 0 } else { 1 + self.pick(4) };
                self.filler(n);
                self.spaces(n);
                self.seq(n);
            }
            _ => {
                self.end_line();
                let n = indent + 1 + self.pick(4);
                self.filler(n);
                self.spaces(n);
                self.map(n);
            }
        }
    }

    /// A scalar; tells whether it was a block text, which ends its own line. `indent` is the block's, nothing at the root.
    fn scalar(&mut self, indent: Option<usize>) -> bool {
        let deeper = indent.map_or(0, |n| n + 1);
        match self.pick(7) {
            0 => {
                let word = self.word();
                self.out.push_str(&format!("'{}", word.replace('\'', "''")));
                while self.one_in(3) {
                    self.line_break(deeper);
                    let word = self.word().replace('\'', "''");
                    self.out.push_str(&word);
                }
                self.out.push('\'');
            }
            1 => {
                let word = escaped(self.word());
                self.out.push_str(&format!("\"{word}"));
                while self.one_in(3) {
                    let end = ["", "\\", "\\ ", "\\n", "\\t\\", " "][self.pick(6)];
                    self.out.push_str(end);
                    self.line_break(deeper);
                    let start = ["", "\\ ", "\\\t", "\\x41"][self.pick(4)];
                    self.out.push_str(start);
                    let word = escaped(self.word());
                    self.out.push_str(&word);
                }
                self.out.push('"');
            }
            2 => {
                self.block_text(indent);
                return true;
            }
            _ => {
                let word = Some(self.word()).filter(|w| is_plain(w, false)).unwrap_or("z");
                self.out.push_str(word);
                while self.one_in(4) {
                    self.line_break(deeper);
                    let word = Some(self.word()).filter(|w| is_plain(w, false)).unwrap_or("- z");
                    self.out.push_str(word);
                }
            }
        }
        false
    }

    /// Within a text: blank lines, and the indentation of what follows.
    fn line_break(&mut self, deeper: usize) {
        let text = ["\n", " \n", "\n\n", "\n   \n\t\n"][self.pick(4)];
        self.out.push_str(text);
        let n = deeper + self.pick(3);
        self.spaces(n);
    }

    fn block_text(&mut self, indent: Option<usize>) {
        let digit = 1 + self.pick(4);
        let explicit = self.one_in(3);
        let column = indent.unwrap_or(0) + if indent.is_none() && !explicit { 0 } else { digit };
        let style = if self.one_in(2) { '>' } else { '|' };
        self.out.push(style);
        let chomp = ["", "-", "+"][self.pick(3)];
        let digit = if explicit { digit.to_string() } else { String::new() };
        let header = if self.one_in(2) { format!("{digit}{chomp}") } else { format!("{chomp}{digit}") };
        self.out.push_str(&header);
        self.end_line();
        let lines = self.pick(5);
        let mut first = true;
        for _ in 0..lines {
            match self.pick(6) {
                0 => self.out.push('\n'),
                1 => {
                    let n = self.pick(column + 1);
                    self.spaces(n);
                    self.out.push('\n');
                }
                2 if explicit || !first => {
                    let n = column + 1 + self.pick(3);
                    self.spaces(n);
                    let text = ["x", "", "# x", "- x"][self.pick(4)];
                    self.out.push_str(text);
                    self.out.push('\n');
                    first = false;
                }
                _ => {
                    let text = ["x", "y: z", "# w", "- v", "\tu", "t  ", "{{ .s }}", "r\t"][self.pick(8)];
                    // Readers do not agree about a tab at the left edge.
                    let text = if column == 0 { text.trim_start() } else { text };
                    self.spaces(column);
                    self.out.push_str(text);
                    self.out.push('\n');
                    first = false;
                }
            }
        }
    }

    /// A value in brackets, or a scalar if it is in some already.
    fn flow(&mut self, floor: usize, depth: usize) {
        let kind = self.pick(if depth == 0 { 2 } else { 6 });
        if depth > 3 || kind > 1 || self.fuel == 0 {
            return self.flow_scalar(floor);
        }
        self.fuel -= 1;
        let (open, close) = if kind == 0 { ('[', ']') } else { ('{', '}') };
        self.out.push(open);
        let items = self.pick(5);
        for number in 0..items {
            self.flow_space(floor);
            if kind == 1 || self.one_in(6) {
                let key = self.key(number);
                self.out.push_str(&if is_plain(&key, true) || key.starts_with(['"', '\'']) {
                    key
                } else {
                    "k".into()
                });
                if kind == 0 || !self.one_in(8) {
                    self.out.push(':');
                    if !self.one_in(8) {
                        self.out.push(' ');
                        self.flow_space(floor);
                        self.flow(floor, depth + 1);
                    }
                }
            } else {
                self.flow(floor, depth + 1);
            }
            self.flow_space(floor);
            if number + 1 < items || self.one_in(6) {
                self.out.push(',');
            }
        }
        self.flow_space(floor);
        self.out.push(close);
    }

    fn flow_space(&mut self, floor: usize) {
        match self.pick(8) {
            0 => self.out.push(' '),
            7 => {
                self.end_line();
                self.filler(floor);
                let n = floor + self.pick(4);
                self.spaces(n);
            }
            _ => {}
        }
    }

    fn flow_scalar(&mut self, floor: usize) {
        let word = self.word();
        match self.pick(4) {
            0 => self.out.push_str(&format!("'{}'", word.replace('\'', "''"))),
            1 => self.out.push_str(&format!("\"{}\"", escaped(word))),
            _ => {
                let plain =
                    |w: &str| is_plain(w, false) && !w.contains([',', '[', ']', '{', '}']) && w != "-";
                self.out.push_str(if plain(word) { word } else { "z" });
                if self.one_in(8) {
                    self.line_break(floor);
                    self.out.push('w');
                }
            }
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Whether the text can be written without quotes, as a key or as a value.
fn is_plain(text: &str, key: bool) -> bool {
    let first = text.chars().next();
    let indicator =
        first.is_some_and(|c| "-?:".contains(c)) && matches!(text.chars().nth(1), None | Some(' '));
    let not_plain = indicator
        || first.is_none_or(|c| ",[]{}#&*!|>'\"%@`".contains(c))
        || [": ", " #", ",", "[", "]", "{", "}"].iter().any(|part| text.contains(part))
        || text.ends_with(':')
        || (key && text.starts_with("<<"));
    !not_plain
}
