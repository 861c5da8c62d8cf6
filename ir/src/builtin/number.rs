//! Floats as Go's `strconv` writes them.

/// When a float is written with an exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exponent {
    /// `%f`
    Never,
    /// `%e`
    Always,
    /// `%g`: below 1e-4, and from as many digits on as were asked for (six when none were).
    WhenLong,
}

/// No float has more significant decimal digits, or more after the point; the rest of a longer precision is
/// zeros. `format!` would not take one above 65,535 at all.
const MOST_DIGITS: usize = 1100;

/// `precision`: `None` for the fewest digits that read back as the same float.
pub(crate) fn float(f: f64, exponent: Exponent, precision: Option<usize>) -> String {
    let digits = match (exponent, precision) {
        (_, None) => Digits::shortest(f),
        (Exponent::Never, Some(p)) => {
            let mut text = format!("{:.*}", p.min(MOST_DIGITS), f);
            text.extend(std::iter::repeat_n('0', p.saturating_sub(MOST_DIGITS)));
            return text;
        }
        (Exponent::Always, Some(p)) => Digits::rounded(f, p.saturating_add(1)),
        (Exponent::WhenLong, Some(p)) => Digits::rounded(f, p.max(1)),
    };
    let sign = if f.is_sign_negative() { "-" } else { "" };
    let count = digits.text.len();
    let body = match (exponent, precision) {
        (Exponent::Never, _) => digits.fixed(fraction(count, digits.point)),
        (Exponent::Always, p) => digits.scientific(p.unwrap_or(count.saturating_sub(1))),
        (Exponent::WhenLong, p) => {
            let wanted = p.map_or(count, |p| p.max(1));
            let long = match p {
                None => 6,
                Some(_) if wanted > count && count as i32 >= digits.point => count as i32,
                Some(_) => wanted as i32,
            };
            let exp = digits.point - 1;
            if exp < -4 || exp >= long {
                digits.scientific(wanted.min(count).saturating_sub(1))
            } else {
                digits.fixed(fraction(count, digits.point))
            }
        }
    };
    format!("{sign}{body}")
}

/// `%b`: the mantissa as an integer, and the power of two. `f` is not negative.
pub(crate) fn binary(f: f64) -> String {
    let (mantissa, exp) = parts(f);
    format!("{mantissa}p{:+}", exp - 52)
}

/// `%x`: hexadecimal digits after a leading one. `f` is not negative.
pub(crate) fn hex(f: f64, precision: Option<usize>) -> String {
    let (mut mantissa, mut exp) = parts(f);
    if mantissa == 0 {
        exp = 0;
    } else {
        // The leading one to bit 60.
        let shift = mantissa.leading_zeros() - 3;
        mantissa <<= shift;
        exp -= shift as i32 - 8;
    }
    if let Some(p @ ..15) = precision {
        let shift = 4 * p as u32;
        let extra = (mantissa << shift) & ((1 << 60) - 1);
        mantissa >>= 60 - shift;
        if extra | (mantissa & 1) > 1 << 59 {
            mantissa += 1;
        }
        mantissa <<= 60 - shift;
        if mantissa & (1 << 61) != 0 {
            mantissa >>= 1;
            exp += 1;
        }
    }
    let digits = format!("{:015x}", mantissa & ((1 << 60) - 1));
    let digits = match precision {
        None => digits.trim_end_matches('0').to_owned(),
        Some(p) => digits.chars().chain(std::iter::repeat('0')).take(p).collect(),
    };
    let point = if digits.is_empty() { "" } else { "." };
    let sign = if exp < 0 { '-' } else { '+' };
    format!("0x{}{point}{digits}p{sign}{:02}", mantissa >> 60, exp.abs())
}

/// Mantissa with its hidden bit, and the exponent of that bit.
fn parts(f: f64) -> (u64, i32) {
    let bits = f.to_bits();
    let mantissa = bits & ((1 << 52) - 1);
    match (bits >> 52) as i32 & 0x7ff {
        0 => (mantissa, -1022),
        exp => (mantissa | 1 << 52, exp - 1023),
    }
}

/// The flag `#`: always a decimal point, and for `%g` its trailing zeros.
pub(crate) fn with_point(text: &str, verb: char, precision: Option<usize>) -> String {
    let mark = if matches!(verb, 'x' | 'X') { 'p' } else { 'e' };
    let end = text.find(mark).unwrap_or(text.len());
    let (head, tail) = text.split_at(end);
    let mut wanted = match verb {
        'v' | 'g' | 'G' | 'x' => precision.unwrap_or(6) as i64,
        _ => 0,
    };
    let digits = head.bytes().filter(|b| *b != b'.');
    wanted -= digits.skip_while(|b| *b == b'0').count() as i64;
    let mut out = head.to_owned();
    if !head.contains('.') {
        if head == "0" {
            wanted -= 1;
        }
        out.push('.');
    }
    out.extend(std::iter::repeat_n('0', usize::try_from(wanted).unwrap_or(0)));
    out + tail
}

fn fraction(digits: usize, point: i32) -> usize {
    usize::try_from(digits as i64 - i64::from(point)).unwrap_or(0)
}

/// Decimal digits without trailing zeros (none at all for zero), and where the point stands among them.
struct Digits {
    text: Vec<u8>,
    point: i32,
}

impl Digits {
    fn shortest(f: f64) -> Self {
        Self::parse(&format!("{:e}", f.abs()))
    }

    fn rounded(f: f64, digits: usize) -> Self {
        Self::parse(&format!("{:.*e}", digits.min(MOST_DIGITS) - 1, f.abs()))
    }

    fn parse(scientific: &str) -> Self {
        let (mantissa, exp) = scientific.split_once('e').unwrap_or((scientific, "0"));
        let mut text: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
        while text.last() == Some(&b'0') {
            text.pop();
        }
        let point = if text.is_empty() { 0 } else { exp.parse().unwrap_or(0) + 1 };
        Digits { text, point }
    }

    fn digit(&self, at: i64) -> char {
        usize::try_from(at).ok().and_then(|at| self.text.get(at)).map_or('0', |d| char::from(*d))
    }

    fn fixed(&self, fraction: usize) -> String {
        let mut out: String = (0..i64::from(self.point)).map(|n| self.digit(n)).collect();
        if out.is_empty() {
            out.push('0');
        }
        if fraction > 0 {
            out.push('.');
            out.extend((0..fraction as i64).map(|n| self.digit(i64::from(self.point) + n)));
        }
        out
    }

    fn scientific(&self, fraction: usize) -> String {
        let mut out = String::from(self.digit(0));
        if fraction > 0 {
            out.push('.');
            out.extend((1..=fraction as i64).map(|n| self.digit(n)));
        }
        let exp = if self.text.is_empty() { 0 } else { self.point - 1 };
        let sign = if exp < 0 { '-' } else { '+' };
        format!("{out}e{sign}{:02}", exp.abs())
    }
}
