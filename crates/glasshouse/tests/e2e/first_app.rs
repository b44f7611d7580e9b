//! From a prompt to a page, and a follow-up that changes it.

use anyhow::ensure;
use glass_testing::{Browser, TestServer, artefact};

use crate::harness::{PAGE, preview_url, sandbox_of, server};

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_becomes_an_app_with_claude_code() -> anyhow::Result<()> {
    let server = server().await?;
    // Without --agent, as the README says it.
    let printed = server.ok(&["new", "create a todo app"]).await?;
    use_todo_app(&server, &printed, "claude-code").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_becomes_an_app_with_opencode() -> anyhow::Result<()> {
    let server = server().await?;
    let printed = server
        .ok(&["new", "create a todo app", "--agent", "opencode"])
        .await?;
    // OpenCode serves its own API in the sandbox, and every port has a preview: it must not answer who has the link.
    let sandbox = sandbox_of(&preview_url(&printed)?)?;
    let own = format!("4096-{sandbox}.preview.localhost");
    let client = reqwest::Client::builder().no_proxy().build()?;
    let request = client.get(server.url("/session")).header("host", &own);
    let status = request.send().await?.status();
    ensure!(status == 401, "{own} answered {status}");
    use_todo_app(&server, &printed, "opencode").await
}

async fn use_todo_app(server: &TestServer, printed: &str, agent: &str) -> anyhow::Result<()> {
    ensure!(
        printed.contains("demo model"),
        "the demo model is not named in:\n{printed}"
    );
    ensure!(
        printed.contains(agent),
        "the agent is not named in:\n{printed}"
    );
    let url = preview_url(printed)?;
    let browser = Browser::start().await?;
    browser.open(&url).await?;
    browser.wait_for("#text", PAGE).await?;
    browser
        .screenshot(&artefact(&format!("{agent}-1-new.png"))?)
        .await?;
    browser.type_text("#text", "Water the plants\n").await?;
    browser
        .wait_until("document.querySelectorAll('#list li').length === 1", PAGE)
        .await?;
    ensure!(
        browser.text("#list li").await?.contains("Water the plants"),
        "the item is not in the list"
    );
    browser.click("#list li input[type=checkbox]").await?;
    browser
        .wait_until(
            "document.querySelector('#list li input[type=checkbox]').checked",
            PAGE,
        )
        .await?;
    browser
        .screenshot(&artefact(&format!("{agent}-2-ticked.png"))?)
        .await?;

    let sandbox = sandbox_of(&url)?;
    let printed = server.ok(&["ask", &sandbox, "make the title blue"]).await?;
    ensure!(preview_url(&printed)? == url, "the URL changed");
    browser.open(&url).await?;
    browser.wait_for("h1", PAGE).await?;
    let blue = "(() => { const [r, g, b] = getComputedStyle(document.querySelector('h1')).color.match(/[0-9.]+/g).map(Number); \
                return b > 120 && b > r + 40; })()";
    browser.wait_until(blue, PAGE).await?;
    let kept = "document.querySelector('#list li input[type=checkbox]').checked";
    browser.wait_until(kept, PAGE).await?;
    browser
        .screenshot(&artefact(&format!("{agent}-3-blue.png"))?)
        .await?;

    server.ok(&["ask", &sandbox, "add a clear button"]).await?;
    browser.open(&url).await?;
    let button = "[...document.querySelectorAll('button')].find(b => /clear/i.test(b.textContent))";
    browser
        .wait_until(&format!("Boolean({button})"), PAGE)
        .await?;
    browser.eval(&format!("{button}.click()")).await?;
    browser
        .wait_until("document.querySelectorAll('#list li').length === 0", PAGE)
        .await?;
    browser
        .screenshot(&artefact(&format!("{agent}-4-cleared.png"))?)
        .await
}
