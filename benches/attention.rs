//! attention.

fn main() {
    divan::main();
}
