//! One event to its receiver, signed so that it knows who sent it, and once more when it does not take it.

use super::WebhookSettings;
use crate::files;
use crate::outgoing::{self, OutgoingError};
use crate::store::events::EventRow;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fs;
use std::os::unix::fs::MetadataExt;
use zeroize::Zeroizing;

/// Bytes of a secret; shorter ones can be guessed.
const MIN_SECRET_BYTES: usize = 16;

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The secret.
    #[error("the secret in {file} cannot be used: {why}")]
    Secret {
        /// Its file.
        file: String,
        /// Why.
        why: String,
    },
    /// Nobody there, or no answer in time.
    #[error("the receiver does not answer: {0}")]
    Unreachable(String),
    /// It did not take it. Its words are not repeated.
    #[error("the receiver answers {0}")]
    Refused(u16),
}

/// The receiver.
#[derive(Debug)]
pub struct Webhook {
    settings: WebhookSettings,
    agent: ureq::Agent,
}

impl Webhook {
    /// Nothing is sent yet; the secret is looked at, so that a mistake shows when the server starts.
    pub fn new(settings: WebhookSettings) -> Result<Self, WebhookError> {
        let agent = outgoing::agent(settings.ca_file.as_deref(), settings.timeout, false)?;
        let webhook = Webhook { settings, agent };
        webhook.secret()?;
        Ok(webhook)
    }

    /// Read each time, so that it can be replaced while the server runs.
    fn secret(&self) -> Result<Option<Zeroizing<String>>, SendError> {
        let Some(file) = &self.settings.secret_file else { return Ok(None) };
        let refused = |why: String| SendError::Secret { file: file.display().to_string(), why };
        let meta = fs::metadata(file).map_err(|e| refused(e.to_string()))?;
        if meta.mode() & 0o077 != 0 {
            return Err(refused("others can read it; `chmod 600` it".to_owned()));
        }
        let text = Zeroizing::new(files::read_text(file).map_err(|e| refused(e.to_string()))?);
        let secret = Zeroizing::new(text.trim().to_owned());
        if secret.len() < MIN_SECRET_BYTES {
            return Err(refused(format!("it has less than {MIN_SECRET_BYTES} characters")));
        }
        Ok(Some(secret))
    }

    /// Sends an event; blocks until it was taken or not. `now` is milliseconds since 1970-01-01 UTC.
    pub fn send(&self, event: &EventRow, now: u64) -> Result<(), SendError> {
        let mut request = self
            .agent
            .post(&self.settings.url)
            .content_type("application/json")
            .header("idempotency-key", &event.id);
        if let Some(secret) = self.secret()? {
            request = request
                .header("vigo-signature", signature(secret.as_bytes(), now / 1000, event.body.as_bytes()));
        }
        let response =
            request.send(event.body.as_bytes()).map_err(|e| SendError::Unreachable(e.to_string()))?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(SendError::Refused(response.status().as_u16()))
        }
    }
}

/// Why there is no receiver.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// `events.webhook.ca_file`.
    #[error("`events.webhook.ca_file`: {0}")]
    Outgoing(#[from] OutgoingError),
    /// `events.webhook.secret_file`.
    #[error("`events.webhook.secret_file`: {0}")]
    Secret(#[from] SendError),
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 over the seconds since 1970, a dot and the body. The time is signed too, so that a
/// receiver can refuse what somebody recorded and plays back.
pub fn signature(secret: &[u8], seconds: u64, body: &[u8]) -> String {
    // Keys of any length are taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_other_programs_make() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let expected = "t=1700000000,v1=9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23";
        assert_eq!(signature(b"0123456789abcdef", 1_700_000_000, b"{\"a\":1}"), expected);
    }
}
