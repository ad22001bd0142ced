//! Compiles `proto/` into Rust, without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    if std::env::var_os("CARGO_FEATURE_WORLD").is_some() {
        workload_api()?;
    }
    if std::env::var_os("CARGO_FEATURE_OTLP").is_some() {
        otlp()?;
    }
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
