use serde_json::{Value, json};

use super::conversation::{Conversation, Item, Tool, ToolResult};
use super::reply::{Call, Input, Outcome};
use super::script;

/// Every tool that agents are known to offer, in each agent's own words.
fn known_tools() -> Vec<Tool> {
    let string = || json!({"type": "string"});
    let tool = |name: &str, properties: Value, required: Value| Tool {
        name: name.into(),
        schema: Some(json!({"type": "object", "properties": properties, "required": required})),
    };
    vec![
        tool(
            "Write",
            json!({"file_path": string(), "content": string()}),
            json!(["file_path", "content"]),
        ),
        tool(
            "edit",
            json!({"filePath": string(), "oldString": string(), "newString": string(), "replaceAll": {"type": "boolean"}}),
            json!(["filePath", "oldString", "newString"]),
        ),
        tool(
            "read_file",
            json!({"absolute_path": string()}),
            json!(["absolute_path"]),
        ),
        tool(
            "shell",
            json!({"command": {"type": "array", "items": string()}}),
            json!(["command"]),
        ),
        tool(
            "TodoWrite",
            json!({"todos": {"type": "array", "items": {"type": "object",
                "properties": {"content": string(), "status": string(), "activeForm": string()},
                "required": ["content", "status", "activeForm"]}}}),
            json!(["todos"]),
        ),
        Tool {
            name: "apply_patch".into(),
            schema: None,
        },
    ]
}

const PROMPTS: [&str; 12] = [
    "create a todo app",
    "create a counter with a clear button",
    "build something unheard of",
    "make the title blue",
    "make the title blue and the background black",
    "change the title to X",
    "add a clear button",
    "make it dark and the font bigger",
    "sleep 1",
    "run `ls`",
    "hello",
    "",
];

/// What the tools of an agent give, in turns.
const RESULTS: [(&str, bool); 6] = [
    ("ok", false),
    ("File has not been read yet. Read it first.", true),
    ("     1→<head></head><h1>x</h1>\n", false),
    ("no such file", true),
    ("", false),
    ("1: h1 {\n2:   color: red;\n3: }\n", false),
];

/// Plays a prompt against tools that answer with the results from `seed` on; the number of calls made.
fn play(prompt: &str, tools: &[Tool], seed: usize, stride: usize) -> usize {
    let mut conversation = Conversation {
        tools: tools.to_vec(),
        items: vec![Item::User(prompt.into())],
        ..Conversation::default()
    };
    for calls in 0..100 {
        let Outcome::Reply(reply) = script::next(&conversation) else {
            return calls;
        };
        let Some(call) = reply.call else {
            assert!(
                reply.text.to_lowercase().contains("demo"),
                "{prompt}: {}",
                reply.text
            );
            return calls;
        };
        fits(&call, tools);
        let (text, failed) = RESULTS[(seed + calls * stride) % RESULTS.len()];
        conversation.items.push(Item::Call);
        conversation.items.push(Item::Result(ToolResult {
            text: text.into(),
            failed,
        }));
    }
    panic!("{prompt:?} does not end");
}

