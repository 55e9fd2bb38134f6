//! Dozing, with an interpreter lock and a clock of the model's own: time passes when somebody
//! sleeps with an alarm, which then rings.

use super::*;
use crate::clock;
use loom::thread::{JoinHandle, spawn};

/// A queue whose waiters doze, and the interpreter lock.
struct World {
    queue: Arc<Locked<Numbers>>,
    interpreter: Mutex<()>,
}

impl World {
    fn new(collects: bool) -> (Arc<Self>, Caller) {
        clock::set(1);
        let queue = fifo(1);
        queue.with(|state| {
            state.let_doze();
            state.rare_mut().get_doze.begin();
            state.rare_mut().put_doze.begin();
        });
        let caller = Caller::new(1, true);
        let caller = if collects { caller.collecting() } else { caller };
        (Arc::new(Self { queue, interpreter: Mutex::new(()) }), caller)
    }

    fn attached<R>(&self, f: impl FnOnce() -> R) -> R {
        let _held = self.interpreter.lock().unwrap();
        f()
    }

    /// As a thread of the binding does: `run`, and then `block_on_waking`.
    fn run<O: Source<State = State<Numbers>>>(&self, source: O) -> O::Output {
        let (mut wait, queue) = (Wait::new(source), &*self.queue);
        let mut owed = Vec::new();
        loop {
            let (attempt, alarm) = self.attached(|| {
                if !wait.is_queued() {
                    owed = queue.with(|state| state.collect_owed());
                }
                let attempt = wait.attempt(queue, clock::now, |since| Waiter::thread(1, since));
                let Attempt::Pending(waiter) = &attempt else { return (attempt, None) };
                let end =
                    Some(waiter.since() + wait.source.doze()).filter(|end| clock::now() < *end);
                (attempt, end)
            });
            owed.drain(..).for_each(|thread| assert!(thread.wake()));
            match (attempt, alarm) {
                (Attempt::Done(output), _) => return output,
                (Attempt::Pending(waiter), None) => drop(waiter.park(None)),
                (Attempt::Pending(waiter), Some(end)) => self.attached(|| {
                    clock::set(clock::now().max(end));
                    if waiter.is_waiting() {
                        wait.step_aside(queue);
                    }
                }),
            }
        }
    }
}

fn go<R: 'static>(world: &Arc<World>, f: impl FnOnce(&World) -> R + 'static) -> JoinHandle<R> {
    let world = world.clone();
    spawn(move || f(&world))
}

/// One who dozes and is claimed is woken by its alarm or by whom it is owed; one whose alarm has
/// rung is woken at once.
#[test]
fn nobody_sleeps_on() {
    for collects in [false, true] {
        check_all(move || {
            let (world, caller) = World::new(collects);
            let putter = go(&world, move |world| {
                for item in 1..=2 {
                    assert_eq!(world.run(Put::new(item, caller)).verdict, Ok(()));
                }
            });
            let got = [(); 2].map(|()| world.run(Get::new(caller)).unwrap());
            putter.join().unwrap();
            assert_eq!(got, [1, 2]);
        });
    }
}

/// One of two who doze gives up.
#[test]
fn one_who_gives_up_while_dozing_loses_no_item() {
    check_all(|| {
        let (world, caller) = World::new(true);
        let quitter = go(&world, move |world| {
            let mut wait = Wait::new(Get::new(caller));
            let queue = &*world.queue;
            world.attached(|| {
                match wait.attempt(queue, clock::now, |since| Waiter::thread(2, since)) {
                    Attempt::Done(got) => Some(got),
                    Attempt::Pending(_) => wait.expire(queue, clock::now),
                }
            })
        });
        let getter = go(&world, move |world| world.run(Get::new(caller)));
        assert_eq!(world.run(Put::new(1, caller)).verdict, Ok(()));
        if quitter.join().unwrap().is_some() {
            assert_eq!(world.run(Put::new(1, caller)).verdict, Ok(()));
        }
        assert_eq!(getter.join().unwrap(), Ok(1));
    });
}

fn check_all(model: impl Fn() + Send + Sync + 'static) {
    crate::loom_models::check(model);
}
