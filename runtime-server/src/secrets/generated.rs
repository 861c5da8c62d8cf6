//! Values that nobody chose, for trying a policy out.

use super::{Provider, SecretError, Value, unreadable};
use std::fmt::Write;
use std::time::Duration;
use zeroize::Zeroizing;

#[derive(Debug, Default)]
pub(super) struct Generated;

impl Provider for Generated {
    fn fetch(&self, path: &str) -> Result<Value, SecretError> {
        let mut random = Zeroizing::new([0; 18]);
        getrandom::fill(random.as_mut_slice()).map_err(|e| unreadable(path, e))?;
        let mut text = Zeroizing::new(String::with_capacity(36));
        for byte in random.iter() {
            write!(text, "{byte:02x}").map_err(|e| unreadable(path, e))?;
        }
        Ok(Zeroizing::new(text.as_bytes().to_vec()))
    }

    /// For as long as the process lives.
    fn keep(&self) -> Duration {
        Duration::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Backend, Secrets};

    #[test]
    fn made_up_secrets_stay_the_same() {
        let secrets = Secrets::new(&Backend::Generated, [1; 32]).unwrap();
        assert_eq!(secrets.get("a").unwrap().value, secrets.get("a").unwrap().value);
        assert_ne!(secrets.get("a").unwrap().value, secrets.get("b").unwrap().value);
    }
}
