//! The wall around a process: what it takes upon itself and cannot shake off.
//!
//! Linux only, and only where the kernel has seccomp: everywhere else [`build`] fails and nothing is
//! decoded.

use std::collections::BTreeMap;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
};

use super::Bounds;

/// The wall could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open;

/// Calls that decoding needs: to read and write what is open, memory that is not to be executed, the
/// end. Nothing opens a file, a socket or a process; what is not here ends the process at once.
const CALLS: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];
/// Calls whose third argument says whether memory may be executed.
const MEMORY_CALLS: &[libc::c_long] = &[libc::SYS_mmap, libc::SYS_mprotect];

/// Limits this process, for good: memory, processor time, no file larger than nothing, no file beside
/// the three that are open, no image of its memory, no call but [`CALLS`]. It ends with its parent.
///
/// # Errors
/// [`Open`] where the system refuses any of it.
pub fn build(bounds: &Bounds) -> Result<(), Open> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|_| Open)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|_| Open)?;
    let limits = [
        (Resource::As, bounds.memory_bytes),
        (Resource::Cpu, bounds.cpu_seconds),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Nofile, 3),
    ];
    for (resource, most) in limits {
        // At the lower one of two limits of time a process is told why it ends.
        let maximum = Some(most.saturating_add(u64::from(resource == Resource::Cpu)));
        setrlimit(resource, Rlimit { current: Some(most), maximum }).map_err(|_| Open)?;
    }
    // Also gives up for good what a set-user-id file would give.
    apply_filter(&filter().ok_or(Open)?).map_err(|_| Open)
}

fn filter() -> Option<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let executable = u64::try_from(libc::PROT_EXEC).ok()?;
    for call in MEMORY_CALLS {
        let is_data = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(executable), 0).ok()?;
        rules.insert(*call, vec![SeccompRule::new(vec![is_data]).ok()?]);
    }
    let machine = std::env::consts::ARCH.try_into().ok()?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, machine).ok()?.try_into().ok()
}
