//! Turns the `.proto` files into Rust, for both builds.
//!
//! The parser is pure Rust, so no `protoc` is needed on the user's machine. One descriptor set feeds two
//! generators: real tonic code in `OUT_DIR`, simulated code in `OUT_DIR/sim`; `src/pb.rs` includes one or the other.
//! Every `bytes` field becomes `bytes::Bytes`, so that keys and values are shared and not copied.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message as _;

const ROOT: &str = "proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    println!("cargo:rerun-if-changed=build.rs");

    let mut files = Vec::new();
    find_protos(Path::new(ROOT), &mut files)?;
    // The order of a directory listing is not defined; the generated code must not depend on it.
    files.sort();

    let descriptors = protox::compile(&files, [ROOT])?;
    let set_path = PathBuf::from(env::var("OUT_DIR")?).join("api.fds");
    fs::write(&set_path, descriptors.encode_to_vec())?;

    madsim_tonic_build::configure()
        .file_descriptor_set_path(&set_path)
        .skip_protoc_run()
        .bytes(["."])
        .emit_rerun_if_changed(false)
        .compile_protos(&files, &[PathBuf::from(ROOT)])?;
    Ok(())
}

fn find_protos(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}
