//! Expressions as people write them: what is left of a policy for a class or an envoy can be shown, and parsed again.

mod template;
mod when;

pub use template::template_text;
pub use when::when_text;

use crate::builtin::number::{Exponent, float};

/// A float that is read as one again.
fn float_text(f: f64) -> String {
    let text = float(f, Exponent::Never, None);
    if text.contains('.') { text } else { text + ".0" }
}
