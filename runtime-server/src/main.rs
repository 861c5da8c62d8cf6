//! `vigosrv`: publishes policy, serves agents, stores what they report.

/// A check-in is some two hundred small allocations, made on one thread and freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    runtime_server::cli::main()
}
