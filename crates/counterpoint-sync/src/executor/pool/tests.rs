use super::*;

type Pool = PoolState<u32, ()>;

/// A worker's thread arrives.
fn arrive(pool: &mut Pool, call: Call<()>) -> Member {
    let Call::Start(start) = call else { panic!("nobody is started") };
    pool.arrive(start.number).expect("it is expected")
}

fn next(pool: &mut Pool, member: Member, arriving: bool) -> (Next<u32, ()>, Arc<Waiter<()>>) {
    let waiter = Waiter::thread(1, 0);
    (pool.next(member, arriving, 0, &waiter, &mut Wakes::default()), waiter)
}

/// One that was woken, or has just arrived, asks.
fn ask(pool: &mut Pool, member: Member) -> Next<u32, ()> {
    next(pool, member, true).0
}

/// One ends its task and asks.
fn end(pool: &mut Pool, member: Member) -> Next<u32, ()> {
    pool.ended(member, Outcome::Done, 0);
    next(pool, member, false).0
}

fn starts(call: &Call<()>) -> bool {
    matches!(call, Call::Start(_))
}

/// Pushes a task for which a worker is started, and lets it take the task.
fn employ(pool: &mut Pool, task: u32) -> Member {
    let call = pool.push(task, 0);
    let member = arrive(pool, call);
    assert!(matches!(ask(pool, member), Next::Run(..)));
    member
}

/// The same with so many, which then go to sleep.
fn sleepers(pool: &mut Pool, count: u32) -> Vec<Member> {
    let members: Vec<_> = (0..count).map(|task| employ(pool, task)).collect();
    for member in &members {
        assert!(matches!(end(pool, *member), Next::Sleep));
    }
    members
}

#[test]
fn workers_are_started_up_to_the_limit_and_reused() {
    let mut pool = Pool::new(2, 9);
    let (first, second) = (pool.push(1, 0), pool.push(2, 0));
    assert!(matches!(pool.push(3, 0), Call::Nobody));
    let (first, second) = (arrive(&mut pool, first), arrive(&mut pool, second));
    assert!(matches!(ask(&mut pool, first), Next::Run(1, Call::Nobody)));
    assert!(matches!(ask(&mut pool, second), Next::Run(2, Call::Nobody)));
    assert!(matches!(end(&mut pool, first), Next::Run(3, _)));
    assert!(matches!(end(&mut pool, first), Next::Sleep));
    assert!(matches!(pool.push(4, 0), Call::Wake(_)));
    assert_eq!((pool.workers(), pool.counts.done, pool.counts.running), (2, 2, 1));
}

#[test]
fn a_burst_wakes_one_sleeper_which_wakes_the_next() {
    let mut pool = Pool::new(2, 9);
    let members = sleepers(&mut pool, 2);
    assert_eq!(pool.idle(), 2);
    assert!(matches!(pool.push(3, 0), Call::Wake(_)));
    assert!(matches!(pool.push(4, 0), Call::Nobody));
    assert!(matches!(ask(&mut pool, members[1]), Next::Run(3, Call::Wake(_))));
    assert!(matches!(ask(&mut pool, members[0]), Next::Run(4, Call::Nobody)));
}

#[test]
fn a_blocked_worker_is_replaced_and_the_extra_one_leaves() {
    let mut pool = Pool::new(1, 9);
    let plain = employ(&mut pool, 1);
    assert!(matches!(pool.push(2, 0), Call::Nobody));
    let call = pool.block(plain);
    let extra = arrive(&mut pool, call);
    assert!(extra.is_extra() && !plain.is_extra());
    assert!(matches!(ask(&mut pool, extra), Next::Run(2, _)));
    pool.unblock(plain);
    assert!(matches!(end(&mut pool, extra), Next::Leave(_)));
    assert_eq!((pool.workers(), pool.extras), (1, 0));
}

