//! The choice of the instruction set.
//!
//! One binary runs on every processor of its architecture: each kernel is compiled once for every instruction set that `pulp` knows
//! (x86-64: plain, AVX2 with FMA, AVX-512; AArch64: NEON), and [`run`] calls the best of these that the processor has. The
//! processor is asked once for each process. Nothing else in this crate chooses, but the matrix products, which the `gemm` crate
//! makes: it asks the same questions and has the same answers.
//!
//! To try another instruction set, run the program on an emulated processor; there is no switch.

use pulp::WithSimd;

/// Calls `op`, compiled for the best instruction set that this processor has.
///
/// `op` is a closure, or a [`WithSimd`] where it is long or the length of a vector matters. All instruction sets share one closure,
/// which the compiler inlines into each of them only if it is short; a [`WithSimd`] is generated anew for each. The functions that `op`
/// calls must be inlined to be compiled with it: `#[inline(always)]`.
#[inline(always)]
pub(crate) fn run<Op: WithSimd>(op: Op) -> Op::Output {
    pulp::Arch::new().dispatch(op)
}
