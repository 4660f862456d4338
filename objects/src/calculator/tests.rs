use super::{calculator::Calculator as _, *};
use crate::interfaces::calculator::MAX_PRODUCT_VALUES;
use proptest::prelude::*;
use pyroxene_common::scope::{Reporter, Scope};
use std::sync::{LazyLock, Mutex};
use tarpc::context;

static POOL: LazyLock<Arc<ThreadPool>> = LazyLock::new(|| {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(3);
    Arc::new(builder.build().unwrap())
});

/// Calls a method of a calculator, and waits for its answer.
macro_rules! call {
    ($method:ident($($argument:expr),*)) => {
        futures::executor::block_on(
            CalculatorObject::new(POOL.clone()).$method(context::current() $(, $argument)*),
        )
    };
}

fn numbers(values: &[f64]) -> Numbers {
    Numbers(values.to_vec())
}

fn matrix(rows: &[&[f64]]) -> Matrix {
    Matrix::from_rows(rows).unwrap()
}

#[test]
fn sums_and_averages() {
    assert_eq!(call!(sum(numbers(&[1.0, 2.0, 3.0]))), Ok(Number(6.0)));
    assert_eq!(call!(average(numbers(&[1.0, 2.0, 4.5]))), Ok(Number(2.5)));
    assert_eq!(call!(max(numbers(&[1.0, 3.0, 2.0]))), Ok(Number(3.0)));
    assert_eq!(call!(min(numbers(&[1.0, -3.0, 2.0]))), Ok(Number(-3.0)));
}

