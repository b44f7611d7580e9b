//! The first layer: a Debian system made from its packages.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::build::BuildOptions;
use crate::build::program::{isolated, run};
use crate::cancel::Cancel;
use crate::error::{ImageError, IoContext};

/// Documentation that nobody reads in a sandbox. Licences stay.
const NOT_UNPACKED: [&str; 7] = [
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/bug/*",
];

/// Settings of the host's apt without which the archive may not be reachable.
const APT_SETTINGS: [&str; 5] = [
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::Retries",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
];

/// Makes the system in `tree`, which does not exist yet.
pub(crate) fn make(
    step: &str,
    tree: &Path,
    suite: &str,
    packages: &[String],
    options: &BuildOptions,
    cancel: &Cancel,
    on_line: &dyn Fn(&str),
) -> Result<(), ImageError> {
    let mut command = isolated();
    command.envs(options.env.iter().cloned());
    command.env("TMPDIR", tree.parent().unwrap_or(tree));
    command.args([
        "mmdebstrap",
        "--mode=root",
        "--format=dir",
        "--variant=minbase",
    ]);
    command.args(NOT_UNPACKED.map(|setting| format!("--dpkgopt={setting}")));
    command.args(
        apt_settings()
            .iter()
            .map(|setting| format!("--aptopt={setting}")),
    );
    if !packages.is_empty() {
        command.arg(format!("--include={}", packages.join(",")));
    }
    command.arg(suite).arg(tree).args(sources(suite));
    run(step, command, cancel, on_line)?;
    clean(tree)
}

/// Where the host itself gets Debian of this suite from: a mirror may be all that is reachable. When the host is no
/// Debian, or one of another suite, there is nothing, and mmdebstrap takes Debian's own archive.
fn sources(suite: &str) -> Vec<String> {
    let format = "$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)";
    let listing = output(
        "apt-get",
        &["indextargets", "--format", format, "Created-By: Packages"],
    );
    sources_from(suite, &listing)
}

fn sources_from(suite: &str, listing: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut complete = false;
    for line in listing.lines() {
        let fields: Vec<_> = line.split('|').collect();
        let &["Debian", codename, uri, release, "main"] = fields.as_slice() else {
            continue;
        };
        let of_suite = matches!(
            codename.strip_prefix(suite),
            Some("" | "-updates" | "-security")
        );
        let source = format!("deb {uri} {release} main");
        if of_suite && !found.contains(&source) {
            complete |= codename == suite;
            found.push(source);
        }
    }
    if complete { found } else { Vec::new() }
}

fn apt_settings() -> Vec<String> {
    output(
        "apt-config",
        &["dump", "--no-empty", "--format", "%f \"%v\"%n", "Acquire"],
    )
    .lines()
    .filter(|line| APT_SETTINGS.iter().any(|setting| line.starts_with(setting)))
    .map(str::to_owned)
    .collect()
}

/// What a program prints; nothing when it is not there or fails, as on a host without apt.
fn output(program: &str, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        Ok(_) | Err(_) => String::new(),
    }
}

/// Takes out what belongs to the machine that made the tree.
fn clean(tree: &Path) -> Result<(), ImageError> {
    for dir in [
        "dev",
        "run",
        "tmp",
        "var/log",
        "var/cache/apt",
        "var/lib/apt/lists",
        "var/cache/debconf",
    ] {
        let dir = tree.join(dir);
        for entry in fs::read_dir(&dir).at(&dir)? {
            crate::layer::remove_tree(&entry.at(&dir)?.path())?;
        }
    }
    for file in [
        "etc/apt/apt.conf.d/99mmdebstrap",
        "var/cache/ldconfig/aux-cache",
        "etc/machine-id",
    ] {
        crate::layer::remove_tree(&tree.join(file))?;
    }
    // A sandbox gets its own; they have to be there to be mounted over.
    for file in ["etc/resolv.conf", "etc/hostname", "etc/hosts"] {
        let file = tree.join(file);
        crate::layer::remove_tree(&file)?;
        fs::write(&file, "").at(&file)?;
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .at(&file)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_sources_of_the_suite_are_used() {
        let listing = "Debian|bookworm|http://mirror/debian/|bookworm|main\n\
                       Debian|bookworm|http://mirror/debian/|bookworm|contrib\n\
                       Debian|bookworm-security|http://mirror/security/|bookworm-security|main\n\
                       Debian|bookworm-backports|http://mirror/debian/|bookworm-backports|main\n\
                       Other|bookworm|http://other/|bookworm|main\n";
        assert_eq!(
            sources_from("bookworm", listing),
            [
                "deb http://mirror/debian/ bookworm main",
                "deb http://mirror/security/ bookworm-security main"
            ]
        );
    }

    #[test]
    fn a_host_of_another_suite_gives_none() {
        let listing =
            "Debian|trixie|http://mirror/debian/|trixie|main\nUbuntu|noble|http://u/|noble|main\n";
        assert!(sources_from("bookworm", listing).is_empty());
        assert!(sources_from("bookworm", "").is_empty());
    }
}
