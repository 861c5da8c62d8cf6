//! Work that the server orders: signed for one envoy, limited in time, checked before anything runs.

use crate::pb::{TaskOrder, TaskWork, task_work};
use ed25519_dalek::{SigningKey, VerifyingKey};
use ir::signing::{self, Domain, EnvelopeError};
use prost::Message;

/// Bytes of an encoded order.
pub const MAX_ORDER_BYTES: usize = 64 << 10;
/// Words of a command.
pub const MAX_WORDS: usize = 1024;
/// Milliseconds that a command may take.
pub const MAX_TIMEOUT_MS: u32 = 24 * 3_600_000;
/// Bytes of output that may be asked for.
pub const MAX_OUTPUT_BYTES: u32 = 8 << 20;
/// Bytes in one piece of output.
pub const MAX_PIECE_BYTES: usize = 64 << 10;
/// Bytes of the answer to a query.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Traits that one query asks for.
pub const MAX_QUERY_TRAITS: usize = 256;
/// Bytes of the path of a trait in a query.
pub const MAX_QUERY_PATH_BYTES: usize = 256;

/// Why an order is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Its envelope or signature.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Not an order.
    #[error("malformed order")]
    Malformed,
    /// Another cluster.
    #[error("the order is for another cluster")]
    WrongCluster,
    /// Another envoy.
    #[error("the order is for another envoy")]
    WrongEnvoy,
    /// Another stream.
    #[error("the order is for another stream")]
    WrongStream,
    /// Its work cannot be done as it stands.
    #[error("{0}")]
    Work(#[from] WorkError),
}

/// What is wrong with work, in the words of whoever asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// Neither a command nor a query.
    #[error("there is nothing to do: give a command, a shell line or a query")]
    Empty,
    /// Both.
    #[error("a command is either words or a shell line, not both")]
    Both,
    /// Too many words.
    #[error("a command has at most {MAX_WORDS} words")]
    Words,
    /// A NUL byte, which no program can be given.
    #[error("a command cannot hold a NUL character")]
    Nul,
    /// No time, or too much.
    #[error("the time limit is from 1 ms to 24 h")]
    Timeout,
    /// Too much output.
    #[error("at most {} MiB of output are kept", MAX_OUTPUT_BYTES >> 20)]
    Output,
    /// Too many traits, or none that can be.
    #[error("a query asks for at most {MAX_QUERY_TRAITS} traits, each by its path such as `os.family`")]
    Traits,
    /// The whole is too long to be sent.
    #[error("the work has more than {} KiB; put a long script into a file of the policy", MAX_ORDER_BYTES >> 10)]
    TooLong,
}

/// Whether work can be done as it stands. The server asks before it stores it, the agent before it begins.
pub fn check(work: &TaskWork) -> Result<(), WorkError> {
    // Room for the order around it.
    if work.encoded_len() > MAX_ORDER_BYTES - 1024 {
        return Err(WorkError::TooLong);
    }
    match work.work.as_ref().ok_or(WorkError::Empty)? {
        task_work::Work::Command(command) => {
            let words = !command.argv.is_empty();
            let line = !command.shell.trim().is_empty();
            if words && line {
                return Err(WorkError::Both);
            }
            if !line && command.argv.first().is_none_or(String::is_empty) {
                return Err(WorkError::Empty);
            }
            if command.argv.len() > MAX_WORDS {
                return Err(WorkError::Words);
            }
            let mut texts = command.argv.iter().chain([&command.shell, &command.user]);
            if texts.any(|text| text.contains('\0')) {
                return Err(WorkError::Nul);
            }
            if !(1..=MAX_TIMEOUT_MS).contains(&command.timeout_ms) {
                return Err(WorkError::Timeout);
            }
            if command.max_output > MAX_OUTPUT_BYTES {
                return Err(WorkError::Output);
            }
        }
        task_work::Work::Query(query) => {
            let name = |path: &String| {
                (1..=MAX_QUERY_PATH_BYTES).contains(&path.len())
                    && path.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            };
            if query.traits.len() > MAX_QUERY_TRAITS || !query.traits.iter().all(name) {
                return Err(WorkError::Traits);
            }
        }
    }
    Ok(())
}

