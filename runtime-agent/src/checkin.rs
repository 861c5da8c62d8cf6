//! A check-in: what the agent asks, and what it makes of the answer.

use crate::clock::{Clock, Millis};
use crate::identity::Identity;
use crate::server::{NetError, Server};
use crate::store::{Accepted, Contact, KeyRecord, Marks, Renewed, Store, StoreError};
use crate::verify::{self, Inputs, Verified, VerifyError, effective_now, verify_bundle};
use ir::Hash;
use prost::Message;
use protocol::key_statement::{self, KeyStatementError, TrustedKey};
use protocol::pb::{self, check_in_reply::Answer, report_reply};
use protocol::request::{self, Rpc};
use protocol::reset::{self, Reset, ResetError};
use std::collections::{BTreeMap, BTreeSet};

/// Answers that only ask for another request; a server that goes on asking is broken.
const MAX_ROUNDS: usize = 6;
/// Results delivered in one go.
const MAX_DRAIN: usize = 20_000;
const DEFAULT_INTERVAL: u32 = 300_000;
const DEFAULT_JITTER: u32 = 20;

/// Why a check-in brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum CheckInError {
    /// The way to the server.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The answer is not to be trusted.
    #[error("the server's answer is not taken: {0}")]
    Verify(#[from] VerifyError),
    /// Its signing key is not to be trusted.
    #[error("the server's signing key is not taken: {0}")]
    Key(#[from] KeyStatementError),
    /// A reset that the CA did not make.
    #[error("the server's reset is not taken: {0}")]
    Reset(#[from] ResetError),
    /// The server does not let a host in whose certificate ended.
    #[error(
        "the certificate of this host ended {} ago, so the server does not let it in; make a token on the server and run \
         `vigo enroll --rejoin --token TOKEN` here ({cause})",
        crate::text::span(now.saturating_sub(*ended_at))
    )]
    CertificateEnded {
        /// When.
        ended_at: Millis,
        /// Now.
        now: Millis,
        /// What the attempt came to.
        cause: NetError,
    },
    /// It has nothing for this envoy.
    #[error("the server has no policy for this host: {message} ({code})")]
    Refused {
        /// For programs.
        code: String,
        /// For people.
        message: String,
    },
    /// An answer that makes no sense.
    #[error("the server's answer makes no sense: {0}")]
    Protocol(&'static str),
    /// No random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// What a check-in brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    Same,
    /// The same content, valid for longer.
    Renewed,
    /// Another bundle.
    Bundle,
}

/// One agent's conversation with its server.
pub struct Conversation<'a> {
    /// Who asks.
    pub identity: &'a Identity,
    /// What it knows.
    pub store: &'a Store,
    /// When.
    pub clock: &'a dyn Clock,
}

/// What is held, as far as it is whole.
struct Held {
    cached: Option<crate::store::Cached>,
    verified: Option<Verified>,
}

