//! A whole small study from look-alikes of published data sets: `data check`, then `compare` with a phantom as generator.

use std::fs;

use crate::cli::{RUN, Study, succeeds};

/// A published layout: its `[data]` table, and the files that it has beside the images.
struct Layout {
    data: &'static str,
    /// Where image `i` lies, with or without the finding.
    image: fn(usize, bool) -> String,
    /// The tables: name, header, and the row of image `i`, with or without the finding.
    tables: &'static [(&'static str, &'static str, fn(usize, bool) -> String)],
}

const CHEXPERT: &str = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,\
                        Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices";
const MIMIC: &str = "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,\
                     No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices";
const BRAX: &str = "PngPath,PatientID,PatientSex,PatientAge,ViewPosition,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,\
                    Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices";
const PATIENT: &str = "split = { by = \"patient\", valid = 0.3, test = 0.3, seed = 5 }";

fn number(has: bool) -> &'static str {
    if has { "1.0" } else { "0.0" }
}

fn split(i: usize) -> &'static str {
    ["train", "validate", "test"][i % 3]
}

fn chexpert_path(i: usize) -> String {
    format!("CheXpert-v1.0-small/train/patient{i:05}/study1/view1_frontal.jpg")
}

const LAYOUTS: [Layout; 10] = [
    Layout {
        data: "format = \"mimic\"\nlabels = \"set\"\nfindings = [\"Effusion\"]",
        image: |i, _| format!("files/p10/p{}/s{}/d{i}.jpg", 10_000_000 + i, 50_000_000 + i),
        tables: &[
            ("mimic-cxr-2.0.0-chexpert.csv", MIMIC, |i, has| {
                format!("{},{}{}{}{}", 10_000_000 + i, 50_000_000 + i, ",".repeat(10), number(has), ",".repeat(4))
            }),
            ("mimic-cxr-2.0.0-metadata.csv", "dicom_id,subject_id,study_id,ViewPosition,StudyDate,StudyTime", |i, _| {
                format!("d{i},{},{},PA,21800506,213014.531", 10_000_000 + i, 50_000_000 + i)
            }),
            ("mimic-cxr-2.0.0-split.csv", "dicom_id,study_id,subject_id,split", |i, _| {
                format!("d{i},{},{},{}", 50_000_000 + i, 10_000_000 + i, split(i))
            }),
        ],
    },
    Layout {
        data: "format = \"chexpert\"\nlabels = \"set/CheXpert-v1.0-small\"\nfindings = [\"Effusion\"]",
        image: |i, _| chexpert_path(i),
        tables: &[("CheXpert-v1.0-small/train.csv", CHEXPERT, |i, has| {
            format!("{},Male,50,Frontal,AP{}{}{}", chexpert_path(i), ",".repeat(11), number(has), ",".repeat(3))
        })],
    },
    Layout {
        data: "format = \"chexpert-plus\"\nlabels = \"set\"\nfindings = [\"Effusion\"]",
        image: |i, _| format!("PNG/train/patient{i:05}/study1/view1_frontal.png"),
        tables: &[
            (
                "df_chexpert_plus_240401.csv",
                "path_to_image,frontal_lateral,ap_pa,age,sex,section_findings,section_impression",
                |i, _| format!("train/patient{i:05}/study1/view1_frontal.jpg,Frontal,PA,50,Male,Clear lungs.,"),
            ),
            ("train.csv", CHEXPERT, |i, has| {
                format!("{},Male,50,Frontal,AP{}{}{}", chexpert_path(i), ",".repeat(11), number(has), ",".repeat(3))
            }),
        ],
    },
    Layout {
        data: "format = \"padchest\"\nlabels = \"set\"\nfindings = [\"Effusion\", \"Mass\"]",
        image: |i, _| format!("{}/{i}.png", i % 5),
        tables: &[(
            "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
            ",ImageID,ImageDir,StudyDate_DICOM,PatientID,PatientBirth,PatientSex_DICOM,Projection,Labels",
            |i, has| {
                format!(
                    "{i},{i}.png,{},20140915,p{i},1930.0,F,PA,{}",
                    i % 5,
                    if has { "\"['mass', 'pleural effusion']\"" } else { "['normal']" }
                )
            },
        )],
    },
    Layout {
        data: "format = \"openi\"\nlabels = \"set\"\nfindings = [\"Effusion\"]",
        image: |i, _| format!("images/{i}_IM-0001-4001.dcm.png"),
        tables: &[
            ("indiana_reports.csv", "uid,MeSH,Problems,image,indication,comparison,findings,impression", |i, has| {
                format!("{i},{},x,x,x,None.,Clear.,A report.", if has { "Pleural Effusion/left" } else { "normal" })
            }),
            ("indiana_projections.csv", "uid,filename,projection", |i, _| format!("{i},{i}_IM-0001-4001.dcm.png,Frontal")),
        ],
    },
    Layout {
        data: "format = \"tuberculosis\"\nimages = \"set\"",
        image: |i, has| format!("CXR_png/CHNCXR_{i:04}_{}.png", u8::from(has)),
        tables: &[],
    },
    Layout {
        data: "format = \"vindr\"\nlabels = \"set/train.csv\"\nfindings = [\"Effusion\"]",
        image: |i, _| format!("train/{i:08x}.png"),
        tables: &[("train.csv", "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max", |i, has| {
            let reader = |reader: usize| match has && reader < 2 {
                true => format!("{i:08x},Pleural effusion,10,R{reader},1.0,2.0,3.0,4.0"),
                false => format!("{i:08x},No finding,14,R{reader},,,,"),
            };
            (0..3).map(reader).collect::<Vec<_>>().join("\n")
        })],
    },
    Layout {
        data: "format = \"rsna\"\nlabels = \"set\"\nfindings = [\"Pneumonia\"]",
        image: |i, _| format!("stage_2_train_images/{i:08x}.png"),
        tables: &[("stage_2_train_labels.csv", "patientId,x,y,width,height,Target", |i, has| match has {
            true => format!("{i:08x},1.0,2.0,3.0,4.0,1\n{i:08x},5.0,2.0,3.0,4.0,1"),
            false => format!("{i:08x},,,,,0"),
        })],
    },
    Layout {
        data: "format = \"siim\"\nlabels = \"set\"",
        image: |i, _| format!("images/1.2.{i}.png"),
        tables: &[("train-rle.csv", "ImageId, EncodedPixels", |i, has| {
            format!("1.2.{i}, {}", if has { "1 2 3 4" } else { "-1" })
        })],
    },
    Layout {
        data: "format = \"brax\"\nlabels = \"set\"\nfindings = [\"Effusion\"]",
        image: |i, _| format!("images/id_{i}/image-{i}.png"),
        tables: &[("master_spreadsheet_update.csv", BRAX, |i, has| {
            format!("images/id_{i}/image-{i}.png,{i},M,85 or more,PA{}{}{}", ",".repeat(11), number(has), ",".repeat(3))
        })],
    },
];