#[test]
fn the_interface_serves_the_object() {
    use crate::interfaces::calculator;
    use pyroxene_common::interface::Serves;
    let request = CalculatorRequest::Factorial { n: 5 };
    let service = CalculatorObject::new(POOL.clone());
    let answer = calculator::Calculator::serve(service, context::current(), request);
    let response = futures::executor::block_on(answer).unwrap();
    let json = serde_json::to_string(&response).unwrap();
    assert_eq!(json, r#"{"Factorial":{"Ok":"120"}}"#);
}

#[test]
fn the_sum_of_negative_zeros_is_one_and_any_other_sum_of_zeros_is_not() {
    let sign = |values: &[f64]| {
        let [sum, mean] = [call!(sum(numbers(values))), call!(average(numbers(values)))];
        [sum, mean].map(|zero| zero.unwrap().0.to_bits() == (-0.0_f64).to_bits())
    };
    assert_eq!(sign(&[-0.0]), [true; 2]);
    assert_eq!(sign(&[-0.0, -0.0]), [true; 2]);
    for values in [&[0.0][..], &[-0.0, 0.0], &[1.0, -1.0], &[-1.0, 1.0, -0.0]] {
        assert_eq!(sign(values), [false; 2], "{values:?}");
    }
}

#[test]
fn sums_lose_nothing_to_rounding() {
    assert_eq!(call!(sum(numbers(&[0.1; 10]))), Ok(Number(1.0)));
    assert_eq!(
        call!(sum(numbers(&[1.0, 1e100, 1.0, -1e100]))),
        Ok(Number(2.0))
    );
}

#[test]
fn empty_lists_are_refused() {
    for answer in [
        call!(sum(numbers(&[]))),
        call!(average(numbers(&[]))),
        call!(max(numbers(&[]))),
        call!(min(numbers(&[]))),
    ] {
        assert_eq!(
            answer.unwrap_err().to_string(),
            "the list of values is empty"
        );
    }
    assert_eq!(call!(sort(numbers(&[]))), Ok(numbers(&[])));
}

#[test]
fn a_sum_beyond_the_range_is_refused_but_its_average_is_known() {
    let huge = numbers(&[f64::MAX, f64::MAX]);
    assert_eq!(call!(sum(huge.clone())), Err(CalculatorError::Overflow));
    assert_eq!(call!(average(huge)), Ok(Number(f64::MAX)));
    // The overflow on the way cancels out.
    let cancelling = numbers(&[f64::MAX, f64::MAX, -f64::MAX]);
    assert_eq!(call!(sum(cancelling)), Ok(Number(f64::MAX)));
    let infinite = numbers(&[1.0, f64::INFINITY]);
    assert_eq!(call!(sum(infinite)), Ok(Number(f64::INFINITY)));
}

#[test]
fn the_extremes_are_the_ends_of_the_total_order() {
    let values = numbers(&[
        1.0,
        f64::NAN,
        f64::INFINITY,
        0.0,
        -0.0,
        f64::NEG_INFINITY,
        -f64::NAN,
    ]);
    let bits = |number: Number| number.0.to_bits();
    let sorted = call!(sort(values.clone())).unwrap().0;
    assert_eq!(
        bits(call!(max(values.clone())).unwrap()),
        sorted.last().unwrap().to_bits()
    );
    assert_eq!(bits(call!(min(values)).unwrap()), sorted[0].to_bits());
    assert!(sorted[0].is_nan() && sorted[6].is_nan());
    assert_eq!(
        sorted[1..6],
        [f64::NEG_INFINITY, -0.0, 0.0, 1.0, f64::INFINITY]
    );
    assert!(sorted[2].is_sign_negative() && sorted[3].is_sign_positive());
}

#[test]
fn factorials_are_known() {
    let factorial = |n| call!(factorial(n)).unwrap().to_string();
    assert_eq!(factorial(0), "1");
    assert_eq!(factorial(1), "1");
    assert_eq!(factorial(5), "120");
    assert_eq!(factorial(20), "2432902008176640000");
    assert_eq!(factorial(30), "265252859812191058636308480000000");
    assert_eq!(factorial(10_000).len(), 35_660);
}

#[test]
fn factorials_follow_from_each_other() {
    let mut expected = dashu_int::UBig::ONE;
    for n in 1..700u64 {
        expected *= n;
        assert_eq!(call!(factorial(n)).unwrap().0, expected, "{n}");
    }
}

/// The lengths are on both sides of the limits for threads and for transforms.
#[test]
fn long_factorials_are_products_of_all_their_factors() {
    fn product(from: u64, to: u64) -> dashu_int::UBig {
        match to - from {
            0 => from.into(),
            _ => {
                let middle = (from + to) / 2;
                product(from, middle) * product(middle + 1, to)
            }
        }
    }
    for n in [4095, 4096, 20_000, 50_001, 100_000] {
        assert_eq!(call!(factorial(n)).unwrap().0, product(1, n), "{n}");
    }
}

#[test]
fn fibonacci_starts_at_zero() {
    let terms: Vec<String> = call!(fibonacci(10))
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(terms, ["0", "1", "1", "2", "3", "5", "8", "13", "21", "34"]);
    assert_eq!(call!(fibonacci(0)), Ok(vec![]));
    let terms = call!(fibonacci(301)).unwrap();
    assert_eq!(
        terms[300].to_string(),
        "222232244629420445529739893461909967206666939096499764990979600"
    );
}

#[test]
fn numbers_beyond_the_limits_are_refused() {
    let sentence = |error: CalculatorError| error.to_string();
    assert_eq!(
        sentence(call!(factorial(2_000_000)).unwrap_err()),
        "n is 2000000; the greatest allowed is 1000000"
    );
    assert_eq!(
        sentence(call!(fibonacci(u64::MAX)).unwrap_err()),
        "n is 18446744073709551615; the greatest allowed is 20000"
    );
    assert_eq!(
        sentence(call!(compute(MAX_ITERATIONS + 1)).unwrap_err()),
        "iterations is 1000000000001; the greatest allowed is 1000000000000"
    );
}

#[test]
fn pi_comes_closer() {
    let compute = |iterations| call!(compute(iterations)).unwrap().0;
    assert_eq!(compute(0), 0.0);
    assert_eq!(compute(1), 4.0);
    assert!((compute(2) - 8.0 / 3.0).abs() < 1e-15);
    assert!((compute(3) - 52.0 / 15.0).abs() < 1e-15);
    // The remainder after n terms is 1/n, but for a term in 1/n³. The first length crosses blocks.
    for n in [100_001u64, 1_000_000] {
        let sign = if n % 2 == 0 { 1.0 } else { -1.0 };
        let error = std::f64::consts::PI - compute(n) - sign / n as f64;
        assert!(error.abs() < 1e-13, "{n}: {error}");
    }
}

#[test]
fn matrices_are_multiplied() {
    let a = matrix(&[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]]);
    let b = matrix(&[&[7.0, 8.0], &[9.0, 10.0], &[11.0, 12.0]]);
    let product = matrix(&[&[58.0, 64.0], &[139.0, 154.0]]);
    assert_eq!(call!(matrix_multiply(a, b)), Ok(product));
}

#[test]
fn unequal_shapes_are_refused() {
    let a = matrix(&[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]]);
    let b = matrix(&[&[1.0, 0.0], &[0.0, 1.0]]);
    assert_eq!(
        call!(matrix_multiply(a, b)).unwrap_err().to_string(),
        "cannot multiply a 2x3 matrix by a 2x2 matrix: 3 columns do not match 2 rows"
    );
}

