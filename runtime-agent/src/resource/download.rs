//! `download`: a file that comes from an https url.

use super::fetch::{Fetch, hash_of};
use super::placing::{self, check_validate, not_a_file};
use super::{Applied, Context, Desired, Executor, Probe, ResourceError, ownership, ownership_changes};
use crate::root::Kind;

/// The type.
pub struct DownloadType;

const KNOWN: &[&str] = &[
    "target_path",
    "url",
    "sha256",
    "ca",
    "timeout",
    "max_size",
    "owner",
    "group",
    "mode",
    "backup",
    "validate",
];

impl Executor for DownloadType {
    fn key(&self) -> &'static str {
        "target_path"
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        desired.only("download", KNOWN)?;
        let fetch = Fetch::of(desired)?;
        check_validate(desired)?;
        desired.flag("backup")?;
        let path = desired.required_path("target_path")?;
        let want = ownership(context, desired)?;
        match context.root.inspect(&path)? {
            None => Ok(Probe::change("downloaded")),
            Some(meta) if meta.kind == Kind::File => {
                let mut probe = Probe { changes: ownership_changes(&meta, want), diff: None };
                if !is_right(context, &fetch, desired)? {
                    probe.changes.insert(0, "downloaded anew".to_owned());
                } else if !probe.is_clean() && meta.links > 1 {
                    return Err(ResourceError::HardLinks { path: path.to_string(), links: meta.links });
                }
                Ok(probe)
            }
            Some(other) => Err(not_a_file(&path, other.kind)),
        }
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let path = desired.required_path("target_path")?;
        let fetch = Fetch::of(desired)?;
        let found = context.root.inspect(&path)?;
        match found {
            Some(meta) if meta.kind != Kind::File => return Err(not_a_file(&path, meta.kind)),
            Some(_) if is_right(context, &fetch, desired)? => {
                context.root.settle(&path, ownership(context, desired)?)?;
                return Ok(Applied::default());
            }
            _ => {}
        }
        let note =
            placing::put_with(context, desired, &path, found, false, |file| fetch.run(context.root, file))?;
        Ok(Applied { note })
    }
}

/// Whether the file that is there is the one that is meant. Without a hash it is.
fn is_right(context: &Context<'_>, fetch: &Fetch, desired: &Desired) -> Result<bool, ResourceError> {
    match &fetch.sha256 {
        Some(want) => Ok(hash_of(context.root, &desired.required_path("target_path")?)? == *want),
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fetch::testing::Server;
    use super::super::testing::{Sandbox, desired};
    use super::*;
    use ir::Value;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::sync::atomic::Ordering;

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn download(url: &str, extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[
            ("target_path", "/f".into()),
            ("url", url.into()),
            ("ca", "/ca.pem".into()),
            ("timeout", "20s".into()),
            ("max_size", "1M".into()),
            ("backup", false.into()),
        ]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    }

    fn sandbox(server: &Server) -> Sandbox {
        let s = Sandbox::new();
        fs::write(s.path("ca.pem"), &server.ca_pem).unwrap();
        s
    }

    #[test]
    fn downloaded_once_and_again_when_it_is_not_what_it_should_be() {
        let server = Server::start(vec![("/f", "200 OK", b"hello".to_vec()), ("/r", "302 /f", vec![])]);
        let s = sandbox(&server);
        let d = download(&format!("{}/r", server.url), &[("sha256", HELLO.into()), ("mode", "0640".into())]);
        assert_eq!(s.converge("download", &d).unwrap().action(), "downloaded");
        assert_eq!(fs::read(s.path("f")).unwrap(), b"hello");
        assert_eq!(fs::metadata(s.path("f")).unwrap().mode() & 0o777, 0o640);
        let asked = server.asked.load(Ordering::SeqCst);
        assert!(s.converge("download", &d).unwrap().is_clean());
        assert_eq!(server.asked.load(Ordering::SeqCst), asked, "what is right is not asked for");
        fs::write(s.path("f"), "drift").unwrap();
        assert_eq!(s.converge("download", &d).unwrap().action(), "downloaded anew");
        assert_eq!(fs::read(s.path("f")).unwrap(), b"hello");
        let without = download(&format!("{}/f", server.url), &[("mode", "0600".into())]);
        fs::write(s.path("f"), "mine").unwrap();
        assert_eq!(s.converge("download", &without).unwrap().action(), "mode 0640 -> 0600");
        assert_eq!(fs::read(s.path("f")).unwrap(), b"mine", "without a hash any file will do");
    }

    #[test]
    fn what_is_wrong_or_too_large_or_not_there_leaves_the_old_file() {
        let server = Server::start(vec![
            ("/f", "200 OK", b"hellO".to_vec()),
            ("/large", "200 OK", vec![0; 2 << 20]),
            ("/plain", "302 http://localhost/", vec![]),
        ]);
        let s = sandbox(&server);
        fs::write(s.path("f"), "old").unwrap();
        for (path, message) in [
            ("/f", "its SHA-256 is not the one that is declared"),
            ("/large", "larger than `max_size`, 1048576 bytes"),
            ("/none", "the server answered 404"),
            ("/plain", "cannot download"),
        ] {
            let d = download(&format!("{}{path}", server.url), &[("sha256", HELLO.into())]);
            let error = s.converge("download", &d).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        assert_eq!(fs::read(s.path("f")).unwrap(), b"old");
        assert_eq!(fs::read_dir(s.dir.path()).unwrap().count(), 2, "nothing half done is left");
    }

    #[test]
    fn a_passing_fault_is_tried_again_and_a_stranger_is_not() {
        let server = Server::start(vec![
            ("/f", "503 Service Unavailable", vec![]),
            ("/f", "200 OK", b"hello".to_vec()),
        ]);
        let s = sandbox(&server);
        let d = download(&format!("{}/f", server.url), &[("sha256", HELLO.into())]);
        assert_eq!(s.converge("download", &d).unwrap().action(), "downloaded");
        assert_eq!(server.asked.load(Ordering::SeqCst), 2);
        let stranger = Server::start(vec![("/f", "200 OK", b"hello".to_vec())]);
        let d = download(&format!("{}/f", stranger.url), &[("target_path", "/g".into())]);
        let error = s.converge("download", &d).unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
        assert_eq!(stranger.asked.load(Ordering::SeqCst), 0);
        assert!(!s.path("g").exists());
    }

    #[test]
    fn only_https_without_a_password() {
        let s = Sandbox::new();
        for url in
            ["http://h/f", "file:///etc/shadow", "https://", "https://u:p@h/f", "https://h/a b", "ftp://h/f"]
        {
            let error = s.probe("download", &download(url, &[])).unwrap_err();
            assert!(matches!(error, ResourceError::Invalid { name: "url", .. }), "{url}: {error}");
        }
        for (name, value) in [("sha256", "abc"), ("max_size", "many"), ("timeout", "long")] {
            assert!(
                s.probe("download", &download("https://h/f", &[(name, value.into())])).is_err(),
                "{name}"
            );
        }
        let d = download("https://h/f", &[]);
        assert!(
            s.converge("download", &d).unwrap_err().to_string().contains("/ca.pem holds no certificates")
        );
    }

    #[test]
    fn case_082_only_a_regular_file_is_a_download() {
        let s = Sandbox::new();
        std::os::unix::fs::symlink("ca.pem", s.path("f")).unwrap();
        assert!(matches!(
            s.probe("download", &download("https://h/f", &[])),
            Err(ResourceError::InTheWay { .. })
        ));
    }
}
