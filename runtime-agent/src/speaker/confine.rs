//! What the speaker gives up before it says a word: user and groups, every capability, cores, the file system, and the system
//! calls that it does not need.

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::collections::BTreeMap;

/// How much of Landlock counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landlock {
    /// The kernel has none.
    None,
    /// The kernel is older than what is known of it here.
    Partly,
    /// All that is known of it here.
    Fully,
}

/// What the speaker is kept from beside what its user is.
#[derive(Clone, PartialEq, Eq, prost::Message, serde::Serialize, serde::Deserialize)]
pub struct Confined {
    /// Of 2: see [`Confined::landlock`].
    #[prost(uint32, tag = "1")]
    landlock: u32,
    /// System calls are filtered.
    #[prost(bool, tag = "2")]
    seccomp: bool,
}

impl Confined {
    fn new(landlock: Landlock, seccomp: bool) -> Self {
        Confined { landlock: landlock as u32, seccomp }
    }

    /// How much of the file system and of the network is closed to it by Landlock.
    pub fn landlock(&self) -> Landlock {
        match self.landlock {
            0 => Landlock::None,
            1 => Landlock::Partly,
            _ => Landlock::Fully,
        }
    }
}

impl std::fmt::Display for Confined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seccomp = if self.seccomp { "under seccomp" } else { "there is no seccomp here" };
        let landlock = match self.landlock() {
            Landlock::Fully => "under Landlock",
            Landlock::Partly => "under a part of Landlock",
            Landlock::None => "there is no Landlock here",
        };
        write!(f, "without rights, {seccomp}, {landlock}")
    }
}

/// Why a privilege could not be given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfineError {
    /// Who has none to give up.
    #[error("it is not root's")]
    NotRoot,
    /// The system said no.
    #[error("{step}: {why}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// Why not.
        why: String,
    },
    /// It said yes, and it is not so.
    #[error("{0} is still there")]
    Left(&'static str),
}

/// Whose rights are taken on.
#[derive(Clone, Copy)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Memory that it may write to. A message has 16 MiB at most, and there are a few copies of one.
const MEMORY: u64 = 512 << 20;
/// Descriptors: the socket, two connections, what tokio and a resolver need.
const DESCRIPTORS: u64 = 64;

fn step<E: std::fmt::Display>(step: &'static str) -> impl FnOnce(E) -> ConfineError {
    move |error| ConfineError::Step { step, why: error.to_string() }
}

/// Gives up everything, for good. Has to be called before there is a second thread.
pub(super) fn confine(account: Account, port: u16) -> Result<Confined, ConfineError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(ConfineError::NotRoot);
    }
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    if uid.is_root() {
        return Err(ConfineError::Left("root"));
    }
    caps::clear(None, caps::CapSet::Bounding).map_err(step("the capabilities of later programs"))?;
    setgroups(&[]).map_err(step("its groups"))?;
    setresgid(gid, gid, gid).map_err(step("its group"))?;
    setresuid(uid, uid, uid).map_err(step("its user"))?;
    // Those that count went with the user; these would be passed on.
    caps::clear(None, caps::CapSet::Inheritable).map_err(step("inheritable capabilities"))?;
    use caps::CapSet::{Bounding, Effective, Inheritable, Permitted};
    for set in [Effective, Permitted, Inheritable, Bounding] {
        if !caps::read(None, set).map_err(step("its capabilities"))?.is_empty() {
            return Err(ConfineError::Left("a capability"));
        }
    }
    if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(ConfineError::Left("the way back to root"));
    }
    nix::sys::prctl::set_no_new_privs().map_err(step("new privileges"))?;
    for (resource, limit) in [
        (Resource::RLIMIT_CORE, 0),
        // Of files that it writes to. Sockets have none.
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_DATA, MEMORY),
        (Resource::RLIMIT_NOFILE, DESCRIPTORS),
    ] {
        setrlimit(resource, limit, limit).map_err(step("its limits"))?;
    }
    // Both are forgotten with a change of the user, so they come after it. Another process of that user does not look in here.
    nix::sys::prctl::set_dumpable(false).map_err(step("its memory"))?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(step("its end"))?;
    let landlock = restrict_paths(port).map_err(step("the file system"))?;
    let seccomp = filter_calls().map_err(step("system calls"))?;
    Ok(Confined::new(landlock, seccomp))
}

/// What a resolver reads: its settings, which are replaced by renaming and so are named by their directories, and the
/// libraries that `/etc/nsswitch.conf` names.
const READABLE: &[&str] = &[
    "/etc",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/netconfig",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
];

