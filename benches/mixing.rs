//! The cost of a mixture per item, with images that cost nothing, and the cost of a cache hit.

use std::collections::HashSet;
use std::sync::Arc;

use burn::data::dataset::Dataset;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use roentgen_augment::dataset::{CxrDataset, SplitPlan, Splits};
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::{GrayImage, ImageFunction, Preprocess};
use roentgen_augment::mix::{EpochPlan, MixedDataset, Mixture};
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};
use roentgen_augment::record::CxrRecord;
use roentgen_augment::request::{RequestPlan, SampleRequest};
use roentgen_augment::supply::{
    CacheKey, CacheOptions, SampleCache, SampleOrigin, SynthesisError, Synthesized, Synthesizer, SynthesizerCard,
    SyntheticDataset,
};
use roentgen_augment::text::template_prompts;

const BATCH: usize = 32;
/// Samples in the cache, read in turn.
const SAMPLES: usize = 16;

fn main() {
    divan::main();
}

/// A generator that returns stored images.
struct Stock(GrayImage);

impl Synthesizer for Stock {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[b"stock"])
    }

    fn card(&self) -> SynthesizerCard {
        SynthesizerCard::named("stock")
    }

    fn synthesize(&self, requests: &[SampleRequest]) -> Result<Vec<Synthesized>, SynthesisError> {
        Ok(vec![self.0.clone().into(); requests.len()])
    }
}

/// `n` training rows and one request for each.
fn rows(n: usize) -> (Vec<Arc<CxrRecord>>, Vec<SampleRequest>) {
    let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(n, 1, 0)).expect("phantoms of one pixel");
    let rows: Vec<_> = phantoms.records().into_iter().map(Arc::new).collect();
    let prompts = template_prompts(&rows, phantoms.vocabulary());
    let requests = RequestPlan::new(&prompts, phantoms.vocabulary()).expect("labelled rows").replicas(1).expect("one per row");
    (rows, requests)
}

/// Planning an epoch of `real` real images and as many synthetic ones.
#[divan::bench(args = [1_000, 100_000])]
fn plan_of_real(bencher: Bencher, real: usize) {
    let pool = rows(real).0;
    let plan = EpochPlan::new(&Mixture::add(1.0), 0, real, &pool).expect("a mixture of both");
    let mut epoch = 0;
    bencher.counter(ItemsCount::new(2 * real)).bench_local(|| {
        epoch += 1;
        plan.epoch(black_box(epoch))
    });
}

/// One batch of 32 from 1,000 + 1,000 images of one pixel: looking up, asking the generator, preprocessing, putting in order.
#[divan::bench]
fn batch_of_32(bencher: Bencher) {
    // A training set comes from a split: of 2,000 rows about 1,200 train.
    let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(2_000, 1, 0)).expect("phantoms of one pixel");
    let (vocabulary, records) = (Arc::new(phantoms.vocabulary().clone()), phantoms.records());
    let pixel = ImageFunction::new("pixel", |_| GrayImage::from_u8(1, 1, [0]));
    let data = CxrDataset::from_records("pixels", vocabulary, records, Arc::new(pixel)).expect("labelled rows");
    let data = data.with_preprocess(Preprocess::new(1)).with_cache(1 << 20);
    let splits = Splits::new(&data, &SplitPlan { valid: 0.2, test: 0.2, ..SplitPlan::default() }).expect("three parts");
    let real = splits.train().subset(1_000, 0).expect("more than 1,000 rows train");
    let generator = Stock(GrayImage::from_u8(1, 1, [0]));
    let synthetic = SyntheticDataset::for_training(&real, generator).build().expect("no one held out");
    let epoch = MixedDataset::new(real, Some(synthetic), Mixture::add(1.0), 0).expect("a mixture of both").epoch(0);
    let mut start = 0;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        start = (start + BATCH) % (epoch.len() - BATCH);
        epoch.get_many((start..start + BATCH).collect()).expect("every image is there")
    });
}

/// A cache of images of that many pixels per side.
struct Filled {
    cache: SampleCache,
    keys: Vec<CacheKey>,
    _folder: tempfile::TempDir,
}

impl Filled {
    fn new(size: usize) -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let cache = SampleCache::open(folder.path(), CacheOptions::default()).expect("a new folder");
        let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(SAMPLES, size, 0)).expect("a few phantoms");
        let stock = Stock(phantoms.image(0));
        let (fingerprint, card) = (stock.fingerprint(), stock.card());
        let samples: Vec<_> = rows(SAMPLES)
            .1
            .into_iter()
            .enumerate()
            .map(|(index, request)| (phantoms.image(index), SampleOrigin::new(request, fingerprint, card.clone())))
            .collect();
        cache.put(&samples, &HashSet::new()).expect("room for a few phantoms");
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
