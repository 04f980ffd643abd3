//! One report of OpenI as XML: its images, its sections and its index terms.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, escape};

/// A report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// `CXR1`
    pub(super) id: String,
    /// Names of the files of its images, without ending.
    pub(super) images: Vec<String>,
    /// Its sections in order, by their names in lower case; those without text are not among them.
    pub(super) sections: Vec<(String, String)>,
    /// What people indexed it with (`Opacity/lung/base/left`, `normal`).
    pub(super) terms: Vec<String>,
}

/// Where a text is no such report.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) found: String,
    pub(super) expected: &'static str,
}

/// Which text is being read.
#[derive(Clone)]
enum Within {
    Section(String),
    Term,
}

/// Reads a report. Entities of a document's own are refused, so no text is longer than the file.
pub(super) fn parse(text: &str) -> Result<Report, Fault> {
    let mut reader = Reader::from_str(text);
    let mut report = Report::default();
    let (mut within, mut content, mut depth) = (None, String::new(), 0usize);
    loop {
        let at = reader.buffer_position();
        let fault = |found: String, expected| fault(text, at, found, expected);
        let event = reader.read_event().map_err(|error| fault(error.to_string(), "well-formed XML"))?;
        match event {
            Event::Eof => break,
            Event::Start(tag) => {
                depth += 1;
                if let Some(begun) = report.begin(&tag).map_err(|found| fault(found, "a name in quotes"))? {
                    (within, content) = (Some(begun), String::new());
                }
            }
            Event::Empty(tag) => {
                report.begin(&tag).map_err(|found| fault(found, "a name in quotes"))?;
            }
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                // No section and no term holds another tag that matters.
                if let Some(ended) = within.take() {
                    report.end(ended, std::mem::take(&mut content));
                }
            }
            Event::Text(part) if within.is_some() => {
                content.push_str(&part.decode().map_err(|error| fault(error.to_string(), "UTF-8"))?);
            }
            Event::CData(part) if within.is_some() => {
                content.push_str(&part.decode().map_err(|error| fault(error.to_string(), "UTF-8"))?);
            }
            Event::GeneralRef(reference) if within.is_some() => {
                let bad = |found: String| fault(found, "a character, or one of XML's own entities");
                match reference.resolve_char_ref().map_err(|error| bad(error.to_string()))? {
                    Some(character) => content.push(character),
                    None => {
                        let name = reference.decode().map_err(|error| bad(error.to_string()))?;
                        content.push_str(escape::resolve_xml_entity(&name).ok_or_else(|| bad(format!("&{name};")))?);
                    }
                }
            }
            _ => {}
        }
    }
    let whole = |found: &str, expected| Err(fault(text, text.len() as u64, found.to_owned(), expected));
    match (depth, report.id.is_empty()) {
        (1.., _) => whole("the end of the file within an element", "a closing tag"),
        (0, true) => whole("no <uId id=\"…\">", "the report's identifier, as in <uId id=\"CXR1\"/>"),
        (0, false) => Ok(report),
    }
}

impl Report {
    /// Takes what a tag says, and tells which text begins with it.
    fn begin(&mut self, tag: &BytesStart<'_>) -> Result<Option<Within>, String> {
        match tag.name().as_ref() {
            b"uId" if self.id.is_empty() => self.id = attribute(tag, "id")?,
            b"parentImage" => self.images.push(attribute(tag, "id")?),
            b"AbstractText" => return Ok(Some(Within::Section(attribute(tag, "Label")?.to_lowercase()))),
            b"major" => return Ok(Some(Within::Term)),
            _ => {}
        }
        Ok(None)
    }

    fn end(&mut self, ended: Within, content: String) {
        let content = content.trim();
        match ended {
            _ if content.is_empty() => {}
            Within::Section(name) => self.sections.push((name, content.to_owned())),
            Within::Term => self.terms.push(content.to_owned()),
        }
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<String, String> {
    let shown = || format!("<{}> without a readable `{name}`", String::from_utf8_lossy(tag.name().as_ref()));
    let found = tag.try_get_attribute(name).map_err(|_| shown())?.ok_or_else(shown)?;
    match std::str::from_utf8(&found.value) {
        Ok(value) if !value.trim().is_empty() => Ok(value.trim().to_owned()),
        _ => Err(shown()),
    }
}

fn fault(text: &str, at: u64, found: String, expected: &'static str) -> Fault {
    let before = usize::try_from(at).unwrap_or(text.len()).min(text.len());
    let line = text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count() + 1;
    Fault { line, found: found.chars().take(200).collect(), expected }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::{prop_assert, proptest};

    use super::*;

    const REPORT: &str = "<?xml version=\"1.0\"?>\n<eCitation>\n <uId id=\"CXR1\"/>\n <Abstract>\n\
        <AbstractText Label=\"COMPARISON\">None.</AbstractText><AbstractText Label=\"FINDINGS\"/>\n\
        <AbstractText Label=\"IMPRESSION\">Heart &lt; normal, 5&#x20;cm &amp; clear.</AbstractText></Abstract>\n\
        <MeSH><major>Opacity/lung/base</major>\n<automatic>opacity</automatic></MeSH>\n\
        <parentImage id=\"CXR1_1_IM-0001-3001\"><caption>PA &unknown;</caption></parentImage><parentImage id=\"CXR1_1_IM-0001-4001\"/>\n</eCitation>\n";

    #[test]
    fn images_sections_and_terms_are_read() {
        let report = parse(REPORT).unwrap();
        assert_eq!((report.id.as_str(), report.images.len()), ("CXR1", 2));
        assert_eq!(report.images[0], "CXR1_1_IM-0001-3001");
        let sections: Vec<_> = report.sections.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(sections, [("comparison", "None."), ("impression", "Heart < normal, 5 cm & clear.")]);
        assert_eq!(report.terms, ["Opacity/lung/base"]);
    }

    #[test]
    fn faults_say_the_line() {
        for (text, line, found) in [
            (REPORT.replace("&lt;", "&bomb;"), 6, "&bomb;"),
            (REPORT.replace("</eCitation>", ""), 10, "the end of the file"),
            (REPORT.replace("</MeSH>", "</Mesh>"), 8, "Mesh"),
            (REPORT.replace("<uId id=\"CXR1\"/>", ""), 10, "no <uId"),
            (REPORT.replace("parentImage id", "parentImage name"), 9, "<parentImage> without a readable `id`"),
            (String::new(), 1, "no <uId"),
        ] {
            let fault = parse(&text).unwrap_err();
            assert!(fault.found.contains(found), "{fault:?}");
            assert!(fault.line.abs_diff(line) <= 1, "{fault:?}: line {line}");
        }
    }

    #[test]
    fn an_entity_of_the_documents_own_is_refused() {
        let bomb =
            format!("<!DOCTYPE x [<!ENTITY a \"{}\"><!ENTITY b \"&a;&a;\">]>{}", "z".repeat(99), REPORT.replace("&lt;", "&b;"));
        assert!(parse(&bomb).unwrap_err().found.contains("&b;"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), at in 0..REPORT.len(), part in "[<>&;/\"a-z]{0,6}") {
            for text in [text, format!("{}{part}{}", &REPORT[..at], &REPORT[at..]), REPORT[..at].to_owned()] {
                match parse(&text) {
                    Ok(report) => prop_assert!(!report.id.is_empty()),
                    Err(fault) => prop_assert!(!fault.found.is_empty()),
                }
            }
        }
    }
}
