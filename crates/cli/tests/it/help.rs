//! Each `--help` fits a screen and has an example.

use crate::dvse::{command, dvse};

const COMMANDS: &[&[&str]] = &[
    &[],
    &["demo"],
    &["serve"],
    &["query"],
    &["import"],
    &["export"],
    &["produce"],
    &["ingest"],
    &["ingest", "status"],
    &["ingest", "pause"],
    &["ingest", "resume"],
    &["ingest", "drain"],
    &["rebuild"],
    &["dead-letters"],
    &["dead-letters", "list"],
    &["dead-letters", "retry"],
    &["topics"],
    &["topics", "ensure"],
    &["topics", "list"],
    &["topics", "unsubscribe"],
    &["collection"],
    &["collection", "list"],
    &["collection", "info"],
    &["collection", "update"],
    &["collection", "create"],
    &["collection", "delete"],
    &["collection", "alias"],
    &["bench"],
    &["bench", "ann"],
    &["bench", "churn"],
    &["bench", "filter"],
    &["bench", "kernels"],
    &["bench", "machine"],
    &["config"],
    &["config", "show"],
    &["completions"],
];

#[test]
fn each_help_fits_a_screen_and_has_an_example() {
    for path in COMMANDS {
        let help = dvse(&[*path, &["--help"]].concat()).ok();
        let lines = help.lines().count();
        assert!(lines <= 30, "{path:?} --help has {lines} lines:\n{help}");
        assert!(help.contains("Example"), "{path:?} --help has no example:\n{help}");
    }
}

#[test]
fn each_command_of_the_help_is_checked_above() {
    let help = dvse(&["--help"]).ok();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in commands.take_while(|line| !line.is_empty()) {
        let name = line.split_whitespace().next().unwrap();
        assert!(name == "help" || COMMANDS.contains(&[name].as_slice()), "{name}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    assert_eq!(dvse(&["--version"]).ok(), format!("dvse {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = dvse(&["completions", shell]).ok();
        assert!(script.contains("collection") && script.contains("bench"), "{shell}");
    }
}

#[test]
fn a_flag_can_be_given_as_a_variable() {
    let ran = command().args(["collection", "list"]).env("DVSE_URL", "ftp://x").output().unwrap();
    let error = String::from_utf8(ran.stderr).unwrap();
    assert!(error.contains("\"ftp://x\" is not an address of a server"), "{error}");
}
