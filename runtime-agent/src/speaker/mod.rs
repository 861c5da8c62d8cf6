//! The agent in two processes: this one changes the host as root and reads nothing from the network, the *speaker*
//! speaks with the server and can do nothing on the host.
//!
//! Most of what an attacker on the network reaches first is TLS, HTTP/2 and Protocol Buffers. Here that runs as a user
//! without rights, in a process that can neither start a program nor write a file ([`confine`]). It is the same program,
//! started as `vigo talk` with one end of a socket pair as its standard input ([`talk`]). The other end is a [`Link`], one more
//! [`Server`]: requests are signed before they are given to the speaker, and answers are verified when they come back, as if it
//! were the network itself. The key of the certificate stays here; the speaker asks for the one signature that a TLS handshake
//! needs ([`signing`]).

mod confine;
mod frame;
mod keeper;
mod link;
mod outline;
mod signing;
mod split;
mod talk;
#[cfg(test)]
pub(crate) mod tests;

pub use confine::{Confined, Landlock};
pub use link::Link;
pub(crate) use link::{LinkIn, LinkOut};
pub use talk::{TalkError, TalkOptions, talk};

use crate::agent::Agent;
use crate::clock::Millis;
use crate::identity::Identity;
use crate::server::{Credential, Grpc, NetError, Server, address};
use crate::settings::Settings;
use crate::stream::Carrier;
use crate::text::printable;
use keeper::Launch;
use protocol::pb::{CheckInReply, RenewReply, ReportReply, SignedRequest};
use split::Split;

/// How a stream frame under way is limited: as many may be in flight before the other side has taken one.
///
/// Towards the server what waits is small and made by us; from the server each may have 16 MiB.
const ROOM_UP: usize = 32;
const ROOM_DOWN: usize = 4;

/// Who speaks with the server: what `vigo status` and `vigo doctor` tell of the agent that was started last.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "process", rename_all = "snake_case")]
pub enum Separation {
    /// A process of its own.
    Own {
        /// As whom it runs.
        user: String,
        /// What it is kept from.
        confined: Confined,
    },
    /// The process that changes the host, as it was asked for.
    Asked,
    /// The process that changes the host; it has no more rights than whoever started it.
    Unprivileged,
    /// The process that changes the host, as root, although that was not asked for.
    Root {
        /// Why there is no other.
        why: String,
    },
}

impl Separation {
    /// For people.
    ///
    /// # Errors
    /// When an attacker on the network has more to gain than need be: what to do.
    pub fn describe(&self) -> Result<String, String> {
        match self {
            Separation::Own { user, confined } => {
                Ok(format!("a process of its own speaks with the server, as {}, {confined}", printable(user)))
            }
            Separation::Asked => Ok("one process for all, as --one-process asks".to_owned()),
            Separation::Unprivileged => Ok("one process for all, which is not root's".to_owned()),
            Separation::Root { why } => {
                Err(format!("the process that speaks with the server is root's: {}", printable(why)))
            }
        }
    }
}

/// The way to the server, through a process of its own where that can be.
pub enum Network {
    /// Through this process.
    One(Box<Grpc>),
    /// Through another one.
    Split(Split),
}

impl Network {
    /// Starts what has to be started; nothing is sent yet. Says so in the log where there is one process and there should be two.
    /// `signed_time` as in [`Credential`].
    pub fn open(
        agent: &Agent,
        identity: &Identity,
        signed_time: Millis,
    ) -> Result<(Self, Separation), NetError> {
        let one = |separation| Ok((Network::One(Box::new(Grpc::new(identity, signed_time)?)), separation));
        if !agent.is_split() {
            return one(Separation::Asked);
        }
        if !nix::unistd::geteuid().is_root() {
            return one(Separation::Unprivileged);
        }
        let (_, port) = address(&identity.server)?;
        let user = match account(agent) {
            Ok(user) => user,
            Err(why) => return one(Separation::Root { why }),
        };
        let launch = Launch::of_this_program(&TalkOptions { uid: user.uid, gid: user.gid, port });
        match Split::start(launch, identity, signed_time) {
            Ok((split, confined)) => {
                let separation = Separation::Own { user: user.name, confined };
                Ok((Network::Split(split), separation))
            }
            Err(why) => one(Separation::Root { why }),
        }
    }

