//! The OpenAPI document: what it says is what there is, and a change of it is seen.

use std::path::Path;

use http::Method;
use serde_json::Value;

use crate::client::{Client, send};
use crate::world::World;

fn document() -> Value {
    serde_json::to_value(glass_server::openapi()).unwrap()
}

/// Every method of every path of the document.
pub(crate) fn operations() -> Vec<(Method, String)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let mut all = Vec::new();
    for (path, item) in paths {
        for method in ["get", "put", "post", "delete", "patch", "head", "options"] {
            if item.get(method).is_some() {
                all.push((method.to_uppercase().parse().unwrap(), path.clone()));
            }
        }
    }
    all
}

#[test]
fn the_document_is_the_one_in_the_repository() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/glasshouse.json");
    let now = glass_server::openapi().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = kept
        .lines()
        .zip(now.lines())
        .position(|(kept, now)| kept != now);
    assert!(
        kept == now,
        "the API is not what openapi/glasshouse.json says, from line {} on. If that is meant, write it down with\n    \
         UPDATE_OPENAPI=1 cargo test -p glass-server --test it contract",
        differs.unwrap_or_else(|| kept.lines().count().min(now.lines().count())) + 1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_operation_is_routed_and_no_other_method_is() {
    World::run(async |world| {
        let client = world.client();
        let operations = operations();
        for (method, path) in &operations {
            let place = path.replace("{id}", "abcdefghijklmnop");
            let answer = send(client.request(method.clone(), &place)).await;
            let code = answer.json["code"].as_str().unwrap_or_default();
            assert!(
                !matches!(code, "route_not_found" | "method_not_allowed"),
                "{method} {path}: {answer:?}"
            );
        }
        for (_, path) in &operations {
            for method in [
                Method::GET,
                Method::PUT,
                Method::POST,
                Method::DELETE,
                Method::PATCH,
            ] {
                if operations.contains(&(method.clone(), path.clone())) {
                    continue;
                }
                let place = path.replace("{id}", "abcdefghijklmnop");
                let answer = send(client.request(method, &place)).await;
                answer.is_problem(405, "method_not_allowed");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_serves_its_document() {
    World::run(async |world| {
        let stranger = Client::new(world.address(), None);
        let served = stranger.get("/v1/openapi.json").await;
        assert_eq!(served.status, 200);
        assert_eq!(served.json, document());
    })
    .await;
}

#[test]
fn the_document_is_whole() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut ids = Vec::new();
    for (method, path) in operations() {
        let at = format!("{method} {path}");
        let operation = &document["paths"][&path][method.as_str().to_lowercase()];
        ids.push(operation["operationId"].as_str().unwrap().to_owned());
        assert!(operation["summary"].is_string(), "{at} has no summary");
        assert!(operation["tags"][0].is_string(), "{at} has no tag");
        let responses = operation["responses"].as_object().unwrap();
        let open = operation["security"] == serde_json::json!([{}]);
        assert_eq!(responses.contains_key("401"), !open, "{at} and the token");
        for (status, response) in responses {
            let code: u16 = status.parse().unwrap_or_else(|_| panic!("{at}: {status}"));
            if code >= 400 && !open {
                let schema = &response["content"]["application/problem+json"]["schema"];
                assert_eq!(
                    schema["$ref"], "#/components/schemas/Problem",
                    "{at} {status}"
                );
            }
        }
        if path.contains("{id}") {
            assert!(responses.contains_key("404"), "{at} and what is not there");
        }
        let parameters = operation["parameters"].as_array();
        let has_id = parameters.is_some_and(|all| {
            all.iter()
                .any(|one| one["name"] == "id" && one["in"] == "path")
        });
        assert_eq!(has_id, path.contains("{id}"), "{at}");
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are distinct: {ids:?}");
    assert_eq!(
        document["components"]["securitySchemes"]["token"]["scheme"],
        "bearer"
    );
    let mut references = Vec::new();
    collect(&document, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let ("$ref", Some(reference)) = (name.as_str(), value.as_str()) {
                    references.push(reference.to_owned());
                }
                collect(value, references);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
