//! Factorials and Fibonacci numbers.

mod transform;

use super::check_cancelled;
use crate::{interfaces::calculator::CalculatorError, values::Integer};
use dashu_int::{UBig, ops::BitTest};
use pyroxene_common::scope::Scope;
use rayon::ThreadPool;

/// How many factors are multiplied between two checks for cancellation.
const UNCHECKED_FACTORS: usize = 256;

/// From this n on, a factorial uses several threads.
const PARALLEL: u64 = 4096;

/// How many Fibonacci terms are added between two checks for cancellation.
const UNCHECKED_TERMS: usize = 256;

/// n! by Peter Luschny's prime swing (<http://www.luschny.de/math/factorial/SwingIntro.pdf>): it squares
/// where a product of 1 to n would multiply. With dashu's products, 100000! took 18 ms, against 27 ms for a
/// balanced product tree and about 150 ms in CPython. With products by transforms it takes 4 to 9 ms.
///
/// The powers of two are left out and shifted in at the end; n! has n - (ones in n) of them.
pub(super) fn factorial(n: u64, pool: &ThreadPool, scope: &Scope) -> Result<UBig, CalculatorError> {
    let twos = n - u64::from(n.count_ones());
    let primes = odd_primes(n);
    // All of it runs in the pool, if any of it does: outside of a pool, rayon would start threads of its own.
    let odd = match n < PARALLEL {
        true => odd_factorial(n, n, &primes, scope)?,
        false => pool.install(|| odd_factorial(n, n, &primes, scope))?,
    };
    // The caller limits n, so that the shift fits any usize.
    Ok(odd << usize::try_from(twos).unwrap_or(usize::MAX))
}

/// The odd part of n! = (n/2)!² · swing(n), on the way to that of `greatest`!.
fn odd_factorial(
    n: u64,
    greatest: u64,
    primes: &[u64],
    scope: &Scope,
) -> Result<UBig, CalculatorError> {
    if n < 3 {
        return Ok(UBig::ONE);
    }
    let (square, swing) = join_if_large(
        greatest,
        || {
            let half = odd_factorial(n / 2, greatest, primes, scope)?;
            check_cancelled(scope)?;
            Ok(square(&half, greatest))
        },
        || product(greatest, &odd_swing_factors(n, primes), scope),
    );
    let (square, swing) = (square?, swing?);
    check_cancelled(scope)?;
    let odd = times(&square, &swing, greatest);
    // The numbers double in length at every step, and the cost of a step grows a little faster.
    let done = n as f64 / greatest as f64;
    scope
        .reporter
        .report(done, format_args!("{n}! of {greatest}!"));
    Ok(odd)
}

/// Runs two steps of the factorial of `greatest`, in parallel if that is worthwhile.
fn join_if_large<A: Send, B: Send>(
    greatest: u64,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    match greatest < PARALLEL {
        true => (one(), other()),
        false => rayon::join(one, other),
    }
}

/// From this length of the product on, in bits, a transform is faster than dashu.
const TRANSFORMED_BITS: usize = 2 * 400 * 64;

/// A factor of fewer bits than this is short: then dashu, whose cost grows with both lengths, is faster than
/// a transform of the length of the product.
const SHORT_BITS: usize = 100 * 64;

/// The square. If it is too long for a transform, it is composed of shorter ones by Karatsuba's method: (a
/// 2^k + b)² = a² 4^k + ((a + b)² - a² - b²) 2^k + b².
fn square(number: &UBig, greatest: u64) -> UBig {
    let bits = number.bit_len();
    if greatest < PARALLEL || 2 * bits < TRANSFORMED_BITS {
        return number.sqr();
    }
    if 2 * bits <= transform::MAX_BITS {
        return transform::square(number).unwrap_or_else(|| number.sqr());
    }
    let half = bits / 2;
    let (low, high) = number.clone().split_bits(half);
    let sum = &low + &high;
    let (middle, (low, high)) = rayon::join(
        || square(&sum, greatest),
        || rayon::join(|| square(&low, greatest), || square(&high, greatest)),
    );
    let middle = middle - &low - &high;
    (((high << half) + middle) << half) + low
}

