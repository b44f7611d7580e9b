//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod keep;
mod rest;

pub(crate) use keep::{
    ForkArguments, SaveArguments, SnapshotCommand, TakeArguments, TemplateCommand,
};
pub(crate) use rest::{KeepaliveArguments, PolicyArguments, SetArguments, SettingsArguments};

/// Describe an app; watch a coding agent build it in a sandbox of its own; use it at its own URL.
#[derive(Debug, Parser)]
#[command(
    name = "glasshouse",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = "Begin with `glasshouse up`, then `glasshouse new \"create a todo app\"`.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Keeps them from standing among the options of a command.
const EVERYWHERE: &str = "Options of every command";

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print JSON: the API's answer, or one object a line for streams
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// The server to talk to [default: the one of the data directory, else port 8080 of this machine]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "GLASSHOUSE_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The data directory [default: /var/lib/glasshouse for root, else ~/.local/share/glasshouse]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "GLASSHOUSE_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The API token [default: from the file `token` of the data directory]
    #[arg(
        long,
        global = true,
        help_heading = EVERYWHERE,
        env = "GLASSHOUSE_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Set everything up and start the server in the background
    Up(UpArguments),
    /// Stop the server; sandboxes go on
    Down,
    /// Run the server in the foreground
    Serve(ServeArguments),
    /// Make a sandbox and have an agent build something in it
    New(NewArguments),
    /// Ask the agent of a sandbox for more
    Ask(AskArguments),
    /// List sandboxes
    Ps(PsArguments),
    /// Run a command in a sandbox
    Exec(ExecArguments),
    /// Open a terminal in a sandbox
    Shell(ShellArguments),
    /// Print what the app in a sandbox printed
    Logs(LogsArguments),
    /// Copy files into a sandbox or out of it
    Cp(CpArguments),
    /// Pack the files of a sandbox into an archive here
    Export(ExportArguments),
    /// Unpack an archive into a sandbox, all of it or nothing
    Import(ImportArguments),
    /// Print the URL of a sandbox's app and open it in a browser
    Open(OpenArguments),
    /// Make a link that opens a private preview to whoever has it
    Link(LinkArguments),
    /// Stop sandboxes; their files stay
    Stop(Sandboxes),
    /// Start stopped sandboxes
    Start(Sandboxes),
    /// Take the CPU from sandboxes; their next use gives it back
    Freeze(Sandboxes),
    /// Keep a sandbox from resting for a while
    Keepalive(KeepaliveArguments),
    /// Change when a sandbox rests, who sees it, and its labels
    Set(SetArguments),
    /// Show what sandboxes use, who uses them, and what becomes of them next
    Stats(Sandboxes),
    /// Show or change the settings of the server
    Settings(SettingsArguments),
    /// Remove sandboxes and their files
    Rm(RmArguments),
    /// Make a new sandbox with the files that another has now
    Fork(ForkArguments),
    /// Keep the files of a sandbox, and go back to them
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Make, list and remove the templates that sandboxes start from
    #[command(subcommand)]
    Template(TemplateCommand),
    /// Make, fetch, list and remove the images that sandboxes start from
    #[command(subcommand)]
    Image(ImageCommand),
    /// List the agents and their models
    Agents,
    /// Check this machine and say what to fix
    Doctor(ServeArguments),
    /// Print the versions of this program and of the server
    Version,
    /// What the server starts for itself
    #[command(subcommand, hide = true)]
    Internal(InternalCommand),
    /// Print the completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum InternalCommand {
    /// Archive files, or fetch archived ones: an order from standard input
    Archive,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArguments {
    /// Address to listen on; may be given several times, port 0 picks a free one
    #[arg(
        long,
        env = "GLASSHOUSE_LISTEN",
        value_delimiter = ',',
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    pub(crate) listen: Vec<std::net::SocketAddr>,
    /// Where sandboxes live: `native` isolates them by this kernel, `docker` has a Docker daemon do it, `sim` does not
    /// and needs no root; `auto` is what glasshouse.toml says, else native where that is possible, else docker
    #[arg(
        long,
        env = "GLASSHOUSE_RUNTIME",
        value_enum,
        default_value_t,
        value_name = "RUNTIME"
    )]
    pub(crate) runtime: RuntimeArgument,
    /// Domain below which previews are served
    #[arg(
        long,
        env = "GLASSHOUSE_PREVIEW_DOMAIN",
        default_value = "preview.localhost",
        value_name = "DOMAIN"
    )]
    pub(crate) preview_domain: String,
    /// Directory with more agent manifests, as <id>/agent.toml
    #[arg(long, env = "GLASSHOUSE_AGENTS", value_name = "DIR")]
    pub(crate) agents: Option<PathBuf>,
    /// Leave the session of whoever started it; what `up` uses
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RuntimeArgument {
    #[default]
    Auto,
    Native,
    Docker,
    Sim,
}

