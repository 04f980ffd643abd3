//! Tables of every kind, and what is wrong with others.

use std::fs;

use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{prop_assert_eq, proptest};

use super::*;
use crate::dataset::{SplitPlan, Splits};
use crate::record::{Label, Laterality, PatientId, View};

/// Writes a table and, beside it, the images `a.png` to `d.png`; returns the result of reading it.
fn read(text: &str, change: impl FnOnce(&mut Table)) -> Result<CxrDataset, String> {
    let folder = tempfile::tempdir().unwrap();
    for (level, name) in ["a", "b", "c", "d"].iter().enumerate() {
        let path = folder.path().join(format!("{name}.png"));
        image::save_buffer(path, &[level as u8], 1, 1, image::ExtendedColorType::L8).unwrap();
    }
    let mut table = Table::new(folder.path().join("t.csv"));
    fs::write(&table.path, text).unwrap();
    change(&mut table);
    table.read().map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

fn message(text: &str) -> String {
    read(text, |_| ()).unwrap_err()
}

#[test]
fn findings_are_columns_under_any_alias() {
    let data = read("image,Pleural Effusion,split,Mass\na.png,1,train,-1\nb.png,0,test,\n", |_| ()).unwrap();
    assert_eq!(data.vocabulary().findings().iter().map(|f| f.name()).collect::<Vec<_>>(), ["Effusion", "Mass"]);
    assert_eq!(data.record(0).labels, [Label::Positive, Label::Uncertain]);
    assert_eq!(data.record(1).labels, [Label::Negative, Label::Missing]);
}

#[test]
fn every_fault_names_file_row_and_cell() {
    assert_eq!(
        message("image,Mass\na.png,1\nb.png,7\n"),
        "t.csv, row 3, column `Mass`: found `7`, expected 1, 0, -1 (uncertain) or blank"
    );
    assert_eq!(message("image,Mass\na.png,1\na.png,0\n"), "t.csv: image `a.png` is in row 3 and in row 2; keep one of them");
    assert_eq!(
        message("picture,Mass\na.png,1\n"),
        "t.csv: no column `image`; the columns are `picture`, `Mass`; say which it is with `columns = { image = \"…\" }` in [data]"
    );
    assert!(message("image,Mass\nx.png,1\n").starts_with("t.csv, row 2: image `x.png` is not under"));
    assert!(
        message("image,Mas\na.png,1\n")
            .contains("column `Mas` is neither a field of the table nor a known finding (nearest: `Mass`)")
    );
    assert_eq!(
        message("image,Effusion,Pleural Effusion\na.png,1,1\n"),
        "t.csv: column `Pleural Effusion` means the same as column `Effusion`; keep one of them"
    );
    assert!(message("image,age\na.png,1\n").starts_with("t.csv: no column is a finding"));
    assert_eq!(message("image,Mass\n"), "t.csv has no rows; check the path and the filters");
}

#[test]
fn declared_columns_are_taken() {
    let text = "image,Scoliosis of Mine,scanner\na.png,1,left room\n";
    let declared = read(text, |table| {
        table.custom_findings = vec!["Scoliosis of Mine".to_owned()];
        table.extra_columns = vec!["scanner".to_owned()];
    });
    assert_eq!(declared.unwrap().vocabulary().findings()[0].name(), "Scoliosis of Mine");
}

#[test]
fn another_column_can_hold_the_reports() {
    let impression = |table: &mut Table| table.report = Some("impression".to_owned());
    let data = read("image,Mass,impression\na.png,1,A mass.\n", impression).unwrap();
    assert_eq!(data.record(0).report.as_deref(), Some("A mass."));
    assert!(read("image,Mass,text\na.png,1,x\n", impression).unwrap_err().contains("data.report is `impression`"));
    assert!(read("image,Mass,report,impression\na.png,1,x,y\n", impression).unwrap_err().contains("`report`"));
}

#[test]
fn sides_and_severities_are_columns() {
    let data =
        read("image,Effusion,Pleural Effusion side,Effusion severity\na.png,1,bilateral,Mild\nb.png,0,,\n", |_| ()).unwrap();
    let detail = data.record(0).details.findings[0];
    assert_eq!((detail.side, detail.severity), (Some(crate::record::Laterality::Both), Some(crate::record::Severity::Mild)));
    assert!(data.record(1).details.findings.is_empty());
    assert!(message("image,Mass,Mass side\na.png,1,upper\n").contains("left, right or both"));
    assert!(message("image,Mass,Mas side\na.png,1,left\n").contains("`Mas"));
}

#[test]
fn rows_of_a_pool_need_not_say_that_they_are_synthetic() {
    let text = "image,source_id,origin,Mass\na.png,9.png,,1\nb.png,,,0\nc.png,,real,0\n";
    let pool = read(text, |table| table.synthetic = true).unwrap();
    let origins: Vec<bool> = pool.rows().iter().map(|row| row.record.origin.is_synthetic()).collect();
    assert_eq!(origins, [true, true, false]);
    let crate::record::Origin::Synthetic(provenance) = &pool.record(0).origin else { panic!("a real row") };
    assert_eq!((provenance.request.source.as_ref().unwrap().id.as_str(), provenance.request.seed), ("9.png", 0));
    assert!(!read(text, |_| ()).unwrap().rows().iter().any(|row| row.record.origin.is_synthetic()));
}

#[test]
fn synthetic_rows_never_judge() {
    let header =
        "image,patient_id,split,origin,source_id,seed,prompt,model,Mass\na.png,1,train,,,,,,1\nb.png,2,valid,real,,,,,0";
    let with = |split| format!("{header}\nc.png,1,{split},synthetic,a.png,5,A mass.,phantom,1\nd.png,3,test,,,,,,0\n");
    let data = read(&with("train"), |_| ()).unwrap();
    assert!(data.record(2).origin.is_synthetic());
    assert!(Splits::new(&data, &SplitPlan::column()).is_ok());
    let judged = Splits::new(&read(&with("test"), |_| ()).unwrap(), &SplitPlan::column()).unwrap_err().to_string();
    assert!(judged.contains("row 4 (`c.png`): a synthetic image can't be in the test split"), "{judged}");
    let unmade = message("image,origin,seed,prompt,model,Mass\na.png,synthetic,,p,m,1\n");
    assert_eq!(unmade, "t.csv, row 2, column `seed`: found ``, expected a whole number of at least 0");
}

/// The names of `data`'s findings.
fn findings(data: &CxrDataset) -> Vec<&str> {
    data.vocabulary().findings().iter().map(|finding| finding.name()).collect()
}

/// The labels of each row as cells.
fn cells(data: &CxrDataset) -> Vec<Vec<&str>> {
    data.rows().iter().map(|row| row.record.labels.iter().map(|label| label.cell()).collect()).collect()
}

fn columns(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, column)| ((*key).to_owned(), (*column).to_owned())).collect()
}

