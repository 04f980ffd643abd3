//! Loading the weights of a file into a net.

use std::path::Path;

use burn::store::{ModuleSnapshot, PyTorchToBurnAdapter, bridge};
use burn::tensor::{Device, TensorData};

use super::config::{infer, shapes_of};
use super::difference::{Difference, WrongShape};
use super::families::{Naming, OP_THRESHS, Shapes, naming};
use super::source::Source;
use crate::ClassifierError;
use crate::networks::Network;

/// What loading may do besides copying weights that fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Keep the net's own classifier and load everything before it: for another number, or another set, of findings.
    pub replace_head: bool,
    /// Load a first convolution of several channels into a net of one by summing over them: what weights made for RGB do with
    /// a gray image copied to three channels of equal range. (torchvision's ImageNet weights expect each channel normalised with
    /// its own mean and deviation, which a sum cannot keep: fine for a start of training, not for prediction.) Does nothing where
    /// the channels agree.
    pub sum_first_conv_channels: bool,
}

/// A net with a file's weights.
#[derive(Debug)]
pub struct LoadedWeights {
    /// The net.
    pub net: Network,
    /// torchxrayvision's operating thresholds, one per output of the file's classifier, NaN where there is none; for
    /// [`op_norm`](crate::predict::op_norm()). `None` if the file has none, or its classifier was not loaded.
    pub op_threshs: Option<Vec<f32>>,
}

impl Network {
    /// The net of a file: [`infer_config`](super::infer_config), then [`load_weights`].
    ///
    /// # Errors
    /// As [`load_weights`].
    pub fn load(path: &Path, device: &Device) -> Result<LoadedWeights, ClassifierError> {
        let source = Source::open(path)?;
        let shape = infer(path, &source)?;
        fill(shape.init(device), path, &source, LoadOptions::default())
    }
}

/// `net` with the weights of the file; values are converted to 32-bit floats.
///
/// # Errors
/// [`ClassifierError::WeightsDiffer`] lists every missing, unexpected and wrongly shaped tensor;
/// [`ClassifierError::NonFiniteWeight`] and [`ClassifierError::WeightType`] name one without usable numbers;
/// [`ClassifierError::OtherNetwork`] and [`ClassifierError::NotWeights`] say what the file holds instead; [`ClassifierError::UnsafePickle`] names what a
/// pickle would run; [`ClassifierError::DamagedWeights`] for a truncated file.
pub fn load_weights(net: impl Into<Network>, path: &Path, options: LoadOptions) -> Result<LoadedWeights, ClassifierError> {
    fill(net.into(), path, &Source::open(path)?, options)
}

fn fill(mut net: Network, path: &Path, source: &Source, options: LoadOptions) -> Result<LoadedWeights, ClassifierError> {
    let family = net.family();
    if source.family != family {
        return Err(ClassifierError::OtherNetwork { path: path.to_owned(), expected: family, found: source.family });
    }
    let naming = naming(family);
    let is_head = |name: &str| naming.head.contains(&name);
    let mut expected = shapes_of(&net);
    if options.replace_head {
        expected.retain(|name, _| !is_head(name));
    }
    let difference = compare(&expected, source, options);
    if !difference.is_empty() {
        return Err(ClassifierError::WeightsDiffer { path: path.to_owned(), difference: Box::new(difference) });
    }
    let mut tensors = Vec::with_capacity(expected.len());
    for (name, shape) in &expected {
        let data = source.tensors[name].finite_floats(path, name)?;
        let data = if data.shape().to_vec() == *shape { data } else { sum_channels(&data) };
        let module_path = (naming.module_path)(name).expect("names of a net are in the table of its family");
        tensors.push(bridge::from_data(data, module_path, None));
    }
    let applied = net.apply(tensors, None, Some(Box::new(PyTorchToBurnAdapter)), true);
    assert!(
        applied.errors.is_empty()
            && applied.unused.is_empty()
            && applied.missing.iter().all(|(path, _)| (naming.file_name)(path).is_some_and(|name| is_head(&name))),
        "names and shapes were compared before: {applied}"
    );
    let op_threshs = source.op_threshs.as_ref().filter(|_| !options.replace_head);
    let op_threshs = op_threshs.map(|tensor| tensor.floats(path, OP_THRESHS)).transpose()?.map(values);
    Ok(LoadedWeights { net, op_threshs })
}

