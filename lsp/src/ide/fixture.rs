//! Policies for tests: `//- PATH` begins a file, `$0` is the cursor.

use super::{Ide, Target};
use compiler::db::Content;
use compiler::plan::Member;
use compiler::policy::Policy;

/// A policy with a cursor in one of its files.
pub struct Fixture {
    /// The policy.
    pub policy: Policy,
    /// The file with the cursor.
    pub file: String,
    /// The cursor.
    pub at: u32,
    /// Whose values are shown.
    pub envoy: Option<String>,
    /// Hosts.
    pub fleet: Vec<Member>,
}

impl Fixture {
    /// Reads a fixture.
    pub fn new(text: &str) -> Fixture {
        let mut files = Vec::new();
        for part in text.split("//- ").skip(1) {
            let (path, text) = part.split_once('\n').unwrap();
            files.push((path.trim().to_owned(), text.to_owned()));
        }
        let (mut file, mut at) = (String::new(), 0);
        for (path, text) in &mut files {
            if let Some(found) = text.find("$0") {
                text.replace_range(found..found + 2, "");
                (file, at) = (path.clone(), found as u32);
            }
        }
        let content = |(path, text): (String, String)| (path.into(), Content::Text(text.into()));
        let policy = Policy::of(files.into_iter().map(content).collect());
        Fixture { policy, file, at, envoy: None, fleet: Vec::new() }
    }

    /// Shows the values of an envoy.
    pub fn envoy(mut self, name: &str) -> Fixture {
        self.envoy = Some(name.to_owned());
        self
    }

    /// Has a fleet of these hosts.
    pub fn fleet(mut self, hosts: &[&str]) -> Fixture {
        let member = |h: &&str| Member {
            hostname: (*h).to_owned(),
            traits: std::sync::Arc::new(ir::Value::Map(Default::default())),
        };
        self.fleet = hosts.iter().map(member).collect();
        self
    }

    /// Where targets are, and what stands there.
    pub fn shown(&self, targets: &[Target]) -> Vec<String> {
        let line = |t: &Target| {
            let text = self.policy.text(&t.file).unwrap();
            let line = text[..t.span.start as usize].matches('\n').count() + 1;
            format!("{}:{line} {}", t.file, &text[t.span.range()])
        };
        targets.iter().map(line).collect()
    }

    /// What is asked.
    pub fn ide(&self) -> Ide<'_> {
        Ide { policy: &self.policy, envoy: self.envoy.as_deref(), fleet: &self.fleet, variables: None }
    }
}

/// A small policy that has everything; `$0` may be put anywhere.
pub const ACME: &str = "//- modules/nginx.vgo
name: nginx
doc: Web server.
params:
  server_name: { type: string, doc: The name. }
vars:
  port: 80
resources:
  - name: config
    type: file
    target_path: /etc/nginx.conf
    source: nginx/site.conf
    mode: \"0644\"
    notify: [reload]
  - name: reload
    type: service
    service: nginx
    state: reloaded
    when: changed
//- modules/motd.vgo
name: motd
depends_on: [nginx]
resources:
  - name: motd
    type: file
    target_path: /etc/motd
    content: \"port {{ .Vars.port }}\"
    depends_on: [nginx.config]
    when: os_family('debian') && vars.port == 80
//- templates/nginx/site.conf
listen {{ .Vars.port }};
server_name {{ .Vars.server_name }};
//- roles.vgo
roles:
  - name: web
    modules: [nginx, motd]
//- nodes.vgo
nodes:
  - match: \"web-*.test\"
    roles: [web]
    vars: { server_name: www, port: 8080 }
  - match: \"*\"
    roles: [web]
    vars: { server_name: other }
//- tests/web.vgo
test: it listens
envoy: web-1.test
traits: debian12
expect:
  modules: [nginx, motd]
  vars: { port: 8080 }
  resources:
    nginx.config: { mode: \"0644\" }
";
