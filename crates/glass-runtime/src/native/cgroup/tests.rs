use super::*;

const V1: &str = "\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
";

#[test]
fn a_bare_cgroup2_mount_does_not_hide_the_v1_hierarchies() {
    let found = Hierarchy::from_mounts(V1, |_| String::new()).unwrap();
    assert_eq!(
        found.mounts().len(),
        5,
        "cpu and cpuacct are one: {found:?}"
    );
}

#[test]
fn v2_is_taken_where_it_has_the_controllers() {
    let found = Hierarchy::from_mounts(V1, |_| "cpuset cpu io memory pids\n".to_owned());
    let root = PathBuf::from("/sys/fs/cgroup/unified");
    assert_eq!(found, Ok(Hierarchy::V2 { root }));
}

#[test]
fn a_missing_controller_is_named() {
    let table = V1.replace("cgroup rw,pids", "cgroup rw,rdma");
    let error = Hierarchy::from_mounts(&table, |_| String::new()).unwrap_err();
    assert!(error.contains("pids"), "{error}");
}

/// A directory that has what the kernel would have put there.
fn pretend_root(dir: &Path) -> Hierarchy {
    let root = dir.to_owned();
    for group in [root.clone(), root.join(PARENT)] {
        std::fs::create_dir_all(&group).unwrap();
        std::fs::write(group.join("cgroup.subtree_control"), "").unwrap();
    }
    Hierarchy::V2 { root }
}

#[test]
fn v2_hands_on_the_controllers_and_sets_every_limit() {
    let dir = tempfile::tempdir().unwrap();
    let group = pretend_root(dir.path()).group("one");
    let own = dir.path().join(PARENT).join("one");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("memory.swap.max"), "max").unwrap();
    let limits = Limits {
        memory_bytes: 64 << 20,
        cpu_millis: 1500,
        pids: 70,
        cpu_weight: 50,
        ..Limits::default()
    };
    assert_eq!(group.make(&limits).unwrap(), std::slice::from_ref(&own));
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    for above in [dir.path().to_owned(), dir.path().join(PARENT)] {
        let given = read(above.join("cgroup.subtree_control"));
        assert_eq!(given, "+cpu +memory +pids");
    }
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.swap.max", "0"),
        ("cpu.max", "150000 100000"),
        ("pids.max", "70"),
        ("cpu.weight", "50"),
    ] {
        assert_eq!(read(own.join(file)), value, "{file}");
    }
}

#[test]
fn an_equal_weight_is_an_equal_share_and_none_is_too_small() {
    assert_eq!((shares(100), shares(50)), (1024, 512));
    assert_eq!((shares(0), shares(1), shares(u32::MAX)), (10, 10, 102_400));
}

#[test]
fn controllers_that_are_handed_on_already_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let group = pretend_root(dir.path()).group("one");
    let file = dir.path().join("cgroup.subtree_control");
    std::fs::write(&file, "cpuset cpu io memory pids\n").unwrap();
    group.make(&Limits::default()).unwrap();
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "cpuset cpu io memory pids\n"
    );
}

#[test]
fn v2_usage_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let group = pretend_root(dir.path()).group("one");
    let own = dir.path().join(PARENT).join("one");
    std::fs::create_dir(&own).unwrap();
    for (file, text) in [
        ("cpu.stat", "usage_usec 1234\nuser_usec 1000\n"),
        ("memory.current", "4096\n"),
        ("pids.current", "3\n"),
        ("cgroup.events", "populated 1\nfrozen 1\n"),
    ] {
        std::fs::write(own.join(file), text).unwrap();
    }
    let stats = group.stats().unwrap();
    assert_eq!(
        (stats.cpu_usec, stats.memory_bytes, stats.pids),
        (1234, 4096, 3)
    );
    assert!(group.is_frozen().unwrap());
}

/// The freezer and the end of a group need no controller, so any mount of version 2 will do.
#[tokio::test]
async fn v2_freezes_thaws_and_kills() {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let root = table
        .lines()
        .filter(|line| line.split(' ').nth(2) == Some("cgroup2"))
        .find_map(|line| line.split(' ').nth(1).map(PathBuf::from))
        .expect("cgroup2 is mounted");
    let group = Hierarchy::V2 { root: root.clone() }.group(&format!("test-{}", std::process::id()));
    let dir = group.at(&root);
    std::fs::create_dir_all(&dir).unwrap();
    let mut child = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    std::fs::write(dir.join("cgroup.procs"), child.id().to_string()).unwrap();
    group.set_frozen(true).await.unwrap();
    assert!(group.is_frozen().unwrap());
    group.set_frozen(false).await.unwrap();
    assert!(!group.is_frozen().unwrap());
    group.set_frozen(true).await.unwrap();
    // A zombie leaves its group, so nobody needs to wait for it first.
    group.remove().await.unwrap();
    assert!(!dir.exists());
    assert!(!child.wait().unwrap().success());
}
