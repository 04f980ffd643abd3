//! The cache against damage, kills, other processes and full disks.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::digest::Fingerprint;
use crate::image::Preprocess;
use crate::supply::fake::{Fake, request, requests};
use crate::supply::{SampleOrigin, Supply, Synthesizer, SyntheticDataset};

/// Names the cache folder for [`child_process`].
const CHILD_CACHE: &str = "ROENTGEN_TEST_CACHE";

/// Samples that [`child_process`] makes, and its pause before each.
const CHILD_SAMPLES: usize = 40;
const CHILD_PAUSE: Duration = Duration::from_millis(10);

fn key(i: usize) -> CacheKey {
    CacheKey::new(&request(i), Fake::default().fingerprint())
}

fn sample(i: usize) -> (GrayImage, SampleOrigin) {
    let fake = Fake::default();
    (Fake::image(&request(i)), SampleOrigin::new(request(i), fake.fingerprint(), fake.card()))
}

fn open(folder: &TempDir) -> SampleCache {
    SampleCache::open(folder.path(), CacheOptions::default()).unwrap()
}

fn put(cache: &SampleCache, samples: impl IntoIterator<Item = usize>) -> usize {
    let samples: Vec<_> = samples.into_iter().map(sample).collect();
    cache.put(&samples, &HashSet::new()).unwrap()
}

fn filled(n: usize) -> (TempDir, SampleCache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder);
    put(&cache, 0..n);
    (folder, cache)
}

fn set(cache: &Arc<SampleCache>, n: usize, fake: &Arc<Fake>) -> SyntheticDataset {
    let supply = Supply::CacheThenGenerate { cache: Arc::clone(cache), synthesizer: fake.clone() };
    SyntheticDataset::new(requests(n).into(), supply, Preprocess::new(8), &HashSet::new()).unwrap()
}

fn fill(set: &SyntheticDataset) -> usize {
    set.fill(NonZeroUsize::new(4).unwrap(), |_| {}).unwrap().generated
}

#[test]
fn what_was_put_is_got() {
    let (_folder, cache) = filled(3);
    assert_eq!(cache.get(key(1)).unwrap(), Some(Fake::image(&request(1))));
    assert_eq!(cache.get(key(7)).unwrap(), None);
    let report = cache.report();
    assert_eq!((report.hits, report.misses, report.written), (1, 1, 3));
    assert_eq!(cache.count().unwrap(), 3);
}

#[test]
fn the_index_counts_the_bytes_on_disk() {
    let (_folder, cache) = filled(5);
    put(&cache, 2..4);
    let on_disk: u64 = (0..5).map(|i| fs::metadata(cache.path_of(key(i))).unwrap().len()).sum();
    assert_eq!(cache.bytes().unwrap(), on_disk);
}

#[test]
fn damage_is_found_reported_and_repaired() {
    let damages: [fn(Vec<u8>) -> Vec<u8>; 4] = [
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        |mut bytes| {
            let middle = bytes.len() - 40;
            bytes[middle] ^= 1;
            bytes
        },
        |_| Vec::new(),
        // A sound file under another's name.
        |_| encode(4),
    ];
    fn encode(i: usize) -> Vec<u8> {
        let (image, origin) = sample(i);
        crate::supply::encode_sample(&image, &origin).unwrap()
    }
    for damage in damages {
        let (_folder, cache) = filled(3);
        let path = cache.path_of(key(1));
        fs::write(&path, damage(fs::read(&path).unwrap())).unwrap();
        assert_eq!(cache.get(key(1)).unwrap(), None);
        assert_eq!(cache.report().corrupt[0].path, path);
        assert!(!path.exists());

        let (cache, fake) = (Arc::new(cache), Arc::new(Fake::default()));
        assert_eq!(fill(&set(&cache, 3, &fake)), 1);
        assert_eq!(cache.get(key(1)).unwrap(), Some(Fake::image(&request(1))));
        assert_eq!(cache.count().unwrap(), 3);
    }
}

#[test]
fn a_lost_or_damaged_index_is_made_again() {
    let lose: fn(&Path) = |index| fs::remove_file(index).unwrap();
    let damage: fn(&Path) = |index| fs::write(index, "this is no database ".repeat(100)).unwrap();
    for hurt in [lose, damage] {
        let (folder, cache) = filled(6);
        let bytes = cache.bytes().unwrap();
        drop(cache);
        hurt(&index_path(folder.path()));
        let _ = fs::remove_file(folder.path().join("index.sqlite-wal"));
        let cache = open(&folder);
        assert_eq!((cache.count().unwrap(), cache.bytes().unwrap()), (6, bytes));
    }
}

