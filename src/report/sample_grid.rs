//! Real images beside synthetic ones.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

/// Images in columns, to be compared row by row: real, then one column per source of synthetic images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleGrid {
    /// From left to right.
    pub columns: Vec<GridColumn>,
}

/// One column of a [`SampleGrid`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridColumn {
    /// What these images are: `Real`, `Phantom, shifted simulator`, …
    pub title: String,
    /// From top to bottom; columns may differ in length.
    pub images: Vec<GridImage>,
}

/// One image of a [`GridColumn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridImage {
    /// The bytes of a PNG file.
    pub png: Vec<u8>,
    /// Text below it, such as its findings.
    pub caption: String,
    /// The prompt that it was made from.
    pub prompt: Option<String>,
    /// What became of it at the gate.
    pub gate: Option<String>,
}

impl SampleGrid {
    /// The grid with its images inside, or nothing if there are none.
    pub(crate) fn render(&self) -> Markup {
        let rows = self.columns.iter().map(|column| column.images.len()).max().unwrap_or(0);
        html! {
            div.samples style={ "grid-template-columns: repeat(" (self.columns.len().max(1)) ", minmax(0, 190px))" } {
                @for column in &self.columns { div.head { (column.title) } }
                @for row in 0..rows {
                    @for column in &self.columns {
                        @if let Some(image) = column.images.get(row) { (image.render(&column.title)) } @else { div {} }
                    }
                }
            }
        }
    }

    /// Whether there is any image to show.
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.iter().all(|column| column.images.is_empty())
    }
}

impl GridImage {
    fn render(&self, column: &str) -> Markup {
        html! {
            div.sample {
                img src={ "data:image/png;base64," (STANDARD.encode(&self.png)) } alt={ (column) ": " (self.caption) };
                div.caption {
                    (self.caption)
                    @if let Some(prompt) = &self.prompt { span.prompt { (prompt) } }
                    @if let Some(gate) = &self.gate { span.gate { "gate: " (gate) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::mock;

    #[test]
    fn columns_of_unlike_length_keep_their_rows() {
        let mut grid = mock::grid();
        grid.columns[0].images.truncate(1);
        let html = grid.render().into_string();
        assert_eq!(html.matches("<img").count(), 5);
        assert_eq!(html.matches("<div></div>").count(), 3);
        // Base64 of 137 80 78 71 0, by Python's base64.b64encode.
        assert!(html.contains("data:image/png;base64,iVBORwA="), "{html}");
    }

    #[test]
    fn prompt_and_gate_are_below_the_image() {
        let mut grid = mock::grid();
        let image = &mut grid.columns[1].images[0];
        (image.prompt, image.gate) = (Some("small <left> effusion".into()), Some("passed 2".into()));
        let html = grid.render().into_string();
        assert!(html.contains("<span class=\"prompt\">small &lt;left&gt; effusion</span>"), "{html}");
        assert_eq!(html.matches("gate: passed 2").count(), 1);
    }

    #[test]
    fn a_grid_without_images_is_empty() {
        assert!(SampleGrid::default().is_empty());
        assert!(!mock::grid().is_empty());
    }
}
