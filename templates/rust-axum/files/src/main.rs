use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Idea {
    text: String,
}

type Ideas = Arc<Mutex<Vec<Idea>>>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port: u16 = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let first = Idea { text: "Say what this app should become".to_owned() };
    let app = Router::new()
        .route("/", get(async || Html(include_str!("../static/index.html"))))
        .route("/style.css", get(async || ([(header::CONTENT_TYPE, "text/css")], include_str!("../static/style.css"))))
        .route("/main.js", get(async || ([(header::CONTENT_TYPE, "text/javascript")], include_str!("../static/main.js"))))
        .route("/api/health", get(async || Json(true)))
        .route("/api/ideas", get(list).post(add))
        .with_state(Ideas::new(Mutex::new(vec![first])));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on port {port}");
    axum::serve(listener, app).await
}

async fn list(State(ideas): State<Ideas>) -> Json<Vec<Idea>> {
    Json(ideas.lock().expect("no handler panics").clone())
}

async fn add(State(ideas): State<Ideas>, Json(idea): Json<Idea>) -> (StatusCode, Json<Idea>) {
    ideas.lock().expect("no handler panics").push(idea.clone());
    (StatusCode::CREATED, Json(idea))
}