fn restrict_paths(port: u16) -> Result<Landlock, landlock::RulesetError> {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
        Scope, path_beneath_rules,
    };
    let abi = ABI::V6;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(READABLE, AccessFs::ReadFile | AccessFs::ReadDir))?
        .add_rule(NetPort::new(port, AccessNet::ConnectTcp))?
        // Of name servers whose answer is too long for a datagram.
        .add_rule(NetPort::new(53, AccessNet::ConnectTcp))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Fully,
        RulesetStatus::PartiallyEnforced => Landlock::Partly,
        RulesetStatus::NotEnforced => Landlock::None,
    })
}

/// What is left of the system: memory, threads, the clock, its own descriptors, connections, and reading files. What is not here
/// is answered as by a kernel that never had it, so a C library that can do without does.
const CALLS: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_dup,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpeername,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_write,
    libc::SYS_writev,
    // A resolver of musl binds the datagram socket that it asks from. TCP is closed to it by Landlock, and `listen` to both.
    libc::SYS_bind,
];

/// Calls that newer architectures do without.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[i64] = &[
    libc::SYS_access,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_stat,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[i64] = &[];

/// What is beside the kind of a socket among the bits that say it.
const KIND: i32 = 0xf;
/// What says whether memory counts.
const COUNTED: i32 = libc::MAP_SHARED | libc::MAP_PRIVATE | libc::MAP_GROWSDOWN;
/// How a file is opened that is to be made or changed.
const WRITING: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;

