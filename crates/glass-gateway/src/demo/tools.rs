//! The agent's tools, whatever it calls them: found by name, filled by their own schema.

use serde_json::{Map, Value, json};

use super::conversation::Tool;
use super::reply::{Call, Input};

/// What tools are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ability {
    Write,
    Edit,
    Read,
    Shell,
    Plan,
    Patch,
}

impl Ability {
    /// Names without separators, in lower case.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Write => &["write", "writefile", "createfile", "filewrite"],
            Self::Edit => &["edit", "replace", "editfile", "strreplace", "searchreplace"],
            Self::Read => &["read", "readfile", "viewfile", "view"],
            Self::Shell => &[
                "bash",
                "shell",
                "execcommand",
                "shellcommand",
                "runshellcommand",
                "runcommand",
                "localshell",
                "terminal",
            ],
            Self::Plan => &["todowrite", "updateplan", "writetodos"],
            Self::Patch => &["applypatch"],
        }
    }
}

/// One line of a plan.
#[derive(Debug, Clone)]
pub(crate) struct PlanLine {
    pub(crate) content: String,
    pub(crate) status: &'static str,
}

/// The tools of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tools<'a>(pub(crate) &'a [Tool]);

const PATHS: &[&str] = &[
    "file_path",
    "filePath",
    "path",
    "absolute_path",
    "filename",
    "file",
];
const CONTENTS: &[&str] = &["content", "contents", "file_text", "text"];
const OLD: &[&str] = &["old_string", "oldString", "old_str", "old_text"];
const NEW: &[&str] = &["new_string", "newString", "new_str", "new_text"];
const COMMANDS: &[&str] = &["command", "cmd", "script"];
const PLANS: &[&str] = &["todos", "plan", "items"];
const PATCHES: &[&str] = &["patchText", "patch", "input"];

impl<'a> Tools<'a> {
    /// No tool at all that can change anything.
    pub(crate) fn is_useless(self) -> bool {
        [Ability::Write, Ability::Shell, Ability::Patch]
            .into_iter()
            .all(|ability| self.find(ability).is_none())
    }

    pub(crate) fn has(self, ability: Ability) -> bool {
        self.find(ability).is_some()
    }

    fn find(self, ability: Ability) -> Option<&'a Tool> {
        self.0.iter().find(|tool| {
            let name = tool.name.rsplit("__").next().unwrap_or(&tool.name);
            let name: String = name
                .chars()
                .filter(|letter| letter.is_ascii_alphanumeric())
                .collect::<String>()
                .to_ascii_lowercase();
            ability.names().contains(&name.as_str()) && usable(ability, tool)
        })
    }

    pub(crate) fn write(self, path: &str, content: &str) -> Option<Call> {
        let tool = self.find(Ability::Write)?;
        filled(tool, &[(PATHS, json!(path)), (CONTENTS, json!(content))])
    }

    pub(crate) fn edit(self, path: &str, old: &str, new: &str) -> Option<Call> {
        let tool = self.find(Ability::Edit)?;
        filled(
            tool,
            &[(PATHS, json!(path)), (OLD, json!(old)), (NEW, json!(new))],
        )
    }

    pub(crate) fn read(self, path: &str) -> Option<Call> {
        filled(self.find(Ability::Read)?, &[(PATHS, json!(path))])
    }

    pub(crate) fn shell(self, command: &str, description: &str) -> Option<Call> {
        let tool = self.find(Ability::Shell)?;
        let key = key(tool, COMMANDS)?;
        let words = tool
            .schema
            .as_ref()
            .and_then(|schema| schema.pointer(&format!("/properties/{key}/type")))
            .is_some_and(|kind| kind == "array");
        let command = if words {
            json!(["bash", "-lc", command])
        } else {
            json!(command)
        };
        filled(
            tool,
            &[(COMMANDS, command), (&["description"], json!(description))],
        )
    }

    pub(crate) fn plan(self, lines: &[PlanLine]) -> Option<Call> {
        let tool = self.find(Ability::Plan)?;
        let key = key(tool, PLANS)?;
        let schema = tool.schema.as_ref()?;
        let item = schema
            .pointer(&format!("/properties/{key}/items"))
            .cloned()
            .unwrap_or(Value::Null);
        let entries: Vec<Value> = lines
            .iter()
            .enumerate()
            .map(|(index, line)| plan_entry(&item, index, line))
            .collect();
        filled(tool, &[(PLANS, json!(entries))])
    }

    /// `body`: the lines between `*** Begin Patch` and `*** End Patch`.
    pub(crate) fn patch(self, body: &str) -> Option<Call> {
        let tool = self.find(Ability::Patch)?;
        let text = format!("*** Begin Patch\n{body}*** End Patch\n");
        if tool.schema.is_none() {
            return Some(Call {
                tool: tool.name.clone(),
                input: Input::Text(text),
            });
        }
        filled(tool, &[(PATCHES, json!(text))])
    }
}

