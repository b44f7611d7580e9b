//! Builds the two programs that the runtime carries: the guest and the launcher, both static.
//!
//! `GLASSHOUSE_PROGRAMS` names a directory that already has them, for packagers who build them apart.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAMS: [&str; 2] = ["glass-guest", "glass-launch"];
const SOURCES: [&str; 3] = ["glass-guest", "glass-launch", "glass-guest-protocol"];

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let crates = manifest.parent().expect("a crate lies in crates/");
    let root = crates.parent().expect("crates/ lies in the workspace");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    // <target>/<profile>/build/<package>/out: a target directory of its own, because cargo holds the lock of this one.
    let target = out
        .ancestors()
        .nth(4)
        .expect("OUT_DIR is four levels deep")
        .join("guest");
    for source in SOURCES {
        let folder = crates.join(source);
        println!("cargo::rerun-if-changed={}", folder.join("src").display());
        println!(
            "cargo::rerun-if-changed={}",
            folder.join("Cargo.toml").display()
        );
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=GLASSHOUSE_PROGRAMS");
    let ready = env::var_os("GLASSHOUSE_PROGRAMS").map(PathBuf::from);
    for program in PROGRAMS {
        let built = ready.as_ref().map_or_else(
            || {
                build(program, root, &target);
                target.join("guest").join(program)
            },
            |ready| {
                let path = ready.join(program);
                println!("cargo::rerun-if-changed={}", path.display());
                path
            },
        );
        std::fs::copy(&built, out.join(program))
            .unwrap_or_else(|e| panic!("copy {}: {e}", built.display()));
    }
}

fn build(program: &str, root: &Path, target: &Path) {
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    cargo
        .current_dir(root)
        .args(["rustc", "--quiet", "--profile", "guest"])
        .args(["-p", program, "--bin", program])
        .arg("--target-dir")
        .arg(target);
    if root.join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    // Only the last link need know that it is static: the C library's crate picks its archive there.
    cargo.args(["--", "-C", "target-feature=+crt-static"]);
    // What cargo or clippy set for this build would change the other one, or make it build everything again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let ours = text.starts_with("CARGO_")
            && !["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_OFFLINE"].contains(&text.as_ref());
        if ours
            || text.contains("RUSTFLAGS")
            || text.starts_with("CLIPPY")
            || text.contains("RUSTC_W")
        {
            cargo.env_remove(&name);
        }
    }
    let status = cargo
        .status()
        .unwrap_or_else(|e| panic!("run cargo for {program}: {e}"));
    assert!(status.success(), "building {program} failed: {status}");
}