#[test]
fn every_layout_is_checked_and_compared() {
    for layout in &LAYOUTS {
        let study = Study::new();
        let has = |i: usize| i / 3 % 2 == 0;
        for i in 0..60 {
            let path = study.path("set").join((layout.image)(i, has(i)));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::copy(study.path(&format!("phantoms/{i}.png")), path).unwrap();
        }
        for (name, header, row) in layout.tables {
            let rows: String = (0..60).map(|i| row(i, has(i)) + "\n").collect();
            fs::write(study.path("set").join(name), format!("{header}\n{rows}")).unwrap();
        }
        let (before, rest) = RUN.split_once("[data]\n").unwrap();
        let (_, after) = rest.split_once("[preprocess]").unwrap();
        let split = if layout.data.contains("\"mimic\"") { "" } else { PATIENT };
        study.write_run(&format!("{}[data]\n{}\n{split}\n[preprocess]{after}", before.replace("[1, 2]", "[1]"), layout.data));
        // A fault of any row would be the status.
        succeeds(&study.roentgen(&["data", "check", "run.toml"]));
        succeeds(&study.roentgen(&["compare", "run.toml", "--out", "out", "--device", "cpu"]));
        let report = fs::read_to_string(study.path("out/report.json")).unwrap();
        assert!(report.contains("\"mixed\""), "{}\n{report}", layout.data);
        // The folder alone says which layout it is.
        let place = if layout.data.contains("small") { "set/CheXpert-v1.0-small" } else { "set" };
        let guessed = succeeds(&study.roentgen(&["data", "summary", place, "--json"]));
        let name = layout.data.split('"').nth(1).unwrap();
        assert!(guessed.contains(&format!("\"{name}\"")), "{name}: {guessed}");
    }
}
