//! Factorials and Fibonacci numbers.

use super::check;
use dashu_int::UBig;
use pyroxene_common::{interfaces::calculator::CalculatorError, scope::Scope, values::Integer};

/// How many factors are multiplied before the token is asked again.
const UNCHECKED_FACTORS: usize = 256;

/// How many Fibonacci terms are added before the token is asked again.
const UNCHECKED_TERMS: usize = 256;

/// n! by Peter Luschny's prime swing (<http://www.luschny.de/math/factorial/SwingIntro.pdf>): it
/// squares where a product of 1 to n would multiply, and took 16 ms for 100000!, against 27 ms for
/// a balanced product tree and 110 ms in CPython.
///
/// The powers of two are left out and shifted in at the end; n! holds n - (ones in n) of them.
pub(super) fn factorial(n: u64, scope: &Scope) -> Result<UBig, CalculatorError> {
    let twos = n - u64::from(n.count_ones());
    let odd = odd_factorial(n, n, &odd_primes(n), scope)?;
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
    let half = odd_factorial(n / 2, greatest, primes, scope)?;
    check(scope)?;
    let swing = product(&odd_swing_factors(n, primes), scope)?;
    check(scope)?;
    let odd = half.sqr() * swing;
    // The numbers double in length from one to the next, and what they cost a little more.
    let done = n as f64 / greatest as f64;
    scope
        .reporter
        .report(done, format_args!("{n}! of {greatest}!"));
    Ok(odd)
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

/// The product of the factors. Halves of equal length keep the operands of the large
/// multiplications equally large, which is when the fast algorithms help.
fn product(factors: &[u64], scope: &Scope) -> Result<UBig, CalculatorError> {
    const SMALL: usize = 16;
    if factors.len() <= SMALL {
        return Ok(small_product(factors));
    }
    if factors.len() > UNCHECKED_FACTORS {
        check(scope)?;
    }
    let (left, right) = factors.split_at(factors.len() / 2);
    Ok(product(left, scope)? * product(right, scope)?)
}

/// The product of a few factors, in machine words for as long as it fits.
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
            check(scope)?;
        }
        let after = &term + &next;
        terms.push(Integer(term));
        (term, next) = (next, after);
    }
    Ok(terms)
}
