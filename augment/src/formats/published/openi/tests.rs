use crate::dataset::CxrDataset;
use crate::formats::published::testing::{Tree, messages};
use crate::formats::registry::DataSource;
use crate::record::{Finding, Label, View};

fn xml(id: &str, findings: &str, impression: &str, major: &[&str], images: &[&str]) -> String {
    let major: String = major.iter().map(|term| format!("<major>{term}</major>")).collect();
    let images: String =
        images.iter().map(|image| format!("<parentImage id=\"{image}\">\n<caption>x</caption></parentImage>\n")).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<eCitation>\n<meta type=\"rr\"/>\n<uId id=\"{id}\"/>\n<Abstract>\n\
         <AbstractText Label=\"COMPARISON\">None.</AbstractText>\n<AbstractText Label=\"FINDINGS\">{findings}</AbstractText>\n\
         <AbstractText Label=\"IMPRESSION\">{impression}</AbstractText>\n</Abstract>\n<MeSH>\n{major}\n</MeSH>\n{images}</eCitation>\n"
    )
}

fn reports() -> [(&'static str, String); 3] {
    [
        ("1.xml", xml("CXR1", "Clear.", "Normal chest x-XXXX.", &["normal"], &["CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"])),
        (
            "10.xml",
            xml(
                "CXR10",
                "Opacity &amp; effusion.",
                "",
                &["Opacity/lung/base/left", "Pleural Effusion/left"],
                &["CXR10_IM-0002-1001"],
            ),
        ),
        ("2.xml", xml("CXR2", "", "", &["No Indexing"], &["CXR2_IM-0652-1001"])),
    ]
}

fn images(tree: &Tree) {
    for image in ["CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001", "CXR10_IM-0002-1001", "CXR2_IM-0652-1001"] {
        tree.image(&format!("NLMCXR_png/{image}.png"));
    }
}

fn folder() -> Tree {
    let tree = Tree::new();
    for (name, text) in reports() {
        tree.write(&format!("ecgen-radiology/{name}"), &text);
    }
    images(&tree);
    tree
}

fn positive(data: &CxrDataset, at: usize) -> Vec<&'static str> {
    let labels = data.record(at).labels.iter().zip(data.vocabulary().findings());
    labels.filter(|(label, _)| **label == Label::Positive).map(|(_, finding)| finding.name()).collect()
}

#[test]
fn reports_are_read_from_a_folder_or_their_archive() {
    let folder = folder();
    let archived = Tree::new();
    images(&archived);
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, text) in reports() {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_cksum();
        archive.append_data(&mut header, format!("ecgen-radiology/{name}"), text.as_bytes()).unwrap();
    }
    std::fs::write(archived.path("NLMCXR_reports.tgz"), archive.into_inner().unwrap().finish().unwrap()).unwrap();
    for (tree, place) in [(&folder, ""), (&folder, "ecgen-radiology"), (&archived, ""), (&archived, "NLMCXR_reports.tgz")] {
        let source = DataSource { images: Some(tree.path("NLMCXR_png")), ..tree.source(place) };
        let data = tree.read_with("openi", source).unwrap();
        let ids: Vec<_> = data.rows().iter().map(|row| row.record.id.as_str()).collect();
        assert_eq!(ids, ["CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001", "CXR10_IM-0002-1001", "CXR2_IM-0652-1001"]);
        assert_eq!(positive(&data, 2), ["Effusion", "Lung Opacity"]);
        assert!(data.record(0).labels.iter().all(|label| *label == Label::Negative));
        assert!(data.record(3).labels.iter().all(|label| *label == Label::Missing));
        let texts = [0, 2, 3].map(|at| data.record(at).report.as_deref());
        assert_eq!(texts, [Some("Normal chest x-XXXX."), Some("Opacity & effusion."), None]);
        assert_eq!(data.record(1).patient_id.as_ref().unwrap().as_str(), "CXR1");
        assert!(data.sample(3).is_ok());
        let notes = data.notes().join("\n");
        assert!(notes.contains("1 images have reports that were not indexed") && notes.contains("is unknown"), "{notes}");
    }
    assert_eq!([folder.guess(""), folder.guess("ecgen-radiology"), archived.guess("")], ["openi"; 3]);
}

