//! `cloud`: whose machine this is, and what its metadata service says.
//!
//! The firmware tells the provider. Only then is the metadata service asked, at its link-local address, so nothing is sent on
//! a machine that stands elsewhere.

use super::{Answer, Section, kernel_file, map};
use crate::root::Root;
use crate::text::bounded;
use ir::Value;
use std::time::Duration;

/// For each question. The service is on the same machine, or nowhere.
const ASK: Duration = Duration::from_secs(1);
const SERVICE: &str = "http://169.254.169.254";
/// Of an answer.
const MOST: u64 = 256 << 10;

/// What firmware says of itself.
#[derive(Default)]
struct Firmware {
    vendor: String,
    product: String,
    asset: String,
}

pub fn collect(root: &Root) -> Answer {
    // A directory that is made to look like a host is nobody's machine.
    if !root.is_host() {
        return Answer::default();
    }
    let read = |file: &str| kernel_file(&format!("/sys/class/dmi/id/{file}")).unwrap_or_default();
    let firmware = Firmware {
        vendor: read("sys_vendor"),
        product: read("product_name"),
        asset: read("chassis_asset_tag"),
    };
    match provider(&firmware) {
        Some(provider) => ask(provider, SERVICE),
        None => Answer::default(),
    }
}

fn provider(firmware: &Firmware) -> Option<&'static str> {
    let Firmware { vendor, product, asset } = firmware;
    match (vendor.as_str(), product.as_str(), asset.as_str()) {
        ("Amazon EC2", ..) => Some("aws"),
        (_, "Google Compute Engine", _) => Some("gcp"),
        (.., "7783-7084-3265-9085-8269-3286-77") => Some("azure"),
        (.., "OracleCloud.com") => Some("oracle"),
        ("DigitalOcean", ..) => Some("digitalocean"),
        ("Hetzner", ..) => Some("hetzner"),
        ("Scaleway", ..) => Some("scaleway"),
        ("Vultr", ..) => Some("vultr"),
        ("Linode" | "Akamai", ..) => Some("linode"),
        (_, product, _) if product.starts_with("Alibaba Cloud") => Some("alibaba"),
        (_, product, _) if product.starts_with("OpenStack") => Some("openstack"),
        (vendor, ..) if vendor.contains("OpenStack") => Some("openstack"),
        _ => None,
    }
}

