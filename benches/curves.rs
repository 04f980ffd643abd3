//! How time grows: every quantity over a range of sizes, beside its expected growth.
//!
//! ```sh
//! cargo bench --bench curves              # a Markdown table
//! cargo bench --bench curves -- cache     # curves whose name contains the word
//! cargo bench --bench curves -- --csv     # every point: curve, size, seconds
//! ```
//!
//! The exponent seen is the slope of the times over the sizes, both as logarithms, by least squares over the largest three sizes:
//! below them, the fixed cost of a call hides the growth. A time is the least of several runs. Inputs have fixed seeds.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::GrayImage;
use roentgen_augment::mix::{EpochPlan, MixMode, Mixture};
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};
use roentgen_augment::record::CxrRecord;
use roentgen_augment::request::{RequestPlan, SampleRequest};
use roentgen_augment::supply::{CacheKey, CacheOptions, SampleCache, SampleOrigin, SynthesizerCard};
use roentgen_augment::text::template_prompts;
use roentgen_classifier::loss::{KnownLabels, MaskedBce};
use roentgen_classifier::metrics::{MultiLabelReport, ScoreTable};
use roentgen_classifier::networks::{DenseNetConfig, seeded};
use roentgen_kernels::{Visible, attention, keep_freed_memory};
use rusqlite::{Connection, params};

/// A point is repeated until this much time has passed, but at least [`LEAST`] times.
const ENOUGH: Duration = Duration::from_millis(400);
const LEAST: usize = 3;

/// One quantity over a range.
struct Curve {
    name: &'static str,
    /// The unit of the sizes.
    of: &'static str,
    /// Exponent of the size that the time should follow.
    expected: f64,
    why: &'static str,
    sizes: &'static [usize],
    /// Prepares the work of a size.
    prepare: fn(usize) -> Box<dyn FnMut()>,
}

const CURVES: [Curve; 12] = [
    Curve {
        name: "densenet121_train_64px",
        of: "batch",
        expected: 1.0,
        why: "every image takes the same work; the weights' share (reading, AdamW) is constant",
        sizes: &[1, 2, 4, 8, 16],
        prepare: |batch| train(batch, 64, 14),
    },
    Curve {
        name: "densenet121_forward_b2",
        of: "pixels a side",
        expected: 2.0,
        why: "convolutions visit every pixel",
        sizes: &[32, 64, 128, 256],
        prepare: |side| {
            let device = Device::flex();
            let net = seeded(DenseNetConfig::densenet121(1, 14).init(&device), 0);
            let images = images(2, side, &device);
            Box::new(move || drop(net.forward(images.clone()).into_data()))
        },
    },
    Curve {
        name: "densenet121_train_b2_64px",
        of: "findings",
        expected: 0.0,
        why: "1024 weights more a finding, beside 7 million of the net",
        sizes: &[1, 4, 16, 64],
        prepare: |findings| train(2, 64, findings),
    },
    Curve {
        name: "report_2000_rows",
        of: "findings",
        expected: 1.0,
        why: "each finding is ranked for itself",
        sizes: &[2, 8, 32, 128],
        prepare: |findings| report(2_000, findings),
    },
    Curve {
        name: "report_14_findings",
        of: "rows",
        expected: 1.0,
        why: "sorting, n log n: 1.0 to 1.1 at these sizes",
        sizes: &[1_000, 10_000, 100_000],
        prepare: |rows| report(rows, 14),
    },
    Curve {
        name: "attention_8_heads_of_40",
        of: "tokens",
        expected: 2.0,
        why: "every query meets every key",
        sizes: &[256, 512, 1024, 2048, 4096],
        prepare: |tokens| {
            let device = Device::flex();
            device.seed(0);
            let x = Tensor::<3>::random([1, tokens, 320], Distribution::Normal(0.0, 1.0), &device);
            Box::new(move || drop(attention(x.clone(), x.clone(), x.clone(), 8, &Visible::default()).into_data()))
        },
    },
    Curve {
        name: "plan_an_epoch",
        of: "real images",
        expected: 1.0,
        why: "every position is drawn once",
        sizes: &[1_000, 10_000, 100_000, 1_000_000],
        prepare: |real| {
            let pool = records(real);
            let mixture = Mixture::new(MixMode::Add { synthetic_per_real: 1.0 });
            let plan = EpochPlan::new(&mixture, 0, real, &pool).expect("a mixture of both");
            Box::new(move || drop(std::hint::black_box(plan.epoch(1))))
        },
    },
    Curve {
        name: "request_plan",
        of: "training rows",
        expected: 1.0,
        why: "every row is asked for once",
        sizes: &[1_000, 10_000, 100_000],
        prepare: |real| {
            let rows = records(real);
            let vocabulary = phantoms(1).vocabulary().clone();
            Box::new(move || {
                let prompts = template_prompts(&rows, &vocabulary);
                let plan = RequestPlan::new(&prompts, &vocabulary).expect("labelled rows");
                drop(std::hint::black_box(plan.replicas(1).expect("one per row")));
            })
        },
    },
    Curve {
        name: "cache_hit",
        of: "samples in the index",
        expected: 0.0,
        why: "a file is found by its name, without the index",
        sizes: &[1_000, 10_000, 100_000, 1_000_000],
        prepare: |entries| {
            let filled = Filled::new(entries, None);
            Box::new(move || filled.hit())
        },
    },
    Curve {
        name: "cache_put_1",
        of: "samples in the index",
        expected: 0.0,
        why: "a file is written and synced; its row goes into a tree, log n",
        sizes: &[1_000, 10_000, 100_000, 1_000_000],
        prepare: |entries| {
            let filled = Filled::new(entries, None);
            let mut seed = 0;
            Box::new(move || filled.put(&mut seed))
        },
    },
    Curve {
        name: "cache_put_1_evict_1",
        of: "samples in the index",
        expected: 0.0,
        why: "the oldest is found by an index over the times of use, log n",
        sizes: &[1_000, 10_000, 100_000, 1_000_000],
        prepare: |entries| {
            let filled = Filled::new(entries, Some(entries as u64 * ROW_BYTES));
            let mut seed = 0;
            Box::new(move || filled.put(&mut seed))
        },
    },
    Curve {
        name: "cache_open",
        of: "files",
        expected: 1.0,
        why: "the folder is walked once for remains of killed processes",
        sizes: &[1_000, 10_000, 100_000],
        prepare: |files| {
            let filled = Filled::new(0, None);
            for (key, _) in fake_rows(files) {
                let path = filled.cache.path_of(key);
                std::fs::create_dir_all(path.parent().expect("a shard")).expect("the folder can be written");
                std::fs::write(path, b"").expect("the folder can be written");
            }
            let folder = filled.folder.path().to_owned();
            Box::new(move || {
                let _ = &filled;
                drop(SampleCache::open(&folder, CacheOptions::default()).expect("a cache"));
            })
        },
    },
];