/// The call is to an offered tool and gives what its schema requires.
fn fits(call: &Call, tools: &[Tool]) {
    let tool = tools.iter().find(|tool| tool.name == call.tool).unwrap();
    match (&call.input, &tool.schema) {
        (Input::Text(_), None) => {}
        (Input::Json(input), Some(schema)) => {
            for name in schema["required"].as_array().unwrap() {
                assert!(input.get(name.as_str().unwrap()).is_some(), "{call:?}");
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_script_ends_whatever_the_tools_are_and_say() {
    let known = known_tools();
    for subset in 0..1_usize << known.len() {
        let tools: Vec<Tool> = known
            .iter()
            .enumerate()
            .filter(|(index, _)| subset >> index & 1 == 1)
            .map(|(_, tool)| tool.clone())
            .collect();
        for prompt in PROMPTS {
            for seed in 0..RESULTS.len() {
                for stride in 0..3 {
                    let calls = play(prompt, &tools, seed, stride);
                    assert!(calls <= 30, "{prompt}: {calls} calls");
                }
            }
        }
    }
}

#[test]
fn without_tools_there_are_no_calls() {
    for prompt in PROMPTS {
        assert_eq!(play(prompt, &[], 0, 1), 0);
    }
}

#[test]
fn a_title_is_short_and_json_is_json() {
    let mut conversation = Conversation {
        system: "Generate a title for this conversation".into(),
        items: vec![Item::User(
            "create a todo app for me and my friends please".into(),
        )],
        ..Conversation::default()
    };
    let said = |conversation: &Conversation| match script::next(conversation) {
        Outcome::Reply(reply) => reply.text,
        Outcome::Refusal(status) => panic!("{status}"),
    };
    assert_eq!(said(&conversation), "Create a todo app for me");
    conversation.json =
        Some(json!({"properties": {"title": {"type": "string"}, "new": {"type": "boolean"}}}));
    let value: Value = serde_json::from_str(&said(&conversation)).unwrap();
    assert_eq!(
        value,
        json!({"title": "Create a todo app for me", "new": false})
    );
}

/// A file system behind the tools: what the scripts write is what they meant.
#[test]
fn an_app_is_written_and_then_changed() {
    let tools = known_tools();
    let mut files = std::collections::HashMap::<String, String>::new();
    for prompt in [
        "create a todo app",
        "make the title blue and the buttons yellow",
        "add a clear button",
        "change the title to Tom & Ann",
        "make the font bigger",
    ] {
        let mut conversation = Conversation {
            system: "Working directory: /w".into(),
            tools: tools.clone(),
            items: vec![Item::User(prompt.into())],
            ..Conversation::default()
        };
        loop {
            let Outcome::Reply(reply) = script::next(&conversation) else {
                panic!("refused");
            };
            let Some(call) = reply.call else { break };
            let Input::Json(input) = &call.input else {
                panic!("{call:?}");
            };
            let result = tool(&mut files, &call.tool, input);
            conversation.items.push(Item::Result(result));
        }
    }
    let css = &files["/w/style.css"];
    assert_eq!(super::edit::property(css, "h1", "color"), Some("blue"));
    assert_eq!(
        super::edit::property(css, ":root", "--accent"),
        Some("yellow")
    );
    assert_eq!(
        super::edit::property(css, ":root", "--on-accent"),
        Some("#111")
    );
    assert_eq!(
        super::edit::property(css, ":root", "font-size"),
        Some("125%")
    );
    let html = &files["/w/index.html"];
    assert!(html.contains("<h1>Tom &amp; Ann</h1>"));
    assert!(html.contains("<title>Tom &amp; Ann</title>"));
    assert_eq!(html.matches("id=\"clear\"").count(), 1);
    assert!(files["/w/app.js"].contains("querySelector('#clear')"));
}

fn tool(
    files: &mut std::collections::HashMap<String, String>,
    name: &str,
    input: &Value,
) -> ToolResult {
    let text = |key: &str| input[key].as_str().unwrap().to_owned();
    let result = match name {
        "Write" => {
            files.insert(text("file_path"), text("content"));
            "written".to_owned()
        }
        "edit" => {
            let file = files.get_mut(&text("filePath")).unwrap();
            let old = text("oldString");
            assert_eq!(file.matches(&old).count(), 1, "{old}");
            *file = file.replace(&old, &text("newString"));
            "edited".to_owned()
        }
        "read_file" => files[&text("absolute_path")]
            .lines()
            .enumerate()
            .map(|(index, line)| format!("{:6}→{line}\n", index + 1))
            .collect(),
        _ => String::new(),
    };
    ToolResult {
        text: result,
        failed: false,
    }
}

#[test]
fn clear_buttons_fit_all_apps_that_have_something_to_clear() {
    for app in ["todo list", "counter", "notes app"] {
        let prompt = format!("create a {app} with a clear button");
        let super::intent::Intent::Build(order) = super::intent::Intent::of(&prompt, false) else {
            panic!("{prompt}");
        };
        let files = super::apps::files(&order);
        assert!(files.html.contains("id=\"clear\""), "{app}");
        assert!(files.js.contains("#clear"), "{app}");
        assert!(!files.html.contains("{{"), "{app}");
    }
}

#[test]
fn a_prompt_after_a_failed_one_is_heard_alone() {
    let request = json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": "<system-reminder>be good</system-reminder>"},
        {"type": "text", "text": "error 401"},
        {"type": "text", "text": "error 429"},
        {"type": "text", "text": "<system-reminder>be brief</system-reminder>"},
    ]}]});
    let conversation = super::wire::anthropic::parse(&request).unwrap();
    assert_eq!(conversation.last().0, "error 429");
}
