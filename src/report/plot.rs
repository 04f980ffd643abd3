//! Plots as SVG without scripts. They are written by hand with maud: forest plots and ROC panels are a few lines and dots, and so
//! their text is real text, every mark has a tooltip, and names from the run file are escaped.

mod axis;
mod calibration;
mod forest;
mod layout;
mod losses;
mod palette;
mod roc;

pub(crate) use calibration::calibration_panels;
pub use forest::svg_forest;
pub(crate) use forest::{finding_forests, macro_forest};
pub use losses::svg_losses;
pub(crate) use palette::inks;
pub(crate) use roc::{legend, roc_panels};

/// Fonts of a figure; those of the page's tables.
const FONT: &str = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif";

/// Width of an average character in units of the font size; wide enough for the fonts above.
const CHARACTER: f64 = 0.56;

/// At most `room` characters of `text`, truncated with an ellipsis.
fn shortened(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

/// A coordinate with one decimal, so that figures stay small.
fn at(coordinate: f64) -> String {
    format!("{coordinate:.1}")
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn long_names_are_cut() {
        assert_eq!(shortened("Hernia", 6), "Hernia");
        assert_eq!(shortened("Pneumothorax", 6), "Pneum…");
        assert_eq!(shortened("Überdruck", 3), "Üb…");
    }
}
