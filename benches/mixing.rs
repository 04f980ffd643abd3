//! What a mixture costs an item, the images themselves being free, and what a cache hit costs.

use std::collections::HashSet;
use std::sync::Arc;

use burn::data::dataset::{Dataset, DatasetError};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::{GrayImage, Pixels, Preprocess};
use roentgen_augment::mix::{EpochPlan, MixMode, MixedDataset, MixedParts, Mixture};
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};
use roentgen_augment::record::{CxrRecord, CxrSample};
use roentgen_augment::request::{RequestPlan, SampleRequest};
use roentgen_augment::supply::{
    CacheKey, CacheOptions, SampleCache, SampleOrigin, Supply, SynthesisError, Synthesized, Synthesizer, SynthesizerCard,
    SyntheticDataset,
};
use roentgen_augment::text::template_prompts;

const BATCH: usize = 32;
/// Samples in the cache, read in turn.
const SAMPLES: usize = 16;

fn main() {
    divan::main();
}

/// Real images that are there already.
struct Ready(Vec<CxrSample>);

impl Dataset<CxrSample> for Ready {
    fn get(&self, index: usize) -> Result<CxrSample, DatasetError> {
        Ok(self.0[index].clone())
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// A generator that answers with what it has.
struct Stock(GrayImage);

impl Synthesizer for Stock {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[b"stock"])
    }

    fn card(&self) -> SynthesizerCard {
        SynthesizerCard { model: "stock".to_owned(), sampler: None, steps: None, guidance_scale: None }
    }

    fn synthesize(&self, requests: &[SampleRequest]) -> Result<Vec<Synthesized>, SynthesisError> {
        Ok(vec![self.0.clone().into(); requests.len()])
    }
}

/// `n` training rows and one request for each.
fn rows(n: usize) -> (Vec<Arc<CxrRecord>>, Vec<SampleRequest>) {
    let films = PhantomDataset::new(PhantomDatasetConfig::new(n, 1, 0));
    let rows: Vec<_> = films.records().into_iter().map(Arc::new).collect();
    let requests =
        RequestPlan::new(&template_prompts(&rows, films.vocabulary()), films.vocabulary()).expect("labelled rows").replicas(1);
    (rows, requests)
}

fn one_to_one() -> Mixture {
    Mixture::new(MixMode::Add { synthetic_per_real: 1.0 })
}

/// Planning an epoch of `real` real images and as many synthetic ones.
#[divan::bench(args = [1_000, 100_000])]
fn plan_of_real(bencher: Bencher, real: usize) {
    let pool = rows(real).0;
    let planner = EpochPlan::new(&one_to_one(), 0, real, &pool).expect("a mixture of both");
    let mut epoch = 0;
    bencher.counter(ItemsCount::new(2 * real)).bench_local(|| {
        epoch += 1;
        planner.epoch(black_box(epoch))
    });
}

/// One batch of 32 from 1,000 + 1,000 images of one pixel: looking up, asking the generator, preprocessing, putting in order.
#[divan::bench]
fn batch_of_32(bencher: Bencher) {
    let (rows, requests) = rows(1_000);
    let pixel = GrayImage::from_u8(1, 1, [0]);
    let sample = |record: &Arc<_>| CxrSample { image: Pixels::new(1, 1, vec![0.0]), record: Arc::clone(record) };
    let real = Ready(rows.iter().map(sample).collect());
    let supply = Supply::OnDemand { synthesizer: Arc::new(Stock(pixel)) };
    let synthetic =
        SyntheticDataset::new(requests.into(), supply, Preprocess::new(1), &HashSet::new()).expect("no one held out");
    let parts = MixedParts { real, synthetic: Some(synthetic), mixture: one_to_one(), seed: 0 };
    let epoch = MixedDataset::new(parts).expect("a mixture of both").epoch(0);
    let mut start = 0;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        start = (start + BATCH) % (epoch.len() - BATCH);
        epoch.get_many((start..start + BATCH).collect()).expect("every image is there")
    });
}

/// A cache of films of that many pixels a side.
struct Filled {
    cache: SampleCache,
    keys: Vec<CacheKey>,
    _folder: tempfile::TempDir,
}

impl Filled {
    fn new(size: usize) -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let cache = SampleCache::open(folder.path(), CacheOptions::default()).expect("a new folder");
        let films = PhantomDataset::new(PhantomDatasetConfig::new(SAMPLES, size, 0));
        let stock = Stock(films.image(0));
        let (fingerprint, card) = (stock.fingerprint(), stock.card());
        let samples: Vec<_> = rows(SAMPLES)
            .1
            .into_iter()
            .enumerate()
            .map(|(index, request)| (films.image(index), SampleOrigin::new(request, fingerprint, card.clone())))
            .collect();
        cache.put(&samples, &HashSet::new()).expect("room for a few films");
        let keys = samples.iter().map(|(_, origin)| CacheKey::new(&origin.request, fingerprint)).collect();
        Self { cache, keys, _folder: folder }
    }
}

/// A sample from the cache: read, decoded, its description verified, its use noted.
#[divan::bench(args = [64, 224, 512])]
fn cache_hit_px(bencher: Bencher, size: usize) {
    let filled = Filled::new(size);
    let mut keys = filled.keys.iter().cycle();
    bencher.bench_local(|| filled.cache.get(*keys.next().expect("an endless row")).expect("a sound file").expect("a hit"));
}

/// The same files read and decoded as any PNG.
#[divan::bench(args = [64, 224, 512])]
fn read_and_decode_png_px(bencher: Bencher, size: usize) {
    let filled = Filled::new(size);
    let paths: Vec<_> = filled.keys.iter().map(|key| filled.cache.path_of(*key)).collect();
    let mut paths = paths.iter().cycle();
    bencher.bench_local(|| GrayImage::open(paths.next().expect("an endless row")).expect("a sound file"));
}
