//! Secrets over the network, with real processes: who gets them, and where they must never be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use ir::Hash;
use runtime_server::config::Config;
use runtime_server::testing::everything_in;
use std::collections::HashMap;
use std::path::Path;
use vigo_tests::processes::{Host, Server, text};

const NODES: &str =
    "nodes:\n  - match: db.test\n    modules: [etc, app]\n  - match: web.test\n    modules: [etc, motd]\n";
const ETC: &str = "name: etc\nresources:\n  - { name: etc, type: directory, target_path: /etc }\n";
const APP: &str = "name: app\ndepends_on: [etc]\nvars: { password: \"secret:app/db\" }\nresources:\n  - name: config\n    type: file\n    target_path: /etc/app.conf\n    content: \"password = {{ .Vars.password }}\\n\"\n    mode: \"0600\"\n";
const MOTD: &str = "name: motd\ndepends_on: [etc]\nresources:\n  - { name: motd, type: file, target_path: /etc/motd, content: hello }\n";

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[test]
fn case_090_096_a_secret_set_over_the_network_reaches_who_uses_it_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let policy = [
        ("nodes.vgo", NODES),
        ("modules/etc.vgo", ETC),
        ("modules/app.vgo", APP),
        ("modules/motd.vgo", MOTD),
    ];
    let mut server = Server::init(dir.path(), &policy);
    server.command_with_input(&["secrets", "set", "app/db"], "canary-4711-zero");
    server.start();
    let token =
        |role| server.command(&["api-token", "create", "--name", role, "--role", role]).trim().to_owned();
    let (admin, operator) = (token("admin"), token("operator"));
    let said = |output: &std::process::Output| text(&output.stdout) + &text(&output.stderr);

    let [one, two] = ["canary-4711-one", "canary-4711-two"];
    let refused = server.vigocli_with_input(&operator, &["secrets", "set", "app/db"], one);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("needs the role `admin`"), "{}", said(&refused));
    let nothing = server.vigocli(&admin, &["secrets", "set", "app/db"]);
    assert_eq!(nothing.status.code(), Some(64), "{}", said(&nothing));
    let outside = server.vigocli_with_input(&admin, &["secrets", "set", "../db"], one);
    assert_eq!(outside.status.code(), Some(64), "{}", said(&outside));
    let set = server.vigocli_with_input(&admin, &["secrets", "set", "app/db"], &format!("{one}\n"));
    assert!(set.status.success() && said(&set).contains("was replaced"), "{}", said(&set));
    let listed = server.vigocli(&admin, &["secrets", "list", "--format", "json"]);
    assert!(said(&listed).contains("app/db") && !said(&listed).contains("canary"), "{}", said(&listed));

    let hosts = ["db.test", "web.test"].map(|name| Host::new(dir.path(), name));
    for host in &hosts {
        assert!(host.enroll(&server.address, &server.token(), &server.ca_hash).status.success());
    }
    let run = |host: &Host| {
        let (code, out) = host.run();
        assert_eq!(code, 0, "{out}");
        assert!(!out.contains("canary"), "{out}");
        host.status()["bundle"]["seq"].as_u64().unwrap()
    };
    let [db, web] = &hosts;
    let before = (run(db), run(web));
    assert_eq!(db.read("/etc/app.conf").unwrap(), format!("password = {one}\n"));
    let fresh = server.vigocli_with_input(&admin, &["secrets", "set", "app/other"], "canary-4711-other");
    assert!(fresh.status.success() && said(&fresh).contains("was stored"), "{}", said(&fresh));

    // Set anew, from a file this time: who uses it gets another bundle, and nobody else does.
    let file = dir.path().join("value");
    std::fs::write(&file, two).unwrap();
    let set = server.vigocli(&admin, &["secrets", "set", "app/db", "--file", file.to_str().unwrap()]);
    assert!(set.status.success() && said(&set).contains("was replaced"), "{}", said(&set));
    let sent = server.log().iter().filter(|line| line.contains("bundle sent")).count();
    let after = (run(db), run(web));
    assert_eq!(db.read("/etc/app.conf").unwrap(), format!("password = {two}\n"));
    assert_eq!((after.0 > before.0, after.1), (true, before.1));
    assert_eq!(server.log().iter().filter(|line| line.contains("bundle sent")).count(), sent + 1);

    let removed = server.vigocli(&admin, &["secrets", "rm", "app/db"]);
    assert!(removed.status.success(), "{}", said(&removed));
    let again = server.vigocli(&admin, &["secrets", "rm", "app/db"]);
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    let (_, out) = db.run();
    assert!(out.contains("the secret `app/db` is not available"), "{out}");
    assert_eq!(db.read("/etc/app.conf").unwrap(), format!("password = {two}\n"), "it keeps what it has");

    let audit = said(&server.vigocli(&admin, &["audit", "list", "--format", "json"]));
    for (action, times) in [("secret.set", 3), ("secret.remove", 1)] {
        assert_eq!(audit.matches(action).count(), times, "{action}: {audit}");
    }
    server.stop();
    let database = Config::load(&server.dir.join("server.yaml")).unwrap().database;
    let places =
        [audit, server.log().join("\n"), String::from_utf8_lossy(&everything_in(&database)).into_owned()];
    for value in [one, two, "canary-4711-zero"] {
        for place in &places {
            assert!(!contains(place.as_bytes(), value), "{value} is in {place}");
        }
    }
}

