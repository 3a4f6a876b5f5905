//! One shell for each page, so that a page's variables and functions last as long as it does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Comes after what a command prints.
const END: &str = "--- end of the command, exit code";

pub(crate) struct Shell {
    child: Child,
    /// `None` once it has to end.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Shell {
    /// In `directory`, with `rolegate` in the path.
    pub(crate) fn new(directory: &Path, program: &Path) -> Self {
        let programs = program.parent().expect("a directory");
        let mut child = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(directory)
            .env("LC_ALL", "C.UTF-8")
            .env("COLUMNS", "200")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash");
        let mut stdin = child.stdin.take().expect("piped");
        // What a page started and did not stop ends with it.
        let script = format!(
            "PATH='{}':$PATH\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n",
            programs.display()
        );
        stdin.write_all(script.as_bytes()).expect("bash is there");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            child,
            stdin: Some(stdin),
            stdout,
        }
    }

    /// What the command prints, errors included, and its exit code.
    pub(crate) fn run(&mut self, command: &str) -> (Vec<String>, i32) {
        // Not in a subshell, or what the command defines would be gone.
        let script = format!("{{ {command}\n}} 2>&1 </dev/null; printf '\\n{END} %s\\n' $?\n");
        let stdin = self.stdin.as_mut().expect("it was not ended");
        stdin.write_all(script.as_bytes()).expect("bash is there");
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).expect("text");
            assert!(read > 0, "bash ended at: {command}\n{}", lines.join("\n"));
            let line = line.trim_end_matches(['\r', '\n']);
            if let Some(code) = line.strip_prefix(END) {
                return (lines, code.trim().parse().unwrap_or(-1));
            }
            lines.push(line.trim_end_matches('\r').to_owned());
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