#[test]
fn names_of_columns_are_taken_in_any_case_and_without_a_note() {
    let data = read(" Image ,PATIENT_ID,Age,SEX,effusion,Effusion SIDE\na.png,7,57,m,1,Left\n", |_| ()).unwrap();
    let record = data.record(0);
    assert_eq!((record.patient_id.as_ref().map(PatientId::as_str), record.age), (Some("7"), Some(57.0)));
    assert_eq!(record.details.findings[0].side, Some(Laterality::Left));
    assert_eq!(data.notes(), [""; 0]);
    let twice = message("image,Image,Mass\na.png,a.png,1\n");
    assert_eq!(twice, "t.csv: column `Image` means the same as column `image`; keep one of them");
}

#[test]
fn columns_are_what_the_run_file_says() {
    let text = "file,who,years,m,kept,comment\na.png,7,57,1,train,x\nb.png,8,,0,test,y\n";
    let named = columns(&[("image", "File"), ("patient_id", "who"), ("age", "years"), ("Mass", "m"), ("split", "kept")]);
    let data = read(text, |table| table.columns = named.clone()).unwrap();
    let record = data.record(0);
    assert_eq!((record.id.as_str(), record.age, record.split), ("a.png", Some(57.0), Some(Split::Train)));
    assert_eq!((findings(&data), cells(&data)), (vec!["Mass"], vec![vec!["1"], vec!["0"]]));
    assert_eq!(data.notes().len(), 1);
    assert!(data.notes()[0].ends_with("are ignored: `comment`"), "{:?}", data.notes());
    // A cell at fault is in the column that the user knows.
    let bad = read(&text.replace("57", "old"), |table| table.columns = named.clone()).unwrap_err();
    assert!(bad.starts_with("t.csv, row 2, column `years`: found `old`"), "{bad}");
}

