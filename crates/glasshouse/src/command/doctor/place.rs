//! What is around the runtime: the data directory, the address, the programs that make images, the keys.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use glass_server::Config;

use super::check::{Check, Standing};
use crate::command::image;
use crate::context::Context;
use crate::daemon::Daemon;
use crate::recipe::BASE;

/// Free disk below which the base image does not fit, and below which sandboxes soon will not.
const LITTLE: u64 = 3 << 30;
const ENOUGH: u64 = 10 << 30;

/// Whether the data directory can be written.
pub(super) fn data(context: &Context) -> Check {
    let name = "data directory";
    let shown = context.data().display().to_string();
    match tempfile::tempfile_in(existing(context.data())) {
        Ok(_) => Check::new(name, Standing::Good, shown),
        Err(error) => Check::new(name, Standing::Bad, format!("{shown}: {error}"))
            .with_remedy("run as root, or give another directory with --data or GLASSHOUSE_DATA"),
    }
}

/// How much fits into the data directory.
pub(super) fn disk(context: &Context) -> Check {
    let name = "disk";
    let directory = existing(context.data());
    let free = match rustix::fs::statvfs(&directory) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => return Check::new(name, Standing::Note, format!("unknown: {error}")),
    };
    let standing = match free {
        ..LITTLE => Standing::Bad,
        LITTLE..ENOUGH => Standing::Note,
        _ => Standing::Good,
    };
    Check::new(name, standing, format!("{} free", indicatif::BinaryBytes(free))).with_remedy(format!(
        "free some on the disk of {}, or give a directory on another with --data; remove images with `glasshouse image rm`",
        directory.display()
    ))
}

/// Whether archived files can be written, read and removed.
pub(super) async fn archive(config: &Config) -> Check {
    let name = "archive";
    match config.check_archive().await {
        Ok(place) => Check::new(name, Standing::Good, place),
        Err(reason) => Check::new(name, Standing::Note, reason)
            .with_remedy("mend it, or give another place as `url` of [archive] in glasshouse.toml"),
    }
}

/// The directory, or the nearest one above it that is there.
pub(super) fn existing(directory: &Path) -> PathBuf {
    directory
        .ancestors()
        .find(|path| path.is_dir())
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Whether the address is free, or taken by our own server.
pub(super) fn address(context: &Context, listen: SocketAddr) -> Check {
    let name = "address";
    match TcpListener::bind(listen) {
        Ok(_) => Check::new(name, Standing::Good, format!("{listen} is free")),
        Err(error) => {
            let daemon = Daemon::of(context.data());
            if daemon.runs().unwrap_or(false) {
                let url = daemon.url().unwrap_or_else(|| listen.to_string());
                return Check::new(name, Standing::Good, format!("the server runs at {url}"));
            }
            Check::new(name, Standing::Bad, format!("{listen}: {error}")).with_remedy(format!(
                "stop what listens there (`ss -ltnp 'sport = :{}'` names it), or give another with --listen",
                listen.port()
            ))
        }
    }
}

/// The program that makes the base image, while there is none.
pub(super) fn builder(context: &Context) -> Option<Check> {
    let program = "mmdebstrap";
    let have_image = image::store(context).is_ok_and(|store| store.get(BASE).is_ok());
    if have_image || on_path(program) {
        return None;
    }
    let detail = format!("{program} is not installed, and the base image is not made yet");
    Some(
        Check::new("image builder", Standing::Bad, detail)
            .with_remedy(format!("apt-get install {program}")),
    )
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Whether the base image is there.
pub(super) fn image(context: &Context) -> Check {
    let name = "base image";
    match image::store(context).map(|store| store.get(BASE)) {
        Ok(Ok(image)) => Check::new(
            name,
            Standing::Good,
            format!(
                "{} ({})",
                image.digest.short(),
                indicatif::DecimalBytes(image.size_bytes)
            ),
        ),
        Ok(Err(_)) => Check::new(name, Standing::Note, "not made yet")
            .with_remedy("`glasshouse up` makes it, or `glasshouse image build`"),
        Err(failure) => Check::new(name, Standing::Note, failure.message()),
    }
}

/// Whether models have keys: in this environment, which `up` would hand to the server, or in its configuration file.
pub(super) fn keys(context: &Context) -> Vec<Check> {
    let file = context.data().join("glasshouse.toml");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let providers = [
        ("Anthropic key", "ANTHROPIC_API_KEY", "anthropic"),
        ("OpenAI key", "OPENAI_API_KEY", "openai"),
    ];
    let check = |(name, variable, section)| {
        let in_environment = std::env::var_os(variable).is_some_and(|key| !key.is_empty());
        if in_environment {
            return Check::new(name, Standing::Good, format!("in {variable}"));
        }
        if has_key(&text, section) {
            return Check::new(name, Standing::Good, format!("in {}", file.display()));
        }
        Check::new(name, Standing::Note, "none; the demo model answers instead").with_remedy(format!(
            "set {variable}, or write into {}:\n  [{section}]\n  api_key = \"…\"\nthen `glasshouse down && glasshouse up`",
            file.display()
        ))
    };
    providers.map(check).into()
}

fn has_key(text: &str, section: &str) -> bool {
    text.parse::<toml::Table>()
        .ok()
        .and_then(|table| {
            table
                .get(section)?
                .get("api_key")?
                .as_str()
                .map(str::trim)
                .map(str::to_owned)
        })
        .is_some_and(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_file_is_found() {
        let text = "[anthropic]\napi_key = \"sk\"\n[openai]\napi_key = \" \"\n";
        assert!(has_key(text, "anthropic"));
        assert!(!has_key(text, "openai"));
        assert!(!has_key("not toml [", "anthropic"));
    }

    #[test]
    fn the_nearest_directory_stands_for_one_to_be_made() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(existing(&directory.path().join("a/b/c")), directory.path());
    }
}