impl RuntimeArgument {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Docker => "docker",
            Self::Sim => "sim",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Stay in the foreground and log to the terminal
    #[arg(long)]
    pub(crate) foreground: bool,
    #[command(flatten)]
    pub(crate) serve: ServeArguments,
}

#[derive(Debug, Args)]
pub(crate) struct Work {
    /// The agent that works on it [default: the sandbox's last one, else the server's default]
    #[arg(long, value_name = "ID")]
    pub(crate) agent: Option<String>,
    /// The model it uses [default: the agent's]
    #[arg(long, value_name = "ID")]
    pub(crate) model: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct NewArguments {
    /// What to build; `-` reads it from standard input; without it there is a sandbox and no agent at work
    pub(crate) prompt: Option<String>,
    #[command(flatten)]
    pub(crate) work: Work,
    /// The image to start from
    #[arg(long, value_name = "NAME", conflicts_with_all = ["template", "snapshot"])]
    pub(crate) image: Option<String>,
    /// The template to start from
    #[arg(long, short, value_name = "NAME", conflicts_with = "snapshot")]
    pub(crate) template: Option<String>,
    /// The snapshot to start from
    #[arg(long, value_name = "ID")]
    pub(crate) snapshot: Option<String>,
    /// Environment of every process in the sandbox
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// Label to find the sandbox by
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) label: Vec<(String, String)>,
    /// What becomes of files outside of its home: throw-away, or writable, where sudo works
    #[arg(long, value_name = "MODE")]
    pub(crate) root: Option<String>,
    /// What stands between it and the host's kernel: container, gvisor or microvm
    #[arg(long, value_name = "TIER")]
    pub(crate) isolation: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AskArguments {
    /// The sandbox: its id, the beginning of its id, or @last
    pub(crate) sandbox: String,
    /// What to do; `-` reads it from standard input
    pub(crate) prompt: String,
    #[command(flatten)]
    pub(crate) work: Work,
}

#[derive(Debug, Args)]
pub(crate) struct PsArguments {
    /// Only sandboxes with this label
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Print ids alone
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArguments {
    /// The sandbox: its id, the beginning of its id, or @last
    pub(crate) sandbox: String,
    /// Working directory [default: the workspace]
    #[arg(long, short = 'w', value_name = "DIR")]
    pub(crate) cwd: Option<String>,
    /// Added to the sandbox's environment
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// Who it runs as: dev, or root in a sandbox whose root is writable
    #[arg(long, short, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Seconds after which it is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    /// Leave standard input alone even when it is a pipe or a file
    #[arg(long, short = 'n')]
    pub(crate) no_stdin: bool,
    /// The program and its arguments; a single word with spaces in it goes to the sandbox's shell
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ShellArguments {
    /// The sandbox: its id, the beginning of its id, or @last
    pub(crate) sandbox: String,
    /// What to run instead of the login shell
    pub(crate) command: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// The sandbox: its id, the beginning of its id, or @last
    pub(crate) sandbox: String,
    /// Go on as new lines come
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only this process: `web`, `build`, `install` or the name of a worker
    #[arg(long, short, value_name = "NAME")]
    pub(crate) process: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  glasshouse cp ./site @last:.\n  glasshouse cp @last:data.db backup.db"
)]
pub(crate) struct CpArguments {
    /// A path here, or <sandbox>:<path> (relative to the workspace)
    pub(crate) source: String,
    /// A path here, or <sandbox>:<path> (relative to the workspace)
    pub(crate) target: String,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The sandbox: its id, the beginning of its id, or @last
    pub(crate) sandbox: String,
    /// The file to write, as .tar.gz, .tgz or .zip; `-` is standard output [default: <sandbox>.tar.gz]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The directory to pack
    #[arg(
        long,
        short,
        value_name = "DIR",
        default_value = ".",
        hide_default_value = true
    )]
    pub(crate) path: String,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// The sandbox: its id, the beginning of its id, or @last
    pub(crate) sandbox: String,
    /// The archive: .tar.gz, .tgz or .zip; `-` is a tar.gz from standard input
    pub(crate) file: PathBuf,
    /// The directory to unpack into
    #[arg(
        long,
        short,
        value_name = "DIR",
        default_value = ".",
        hide_default_value = true
    )]
    pub(crate) path: String,
}

