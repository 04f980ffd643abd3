//! Attention on GPUs, through cubecl.

use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::backend::{AttentionBackend, Seen, Sizes, TiledAttention};
use super::chunks;

impl AttentionBackend for CubeBackend {
    fn tiled_attention(query: CubeTensor, key: CubeTensor, value: CubeTensor, seen: Seen<Self>, sizes: Sizes) -> CubeTensor {
        let (results, _) = Self::tiles(query, key, value, seen, sizes);
        results
    }
}

impl TiledAttention for CubeBackend {
    fn tiles(
        query: CubeTensor,
        key: CubeTensor,
        value: CubeTensor,
        seen: Seen<Self>,
        sizes: Sizes,
    ) -> (CubeTensor, CubeTensor) {
        let [results, norms] = chunks::forward::<Self>([query, key, value], seen, &sizes);
        (results, norms)
    }

    fn tiles_backward(
        query: CubeTensor,
        key: CubeTensor,
        value: CubeTensor,
        seen: Seen<Self>,
        results: CubeTensor,
        norms: CubeTensor,
        gradient: CubeTensor,
        sizes: Sizes,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let gradients = chunks::backward::<Self>([query, key, value], seen, [results, norms], gradient, &sizes);
        gradients.into()
    }
}