#[test]
fn a_closed_pool_ends_its_work_first() {
    let (mut pool, mut wakes) = (Pool::new(1, 9), Wakes::default());
    let call = pool.push(1, 0);
    pool.close(&mut wakes);
    assert_eq!(pool.refusal(), Some(Refusal::Closed));
    let member = arrive(&mut pool, call);
    assert!(matches!(ask(&mut pool, member), Next::Run(1, _)));
    pool.ended(member, Outcome::Failed, 0);
    assert!(matches!(next(&mut pool, member, false).0, Next::Leave(_)));
    assert_eq!((pool.workers(), pool.counts.failed), (0, 1));
}

/// A pool of one whose worker is blocked, and an extra one that sleeps.
fn extra_sleeper(pool: &mut Pool) -> (Member, Member, Arc<Waiter<()>>) {
    let plain = employ(pool, 1);
    let _ = pool.push(2, 0);
    let call = pool.block(plain);
    let extra = arrive(pool, call);
    assert!(matches!(ask(pool, extra), Next::Run(2, _)));
    pool.ended(extra, Outcome::Done, 0);
    let (asked, waiter) = next(pool, extra, false);
    assert!(matches!(asked, Next::Sleep));
    (plain, extra, waiter)
}

#[test]
fn an_extra_sleeper_gives_up_unless_it_was_called() {
    let (mut pool, mut wakes) = (Pool::new(1, 9), Wakes::default());
    let (_, extra, waiter) = extra_sleeper(&mut pool);
    assert!(pool.give_up(&waiter, extra, &mut wakes));
    assert_eq!((pool.workers(), pool.idle()), (1, 0));

    let mut pool = Pool::new(1, 9);
    let (_, extra, waiter) = extra_sleeper(&mut pool);
    assert!(matches!(pool.push(3, 0), Call::Wake(_)));
    assert!(!pool.give_up(&waiter, extra, &mut wakes));
    assert!(matches!(ask(&mut pool, extra), Next::Run(3, _)));
}

#[test]
fn one_that_others_counted_on_does_not_give_up() {
    let (mut pool, mut wakes) = (Pool::new(2, 9), Wakes::default());
    let plain = [employ(&mut pool, 1), employ(&mut pool, 2)];
    let extras = plain.map(|member| {
        let _ = pool.push(3, 0);
        let call = pool.block(member);
        let extra = arrive(&mut pool, call);
        assert!(matches!(ask(&mut pool, extra), Next::Run(3, _)));
        extra
    });
    let waiters = extras.map(|extra| {
        pool.ended(extra, Outcome::Done, 0);
        next(&mut pool, extra, false).1
    });
    // One is woken for two tasks, and is to wake the other; which has had enough just then.
    assert!(matches!(pool.push(5, 0), Call::Wake(_)));
    assert!(matches!(pool.push(6, 0), Call::Nobody));
    assert!(!pool.give_up(&waiters[0], extras[0], &mut wakes));
    assert!(matches!(ask(&mut pool, extras[0]), Next::Run(5, Call::Nobody)));
    assert!(matches!(ask(&mut pool, extras[1]), Next::Run(6, Call::Nobody)));
}

#[test]
fn a_start_that_fails_costs_nobody_a_wake() {
    let mut pool = Pool::new(3, 9);
    let members = sleepers(&mut pool, 2);
    assert!(matches!(pool.push(3, 0), Call::Wake(_)));
    assert!(matches!(pool.push(4, 0), Call::Nobody));
    let Call::Start(start) = pool.push(5, 0) else { panic!("two sleepers, three tasks") };
    // The second sleeper is woken by the first, and not left to the one that starts.
    assert!(matches!(ask(&mut pool, members[1]), Next::Run(3, Call::Wake(_))));
    assert!(matches!(pool.not_started(start.number, false), Call::Nobody));
    assert!(matches!(ask(&mut pool, members[0]), Next::Run(4, _)));
    assert!(matches!(end(&mut pool, members[0]), Next::Run(5, _)));
    assert_eq!((pool.workers(), pool.arriving), (2, 0));
}

