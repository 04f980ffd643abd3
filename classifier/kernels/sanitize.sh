#!/usr/bin/env bash
# Runs the tests of this crate, the only one with unsafe code, under Miri and under AddressSanitizer.
#
#   classifier/kernels/sanitize.sh [miri|address]      both without an argument
#
# A nightly toolchain is needed: rustup toolchain install nightly --component miri,rust-src
# Miri interprets: it runs the tests named `miri`, of small shapes on one thread, and the rest of what it can in reasonable time.
# AddressSanitizer runs every test, with debug assertions, so that outputs also check that each element is claimed once.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Builds of its own, which leave those of everyday work alone.
target=${CARGO_TARGET_DIR:-target}/sanitize

miri() {
  # burn-flex and gemm look at the time and the processor; gemm's and rayon's memory goes through integers now and then.
  # Tree Borrows, as crossbeam-epoch below rayon reaches the whole of an entry from a pointer to its first field.
  MIRIFLAGS="-Zmiri-tree-borrows -Zmiri-disable-isolation -Zmiri-permissive-provenance -Zmiri-ignore-leaks" RAYON_NUM_THREADS=1 \
    cargo +nightly miri test --target-dir "$target/miri" -p roentgen-kernels --lib -- miri
}

address() {
  local host
  host=$(rustc +nightly -vV | sed -n 's/^host: //p')
  # With --target, build scripts and procedural macros are built without the sanitizer.
  RUSTFLAGS="-Zsanitizer=address -Cdebug-assertions=on" ASAN_OPTIONS=detect_leaks=0 \
    cargo +nightly test --release --target-dir "$target/address" --target "$host" -p roentgen-kernels --lib
}

case ${1:-both} in
  miri) miri ;;
  address) address ;;
  both) miri && address ;;
  *) echo "usage: $0 [miri|address]" >&2 && exit 2 ;;
esac
