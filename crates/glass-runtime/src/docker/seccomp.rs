//! The system calls that a sandbox may make, as Docker takes them: the same lists as those of the native runtime.
//!
//! Docker's filters say when a call is allowed and not when it is refused, so rules for arguments are turned around. The
//! two `ioctl` requests that the native runtime refuses cannot be told so; they only matter where a terminal of the host
//! is in the sandbox, and none is.

use serde_json::{Value, json};

use crate::native::seccomp::{NAMESPACES, PERSONALITIES, names};

/// The profile, as the value of the security option `seccomp`.
pub(super) fn profile() -> String {
    let (allowed, refused) = names();
    let mut calls = vec![
        json!({ "names": allowed, "action": "SCMP_ACT_ALLOW" }),
        json!({ "names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM }),
        // Its arguments are behind a pointer, where no filter sees them; told that the kernel lacks it, programs use clone.
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS }),
    ];
    let bits = |flags: &[libc::c_int]| {
        let all = flags.iter().fold(0, |all, flag| all | flag);
        json!({ "index": 0, "value": all, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" })
    };
    let (_, of_clone): (Vec<_>, Vec<_>) = NAMESPACES.iter().partition(|flag| **flag == 0x80);
    calls.push(allow("clone", &[bits(&of_clone)]));
    calls.push(allow("unshare", &[bits(&NAMESPACES)]));
    for known in PERSONALITIES {
        calls.push(allow("personality", &[equals(0, known)]));
    }
    let family = |number: libc::c_int| equals(0, u64::from(number.unsigned_abs()));
    // The upper bits of the type are flags such as SOCK_CLOEXEC.
    let kind = |number: libc::c_int| json!({ "index": 1, "value": 0xf, "valueTwo": number, "op": "SCMP_CMP_MASKED_EQ" });
    let protocol = |number: libc::c_int| equals(2, u64::from(number.unsigned_abs()));
    for call in ["socket", "socketpair"] {
        calls.push(allow(call, &[family(libc::AF_UNIX)]));
        calls.push(allow(
            call,
            &[family(libc::AF_NETLINK), protocol(libc::NETLINK_ROUTE)],
        ));
        for (internet, ping) in [
            (libc::AF_INET, libc::IPPROTO_ICMP),
            (libc::AF_INET6, libc::IPPROTO_ICMPV6),
        ] {
            for (of_kind, of_protocol) in [
                (libc::SOCK_STREAM, 0),
                (libc::SOCK_STREAM, libc::IPPROTO_TCP),
                (libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
                (libc::SOCK_DGRAM, 0),
                (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
                (libc::SOCK_DGRAM, ping),
            ] {
                let socket = [family(internet), kind(of_kind), protocol(of_protocol)];
                calls.push(allow(call, &socket));
            }
        }
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::ENOSYS,
        "architectures": [ARCHITECTURE],
        "syscalls": calls,
    })
    .to_string()
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "SCMP_ARCH_X86_64";
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &str = "SCMP_ARCH_AARCH64";

fn allow(name: &str, arguments: &[Value]) -> Value {
    json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": arguments })
}

fn equals(index: u8, value: u64) -> Value {
    json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_allowed_beside_its_rules() {
        let profile: Value = serde_json::from_str(&profile()).unwrap();
        for rule in profile["syscalls"].as_array().unwrap() {
            let names = rule["names"].as_array().unwrap();
            for ruled in ["clone", "unshare", "socket", "socketpair", "personality"] {
                if names.iter().any(|name| name == ruled) {
                    assert!(rule["args"].is_array(), "{ruled}: {rule}");
                }
            }
            for name in names {
                assert!(!name.as_str().unwrap().contains("SYS_"));
            }
        }
    }
}
