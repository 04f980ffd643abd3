//! The chest radiographs of Indiana University on OpenI (Demner-Fushman et al., JAMIA 2016): the reports as XML, or the tables of Kaggle's copy.

mod terms;
mod xml;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use self::xml::Report;
use super::rows::{Gathered, Views, beside, folder_of, lacks};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::cells::FRONTAL_LATERAL;
use crate::formats::guess::Sighting;
use crate::formats::registry::{self, DataSource};
use crate::formats::sheet::{Line, Rows, Sheet};
use crate::record::{CxrRecord, Label, PatientId, View};

const REPORTS: &str = "indiana_reports.csv";
const PROJECTIONS: &str = "indiana_projections.csv";
const ARCHIVE: &str = "NLMCXR_reports.tgz";
/// Views that torchxrayvision derived from the images, as those of the files are noisy.
const VIEWS: &str = "nlmcxr_tsne_pa.csv";
/// Sections that are a report, the one that is taken first first.
const SECTIONS: [&str; 2] = ["impression", "findings"];
/// Most bytes of a report.
const MAX_REPORT: u64 = 1 << 20;
/// Most bytes of all of them. The collection has 30 MB.
const MAX_REPORTS: u64 = 1 << 28;

/// Why files are those of OpenI.
pub(in crate::formats) fn looks_like(seen: &Sighting) -> Option<String> {
    let is_report = |name: &String| name.ends_with(".xml");
    if let Some(name) = seen.files().iter().find(|name| [REPORTS, ARCHIVE].contains(&name.as_str())) {
        return Some(format!("it holds {name}"));
    }
    let below = seen.folders().iter().find(|(name, files)| name == "ecgen-radiology" && files.iter().any(is_report));
    if below.is_some() || (!seen.files().is_empty() && seen.files().iter().all(is_report)) {
        return Some("it holds reports as XML".to_owned());
    }
    seen.has_columns(&["uid", "MeSH", "Problems", "impression"])
        .then(|| "`uid`, `MeSH` and `impression` are columns of Kaggle's copy of OpenI".to_owned())
}

/// Reads the reports at `labels`: a folder of XML files or their `.tgz`, or `indiana_reports.csv` with `indiana_projections.csv` beside it.
///
/// Labels are what people indexed the reports with (`MeSH/major`), see `terms.rs`; a report that was not indexed has unknown ones. The report of an
/// image is the impression, else the findings, or the section that `data.report` names. A report counts as a patient.
pub(in crate::formats) fn read(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let place = registry::labels(source)?;
    let folder = folder_of(&place);
    let is_table = |path: &Path| path.to_string_lossy().trim_end_matches(".gz").ends_with(".csv");
    let reports = match place.is_dir() {
        false => place,
        true => beside(&place, REPORTS).or_else(|| Some(place.join(ARCHIVE)).filter(|path| path.is_file())).unwrap_or(place),
    };
    let images = source.images.clone().unwrap_or_else(|| folder.clone());
    let mut rows = Gathered::new(&images, source.missing)?;
    let sheet = |path: &Path| Sheet::read_for(path, Rows::Equal, source.delimiter, source.missing);
    let views = beside(&folder, VIEWS).or_else(|| beside(&images, VIEWS));
    let views = views.map(|path| derived_views(&sheet(&path)?)).transpose()?;
    let section = source.report.as_deref();
    let unindexed = match is_table(&reports) {
        true => of_tables(&sheet(&reports)?, &folder, &sheet, (section, views.as_ref()), &mut rows)?,
        false => of_reports(&reports, (section, views.as_ref()), &mut rows)?,
    };
    let path = reports.display();
    rows.note(
        (unindexed > 0)
            .then(|| format!("{path}: {unindexed} images have reports that were not indexed: all of their labels are unknown")),
    );
    rows.note(views.is_none().then(|| {
        format!("{path}: the projection of frontal images, PA or AP, is unknown; with torchxrayvision's {VIEWS} beside it, it is read from there")
    }));
    rows.dataset(&reports, terms::vocabulary())
}

