//! What every runtime promises, and what only containers do.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod docker;
#[cfg(test)]
mod escape;
#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod storage;
#[cfg(test)]
mod world;
#[cfg(test)]
mod writable;
