//! What compiling costs, on a generated policy of 200 modules with 20 resources each and 100 node entries.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failing benchmark may panic")]

use compiler::plan::{Fleet, Member, Plan};
use compiler::policy::{ClassKey, Policy};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use ir::Value;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use vigo_tests::generator::generate;
use vigo_tests::golden::traits;

fn main() {
    divan::main();
}

static POLICY: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path(), 200, 20, 100).unwrap();
    dir
});

fn open() -> Policy {
    Policy::open(POLICY.path()).unwrap()
}

fn texts(dir: &Path) -> Vec<String> {
    let modules = fs::read_dir(dir.join("modules")).unwrap();
    modules.map(|f| fs::read_to_string(f.unwrap().path()).unwrap()).collect()
}

/// The traits of a Debian and of a Red Hat host.
fn hosts() -> [Value; 2] {
    let shared = "os.kernel=linux os.arch=x86_64 virtual.inside=true container.inside=false";
    [
        "os.family=debian os.distro=debian os.version=12 os.codename=bookworm",
        "os.family=rhel os.distro=rocky os.version=9.4",
    ]
    .map(|of| traits(format!("{of} {shared}").split(' ')))
}

/// From text to trees.
#[divan::bench(sample_count = 20)]
fn parse(bencher: Bencher) {
    let texts = texts(POLICY.path());
    let bytes: usize = texts.iter().map(String::len).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        for text in &texts {
            black_box(grammar::document::parse(black_box(text)));
        }
    });
}

/// Reading the directory.
#[divan::bench(sample_count = 20)]
fn read(bencher: Bencher) {
    LazyLock::force(&POLICY);
    bencher.bench_local(open);
}

/// From a directory to findings.
#[divan::bench(sample_count = 20)]
fn check_cold(bencher: Bencher) {
    LazyLock::force(&POLICY);
    bencher.bench_local(|| {
        let report = open().check();
        assert!(report.diagnostics.is_empty(), "{:?}", report.diagnostics.first());
    });
}

/// An edit of one resource, and a check.
#[divan::bench(sample_count = 50)]
fn check_after_an_edit(bencher: Bencher) {
    let mut policy = open();
    policy.check();
    let path = "modules/m0100.vgo";
    let text = policy.text(path).unwrap();
    let mut odd = false;
    bencher.bench_local(|| {
        odd = !odd;
        policy.set_text(path, if odd { text.replacen("0644", "0600", 1) } else { text.to_string() }.as_str());
        black_box(policy.check());
    });
}

/// An edit of a variable that every module reads, and a check.
#[divan::bench(sample_count = 20)]
fn check_after_an_edit_of_everything(bencher: Bencher) {
    let mut policy = open();
    policy.check();
    let text = policy.text("common.vgo").unwrap();
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        policy.set_text("common.vgo", &text.replace("site: gen.test", &format!("site: gen{number}.test")));
        black_box(policy.check());
    });
}

/// Every class for both kinds of hosts, hashed, in a policy that was checked.
#[divan::bench(sample_count = 10)]
fn every_variant(bencher: Bencher) {
    let hosts = hosts();
    bencher
        .with_inputs(|| {
            let policy = open();
            policy.check();
            policy
        })
        .bench_local_values(|policy| {
            let both = |class: ClassKey| hosts.iter().map(move |traits| (class.clone(), traits.clone()));
            let asked: Vec<_> = policy.classes().into_iter().flat_map(both).collect();
            assert!(black_box(policy.variants(&asked)).iter().all(Result::is_ok));
            policy
        });
}

/// The same from a directory: reading, checking and hashing 200 variants, as a server does when it starts.
#[divan::bench(sample_count = 5)]
fn every_variant_from_scratch(bencher: Bencher) {
    LazyLock::force(&POLICY);
    let hosts = hosts();
    bencher.bench_local(|| {
        let policy = open();
        let both = |class: ClassKey| hosts.iter().map(move |traits| (class.clone(), traits.clone()));
        let asked: Vec<_> = policy.classes().into_iter().flat_map(both).collect();
        assert!(black_box(policy.variants(&asked)).iter().all(Result::is_ok));
        policy
    });
}

/// The node entries of 10,000 hosts, out of 100.
#[divan::bench(sample_count = 20)]
fn entries_of_10_000_hosts(bencher: Bencher) {
    let policy = open();
    let names: Vec<String> =
        (0..10_000).map(|host| format!("h{:05}-{:05}.gen.test", host % 100, host / 100)).collect();
    bencher.bench_local(|| {
        assert!(names.iter().all(|name| black_box(policy.class_of(name)).is_some()));
    });
}

/// One module of many resources, each of which reads a variable of its own.
#[divan::bench(args = [1_000, 2_000, 4_000, 8_000], sample_count = 3)]
fn resources_with_variables_of_their_own(bencher: Bencher, count: usize) {
    let dir = tempfile::tempdir().unwrap();
    let vars: String = (0..count).map(|n| format!("  v{n:05}: text {n}\n")).collect();
    let resources: String = (0..count)
        .map(|n| {
            format!(
                "  - {{ name: f{n}, type: file, target_path: /f{n}, content: \"{{{{ .Vars.v{n:05} }}}}\", mode: \"0644\" }}\n"
            )
        })
        .collect();
    fs::create_dir(dir.path().join("modules")).unwrap();
    fs::write(
        dir.path().join("modules/many.vgo"),
        format!("name: many\nvars:\n{vars}resources:\n{resources}"),
    )
    .unwrap();
    fs::write(dir.path().join("nodes.vgo"), "nodes:\n  - match: \"*\"\n    modules: [many]\n").unwrap();
    bencher.bench_local(|| {
        let policy = Policy::open(dir.path()).unwrap();
        let class = policy.class_of("h").unwrap();
        assert!(policy.variant(&class, &Value::Map(Default::default())).is_ok());
        policy
    });
}

/// What an edit of one module does to 10,000 hosts of 100 entries, from two directories.
#[divan::bench(sample_count = 5)]
fn plan_of_10_000_hosts(bencher: Bencher) {
    let edited = tempfile::tempdir().unwrap();
    generate(edited.path(), 200, 20, 100).unwrap();
    let path = edited.path().join("modules/m0100.vgo");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("0644", "0600", 1)).unwrap();
    let hosts = hosts().map(Arc::new);
    let member = |host: usize| Member {
        hostname: format!("h{:05}-{:05}.gen.test", host % 100, host / 100),
        traits: hosts[host / 100 % 2].clone(),
    };
    let fleet = Fleet::new((0..10_000).map(member).collect());
    bencher.bench_local(|| {
        let plan = Plan::of(POLICY.path(), edited.path(), &fleet).unwrap();
        assert_eq!((plan.touched(), plan.groups.len()), (2_000, 1));
    });
}