/// The section that is asked for, and the views by image.
type Asked<'a> = (Option<&'a str>, Option<&'a HashMap<String, Option<View>>>);

/// The text of the section that is asked for, or of the first that is a report.
fn report<'a>(asked: Option<&str>, section: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    match asked {
        Some(name) => section(&name.to_lowercase()),
        None => SECTIONS.iter().find_map(|name| section(name)),
    }
    .map(str::to_owned)
}

fn derived_views(sheet: &Sheet) -> Result<HashMap<String, Option<View>>, AugmentError> {
    let (image, view) = (sheet.column("imageid")?, sheet.column("tsne-view")?);
    let (mut views, mut of) = (Views::default(), HashMap::new());
    let (mut lines, mut line) = (sheet.lines()?, Line::default());
    while lines.read(&mut line)? {
        of.insert(line.cell(image).to_owned(), views.read(line.cell(view)));
    }
    Ok(of)
}

/// Adds the images of XML reports; returns how many have no index.
fn of_reports(place: &Path, (section, views): Asked<'_>, rows: &mut Gathered) -> Result<usize, AugmentError> {
    let mut unindexed = 0;
    for (path, text) in texts(place)? {
        let bad = |fault: xml::Fault| AugmentError::BadLayout {
            path: path.clone(),
            found: format!("line {}: {}", fault.line, fault.found),
            expected: fault.expected.to_owned(),
        };
        let Report { id, images, sections, terms } = xml::parse(&text).map_err(bad)?;
        let labels = terms::labels(terms.iter().map(String::as_str));
        let named = |name: &str| sections.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
        let text = report(section, named);
        for (at, image) in images.into_iter().enumerate() {
            let mut record = CxrRecord::real(image.clone(), Some(PatientId::new(&id)), labels.clone());
            record.report.clone_from(&text);
            record.view = views.and_then(|views| views.get(&image).copied().flatten());
            unindexed += usize::from(labels[0] == Label::Missing);
            rows.add((&path, at as u64 + 1), &image, record)?;
        }
    }
    Ok(unindexed)
}

/// The reports at `place`, a folder or an archive, in the order of their names.
fn texts(place: &Path) -> Result<Vec<(PathBuf, String)>, AugmentError> {
    let mut texts = Vec::new();
    let mut total = 0;
    let mut add = |path: PathBuf, reader: &mut dyn Read| -> Result<(), AugmentError> {
        let failed = |source| AugmentError::Io { action: "read", path: path.clone(), source };
        let mut bytes = Vec::new();
        reader.take(MAX_REPORT + 1).read_to_end(&mut bytes).map_err(failed)?;
        total += bytes.len() as u64;
        let bad = |found: String, expected: &str| AugmentError::BadLayout {
            path: path.clone(),
            found,
            expected: expected.to_owned(),
        };
        if bytes.len() as u64 > MAX_REPORT {
            return Err(bad(format!("more than {MAX_REPORT} bytes"), "a report of radiographs"));
        }
        if total > MAX_REPORTS {
            return Err(bad(format!("more than {MAX_REPORTS} bytes of reports"), "the reports of OpenI, which have 30 MB"));
        }
        let text = String::from_utf8(bytes).map_err(|_| bad("text that is not UTF-8".to_owned(), "XML as UTF-8"))?;
        texts.push((path, text));
        Ok(())
    };
    let failed = |source| AugmentError::Io { action: "read", path: place.to_owned(), source };
    if place.is_dir() {
        let below = place.join("ecgen-radiology");
        let folder = if below.is_dir() { below } else { place.to_owned() };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "xml") {
                let source = |source| AugmentError::Io { action: "read", path: path.clone(), source };
                add(path.clone(), &mut File::open(&path).map_err(source)?)?;
            }
        }
    } else {
        let file = BufReader::new(File::open(place).map_err(failed)?);
        let mut archive = tar::Archive::new(MultiGzDecoder::new(file));
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            let name = entry.path().map_err(failed)?.into_owned();
            if name.extension().is_some_and(|extension| extension == "xml") {
                add(place.join(name), &mut entry)?;
            }
        }
    }
    if texts.is_empty() {
        return Err(lacks(
            place,
            ARCHIVE,
            "XML reports (`ecgen-radiology/1.xml`, …), their .tgz, or Kaggle's indiana_reports.csv",
        ));
    }
    texts.sort();
    Ok(texts)
}