#[test]
fn a_column_that_the_run_file_names_hides_the_one_of_that_name() {
    let text = "image,Path,split,my split,Mass\nx,a.png,a,train,1\n";
    let data = read(text, |table| table.columns = columns(&[("image", "Path"), ("split", "my split")])).unwrap();
    assert_eq!((data.record(0).id.as_str(), data.record(0).split), ("a.png", Some(Split::Train)));
    assert!(data.notes()[0].ends_with("are ignored: `image`, `split`"), "{:?}", data.notes());
}

#[test]
fn what_the_run_file_names_wrongly_is_said_with_its_key() {
    let text = "Path,Mass,Sex,sex\na.png,1,M,F\n";
    for (pairs, said) in [
        (&[("image", "Pfad")][..], "data.columns.image is `Pfad`; write a column of t.csv: `Path`, `Mass`, `Sex`, `sex`"),
        (&[("image", "Path"), ("sex", "SEX")], "data.columns.sex is `SEX`; write a column of t.csv"),
        (&[("picture", "Path")], "data.columns is a table with the key `picture`; write image, patient_id, labels"),
        (&[("image", "Path"), ("report", "Path")], "data.columns.report is `Path`; write a column that no other key names"),
        (&[("Mass", "Mass"), ("image", "Path"), ("Pleural Effusion", "Mass")], "write a column that no other key names"),
        (&[("image", "Path"), ("labels", "Sex")], "column `Sex` lists findings, and column `Mass` is one"),
    ] {
        let error = read(text, |table| table.columns = columns(pairs)).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let twice = read("Path,Path,Mass\na.png,b.png,1\n", |table| table.columns = columns(&[("image", "Path")])).unwrap_err();
    assert!(twice.contains("column `Path` means the same as column `Path`"), "{twice}");
    let both = |table: &mut Table| {
        table.columns = columns(&[("image", "Path"), ("report", "Sex")]);
        table.report = Some("sex".to_owned());
    };
    assert!(read(text, both).unwrap_err().contains("data.columns.report is `Sex`; write it once: data.report says the same"));
    let extra = |table: &mut Table| {
        table.columns = columns(&[("image", "Path")]);
        table.extra_columns = vec!["Path".to_owned()];
    };
    assert!(read(text, extra).unwrap_err().contains("data.extra_columns is `Path`, which data.columns names too"));
}

/// `train.csv` of CheXpert, whose header is that of the published file, without most of its findings.
#[test]
fn chexpert_is_read_as_it_comes() {
    let text = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Pleural Effusion\n\
                CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,\n\
                CheXpert-v1.0-small/train/patient00002/study2/view2_lateral.jpg,Male,87,Lateral,,,-1.0\n";
    let data = read(text, |table| table.missing = MissingImages::Keep).unwrap();
    let row = |i: usize| (data.record(i).patient_id.as_ref().unwrap().as_str(), data.record(i).view.unwrap());
    assert_eq!((row(0), row(1)), (("patient00001", View::Ap), ("patient00002", View::Lateral)));
    assert_eq!(cells(&data), [["1", ""], ["", "-1"]]);
    let said = [
        "t.csv: columns are read as `columns = { image = \"Path\", view = \"AP/PA\" }`; [data] can say otherwise",
        "`patient00001`",
    ];
    assert!(data.notes().iter().zip(said).all(|(note, said)| note.contains(said)), "{:?}", data.notes());
}

/// `sample_labels.csv` of Kaggle's NIH sample, with its header.
#[test]
fn nih_tables_are_read_as_they_come() {
    let header =
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImageWidth";
    let rows = ["a.png,Mass|Pleural_Thickening,0,13,060Y,M,PA,2992", "b.png,No Finding,1,13,061Y,M,AP,1", "c.png,,2,14,,,,"];
    let text = format!("{header}\n{}\n", rows.join("\n"));
    let refused = message(&text);
    assert!(refused.contains(r#"`extra_columns = ["Follow-up #", "OriginalImageWidth"]`"#), "{refused}");
    let data = read(&text, |table| table.extra_columns = vec!["Follow-up #".into(), "originalimagewidth".into()]).unwrap();
    assert_eq!(findings(&data), ["Mass", "Pleural_Thickening"]);
    assert_eq!(cells(&data), [["1", "1"], ["0", "0"], ["", ""]]);
    assert_eq!((data.record(1).age, data.record(1).view), (Some(61.0), Some(View::Ap)));
    let noted = "columns = { image = \"Image Index\", patient_id = \"Patient ID\", age = \"Patient Age\", sex = \"Patient Gender\", \
                 view = \"View Position\", labels = \"Finding Labels\" }";
    assert!(data.notes()[0].contains(noted), "{:?}", data.notes());
}

#[test]
fn what_two_columns_may_be_is_not_guessed() {
    let error = message("image,PatientID,Subject,Mass\na.png,1,2,1\n");
    assert!(
        error.starts_with("data.columns.patient_id is absent; write which column of t.csv it is, of `PatientID`, `Subject`"),
        "{error}"
    );
    // Both remedies.
    let text = "image,PatientID,Subject,Mass\na.png,1,2,1\n";
    let data = read(text, |table| table.columns = columns(&[("patient_id", "Subject")])).unwrap();
    assert_eq!(data.record(0).patient_id, Some(PatientId::new("2")));
    let data = read(text, |table| table.extra_columns = vec!["subject".to_owned()]).unwrap();
    assert_eq!(data.record(0).patient_id, Some(PatientId::new("1")));
}

#[test]
fn a_guess_that_the_cells_belie_is_refused_with_a_remedy_that_works() {
    let text = "image,Set,Mass\na.png,A,1\n";
    let error = message(text);
    assert!(error.contains("column `Set`: found `A`") && error.contains("data.extra_columns"), "{error}");
    assert!(read(text, |table| table.extra_columns = vec!["Set".to_owned()]).is_ok());
}

#[test]
fn lists_have_one_of_three_separators_and_say_what_is_absent() {
    for (separator, quote) in [('|', ""), (';', ""), (',', "\"")] {
        let list = ["Mass", " Pleural Effusion", "mass"].join(&separator.to_string());
        let text = format!("image,Labels\na.png,{quote}{list}{quote}\nb.png,No Finding\nc.png,\nd.png,NORMAL\n");
        let data = read(&text, |_| ()).unwrap();
        assert_eq!(findings(&data), ["Effusion", "Mass"], "{separator}");
        assert_eq!(cells(&data), [["1", "1"], ["0", "0"], ["", ""], ["0", "0"]], "{separator}");
    }
    let python = read("image,labels\na.png,\"['pneumonia', 'mass']\"\nb.png,['normal']\n", |_| ()).unwrap();
    assert_eq!(cells(&python), [["1", "1"], ["0", "0"]]);
}

#[test]
fn lists_that_contradict_themselves_or_name_something_else_are_refused() {
    let error = message("image,labels\na.png,Mass\nb.png,No Finding|Mass\n");
    assert!(
        error.starts_with("t.csv, row 3, column `labels`: found `No Finding|Mass`, expected `No Finding` alone"),
        "{error}"
    );
    let text = "image,Finding Labels\na.png,Mass|Masss\nb.png,COPD|Mass\n";
    let error = message(text);
    assert!(error.starts_with("t.csv, row 2, column `Finding Labels`: `Masss` is no known finding"), "{error}");
    assert!(error.contains(r#"`custom_findings = ["Masss", "COPD"]`"#), "{error}");
    let custom = |table: &mut Table| table.custom_findings = vec!["Masss".to_owned(), "COPD".to_owned()];
    assert_eq!(findings(&read(text, custom).unwrap()), ["COPD", "Mass", "Masss"]);
    assert!(message("image,labels\na.png,No Finding\n").starts_with("t.csv: no column is a finding"));
}

#[test]
fn findings_that_are_asked_for_and_that_no_list_names_are_negative_and_noted() {
    let wanted = Vocabulary::parse(["Hernia", "No Finding", "Mass"]).unwrap();
    let data =
        read("image,labels\na.png,Mass|Nodule\nb.png,No Finding\n", |table| table.findings = Some(wanted.clone())).unwrap();
    let data = data.with_vocabulary(wanted).unwrap();
    assert_eq!(cells(&data), [["0", "0", "1"], ["0", "1", "0"]]);
    assert!(data.notes().iter().any(|note| note.contains("no row of column `labels` names Hernia:")), "{:?}", data.notes());
}

#[test]
fn a_table_without_labels_is_read_only_to_be_scored() {
    let wanted = Vocabulary::parse(["Mass", "Hernia"]).unwrap();
    let unlabelled = |table: &mut Table| {
        table.findings = Some(wanted.clone());
        table.unlabelled = true;
    };
    assert!(message("image\na.png\n").contains("Only `predict` needs no labels"));
    let data = read("image\na.png\n", unlabelled).unwrap();
    assert_eq!(cells(&data.with_vocabulary_or_blank(wanted.clone())), [["", ""]]);
    for text in ["image,Mass\na.png,1\n", "image,labels\na.png,Mass\n"] {
        let data = read(text, unlabelled).unwrap().with_vocabulary_or_blank(wanted.clone());
        assert_eq!(cells(&data), [["1", ""]], "{text}");
        assert!(data.notes().iter().any(|note| note.ends_with("has no labels of Hernia; they are taken as unknown")));
    }
    let data = read("image,labels\na.png,No Finding\n", unlabelled).unwrap();
    assert_eq!(cells(&data), [["", ""]], "which of the findings the list would have named is unknown");
}

#[test]
fn rows_without_their_images_are_left_out_where_the_table_may_be_partial() {
    let text = "image,split,Mass\na.png,train,1\nx.png,train,0\nb.png,valid,1\n";
    let skip = |table: &mut Table| table.missing = MissingImages::Skip;
    assert!(message(text).contains("row 3: image `x.png`"));
    let data = read(text, skip).unwrap();
    assert_eq!(data.rows().iter().map(|row| row.record.id.as_str()).collect::<Vec<_>>(), ["a.png", "b.png"]);
    assert!(data.notes()[0].starts_with("1 of 3 images are not under"), "{:?}", data.notes());
    // What is left must not be another study: validation would be drawn from training.
    let lost = read(&text.replace("b.png", "y.png"), skip).unwrap_err();
    assert!(lost.contains("2 of 3 images are not under") && lost.contains("nothing is left of the valid split"), "{lost}");
    let lost = read("image,Mass\nx.png,1\n", skip).unwrap_err();
    assert!(lost.contains("1 of 1 images are not under") && lost.contains("nothing is left;"), "{lost}");
}

#[test]
fn one_image_per_patient_is_the_first_by_the_column_that_is_named() {
    let text =
        "image,patient_id,date,Mass\na.png,1,2020-02-01,1\nb.png,1,2019-12-31 10:00,0\nc.png,2,,0\nd.png,2,2020/01/05,\n";
    let ordered = |table: &mut Table| table.columns = columns(&[("order", "date")]);
    let first = |data: CxrDataset| {
        let data = data.with_one_per_patient().unwrap();
        data.rows().iter().map(|row| (row.record.id.clone(), row.line)).collect::<Vec<_>>()
    };
    let unordered = read(text, |table| table.extra_columns = vec!["date".to_owned()]).unwrap();
    assert_eq!(first(unordered), [("a.png".to_owned(), 2), ("c.png".to_owned(), 4)]);
    assert_eq!(first(read(text, ordered).unwrap()), [("b.png".to_owned(), 3), ("d.png".to_owned(), 5)]);
    let error = read(&text.replace("2020/01/05", "05/01/2020"), ordered).unwrap_err();
    assert!(error.contains("row 5, column `date`: found `05/01/2020`, expected a number or a date"), "{error}");
}

proptest! {
    /// Whatever order columns have and whatever case their names, the rows are the same.
    #[test]
    fn columns_may_be_in_any_order_and_case(order in Just((0..5usize).collect::<Vec<_>>()).prop_shuffle(), upper in any::<[bool; 5]>()) {
        let names = ["image", "patient_id", "view", "Effusion", "Mass"];
        let cells = [["a.png", "b.png"], ["1", "2"], ["PA", ""], ["1", "-1"], ["", "0"]];
        let name = |&at: &usize| if upper[at] { names[at].to_uppercase() } else { format!(" {} ", names[at]) };
        let row = |row: usize| order.iter().map(|at| cells[*at][row]).collect::<Vec<_>>().join(",");
        let header = order.iter().map(name).collect::<Vec<_>>().join(",");
        let data = read(&format!("{header}\n{}\n{}\n", row(0), row(1)), |_| ()).unwrap();
        let data = data.with_vocabulary(Vocabulary::parse(["Effusion", "Mass"]).unwrap()).unwrap();
        let record = data.record(1);
        prop_assert_eq!((record.id.as_str(), record.view, data.record(0).view), ("b.png", None, Some(View::Pa)));
        prop_assert_eq!(&record.labels, &[Label::Uncertain, Label::Negative]);
        prop_assert_eq!(&data.record(0).labels, &[Label::Positive, Label::Missing]);
    }

    /// A list of findings says what columns of them would.
    #[test]
    fn lists_and_columns_say_the_same(rows in prop::collection::vec(any::<[bool; 3]>(), 1..4), separator in prop::sample::select(vec!["|", ";"])) {
        let names = ["Effusion", "Hernia", "Mass"];
        let list = |row: &[bool; 3]| {
            let named: Vec<_> = names.iter().zip(row).filter(|(_, has)| **has).map(|(name, _)| *name).collect();
            if named.is_empty() { "No Finding".to_owned() } else { named.join(separator) }
        };
        let image = |at: usize| ["a.png", "b.png", "c.png"][at];
        let (mut lists, mut columns) = ("image,labels\n".to_owned(), format!("image,{}\n", names.join(",")));
        for (at, row) in rows.iter().enumerate() {
            lists.push_str(&format!("{},{}\n", image(at), list(row)));
            columns.push_str(&format!("{},{}\n", image(at), row.map(|has| if has { "1" } else { "0" }).join(",")));
        }
        let wanted = Vocabulary::parse(names).unwrap();
        let lists = read(&lists, |table| table.findings = Some(wanted.clone())).unwrap();
        let columns = read(&columns, |_| ()).unwrap();
        prop_assert_eq!(findings(&lists), findings(&columns));
        prop_assert_eq!(cells(&lists), cells(&columns));
    }
}

#[test]
fn columns_that_are_asked_for_are_kept_whatever_they_are() {
    let text = "image,Mass,split,Scanner\na.png,1,train,  A1 \nb.png,0,test,n/a\n";
    let keep = |names: &[&str]| {
        let kept_columns = names.iter().map(|name| (*name).to_owned()).collect();
        read(text, |table| table.kept_columns = kept_columns)
    };
    let data = keep(&["scanner", "split"]).unwrap();
    let cells =
        |row: usize| data.record(row).details.columns.iter().map(|(n, c)| format!("{n}={c}")).collect::<Vec<_>>().join(" ");
    assert_eq!([cells(0), cells(1)], ["scanner=A1 split=train", "split=test"]);
    assert_eq!(data.record(1).split, Some(Split::Test));
    assert_eq!(
        keep(&["scanner", "site"]).unwrap_err(),
        "fairness.columns is `site`; write a column of t.csv: `image`, `Mass`, `split`, `Scanner`"
    );
    // It is neither unknown nor ignored.
    assert!(keep(&[]).unwrap_err().contains("`Scanner` is neither"));
    let ignored = read(text, |table| {
        table.extra_columns = vec!["Scanner".to_owned()];
        table.kept_columns = vec!["Scanner".to_owned()];
    });
    assert_eq!(ignored.unwrap().record(0).details.columns["Scanner"], "A1");
}