#[test]
fn rebuilding_drops_what_is_damaged_or_gone() {
    let (_folder, cache) = filled(6);
    fs::remove_file(cache.path_of(key(0))).unwrap();
    fs::write(cache.path_of(key(1)), b"").unwrap();
    assert_eq!(cache.rebuild_index().unwrap(), 4);
    assert_eq!(cache.count().unwrap(), 4);
    assert_eq!(cache.report().corrupt.len(), 1);
}

#[test]
fn a_deleted_sample_is_made_again() {
    let (_folder, cache) = filled(3);
    fs::remove_file(cache.path_of(key(2))).unwrap();
    let (cache, fake) = (Arc::new(cache), Arc::new(Fake::default()));
    let set = set(&cache, 3, &fake);
    assert_eq!(set.missing(), [2]);
    assert_eq!(fill(&set), 1);
    assert_eq!(cache.count().unwrap(), 3);
}

#[test]
fn a_sample_without_a_row_is_adopted_when_read() {
    let (folder, cache) = filled(1);
    // As a kill between rename and row leaves it.
    let (image, origin) = sample(9);
    let path = cache.path_of(key(9));
    write_atomic(&path, |file| file.write_all(&crate::supply::encode_sample(&image, &origin).unwrap())).unwrap();
    assert_eq!(cache.count().unwrap(), 1);
    assert_eq!(cache.get(key(9)).unwrap(), Some(image));
    cache.flush().unwrap();
    assert_eq!((cache.count().unwrap(), cache.report().adopted), (2, 1));
    drop(cache);
    assert_eq!(open(&folder).count().unwrap(), 2);
}

#[test]
fn leftovers_of_a_killed_process_are_ignored_and_cleaned() {
    let (folder, cache) = filled(1);
    let shard = cache.path_of(key(0)).parent().unwrap().to_owned();
    drop(cache);
    let (old, young) = (shard.join(".tmp-old"), shard.join(".tmp-young"));
    for path in [&old, &young] {
        fs::write(path, b"half a sample").unwrap();
    }
    let long_ago = SystemTime::now() - 2 * files::STALE;
    fs::File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    let cache = open(&folder);
    assert_eq!(cache.rebuild_index().unwrap(), 1);
    assert!(!old.exists(), "a leftover stays");
    assert!(young.exists(), "another process's write in progress was removed");
}

#[test]
fn a_full_disk_is_said_and_keeps_what_was_written() {
    let (_folder, mut cache) = filled(0);
    // The third sample finds the disk full.
    cache.write = |path, bytes| match path {
        path if path.ends_with(format!("{}.png", key(2))) => Err(ErrorKind::StorageFull.into()),
        path => write_atomic(path, |file| file.write_all(bytes)),
    };
    let samples: Vec<_> = (0..4).map(sample).collect();
    let error = cache.put(&samples, &HashSet::new()).unwrap_err();
    let AugmentError::CacheWrite { path, source } = &error else { panic!("{error}") };
    assert_eq!((path, source.kind()), (&cache.path_of(key(2)), ErrorKind::StorageFull));
    assert!(error.to_string().contains("the disk has room"), "{error}");
    assert_eq!(cache.count().unwrap(), 2);
    assert!(cache.get(key(1)).unwrap().is_some());
}

#[test]
fn a_folder_that_cannot_be_made_or_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = SampleCache::open(file.join("cache"), CacheOptions::default()).err().unwrap();
    assert!(error.to_string().contains("file/cache"), "{error}");

    let (_folder, mut cache) = filled(2);
    // What a folder opened without write permission becomes; a test run by root could not make one.
    cache.index = None;
    assert!(cache.get(key(0)).unwrap().is_some());
    let error = cache.put(&[sample(5)], &HashSet::new()).unwrap_err();
    assert!(error.to_string().contains("check that the folder is writable"), "{error}");
}

#[test]
fn the_least_recently_used_go_first_and_never_the_batch_in_flight() {
    let (folder, cache) = filled(4);
    let each = cache.bytes().unwrap() / 4;
    drop(cache);
    // Room for five of about the same size.
    let cache = SampleCache::open(folder.path(), CacheOptions { max_bytes: Some(each * 5 + each / 2) }).unwrap();
    assert!(cache.get(key(0)).unwrap().is_some());
    put(&cache, [4, 5]);
    assert!(!cache.contains(key(1)), "the oldest is still there");
    assert!([0, 2, 3, 4, 5].into_iter().all(|i| cache.contains(key(i))));
    let keep = (0..6).map(key).collect();
    assert_eq!(cache.put(&[sample(6)], &keep).unwrap(), 1, "one of the batch in flight was evicted");
    assert_eq!((cache.report().evicted, cache.report().not_kept), (1, 1));
}

