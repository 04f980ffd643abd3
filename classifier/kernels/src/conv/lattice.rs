//! The geometry of a convolution, one axis at a time.

/// A tap of a kernel along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tap {
    /// Added to a point's place in the source.
    pub(super) offset: isize,
    /// Place in the kernel.
    pub(super) index: usize,
}

/// An axis of a grid whose point `g` sees the source at `step * g + offset`, for each tap, and is written to the target at
/// `stride * g + start`.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) source: usize,
    pub(super) step: usize,
    pub(super) taps: Vec<Tap>,
    pub(super) points: usize,
    pub(super) target: usize,
    pub(super) stride: usize,
    pub(super) start: usize,
}

impl Axis {
    /// Whether each point reads only its own place.
    pub(super) fn is_identity(&self) -> bool {
        self.step == 1 && self.source == self.points && matches!(self.taps[..], [Tap { offset: 0, .. }])
    }

    /// Whether the grid is the whole target.
    pub(super) fn is_dense(&self) -> bool {
        self.stride == 1 && self.points == self.target
    }

    /// Smallest and largest offset.
    pub(super) fn reach(&self) -> [isize; 2] {
        let offsets = || self.taps.iter().map(|tap| tap.offset);
        [offsets().min().unwrap_or(0), offsets().max().unwrap_or(0)]
    }
}

/// One axis of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) input: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    /// Zeros before and after the input.
    pub(super) padding: (usize, usize),
    pub(super) dilation: usize,
}

impl Window {
    /// Number of outputs; `None` where the kernel does not fit.
    pub(super) fn output(&self) -> Option<usize> {
        let extent = self.dilation * self.kernel.checked_sub(1)? + 1;
        let free = (self.input + self.padding.0 + self.padding.1).checked_sub(extent)?;
        Some(free / self.stride + 1)
    }

    /// Outputs from inputs.
    pub(super) fn forward(&self) -> Axis {
        let output = self.output().expect("a kernel that does not fit is not computed here");
        let tap = |index| Tap { offset: (index * self.dilation) as isize - self.padding.0 as isize, index };
        Axis {
            source: self.input,
            step: self.stride,
            taps: (0..self.kernel).map(tap).collect(),
            points: output,
            target: output,
            stride: 1,
            start: 0,
        }
    }

    /// Gradients w.r.t. the inputs from those w.r.t. the outputs.
    ///
    /// Tap `k` of output `o` saw input `i = stride * o + dilation * k - padding`. So the taps that reach an input depend on its
    /// remainder by the stride: each remainder is a grid of its own, which may have no taps.
    pub(super) fn backward(&self) -> Vec<Axis> {
        let output = self.output().expect("a kernel that does not fit is not computed here");
        let stride = self.stride as isize;
        let grid = |start: usize| {
            let tap = |index: usize| {
                let distance = (start + self.padding.0) as isize - (index * self.dilation) as isize;
                (distance.rem_euclid(stride) == 0).then(|| Tap { offset: distance.div_euclid(stride), index })
            };
            Axis {
                source: output,
                step: 1,
                taps: (0..self.kernel).rev().filter_map(tap).collect(),
                points: (self.input - start).div_ceil(self.stride),
                target: self.input,
                stride: self.stride,
                start,
            }
        };
        (0..self.stride.min(self.input)).map(grid).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What an input's gradient collects is what outputs saw of that input.
        #[test]
        fn backward_reverses_forward(
            input in 1usize..12, kernel in 1usize..5, stride in 1usize..4, before in 0usize..4, after in 0usize..4,
            dilation in 1usize..3,
        ) {
            let window = Window { input, kernel, stride, padding: (before, after), dilation };
            prop_assume!(window.output().is_some());
            let mut seen = Vec::new();
            let forward = window.forward();
            for point in 0..forward.points {
                for tap in &forward.taps {
                    let place = (forward.step * point) as isize + tap.offset;
                    if (0..input as isize).contains(&place) {
                        seen.push((place as usize, point, tap.index));
                    }
                }
            }
            let mut collected = Vec::new();
            for axis in window.backward() {
                for point in 0..axis.points {
                    for tap in &axis.taps {
                        let place = point as isize + tap.offset;
                        if (0..axis.source as isize).contains(&place) {
                            collected.push((axis.stride * point + axis.start, place as usize, tap.index));
                        }
                    }
                }
            }
            seen.sort_unstable();
            collected.sort_unstable();
            prop_assert_eq!(seen, collected);
        }
    }
}
