//! A pair that a CA of the host issues, and issues anew in time.

use super::{Files, belongs, first};
use crate::resource::{Applied, Context, Desired, Probe, ResourceError, ownership, ownership_changes};
use crate::root::{FsError, Kind, ManagedPath, Ownership};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::io::Read;
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage};
use zeroize::Zeroizing;

/// Larger files are neither certificates nor keys.
const MAX_PEM: u64 = 1 << 20;
/// Clocks of those who look at a new certificate may be behind.
const BACKDATED: Duration = Duration::from_secs(300);

/// The CA that issues.
struct Ca {
    pem: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

/// Text of a file that may hold a key; `None` where there is none.
fn read(context: &Context<'_>, path: &ManagedPath) -> Result<Option<Zeroizing<String>>, ResourceError> {
    match context.root.inspect(path)? {
        None => return Ok(None),
        Some(meta) if meta.kind != Kind::File => {
            return Err(crate::resource::placing::not_a_file(path, meta.kind));
        }
        Some(_) => {}
    }
    let (file, _) = context.root.read(path)?;
    let mut text = Zeroizing::new(String::new());
    let read = file.take(MAX_PEM).read_to_string(&mut text);
    match read {
        Ok(_) => Ok(Some(text)),
        // Not text: whatever it is, it is not what it should be.
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Ok(Some(Zeroizing::default())),
        Err(e) => Err(FsError {
            action: "read",
            path: crate::text::printable(&path.to_string()),
            errno: e.raw_os_error().map_or(nix::errno::Errno::EIO, nix::errno::Errno::from_raw),
        }
        .into()),
    }
}

/// The CA; `None` where it is not there, which in a dry run another resource may yet bring.
fn ca(context: &Context<'_>, desired: &Desired) -> Result<Option<Ca>, ResourceError> {
    let invalid = |name: &'static str, why: &str| ResourceError::Invalid { name, why: why.to_owned() };
    let pem = read(context, &desired.required_path("ca_certificate_path")?)?;
    let key = read(context, &desired.required_path("ca_key_path")?)?;
    let (Some(pem), Some(key)) = (pem, key) else { return Ok(None) };
    let der = first(&pem).ok_or_else(|| invalid("ca_certificate_path", "holds no certificate in PEM"))?;
    let key = KeyPair::from_pem(&key)
        .map_err(|_| invalid("ca_key_path", "holds no private key in PEM that can be read (PKCS #8)"))?;
    if !belongs(&der, &key) {
        return Err(invalid("ca_key_path", "holds another key than that of the CA's certificate"));
    }
    Ok(Some(Ca { pem: pem.to_string(), der, key }))
}

/// What of an issued certificate is not as declared, in words.
pub(super) fn issued(
    context: &Context<'_>,
    desired: &Desired,
    files: &Files,
) -> Result<Vec<String>, ResourceError> {
    let names = names(desired)?;
    let (_, renew_before) = life(desired)?;
    let want = ownership(context, desired)?;
    let text = read(context, &files.certificate)?;
    let key = read(context, &files.key)?;
    let Some(ca) = ca(context, desired)? else { return Ok(vec!["issued".to_owned()]) };
    let (Some(text), Some(key)) = (text, key) else { return Ok(vec!["issued".to_owned()]) };
    if let Some(why) = renewal(context, &ca, &text, &key, &names, renew_before) {
        return Ok(vec![format!("issued anew ({why})")]);
    }
    let mut changes = Vec::new();
    if let Some(meta) = context.root.inspect(&files.certificate)? {
        changes.extend(ownership_changes(&meta, Ownership { mode: want.mode.or(Some(0o644)), ..want }));
    }
    if let Some(meta) = context.root.inspect(&files.key)? {
        let want = Ownership { mode: Some(files.key_mode), ..want };
        changes.extend(ownership_changes(&meta, want).into_iter().map(|change| format!("key {change}")));
    }
    let chain = ca.pem.trim();
    if desired.flag("chain")? != text.contains(chain) {
        changes.push("chain".to_owned());
    }
    Ok(changes)
}

/// Why a certificate has to be issued anew.
fn renewal(
    context: &Context<'_>,
    ca: &Ca,
    text: &str,
    key: &str,
    names: &[String],
    renew_before: Duration,
) -> Option<String> {
    let Some(der) = first(text) else { return Some("it is not a certificate".to_owned()) };
    let (Ok(certificate), Some(facts)) = (EndEntityCert::try_from(&der), protocol::certificate::facts(&der))
    else {
        return Some("it is not a certificate".to_owned());
    };
    if !KeyPair::from_pem(key).is_ok_and(|pair| belongs(&der, &pair)) {
        return Some("its key is another one".to_owned());
    }
    let left = facts.not_after.saturating_sub(context.now.saturating_mul(1000));
    if left <= u64::try_from(renew_before.as_millis()).unwrap_or(u64::MAX) {
        return Some(match left {
            0 => "it has ended".to_owned(),
            left => format!("it ends in {}", crate::text::span(left)),
        });
    }
    let anchors = [webpki::anchor_from_trusted_cert(&ca.der).ok()?];
    let now = UnixTime::since_unix_epoch(Duration::from_secs(context.now));
    let valid = certificate.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &[],
        now,
        KeyUsage::server_auth(),
        None,
        None,
    );
    if valid.is_err() {
        return Some("it is not one of this CA that is good now".to_owned());
    }
    let covers = |name: &String| {
        ServerName::try_from(name.as_str())
            .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
    };
    if let Some(missing) = names.iter().find(|name| !name.starts_with("*.") && !covers(name)) {
        return Some(format!("it lacks {missing}"));
    }
    let mut present: Vec<&str> = certificate.valid_dns_names().collect();
    let mut wanted: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| name.parse::<std::net::IpAddr>().is_err()).collect();
    present.sort_unstable();
    wanted.sort_unstable();
    (present != wanted).then(|| "it has other names".to_owned())
}