fn compare(expected: &Shapes, source: &Source, options: LoadOptions) -> Difference {
    let Naming { first, head, .. } = naming(source.family);
    let is_head = |name: &str| head.contains(&name);
    let mut difference = Difference { unexpected: source.unexpected.clone(), ..Difference::default() };
    let found = source.shapes();
    for (name, shape) in expected {
        match found.get(name) {
            None => difference.missing.push((name.clone(), shape.clone())),
            Some(found) if found == shape => {}
            Some(found) if options.sum_first_conv_channels && name == first && sums_to(found, shape) => {}
            Some(found) => {
                difference.wrong_shape.push(WrongShape { name: name.clone(), expected: shape.clone(), found: found.clone() })
            }
        }
    }
    let known = |name: &String| expected.contains_key(name) || (options.replace_head && is_head(name));
    difference.unexpected.extend(found.into_iter().filter(|(name, _)| !known(name)));
    if let (Some(threshs), Some(head), false) = (&source.op_threshs, expected.get(head[1]), options.replace_head)
        && threshs.shape() != *head
        && !difference.wrong_shape.iter().any(|wrong| is_head(&wrong.name))
    {
        let (expected, found) = (head.clone(), threshs.shape());
        difference.wrong_shape.push(WrongShape { name: OP_THRESHS.to_owned(), expected, found });
    }
    difference
}

/// Whether `found` `[O, C, K, K]` becomes `expected` `[O, 1, K, K]` by a sum over channels.
fn sums_to(found: &[usize], expected: &[usize]) -> bool {
    matches!((found, expected), ([o, c, rest @ ..], [p, 1, kernel @ ..]) if o == p && *c > 1 && rest == kernel)
}

/// `[O, C, K, K]` to `[O, 1, K, K]`.
fn sum_channels(data: &TensorData) -> TensorData {
    let [out, channels, height, width] =
        <[usize; 4]>::try_from(data.shape().to_vec()).expect("a convolution has four dimensions");
    let kernel = height * width;
    let values: Vec<f32> = data.iter::<f32>().collect();
    let filters = values.chunks_exact(channels * kernel);
    // In 64 bits, so that the order of channels does not show.
    let tap = |filter: &[f32], i| (0..channels).map(|c| f64::from(filter[c * kernel + i])).sum::<f64>() as f32;
    let summed = filters.flat_map(|filter| (0..kernel).map(move |i| tap(filter, i))).collect();
    TensorData::new::<f32, _>(summed, [out, 1, height, width])
}