#[test]
fn a_bound_too_small_for_a_set_is_said_when_filling() {
    let (folder, cache) = filled(1);
    let each = cache.bytes().unwrap();
    drop(cache);
    let cache = SampleCache::open(folder.path(), CacheOptions { max_bytes: Some(each * 5) }).unwrap();
    let (cache, fake) = (Arc::new(cache), Arc::new(Fake::default()));
    let error = set(&cache, 20, &fake).fill(NonZeroUsize::new(4).unwrap(), |_| {}).unwrap_err();
    assert!(matches!(error, AugmentError::CacheTooSmall { total: 20, .. }), "{error}");
    // Read one by one, the same set still works: what finds no room is not kept.
    let set = set(&cache, 20, &fake);
    for i in 0..20 {
        burn_core::data::dataset::Dataset::get(&set, i).unwrap();
        assert!(cache.bytes().unwrap() <= each * 5);
    }
}

#[test]
fn threads_share_a_cache() {
    let folder = tempfile::tempdir().unwrap();
    let caches = [Arc::new(open(&folder)), Arc::new(open(&folder))];
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &caches[thread % 2];
            scope.spawn(move || fill(&set(cache, 30, &Arc::new(Fake::default()))));
        }
    });
    assert_eq!(caches[0].rebuild_index().unwrap(), 30);
    assert!(caches.iter().all(|cache| cache.report().corrupt.is_empty()));
    assert_eq!(fill(&set(&caches[1], 30, &Arc::new(Fake::default()))), 0);
}

/// SQLite's busy timeout does not cover the switch of a new file to its write-ahead log: who comes second is told so at once.
#[test]
fn a_new_cache_can_be_opened_by_many_at_once() {
    const OPENERS: usize = 8;
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let start = std::sync::Barrier::new(OPENERS);
        std::thread::scope(|scope| {
            for i in 0..OPENERS {
                let (folder, start) = (&folder, &start);
                scope.spawn(move || {
                    start.wait();
                    put(&open(folder), [i]);
                });
            }
        });
        assert_eq!(open(&folder).count().unwrap(), OPENERS as u64);
    }
}

/// The body of a second process; does nothing in a normal run of the tests.
#[test]
#[ignore = "run as a child by other tests"]
fn child_process() {
    let Some(folder) = std::env::var_os(CHILD_CACHE) else { return };
    let cache = Arc::new(SampleCache::open(folder, CacheOptions::default()).unwrap());
    let set = set(&cache, CHILD_SAMPLES, &Arc::new(Fake::slow(CHILD_PAUSE)));
    set.fill(NonZeroUsize::MIN, |_| {}).unwrap();
}

fn spawn_child(folder: &TempDir) -> Child {
    // Tests are named without the crate.
    let (_, module) = module_path!().split_once("::").unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::child_process"), "--ignored"])
        .env(CHILD_CACHE, folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn processes_share_a_cache() {
    let folder = tempfile::tempdir().unwrap();
    for child in [spawn_child(&folder), spawn_child(&folder)] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let cache = open(&folder);
    assert_eq!(cache.count().unwrap(), CHILD_SAMPLES as u64);
    assert_eq!(cache.rebuild_index().unwrap(), CHILD_SAMPLES);
    assert!(cache.report().corrupt.is_empty());
}

#[test]
fn a_kill_loses_at_most_the_sample_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = spawn_child(&folder);
    let started = Instant::now();
    let files = || files::list(folder.path()).unwrap().len();
    while files() < 5 && started.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = files();
    assert!((5..CHILD_SAMPLES).contains(&kept), "{kept} files when killed");

    let (cache, fake) = (Arc::new(open(&folder)), Arc::new(Fake::default()));
    assert!(cache.count().unwrap() >= kept as u64 - 1, "more than the row in flight is lost");
    assert_eq!(fill(&set(&cache, CHILD_SAMPLES, &fake)), CHILD_SAMPLES - kept);
    assert_eq!(cache.rebuild_index().unwrap(), CHILD_SAMPLES);
    assert!(cache.report().corrupt.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn eviction_keeps_the_bound(bound in 0u64..6000, batches in prop::collection::vec(prop::collection::vec(0usize..25, 1..6), 1..6)) {
        let folder = tempfile::tempdir().unwrap();
        let cache = SampleCache::open(folder.path(), CacheOptions { max_bytes: Some(bound) }).unwrap();
        for batch in batches {
            let batch: HashSet<_> = batch.into_iter().collect();
            put(&cache, batch);
            let on_disk: u64 =
                files::list(folder.path()).unwrap().iter().map(|(_, path)| fs::metadata(path).unwrap().len()).sum();
            prop_assert!(on_disk <= bound);
            prop_assert_eq!(cache.bytes().unwrap(), on_disk);
        }
    }
}

#[test]
fn keys_do_not_depend_on_the_folder_but_on_the_generator() {
    assert_eq!(key(1), key(1));
    assert_ne!(key(1), CacheKey::new(&request(1), Fingerprint::of(&[b"another"])));
}
