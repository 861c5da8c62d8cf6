use crate::resource::testing::{Sandbox, desired};
use crate::resource::{Desired, ResourceError, fetch};
use ir::Value;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::Ordering;

fn archive(extra: &[(&str, Value)]) -> Desired {
    let mut d = desired(&[
        ("target_path", "/app".into()),
        ("archive_path", "/a.tar".into()),
        ("strip", Value::Int(0)),
        ("timeout", "20s".into()),
        ("max_size", "10M".into()),
        ("max_unpacked", "10M".into()),
        ("max_entries", Value::Int(1000)),
    ]);
    extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
    d
}

/// A tar of files; names as they are, whatever they are.
fn tar(entries: &[(&str, tar::EntryType, &str, u32)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, content, mode) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        let is_link = kind.is_symlink() || kind.is_hard_link();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        if is_link {
            header.as_gnu_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        let body = if is_link { "" } else { content };
        header.set_size(body.len() as u64);
        header.set_cksum();
        builder.append(&header, body.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn file() -> tar::EntryType {
    tar::EntryType::Regular
}

fn simple() -> Vec<u8> {
    tar(&[
        ("top/", tar::EntryType::Directory, "", 0o755),
        ("top/bin/run", file(), "#!/bin/sh\n", 0o4755),
        ("top/conf", file(), "c", 0o640),
        ("top/link", tar::EntryType::Symlink, "bin/run", 0o777),
        ("top/hard", tar::EntryType::Link, "top/conf", 0o640),
    ])
}

fn check(s: &Sandbox, top: &str) {
    assert_eq!(fs::read(s.path(&format!("{top}/bin/run"))).unwrap(), b"#!/bin/sh\n");
    let mode = |name: &str| fs::metadata(s.path(&format!("{top}/{name}"))).unwrap().mode() & 0o7777;
    assert_eq!((mode("bin/run"), mode("conf")), (0o755, 0o640), "without set-id bits");
    assert_eq!(fs::read_link(s.path(&format!("{top}/link"))).unwrap().to_str(), Some("bin/run"));
    assert_eq!(fs::metadata(s.path(&format!("{top}/hard"))).unwrap().nlink(), 2);
}

#[test]
fn unpacked_once_and_again_when_the_archive_is_another() {
    let s = Sandbox::new();
    fs::write(s.path("a.tar"), simple()).unwrap();
    let d = archive(&[]);
    assert_eq!(s.converge("archive", &d).unwrap().action(), "unpacked");
    check(&s, "app/top");
    assert!(s.converge("archive", &d).unwrap().is_clean());
    fs::write(s.path("a.tar"), tar(&[("top/conf", file(), "new", 0o600)])).unwrap();
    assert_eq!(s.converge("archive", &d).unwrap().action(), "unpacked anew");
    assert_eq!(fs::read(s.path("app/top/conf")).unwrap(), b"new");
    assert!(s.path("app/top/bin/run").exists(), "what another archive brought stays");
    let stripped = archive(&[("strip", Value::Int(1)), ("target_path", "/other".into())]);
    fs::write(s.path("a.tar"), simple()).unwrap();
    s.converge("archive", &stripped).unwrap();
    check(&s, "other");
    let creates = archive(&[("creates", "/other/conf".into()), ("target_path", "/other".into())]);
    assert!(s.converge("archive", &creates).unwrap().is_clean());
}

#[test]
fn every_format_is_read() {
    let plain = simple();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&plain).unwrap();
    let zst = ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest);
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = |mode| {
        zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .unix_permissions(mode)
    };
    zip.start_file("top/bin/run", options(0o4755)).unwrap();
    zip.write_all(b"#!/bin/sh\n").unwrap();
    zip.start_file("top/conf", options(0o640)).unwrap();
    zip.write_all(b"c").unwrap();
    zip.add_symlink("top/link", "bin/run", options(0o777)).unwrap();
    let zip = zip.finish().unwrap().into_inner();
    for (name, bytes) in [("a.tar.gz", gz.finish().unwrap()), ("a.tar.zst", zst), ("a.zip", zip)] {
        let s = Sandbox::new();
        fs::write(s.path(name), bytes).unwrap();
        let d = archive(&[("archive_path", format!("/{name}").as_str().into())]);
        s.converge("archive", &d).unwrap();
        if name == "a.zip" {
            fs::hard_link(s.path("app/top/conf"), s.path("app/top/hard")).unwrap();
        }
        check(&s, "app/top");
        let cut = fs::read(s.path(name)).unwrap();
        fs::write(s.path(name), &cut[..cut.len() / 2]).unwrap();
        let error = s.converge("archive", &d).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{name}: {error}");
        assert!(s.converge("archive", &d).is_err(), "a half unpacked archive is not taken for a whole one");
    }
    // Made by `xz` of the tar that `simple` gives, without its hard link.
    let s = Sandbox::new();
    fs::write(s.path("a.tar.xz"), b"not xz").unwrap();
    let d = archive(&[("archive_path", "/a.tar.xz".into())]);
    assert!(s.converge("archive", &d).unwrap_err().to_string().contains("damaged"));
    fs::write(s.path("a.tar"), simple()).unwrap();
    let made = std::process::Command::new("xz").args(["-z", "-k", "-f"]).arg(s.path("a.tar")).status();
    if made.is_ok_and(|status| status.success()) {
        s.converge("archive", &d).unwrap();
        check(&s, "app/top");
    }
}

#[test]
fn a_url_is_fetched_and_its_hash_checked_before_anything_is_written() {
    let body = simple();
    let sum = fetch::hex(&<sha2::Sha256 as sha2::Digest>::digest(&body));
    let server = fetch::testing::Server::start(vec![("/a.tar", "200 OK", body)]);
    let s = Sandbox::new();
    fs::write(s.path("ca.pem"), &server.ca_pem).unwrap();
    let url = format!("{}/a.tar?token=1", server.url);
    let of = |sum: &str| {
        archive(&[
            ("archive_path", Value::Null),
            ("url", format!("{}/a.tar", server.url).as_str().into()),
            ("ca", "/ca.pem".into()),
            ("sha256", sum.into()),
        ])
    };
    let mut d = of(&"0".repeat(64));
    d = {
        let mut e = Desired::default();
        for name in [
            "target_path",
            "strip",
            "timeout",
            "max_size",
            "max_unpacked",
            "max_entries",
            "url",
            "ca",
            "sha256",
        ] {
            e.set(name, d.value(name).unwrap().clone(), false);
        }
        e
    };
    let error = s.converge("archive", &d).unwrap_err().to_string();
    assert!(error.contains("SHA-256"), "{error}");
    assert_eq!(fs::read_dir(s.path("app")).unwrap().count(), 0);
    d.set("sha256", sum.as_str().into(), false);
    assert_eq!(s.converge("archive", &d).unwrap().action(), "unpacked");
    check(&s, "app/top");
    let asked = server.asked.load(Ordering::SeqCst);
    assert!(s.converge("archive", &d).unwrap().is_clean());
    assert_eq!(server.asked.load(Ordering::SeqCst), asked);
    d.set("url", url.as_str().into(), false);
    assert!(
        !s.probe("archive", &d).unwrap().is_clean(),
        "the format is told from the path, not from the query"
    );
}

#[test]
fn case_080_an_entry_that_leads_out_is_refused() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), "safe").unwrap();
    let escape = outside.path().to_str().unwrap();
    let link = tar::EntryType::Symlink;
    for (entries, message) in [
        (vec![("../f", file(), "x", 0o644)], "has a path with `..`"),
        (vec![("a/../../f", file(), "x", 0o644)], "has a path with `..`"),
        (vec![("/f", file(), "x", 0o644)], "has an absolute path"),
        (vec![("l", link, escape, 0o777)], "leads out"),
        (vec![("l", link, "../x", 0o777)], "leads out"),
        (vec![("a/l", link, "../../x", 0o777)], "leads out"),
        (vec![("a/l", link, "b/../../../x", 0o777)], "leads out"),
        (vec![("h", tar::EntryType::Link, "../a.tar", 0o644)], "has a path with `..`"),
        (vec![("h", tar::EntryType::Link, "/etc/passwd", 0o644)], "has an absolute path"),
        (vec![("h", tar::EntryType::Link, "none", 0o644)], "no file of the archive"),
        (vec![("d", tar::EntryType::Char, "", 0o644)], "is a device"),
        (vec![("p", tar::EntryType::Fifo, "", 0o644)], "is a device, a FIFO"),
        (
            vec![("a", link, "b", 0o777), ("a/f", file(), "x", 0o644)],
            "cannot be a directory: a symlink stands there",
        ),
    ] {
        let s = Sandbox::new();
        fs::write(s.path("a.tar"), tar(&entries)).unwrap();
        let error = s.converge("archive", &archive(&[])).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(!s.path("f").exists() && !s.path("x").exists());
        assert!(s.converge("archive", &archive(&[])).is_err());
    }
    assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"safe");
}

