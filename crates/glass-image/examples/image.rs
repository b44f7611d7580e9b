//! The image store from the command line, for work on the store itself:
//! `cargo run -p glass-image --example image -- --store /var/lib/glasshouse/images ls`
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program"
)]

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use glass_image::{BuildOptions, Event, Image, ImageStore, PullOptions};

#[derive(Parser)]
struct Arguments {
    /// Directory of the store.
    #[arg(long, global = true, default_value = "/var/lib/glasshouse/images")]
    store: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an image from a recipe.
    Build {
        recipe: PathBuf,
        /// Make every layer anew.
        #[arg(long)]
        refresh: bool,
    },
    /// Fetch an image from a registry.
    Pull { reference: String },
    /// Take in an archive of an image or of a root file system.
    Import { archive: PathBuf, name: String },
    /// List images.
    Ls,
    /// Remove an image.
    Rm { name: String },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let store = ImageStore::open(&arguments.store)?;
    let progress = Arc::new(|event: Event<'_>| match event {
        Event::Started { step, .. } => eprintln!("==> {step}"),
        Event::Line { line, .. } => eprintln!("    {line}"),
        Event::Finished { step, cached: true } => eprintln!("<== {step} (up to date)"),
        Event::Finished {
            step,
            cached: false,
        } => eprintln!("<== {step}"),
        Event::Bytes { .. } => {}
    });
    match arguments.command {
        Command::Build { recipe, refresh } => {
            let mut options = BuildOptions::from_environment(std::env::vars());
            options.refresh = refresh;
            print(&store.build(&recipe, options, progress).await?);
        }
        Command::Import { archive, name } => print(&store.import(&archive, &name, progress).await?),
        Command::Pull { reference } => print(
            &store
                .pull(&reference, PullOptions::default(), progress)
                .await?,
        ),
        Command::Ls => store.list()?.iter().for_each(print),
        Command::Rm { name } => println!("{:?}", store.remove(&name, &|_| Vec::new())?),
    }
    Ok(())
}

fn print(image: &Image) {
    println!(
        "{}  {}  {} MB",
        image.name,
        image.digest.short(),
        image.size_bytes / 1_000_000
    );
    for layer in &image.layers {
        println!("    {}", layer.display());
    }
}
