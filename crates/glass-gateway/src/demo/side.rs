//! Requests without tools: titles, summaries, routing, and people with a bare HTTP client.

use serde_json::{Map, Value, json};

use super::conversation::Conversation;
use super::intent::Intent;
use super::reply::{Outcome, Reply};
use super::script::ABILITIES;
use super::tools::plain;

pub(crate) fn next(conversation: &Conversation) -> Outcome {
    let (prompt, _) = conversation.last();
    if let Some(schema) = &conversation.json {
        return Outcome::Reply(Reply::text(object(schema, &title(&prompt)).to_string()));
    }
    let system = conversation.system.to_lowercase();
    if system.contains("json") {
        let answer = json!({ "title": title(&prompt) });
        return Outcome::Reply(Reply::text(answer.to_string()));
    }
    if system.contains("title")
        || prompt
            .to_lowercase()
            .contains("title for this conversation")
    {
        return Outcome::Reply(Reply::text(title(&prompt)));
    }
    match Intent::of(&prompt, conversation.has_history()) {
        Intent::Probe(probe) => super::script::spoken(&probe),
        Intent::Build(_) | Intent::Change(_) => Outcome::Reply(Reply::text(format!(
            "This request offers no tool that writes files, so I can only talk. {ABILITIES}"
        ))),
        Intent::Unknown | Intent::Talk => Outcome::Reply(Reply::text(ABILITIES)),
    }
}

/// A few words of the prompt, the first letter large.
fn title(prompt: &str) -> String {
    let words: Vec<&str> = prompt
        .split_whitespace()
        .take(6)
        .map(|word| word.trim_matches(['"', '<', '>', '`', '.', ',']))
        .collect();
    let text: String = words.join(" ").chars().take(50).collect();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => "Demo".to_owned(),
    }
}

/// An object that fits a schema's required fields, with the title wherever text is wanted.
fn object(schema: &Value, title: &str) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object);
    let Some(properties) = properties else {
        return json!({ "title": title });
    };
    let filled: Map<String, Value> = properties
        .iter()
        .map(|(name, schema)| {
            let value = match plain(Some(schema)) {
                Value::String(text) if text.is_empty() => json!(title),
                other => other,
            };
            (name.clone(), value)
        })
        .collect();
    Value::Object(filled)
}
