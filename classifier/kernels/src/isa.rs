//! The choice of the instruction set.
//!
//! One binary runs on every processor of its architecture: each kernel is compiled once for every instruction set that `pulp` knows
//! (x86-64: plain, AVX2 with FMA, AVX-512; AArch64: NEON), and [`run`] calls the best of these that the processor has. The
//! processor is asked once for each process. Nothing else in this crate chooses, but the matrix products of 32-bit floats, which the
//! `gemm` crate makes: it asks the same questions and has the same answers.
//!
//! Matrix products of brain floats are made by the best [unit](Brain) that the processor has and the operating system permits.
//!
//! To try another instruction set, run the program on an emulated processor; there is no switch.

use std::sync::LazyLock;

use pulp::WithSimd;

/// Calls `op`, compiled for the best instruction set that this processor has.
///
/// Where the length of a vector does not matter, [`vectorized`] takes an expression. The functions and closures that `op` calls must be
/// inlined to be compiled with it: `#[inline(always)]`.
#[inline(always)]
pub(crate) fn run<Op: WithSimd>(op: Op) -> Op::Output {
    pulp::Arch::new().dispatch(op)
}

/// Computes an expression, compiled for the best instruction set that this processor has; see [`run`].
///
/// A long closure is inlined into the code for an instruction set only if it is marked. One that might be called several times is called
/// once through a function that is not marked, which all instruction sets share, and which is compiled for the least of them: so it is
/// given something that can be used once.
macro_rules! vectorized {
    ($op:expr) => {{
        let once = $crate::isa::Once;
        $crate::isa::run(
            #[inline(always)]
            || {
                let _used = once;
                $op
            },
        )
    }};
}
pub(crate) use vectorized;

/// What makes a closure of [`vectorized`] one that is called once: it cannot be copied.
pub(crate) struct Once;

/// What multiplies matrices of brain floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brain {
    /// AMX's tiles: on x86-64 with `amx-tile`, `amx-bf16` and AVX-512 with brain floats, where Linux saves the tiles with a thread's
    /// other registers and has permitted their use to this process.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    Tiles,
    /// AVX-512's sums of two products, `avx512bf16`. Not on Intel's processors, where one takes as long as four of the 32-bit
    /// instructions that do half of its work each: 117 and 238 GFLOP/s were measured on a Xeon of family 6, model 167.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    Dots,
    /// Products of 32-bit floats, everywhere.
    Wide,
}

/// The best that this machine has.
pub(crate) fn brain() -> Brain {
    static BEST: LazyLock<Brain> = LazyLock::new(|| Brain::available()[0]);
    *BEST
}

impl Brain {
    /// All that this machine has, the best first.
    pub(crate) fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            let mut dots = Vec::new();
            // Both read factors that are packed by AVX-512, and have their results rounded by it.
            let packs = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bf16");
            if packs && tiles::are_there() && tiles::are_permitted() {
                all.push(Self::Tiles);
            }
            if packs {
                dots.push(Self::Dots);
            }
            if is_intels() {
                all.push(Self::Wide);
                all.extend(dots);
                return all;
            }
            all.extend(dots);
        }
        all.push(Self::Wide);
        all
    }
}

/// What 32-bit floats are computed with on this processor, in words.
#[must_use]
pub fn float_instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    return match pulp::x86::V4::try_new().is_some() {
        true => "AVX-512",
        false if pulp::x86::V3::try_new().is_some() => "AVX2",
        false => "SSE2",
    };
    #[cfg(target_arch = "aarch64")]
    return "NEON";
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    "no vectors"
}

/// What multiplies matrices of brain floats on this processor, in words.
#[must_use]
pub fn brain_instructions() -> &'static str {
    match brain() {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        Brain::Tiles => "AMX tiles",
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        Brain::Dots => "AVX-512's products of pairs",
        Brain::Wide => "products of 32-bit floats",
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn is_intels() -> bool {
    let maker = std::arch::x86_64::__cpuid(0);
    [maker.ebx, maker.edx, maker.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
}

/// What Rust does not tell of AMX yet.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod tiles {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// Whether processor and operating system have tiles that multiply brain floats (Intel's manual, volume 1, sections 13.3 and 18.2).
    pub(super) fn are_there() -> bool {
        const OSXSAVE: u32 = 1 << 27;
        const AMX_BF16: u32 = 1 << 22;
        const AMX_TILE: u32 = 1 << 24;
        /// Shapes and contents of the tiles are saved when another thread runs.
        const SAVED: u64 = 1 << 17 | 1 << 18;
        let asked = |leaf: u32| __cpuid(0).eax >= leaf;
        asked(7)
            && __cpuid(1).ecx & OSXSAVE != 0
            && __cpuid_count(7, 0).edx & AMX_BF16 != 0
            && __cpuid_count(7, 0).edx & AMX_TILE != 0
            && {
                // SAFETY: the bit OSXSAVE says that the instruction is there.
                let saved = unsafe { _xgetbv(0) };
                saved & SAVED == SAVED
            }
    }

    /// Whether Linux lets this process use them; it has to be asked (`Documentation/arch/x86/xstate.rst`). The answer holds for all
    /// threads, also for those that begin later.
    #[cfg(target_os = "linux")]
    pub(super) fn are_permitted() -> bool {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const XTILEDATA: libc::c_long = 18;
        // SAFETY: the call changes nothing but the permission.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0 }
    }

    /// Not tried elsewhere.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn are_permitted() -> bool {
        false
    }
}
