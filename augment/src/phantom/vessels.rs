//! The branching vessels of the lungs.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::anatomy::Anatomy;
use super::noise::{Purpose, rng};
use super::tube::Tube;

/// Direction (degrees below the horizontal, away from the midline) and radius (cm) of the main branches of one hilum. Upright,
/// the lower ones carry more blood.
const MAIN: [(f32, f32); 8] =
    [(-80.0, 0.36), (-52.0, 0.44), (-22.0, 0.40), (8.0, 0.46), (34.0, 0.56), (58.0, 0.62), (76.0, 0.60), (98.0, 0.40)];

struct Branch {
    at: [f32; 2],
    heading: f32,
    radius: f32,
    length: f32,
    generation: u32,
    inside: bool,
}

/// The vessels of both lungs of the patient `seed`, down to `generations` branchings.
///
/// A branch that would leave the lung is grown but not drawn, so that a raised diaphragm cuts the tree and never reshapes it.
pub(super) fn vessels(seed: u64, anatomy: &Anatomy, generations: u32) -> Vec<Tube> {
    let mut rng = rng(seed, Purpose::Vessels);
    let mut tubes = Vec::with_capacity(1024);
    let s = anatomy.scale;
    for (side, hilum) in [(-1.0, [4.0, 11.6]), (1.0, [4.2, 10.6])] {
        for (degrees, radius) in MAIN {
            let root = Branch {
                at: [side * hilum[0] * s + rng.random_range(-0.4..0.4), hilum[1] * s + rng.random_range(-0.9..0.9)],
                heading: (degrees + rng.random_range(-9.0..9.0_f32)).to_radians(),
                radius: radius * rng.random_range(0.85..1.15),
                length: rng.random_range(3.0..4.4) * s,
                generation: 0,
                inside: true,
            };
            grow(&mut tubes, &mut rng, anatomy, side, root, generations);
        }
    }
    tubes
}

fn grow(tubes: &mut Vec<Tube>, rng: &mut ChaCha8Rng, anatomy: &Anatomy, side: f32, root: Branch, generations: u32) {
    let mut pending = vec![root];
    while let Some(branch) = pending.pop() {
        let steps = 4;
        let bend = rng.random_range(-0.16..0.16_f32);
        let (mut at, mut heading) = (branch.at, branch.heading);
        let mut axis = vec![[at[0], at[1], 0.0]];
        let mut inside = branch.inside;
        for _ in 0..steps {
            heading += bend;
            let step = branch.length / steps as f32;
            at = [at[0] + side * step * heading.cos(), at[1] + step * heading.sin()];
            let near_wall = anatomy.outer(at[1]) - at[0].abs() < 0.7;
            inside &= !near_wall && at[1] > 0.8;
            if inside {
                axis.push([at[0], at[1], 0.0]);
            }
        }
        let end = branch.radius * 0.80;
        if axis.len() > 1 {
            tubes.push(Tube::rod(axis, [branch.radius, end]));
        }
        if branch.generation < generations {
            let spread = rng.random_range(0.28..0.62_f32);
            let lean = rng.random_range(-0.18..0.18_f32);
            // Murray's law, r^3 = a^3 + b^3, for a fork of unequal branches.
            let share = rng.random_range(0.35..0.65_f32);
            for (turn, part) in [(spread * (1.0 - share) * 2.0, share), (-spread * share * 2.0, 1.0 - share)] {
                pending.push(Branch {
                    at,
                    heading: heading + turn + lean,
                    radius: end * part.cbrt(),
                    length: branch.length * rng.random_range(0.62..0.90),
                    generation: branch.generation + 1,
                    inside,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Pathology, PhantomFinding, PhantomPatient, PhantomPhysics, PhantomStudy};
    use super::*;
    use crate::record::View;

    #[test]
    fn a_wider_chest_shows_more_of_the_same_tree() {
        let physics = PhantomPhysics::reference();
        let tree = |findings| {
            let study = PhantomStudy::of_findings(PhantomPatient::sample(4), findings, View::Pa, 4);
            vessels(4, &Anatomy::of(&study, &physics), physics.vessel_generations)
        };
        let emphysema = PhantomFinding { severity: 1.0, ..PhantomFinding::sample(Pathology::Emphysema, 4) };
        let (narrow, wide) = (tree(vec![]), tree(vec![emphysema]));
        assert!(narrow.len() > 300 && wide.len() >= narrow.len(), "{} and {}", narrow.len(), wide.len());
        for tube in &narrow {
            assert!(wide.iter().any(|other| other.axis.starts_with(&tube.axis)));
        }
    }
}
