//! A pair that is declared.

use super::{belongs, first};
use crate::resource::{Desired, ResourceError};
use rcgen::KeyPair;

/// A certificate and its key that are declared, each as a file.
pub(super) struct Given {
    pub certificate: Desired,
    pub key: Desired,
}

/// The pair; `None` where a CA issues it.
pub(super) fn given(desired: &Desired) -> Result<Option<Given>, ResourceError> {
    let invalid = |name: &'static str, why: &str| ResourceError::Invalid { name, why: why.to_owned() };
    let (Some(certificate), Some(key)) = (desired.text("certificate")?, desired.text("key")?) else {
        return match (desired.value("certificate"), desired.value("key"), desired.value("ca_key_path")) {
            (None, None, Some(_)) => Ok(None),
            _ => Err(invalid(
                "certificate",
                "give it with its `key`, or `ca_certificate_path` with `ca_key_path`",
            )),
        };
    };
    if desired.value("ca_key_path").is_some() {
        return Err(invalid("certificate", "is given, so no CA can issue it; take `ca_key_path` out"));
    }
    let der = first(certificate).ok_or_else(|| invalid("certificate", "is not a certificate in PEM"))?;
    let pair = KeyPair::from_pem(key)
        .map_err(|_| invalid("key", "is not a private key in PEM that can be read (PKCS #8)"))?;
    if !belongs(&der, &pair) {
        return Err(invalid("key", "is not the key of the certificate"));
    }
    let file = |path: &'static str,
                content: &'static str,
                sensitive: bool|
     -> Result<Desired, ResourceError> {
        let mut file = Desired::default();
        file.set("target_path", desired.required(path)?.into(), false);
        file.set("state", "present".into(), false);
        file.set("backup", false.into(), false);
        file.set("content", desired.required(content)?.into(), sensitive || desired.is_sensitive(content));
        for name in ["owner", "group"] {
            if let Some(value) = desired.value(name) {
                file.set(name, value.clone(), false);
            }
        }
        Ok(file)
    };
    let mut given = Given {
        certificate: file("target_path", "certificate", false)?,
        key: file("key_path", "key", true)?,
    };
    given.certificate.set("mode", desired.text("mode")?.unwrap_or("0644").into(), false);
    given.key.set("mode", desired.required("key_mode")?.into(), false);
    Ok(Some(given))
}
