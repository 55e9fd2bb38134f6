//! Asks a server again and again: `load HOST:PORT …`; without arguments it says how it is used.

use std::error::Error;
use std::io::{BufRead, stdin};
use std::process::ExitCode;

use counterpoint_bench::generator::Generator;
use counterpoint_bench::limits::raise_file_limit;
use counterpoint_bench::options::{Options, goal};

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    raise_file_limit()?;
    let mut generator = Generator::open(&options)?;
    if let Some(goal) = options.goal {
        println!("{}", generator.run(goal)?);
        return Ok(());
    }
    println!("ready");
    for line in stdin().lock().lines() {
        let line = line?;
        let (word, value) = line.split_once(' ').unwrap_or((&line, ""));
        println!("{}", generator.run(goal(word, value)?)?);
    }
    Ok(())
}