/// Whether the kernel has filters for system calls.
fn filter_calls() -> Result<bool, seccompiler::Error> {
    let filter: seccompiler::BpfProgram = match std::env::consts::ARCH.try_into() {
        Ok(arch) => filter(arch)?.try_into()?,
        Err(_) => return Ok(false),
    };
    match seccompiler::apply_filter(&filter) {
        Ok(()) => Ok(true),
        Err(seccompiler::Error::Seccomp(e) | seccompiler::Error::Prctl(e))
            if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn filter(arch: seccompiler::TargetArch) -> Result<seccompiler::SeccompFilter, seccompiler::Error> {
    use seccompiler::SeccompCmpArgLen::{Dword, Qword};
    use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
    use seccompiler::{SeccompAction, SeccompCondition, SeccompFilter, SeccompRule};
    let is = |argument, value: i32| SeccompCondition::new(argument, Dword, Eq, low(value));
    let masked = |argument, mask: i32, value: i32| {
        SeccompCondition::new(argument, Dword, MaskedEq(low(mask)), low(value))
    };
    let zero = |argument| SeccompCondition::new(argument, Qword, Eq, 0);
    // A socket for one of these families, of one of these kinds, with the protocol that this kind has by itself or with that one
    // by name: Landlock does not know others that carry TCP.
    let socket = |family, kind, protocol| -> Result<_, seccompiler::Error> {
        let by = |protocol| {
            Ok::<_, seccompiler::Error>(SeccompRule::new(vec![
                is(0, family)?,
                masked(1, KIND, kind)?,
                is(2, protocol)?,
            ])?)
        };
        Ok([by(0)?, by(protocol)?])
    };
    let mut sockets = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        sockets.extend(socket(family, libc::SOCK_STREAM, libc::IPPROTO_TCP)?);
        sockets.extend(socket(family, libc::SOCK_DGRAM, libc::IPPROTO_UDP)?);
    }
    // Which addresses this host has: a resolver leaves out what cannot be reached.
    sockets.push(SeccompRule::new(vec![is(0, libc::AF_NETLINK)?, is(2, libc::NETLINK_ROUTE)?])?);
    // Not for writing.
    let look = |flags| Ok::<_, seccompiler::Error>(vec![SeccompRule::new(vec![masked(flags, WRITING, 0)?])?]);
    // Not so that a connection is made on the way, past what says where to.
    let send = |flags| {
        Ok::<_, seccompiler::Error>(vec![SeccompRule::new(vec![masked(flags, libc::MSG_FASTOPEN, 0)?])?])
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        CALLS.iter().chain(OLD_CALLS).map(|call| (*call, Vec::new())).collect();
    let some = [
        (libc::SYS_socket, sockets),
        // A pair with itself, which tokio makes. One for datagrams could be connected to any local service.
        (
            libc::SYS_socketpair,
            vec![SeccompRule::new(vec![is(0, libc::AF_UNIX)?, masked(1, KIND, libc::SOCK_STREAM)?])?],
        ),
        (libc::SYS_openat, look(2)?),
        (libc::SYS_sendto, send(3)?),
        (libc::SYS_sendmsg, send(2)?),
        (libc::SYS_sendmmsg, send(3)?),
        // Threads, and no processes.
        (libc::SYS_clone, vec![SeccompRule::new(vec![masked(0, libc::CLONE_THREAD, libc::CLONE_THREAD)?])?]),
        // Nothing is both written and run; libraries are mapped as they are. What is shared or grows by itself is in no limit.
        (
            libc::SYS_mmap,
            vec![
                SeccompRule::new(vec![
                    masked(2, libc::PROT_EXEC, 0)?,
                    masked(3, COUNTED, libc::MAP_PRIVATE)?,
                ])?,
                SeccompRule::new(vec![
                    masked(2, libc::PROT_WRITE, 0)?,
                    masked(3, COUNTED | libc::MAP_ANONYMOUS, libc::MAP_PRIVATE)?,
                ])?,
            ],
        ),
        (libc::SYS_mprotect, vec![SeccompRule::new(vec![masked(2, libc::PROT_EXEC, 0)?])?]),
        // The name of a thread, and of what memory is for.
        (
            libc::SYS_prctl,
            vec![
                SeccompRule::new(vec![is(0, libc::PR_SET_NAME)?])?,
                SeccompRule::new(vec![is(0, libc::PR_SET_VMA)?])?,
            ],
        ),
        // Asked for, not set.
        (libc::SYS_prlimit64, vec![SeccompRule::new(vec![zero(2)?])?]),
        (
            libc::SYS_ioctl,
            REQUESTS
                .into_iter()
                .map(|request| SeccompRule::new(vec![SeccompCondition::new(1, Dword, Eq, request)?]))
                .collect::<Result<_, _>>()?,
        ),
        // Of its own threads: how a C library aborts.
        (libc::SYS_tgkill, vec![SeccompRule::new(vec![is(0, nix::unistd::getpid().as_raw())?])?]),
    ];
    rules.extend(some);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, look(1)?);
    let missing = SeccompAction::Errno(u32::try_from(libc::ENOSYS).unwrap_or(1));
    Ok(SeccompFilter::new(rules, missing, SeccompAction::Allow, arch)?)
}

/// `FIONBIO`, `FIONREAD` and `SIOCGIFINDEX` as Linux has them; C libraries do not agree on a type.
const REQUESTS: [u64; 3] = [0x5421, 0x541b, 0x8933];

/// An argument as the kernel compares it: its lower half.
fn low(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said_in_words() {
        let said = |landlock, seccomp| Confined::new(landlock, seccomp).to_string();
        assert_eq!(said(Landlock::Fully, true), "without rights, under seccomp, under Landlock");
        assert!(said(Landlock::None, true).ends_with("there is no Landlock here"));
        assert!(said(Landlock::Partly, false).contains("there is no seccomp here"));
    }

    #[test]
    fn no_call_that_starts_a_program_or_changes_a_file_is_left() {
        let rules: Vec<i64> = CALLS.iter().chain(OLD_CALLS).copied().collect();
        for call in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_kill,
            libc::SYS_listen,
            libc::SYS_accept4,
            libc::SYS_unlinkat,
            libc::SYS_renameat2,
            libc::SYS_mkdirat,
            libc::SYS_linkat,
            libc::SYS_symlinkat,
            libc::SYS_fchmodat,
            libc::SYS_fchownat,
            libc::SYS_ftruncate,
            libc::SYS_mount,
            libc::SYS_setns,
            libc::SYS_unshare,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_process_vm_writev,
            libc::SYS_memfd_create,
            libc::SYS_clone3,
            libc::SYS_setresuid,
            libc::SYS_setgroups,
            libc::SYS_capset,
        ] {
            assert!(!rules.contains(&call), "{call}");
        }
        for arch in [seccompiler::TargetArch::x86_64, seccompiler::TargetArch::aarch64] {
            filter(arch).unwrap();
        }
    }

    /// The twin of what the tests with real processes show: who has nothing to give up is told so.
    #[test]
    fn only_root_has_something_to_give_up() {
        if !nix::unistd::geteuid().is_root() {
            let error = confine(Account { uid: 1, gid: 1 }, 1).unwrap_err();
            assert!(matches!(error, ConfineError::NotRoot));
        } else {
            let error = confine(Account { uid: 0, gid: 0 }, 1).unwrap_err();
            assert!(matches!(error, ConfineError::Left("root")));
        }
    }

    /// Names the file that says whom to connect to, in a process that gives everything up.
    const INNER: &str = "VIGO_TEST_CONFINED";

    /// In a process of its own: there is no way back.
    #[test]
    fn what_a_speaker_can_do_and_cannot() {
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("not root: nothing is shown");
        }
        let secret = tempfile::tempdir().unwrap();
        std::fs::write(secret.path().join("identity.json"), "a key").unwrap();
        let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let [server, other] = listeners.each_ref().map(|l| l.local_addr().unwrap().port());
        let out = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "speaker::confine::tests::inside",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(INNER, format!("{server} {other} {}", secret.path().display()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && said.contains("everything was tried"), "{said}");
    }

    #[test]
    #[ignore = "gives up the privileges of the whole process; `what_a_speaker_can_do_and_cannot` runs it in one of its own"]
    fn inside() {
        use nix::errno::Errno;
        use nix::sys::socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
        };
        use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
        use std::os::fd::AsRawFd;
        let given = std::env::var(INNER).unwrap();
        let [server, other, secret] = given.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (server, other): (u16, u16) = (server.parse().unwrap(), other.parse().unwrap());
        let nobody = Account { uid: 65_534, gid: 65_534 };
        let confined = confine(nobody, server).unwrap();
        println!("{confined}");

        // What it is for.
        assert!(TcpStream::connect(("127.0.0.1", server)).is_ok());
        assert!(("localhost", 80).to_socket_addrs().unwrap().next().is_some(), "names are found");
        assert!(UdpSocket::bind("127.0.0.1:0").is_ok(), "name servers are asked");
        assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7);
        assert!(std::fs::read("/etc/passwd").is_ok(), "what everybody may read there, a resolver may");

        // What it is not for.
        let tried = |what: &str, done: bool| assert!(!done, "{what} is possible");
        tried("a program", std::process::Command::new("/bin/true").spawn().is_ok());
        tried("the state", std::fs::read(format!("{secret}/identity.json")).is_ok());
        tried("the state's directory", std::fs::read_dir(secret).is_ok());
        tried("a file in /tmp", std::fs::write("/tmp/vigo-confined", "x").is_ok());
        tried("a directory", std::fs::create_dir("/tmp/vigo-confined").is_ok());
        tried("a signal", nix::sys::signal::kill(nix::unistd::Pid::from_raw(1), None).is_ok());
        tried("a local socket", std::os::unix::net::UnixDatagram::unbound().is_ok());
        tried("a pair that connects to local services", std::os::unix::net::UnixDatagram::pair().is_ok());
        assert!(std::os::unix::net::UnixStream::pair().is_ok(), "which tokio needs");
        tried("a file that is there", std::fs::OpenOptions::new().append(true).open("/dev/null").is_ok());
        tried("an empty file", std::fs::File::create("/tmp/vigo-confined").is_ok());
        // What the kernel has never had is not had here, whatever it has.
        for (kind, protocol) in
            [(SockType::Stream, SockProtocol::Sctp), (SockType::Datagram, SockProtocol::Icmp)]
        {
            let other = socket(AddressFamily::Inet, kind, SockFlag::empty(), protocol);
            assert_eq!(other.err(), Some(Errno::ENOSYS), "{protocol:?}");
        }
        let tcp =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), SockProtocol::Tcp).unwrap();
        let flags = MsgFlags::from_bits_retain(libc::MSG_FASTOPEN);
        let to = SockaddrIn::new(127, 0, 0, 1, server);
        let sent = sendto(tcp.as_raw_fd(), b"x", &to, flags);
        assert_eq!(sent, Err(Errno::ENOSYS), "a connection on the way");
        tried("a service of its own", TcpListener::bind("127.0.0.1:0").is_ok());
        tried("more memory", setrlimit(Resource::RLIMIT_DATA, MEMORY * 2, MEMORY * 2).is_ok());
        tried("looking into others", std::fs::read("/proc/1/environ").is_ok());
        // Where the kernel has it.
        if confined.landlock() == Landlock::Fully {
            tried("another server", TcpStream::connect(("127.0.0.1", other)).is_ok());
            tried("the rest of the file system", std::fs::read_dir("/").is_ok());
            tried("processes", std::fs::read("/proc/self/status").is_ok());
        }
        println!("everything was tried");
    }
}