/// Whether it may run a second time when the agent died while it ran. Looking never hurts.
pub fn is_idempotent(work: &TaskWork) -> bool {
    match &work.work {
        Some(task_work::Work::Command(command)) => command.idempotent,
        Some(task_work::Work::Query(_)) | None => true,
    }
}

/// What lists and logs show of work: never arguments, for people write passwords there.
pub fn summary(work: &TaskWork) -> String {
    match &work.work {
        Some(task_work::Work::Command(command)) => match command.argv.first() {
            Some(program) => program.rsplit('/').next().unwrap_or(program).chars().take(100).collect(),
            None => "shell".to_owned(),
        },
        Some(task_work::Work::Query(_)) => "query".to_owned(),
        None => String::new(),
    }
}

/// An order in its envelope.
pub fn seal(key: &SigningKey, order: &TaskOrder) -> Vec<u8> {
    signing::seal(key, Domain::Task, &order.encode_to_vec())
}

/// The order, if `key` signed it for this envoy and for the stream whose opening had this nonce. Whether its time is over and whether
/// it was followed before is for the agent's clock and journal to say.
pub fn open(
    key: &VerifyingKey,
    envelope: &[u8],
    cluster_id: &str,
    envoy_id: &str,
    nonce: &[u8],
) -> Result<TaskOrder, OrderError> {
    if envelope.len() > MAX_ORDER_BYTES + 1024 {
        return Err(OrderError::Malformed);
    }
    let payload = signing::open(key, Domain::Task, envelope)?;
    let order = TaskOrder::decode(payload).map_err(|_| OrderError::Malformed)?;
    if order.cluster_id != cluster_id {
        return Err(OrderError::WrongCluster);
    }
    if order.envoy_id != envoy_id {
        return Err(OrderError::WrongEnvoy);
    }
    if order.nonce != nonce {
        return Err(OrderError::WrongStream);
    }
    if is_id(&order.task_id) { Ok(order) } else { Err(OrderError::Malformed) }
}

/// The order with its times by the clock of whoever received it just now. An order is of one stream, so it cannot have been held
/// back for longer than that stream lives.
pub fn in_own_time(mut order: TaskOrder, now: u64) -> TaskOrder {
    // A server from before the field says nothing.
    if order.sent_at > 0 {
        let here = |at: u64| match at.checked_sub(order.sent_at) {
            Some(later) => now.saturating_add(later),
            None => now.saturating_sub(order.sent_at - at),
        };
        (order.created_at, order.not_after) = (here(order.created_at), here(order.not_after));
        order.sent_at = now;
    }
    order
}

