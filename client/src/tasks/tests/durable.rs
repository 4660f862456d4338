//! A calculator whose calls are tasks: a round trip of every method.

use super::fake::{Fake, within};
use crate::{CallError, Client};
use pyroxene_common::{
    interface::Serves,
    interfaces::{
        invoke::InvokeError,
        tasks::{AttemptResult, TaskFailure, TaskId},
    },
    json,
    values::{Matrix, Number, Numbers},
};
use pyroxene_objects::{
    interfaces::calculator::{Calculator, CalculatorError, calculator},
    values::Integer,
};
use std::time::Duration;
use tarpc::context::{self, Context};

/// A calculator whose answers reflect the arguments.
#[derive(Clone)]
struct Canned;

impl calculator::Calculator for Canned {
    async fn sum(self, _: Context, values: Numbers) -> Result<Number, CalculatorError> {
        match values.0.as_slice() {
            [] => Err(CalculatorError::Empty),
            values => Ok(Number(values.iter().sum())),
        }
    }
    async fn average(self, _: Context, values: Numbers) -> Result<Number, CalculatorError> {
        Ok(Number(values.0[0] / 3.0))
    }
    async fn max(self, _: Context, values: Numbers) -> Result<Number, CalculatorError> {
        Ok(Number(values.0[1]))
    }
    async fn min(self, _: Context, values: Numbers) -> Result<Number, CalculatorError> {
        Ok(Number(values.0[0]))
    }
    async fn factorial(self, _: Context, n: u64) -> Result<Integer, CalculatorError> {
        match n {
            0..=1000 => Ok(integer(n)),
            value => Err(CalculatorError::TooGreat {
                parameter: "n".to_owned(),
                value,
                limit: 1000,
            }),
        }
    }
    async fn fibonacci(self, _: Context, n: u64) -> Result<Vec<Integer>, CalculatorError> {
        Ok((0..n).map(integer).collect())
    }
    async fn sort(self, _: Context, values: Numbers) -> Result<Numbers, CalculatorError> {
        Ok(values)
    }
    async fn matrix_multiply(
        self,
        _: Context,
        a: Matrix,
        _: Matrix,
    ) -> Result<Matrix, CalculatorError> {
        Ok(a)
    }
    async fn compute(self, _: Context, iterations: u64) -> Result<Number, CalculatorError> {
        Ok(Number(iterations as f64))
    }
}

fn integer(n: u64) -> Integer {
    Integer(n.into())
}

/// Runs the tasks of a store while this future is polled.
async fn run_tasks(fake: &Fake) {
    for done in 0.. {
        let polls = fake.store.polled(done + 1).await;
        assert_eq!(polls, 0);
        let id = fake.store.ids().last().unwrap().clone();
        run_task(fake, &id).await;
    }
}

async fn run_task(fake: &Fake, id: &TaskId) {
    let task = fake.store.submission(id);
    assert_eq!(task.object, "calculator");
    let request = json::request::<Calculator>(&task.method, &task.arguments).unwrap();
    let response = Calculator::serve(Canned, context::current(), request).await;
    match json::response::<Calculator>(&response.unwrap()) {
        Ok(result) => fake.store.succeed(id, &result),
        Err(InvokeError::Failed { sentence, error }) => {
            let value = Some(error);
            fake.store
                .fail(id, TaskFailure { sentence, value }, AttemptResult::Failed);
        }
        Err(error) => panic!("{error}"),
    }
}

async fn while_tasks_run<T>(calls: impl AsyncFnOnce(&Client) -> T) -> T {
    let fake = Fake::start(1).await;
    let client = fake.client();
    tokio::select! {
        answer = within(calls(&client)) => answer,
        () = run_tasks(&fake) => panic!("it runs for ever"),
    }
}

fn numbers(values: &[f64]) -> Numbers {
    Numbers(values.to_vec())
}

