use std::fs;

use proptest::prelude::{prop, proptest};
use proptest::prop_assert_eq;

use super::*;

/// A tree with these empty files, and beside it a table that names them.
struct Tree(tempfile::TempDir);

impl Tree {
    fn of(files: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join("cxr").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        Self(folder)
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("cxr")
    }

    fn locate(&self, folder: &mut ImageFolder, name: &str) -> Result<PathBuf, AugmentError> {
        Ok(folder.locate(name, (&self.0.path().join("t.csv"), 2), MissingImages::Refuse)?.unwrap())
    }

    /// The file found for `name`, relative to the root, or the message.
    fn find(&self, name: &str) -> Result<String, String> {
        self.find_all(&[name]).0.pop().unwrap()
    }

    fn find_all(&self, names: &[&str]) -> (Vec<Result<String, String>>, Vec<String>) {
        let mut folder = ImageFolder::open(&self.root()).unwrap();
        let mut found = Vec::new();
        for name in names {
            let path = self.locate(&mut folder, name).map_err(|error| self.short(&error.to_string()));
            found.push(path.map(|path| self.short(&path.display().to_string())));
        }
        (found, folder.notes())
    }

    fn short(&self, text: &str) -> String {
        let folder = self.0.path().display().to_string();
        text.replace(&format!("{folder}/cxr/"), "").replace(&format!("{folder}/"), "")
    }
}

#[test]
fn one_name_in_two_folders_is_refused_with_both() {
    let tree = Tree::of(&["images/1.png", "heatmaps/1.png", "masks/2.png", "images/2.jpg"]);
    let expected = "t.csv, row 2: image `1.png` is both heatmaps/1.png and images/1.png; name the folder of the radiographs with \
                    `images`, or write the whole path in the table";
    assert_eq!(tree.find("1.png").unwrap_err(), expected);
    assert_eq!(tree.find("1").unwrap_err(), expected.replace("`1.png`", "`1`"));
    // The extension tells them apart.
    assert_eq!(tree.find("2.jpg").unwrap(), "images/2.jpg");
    assert!(tree.find("2.jpeg").unwrap_err().contains("is both images/2.jpg and masks/2.png"));
    // Both remedies work.
    assert_eq!(tree.find("images/1.png").unwrap(), "images/1.png");
    let mut images = ImageFolder::open(&tree.root().join("images")).unwrap();
    assert_eq!(tree.locate(&mut images, "1.png").unwrap(), tree.root().join("images/1.png"));
}

#[test]
fn a_file_of_another_folder_never_stands_in() {
    let tree = Tree::of(&["masks/1.png", "other/deep/images/2.png"]);
    assert_eq!(
        tree.find("images/1.png").unwrap_err(),
        "t.csv, row 2: image `images/1.png` is not under cxr, and masks/1.png has another path than the table gives; fetch it, drop \
         its row, or write `missing = \"skip\"` in [data] to leave out such rows"
    );
    assert_eq!(tree.find("images/2.png").unwrap(), "other/deep/images/2.png");
    assert!(tree.find("mages/2.png").is_err());
}

#[test]
fn what_is_only_deeper_does_not_replace_what_is_missing() {
    let tree = Tree::of(&["1.png", "3.png", "masks/2.png", "masks/4.png"]);
    // The radiographs are in the folder itself, so that the second is missing.
    let (found, _) = tree.find_all(&["1.png", "2.png", "masks/2.png"]);
    assert_eq!(found[0], Ok("1.png".to_owned()));
    let missing = found[1].as_ref().unwrap_err();
    assert!(missing.contains("`2.png` is not under cxr, and masks/2.png has another path"), "{missing}");
    assert_eq!(found[2], Ok("masks/2.png".to_owned()));
    // In another order of rows it is seen later.
    let (found, _) = tree.find_all(&["2.png", "4.png", "3.png"]);
    assert_eq!(
        found[2].as_ref().unwrap_err(),
        "t.csv, row 2: image `3.png` is 3.png, while `2.png` of an earlier row is masks/2.png: one of the two folders may hold no \
         radiographs; write whole paths in the table"
    );
}

#[test]
fn one_file_is_not_two_images() {
    // 1.jpg is missing; 1.png is another image, which has its own row.
    for names in [["1.png", "1.jpg"], ["1.jpg", "1.png"], ["1", "a/1.png"], ["a/1.png", "./a/1.png"]] {
        let tree = Tree::of(&["a/1.png"]);
        let (found, _) = tree.find_all(&names);
        assert!(found[0].is_ok());
        assert_eq!(
            found[1].as_ref().unwrap_err(),
            "t.csv: image `a/1.png` is in row 2 and in row 2; keep one of them",
            "{names:?}"
        );
    }
}

#[test]
fn the_path_as_written_comes_before_deeper_ones() {
    let tree = Tree::of(&["x.png", "thumbs/x.png", "a/y.png", "b/a/y.png"]);
    assert_eq!(tree.find("x.png").unwrap(), "x.png");
    assert_eq!(tree.find("a/y.png").unwrap(), "a/y.png");
    // Also when the tree has been listed for another name.
    let (found, _) = tree.find_all(&["b/a/y", "x.png", "a/y.png"]);
    assert_eq!(found, ["b/a/y.png", "x.png", "a/y.png"].map(|path| Ok(path.to_owned())));
}

