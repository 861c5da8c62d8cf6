//! `certificate`: a certificate and its key, as they are declared, or issued by a CA whose key is on the host.

mod given;
mod issue;

use super::file::FileType;
use super::{Applied, Context, Desired, Executor, Probe, ResourceError};
use crate::root::ManagedPath;
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use webpki::EndEntityCert;

/// The type.
pub struct CertificateType;

const KNOWN: &[&str] = &[
    "target_path",
    "key_path",
    "certificate",
    "key",
    "ca_certificate_path",
    "ca_key_path",
    "names",
    "common_name",
    "lifetime",
    "renew_before",
    "chain",
    "owner",
    "group",
    "mode",
    "key_mode",
];

impl Executor for CertificateType {
    fn key(&self) -> &'static str {
        "target_path"
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let files = files(desired)?;
        match given::given(desired)? {
            Some(given) => {
                let mut all = FileType.probe(context, &given.certificate)?;
                let key = FileType.probe(context, &given.key)?;
                all.changes.extend(key.changes.into_iter().map(|change| format!("key {change}")));
                Ok(all)
            }
            None => issue::issued(context, desired, &files).map(|changes| Probe { changes, diff: None }),
        }
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let files = files(desired)?;
        if let Some(given) = given::given(desired)? {
            // The key first: a program that reads both meanwhile fails, and does not serve a certificate without its key.
            for file in [&given.key, &given.certificate] {
                let left = FileType.probe(context, file)?;
                if !left.is_clean() {
                    FileType.apply(context, file, &left)?;
                }
            }
            return Ok(Applied::default());
        }
        issue::issue(context, desired, &files, probe)
    }
}

/// Where both are, and whose.
struct Files {
    certificate: ManagedPath,
    key: ManagedPath,
    key_mode: u32,
}

fn files(desired: &Desired) -> Result<Files, ResourceError> {
    desired.only("certificate", KNOWN)?;
    let key_mode = desired.mode("key_mode")?.ok_or(ResourceError::Missing("key_mode"))?;
    if key_mode & 0o137 != 0 {
        return Err(ResourceError::Invalid {
            name: "key_mode",
            why: "lets others than the owner write the key, or others than the group read it; write \"0600\" or \"0640\"".to_owned(),
        });
    }
    Ok(Files {
        certificate: desired.required_path("target_path")?,
        key: desired.required_path("key_path")?,
        key_mode,
    })
}

/// The first certificate of a text.
fn first(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

fn belongs(der: &CertificateDer<'_>, pair: &KeyPair) -> bool {
    EndEntityCert::try_from(der).is_ok_and(|certificate| {
        certificate.subject_public_key_info().as_ref() == pair.subject_public_key_info()
    })
}

#[cfg(test)]
mod tests;