fn images(batch: usize, side: usize, device: &Device) -> Tensor<4> {
    device.seed(0);
    Tensor::random([batch, 1, side, side], Distribution::Uniform(-1.0, 1.0), device)
}

/// Forward, loss and backward of DenseNet-121.
fn train(batch: usize, side: usize, findings: usize) -> Box<dyn FnMut()> {
    let device = Device::flex().autodiff();
    let net = seeded(DenseNetConfig::densenet121(1, findings).init(&device), 0);
    let images = images(batch, side, &device);
    let targets = Tensor::<2>::zeros([batch, findings], &device);
    let mask = Tensor::<2>::ones([batch, findings], &device);
    let row = vec![1.0; findings];
    let known = KnownLabels::count([&row[..]].repeat(batch), findings);
    Box::new(move || {
        let loss = MaskedBce::default().forward(net.forward(images.clone()), targets.clone(), mask.clone(), &known);
        drop(GradientsParams::from_grads(loss.backward(), &net));
    })
}

/// Every statistic of a report.
fn report(rows: usize, findings: usize) -> Box<dyn FnMut()> {
    let mut generator = ChaCha8Rng::seed_from_u64(0);
    let (scores, targets): (Vec<f64>, Vec<f64>) = (0..rows * findings)
        .map(|_| {
            let target = f64::from(u8::from(generator.random_bool(0.1)));
            (0.8 * generator.random::<f64>() + 0.2 * target, target)
        })
        .unzip();
    Box::new(move || {
        let table = ScoreTable::new(&scores, &targets, findings).expect("valid scores");
        drop(std::hint::black_box(MultiLabelReport::new(&table)));
    })
}

fn phantoms(n: usize) -> PhantomDataset {
    PhantomDataset::new(PhantomDatasetConfig::new(n, 1, 0)).expect("a phantom of one pixel")
}

/// Training rows; they repeat after ten thousand, as making them takes longer than planning with them.
fn records(n: usize) -> Vec<Arc<CxrRecord>> {
    let rows: Vec<_> = phantoms(n.min(10_000)).records().into_iter().map(Arc::new).collect();
    rows.into_iter().cycle().take(n).collect()
}

fn request() -> SampleRequest {
    let (records, phantoms) = (records(1), phantoms(1));
    let prompts = template_prompts(&records, phantoms.vocabulary());
    let plan = RequestPlan::new(&prompts, phantoms.vocabulary()).expect("a labelled row");
    plan.replicas(1).expect("one").remove(0)
}