/// Adds the images of Kaggle's tables; returns how many have no index.
fn of_tables(
    sheet: &Sheet,
    folder: &Path,
    read: &dyn Fn(&Path) -> Result<Sheet, AugmentError>,
    (section, views): Asked<'_>,
    rows: &mut Gathered,
) -> Result<usize, AugmentError> {
    let projections =
        beside(folder, PROJECTIONS).ok_or_else(|| lacks(folder, PROJECTIONS, "the table of images beside that of reports"))?;
    let projections = read(&projections)?;
    let reports = Reports::read(sheet, section)?;
    rows.sheet(sheet, None);
    rows.sheet(&projections, None);
    let [uid, file, projection] = ["uid", "filename", "projection"].map(|name| projections.column(name));
    let (uid, file, projection) = (uid?, file?, projection?);
    let mut unindexed = 0;
    let (mut lines, mut line) = (projections.lines()?, Line::default());
    while lines.read(&mut line)? {
        let known = |cell: &str| reports.of.get(cell);
        let read = || -> Result<_, AugmentError> {
            let expected = format!("a report of {}", sheet.path.display());
            let (labels, text) = projections.parse(&line, uid, (&expected, known))?;
            let name =
                projections.parse(&line, file, ("the name of an image", |cell| (!cell.is_empty()).then(|| cell.to_owned())))?;
            let lateral = projections.parse_optional(&line, Some(projection), FRONTAL_LATERAL)?.flatten();
            // `1_IM-0001-4001.dcm.png` is the image `CXR1_1_IM-0001-4001`.
            let image = format!("CXR{}_{}", line.cell(uid), name.split(".dcm").next().unwrap_or(&name));
            let mut record = CxrRecord::real(name, Some(PatientId::new(line.cell(uid))), labels.clone());
            record.report.clone_from(text);
            record.view = views.and_then(|views| views.get(&image).copied().flatten()).or(lateral);
            Ok(record)
        };
        let Some(record) = rows.pass(read())? else { continue };
        unindexed += usize::from(record.labels[0] == Label::Missing);
        let name = record.id.clone();
        rows.add((&projections.path, line.number), &name, record)?;
    }
    Ok(unindexed)
}

/// Labels and text by report.
struct Reports {
    of: HashMap<String, (Vec<Label>, Option<String>)>,
}

impl Reports {
    fn read(sheet: &Sheet, section: Option<&str>) -> Result<Self, AugmentError> {
        let (uid, terms) = (sheet.column("uid")?, sheet.column("MeSH")?);
        let names: Vec<String> = match section {
            Some(name) => vec![name.to_lowercase()],
            None => SECTIONS.map(str::to_owned).to_vec(),
        };
        let columns =
            names.iter().map(|name| Ok((name.as_str(), sheet.column(name)?))).collect::<Result<Vec<_>, AugmentError>>()?;
        let mut of = HashMap::new();
        let (mut lines, mut line) = (sheet.lines()?, Line::default());
        while lines.read(&mut line)? {
            let text = |name: &str| {
                let column = columns.iter().find(|(known, _)| *known == name)?;
                Some(line.cell(column.1)).filter(|text| !text.is_empty())
            };
            let labels = terms::labels(line.cell(terms).split(';').filter(|term| !term.is_empty()));
            let id = sheet.parse(&line, uid, ("the number of a report", |cell| (!cell.is_empty()).then(|| cell.to_owned())))?;
            if of.insert(id, (labels, report(section, text))).is_some() {
                return Err(sheet.bad_cell(&line, uid, "a report that no earlier row has"));
            }
        }
        Ok(Self { of })
    }
}

#[cfg(test)]
mod tests;
