//! What goes wrong is told with its remedy, and never as a panic.

use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::dvse::{Server, command, dvse};

/// An address where nothing listens: the port was free a moment ago and is not given out again at once.
fn dead_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn a_server_that_is_not_there_is_said_how_to_start() {
    let url = dead_url();
    for arguments in [
        &["collection", "list", "--url", &url][..],
        &["query", "anything", "--url", &url],
        &["export", "-c", "x", "-o", "-", "--url", &url],
    ] {
        let error = dvse(arguments).failed();
        assert!(error.contains(&format!("cannot reach a server at {url}")), "{error}");
        assert!(error.contains("dvse serve --data DIR") && error.contains("dvse demo"), "{error}");
    }
}

#[test]
fn what_is_no_server_of_ours_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4_096];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
    });
    let error = dvse(&["collection", "list", "--url", &url]).failed();
    assert!(error.contains("something unexpected") && error.contains("check that the address"), "{error}");
    answering.join().unwrap();
}

#[test]
fn an_unknown_collection_says_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    for arguments in [
        &["query", "anything", "-c", "nothing"][..],
        &["collection", "info", "nothing"],
        &["collection", "delete", "nothing", "--yes"],
        &["export", "-c", "nothing", "-o", "-"],
    ] {
        let error = server.dvse(arguments).failed();
        assert!(error.contains("404") && error.contains("`nothing` doesn't exist"), "{error}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    for (path, expect) in [
        (folder.path().join("none.jsonl").to_string_lossy().into_owned(), "cannot open"),
        (folder.path().join("none.npy").to_string_lossy().into_owned(), "cannot open"),
        (file("empty.jsonl", ""), "holds no points"),
        (file("text.jsonl", "\n{\"id\":1,\"vector\":[1]}\nhello\n"), "line 3 of"),
        (file("bare.jsonl", "{\"id\":1}\n"), "no vector in its field \"vector\""),
        (file("text.vec", "hello"), "no known format"),
    ] {
        let error = server.dvse(&["import", &path, "-c", "x"]).failed();
        assert!(error.contains(expect), "{path}: {error}");
    }
}

#[test]
fn a_cause_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("file");
    fs::write(&taken, "").unwrap();
    let error = dvse(&["serve", "--http", "127.0.0.1:0", "--data", &taken.to_string_lossy()]).failed();
    assert_eq!(error.matches("File exists").count(), 1, "{error}");
}

/// The file is a pipe, so that the import is half-way for as long as the test wants.
#[test]
fn an_import_that_is_interrupted_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let pipe = folder.path().join("points.jsonl");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut import = command();
    import.args(["import", "-c", "x", "--batch", "1", "--quiet"]).arg(&pipe).env("DVSE_URL", &server.url);
    let import = import.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    let mut write = |id: u64| writeln!(lines, "{{\"id\":{id},\"vector\":[1]}}");
    // Points arrive once signals are watched.
    (0..3).for_each(|id| write(id).unwrap());
    let arrived = || {
        let listed = server.dvse(&["collection", "list", "--format", "jsonl"]).ok();
        listed.contains("\"points\":") && !listed.contains("\"points\":0")
    };
    while !arrived() {}
    assert!(Command::new("kill").args(["-INT", &import.id().to_string()]).status().unwrap().success());
    // Until nobody reads any more.
    (3..).find(|id| write(*id).is_err()).unwrap();
    let ran = import.wait_with_output().unwrap();
    let error = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{error}");
    assert!(error.contains("points are written: stopped") && error.contains("with --skip "), "{error}");
    assert!(!error.contains("mended"), "{error}");
}

#[test]
fn settings_that_are_wrong_are_named_with_their_origin() {
    for (arguments, expect) in [
        (&["serve", "--http", "here"][..], "server.http"),
        (&["serve", "--setting", "storage.dat=x"], "did you mean \"storage.data\""),
        (&["serve", "--setting", "x"], "is not SECTION.KEY=VALUE"),
        (&["config", "show", "--config", "/nonexistent.toml"], "/nonexistent.toml"),
    ] {
        let ran = dvse(arguments);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(expect), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn a_taken_address_says_how_to_choose_another() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_string_lossy();
    let error = dvse(&["serve", "--data", &data, "--http", &address]).failed();
    assert!(error.contains(&address) && error.contains("--http 127.0.0.1:0"), "{error}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = command()
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The script is larger than a pipe holds, so the program is still writing when this end closes.
    drop(child.stdout.take());
    let ran = child.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ran.stderr), "");
}