/// Digests that somebody who looks for a PIN could compute: of what a value may have been when it was hashed, alone and with
/// every key that is no secret. Only their beginnings, for they may have been cut.
struct Guesses {
    /// By their first eight bytes: the PIN.
    all: HashMap<u64, u16>,
    /// Their first three bytes, so that most places are passed over at once.
    begin: Vec<bool>,
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let three = |part: &[u8]| part.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
    let four = |n: usize| [18, 12, 6, 0].map(|shift| char::from(DIGITS[n >> shift & 63]));
    bytes.chunks_exact(3).flat_map(|part| four(three(part))).collect()
}

/// RFC 2104.
fn hmac(key: &[u8], text: &[u8]) -> Hash {
    let mut block = [0; 64];
    match key.len() {
        0..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&Hash::of(key).0),
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    Hash::of_parts(&[&pad(0x5c), &Hash::of_parts(&[&pad(0x36), text]).0])
}

impl Guesses {
    fn of_pins(public: &[&str], forms: &[&str]) -> Guesses {
        let mut guesses = Guesses { all: HashMap::new(), begin: vec![false; 1 << 24] };
        for pin in 0..10_000 {
            for form in forms {
                let text = form.replace("PIN", &format!("{pin:04}"));
                guesses.add(pin, Hash::of(text.as_bytes()));
                for key in public {
                    let [key, text] = [key.as_bytes(), text.as_bytes()];
                    guesses.add(pin, hmac(key, text));
                    guesses.add(pin, Hash::of_parts(&[key, text]));
                    guesses.add(pin, Hash::of_parts(&[text, key]));
                }
            }
        }
        guesses
    }

    fn add(&mut self, pin: u16, digest: Hash) {
        let eight = u64::from_be_bytes(digest.0[..8].try_into().unwrap());
        self.begin[(eight >> 40) as usize] = true;
        self.all.insert(eight, pin);
    }

    fn pin(&self, eight: u64) -> Option<u16> {
        if self.begin[(eight >> 40) as usize] { self.all.get(&eight).copied() } else { None }
    }

    /// Whether one of them is in there: as bytes, in hexadecimal or in base64, wherever it begins.
    fn found(&self, bytes: &[u8]) -> Option<u16> {
        let at = |from: usize| {
            let rest = &bytes[from..];
            let raw = rest.first_chunk().and_then(|eight| self.pin(u64::from_be_bytes(*eight)));
            let hex = || self.pin(number(rest.get(..16)?, 4, hexadecimal)? as u64);
            // 11 digits are 66 bits.
            let base64 = || self.pin((number(rest.get(..11)?, 6, base64_digit)? >> 2) as u64);
            raw.or_else(hex).or_else(base64)
        };
        (0..bytes.len()).find_map(at)
    }
}

fn number(digits: &[u8], bits: u32, digit: fn(u8) -> Option<u8>) -> Option<u128> {
    digits.iter().try_fold(0, |n: u128, byte| Some(n << bits | u128::from(digit(*byte)?)))
}

