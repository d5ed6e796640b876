//! Names of levels, and what happens where the CPU lacks one.

use dvse_simd::{Isa, Kernels, Level, Op, available, detect, dispatch, kernels, nearest_available};

struct WhichLevel;

impl Op for WhichLevel {
    type Output = Level;

    #[inline(always)]
    fn run<I: Isa>(self, _isa: I) -> Level {
        I::LEVEL
    }
}

tests! {
    fn names_are_read_back() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        for name in ["", "AVX2", "avx", "scalar "] {
            let error = name.parse::<Level>().unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")) && error.contains("avx512"), "{error}");
        }
    }

    fn available_levels_are_in_order_and_run_as_themselves() {
        let levels = available();
        assert_eq!(levels.first(), Some(&Level::Scalar));
        assert!(levels.is_sorted());
        assert_eq!(levels.last(), Some(&detect()));
        for &level in levels {
            assert_eq!(dispatch(level, WhichLevel), level);
            assert_eq!(Kernels::for_level(level).level, level);
        }
        assert_eq!(kernels().level, detect());
    }

    fn a_missing_level_falls_to_the_best_below() {
        for wanted in Level::ALL {
            let got = dispatch(wanted, WhichLevel);
            assert_eq!(got, nearest_available(wanted));
            assert!(got <= wanted && available().contains(&got));
            assert!(available().iter().all(|&level| level > wanted || level <= got));
        }
    }
}
