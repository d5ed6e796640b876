//! Measures how fast the body of an upsert is read: `cargo run --release -p dvse-server --example parse_upsert`.
//!
//! The body is what the Python client sends: 256 points of 384 numbers, each number an f32 written as the shortest
//! decimal of its f64 value, with a small payload.

use std::fmt::Write;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut body = String::from(r#"{"points":["#);
    for id in 0..256 {
        let comma = if id == 0 { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"id":{id},"payload":{{"title":"point {id}","year":{}}},"vector":["#,
            1900 + id
        )?;
        for position in 0..384 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.2;
            let comma = if position == 0 { "" } else { "," };
            write!(body, "{comma}{}", f64::from(value))?;
        }
        body.push_str("]}");
    }
    body.push_str("]}");
    let mut best = f64::INFINITY;
    for _ in 0..50 {
        let started = Instant::now();
        let (points, _) = dvse_server::rest::measure_upsert(body.as_bytes())?;
        assert_eq!(points, 256);
        best = best.min(started.elapsed().as_secs_f64());
    }
    let megabytes = body.len() as f64 / 1e6;
    eprintln!("{megabytes:.2} MB in {:.2} ms: {:.0} MB/s", best * 1e3, megabytes / best);
    Ok(())
}
