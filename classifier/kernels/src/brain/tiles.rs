//! AMX: sums in registers of 16 rows of 16 numbers. Stable Rust has no functions for it, but assembly.

use std::arch::asm;

use super::block::Block;

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

/// Instructions before, in and after the loop over tiles of a block; before it, sums are cleared or loaded. Registers 0 to 3 hold the sums,
/// 4 and 5 the left factor's tiles, 6 and 7 the right one's.
macro_rules! sums {
    ($block:expr, clear: $($clear:literal)+, load: $($load:literal)+, each: $($each:literal)+, store: $($store:literal)+) => {
        if $block.add {
            sums!(@ $block, $($load)+, $($each)+, $($store)+)
        } else {
            sums!(@ $block, $($clear)+, $($each)+, $($store)+)
        }
    };
    (@ $block:expr, $($before:literal)+, $($each:literal)+, $($after:literal)+) => {{
        let block: Block = $block;
        let steps = block.right[0].len();
        let second = block.right[1];
        assert!(steps > 0 && (second.is_empty() || second.len() == steps), "all panels have the same terms");
        asm!(
            "lea {half}, [{out} + 8*{row}]",
            "lea {half}, [{half} + 8*{row}]",
            $($before,)+
            "2:",
            $($each,)+
            "add {a}, {tile}",
            "add {b}, {tile}",
            "add {c}, 1024",
            "add {d}, 1024",
            "dec {steps}",
            "jnz 2b",
            $($after,)+
            half = out(reg) _,
            a = inout(reg) block.left.first[0] => _,
            b = inout(reg) block.left.first[1] => _,
            c = inout(reg) block.right[0].as_ptr() => _,
            d = inout(reg) second.as_ptr() => _,
            // Of a row of the left factor, and of a packed one.
            left = in(reg) block.left.line,
            tile = in(reg) block.left.tile,
            line = in(reg) 64usize,
            steps = inout(reg) steps => _,
            out = in(reg) block.out,
            row = in(reg) size_of::<f32>() * block.row,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    }};
}

/// Writes the block's sums, or adds them to what is there.
///
/// # Safety
/// The tiles are [configured](Configured), and the block's promises hold.
pub(super) unsafe fn add(block: Block) {
    // SAFETY: the caller's promises. As many tiles are read as the panels have, and the registers are told to the compiler.
    unsafe {
        match (block.left.first[1].is_null(), block.right[1].is_empty()) {
            (false, false) => sums!(
                block,
                clear: "tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3",
                load:
                    "tileloadd tmm0, [{out} + 1*{row}]"
                    "tileloadd tmm1, [{out} + 1*{row} + 64]"
                    "tileloadd tmm2, [{half} + 1*{row}]"
                    "tileloadd tmm3, [{half} + 1*{row} + 64]",
                each:
                    "tileloadd tmm4, [{a} + 1*{left}]"
                    "tileloadd tmm6, [{c} + 1*{line}]"
                    "tileloadd tmm7, [{d} + 1*{line}]"
                    "tdpbf16ps tmm0, tmm4, tmm6"
                    "tdpbf16ps tmm1, tmm4, tmm7"
                    "tileloadd tmm5, [{b} + 1*{left}]"
                    "tdpbf16ps tmm2, tmm5, tmm6"
                    "tdpbf16ps tmm3, tmm5, tmm7",
                store:
                    "tilestored [{out} + 1*{row}], tmm0"
                    "tilestored [{out} + 1*{row} + 64], tmm1"
                    "tilestored [{half} + 1*{row}], tmm2"
                    "tilestored [{half} + 1*{row} + 64], tmm3"
            ),
            (false, true) => sums!(
                block,
                clear: "tilezero tmm0" "tilezero tmm2",
                load:
                    "tileloadd tmm0, [{out} + 1*{row}]"
                    "tileloadd tmm2, [{half} + 1*{row}]",
                each:
                    "tileloadd tmm4, [{a} + 1*{left}]"
                    "tileloadd tmm6, [{c} + 1*{line}]"
                    "tdpbf16ps tmm0, tmm4, tmm6"
                    "tileloadd tmm5, [{b} + 1*{left}]"
                    "tdpbf16ps tmm2, tmm5, tmm6",
                store:
                    "tilestored [{out} + 1*{row}], tmm0"
                    "tilestored [{half} + 1*{row}], tmm2"
            ),
            (true, false) => sums!(
                block,
                clear: "tilezero tmm0" "tilezero tmm1",
                load:
                    "tileloadd tmm0, [{out} + 1*{row}]"
                    "tileloadd tmm1, [{out} + 1*{row} + 64]",
                each:
                    "tileloadd tmm4, [{a} + 1*{left}]"
                    "tileloadd tmm6, [{c} + 1*{line}]"
                    "tdpbf16ps tmm0, tmm4, tmm6"
                    "tileloadd tmm7, [{d} + 1*{line}]"
                    "tdpbf16ps tmm1, tmm4, tmm7",
                store:
                    "tilestored [{out} + 1*{row}], tmm0"
                    "tilestored [{out} + 1*{row} + 64], tmm1"
            ),
            (true, true) => sums!(
                block,
                clear: "tilezero tmm0",
                load: "tileloadd tmm0, [{out} + 1*{row}]",
                each:
                    "tileloadd tmm4, [{a} + 1*{left}]"
                    "tileloadd tmm6, [{c} + 1*{line}]"
                    "tdpbf16ps tmm0, tmm4, tmm6",
                store: "tilestored [{out} + 1*{row}], tmm0"
            ),
        }
    }
}
