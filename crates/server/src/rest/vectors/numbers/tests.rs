use proptest::prelude::*;

use super::*;

/// What the general parser makes of a list.
fn by_general_parser(text: &str) -> Option<Vec<f32>> {
    let list: Vec<Element> = serde_json::from_str(text).ok()?;
    Some(list.into_iter().map(|Element(value)| value).collect())
}

fn by_reader(text: &str) -> Option<Vec<f32>> {
    let mut vector = Vec::new();
    let end = read_numbers(text.as_bytes(), 0, &mut vector)?;
    (skip_space(text.as_bytes(), end) == text.len()).then_some(vector)
}

/// Compares both, bit by bit: at the end of a text, and with more behind the number.
fn check(number: &str) {
    for text in [format!("[{number}]"), format!("[{number},{number} , {number}]{}", " ".repeat(2 * WINDOW))] {
        let bits = |vector: Vec<f32>| vector.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let (got, expect) = (by_reader(&text).map(bits), by_general_parser(&text).map(bits));
        assert_eq!(got, expect, "{text}");
    }
}

#[test]
fn numbers_are_what_the_general_parser_gives() {
    for number in [
        "0",
        "-0",
        "0.0",
        "-0.0",
        "0e5",
        "0E-5",
        "1",
        "-1",
        "10",
        "1.5",
        "0.1",
        "1e2",
        "1E+2",
        "1e-2",
        "0.05000000074505806",
        "-0.012345678938543797",
        "1.1754943508222875e-38",
        "1.1754942106924411e-38",
        "1.401298464324817e-45",
        "7e-46",
        "3.4028234663852886e38",
        "3.4028235677973366e38",
        "3.5e38",
        "1e39",
        "1e308",
        "1e-308",
        "4.9e-324",
        "1e63",
        "1e64",
        "1e-63",
        "1e-64",
        "123456789",
        "12345678.5",
        "99999999",
        "100000000",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "16777217",
        "16777219",
        "0.000000000000000000000001",
        "3.14159265358979323846264338327950288",
        "0.00000000000000000000000000000000000000000000000000000001",
        // In the middle between two neighbours, and a little beside it.
        "1.000000059604644775390625",
        "1.00000005960464477539062",
        "1.00000005960464477539063",
        "1.0000001788139343",
        "1.00000017881393432617187500000000000000001",
        "8388609.5",
        "8388609.4999999999",
    ] {
        check(number);
    }
}

#[test]
fn what_is_no_number_is_left_to_the_general_parser() {
    for number in [
        "",
        "-",
        "+1",
        ".5",
        "1.",
        "-.5",
        "1.e5",
        "1e",
        "1e+",
        "01",
        "-01",
        "00",
        "0x10",
        "1e99999",
        "1e400",
        "NaN",
        "Infinity",
        "null",
        "true",
        "\"1\"",
        "1_000",
        "1 2",
        "--1",
        "1..2",
        "1.5.",
        "1e5.5",
        "1e1000",
        "[1]",
        "{}",
        "1/2",
        "1:2",
        "0.1234567a",
        "0.12345678:",
        "1\u{660}",
    ] {
        check(number);
    }
}

#[test]
fn lists_end_where_their_bracket_is() {
    for (text, expect) in [
        ("[]", Some((2, 0))),
        ("[ ]x", Some((3, 0))),
        ("[ 1 , 2\n,\t3 ]", Some((13, 3))),
        ("[1,2,3]]}", Some((7, 3))),
        ("[1,]", None),
        ("[,1]", None),
        ("[1", None),
        ("[", None),
        ("[1,2", None),
        ("{}", None),
        ("", None),
    ] {
        let mut vector = Vec::new();
        let end = read_numbers(text.as_bytes(), 0, &mut vector);
        assert_eq!(end.map(|end| (end, vector.len())), expect, "{text}");
    }
}

#[test]
fn common_numbers_need_no_general_parser() {
    for number in ["0.05000000074505806,", "-0.012345679,", "1.5e-05,", "3,", "-1.2345678901234567,"] {
        let text = format!("{number:-<64}");
        let len = text.as_bytes().first_chunk().and_then(read_in_window).map(|(_, len)| len);
        assert_eq!(len, Some(number.len() - 1), "{number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn shortest_decimals_come_back_bit_by_bit(bits in any::<u32>()) {
        let value = f32::from_bits(bits);
        prop_assume!(value.is_finite());
        check(&value.to_string());
        check(&format!("{value:e}"));
        check(&f64::from(value).to_string());
        check(&format!("{:e}", f64::from(value)));
    }

    #[test]
    fn decimals_of_f64_are_rounded_twice_as_ever(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        check(&format!("{value:e}"));
    }

    #[test]
    fn decimals_near_the_middle_of_two_floats_are_exact(
        bits in 0x0080_0000_u32..0x7f7f_ffff, ulps in -40_i64..40, digits in 15_usize..30,
    ) {
        let (low, high) = (f64::from(f32::from_bits(bits)), f64::from(f32::from_bits(bits + 1)));
        let middle = f64::midpoint(low, high);
        let near = f64::from_bits((middle.to_bits() as i64 + ulps) as u64);
        check(&format!("{near:.digits$e}"));
    }

    #[test]
    fn any_spelling_is_read_alike(number in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,40})?([eE][-+]?[0-9]{1,3})?") {
        check(&number);
    }

    #[test]
    fn any_text_is_taken_or_refused_alike(number in "[-+0-9.eE, \\[\\]]{0,60}") {
        check(&number);
    }
}
