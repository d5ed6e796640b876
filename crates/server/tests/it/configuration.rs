//! Settings: their table, their sources, their page.

use std::path::Path;

use dvse_server::config::{Origin, RawConfig, SETTINGS, reference_page};

#[test]
fn configuration_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/configuration.md");
    if std::env::var_os("DVSE_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, reference_page()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap();
    assert!(
        page == reference_page(),
        "docs/guide/configuration.md is stale: DVSE_UPDATE_DOCS=1 cargo test -p dvse-server configuration"
    );
}

#[test]
fn every_default_is_a_value_the_setting_takes() {
    let raw = RawConfig::default();
    let shown = raw.shown();
    assert_eq!(shown.len(), SETTINGS.len());
    assert!(shown.iter().all(|setting| setting.origin == Origin::Default));
    raw.check().unwrap();
}

#[test]
fn flags_win_over_environment_over_file() {
    let mut raw = RawConfig::default();
    let file = "[server]\nhttp = \"127.0.0.1:1\"\ntitle = \"from file\"\n[limits]\nrequests_max = 7\n\
                body_bytes_max = \"2 MiB\"\n[server.unused]\n"
        .replace("[server.unused]\n", "");
    raw.merge_toml(&file, Path::new("dvse.toml")).unwrap();
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    raw.merge_environment([
        variable("DVSE__SERVER__HTTP", "127.0.0.1:2"),
        variable("DVSE__LIMITS__REQUESTS_MAX", "8"),
        variable("PATH", "/bin"),
        variable("DVSE_CONFIG", "elsewhere"),
    ])
    .unwrap();
    raw.set("server.http", "127.0.0.1:3").unwrap();

    let config = raw.check().unwrap();
    assert_eq!(config.http.port(), 3);
    assert_eq!(config.limits.requests_max, 8);
    assert_eq!(config.limits.body_bytes_max, 2 << 20);
    assert_eq!(config.title, "from file");
    let origin = |key: &str| {
        let shown = raw.shown();
        shown.into_iter().find(|shown| shown.setting.key == key).unwrap().origin.to_string()
    };
    assert_eq!(origin("server.http"), "flag");
    assert_eq!(origin("limits.requests_max"), "environment DVSE__LIMITS__REQUESTS_MAX");
    assert_eq!(origin("server.title"), "file dvse.toml");
    assert_eq!(origin("storage.data"), "default");
}

#[test]
fn secrets_are_not_shown() {
    let mut raw = RawConfig::default();
    raw.set("server.api_key", "hush").unwrap();
    assert_eq!(raw.check().unwrap().api_key.as_deref(), Some("hush"));
    assert!(raw.shown().iter().all(|shown| !shown.value.contains("hush")));
}

#[test]
fn wrong_settings_are_named_with_their_origin_and_remedy() {
    for (file, parts) in [
        ("[server]\nhttpp = \"x\"", ["\"server.httpp\"", "file dvse.toml", "did you mean \"server.http\"?"]),
        (
            "[limit]\nrequests_max = 3",
            ["\"limit.requests_max\"", "file dvse.toml", "\"limits.requests_max\""],
        ),
        ("port = 3", ["\"port\"", "no setting", "file dvse.toml"]),
        ("[limits]\nrequests_max = 0", ["limits.requests_max", "\"0\"", "1 to 65536 requests"]),
        ("[limits]\nrequests_max = \"many\"", ["limits.requests_max", "\"many\"", "1 to 65536"]),
        ("[limits]\nbody_bytes_max = \"1 TiB\"", ["limits.body_bytes_max", "1 TiB", "1 KiB to 1 GiB"]),
        ("[server]\nhttp = \"127.0.0.1\"", ["server.http", "127.0.0.1", "HOST:PORT"]),
        ("[server]\nversion = \"1.19\"", ["server.version", "1.19", "x.y.z"]),
        ("[log]\nformat = \"xml\"", ["log.format", "xml", "text or json"]),
        ("[server]\nhttp = true", ["server.http", "true", "HOST:PORT"]),
        ("[server\n", ["dvse.toml", "not valid TOML", "line 1"]),
    ] {
        let error = RawConfig::default().merge_toml(file, Path::new("dvse.toml")).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{file:?}: {error:?} lacks {part:?}");
        }
    }
    let unknown = [("DVSE__SERVER__HTPP".to_owned(), "x".to_owned())];
    let error = RawConfig::default().merge_environment(unknown).unwrap_err().to_string();
    assert!(error.contains("DVSE__SERVER__HTPP") && error.contains("server.http"), "{error}");
}

#[test]
fn bodies_together_cannot_be_less_than_one() {
    let mut raw = RawConfig::default();
    raw.set("limits.body_bytes_max", "64 MiB").unwrap();
    raw.set("limits.bodies_bytes_max", "32 MiB").unwrap();
    let error = raw.check().unwrap_err().to_string();
    assert!(error.contains("limits.bodies_bytes_max") && error.contains("limits.body_bytes_max"), "{error}");
}
