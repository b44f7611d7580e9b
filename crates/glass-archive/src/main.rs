//! A worker by itself, for tests of this crate; the product runs it as `glasshouse internal archive`.

fn main() -> std::io::Result<()> {
    glass_archive::work()
}
