//! Tables in every form that programs write them.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::formats::cells::is_blank;

fn read_as(bytes: &[u8], delimiter: Option<Delimiter>) -> Result<Sheet, AugmentError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    std::fs::write(&path, bytes).unwrap();
    let mut sheet = Sheet::read(&path, Rows::Equal, delimiter)?;
    // The folder is gone when the rows are read.
    sheet.source = Source::Memory(bytes.to_vec());
    sheet.path = "t.csv".into();
    let folder = format!("{}/", folder.path().display());
    sheet.notes.iter_mut().for_each(|note| *note = note.replace(&folder, ""));
    Ok(sheet)
}

fn read(bytes: impl AsRef<[u8]>) -> Result<Sheet, AugmentError> {
    read_as(bytes.as_ref(), None)
}

fn message(bytes: impl AsRef<[u8]>) -> String {
    let error = read(bytes).unwrap_err().to_string();
    error[error.find("t.csv").unwrap()..].to_owned()
}

/// The header, and the rows with their numbers.
fn content(sheet: &Sheet) -> (Vec<String>, Vec<(u64, Vec<String>)>) {
    let cells = |line: &Line| (0..sheet.columns.len()).map(|column| line.cell(column).to_owned()).collect();
    let rows = sheet.lines().unwrap().map(|line| line.unwrap()).map(|line| (line.number, cells(&line))).collect();
    (sheet.columns.clone(), rows)
}

/// The cells of the rows.
fn cells(bytes: impl AsRef<[u8]>) -> Vec<Vec<String>> {
    content(&read(bytes).unwrap()).1.into_iter().map(|(_, cells)| cells).collect()
}

#[test]
fn faults_are_named_by_row_and_column() {
    assert_eq!(
        message(b"a,b\n1,2\n3,\xe9\n"),
        "t.csv, row 3, column `b`: not UTF-8; save the table as UTF-8 (Excel: `CSV UTF-8`; elsewhere `iconv -f WINDOWS-1252 -t UTF-8`, \
         with the encoding that it has)"
    );
    // Two halves of one character in two cells.
    assert!(message(b"a,b\n\xc3,\xa9\n").contains("row 2, column `a`: not UTF-8"));
    assert_eq!(
        message("a,b\n1,2\n3\n"),
        "t.csv, row 3: 1 cells, expected 2 as in the header; cells are separated by `,`, and one that holds it must be in quotes"
    );
    assert!(message("a,b\n1,2\n3,4,\n").contains("row 3: 3 cells, expected 2"));
    assert!(message("a,b\n1,2\0\n").contains("row 2, column `b`: a byte 0"));
    assert!(
        message(format!("a,b\n1,{}\n", "x".repeat(fault::MAX_CELL + 1))).contains("row 2, column `b`: a cell of more than")
    );
    assert!(message(format!("a,b\n\n1,\"{}\n", "x\n".repeat(1 << 20))).contains("row 3, column `b`: a cell of more than"));
    assert!(message(",".repeat(fault::MAX_COLUMNS + 2)).contains("row 1, column `65538`: more than 65536 cells"));
}

#[test]
fn a_missing_column_lists_those_there_are() {
    let error = read(b"\xef\xbb\xbfimage, age\nx,1\n").unwrap().column("sex").unwrap_err().to_string();
    assert!(error.ends_with("no column `sex`; the columns are `image`, `age`"), "{error}");
    let twice = read("image,age,image\nx,1,y\n").unwrap().column("image").unwrap_err().to_string();
    assert!(twice.contains("column `image` means the same as column `image`"), "{twice}");
}

#[test]
fn rows_are_lines_of_the_file() {
    for end in ["\n", "\r\n", "\r"] {
        let text = "image,report\na,\"two\nlines\"\n\nb,one\n".replace('\n', end);
        let (_, rows) = content(&read(&text).unwrap());
        assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 5], "{text:?}");
        assert_eq!(rows[0].1[1], format!("two{end}lines"));
    }
}

