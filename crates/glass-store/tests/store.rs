//! The store against a real SQLite file.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

use std::collections::BTreeMap;

use glass_store::{AgentRunRow, ArchiveChange, NewSandboxEvent, SandboxRow, Shift, Store, TaskRow};
use glass_types::{
    After, EndReason, Event, IdleWish, Isolation, Limits, RootMode, SandboxId, SandboxState,
    SnapshotId, TaskId, TaskState, Visibility,
};

struct Fixture {
    store: Store,
    directory: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("glasshouse.db"))
        .await
        .unwrap();
    Fixture { store, directory }
}

#[tokio::test]
async fn nobody_else_reads_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = fixture().await;
    fixture.store.insert_sandbox(&sandbox()).await.unwrap();
    for name in ["glasshouse.db", "glasshouse.db-wal"] {
        let file = std::fs::metadata(fixture.directory.path().join(name)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

fn sandbox() -> SandboxRow {
    SandboxRow {
        id: SandboxId::random(),
        state: SandboxState::Creating,
        reason: None,
        image: "base".into(),
        image_digest: "sha256:0".into(),
        env: BTreeMap::from([("A".into(), "b".into())]),
        labels: BTreeMap::new(),
        limits: Limits::default(),
        ports: vec![3000, 65535],
        gateway_token: SandboxId::random().to_string(),
        created_at: 1,
        template: Some("vite".into()),
        from_snapshot: Some(SnapshotId::random()),
        root: RootMode::Writable,
        isolation: Isolation::Gvisor,
        visibility: Visibility::Private,
        idle: IdleWish {
            stop_after_ms: Some(After::NEVER),
            ..IdleWish::default()
        },
        egress: None,
        keepalive_until: Some(5),
        last_used_at: 2,
        memory_used: Some(7),
        archive: None,
    }
}

fn task(sandbox: &SandboxId) -> TaskRow {
    TaskRow {
        id: TaskId::random(),
        sandbox: sandbox.clone(),
        status: TaskState::Queued,
        prompt: "make it".into(),
        agent: "claude-code".into(),
        model: "demo".into(),
        process_key: None,
        cancel_requested: false,
        result: None,
        error: None,
        created_at: 2,
        ended_at: None,
    }
}

fn text(delta: &str) -> Event {
    Event::Text {
        delta: delta.into(),
    }
}

#[tokio::test]
async fn rows_read_back_after_a_reopen() {
    let Fixture { store, directory } = fixture().await;
    let (sandbox_row, mut run) = (sandbox(), None);
    store.insert_sandbox(&sandbox_row).await.unwrap();
    let task_row = task(&sandbox_row.id);
    store.insert_task(&task_row).await.unwrap();
    for generation in [1, 2] {
        let row = AgentRunRow {
            sandbox: sandbox_row.id.clone(),
            agent: "claude-code".into(),
            process_key: format!("claude-code-{generation}"),
            model: "demo".into(),
            acp_session: Some(format!("s{generation}")),
        };
        store.put_agent_run(&row).await.unwrap();
        run = Some(row);
    }
    let store = Store::open(&directory.path().join("glasshouse.db"))
        .await
        .unwrap();
    assert_eq!(
        store.sandbox(&sandbox_row.id).await.unwrap().as_ref(),
        Some(&sandbox_row)
    );
    assert_eq!(
        store
            .sandbox_by_token(&sandbox_row.gateway_token)
            .await
            .unwrap(),
        Some(sandbox_row.clone())
    );
    assert_eq!(store.sandbox_by_token("").await.unwrap(), None);
    assert_eq!(store.task(&task_row.id).await.unwrap(), Some(task_row));
    assert_eq!(
        store
            .agent_run(&sandbox_row.id, "claude-code")
            .await
            .unwrap(),
        run
    );
}

#[tokio::test]
async fn a_state_changes_only_from_the_one_that_was_seen() {
    let Fixture {
        store,
        directory: _kept,
    } = fixture().await;
    let row = sandbox();
    store.insert_sandbox(&row).await.unwrap();
    let creating = SandboxState::Creating;
    let event = NewSandboxEvent {
        kind: "failed",
        data: serde_json::json!({ "reason": "no image" }),
        at: 7,
    };
    let failed = Shift {
        last_used_at: Some(5),
        ..Shift::new(creating, SandboxState::Failed)
            .because("no image")
            .telling(event.clone())
    };
    assert!(store.shift_sandbox(&row.id, &failed).await.unwrap());
    let late = Shift::new(creating, SandboxState::Running).telling(event);
    assert!(!store.shift_sandbox(&row.id, &late).await.unwrap());
    let now = store.sandbox(&row.id).await.unwrap().unwrap();
    assert_eq!(
        (now.state, now.reason.as_deref(), now.last_used_at),
        (SandboxState::Failed, Some("no image"), 5)
    );
    let told = store.sandbox_events(&row.id, 0, 10).await.unwrap();
    assert_eq!(told.len(), 1, "what was not changed is not told: {told:?}");
    assert_eq!((told[0].kind.as_str(), told[0].at), ("failed", 7));
    assert!(
        store
            .sandbox_events(&row.id, told[0].number, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_archive_is_named_and_forgotten_with_the_move() {
    let Fixture {
        store,
        directory: _kept,
    } = fixture().await;
    let row = sandbox();
    store.insert_sandbox(&row).await.unwrap();
    let archived = Shift {
        archive: ArchiveChange::Set("a1".into()),
        ..Shift::new(SandboxState::Creating, SandboxState::Archived)
    };
    let going = Shift::new(SandboxState::Archived, SandboxState::Destroying);
    let back = Shift {
        archive: ArchiveChange::Clear,
        ..Shift::new(SandboxState::Destroying, SandboxState::Creating)
    };
    for (shift, name) in [(archived, Some("a1")), (going, Some("a1")), (back, None)] {
        assert!(store.shift_sandbox(&row.id, &shift).await.unwrap());
        let now = store.sandbox(&row.id).await.unwrap().unwrap();
        assert_eq!((now.state, now.archive.as_deref()), (shift.to, name));
    }
}

#[tokio::test]
async fn an_edit_changes_what_may_be_changed_and_nothing_else() {
    let Fixture {
        store,
        directory: _kept,
    } = fixture().await;
    let row = sandbox();
    store.insert_sandbox(&row).await.unwrap();
    let edited = store
        .edit_sandbox(&row.id, |row| {
            row.labels.insert("new".into(), "label".into());
            row.visibility = glass_types::Visibility::Private;
            row.idle.always_on = Some(true);
            row.keepalive_until = Some(9);
            row.limits.memory_bytes = 123 << 20;
            row.state = SandboxState::Destroying;
            row.gateway_token = "other".into();
        })
        .await
        .unwrap()
        .unwrap();
    let now = store.sandbox(&row.id).await.unwrap().unwrap();
    assert_eq!(
        (&now.labels, now.visibility, now.idle),
        (&edited.labels, edited.visibility, edited.idle)
    );
    assert_eq!((now.keepalive_until, now.limits), (Some(9), edited.limits));
    assert_eq!(
        (now.state, now.gateway_token),
        (row.state, row.gateway_token)
    );
    let unknown = glass_types::SandboxId::random();
    assert!(
        store
            .edit_sandbox(&unknown, |_| {})
            .await
            .unwrap()
            .is_none()
    );
    store.note_uses(&[(row.id.clone(), 77)]).await.unwrap();
    let now = store.sandbox(&row.id).await.unwrap().unwrap();
    assert_eq!(now.last_used_at, 77);
}

#[tokio::test]
async fn old_events_of_a_sandbox_make_room_for_new_ones() {
    let Fixture {
        store,
        directory: _kept,
    } = fixture().await;
    let (row, other) = (sandbox(), sandbox());
    store.insert_sandbox(&row).await.unwrap();
    store.insert_sandbox(&other).await.unwrap();
    let event = |at| NewSandboxEvent {
        kind: "died",
        data: serde_json::Value::Null,
        at,
    };
    store
        .append_sandbox_event(&other.id, &event(0))
        .await
        .unwrap();
    for at in 1..=1003 {
        store
            .append_sandbox_event(&row.id, &event(at))
            .await
            .unwrap();
    }
    let kept = store.sandbox_events(&row.id, 0, 5000).await.unwrap();
    let at: Vec<i64> = kept.iter().map(|event| event.at).collect();
    assert_eq!(at, (4..=1003).collect::<Vec<_>>());
    assert_eq!(
        store.sandbox_events(&other.id, 0, 10).await.unwrap().len(),
        1
    );
    let nobody = glass_types::SandboxId::random();
    assert!(
        store
            .append_sandbox_event(&nobody, &event(0))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn settings_are_written_over() {
    let Fixture {
        store,
        directory: _kept,
    } = fixture().await;
    assert!(store.settings().await.unwrap().is_empty());
    let one = |value: i64| std::collections::BTreeMap::from([("a".to_owned(), value.into())]);
    store.put_settings(&one(1)).await.unwrap();
    store.put_settings(&one(2)).await.unwrap();
    store
        .put_settings(&std::collections::BTreeMap::new())
        .await
        .unwrap();
    assert_eq!(store.settings().await.unwrap(), one(2));
}

#[tokio::test]
async fn events_are_numbered_without_gap_and_never_stored_twice() {
    let Fixture {
        store,
        directory: _kept,
    } = fixture().await;
    let row = sandbox();
    store.insert_sandbox(&row).await.unwrap();
    let task = task(&row.id);
    store.insert_task(&task).await.unwrap();
    store
        .append_events(&task.id, None, &[text("server")], 5)
        .await
        .unwrap();
    store
        .append_events(&task.id, Some(7), &[text("a"), text("b")], 6)
        .await
        .unwrap();
    // A driver that starts again sends the same line once more.
    store
        .append_events(&task.id, Some(7), &[text("a"), text("b")], 7)
        .await
        .unwrap();
    store
        .append_events(&task.id, Some(9), &[text("c")], 8)
        .await
        .unwrap();
    assert_eq!(store.last_line(&task.id).await.unwrap(), 9);
    let rows = store.events(&task.id, 1, 100).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(rows[2].event, text("c"));
    assert_eq!(store.events(&task.id, 0, 2).await.unwrap().len(), 2);
}

#[tokio::test]
async fn concurrent_writers_share_one_numbering() {
    let Fixture {
        store,
        directory: _kept,
    } = fixture().await;
    let row = sandbox();
    store.insert_sandbox(&row).await.unwrap();
    let task = task(&row.id);
    store.insert_task(&task).await.unwrap();
    let writers = (0..20).map(|n| {
        let (store, id) = (store.clone(), task.id.clone());
        tokio::spawn(async move {
            store
                .append_events(&id, None, &[text(&n.to_string())], n)
                .await
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap().unwrap();
    }
    let ids: Vec<u64> = store
        .events(&task.id, 0, 100)
        .await
        .unwrap()
        .iter()
        .map(|row| row.id)
        .collect();
    assert_eq!(ids, (1..=20).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_task_ends_once_and_its_last_event_comes_with_it() {
    let Fixture {
        store,
        directory: _kept,
    } = fixture().await;
    let row = sandbox();
    store.insert_sandbox(&row).await.unwrap();
    let task = task(&row.id);
    store.insert_task(&task).await.unwrap();
    store.start_task(&task.id, "claude-code-1").await.unwrap();
    assert_eq!(
        store.sandboxes_with_open_tasks().await.unwrap(),
        std::slice::from_ref(&row.id)
    );
    assert!(store.request_cancel(&task.id).await.unwrap());
    let end = Event::End {
        reason: EndReason::Cancelled,
        message: None,
    };
    assert!(
        store
            .finish_task(&task.id, TaskState::Cancelled, None, None, Some(&end), 9)
            .await
            .unwrap()
    );
    assert!(
        !store
            .finish_task(
                &task.id,
                TaskState::Failed,
                None,
                Some("late"),
                Some(&end),
                10
            )
            .await
            .unwrap()
    );
    assert!(!store.request_cancel(&task.id).await.unwrap());
    assert_eq!(store.events(&task.id, 0, 10).await.unwrap().len(), 1);
    assert_eq!(
        store.task(&task.id).await.unwrap().unwrap().status,
        TaskState::Cancelled
    );
    assert!(store.open_tasks_of(&row.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn removing_a_sandbox_removes_its_tasks_and_events() {
    let Fixture {
        store,
        directory: _kept,
    } = fixture().await;
    let row = sandbox();
    store.insert_sandbox(&row).await.unwrap();
    let task = task(&row.id);
    store.insert_task(&task).await.unwrap();
    store
        .append_events(&task.id, None, &[text("x")], 1)
        .await
        .unwrap();
    assert!(store.delete_sandbox(&row.id).await.unwrap());
    assert!(!store.delete_sandbox(&row.id).await.unwrap());
    assert_eq!(store.task(&task.id).await.unwrap(), None);
    assert!(store.events(&task.id, 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_last_task_is_the_newest() {
    let fixture = fixture().await;
    let sandbox = sandbox();
    fixture.store.insert_sandbox(&sandbox).await.unwrap();
    let last = async || fixture.store.last_task_of(&sandbox.id).await.unwrap();
    assert_eq!(last().await, None);
    for _ in 0..3 {
        // All in the same millisecond: the order is that of writing.
        let task = task(&sandbox.id);
        fixture.store.insert_task(&task).await.unwrap();
        assert_eq!(last().await, Some(task));
    }
}

#[tokio::test]
async fn what_sandboxes_of_a_template_use_is_known() {
    let fixture = fixture().await;
    let store = &fixture.store;
    assert_eq!(store.typical_memory(Some("vite")).await.unwrap(), None);
    for bytes in [100, 200] {
        let row = sandbox();
        store.insert_sandbox(&row).await.unwrap();
        store.note_memory(&row.id, bytes).await.unwrap();
        let read = store.sandbox(&row.id).await.unwrap().unwrap();
        assert_eq!(read.memory_used, Some(bytes));
    }
    let of = |template| store.typical_memory(template);
    assert_eq!(of(Some("vite")).await.unwrap(), Some(150));
    assert_eq!(of(Some("other")).await.unwrap(), None);
    assert_eq!(of(None).await.unwrap(), None);
}

#[tokio::test]
async fn an_event_of_a_sandbox_is_noted_once_and_wakes_who_follows() {
    let fixture = fixture().await;
    let store = &fixture.store;
    let row = sandbox();
    store.insert_sandbox(&row).await.unwrap();
    let mut changed = store.watch_sandbox_events();
    let event = NewSandboxEvent {
        kind: "app_crashed",
        data: serde_json::json!({"number": 1}),
        at: 5,
    };
    let id = &row.id;
    let again = |last: &glass_store::SandboxEventRow| last.data == event.data;
    let noted = store.append_sandbox_event_unless(id, &event, again).await;
    assert!(noted.unwrap() && changed.has_changed().unwrap());
    changed.borrow_and_update();
    let noted = store.append_sandbox_event_unless(id, &event, again).await;
    assert!(!noted.unwrap(), "the same was noted before");
    assert!(!changed.has_changed().unwrap());
    let last = store.last_sandbox_event(id, "app_crashed").await.unwrap();
    assert_eq!(last.unwrap().at, 5);
    assert_eq!(store.last_sandbox_event(id, "died").await.unwrap(), None);
    store.delete_sandbox(id).await.unwrap();
    assert!(
        changed.has_changed().unwrap(),
        "who follows hears of the end"
    );
}
