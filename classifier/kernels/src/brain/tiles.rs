//! AMX: sums in registers of 16 rows of 16 numbers. Stable Rust has no functions for it, but assembly.

use std::arch::asm;

use super::block::Block;
use super::pack::Tile;

/// The registers' shapes, as the processor reads them (Intel's manual, volume 1, section 18.3).
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    /// Bytes of a row, of each register.
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// All eight registers of 16 rows of 64 bytes.
const SHAPES: Shapes = {
    let (mut bytes, mut rows) = ([0; 16], [0; 16]);
    let mut register = 0;
    while register < 8 {
        (bytes[register], rows[register]) = (64, 16);
        register += 1;
    }
    Shapes { palette: 1, start: 0, reserved: [0; 14], bytes, rows }
};

/// The tiles of this thread, configured until this is dropped: whatever runs on it next finds them as if they had never been used.
pub(super) struct Configured(());

impl Configured {
    /// # Safety
    /// The processor has AMX for brain floats, and Linux has permitted it to this process.
    pub(super) unsafe fn new() -> Self {
        // SAFETY: the processor reads 64 bytes of shapes that it has.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &SHAPES, options(nostack, preserves_flags, readonly)) };
        Self(())
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: the instruction is there, as it was when the tiles were configured.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }
}

/// Instructions before, in and after the loop over tiles of a block. Registers 0 to 3 hold its sums, 4 and 5 the left factor's tiles, 6 and
/// 7 the right one's.
macro_rules! sums {
    ($block:expr, before: $($before:literal)+, each: $($each:literal)+, after: $($after:literal)+) => {{
        let block: Block = $block;
        let steps = block.left[0].len();
        assert!(steps > 0 && block.right[0].len() == steps, "both factors have the same terms");
        let second = |panels: [&[Tile]; 2]| {
            assert!(panels[1].is_empty() || panels[1].len() == steps, "all panels have the same terms");
            panels[1].as_ptr()
        };
        let row = size_of::<f32>() * block.row;
        // A row of zeros is read sixteen times.
        let (start, start_row) = if block.add { (block.out.cast_const(), row) } else { (ZEROS.0.as_ptr(), 0) };
        asm!(
            "lea {half}, [{start} + 8*{start_row}]",
            "lea {half}, [{half} + 8*{start_row}]",
            $($before,)+
            "2:",
            $($each,)+
            "add {a}, 1024",
            "add {b}, 1024",
            "add {c}, 1024",
            "add {d}, 1024",
            "dec {steps}",
            "jnz 2b",
            "lea {half}, [{out} + 8*{row}]",
            "lea {half}, [{half} + 8*{row}]",
            $($after,)+
            half = out(reg) _,
            start = in(reg) start,
            start_row = in(reg) start_row,
            a = inout(reg) block.left[0].as_ptr() => _,
            b = inout(reg) second(block.left) => _,
            c = inout(reg) block.right[0].as_ptr() => _,
            d = inout(reg) second(block.right) => _,
            line = in(reg) 64usize,
            steps = inout(reg) steps => _,
            out = in(reg) block.out,
            row = in(reg) row,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    }};
}

#[repr(align(64))]
struct Zeros([f32; 32]);

static ZEROS: Zeros = Zeros([0.0; 32]);

/// Writes the block's sums, or adds them to what is there.
///
/// # Safety
/// The tiles are [configured](Configured), and the block's promises hold.
pub(super) unsafe fn add(block: Block) {
    // SAFETY: the caller's promises. As many tiles are read as the panels have, and the registers are told to the compiler.
    unsafe {
        match (block.left[1].is_empty(), block.right[1].is_empty()) {
            (false, false) => sums!(
                block,
                before:
                    "tileloadd tmm0, [{start} + 1*{start_row}]"
                    "tileloadd tmm1, [{start} + 1*{start_row} + 64]"
                    "tileloadd tmm2, [{half} + 1*{start_row}]"
                    "tileloadd tmm3, [{half} + 1*{start_row} + 64]",
                each:
                    "tileloadd tmm4, [{a} + 1*{line}]"
                    "tileloadd tmm6, [{c} + 1*{line}]"
                    "tileloadd tmm7, [{d} + 1*{line}]"
                    "tdpbf16ps tmm0, tmm4, tmm6"
                    "tdpbf16ps tmm1, tmm4, tmm7"
                    "tileloadd tmm5, [{b} + 1*{line}]"
                    "tdpbf16ps tmm2, tmm5, tmm6"
                    "tdpbf16ps tmm3, tmm5, tmm7",
                after:
                    "tilestored [{out} + 1*{row}], tmm0"
                    "tilestored [{out} + 1*{row} + 64], tmm1"
                    "tilestored [{half} + 1*{row}], tmm2"
                    "tilestored [{half} + 1*{row} + 64], tmm3"
            ),
            (false, true) => sums!(
                block,
                before:
                    "tileloadd tmm0, [{start} + 1*{start_row}]"
                    "tileloadd tmm2, [{half} + 1*{start_row}]",
                each:
                    "tileloadd tmm4, [{a} + 1*{line}]"
                    "tileloadd tmm6, [{c} + 1*{line}]"
                    "tdpbf16ps tmm0, tmm4, tmm6"
                    "tileloadd tmm5, [{b} + 1*{line}]"
                    "tdpbf16ps tmm2, tmm5, tmm6",
                after:
                    "tilestored [{out} + 1*{row}], tmm0"
                    "tilestored [{half} + 1*{row}], tmm2"
            ),
            (true, false) => sums!(
                block,
                before:
                    "tileloadd tmm0, [{start} + 1*{start_row}]"
                    "tileloadd tmm1, [{start} + 1*{start_row} + 64]",
                each:
                    "tileloadd tmm4, [{a} + 1*{line}]"
                    "tileloadd tmm6, [{c} + 1*{line}]"
                    "tdpbf16ps tmm0, tmm4, tmm6"
                    "tileloadd tmm7, [{d} + 1*{line}]"
                    "tdpbf16ps tmm1, tmm4, tmm7",
                after:
                    "tilestored [{out} + 1*{row}], tmm0"
                    "tilestored [{out} + 1*{row} + 64], tmm1"
            ),
            (true, true) => sums!(
                block,
                before:
                    "tileloadd tmm0, [{start} + 1*{start_row}]",
                each:
                    "tileloadd tmm4, [{a} + 1*{line}]"
                    "tileloadd tmm6, [{c} + 1*{line}]"
                    "tdpbf16ps tmm0, tmm4, tmm6",
                after:
                    "tilestored [{out} + 1*{row}], tmm0"
            ),
        }
    }
}
