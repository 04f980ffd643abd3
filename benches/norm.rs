//! norm.

fn main() {
    divan::main();
}
