//! Who may depend on whom. Arrows point at plainer crates; siblings meet through traits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What each crate may name of ours, apart from what only its tests use. A new arrow is a decision: think, then add it.
const ARROWS: &[(&str, &[&str])] = &[
    ("glass-agent", &["glass-types"]),
    ("glass-api", &["glass-types"]),
    ("glass-archive", &["glass-launch", "glass-types"]),
    ("glass-edge", &["glass-types"]),
    ("glass-gateway", &["glass-types"]),
    ("glass-guest", &["glass-guest-protocol"]),
    ("glass-guest-protocol", &[]),
    ("glass-image", &[]),
    ("glass-launch", &[]),
    (
        "glass-runtime",
        &["glass-types", "glass-guest-protocol", "glass-launch"],
    ),
    (
        "glass-server",
        &[
            "glass-agent",
            "glass-api",
            "glass-archive",
            "glass-edge",
            "glass-gateway",
            "glass-guest-protocol",
            "glass-image",
            "glass-runtime",
            "glass-store",
            "glass-types",
        ],
    ),
    ("glass-store", &["glass-types"]),
    ("glass-testing", &[]),
    ("glass-types", &[]),
    (
        "glasshouse",
        &[
            "glass-api",
            "glass-archive",
            "glass-image",
            "glass-runtime",
            "glass-server",
        ],
    ),
];

/// Outside libraries that one crate alone may name.
const DOORS: &[(&str, &[&str])] = &[
    ("bollard", &["glass-runtime"]),
    ("hmac", &["glass-server"]),
    ("object_store", &["glass-archive"]),
    ("rustic_core", &["glass-archive"]),
    ("sea-orm", &["glass-store"]),
    ("sea-orm-migration", &["glass-store"]),
    ("tar", &["glass-guest", "glass-image", "glasshouse"]),
    ("zip", &["glass-guest"]),
];

/// The names each crate depends on, tests left out.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(root)
        .output()
        .expect("cargo runs this test, so it can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"]
        .as_array()
        .expect("packages are a list")
        .iter();
    packages
        .map(|package| {
            let all = package["dependencies"].as_array().into_iter().flatten();
            let real = all.filter(|dependency| dependency["kind"].as_str() != Some("dev"));
            (
                text(&package["name"]),
                real.map(|dependency| text(&dependency["name"])).collect(),
            )
        })
        .collect()
}

#[test]
fn arrows_point_at_plainer_crates() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let ours: BTreeSet<&str> = allowed.keys().copied().collect();
    for (name, dependencies) in dependencies() {
        let allowed = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} is not in the table of arrows"));
        for dependency in dependencies
            .iter()
            .filter(|dependency| ours.contains(dependency.as_str()))
        {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn some_libraries_have_one_door() {
    for (name, dependencies) in dependencies() {
        for (library, doors) in DOORS {
            assert!(
                !dependencies.contains(*library) || doors.contains(&name.as_str()),
                "only {doors:?} may name {library}, not {name}"
            );
        }
    }
}
