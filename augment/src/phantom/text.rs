//! Template text: what a terse reader would dictate of a phantom film. Made from the findings by rule, never a report of a
//! person.

use super::{Grade, Pathology, PhantomFinding};

/// What is said where nothing is drawn.
const NORMAL: &str = "No acute cardiopulmonary abnormality.";

/// One sentence a finding, in order.
pub(super) fn template_text(findings: &[PhantomFinding]) -> String {
    if findings.is_empty() {
        return NORMAL.to_owned();
    }
    findings.iter().map(sentence).collect::<Vec<_>>().join(" ")
}

fn sentence(finding: &PhantomFinding) -> String {
    let side = finding.side.map(|side| format!("{side} ")).unwrap_or_default();
    let zone = finding.zone.map(|zone| format!("{zone} zone ")).unwrap_or_default();
    let size = |small, medium, large| match finding.grade() {
        Grade::Mild => small,
        Grade::Moderate => medium,
        Grade::Severe => large,
    };
    let text = match finding.pathology {
        Pathology::Atelectasis => format!("{} {side}basal atelectasis", size("mild", "moderate", "marked")),
        Pathology::Cardiomegaly => format!("{} cardiomegaly", size("mild", "moderate", "severe")),
        Pathology::Consolidation => format!("{} {side}{zone}consolidation", size("patchy", "moderate", "dense")),
        Pathology::Edema => format!("{} pulmonary edema", size("mild", "moderate", "severe")),
        Pathology::Effusion => format!("{} {side}pleural effusion", size("small", "moderate", "large")),
        Pathology::Emphysema => format!("{} emphysema", size("mild", "moderate", "severe")),
        Pathology::Mass | Pathology::Nodule => {
            let cm = finding.diameter_cm().expect("masses and nodules have a diameter");
            let noun = if finding.pathology == Pathology::Mass { "mass" } else { "nodule" };
            format!("{cm:.1} cm {side}{zone}{noun}")
        }
        Pathology::Pneumothorax => format!("{} {side}pneumothorax", size("small", "moderate", "large")),
    };
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>() + ".").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{Side, Zone};
    use super::*;

    #[test]
    fn reads_like_a_terse_reader() {
        let effusion =
            PhantomFinding { pathology: Pathology::Effusion, side: Some(Side::Left), zone: None, severity: 0.5, shape: 0 };
        let nodule = PhantomFinding {
            pathology: Pathology::Nodule,
            side: Some(Side::Right),
            zone: Some(Zone::Upper),
            severity: 0.5,
            shape: 0,
        };
        assert_eq!(template_text(&[effusion, nodule]), "Moderate left pleural effusion. 1.8 cm right upper zone nodule.");
        assert_eq!(template_text(&[]), NORMAL);
    }

    #[test]
    fn every_finding_is_named_with_its_side() {
        for pathology in Pathology::ALL {
            for seed in 0..20 {
                let finding = PhantomFinding::sample(pathology, seed);
                let text = template_text(std::slice::from_ref(&finding)).to_lowercase();
                assert!(text.contains(&pathology.finding().name().to_lowercase()), "{text}");
                assert_eq!(text.contains("left"), finding.side == Some(Side::Left), "{text}");
                assert_eq!(text.contains("right"), finding.side == Some(Side::Right), "{text}");
            }
        }
    }
}