#[test]
fn who_counted_on_a_start_that_fails_is_served_by_another() {
    let mut pool = Pool::new(1, 9);
    let Call::Start(start) = pool.push(1, 0) else { panic!("nobody is there") };
    assert!(matches!(pool.push(2, 0), Call::Nobody));
    let call = pool.not_started(start.number, true);
    assert!(starts(&call));
    let member = arrive(&mut pool, call);
    assert!(matches!(ask(&mut pool, member), Next::Run(1, _)));
}

#[test]
fn a_thread_whose_start_was_taken_back_is_admitted_or_told_to_leave() {
    let mut pool = Pool::new(1, 9);
    let Call::Start(start) = pool.push(1, 0) else { panic!("nobody is there") };
    assert!(matches!(pool.not_started(start.number, false), Call::Nobody));
    assert_eq!(pool.workers(), 0);
    // It did start after all.
    let late = pool.arrive(start.number).expect("there is nobody else");
    assert!(matches!(ask(&mut pool, late), Next::Run(1, Call::Nobody)));
    assert!(matches!(pool.not_started(start.number, false), Call::Nobody));
    assert_eq!((pool.workers(), pool.arriving), (1, 0));
    // Another one comes too late to be needed.
    assert!(pool.arrive(start.number).is_none());
    assert!(matches!(end(&mut pool, late), Next::Sleep));
    assert!(matches!(pool.push(2, 0), Call::Wake(_)));
}

#[test]
fn a_start_whose_thread_exists_stays() {
    let mut pool = Pool::new(1, 9);
    let Call::Start(start) = pool.push(1, 0) else { panic!("nobody is there") };
    pool.started(start.number);
    assert!(matches!(pool.start_raised(start.number, true), Call::Nobody));
    assert_eq!(pool.workers(), 1);
    // Its initializer raises: now it is certain that it will not work.
    assert!(matches!(pool.not_started(start.number, false), Call::Nobody));
    assert_eq!(pool.workers(), 0);
    assert!(matches!(pool.push(2, 0), Call::Start(start) if start.number == 2));
    assert!(matches!(pool.start_raised(2, false), Call::Nobody));
    assert_eq!(pool.workers(), 0);
}

#[test]
fn one_that_takes_long_to_start_keeps_no_task_from_a_sleeper() {
    let mut pool = Pool::new(2, 9);
    let sleeper = employ(&mut pool, 1);
    let slow = pool.push(2, 0);
    assert!(starts(&slow));
    assert!(matches!(end(&mut pool, sleeper), Next::Run(2, _)));
    assert!(matches!(end(&mut pool, sleeper), Next::Sleep));
    assert!(matches!(pool.push(3, 0), Call::Wake(_)));
    assert!(matches!(ask(&mut pool, sleeper), Next::Run(3, _)));
    // Nor does one that is busy with the end of its task: it has promised nothing.
    pool.ended(sleeper, Outcome::Done, 0);
    let late = arrive(&mut pool, slow);
    assert!(matches!(ask(&mut pool, late), Next::Sleep));
    assert!(matches!(pool.push(4, 0), Call::Wake(_)));
}

#[test]
fn busy_time_counts_what_runs() {
    let mut pool = Pool::new(1, 9);
    let call = pool.push(1, 0);
    let member = arrive(&mut pool, call);
    let _ = pool.next(member, true, 100, &Waiter::thread(1, 0), &mut Wakes::default());
    assert_eq!(pool.busy(250), 150);
    pool.run_time.record(150);
    pool.ended(member, Outcome::Done, 100);
    assert_eq!(pool.busy(900), 150);
}

#[test]
fn a_worker_of_the_parent_is_none_in_the_child() {
    let mut pool = Pool::new(1, 9);
    let member = employ(&mut pool, 1);
    // As if the process had forked since, and the pool had been adopted.
    let gone = Member { generation: member.generation.wrapping_sub(1), ..member };
    let _ = pool.adopt(&mut Wakes::default());
    pool.ended(gone, Outcome::Done, 0);
    assert!(matches!(pool.block(gone), Call::Nobody));
    pool.unblock(gone);
    assert!(matches!(next(&mut pool, gone, false).0, Next::Leave(Call::Nobody)));
    assert_eq!((pool.workers(), pool.blocked, pool.counts), (0, 0, Counts::default()));
}