    /// How a stream is carried.
    pub fn carrier(&self) -> Carrier {
        match self {
            Network::One(_) => Carrier::Own,
            Network::Split(split) => Carrier::Spoken(split.link()),
        }
    }

    fn server(&mut self) -> &mut dyn Server {
        match self {
            Network::One(grpc) => grpc.as_mut(),
            Network::Split(split) => split,
        }
    }
}

impl Server for Network {
    fn check_in(&mut self, request: SignedRequest) -> Result<CheckInReply, NetError> {
        self.server().check_in(request)
    }

    fn report(&mut self, request: SignedRequest) -> Result<ReportReply, NetError> {
        self.server().report(request)
    }

    fn renew(&mut self, request: SignedRequest) -> Result<RenewReply, NetError> {
        self.server().renew(request)
    }

    fn adopt(&mut self, identity: &Identity, signed_time: Millis) -> Result<(), NetError> {
        self.server().adopt(identity, signed_time)
    }
}

struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

/// As whom the speaker runs.
fn account(agent: &Agent) -> Result<Account, String> {
    let name = Settings::load(agent.root_path()).map_err(|e| e.to_string())?.network_user;
    let found = nix::unistd::User::from_name(&name)
        .map_err(|errno| format!("cannot look for the user `{name}`: {}", errno.desc()))?;
    let user = found.ok_or_else(|| {
        format!(
            "there is no user `{name}`; `useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}` \
             makes it, then restart the agent"
        )
    })?;
    if user.uid.is_root() {
        return Err(format!(
            "`{name}` is root; name another user as `network_user` in {}",
            crate::own::SETTINGS
        ));
    }
    Ok(Account { name, uid: user.uid.as_raw(), gid: user.gid.as_raw() })
}

/// What the speaker is told of the identity. The key stays here: what is in its place names it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Introduction {
    #[prost(string, tag = "1")]
    server: String,
    #[prost(string, tag = "2")]
    ca_pem: String,
    #[prost(string, tag = "3")]
    certificate_pem: String,
    /// As in [`Credential`].
    #[prost(uint64, tag = "4")]
    signed_time: Millis,
}

impl Introduction {
    fn of(identity: &Identity, signed_time: Millis) -> Self {
        Introduction {
            server: identity.server.clone(),
            ca_pem: identity.ca_pem.clone(),
            certificate_pem: identity.certificate_pem.clone(),
            signed_time,
        }
    }

    /// For the speaker, whose key has that number.
    fn credential(self, number: u32) -> Credential {
        Credential {
            server: self.server,
            ca_pem: self.ca_pem,
            certificate_pem: self.certificate_pem,
            key_pem: signing::stand_in(number),
            signed_time: self.signed_time,
        }
    }
}

/// A [`NetError`] on its way.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Failure {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    text: String,
    /// Of a clock that differs.
    #[prost(uint64, tag = "3")]
    server_time: u64,
}

/// More than any of our errors says.
const MOST_TEXT: usize = 2000;

impl Failure {
    fn of(error: &NetError) -> Self {
        let (kind, text, server_time) = match error {
            NetError::Unreachable { why, .. } => (1, why.as_str(), 0),
            NetError::NotTrusted { why, .. } => (2, why.as_str(), 0),
            NetError::Refused { message, .. } => (3, message.as_str(), 0),
            NetError::Address(address) => (4, address.as_str(), 0),
            NetError::Skew { server_time, .. } => (5, "", *server_time),
            NetError::TurnedAway { message, .. } => (6, message.as_str(), 0),
            NetError::OtherName { why, .. } => (7, why.as_str(), 0),
        };
        Failure { kind, text: crate::text::bounded(text, MOST_TEXT).to_owned(), server_time }
    }

    /// `None` when it is none of ours.
    fn error(self, server: &str) -> Option<NetError> {
        let (server, text) = (server.to_owned(), printable(crate::text::bounded(&self.text, MOST_TEXT)));
        Some(match self.kind {
            1 => NetError::Unreachable { server, why: text },
            2 => NetError::NotTrusted { server, why: text },
            3 => NetError::Refused { server, message: text },
            4 => NetError::Address(text),
            5 => NetError::Skew { server, server_time: self.server_time },
            6 => NetError::TurnedAway { server, message: text },
            7 => NetError::OtherName { server, why: text },
            _ => return None,
        })
    }
}
