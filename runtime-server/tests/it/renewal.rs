//! Certificates of envoys: renewed, replaced, ended.

use crate::harness::*;
use ed25519_dalek::SigningKey;
use prost::Message;
use protocol::pb::enrolment_client::EnrolmentClient;
use protocol::pb::{RenewRequest, renew_reply};
use protocol::request::{self, Rpc};
use runtime_server::pki;
use runtime_server::store::certificates::Certificates;
use runtime_server::store::envoys::EnvoyRow;
use runtime_server::store::{Database, envoys};
use std::time::Duration;
use tonic::{Code, Status};

impl Agent {
    /// Asks for a certificate for that key.
    async fn renew_to(&mut self, cluster: &Cluster, key: &SigningKey) -> Result<String, Status> {
        let csr_pem = enrolment(key, "", "").csr_pem;
        let header = self.header(cluster);
        let signed = request::sign(&self.key, Rpc::Renew, &header, &RenewRequest { csr_pem }.encode_to_vec());
        match self.client(cluster).await.renew(signed).await?.into_inner().answer.unwrap() {
            renew_reply::Answer::CertificatePem(pem) => Ok(pem),
            renew_reply::Answer::StaleKey(_) => panic!("the key is the live one"),
        }
    }

    /// The certificate that it would use next, and its key.
    async fn renewed(&mut self, cluster: &Cluster) -> (SigningKey, String) {
        let key = pki::new_key().unwrap();
        let pem = self.renew_to(cluster, &key).await.unwrap();
        (key, pem)
    }

    /// Comes with another certificate from now on; the one it came with so far.
    fn switch(&mut self, (key, pem): (SigningKey, String)) -> (SigningKey, String) {
        let old = std::mem::replace(&mut self.reply.certificate_pem, pem);
        (std::mem::replace(&mut self.key, key), old)
    }
}

fn row(cluster: &Cluster, name: &str) -> EnvoyRow {
    cluster.db(|conn| envoys::find(conn, name)).unwrap().unwrap()
}

const DENIED: Code = Code::PermissionDenied;

#[tokio::test]
async fn a_renewed_certificate_takes_over_with_its_first_use_and_the_old_one_fades() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    let before = row(&cluster, "web-01");
    assert_eq!(before.certificates.current.expires_at / 1000, (cluster.now() + 90 * 86_400_000) / 1000);
    assert_eq!(before.certificates.current.serial.len(), 32);

    // Two answers got lost: the certificate in use is good, and the last one issued is the next.
    let lost = agent.renewed(&cluster).await;
    agent.check_in(&cluster).await.unwrap();
    cluster.advance(Duration::from_secs(5));
    let next = agent.renewed(&cluster).await;
    agent.check_in(&cluster).await.unwrap();
    let pending = row(&cluster, "web-01");
    assert_eq!(pending.public_key, before.public_key);
    assert_eq!(pending.certificates.next.as_ref().unwrap().0, next.0.verifying_key().to_bytes());

    let old = agent.switch(next.clone());
    agent.check_in(&cluster).await.unwrap();
    let after = row(&cluster, "web-01");
    assert_eq!((after.id, after.counter), (before.id, before.counter), "nothing else changed");
    assert_eq!(after.public_key, next.0.verifying_key().to_bytes());
    assert_eq!(after.certificates.current, pending.certificates.next.unwrap().1);
    assert_eq!(after.certificates.previous.unwrap().0, before.public_key);

    // What was under way with the old one ends well; the one that was never used is good for nothing.
    agent.switch(old.clone());
    agent.check_in(&cluster).await.unwrap();
    agent.switch(lost);
    refused(agent.check_in(&cluster).await, DENIED, "certificate-replaced");
    cluster.advance(Duration::from_secs(600));
    agent.switch(old);
    refused(agent.check_in(&cluster).await, DENIED, "certificate-replaced");
    refused(agent.report(&cluster, &Default::default()).await, DENIED, "certificate-replaced");
    agent.switch(next);
    agent.check_in(&cluster).await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_known_of_certificates_survives_a_restart() {
    let mut cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    cluster.advance(Duration::from_secs(5));
    let next = agent.renewed(&cluster).await;
    cluster.restart().await;
    let old = agent.switch(next.clone());
    agent.check_in(&cluster).await.unwrap();
    cluster.restart().await;
    agent.switch(old);
    agent.check_in(&cluster).await.unwrap();
    cluster.advance(Duration::from_secs(600));
    refused(agent.check_in(&cluster).await, DENIED, "certificate-replaced");
    agent.switch(next);
    agent.check_in(&cluster).await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn case_041_nobody_renews_for_another_or_takes_a_key_that_is_in_use() {
    let cluster = Cluster::start().await;
    let (mut a, mut b) = (cluster.agent("a").await, cluster.agent("b").await);
    let untouched = row(&cluster, "b");
    let payload =
        RenewRequest { csr_pem: enrolment(&pki::new_key().unwrap(), "", "").csr_pem }.encode_to_vec();
    let mut header = a.header(&cluster);
    header.envoy_id.clone_from(&b.reply.envoy_id);
    let forged = request::sign(&a.key, Rpc::Renew, &header, &payload);
    refused(a.client(&cluster).await.renew(forged).await.map(|_| ()), DENIED, "wrong-envoy");
    let header = b.header(&cluster);
    let stolen = request::sign(&b.key, Rpc::Renew, &header, &payload);
    refused(a.client(&cluster).await.renew(stolen).await.map(|_| ()), DENIED, "wrong-envoy");

    for key in [b.key.clone(), a.key.clone()] {
        refused(a.renew_to(&cluster, &key).await, Code::AlreadyExists, "key-taken");
    }
    let (waiting, _) = b.renewed(&cluster).await;
    refused(a.renew_to(&cluster, &waiting).await, Code::AlreadyExists, "key-taken");
    let header = a.header(&cluster);
    let nonsense = request::sign(&a.key, Rpc::Renew, &header, b"\x0a\x02no");
    refused(a.client(&cluster).await.renew(nonsense).await.map(|_| ()), Code::InvalidArgument, "bad-csr");
    let after = row(&cluster, "b");
    assert_eq!((after.public_key, after.certificates.previous), (untouched.public_key, None));
    a.renewed(&cluster).await;
    cluster.stop().await;
}

#[tokio::test]
async fn case_034_a_revoked_envoy_does_not_renew() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let next = agent.renewed(&cluster).await;
    let revoked = cluster.server().context().fleet.revoke(std::slice::from_ref(&agent.reply.envoy_id));
    assert_eq!(revoked.len(), 1);
    refused(agent.renew_to(&cluster, &pki::new_key().unwrap()).await, DENIED, "revoked");
    agent.switch(next);
    refused(agent.check_in(&cluster).await, DENIED, "revoked");
    cluster.stop().await;
}

