//! `data label`.

use std::path::PathBuf;

use clap::Args;
use roentgen_augment::text::Section;

/// `data label`.
#[derive(Args, Debug)]
#[command(
    after_help = "Labels are 1 (present), 0 (denied), -1 (doubted) or blank (not mentioned), of CheXpert's 14 findings unless the rules are others; \
    sides and severities go into columns of their own. What they are worth is measured in docs/labeler.md.\n\n\
    roentgen data label reports.csv --report report --out labelled.csv\n\
    roentgen data label reports.csv --report report --explain 12\n\
    roentgen data label --print-rules > rules.toml"
)]
pub struct LabelArgs {
    /// Table (CSV, packed with gzip or not) with a column of reports, of which every column is copied; or a run file (TOML) or a folder, whose
    /// data set becomes the project's own table
    #[arg(required_unless_present = "print_rules")]
    pub file: Option<PathBuf>,
    /// Column of the reports
    #[arg(long, value_name = "COLUMN")]
    pub report: Option<String>,
    /// Table to write
    #[arg(long, value_name = "TABLE", required_unless_present_any = ["explain", "print_rules"])]
    pub out: Option<PathBuf>,
    /// Part of the reports that is read
    #[arg(long, default_value = "impression-or-next")]
    pub section: SectionChoice,
    /// File of rules instead of those of the program
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Let a finding make its parents positive too, such as an edema `Lung Opacity`; files of CheXpert and MIMIC-CXR don't do so
    #[arg(long)]
    pub parents: bool,
    /// Leave out the labels that the table has already
    #[arg(long)]
    pub replace: bool,
    /// Write no table, but show which words and rules give the labels of one report: the line of the table that its row starts on
    #[arg(long, value_name = "ROW", conflicts_with_all = ["out", "replace"])]
    pub explain: Option<u64>,
    /// Print the rules of the program, to be changed and given to --rules
    #[arg(long, conflicts_with_all = ["file", "report", "out", "rules", "parents", "replace", "explain", "json"])]
    pub print_rules: bool,
    /// Print JSON for scripts; progress is lines on standard error, not bars
    #[arg(long)]
    pub json: bool,
}

/// Part of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SectionChoice {
    /// The impression, else the findings, else the last paragraph.
    ImpressionOrNext,
    /// The impression; all of a text without titles.
    Impression,
    /// The findings; all of a text without titles.
    Findings,
    /// All of it: whatever the indication asks for is read, too.
    Whole,
}

impl From<SectionChoice> for Section {
    fn from(choice: SectionChoice) -> Self {
        match choice {
            SectionChoice::ImpressionOrNext => Self::ImpressionOrNext,
            SectionChoice::Impression => Self::Impression,
            SectionChoice::Findings => Self::Findings,
            SectionChoice::Whole => Self::Whole,
        }
    }
}
