//! The token that guards the API.

use std::os::unix::fs::PermissionsExt;

use http::Method;

use crate::client::{Client, send};
use crate::contract::operations;
use crate::world::World;

/// Routes that anybody may see.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/v1/openapi.json"];

#[tokio::test(flavor = "multi_thread")]
async fn every_route_wants_the_token() {
    World::run(async |world| {
        let id = "abcdefghijklmnop";
        let strangers = [
            Client::new(world.address(), None),
            Client::new(world.address(), Some(format!("gh_{}", "0".repeat(64)))),
        ];
        let mut guarded = 0;
        for (method, path) in operations() {
            if OPEN.contains(&path.as_str()) {
                continue;
            }
            guarded += 1;
            let place = path.replace("{id}", id);
            for stranger in &strangers {
                let answer = send(stranger.request(method.clone(), &place)).await;
                answer
                    .is_problem(401, "unauthorized")
                    .advises("data directory");
                assert_eq!(
                    answer.headers["www-authenticate"], "Bearer",
                    "{method} {path}"
                );
            }
        }
        assert!(guarded >= 25, "only {guarded} routes were seen");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_bearer_scheme_counts() {
    World::run(async |world| {
        let stranger = Client::new(world.address(), None);
        let token = world.token();
        for value in [
            format!("Basic {token}"),
            token.clone(),
            format!("Bearer {}", &token[..token.len() - 1]),
            "Bearer".to_owned(),
            "Bearer \u{e9}".to_owned(),
        ] {
            let request = stranger.request(Method::GET, "/v1/sandboxes");
            let answer = send(request.header("authorization", value.as_bytes())).await;
            answer.is_problem(401, "unauthorized");
        }
        let request = stranger.request(Method::GET, "/v1/sandboxes");
        let answer = send(request.header("authorization", format!("bearer {token}"))).await;
        assert_eq!(answer.status, 200, "the scheme's case does not matter");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_file_is_private_and_lasts() {
    World::run(async |world| {
        let mode = std::fs::metadata(world.data().join("token"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let token = world.token();
        world.stop().await;
        world.start().await;
        assert_eq!(world.token(), token);
        assert_eq!(world.client().get("/v1/sandboxes").await.status, 200);
    })
    .await;
}