impl Conversation<'_> {
    /// The cached bundle, judged without touching anything.
    pub fn inspect(&self) -> Result<Result<Verified, VerifyError>, StoreError> {
        match self.store.cached()? {
            Some(cached) => self.judge(&cached, &cached.lease, cached.lease_key.as_ref(), None),
            None => Ok(Err(VerifyError::NoBundle)),
        }
    }

    /// The cached bundle, if it may be used now. Modules that rotted are dropped, to be fetched again.
    pub fn load(&self) -> Result<Result<Verified, VerifyError>, StoreError> {
        let Some(cached) = self.store.cached()? else {
            return Ok(Err(VerifyError::NoBundle));
        };
        let rotten: Vec<Hash> = cached
            .blobs
            .iter()
            .filter(|(hash, bytes)| Hash::of(bytes) != **hash)
            .map(|(hash, _)| *hash)
            .collect();
        if !rotten.is_empty() {
            tracing::warn!("{} modules in the cache are damaged and will be fetched again", rotten.len());
            self.store.drop_blobs(&rotten)?;
        }
        self.judge(&cached, &cached.lease, cached.lease_key.as_ref(), None)
    }

    fn judge(
        &self,
        cached: &crate::store::Cached,
        lease: &[u8],
        lease_key: Option<&KeyRecord>,
        nonce: Option<&[u8]>,
    ) -> Result<Result<Verified, VerifyError>, StoreError> {
        // A reset that does not hold was refused with its statement; here it is none.
        let reset = lease_key.and_then(|record| self.reset_of(record).ok().flatten());
        let (marks, live) = self.seen(reset)?;
        let (Some(manifest_key), Some(lease_key)) = (
            cached.manifest_key.as_ref().and_then(|k| self.trust(k).ok()),
            lease_key.and_then(|k| self.trust(k).ok()),
        ) else {
            return Ok(Err(VerifyError::UnknownKey));
        };
        Ok(verify_bundle(&Inputs {
            cluster_id: &self.identity.cluster_id,
            envoy_id: &self.identity.envoy_id,
            manifest: &cached.manifest,
            manifest_key: &manifest_key,
            lease,
            lease_key: &lease_key,
            live_epochs: &live,
            marks: &marks,
            now: effective_now(self.clock.now(), marks.time_floor),
            nonce,
            blob: &|hash| cached.blobs.get(hash).map(Vec::as_slice),
        }))
    }

    /// A statement that was found good once stays so: what it vouches for has an expiry of its own.
    pub(crate) fn trust(&self, record: &KeyRecord) -> Result<TrustedKey, KeyStatementError> {
        let ca = self.identity.ca_der().ok_or(KeyStatementError::Malformed("no CA"))?;
        key_statement::verify(&record.statement, &ca, &self.identity.cluster_id, record.at)
    }

    /// A statement that the server sends in the place of an answer.
    pub(crate) fn consider(
        &self,
        statement: pb::KeyStatement,
    ) -> Result<(KeyRecord, TrustedKey), CheckInError> {
        let now = effective_now(self.clock.now(), self.store.marks()?.time_floor);
        let record = KeyRecord { statement, at: now };
        let key = self.trust(&record)?;
        self.epoch_is_due(&key, self.reset_of(&record)?)?;
        Ok((record, key))
    }

    /// The reset that a statement brings along.
    fn reset_of(&self, record: &KeyRecord) -> Result<Option<Reset>, ResetError> {
        let Some(reset) = &record.statement.reset else { return Ok(None) };
        let ca = self.identity.ca_der().ok_or(ResetError::OtherCa)?;
        reset::verify(reset, &ca, &self.identity.cluster_id).map(Some)
    }

    /// What was seen so far, and the epochs that are live beside the highest. A new reset leaves nothing of either but the
    /// first epoch that counts. Nothing is stored: it counts for good with the first bundle or lease that is taken under it.
    fn seen(&self, reset: Option<Reset>) -> Result<(Marks, Vec<u64>), StoreError> {
        let marks = self.store.marks()?;
        if let Some(reset) = reset.filter(|reset| reset.number > marks.reset) {
            return Ok((marks.after(reset), Vec::new()));
        }
        let live = match self.store.highest_key()? {
            Some(record) => self.trust(&record).map(|key| key.live_epochs).unwrap_or_default(),
            None => Vec::new(),
        };
        Ok((marks, live))
    }

    fn epoch_is_due(&self, key: &TrustedKey, reset: Option<Reset>) -> Result<(), CheckInError> {
        let (marks, live) = self.seen(reset)?;
        let have = marks.epoch;
        if key.epoch < marks.min_epoch {
            return Err(VerifyError::RetiredKey { have: marks.min_epoch, got: key.epoch }.into());
        }
        if key.epoch < have && !live.contains(&key.epoch) {
            return Err(VerifyError::RetiredKey { have, got: key.epoch }.into());
        }
        if have > 0 && key.epoch.saturating_sub(have) > 1 << 20 {
            return Err(VerifyError::Jump { have, got: key.epoch }.into());
        }
        Ok(())
    }

    pub(crate) fn header(
        &self,
        key: Option<&TrustedKey>,
        nonce: &[u8; 16],
    ) -> Result<pb::RequestHeader, StoreError> {
        let now = self.clock.now();
        Ok(pb::RequestHeader {
            cluster_id: self.identity.cluster_id.clone(),
            envoy_id: self.identity.envoy_id.clone(),
            key_id: key.map(|k| k.key_id.0.to_vec()).unwrap_or_default(),
            counter: self.store.next_counter(now)?,
            nonce: nonce.to_vec(),
            timestamp: now,
        })
    }

    /// What the cache holds, be its time up or not: for showing.
    pub fn held_bundle(&self) -> Result<Option<Verified>, StoreError> {
        Ok(self.held()?.verified)
    }

    fn held(&self) -> Result<Held, StoreError> {
        let judged = self.inspect()?;
        let cached = self.store.cached()?;
        let verified = match judged {
            Ok(verified) => Some(verified),
            // What has run out is still held, and a lease is all it needs.
            Err(VerifyError::Expired { .. } | VerifyError::NotYetValid { .. }) => match &cached {
                Some(cached) => {
                    let nonce = self.claimed_nonce(cached);
                    self.judge(cached, &cached.lease, cached.lease_key.as_ref(), nonce.as_deref())?.ok()
                }
                None => None,
            },
            Err(_) => None,
        };
        Ok(Held { cached, verified })
    }

    /// The nonce inside a lease: judged with it, a lease is measured by the clock it was issued under.
    fn claimed_nonce(&self, cached: &crate::store::Cached) -> Option<Vec<u8>> {
        let key = self.trust(cached.lease_key.as_ref()?).ok()?;
        Some(ir::Lease::open(&key.key, &cached.lease).ok()?.agent_nonce)
    }

    /// Asks for news and takes what is good.
    pub fn check_in(&self, server: &mut dyn Server, traits: &[u8]) -> Result<News, CheckInError> {
        let digest = Hash::of(traits);
        let contact = self.store.contact()?;
        let mut send_traits = contact.traits_digest != digest.to_string();
        let mut record = self.store.current_key()?;
        let mut renew = false;
        let mut seen = None;
        let held = self.held()?;
        for _ in 0..MAX_ROUNDS {
            let key = record.as_ref().and_then(|r| self.trust(r).ok());
            let mut nonce = [0; 16];
            getrandom::fill(&mut nonce).map_err(CheckInError::Random)?;
            let reset = record.as_ref().and_then(|record| self.reset_of(record).ok().flatten());
            let (marks, _) = self.seen(reset)?;
            let verified = held.verified.as_ref();
            let payload = pb::CheckInRequest {
                policy_version: verified.map(|v| v.manifest.policy_version.clone()).unwrap_or_default(),
                state_fingerprint: verified
                    .map(|v| v.manifest.computed_root().0.to_vec())
                    .unwrap_or_default(),
                held_modules: held
                    .cached
                    .iter()
                    .flat_map(|c| c.blobs.iter())
                    .filter(|(hash, bytes)| Hash::of(bytes) == **hash)
                    .map(|(hash, _)| hash.0.to_vec())
                    .collect(),
                traits_digest: digest.0.to_vec(),
                traits: send_traits.then(|| traits.to_vec()),
                renew: renew || verified.is_some_and(|v| self.renewal_is_due(v)),
                epoch: marks.epoch,
                seq: marks.seq,
                agent_version: env!("CARGO_PKG_VERSION").to_owned(),
                ir_format: ir::IR_FORMAT,
                features: verify::FEATURES.iter().map(|f| (*f).to_owned()).collect(),
                reset: marks.reset,
                seen: seen.clone(),
            }
            .encode_to_vec();
            let header = self.header(key.as_ref(), &nonce)?;
            let reply =
                server.check_in(request::sign(&self.identity.key, Rpc::CheckIn, &header, &payload))?;
            let mut contact = Contact {
                at: self.clock.now(),
                interval: if reply.next_check_in == 0 { DEFAULT_INTERVAL } else { reply.next_check_in },
                jitter: if reply.next_check_in == 0 { DEFAULT_JITTER } else { reply.jitter_percent.min(100) },
                traits_digest: digest.to_string(),
                refusal: None,
                stream_requested: reply.stream_requested,
            };
            let news = match reply.answer.ok_or(CheckInError::Protocol("it is empty"))? {
                Answer::StaleKey(statement) => {
                    record = Some(self.consider(statement)?.0);
                    // The new key has to prove that it is live before it is pinned.
                    renew = true;
                    continue;
                }
                Answer::NeedTraits(_) => {
                    send_traits = true;
                    continue;
                }
                // A server whose database was restored: it believes the statement that it made itself once.
                Answer::NeedProof(_) => {
                    seen = self.store.highest_key()?.map(|record| record.statement);
                    continue;
                }
                Answer::Refusal(refusal) => {
                    let message = crate::text::printable(crate::text::bounded(&refusal.message, 1000));
                    contact.refusal = Some(message.clone());
                    self.store.keep_contact(&contact)?;
                    let code = crate::text::printable(crate::text::bounded(&refusal.code, 100));
                    return Err(CheckInError::Refused { code, message });
                }
                Answer::NoChange(answer) if answer.lease.is_none() => {
                    // A manifest alone has no lease that fits it; nor does an expired bundle become valid by silence.
                    if answer.manifest.is_some() || held.verified.is_none() {
                        renew = true;
                        continue;
                    }
                    News::Same
                }
                Answer::NoChange(answer) => self.take_lease(&held, record.as_ref(), &answer, &nonce)?,
                Answer::Bundle(bundle) => self.take_bundle(&held, record.as_ref(), &bundle, &nonce)?,
            };
            self.store.keep_contact(&contact)?;
            return Ok(news);
        }
        Err(CheckInError::Protocol("it asks for the same again and again"))
    }

    fn take_lease(
        &self,
        held: &Held,
        record: Option<&KeyRecord>,
        answer: &pb::NoChange,
        nonce: &[u8; 16],
    ) -> Result<News, CheckInError> {
        let record = record.ok_or(VerifyError::UnknownKey)?;
        let lease = answer.lease.as_deref().unwrap_or_default();
        let mut cached =
            held.cached.clone().ok_or(CheckInError::Protocol("`no change` although nothing is held"))?;
        if let Some(manifest) = &answer.manifest {
            cached.manifest.clone_from(manifest);
            cached.manifest_key = Some(record.clone());
        }
        let verified = self.judge(&cached, lease, Some(record), Some(nonce))??;
        self.store.renew(&Renewed {
            manifest: answer.manifest.as_deref(),
            lease,
            key: record,
            epoch: verified.lease.epoch,
            seq: verified.manifest.seq,
            root: verified.manifest.merkle_root,
            reset: self.reset_of(record)?,
            server_time: verified.lease.server_time,
        })?;
        Ok(News::Renewed)
    }

    fn take_bundle(
        &self,
        held: &Held,
        record: Option<&KeyRecord>,
        bundle: &pb::Bundle,
        nonce: &[u8; 16],
    ) -> Result<News, CheckInError> {
        let record = record.ok_or(VerifyError::UnknownKey)?;
        let mut blobs: BTreeMap<Hash, Vec<u8>> =
            held.cached.as_ref().map(|c| c.blobs.clone()).unwrap_or_default();
        blobs.retain(|hash, bytes| Hash::of(bytes) == *hash);
        blobs.extend(bundle.modules.iter().map(|bytes| (Hash::of(bytes), bytes.clone())));
        let cached = crate::store::Cached {
            manifest: bundle.manifest.clone(),
            manifest_key: Some(record.clone()),
            lease: bundle.lease.clone(),
            lease_key: Some(record.clone()),
            blobs,
        };
        let verified = self.judge(&cached, &bundle.lease, Some(record), Some(nonce))??;
        let manifest = &verified.manifest;
        let keep: BTreeSet<Hash> = manifest.modules.iter().map(|row| row.hash).collect();
        let modules: Vec<Vec<u8>> =
            bundle.modules.iter().filter(|bytes| keep.contains(&Hash::of(bytes))).cloned().collect();
        let wanted = |s: &&pb::SealedSecret| {
            manifest.secret_refs.iter().any(|r| r.path == s.path && r.version == s.version)
        };
        let secrets: Vec<pb::SealedSecret> = bundle.secrets.iter().filter(wanted).cloned().collect();
        self.store.accept(&Accepted {
            manifest: &bundle.manifest,
            lease: &bundle.lease,
            key: record,
            modules: &modules,
            keep: &keep,
            secrets: &secrets,
            epoch: verified.lease.epoch,
            seq: manifest.seq,
            root: manifest.merkle_root,
            reset: self.reset_of(record)?,
            server_time: verified.lease.server_time,
        })?;
        Ok(News::Bundle)
    }

    /// At a point between 50 and 75 % of the lease's life, another one for each lease.
    fn renewal_is_due(&self, verified: &Verified) -> bool {
        let lease = &verified.lease;
        if lease.expires_at == 0 {
            return false;
        }
        let random: u64 = lease.agent_nonce.first().copied().unwrap_or(0).into();
        let life = lease.expires_at.saturating_sub(lease.issued_at);
        let due: Millis = lease.issued_at.saturating_add(life / 2 + life / 4 * random / 255);
        self.clock.now() >= due
    }

    /// Delivers results in order until none waits.
    pub fn drain(&self, server: &mut dyn Server) -> Result<u64, CheckInError> {
        let mut delivered = 0;
        let mut record = self.store.current_key()?;
        for _ in 0..MAX_DRAIN {
            let Some(report) = self.store.oldest_result()? else { break };
            let seq = report.result_seq;
            let payload = report.encode_to_vec();
            let mut acknowledged = None;
            for _ in 0..MAX_ROUNDS {
                let key = record.as_ref().and_then(|r| self.trust(r).ok());
                let mut nonce = [0; 16];
                getrandom::fill(&mut nonce).map_err(CheckInError::Random)?;
                let header = self.header(key.as_ref(), &nonce)?;
                let reply =
                    server.report(request::sign(&self.identity.key, Rpc::ReportRun, &header, &payload))?;
                match reply.answer.ok_or(CheckInError::Protocol("it is empty"))? {
                    report_reply::Answer::AcknowledgedSeq(seq) => {
                        acknowledged = Some(seq);
                        break;
                    }
                    // Taken for this delivery only; the next check-in pins it.
                    report_reply::Answer::StaleKey(statement) => record = Some(self.consider(statement)?.0),
                }
            }
            match acknowledged {
                Some(up_to) if up_to >= seq => {
                    self.store.acknowledge(up_to)?;
                    delivered += 1;
                }
                _ => return Err(CheckInError::Protocol("it does not acknowledge a result")),
            }
        }
        Ok(delivered)
    }
}
