//! The program that chooses the socket of a connection, as instructions of the kernel's machine.

use super::OWN_ADDRESS;

/// Slots of the socket map: IPv4's, then IPv6's.
pub(super) const TCP: u32 = 0;
pub(super) const UDP: u32 = 2;
pub(super) const SOCKETS: u32 = 4;

/// Offsets in `struct bpf_sk_lookup`.
const FAMILY: i16 = 8;
const PROTOCOL: i16 = 12;
const LOCAL_IP4: i16 = 40;
const LOCAL_IP6: i16 = 44;
const LOCAL_PORT: i16 = 60;

const MAP_LOOKUP: i32 = 1;
const SK_RELEASE: i32 = 86;
const SK_ASSIGN: i32 = 124;

const DROP: i32 = 0;
const PASS: i32 = 1;

/// Operation codes.
const LOAD_U32: u8 = 0x61;
const STORE_U32: u8 = 0x63;
const LOAD_IMMEDIATE_64: u8 = 0x18;
const MOVE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const ADD: u8 = 0x07;
const AND: u8 = 0x57;
const JUMP: u8 = 0x05;
const JUMP_EQUAL_32: u8 = 0x16;
const JUMP_DIFFERENT_32: u8 = 0x56;
const JUMP_EQUAL: u8 = 0x15;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// Where a jump goes to, until all places are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    NotLoopback6,
    Six,
    Chosen,
    Steer,
    Pass,
    Drop,
}

#[derive(Default)]
struct Assembler {
    code: Vec<u64>,
    jumps: Vec<(usize, Label)>,
    places: Vec<(Label, usize)>,
}

impl Assembler {
    fn put(&mut self, operation: u8, to: u8, from: u8, offset: i16, immediate: i32) {
        let [low, high] = offset.to_le_bytes();
        let [a, b, c, d] = immediate.to_le_bytes();
        self.code.push(u64::from_le_bytes([
            operation,
            to | from << 4,
            low,
            high,
            a,
            b,
            c,
            d,
        ]));
    }

    fn jump(&mut self, operation: u8, register: u8, immediate: i32, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.put(operation, register, 0, 0, immediate);
    }

    fn place(&mut self, label: Label) {
        self.places.push((label, self.code.len()));
    }

    fn finish(mut self) -> Vec<u64> {
        for (at, label) in self.jumps {
            let place = self
                .places
                .iter()
                .find(|(known, _)| *known == label)
                .map_or(0, |(_, place)| *place);
            let distance =
                u16::try_from(place - at - 1).expect("all jumps go forward and are short");
            self.code[at] |= u64::from(distance) << 16;
        }
        self.code
    }
}

/// The program, which finds its sockets in the map with this descriptor.
pub(super) fn program(map: i32) -> Vec<u64> {
    let own = u32::from_ne_bytes(OWN_ADDRESS.octets()).cast_signed();
    let mut a = Assembler::default();
    a.put(MOVE_REGISTER, 6, 1, 0, 0);
    a.put(MOVE, 7, 0, 0, 0);
    a.put(LOAD_U32, 2, 6, FAMILY, 0);
    a.jump(JUMP_EQUAL_32, 2, libc::AF_INET6, Label::Six);
    // The first octet is the lowest byte.
    a.put(LOAD_U32, 3, 6, LOCAL_IP4, 0);
    a.jump(JUMP_EQUAL_32, 3, own, Label::Pass);
    a.put(AND, 3, 0, 0, 0xff);
    a.jump(JUMP_EQUAL_32, 3, 127, Label::Pass);
    a.jump(JUMP, 0, 0, Label::Chosen);
    a.place(Label::Six);
    for word in 0..3 {
        a.put(LOAD_U32, 3, 6, LOCAL_IP6 + 4 * word, 0);
        a.jump(JUMP_DIFFERENT_32, 3, 0, Label::NotLoopback6);
    }
    a.put(LOAD_U32, 3, 6, LOCAL_IP6 + 12, 0);
    a.jump(JUMP_EQUAL_32, 3, 1_i32.to_be(), Label::Pass);
    a.place(Label::NotLoopback6);
    a.put(MOVE, 7, 0, 0, 1);
    a.place(Label::Chosen);
    a.put(LOAD_U32, 4, 6, PROTOCOL, 0);
    a.jump(JUMP_EQUAL_32, 4, libc::IPPROTO_TCP, Label::Steer);
    a.put(LOAD_U32, 5, 6, LOCAL_PORT, 0);
    a.jump(
        JUMP_DIFFERENT_32,
        5,
        i32::from(super::DNS_PORT),
        Label::Drop,
    );
    a.put(ADD, 7, 0, 0, UDP.cast_signed());
    a.place(Label::Steer);
    a.put(STORE_U32, 10, 7, -4, 0);
    // An immediate of 64 bits takes two instructions; from register 1 means that it is the descriptor of a map.
    a.put(LOAD_IMMEDIATE_64, 1, 1, 0, map);
    a.put(0, 0, 0, 0, 0);
    a.put(MOVE_REGISTER, 2, 10, 0, 0);
    a.put(ADD, 2, 0, 0, -4);
    a.put(CALL, 0, 0, 0, MAP_LOOKUP);
    a.jump(JUMP_EQUAL, 0, 0, Label::Drop);
    a.put(MOVE_REGISTER, 7, 0, 0, 0);
    a.put(MOVE_REGISTER, 1, 6, 0, 0);
    a.put(MOVE_REGISTER, 2, 0, 0, 0);
    a.put(MOVE, 3, 0, 0, 0);
    a.put(CALL, 0, 0, 0, SK_ASSIGN);
    a.put(MOVE_REGISTER, 8, 0, 0, 0);
    a.put(MOVE_REGISTER, 1, 7, 0, 0);
    a.put(CALL, 0, 0, 0, SK_RELEASE);
    a.jump(JUMP_EQUAL, 8, 0, Label::Pass);
    a.place(Label::Drop);
    a.put(MOVE, 0, 0, 0, DROP);
    a.put(EXIT, 0, 0, 0, 0);
    a.place(Label::Pass);
    a.put(MOVE, 0, 0, 0, PASS);
    a.put(EXIT, 0, 0, 0, 0);
    a.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_has_a_place_in_the_program() {
        let code = program(3);
        for (at, word) in code.iter().enumerate() {
            let operation = word & 0xff;
            if matches!(operation, 0x05 | 0x15 | 0x16 | 0x56) {
                let distance = usize::from(u16::try_from(word >> 16 & 0xffff).unwrap());
                assert!(distance > 0 || operation != 0x05, "{at}");
                assert!(at + 1 + distance < code.len(), "{at}");
            }
        }
    }
}