/// Whether that names a task, as a UUID does: ids become keys of the journal and words of the log.
pub fn is_id(id: &str) -> bool {
    id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{TaskCommand, TaskQuery};

    fn command(argv: &[&str]) -> TaskCommand {
        TaskCommand {
            argv: argv.iter().map(|w| (*w).to_owned()).collect(),
            timeout_ms: 1000,
            max_output: 1000,
            ..TaskCommand::default()
        }
    }

    fn work(command: TaskCommand) -> TaskWork {
        TaskWork { work: Some(task_work::Work::Command(command)) }
    }

    fn order() -> TaskOrder {
        TaskOrder {
            cluster_id: "c".into(),
            envoy_id: "e".into(),
            task_id: "0190d1f0-0000-7000-8000-000000000000".into(),
            epoch: 1,
            created_at: 2,
            not_after: 3,
            work: Some(work(command(&["uptime"]))),
            nonce: vec![7; 16],
            sent_at: 0,
        }
    }

    #[test]
    fn another_clock_does_not_move_the_end_of_an_order() {
        let order = TaskOrder { created_at: 1_000, not_after: 9_000, sent_at: 3_000, ..order() };
        for now in [500_000, 3_000, 2_500] {
            let here = in_own_time(order.clone(), now);
            assert_eq!((here.created_at, here.not_after), (now - 2_000, now + 6_000));
            assert_eq!(in_own_time(here.clone(), here.sent_at), here, "once is enough");
        }
        let late = in_own_time(TaskOrder { not_after: 2_000, ..order.clone() }, 7_000);
        assert_eq!(late.not_after, 6_000, "its time is over here, too");
        let none = TaskOrder { sent_at: 0, ..order };
        assert_eq!(in_own_time(none.clone(), 7), none);
    }

    #[test]
    fn an_order_is_of_one_key_one_cluster_and_one_envoy() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let (public, sealed) = (key.verifying_key(), seal(&key, &order()));
        assert_eq!(open(&public, &sealed, "c", "e", &[7; 16]), Ok(order()));
        assert_eq!(open(&public, &sealed, "d", "e", &[7; 16]), Err(OrderError::WrongCluster));
        assert_eq!(open(&public, &sealed, "c", "f", &[7; 16]), Err(OrderError::WrongEnvoy));
        assert_eq!(open(&public, &sealed, "c", "e", &[8; 16]), Err(OrderError::WrongStream));
        let other = SigningKey::from_bytes(&[2; 32]).verifying_key();
        let unknown = open(&other, &sealed, "c", "e", &[7; 16]);
        assert!(matches!(unknown, Err(OrderError::Envelope(EnvelopeError::UnknownKey { .. }))));
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(open(&public, &flipped, "c", "e", &[7; 16]).is_err(), "byte {at}");
        }
        // the same bytes, signed as something else
        let lease = signing::seal(&key, Domain::Lease, &order().encode_to_vec());
        let bad = Err(OrderError::Envelope(EnvelopeError::BadSignature));
        assert_eq!(open(&public, &lease, "c", "e", &[7; 16]), bad);
        let odd = TaskOrder { task_id: "../x".into(), ..order() };
        assert_eq!(open(&public, &seal(&key, &odd), "c", "e", &[7; 16]), Err(OrderError::Malformed));
    }

    #[test]
    fn work_that_cannot_be_done_says_why() {
        assert_eq!(check(&work(command(&["uptime"]))), Ok(()));
        assert_eq!(check(&TaskWork::default()), Err(WorkError::Empty));
        assert_eq!(check(&work(command(&[]))), Err(WorkError::Empty));
        assert_eq!(check(&work(command(&[""]))), Err(WorkError::Empty));
        let both = TaskCommand { shell: "id".into(), ..command(&["id"]) };
        assert_eq!(check(&work(both)), Err(WorkError::Both));
        assert_eq!(check(&work(command(&["a\0b"]))), Err(WorkError::Nul));
        assert_eq!(check(&work(command(&["x"; MAX_WORDS + 1]))), Err(WorkError::Words));
        let timeout = |timeout_ms| work(TaskCommand { timeout_ms, ..command(&["id"]) });
        assert_eq!(check(&timeout(0)), Err(WorkError::Timeout));
        assert_eq!(check(&timeout(MAX_TIMEOUT_MS + 1)), Err(WorkError::Timeout));
        assert_eq!(check(&timeout(MAX_TIMEOUT_MS)), Ok(()));
        let output = TaskCommand { max_output: MAX_OUTPUT_BYTES + 1, ..command(&["id"]) };
        assert_eq!(check(&work(output)), Err(WorkError::Output));
        let long = "x".repeat(MAX_ORDER_BYTES);
        assert_eq!(check(&work(command(&[&long]))), Err(WorkError::TooLong));
        let query = |traits: &[&str]| TaskWork {
            work: Some(task_work::Work::Query(TaskQuery {
                traits: traits.iter().map(|t| (*t).to_owned()).collect(),
            })),
        };
        assert_eq!(check(&query(&["os.family"])), Ok(()));
        assert_eq!(check(&query(&[])), Ok(()));
        assert_eq!(check(&query(&["os family"])), Err(WorkError::Traits));
    }

    #[test]
    fn what_is_shown_of_work_has_no_arguments() {
        assert_eq!(summary(&work(command(&["/usr/bin/mysql", "-phunter2"]))), "mysql");
        let line = TaskCommand { shell: "mysql -phunter2".into(), ..command(&[]) };
        assert_eq!(summary(&work(line)), "shell");
    }
}
