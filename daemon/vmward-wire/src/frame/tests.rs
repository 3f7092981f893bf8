use super::*;

fn lines(decoder: &mut FrameDecoder) -> Vec<String> {
    std::iter::from_fn(|| decoder.next_line())
        .map(|line| String::from_utf8(line).unwrap())
        .collect()
}

#[track_caller]
fn refused(text: &[u8], expected: &str) {
    let error = parse(text).expect_err("must be refused").to_string();
    assert!(
        error.contains(expected),
        "{error:?} does not contain {expected:?}"
    );
}

#[test]
fn lines_come_out_whole_however_the_bytes_are_cut() {
    let stream = b"{\"a\":1}\n\n  \r\n{\"b\":\"\xc3\xa4\"}\n{\"c\"";
    for size in 1..stream.len() {
        let mut decoder = FrameDecoder::new(64);
        for piece in stream.chunks(size) {
            decoder.push(piece).unwrap();
        }
        assert_eq!(lines(&mut decoder), ["{\"a\":1}", "{\"b\":\"ä\"}"]);
        assert!(decoder.has_partial());
    }
}

#[test]
fn a_line_of_exactly_the_bound_passes_and_one_byte_more_does_not() {
    let mut decoder = FrameDecoder::new(4);
    decoder.push(b"1234\n").unwrap();
    assert_eq!(lines(&mut decoder), ["1234"]);
    assert!(decoder.push(b"12345\n").is_err());
}

#[test]
fn a_too_long_line_is_refused_before_its_end_and_never_buffered() {
    let mut decoder = FrameDecoder::new(8);
    decoder.push(b"12345678").unwrap();
    assert!(matches!(
        decoder.push(b"9"),
        Err(FrameError::TooLong { max: 8 })
    ));
    assert!(!decoder.has_partial());
}

#[test]
fn lines_before_a_too_long_one_are_kept_and_nothing_after_it_is_read() {
    let mut decoder = FrameDecoder::new(4);
    assert!(decoder.push(b"1\n2\n123456\n3\n").is_err());
    assert!(decoder.push(b"4\n").is_err());
    assert_eq!(lines(&mut decoder), ["1", "2"]);
}

#[test]
fn a_key_that_appears_twice_is_refused_at_any_depth() {
    refused(br#"{"a":1,"a":2}"#, "key \"a\" appears twice");
    refused(br#"{"x":[{"y":{"b":1,"b":1}}]}"#, "key \"b\" appears twice");
    refused(br#"{"a":1,"\u0061":2}"#, "key \"a\" appears twice");
}

#[test]
fn nesting_of_the_bound_passes_and_one_more_does_not() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    parse(nested(DEPTH_MAX).as_bytes()).unwrap();
    refused(nested(DEPTH_MAX + 1).as_bytes(), "nested deeper than 32");
}

#[test]
fn text_that_is_not_plain_utf8_json_is_refused() {
    refused(b"\"\xff\"", "Not UTF-8 from byte 1 on");
    refused(b"\xef\xbb\xbf{}", "Byte order mark");
    refused(b"{} {}", "trailing characters");
    refused(b"{\"a\":NaN}", "expected value");
    for huge in [
        "1e999",
        "1e20",
        "18446744073709551616",
        "-9223372036854775809",
    ] {
        refused(huge.as_bytes(), "number out of range");
    }
    refused(br#""\ud800""#, "column");
    refused(b"", "EOF");
}

#[test]
fn numbers_and_text_survive_reading_and_writing() {
    let text = r#"{"i":-9223372036854775808,"u":18446744073709551615,"f":0.1,"s":"ä\n","n":null}"#;
    let value = parse(text.as_bytes()).unwrap();
    assert_eq!(encode(&value).unwrap(), format!("{text}\n").as_bytes());
}
