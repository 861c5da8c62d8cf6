//! A new certificate, for a new key, before the old one ends.
//!
//! The server lets the old one in until the new one is used for the first time, and an identity is one file, so nothing is
//! lost at whatever moment the agent or the answer is.

use crate::agent::{AgentError, Session};
use crate::checkin::{CheckInError, Conversation};
use crate::clock::Millis;
use crate::enrol::{EnrolError, certificate_is_ours, csr, new_key};
use crate::identity::Identity;
use crate::observe::RunObserver;
use crate::server::{NetError, Server};
use ed25519_dalek::SigningKey;
use ir::Hash;
use prost::Message;
use protocol::pb::{self, renew_reply::Answer};
use protocol::request::{self, Rpc};

/// Answers that only ask for another request.
const MAX_ROUNDS: usize = 4;

/// Why there is no new certificate. The old one is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The conversation.
    #[error(transparent)]
    CheckIn(#[from] CheckInError),
    /// No key, or a certificate that is not for it.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// It could not be written down.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

impl From<NetError> for RenewError {
    fn from(error: NetError) -> Self {
        RenewError::CheckIn(error.into())
    }
}

/// When a certificate is renewed: at a point between 50 and 75 % of its life, another one for each, so that hosts that
/// were enrolled together do not come together. `None` for one that does not read.
pub fn due(identity: &Identity) -> Option<Millis> {
    let certificate = identity.certificate()?;
    let life = certificate.not_after.saturating_sub(certificate.not_before);
    let random: u64 = Hash::of(identity.certificate_pem.as_bytes()).0[0].into();
    Some(certificate.not_before.saturating_add(life / 2 + life / 4 * random / 255))
}

impl Conversation<'_> {
    /// A key, and a certificate for it in PEM.
    fn certificate(&self, server: &mut dyn Server) -> Result<(SigningKey, String), RenewError> {
        let key = new_key()?;
        let payload = pb::RenewRequest { csr_pem: csr(&key, &self.identity.hostname)? }.encode_to_vec();
        let mut record = self.store.current_key().map_err(CheckInError::from)?;
        for _ in 0..MAX_ROUNDS {
            let trusted = record.as_ref().and_then(|r| self.trust(r).ok());
            let mut nonce = [0; 16];
            getrandom::fill(&mut nonce).map_err(CheckInError::Random)?;
            let header = self.header(trusted.as_ref(), &nonce).map_err(CheckInError::from)?;
            let reply = server.renew(request::sign(&self.identity.key, Rpc::Renew, &header, &payload))?;
            match reply.answer.ok_or(CheckInError::Protocol("it is empty"))? {
                Answer::CertificatePem(pem) => return Ok((key, pem)),
                // Taken for this request only; the next check-in pins it.
                Answer::StaleKey(statement) => record = Some(self.consider(statement)?.0),
            }
        }
        Err(CheckInError::Protocol("it asks for the same again and again").into())
    }
}

impl Session<'_> {
    /// Renews the certificate when it is time to. What goes wrong is said and tried again at the next turn.
    pub fn renew_when_due(&mut self, server: &mut dyn Server, observer: &mut dyn RunObserver) {
        let now = self.conversation().now().unwrap_or_else(|_| self.clock().now());
        if due(&self.identity).is_some_and(|due| now >= due)
            && let Err(error) = self.renew(server)
        {
            observer.note(&format!("the certificate is not renewed: {error}"));
        }
    }

    /// Renews the certificate now.
    pub fn renew(&mut self, server: &mut dyn Server) -> Result<(), RenewError> {
        let (key, certificate_pem) = self.conversation().certificate(server)?;
        let renewed = Identity { key, certificate_pem, ..self.identity.clone() };
        certificate_is_ours(&renewed)?;
        renewed.store(self.state()).map_err(AgentError::from)?;
        self.identity = renewed;
        let signed_time = self.signed_time()?;
        server.adopt(&self.identity, signed_time)?;
        tracing::info!("the certificate of this host was renewed");
        Ok(())
    }
}