#[test]
fn misplaced_quotes_name_the_row_where_they_open() {
    // A quote that is opened in row 2 and met again in row 4.
    let open = "prompt,Effusion\n\"Large right effusion,1\nNormal chest,0\n\"Cardiomegaly\",0\nNormal chest,0\n";
    for (text, said) in [
        (
            open,
            "row 2, column `prompt`: the quoted cell that opens here holds several lines, and the first ends as a row does (`,1`)",
        ),
        // The same where the label is no number.
        (
            &open.replace(",1", ",yes"),
            "row 2, column `prompt`: the quoted cell that opens here is closed on line 4 and goes on with `Cardiomegaly\",0`",
        ),
        // Two faults that cancel each other.
        (
            "prompt,Mass,Effusion\nx,0,0\n\"Large effusion,,1\nNormal chest\",0,0\n",
            "row 3, column `prompt`: the quoted cell that opens here holds",
        ),
        (
            "prompt,Effusion\n\"a \"\"big\"\" one\"\",1\nb,0\nc\",0\n",
            "row 2, column `prompt`: the quoted cell that opens here holds",
        ),
        ("id,report\n1,x\n2,\"y\n3,z\n", "row 3, column `report`: the quote that opens here is never closed"),
        ("id,report\n1,5\" nail\n", "row 2, column `report`: a quote in the middle of a cell"),
        (
            "id,report\n1,\"a\"b\n",
            "row 2, column `report`: the quoted cell that opens here is closed on line 2 and goes on with `b`",
        ),
        ("id,report\n1,\"a\" \"b\"\n", "goes on with `\"b\"`"),
        ("id,report\n1,a\"\n", "row 2, column `report`: a quote in the middle"),
        ("\"id,report\n1,a\n", "row 1, column `1`: the quote that opens here is never closed"),
    ] {
        let error = message(text);
        assert!(error.contains(said), "{error}\n{said}");
    }
}

#[test]
fn reports_of_several_lines_are_read() {
    let report = "FINDINGS: The heart, as before,\nis \"large\"; compare 3, 2019\n\nIMPRESSION: No effusion, no pneumothorax, 1 nodule.\n";
    let quoted = report.replace('"', "\"\"");
    let table = format!("image,report,Mass\na.png,\"{quoted}\",1\nb.png, \"x\" ,0\n");
    assert_eq!(cells(&table), [["a.png", report.trim(), "1"], ["b.png", "x", "0"]]);
    // A sentence that ends at the comma, and one that ends in a number that is no label.
    for text in ["The heart,\nand lungs", "Compare May 3, 2019\nHeart"] {
        assert_eq!(cells(format!("prompt,Mass\n\"{text}\",1\n")), [[text, "1"]]);
    }
}

#[test]
fn delimiters_are_guessed_where_only_one_fits() {
    let table = "image,age,Finding Labels\na.png,57,Mass|Nodule\nb.png,58,\"a, b; c\"\n";
    let expected = content(&read(table).unwrap());
    for (delimiter, name) in [(";", "`;`"), ("\t", "tabs"), ("|", "`|`")] {
        let quoted =
            table.replace("Mass|Nodule", "\"Mass|Nodule\"").replace("a, b", "a# b").replace(',', delimiter).replace('#', ",");
        let sheet = read(&quoted).unwrap();
        assert_eq!(content(&sheet), expected, "{name}");
        assert_eq!(sheet.notes(None), [format!("t.csv: cells are taken to be separated by {name}")]);
        let declared = read(format!("sep={delimiter}\n{quoted}")).unwrap();
        assert!(declared.notes(None).is_empty());
        let numbers: Vec<_> = content(&declared).1.into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [3, 4]);
    }
    assert!(read(table).unwrap().notes(None).is_empty());
    // One column has no delimiter.
    assert_eq!(cells("image\na.png\n"), [["a.png"]]);
    assert!(message("prompt\nlarge effusion, left\n").contains("row 2: 2 cells, expected 1"));
}

#[test]
fn an_ambiguous_table_names_the_remedies_and_they_work() {
    let table = "image,a;b\nx,1;2\n";
    let error = message(table);
    assert!(error.contains("by `,` or by `;`") && error.contains("`delimiter`") && error.contains("`sep=`"), "{error}");
    assert_eq!(content(&read_as(table.as_bytes(), Some(Delimiter::Comma)).unwrap()).0, ["image", "a;b"]);
    assert_eq!(content(&read(format!("\"sep=;\"\n{table}")).unwrap()).0, ["image,a", "b"]);
    assert!(message("sep=#\na#b\n").contains("its first line says `sep=#`"));
}

#[test]
fn byte_order_marks_are_no_text() {
    let mark = '\u{feff}';
    let joined = format!("{mark}image,report\n{mark}a.png,{mark}\"x, y\"\n{mark}image,report\n{mark}\"b.png\",z{mark}\n");
    let sheet = read(&joined).unwrap();
    assert_eq!(content(&sheet).0, ["image", "report"]);
    assert_eq!(cells(&joined), [["a.png", "x, y"], ["b.png", "z"]]);
    assert_eq!(sheet.notes(None), ["t.csv: 1 rows that repeat the header are skipped (the first is row 3)"]);
}