#[test]
fn a_product_beyond_the_limit_is_refused() {
    let column = Matrix::new(1_000_000, 1, vec![1.0; 1_000_000]).unwrap();
    let row = Matrix::new(1, 1_000_000, vec![1.0; 1_000_000]).unwrap();
    assert_eq!(
        call!(matrix_multiply(column, row)),
        Err(CalculatorError::ProductTooLarge {
            values: 1_000_000_000_000,
            limit: MAX_PRODUCT_VALUES
        })
    );
}

#[test]
fn a_product_that_overflows_is_refused() {
    let huge = matrix(&[&[f64::MAX]]);
    assert_eq!(
        call!(matrix_multiply(huge, matrix(&[&[2.0]]))),
        Err(CalculatorError::Overflow)
    );
}

fn naive_product(a: &Matrix, b: &Matrix) -> Vec<f64> {
    let columns = b.columns() as usize;
    let dot = |row: &[f64], column: usize| -> f64 {
        row.iter()
            .zip(b.iter_rows())
            .map(|(left, right)| left * right[column])
            .sum()
    };
    a.iter_rows()
        .flat_map(|row| (0..columns).map(move |column| dot(row, column)))
        .collect()
}

/// A matrix of small whole numbers, whose products are exact in any order of addition.
fn whole_matrix(rows: u32, columns: u32, seed: u64) -> Matrix {
    let value = |k: u64| ((k + 1).wrapping_mul(seed | 1) >> 7) % 201;
    let values = (0..u64::from(rows) * u64::from(columns)).map(|k| value(k) as f64 - 100.0);
    Matrix::new(rows, columns, values.collect()).unwrap()
}

#[test]
fn large_products_are_right_on_many_threads() {
    let (a, b) = (
        whole_matrix(150, 170, 0x9e37_79b9),
        whole_matrix(170, 131, 0x85eb_ca6b),
    );
    assert!(matrices::multiplications(&a, &b) > 128 * 128 * 128);
    let product = call!(matrix_multiply(a.clone(), b.clone())).unwrap();
    assert_eq!(product.values(), naive_product(&a, &b));
}

#[test]
fn products_are_right_in_blocks_of_any_height() {
    let (a, b) = (whole_matrix(7, 5, 3), whole_matrix(5, 4, 11));
    for block_rows in [0, 1, 2, 3, 6, 7, 8, usize::MAX] {
        let mut product = vec![f64::NAN; 28];
        let scope = Scope::default();
        let (target, rows) = (&mut product, block_rows);
        POOL.install(|| matrices::multiply_blocks(&a, &b, target, rows, &scope))
            .unwrap();
        assert_eq!(product, naive_product(&a, &b), "{block_rows}");
    }
}

#[test]
fn rows_are_shared_among_threads_in_blocks_that_end_soon() {
    let of = |rows: u32, row_work, threads| {
        matrices::block_rows(rows, u64::from(rows) * row_work, threads)
    };
    assert_eq!(of(1024, 1 << 20, 2), 256); // two blocks for each of two threads
    assert_eq!(of(100_000, 1 << 20, 2), 1024); // as much as goes unchecked
    assert_eq!(of(100_000, 1 << 30, 2), 256); // but not less than is worth while
    assert_eq!(of(1, 1 << 40, 64), 1);
}

#[test]
fn long_lists_are_sorted_whatever_their_order() {
    const LENGTH: i32 = 100_000;
    let ascending: Vec<f64> = (-LENGTH / 2..LENGTH / 2).map(f64::from).collect();
    let descending: Vec<f64> = ascending.iter().rev().copied().collect();
    let mut last_first = ascending.clone();
    last_first.rotate_left(1);
    for values in [ascending.clone(), descending, last_first] {
        assert_eq!(call!(sort(Numbers(values))), Ok(Numbers(ascending.clone())));
    }
}

#[test]
fn what_nobody_waits_for_ends_early() {
    let scope = Scope::default();
    scope.cancellation.cancel();
    let large = whole_matrix(130, 130, 7);
    scope.enter(|| {
        assert_eq!(
            call!(compute(MAX_ITERATIONS)),
            Err(CalculatorError::Cancelled)
        );
        assert_eq!(
            call!(factorial(MAX_FACTORIAL)),
            Err(CalculatorError::Cancelled)
        );
        assert_eq!(
            call!(fibonacci(MAX_FIBONACCI)),
            Err(CalculatorError::Cancelled)
        );
        assert_eq!(
            call!(sort(Numbers(vec![1.0; 100_000]))),
            Err(CalculatorError::Cancelled)
        );
        assert_eq!(
            call!(matrix_multiply(large.clone(), large)),
            Err(CalculatorError::Cancelled)
        );
    });
}

