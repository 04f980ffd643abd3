//! A folder per class, as torchvision's `ImageFolder` reads and many Kaggle sets come.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cells::SPLIT;
use super::table::labels::{FindingSets, Named, named};
use crate::AugmentError;
use crate::dataset::{CxrDataset, Row};
use crate::image::{EXTENSIONS, ImageFiles};
use crate::record::{CxrRecord, Finding, Split, Vocabulary};

/// Images in `CLASS/…`, or in `train/CLASS/…`, `val/CLASS/…` and `test/CLASS/…`.
///
/// A class is a finding: positive in its images, negative in all others. `NORMAL`, `Normal` and `No Finding` are images without any
/// finding. Nothing else is known of an image, its patient neither.
#[derive(Clone, Debug)]
pub struct ClassFolders {
    /// The folder of the classes or of the splits.
    pub root: PathBuf,
    /// Classes outside the public vocabularies.
    pub custom_findings: Vec<String>,
    /// Findings that are asked of it; `No Finding` is a label only if it is.
    pub findings: Option<Vocabulary>,
}

/// An image and the folder it was found in.
struct Found {
    path: PathBuf,
    /// Path below the root, with slashes.
    id: String,
    split: Option<Split>,
    class: String,
}

/// Folders beside the images of a class that hold pictures of something else.
const NO_RADIOGRAPHS: [&str; 8] =
    ["mask", "masks", "heatmap", "heatmaps", "annotation", "annotations", "segmentation", "segmentations"];

impl ClassFolders {
    /// Lists the images; none is opened.
    ///
    /// # Errors
    /// [`AugmentError::BadLayout`] names what is not laid out so, and the classes that are no findings.
    pub fn read(&self) -> Result<CxrDataset, AugmentError> {
        let mut walk =
            Walk { root: &self.root, found: Vec::new(), others: Vec::new(), beside: BTreeMap::new(), seen: BTreeSet::new() };
        let folders = walk.folders(&self.root)?;
        if let Some(stray) = walk.images(&self.root)?.first() {
            return Err(self.stray(stray));
        }
        let split = |folder: &PathBuf| SPLIT.1(&name(folder));
        let splits: Vec<Option<Split>> = folders.iter().map(split).collect();
        match splits.iter().flatten().count() {
            0 => folders.iter().try_for_each(|class| walk.class(class, None))?,
            count if count == folders.len() => {
                for (folder, split) in folders.iter().zip(splits) {
                    if let Some(stray) = walk.images(folder)?.first() {
                        return Err(self.stray(stray));
                    }
                    for class in walk.folders(folder)? {
                        walk.class(&class, split)?;
                    }
                }
            }
            _ => {
                let names: Vec<_> = folders.iter().map(|folder| name(folder)).collect();
                return Err(self.bad(format!("the folders are {}", names.join(", ")), "classes alone or splits alone"));
            }
        }
        walk.found.sort_by(|a, b| a.id.cmp(&b.id));
        let notes = walk.notes();
        let data = self.dataset(walk.found)?;
        Ok(notes.into_iter().fold(data, CxrDataset::with_note))
    }

    fn dataset(&self, found: Vec<Found>) -> Result<CxrDataset, AugmentError> {
        let classes = self.classes(&found)?;
        let seen: BTreeSet<Finding> = classes.values().copied().flatten().collect();
        if seen.is_empty() && self.findings.is_none() {
            return Err(self.bad("no folder is of a finding".to_owned(), "a folder per finding beside that of normal images"));
        }
        let sets = FindingSets::new(&seen, self.findings.as_ref())?;
        let (mut rows, mut paths) = (Vec::new(), Vec::new());
        for Found { path, id, split, class } in found {
            let labels = sets.labels(classes[&class].as_slice());
            let record = CxrRecord { split, ..CxrRecord::real(id, None, labels) };
            rows.push(Row { record: Arc::new(record), image: paths.len(), line: paths.len() as u64 + 1 });
            paths.push(path);
        }
        let name = self.root.display().to_string();
        CxrDataset::new(&name, Arc::new(sets.vocabulary), rows, Arc::new(ImageFiles::new(paths)))
    }

