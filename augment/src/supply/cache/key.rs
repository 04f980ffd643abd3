//! The name of a sample: a digest of everything that determines its pixels.

use std::fmt;

use crate::digest::Fingerprint;
use crate::record::{Sex, View};
use crate::request::SampleRequest;

/// BLAKE3 digest of a request and of its generator's fingerprint.
///
/// Two requests share a key exactly if they are equal in all but [`SampleRequest::prompt_kind`] and go to the same generator; the
/// place of the cache does not matter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The key of `request` when the generator with that fingerprint answers it.
    ///
    /// Optional fields are encoded as a list of none or one, so that an absent value never looks like a present one. An age
    /// that is not finite counts as absent, as it does in the JSON beside the pixels.
    #[must_use]
    pub fn new(request: &SampleRequest, fingerprint: Fingerprint) -> Self {
        let labels: Vec<u8> = request.labels.iter().flat_map(|label| label.cell().bytes().chain([b','])).collect();
        let (source_id, patient, fold) = match &request.source {
            Some(source) => (source.id.as_bytes(), source.patient_id.as_str().as_bytes(), source.fold),
            None => (&b""[..], &b""[..], None),
        };
        // Adding 0 turns -0 into 0: the two are equal, so they must not have two keys.
        let age = request.age.filter(|age| age.is_finite()).map(|age| (age + 0.0).to_bits().to_le_bytes());
        let sex = request.sex.map(|sex| match sex {
            Sex::Female => b'F',
            Sex::Male => b'M',
        });
        let view = request.view.map(|view| match view {
            View::Pa => b'P',
            View::Ap => b'A',
            View::Lateral => b'L',
        });
        let digest = Fingerprint::of(&[
            b"roentgen sample 1",
            &fingerprint.0,
            request.prompt.as_bytes(),
            &labels,
            &request.seed.to_le_bytes(),
            &request.replica.to_le_bytes(),
            &[u8::from(request.source.is_some())],
            source_id,
            patient,
            &fold.map(u32::to_le_bytes).as_slice().concat(),
            &age.as_slice().concat(),
            sex.as_slice(),
            view.as_slice(),
        ]);
        Self(digest.0)
    }

    /// The digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key whose hexadecimal digits these are.
    pub(super) fn from_hex(digits: &str) -> Option<Self> {
        blake3::Hash::from_hex(digits).ok().map(|hash| Self(*hash.as_bytes()))
    }

    /// The key of these bytes, if they are 32.
    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Label, PatientId};
    use crate::request::RequestSource;
    use crate::text::PromptKind;

    #[test]
    fn every_field_changes_the_key() {
        let fingerprint = Fingerprint::of(&[b"a"]);
        let source = RequestSource { id: "1".to_owned(), patient_id: PatientId::new("p"), fold: None };
        let base = SampleRequest {
            prompt: "chest".to_owned(),
            prompt_kind: PromptKind::Free,
            labels: vec![Label::Positive, Label::Negative],
            seed: 1,
            replica: 0,
            source: None,
            age: None,
            sex: None,
            view: None,
        };
        let changed = [
            SampleRequest { prompt: "Chest".to_owned(), ..base.clone() },
            SampleRequest { labels: vec![Label::Negative, Label::Positive], ..base.clone() },
            SampleRequest { labels: vec![Label::Positive, Label::Negative, Label::Missing], ..base.clone() },
            SampleRequest { seed: 2, ..base.clone() },
            SampleRequest { replica: 1, ..base.clone() },
            SampleRequest { source: Some(source.clone()), ..base.clone() },
            SampleRequest { source: Some(RequestSource { fold: Some(0), ..source.clone() }), ..base.clone() },
            SampleRequest { source: Some(RequestSource { id: "2".to_owned(), ..source.clone() }), ..base.clone() },
            SampleRequest { source: Some(RequestSource { patient_id: PatientId::new("q"), ..source }), ..base.clone() },
            SampleRequest { age: Some(0.0), ..base.clone() },
            SampleRequest { age: Some(50.0), ..base.clone() },
            SampleRequest { sex: Some(Sex::Male), ..base.clone() },
            SampleRequest { sex: Some(Sex::Female), ..base.clone() },
            SampleRequest { view: Some(View::Pa), ..base.clone() },
            SampleRequest { view: Some(View::Ap), ..base.clone() },
        ];
        let mut keys: Vec<_> = changed.iter().map(|request| CacheKey::new(request, fingerprint)).collect();
        keys.push(CacheKey::new(&base, fingerprint));
        keys.push(CacheKey::new(&base, Fingerprint::of(&[b"b"])));
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn hexadecimal_digits_read_back() {
        let key = CacheKey([0xa5; 32]);
        assert_eq!(CacheKey::from_hex(&key.to_string()), Some(key));
        assert_eq!(CacheKey::from_hex("a5"), None);
    }
}
