//! Addresses that stand for names.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

/// The range that is kept for tests of networks, so nothing public is in it. The first two are no one's and the
/// sandbox's own.
const FIRST: u32 = Ipv4Addr::new(198, 18, 0, 2).to_bits();
const LAST: u32 = Ipv4Addr::new(198, 19, 255, 254).to_bits();
/// Names at the same time. The one that was used longest ago goes first; there are more addresses, so that one that is
/// still remembered somewhere means nothing for a while before it means another name.
const CAPACITY: usize = 16 * 1024;

/// Which address stands for which name, for as long as either is used.
#[derive(Debug)]
pub(super) struct Names {
    addresses: HashMap<String, Ipv4Addr>,
    names: HashMap<Ipv4Addr, (String, u64)>,
    /// In the order of their last use.
    uses: BTreeMap<u64, Ipv4Addr>,
    last_use: u64,
    next: u32,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            addresses: HashMap::new(),
            names: HashMap::new(),
            uses: BTreeMap::new(),
            last_use: 0,
            next: FIRST,
        }
    }
}

impl Names {
    pub(super) fn address_of(&mut self, name: &str) -> Ipv4Addr {
        if let Some(&address) = self.addresses.get(name) {
            self.touch(address);
            return address;
        }
        if self.names.len() >= CAPACITY
            && let Some((_, oldest)) = self.uses.pop_first()
            && let Some((name, _)) = self.names.remove(&oldest)
        {
            self.addresses.remove(&name);
        }
        let address = self.free();
        self.addresses.insert(name.to_owned(), address);
        self.names.insert(address, (name.to_owned(), 0));
        self.touch(address);
        address
    }

    pub(super) fn name_of(&mut self, address: Ipv4Addr) -> Option<String> {
        let name = self.names.get(&address)?.0.clone();
        self.touch(address);
        Some(name)
    }

    /// There are more addresses than names.
    fn free(&mut self) -> Ipv4Addr {
        loop {
            let address = Ipv4Addr::from_bits(self.next);
            self.next = if self.next == LAST {
                FIRST
            } else {
                self.next + 1
            };
            if !self.names.contains_key(&address) {
                return address;
            }
        }
    }

    fn touch(&mut self, address: Ipv4Addr) {
        if let Some((_, used)) = self.names.get_mut(&address) {
            self.uses.remove(used);
            self.last_use += 1;
            *used = self.last_use;
            self.uses.insert(self.last_use, address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_address_and_an_address_its_name() {
        let mut names = Names::default();
        let (a, b) = (names.address_of("a"), names.address_of("b"));
        assert_ne!(a, b);
        assert_eq!(names.address_of("a"), a);
        assert_eq!(names.name_of(b).as_deref(), Some("b"));
        assert_eq!(names.name_of(Ipv4Addr::new(198, 18, 0, 1)), None);
    }

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let mut names = Names::default();
        let (a, b) = (names.address_of("a"), names.address_of("b"));
        for number in 0..CAPACITY - 2 {
            names.address_of(&number.to_string());
        }
        names.name_of(a);
        let fresh = names.address_of("fresh");
        assert!(fresh != a && fresh != b);
        assert_eq!(names.name_of(a).as_deref(), Some("a"));
        assert_eq!(names.name_of(b), None);
        // However many come and go, no address means two names and the table does not grow.
        for number in 0..200_000 {
            let name = format!("n{number}");
            let address = names.address_of(&name);
            assert_eq!(names.name_of(address), Some(name));
        }
        assert_eq!(names.names.len(), CAPACITY);
        assert_eq!(
            (names.addresses.len(), names.uses.len()),
            (CAPACITY, CAPACITY)
        );
    }
}