/// The database forgets a renewal, as one does that was restored from a backup.
#[tokio::test]
async fn case_030_a_restored_database_takes_the_newest_certificate_of_its_envoys() {
    let mut cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let before = row(&cluster, "web-01");
    cluster.advance(Duration::from_secs(5));
    let next = agent.renewed(&cluster).await;
    let old = agent.switch(next.clone());
    agent.check_in(&cluster).await.unwrap();
    cluster.db(|conn| restore(conn, &before));
    cluster.restart().await;
    assert_eq!(row(&cluster, "web-01").public_key, before.public_key, "the fault is there");
    agent.check_in(&cluster).await.unwrap();
    assert_eq!(row(&cluster, "web-01").public_key, next.0.verifying_key().to_bytes());
    cluster.advance(Duration::from_secs(600));
    agent.switch(old);
    refused(agent.check_in(&cluster).await, DENIED, "certificate-replaced");
    cluster.stop().await;
}

fn restore(conn: &mut runtime_server::store::Connection, row: &EnvoyRow) {
    use runtime_server::store::value::ToParam;
    let Certificates { current, .. } = &row.certificates;
    conn.execute(
        "update envoys set public_key = $2, certificate_serial = $3, certificate_issued_at = $4,
         previous_key = null, next_key = null where id = $1",
        &[
            row.id.to_param(),
            row.public_key.to_param(),
            current.serial.to_param(),
            i64::try_from(current.issued_at).unwrap().to_param(),
        ],
    )
    .unwrap();
}

