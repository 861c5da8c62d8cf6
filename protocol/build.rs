//! Compiles the messages with protox, so that no `protoc` is needed, and lists the methods of
//! all services for whoever must not forget one.
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["proto/vigo.proto"], ["proto"])?;
    let mut methods = String::from("&[");
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                let (package, service, method) = (file.package(), service.name(), method.name());
                methods.push_str(&format!("\"/{package}.{service}/{method}\", "));
            }
        }
    }
    methods.push(']');
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("methods.rs"), methods)?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
