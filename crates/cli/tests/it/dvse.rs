//! Runs the binary.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The standard output of a run that succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// The standard error of a run that failed with a remedy.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        assert!(self.stderr.contains("\n help: "), "no remedy: {}", self.stderr);
        self.stderr
    }
}

/// The binary, without the variables of whoever runs the tests.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dvse"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DVSE_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub fn dvse(arguments: &[&str]) -> Ran {
    Ran::of(command().args(arguments).output().unwrap())
}

/// Runs the binary to its end with something on its standard input.
pub fn dvse_reading(arguments: &[&str], input: &str) -> Ran {
    let mut command = command();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A run that ends before it has read everything closes the pipe.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    Ran::of(child.wait_with_output().unwrap())
}

/// A server in a process of its own on a free port.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    pub fn start(data: &Path) -> Server {
        Server::start_with(data, &[("DVSE__LOG__FILTER", "warn")], Stdio::inherit())
    }

    /// Starts it with more arguments.
    pub fn start_with_arguments(data: &Path, arguments: &[&str]) -> Server {
        Server::spawn(data, "127.0.0.1:0", arguments, &[("DVSE__LOG__FILTER", "warn")], Stdio::inherit())
    }

    /// Starts it where another one was.
    pub fn start_at(data: &Path, url: &str) -> Server {
        let http = url.trim_start_matches("http://");
        Server::spawn(data, http, &[], &[("DVSE__LOG__FILTER", "warn")], Stdio::inherit())
    }

    /// Starts it with variables, and its messages where the caller wants them.
    pub fn start_with(data: &Path, variables: &[(&str, &str)], messages: Stdio) -> Server {
        Server::spawn(data, "127.0.0.1:0", &[], variables, messages)
    }

    fn spawn(
        data: &Path,
        http: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
        messages: Stdio,
    ) -> Server {
        let mut command = command();
        command.args(["serve", "--http", http, "--data"]).arg(data).args(arguments);
        command.envs(variables.iter().copied()).stderr(messages);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().rsplit(' ').next().unwrap().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{line:?}");
        Server { child, url }
    }

    /// Runs the binary against this server.
    pub fn dvse(&self, arguments: &[&str]) -> Ran {
        Ran::of(command().args(arguments).env("DVSE_URL", &self.url).output().unwrap())
    }

    /// Sends JSON to a path, as a client of another make would.
    pub fn put(&self, path: &str, body: &serde_json::Value) {
        let request = ureq::put(format!("{}{path}", self.url)).content_type("application/json");
        request.send(body.to_string()).unwrap();
    }

    /// Sends SIGTERM and returns the exit code.
    pub fn stop(self) -> Option<i32> {
        self.stop_and_read().0
    }

    /// Sends SIGTERM and returns the exit code and the messages, if they were piped.
    pub fn stop_and_read(mut self) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let mut messages = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut messages).unwrap();
        }
        (self.child.wait().unwrap().code(), messages)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that failed half-way must not leave a server behind; after `stop` there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
