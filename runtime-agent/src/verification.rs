//! `vigo verify`: everything on disk, judged again from the beginning.

use crate::agent::{Agent, AgentError};
use crate::checkin::Conversation;
use crate::checks::Checks;
use crate::identity::Identity;
use crate::store::Store;
use ir::Hash;
use protocol::key_statement;
use protocol::secrets::{self, SecretContext};

impl Agent {
    /// Looks; changes nothing.
    pub fn verify(&self) -> Result<Checks, AgentError> {
        let mut report = Checks::default();
        let identity = Identity::load(self.state())?;
        let ca = identity.ca_der().and_then(|der| protocol::ca_hash(&der));
        report.add(
            "identity",
            ca.ok_or("the CA does not read back").map(|h| {
                format!("{} of cluster {}, CA {}", identity.envoy_id, identity.cluster_id, h.short())
            }),
        );
        let now = self.clock().now();
        let certificate = identity.certificate().ok_or_else(|| "it does not read back".to_owned());
        report.add(
            "certificate",
            certificate.and_then(|c| match c.not_after.checked_sub(now) {
                Some(left) => Ok(format!("{}, good for {} more", c.serial, crate::text::span(left))),
                None => Err(format!(
                    "{}, ended {} ago; `vigo enroll --rejoin` gets a new one",
                    c.serial,
                    crate::text::span(now - c.not_after)
                )),
            }),
        );
        let Some(store) = Store::look(self.state())? else {
            report.add("store", Err("it is missing; the next run will say what to do"));
            return Ok(report);
        };
        let marks = store.marks()?;
        report.add(
            "marks",
            Ok::<_, &str>(format!("highest epoch {}, highest bundle {}", marks.epoch, marks.seq)),
        );
        if let Some(record) = store.current_key()? {
            let der = identity.ca_der();
            let key = der.ok_or_else(|| "the CA does not read back".to_owned()).and_then(|ca| {
                key_statement::verify(&record.statement, &ca, &identity.cluster_id, record.at)
                    .map_err(|e| e.to_string())
            });
            report.add("signing key", key.map(|k| format!("{} of epoch {}", k.key_id.short(), k.epoch)));
        }
        let conversation = Conversation { identity: &identity, store: &store, clock: self.clock() };
        let verified = conversation.inspect()?;
        report.add(
            "bundle",
            verified.as_ref().map_err(ToString::to_string).map(|v| {
                format!(
                    "{} of release {}, root {}: signatures, envoy, sequence, time and {} hold",
                    v.manifest.seq,
                    v.manifest.release_serial,
                    v.manifest.merkle_root.short(),
                    modules(v.modules.len())
                )
            }),
        );
        if let Some(cached) = store.cached()? {
            let rotten = cached.blobs.iter().filter(|(hash, bytes)| Hash::of(bytes) != **hash).count();
            let text = modules(cached.blobs.len());
            report.add(
                "cache",
                if rotten == 0 { Ok(text) } else { Err(format!("{rotten} of {text} are damaged")) },
            );
        }
        let sealed = store.sealed()?;
        let closed: Vec<String> = sealed
            .iter()
            .filter(|s| {
                let context = SecretContext {
                    cluster_id: &identity.cluster_id,
                    envoy_id: &identity.envoy_id,
                    path: &s.path,
                    version: &s.version,
                };
                secrets::open(&identity.seal_key, &context, s).is_err()
            })
            .map(|s| crate::text::printable(&s.path))
            .collect();
        report.add(
            "secrets",
            if closed.is_empty() {
                Ok(format!("{} open", sealed.len()))
            } else {
                Err(format!("do not open: {}", closed.join(", ")))
            },
        );
        Ok(report)
    }
}

fn modules(n: usize) -> String {
    if n == 1 { "1 module".to_owned() } else { format!("{n} modules") }
}