#[test]
fn views_are_those_that_were_derived_and_sections_those_that_are_asked_for() {
    let tree = folder();
    tree.pack("nlmcxr_tsne_pa.csv.gz", "imageid,tsne-view\nCXR1_1_IM-0001-3001,L\nCXR10_IM-0002-1001,PA\n");
    let source = DataSource { report: Some("Comparison".to_owned()), ..tree.source("") };
    let data = tree.read_with("openi", source).unwrap();
    let views: Vec<_> = data.rows().iter().map(|row| row.record.view).collect();
    assert_eq!(views, [Some(View::Lateral), None, Some(View::Pa), None]);
    assert_eq!(data.record(3).report.as_deref(), Some("None."));
}

fn kaggle() -> Tree {
    let tree = Tree::new();
    tree.write(
        "indiana_reports.csv",
        "uid,MeSH,Problems,image,indication,comparison,findings,impression\n\
         1,normal,normal,Xray Chest PA and Lateral,Positive TB test,None.,Clear.,Normal chest x-XXXX.\n\
         2,Cardiomegaly/borderline;Pulmonary Artery/enlarged,Cardiomegaly;Pulmonary Artery,\"Chest, 2 views\",Pain.,None.,\"Borderline\ncardiomegaly.\",\n",
    );
    tree.write("indiana_projections.csv", "uid,filename,projection\n1,1_IM-0001-4001.dcm.png,Frontal\n1,1_IM-0001-3001.dcm.png,Lateral\n2,2_IM-0652-1001.dcm.png,Frontal\n");
    for image in ["1_IM-0001-4001", "1_IM-0001-3001", "2_IM-0652-1001"] {
        tree.image(&format!("images/images_normalized/{image}.dcm.png"));
    }
    tree
}

#[test]
fn kaggles_tables_are_joined() {
    let tree = kaggle();
    for place in ["", "indiana_reports.csv"] {
        let data = tree.read("openi", place).unwrap();
        assert_eq!((data.rows().len(), positive(&data, 2)), (3, vec!["Cardiomegaly"]));
        assert_eq!(data.record(2).report.as_deref(), Some("Borderline\ncardiomegaly."));
        assert_eq!([0, 1].map(|at| data.record(at).view), [None, Some(View::Lateral)]);
        assert_eq!(tree.guess(place), "openi");
    }
    tree.write("nlmcxr_tsne_pa.csv", "imageid,tsne-view\nCXR1_1_IM-0001-4001,PA\n");
    assert_eq!(tree.read("openi", "").unwrap().record(0).view, Some(View::Pa));
    assert!(Finding::parse("Granuloma").is_ok());
}

#[test]
fn faults_are_named() {
    let tree = kaggle();
    messages(
        &tree,
        "openi",
        "indiana_reports.csv",
        &[
            (
                "2,Cardiomegaly",
                "1,Cardiomegaly",
                "indiana_reports.csv, row 3, column `uid`: found `1`, expected a report that no earlier row has",
            ),
            (
                "2,Cardiomegaly",
                "3,Cardiomegaly",
                "indiana_projections.csv, row 4, column `uid`: found `2`, expected a report of",
            ),
            ("MeSH", "Mesh", "no column `MeSH`"),
        ],
    );
    let projections = std::fs::read_to_string(tree.path("indiana_projections.csv")).unwrap();
    tree.write("indiana_projections.csv", &projections.replacen("Lateral", "Oblique", 1));
    assert!(tree.read("openi", "").unwrap_err().contains("projections.csv, row 3, column `projection`: found `Oblique`"));
    std::fs::remove_file(tree.path("indiana_projections.csv")).unwrap();
    assert!(tree.read("openi", "").unwrap_err().contains("there is no indiana_projections.csv"));
    let tree = folder();
    tree.write("ecgen-radiology/2.xml", "<eCitation>\n<uId id=\"CXR2\">\n</eCitation>");
    let error = tree.read("openi", "").unwrap_err();
    assert!(error.contains("ecgen-radiology/2.xml: line 3: ") && error.contains("expected well-formed XML"), "{error}");
    std::fs::write(tree.path("ecgen-radiology/2.xml"), b"caf\xe9").unwrap();
    assert!(tree.read("openi", "").unwrap_err().contains("2.xml: text that is not UTF-8"));
    std::fs::remove_file(tree.path("ecgen-radiology/2.xml")).unwrap();
    std::fs::remove_file(tree.path("NLMCXR_png/CXR10_IM-0002-1001.png")).unwrap();
    assert!(tree.read("openi", "").unwrap_err().contains("10.xml, row 1: image `CXR10_IM-0002-1001` is not under"));
}
