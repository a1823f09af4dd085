//! Generates clients of the public API from the server's own `.proto` files; the simulated build gets none.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

const ROOT: &str = "../proto";
const API: &str = "../proto/etcd/rpc.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}/etcd");
    println!("cargo:rerun-if-changed=build.rs");
    let descriptors = protox::compile([API], [ROOT])?;
    let set_path = PathBuf::from(env::var("OUT_DIR")?).join("api.fds");
    fs::write(&set_path, descriptors.encode_to_vec())?;
    madsim_tonic_build::configure()
        .file_descriptor_set_path(&set_path)
        .skip_protoc_run()
        .build_server(false)
        .emit_rerun_if_changed(false)
        .compile_protos(&[API], &[ROOT])?;
    Ok(())
}
