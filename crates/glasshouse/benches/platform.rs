//! What the platform costs.
fn main() {}