fn values(data: TensorData) -> Vec<f32> {
    data.iter::<f32>().collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{bf16, f16};
    use safetensors::tensor::{Dtype, TensorView};

    use super::super::save::{Entry, Kind, state_dict};
    use super::super::testing::{self, fixture, floats, folder, load_spoilt, same};
    use super::*;

    const FIRST: &str = "features.conv0.weight";

    fn difference(result: Result<LoadedWeights, ClassifierError>) -> (Difference, String) {
        match result {
            Err(error @ ClassifierError::WeightsDiffer { .. }) => {
                let message = error.to_string();
                let ClassifierError::WeightsDiffer { difference, .. } = error else { unreachable!() };
                (*difference, message)
            }
            other => panic!("expected a difference, got {other:?}"),
        }
    }

    fn find<'a>(entries: &'a mut [Entry], name: &str) -> &'a mut Entry {
        entries.iter_mut().find(|entry| entry.name == name).unwrap()
    }

    #[test]
    fn every_difference_is_in_one_error() {
        let (difference, message) = difference(load_spoilt(LoadOptions::default(), |entries| {
            entries.retain(|entry| entry.name != "features.norm5.bias" && entry.name != "features.norm0.weight");
            entries.push(floats("features.extra.weight", &[2, 1], &[0.0; 2]));
            entries.push(floats("features.denseblock2.denselayer2.norm1.weight", &[2], &[0.0; 2]));
            *find(entries, "features.transition1.conv.weight") =
                floats("features.transition1.conv.weight", &[2, 2, 1, 1], &[0.0; 4]);
        }));
        assert_eq!(difference.missing.len(), 2);
        assert_eq!(difference.unexpected.len(), 2);
        assert_eq!(difference.wrong_shape.len(), 1);
        for line in [
            "missing features.norm0.weight [5]",
            "missing features.norm5.bias [8]",
            "unexpected features.extra.weight [2, 1]",
            "unexpected features.denseblock2.denselayer2.norm1.weight [2]",
            "wrong shape features.transition1.conv.weight: expected [5, 11, 1, 1], found [2, 2, 1, 1]",
        ] {
            assert!(message.contains(line), "{message}");
        }
    }

    #[test]
    fn another_number_of_findings_is_named_and_can_be_replaced() {
        let other_head = |entries: &mut Vec<Entry>| {
            *find(entries, "classifier.weight") = floats("classifier.weight", &[18, 8], &[0.5; 144]);
            *find(entries, "classifier.bias") = floats("classifier.bias", &[18], &[0.5; 18]);
            entries.push(floats("op_threshs", &[18], &[0.5; 18]));
        };
        let (difference, message) = difference(load_spoilt(LoadOptions::default(), other_head));
        assert_eq!(difference.only_the_head(), Some((3, 18)));
        assert!(message.contains("18 findings, the net 3: load with `replace_head`"), "{message}");

        let loaded = load_spoilt(LoadOptions { replace_head: true, ..LoadOptions::default() }, other_head).unwrap();
        assert_eq!(loaded.op_threshs, None);
        assert_eq!(loaded.net.shape(), testing::config().into());
    }

    #[test]
    fn replaced_head_is_the_fresh_one_even_where_shapes_agree() {
        let fresh = testing::net();
        let folder = folder();
        let path = folder.path().join("weights.pt");
        let trained = testing::trained();
        super::super::save_state_dict(&trained, &path).unwrap();
        let loaded = load_weights(fresh.clone(), &path, LoadOptions { replace_head: true, ..LoadOptions::default() }).unwrap();
        for ((loaded, fresh), trained) in state_dict(&loaded.net).iter().zip(&state_dict(&fresh)).zip(&state_dict(&trained)) {
            let expected = if loaded.name.starts_with("classifier.") { fresh } else { trained };
            assert!(loaded.bytes == expected.bytes, "{}", loaded.name);
        }
        let head = |net| state_dict(net).into_iter().find(|entry| entry.name == "classifier.weight").unwrap();
        assert!(head(&fresh).bytes != head(&trained).bytes);
    }

    #[test]
    fn thresholds_are_handed_over_with_their_nans() {
        let threshs = [0.25, f32::NAN, 0.75];
        let loaded = load_spoilt(LoadOptions::default(), |entries| entries.push(floats("op_threshs", &[3], &threshs))).unwrap();
        let bits: Vec<u32> = loaded.op_threshs.unwrap().into_iter().map(f32::to_bits).collect();
        assert_eq!(bits, threshs.map(f32::to_bits));
        let (difference, _) =
            difference(load_spoilt(LoadOptions::default(), |entries| entries.push(floats("op_threshs", &[2], &[0.5; 2]))));
        assert_eq!(difference.wrong_shape[0].name, "op_threshs");
    }

    #[test]
    fn weights_that_are_no_numbers_are_named() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let result = load_spoilt(LoadOptions::default(), |entries| {
                let entry = find(entries, "features.norm5.running_var");
                entry.bytes[8..12].copy_from_slice(&bad.to_le_bytes());
            });
            let Err(ClassifierError::NonFiniteWeight { tensor, index, value, .. }) = result else { panic!("{bad} was taken") };
            assert_eq!((tensor.as_str(), index), ("features.norm5.running_var", 2));
            assert_eq!(value.to_bits(), bad.to_bits());
        }
        let result = load_spoilt(LoadOptions::default(), |entries| {
            let entry = find(entries, "classifier.bias");
            (entry.kind, entry.bytes) = (Kind::I64, vec![0; 24]);
        });
        assert!(matches!(result, Err(ClassifierError::WeightType { tensor, .. }) if tensor == "classifier.bias"));
    }

    #[test]
    fn other_precisions_become_32_bits() {
        let net = testing::trained();
        let folder = folder();
        let path = folder.path().join("weights");
        type Cast = fn(f32) -> (Vec<u8>, f32);
        let casts: [(Dtype, Cast); 3] = [
            (Dtype::F16, |v| (f16::from_f32(v).to_le_bytes().to_vec(), f16::from_f32(v).to_f32())),
            (Dtype::BF16, |v| (bf16::from_f32(v).to_le_bytes().to_vec(), bf16::from_f32(v).to_f32())),
            (Dtype::F64, |v| (f64::from(v).to_le_bytes().to_vec(), v)),
        ];
        for (dtype, cast) in casts {
            let stored: Vec<_> = state_dict(&net).into_iter().filter(|entry| entry.kind == Kind::F32).collect();
            let values = |entry: &Entry| -> Vec<_> {
                entry.bytes.chunks_exact(4).map(|b| cast(f32::from_le_bytes(b.try_into().unwrap()))).collect()
            };
            let bytes: Vec<Vec<u8>> =
                stored.iter().map(|entry| values(entry).into_iter().flat_map(|(b, _)| b).collect()).collect();
            let views =
                stored.iter().zip(&bytes).map(|(e, b)| (e.name.clone(), TensorView::new(dtype, e.shape.clone(), b).unwrap()));
            std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
            let loaded = load_weights(testing::net(), &path, LoadOptions::default()).unwrap();
            for (got, sent) in state_dict(&loaded.net).iter().filter(|entry| entry.kind == Kind::F32).zip(&stored) {
                let expected: Vec<u8> = values(sent).into_iter().flat_map(|(_, v)| v.to_le_bytes()).collect();
                assert!(got.bytes == expected, "{dtype:?} {}", got.name);
            }
        }
    }

    #[test]
    fn colour_weights_are_summed_on_request_alone() {
        let colour = |entries: &mut Vec<Entry>| {
            // Channel c of every filter is 10^c.
            let values: Vec<f32> = (0..5 * 3 * 49).map(|i| [1.0, 10.0, 100.0][i / 49 % 3]).collect();
            *find(entries, FIRST) = floats(FIRST, &[5, 3, 7, 7], &values);
        };
        let (_, message) = difference(load_spoilt(LoadOptions::default(), colour));
        assert!(message.contains("takes 3 channels, the net 1: load with `sum_first_conv_channels`"), "{message}");

        let options = LoadOptions { sum_first_conv_channels: true, ..LoadOptions::default() };
        let loaded = load_spoilt(options, colour).unwrap();
        let first = state_dict(&loaded.net).into_iter().find(|entry| entry.name == FIRST).unwrap();
        assert_eq!(first.shape, [5, 1, 7, 7]);
        assert!(first.bytes.chunks_exact(4).all(|b| f32::from_le_bytes(b.try_into().unwrap()) == 111.0));
        load_spoilt(options, |_| {}).unwrap();
    }

    #[test]
    fn files_of_one_folder_give_one_net() {
        for (folder, files) in [
            ("torchvision", ["model_state.pt", "model_legacy.pth", "model_dataparallel.pth.tar"]),
            ("torchxrayvision", ["model_state.pt", "model_full_module.pt", "model_full_module_legacy.pt"]),
        ] {
            let load = |file: &str| Network::load(&fixture(folder).join(file), &Device::flex()).unwrap().net;
            let first = load("model.safetensors");
            let config: serde_json::Value =
                serde_json::from_str(&std::fs::read_to_string(fixture(folder).join("config.json")).unwrap()).unwrap();
            let ours = serde_json::to_value(first.shape()).unwrap();
            for (key, value) in ours.as_object().unwrap() {
                assert_eq!(*value, config[key], "{folder} {key}");
            }
            for file in files {
                same(&first, &load(file));
            }
        }
    }
}
