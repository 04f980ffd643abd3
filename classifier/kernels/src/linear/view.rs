//! A tensor as a stack of matrices, in place.

use std::marker::PhantomData;

use burn::tensor::Shape;
use burn_flex::FlexTensor;

use crate::memory::float::Float;
use crate::memory::product::Matrix;

/// A tensor `[.., columns]` as images of rows: a view of two or three axes may be transposed, any other is rows without gaps.
pub(super) struct View<E> {
    tensor: FlexTensor,
    numbers: PhantomData<E>,
    pub(super) images: usize,
    /// Rows of an image.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Values from an image, a row and a column to the next.
    steps: [usize; 3],
}

impl<E: Float> View<E> {
    pub(super) fn of(tensor: FlexTensor) -> Self {
        let layout = tensor.layout();
        let shape = layout.shape().clone();
        let steps: Option<Vec<usize>> = layout.strides().iter().map(|&step| usize::try_from(step).ok()).collect();
        match steps.as_deref() {
            Some(&[image, row, column]) if !layout.is_contiguous() => {
                let [images, rows, columns] = shape.dims();
                return Self { tensor, numbers: PhantomData, images, rows, columns, steps: [image, row, column] };
            }
            Some(&[row, column]) if !layout.is_contiguous() => {
                let [rows, columns] = shape.dims();
                return Self { tensor, numbers: PhantomData, images: 1, rows, columns, steps: [0, row, column] };
            }
            _ => {}
        }
        let columns = shape[shape.num_dims() - 1];
        let rows = shape.num_elements() / columns;
        let steps = [rows * columns, columns, 1];
        Self { tensor: tensor.to_contiguous(), numbers: PhantomData, images: 1, rows, columns, steps }
    }

    pub(super) fn shape(&self) -> Shape {
        self.tensor.layout().shape().clone()
    }

    /// The matrix of an image from `row` and `column` on.
    pub(super) fn matrix(&self, image: usize, row: usize, column: usize) -> Matrix<'_, E> {
        let [image_step, row_step, column_step] = self.steps;
        let at = |row: usize, column: usize| {
            self.tensor.layout().start_offset() + image * image_step + row * row_step + column * column_step
        };
        let values = self.tensor.storage::<E>();
        assert!(at(self.rows - 1, self.columns - 1) < values.len(), "a view lies in its buffer");
        Matrix { values: &values[at(row, column)..], row: row_step, column: column_step }
    }

    /// The same rows as several images, if they are one.
    pub(super) fn in_images(self, images: usize) -> Self {
        if self.images > 1 {
            return self;
        }
        let rows = self.rows / images;
        let steps = [rows * self.steps[1], self.steps[1], self.steps[2]];
        Self { images, rows, steps, ..self }
    }
}