#[test]
fn utf_16_is_read_with_its_mark_and_refused_without() {
    let table = "\u{feff}image;report\nä.png;\u{1fa7b} Röntgen\n";
    for (bytes, name) in [(utf_16(table, u16::to_le_bytes), "LE"), (utf_16(table, u16::to_be_bytes), "BE")] {
        assert_eq!(cells(&bytes), [["ä.png", "\u{1fa7b} Röntgen"]], "{name}");
        assert!(message(&bytes[2..]).contains("a byte 0"), "{name}");
        let odd = read(&bytes[..bytes.len() - 1]).unwrap_err();
        assert!(std::error::Error::source(&odd).unwrap().to_string().contains("UTF-16"), "{odd}");
    }
    // Pairs at the borders of what is decoded at once.
    for shift in 0..3 {
        let long = format!("\u{feff}image\n{}{}\n", "x".repeat(4090 + shift), "\u{1fa7b}".repeat(9000));
        let bytes = utf_16(&long, u16::to_le_bytes);
        assert_eq!(cells(&bytes)[0][0].len(), 4090 + shift + 4 * 9000);
    }
}

fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn packed_tables_are_known_by_their_bytes() {
    let packed = gzip(b"image,age\na.png,57\n");
    assert_eq!(cells(&packed), [["a.png", "57"]]);
    assert_eq!(cells([gzip(b"image\n"), gzip(b"a.png\n")].concat()), [["a.png"]]);
    let cut = read(&packed[..packed.len() - 9]).unwrap_err();
    assert!(matches!(cut, AugmentError::Io { .. }), "{cut}");
    for (bytes, said) in [(&b"PK\x03\x04rest"[..], "Excel"), (b"PAR1rest", "Parquet")] {
        let error = read(bytes).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains(said), "{error}");
    }
}

#[test]
fn columns_and_rows_without_content_are_left_out() {
    // The index of a data frame, Excel's delimiters behind the last column, and its rows of nothing else.
    let sheet = read(",image,age,,\n0,a.png,57,,\n,,,,\n1,b.png,58,,\n").unwrap();
    assert_eq!(sheet.columns, ["image", "age"]);
    assert_eq!(
        sheet.notes(None),
        [
            "t.csv: the first column has no name and is ignored",
            "t.csv: 1 rows without any text are skipped (the first is row 3)"
        ]
    );
    assert_eq!(content(&sheet).1, [(2, vec!["a.png".into(), "57".into()]), (4, vec!["b.png".into(), "58".into()])]);
    let named = read("Unnamed: 0,image\n0,a.png\n").unwrap();
    assert_eq!((named.notes(None).len(), &named.columns[..]), (1, &["image".to_owned()][..]));
    assert!(message("image,,age\na.png,1,57\n").contains("row 2, column `2`: found `1` in a column that has no name"));
    assert_eq!(cells("image\n \na.png\n\n\"\"\n"), [["a.png"], [""]]);
    assert_eq!(cells("image,age,,\na.png,57\nb.png,58,\n"), [["a.png", "57"], ["b.png", "58"]]);
}

#[test]
fn blanks_are_blank_in_whole_cells_alone() {
    for blank in ["nan", "NaN", "None", "NA", "N/A", "<NA>", "null", "NULL", "-", "#N/A", "NaT", ""] {
        assert_eq!(cells(format!("image,report\n{blank},a {blank} b\n")), [["".to_owned(), format!("a {blank} b")]], "{blank}");
    }
    for text in ["No Finding", "Nathan", "--", "0", "unknown"] {
        assert_eq!(cells(format!("image,report\n{text},x\n"))[0][0], text);
    }
}

#[test]
fn decimal_commas_are_read_where_semicolons_separate() {
    let number = |text: &str| {
        let sheet = read(text).unwrap();
        let line = sheet.lines().unwrap().next().unwrap().unwrap();
        sheet.parse(&line, 1, crate::formats::cells::AGE).map_err(|error| error.to_string())
    };
    assert_eq!(number("image;age\na;57,5\n"), Ok(57.5));
    assert!(number("image\tage\na\t57,5\n").unwrap_err().contains("found `57,5`, expected an age in years"));
    assert!(number("image,age\na,\"57,5\"\n").unwrap_err().contains("found `57,5`"));
    assert!(number("image;age\na;1,000\n").unwrap_err().contains("found `1,000`"));
    // Text stays as it is.
    assert_eq!(cells("image;report\na;3,5\n"), [["a", "3,5"]]);
}

