//! Variables of the server's own environment.

use super::{Provider, SecretError, Value};
use std::os::unix::ffi::OsStringExt;
use zeroize::Zeroizing;

#[derive(Debug)]
pub(super) struct Environment;

impl Provider for Environment {
    fn fetch(&self, path: &str) -> Result<Value, SecretError> {
        let name = variable(path);
        let value = std::env::var_os(&name)
            .ok_or_else(|| SecretError::Missing { path: path.to_owned(), place: format!("${name}") })?;
        Ok(Zeroizing::new(value.into_vec()))
    }
}

fn variable(path: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    "VIGO_SECRET_".chars().chain(path.chars().map(upper)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_variables() {
        assert_eq!(variable("db/pass-word.1"), "VIGO_SECRET_DB_PASS_WORD_1");
        let missing = Environment.fetch("surely/not/there").unwrap_err().to_string();
        assert!(missing.contains("$VIGO_SECRET_SURELY_NOT_THERE"), "{missing}");
        assert!(Environment.fetch("x").is_err());
    }
}
