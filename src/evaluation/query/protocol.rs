//! Sets that are drawn by a protocol.

use std::collections::HashSet;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use roentgen_augment::record::{Finding, Label};

use super::QueryError;

/// So many queries and candidates of each category, drawn from images that are of this category alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The categories.
    pub categories: Vec<Finding>,
    /// Image queries of each.
    pub queries: usize,
    /// Candidates of each.
    pub candidates: usize,
    /// Seed of the draw.
    pub seed: u64,
}

/// Images that were drawn, as places in the set, with the category of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Queries, category by category.
    pub queries: Vec<(usize, usize)>,
    /// Candidates, category by category: no image of a patient who has a query.
    pub candidates: Vec<(usize, usize)>,
}

/// CheXpert 8x200's categories.
const EIGHT: [&str; 8] =
    ["Atelectasis", "Cardiomegaly", "Edema", "Fracture", "Effusion", "Pneumonia", "Pneumothorax", "No Finding"];

impl Protocol {
    /// CheXpert 8x200 (Zhang et al., arXiv 2010.00747, section 4.2): eight categories with 10 image queries and 200 candidates each.
    ///
    /// # Panics
    /// Never: all eight are known findings.
    #[must_use]
    pub fn chexpert_8x200(seed: u64) -> Self {
        let categories = EIGHT.map(|name| Finding::parse(name).expect("a known finding")).to_vec();
        Self { categories, queries: 10, candidates: 200, seed }
    }

    /// Draws from `images` images. An image is of a category alone if `label` says that it is positive and no other category is positive or
    /// uncertain. Queries come first, from as many patients as there are; then candidates of other patients.
    ///
    /// # Errors
    /// [`QueryError::TooFew`].
    pub fn draw<'a>(
        &self,
        images: usize,
        label: impl Fn(usize, Finding) -> Label,
        patient: impl Fn(usize) -> &'a str,
    ) -> Result<Draw, QueryError> {
        let mut of_category: Vec<Vec<usize>> = vec![Vec::new(); self.categories.len()];
        for image in 0..images {
            let labels = self.categories.iter().map(|finding| label(image, *finding));
            let present: Vec<(usize, Label)> =
                labels.enumerate().filter(|(_, label)| matches!(label, Label::Positive | Label::Uncertain)).collect();
            if let [(category, Label::Positive)] = present[..] {
                of_category[category].push(image);
            }
        }
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        of_category.iter_mut().for_each(|images| images.shuffle(&mut random));
        let (mut queries, mut candidates, mut asking) = (Vec::new(), Vec::new(), HashSet::new());
        for (category, images) in of_category.iter().enumerate() {
            let mut own = HashSet::new();
            let mut chosen: Vec<usize> = images.iter().copied().filter(|image| own.insert(patient(*image))).collect();
            chosen.truncate(self.queries);
            asking.extend(chosen.iter().map(|image| patient(*image)));
            queries.extend(chosen.into_iter().map(|image| (image, category)));
        }
        for (category, images) in of_category.iter().enumerate() {
            let others = images.iter().filter(|image| !asking.contains(patient(**image))).take(self.candidates);
            candidates.extend(others.map(|image| (*image, category)));
            let count = |drawn: &[(usize, usize)]| drawn.iter().filter(|(_, of)| *of == category).count();
            if count(&queries) < self.queries || count(&candidates) < self.candidates {
                return Err(QueryError::TooFew {
                    category: self.categories[category].name().to_owned(),
                    found: images.len(),
                    expected: self.queries + self.candidates,
                    queries: self.queries,
                    candidates: self.candidates,
                });
            }
        }
        Ok(Draw { queries, candidates })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Image `i` shows category `i % 8` alone, but every ninth has one more, and is of one of 700 patients.
    fn label(protocol: &Protocol, image: usize, finding: Finding) -> Label {
        let category = protocol.categories.iter().position(|other| *other == finding).unwrap();
        let also = image.is_multiple_of(9) && category == (image + 1) % 8;
        if category == image % 8 {
            Label::Positive
        } else if also {
            Label::Uncertain
        } else {
            [Label::Missing, Label::Negative][image % 2]
        }
    }

    #[test]
    fn eight_times_two_hundred_are_drawn_from_other_patients() {
        let protocol = Protocol::chexpert_8x200(3);
        let patients: Vec<String> = (0..3000).map(|image| format!("p{}", image % 701)).collect();
        let draw = |seed| {
            let protocol = Protocol { seed, ..protocol.clone() };
            protocol.draw(3000, |image, finding| label(&protocol, image, finding), |image| &patients[image]).unwrap()
        };
        let drawn = draw(3);
        assert_eq!((drawn.queries.len(), drawn.candidates.len()), (80, 1600));
        for (image, category) in drawn.queries.iter().chain(&drawn.candidates) {
            assert!(image % 8 == *category && image % 9 != 0);
        }
        let asking: HashSet<&String> = drawn.queries.iter().map(|(image, _)| &patients[*image]).collect();
        assert!(drawn.candidates.iter().all(|(image, _)| !asking.contains(&patients[*image])));
        let different: HashSet<usize> = drawn.candidates.iter().map(|(image, _)| *image).collect();
        assert_eq!(different.len(), 1600);
        assert_eq!(drawn, draw(3));
        assert_ne!(drawn, draw(4));
    }

    #[test]
    fn too_few_images_of_a_category_are_said() {
        let protocol = Protocol::chexpert_8x200(3);
        let patients: Vec<String> = (0..800).map(|image| image.to_string()).collect();
        let drawn = protocol.draw(800, |image, finding| label(&protocol, image, finding), |image| &patients[image]);
        let error = drawn.unwrap_err().to_string();
        assert!(error.starts_with("Atelectasis has 88 images"), "{error}");
        assert!(error.contains("210 are needed for 10 queries and 200 candidates"), "{error}");
    }
}
