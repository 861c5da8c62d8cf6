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
