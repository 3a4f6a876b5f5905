//! Every relative link leads to a file, every anchor to a heading, and the summary has every page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::book::{Page, collect, pages, root};

/// Fewer links than this are not all of them.
const FEWEST_LINKS: usize = 150;

/// Pages of the book in its order, from `docs`.
pub(crate) fn summary() -> Vec<String> {
    links(&Page::read("docs/SUMMARY.md"))
}

/// Targets of the page's links, those in fences left out.
fn links(page: &Page) -> Vec<String> {
    let prose = without_code(&page.prose());
    let mut links = Vec::new();
    for (at, _) in prose.match_indices("](") {
        let rest = &prose[at + 2..];
        let end = rest
            .find(')')
            .unwrap_or_else(|| panic!("{}: a link without an end", page.path));
        let target = rest[..end].split_whitespace().next().unwrap_or_default();
        links.push(target.to_owned());
    }
    links
}

/// The text without what is between backticks on one line.
fn without_code(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let parts = line.split('`').step_by(2);
        parts.collect::<Vec<_>>().concat()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The anchors of a page, as GitHub and mdBook make them of headings.
fn anchors(page: &Page) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in page.prose().lines() {
        let Some(heading) = line.strip_prefix('#') else {
            continue;
        };
        let heading = heading.trim_start_matches('#').trim();
        let slug: String = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let mut own = slug.clone();
        let mut repeats = 0;
        while !anchors.insert(own) {
            repeats += 1;
            own = format!("{slug}-{repeats}");
        }
    }
    anchors
}

/// `a/../b` without the detour.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let by_path: BTreeMap<&str, &Page> = pages
        .iter()
        .map(|page| (page.path.as_str(), page))
        .collect();
    let (mut checked, mut broken) = (0, Vec::new());
    for page in &pages {
        for link in links(page) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                PathBuf::from(&page.path)
            } else {
                let directory = Path::new(&page.path).parent().unwrap_or(Path::new(""));
                plain(&directory.join(file))
            };
            let known = by_path.get(&*target.to_string_lossy());
            let found = root().join(&target).exists();
            let anchored =
                anchor.is_empty() || known.is_some_and(|target| anchors(target).contains(anchor));
            if !found || !anchored {
                broken.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    assert!(checked >= FEWEST_LINKS, "only {checked} links were found");
}

#[test]
fn the_summary_has_every_page_once() {
    let mut files = Vec::new();
    collect("docs", &mut files);
    let expected: BTreeSet<String> = files
        .iter()
        .filter_map(|path| path.strip_prefix("docs/"))
        .filter(|path| *path != "SUMMARY.md")
        .map(str::to_owned)
        .collect();
    let listed = summary();
    let unique: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(unique.len(), listed.len(), "a page is listed twice");
    let missing: Vec<_> = expected.difference(&unique).collect();
    let gone: Vec<_> = unique.difference(&expected).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "docs/SUMMARY.md lacks {missing:?}, and lists what is not there: {gone:?}"
    );
}

#[test]
fn links_and_anchors_are_found() {
    let page = Page {
        path: "x.md".to_owned(),
        text: "# `rolegate.claim(text)` and more\n[a](b.md#c) `[no](x)` [`d`](e)\n\
               ```\n[no](link)\n# none\n```\n## A\n## A\n"
            .to_owned(),
    };
    assert_eq!(links(&page), ["b.md#c", "e"]);
    let expected = ["a", "a-1", "rolegateclaimtext-and-more"];
    assert!(anchors(&page).iter().eq(expected), "{:?}", anchors(&page));
}
