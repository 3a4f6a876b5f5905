//! The pages, and the fenced blocks in them.

use std::path::{Path, PathBuf};

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the repository is there")
}

/// One file, with its path from the repository's root.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn read(path: &str) -> Self {
        let file = root().join(path);
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self {
            path: path.to_owned(),
            text,
        }
    }

    /// The page's fenced blocks.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut inside = false;
        for (number, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), inside) {
                (Some(info), false) => {
                    blocks.push(Block {
                        place: format!("{}:{}", self.path, number + 1),
                        info: info.split_whitespace().map(str::to_owned).collect(),
                        text: String::new(),
                    });
                    inside = true;
                }
                (Some(_), true) => inside = false,
                (None, true) => {
                    if let Some(block) = blocks.last_mut() {
                        block.text.push_str(line);
                        block.text.push('\n');
                    }
                }
                (None, false) => {}
            }
        }
        assert!(!inside, "{}: the last block is not closed", self.path);
        blocks
    }

    /// The page without what is in fences.
    pub(crate) fn prose(&self) -> String {
        let mut inside = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            if line.starts_with("```") {
                inside = !inside;
            } else if !inside {
                prose.push_str(line);
            }
            prose.push('\n');
        }
        prose
    }
}

/// A fenced block: ```` ```console tested ````.
#[derive(Debug)]
pub(crate) struct Block {
    /// File and line.
    pub(crate) place: String,
    /// The words after the fence.
    pub(crate) info: Vec<String>,
    pub(crate) text: String,
}

impl Block {
    pub(crate) fn is(&self, language: &str, mark: &str) -> bool {
        self.info.first().is_some_and(|word| word == language)
            && self.info.iter().any(|word| word == mark)
    }

    /// The value of `key=value` in the info string.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.info
            .iter()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}

/// Every page of the repository that people read, in order.
pub(crate) fn pages() -> Vec<Page> {
    let mut paths: Vec<String> = [
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CHANGELOG.md",
    ]
    .map(str::to_owned)
    .to_vec();
    collect("docs", &mut paths);
    collect("examples", &mut paths);
    collect("bench", &mut paths);
    paths.iter().map(|path| Page::read(path)).collect()
}

/// Markdown files under `directory`, without what tools put there.
pub(crate) fn collect(directory: &str, paths: &mut Vec<String>) {
    let mut entries: Vec<_> = std::fs::read_dir(root().join(directory))
        .unwrap_or_else(|error| panic!("{directory}: {error}"))
        .map(|entry| entry.expect("readable").path())
        .collect();
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        let path = format!("{directory}/{name}");
        if entry.is_dir() {
            if !matches!(&*name, "node_modules" | "work" | "target" | "book") {
                collect(&path, paths);
            }
        } else if entry.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}
