//! What a build for tests does.

use std::env;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

const VARIABLE: &str = "DVSE_KILL_AT";

/// Where to end.
#[derive(Debug)]
struct Kill {
    step: String,
    at: u64,
    passings: AtomicU64,
}

/// Passes a step, unless this is the passing to die at.
pub fn passed(step: &str) {
    static KILL: OnceLock<Option<Kill>> = OnceLock::new();
    let Some(kill) = KILL.get_or_init(read) else { return };
    if step == kill.step && kill.passings.fetch_add(1, Ordering::Relaxed) + 1 == kill.at {
        eprintln!("killed at {step}, passing {}", kill.at);
        // Before this returns; should the system refuse, an abort is as good as a kill.
        let _refused = kill_process(getpid(), Signal::KILL);
        process::abort();
    }
}

fn read() -> Option<Kill> {
    let text = env::var(VARIABLE).ok()?;
    let kill = parse(&text);
    if kill.is_none() {
        // A test that kills nothing must not pass for one that did.
        eprintln!("{VARIABLE} is {text:?}, but must be STEP:N with N from 1");
        process::exit(2);
    }
    kill
}

fn parse(text: &str) -> Option<Kill> {
    let (step, at) = text.rsplit_once(':')?;
    let at = at.parse().ok().filter(|at| *at > 0)?;
    (!step.is_empty()).then(|| Kill { step: step.to_owned(), at, passings: AtomicU64::new(0) })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_step_and_a_count_from_one_are_read_and_nothing_else() {
        let kill = parse("committed:3").map(|kill| (kill.step, kill.at));
        assert_eq!(kill, Some(("committed".to_owned(), 3)));
        for text in ["", "committed", ":1", "committed:", "committed:0", "committed:-1", "committed:x"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
