//! A check-in: what the agent asks, and what it makes of the answer.

use crate::clock::{Clock, Millis};
use crate::identity::Identity;
use crate::server::{NetError, Server};
use crate::store::{Accepted, Contact, KeyRecord, Marks, Renewed, Store, StoreError};
use crate::verify::{self, Inputs, Verified, VerifyError, behind, effective_now, verify_bundle};
use ir::Hash;
use prost::Message;
use protocol::key_statement::{self, KeyStatementError, TrustedKey};
use protocol::pb::{self, check_in_reply::Answer, report_reply};
use protocol::request::{self, Rpc};
use protocol::reset::{self, Reset, ResetError};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Answers that only ask for another request; a server that goes on asking is broken.
const MAX_ROUNDS: usize = 6;
/// A report that is sent; the rest of the message around it is small.
const MAX_REPORT_BYTES: usize = protocol::MAX_MESSAGE_BYTES - (64 << 10);
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

/// What the server has taken in of this process: what a delta is made from.
#[derive(Debug, Default)]
pub struct Told {
    /// The last encoded traits.
    traits: RefCell<Option<Vec<u8>>>,
    /// The last run.
    run: RefCell<Option<pb::RunReport>>,
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
    /// By our clock its time is up, or has not come: only a fresh lease says what time it is.
    untimely: bool,
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
        self.consider_at(self.now()?, statement)
    }

    fn consider_at(
        &self,
        floor: Millis,
        statement: pb::KeyStatement,
    ) -> Result<(KeyRecord, TrustedKey), CheckInError> {
        // A clock that starts in 1970 is helped by the floor; a floor that was set by a clock far ahead must not shut
        // out every key of the future. What is too old is kept out by its epoch.
        let wall = self.clock.now();
        let by_floor = KeyRecord { statement, at: floor };
        let (record, key) = match self.trust(&by_floor) {
            Ok(key) => (by_floor, key),
            Err(error) => {
                let by_wall = KeyRecord { at: wall, ..by_floor };
                let key = self.trust(&by_wall).map_err(|_| error)?;
                (by_wall, key)
            }
        };
        self.epoch_is_due(&key, self.reset_of(&record)?)?;
        Ok((record, key))
    }

    /// What time it is at least, whatever the clock says.
    pub fn now(&self) -> Result<Millis, StoreError> {
        Ok(effective_now(self.clock.now(), self.store.marks()?.time_floor))
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
        let (wall, floor) = (self.clock.now(), self.store.marks()?.time_floor);
        // What the server said a moment ago, at the check-in, where the clock is not to be trusted.
        self.header_at(behind(wall, floor).map_or(wall, |_| floor), key, nonce)
    }

    fn header_at(
        &self,
        now: Millis,
        key: Option<&TrustedKey>,
        nonce: &[u8; 16],
    ) -> Result<pb::RequestHeader, StoreError> {
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
        let untimely = matches!(judged, Err(VerifyError::Expired { .. } | VerifyError::NotYetValid { .. }));
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
        Ok(Held { cached, verified, untimely })
    }

    /// The nonce inside a lease: judged with it, a lease is measured by the clock it was issued under.
    fn claimed_nonce(&self, cached: &crate::store::Cached) -> Option<Vec<u8>> {
        Some(self.lease(cached)?.agent_nonce)
    }

    /// When the server last signed what time it is, by its clock; 0 before it did. Unlike the time floor, a clock of this host that
    /// was ahead did not raise it.
    pub fn signed_time(&self) -> Result<Millis, StoreError> {
        let lease = self.store.cached()?.and_then(|cached| self.lease(&cached));
        Ok(lease.map_or(0, |lease| lease.server_time))
    }

    fn lease(&self, cached: &crate::store::Cached) -> Option<ir::Lease> {
        let key = self.trust(cached.lease_key.as_ref()?).ok()?;
        ir::Lease::open(&key.key, &cached.lease).ok()
    }

    /// Asks for news and takes what is good. On a stream on which the server says when there is something new, nothing
    /// is asked while nothing is to be told: its heartbeats say that it is there.
    pub fn check_in(
        &self,
        server: &mut dyn Server,
        traits: &[u8],
        told: &Told,
    ) -> Result<News, CheckInError> {
        let digest = Hash::of(traits);
        let contact = self.store.contact()?;
        let mut send_traits = contact.traits_digest != digest.to_string();
        let mut record = self.store.current_key()?;
        let now = self.now()?;
        let mut renew = false;
        let mut seen = None;
        let mut told_time = None;
        let held = self.held()?;
        if server.will_say()
            && !send_traits
            && contact.refusal.is_none()
            && contact.turned_away.is_none()
            && !held.untimely
            && held.verified.as_ref().is_some_and(|v| !renewal_is_due(v, now))
        {
            self.store.keep_contact(&Contact { at: self.clock.now(), stream_requested: false, ..contact })?;
            return Ok(News::Same);
        }
        for _ in 0..MAX_ROUNDS {
            let key = record.as_ref().and_then(|r| self.trust(r).ok());
            let mut nonce = [0; 16];
            getrandom::fill(&mut nonce).map_err(CheckInError::Random)?;
            let reset = record.as_ref().and_then(|record| self.reset_of(record).ok().flatten());
            let (marks, _) = self.seen(reset)?;
            let verified = held.verified.as_ref();
            let known = told.traits.borrow().clone().filter(|_| send_traits && server.is_stream());
            let traits_delta = known.and_then(|known| protocol::delta::of_traits(&known, traits));
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
                traits: (send_traits && traits_delta.is_none()).then(|| traits.to_vec()),
                traits_delta,
                renew: renew || held.untimely || verified.is_some_and(|v| renewal_is_due(v, now)),
                epoch: marks.epoch,
                seq: marks.seq,
                agent_version: env!("CARGO_PKG_VERSION").to_owned(),
                ir_format: ir::IR_FORMAT,
                features: verify::FEATURES.iter().map(|f| (*f).to_owned()).collect(),
                reset: marks.reset,
                seen: seen.clone(),
            }
            .encode_to_vec();
            let at = told_time.unwrap_or_else(|| self.clock.now());
            let header = self.header_at(at, key.as_ref(), &nonce)?;
            let asked = server.check_in(request::sign(&self.identity.key, Rpc::CheckIn, &header, &payload));
            let reply = match asked {
                // A host whose clock is behind is told the time by the server of its CA. It counts for this conversation; what
                // is kept is the time in the lease, which is signed and answers this request.
                Err(NetError::Skew { server_time, .. })
                    if told_time.is_none() && server_time > self.clock.now() && self.can_be(server_time) =>
                {
                    told_time = Some(server_time);
                    renew = true;
                    continue;
                }
                Err(NetError::TurnedAway { server, message }) => {
                    self.keep_standing(&message)?;
                    return Err(NetError::TurnedAway { server, message }.into());
                }
                asked => asked?,
            };
            let mut contact = Contact {
                at: self.clock.now(),
                interval: if reply.next_check_in == 0 { DEFAULT_INTERVAL } else { reply.next_check_in },
                jitter: if reply.next_check_in == 0 { DEFAULT_JITTER } else { reply.jitter_percent.min(100) },
                traits_digest: digest.to_string(),
                refusal: None,
                turned_away: None,
                stream_requested: reply.stream_requested,
            };
            let news = match reply.answer.ok_or(CheckInError::Protocol("it is empty"))? {
                Answer::StaleKey(statement) => {
                    record = Some(self.consider_at(told_time.unwrap_or(now), statement)?.0);
                    // The new key has to prove that it is live before it is pinned.
                    renew = true;
                    continue;
                }
                Answer::NeedTraits(_) => {
                    send_traits = true;
                    told.traits.replace(None);
                    continue;
                }
                // A server whose database was restored: it believes the statement that it made itself once.
                Answer::NeedProof(_) => {
                    seen = self.store.highest_key()?.map(|record| record.statement);
                    continue;
                }
                Answer::Refusal(refusal) => {
                    told.traits.replace(Some(traits.to_vec()));
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
            told.traits.replace(Some(traits.to_vec()));
            self.store.keep_contact(&contact)?;
            return Ok(news);
        }
        Err(CheckInError::Protocol("it asks for the same again and again"))
    }

    /// Keeps for whoever asks that this host is turned away, until an answer says that it is not.
    fn keep_standing(&self, message: &str) -> Result<(), StoreError> {
        let contact = self.store.contact()?;
        let turned_away = Some(crate::text::printable(crate::text::bounded(message, 1000)));
        if contact.turned_away != turned_away {
            self.store.keep_contact(&Contact { turned_away, ..contact })?;
        }
        Ok(())
    }

    /// Whether a server that lets this host in can have that time. Nobody signs it, and it leaves a trace: numbers of requests are
    /// never lower than the time they were made at, so one from the end of all days would be the last that a server takes.
    fn can_be(&self, server_time: Millis) -> bool {
        let life =
            self.identity.certificate().map(|certificate| certificate.not_before..=certificate.not_after);
        life.is_some_and(|life| life.contains(&server_time))
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
        self.store.renew(&self.signed(answer.manifest.as_deref(), lease, record, &verified)?)?;
        Ok(News::Renewed)
    }

    /// What is kept of a manifest and a lease that were found good.
    fn signed<'a>(
        &self,
        manifest: Option<&'a [u8]>,
        lease: &'a [u8],
        key: &'a KeyRecord,
        verified: &Verified,
    ) -> Result<Renewed<'a>, CheckInError> {
        Ok(Renewed {
            manifest,
            lease,
            key,
            epoch: verified.lease.epoch,
            seq: verified.manifest.seq,
            root: verified.manifest.merkle_root,
            reset: self.reset_of(key)?,
            server_time: verified.lease.server_time,
        })
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
        let signed = self.signed(Some(&bundle.manifest), &bundle.lease, record, &verified)?;
        self.store.accept(&Accepted { signed, modules: &modules, keep: &keep, secrets: &secrets })?;
        Ok(News::Bundle)
    }

    /// Delivers results in order until none waits.
    pub fn drain(&self, server: &mut dyn Server, told: &Told) -> Result<u64, CheckInError> {
        let mut delivered = 0;
        let mut record = self.store.current_key()?;
        for _ in 0..MAX_DRAIN {
            let Some(mut report) = self.store.oldest_result()? else { break };
            let seq = report.result_seq;
            if report.encoded_len() > MAX_REPORT_BYTES {
                // No server would take it, and everything behind it would wait for ever. The totals say what it was.
                tracing::warn!(
                    run = report.run_id,
                    "a report is too long to be sent; it goes without its results"
                );
                report.results.clear();
            }
            let known = told.run.take().filter(|_| server.is_stream());
            let delta = known.and_then(|known| protocol::delta::of_report(&known, &report));
            let mut payload = delta.as_ref().unwrap_or(&report).encode_to_vec();
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
                    report_reply::Answer::NeedWhole(_) => payload = report.encode_to_vec(),
                }
            }
            match acknowledged {
                Some(up_to) if up_to >= seq => {
                    if self.store.acknowledge(seq, up_to)? {
                        tracing::warn!(
                            "the server has results of this host up to number {up_to}, later than any here: was the \
                             host set back to an earlier state? new results are numbered after those"
                        );
                    }
                    told.run.replace(Some(report));
                    delivered += 1;
                }
                _ => return Err(CheckInError::Protocol("it does not acknowledge a result")),
            }
        }
        Ok(delivered)
    }
}

/// At a point between 50 and 75 % of the lease's life, another one for each lease.
fn renewal_is_due(verified: &Verified, now: Millis) -> bool {
    let lease = &verified.lease;
    if lease.expires_at == 0 {
        return false;
    }
    let random: u64 = lease.agent_nonce.first().copied().unwrap_or(0).into();
    let life = lease.expires_at.saturating_sub(lease.issued_at);
    let due: Millis = lease.issued_at.saturating_add(life / 2 + life / 4 * random / 255);
    now >= due
}
