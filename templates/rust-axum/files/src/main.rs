use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Note {
    text: String,
}

type Notes = Arc<Mutex<Vec<Note>>>;

const PAGE: &str = include_str!("../static/index.html");
const STYLE: &str = include_str!("../static/style.css");
const SCRIPT: &str = include_str!("../static/main.js");

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok());
    let notes = vec![Note { text: "The first of many".to_owned() }];
    let app = Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/style.css", get(async || ([(header::CONTENT_TYPE, "text/css")], STYLE)))
        .route("/main.js", get(async || ([(header::CONTENT_TYPE, "text/javascript")], SCRIPT)))
        .route("/api/health", get(async || Json(true)))
        .route("/api/notes", get(list).post(add))
        .with_state(Notes::new(Mutex::new(notes)));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.unwrap_or(3000))).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await
}

async fn list(State(notes): State<Notes>) -> Json<Vec<Note>> {
    Json(notes.lock().expect("no handler panics").clone())
}

async fn add(State(notes): State<Notes>, Json(note): Json<Note>) -> (StatusCode, Json<Note>) {
    notes.lock().expect("no handler panics").push(note.clone());
    (StatusCode::CREATED, Json(note))
}
