//! How people name a sandbox: its id, a beginning of it that only one has, or `@last` for the newest.

use glass_api::{SandboxList, SandboxView};

use crate::client::Client;
use crate::failure::Failure;

/// Finds the sandbox that is meant.
pub(crate) async fn resolve(client: &Client, text: &str) -> Result<SandboxView, Failure> {
    // Checked first: a name that cannot be one needs no server.
    check(text)?;
    let list: SandboxList = client.get("/v1/sandboxes").await?;
    choose(list.sandboxes, text)
}

/// Whether a text may name a sandbox at all.
pub(crate) fn is_reference(text: &str) -> bool {
    text == "@last"
        || (text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

fn check(text: &str) -> Result<(), Failure> {
    if is_reference(text) {
        return Ok(());
    }
    let shown: String = text.chars().take(64).collect();
    Err(Failure::usage(format!("{shown:?} does not name a sandbox"))
        .with_hint("give its id as `glasshouse ps` shows it, the beginning of its id, or @last"))
}

fn choose(sandboxes: Vec<SandboxView>, text: &str) -> Result<SandboxView, Failure> {
    let mut found: Vec<SandboxView> = if text == "@last" {
        sandboxes
            .into_iter()
            .max_by_key(|sandbox| sandbox.created_at)
            .into_iter()
            .collect()
    } else {
        sandboxes
            .into_iter()
            .filter(|sandbox| sandbox.id.starts_with(text))
            .collect()
    };
    match (found.pop(), found.len()) {
        (Some(sandbox), 0) => Ok(sandbox),
        (Some(sandbox), more) => Err(Failure::new(format!(
            "{text:?} is the beginning of {} sandboxes",
            more + 1
        ))
        .with_hint(format!(
            "write more of the id: {}, {}{}",
            found[0].id,
            sandbox.id,
            if more > 1 { ", …" } else { "" }
        ))),
        (None, _) if text == "@last" => Err(Failure::new("there is no sandbox yet")
            .with_hint("make one with `glasshouse new \"create a todo app\"`")),
        (None, _) => Err(Failure::missing(format!("there is no sandbox {text:?}"))
            .with_hint("see which there are with `glasshouse ps`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(id: &str, created_at: i64) -> SandboxView {
        SandboxView {
            id: id.to_owned(),
            created_at,
            ..SandboxView::default()
        }
    }

    fn meant(text: &str) -> Result<String, String> {
        let sandboxes = vec![
            sandbox("abcd000000000000", 1),
            sandbox("abxx000000000000", 3),
            sandbox("zzzz000000000000", 2),
        ];
        choose(sandboxes, text)
            .map(|sandbox| sandbox.id)
            .map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn a_beginning_that_one_sandbox_has_is_enough() {
        assert_eq!(meant("z"), Ok("zzzz000000000000".to_owned()));
        assert_eq!(meant("abc"), Ok("abcd000000000000".to_owned()));
    }

    #[test]
    fn a_beginning_that_two_have_is_refused() {
        assert_eq!(
            meant("ab"),
            Err("\"ab\" is the beginning of 2 sandboxes".to_owned())
        );
    }

    #[test]
    fn last_is_the_newest() {
        assert_eq!(meant("@last"), Ok("abxx000000000000".to_owned()));
    }

    #[test]
    fn an_unknown_one_is_named() {
        assert_eq!(meant("q"), Err("there is no sandbox \"q\"".to_owned()));
    }

    #[test]
    fn what_cannot_be_an_id_is_a_usage_error() {
        for text in ["", "../x", "ABC", "1abc", "a b", "@first"] {
            assert!(!is_reference(text), "{text}");
        }
    }
}
