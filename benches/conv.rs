//! conv.

fn main() {
    divan::main();
}