#[tokio::test]
async fn a_renewal_at_one_server_is_known_at_the_other() {
    let one = Cluster::start().await;
    if let Database::Sqlite(_) = one.config.database {
        return one.stop().await;
    }
    let two = one.beside().await;
    let mut agent = one.agent("web-01").await;
    follow(&mut agent, &two).await;
    one.advance(Duration::from_secs(5));
    follow(&mut agent, &one).await;
    let next = agent.renewed(&one).await;
    let old = agent.switch(next.clone());
    // The other server has not heard of the renewal when it is used there for the first time.
    follow(&mut agent, &two).await;
    follow(&mut agent, &one).await;
    assert_eq!(row(&one, "web-01").public_key, next.0.verifying_key().to_bytes());
    one.advance(Duration::from_secs(600));
    agent.switch(old);
    for server in [&one, &two] {
        let status = loop {
            match agent.check_in(server).await {
                Err(status) => break status,
                // It has still to be told.
                Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        assert_eq!(reason(&status), (DENIED, "certificate-replaced"));
    }
    two.stop().await;
    one.stop().await;
}

/// Checks in, and takes the server's key when it is another one.
async fn follow(agent: &mut Agent, server: &Cluster) {
    use protocol::pb::check_in_reply::Answer;
    for _ in 0..4 {
        match agent.check_in(server).await.unwrap() {
            Answer::StaleKey(statement) => agent.trusted = trust(server, &statement),
            Answer::NeedTraits(_) => agent.asked.traits_digest.clear(),
            _ => return,
        }
    }
    panic!("asked again and again");
}

/// What an agent sends that comes back after its certificate ended.
fn rejoin(agent: &Agent, token: &str, hostname: &str, key: &SigningKey) -> protocol::pb::EnrollRequest {
    let mut request = enrolment(key, token, hostname);
    request.envoy_id.clone_from(&agent.reply.envoy_id);
    request.seal_public_key.clear();
    protocol::enrolment::sign(key, &mut request);
    protocol::enrolment::sign_rejoin(&agent.key, &mut request);
    request
}

#[tokio::test]
async fn case_035_a_certificate_that_ended_is_refused_also_on_an_open_connection() {
    let cluster = Cluster::with(|c| c.envoy_lifetime = HOUR).await;
    let mut agent = cluster.agent("web-01").await;
    let mut open = agent.client(&cluster).await;
    let signed = agent.signed(&cluster);
    open.check_in(signed).await.unwrap();
    cluster.advance(HOUR + Duration::from_secs(2));
    let signed = agent.signed(&cluster);
    refused(open.check_in(signed).await, DENIED, "certificate-ended");
    refused(agent.renew_to(&cluster, &pki::new_key().unwrap()).await, DENIED, "certificate-ended");
    cluster.stop().await;
}

#[tokio::test]
async fn case_035_who_was_away_comes_back_with_a_token_and_the_old_key_and_nobody_else_does() {
    // Certificates are judged by the real clock in a handshake, so the envoy enrolled in the past.
    let away = Duration::from_secs(30 * 86_400);
    let cluster = Cluster::ago(away, |c| c.envoy_lifetime = HOUR).await;
    let mut agent = cluster.agent("web-01").await;
    let before = row(&cluster, "web-01");
    cluster.advance(away);
    let status = agent.check_in(&cluster).await.unwrap_err();
    assert_eq!(reason(&status).1, "", "the handshake fails: {status:?}");

    let mut enrolment_client = EnrolmentClient::new(cluster.channel(None).await);
    let token = cluster.token("*").await;
    let key = pki::new_key().unwrap();
    // Who has only the name and a token.
    let namesake = Agent::enrol(&cluster, &token, "web-01").await.map(|_| ());
    refused(namesake, Code::AlreadyExists, "hostname-taken");
    let mut thief = rejoin(&agent, &token, "web-01", &key);
    protocol::enrolment::sign_rejoin(&key, &mut thief);
    refused(enrolment_client.enroll(thief).await, DENIED, "rejoin-key");
    let renamed = rejoin(&agent, &token, "web-02", &key);
    refused(enrolment_client.enroll(renamed).await, DENIED, "wrong-envoy");
    let tokenless = rejoin(&agent, "vigo.0.0", "web-01", &key);
    refused(enrolment_client.enroll(tokenless).await, DENIED, "token-unknown");
    let unbound = cluster.token("db-*").await;
    let elsewhere = rejoin(&agent, &unbound, "web-01", &key);
    refused(enrolment_client.enroll(elsewhere).await, DENIED, "token-hostname");
    let after = row(&cluster, "web-01");
    assert_eq!((after.public_key, after.certificates), (before.public_key, before.certificates));

    let back = enrolment_client.enroll(rejoin(&agent, &token, "web-01", &key)).await.unwrap().into_inner();
    assert_eq!(back.envoy_id, agent.reply.envoy_id);
    agent.switch((key, back.certificate_pem));
    // The server never saw the traits that went with the request above.
    agent.asked.traits_digest.clear();
    agent.bundle(&cluster).await;
    assert_eq!(row(&cluster, "web-01").id, before.id);
    // The token was used up by it.
    let again = rejoin(&agent, &token, "web-01", &pki::new_key().unwrap());
    refused(enrolment_client.enroll(again).await, DENIED, "token-used");

    let token = cluster.token("*").await;
    assert!(cluster.db(|conn| envoys::revoke(conn, "web-01", 1)).unwrap());
    let revoked = rejoin(&agent, &token, "web-01", &pki::new_key().unwrap());
    refused(enrolment_client.enroll(revoked).await, DENIED, "revoked");
    cluster.stop().await;
}