fn names(desired: &Desired) -> Result<Vec<String>, ResourceError> {
    let names: Vec<String> =
        desired.strings("names")?.unwrap_or_default().into_iter().map(str::to_lowercase).collect();
    let invalid = |why: String| ResourceError::Invalid { name: "names", why };
    if names.is_empty() {
        return Err(invalid("is empty; a certificate is for one host at least".to_owned()));
    }
    for name in &names {
        if ServerName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_err() {
            let name = crate::text::printable(crate::text::bounded(name, 100));
            return Err(invalid(format!("`{name}` is neither the name of a host nor an address")));
        }
    }
    Ok(names)
}

/// How long it is good, and how long before its end it is renewed.
fn life(desired: &Desired) -> Result<(Duration, Duration), ResourceError> {
    let (life, before) = (desired.duration("lifetime")?, desired.duration("renew_before")?);
    let century = Duration::from_secs(100 * 366 * 86_400);
    if life <= before || life > century {
        return Err(ResourceError::Invalid {
            name: "lifetime",
            why: "has to be longer than `renew_before`, and shorter than 100 years".to_owned(),
        });
    }
    Ok((life, before))
}

/// Issues it, or gives what is there its owner and mode.
pub(super) fn issue(
    context: &Context<'_>,
    desired: &Desired,
    files: &Files,
    probe: &Probe,
) -> Result<Applied, ResourceError> {
    let want = ownership(context, desired)?;
    let of_certificate = Ownership { mode: want.mode.or(Some(0o644)), ..want };
    let of_key = Ownership { mode: Some(files.key_mode), ..want };
    let ca = ca(context, desired)?.ok_or_else(|| ResourceError::Invalid {
        name: "ca_key_path",
        why: "the CA is not there; let what brings its certificate and its key come first".to_owned(),
    })?;
    let anew = probe.changes.iter().any(|change| change.starts_with("issued") || change == "chain");
    if !anew {
        context.root.settle(&files.certificate, of_certificate)?;
        context.root.settle(&files.key, of_key)?;
        return Ok(Applied::default());
    }
    let failed = |e: rcgen::Error| ResourceError::Invalid {
        name: "ca_key_path",
        why: format!("the CA cannot issue it: {e}"),
    };
    let (life, before) = life(desired)?;
    let names = names(desired)?;
    let now = Duration::from_secs(context.now);
    let mut end = now.saturating_add(life);
    // Nobody takes a certificate that outlives its CA.
    if let Some(facts) = protocol::certificate::facts(&ca.der) {
        let last = Duration::from_millis(facts.not_after);
        if last <= now.saturating_add(before) {
            return Err(ResourceError::Invalid {
                name: "ca_certificate_path",
                why: "the CA itself ends before the certificate would be renewed; replace it".to_owned(),
            });
        }
        end = end.min(last);
    }
    let mut params = CertificateParams::new(names.clone()).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    let common = desired.text("common_name")?.or(names.first().map(String::as_str)).unwrap_or_default();
    params.distinguished_name.push(DnType::CommonName, common);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + end;
    let key = KeyPair::generate().map_err(failed)?;
    let chain = ca.pem.trim().to_owned();
    let issuer = Issuer::from_ca_cert_pem(&ca.pem, ca.key).map_err(failed)?;
    let mut certificate = params.signed_by(&key, &issuer).map_err(failed)?.pem();
    if desired.flag("chain")? {
        certificate = format!("{}\n{chain}\n", certificate.trim_end());
    }
    for path in [&files.key, &files.certificate] {
        if let Some(meta) = context.root.inspect(path)?
            && meta.kind != Kind::File
        {
            return Err(crate::resource::placing::not_a_file(path, meta.kind));
        }
    }
    // Until both are there the key does not fit, and the next run issues anew.
    let key = Zeroizing::new(key.serialize_pem());
    context.root.replace_file(&files.key, key.as_bytes(), of_key, |_| Ok::<_, ResourceError>(()))?;
    context.root.replace_file(&files.certificate, certificate.as_bytes(), of_certificate, |_| {
        Ok::<_, ResourceError>(())
    })?;
    Ok(Applied::default())
}
