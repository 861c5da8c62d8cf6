//! Traces, with a real server and a collector of our own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vigo_tests::processes::{Host, Server};

const NODES: &str = "nodes:\n  - match: \"*.test\"\n    modules: [etc]\n";
const ETC: &str = "name: etc\nresources:\n  - { name: etc, type: directory, target_path: /etc }\n";

/// Takes every request; the bodies that came.
fn collector() -> (String, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let bodies = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let list = bodies.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let list = list.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                loop {
                    let (mut length, mut path) = (0, String::new());
                    if reader.read_line(&mut path).unwrap_or(0) == 0 {
                        return;
                    }
                    assert!(path.starts_with("POST /v1/traces "), "{path}");
                    loop {
                        let mut line = String::new();
                        reader.read_line(&mut line).unwrap();
                        let Some((name, value)) = line.trim().split_once(": ") else { break };
                        if name.eq_ignore_ascii_case("content-length") {
                            length = value.parse().unwrap();
                        }
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    list.lock().unwrap().push(body);
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                    if reader.get_mut().write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, bodies)
}

fn spans(bodies: &Mutex<Vec<Vec<u8>>>) -> Vec<Span> {
    let bodies = bodies.lock().unwrap();
    let requests = bodies.iter().map(|body| ExportTraceServiceRequest::decode(body.as_slice()).unwrap());
    requests.flat_map(|r| r.resource_spans).flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
}

#[test]
fn a_collector_gets_spans_that_name_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (url, bodies) = collector();
    let mut server = Server::init(dir.path(), &[("nodes.vgo", NODES), ("modules/etc.vgo", ETC)]);
    server.configure("policy:\n", &format!("telemetry:\n  otlp_endpoint: {url}\n\npolicy:\n"));
    server.start();
    let host = Host::new(dir.path(), "canary-4711.test");
    let token = server.token();
    assert!(host.enroll(&server.address, &token, &server.ca_hash).status.success());
    assert_eq!(host.run().0, 0);
    let api = server.command(&["api-token", "create", "--name", "canary-ann", "--role", "admin"]);
    assert!(server.vigocli(api.trim(), &["envoys", "show", "canary-4711.test"]).status.success());
    // What waits is sent when the server stops.
    server.stop();
    let deadline = Instant::now() + Duration::from_secs(20);
    let wanted = ["check-in", "report", "publish", "http", "database"];
    let found = loop {
        let names: BTreeSet<String> = spans(&bodies).into_iter().map(|span| span.name).collect();
        if wanted.iter().all(|name| names.contains(*name)) || Instant::now() > deadline {
            break names;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    for name in wanted {
        assert!(found.contains(name), "no `{name}` among {found:?}: {:#?}", server.log());
    }
    let all = spans(&bodies);
    let report = all.iter().find(|span| span.name == "report").unwrap();
    let below = all.iter().find(|span| span.parent_span_id == report.span_id).unwrap();
    assert_eq!(
        (below.name.as_str(), &below.trace_id),
        ("database", &report.trace_id),
        "the report is stored"
    );
    let http = all.iter().find(|span| span.name == "http").unwrap();
    let attributes = format!("{:?}", http.attributes);
    assert!(attributes.contains("/api/v1/envoys/{envoy}"), "the route, and not the path: {attributes}");
    for body in bodies.lock().unwrap().iter() {
        for hidden in ["canary", token.as_str(), api.trim()] {
            assert!(!body.windows(hidden.len()).any(|window| window == hidden.as_bytes()), "{hidden}");
        }
    }
}

#[test]
fn a_collector_that_is_not_there_costs_spans_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = Server::init(dir.path(), &[("nodes.vgo", NODES), ("modules/etc.vgo", ETC)]);
    server.configure("policy:\n", &format!("telemetry:\n  otlp_endpoint: http://{free}\n\npolicy:\n"));
    server.start();
    let host = Host::new(dir.path(), "web-1.test");
    assert!(host.enroll(&server.address, &server.token(), &server.ca_hash).status.success());
    assert_eq!(host.run().0, 0);
    server.stop();
    assert!(!server.log().iter().any(|line| line.contains("panic")), "{:#?}", server.log());
}