    /// The finding of each class, `None` for images without any.
    fn classes(&self, found: &[Found]) -> Result<BTreeMap<String, Option<Finding>>, AugmentError> {
        let custom: Vec<Finding> = self.custom_findings.iter().map(|name| Finding::custom(name)).collect();
        let names: BTreeSet<&String> = found.iter().map(|found| &found.class).collect();
        let (mut classes, mut unknown) = (BTreeMap::new(), Vec::new());
        for class in names {
            match named(class, &custom) {
                Some(Named::Finding(finding)) => drop(classes.insert(class.clone(), Some(finding))),
                Some(Named::Nothing) => drop(classes.insert(class.clone(), None)),
                None => unknown.push(class),
            }
        }
        if unknown.is_empty() {
            return Ok(classes);
        }
        let list = unknown.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let expected = format!("names of findings; to take these as labels, write `custom_findings = {unknown:?}` in [data]");
        Err(self.bad(format!("classes that are no known findings: {list}"), &expected))
    }

    fn stray(&self, image: &Path) -> AugmentError {
        let found = format!("{} lies in no class", image.display());
        self.bad(found, "one folder per class, or train, val and test with one each")
    }

    fn bad(&self, found: String, expected: &str) -> AugmentError {
        AugmentError::BadLayout { path: self.root.clone(), found, expected: expected.to_owned() }
    }
}

/// Collects images, and what is left out.
struct Walk<'a> {
    root: &'a Path,
    found: Vec<Found>,
    /// Files that are no PNG, JPEG, BMP or DICOM.
    others: Vec<PathBuf>,
    /// Folders such as `masks`, with the number of images in them.
    beside: BTreeMap<String, usize>,
    /// Folders that were listed, by their real paths.
    seen: BTreeSet<PathBuf>,
}

impl Walk<'_> {
    /// Collects the images of a class, those in folders below it too, but not those in folders such as `masks`.
    fn class(&mut self, folder: &Path, split: Option<Split>) -> Result<(), AugmentError> {
        let class = name(folder);
        let (mut images, mut folders) = (Vec::new(), vec![(folder.to_owned(), None)]);
        while let Some((folder, other)) = folders.pop() {
            let here = self.images(&folder)?;
            match &other {
                Some(other) => *self.beside.entry(String::clone(other)).or_insert(0) += here.len(),
                None => images.extend(here),
            }
            for inner in self.folders(&folder)? {
                let named = NO_RADIOGRAPHS.contains(&name(&inner).to_lowercase().as_str()).then(|| name(&inner));
                folders.push((inner, other.clone().or(named)));
            }
        }
        for path in images {
            let below = path.strip_prefix(self.root).unwrap_or(&path);
            let id = below.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
            self.found.push(Found { path, id, split, class: class.clone() });
        }
        Ok(())
    }

    /// The images directly in `folder`.
    fn images(&mut self, folder: &Path) -> Result<Vec<PathBuf>, AugmentError> {
        let files = entries(folder)?.into_iter().filter(|path| path.is_file());
        let (images, others) = files.partition(|path| is_image(path));
        self.others.extend::<Vec<_>>(others);
        Ok(images)
    }

    /// The folders directly in `folder`, each once: links can lead to any of them again.
    fn folders(&mut self, folder: &Path) -> Result<Vec<PathBuf>, AugmentError> {
        let mut folders: Vec<PathBuf> = entries(folder)?.into_iter().filter(|path| path.is_dir()).collect();
        folders.retain(|path| self.seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
        Ok(folders)
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!("{}: folders of classes name no patients; each image counts as one", self.root.display())];
        let beside = self.beside.iter().map(|(name, count)| format!("{name} ({count})")).collect::<Vec<_>>().join(", ");
        if !beside.is_empty() {
            notes.push(format!("{}: images in folders of this name are not read: {beside}", self.root.display()));
        }
        if let Some(first) = self.others.first() {
            let (count, first) = (self.others.len(), first.display());
            notes.push(format!(
                "{count} files that are no PNG, JPEG, BMP or DICOM by their names are not read, such as {first}"
            ));
        }
        notes
    }
}

