//! What an event loop is made of, generic over what it calls and what it sends.
//!
//! Purpose: the parts of a loop that can be reasoned about without an interpreter, so that loom
//! and the sanitizers can run them.
//!
//! Vocabulary: a *callback* is whatever the loop's owner queues. [`ready::Ready`] holds those that
//! are due, [`timers::Timers`] those that are not yet. A *turn* runs the callbacks that were ready
//! when it began; between turns the loop may *poll* the kernel ([`poller::Poller`]), and with
//! nothing to do it *parks* there, until an event, a deadline or the [`alarm::Alarm`].
//! [`pace::Pace`] says when to poll though there is something to do. [`outgoing::Outgoing`] is what
//! a connection has accepted and not yet sent; [`phase::Phase`] is how far it is in its life and
//! what that allows, [`habit::Habit`] whether more is about to be written, [`sizes::Sizes`] how much
//! is about to be received. [`beat::Beat`] tells another thread that a loop is stuck.
//!
//! Invariants:
//! 1. A callback that is queued while the loop parks, or is about to, ends the park (`ready`).
//! 2. A timer is never due before its deadline (`timers`).
//! 3. Callbacks that keep coming delay the kernel's events by a bounded time (`pace`).
//! 4. What was accepted for sending is sent in order, each byte once (`outgoing`).
//! 5. A connection ends once, and what has ended neither reads nor writes (`phase`).
//!
//! What this crate never does: name pyo3, take a lock, or run what it holds.

#![deny(clippy::undocumented_unsafe_blocks)]

pub mod alarm;
pub mod beat;
pub mod clock;
mod door;
pub mod habit;
#[cfg(all(test, loom))]
mod loom_models;
pub mod outgoing;
pub mod pace;
pub mod phase;
pub mod poller;
pub mod ready;
pub mod sizes;
pub mod timers;
pub mod vain;
