//! `/v1/tasks/{id}/events`: numbered without a gap, resumable, ended by `end`.

use http::Method;
use serde_json::json;

use crate::client::{Events, SentEvent, send};
use crate::world::World;

fn numbers(events: &[SentEvent]) -> Vec<u64> {
    events.iter().map(|event| event.id.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_has_no_gap_and_ends_with_end() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let task = client.task(&id, "hello").await;
        let live = client.events(&task, None).await.rest().await;
        assert_eq!(numbers(&live), (1..=live.len() as u64).collect::<Vec<_>>());
        for event in &live {
            assert_eq!(event.data["id"], event.id.unwrap());
            assert_eq!(event.data["type"], *event.event.as_ref().unwrap());
            assert!(event.data["at"].as_i64().unwrap() > 1_600_000_000_000);
        }
        let last = live.last().unwrap();
        assert_eq!(last.data["type"], "end");
        assert_eq!(last.data["reason"], "completed");
        let texts = live.iter().filter(|event| event.data["type"] == "text");
        let text: String = texts
            .map(|event| event.data["delta"].as_str().unwrap())
            .collect();
        assert_eq!(text, "you said: hello");
        assert!(
            live.iter()
                .any(|event| event.data["message"] == "starting Agent scripted")
        );
        // Read again after the end: the same, to the byte.
        assert_eq!(client.events(&task, None).await.rest().await, live);
    })
    .await;
}

/// The log is the server's: no process of the sandbox has to run for it, and none can change it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_while_its_sandbox_is_stopped_and_all_in_it_is_gone() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let task = client.task(&id, "hello").await;
        let live = client.events(&task, None).await.rest().await;
        let path = format!("/v1/sandboxes/{id}");
        assert_eq!(
            client.post(&format!("{path}/stop"), json!({})).await.status,
            200
        );
        let disk = world
            .data()
            .join("runtime/sandboxes")
            .join(&id)
            .join("disk");
        std::fs::remove_dir_all(disk).unwrap();
        assert_eq!(client.events(&task, None).await.rest().await, live);
        assert_eq!(client.get(&path).await.json["state"], "stopped");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_where_it_was_cut() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let task = client.task(&id, "wait for go").await;
        let mut first = client.events(&task, None).await;
        let seen = first.until("waiting").await;
        drop(first);
        // Opened while the task runs, at different places.
        let resumed = client.events(&task, seen.id).await;
        let from_start = client.events(&task, Some(0)).await;
        client.exec(&id, "touch go").await;
        let all = from_start.rest().await;
        assert_eq!(numbers(&all), (1..=all.len() as u64).collect::<Vec<_>>());
        let place = usize::try_from(seen.id.unwrap()).unwrap();
        assert_eq!(resumed.rest().await, all[place..]);
        for after in 0..=all.len() {
            let rest = client.events(&task, Some(after as u64)).await.rest().await;
            assert_eq!(rest, all[after..]);
        }
        // The header wins over the query; a place after the end is an empty stream.
        let path = format!("/v1/tasks/{task}/events?after=1");
        let by_query = Events::open(client.request(Method::GET, &path)).await;
        assert_eq!(by_query.rest().await, all[1..]);
        let both = client
            .request(Method::GET, &path)
            .header("last-event-id", "2");
        assert_eq!(Events::open(both).await.rest().await, all[2..]);
        assert_eq!(client.events(&task, Some(1_000_000)).await.rest().await, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_watchers_see_the_same() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let task = client.task(&id, "wait for go").await;
        let mut watchers = Vec::new();
        for _ in 0..16 {
            watchers.push(client.events(&task, None).await);
        }
        client.exec(&id, "touch go").await;
        let mut logs = Vec::new();
        for watcher in watchers {
            logs.push(watcher.rest().await);
        }
        assert!(logs.iter().all(|log| *log == logs[0]));
        assert_eq!(logs[0].last().unwrap().data["type"], "end");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_no_number_is_refused() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let task = client.task(&id, "hello").await;
        let path = format!("/v1/tasks/{task}/events");
        for value in ["x", "-1", "1.5", ""] {
            let request = client
                .request(Method::GET, &path)
                .header("last-event-id", value);
            let answer = send(request).await;
            answer
                .is_problem(422, "invalid_input")
                .says("Last-Event-ID");
        }
        let answer = client.get(&format!("{path}?after=x")).await;
        answer.is_problem(422, "invalid_input");
        let answer = client.get(&format!("{path}?since=1")).await;
        answer.is_problem(422, "invalid_input").says("since");
    })
    .await;
}
