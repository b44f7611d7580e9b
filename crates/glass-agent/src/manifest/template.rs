//! Values of a manifest with placeholders: `{gateway_url}/v1`.

use super::AgentContext;

/// What may stand in braces.
pub(super) const PLACEHOLDERS: [&str; 4] = ["gateway_url", "token", "model", "home"];

/// The first `{word}` of the text that is no placeholder. Other braces are plain text.
pub(super) fn unknown_placeholder(text: &str) -> Option<&str> {
    words(text).find(|word| !PLACEHOLDERS.contains(word))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('{').filter_map(|(at, _)| {
        let rest = &text[at + 1..];
        let word = &rest[..rest.find('}')?];
        let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_word.then_some(word)
    })
}

/// Fills the placeholders in, each once: what a value contains is never looked at again.
pub(super) fn fill(text: &str, context: &AgentContext) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let value = rest
            .find('}')
            .and_then(|end| Some((end, value_of(&rest[1..end], context)?)));
        if let Some((end, value)) = value {
            out.push_str(value);
            rest = &rest[end + 1..];
        } else {
            out.push('{');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

fn value_of<'a>(word: &str, context: &'a AgentContext) -> Option<&'a str> {
    match word {
        "gateway_url" => Some(&context.gateway_url),
        "token" => Some(&context.token),
        "model" => Some(&context.model),
        "home" => Some(&context.home),
        _ => None,
    }
}

/// Fills a table in, keys and values, and gives it as JSON.
pub(super) fn fill_json(value: &toml::Value, context: &AgentContext) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        toml::Value::String(text) => Json::String(fill(text, context)),
        toml::Value::Integer(number) => Json::from(*number),
        toml::Value::Float(number) => Json::from(*number),
        toml::Value::Boolean(flag) => Json::Bool(*flag),
        toml::Value::Datetime(time) => Json::String(time.to_string()),
        toml::Value::Array(items) => {
            Json::Array(items.iter().map(|item| fill_json(item, context)).collect())
        }
        toml::Value::Table(table) => Json::Object(
            table
                .iter()
                .map(|(key, item)| (fill(key, context), fill_json(item, context)))
                .collect(),
        ),
    }
}

/// Visits every text in a value, keys too.
pub(super) fn texts<'a>(value: &'a toml::Value, visit: &mut dyn FnMut(&'a str)) {
    match value {
        toml::Value::String(text) => visit(text),
        toml::Value::Array(items) => items.iter().for_each(|item| texts(item, visit)),
        toml::Value::Table(table) => {
            for (key, item) in table {
                visit(key);
                texts(item, visit);
            }
        }
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> AgentContext {
        AgentContext {
            gateway_url: "http://gw".into(),
            token: "{model}".into(),
            model: "a\"b".into(),
            home: "/home/dev".into(),
            cwd: "/home/dev/workspace".into(),
        }
    }

    #[test]
    fn a_value_is_not_filled_in_twice() {
        assert_eq!(
            fill("{token} {gateway_url}/v1", &context()),
            "{model} http://gw/v1"
        );
    }

    #[test]
    fn other_braces_stay() {
        assert_eq!(fill("{ {\"a\": {x} {", &context()), "{ {\"a\": {x} {");
    }

    #[test]
    fn json_values_are_quoted() {
        let value: toml::Value = toml::from_str("k = \"{model}\"").unwrap();
        assert_eq!(fill_json(&value, &context()).to_string(), r#"{"k":"a\"b"}"#);
    }

    #[test]
    fn an_unknown_placeholder_is_found() {
        assert_eq!(unknown_placeholder("{token}{tokn}"), Some("tokn"));
        assert_eq!(unknown_placeholder("{\"a\":{token}}"), None);
    }
}
