//! Compiles the wire contract, and with the feature `cuda` the kernels. protox is a compiler in Rust, so no `protoc` is needed.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["surprisal.proto"], ["proto"])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    if env::var_os("CARGO_FEATURE_CUDA").is_some() {
        println!("cargo:rerun-if-changed=src/device");
        println!("cargo:rerun-if-env-changed=NVCC");
        for name in ["diagonal", "joint", "layers"] {
            compile_kernels(&format!("src/device/{name}.cu"))?;
        }
    }
    Ok(())
}

/// PTX for the oldest GPUs that CUDA 13 knows; the driver translates it for the one there is.
fn compile_kernels(source: &str) -> Result<(), Box<dyn std::error::Error>> {
    let nvcc = env::var_os("NVCC").unwrap_or_else(|| "nvcc".into());
    let stem = Path::new(source).file_stem().ok_or("a source file has a name")?;
    let output = Path::new(&env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join(stem).with_extension("ptx");
    let mut command = Command::new(&nvcc);
    command.args(["--ptx", "--gpu-architecture=compute_75", "-O3", "-o"]).args([output.as_os_str(), source.as_ref()]);
    let status = command.status().map_err(|error| format!("{}: {error}; `make cuda` brings its own nvcc", nvcc.display()))?;
    if status.success() { Ok(()) } else { Err(format!("nvcc can't compile {source}").into()) }
}
