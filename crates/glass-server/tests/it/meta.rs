//! `/healthz`, `/readyz`, `/v1/version`, `/v1/images`, `/v1/agents`, and what is nowhere.

use http::Method;

use crate::client::{Client, send};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_need_no_token() {
    World::run(async |world| {
        let stranger = Client::new(world.address(), None);
        assert_eq!(stranger.get("/healthz").await.bytes, b"ok\n");
        assert_eq!(stranger.get("/readyz").await.bytes, b"ready\n");
        let welcome = stranger.get("/").await;
        assert_eq!(welcome.status, 200);
        assert!(
            welcome.headers["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/html")
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_images_and_agents_are_listed() {
    World::run(async |world| {
        let client = world.client();
        let version = client.get("/v1/version").await.json;
        assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(version["runtime"], "sim");
        let images = client.get("/v1/images").await.json;
        let image = &images["images"][0];
        assert!(
            image["name"].as_str().unwrap().starts_with("base"),
            "{images}"
        );
        assert!(image["digest"].as_str().unwrap().starts_with("sha256:"));
        let agents = client.get("/v1/agents").await.json;
        let agents = agents["agents"].as_array().unwrap();
        let ids: Vec<_> = agents
            .iter()
            .map(|agent| agent["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, ["absent", "claude-code", "opencode", "scripted"]);
        for agent in agents {
            // Without a key there is only one model, and it is called what it is.
            assert_eq!(agent["model"]["name"], "demo model");
            assert_eq!(agent["model"]["demo"], true);
            assert_eq!(agent["default"], agent["id"] == "claude-code");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_nowhere_is_a_problem() {
    World::run(async |world| {
        let client = world.client();
        let lost = client.get("/v1/sandboxen").await;
        lost.is_problem(404, "route_not_found")
            .advises("openapi.json");
        let wrong = send(client.request(Method::PATCH, "/v1/sandboxes")).await;
        wrong.is_problem(405, "method_not_allowed").says("PATCH");
    })
    .await;
}
