use super::*;
use pyroxene_common::{codec, message::EncodedRequest};

fn matrix(rows: u32, columns: u32) -> Matrix {
    let values = (0..rows * columns)
        .map(|n| f64::from(n * 31 % 17))
        .collect();
    Matrix::new(rows, columns, values).unwrap()
}

fn multiplied(a: &Matrix, b: &Matrix) -> Matrix {
    let mut product = Matrix::zeros_for_product(a, b);
    let width = b.columns() as usize;
    for (row, target) in a.iter_rows().zip(product.values_mut().chunks_mut(width)) {
        for (factor, line) in row.iter().zip(b.iter_rows()) {
            for (target, value) in target.iter_mut().zip(line) {
                *target += factor * value;
            }
        }
    }
    product
}

/// A product cut for `workers` workers, and messages of at most `limit` numbers.
fn product(a: &Matrix, b: &Matrix, workers: usize, limit: usize) -> ProductInProgress {
    let shape = Shape {
        rows: a.rows() as usize,
        inner: a.columns() as usize,
        columns: b.columns() as usize,
    };
    let grid = shape.grid(workers, limit).unwrap();
    ProductInProgress::new(shape, grid, limit, a.clone(), b.clone())
}

fn request(piece: &TilePiece) -> (Matrix, Matrix) {
    let sent = match EncodedRequest::new(piece).unwrap() {
        EncodedRequest::Small(body) => body,
        EncodedRequest::Large { pieces, .. } => pieces.concat(),
        EncodedRequest::WithMetadata(_) => panic!("it has no metadata"),
    };
    match codec::decode(&sent).unwrap() {
        CalculatorRequest::MatrixMultiply { a, b } => (a, b),
        other => panic!("{other:?}"),
    }
}

/// Does the work of the workers. Returns the number of pieces.
fn work_off(product: &mut ProductInProgress) -> usize {
    let mut pieces = 0;
    while let Some(piece) = product.next().unwrap() {
        let (a, b) = request(&piece);
        assert!(a.values().len() + b.values().len() <= product.limit);
        let answer = CalculatorResponse::MatrixMultiply(Ok(multiplied(&a, &b)));
        assert!(product.write_answer(&piece, answer).unwrap().is_some());
        pieces += 1;
    }
    pieces
}

#[test]
fn tiles_make_up_the_product() {
    for (rows, inner, columns) in [(1, 1, 1), (7, 3, 5), (40, 25, 1), (1, 9, 30), (64, 80, 48)] {
        let (a, b) = (matrix(rows, inner), matrix(inner, columns));
        for (workers, limit) in [(1, 100_000), (3, 100_000), (2, 1000), (1, 200)] {
            let mut product = product(&a, &b, workers, limit);
            work_off(&mut product);
            assert_eq!(product.result, multiplied(&a, &b), "{workers} {limit}");
        }
    }
}

#[test]
fn a_tile_that_a_worker_finds_too_large_is_cut_smaller() {
    let (a, b) = (matrix(60, 70), matrix(70, 50));
    let mut product = product(&a, &b, 1, 100_000);
    let whole = product.next().unwrap().unwrap();
    product.shrink(whole, OVERHEAD + 8 * 1500).unwrap();
    assert!(work_off(&mut product) > 10);
    assert_eq!(product.result, multiplied(&a, &b));
}

#[test]
fn a_limit_below_a_row_and_a_column_is_an_error_and_no_endless_loop() {
    let mut product = product(&matrix(4, 70), &matrix(70, 3), 1, 100_000);
    let whole = product.next().unwrap().unwrap();
    product.shrink(whole, OVERHEAD + 8 * 139).unwrap();
    let error = product.next().err().unwrap();
    let limit = OVERHEAD + 8 * 139;
    assert_eq!(
        error.to_string(),
        format!(
            "the least piece of the work needs messages of {} bytes; they are limited to {limit} bytes",
            OVERHEAD + 8 * 140
        )
    );
}

#[test]
fn an_answer_of_another_shape_is_not_placed() {
    let mut product = product(&matrix(4, 4), &matrix(4, 4), 1, 1000);
    let piece = product.next().unwrap().unwrap();
    let other = CalculatorResponse::MatrixMultiply(Ok(matrix(4, 3)));
    assert_eq!(product.write_answer(&piece, other).unwrap(), None);
}