#[test]
fn archives_unpack_to_any_depth() {
    let tree = Tree::of(&["images_001/images/00000001_000.png", "images_002/images/00000002_000.png", "a/b/c/d/e/f.bmp"]);
    let (found, notes) = tree.find_all(&["00000001_000.png", "00000002_000", "f.png"]);
    assert_eq!(
        found,
        ["images_001/images/00000001_000.png", "images_002/images/00000002_000.png", "a/b/c/d/e/f.bmp"]
            .map(|p| Ok(p.to_owned()))
    );
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("images_#/images (2), a/b/c/d/e (1)"), "{notes:?}");
    assert_eq!(tree.find_all(&["00000001_000.png", "00000002_000"]).1, Vec::<String>::new());
}

#[test]
fn other_spellings_of_a_path() {
    // The file's name is decomposed, as macOS writes it; the table's is composed.
    let tree = Tree::of(&["train/Zoe\u{308}.png", "p1/study1/view1.jpg", "UPPER.PNG"]);
    assert_eq!(tree.find("train/Zo\u{eb}.png").unwrap(), "train/Zoe\u{308}.png");
    assert_eq!(tree.find("Zo\u{eb}").unwrap(), "train/Zoe\u{308}.png");
    assert_eq!(tree.find("p1\\study1\\view1.jpg").unwrap(), "p1/study1/view1.jpg");
    assert_eq!(tree.find("./p1//study1/view1.jpg").unwrap(), "./p1//study1/view1.jpg");
    assert_eq!(tree.find("./study1//view1.jpg").unwrap(), "p1/study1/view1.jpg");
    // CheXpert's table names the folder that the images are in.
    assert_eq!(tree.find("cxr/p1/study1/view1.jpg").unwrap(), "p1/study1/view1.jpg");
    assert_eq!(tree.find("cxr\\p1\\study1\\view1.jpg").unwrap(), "p1/study1/view1.jpg");
    let absolute = tree.root().join("UPPER.PNG").display().to_string();
    assert_eq!(tree.find(&absolute).unwrap(), "UPPER.PNG");
    assert!(tree.find("/p1/study1/view1.jpg").is_err());
}

#[test]
fn other_case_is_found_if_unique_and_noted() {
    let tree = Tree::of(&["A/X.PNG", "b/y.png", "B/Y.png"]);
    let (found, notes) = tree.find_all(&["a/x.png"]);
    assert_eq!(found, [Ok("A/X.PNG".to_owned())]);
    assert_eq!(notes, ["1 image was found in other case only: `a/x.png` as A/X.PNG"]);
    assert_eq!(tree.find("x").unwrap(), "A/X.PNG");
    assert_eq!(tree.find("b/y.png").unwrap(), "b/y.png");
    assert!(tree.find("b/Y.PNG").unwrap_err().contains("is both"));
}

#[test]
fn hidden_folders_hold_no_radiographs() {
    let tree = Tree::of(&["images/1.png", "__MACOSX/images/1.png", ".thumbs/1.png", "images/._1.png"]);
    assert_eq!(tree.find("1.png").unwrap(), "images/1.png");
    assert_eq!(tree.find(".thumbs/1.png").unwrap(), ".thumbs/1.png");
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_loops_named() {
    use std::os::unix::fs::symlink;
    let tree = Tree::of(&["images/1.png", "elsewhere/keep"]);
    symlink(tree.root().join("images"), tree.root().join("elsewhere/again")).unwrap();
    symlink(tree.root().join("gone.png"), tree.root().join("2.png")).unwrap();
    // One file by two ways is one file; a link that leads nowhere is none.
    assert!(tree.find("1.png").is_ok());
    assert!(tree.find("2.png").unwrap_err().contains("is not under"));
    symlink(tree.root(), tree.root().join("images/up")).unwrap();
    let error = tree.find("1.png").unwrap_err();
    assert!(error.contains("/up links to a folder that it is in; remove the link"), "{error}");
}

#[test]
fn no_folder_is_named() {
    let error = ImageFolder::open(Path::new("no/where")).unwrap_err().to_string();
    assert_eq!(error, "no such folder: no/where; `images` is the folder of the images");
}

#[test]
fn many_files_with_one_name_are_found_by_their_folders() {
    // CheXpert names 190,000 files view1_frontal.jpg; a search by file name alone would take all of them for every row.
    let folders = 20_000;
    let path = |i| format!("patient{i:05}/study1/view1_frontal.jpg");
    let files = Files::of((0..folders).map(|i| Path::new("set").join(path(i))).collect(), 0);
    for i in 0..folders {
        let name = path(i);
        let wanted = Wanted::of(&name);
        assert_eq!(files.ending_in(&wanted.parts).len(), 1, "files that are looked at for {}", path(i));
        assert!(matches!(files.find(&wanted), Found::One { file, .. } if file == i));
    }
}

proptest! {
    #[test]
    fn a_file_is_found_exactly_where_the_system_has_one(
        files in prop::collection::vec("(a/|b/|a/b/|gone/){0,2}[12]", 0..6),
        names in prop::collection::vec("(a/|b/|a/b/|gone/|\\./|\\.\\./|/|1/){0,3}[12]", 1..20),
    ) {
        let tree = Tree::of(&["kept.png"]);
        for file in files {
            let path = tree.root().join(file);
            // A file may be where another needs a folder.
            if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.is_dir() {
                fs::write(path, "").unwrap();
            }
        }
        let mut folder = ImageFolder::open(&tree.root()).unwrap();
        for name in names {
            let path = tree.root().join(&name);
            prop_assert_eq!(folder.file(&name), path.is_file().then_some(path), "{}", name);
        }
    }
}
