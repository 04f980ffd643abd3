//! The cost of a synthetic sample on its way into training: made on demand by a tiny pipeline, read from the cache, judged at
//! the gate; and how long a trainer waits for each.

use std::collections::HashSet;
use std::hint::black_box;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use burn::data::dataset::Dataset;
use burn::tensor::{Device, FloatDType};
use divan::Bencher;
use divan::counter::ItemsCount;
use roentgen::diffusion::pipeline::{Checkpoint, OpenOptions, RandomSize, write_random_pipeline};
use roentgen::generate::DiffusionSynthesizer;
use roentgen_augment::dataset::{CxrDataset, SplitPlan, Splits};
use roentgen_augment::gate::{Candidate, Gate, GateJob, ImageSanity, Judge, NearestTraining};
use roentgen_augment::image::Preprocess;
use roentgen_augment::mix::{MixMode, MixedDataset, MixedStream, Mixture, Prefetch};
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};
use roentgen_augment::request::{RequestPlan, SampleRequest};
use roentgen_augment::supply::{CacheOptions, SampleCache, Supply, SupplyMode, SyntheticDataset};
use roentgen_augment::text::template_prompts;
use roentgen_kernels::keep_freed_memory;

/// Sampling steps of the tiny pipeline.
const STEPS: usize = 4;
const SAMPLES: usize = 8;
const SIZE: usize = 64;

fn main() {
    keep_freed_memory();
    divan::main();
    wait_shares();
}

struct Study {
    folder: tempfile::TempDir,
    splits: Splits,
    requests: Vec<SampleRequest>,
    synthesizer: Arc<DiffusionSynthesizer>,
}

/// Phantom images instead of a hospital's, and the tiny pipeline with random weights.
static STUDY: LazyLock<Study> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let pipeline = folder.path().join("tiny");
    write_random_pipeline(&pipeline, RandomSize::Tiny, 0, FloatDType::F32, |_| ()).expect("a few files");
    let checkpoint = Checkpoint::read(&pipeline).expect("written just now");
    let mut settings = checkpoint.settings();
    settings.steps = STEPS;
    let pipeline = checkpoint.load(&OpenOptions::new(&Device::flex()), |_| ()).expect("written just now");
    let batch = NonZeroUsize::new(4).expect("4 is not 0");
    let synthesizer = Arc::new(DiffusionSynthesizer::new(pipeline, settings, String::new(), batch));
    let phantoms = CxrDataset::from_phantom(PhantomDataset::new(PhantomDatasetConfig::new(400, SIZE, 0)).expect("a small set"))
        .expect("phantoms");
    let splits = Splits::new(&phantoms, &SplitPlan { valid: 0.2, test: 0.1, ..SplitPlan::default() }).expect("three parts");
    let rows: Vec<_> = splits.train().data().rows().iter().map(|row| Arc::clone(&row.record)).collect();
    let vocabulary = splits.train().data().vocabulary();
    let prompted = template_prompts(&rows, vocabulary);
    let requests = RequestPlan::new(&prompted, vocabulary).expect("labelled rows").of_size(SAMPLES).expect("a few");
    Study { folder, splits, requests, synthesizer }
});

impl Study {
    fn supply(&self, mode: SupplyMode) -> Supply {
        let cache = SampleCache::open(self.folder.path().join("cache"), CacheOptions::default()).expect("a new folder");
        Supply::new(mode, self.synthesizer.clone(), Some(Arc::new(cache))).expect("both are there")
    }

    fn set(&self, mode: SupplyMode) -> SyntheticDataset {
        let requests = self.requests.clone().into();
        let set = SyntheticDataset::new(requests, self.supply(mode), Preprocess::new(SIZE), &HashSet::new()).expect("no leak");
        if mode == SupplyMode::CacheThenGenerate {
            set.fill(NonZeroUsize::new(4).expect("4 is not 0"), |_| ()).expect("room for a few phantoms");
        }
        set
    }
}

/// A pool of 8 samples of 64 pixels, 4 steps, generated.
#[divan::bench(sample_count = 5)]
fn on_demand_64px_4_steps(bencher: Bencher) {
    let set = STUDY.set(SupplyMode::OnDemand);
    bencher.counter(ItemsCount::new(SAMPLES)).bench_local(|| set.get_many((0..SAMPLES).collect()).expect("made"));
}

/// The same samples from the cache.
#[divan::bench]
fn cached_64px(bencher: Bencher) {
    let set = STUDY.set(SupplyMode::CacheThenGenerate);
    bencher.counter(ItemsCount::new(SAMPLES)).bench_local(|| set.get_many((0..SAMPLES).collect()).expect("cached"));
}

/// One judge on one image.
fn judged(bencher: Bencher, judge: &dyn Judge) {
    let image = STUDY.splits.test().data().decode(0).expect("a phantom");
    let candidate = Candidate { request: &STUDY.requests[0], image: &image, channel_spread: Some(0.0) };
    bencher.bench_local(|| judge.judge(black_box(&[candidate])).expect("a verdict"));
}

#[divan::bench]
fn sanity_64px(bencher: Bencher) {
    judged(bencher, &ImageSanity::default());
}

/// Nearest of some 280 training images.
#[divan::bench]
fn copies_of_280(bencher: Bencher) {
    let splits = &STUDY.splits;
    judged(bencher, &NearestTraining::new(splits.train(), splits.valid(), 0.01).expect("phantoms"));
}

/// The gate over 8 cached samples, without a ledger: reading, decoding and judging.
#[divan::bench]
fn gate_over_cached_8(bencher: Bencher) {
    let splits = &STUDY.splits;
    let supply = STUDY.set(SupplyMode::CacheThenGenerate).supply().expect("it has one").clone();
    let nearest = NearestTraining::new(splits.train(), splits.valid(), 0.01).expect("phantoms");
    let judges: Vec<Arc<dyn Judge>> = vec![Arc::new(ImageSanity::default()), Arc::new(nearest)];
    let gate = Gate::new(judges, NonZeroU32::MIN);
    let batch = NonZeroUsize::new(SAMPLES).expect("not 0");
    bencher.counter(ItemsCount::new(SAMPLES)).bench_local(|| {
        gate.settle(&GateJob { requests: &STUDY.requests, supply: &supply, ledger: None, batch }, |_| ()).expect("settled")
    });
}

/// Share of its time that a trainer of 20 ms per step waits for batches of 8 images, half of them synthetic.
fn wait_shares() {
    const STEP: Duration = Duration::from_millis(20);
    const STEPS: u64 = 12;
    for mode in [SupplyMode::OnDemand, SupplyMode::CacheThenGenerate] {
        for workers in [0, 2] {
            let real = STUDY.splits.train().clone();
            let mixture = Mixture::new(MixMode::Replace { fraction: 0.5 });
            let mixed = MixedDataset::new(real, Some(STUDY.set(mode)), mixture, 0).expect("a mixture of both");
            let stream = MixedStream::new(mixed, NonZeroUsize::new(8).expect("8 is not 0"));
            let begun = Instant::now();
            let mut batches = stream.prefetch(0..STEPS, Prefetch { workers, in_flight: 2 * workers });
            for batch in batches.by_ref() {
                black_box(batch.expect("made or read"));
                std::thread::sleep(STEP);
            }
            let share = batches.waited().as_secs_f64() / begun.elapsed().as_secs_f64();
            println!("wait share, {mode}, {workers} workers: {:.1} %", 100.0 * share);
        }
    }
}