/// What one cloud calls its things.
struct Dialect {
    path: &'static str,
    header: Option<(&'static str, &'static str)>,
    /// Instance, kind, zone, region: where they are in the document.
    fields: [Option<&'static str>; 4],
}

fn dialect(provider: &str) -> Option<Dialect> {
    let (path, header, fields) = match provider {
        "aws" => (
            "/latest/dynamic/instance-identity/document",
            None,
            [Some("/instanceId"), Some("/instanceType"), Some("/availabilityZone"), Some("/region")],
        ),
        "azure" => (
            "/metadata/instance/compute?api-version=2021-02-01",
            Some(("metadata", "true")),
            [Some("/vmId"), Some("/vmSize"), Some("/zone"), Some("/location")],
        ),
        "oracle" => (
            "/opc/v2/instance/",
            Some(("authorization", "Bearer Oracle")),
            [Some("/id"), Some("/shape"), Some("/availabilityDomain"), Some("/region")],
        ),
        "digitalocean" => ("/metadata/v1.json", None, [Some("/droplet_id"), None, None, Some("/region")]),
        "vultr" => ("/v1.json", None, [Some("/instance-v2-id"), None, None, Some("/region/regioncode")]),
        "openstack" => (
            "/openstack/latest/meta_data.json",
            None,
            [Some("/uuid"), None, Some("/availability_zone"), None],
        ),
        _ => return None,
    };
    Some(Dialect { path, header, fields })
}

/// Without an answer the provider is known all the same.
fn ask(provider: &'static str, service: &str) -> Answer {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(ASK))
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(true)
        .build();
    let agent: ureq::Agent = config.into();
    let told = match provider {
        "gcp" => gcp(&agent, service),
        other => match dialect(other) {
            Some(dialect) => document(&agent, service, provider, &dialect),
            None => Ok([None, None, None, None]),
        },
    };
    let (fields, problems) = match told {
        Ok(fields) => (fields, Vec::new()),
        Err(why) => ([None, None, None, None], vec![format!("the metadata service of {provider}: {why}")]),
    };
    let [instance, kind, zone, region] = fields.map(|text| text.map(|text| Value::from(bounded(&text, 256))));
    let cloud = map([
        ("provider", Some(provider.into())),
        ("instance_id", instance),
        ("instance_type", kind),
        ("zone", zone),
        ("region", region),
    ]);
    Answer { section: Section::from([("cloud".into(), cloud)]), problems }
}

type Fields = [Option<String>; 4];

fn document(agent: &ureq::Agent, service: &str, provider: &str, dialect: &Dialect) -> Result<Fields, String> {
    let mut headers: Vec<(&str, String)> =
        dialect.header.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
    if provider == "aws" {
        // Version 2 of the service answers only who has fetched a token.
        let url = format!("{service}/latest/api/token");
        let answered = agent.put(url).header("x-aws-ec2-metadata-token-ttl-seconds", "60").send_empty();
        headers.push(("x-aws-ec2-metadata-token", text(answered)?));
    }
    let json: serde_json::Value =
        serde_json::from_str(&get(agent, &format!("{service}{}", dialect.path), &headers)?)
            .map_err(|_| "its answer is no JSON".to_owned())?;
    let field = |pointer: &str| match json.pointer(pointer)? {
        serde_json::Value::String(text) if !text.is_empty() => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Ok(dialect.fields.map(|pointer| pointer.and_then(field)))
}

/// One question for each field: the whole document has what users put there, start scripts among it.
fn gcp(agent: &ureq::Agent, service: &str) -> Result<Fields, String> {
    let ask = |name: &str| {
        let url = format!("{service}/computeMetadata/v1/instance/{name}");
        let text = get(agent, &url, &[("metadata-flavor", "Google".to_owned())])?;
        Ok::<_, String>(text.trim().rsplit('/').next().unwrap_or_default().to_owned())
    };
    let zone = ask("zone")?;
    let region = zone.rsplit_once('-').map(|(region, _)| region.to_owned());
    Ok([Some(ask("id")?), Some(ask("machine-type")?), Some(zone), region])
}

fn get(agent: &ureq::Agent, url: &str, headers: &[(&str, String)]) -> Result<String, String> {
    let mut request = agent.get(url);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    text(request.call())
}

fn text(answered: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<String, String> {
    let mut response = answered.map_err(|e| e.to_string())?;
    response.body_mut().with_config().limit(MOST).read_to_string().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn the_firmware_names_the_provider() {
        let of = |vendor: &str, product: &str, asset: &str| {
            provider(&Firmware { vendor: vendor.into(), product: product.into(), asset: asset.into() })
        };
        assert_eq!(of("Amazon EC2", "t3.micro", ""), Some("aws"));
        assert_eq!(of("Google", "Google Compute Engine", ""), Some("gcp"));
        assert_eq!(
            of("Microsoft Corporation", "Virtual Machine", "7783-7084-3265-9085-8269-3286-77"),
            Some("azure")
        );
        assert_eq!(of("Microsoft Corporation", "Virtual Machine", ""), None, "Hyper-V of somebody's own");
        assert_eq!(of("Dell Inc.", "PowerEdge", "7"), None);
    }

    /// A metadata service; what it was asked comes back with its answers.
    fn service(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = String::new();
                while !request.contains("\r\n\r\n") {
                    let mut buffer = [0; 1024];
                    let n = stream.read(&mut buffer).unwrap();
                    request.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
                }
                asked.push(request.to_lowercase());
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{answer}",
                    answer.len()
                )
                .unwrap();
            }
            asked
        });
        (address, thread)
    }

    fn at(answer: &Answer, name: &str) -> Option<Value> {
        answer.section.get("cloud")?.at(&[name.into()]).cloned()
    }

    #[test]
    fn aws_is_asked_with_a_token() {
        let document = r#"{"instanceId":"i-1","instanceType":"t3.micro","availabilityZone":"eu-central-1a","region":"eu-central-1","version":7}"#;
        let (address, asked) = service(vec!["tokentext", document]);
        let answer = ask("aws", &address);
        let asked = asked.join().unwrap();
        assert!(
            asked[0].starts_with("put /latest/api/token") && asked[1].contains("token: tokentext"),
            "{asked:?}"
        );
        assert_eq!(at(&answer, "region"), Some("eu-central-1".into()));
        assert_eq!(at(&answer, "instance_id"), Some("i-1".into()));
        assert!(answer.problems.is_empty());
    }

    #[test]
    fn gcp_is_asked_for_each_thing_and_others_for_their_document() {
        let (address, asked) =
            service(vec!["projects/1/zones/europe-west3-c", "42", "projects/1/machineTypes/e2-micro"]);
        let answer = ask("gcp", &address);
        assert!(asked.join().unwrap().iter().all(|r| r.contains("metadata-flavor: google")));
        assert_eq!(
            (at(&answer, "region"), at(&answer, "instance_type")),
            (Some("europe-west3".into()), Some("e2-micro".into()))
        );
        let (address, asked) = service(vec![r#"{"droplet_id": 7, "region": "fra1"}"#]);
        let answer = ask("digitalocean", &address);
        asked.join().unwrap();
        assert_eq!(
            (at(&answer, "instance_id"), at(&answer, "region")),
            (Some("7".into()), Some("fra1".into()))
        );
    }

    #[test]
    fn a_service_that_makes_no_sense_or_is_not_there_is_a_problem_and_no_more() {
        let (address, asked) = service(vec!["<html>"]);
        let answer = ask("azure", &address);
        asked.join().unwrap();
        assert_eq!((at(&answer, "provider"), at(&answer, "zone")), (Some("azure".into()), None));
        assert!(answer.problems[0].contains("no JSON"), "{:?}", answer.problems);
        let answer = ask("openstack", "http://127.0.0.1:1");
        assert_eq!((at(&answer, "provider"), answer.problems.len()), (Some("openstack".into()), 1));
    }
}
