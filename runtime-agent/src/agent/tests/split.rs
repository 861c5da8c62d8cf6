//! Turns through a speaker that is in the hands of somebody else.

use super::*;
use crate::speaker::tests::scripted;

/// Everything of the state that no speaker may change: the identity byte for byte, what was seen of the server, and the bundle.
/// Requests are counted and results get numbers whatever becomes of them.
fn kept(host: &Host) -> (Vec<u8>, Marks, Option<crate::store::Cached>) {
    let identity = fs::read(host.agent.state().identity().join("identity.json")).unwrap();
    let marks = host.store().marks().unwrap();
    let marks = Marks { time_floor: 0, counter: 0, result_seq: 0, ..marks };
    (identity, marks, host.store().cached().unwrap())
}

/// A turn through a speaker that is a script.
fn turn_through(host: &Host, script: &str) -> Cycle {
    let mut session = host.agent.session().unwrap();
    let mut split = scripted(script, &session.identity);
    session.cycle(&mut split, &RunOptions::default(), &mut Silent).unwrap()
}

#[test]
fn a_speaker_in_other_hands_leaves_the_host_converging_and_its_state_as_it_was() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    let before = kept(&host);
    let scripts = [
        // random frames
        "cat /dev/urandom >&0",
        // as much as it likes, of one that it may not send
        r"while printf '\002\000\000\000\001\000\000\000\000'; do :; done >&0",
        // an end in the middle of everything
        "exit 1",
        // an empty answer to the first request: Protocol Buffers takes it for a message with nothing in it
        r"head -c 20 >/dev/null; printf '\002\000\000\000\001\000\000\000\000' >&0; sleep 60",
        // the same with a bundle that is none
        r"head -c 20 >/dev/null; printf '\002\000\000\000\001\000\000\000\004\022\002\012\000' >&0; sleep 60",
    ];
    for (number, script) in scripts.iter().enumerate() {
        fs::write(host.dir.path().join("etc/motd"), "drift").unwrap();
        let cycle = turn_through(&host, script);
        assert!(cycle.check_in.is_err(), "{script}: {:?}", cycle.check_in);
        assert_eq!(
            (host.motd().as_str(), cycle.summary.totals.changed, cycle.summary.offline),
            ("one", 1, true),
            "{script}"
        );
        assert!(kept(&host) == before, "{script}");
        assert!(host.agent.verify().unwrap().is_good(), "{script}");
        assert_eq!(host.store().queue().unwrap().waiting, number as u64 + 1, "{script}");
    }
    // Nothing is lost: the next turn that reaches the server delivers all of it.
    host.turn().unwrap();
    let told: Vec<u64> = host.server.reports.iter().map(|report| report.result_seq).collect();
    assert_eq!(told, [1, 2, 3, 4, 5, 6, 7]);
}
