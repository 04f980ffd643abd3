//! Embeddings on disk, computed once: one safetensors file per encoder and pooling, which Python reads.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use roentgen_augment::atomic::write_atomic;
use roentgen_augment::progress::Task;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::encoder::FrozenEncoder;
use super::error::ProbeError;

/// Embeddings by the digest of their text.
///
/// The file holds `embeddings` `[n, width]` in F32, `texts` `[n, 32]` in U8, the BLAKE3 digest of each text in UTF-8, and `cut` `[n]` in
/// I64, the tokens that the encoder did not see; its metadata name the encoder, its fingerprint and the pooling.
#[derive(Debug)]
pub(super) struct EmbeddingStore {
    path: PathBuf,
    width: usize,
    metadata: HashMap<String, String>,
    places: HashMap<[u8; 32], usize>,
    digests: Vec<u8>,
    values: Vec<f32>,
    cut: Vec<i64>,
    /// What was wrong with the file that was there.
    damage: Option<String>,
}

/// Embeddings of the texts that were asked for, in their order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Embedded {
    /// Row-major.
    pub(super) values: Vec<f32>,
    /// Texts that are longer than the encoder sees.
    pub(super) cut: usize,
    /// Distinct texts that were computed now.
    pub(super) computed: usize,
    /// Distinct texts that were there.
    pub(super) found: usize,
}

/// What is lost at most where the process is killed.
const SAVE_EVERY: Duration = Duration::from_secs(30);

impl EmbeddingStore {
    /// Opens the file of an encoder in `folder`; one that is damaged is made again.
    ///
    /// # Errors
    /// [`ProbeError::Io`].
    pub(super) fn open(folder: &Path, encoder: &FrozenEncoder) -> Result<Self, ProbeError> {
        let fingerprint = encoder.fingerprint().to_string();
        let path = folder.join(format!("{}.safetensors", &fingerprint[..16]));
        let metadata = [
            ("format", "roentgen text embeddings 1"),
            ("encoder", &encoder.name),
            ("class", encoder.class()),
            ("fingerprint", &fingerprint),
            ("pooling", encoder.pooling.name()),
            ("digest", "BLAKE3 of the text in UTF-8"),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let (places, digests, values, cut) = (HashMap::new(), Vec::new(), Vec::new(), Vec::new());
        let mut store = Self { path, width: encoder.width(), metadata, places, digests, values, cut, damage: None };
        match std::fs::read(&store.path) {
            Ok(bytes) => match store.read(&bytes) {
                Ok(()) => {}
                Err(why) => store.damage = Some(why),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(ProbeError::Io { action: "read", path: store.path, source }),
        }
        Ok(store)
    }

    /// What is to be said of the file that was there.
    pub(super) fn note(&self) -> Option<String> {
        let why = self.damage.as_ref()?;
        Some(format!("{} is damaged ({why}): its embeddings are computed again", self.path.display()))
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let named = header.metadata().as_ref().and_then(|metadata| metadata.get("fingerprint"));
        if named != self.metadata.get("fingerprint") {
            return Err("it names another encoder".to_owned());
        }
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let tensor = |name: &str, dtype: Dtype, shape: &[usize]| {
            let tensor = file.tensor(name).map_err(|error| error.to_string())?;
            match tensor.dtype() == dtype && tensor.shape().get(1..) == Some(shape) {
                true => Ok(tensor),
                false => Err(format!("`{name}` has another type or shape")),
            }
        };
        let texts = tensor("texts", Dtype::U8, &[32])?;
        let embeddings = tensor("embeddings", Dtype::F32, &[self.width])?;
        let cut = tensor("cut", Dtype::I64, &[])?;
        let count = texts.shape()[0];
        if embeddings.shape()[0] != count || cut.shape()[0] != count {
            return Err("its tensors are of different lengths".to_owned());
        }
        let digests: Vec<[u8; 32]> = texts.data().as_chunks().0.to_vec();
        let values: Vec<f32> = embeddings.data().as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err("a number is not finite".to_owned());
        }
        self.cut = cut.data().as_chunks().0.iter().map(|value| i64::from_le_bytes(*value)).collect();
        self.digests = digests.concat();
        self.values = values;
        self.places = digests.into_iter().enumerate().map(|(place, digest)| (digest, place)).collect();
        Ok(())
    }

    /// The embeddings of `texts`, of which those that are not there are computed and kept.
    ///
    /// # Errors
    /// [`ProbeError::Encoder`], [`ProbeError::Io`].
    pub(super) fn embed(&mut self, encoder: &FrozenEncoder, texts: &[&str], task: &dyn Task) -> Result<Embedded, ProbeError> {
        let digests: Vec<[u8; 32]> = texts.iter().map(|text| *blake3::hash(text.as_bytes()).as_bytes()).collect();
        let mut wanted = Vec::new();
        let mut distinct = HashMap::new();
        for (text, digest) in texts.iter().zip(&digests) {
            if distinct.insert(*digest, ()).is_none() && !self.places.contains_key(digest) {
                wanted.push((*text, *digest));
            }
        }
        let found = distinct.len() - wanted.len();
        task.set_total(distinct.len() as u64);
        task.resume_at(found as u64);
        let mut saved = Instant::now();
        for (text, digest) in &wanted {
            let embedding = encoder.embed(text)?;
            self.places.insert(*digest, self.cut.len());
            self.digests.extend_from_slice(digest);
            self.values.extend(embedding.values);
            self.cut.push(embedding.cut as i64);
            task.advance(1);
            if saved.elapsed() > SAVE_EVERY {
                self.save()?;
                saved = Instant::now();
            }
        }
        if !wanted.is_empty() {
            self.save()?;
        }
        let places: Vec<usize> = digests.iter().map(|digest| self.places[digest]).collect();
        let row = |place: &usize| self.values[place * self.width..][..self.width].iter().copied();
        Ok(Embedded {
            values: places.iter().flat_map(row).collect(),
            cut: places.iter().filter(|place| self.cut[**place] > 0).count(),
            computed: wanted.len(),
            found,
        })
    }

    fn save(&self) -> Result<(), ProbeError> {
        let count = self.cut.len();
        let values: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let cut: Vec<u8> = self.cut.iter().flat_map(|tokens| tokens.to_le_bytes()).collect();
        let view =
            |dtype, shape: Vec<usize>, bytes| TensorView::new(dtype, shape, bytes).expect("as many bytes as the shape says");
        let tensors = [
            ("embeddings", view(Dtype::F32, vec![count, self.width], &values)),
            ("texts", view(Dtype::U8, vec![count, 32], &self.digests)),
            ("cut", view(Dtype::I64, vec![count], &cut)),
        ];
        let bytes =
            safetensors::serialize(tensors, Some(self.metadata.clone())).expect("tensors of these types can be written");
        write_atomic(&self.path, |file| file.write_all(&bytes)).map_err(|source| ProbeError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}
