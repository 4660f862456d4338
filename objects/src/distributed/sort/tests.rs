use super::*;
use pyroxene_common::{codec, message::EncodedRequest};

fn values(count: usize) -> Vec<f64> {
    (0..count).map(|n| (n as f64 * 7919.0) % 1009.0).collect()
}

/// A sort of one piece that may be no longer than `limit`.
fn sort(values: Vec<f64>, limit: usize) -> SortInProgress {
    let range = partition::ValueRange {
        values: values.clone().into(),
        greatest: 0.0,
        copies: 0,
    };
    let partition = Partition {
        memory: values,
        ranges: vec![range],
    };
    SortInProgress::new(partition, limit).0
}

/// Does the work of the workers. Returns the lengths of the pieces.
fn work_off(sort: &mut SortInProgress) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Some(piece) = sort.next().unwrap() {
        let mut values = piece.values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        lengths.push(values.len());
        let answer = CalculatorResponse::Sort(Ok(Numbers(values)));
        assert!(sort.write_answer(&piece, answer).unwrap().is_some());
    }
    lengths
}

#[test]
fn a_piece_is_a_request_to_sort_byte_for_byte() {
    for count in [0, 3, 20_000] {
        let piece = SortPiece {
            start: 5,
            values: values(count).into(),
        };
        let request = CalculatorRequest::Sort {
            values: Numbers(values(count)),
        };
        let sent = match EncodedRequest::new(&piece).unwrap() {
            EncodedRequest::Small(body) => body,
            EncodedRequest::Large { pieces, .. } => pieces.concat(),
            EncodedRequest::WithMetadata(_) => panic!("it has no metadata"),
        };
        assert_eq!(sent, codec::encode(&request).unwrap());
    }
}

#[test]
fn a_range_that_is_too_long_is_halved_until_it_fits() {
    for values in [values(1000), vec![1.0; 1000]] {
        let mut sort = sort(values.clone(), 130);
        let lengths = work_off(&mut sort);
        assert!(lengths.iter().all(|&length| length <= 130), "{lengths:?}");
        let mut expected = values;
        expected.sort_unstable_by(f64::total_cmp);
        assert_eq!(sort.result, expected);
    }
}

#[test]
fn a_piece_that_a_worker_finds_too_large_is_cut_smaller() {
    let mut sort = sort(values(1000), 1000);
    let whole = sort.next().unwrap().unwrap();
    sort.shrink(whole, OVERHEAD + 300 * 8).unwrap();
    assert_eq!(work_off(&mut sort), [250; 4]);
    assert!(sort.result.is_sorted());
}

#[test]
fn a_limit_below_one_number_is_an_error_and_no_endless_loop() {
    let mut sort = sort(values(1000), 1000);
    let whole = sort.next().unwrap().unwrap();
    let error = sort.shrink(whole, 100).unwrap_err();
    assert!(matches!(
        error,
        DistributedError::LimitTooSmall { limit: 100, .. }
    ));
}

#[test]
fn an_answer_of_another_length_or_method_is_not_placed() {
    let mut sort = sort(values(10), 10);
    let piece = sort.next().unwrap().unwrap();
    let short = CalculatorResponse::Sort(Ok(Numbers(vec![1.0; 9])));
    assert_eq!(sort.write_answer(&piece, short).unwrap(), None);
    let other = CalculatorResponse::Sum(Ok(1.0.into()));
    assert_eq!(sort.write_answer(&piece, other).unwrap(), None);
}