/// A tool whose schema lacks what we would fill in is some other tool.
fn usable(ability: Ability, tool: &Tool) -> bool {
    let needs: &[&[&str]] = match ability {
        Ability::Write => &[PATHS, CONTENTS],
        Ability::Edit => &[PATHS, OLD, NEW],
        Ability::Read => &[PATHS],
        Ability::Shell => &[COMMANDS],
        Ability::Plan => &[PLANS],
        Ability::Patch if tool.schema.is_none() => return true,
        Ability::Patch => &[PATCHES],
    };
    needs.iter().all(|names| key(tool, names).is_some())
}

/// The first of `names` that the tool's schema knows.
fn key<'n>(tool: &Tool, names: &[&'n str]) -> Option<&'n str> {
    let properties = tool.schema.as_ref()?.get("properties")?.as_object()?;
    names
        .iter()
        .copied()
        .find(|name| properties.contains_key(*name))
}

/// A call with these values; whatever else the schema requires gets the plainest value of its type.
fn filled(tool: &Tool, values: &[(&[&str], Value)]) -> Option<Call> {
    let schema = tool.schema.as_ref()?;
    let mut input = Map::new();
    for (names, value) in values {
        if let Some(key) = key(tool, names) {
            input.insert(key.to_owned(), value.clone());
        }
    }
    for name in required(schema) {
        if !input.contains_key(name) {
            let value = plain(schema.pointer(&format!("/properties/{name}")));
            input.insert(name.to_owned(), value);
        }
    }
    Some(Call {
        tool: tool.name.clone(),
        input: Input::Json(Value::Object(input)),
    })
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// The plainest value that a schema allows.
pub(crate) fn plain(schema: Option<&Value>) -> Value {
    let Some(schema) = schema else {
        return json!("");
    };
    if let Some(first) = schema.pointer("/enum/0") {
        return first.clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => json!(false),
        Some("integer" | "number") => json!(0),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!(""),
    }
}

fn plan_entry(item: &Value, index: usize, line: &PlanLine) -> Value {
    let known = item.get("properties").and_then(Value::as_object);
    let mut entry = Map::new();
    let candidates = [
        ("content", json!(line.content)),
        ("step", json!(line.content)),
        ("description", json!(line.content)),
        ("activeForm", json!(line.content)),
        ("status", json!(line.status)),
        ("priority", json!("medium")),
        ("id", json!((index + 1).to_string())),
    ];
    for (name, value) in candidates {
        if known.is_some_and(|known| known.contains_key(name)) {
            entry.insert(name.to_owned(), value);
        }
    }
    for name in required(item) {
        if !entry.contains_key(name) {
            entry.insert(
                name.to_owned(),
                plain(item.pointer(&format!("/properties/{name}"))),
            );
        }
    }
    Value::Object(entry)
}
