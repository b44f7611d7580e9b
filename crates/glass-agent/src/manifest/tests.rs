use super::*;

const MINIMAL: &str = r#"
id = "mine"
name = "Mine"
homepage = "https://example.org"
protocol = "openai"
default_model = "m-1"
demo_model = "demo"
install = "by hand"
[acp]
argv = ["mine", "--home={home}"]
model = "{model}"
[env]
KEY = "{token}"
CONFIG = { url = "{gateway_url}/v1", models = { "{model}" = {} }, retries = 3 }
"#;

fn context() -> AgentContext {
    AgentContext {
        gateway_url: "http://127.0.0.1:49982".into(),
        token: "t0".into(),
        model: "m-2".into(),
        home: "/home/dev".into(),
        cwd: "/home/dev/workspace".into(),
    }
}

fn error(text: &str) -> String {
    AgentManifest::parse(text, "x/agent.toml", "mine")
        .unwrap_err()
        .to_string()
}

#[test]
fn placeholders_are_filled_in() {
    let manifest = AgentManifest::parse(MINIMAL, "x/agent.toml", "mine").unwrap();
    let command = manifest.command(&context());
    assert_eq!(command.argv, ["mine", "--home=/home/dev"]);
    assert_eq!(command.env["KEY"], "t0");
    let config: serde_json::Value = serde_json::from_str(&command.env["CONFIG"]).unwrap();
    assert_eq!(config["url"], "http://127.0.0.1:49982/v1");
    assert_eq!(config["models"]["m-2"], serde_json::json!({}));
    assert_eq!(config["retries"], 3);
    assert_eq!(command.cwd, "/home/dev/workspace");
}

#[test]
fn an_unknown_placeholder_names_field_and_remedy() {
    let message = error(&MINIMAL.replace("{token}", "{tokn}"));
    assert_eq!(
        message,
        "x/agent.toml: env.KEY is \"{tokn}\"; {tokn} is no placeholder; there are {gateway_url}, {token}, {model}, {home}"
    );
}

#[test]
fn an_unknown_field_is_named() {
    let message = error(&MINIMAL.replace("install =", "instal ="));
    assert!(message.contains("instal"), "{message}");
    assert!(message.contains("compare with"), "{message}");
}

#[test]
fn an_unknown_quirk_is_refused() {
    let message = error(&MINIMAL.replace("[acp]", "quirks = [\"odd\"]\n[acp]"));
    assert!(message.contains("odd"), "{message}");
}

#[test]
fn the_id_is_the_folder() {
    let message = error(&MINIMAL.replace("\"mine\"\nname", "\"other\"\nname"));
    assert!(message.contains("folder's name, mine"), "{message}");
}

#[test]
fn an_empty_command_is_refused() {
    let message = error(&MINIMAL.replace("[\"mine\", \"--home={home}\"]", "[]"));
    assert!(message.contains("acp.argv"), "{message}");
}

#[test]
fn a_model_name_is_checked() {
    let manifest = AgentManifest::parse(MINIMAL, "x/agent.toml", "mine").unwrap();
    assert_eq!(manifest.model(None).unwrap(), "m-1");
    assert_eq!(manifest.model(Some("a/b:c")).unwrap(), "a/b:c");
    for bad in ["", "a b", "a\"b", &"x".repeat(129)] {
        assert!(manifest.model(Some(bad)).is_err(), "{bad}");
    }
}