#[test]
fn case_081_a_symlink_that_is_there_leads_no_entry_out() {
    let outside = tempfile::tempdir().unwrap();
    let s = Sandbox::new();
    fs::create_dir(s.path("app")).unwrap();
    symlink(outside.path(), s.path("app/top")).unwrap();
    fs::write(s.path("a.tar"), simple()).unwrap();
    assert!(s.converge("archive", &archive(&[])).is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    fs::remove_file(s.path("app/top")).unwrap();
    fs::remove_dir(s.path("app")).unwrap();
    symlink(outside.path(), s.path("app")).unwrap();
    assert!(matches!(s.converge("archive", &archive(&[])), Err(ResourceError::InTheWay { .. })));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_bomb_stops_at_its_limits() {
    let s = Sandbox::new();
    let zeros = "0".repeat(1 << 20);
    let entries: Vec<_> = ["a", "b", "c", "d"].iter().map(|n| (*n, file(), zeros.as_str(), 0o644)).collect();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(&tar(&entries)).unwrap();
    fs::write(s.path("a.tar.gz"), gz.finish().unwrap()).unwrap();
    let with = |extra: &[(&str, Value)]| {
        let mut d = archive(&[("archive_path", "/a.tar.gz".into())]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    };
    let error = s.converge("archive", &with(&[("max_unpacked", "3M".into())])).unwrap_err().to_string();
    assert!(error.contains("more than `max_unpacked`"), "{error}");
    let error = s.converge("archive", &with(&[("max_entries", Value::Int(3))])).unwrap_err().to_string();
    assert!(error.contains("more than 3 entries"), "{error}");
    let error = s.converge("archive", &with(&[("max_size", "1k".into())])).unwrap_err().to_string();
    assert!(error.contains("larger than `max_size`"), "{error}");
    s.converge("archive", &with(&[("max_unpacked", "4M".into()), ("max_entries", Value::Int(4))])).unwrap();
}

#[test]
fn what_makes_no_sense_is_said() {
    let s = Sandbox::new();
    for (extra, name) in [
        (vec![("url", Value::from("https://h/a.tar"))], "url"),
        (vec![("archive_path", "/a.rar".into())], "format"),
        (vec![("format", "rar".into())], "format"),
        (vec![("strip", Value::Int(-1))], "strip"),
        (vec![("sha256", "12".into())], "sha256"),
    ] {
        match s.probe("archive", &archive(&extra)) {
            Err(ResourceError::Invalid { name: found, .. }) => assert_eq!(found, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(!s.probe("archive", &archive(&[])).unwrap().is_clean(), "another resource may bring the archive");
    assert!(s.converge("archive", &archive(&[])).is_err());
}