/// What lies in `folder` in order of names, without hidden files and what macOS adds to archives.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, AugmentError> {
    let failed = |source| AugmentError::Io { action: "list", path: folder.to_owned(), source };
    let paths = fs::read_dir(folder).map_err(failed)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.retain(|path| !name(path).starts_with('.') && name(path) != "__MACOSX");
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Label;

    /// A folder with an image of one pixel at each of `files`.
    fn folder(files: &[&str]) -> (tempfile::TempDir, ClassFolders) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match is_image(&path) {
                true => image::save_buffer(path, &[7], 1, 1, image::ExtendedColorType::L8).unwrap(),
                false => fs::write(path, "no image").unwrap(),
            }
        }
        let root = folder.path().to_owned();
        (folder, ClassFolders { root, custom_findings: Vec::new(), findings: None })
    }

    fn read(files: &[&str], custom: &[&str]) -> Result<CxrDataset, String> {
        let (folder, mut classes) = folder(files);
        classes.custom_findings = custom.iter().map(|name| (*name).to_owned()).collect();
        classes.read().map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "ROOT"))
    }

    fn rows(data: &CxrDataset) -> Vec<(&str, Option<Split>, String)> {
        let cells = |labels: &[Label]| labels.iter().map(|label| label.cell()).collect();
        data.rows().iter().map(|row| (row.record.id.as_str(), row.record.split, cells(&row.record.labels))).collect()
    }

    #[test]
    fn classes_are_findings_and_normal_is_none() {
        let data =
            read(&["PNEUMONIA/b.jpeg", "NORMAL/a.png", "Lung_Opacity/deep/er/c.bmp", "PNEUMONIA/Thumbs.db"], &[]).unwrap();
        assert_eq!(data.vocabulary().findings().iter().map(|f| f.name()).collect::<Vec<_>>(), ["Lung Opacity", "Pneumonia"]);
        let expected =
            [("Lung_Opacity/deep/er/c.bmp", None, "10"), ("NORMAL/a.png", None, "00"), ("PNEUMONIA/b.jpeg", None, "01")];
        assert_eq!(rows(&data), expected.map(|(id, split, labels)| (id, split, labels.to_owned())));
        assert!(data.notes().iter().any(|note| note.starts_with("1 files that are no PNG")), "{:?}", data.notes());
    }

    #[test]
    fn splits_are_a_level_above_classes() {
        let data = read(&["train/normal/a.png", "val/normal/a.png", "test/Mass/a.png", "train/No Finding/b.png"], &[]).unwrap();
        let found: Vec<_> =
            rows(&data).into_iter().map(|(id, split, labels)| format!("{id} {} {labels}", split.unwrap())).collect();
        let expected = [
            "test/Mass/a.png test 1",
            "train/No Finding/b.png train 0",
            "train/normal/a.png train 0",
            "val/normal/a.png valid 0",
        ];
        assert_eq!(found, expected);
        let error = read(&["train/normal/a.png", "Mass/a.png"], &[]).unwrap_err();
        assert_eq!(error, "ROOT: the folders are Mass, train, expected classes alone or splits alone");
    }

    #[test]
    fn unknown_classes_are_refused_all_at_once_with_a_remedy_that_works() {
        let files = ["COVID/a.png", "NORMAL/b.png", "TB/c.png"];
        let error = read(&files, &[]).unwrap_err();
        assert!(error.contains("`COVID`, `TB`") && error.contains(r#"`custom_findings = ["COVID", "TB"]`"#), "{error}");
        let data = read(&files, &["COVID", "TB"]).unwrap();
        assert_eq!(data.vocabulary().len(), 2);
        let error = read(&["NORMAL/b.png"], &[]).unwrap_err();
        assert!(error.contains("no folder is of a finding"), "{error}");
    }

    #[test]
    fn masks_are_never_radiographs() {
        let data =
            read(&["Mass/images/a.png", "Mass/images/Heatmaps/x/y.png", "Normal/images/b.png", "Normal/masks/b.png"], &[])
                .unwrap();
        assert_eq!(rows(&data).iter().map(|row| row.0).collect::<Vec<_>>(), ["Mass/images/a.png", "Normal/images/b.png"]);
        assert!(data.notes().iter().any(|note| note.ends_with("Heatmaps (1), masks (1)")), "{:?}", data.notes());
    }

    #[cfg(unix)]
    #[test]
    fn links_do_not_lead_round_in_circles() {
        let (folder, classes) = folder(&["Mass/a.png", "Normal/b.png"]);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("Mass/again")).unwrap();
        assert_eq!(classes.read().unwrap().rows().len(), 2);
    }

    #[test]
    fn images_outside_of_classes_are_refused() {
        let error = read(&["Mass/a.png", "b.png"], &[]).unwrap_err();
        assert_eq!(
            error,
            "ROOT: ROOT/b.png lies in no class, expected one folder per class, or train, val and test with one each"
        );
        assert!(read(&["train/b.png", "test/Mass/a.png"], &[]).unwrap_err().contains("lies in no class"));
    }

    #[test]
    fn no_finding_is_a_label_where_it_is_asked_for() {
        let (_folder, mut classes) = folder(&["Mass/a.png", "NORMAL/b.png"]);
        classes.findings = Some(Vocabulary::parse(["No Finding", "Mass"]).unwrap());
        let data = classes.read().unwrap();
        let names: Vec<_> = data.vocabulary().findings().iter().map(|finding| finding.name()).collect();
        assert_eq!((names, rows(&data)[1].2.as_str()), (vec!["Mass", "No Finding"], "01"));
    }
}
