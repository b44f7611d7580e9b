//! A request in any protocol, as the scripts see it.

use serde_json::Value;

/// What was said and done so far, and what can be done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conversation {
    /// Instructions of the agent.
    pub(crate) system: String,
    /// In order.
    pub(crate) items: Vec<Item>,
    /// What the agent offers.
    pub(crate) tools: Vec<Tool>,
    /// The answer must be JSON; the schema when there is one.
    pub(crate) json: Option<Value>,
}

/// One thing that was said or done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// By the person, or by the agent in the person's name.
    User(String),
    /// By the model.
    Assistant,
    /// The model called a tool.
    Call,
    /// What the tool gave.
    Result(ToolResult),
}

/// What a tool gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToolResult {
    pub(crate) text: String,
    pub(crate) failed: bool,
}

/// A tool that the agent offers.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) name: String,
    /// JSON schema of its input; `None` for a tool that takes plain text.
    pub(crate) schema: Option<Value>,
}

/// Where a sandbox's workspace is when the agent does not say.
const WORKSPACE: &str = "/home/dev/workspace";

impl Conversation {
    /// What the person said last, and the results since.
    pub(crate) fn last(&self) -> (String, Vec<ToolResult>) {
        let mut results = Vec::new();
        for item in self.items.iter().rev() {
            match item {
                Item::User(text) => {
                    let text = spoken(text);
                    if !text.is_empty() {
                        results.reverse();
                        return (text, results);
                    }
                }
                Item::Result(result) => results.push(result.clone()),
                Item::Assistant | Item::Call => {}
            }
        }
        results.reverse();
        (String::new(), results)
    }

    /// The person has asked for something before.
    pub(crate) fn has_history(&self) -> bool {
        let spoken = self
            .items
            .iter()
            .filter(|item| matches!(item, Item::User(text) if !spoken(text).is_empty()));
        spoken.count() > 1
    }

    /// The directory that the agent works in.
    pub(crate) fn workspace(&self) -> String {
        let texts = self.items.iter().filter_map(|item| match item {
            Item::User(text) => Some(text.as_str()),
            Item::Assistant | Item::Call | Item::Result(_) => None,
        });
        std::iter::once(self.system.as_str())
            .chain(texts)
            .find_map(named_directory)
            .unwrap_or_else(|| WORKSPACE.to_owned())
    }
}

/// What agents wrap around the directory, in lower case.
const DIRECTORY_LABELS: [&str; 4] = [
    "working directory:",
    "<cwd>",
    "current directory:",
    "in the directory:",
];

fn named_directory(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        // ASCII folding keeps byte positions.
        let folded = line.to_ascii_lowercase();
        DIRECTORY_LABELS.iter().find_map(|label| {
            let after = &line[folded.find(label)? + label.len()..];
            let path = after
                .trim()
                .trim_start_matches(['`', '"', '\''])
                .split(['<', '`', '"', '\''])
                .next()?
                .trim()
                .trim_end_matches('/');
            (path.starts_with('/') && path.len() < 4096).then(|| path.to_owned())
        })
    })
}

/// Blocks that agents put into the person's mouth.
const BLOCKS: [&str; 8] = [
    "system-reminder",
    "environment_context",
    "session_context",
    "user_instructions",
    "local-command-stdout",
    "command-message",
    "permissions instructions",
    "INSTRUCTIONS",
];

/// Openings of messages that agents write in the person's name.
const PREAMBLES: [&str; 3] = [
    "# AGENTS.md instructions",
    "This is the Gemini CLI",
    "[Request interrupted",
];

/// What the person said, without what the agent added.
pub(crate) fn spoken(text: &str) -> String {
    let mut text = text.to_owned();
    for block in BLOCKS {
        let (open, close) = (format!("<{block}>"), format!("</{block}>"));
        while let Some(start) = text.find(&open) {
            let end = text[start..]
                .find(&close)
                .map_or(text.len(), |at| start + at + close.len());
            text.replace_range(start..end, "");
        }
    }
    let text = text.trim();
    if PREAMBLES.iter().any(|preamble| text.starts_with(preamble)) {
        return String::new();
    }
    text.to_owned()
}

/// The text of a content field: a string, or a list of blocks with texts.
pub(crate) fn flat(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks
                .iter()
                .filter_map(|block| {
                    block
                        .as_str()
                        .or_else(|| block.get("text").and_then(Value::as_str))
                })
                .collect();
            texts.join("\n")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

/// For protocols whose results carry no flag.
pub(crate) fn sounds_failed(text: &str) -> bool {
    let head: String = text.chars().take(400).collect::<String>().to_lowercase();
    [
        "error",
        "failed",
        "apply_patch verification failed",
        "invalid",
    ]
    .iter()
    .any(|word| head.starts_with(word))
        || head.lines().any(|line| {
            ["exit code: ", "exited with code "].iter().any(|label| {
                line.split_once(label)
                    .is_some_and(|(_, code)| !code.trim().starts_with('0'))
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_adds_is_not_what_the_person_said() {
        let text = "<system-reminder>be good</system-reminder>\nmake it dark\n<environment_context>\n<cwd>/w</cwd>";
        assert_eq!(spoken(text), "make it dark");
        assert_eq!(spoken("# AGENTS.md instructions for /w\nuse tabs"), "");
    }

    #[test]
    fn the_directory_is_found_however_it_is_labelled() {
        let directory = |text: &str| named_directory(text);
        assert_eq!(
            directory("- Primary working directory: /a/b"),
            Some("/a/b".into())
        );
        assert_eq!(
            directory("  Working directory: `/a b`"),
            Some("/a b".into())
        );
        assert_eq!(directory("x\n  <cwd>/a</cwd>"), Some("/a".into()));
        assert_eq!(directory("Working directory: somewhere"), None);
    }

    #[test]
    fn a_result_without_a_flag_is_judged_by_its_words() {
        assert!(sounds_failed("Error: no such file"));
        assert!(sounds_failed("Chunk\nProcess exited with code 2\nOutput:"));
        assert!(!sounds_failed("Chunk\nProcess exited with code 0\nOutput:"));
        assert!(!sounds_failed("index.html"));
    }
}