#[test]
fn a_dash_is_no_label() {
    let sheet = read("image,Mass\na,-\n").unwrap();
    let line = sheet.lines().unwrap().next().unwrap().unwrap();
    let error = sheet.label(&line, 1, crate::formats::cells::LABEL).unwrap_err().to_string();
    assert!(error.contains("row 2, column `Mass`: found `-`, expected 1, 0, -1 (uncertain) or blank"), "{error}");
}

fn patients(ids: &[&str]) -> Result<Vec<Option<String>>, String> {
    let rows: String = ids.iter().enumerate().map(|(row, id)| format!("{row}.png,\"{id}\"\n")).collect();
    let sheet = read(format!("image,patient_id\n{rows}")).unwrap();
    let patient = |line: Result<Line, AugmentError>| sheet.patient(&line.unwrap(), Some(1));
    let read = sheet.lines().unwrap().map(patient).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    Ok(read.into_iter().map(|id| id.map(|id| id.as_str().to_owned())).collect())
}

#[test]
fn patients_are_never_split_or_joined_by_their_spelling() {
    let some = |ids: &[&str]| ids.iter().map(|id| Some((*id).to_owned())).collect::<Vec<_>>();
    assert_eq!(patients(&["12.0", "", "7.0"]), Ok(vec![Some("12".into()), None, Some("7".into())]));
    assert_eq!(patients(&["12.0", "12", "nan"]), Ok(vec![Some("12".into()), Some("12".into()), None]));
    // Text keeps its form.
    for ids in [["12", "012"], ["1.0", "1.2"], ["p1", "p1.0"], ["12e4", "3E05"]] {
        assert_eq!(patients(&ids), Ok(some(&ids)));
    }
    assert!(
        patients(&["p1", "12", "12.0"]).unwrap_err().contains("row 4, column `patient_id`: found `12.0`, expected identifiers")
    );
    assert!(patients(&["5", "1.23E+15"]).unwrap_err().contains("row 3, column `patient_id`: found `1.23E+15`"));
    assert!(patients(&["a\nb"]).unwrap_err().contains("on one line"));
    let note = |id: &str| read(format!("image,patient_id\na,{id}\nb,8\n")).unwrap().notes(Some(1));
    assert_eq!(
        note("7.0"),
        ["t.csv: patients are written as `12.0` (from row 2) and as `12` (from row 3); both are read as `12`, one patient"]
    );
    assert!(note("7").is_empty());
}

/// How a program writes a table.
#[derive(Clone, Debug)]
struct Form {
    delimiter: Delimiter,
    end: &'static str,
    always: bool,
    /// UTF-8, UTF-8 with a mark, UTF-16 LE, UTF-16 BE.
    encoding: usize,
    packed: bool,
}

fn form() -> impl Strategy<Value = Form> {
    let delimiter = prop::sample::select(&[Delimiter::Comma, Delimiter::Semicolon, Delimiter::Tab, Delimiter::Pipe][..]);
    let end = prop::sample::select(&["\n", "\r\n", "\r"][..]);
    (delimiter, end, any::<bool>(), 0..4_usize, any::<bool>()).prop_map(|(delimiter, end, always, encoding, packed)| Form {
        delimiter,
        end,
        always,
        encoding,
        packed,
    })
}

fn written(rows: &[Vec<String>], form: &Form) -> Vec<u8> {
    let terminator = match form.end {
        "\r\n" => csv::Terminator::CRLF,
        end => csv::Terminator::Any(end.as_bytes()[0]),
    };
    let style = if form.always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
    let mut writer = csv::WriterBuilder::new()
        .delimiter(form.delimiter.byte())
        .terminator(terminator)
        .quote_style(style)
        .from_writer(Vec::new());
    rows.iter().for_each(|row| writer.write_record(row).unwrap());
    let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
    let bytes = match form.encoding {
        0 => text.into_bytes(),
        1 => format!("\u{feff}{text}").into_bytes(),
        2 => utf_16(&format!("\u{feff}{text}"), u16::to_le_bytes),
        _ => utf_16(&format!("\u{feff}{text}"), u16::to_be_bytes),
    };
    if form.packed { gzip(&bytes) } else { bytes }
}

