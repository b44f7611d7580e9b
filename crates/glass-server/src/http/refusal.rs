//! Which problems a route may answer, for the document.

use std::collections::BTreeMap;

use glass_api::{Code, Problem};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $($code:ident)*;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                problems(&[$(Code::$code,)* Code::Unauthorized, Code::Internal])
            }
        }
    )*};
}

refusals! {
    /// Of what needs nothing but the token.
    Plain: ;
    Create: InvalidJson InvalidInput TooLarge ImageNotFound SnapshotNotFound TemplateNotFound DiskFull HostUnsupported
        LowMemory;
    List: InvalidInput;
    /// Of what is read from the row of a sandbox.
    Row: SandboxNotFound;
    SetEgress: InvalidJson InvalidInput TooLarge SandboxNotFound DiskFull;
    EgressRefusals: SandboxNotFound InvalidInput;
    PreviewLink: InvalidJson InvalidInput TooLarge SandboxNotFound;
    Start: SandboxNotFound StateConflict ImageNotFound DiskFull HostUnsupported SandboxUnavailable;
    /// Of what takes a sandbox down.
    End: SandboxNotFound StateConflict DiskFull;
    /// Of what changes the row of a sandbox.
    Edit: InvalidJson InvalidInput TooLarge SandboxNotFound DiskFull;
    Settings: InvalidJson InvalidInput TooLarge DiskFull;
    /// Of what asks the guest of a sandbox.
    Guest: SandboxNotFound InvalidInput StateConflict SandboxUnavailable;
    Process: SandboxNotFound InvalidInput StateConflict SandboxUnavailable;
    Events: SandboxNotFound InvalidInput;
    Exec: InvalidJson InvalidInput TooLarge SandboxNotFound StateConflict CommandNotStarted DiskFull SandboxUnavailable;
    ReadFile: SandboxNotFound FileNotFound InvalidInput StateConflict SandboxUnavailable;
    WriteFile: SandboxNotFound FileNotFound InvalidInput StateConflict AlreadyExists DiskFull SandboxUnavailable;
    MoveFile: InvalidJson TooLarge SandboxNotFound FileNotFound InvalidInput StateConflict AlreadyExists DiskFull
        SandboxUnavailable;
    Submit: InvalidJson InvalidInput TooLarge SandboxNotFound AgentNotFound ModelUnavailable StateConflict DiskFull;
    /// Of what is about a task.
    Task: TaskNotFound InvalidInput;
    Cancel: TaskNotFound DiskFull;
    TakeSnapshot: InvalidJson InvalidInput TooLarge SandboxNotFound StateConflict DiskFull HostUnsupported;
    Restore: InvalidJson InvalidInput TooLarge SandboxNotFound SnapshotNotFound StateConflict ImageNotFound DiskFull
        HostUnsupported LowMemory;
    Fork: InvalidJson InvalidInput TooLarge SandboxNotFound StateConflict ImageNotFound DiskFull HostUnsupported
        LowMemory;
    /// Of what is about a snapshot.
    Snapshot: SnapshotNotFound InvalidInput;
    DeleteSnapshot: SnapshotNotFound InvalidInput StateConflict DiskFull;
    PutTemplate: InvalidJson InvalidInput TooLarge SnapshotNotFound ImageNotFound DiskFull HostUnsupported;
    /// Of what is about a template.
    Template: TemplateNotFound InvalidInput;
}

/// One response per status, each with its codes.
fn problems(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for code in codes {
        let line = format!("`{}`: {}.", code.as_str(), code.title());
        by_status.entry(code.status()).or_default().push(line);
    }
    let schema = Ref::from_schema_name(Problem::name());
    let response = |lines: Vec<String>| {
        let content = ContentBuilder::new().schema(Some(schema.clone())).build();
        ResponseBuilder::new()
            .description(lines.join(" "))
            .content("application/problem+json", content)
            .build()
    };
    by_status
        .into_iter()
        .map(|(status, lines)| (status.to_string(), RefOr::T(response(lines))))
        .collect()
}