/// Bytes of a sample in the index.
const ROW_BYTES: u64 = 1_000;

/// A cache with a sample of one pixel, and rows in its index for many more.
struct Filled {
    cache: SampleCache,
    key: CacheKey,
    origin: SampleOrigin,
    folder: tempfile::TempDir,
}

impl Filled {
    fn new(entries: usize, max_bytes: Option<u64>) -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let fingerprint = Fingerprint::of(&[b"curves"]);
        let card = SynthesizerCard::named("curves");
        let origin = SampleOrigin::new(request(), fingerprint, card);
        let key = CacheKey::new(&origin.request, fingerprint);
        let open = |max_bytes| SampleCache::open(folder.path(), CacheOptions { max_bytes }).expect("a new folder");
        open(None).put(&[(pixel(), origin.clone())], &HashSet::new()).expect("room for a pixel");
        fill_index(&folder.path().join("index.sqlite"), entries);
        let cache = open(max_bytes);
        assert_eq!(cache.count().expect("a sound index"), entries as u64 + 1, "the index counts the rows made here");
        Self { cache, key, origin, folder }
    }

    /// Reads the sample. A method, since a closure that captures fields would drop, and so remove, the folder.
    fn hit(&self) {
        drop(self.cache.get(self.key).expect("a sound file").expect("a hit"));
    }

    /// Keeps one more sample.
    fn put(&self, seed: &mut u64) {
        *seed += 1;
        let mut origin = self.origin.clone();
        origin.request.seed = *seed;
        self.cache.put(&[(pixel(), origin)], &HashSet::new()).expect("room for a pixel");
    }
}

fn pixel() -> GrayImage {
    GrayImage::from_u8(1, 1, [0])
}

/// Keys of samples that are not there, with times of use from 1.
fn fake_rows(count: usize) -> impl Iterator<Item = (CacheKey, i64)> {
    let (mut request, fingerprint) = (request(), Fingerprint::of(&[b"absent"]));
    (0..count).map(move |i| {
        request.seed = i as u64;
        (CacheKey::new(&request, fingerprint), i as i64 + 1)
    })
}

/// Puts rows into the index as if samples had been written: a million files would take an hour to sync.
fn fill_index(index: &Path, entries: usize) {
    let mut connection = Connection::open(index).expect("the cache has made it");
    let transaction = connection.transaction().expect("no one else has it open");
    {
        let mut insert = transaction.prepare("INSERT INTO samples (key, bytes, used) VALUES (?1, ?2, ?3)").expect("its table");
        for (key, used) in fake_rows(entries) {
            insert.execute(params![key.as_bytes(), ROW_BYTES as i64, used]).expect("keys differ");
        }
    }
    transaction.commit().expect("room for the index");
}

/// The least time of several runs, in seconds.
fn measure(mut work: Box<dyn FnMut()>) -> f64 {
    work();
    let start = Instant::now();
    let mut least = f64::INFINITY;
    let mut runs = 0;
    while runs < LEAST || start.elapsed() < ENOUGH {
        let start = Instant::now();
        work();
        least = least.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    least
}

/// Slope of `log time` over `log size`, by least squares.
fn exponent(points: &[(usize, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(size, time)| ((*size as f64).ln(), time.ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / logs.len() as f64;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let covariance: f64 = logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    covariance / logs.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
}

fn readable(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

fn main() {
    keep_freed_memory();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let csv = words.iter().any(|word| word == "--csv");
    let wanted = |name: &str| {
        let mut names = words.iter().filter(|word| !word.starts_with("--")).peekable();
        names.peek().is_none() || names.any(|word| name.contains(word.as_str()))
    };
    if csv {
        println!("curve,size,seconds");
    } else {
        println!("| curve | over | times | exponent expected | seen | why |\n|---|---|---|---|---|---|");
    }
    for curve in CURVES.iter().filter(|curve| wanted(curve.name)) {
        let points: Vec<(usize, f64)> = curve.sizes.iter().map(|size| (*size, measure((curve.prepare)(*size)))).collect();
        if csv {
            points.iter().for_each(|(size, seconds)| println!("{},{size},{seconds:e}", curve.name));
            continue;
        }
        let times: Vec<String> = points.iter().map(|(size, time)| format!("{size}: {}", readable(*time))).collect();
        let seen = exponent(&points[points.len().saturating_sub(3)..]);
        let Curve { name, of, expected, why, .. } = curve;
        println!("| `{name}` | {of} | {} | {expected} | {seen:.2} | {why} |", times.join(", "));
    }
}