#[derive(Debug, Args)]
pub(crate) struct OpenArguments {
    /// The sandbox: its id, the beginning of its id, or @last
    pub(crate) sandbox: String,
    /// Another port than the app's
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Print the URL only
    #[arg(long)]
    pub(crate) print: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LinkArguments {
    /// The sandbox: its id, the beginning of its id, or @last
    pub(crate) sandbox: String,
    /// The one port that it opens [default: all]
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// How long it is good: 90s, 15m, 12h or 7d [default: 1d]
    #[arg(long, value_name = "DURATION", value_parser = keep::duration)]
    pub(crate) expires: Option<std::time::Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Sandboxes {
    /// Sandboxes: ids, beginnings of ids, or @last
    #[arg(required = true, value_name = "SANDBOX")]
    pub(crate) sandboxes: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RmArguments {
    /// Sandboxes: ids, beginnings of ids, or @last
    #[arg(required_unless_present = "all", value_name = "SANDBOX")]
    pub(crate) sandboxes: Vec<String>,
    /// Do not ask, and do not mind one that is not there
    #[arg(long, short)]
    pub(crate) force: bool,
    /// All sandboxes
    #[arg(long, conflicts_with = "sandboxes")]
    pub(crate) all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Make an image from a recipe; without one, the built-in recipe of `base`
    Build {
        /// Directory with a recipe.toml
        recipe: Option<PathBuf>,
    },
    /// Fetch an image from a registry
    Pull {
        /// `name`, `name:tag` or `host/name:tag`
        reference: String,
        /// Who asks, for registries that want to know
        #[arg(long, env = "GLASSHOUSE_REGISTRY_USERNAME", value_name = "NAME")]
        username: Option<String>,
        /// Their password or token; better given by the environment, where other users do not see it
        #[arg(
            long,
            env = "GLASSHOUSE_REGISTRY_PASSWORD",
            value_name = "PASSWORD",
            hide_env_values = true,
            requires = "username"
        )]
        password: Option<String>,
    },
    /// Take an image from an OCI archive, a `docker save` archive or a tar of a root file system
    Import {
        /// The archive
        archive: PathBuf,
        /// What to call it [default: the archive's file name]
        #[arg(long)]
        name: Option<String>,
    },
    /// List images
    Ls,
    /// Remove images
    Rm {
        /// Names of images
        #[arg(required = true)]
        names: Vec<String>,
        /// Do not ask the server whether a sandbox needs them
        #[arg(long, short)]
        force: bool,
    },
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["glasshouse"], line].concat())
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        let cli = parse(&["exec", "abc", "ls", "-la", "--json"]).unwrap();
        let Command::Exec(arguments) = cli.command else {
            panic!("not exec")
        };
        assert_eq!(arguments.command, ["ls", "-la", "--json"]);
        assert!(!cli.global.json);
    }

    #[test]
    fn two_dashes_before_a_command_are_ours() {
        let cli = parse(&["exec", "--json", "abc", "--", "grep", "--", "x"]).unwrap();
        let Command::Exec(arguments) = cli.command else {
            panic!("not exec")
        };
        assert_eq!(arguments.command, ["grep", "--", "x"]);
        assert!(cli.global.json);
    }

    #[test]
    fn a_value_may_hold_an_equals_sign() {
        assert_eq!(pair("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(pair("A").is_err());
        assert!(pair("=b").is_err());
    }

    #[test]
    fn rm_needs_to_know_which() {
        assert!(parse(&["rm"]).is_err());
        assert!(parse(&["rm", "--all"]).is_ok());
        assert!(parse(&["rm", "--all", "abc"]).is_err());
    }
}
