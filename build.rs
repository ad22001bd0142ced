//! Compiles `proto/` into Rust, without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    token_service()?;
    if std::env::var_os("CARGO_FEATURE_WORLD").is_some() {
        workload_api()?;
    }
    if std::env::var_os("CARGO_FEATURE_OTLP").is_some() {
        otlp()?;
    }
    Ok(())
}

/// Messages and client of our own service, and its descriptors for reflection. Its server frames messages itself (`wire::grpc`).
fn token_service() -> Result<(), Box<dyn Error>> {
    let files = protox::compile(["countersign/v1/token_service.proto"], ["proto"])?;
    let folder = std::env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?;
    let descriptors = std::path::Path::new(&folder).join("token_service.bin");
    std::fs::write(descriptors, prost::Message::encode_to_vec(&files))?;
    let configured = tonic_prost_build::configure().build_server(false);
    // Large beside a fresh credential, and there once.
    configured.boxed(".countersign.v1.WatchRequest.message.exchange").compile_fds(files)?;
    Ok(())
}

/// The server of the SPIFFE Workload API. Its client is the `spiffe` crate's.
fn workload_api() -> Result<(), Box<dyn Error>> {
    let files = protox::compile(["workload.proto"], ["proto"])?;
    tonic_prost_build::configure().build_client(false).btree_map(".").compile_fds(files)?;
    Ok(())
}

/// The clients of an OTLP collector. Its server is the collector's.
fn otlp() -> Result<(), Box<dyn Error>> {
    let files = protox::compile(["otlp_trace.proto", "otlp_logs.proto"], ["proto"])?;
    tonic_prost_build::configure().build_server(false).include_file("otlp.rs").compile_fds(files)?;
    Ok(())
}