fn hexadecimal(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Of both alphabets.
fn base64_digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

fn files_below(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match std::fs::symlink_metadata(&path).unwrap().file_type() {
            kind if kind.is_dir() => files_below(&path, found),
            kind if kind.is_file() => found.push((path.display().to_string(), std::fs::read(&path).unwrap())),
            _ => {}
        }
    }
}

#[test]
fn case_094_no_digest_that_is_stored_or_shown_gives_a_pin_away() {
    const PINS: &str = "name: app\ndepends_on: [etc]\nvars: { pin: \"secret:app/pin\" }\nresources:\n  - name: config\n    type: file\n    target_path: /etc/app.conf\n    content: \"pin = {{ .Vars.pin }}\\n\"\n    mode: \"0600\"\n    backup: true\n  - name: bare\n    type: file\n    target_path: /etc/pin\n    content: \"{{ .Vars.pin }}\"\n    mode: \"0600\"\n  - name: part\n    type: json_file\n    target_path: /etc/app.json\n    create: true\n    set: { pin: \"{{ .Vars.pin }}\" }\n";
    let dir = tempfile::tempdir().unwrap();
    let policy = [
        ("nodes.vgo", NODES),
        ("modules/etc.vgo", ETC),
        ("modules/app.vgo", PINS),
        ("modules/motd.vgo", MOTD),
    ];
    let mut server = Server::init(dir.path(), &policy);
    server.command_with_input(&["secrets", "set", "app/pin"], "4711");
    server.start();
    let host = Host::new(dir.path(), "db.test");
    assert!(host.enroll(&server.address, &server.token(), &server.ca_hash).status.success());
    let mut said = String::new();
    let mut run = |arguments: &[&str]| {
        let ran = host.vigo(&[&["run", "--once"], arguments].concat());
        assert!(ran.status.success(), "{ran:?}");
        said += &(text(&ran.stdout) + &text(&ran.stderr));
    };
    run(&["--diff"]);
    for path in ["/etc/app.conf", "/etc/pin", "/etc/app.json"] {
        assert!(host.read(path).unwrap().contains("4711"), "{path}");
        host.write(path, "{}");
    }
    run(&["--dry-run", "--diff"]);
    run(&["--diff", "--format", "json"]);
    // Another value, so that there is an old version as well.
    let admin =
        server.command(&["api-token", "create", "--name", "admin", "--role", "admin"]).trim().to_owned();
    assert!(server.vigocli_with_input(&admin, &["secrets", "set", "app/pin"], "0815").status.success());
    run(&["--diff"]);
    assert_eq!(host.read("/etc/pin").unwrap(), "0815");
    said += &text(&host.vigo(&["explain", "app.config", "--diff"]).stdout);
    said += &text(&host.vigo(&["status", "--format", "json"]).stdout);
    let id = host.status()["envoy"]["id"].as_str().unwrap().to_owned();
    server.stop();

    let public = ["", "app/pin", "db.test", "vigo/secret/v1", &id];
    let forms = ["PIN", "PIN\n", "pin = PIN\n", "{\n  \"pin\": \"PIN\"\n}\n"];
    let guesses = Guesses::of_pins(&public, &forms);
    // What would be found if it were there.
    let digest = hmac(b"db.test", b"4711").0;
    assert_eq!(guesses.found(&[b"x".as_slice(), &digest].concat()), Some(4711));
    for planted in [Hash::of(b"0815").to_string(), base64(&Hash::of(b"pin = 0815\n").0)] {
        assert!(guesses.found(format!("version {planted}").as_bytes()).is_some(), "{planted}");
    }
    assert_eq!(
        hmac(b"Jefe", b"what do ya want for nothing?").to_string()[..16],
        *"5bdcc146bf60754e",
        "RFC 4231"
    );

    let database = Config::load(&server.dir.join("server.yaml")).unwrap().database;
    let mut places = vec![
        ("what was said".to_owned(), said.into_bytes()),
        ("the log of the server".to_owned(), server.log().join("\n").into_bytes()),
        ("the database".to_owned(), everything_in(&database)),
    ];
    files_below(dir.path(), &mut places);
    assert!(
        places.iter().any(|(place, _)| place.contains("/var/lib/vigo/")),
        "the state of the agent is looked at"
    );
    for (place, bytes) in &places {
        assert_eq!(guesses.found(bytes), None, "{place}");
    }
}
