//! The site, on connections.

use super::Site;
use super::route::router;
use crate::connection::{Peer, Serve};
use axum::Router;
use axum::body::Body;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;

/// The routes; each limits the time of its requests.
#[derive(Clone, Debug)]
pub struct Https(Router);

impl Https {
    /// Of that site.
    pub fn new(site: Arc<Site>) -> Self {
        Https(router(site))
    }
}

impl Serve for Https {
    type Service = TowerToHyperService<Router>;
    type Body = Body;

    fn service(&self, _: Peer) -> Self::Service {
        TowerToHyperService::new(self.0.clone())
    }

    fn is_stream(_: &str) -> bool {
        false
    }
}
