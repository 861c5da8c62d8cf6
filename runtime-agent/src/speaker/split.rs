//! The server, spoken to by a process of its own.

use super::confine::Confined;
use super::frame::Order;
use super::keeper::{self, Launch};
use super::link::Link;
use crate::clock::Millis;
use crate::identity::Identity;
use crate::server::{NetError, Server};
use protocol::pb::{CheckInReply, RenewReply, ReportReply, SignedRequest};

/// A speaker that is started again whenever it ends, and ends with this.
pub struct Split {
    link: Link,
    keeper: Option<std::thread::JoinHandle<()>>,
}

impl Split {
    /// Waits for the first speaker to have given up its privileges; why it cannot.
    pub(super) fn start(
        launch: Launch,
        identity: &Identity,
        signed_time: Millis,
    ) -> Result<(Self, Confined), String> {
        let link = Link::new(identity, signed_time);
        let kept = link.clone();
        let thread = std::thread::Builder::new().name("speaker".to_owned()).stack_size(512 << 10);
        let keeper = thread.spawn(move || keeper::keep(&kept, &launch)).map_err(|e| e.to_string())?;
        let split = Split { link, keeper: Some(keeper) };
        let confined = split.link.first()?;
        Ok((split, confined))
    }

    pub(super) fn link(&self) -> Link {
        self.link.clone()
    }
}

impl Drop for Split {
    fn drop(&mut self) {
        self.link.close();
        if let Some(keeper) = self.keeper.take() {
            // It has nothing to say any more.
            let _ = keeper.join();
        }
    }
}

impl Server for Split {
    fn check_in(&mut self, request: SignedRequest) -> Result<CheckInReply, NetError> {
        self.link.ask(Order::CheckIn, &request)
    }

    fn report(&mut self, request: SignedRequest) -> Result<ReportReply, NetError> {
        self.link.ask(Order::Report, &request)
    }

    fn renew(&mut self, request: SignedRequest) -> Result<RenewReply, NetError> {
        self.link.ask(Order::Renew, &request)
    }

    fn adopt(&mut self, identity: &Identity, signed_time: Millis) -> Result<(), NetError> {
        self.link.adopt(identity, signed_time);
        Ok(())
    }
}
