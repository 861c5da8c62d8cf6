//! Why a request is turned away, as a status a program can read.

use crate::pki::CsrError;
use crate::store::StoreError;
use crate::store::envoys::EnrolError;
use crate::store::tokens::TokenError;
use protocol::request::RequestError;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// Metadata key of the machine-readable reason.
pub const REASON: &str = "vigo-reason";
/// Metadata key of the server's clock, in milliseconds; comes with `clock-skew`.
pub const SERVER_TIME: &str = "vigo-server-time";
/// Metadata key of the highest counter the server has seen; comes with `replay`.
pub const COUNTER: &str = "vigo-counter";

/// Why a request is turned away.
#[derive(Debug, thiserror::Error)]
pub enum Reject {
    /// Only `Enroll` goes without.
    #[error("this request needs the envoy's client certificate")]
    NoClientCertificate,
    /// No such envoy.
    #[error("no envoy of this id is enrolled")]
    UnknownEnvoy,
    /// Its place was taken away.
    #[error("this envoy was revoked; enrol the host again with a new token")]
    Revoked,
    /// Certificate, signed id and registered key are not of one envoy.
    #[error("the client certificate is not that of the envoy named in the request")]
    WrongEnvoy,
    /// A later certificate of the envoy is in use.
    #[error(
        "this client certificate was replaced by a newer one; was the host restored from a backup, or cloned? \
         revoke the envoy and enrol the host again"
    )]
    CertificateReplaced,
    /// Too late to come with it.
    #[error(
        "this client certificate has ended; make a token on the server and run `vigo enroll --rejoin --token TOKEN`"
    )]
    CertificateEnded,
    /// Somebody asks for the place of an envoy without its key.
    #[error("the request to come back is not signed by the key that is registered for this envoy")]
    RejoinKey,
    /// Another cluster.
    #[error("the request is for another cluster")]
    WrongCluster,
    /// Its signature or its header.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The two clocks are more than five minutes apart.
    #[error("the request's time is more than {} s away from the server's clock", crate::authorise::SKEW_MS / 1000)]
    Skew {
        /// The server's clock.
        server_time: u64,
    },
    /// The counter was used.
    #[error("the request's counter was used before, or is too old")]
    Replay {
        /// The highest that was used.
        highest: u64,
    },
    /// Not what the method takes.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// Not a name.
    #[error("the host name is not one: letters, digits, `-`, `_`, and `.` between labels")]
    Hostname,
    /// The certificate signing request.
    #[error(transparent)]
    Csr(#[from] CsrError),
    /// Enrolment was not signed by the key of its CSR.
    #[error("the enrolment is not signed by the key it asks a certificate for")]
    EnrolmentSignature,
    /// The token, or a name or key that is taken.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// The server's fault; the log has the details.
    #[error("the server cannot answer now; its log says why")]
    Internal,
}

impl Reject {
    /// The reason for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Reject::NoClientCertificate => "no-client-certificate",
            Reject::UnknownEnvoy => "unknown-envoy",
            Reject::Revoked => "revoked",
            Reject::WrongEnvoy => "wrong-envoy",
            Reject::WrongCluster => "wrong-cluster",
            Reject::CertificateReplaced => "certificate-replaced",
            Reject::CertificateEnded => "certificate-ended",
            Reject::RejoinKey => "rejoin-key",
            Reject::Request(RequestError::Unsigned) => "unsigned",
            Reject::Request(RequestError::BadSignature) => "bad-signature",
            Reject::Request(RequestError::Malformed) | Reject::Malformed(_) => "malformed",
            Reject::Skew { .. } => "clock-skew",
            Reject::Replay { .. } => "replay",
            Reject::Hostname => "bad-hostname",
            Reject::Csr(_) => "bad-csr",
            Reject::EnrolmentSignature => "bad-signature",
            Reject::Enrol(EnrolError::HostnameTaken) => "hostname-taken",
            Reject::Enrol(EnrolError::KeyTaken) => "key-taken",
            Reject::Enrol(EnrolError::Token(TokenError::Unknown)) => "token-unknown",
            Reject::Enrol(EnrolError::Token(TokenError::Used)) => "token-used",
            Reject::Enrol(EnrolError::Token(TokenError::Expired)) => "token-expired",
            Reject::Enrol(EnrolError::Token(TokenError::Revoked)) => "token-revoked",
            Reject::Enrol(EnrolError::Token(TokenError::Hostname)) => "token-hostname",
            Reject::Internal => "internal",
        }
    }

    fn code(&self) -> Code {
        match self {
            Reject::NoClientCertificate | Reject::Request(_) | Reject::EnrolmentSignature => {
                Code::Unauthenticated
            }
            Reject::UnknownEnvoy
            | Reject::Revoked
            | Reject::WrongEnvoy
            | Reject::WrongCluster
            | Reject::CertificateReplaced
            | Reject::CertificateEnded
            | Reject::RejoinKey => Code::PermissionDenied,
            Reject::Skew { .. } => Code::FailedPrecondition,
            Reject::Replay { .. } => Code::Aborted,
            Reject::Malformed(_) | Reject::Hostname | Reject::Csr(_) => Code::InvalidArgument,
            Reject::Enrol(EnrolError::Token(_)) => Code::PermissionDenied,
            Reject::Enrol(EnrolError::HostnameTaken | EnrolError::KeyTaken) => Code::AlreadyExists,
            Reject::Internal => Code::Internal,
        }
    }
}

impl From<StoreError> for Reject {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Range(_) => Reject::Malformed("a number is out of range"),
            e => {
                tracing::error!(error = %e, "the store failed");
                Reject::Internal
            }
        }
    }
}

impl From<Reject> for Status {
    fn from(reject: Reject) -> Self {
        let mut status = Status::new(reject.code(), reject.to_string());
        let metadata = status.metadata_mut();
        metadata.insert(REASON, MetadataValue::from_static(reject.reason()));
        match reject {
            Reject::Skew { server_time } => metadata.insert(SERVER_TIME, server_time.into()),
            Reject::Replay { highest } => metadata.insert(COUNTER, highest.into()),
            _ => None,
        };
        status
    }
}
