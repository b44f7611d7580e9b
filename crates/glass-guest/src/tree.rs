//! Sessions, descendants, and their end.

use std::collections::HashSet;

use rustix::process::{Pid, Signal, kill_process};

/// A line of the process table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
}

/// All processes that `/proc` shows.
pub(crate) fn rows() -> Vec<Row> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(row)
        .collect()
}

fn row(pid: i32) -> Option<Row> {
    let bytes = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, parentheses too; what follows the last one is numbers.
    let end = bytes.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&bytes[end + 1..]).ok()?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    (state != "Z").then_some(Row {
        pid,
        parent,
        session,
    })
}

/// The descendants of `root` in `rows`, without itself.
pub(crate) fn descendants(rows: &[Row], root: i32) -> HashSet<i32> {
    let mut found = HashSet::new();
    let mut edge = vec![root];
    while let Some(parent) = edge.pop() {
        for row in rows.iter().filter(|row| row.parent == parent) {
            if found.insert(row.pid) {
                edge.push(row.pid);
            }
        }
    }
    found
}

/// Signals the process, its session and all its descendants. A signal to a process that has just ended is no error.
pub(crate) fn signal(leader: u32, signal: Signal) {
    let leader = leader.cast_signed();
    let tree = if signal == Signal::KILL {
        stilled(leader)
    } else {
        tree(leader)
    };
    // The leader goes first: one that waits for a child would end in its own way when that is killed.
    send(leader, signal);
    for pid in tree.into_iter().filter(|pid| *pid != leader) {
        send(pid, signal);
    }
}

/// The tree of `leader`, stopped: what stands still makes nothing new while the others are found.
fn stilled(leader: i32) -> HashSet<i32> {
    let mut stopped = HashSet::new();
    // A tree that goes on growing through so many looks does so on purpose; the sandbox's limit of processes ends that.
    for _ in 0..16 {
        let new: Vec<i32> = tree(leader).difference(&stopped).copied().collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            send(pid, Signal::STOP);
            stopped.insert(pid);
        }
    }
    stopped
}

/// What belongs to `leader` now: itself, its session, and all that descends from it.
fn tree(leader: i32) -> HashSet<i32> {
    let rows = rows();
    let mut tree = descendants(&rows, leader);
    let own = |row: &&Row| row.pid == leader || row.session == leader;
    tree.extend(rows.iter().filter(own).map(|row| row.pid));
    tree
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Signals everything that descends from the guest.
pub(crate) fn signal_all(signal: Signal) {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    for target in descendants(&rows(), own) {
        send(target, signal);
    }
}

/// Whether anything that descends from the guest is alive.
pub(crate) fn any_left() -> bool {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    !descendants(&rows(), own).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_at_any_depth_and_in_any_order() {
        let row = |pid, parent| Row {
            pid,
            parent,
            session: 1,
        };
        let rows = [row(9, 5), row(5, 2), row(2, 1), row(7, 1)];
        assert_eq!(descendants(&rows, 2), HashSet::from([5, 9]));
        assert_eq!(descendants(&rows, 9), HashSet::new());
    }

    #[test]
    fn this_process_is_in_the_table() {
        let own = std::process::id().cast_signed();
        assert!(rows().iter().any(|row| row.pid == own));
    }
}