#[test]
fn a_running_computation_is_cancelled() {
    let scope = Scope::default();
    let token = scope.cancellation.clone();
    let (started, starts) = std::sync::mpsc::channel();
    let computation = std::thread::spawn(move || {
        scope.enter(|| {
            started.send(()).unwrap();
            call!(compute(MAX_ITERATIONS))
        })
    });
    starts.recv().unwrap();
    token.cancel();
    assert_eq!(computation.join().unwrap(), Err(CalculatorError::Cancelled));
}

/// The progress reports of a method.
fn reports(work: impl FnOnce()) -> Vec<(f64, String)> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    let scope = Scope {
        reporter: Reporter::new(move |progress| {
            let mut heard = hearing.lock().unwrap();
            heard.push((progress.fraction, progress.note));
        }),
        ..Scope::default()
    };
    scope.enter(work);
    heard.lock().unwrap().clone()
}

#[test]
fn long_computations_say_how_far_they_are() {
    let computed = reports(|| assert!(call!(compute(20_000_000)).is_ok()));
    assert!(computed.len() > 3, "{computed:?}");
    assert!(
        computed.is_sorted_by(|one, next| one.0 < next.0),
        "{computed:?}"
    );
    let factorial = reports(|| assert!(call!(factorial(1000)).is_ok()));
    assert!(factorial.contains(&(0.5, "500! of 1000!".to_owned())));
    assert_eq!(factorial.last(), Some(&(1.0, "1000! of 1000!".to_owned())));
    let large = whole_matrix(130, 130, 7);
    let product = reports(|| assert!(call!(matrix_multiply(large.clone(), large)).is_ok()));
    assert!(product.len() > 1 && product.contains(&(1.0, "multiplying".to_owned())));
    let descending = Numbers((0..50_000).rev().map(f64::from).collect());
    let sorted = reports(|| assert!(call!(sort(descending)).is_ok()));
    assert_eq!(sorted, [(0.1, "sorting".to_owned())]);
}

#[test]
fn large_requests_are_heavy() {
    use CalculatorRequest as Request;
    let small = whole_matrix(10, 10, 1);
    let large = whole_matrix(100, 100, 1);
    for request in [
        Request::Sum {
            values: numbers(&[1.0; 100]),
        },
        Request::Sort {
            values: numbers(&[1.0; 100]),
        },
        Request::Factorial { n: 30 },
        Request::Fibonacci { n: 30 },
        Request::MatrixMultiply {
            a: small.clone(),
            b: small,
        },
        Request::Compute { iterations: 1000 },
    ] {
        assert!(!is_heavy(&request), "{request:?}");
    }
    for request in [
        Request::Sum {
            values: numbers(&[1.0; 1_000_000]),
        },
        Request::Sort {
            values: numbers(&[1.0; 100_000]),
        },
        Request::Factorial { n: 100_000 },
        Request::Fibonacci { n: 10_000 },
        Request::MatrixMultiply {
            a: large.clone(),
            b: large,
        },
        Request::Compute {
            iterations: 10_000_000,
        },
    ] {
        assert!(is_heavy(&request), "{request:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Both sorts, on either side of the length where the parallel one takes over.
    #[test]
    fn sorting_orders_and_loses_nothing(
        pattern in proptest::collection::vec(any::<u64>(), 1..200),
        repeats in prop_oneof![Just(1usize), Just(500)],
    ) {
        // The factor makes the repeats differ from each other.
        let bits = (0..repeats as u64).flat_map(|round| {
            pattern.iter().map(move |bits| bits.wrapping_mul(2 * round + 1))
        });
        let values: Vec<f64> = bits.map(f64::from_bits).collect();
        let mut expected: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
        expected.sort_unstable_by(|a, b| f64::from_bits(*a).total_cmp(&f64::from_bits(*b)));
        let sorted = call!(sort(Numbers(values))).unwrap();
        let sorted: Vec<u64> = sorted.0.iter().map(|value| value.to_bits()).collect();
        prop_assert_eq!(sorted, expected);
    }

    #[test]
    fn products_equal_the_naive_ones(
        rows in 1u32..20, inner in 1u32..20, columns in 1u32..20, seed in any::<u64>(),
    ) {
        let (a, b) = (whole_matrix(rows, inner, seed), whole_matrix(inner, columns, !seed));
        let product = call!(matrix_multiply(a.clone(), b.clone())).unwrap();
        prop_assert_eq!((product.rows(), product.columns()), (rows, columns));
        prop_assert_eq!(product.values(), naive_product(&a, &b));
    }
}
