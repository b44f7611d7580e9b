//! Agents that do as the prompt says, without any model.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const SCRIPT: &str = include_str!("agent.sh");

/// Writes the manifests of `scripted`, which works, and `absent`, whose program is nowhere.
pub(crate) fn install(agents: &Path) {
    let program = agents.join("scripted/agent.sh");
    manifest(agents, "scripted", &program.display().to_string());
    manifest(agents, "absent", "/nowhere/agent");
    std::fs::write(&program, SCRIPT).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn manifest(agents: &Path, id: &str, program: &str) {
    let folder = agents.join(id);
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!(
        r#"id = "{id}"
name = "Agent {id}"
homepage = "http://localhost/"
protocol = "anthropic"
default_model = "some-model"
demo_model = "demo"
install = "put it there"

[acp]
argv = ["{program}"]
model = "{{model}}"
"#
    );
    std::fs::write(folder.join("agent.toml"), text).unwrap();
}