/// The product of a long number and a shorter one.
fn times(long: &UBig, short: &UBig, greatest: u64) -> UBig {
    let (bits, short_bits) = (long.bit_len(), short.bit_len());
    if greatest < PARALLEL || bits + short_bits < TRANSFORMED_BITS || short_bits < SHORT_BITS {
        return long * short;
    }
    if bits + short_bits <= transform::MAX_BITS || bits <= short_bits {
        return transform::times(long, short).unwrap_or_else(|| long * short);
    }
    let half = bits / 2;
    let (low, high) = long.clone().split_bits(half);
    let (low, high) = rayon::join(
        || times(&low, short, greatest),
        || times(&high, short, greatest),
    );
    (high << half) + low
}

/// The prime powers of the odd part of swing(n) = n! / (n/2)!². The exponent of a prime p is the
/// number of odd ones among n/p, n/p², n/p³, …
fn odd_swing_factors(n: u64, primes: &[u64]) -> Vec<u64> {
    let up_to_n = primes.iter().take_while(|prime| **prime <= n);
    up_to_n
        .filter_map(|prime| {
            let mut power = 1;
            let mut quotient = n / prime;
            while quotient > 0 {
                if quotient % 2 == 1 {
                    power *= prime; // at most n in the end
                }
                quotient /= prime;
            }
            (power > 1).then_some(power)
        })
        .collect()
}

/// The product of the factors. Halves of equal length keep the operands of the large multiplications equally
/// long; only then do the fast algorithms help.
fn product(greatest: u64, factors: &[u64], scope: &Scope) -> Result<UBig, CalculatorError> {
    const SMALL: usize = 16;
    if factors.len() <= SMALL {
        return Ok(small_product(factors));
    }
    if factors.len() > UNCHECKED_FACTORS {
        check_cancelled(scope)?;
    }
    let (left, right) = factors.split_at(factors.len() / 2);
    let (left, right) = (
        || product(greatest, left, scope),
        || product(greatest, right, scope),
    );
    let (left, right) = match factors.len() > UNCHECKED_FACTORS {
        true => join_if_large(greatest, left, right),
        false => (left(), right()),
    };
    Ok(left? * right?)
}

/// The product of a few factors, in machine words as long as it fits.
fn small_product(factors: &[u64]) -> UBig {
    let mut product = UBig::ONE;
    let mut word = 1u64;
    for factor in factors {
        match word.checked_mul(*factor) {
            Some(larger) => word = larger,
            None => {
                product *= word;
                word = *factor;
            }
        }
    }
    product * word
}

/// The odd primes up to n, by the sieve of Eratosthenes over the odd numbers.
fn odd_primes(n: u64) -> Vec<u64> {
    // Position k stands for 2k + 1.
    let mut composite = vec![false; usize::try_from(n.div_ceil(2)).unwrap_or(usize::MAX)];
    let mut primes = Vec::new();
    for position in 1..composite.len() {
        if composite.get(position) == Some(&true) {
            continue;
        }
        let prime = 2 * position + 1;
        primes.push(prime as u64);
        // The first multiple that no smaller prime crosses out is prime², at 2k(k + 1).
        let first = 2 * position * (position + 1);
        for multiple in composite.iter_mut().skip(first).step_by(prime) {
            *multiple = true;
        }
    }
    primes
}

/// The first n Fibonacci numbers, from 0.
pub(super) fn fibonacci(n: u64, scope: &Scope) -> Result<Vec<Integer>, CalculatorError> {
    let length = usize::try_from(n).unwrap_or(usize::MAX);
    let mut terms = Vec::with_capacity(length);
    let (mut term, mut next) = (UBig::ZERO, UBig::ONE);
    while terms.len() < length {
        if terms.len() % UNCHECKED_TERMS == 0 {
            check_cancelled(scope)?;
        }
        let after = &term + &next;
        terms.push(Integer(term));
        (term, next) = (next, after);
    }
    Ok(terms)
}