#[tokio::test]
async fn every_method_goes_there_and_comes_back() {
    while_tasks_run(async |client| {
        let calculator = client.durable::<Calculator>("calculator");
        let now = context::current;
        let (tenth, values) = (numbers(&[0.1]), numbers(&[1.5, -2.0, 1e300]));
        let answer = calculator.sum(now(), values.clone()).await.unwrap();
        assert_eq!(answer, Ok(Number(1.5 - 2.0 + 1e300)));
        let answer = calculator.average(now(), tenth).await.unwrap();
        assert_eq!(answer, Ok(Number(0.1 / 3.0)));
        let answer = calculator.max(now(), values.clone()).await.unwrap();
        assert_eq!(answer, Ok(Number(-2.0)));
        let answer = calculator.min(now(), values.clone()).await.unwrap();
        assert_eq!(answer, Ok(Number(1.5)));
        let answer = calculator.factorial(now(), 30).await.unwrap();
        assert_eq!(answer, Ok(integer(30)));
        let answer = calculator.fibonacci(now(), 3).await.unwrap();
        assert_eq!(answer, Ok(vec![integer(0), integer(1), integer(2)]));
        let answer = calculator.sort(now(), values.clone()).await.unwrap();
        assert_eq!(answer, Ok(values));
        let matrix = Matrix::from_rows([[1.0, 2.0], [3.0, 4.25]]).unwrap();
        let product = calculator.matrix_multiply(now(), matrix.clone(), matrix.clone());
        assert_eq!(product.await.unwrap(), Ok(matrix));
        let answer = calculator
            .compute(now(), u64::from(u32::MAX))
            .await
            .unwrap();
        assert_eq!(answer, Ok(Number(f64::from(u32::MAX))));
    })
    .await;
}

#[tokio::test]
async fn the_objects_own_error_is_its_own_type() {
    while_tasks_run(async |client| {
        let calculator = client.durable::<Calculator>("calculator");
        let answer = calculator.sum(context::current(), numbers(&[])).await;
        assert_eq!(answer.unwrap(), Err(CalculatorError::Empty));
        let answer = calculator.factorial(context::current(), 2000).await;
        let expected = CalculatorError::TooGreat {
            parameter: "n".to_owned(),
            value: 2000,
            limit: 1000,
        };
        assert_eq!(answer.unwrap(), Err(expected));
    })
    .await;
}

/// The error of a call whose task ends like this.
async fn error_of(end: impl FnOnce(&Fake, &TaskId)) -> CallError {
    let fake = Fake::start(1).await;
    let client = fake.client();
    let calling = tokio::spawn(async move {
        let calculator = client.durable::<Calculator>("calculator");
        calculator.factorial(context::current(), 5).await
    });
    within(fake.store.polled(1)).await;
    end(&fake, &fake.store.ids()[0]);
    within(calling).await.unwrap().unwrap_err()
}

#[tokio::test]
async fn a_task_that_is_lost_or_called_off_is_a_call_error() {
    let lost = error_of(|fake, id| {
        let failure = TaskFailure {
            sentence: "worker w1 is gone".to_owned(),
            value: None,
        };
        fake.store.fail(id, failure, AttemptResult::Lost);
    });
    let error = lost.await;
    assert!(matches!(error, CallError::Failed(_)));
    let expected = "calculator.factorial failed: worker w1 is gone";
    assert_eq!(error.to_string(), expected);

    let foreign = error_of(|fake, id| {
        let failure = TaskFailure {
            sentence: "another object's error".to_owned(),
            value: Some("[1]".to_owned()),
        };
        fake.store.fail(id, failure, AttemptResult::Failed);
    });
    let error = foreign.await;
    assert!(
        error
            .to_string()
            .ends_with("failed: another object's error")
    );

    let nonsense = error_of(|fake, id| fake.store.succeed(id, "{}"));
    assert!(matches!(nonsense.await, CallError::Failed(_)));
}

#[tokio::test]
async fn the_calls_deadline_is_the_tasks_and_a_shape_applies() {
    let fake = Fake::start(1).await;
    let stub = fake.client().durable_stub::<Calculator>("calculator");
    let calculator = stub.with(|task| task.priority(7).worker("w2")).client();
    let mut context = context::current();
    context.deadline = std::time::Instant::now() + Duration::from_millis(200);
    let error = calculator.factorial(context, 5).await.unwrap_err();
    assert!(matches!(error, CallError::DeadlineExceeded(_)), "{error}");
    let task = fake.store.submission(&fake.store.ids()[0]);
    assert_eq!((task.priority, task.worker.as_deref()), (7, Some("w2")));
    assert!((1..=200).contains(&task.deadline_ms.unwrap()));
}

#[tokio::test]
async fn a_call_without_a_chosen_deadline_has_none() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    let calling = tokio::spawn(async move {
        let calculator = client.durable::<Calculator>("calculator");
        calculator.factorial(context::current(), 5).await
    });
    within(fake.store.polled(1)).await;
    let id = fake.store.ids()[0].clone();
    assert_eq!(fake.store.submission(&id).deadline_ms, None);
    fake.store.succeed(&id, "\"120\"");
    assert_eq!(within(calling).await.unwrap().unwrap(), Ok(integer(120)));
}