/// Rows of two to five cells, of the characters that make tables difficult; the first cell is never blank.
fn table() -> impl Strategy<Value = Vec<Vec<String>>> {
    (2..6_usize, 1..8_usize).prop_flat_map(|(columns, rows)| {
        let cell = "[a1,;\t|\"\n\r é\u{1fa7b}-]{0,6}";
        let row = ("[b-z]{2}[a1,;|\"\n é]{0,4}x", prop::collection::vec(cell, columns - 1))
            .prop_map(|(first, rest)| std::iter::once(first).chain(rest).collect::<Vec<_>>());
        prop::collection::vec(row, rows)
    })
}

/// What is left of a cell when it is read.
fn kept(cell: &str) -> &str {
    let cell = trim(cell);
    if is_blank(cell) { "" } else { cell }
}

proptest! {
    #[test]
    fn any_table_in_any_form_is_read_back_or_refused_for_its_doubt(rows in table(), form in form()) {
        let header: Vec<String> = (0..rows[0].len()).map(|column| format!("column {column}")).collect();
        let whole: Vec<Vec<String>> = std::iter::once(header.clone()).chain(rows.iter().cloned()).collect();
        let bytes = written(&whole, &form);
        for delimiter in [Some(form.delimiter), None] {
            match read_as(&bytes, delimiter) {
                Ok(sheet) => {
                    let (columns, read) = content(&sheet);
                    prop_assert_eq!(&columns, &header);
                    prop_assert_eq!(read.len(), rows.len());
                    let mut line = 2;
                    for (row, (number, cells)) in rows.iter().zip(&read) {
                        prop_assert_eq!(*number, line);
                        let expected: Vec<_> = row.iter().map(|cell| kept(cell)).collect();
                        prop_assert_eq!(cells, &expected);
                        let breaks = |cell: &String| cell.replace("\r\n", "\n").replace('\r', "\n").matches('\n').count() as u64;
                        line += 1 + row.iter().map(breaks).sum::<u64>();
                    }
                }
                Err(AugmentError::Table(TableError::Text { fault: TextFault::Swallowed { .. }, .. })) => {}
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
    }

    #[test]
    fn any_bytes_are_read_as_the_csv_crate_reads_them_or_refused(
        bytes in prop::collection::vec(prop::sample::select(&b"a1,;|\"\n\r\t -\xc3\xa9\xef\xbb\xbf\0"[..]), 0..60),
        head in prop::sample::select(&["", "a,b\n", "sep=;\n", "\u{feff}", "a;b;c\r", "PK\u{3}\u{4}"][..]),
        forced in prop::option::of(prop::sample::select(&[Delimiter::Comma, Delimiter::Semicolon, Delimiter::Tab][..])),
    ) {
        let bytes = [head.as_bytes(), &bytes].concat();
        if let Ok(sheet) = read_as(&bytes, forced) {
            let rows = content(&sheet).1;
            prop_assert!(rows.iter().all(|(number, cells)| *number > 0 && cells.len() == sheet.columns.len()));
            // Blanks and marks before a quote, which the other reader takes for text.
            let plain = !bytes.iter().any(|byte| b" \t\xef".contains(byte));
            if plain && !sheet.dialect.declared {
                let delimiter = sheet.dialect.delimiter.byte();
                let mut peer = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(&bytes[..]);
                let peer: Vec<Vec<String>> =
                    peer.records().skip(1).map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
                let named = |row: Vec<String>| -> Vec<String> {
                    sheet.header.iter().zip(row).filter(|((_, read), _)| *read).map(|(_, cell)| kept(&cell).to_owned()).collect()
                };
                let header: Vec<&String> = sheet.header.iter().map(|(name, _)| name).collect();
                let is_row = |row: &Vec<String>| {
                    (row.iter().any(|cell| !cell.trim().is_empty()) || row.len() == 1) && (row.len() == 1 || row.iter().map(|cell| trim(cell)).ne(header.iter().copied()))
                };
                let expected: Vec<_> = peer.into_iter().filter(is_row).map(named).collect();
                prop_assert_eq!(rows.into_iter().map(|(_, cells)| cells).collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn joined_tables_lose_no_row(names in prop::collection::vec("[b-z]{3}", 1..6), parts in 1..4_usize, mark: bool) {
        let body: String = names.iter().map(|name| format!("{name}.png,1\n")).collect();
        let part = format!("{}image,Mass\n{body}", if mark { "\u{feff}" } else { "" });
        let sheet = read(part.repeat(parts)).unwrap();
        prop_assert_eq!(content(&sheet).1.len(), names.len() * parts);
        prop_assert_eq!(sheet.notes(None).len(), usize::from(parts > 1));
    }
}
