//! How a stream reaches the server: as gRPC from this process, or through the one that speaks for it.

use crate::server::{Client, Credential, NetError, status_error};
use crate::speaker::{Link, LinkIn, LinkOut};
use protocol::pb::fleet_client::FleetClient;
use protocol::pb::{ServerFrame, SignedFrame};
use tokio::sync::mpsc;
use tonic::Streaming;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Frames under way to the server; more wait in the journal.
const OUTGOING: usize = 32;

/// Who carries.
#[derive(Clone)]
pub enum Carrier {
    /// This process.
    Own,
    /// Another one.
    Spoken(Link),
}

/// A way on which streams can be opened.
pub(crate) enum Connected {
    Own { fleet: FleetClient<Channel>, server: String },
    Spoken(Link),
}

impl Carrier {
    /// A connection of its own for streams; another process makes its own when a stream is opened.
    pub(crate) async fn connect(&self, credential: &Credential) -> Result<Connected, NetError> {
        match self {
            Carrier::Own => {
                let fleet = Client::new(credential)?.connect().await?;
                Ok(Connected::Own { fleet, server: credential.server.clone() })
            }
            Carrier::Spoken(link) => Ok(Connected::Spoken(link.clone())),
        }
    }
}

impl Connected {
    /// Opens a stream with its first frame. Whether the server takes it is what comes first on it.
    pub(crate) async fn stream(&mut self, opening: SignedFrame) -> Result<(Outgoing, Incoming), NetError> {
        match self {
            Connected::Own { fleet, server } => {
                let (outgoing, frames) = mpsc::channel(OUTGOING);
                // There is room: it is the first.
                let _ = outgoing.try_send(opening);
                let opened = fleet.stream(ReceiverStream::new(frames)).await;
                let incoming = opened.map_err(|status| status_error(server, &status))?.into_inner();
                let incoming = Incoming::Own { incoming: Box::new(incoming), server: server.clone() };
                Ok((Outgoing::Own(outgoing), incoming))
            }
            Connected::Spoken(link) => {
                let (outgoing, incoming) = link.stream(&opening)?;
                Ok((Outgoing::Spoken(outgoing), Incoming::Spoken(incoming)))
            }
        }
    }
}

/// What is said on a stream.
pub(crate) enum Outgoing {
    Own(mpsc::Sender<SignedFrame>),
    Spoken(LinkOut),
}

impl Outgoing {
    /// Waits while too much is under way; `false` when the stream is over.
    pub(crate) async fn send(&self, frame: SignedFrame) -> bool {
        match self {
            Outgoing::Own(frames) => frames.send(frame).await.is_ok(),
            Outgoing::Spoken(link) => link.send(&frame).await,
        }
    }
}

/// What is heard on a stream.
pub(crate) enum Incoming {
    Own { incoming: Box<Streaming<ServerFrame>>, server: String },
    Spoken(LinkIn),
}

impl Incoming {
    /// The next frame; `None` when the server closed the stream. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn message(&mut self) -> Result<Option<ServerFrame>, NetError> {
        match self {
            Incoming::Own { incoming, server } => {
                incoming.message().await.map_err(|status| status_error(server, &status))
            }
            Incoming::Spoken(link) => link.message().await,
        }
    }
}
