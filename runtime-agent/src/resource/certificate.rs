//! `certificate`: a certificate and its key, as they are declared, or issued by a CA whose key is on the host.

use super::file::FileType;
use super::{Applied, Context, Desired, Executor, Probe, ResourceError, ownership, ownership_changes};
use crate::root::{FsError, Kind, ManagedPath, Ownership};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, PublicKeyData,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::io::Read;
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage};
use zeroize::Zeroizing;

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
/// Larger files are neither certificates nor keys.
const MAX_PEM: u64 = 1 << 20;
/// Clocks of those who look at a new certificate may be behind.
const BACKDATED: Duration = Duration::from_secs(300);

impl Executor for CertificateType {
    fn key(&self) -> &'static str {
        "target_path"
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        let files = files(desired)?;
        match given(desired)? {
            Some(given) => {
                let mut all = FileType.probe(context, &given.certificate)?;
                let key = FileType.probe(context, &given.key)?;
                all.changes.extend(key.changes.into_iter().map(|change| format!("key {change}")));
                Ok(all)
            }
            None => issued(context, desired, &files).map(|changes| Probe { changes, diff: None }),
        }
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let files = files(desired)?;
        if let Some(given) = given(desired)? {
            // The key first: a program that reads both meanwhile fails, and does not serve a certificate without its key.
            for file in [&given.key, &given.certificate] {
                let left = FileType.probe(context, file)?;
                if !left.is_clean() {
                    FileType.apply(context, file, &left)?;
                }
            }
            return Ok(Applied::default());
        }
        issue(context, desired, &files, probe)
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

/// A certificate and its key that are declared, each as a file.
struct Given {
    certificate: Desired,
    key: Desired,
}

fn given(desired: &Desired) -> Result<Option<Given>, ResourceError> {
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

/// The first certificate of a text.
fn first(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

fn belongs(der: &CertificateDer<'_>, pair: &KeyPair) -> bool {
    EndEntityCert::try_from(der).is_ok_and(|certificate| {
        certificate.subject_public_key_info().as_ref() == pair.subject_public_key_info()
    })
}

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
            return Err(super::placing::not_a_file(path, meta.kind));
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
fn issued(context: &Context<'_>, desired: &Desired, files: &Files) -> Result<Vec<String>, ResourceError> {
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

fn issue(
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
            return Err(super::placing::not_a_file(path, meta.kind));
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

#[cfg(test)]
mod tests {
    use super::super::executor;
    use super::super::testing::{Sandbox, desired};
    use super::*;
    use ir::Value;
    use rcgen::{BasicConstraints, IsCa};
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    fn make_ca(s: &Sandbox, to: i32) {
        let key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(vec![]).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.not_before = rcgen::date_time_ymd(2000, 1, 1);
        ca.not_after = rcgen::date_time_ymd(to, 1, 1);
        fs::write(s.path("ca.pem"), ca.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(s.path("ca.key"), key.serialize_pem()).unwrap();
    }

    fn certificate(extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[
            ("target_path", "/web.pem".into()),
            ("key_path", "/web.key".into()),
            ("key_mode", "0600".into()),
            ("ca_certificate_path", "/ca.pem".into()),
            ("ca_key_path", "/ca.key".into()),
            ("names", Value::List(vec!["web.test".into(), "10.0.0.1".into()])),
            ("lifetime", "90d".into()),
            ("renew_before", "30d".into()),
            ("chain", false.into()),
        ]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    }

    fn mode(s: &Sandbox, path: &str) -> u32 {
        fs::metadata(s.path(path)).unwrap().mode() & 0o777
    }

    #[test]
    fn issued_once_and_anew_when_something_is_wrong() {
        let s = Sandbox::new();
        assert_eq!(
            s.probe("certificate", &certificate(&[])).unwrap().action(),
            "issued",
            "another resource may bring the CA"
        );
        assert!(s.converge("certificate", &certificate(&[])).is_err());
        make_ca(&s, 2100);
        assert_eq!(s.converge("certificate", &certificate(&[])).unwrap().action(), "issued");
        assert_eq!((mode(&s, "web.pem"), mode(&s, "web.key")), (0o644, 0o600));
        let first = fs::read(s.path("web.pem")).unwrap();
        assert!(s.converge("certificate", &certificate(&[])).unwrap().is_clean());
        let anew = |extra: &[(&str, Value)], why: &str| {
            let action = s.converge("certificate", &certificate(extra)).unwrap().action();
            assert_eq!(action, format!("issued anew ({why})"));
            assert!(s.converge("certificate", &certificate(extra)).unwrap().is_clean());
        };
        anew(&[("names", Value::List(vec!["web.test".into(), "www.test".into()]))], "it lacks www.test");
        anew(&[("names", Value::List(vec!["web.test".into()]))], "it has other names");
        assert_ne!(fs::read(s.path("web.pem")).unwrap(), first);
        fs::write(s.path("web.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let alone = [("names", Value::List(vec!["web.test".into()]))];
        anew(&alone, "its key is another one");
        fs::write(s.path("web.pem"), "drift").unwrap();
        anew(&alone, "it is not a certificate");
        make_ca(&s, 2100);
        anew(&alone, "it is not one of this CA that is good now");
        let chained = [alone[0].clone(), ("chain", true.into())];
        assert_eq!(s.converge("certificate", &certificate(&chained)).unwrap().action(), "chain");
        assert_eq!(fs::read_to_string(s.path("web.pem")).unwrap().matches("BEGIN CERTIFICATE").count(), 2);
        let open = [alone[0].clone(), ("chain", true.into()), ("key_mode", "0640".into())];
        assert_eq!(s.converge("certificate", &certificate(&open)).unwrap().action(), "key mode 0600 -> 0640");
    }

    #[test]
    fn renewed_in_time_and_never_beyond_its_ca() {
        let s = Sandbox::new();
        make_ca(&s, 2100);
        s.converge("certificate", &certificate(&[])).unwrap();
        let later = |days: u64| super::Context { now: 1_700_000_000 + days * 86_400, ..s.context() };
        let probe =
            |days| executor("certificate").unwrap().probe(&later(days), &certificate(&[])).unwrap().action();
        assert_eq!(probe(59), "");
        assert_eq!(probe(61), "issued anew (it ends in 29 d 0 h)");
        assert_eq!(probe(91), "issued anew (it has ended)");
        // A CA that ends soon after today, which is 2023-11-14 here.
        make_ca(&s, 2024);
        let short = certificate(&[("renew_before", "10d".into())]);
        s.converge("certificate", &short).unwrap();
        let der = first(&fs::read_to_string(s.path("web.pem")).unwrap()).unwrap();
        assert_eq!(protocol::certificate::facts(&der).unwrap().not_after, 1_704_067_200_000);
        make_ca(&s, 2023);
        let error = s.converge("certificate", &short).unwrap_err().to_string();
        assert!(error.contains("the CA itself ends"), "{error}");
    }

    #[test]
    fn a_pair_that_is_declared_is_written_and_its_key_never_shown() {
        let s = Sandbox::new();
        let key = KeyPair::generate().unwrap();
        let pem =
            CertificateParams::new(vec!["web.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let with = |certificate: &str, key: &str| {
            let mut d = desired(&[
                ("target_path", "/web.pem".into()),
                ("key_path", "/web.key".into()),
                ("key_mode", "0600".into()),
                ("chain", false.into()),
                ("lifetime", "90d".into()),
                ("renew_before", "30d".into()),
                ("certificate", certificate.into()),
            ]);
            d.set("key", key.into(), true);
            d
        };
        let good = with(&pem, &key.serialize_pem());
        let probe = s.converge("certificate", &good).unwrap();
        assert_eq!(probe.action(), "created, key created");
        assert_eq!(mode(&s, "web.key"), 0o600);
        assert_eq!(fs::read_to_string(s.path("web.key")).unwrap(), key.serialize_pem());
        assert!(s.converge("certificate", &good).unwrap().is_clean());
        fs::write(s.path("web.key"), "drift").unwrap();
        let probe = s.converge("certificate", &good).unwrap();
        assert_eq!(probe.action(), "key content changed (sensitive)");
        assert!(probe.diff.is_none());
        for (d, name) in [
            (with(&pem, &KeyPair::generate().unwrap().serialize_pem()), "key"),
            (with(&pem, "no key"), "key"),
            (with("no certificate", &key.serialize_pem()), "certificate"),
        ] {
            match s.probe("certificate", &d) {
                Err(ResourceError::Invalid { name: found, .. }) => assert_eq!(found, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_makes_no_certificate_is_said() {
        let s = Sandbox::new();
        make_ca(&s, 2100);
        for (name, value) in [
            ("names", Value::List(vec![])),
            ("names", Value::List(vec!["a b".into()])),
            ("key_mode", "0644".into()),
            ("key_mode", "0620".into()),
            ("lifetime", "20d".into()),
        ] {
            match s.converge("certificate", &certificate(&[(name, value)])) {
                Err(ResourceError::Invalid { name: found, .. }) => assert_eq!(found, name),
                other => panic!("{name}: {other:?}"),
            }
        }
        fs::write(s.path("ca.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let error = s.converge("certificate", &certificate(&[])).unwrap_err().to_string();
        assert!(error.contains("another key than that of the CA"), "{error}");
        make_ca(&s, 2100);
        std::os::unix::fs::symlink("/nowhere", s.path("web.key")).unwrap();
        assert!(matches!(s.converge("certificate", &certificate(&[])), Err(ResourceError::InTheWay { .. })));
    }
}
